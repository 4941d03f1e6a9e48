//! `vethlab attach`: real programs on an emulated network, as client and as server; what they leave (nothing).
//!
//! Where neither root nor a user namespace may make a network namespace, each says so and passes.
#![cfg(target_os = "linux")]

mod rig;

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rig::{command, texts, vethlab};
use rustix::process::{Pid, Signal, kill_process};

/// How long something may take that takes no time.
const LIMIT: Duration = Duration::from_secs(60);

const SHOP: &str = "\
name: shop
services:
  web: {image: nginx, networks: [front]}
  db: {image: postgres, expose: ['5432'], networks: [front]}
networks:
  front: {}
";

/// A project that is up, and goes with its folder.
struct Shop(PathBuf);

impl Shop {
    /// `None`, said aloud: programs cannot be attached here.
    fn up(test: &str) -> Option<Self> {
        let name = format!("vethlab-attach-{}-{test}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        let _gone = fs::remove_dir_all(&folder);
        fs::create_dir_all(folder.join("run")).unwrap();
        fs::write(folder.join("compose.yaml"), SHOP).unwrap();
        let shop = Self(folder);
        shop.says(&["up", "-d"], 0);
        let (_, err) = texts(&shop.run(&["attach", "front", "--", "true"]));
        if err.contains("no namespaces here") || err.contains("no veth pair") {
            eprintln!("SKIPPED {test}: {err}");
            return None;
        }
        Some(shop)
    }

    fn vethlab(&self, args: &[&str]) -> Command {
        let mut command = command(args);
        command
            .current_dir(&self.0)
            .env("XDG_RUNTIME_DIR", self.0.join("run"))
            .stdin(Stdio::null());
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.vethlab(args).output().unwrap()
    }

    /// What it prints, if it exits with this code.
    fn says(&self, args: &[&str], code: i32) -> String {
        let output = self.run(args);
        let (out, err) = texts(&output);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {out}{err}");
        out + &err
    }

    /// A shell on the network `front`.
    fn shell(&self, script: &str, code: i32) -> String {
        self.says(&["attach", "front", "--", "sh", "-c", script], code)
    }

    /// The number of the process that has the lab.
    fn process(&self) -> i32 {
        let told = self.says(&["ps", "--format", "json"], 0);
        let (_, rest) = told.split_once("\"process\":").unwrap();
        rest.split(',').next().unwrap().trim().parse().unwrap()
    }

    /// A program on the network under this name, when `ps` shows it.
    fn start(&self, name: &str, argv: &[&str]) -> Child {
        let args = [&["attach", "--name", name, "front", "--"], argv].concat();
        let child = self.vethlab(&args).stdout(Stdio::null()).spawn().unwrap();
        until("it is not there", || {
            self.says(&["ps"], 0).contains("(attached)")
        });
        child
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        let _down = self.run(&["down"]);
        let _gone = fs::remove_dir_all(&self.0);
    }
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !done() {
        assert!(begin.elapsed() < LIMIT, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_program_has_what_a_container_has() {
    let Some(shop) = Shop::up("has") else { return };
    let told = shop.shell(
        "cat /etc/hosts /etc/resolv.conf /etc/hostname /proc/net/dev",
        0,
    );
    assert!(told.contains("172.18.0.4\t"), "{told}");
    assert!(told.contains("nameserver 127.0.0.11"), "{told}");
    let devices = told.lines().filter_map(|line| line.trim().split_once(": "));
    let mut devices: Vec<&str> = devices.map(|(name, _)| name).collect();
    devices.retain(|name| !name.contains(' '));
    devices.sort_unstable();
    assert_eq!(devices, ["eth0", "lo"], "{told}");
    // Its exit code and the signal that ended it are the verb's.
    shop.shell("exit 7", 7);
    shop.shell("kill -TERM $$", 143);
    shop.says(&["attach", "front", "--", "/nowhere/program"], 127);
    let told = shop.says(&["attach", "nope", "--", "true"], 2);
    assert!(
        told.contains("shop has no network nope; its networks are front"),
        "{told}"
    );
    // Nothing of them is left.
    assert!(!shop.says(&["ps"], 0).contains("(attached)"));
}

/// A lab that has to wait for a core does not lose what a program sends meanwhile.
#[test]
fn frames_wait_for_the_lab() {
    const SEND: &str = "\
import socket, time, urllib.request, pathlib
urllib.request.urlopen('http://web/', timeout=20).read()
pathlib.Path('ready').touch()
while not pathlib.Path('go').exists(): time.sleep(0.01)
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for _ in range(2000): s.sendto(bytes(1400), ('172.18.0.2', 9))
def eth0():
    [line] = [line for line in open('/proc/net/dev') if 'eth0:' in line]
    return [int(field) for field in line.split()[1:]]
print(eth0()[11], 'dropped', flush=True)
while eth0()[9] < 2000: time.sleep(0.01)
";
    let Some(shop) = Shop::up("wait") else { return };
    let attached = shop
        .vethlab(&["attach", "front", "--", "python3", "-c", SEND])
        .stdout(Stdio::piped())
        .spawn();
    let mut attached = attached.unwrap();
    until("it does not begin", || {
        shop.0.join("ready").exists() || attached.try_wait().unwrap().is_some()
    });
    if attached.try_wait().unwrap().and_then(|code| code.code()) == Some(127) {
        eprintln!("SKIPPED frames that wait: no python3 here");
        return;
    }
    let lab = Pid::from_raw(shop.process()).unwrap();
    kill_process(lab, Signal::STOP).unwrap();
    fs::write(shop.0.join("go"), "").unwrap();
    let mut line = String::new();
    let mut out = BufReader::new(attached.stdout.take().unwrap());
    let read = out.read_line(&mut line);
    kill_process(lab, Signal::CONT).unwrap();
    read.unwrap();
    assert_eq!(line, "0 dropped\n");
    // A TAP counts as sent what was taken from it.
    assert!(attached.wait().unwrap().success());
}

#[test]
fn a_real_client_and_a_real_server() {
    let Some(shop) = Shop::up("both") else { return };
    let ask = "import urllib.request as r, socket; print(r.urlopen('http://web/', timeout=20).status); \
               s = socket.create_connection(('127.0.0.11', 53), 20); \
               s.sendall(bytes.fromhex('001512340100000100000000000003776562000001'  '0001')); \
               f = s.makefile('rb'); print(socket.inet_ntoa(f.read(int.from_bytes(f.read(2), 'big'))[-4:]))";
    let output = shop.run(&["attach", "front", "--", "python3", "-c", ask]);
    let (out, err) = texts(&output);
    if output.status.code() == Some(127) {
        eprintln!("SKIPPED a real client and a real server: no python3 here");
        return;
    }
    assert_eq!(out, "200\n172.18.0.2\n", "{err}");
    let mut server = shop.start("files", &["python3", "-m", "http.server", "80"]);
    let fetch = &[
        "exec",
        "web",
        "--",
        "wget",
        "-qO-",
        "http://files/compose.yaml",
    ];
    until("no answer", || {
        texts(&shop.run(fetch)).0.contains("image: nginx")
    });
    // Killed, it takes everything of it along.
    server.kill().unwrap();
    server.wait().unwrap();
    until("it is still there", || {
        !shop.says(&["ps"], 0).contains("(attached)")
    });
}

#[test]
fn a_project_that_is_not_up_is_named() {
    let output = vethlab(&["attach", "-p", "not-up-at-all", "front", "--", "true"]);
    let (_, err) = texts(&output);
    assert_eq!(output.status.code(), Some(2), "{err}");
    assert!(
        err.contains("no project is up under the name not-up-at-all"),
        "{err}"
    );
}

#[test]
fn a_program_gets_no_descriptor_and_sees_its_own_system() {
    let Some(shop) = Shop::up("own") else { return };
    // A file that this process has open, and that a child would inherit.
    let leak = fs::File::open(shop.0.join("compose.yaml")).unwrap();
    rustix::io::fcntl_setfd(&leak, rustix::io::FdFlags::empty()).unwrap();
    let told = shop.shell("ls -l /proc/self/fd; ls /sys/class/net; echo $$", 0);
    assert!(!told.contains("compose.yaml"), "{told}");
    if !told.contains("/sys is this machine's") {
        let devices: Vec<&str> = told.lines().rev().skip(1).take(2).collect();
        assert_eq!(devices, ["lo", "eth0"], "{told}");
    }
    // The first process there is ours, the shell the second.
    assert_eq!(told.lines().last(), Some("2"), "{told}");
    // Nor does the project in the background have it.
    shop.says(&["down"], 0);
    shop.says(&["up", "-d"], 0);
    let process = shop.process();
    let open: Vec<PathBuf> = fs::read_dir(format!("/proc/{process}/fd"))
        .unwrap()
        .filter_map(|entry| fs::read_link(entry.unwrap().path()).ok())
        .collect();
    assert!(
        !open.iter().any(|path| path.ends_with("compose.yaml")),
        "{open:?}"
    );
}

/// Processes of this machine that have a word in their arguments.
fn running(word: &str) -> usize {
    let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let line = fs::read(entry.ok()?.path().join("cmdline")).ok()?;
        let mut words = line.split(|byte| *byte == 0);
        words.next_back();
        words.next_back().map(|last| last == word.as_bytes())
    });
    processes.filter(|found| *found).count()
}

#[test]
fn what_a_program_leaves_behind_ends_with_a_killed_client() {
    let Some(shop) = Shop::up("grand") else {
        return;
    };
    // A word that stands for these sleepers alone.
    let word = format!("600.{}", std::process::id());
    let script = format!("setsid sh -c 'setsid sleep {word} & sleep {word}' & sleep {word}; true");
    let mut client = shop.start("grand", &["sh", "-c", &script]);
    until("they do not start", || running(&word) >= 3);
    client.kill().unwrap();
    client.wait().unwrap();
    until("they go on", || running(&word) == 0);
    until("it is still there", || {
        !shop.says(&["ps"], 0).contains("(attached)")
    });
    // The same when the project is killed.
    let mut client = shop.start("grand", &["sh", "-c", &script]);
    until("they do not start", || running(&word) >= 3);
    kill_process(Pid::from_raw(shop.process()).unwrap(), Signal::KILL).unwrap();
    assert!(!client.wait().unwrap().success());
    until("they go on", || running(&word) == 0);
    // What was bound is free, and the name can be used again, as soon as the process has gone.
    until("its name is taken", || {
        shop.run(&["up", "-d"]).status.success()
    });
}

#[test]
fn what_a_program_said_last_arrives() {
    let Some(shop) = Shop::up("last") else { return };
    let script = "import socket; s = socket.create_connection(('web', 80), 20); s.close()";
    for _ in 0..5 {
        let output = shop.run(&["attach", "front", "--", "python3", "-c", script]);
        if output.status.code() == Some(127) {
            eprintln!("SKIPPED what a program said last arrives: no python3 here");
            return;
        }
        let (out, err) = texts(&output);
        assert_eq!(output.status.code(), Some(0), "{out}{err}");
    }
    until("connections stay open", || {
        let told = shop.says(&["exec", "web", "--", "ss", "-tn"], 0);
        !told.contains("ESTAB")
    });
}

/// Datagrams that wait at the interface of a program that has gone: the project hears of both at once, as it was stopped
/// meanwhile.
#[test]
fn the_last_datagrams_arrive() {
    const RECEIVE: &str = "
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(30)
# All of them fit, however late it reads.
s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20); s.bind(('', 9000))
print('there', flush=True)
for seen in range(101): s.recv(2000)
print(seen)
";
    const SEND: &str = "
import os, socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(30)
to = (socket.gethostbyname('ear'), 9000)
s.sendto(b'first', to)
print('there', flush=True); sys.stdin.readline()
for _ in range(100): s.sendto(bytes(10), to)
";
    let Some(shop) = Shop::up("datagrams") else {
        return;
    };
    let receiver = [
        "attach", "--name", "ear", "front", "--", "python3", "-c", RECEIVE,
    ];
    let mut receiver = shop
        .vethlab(&receiver)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = [0; 6];
    if receiver
        .stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut told)
        .is_err()
    {
        eprintln!("SKIPPED the last datagrams arrive: no python3 here");
        receiver.wait_with_output().unwrap();
        return;
    }
    let mut sender = shop.vethlab(&["attach", "front", "--", "python3", "-c", SEND]);
    let mut sender = sender
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let spoke = sender.stdout.as_mut().unwrap().read_exact(&mut told);
    assert!(spoke.is_ok(), "the sender is gone");
    let lab = Pid::from_raw(shop.process()).unwrap();
    kill_process(lab, Signal::STOP).unwrap();
    drop(sender.stdin.take());
    let code = sender.wait().unwrap();
    kill_process(lab, Signal::CONT).unwrap();
    assert!(code.success());
    let (out, err) = texts(&receiver.wait_with_output().unwrap());
    assert_eq!(out, "100\n", "{err}");
}

