//! `vethlab up` and the verbs that ask a project that is up, as real processes: what they print, what they end,
//! what they leave (nothing).
#![cfg(target_os = "linux")]

mod rig;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rig::{command, texts, vethlab};

/// How long something may take that takes no time.
const LIMIT: Duration = Duration::from_secs(60);

const SHOP: &str = "\
services:
  web: {image: nginx, ports: ['8080:80']}
  db: {image: postgres}
  talk: {image: busybox, command: ping -i 0.2 db}
  once: {image: busybox, command: ping -c 1 db}
";

/// A folder with a project and the control sockets of this test; both go with it, and every project that is up.
struct Scratch(PathBuf);

impl Scratch {
    fn new(test: &str, compose: &str) -> Self {
        // Not in the target folder: the path of a socket is short.
        let name = format!("vethlab-up-{}-{test}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        let _gone = fs::remove_dir_all(&folder);
        fs::create_dir_all(folder.join("run")).unwrap();
        fs::create_dir_all(folder.join("shop")).unwrap();
        fs::write(folder.join("shop/compose.yaml"), compose).unwrap();
        Self(folder)
    }

    /// `vethlab` in the project's folder.
    fn vethlab(&self, args: &[&str]) -> Command {
        let mut command = command(args);
        if args.first() == Some(&"up") {
            // Tests run side by side: the ports of this machine are not theirs.
            command.arg("--no-publish");
        }
        command
            .current_dir(self.0.join("shop"))
            .env("XDG_RUNTIME_DIR", self.0.join("run"));
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.vethlab(args).stdin(Stdio::null()).output().unwrap()
    }

    /// What it prints, if it exits with this code.
    fn says(&self, args: &[&str], code: i32) -> String {
        let output = self.run(args);
        let (out, err) = texts(&output);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {out}{err}");
        out + &err
    }

    fn control(&self, file: &str) -> PathBuf {
        self.0.join("run/vethlab").join(file)
    }

    /// The process of a project that is up.
    fn process(&self, project: &str) -> u32 {
        let text = fs::read_to_string(self.control(&format!("{project}.lock"))).unwrap();
        text.parse().unwrap()
    }

    fn assert_nothing_left(&self) {
        let left = fs::read_dir(self.0.join("run/vethlab")).unwrap();
        let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Ok(names) = fs::read_dir(self.0.join("run/vethlab")) {
            for name in names
                .flatten()
                .filter_map(|it| it.file_name().into_string().ok())
            {
                if let Some(project) = name.strip_suffix(".sock") {
                    let _down = self.run(&["down", "-p", project]);
                }
            }
        }
        let _gone = fs::remove_dir_all(&self.0);
    }
}

fn signal(process: u32, name: &str) {
    let status = Command::new("kill")
        .args([&format!("-{name}"), &process.to_string()])
        .status();
    assert!(status.unwrap().success());
}

/// Whether any thread of the process is there and no zombie: the first may have ended while another still holds what they share.
fn lives(process: u32) -> bool {
    let Ok(threads) = fs::read_dir(format!("/proc/{process}/task")) else {
        return false;
    };
    threads.filter_map(Result::ok).any(|thread| {
        let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        let state = stat.rsplit(") ").next().unwrap_or_default();
        !state.is_empty() && !state.starts_with(['Z', 'X'])
    })
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !done() {
        assert!(begin.elapsed() < LIMIT, "{what}");
        std::thread::yield_now();
    }
}

/// A process with its output by lines; killed if the test fails.
struct Running {
    child: Child,
    out: BufReader<std::process::ChildStdout>,
}

impl Running {
    fn start(mut command: Command) -> Self {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        Self { child, out }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.out.read_line(&mut line).unwrap();
        line
    }

    /// Reads lines until one has this in it.
    fn line_with(&mut self, what: &str) -> String {
        loop {
            let line = self.line();
            assert!(!line.is_empty(), "it ended without {what:?}");
            if line.contains(what) {
                return line;
            }
        }
    }

