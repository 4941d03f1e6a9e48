//! `vethlab up` with published ports: real clients from this machine.
#![cfg(target_os = "linux")]

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

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

#[test]
fn real_clients_reach_what_a_project_publishes() {
    let compose = "\
name: real
services:
  web: {image: nginx, ports: ['80']}
  db: {image: postgres, ports: ['127.0.0.1::5432/tcp', '9000/udp'], x-vethlab: {listen: [5432]}}
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
    let mut db = TcpStream::connect(v4("5432/tcp")).unwrap();
    db.set_read_timeout(Some(LIMIT)).unwrap();
    let mut heard = [0; 1];
    db.read_exact(&mut heard).unwrap();
    let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    udp.send_to(b"x", v4("9000/udp")).unwrap();

    let text = String::from_utf8(project.run(&["ps"]).stdout).unwrap();
    assert!(text.contains("real-web-1"), "{text}");
    assert!(project.run(&["down"]).status.success());
    for (real, port) in &bound {
        if port.ends_with("tcp") {
            assert!(TcpListener::bind(real).is_ok(), "{real} is bound still");
        } else {
            assert!(UdpSocket::bind(real).is_ok(), "{real} is bound still");
        }
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
