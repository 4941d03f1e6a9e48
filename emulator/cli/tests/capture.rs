//! `vethlab capture` and `vethlab extcap` at a project that is up: real processes, pipes and signals, and tshark
//! where it is installed.
#![cfg(target_os = "linux")]

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How long anything may take.
const LIMIT: Duration = Duration::from_secs(60);
/// The type of a block that ends a capture.
const STATISTICS: u32 = 5;
const PACKET: u32 = 6;

const COMPOSE: &str = "\
name: shop
services:
  web: {image: nginx, networks: [net], ports: ['8080:80']}
  db: {image: postgres, networks: [net]}
  client: {image: busybox, networks: [net]}
networks: {net: {}}
";

/// A project that is up, in a runtime folder of its own; down when it is dropped.
struct Project {
    folder: PathBuf,
}

impl Project {
    fn up(name: &str) -> Self {
        // The path of a socket is short.
        let folder = std::env::temp_dir().join(format!("vl-{name}-{}", std::process::id()));
        let _first = fs::remove_dir_all(&folder);
        fs::create_dir_all(folder.join("home")).unwrap();
        fs::write(folder.join("compose.yaml"), COMPOSE).unwrap();
        let project = Self { folder };
        let up = project
            .vethlab(&["up", "-d", "--no-publish"])
            .output()
            .unwrap();
        assert!(
            up.status.success(),
            "{}",
            String::from_utf8_lossy(&up.stderr)
        );
        project
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(&self.folder)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.folder.join("home"))
            .env("XDG_RUNTIME_DIR", &self.folder)
            .stdin(Stdio::null())
            .stderr(Stdio::piped());
        command
    }

    fn vethlab(&self, args: &[&str]) -> Command {
        let mut command = self.command(env!("CARGO_BIN_EXE_vethlab"));
        command.args(args).stdout(Stdio::piped());
        command
    }

    /// Runs a verb to its end: standard output, standard error, exit code.
    fn run(&self, args: &[&str]) -> (Vec<u8>, String, Option<i32>) {
        let output = self.vethlab(args).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.stdout, errors, output.status.code())
    }

    fn ping(&self, count: u32, size: u32) {
        let (count, size) = (count.to_string(), size.to_string());
        let args = [
            "exec", "client", "--", "ping", "-q", "-i", "0.01", "-c", &count, "-s", &size, "db",
        ];
        let (out, err, code) = self.run(&args);
        assert_eq!(code, Some(0), "{err}{}", String::from_utf8_lossy(&out));
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        let _down = self.vethlab(&["down"]).output();
        let _gone = fs::remove_dir_all(&self.folder);
    }
}

/// A command whose output is read as it comes.
struct Running {
    child: Child,
    seen: Vec<u8>,
}

impl Running {
    /// Starts a capture and waits for its first bytes.
    fn start(mut command: Command) -> Self {
        let child = command.spawn().unwrap();
        let mut running = Self {
            child,
            seen: Vec::new(),
        };
        running.read_until(|seen| seen.len() >= 28);
        running
    }

    fn read_until(&mut self, enough: impl Fn(&[u8]) -> bool) {
        let mut chunk = [0; 65_536];
        let out = self.child.stdout.as_mut().expect("a pipe");
        while !enough(&self.seen) {
            let count = out.read(&mut chunk).unwrap();
            assert!(count > 0, "it ended early");
            self.seen.extend_from_slice(&chunk[..count]);
        }
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args([name, &self.child.id().to_string()])
            .status()
            .unwrap();
        assert!(sent.success());
    }

    /// Everything that it wrote, what it said, how it ended.
    fn end(mut self) -> (Vec<u8>, String, Option<i32>) {
        let mut out = self.child.stdout.take().expect("a pipe");
        out.read_to_end(&mut self.seen).unwrap();
        let (errors, code) = wait(&mut self.child);
        (self.seen, errors, code)
    }
}

/// Waits for the end of a process; it is killed when that takes too long.
fn wait(child: &mut Child) -> (String, Option<i32>) {
    let until = Instant::now() + LIMIT;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if Instant::now() > until {
            let _killed = child.kill();
            panic!("it does not end");
        }
        thread::sleep(Duration::from_millis(10));
    };
    let mut errors = String::new();
    if let Some(mut stderr) = child.stderr.take() {
        stderr.read_to_string(&mut errors).unwrap();
    }
    (errors, status.code())
}

