//! The kernel's namespaces: a host with a bridge, two behind the bridge, and one outside, all made without
//! privilege by `unshare -Urn`; and copies of this binary that run in them.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

use super::agent::{AGENT, Cores, Work};
use crate::common::Rounds;

/// Where the server is, behind the bridge.
pub(super) const SERVER: &str = "10.9.0.2";
/// The host's address to those outside.
pub(super) const HOST: &str = "10.8.0.1";

/// What differs from a bridge with nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Setup {
    /// As the kernel makes it.
    Default,
    /// Segmentation, receive and checksum offloads are off at all four ends of the veth pairs.
    NoOffloads,
    /// Port 8001 of the host, as seen from outside, is port 5001 of the server, by DNAT.
    Published,
}

/// The namespaces, and the server.
pub(super) struct Kernel {
    /// The host, those behind the bridge, and the one outside.
    holders: Vec<Child>,
    server: Option<Child>,
}

impl Drop for Kernel {
    fn drop(&mut self) {
        for child in self.server.iter_mut().chain(&mut self.holders) {
            let _gone = child.kill();
            let _reaped = child.wait();
        }
    }
}

/// A command in the namespaces of a process.
pub(crate) fn inside(pid: u32) -> Command {
    let mut command = Command::new("nsenter");
    command.args(["--preserve-credentials", "-U", "-n", "-t", &pid.to_string()]);
    command
}

/// Starts a process that holds namespaces: what a command enters.
pub(crate) fn holder(mut command: Command) -> Result<Child, String> {
    let mut child = command
        .args(["sh", "-c", "echo up; exec sleep 1800"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| error.to_string())?;
    let mut line = String::new();
    let read = BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line);
    if read.is_ok() && line == "up\n" {
        return Ok(child);
    }
    let _gone = child.kill();
    let _reaped = child.wait();
    Err("a namespace cannot be made here".to_owned())
}

/// Runs a command line of a shell in a namespace.
pub(crate) fn shell(pid: u32, line: &str) -> Result<(), String> {
    let status = inside(pid)
        .args(["sh", "-c", line])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    match status {
        Ok(status) if status.success() => Ok(()),
        _ => Err(format!("`{line}` does not work here")),
    }
}

impl Kernel {
    pub(super) fn new(setup: Setup) -> Result<Self, String> {
        let mut first = Command::new("unshare");
        first.arg("-Urn");
        let mut kernel = Self {
            holders: vec![holder(first)?],
            server: None,
        };
        let host = kernel.holders[0].id();
        shell(host, "ip link add br0 type bridge && ip link set br0 up")?;
        shell(host, "ip addr add 10.9.0.254/24 dev br0")?;
        for number in 1..=2 {
            let pid = kernel.namespace(number)?;
            shell(host, &format!("ip link set v{number} master br0 up"))?;
            shell(pid, &format!("ip addr add 10.9.0.{number}/24 dev eth0"))?;
            shell(
                pid,
                "ip link set eth0 up && ip route add default via 10.9.0.254",
            )?;
            // Short connections leave many ports in TIME_WAIT.
            shell(
                pid,
                "echo 1024 65535 > /proc/sys/net/ipv4/ip_local_port_range",
            )?;
            if setup == Setup::NoOffloads {
                let off = "tso off gso off gro off tx off rx off sg off";
                shell(host, &format!("ethtool -K v{number} {off}"))?;
                shell(pid, &format!("ethtool -K eth0 {off}"))?;
            }
        }
        if setup == Setup::Published {
            kernel.publish(host)?;
        }
        kernel.serve()?;
        Ok(kernel)
    }

    /// A namespace with a veth pair to the host, where its end is called `v` and the number.
    fn namespace(&mut self, number: u8) -> Result<u32, String> {
        let host = self.holders[0].id();
        let mut command = inside(host);
        command.args(["unshare", "-n"]);
        self.holders.push(holder(command)?);
        let pid = self.holders[usize::from(number)].id();
        let pair = format!(
            "ip link add v{number} type veth peer name eth0 address 02:00:00:00:09:0{number} netns {pid}"
        );
        shell(host, &pair)?;
        shell(pid, "ip link set lo up")?;
        Ok(pid)
    }

    fn publish(&mut self, host: u32) -> Result<(), String> {
        let pid = self.namespace(3)?;
        shell(
            host,
            &format!("ip addr add {HOST}/24 dev v3 && ip link set v3 up"),
        )?;
        shell(
            pid,
            "ip addr add 10.8.0.2/24 dev eth0 && ip link set eth0 up",
        )?;
        shell(
            pid,
            "echo 1024 65535 > /proc/sys/net/ipv4/ip_local_port_range",
        )?;
        shell(host, "echo 1 > /proc/sys/net/ipv4/ip_forward")?;
        shell(
            host,
            "nft add table ip t && nft 'add chain ip t c { type nat hook prerouting priority -100; }' \
             && nft add rule ip t c tcp dport 8001 dnat to 10.9.0.2:5001",
        )
    }

    fn serve(&mut self) -> Result<(), String> {
        let (server, mut lines) = self.agent(2, "serve")?;
        self.server = Some(server);
        let mut line = String::new();
        if lines.read_line(&mut line).is_err() || line != "ready\n" {
            return Err("a program cannot be run in a namespace here".to_owned());
        }
        Ok(())
    }

    fn agent(&self, at: usize, work: &str) -> Result<(Child, BufReader<ChildStdout>), String> {
        let own = std::env::current_exe().map_err(|error| error.to_string())?;
        let mut child = inside(self.holders[at].id())
            .arg(own)
            .env(AGENT, work)
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .map_err(|error| error.to_string())?;
        let lines = BufReader::new(child.stdout.take().expect("a pipe"));
        Ok((child, lines))
    }

    /// What the client's copy measured, from the first namespace behind the bridge, or from outside.
    pub(super) fn measure(&self, work: Work, cores: Cores, rounds: Rounds) -> f64 {
        let at = if work == Work::PublishedCall { 3 } else { 1 };
        let text = format!("{work} {cores} {}", rounds.at_least.as_micros());
        let (mut child, mut lines) = self.agent(at, &text).expect("it ran before");
        let mut line = String::new();
        lines.read_line(&mut line).expect("a figure");
        let _reaped = child.wait();
        line.trim()
            .parse()
            .unwrap_or_else(|_| panic!("no figure for {text}"))
    }
}
