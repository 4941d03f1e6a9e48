//! How fast is the way of a real program through a TAP, beside others that carry a namespace's traffic without privilege?
//!
//! Everything is in a user and network namespace of its own: an `iperf3` server on its loopback, and below it a
//! namespace for each way to it, all at an MTU of 1500. Ours: a TAP on a project that is up, opened by our own opener
//! (virtio headers: super-segments cross whole) or by tun-tap (frames as wires carry them), the lab's bridge, and a service whose
//! `upstream` is that server. slirp4netns and pasta: their default way to the host's loopback. What is measured is what
//! `iperf3` says that its receiver got; of one stream, in each direction, all ways in turn in each round.
//!
//! Skipped aloud: what is not installed, or not permitted here. The command is the one beside this bench: `cargo build
//! --release -p vethlab-cli`.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::common::{Report, Row, rounds, smoke};
use crate::kernel::{holder, inside, shell};
use crate::projects::binary;

const PORT: &str = "5201";
const PROJECT: &str = "\
services:
  front: {image: busybox, expose: ['5201'], networks: [net], x-vethlab: {upstream: '127.0.0.1:5201'}}
networks:
  net: {ipam: {config: [{subnet: 172.31.0.0/24}]}}
";
/// How long something may take to be there.
const LIMIT: Duration = Duration::from_secs(10);

/// A way to the server.
struct Way {
    name: &'static str,
    /// The namespace in which the client runs; pasta makes its own.
    client: u32,
    /// Its command line up to the address.
    through: Vec<String>,
    address: &'static str,
}

/// The namespaces, and all that runs in them.
struct Bench {
    binary: PathBuf,
    folder: PathBuf,
    host: u32,
    children: Vec<Child>,
}

impl Drop for Bench {
    fn drop(&mut self) {
        for project in ["own", "plain"] {
            let _down = self.vethlab(&["down", "-p", project]).output();
        }
        for child in self.children.iter_mut().rev() {
            let _gone = child.kill();
            let _reaped = child.wait();
        }
        let _gone = std::fs::remove_dir_all(&self.folder);
    }
}

impl Bench {
    fn new(binary: PathBuf) -> Result<Self, String> {
        let words = |error: std::io::Error| error.to_string();
        let folder = std::env::temp_dir().join(format!("vethlab-bench-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("run")).map_err(words)?;
        std::fs::write(folder.join("compose.yaml"), PROJECT).map_err(words)?;
        let mut first = Command::new("unshare");
        first.arg("-Urn");
        let host = holder(first)?;
        let mut bench = Self {
            binary,
            folder,
            host: host.id(),
            children: vec![host],
        };
        // pasta takes the address and the route of an interface; the one to the gateway means loopback.
        shell(
            bench.host,
            "ip link set lo up && ip link add out type veth peer name far && ip link set far up && ip link set out up \
             && ip addr add 192.0.2.1/24 dev out && ip route add default via 192.0.2.254",
        )?;
        let mut server = inside(bench.host);
        server.args(["iperf3", "-s", "-p", PORT]);
        bench.start(server)?;
        Ok(bench)
    }

    fn start(&mut self, mut command: Command) -> Result<(), String> {
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| error.to_string())?;
        self.children.push(child);
        Ok(())
    }

    fn vethlab(&self, args: &[&str]) -> Command {
        let mut command = inside(self.host);
        command
            .arg(&self.binary)
            .args(args)
            .current_dir(&self.folder)
            .env("XDG_RUNTIME_DIR", self.folder.join("run"))
            .stdin(Stdio::null());
        command
    }

    fn namespace(&mut self) -> Result<u32, String> {
        let mut command = inside(self.host);
        command.args(["unshare", "-n"]);
        self.children.push(holder(command)?);
        Ok(self.children.last().map_or(0, Child::id))
    }

    /// A TAP on a project of ours, in a namespace.
    fn ours(&mut self, name: &'static str, project: &str, more: &[&str]) -> Result<Way, String> {
        let client = self.namespace()?;
        let tap = format!("net:{project}");
        let args = [&["up", "-d", "-p", project, "--tap", &tap], more].concat();
        let output = self.vethlab(&args).output();
        let output = output.map_err(|error| error.to_string())?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(said.trim().to_owned());
        }
        shell(self.host, &format!("ip link set {project} netns {client}"))?;
        shell(
            client,
            &format!("ip addr add 172.31.0.3/24 dev {project} && ip link set {project} up"),
        )?;
        Ok(Way {
            name,
            client,
            through: Vec::new(),
            address: "172.31.0.2",
        })
    }

    fn slirp(&mut self) -> Result<Way, String> {
        let client = self.namespace()?;
        let mut command = inside(self.host);
        let target = client.to_string();
        command.args(["slirp4netns", "--configure", "--mtu=1500", &target, "tap0"]);
        self.start(command)?;
        until("slirp4netns does not come up here", || {
            shell(client, "ip -o addr show dev tap0 | grep -q 10.0.2.100").is_ok()
        })?;
        Ok(Way {
            name: "slirp4netns",
            client,
            through: Vec::new(),
            address: "10.0.2.2",
        })
    }

