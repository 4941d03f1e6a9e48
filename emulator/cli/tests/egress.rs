//! `vethlab up --egress`: what leaves the lab and what does not, as real processes against real servers: on
//! loopback, and in network namespaces that the test makes. Nothing goes any further.
//!
//! Where no namespace can be made, that part says so and passes.
#![cfg(target_os = "linux")]

mod rig;

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rig::{command, texts};

/// How long something may take that takes no time.
const LIMIT: Duration = Duration::from_secs(60);

const SHOP: &str = "\
name: shop
services:
  web: {image: busybox, command: sleep 1000}
networks:
  default: {enable_ipv6: true}
";

/// A project that is up, and goes with its folder.
struct Shop(PathBuf);

impl Shop {
    fn up(test: &str, args: &[&str]) -> (Self, String) {
        let name = format!("vethlab-egress-{}-{test}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        let _gone = fs::remove_dir_all(&folder);
        fs::create_dir_all(folder.join("run")).unwrap();
        fs::write(folder.join("compose.yaml"), SHOP).unwrap();
        let shop = Self(folder);
        let said = shop.says(&[&["up", "-d"], args].concat(), 0);
        (shop, said)
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

    /// A tool in the container.
    fn web(&self, argv: &[&str], code: i32) -> String {
        self.says(&[&["exec", "web", "--"], argv].concat(), code)
    }

    /// What it prints when it is told this and the input ends.
    fn talk(&self, input: &[u8], argv: &[&str]) -> String {
        let mut child = self
            .vethlab(&[&["exec", "-i", "web", "--"], argv].concat())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        let output = child.wait_with_output().unwrap();
        let (out, err) = texts(&output);
        assert_eq!(output.status.code(), Some(0), "{argv:?}: {out}{err}");
        out
    }

    fn count(&self, what: &str) -> u64 {
        let text = self.says(&["ps", "--format", "json"], 0);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        value["egress"][what].as_u64().unwrap()
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
        std::thread::yield_now();
    }
}

/// A server that reads to the end, says everything again, and ends. How many it has served.
fn echo(listener: TcpListener) -> Arc<AtomicUsize> {
    let served = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&served);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut said = Vec::new();
            if stream.read_to_end(&mut said).is_ok() {
                let _gone = stream.write_all(&said);
            }
            count.fetch_add(1, Ordering::SeqCst);
        }
    });
    served
}

/// A web server with one page.
fn page(listener: TcpListener, text: &'static str) {
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = Vec::new();
            let mut byte = [0];
            while !request.ends_with(b"\r\n\r\n")
                && stream.read(&mut byte).is_ok_and(|count| count == 1)
            {
                request.push(byte[0]);
            }
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}",
                text.len()
            );
            let _gone = stream.write_all(answer.as_bytes());
        }
    });
}

/// A UDP and a TCP socket of one port; another program may have one of a number alone.
fn both(ip: Ipv4Addr, port: u16) -> (UdpSocket, TcpListener) {
    for _ in 0..100 {
        let udp = UdpSocket::bind((ip, port)).unwrap();
        if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()) {
            return (udp, tcp);
        }
    }
    panic!("no port is free for both");
}

/// A resolver that gives every name one address, by UDP and TCP; what it was asked for.
fn resolver((udp, tcp): (UdpSocket, TcpListener), address: Ipv4Addr) -> Arc<Mutex<Vec<String>>> {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let (heard, stream_heard) = (Arc::clone(&asked), Arc::clone(&asked));
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok((count, from)) = udp.recv_from(&mut buffer) {
            let answer = answered(&heard, &buffer[..count], address, false);
            let _gone = udp.send_to(&answer, from);
        }
    });
    std::thread::spawn(move || {
        for stream in tcp.incoming() {
            let mut stream = stream.unwrap();
            let mut length = [0; 2];
            if stream.read_exact(&mut length).is_err() {
                continue;
            }
            let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
            stream.read_exact(&mut query).unwrap();
            let answer = answered(&stream_heard, &query, address, true);
            let framed = [&(answer.len() as u16).to_be_bytes()[..], &answer].concat();
            stream.write_all(&framed).unwrap();
        }
    });
    asked
}