#[test]
fn ipv6_and_other_mtus() {
    let Some(shop) = Shop::up("mtu") else { return };
    for mtu in [1_280, 9_000] {
        shop.says(&["down"], 0);
        let wide = format!(
            "name: shop\nservices:\n  web: {{image: nginx, networks: [front]}}\nnetworks:\n  front:\n    enable_ipv6: \
             true\n    driver_opts: {{com.docker.network.driver.mtu: '{mtu}'}}\n    ipam: {{config: [{{subnet: \
             172.31.0.0/24}}, {{subnet: 'fd00:17::/64'}}]}}\n"
        );
        fs::write(shop.0.join("compose.yaml"), wide).unwrap();
        shop.says(&["up", "-d"], 0);
        let told = shop.shell(
            "cat /sys/class/net/eth0/mtu /proc/net/if_inet6 /etc/hosts",
            0,
        );
        assert!(told.contains(&format!("{mtu}\n")), "{told}");
        assert!(told.contains("fd000017000000000000000000000003"), "{told}");
        let script = "import socket, urllib.request as r\n\
                      for at in ('[fd00:17::2]', '172.31.0.2', 'web'):\n  print(r.urlopen(f'http://{at}/', timeout=20).status)\n";
        let output = shop.run(&["attach", "front", "--", "python3", "-c", script]);
        if output.status.code() == Some(127) {
            eprintln!("SKIPPED ipv6_and_other_mtus: no python3 here");
            return;
        }
        let (out, err) = texts(&output);
        assert_eq!(out, "200\n200\n200\n", "{err}");
    }
}

