//! `vethlab attach`: real programs on an emulated network, as client and as server; what they leave (nothing).
//!
//! Where neither root nor a user namespace may make a network namespace, each says so and passes.
#![cfg(target_os = "linux")]

mod rig;

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rig::{command, texts, vethlab};

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

#[test]
fn a_real_client_and_a_real_server() {
    let Some(shop) = Shop::up("both") else { return };
    let ask = "import urllib.request as r, socket; print(r.urlopen('http://web/', timeout=20).status); \
               s = socket.create_connection(('127.0.0.11', 53), 20); \
               s.sendall(bytes.fromhex('001512340100000100000000000003776562000001'  '0001')); \
               print(socket.inet_ntoa(s.recv(4096)[-4:]))";
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
fn without_the_lab_a_program_ends() {
    let Some(shop) = Shop::up("down") else { return };
    let mut program = shop.start("sleeper", &["sleep", "600"]);
    shop.says(&["down"], 0);
    let status = program.wait().unwrap();
    assert_eq!(status.code(), Some(143));
}
