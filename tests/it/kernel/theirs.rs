//! Two namespaces of the kernel's, made without privilege, and an agent in each.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use super::{Call, Host, Machine};

/// Set for the copy of this test binary that runs inside a namespace.
pub(crate) const AGENT: &str = "VETHLAB_KERNEL_AGENT";

struct Agent {
    child: Child,
    calls: ChildStdin,
    answers: BufReader<ChildStdout>,
}

/// The kernel's side.
pub(crate) struct Theirs {
    holders: Vec<Child>,
    agents: Vec<Agent>,
}

/// The namespaces of process `pid`, entered by whoever runs the rest.
fn inside(pid: u32) -> Command {
    let mut command = Command::new("nsenter");
    command.args(["--preserve-credentials", "-U", "-n", "-t", &pid.to_string()]);
    command
}

fn done(command: &mut Command) -> bool {
    command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn holder(mut command: Command) -> Option<Child> {
    command.args(["sh", "-c", "echo up; exec sleep 600"]);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let mut line = String::new();
    let up = BufReader::new(child.stdout.take()?)
        .read_line(&mut line)
        .is_ok()
        && line == "up\n";
    if up {
        return Some(child);
    }
    let _ = child.kill();
    let _ = child.wait();
    None
}

impl Theirs {
    pub(crate) fn new() -> Option<Self> {
        let mut first = Command::new("unshare");
        first.arg("-Urn");
        let mut theirs = Self {
            holders: vec![holder(first)?],
            agents: Vec::new(),
        };
        let a = theirs.holders[0].id();
        let mut second = inside(a);
        second.args(["unshare", "-n"]);
        theirs.holders.push(holder(second)?);
        let b = theirs.holders[1].id();
        let to_b = b.to_string();
        let wired = done(inside(a).args([
            "ip", "link", "add", "va", "type", "veth", "peer", "name", "vb", "netns", &to_b,
        ])) && [
            (a, "va", "10.9.0.1/24", "fd09::1/64"),
            (b, "vb", "10.9.0.2/24", "fd09::2/64"),
        ]
        .iter()
        .all(|(pid, name, v4, v6)| {
            done(inside(*pid).args(["ip", "link", "set", "lo", "up"]))
                && done(inside(*pid).args(["ip", "addr", "add", v4, "brd", "+", "dev", name]))
                && done(inside(*pid).args(["ip", "addr", "add", v6, "dev", name, "nodad"]))
                && done(inside(*pid).args(["ip", "link", "set", name, "up"]))
        });
        if !wired {
            return None;
        }
        for pid in [a, b] {
            theirs.agents.push(Agent::new(pid)?);
        }
        theirs.settled().then_some(theirs)
    }
}

impl Theirs {
    /// Whether each host answers the other over both families; a link takes a moment to come up.
    fn settled(&mut self) -> bool {
        (0..50).any(|_| {
            let refused = |theirs: &mut Self, host: usize, line: &str| {
                theirs.agents[host].call(line) == "ECONNREFUSED"
            };
            let all = refused(self, 0, "connect w 10.9.0.2:1")
                && refused(self, 0, "connect w [fd09::2]:1")
                && refused(self, 1, "connect w 10.9.0.1:1")
                && refused(self, 1, "connect w [fd09::1]:1");
            if !all {
                std::thread::sleep(Duration::from_millis(100));
            }
            all
        })
    }
}

impl Drop for Theirs {
    fn drop(&mut self) {
        for agent in &mut self.agents {
            let _ = agent.child.kill();
            let _ = agent.child.wait();
        }
        for holder in &mut self.holders {
            let _ = holder.kill();
            let _ = holder.wait();
        }
    }
}

impl Agent {
    fn new(pid: u32) -> Option<Self> {
        let mut child = inside(pid)
            .arg(std::env::current_exe().ok()?)
            .args(["kernel::agent_in_a_namespace", "--exact", "--nocapture"])
            .env(AGENT, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let calls = child.stdin.take()?;
        let mut answers = BufReader::new(child.stdout.take()?);
        let mut line = String::new();
        while !line.contains("agent ready") {
            line.clear();
            if answers.read_line(&mut line).ok()? == 0 {
                let _ = child.wait();
                return None;
            }
        }
        Some(Self {
            child,
            calls,
            answers,
        })
    }

    fn call(&mut self, line: &str) -> String {
        if writeln!(self.calls, "{line}")
            .and_then(|()| self.calls.flush())
            .is_err()
        {
            return "agent gone".to_owned();
        }
        let mut answer = String::new();
        loop {
            answer.clear();
            match self.answers.read_line(&mut answer) {
                Ok(0) | Err(_) => return "agent gone".to_owned(),
                Ok(_) => {}
            }
            if let Some(word) = answer.strip_prefix("= ") {
                return word.trim_end().to_owned();
            }
        }
    }
}

fn line(call: &Call) -> String {
    match *call {
        Call::Listen(name, addr, backlog) => format!("listen {name} {addr} {backlog}"),
        Call::Accept(listener, name) => format!("accept {listener} {name}"),
        Call::Connect(name, addr) => format!("connect {name} {addr}"),
        Call::Udp(name, addr) => format!("udp {name} {addr}"),
        Call::Peer(name, addr) => format!("peer {name} {addr}"),
        Call::Send(name, count) => format!("send {name} {count}"),
        Call::SendTo(name, addr, count) => format!("sendto {name} {addr} {count}"),
        Call::Recv(name) => format!("recv {name}"),
        Call::RecvAll(name, count) => format!("recvall {name} {count}"),
        Call::Shutdown(name) => format!("shutdown {name}"),
        Call::KeepAlive(name, idle, interval, count) => {
            format!("keepalive {name} {idle} {interval} {count}")
        }
        Call::Close(name) => format!("close {name}"),
        Call::Wait(millis) => format!("wait {millis}"),
    }
}

impl Machine for Theirs {
    fn call(&mut self, host: Host, call: &Call) -> String {
        let agent = match host {
            Host::A => 0,
            Host::B => 1,
        };
        self.agents[agent].call(&line(call))
    }
}