/// The types of the blocks of a capture, which has to be whole.
fn blocks(pcap: &[u8]) -> Vec<u32> {
    let word = |at: usize| u32::from_le_bytes(pcap[at..at + 4].try_into().unwrap());
    let (mut at, mut kinds) = (0, Vec::new());
    while at < pcap.len() {
        kinds.push(word(at));
        at += word(at + 4) as usize;
    }
    assert_eq!(at, pcap.len(), "a block is not whole");
    assert_eq!(kinds[0], 0x0a0d_0d0a);
    kinds
}

fn packets(pcap: &[u8]) -> usize {
    blocks(pcap).iter().filter(|&&kind| kind == PACKET).count()
}

fn has_tshark() -> bool {
    let found = Command::new("tshark").arg("--version").output().is_ok();
    if !found {
        let _ = writeln!(
            std::io::stderr().lock(),
            "SKIPPED: tshark is not here: live captures are not read by it"
        );
    }
    found
}

#[test]
fn several_captures_at_once_each_with_its_filter() {
    let project = Project::up("several");
    let of = |args: &[&str]| {
        let mut all = vec!["capture", "-w", "-"];
        all.extend(args);
        Running::start(project.vethlab(&all))
    };
    let requests = of(&["-c", "5", "icmp[icmptype]", "==", "icmp-echo"]);
    let mut replies = of(&["-i", "db", "src host db and icmp"]);
    let mut snapped = of(&["shop", "-i", "net", "--snaplen", "40", "icmp"]);
    let nothing = of(&["-p", "shop", "-i", "web:eth0", "udp port 9"]);
    project.ping(8, 100);
    let (pcap, said, code) = requests.end();
    assert_eq!((packets(&pcap), code), (5, Some(0)), "{said}");
    assert_eq!(said, "5 packets captured\n");
    assert_eq!(blocks(&pcap).last(), Some(&STATISTICS));

    replies.read_until(|seen| seen.len() > 8 * 142);
    replies.signal("-INT");
    let (pcap, said, code) = replies.end();
    assert_eq!((packets(&pcap), code), (8, Some(0)), "{said}");
    assert_eq!(blocks(&pcap).last(), Some(&STATISTICS));

    snapped.read_until(|seen| seen.len() > 16 * 40);
    snapped.signal("-TERM");
    let (pcap, said, _) = snapped.end();
    assert_eq!(packets(&pcap), 16, "{said}");
    assert!(pcap.len() < 3000, "{} bytes", pcap.len());

    nothing.signal("-INT");
    let (pcap, said, code) = nothing.end();
    assert_eq!((packets(&pcap), code), (0, Some(0)));
    assert_eq!(said, "0 packets captured\n");
}

#[test]
fn a_closed_pipe_ends_a_capture_even_of_nothing() {
    let project = Project::up("closed");
    let mut idle = Running::start(project.vethlab(&["capture", "-w", "-", "udp port 9"]));
    drop(idle.child.stdout.take());
    assert_eq!(wait(&mut idle.child).1, Some(0));
    let mut busy = Running::start(project.vethlab(&["capture", "-w", "-"]));
    drop(busy.child.stdout.take());
    project.ping(3, 100);
    assert_eq!(wait(&mut busy.child).1, Some(0));
}

