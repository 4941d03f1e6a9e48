//! `vethlab up` with published ports: real clients from this machine.
#![cfg(target_os = "linux")]

mod rig;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(60);

/// A folder with a project, which is taken down when it is dropped.
struct Project {
    folder: PathBuf,
}

impl Project {
    fn new(name: &str, compose: &str) -> Self {
        // The path of a socket is short.
        let folder = std::env::temp_dir().join(format!("vl-pub-{name}-{}", std::process::id()));
        let _first = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("compose.yaml"), compose).unwrap();
        Self { folder }
    }

    fn run(&self, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_vethlab"))
            .args(args)
            .current_dir(&self.folder)
            .env_clear()
            .env("XDG_RUNTIME_DIR", &self.folder)
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// Comes up in the background; what is published.
    fn up(&self, more: &[&str]) -> Vec<(SocketAddr, String)> {
        let args = [&["up", "-d", "--format", "json"], more].concat();
        let up = self.run(&args);
        let errors = String::from_utf8_lossy(&up.stderr);
        assert!(up.status.success(), "{errors}");
        let value: Value = serde_json::from_slice(&up.stdout).unwrap();
        let bound = value["published"].as_array().unwrap().iter().map(|bound| {
            let real = bound["real"].as_str().unwrap().parse().unwrap();
            (real, bound["port"].as_str().unwrap().to_owned())
        });
        bound.collect()
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        let _down = self.run(&["down"]);
        let _gone = fs::remove_dir_all(&self.folder);
    }
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !done() {
        assert!(begin.elapsed() < LIMIT, "{what}");
        std::thread::yield_now();
    }
}

/// What is answered to somebody who says this and ends.
fn answer(to: SocketAddr, said: &str) -> String {
    let mut client = TcpStream::connect(to).unwrap();
    client.set_read_timeout(Some(LIMIT)).unwrap();
    client.write_all(said.as_bytes()).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut text = String::new();
    client.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn real_clients_reach_what_a_project_publishes() {
    if !rig::loopback() {
        return;
    }
    let compose = "\
name: real
services:
  web: {image: nginx, ports: ['80']}
  db: {image: postgres, ports: ['127.0.0.1::5432/tcp', '9000/udp'], x-vethlab: {listen: [5432, 9000/udp]}}
";
    let project = Project::new("reach", compose);
    let bound = project.up(&[]);
    let v4 = |port: &str| {
        let found = bound.iter().find(|(real, of)| real.is_ipv4() && of == port);
        found.unwrap().0
    };
    assert!(bound.iter().all(|(real, _)| real.ip().is_loopback()));
    for (real, port) in bound.iter().filter(|(_, port)| port == "80/tcp") {
        let mut web = TcpStream::connect(real).unwrap();
        web.set_read_timeout(Some(LIMIT)).unwrap();
        web.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
        let mut page = String::new();
        web.read_to_string(&mut page).unwrap();
        assert!(page.contains(" 172."), "{port}: {page}");
        assert_eq!(real.port(), v4("80/tcp").port());
    }
    // Of the other's program nothing is known: it says who it is, or what it hears.
    let db = v4("5432/tcp");
    let page = answer(db, "GET / HTTP/1.1\r\nHost: db\r\n\r\n");
    assert!(page.starts_with("HTTP/1.1 200 OK\r\n"), "{page}");
    assert!(
        page.contains("\r\n\r\nreal-db-1, port 5432/tcp\n"),
        "{page}"
    );
    assert_eq!(answer(db, "hello"), "hello");
    let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    udp.set_read_timeout(Some(LIMIT)).unwrap();
    udp.send_to(b"who?", v4("9000/udp")).unwrap();
    let mut heard = [0; 16];
    let count = udp.recv(&mut heard).unwrap();
    assert_eq!(&heard[..count], b"who?");

    let text = String::from_utf8(project.run(&["ps"]).stdout).unwrap();
    assert!(
        text.contains("real-db-1") && text.contains(&format!("->5432/tcp at {db}")),
        "{text}"
    );
    assert!(project.run(&["down"]).status.success());
    for (real, port) in &bound {
        // The kernel may have given it to another test's socket for a moment.
        until("it is bound still", || {
            if port.ends_with("tcp") {
                TcpListener::bind(real).is_ok()
            } else {
                UdpSocket::bind(real).is_ok()
            }
        });
    }
}

#[test]
fn a_port_that_is_taken_is_told_as_docker_tells_it() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let compose = format!(
        "name: taken\nservices:\n  web:\n    image: nginx\n    ports:\n      - {port}:80\n"
    );
    let project = Project::new("taken", &compose);
    for detach in [&["up"][..], &["up", "-d"]] {
        let up = project.run(detach);
        let errors = String::from_utf8_lossy(&up.stderr);
        assert_eq!(up.status.code(), Some(2), "{errors}");
        let sentence = format!(
            "compose.yaml:6:9: services.web.ports: failed to bind host port 127.0.0.1:{port}/tcp: \
             address already in use"
        );
        assert!(errors.contains(&sentence), "{errors}");
    }
    assert!(project.up(&["--no-publish"]).is_empty());
}