fn answered(heard: &Mutex<Vec<String>>, query: &[u8], address: Ipv4Addr, stream: bool) -> Vec<u8> {
    let (mut at, mut labels) = (12, Vec::new());
    while query[at] > 0 {
        let end = at + 1 + usize::from(query[at]);
        labels.push(String::from_utf8_lossy(&query[at + 1..end]).into_owned());
        at = end;
    }
    let kind = query[at + 2];
    let name = labels.join(".");
    let way = if stream { "tcp" } else { "udp" };
    heard.lock().unwrap().push(format!("{name} {kind} {way}"));
    let known = kind == 1;
    let mut answer = query[..at + 5].to_vec();
    answer[2..12].copy_from_slice(&[0x81, 0x80, 0, 1, 0, u8::from(known), 0, 0, 0, 0]);
    if known {
        answer.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 30, 0, 4]);
        answer.extend_from_slice(&address.octets());
    }
    answer
}

fn listener() -> TcpListener {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()
}

fn port(listener: &TcpListener) -> u16 {
    listener.local_addr().unwrap().port()
}

#[test]
fn a_loopback_server_that_is_named_is_reached_and_nothing_else() {
    if !rig::loopback() {
        return;
    }
    let (pages, echoes, hidden) = (listener(), listener(), listener());
    let closed = rig::unused_port();
    let (shown, heard, other) = (port(&pages), port(&echoes), port(&hidden));
    page(pages, "hello from outside");
    let served = echo(echoes);
    let rules = format!("localhost:{shown},{heard},{closed}");
    let (shop, said) = Shop::up("loopback", &["--egress", &rules]);
    assert!(
        said.contains(&format!(
            "egress {rules} (this machine's loopback is host.docker.internal, 192.168.65.254, "
        )),
        "{said}"
    );
    let url = format!("http://host.docker.internal:{shown}/");
    assert_eq!(shop.web(&["curl", "-s", &url], 0), "hello from outside");
    assert_eq!(
        shop.web(&["wget", "-q", "-O", "-", &url], 0),
        "hello from outside"
    );
    // Bulk both ways, and each half ends on its own.
    let long = "0123456789abcde\n".repeat(2500);
    let heard = heard.to_string();
    let back = shop.talk(long.as_bytes(), &["nc", "host.docker.internal", &heard]);
    assert!(back == long, "{} bytes came back", back.len());
    until("it is not served", || served.load(Ordering::SeqCst) == 1);
    // Nobody listens: refused at once, as by the server itself.
    let refused = shop.web(
        &[
            "nc",
            "-v",
            "-w",
            "30",
            "192.168.65.254",
            &closed.to_string(),
        ],
        1,
    );
    assert!(refused.contains("Connection refused"), "{refused}");
    // Not named: silence, counted, told.
    assert_eq!(shop.count("denied"), 0);
    let silent = shop.web(
        &["nc", "-v", "-w", "1", "192.168.65.254", &other.to_string()],
        1,
    );
    assert!(silent.contains("timed out"), "{silent}");
    let metadata = shop.web(&["curl", "-sS", "-m", "1", "http://169.254.169.254/"], 28);
    assert!(metadata.contains("timed out"), "{metadata}");
    assert!(shop.count("denied") >= 2);
    assert!(shop.count("connections") >= 3);
    let logs = shop.says(&["logs"], 0);
    assert!(logs.contains(&format!("vethlab  | egress denied: 127.0.0.1:{other}/tcp: a loopback address has to be named by a rule")), "{logs}");
    assert!(
        logs.contains("169.254.169.254:80/tcp: a link-local address has to be named by a rule"),
        "{logs}"
    );
    assert_eq!(logs.matches("169.254.169.254:80/tcp").count(), 1, "{logs}");
    let table = shop.says(&["ps"], 0);
    assert!(
        table.contains(" connections, ") && table.contains(" denied\n"),
        "{table}"
    );
    hidden.set_nonblocking(true).unwrap();
    assert!(hidden.accept().is_err(), "somebody came");
}