/// Who does not read loses packets and is told how many; everybody else has all of them.
#[test]
fn a_slow_reader_loses_packets_and_slows_nobody() {
    let project = Project::up("slow");
    let slow = Running::start(project.vethlab(&["capture", "-i", "net", "-w", "-"]));
    let filter = "icmp or ip[6:2] & 0x3fff != 0";
    // All that it takes fits into the buffer of its capture, however busy the machine is.
    let args = ["capture", "-i", "net", "-s", "60", "-w", "-", filter];
    let quick = Running::start(project.vethlab(&args));
    let number = quick.child.id().to_string();
    let reader = thread::spawn(move || quick.end());
    let start = Instant::now();
    project.ping(200, 30_000);
    let took = start.elapsed();
    let sent = Command::new("kill").args(["-INT", &number]).status();
    assert!(sent.unwrap().success());
    let (all, said, _) = reader.join().unwrap();
    assert!(!said.contains("lost"), "{said}");
    // 200 pings and answers of 21 fragments each.
    assert!(packets(&all) >= 8400, "{said}");
    assert!(took < LIMIT, "{took:?}");

    slow.signal("-INT");
    let (pcap, said, code) = slow.end();
    assert_eq!(code, Some(0));
    let numbers: Vec<usize> = said
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|number| number.parse().ok())
        .collect();
    let [captured, lost] = numbers[..] else {
        panic!("{said}");
    };
    assert!(said.contains("lost: they were not read in time"), "{said}");
    assert_eq!(captured, packets(&pcap));
    assert!(lost > 0 && captured + lost >= 8400, "{said}");
}

#[test]
fn a_capture_ends_with_the_project() {
    let project = Project::up("down");
    let capture = Running::start(project.vethlab(&["capture", "-w", "-"]));
    project.ping(2, 100);
    let (_, err, code) = project.run(&["down"]);
    assert_eq!(code, Some(0), "{err}");
    let (pcap, said, code) = capture.end();
    assert_eq!(code, Some(0), "{said}");
    assert!(packets(&pcap) >= 4);
    assert_eq!(blocks(&pcap).last(), Some(&STATISTICS));
}

/// `timeout` sends two signals, one to the process and one to its group: that is no reason to lose the capture.
#[test]
fn two_signals_at_once_are_one() {
    let project = Project::up("twice");
    let capture = Running::start(project.vethlab(&["capture", "-w", "-"]));
    // More than the pipe takes: it cannot end before it is read.
    project.ping(20, 30_000);
    let number = capture.child.id();
    let twice = format!("kill -TERM {number}; sleep 0.05; kill -TERM {number}");
    let sent = Command::new("sh").args(["-c", &twice]).status();
    assert!(sent.unwrap().success());
    let (pcap, said, code) = capture.end();
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(blocks(&pcap).last(), Some(&STATISTICS), "{said}");
}

#[test]
fn what_was_captured_survives_a_crash_of_the_project() {
    let project = Project::up("crash");
    let file = project.folder.join("out.pcapng");
    let args = ["capture", "-w", "out.pcapng"];
    let mut capture = project.vethlab(&args).spawn().unwrap();
    let until = Instant::now() + LIMIT;
    let growing = project.folder.join("out.pcapng.tmp");
    // More than its head and twenty packets.
    while fs::metadata(&growing).map_or(0, |found| found.len()) < 100_000 {
        assert!(Instant::now() < until, "little is written");
        project.ping(20, 30_000);
    }
    let (ps, _, _) = project.run(&["ps", "--format", "json"]);
    let ps: serde_json::Value = serde_json::from_slice(&ps).unwrap();
    let process = ps["process"].to_string();
    let killed = Command::new("kill").args(["-KILL", &process]).status();
    assert!(killed.unwrap().success());
    let (said, code) = wait(&mut capture);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("the project went down"), "{said}");
    assert!(packets(&fs::read(file).unwrap()) >= 20);
}

#[test]
fn what_cannot_be_captured_is_said() {
    let project = Project::up("wrong");
    for (args, words) in [
        (
            &["-w", "-", "host", "nobody"][..],
            "column 6: unknown host 'nobody'",
        ),
        (&["-w", "-", "tcp porr 80"], "column 5: syntax error"),
        (&["-w", "x.pcapng", "tcp porr 80"], "column 5: syntax error"),
        (
            &["-i", "web:eth7", "-w", "-"],
            "web:eth7: no such interface; there are any, ",
        ),
        (&["-w", "no/such/folder/x.pcapng"], "no/such/folder"),
        (
            &["-p", "other", "-w", "-"],
            "no project is up under the name other",
        ),
        (&["--ring", "10MB:5"], "--ring needs -w FILE"),
        (&["--ring", "x", "-w", "x"], "x: not SIZE:FILES"),
    ] {
        let mut all = vec!["capture"];
        all.extend(args);
        let (out, err, code) = project.run(&all);
        assert_eq!(code, Some(2), "{args:?}: {err}");
        assert!(err.contains(words) && out.is_empty(), "{args:?}: {err}");
    }
    assert!(!project.folder.join("x.pcapng.tmp").exists());
    let (out, _, _) = project.run(&["capture", "-D"]);
    let names = String::from_utf8(out).unwrap();
    for name in [
        "any",
        "net",
        "web:eth0",
        "db:eth0",
        "client:eth0",
        "host:eth0",
        "lan:eth0",
    ] {
        assert!(names.lines().any(|line| line == name), "{name}: {names}");
    }
    assert!(
        !names.contains("veth") && !names.contains("wires"),
        "{names}"
    );
}