/// A guest that throws what it can at the network, and what others notice of it (nothing).
#[test]
fn a_hostile_guest_harms_nobody_else() {
    let Some(shop) = Shop::up("hostile") else {
        return;
    };
    let script = r#"
import os, random, socket, struct
random.seed(7)
raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0x0300); raw.bind(('eth0', 0)); raw.setblocking(False)
mac = raw.getsockname()[4]
sent, held = 0, []
while not os.path.exists('enough'):
    for _ in range(200):
        length = random.choice((0, 13, 14, 34, 60, 590, 1514))
        head = random.choice((b'\xff' * 6, bytes(random.randrange(256) for _ in range(6)), mac))
        kind = random.choice((b'\x08\x00', b'\x86\xdd', b'\x08\x06', os.urandom(2)))
        start = random.choice((b'\x45', b'\x60', b'\x00\x01\x08\x00\x06\x04', os.urandom(1)))
        frame = (head + random.choice((mac, os.urandom(6))) + kind + start + os.urandom(length))[:1514]
        try: raw.send(frame); sent += 1
        except OSError: pass
    for _ in range(20):
        s = socket.socket(); s.setblocking(False)
        try: s.connect(('172.18.0.2', random.choice((80, 81))))
        except OSError: pass
        held.append(s)
    if len(held) > 400: held = held[200:]
    if sent >= 1000: open('begun', 'w').close()