    /// Its lines and when they came, and a thread that knows how it ended.
    fn timed(mut self) -> (Receiver<(Instant, String)>, JoinHandle<Option<i32>>) {
        let (tell, heard) = channel();
        let reader = std::thread::spawn(move || {
            loop {
                let line = self.line();
                if line.is_empty() || tell.send((Instant::now(), line)).is_err() {
                    return self.ends();
                }
            }
        });
        (heard, reader)
    }

    fn ends(&mut self) -> Option<i32> {
        let mut rest = Vec::new();
        self.out.read_to_end(&mut rest).unwrap();
        self.child.wait().unwrap().code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

#[test]
fn a_project_in_the_foreground_tells_what_it_is_and_ends_with_a_signal() {
    let scratch = Scratch::new("foreground", SHOP);
    for name in ["INT", "TERM", "HUP"] {
        let mut up = Running::start(scratch.vethlab(&["up", "compose.yaml"]));
        assert!(up.line().starts_with("project shop is up, seed 0, with "));
        let web = up.line_with("shop-web-1");
        assert!(
            web.contains("172.18.0.") && web.contains("0.0.0.0:8080->80/tcp"),
            "{web}"
        );
        assert_eq!(
            up.line_with("exited with"),
            "shop-once-1  | exited with code 0\n"
        );
        let first = up.line_with("shop-talk-1  | 64 bytes from");
        assert!(first.contains("seq="), "{first}");
        signal(up.child.id(), name);
        assert_eq!(up.ends(), Some(0), "{name}");
        scratch.assert_nothing_left();
    }
}

#[test]
fn a_project_in_the_background_answers_by_name_and_goes_down() {
    let scratch = Scratch::new("background", SHOP);
    let told = scratch.says(&["up", "-d"], 0);
    assert!(
        told.contains("project shop is up") && told.contains("in the background"),
        "{told}"
    );
    let process = scratch.process("shop");
    let ps = scratch.says(&["ps"], 0);
    assert!(ps.contains("shop-db-1") && ps.contains("running"), "{ps}");
    let json = scratch.says(&["ps", "-p", "shop", "--format", "json"], 0);
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(value["project"], "shop");
    assert_eq!(value["process"], process);
    assert_eq!(value["containers"].as_array().unwrap().len(), 4);
    assert_eq!(scratch.says(&["ps", "--all"], 0), "shop\n");

    let again = scratch.says(&["up", "-d"], 2);
    assert_eq!(
        again,
        format!(
            "vethlab: project shop is up already (process {process}); `vethlab down -p shop` ends it\n"
        )
    );
    assert!(scratch.says(&["up"], 2).contains("is up already"));

    assert!(
        scratch
            .says(&["why", "shop", "web", "db:5432"], 0)
            .contains("web → db:5432: yes")
    );
    assert!(
        scratch
            .says(&["why", "shop", "lan", "db:5432"], 1)
            .contains(": no")
    );
    assert!(
        scratch
            .says(&["why", "shop", "lan", "nobody"], 2)
            .contains("nobody")
    );
    let matrix = scratch.says(&["matrix", "--format", "csv", "shop"], 0);
    assert!(matrix.starts_with("from,to,port"), "{matrix}");

    assert_eq!(scratch.says(&["down"], 0), "");
    assert!(!lives(process));
    scratch.assert_nothing_left();
    let sentence = "vethlab: no project is up under the name shop; none is\n";
    assert_eq!(scratch.says(&["down"], 2), sentence);
    assert_eq!(scratch.says(&["ps"], 2), sentence);
    assert!(
        scratch
            .says(&["why", "shop", "web", "db"], 2)
            .contains("shop")
    );
}

#[test]
fn tools_run_inside_with_their_output_as_it_comes_and_their_exit_code() {
    let scratch = Scratch::new("exec", SHOP);
    scratch.says(&["up", "-d"], 0);
    let page = scratch.says(
        &[
            "exec",
            "web",
            "--",
            "wget",
            "-q",
            "-O",
            "-",
            "http://127.0.0.1",
        ],
        0,
    );
    assert!(page.ends_with(" 127.0.0.1\n"), "{page}");
    // Four seconds of ping take four seconds: it is real time.
    let begin = Instant::now();
    let pinged = scratch.says(
        &["exec", "web", "--", "ping", "-c", "3", "-i", "0.5", "db"],
        0,
    );
    assert!(begin.elapsed() >= Duration::from_secs(1), "{pinged}");
    assert!(
        pinged.contains("3 packets transmitted, 3 packets received"),
        "{pinged}"
    );
    // A round trip takes as long as it takes.
    assert!(
        pinged.contains("time=") && !pinged.contains("time=0.000"),
        "{pinged}"
    );
    assert!(
        scratch
            .says(&["exec", "db", "--", "nslookup", "web"], 0)
            .contains("172.18.0.")
    );
    assert_eq!(scratch.says(&["exec", "web", "--", "false"], 1), "");
    assert!(
        scratch
            .says(&["exec", "web", "--", "bash"], 127)
            .contains("bash: not found")
    );
    assert!(
        scratch
            .says(&["exec", "nobody", "--", "true"], 2)
            .contains("no service or container nobody; its services are web, db")
    );
    assert!(
        scratch
            .says(&["exec", "once", "--", "true"], 2)
            .contains("is not running")
    );
    assert_eq!(
        scratch
            .says(&["exec", "lan", "--", "hostname"], 0)
            .lines()
            .count(),
        1
    );
    // The host has its firewall, and nobody else.
    let host = |words: &str, code| {
        let args: Vec<&str> = ["exec", "host", "--"]
            .into_iter()
            .chain(words.split(' '))
            .collect();
        scratch.says(&args, code)
    };
    let nat = host("iptables -t nat -S DOCKER", 0);
    assert!(nat.starts_with("-N DOCKER\n-A DOCKER "), "{nat}");
    let rule = " --dport 8080 -j DNAT --to-destination ";
    assert!(nat.contains(rule), "{nat}");
    let listed = host("iptables -L FORWARD -nv --line-numbers", 0);
    let policy = "Chain FORWARD (policy DROP ";
    assert!(listed.starts_with(policy), "{listed}");
    assert!(listed.contains("\nnum   pkts bytes target "), "{listed}");
    let filter = host("iptables -L", 0);
    let user = "Chain DOCKER-USER (1 references)\n";
    assert!(filter.contains(user), "{filter}");
    let none = host("iptables -L NONE", 1);
    assert_eq!(none, "iptables: No chain/target/match by that name.\n");
    host("iptables -F", 2);
    scratch.says(&["exec", "lan", "--", "iptables", "-L"], 127);
    let published = scratch.says(
        &["exec", "lan", "--", "curl", "-s", "http://192.0.2.2:8080"],
        0,
    );
    assert!(published.ends_with(" 192.0.2.9\n"), "{published}");
    let tracked = host("conntrack -L", 0);
    assert!(tracked.contains("dport=8080"), "{tracked}");

    let mut cat = scratch.vethlab(&["exec", "-i", "web", "--", "cat"]);
    let mut cat = cat
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // As much as is taken, which need not be text.
    let bytes: Vec<u8> = (0..=255).cycle().take(48 << 10).collect();
    cat.stdin.take().unwrap().write_all(&bytes).unwrap();
    assert!(cat.wait_with_output().unwrap().stdout == bytes);

    // It comes as it is printed, and whoever ends the client ends it in the lab as well.
    let mut ping = Running::start(scratch.vethlab(&["exec", "web", "--", "ping", "db"]));
    ping.line_with("seq=1");
    let listed = || scratch.says(&["exec", "web", "--", "ss", "-a"], 0);
    // Not INT: a test runner in the background has it ignored.
    signal(ping.child.id(), "TERM");
    assert_eq!(ping.ends(), None, "by the signal");
    let mut server =
        Running::start(scratch.vethlab(&["exec", "web", "--", "httpd", "-f", "-p", "7000"]));
    until("it listens", || listed().contains(":7000"));
    signal(server.child.id(), "TERM");
    server.ends();
    until("it ends", || !listed().contains(":7000"));
    scratch.says(&["down"], 0);
}

#[test]
fn logs_are_kept_and_followed() {
    let scratch = Scratch::new("logs", SHOP);
    scratch.says(&["up", "-d"], 0);
    until("the ping is over", || {
        scratch
            .says(&["logs", "once"], 0)
            .contains("exited with code 0")
    });
    let once = scratch.says(&["logs", "--no-log-prefix", "once"], 0);
    assert!(
        once.contains("1 packets transmitted, 1 packets received"),
        "{once}"
    );
    assert!(once.starts_with("PING db"), "{once}");
    assert_eq!(
        scratch.says(&["logs", "-n", "1", "shop-once-1"], 0),
        "shop-once-1  | exited with code 0\n"
    );
    let json = scratch.says(&["logs", "-n", "1", "--format", "json", "once"], 0);
    let line: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (&line["container"], &line["stream"]),
        (&"shop-once-1".into(), &"stderr".into())
    );
    assert!(
        scratch
            .says(&["logs", "nobody"], 2)
            .contains("no service or container")
    );
    let mut follow = Running::start(scratch.vethlab(&["logs", "-f", "--tail", "0", "talk"]));
    let first = number(&follow.line_with("seq=")).unwrap();
    assert_eq!(number(&follow.line_with("seq=")), Some(first + 1));
    // Whoever follows is told when the project goes.
    scratch.says(&["down"], 0);
    assert_eq!(follow.ends(), Some(2));
}

#[test]
fn projects_run_side_by_side_and_go_alone() {
    let scratch = Scratch::new("many", SHOP);
    for name in ["blue", "green"] {
        scratch.says(&["up", "-d", "-p", name, "--seed", "7"], 0);
    }
    assert_eq!(scratch.says(&["ps", "--all"], 0), "blue\ngreen\n");
    assert!(
        scratch
            .says(&["ps", "-p", "green"], 0)
            .contains("green-web-1")
    );
    // A lab each: the same addresses and ports twice.
    for name in ["blue", "green"] {
        let answer = scratch.says(
            &[
                "exec",
                "-p",
                name,
                "lan",
                "--",
                "curl",
                "-s",
                "http://192.0.2.2:8080",
            ],
            0,
        );
        assert!(answer.ends_with(" 192.0.2.9\n"), "{answer}");
    }
    let sentence = scratch.says(&["ps"], 2);
    assert_eq!(
        sentence,
        "vethlab: no project is up under the name shop; those that are: blue, green\n"
    );
    let green = scratch.process("green");
    scratch.says(&["down", "-p", "blue"], 0);
    assert!(lives(green));
    assert_eq!(
        scratch.says(&["ps", "--all", "--format", "json"], 0),
        "[\"green\"]\n"
    );
    scratch.says(&["down", "-p", "green"], 0);
    assert!(!lives(green));
    scratch.assert_nothing_left();
}

#[test]
fn a_crash_leaves_nothing_in_the_way() {
    let scratch = Scratch::new("crash", SHOP);
    scratch.says(&["up", "-d"], 0);
    let process = scratch.process("shop");
    signal(process, "KILL");
    until("it is gone", || !lives(process));
    assert!(scratch.control("shop.sock").exists());
    let told = scratch.says(&["ps"], 2);
    assert!(told.contains("no project is up"), "{told}");
    scratch.says(&["up", "-d"], 0);
    assert_ne!(scratch.process("shop"), process);
    scratch.says(&["down"], 0);
    scratch.assert_nothing_left();
    // A socket of somebody who does not hold the lock.
    drop(UnixListener::bind(scratch.control("shop.sock")).unwrap());
    scratch.says(&["up", "-d"], 0);
    scratch.says(&["down"], 0);
    scratch.assert_nothing_left();
}

#[test]
fn what_does_not_come_up_says_why_where_it_was_asked_for() {
    let scratch = Scratch::new(
        "fails",
        "services: {web: {image: nginx, networks: [front, back]}}\nnetworks:\n  front: {ipam: {config: [{subnet: 10.5.0.0/24}]}}\n  back: {ipam: {config: [{subnet: 10.5.0.0/24}]}}\n",
    );
    for args in [&["up", "-d"][..], &["up"]] {
        let said = scratch.says(args, 2);
        assert!(
            said.contains("compose.yaml:4:")
                && said.contains("networks.back: invalid pool request"),
            "{said}"
        );
        scratch.assert_nothing_left();
    }
    fs::write(
        scratch.0.join("shop/compose.yaml"),
        "services: {web: {imgae: x}}\n",
    )
    .unwrap();
    assert!(scratch.says(&["up", "-d"], 2).contains("compose.yaml:1:"));
    fs::remove_file(scratch.0.join("shop/compose.yaml")).unwrap();
    assert!(
        scratch
            .says(&["up"], 2)
            .contains("no compose file in this folder")
    );
    let said = scratch.says(&["down"], 2);
    assert!(
        said.contains("no compose file") && said.contains("no project is up"),
        "{said}"
    );
    // What does not start is said, and the rest is up.
    let twice = "services:\n  a: {image: nginx, ports: ['8080:80']}\n  b: {image: nginx, ports: ['8080:80']}\n";
    fs::write(scratch.0.join("shop/compose.yaml"), twice).unwrap();
    let said = scratch.says(&["up", "-d"], 0);
    assert!(
        said.contains("shop-b-1 does not start: ") && said.contains("port is already allocated"),
        "{said}"
    );
    assert!(scratch.says(&["ps"], 0).contains("failed"));
    scratch.says(&["down"], 0);
}

/// The number of a ping that was answered.
fn number(line: &str) -> Option<u32> {
    let rest = line.split("seq=").nth(1)?;
    rest.split(' ').next()?.parse().ok()
}

/// Stopped for longer than a stall, the project goes on from where it was: the ping misses nothing and nothing bursts.
#[test]
fn after_it_was_stopped_nothing_bursts() {
    let scratch = Scratch::new("stalled", SHOP);
    scratch.says(&["up", "-d"], 0);
    let process = scratch.process("shop");
    let taped = scratch.0.join("taped.pcapng");
    let file = taped.to_str().unwrap();
    let mut capture = Running::start(scratch.vethlab(&["capture", "-i", "talk:eth0", "-w", file]));
    let ping = Running::start(
        scratch.vethlab(&["exec", "web", "--", "ping", "-c", "12", "-i", "0.5", "db"]),
    );
    let (heard, reader) = ping.timed();
    let until_number = |wanted: u32| {
        let mut all = heard.iter();
        all.find_map(|(at, line)| (number(&line) == Some(wanted)).then_some(at))
    };
    until_number(2).unwrap();
    signal(process, "STOP");
    std::thread::sleep(Duration::from_secs(4));
    // It may have come further before it was stopped.
    let numbers = heard.try_iter().filter_map(|(_, line)| number(&line));
    let last = numbers.last().unwrap_or(2);
    let goes_on = Instant::now();
    signal(process, "CONT");
    // Five more, half a second apart, of which at most one was due when it was stopped.
    let took = until_number(last + 5).unwrap() - goes_on;
    assert!(took >= Duration::from_millis(1900), "{took:?} after {last}");
    let told: String = heard.iter().map(|(_, line)| line).collect();
    assert!(
        told.contains("12 packets transmitted, 12 packets received, 0% packet loss"),
        "{told}"
    );
    assert_eq!(reader.join().unwrap(), Some(0));
    // A capture keeps to the wall clock: what it saw last, a ping each 0.2 s, was a moment ago.
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    signal(capture.child.id(), "TERM");
    capture.ends();
    let behind = now.saturating_sub(last_packet(&fs::read(&taped).unwrap()));
    assert!(behind < Duration::from_secs(3), "{behind:?} behind");
    let at = |json: &str| -> f64 {
        let value: serde_json::Value = serde_json::from_str(json).unwrap();
        value["at"].as_str().unwrap().parse().unwrap()
    };
    assert!(at(&scratch.says(&["ps", "--format", "json"], 0)) > 0.0);
    scratch.says(&["down"], 0);
}

/// When the last packet of a capture was seen, since 1970; its blocks count nanoseconds.
fn last_packet(pcapng: &[u8]) -> Duration {
    let word = |at: usize| u32::from_le_bytes(pcapng[at..at + 4].try_into().unwrap());
    let (mut at, mut last) = (0, 0);
    while at + 12 <= pcapng.len() {
        if word(at) == 6 {
            last = u64::from(word(at + 12)) << 32 | u64::from(word(at + 16));
        }
        at += word(at + 4) as usize;
    }
    Duration::from_nanos(last)
}

/// The processor time of a process, in ticks of 10 ms.
fn ticks(process: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

fn switches(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("voluntary_ctxt_switches"));
    line.unwrap().split('\t').nth(1).unwrap().parse().unwrap()
}

/// Without anything to do it is not woken up once. (A minute of it, and its memory, are measured by hand.)
#[test]
fn an_idle_project_sleeps() {
    let services: String = (0..10)
        .map(|n| format!("  s{n}: {{image: nginx}}\n"))
        .collect();
    let scratch = Scratch::new("idle", &format!("services:\n{services}"));
    scratch.says(&["up", "-d"], 0);
    let process = scratch.process("shop");
    // Addresses are announced for a while, at most a second or two apart.
    let work = || (ticks(process), switches(process));
    let (mut before, mut since) = (work(), Instant::now());
    until("it does not come to rest", || {
        std::thread::sleep(Duration::from_millis(100));
        let now = work();
        if now != before {
            (before, since) = (now, Instant::now());
        }
        since.elapsed() > Duration::from_secs(4)
    });
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!(work(), before);
    scratch.says(&["down"], 0);
}

const EDGE: &str = "name: edge
services: {proxy: {image: nginx, ports: ['8080:80'], networks: [web]}}
networks: {web: {name: web}}
";
const BLOG: &str = "name: blog
services:
  ghost: {image: ghost, networks: [web, default]}
  db: {image: mysql}
networks: {web: {external: true}}
";

/// The projects of a host in one lab, under the host's name.
#[test]
fn the_projects_of_a_host_are_up_together() {
    let scratch = Scratch::new("host", SHOP);
    let write =
        |name: &str, text: &str| fs::write(scratch.0.join("shop").join(name), text).unwrap();
    write("edge.yaml", EDGE);
    write("blog.yaml", BLOG);
    // `blog` is named first and waits for the network that `edge` makes.
    let config = "projects: {blog: {files: blog.yaml}, edge: {files: edge.yaml}}\nhosts: {server: {projects: [blog, edge]}}\n";
    write("vethlab.yaml", config);
    let told = scratch.says(&["up", "-d", "--on", "server"], 0);
    assert!(told.contains("project server is up"), "{told}");
    assert!(
        told.contains("edge/proxy") && told.contains("blog-db-1"),
        "{told}"
    );
    // By name, by the file, and by the host in it.
    for which in [
        &["-p", "server"][..],
        &["-f", "vethlab.yaml"],
        &["--on", "server"],
    ] {
        let ps = scratch.says(&[&["ps"], which].concat(), 0);
        assert!(
            ps.contains("blog/ghost") && ps.contains("edge/proxy"),
            "{ps}"
        );
    }
    let pinged = scratch.says(
        &[
            "exec",
            "-p",
            "server",
            "edge/proxy",
            "--",
            "ping",
            "-c",
            "1",
            "ghost",
        ],
        0,
    );
    assert!(pinged.contains("1 packets received"), "{pinged}");
    let nobody = scratch.says(&["exec", "-p", "server", "proxy", "--", "true"], 2);
    assert!(
        nobody.contains("its services are blog/ghost, blog/db, edge/proxy"),
        "{nobody}"
    );
    let why = scratch.says(&["why", "server", "edge/proxy", "blog/ghost"], 0);
    assert!(why.contains("edge/proxy → blog/ghost:2368: yes"), "{why}");
    let why = scratch.says(&["why", "server", "edge/proxy", "blog/db"], 1);
    assert!(
        why.contains("edge/proxy is on web, blog/db on blog_default"),
        "{why}"
    );
    let matrix = scratch.says(&["matrix", "--format", "csv", "server"], 0);
    assert!(matrix.contains("edge/proxy,blog/ghost"), "{matrix}");
    let logs = scratch.says(&["logs", "-p", "server", "-n", "0", "edge/proxy"], 0);
    assert_eq!(logs, "");
    let again = scratch.says(&["up", "-d", "--on", "server"], 2);
    assert!(again.contains("project server is up already"), "{again}");
    scratch.says(&["down", "-p", "server"], 0);
    scratch.assert_nothing_left();

    // Two projects that want one subnet: the second says where it stands.
    write(
        "blog.yaml",
        &format!("{BLOG}  default: {{ipam: {{config: [{{subnet: 172.18.0.0/16}}]}}}}\n").replace(
            "networks: {web: {external: true}}",
            "networks:\n  web: {external: true}",
        ),
    );
    write(
        "edge.yaml",
        &EDGE.replace(
            "{name: web}",
            "{name: web, ipam: {config: [{subnet: 172.18.0.0/16}]}}",
        ),
    );
    let failed = scratch.says(&["up", "-d", "--on", "server"], 2);
    assert!(
        failed.contains("blog.yaml:7:") && failed.contains("networks.blog_default: "),
        "{failed}"
    );
    assert!(failed.contains("Pool overlaps with other one"), "{failed}");
    scratch.assert_nothing_left();
    let which = scratch.says(&["up", "--on", "sever"], 2);
    assert!(which.contains("did you mean `server`?"), "{which}");
}

/// As the harness may run as root: once more as nobody, if that is possible here.
#[test]
fn an_ordinary_user_needs_nothing_more() {
    // A port of this machine that is free.
    let scratch = Scratch::new("user", &SHOP.replace("8080:80", "80"));
    let is_root =
        fs::metadata("/proc/self").is_ok_and(|it| std::os::unix::fs::MetadataExt::uid(&it) == 0);
    if !is_root {
        // The other tests have been that.
        return;
    }
    // By a process of its own: a file that another thread's child still has open to write is not executed.
    let copied = Command::new("cp")
        .arg(env!("CARGO_BIN_EXE_vethlab"))
        .arg(scratch.0.join("vethlab"))
        .status();
    assert!(copied.unwrap().success());
    let owned = Command::new("chown")
        .arg("-R")
        .arg("65534:65534")
        .arg(&scratch.0)
        .stderr(Stdio::null())
        .status();
    if !owned.is_ok_and(|status| status.success()) {
        // In a user namespace there may be nobody else to be.
        let _said = writeln!(
            std::io::stderr().lock(),
            "SKIPPED: files cannot be given to an ordinary user here"
        );
        return;
    }
    let script = "./vethlab up -d shop/compose.yaml && ./vethlab exec -p shop web -- ping -c 1 db && ./vethlab down -p shop";
    let output = Command::new("setpriv")
        .args([
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            "--inh-caps=-all",
            "--bounding-set=-all",
            "--no-new-privs",
        ])
        .args(["sh", "-c", script])
        .current_dir(&scratch.0)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("XDG_RUNTIME_DIR", scratch.0.join("run"))
        .output();
    let Ok(output) = output else {
        let _said = writeln!(
            std::io::stderr().lock(),
            "SKIPPED: no setpriv to become an ordinary user with"
        );
        return;
    };
    let (out, err) = texts(&output);
    assert!(output.status.success(), "{out}{err}");
    assert!(out.contains("1 packets received"), "{out}");
    scratch.assert_nothing_left();
}

#[test]
fn every_verb_shows_examples_and_its_exit_codes() {
    for verb in ["up", "down", "ps", "logs", "exec"] {
        let (help, _) = texts(&vethlab(&[verb, "--help"]));
        let example = format!("Examples:\n  vethlab {verb}");
        assert!(help.contains(&example), "{help}");
        assert!(help.contains("Exit codes:"), "{help}");
    }
}