#[test]
fn files_of_which_the_last_are_kept() {
    let project = Project::up("ring");
    let at = project.folder.join("out.pcapng");
    let mut command = project.vethlab(&["capture", "--ring", "100kB:2", "-w"]);
    let mut child = command.arg(&at).spawn().unwrap();
    let until = Instant::now() + LIMIT;
    while !project.folder.join("out_00001.pcapng.tmp").exists() && Instant::now() < until {
        thread::sleep(Duration::from_millis(5));
    }
    while !project.folder.join("out_00004.pcapng").exists() && Instant::now() < until {
        project.ping(5, 10_000);
    }
    let sent = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(sent.success());
    let (said, code) = wait(&mut child);
    assert_eq!(code, Some(0), "{said}");
    let mut names: Vec<String> = fs::read_dir(&project.folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("out"))
        .collect();
    names.sort();
    assert_eq!(names.len(), 2, "{names:?}");
    for name in names {
        let pcap = fs::read(project.folder.join(&name)).unwrap();
        assert!(pcap.len() <= 100_000 && !blocks(&pcap).is_empty(), "{name}");
    }
}

/// What Wireshark asks its plug-ins, asked without it.
#[test]
fn the_plug_in_answers_as_wireshark_asks() {
    let project = Project::up("extcap");
    let text = |args: &[&str]| {
        let mut all = vec!["extcap"];
        all.extend(args);
        let (out, err, code) = project.run(&all);
        assert_eq!(code, Some(0), "{args:?}: {err}");
        String::from_utf8(out).unwrap()
    };
    let interfaces = text(&["--extcap-interfaces", "--extcap-version=4.0"]);
    assert!(interfaces.starts_with("extcap {version="), "{interfaces}");
    for value in [
        "vethlab:shop",
        "vethlab:shop:any",
        "vethlab:shop:net",
        "vethlab:shop:db:eth0",
    ] {
        assert!(
            interfaces.contains(&format!("interface {{value={value}}}{{display=")),
            "{value}"
        );
    }
    let at = ["--extcap-interface", "vethlab:shop:db:eth0"];
    let dlts = text(&[at[0], at[1], "--extcap-dlts"]);
    assert_eq!(dlts, "dlt {number=1}{name=EN10MB}{display=Ethernet}\n");
    assert!(text(&[at[0], at[1], "--extcap-config"]).starts_with("arg {number=0}{call=--snaplen}"));
    assert_eq!(
        text(&[at[0], at[1], "--extcap-capture-filter", "port 80"]),
        ""
    );
    let wrong = text(&[at[0], at[1], "--extcap-capture-filter", "porr 80"]);
    assert!(wrong.contains("column 1"), "{wrong}");
    let (_, err, code) = project.run(&["extcap", "--extcap-interface", "eth0", "--extcap-dlts"]);
    assert_eq!(code, Some(2), "{err}");

    let folder = project.folder.join("plug-ins");
    let installed = text(&["--install", "--folder", folder.to_str().unwrap()]);
    assert!(installed.starts_with("wrote ") && installed.contains("plug-ins/vethlab"));
    let plug_in = folder.join("vethlab");
    let listed = project
        .command(plug_in.to_str().unwrap())
        .arg("--extcap-interfaces")
        .output();
    assert_eq!(
        String::from_utf8(listed.unwrap().stdout).unwrap(),
        interfaces
    );
    fs::write(folder.join("mine"), "x").unwrap();
    assert!(text(&["--uninstall", "--folder", folder.to_str().unwrap()]).starts_with("took "));
    assert!(!plug_in.exists() && folder.join("mine").exists());
    fs::write(&plug_in, "#!/bin/sh\n").unwrap();
    for verb in ["--install", "--uninstall"] {
        let (_, err, code) = project.run(&["extcap", verb, "--folder", folder.to_str().unwrap()]);
        assert_eq!(code, Some(2), "{err}");
    }
    assert_eq!(
        fs::read(&plug_in).unwrap(),
        b"#!/bin/sh\n",
        "somebody else's stays"
    );
}