#[test]
fn names_are_looked_up_where_rules_are_about_them() {
    if !rig::loopback() {
        return;
    }
    let sockets = both(Ipv4Addr::LOCALHOST, 0);
    let server = sockets.0.local_addr().unwrap().to_string();
    let asked = resolver(sockets, Ipv4Addr::new(203, 0, 113, 77));
    let args = ["--egress", "*.example.test:443", "--egress-dns", &server];
    let (shop, _) = Shop::up("names", &args);
    let looked = shop.web(&["nslookup", "api.example.test"], 0);
    assert!(looked.contains("203.0.113.77"), "{looked}");
    // What is asked by a stream is asked by a stream.
    let query = "\0\x23\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x04long\x07example\x04test\0\0\x01\0\x01";
    let input = query.as_bytes();
    assert_eq!(usize::from(input[1]), input.len() - 2);
    // The embedded DNS and the resolver behind it both answer who has ended its half.
    for server in ["127.0.0.11", "192.0.2.1"] {
        let nc = ["exec", "-i", "web", "--", "nc", "-w", "60", server, "53"];
        let mut child = shop.vethlab(&nc);
        let child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = child.unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        let mut out = child.stdout.take().unwrap();
        let mut length = [0; 2];
        out.read_exact(&mut length).unwrap();
        let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
        out.read_exact(&mut answer).unwrap();
        assert!(answer.ends_with(&[0, 113, 77]), "{server}: {answer:?}");
        // It would wait for more.
        child.kill().unwrap();
        child.wait().unwrap();
    }
    until("nobody asked by a stream", || {
        let asked = asked.lock().unwrap();
        asked.contains(&"long.example.test 1 tcp".to_owned())
    });
    let other = shop.web(&["nslookup", "www.example.org"], 1);
    assert!(!other.contains("203.0.113.77"), "{other}");
    let asked = asked.lock().unwrap().clone();
    assert!(
        asked.iter().all(|it| it.contains(".example.test ")),
        "{asked:?}"
    );
    assert!(
        asked.contains(&"api.example.test 1 udp".to_owned()),
        "{asked:?}"
    );
    let logs = shop.says(&["logs"], 0);
    assert!(
        logs.contains("egress denied: the name www.example.org"),
        "{logs}"
    );
    assert!(shop.count("questions") >= 2);
}

#[test]
fn a_rule_that_makes_no_sense_is_told_and_nothing_starts() {
    for (rule, said) in [
        ("*", "write all for everything"),
        ("10.0.0.0/33", "is no network"),
        ("example.com:0", "is no port"),
    ] {
        let output = rig::vethlab(&["up", "--egress", rule, "no-such-compose.yaml"]);
        let (_, err) = texts(&output);
        assert_eq!(output.status.code(), Some(2), "{err}");
        assert!(err.contains(said), "{rule}: {err}");
    }
    let output = rig::vethlab(&["up", "--egress-dns", "127.0.0.1:53"]);
    assert_eq!(output.status.code(), Some(2));
}

/// The rest of this test runs as another process, in namespaces of its own.
const INSIDE: &str = "VETHLAB_TEST_INSIDE";

/// Runs a test of this file again in a user namespace with a network of its own; false, said aloud, if there can be none.
fn inside(test: &str) -> bool {
    let program = std::env::current_exe().unwrap();
    let possible = Command::new("unshare")
        .args(["-Urn", "--kill-child", "ip", "link", "set", "lo", "up"])
        .output();
    if !possible.as_ref().is_ok_and(|it| it.status.success()) {
        eprintln!("SKIPPED {test}: no user namespace with a network here: {possible:?}");
        return false;
    }
    let output = Command::new("unshare")
        .args(["-Urn", "--kill-child"])
        .arg(program)
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let (out, err) = texts(&output);
    assert!(output.status.success(), "{out}{err}");
    assert!(out.contains("1 passed"), "{out}{err}");
    true
}

fn sh(script: &str) {
    let output = Command::new("sh").args(["-ec", script]).output().unwrap();
    let (out, err) = texts(&output);
    assert!(output.status.success(), "{script}: {out}{err}");
}

/// Servers behind a veth pair, in a namespace of their own, and a machine behind them, which lasts as long as its input.
struct World(Child, Child);