    fn pasta(&self) -> Way {
        let words = "pasta -q --config-net --mtu 1500 -t none -u none -T none -U none --";
        Way {
            name: "pasta",
            client: self.host,
            through: words.split(' ').map(str::to_owned).collect(),
            address: "192.0.2.254",
        }
    }
}

fn until(what: &str, mut done: impl FnMut() -> bool) -> Result<(), String> {
    let begun = Instant::now();
    while !done() {
        if begun.elapsed() > LIMIT {
            return Err(what.to_owned());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

impl Way {
    /// Bits a second that arrive; from the server if `reverse`.
    fn rate(&self, reverse: bool) -> Result<f64, String> {
        let seconds = if smoke() { "1" } else { "2" };
        let mut why = String::new();
        // The server takes one client at a time, and lets go of the one before when that is gone.
        for _ in 0..20 {
            let mut command = inside(self.client);
            command.args(&self.through);
            command.args([
                "iperf3",
                "-J",
                "-c",
                self.address,
                "-p",
                PORT,
                "-t",
                seconds,
            ]);
            if reverse {
                command.arg("-R");
            }
            let output = command.stdin(Stdio::null()).output();
            let output = output.map_err(|error| error.to_string())?;
            let told = String::from_utf8_lossy(&output.stdout);
            let told = told.get(told.find('{').unwrap_or(0)..).unwrap_or_default();
            let value: Value = serde_json::from_str(told).unwrap_or_default();
            if let Some(rate) = value["end"]["sum_received"]["bits_per_second"].as_f64() {
                return Ok(rate);
            }
            why = format!("{}: iperf3: {}", self.name, value["error"]);
            std::thread::sleep(Duration::from_millis(100));
        }
        Err(why)
    }
}

fn is_installed(program: &str) -> bool {
    let asked = Command::new(program)
        .arg("--version")
        .stdin(Stdio::null())
        .output();
    asked.is_ok()
}

pub(crate) fn run(report: &mut Report) {
    report.about(
        "one stream of a real client in a namespace to a real server on loopback, MTU 1500: through a TAP on a project \
         that is up and its service with that upstream, beside slirp4netns and pasta",
    );
    let Some(binary) = binary() else {
        let why = "the command is not built: cargo build --release -p vethlab-cli";
        return report.skip("all rows of attach", why);
    };
    if !is_installed("iperf3") {
        return report.skip("all rows of attach", "iperf3 is not installed");
    }
    let mut bench = match Bench::new(binary) {
        Ok(bench) => bench,
        Err(why) => return report.skip("all rows of attach", &why),
    };
    let mut ways = Vec::new();
    let mut take = |report: &mut Report, name: &str, way: Result<Way, String>| {
        // One stream decides whether it works at all.
        match way.and_then(|way| way.rate(false).map(|_| way)) {
            Ok(way) => ways.push(way),
            Err(why) => report.skip(&format!("attach: {name}"), &why),
        }
    };
    let own = bench.ours("TAP, own opener", "own", &[]);
    take(report, "own opener", own);
    let plain = bench.ours("TAP, tun-tap", "plain", &["--plain-tap"]);
    take(report, "tun-tap", plain);
    for (name, is_slirp) in [("slirp4netns", true), ("pasta", false)] {
        let way = match (is_installed(name), is_slirp) {
            (false, _) => Err("it is not installed".to_owned()),
            (true, true) => bench.slirp(),
            (true, false) => Ok(bench.pasta()),
        };
        take(report, name, way);
    }
    let loopback = Way {
        name: "plain loopback",
        client: bench.host,
        through: Vec::new(),
        address: "127.0.0.1",
    };
    take(report, "plain loopback", Ok(loopback));
    for (reverse, direction) in [
        (false, "out of the namespace"),
        (true, "into the namespace"),
    ] {
        match measured(&ways, reverse) {
            Ok(figures) => rows(report, &figures, direction),
            Err(why) => report.skip(&format!("attach: {direction}"), &why),
        }
    }
}

/// All ways in turn, round by round.
fn measured(ways: &[Way], reverse: bool) -> Result<Vec<(&'static str, Vec<f64>)>, String> {
    let mut figures: Vec<(&str, Vec<f64>)> =
        ways.iter().map(|way| (way.name, Vec::new())).collect();
    for _ in 0..rounds().count {
        for (way, (_, figures)) in ways.iter().zip(&mut figures) {
            figures.push(way.rate(reverse)?);
        }
    }
    Ok(figures)
}

fn rows(report: &mut Report, figures: &[(&'static str, Vec<f64>)], direction: &str) {
    let of = |name: &str| figures.iter().find(|(other, _)| *other == name);
    for (ours, targets) in [("TAP, own opener", Some(3.0)), ("TAP, tun-tap", Some(1.0))] {
        let Some((_, own)) = of(ours) else { continue };
        for anchor in ["slirp4netns", "pasta", "plain loopback"] {
            let Some((_, other)) = of(anchor) else {
                continue;
            };
            let mut row = Row::rate(format!("{ours}, {direction}, beside {anchor}"), "bit/s");
            if let Some(least) = targets.filter(|_| anchor == "slirp4netns") {
                row = row.ratio(least);
            }
            row.with("MTU 1500, one stream of iperf3, what its receiver got")
                .record(report, (ours, own), Some((anchor, other)));
        }
    }
}