#[test]
fn tshark_reads_a_capture_as_it_comes() {
    if !has_tshark() {
        return;
    }
    let project = Project::up("tshark");
    let mut capture = project
        .vethlab(&["capture", "-i", "any", "-w", "-", "icmp"])
        .spawn()
        .unwrap();
    let pcap = capture.stdout.take().unwrap();
    let tshark = {
        // The command holds its end of the pipe as long as it is there.
        let mut tshark = project.command("tshark");
        tshark.args([
            "-r",
            "-",
            "-l",
            "-T",
            "fields",
            "-e",
            "frame.interface_name",
        ]);
        tshark.args(["-e", "ip.dst_host", "-N", "n", "-c", "8"]);
        let tshark = tshark.stdin(pcap).stdout(Stdio::piped());
        tshark.spawn().unwrap()
    };
    let stop = thread::spawn(move || tshark.wait_with_output().unwrap());
    let until = Instant::now() + LIMIT;
    while !stop.is_finished() && Instant::now() < until {
        project.ping(2, 100);
    }
    let read = stop.join().unwrap();
    // It reads no more, and so the capture ends.
    wait(&mut capture);
    let text = String::from_utf8(read.stdout).unwrap();
    assert_eq!(text.lines().count(), 8, "{text}");
    // Interfaces and hosts have the names that the capture gives them.
    assert!(text.contains("shop-client-1:eth0\tshop-db-1"), "{text}");
}

#[test]
fn tshark_captures_through_the_plug_in() {
    if !has_tshark() {
        return;
    }
    let project = Project::up("plugin");
    let (out, err, code) = project.run(&["extcap", "--install"]);
    assert_eq!(code, Some(0), "{err}");
    let out = String::from_utf8(out).unwrap();
    let home = project.folder.join("home");
    assert!(
        out.starts_with(&format!("wrote {}", home.display())),
        "{out}"
    );
    let listed = project.command("tshark").arg("-D").output().unwrap();
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(
        listed.contains("vethlab:shop:db:eth0 (vethlab shop, db:eth0)"),
        "{listed}"
    );
    let mut tshark = project.command("tshark");
    tshark.args([
        "-i",
        "vethlab:shop:db:eth0",
        "-f",
        "icmp[icmptype] == icmp-echoreply",
    ]);
    tshark.args(["-c", "3", "-T", "fields", "-e", "ip.src", "-e", "icmp.type"]);
    let tshark = tshark.stdout(Stdio::piped()).spawn().unwrap();
    let stop = thread::spawn(move || tshark.wait_with_output().unwrap());
    let until = Instant::now() + LIMIT;
    while !stop.is_finished() && Instant::now() < until {
        project.ping(2, 100);
    }
    let read = stop.join().unwrap();
    let text = String::from_utf8_lossy(&read.stdout).into_owned();
    let errors = String::from_utf8_lossy(&read.stderr).into_owned();
    assert_eq!(text.lines().count(), 3, "{text}{errors}");
    assert!(text.lines().all(|line| line.ends_with("\t0")), "{text}");
    let (out, ..) = project.run(&["extcap", "--uninstall"]);
    assert!(out.starts_with(b"took "));
    assert!(!any_plug_in(&home));
}

/// Whether the plug-in is somewhere below a folder.
fn any_plug_in(folder: &Path) -> bool {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.into_iter().any(|entry| {
        let path = entry.path();
        path.ends_with("extcap/vethlab") || (path.is_dir() && any_plug_in(&path))
    })
}