#[test]
fn of_a_range_the_next_free_port_is_taken() {
    if !rig::loopback() {
        return;
    }
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let Some(last) = port.checked_add(40) else {
        return;
    };
    let compose = format!(
        "name: range\nservices:\n  web: {{image: nginx, ports: ['127.0.0.1:{port}-{last}:80']}}\n"
    );
    let project = Project::new("range", &compose);
    let bound = project.up(&[]);
    let (real, _) = bound.first().unwrap();
    assert!((port + 1..=last).contains(&real.port()), "{real}");
    assert!(answer(*real, "GET / HTTP/1.0\r\n\r\n").contains(" 172."));
    assert!(project.run(&["down"]).status.success());
    // With nothing free in it, it is told as for a single port; an older engine has its own words.
    let compose = format!(
        "name: range\nservices:\n  web: {{image: nginx, ports: ['127.0.0.1:{port}-{port}:80']}}\n"
    );
    let project = Project::new("full", &compose);
    for (engine, words) in [
        (
            "29",
            format!("failed to bind host port 127.0.0.1:{port}/tcp: address already in use"),
        ),
        (
            "20.10",
            format!(
                "Error starting userland proxy: listen tcp4 127.0.0.1:{port}: bind: address \
                 already in use"
            ),
        ),
    ] {
        let up = project.run(&["up", "--engine", engine]);
        let errors = String::from_utf8_lossy(&up.stderr);
        assert_eq!(up.status.code(), Some(2), "{errors}");
        assert!(errors.contains(&words), "{errors}");
    }
}

#[test]
fn what_is_in_the_network_of_the_host_is_there() {
    if !rig::loopback() {
        return;
    }
    let port = rig::unused_port();
    let compose = format!(
        "name: onhost\nservices:\n  api:\n    image: example/api\n    network_mode: host\n    \
         x-vethlab: {{listen: [{port}]}}\n"
    );
    let project = Project::new("onhost", &compose);
    let bound = project.up(&[]);
    let real = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    assert!(bound.contains(&(real, format!("{port}/tcp"))), "{bound:?}");
    let page = answer(real, "GET / HTTP/1.0\r\n\r\n");
    assert!(
        page.contains(&format!("onhost-api-1, port {port}/tcp\n")),
        "{page}"
    );
    assert!(page.contains("You come from 127.0.0.1.\n"), "{page}");
    let text = String::from_utf8(project.run(&["ps"]).stdout).unwrap();
    assert!(text.contains(&format!("at {real}")), "{text}");
}