impl World {
    /// 203.0.113.80 and 2001:db8:5::80, behind them 198.51.100.77; a page on port 8080, a resolver on port 53. One hop
    /// further are 198.18.5.2 and 2001:db8:6::2.
    fn new() -> Self {
        let program = std::env::current_exe().unwrap();
        let child = Command::new("unshare")
            .args(["-n"])
            .arg(program)
            .args(["--exact", "servers", "--nocapture"])
            .env(INSIDE, "servers")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let far = Command::new("unshare")
            .args(["-n", "cat"])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let (process, behind) = (child.id(), far.id());
        let mut world = Self(child, far);
        let own = fs::read_link("/proc/self/ns/net").unwrap();
        for process in [process, behind] {
            until("it has no namespace", || {
                fs::read_link(format!("/proc/{process}/ns/net")).is_ok_and(|its| its != own)
            });
        }
        sh(&format!(
            "ip link set lo up
             ip link add v0 type veth peer name v1
             ip link set v1 netns {process}
             ip addr add 203.0.113.9/24 dev v0
             ip addr add 2001:db8:5::1/64 dev v0 nodad
             ip link set v0 up
             nsenter -t {process} -n ip link set lo up
             nsenter -t {process} -n ip addr add 203.0.113.80/24 dev v1
             nsenter -t {process} -n ip addr add 2001:db8:5::80/64 dev v1 nodad
             nsenter -t {process} -n ip addr add 198.51.100.77/32 dev lo
             nsenter -t {process} -n ip link set v1 up
             ip route add 198.51.100.77 via 203.0.113.80
             echo 1 | nsenter -t {process} -n tee /proc/sys/net/ipv4/ip_forward
             nsenter -t {process} -n ip route add unreachable 198.18.4.0/24
             ip route add 198.18.4.0/24 via 203.0.113.80
             echo 1 | nsenter -t {process} -n tee /proc/sys/net/ipv6/conf/all/forwarding
             echo 0 | nsenter -t {process} -n tee /proc/sys/net/ipv4/icmp_ratelimit
             echo 0 | nsenter -t {process} -n tee /proc/sys/net/ipv6/icmp/ratelimit
             nsenter -t {process} -n ip link add w0 type veth peer name w1
             nsenter -t {process} -n ip link set w1 netns {behind}
             nsenter -t {process} -n ip addr add 198.18.5.1/24 dev w0
             nsenter -t {process} -n ip addr add 2001:db8:6::1/64 dev w0 nodad
             nsenter -t {process} -n ip link set w0 up
             nsenter -t {behind} -n ip addr add 198.18.5.2/24 dev w1
             nsenter -t {behind} -n ip addr add 2001:db8:6::2/64 dev w1 nodad
             nsenter -t {behind} -n ip link set w1 up
             nsenter -t {behind} -n ip route add default via 198.18.5.1
             nsenter -t {behind} -n ip route add default via 2001:db8:6::1
             ip route add 198.18.5.0/24 via 203.0.113.80
             ip route add 2001:db8:6::/64 via 2001:db8:5::80
             ip route add unreachable 198.18.1.0/24
             ip route add prohibit 198.18.2.0/24
             ip route add blackhole 198.18.3.0/24"
        ));
        world.0.stdin.as_mut().unwrap().write_all(b"go\n").unwrap();
        let mut line = Vec::new();
        let mut byte = [0];
        let out = world.0.stdout.as_mut().unwrap();
        while !line.ends_with(b"serving\n") {
            assert_eq!(
                out.read(&mut byte).unwrap(),
                1,
                "{}",
                String::from_utf8_lossy(&line)
            );
            line.push(byte[0]);
        }
        world
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for child in [&mut self.0, &mut self.1] {
            let _gone = child.kill();
            let _gone = child.wait();
        }
    }
}

/// No test of its own: the servers of [`World`].
#[test]
fn servers() {
    if std::env::var(INSIDE).as_deref() != Ok("servers") {
        return;
    }
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
    let any = SocketAddr::new(IpAddr::from([0; 8].map(|_: u16| 0)), 8080);
    page(TcpListener::bind(any).unwrap(), "hello from the world");
    let sockets = both(Ipv4Addr::new(203, 0, 113, 80), 53);
    let _asked = resolver(sockets, Ipv4Addr::new(198, 51, 100, 77));
    let echo = UdpSocket::bind(SocketAddr::new(any.ip(), 7)).unwrap();
    std::thread::spawn(move || {
        let mut buffer = vec![0; 65_536];
        while let Ok((count, from)) = echo.recv_from(&mut buffer) {
            echo.send_to(&buffer[..count], from).unwrap();
        }
    });
    println!("serving");
    // Until whoever started this is gone.
    let _end = std::io::stdin().read_line(&mut line);
}