print(sent)
"#;
    let flood = [
        "attach", "--root", "--name", "flood", "front", "--", "python3", "-c", script,
    ];
    let mut flood = shop.vethlab(&flood).stdout(Stdio::piped()).spawn().unwrap();
    until("it does not begin", || {
        shop.0.join("begun").exists() || flood.try_wait().unwrap().is_some()
    });
    // Meanwhile another pair talks, in the lab and from outside.
    let mut rounds = 0;
    let begun = Instant::now();
    while rounds < 5 || begun.elapsed() < Duration::from_secs(4) {
        let told = shop.says(&["exec", "db", "--", "wget", "-qO-", "http://web/"], 0);
        assert!(told.contains("172.18.0.3"), "{told}");
        rounds += 1;
        assert!(begun.elapsed() < LIMIT, "{rounds} rounds");
    }
    let process = shop.process();
    fs::write(shop.0.join("enough"), "").unwrap();
    let output = flood.wait_with_output().unwrap();
    if output.status.code() == Some(127) {
        eprintln!("SKIPPED a hostile guest: no python3 here");
        return;
    }
    let (out, err) = texts(&output);
    let sent: u64 = out.trim().parse().unwrap_or_else(|_| panic!("{out}{err}"));
    assert!(sent >= 1_000, "{rounds} rounds beside {sent} frames");
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let resident: u64 = resident
        .unwrap()
        .split_whitespace()
        .next()
        .unwrap()
        .parse()
        .unwrap();
    // The guest is gone, and did not acknowledge the ends of thousands of connections, which are told again: only so
    // many of them keep their buffers (64 MiB), and the others are small.
    let told = shop.says(&["exec", "web", "--", "ss", "-tan"], 0);
    let ends = told.lines().count();
    assert!(
        resident < 256 << 10,
        "{resident} KiB after {sent} frames, {ends} connections"
    );
    let told = shop.says(&["exec", "db", "--", "wget", "-qO-", "http://web/"], 0);
    assert!(told.contains("172.18.0.3"), "{told}");
}