#[test]
fn datagrams_find_services_by_name_through_a_proxy() {
    if !rig::loopback() {
        return;
    }
    let compose = "\
name: datagrams
services:
  web: {image: example/web, networks: [net], x-vethlab: {listen: [7000/udp]}}
  box: {image: busybox, networks: [net], x-vethlab: {dial: '127.0.0.1:0'}}
networks: {net: {}}
";
    let project = Project::new("socks-udp", compose);
    let up = project.run(&["up", "-d", "--format", "json"]);
    let value: Value = serde_json::from_slice(&up.stdout).unwrap();
    let proxy: SocketAddr = value["doors"][0]["proxy"]["at"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    let mut control = TcpStream::connect(proxy).unwrap();
    control.set_read_timeout(Some(LIMIT)).unwrap();
    control.write_all(&[5, 1, 0]).unwrap();
    let mut chosen = [0; 2];
    control.read_exact(&mut chosen).unwrap();
    assert_eq!(chosen, [5, 0]);
    control.write_all(&[5, 3, 0, 1, 0, 0, 0, 0, 0, 0]).unwrap();
    let mut done = [0; 10];
    control.read_exact(&mut done).unwrap();
    assert_eq!(done[..8], [5, 0, 0, 1, 127, 0, 0, 1]);
    let relay = SocketAddr::from((Ipv4Addr::LOCALHOST, u16::from_be_bytes([done[8], done[9]])));
    let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    client.set_read_timeout(Some(LIMIT)).unwrap();
    let name = [
        &[0, 0, 0, 3, 3][..],
        b"web",
        &7000_u16.to_be_bytes(),
        b"hello",
    ]
    .concat();
    let mut back = [0; 64];
    for _ in 0..2 {
        client.send_to(&name, relay).unwrap();
        let count = client.recv(&mut back).unwrap();
        assert_eq!(back[..4], [0, 0, 0, 1]);
        assert_eq!(back[4], 172);
        assert_eq!(
            &back[8..count],
            [&7000_u16.to_be_bytes()[..], b"hello"].concat()
        );
    }
    // Nobody else is heard, and neither are a fragment, a name that nobody has, and nonsense.
    let other = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    other.send_to(&name, relay).unwrap();
    let fragment = [&[0, 0, 1][..], &name[3..]].concat();
    let nobody = [&[0, 0, 0, 3, 6][..], b"nobody", &[0, 9], b"x"].concat();
    for odd in [&fragment[..], &nobody, &[], &[0, 0], &[7; 300]] {
        client.send_to(odd, relay).unwrap();
    }
    let last = [&name[..name.len() - 5], b"last!"].concat();
    client.send_to(&last, relay).unwrap();
    let count = client.recv(&mut back).unwrap();
    assert!(back[..count].ends_with(b"last!"));
    // It ends with its connection.
    drop(control);
    until("the port is bound still", || UdpSocket::bind(relay).is_ok());
}

/// With few descriptors, who is connected goes on, who comes waits, and both is said; the verbs answer.
#[test]
fn where_descriptors_run_out_old_clients_go_on() {
    if !rig::loopback() {
        return;
    }
    let compose = "\
name: few
services:
  echo: {image: example/echo, ports: ['127.0.0.1::7000'], x-vethlab: {listen: [7000]}}
";
    let project = Project::new("few", compose);
    let script = "ulimit -n 64 && exec \"$0\" up --format json";
    let mut up = Command::new("sh")
        .args(["-c", script, env!("CARGO_BIN_EXE_vethlab")])
        .current_dir(&project.folder)
        .env("XDG_RUNTIME_DIR", &project.folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    // It is read from to the end: who writes into a closed pipe fails.
    let mut out = BufReader::new(up.stdout.take().unwrap());
    out.read_line(&mut line).unwrap();
    let value: Value = serde_json::from_str(&line).unwrap();
    let to: SocketAddr = value["published"][0]["real"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    let say = |client: &mut TcpStream, byte: u8| {
        client.write_all(&[byte]).unwrap();
        let mut heard = [0];
        client
            .read_exact(&mut heard)
            .map(|()| assert_eq!(heard, [byte]))
    };
    let client = || {
        let client = TcpStream::connect(to).unwrap();
        client.set_read_timeout(Some(LIMIT)).unwrap();
        client
    };
    let mut old: Vec<TcpStream> = (0..32).map(|_| client()).collect();
    for client in &mut old {
        say(client, 1).unwrap();
    }
    let mut new: Vec<TcpStream> = (0..200).map(|_| client()).collect();
    let mut told = String::new();
    let mut errors = BufReader::new(up.stderr.take().unwrap());
    errors.read_line(&mut told).unwrap();
    assert!(
        told.contains("clients wait until others end (32 connections"),
        "{told}"
    );
    for client in &mut old {
        say(client, 2).unwrap();
    }
    let first = &mut new[0];
    first
        .set_read_timeout(Some(Duration::from_millis(200)))
        .unwrap();
    assert!(say(first, 3).is_err());
    assert!(project.run(&["ps"]).status.success());
    drop(old);
    first.set_read_timeout(Some(LIMIT)).unwrap();
    let mut heard = [0];
    first.read_exact(&mut heard).unwrap();
    assert_eq!(heard, [3]);
    assert!(project.run(&["down"]).status.success());
    assert_eq!(up.wait().unwrap().code(), Some(0));
}

#[test]
fn a_wider_address_needs_a_flag() {
    let compose = "\
name: wide
services:
  web: {image: nginx, ports: ['0.0.0.0::80', '127.0.0.1::8080']}
";
    let project = Project::new("wide", compose);
    let at: Vec<String> = project
        .up(&["--publish-on", "0.0.0.0"])
        .iter()
        .map(|(real, port)| format!("{} {port}", real.ip()))
        .collect();
    assert_eq!(at, ["0.0.0.0 80/tcp", "127.0.0.1 8080/tcp"]);
    let twice = ["up", "--publish-on", "0.0.0.0", "--publish-on", "127.0.0.1"];
    let up = project.run(&twice);
    let errors = String::from_utf8_lossy(&up.stderr);
    assert!(errors.contains("one IPv4 address at most"), "{errors}");
}

/// The only proxy of a project, and what curl says through it.
fn curl(args: &[&str]) -> (String, bool) {
    let mut command = Command::new("curl");
    command
        .args(["-sS", "--max-time", "60", "--noproxy", ""])
        .args(args);
    let output = command.env_remove("no_proxy").output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (
        String::from_utf8_lossy(&text).into_owned(),
        output.status.success(),
    )
}

#[test]
fn curl_finds_services_by_name_through_a_proxy() {
    if !rig::loopback() {
        return;
    }
    if Command::new("curl").arg("--version").output().is_err() {
        eprintln!("SKIPPED: no curl here");
        return;
    }
    let compose = "\
name: proxied
services:
  web: {image: nginx, networks: [net]}
  box: {image: busybox, networks: [net], x-vethlab: {dial: '127.0.0.1:0'}}
networks: {net: {}}
";
    let project = Project::new("proxy", compose);
    let up = project.run(&[
        "up",
        "-d",
        "--format",
        "json",
        "--proxy",
        "host:127.0.0.1:0",
    ]);
    assert!(
        up.status.success(),
        "{}",
        String::from_utf8_lossy(&up.stderr)
    );
    let value: Value = serde_json::from_slice(&up.stdout).unwrap();
    let at = |door: usize| {
        let at = value["doors"][door]["proxy"]["at"].as_str();
        at.unwrap().to_owned()
    };
    let socks = at(0);
    let http = format!("http://{socks}");
    for args in [
        &["--socks5-hostname", &socks][..],
        &["--proxy", &http],
        &["--proxy", &http, "--proxytunnel"],
    ] {
        let (page, fine) = curl(&[args, &["http://web/"]].concat());
        assert!(fine && page.contains(" 172."), "{args:?}: {page}");
        let (page, fine) = curl(&[args, &["http://proxied-web-1/"]].concat());
        assert!(fine && page.contains(" 172."), "{args:?}: {page}");
    }
    // Nobody has that name, nobody listens there; the host does not know the services' names.
    let (said, fine) = curl(&["--socks5-hostname", &socks, "http://nobody/"]);
    assert!(!fine, "{said}");
    let (said, _) = curl(&["--proxy", &http, "http://nobody/"]);
    assert_eq!(
        said,
        "nobody, port 80, in the lab: the name is not known there\n"
    );
    let (said, _) = curl(&["--proxy", &http, "http://web:81/"]);
    assert_eq!(said, "web, port 81, in the lab: Connection refused\n");
    let (said, fine) = curl(&["--socks5-hostname", &at(1), "http://web/"]);
    assert!(!fine, "{said}");
}

#[test]
fn a_service_may_be_real() {
    if !rig::loopback() {
        return;
    }
    let real = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = real.local_addr().unwrap().port();
    let compose = format!(
        "\
name: upstream
services:
  db:
    image: postgres
    ports: ['5432']
    x-vethlab: {{upstream: '127.0.0.1:{port}'}}
  client: {{image: busybox}}
"
    );
    let project = Project::new("upstream", &compose);
    let server = std::thread::spawn(move || {
        for _ in 0..2 {
            let (mut client, _) = real.accept().unwrap();
            client.write_all(b"I am real\n").unwrap();
        }
    });
    let bound = project.up(&[]);
    let (front, _) = bound.first().unwrap();
    let mut client = TcpStream::connect(front).unwrap();
    client.set_read_timeout(Some(LIMIT)).unwrap();
    let mut heard = String::new();
    client.read_to_string(&mut heard).unwrap();
    assert_eq!(heard, "I am real\n");
    let exec = project.run(&["exec", "client", "--", "nc", "db", "5432"]);
    assert_eq!(String::from_utf8_lossy(&exec.stdout), "I am real\n");
    server.join().unwrap();
    // The server is gone: whoever asks is reset.
    let mut client = TcpStream::connect(front).unwrap();
    client.set_read_timeout(Some(LIMIT)).unwrap();
    assert!(matches!(client.read(&mut [0; 1]), Ok(0) | Err(_)));

    for (wrong, said) in [
        (
            "upstream: 10.0.0.1:80",
            "upstream: `10.0.0.1:80` is not on loopback\n --> compose.yaml:6:27",
        ),
        (
            "upstream: {x: 127.0.0.1:80}",
            "upstream: \"x\" is no port of the service",
        ),
        (
            "dial: 127.0.0.1",
            "dial: `127.0.0.1` is no address and port",
        ),
    ] {
        let compose = format!(
            "name: wrong\nservices:\n  db:\n    image: postgres\n    ports: ['5432']\n    x-vethlab: {{{wrong}}}\n"
        );
        let project = Project::new("wrong", &compose);
        let up = project.run(&["up"]);
        let errors = String::from_utf8_lossy(&up.stderr);
        assert_eq!(up.status.code(), Some(2), "{errors}");
        assert!(errors.contains(said), "{errors}");
    }
}