#[test]
fn the_world_outside_is_reached_as_it_is() {
    if std::env::var(INSIDE).is_err() {
        inside("the_world_outside_is_reached_as_it_is");
        return;
    }
    let world = World::new();
    sh("echo '0 0' > /proc/sys/net/ipv4/ping_group_range");
    let rules = [
        "203.0.113.0/24",
        "2001:db8:5::/64",
        "2001:db8:6::/64",
        "198.18.0.0/16",
        "0.0.0.0/0:9",
        "*.example.test:8080",
    ];
    let mut args: Vec<&str> = rules.iter().flat_map(|rule| ["--egress", rule]).collect();
    args.extend(["--egress-dns", "203.0.113.80"]);
    let (shop, said) = Shop::up("world", &args);
    assert!(!said.contains("ping_group_range"), "{said}");
    let hello = |url: &str| {
        assert_eq!(
            shop.web(&["curl", "-sS", "-m", "20", url], 0),
            "hello from the world",
            "{url}"
        )
    };
    hello("http://203.0.113.80:8080/");
    hello("http://[2001:db8:5::80]:8080/");
    // An address is allowed once its name was looked up.
    let before = shop.web(&["nc", "-v", "-w", "1", "198.51.100.77", "8080"], 1);
    assert!(before.contains("timed out"), "{before}");
    hello("http://api.example.test:8080/");
    hello("http://198.51.100.77:8080/");
    // Each failure is its own.
    for (to, patience, said) in [
        ("203.0.113.80", "60", "Connection refused"),
        ("2001:db8:5::80", "60", "Connection refused"),
        ("198.18.1.1", "60", "No route to host"),
        ("198.18.2.1", "60", "No route to host"),
        ("198.18.3.1", "5", "timed out"),
    ] {
        let failed = shop.web(&["nc", "-v", "-w", patience, to, "81"], 1);
        assert!(failed.contains(said), "{to}: {failed}");
    }
    // Datagrams: an answer, a long one, nobody there.
    let looked = shop.web(&["dig", "+short", "@203.0.113.80", "x.example.test"], 0);
    assert_eq!(looked, "198.51.100.77\n");
    let long = "x".repeat(4000);
    let back = shop.talk(
        long.as_bytes(),
        &["nc", "-u", "-w", "8", "203.0.113.80", "7"],
    );
    assert!(back == long, "{} bytes came back", back.len());
    let back = shop.talk(b"hello", &["nc", "-u", "-w", "8", "2001:db8:5::80", "7"]);
    assert_eq!(back, "hello");
    // Its exit code says that the port was refused.
    shop.web(&["nc", "-u", "-z", "203.0.113.80", "99"], 1);
    // Pings, and their own numbers.
    for to in ["203.0.113.80", "2001:db8:5::80"] {
        let pinged = shop.web(&["ping", "-c", "2", "-i", "0.2", to], 0);
        assert!(pinged.contains("2 packets received"), "{pinged}");
        assert!(
            pinged.contains("seq=0 ") && pinged.contains("seq=1 "),
            "{pinged}"
        );
    }
    // What a router on the way says.
    for probe in ["-n", "-I"] {
        let traced = shop.web(
            &[
                "traceroute",
                "-n",
                "-q",
                "1",
                "-w",
                "5",
                probe,
                "198.18.4.1",
            ],
            0,
        );
        assert!(traced.contains("!H"), "{traced}");
    }
    // Hop limits pass, and routers outside answer in their own names.
    let ways = [
        ("traceroute", "203.0.113.80", "198.18.5.2"),
        ("traceroute6", "2001:db8:5::80", "2001:db8:6::2"),
    ];
    for (program, router, end) in ways {
        for probe in ["-n", "-I"] {
            let traced = shop.web(&[program, "-n", "-q", "1", "-w", "20", probe, end], 0);
            let hops: Vec<&str> = traced.lines().skip(1).collect();
            let [.., at, last] = hops.as_slice() else {
                panic!("{traced}");
            };
            assert!(
                at.contains(router) && last.contains(end),
                "{probe}: {traced}"
            );
            assert!(
                !at.contains('*') && !last.contains('*'),
                "{probe}: {traced}"
            );
        }
    }
    assert!(shop.count("pings") >= 3 && shop.count("datagrams") >= 4);
    // Wide rules name neither this machine nor what clouds keep.
    let denied = shop.count("denied");
    for to in ["203.0.113.9", "169.254.169.254", "127.0.0.1"] {
        let silent = shop.web(&["nc", "-v", "-w", "1", to, "9"], 1);
        let own = to == "127.0.0.1" && silent.contains("refused");
        assert!(silent.contains("timed out") || own, "{to}: {silent}");
    }
    assert!(shop.count("denied") >= denied + 2);
    drop(shop);
    drop(world);
}

#[test]
fn where_pings_are_not_allowed_that_is_said() {
    if std::env::var(INSIDE).is_err() {
        inside("where_pings_are_not_allowed_that_is_said");
        return;
    }
    // A new network namespace lets nobody ping.
    sh("ip link set lo up");
    let (shop, _) = Shop::up("noping", &["--egress", "203.0.113.0/24"]);
    let logs = shop.says(&["logs"], 0);
    assert!(
        logs.contains("pings do not leave: net.ipv4.ping_group_range"),
        "{logs}"
    );
    let silent = shop.web(&["ping", "-c", "1", "-W", "1", "203.0.113.80"], 1);
    assert!(silent.contains("0 packets received"), "{silent}");
    // There is no way out of this namespace at all.
    let none = shop.web(&["nc", "-v", "-w", "20", "203.0.113.80", "80"], 1);
    assert!(none.contains("unreachable"), "{none}");
}