/// Datagrams that leave the kernel several in one arrive one by one, over a veth pair too.
fn super_datagrams(attach: &dyn Fn(&[&str]) -> Command) {
    const RECEIVE: &str = "
import socket
s, seen = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), []
s.bind(('', 9000)); s.settimeout(30)
while len(seen) < 22:
    data, peer = s.recvfrom(65535)
    if data == b'?': s.sendto(b'!', peer)
    else: seen.append(len(data))
s.sendto(b'all', peer)
print(*seen)
";
    const SEND: &str = "
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(0.5)
s.setsockopt(17, 103, 1000)
while True:
    try:
        to = (socket.gethostbyname('many'), 9000)
        s.sendto(b'?', to); s.recv(9); break
    except OSError: pass
for _ in range(2): s.sendto(bytes(10_500), to)
# What waits in the kernel's namespace goes with it.
s.settimeout(30)
while s.recv(9) != b'all': pass
";
    let receiver = [
        "attach", "--name", "many", "front", "--", "python3", "-c", RECEIVE,
    ];
    let receiver = attach(&receiver).stdout(Stdio::piped()).spawn().unwrap();
    until("it is not there", || {
        let (out, _) = texts(&attach(&["ps"]).output().unwrap());
        out.contains("many")
    });
    let sent = attach(&["attach", "front", "--", "python3", "-c", SEND]).output();
    let (out, err) = texts(&sent.unwrap());
    let received = texts(&receiver.wait_with_output().unwrap()).0;
    if err.contains("python3: No such file") {
        eprintln!("SKIPPED super-datagrams: no python3 here");
        return;
    }
    let ten = ["1000"; 10].join(" ");
    assert_eq!(received, format!("{ten} 500 {ten} 500\n"), "{out}{err}");
}

/// The same as an ordinary user, where this is root.
#[test]
fn an_ordinary_user_attaches_as_well() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED an ordinary user: the other tests run as one");
        return;
    }
    let Some(shop) = Shop::up("user") else { return };
    shop.says(&["down"], 0);
    let user = |args: &[&str]| {
        let mut command = shop.vethlab(args);
        std::os::unix::process::CommandExt::gid(&mut command, 65_534);
        std::os::unix::process::CommandExt::uid(&mut command, 65_534);
        command
    };
    let own = |path: PathBuf| {
        std::os::unix::fs::chown(path, Some(65_534), Some(65_534)).unwrap();
    };
    own(shop.0.clone());
    own(shop.0.join("run"));
    let _gone = fs::remove_dir_all(shop.0.join("run/vethlab"));
    let output = user(&["up", "-d"]).output().unwrap();
    let (out, err) = texts(&output);
    if !output.status.success() && err.contains("ermission denied") {
        eprintln!("SKIPPED an ordinary user: it may not run the binary here ({err})");
        return;
    }
    assert!(output.status.success(), "{out}{err}");
    let script = "id -u; ls /sys/class/net; cat /etc/hostname; echo $$";
    let output = user(&["attach", "front", "--", "sh", "-c", script]).output();
    let (told, err) = texts(&output.unwrap());
    if err.contains("no namespaces here") || err.contains("no veth pair") {
        eprintln!("SKIPPED an ordinary user: {err}");
        return;
    }
    super_datagrams(&user);
    let down = user(&["down"]).output().unwrap();
    assert!(
        told.starts_with("65534\n") && told.ends_with("\n2\n"),
        "{told}{err}"
    );
    assert!(down.status.success());
}

#[test]
fn without_the_lab_a_program_ends() {
    let Some(shop) = Shop::up("down") else { return };
    let mut program = shop.start("sleeper", &["sleep", "600"]);
    shop.says(&["down"], 0);
    let status = program.wait().unwrap();
    assert_eq!(status.code(), Some(143));
}
