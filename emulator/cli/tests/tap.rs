//! `vethlab up --tap`: whatever joins a TAP gets its address there, by real DHCP clients and the kernel's own
//! autoconfiguration, in namespaces that the test made.
//!
//! Where a TAP, a namespace or a client is not to be had, each test says so and passes.
#![cfg(target_os = "linux")]

mod rig;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rig::texts;

/// How long something may take that takes no time.
const LIMIT: Duration = Duration::from_secs(60);

const SHOP: &str = "\
name: shop
services:
  web: {image: nginx, networks: [front]}
networks:
  front:
    enable_ipv6: true
    driver_opts: {com.docker.network.driver.mtu: '1400'}
    ipam: {config: [{subnet: 172.31.0.0/24}, {subnet: 'fd00:17::/64'}]}
";

/// A namespace, as long as its holder is there.
struct Space(Child);

impl Drop for Space {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

impl Space {
    fn held(mut command: Command) -> Option<Self> {
        let mut child = command
            .args(["sh", "-c", "echo up; exec sleep 1800"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let mut line = String::new();
        let lines = child.stdout.take()?;
        BufReader::new(lines).read_line(&mut line).ok()?;
        let space = Self(child);
        (line == "up\n").then_some(space)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        let process = self.0.id().to_string();
        command.args([
            "--preserve-credentials",
            "-U",
            "-n",
            "-t",
            &process,
            program,
        ]);
        command
    }

    /// What a shell prints there, both streams.
    fn shell(&self, script: &str) -> (bool, String) {
        let output = self.command("sh").args(["-c", script]).output().unwrap();
        let (out, err) = texts(&output);
        (output.status.success(), out + &err)
    }

    fn says(&self, script: &str) -> String {
        let (done, told) = self.shell(script);
        assert!(done, "{script}: {told}");
        told
    }
}

/// A project that is up in a namespace, with a TAP there, and a namespace that the TAP was moved to.
struct Tap {
    folder: PathBuf,
    host: Space,
    guest: Space,
}

impl Drop for Tap {
    fn drop(&mut self) {
        let _down = self.vethlab(&["down", "-p", "shop"]).output();
        let _gone = fs::remove_dir_all(&self.folder);
    }
}

impl Tap {
    /// `None`, said aloud: there is no TAP here.
    fn up(test: &str, more: &[&str]) -> Option<Self> {
        let skipped = |why: &str| {
            eprintln!("SKIPPED {test}: {why}");
            None
        };
        let mut first = Command::new("unshare");
        first.arg("-Urn");
        let Some(host) = Space::held(first) else {
            return skipped("no namespaces here");
        };
        let mut second = host.command("unshare");
        second.arg("-n");
        let Some(guest) = Space::held(second) else {
            return skipped("no second namespace here");
        };
        let name = format!("vethlab-tap-{}-{test}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        let _gone = fs::remove_dir_all(&folder);
        fs::create_dir_all(folder.join("run")).unwrap();
        fs::write(folder.join("compose.yaml"), SHOP).unwrap();
        let tap = Self {
            folder,
            host,
            guest,
        };
        let args = [&["up", "-d", "--tap", "front:tap0"], more].concat();
        let output = tap.vethlab(&args).output().unwrap();
        let (out, err) = texts(&output);
        if !output.status.success() {
            assert!(err.contains("/dev/net/tun"), "{out}{err}");
            return skipped(&err);
        }
        assert!(
            out.contains(
                "tap tap0 on shop_front: DHCP at 172.31.0.1, 172.31.0.3 first, advertises fd00:17::/64, DNS at \
                 172.31.0.1 and fd00:17::1"
            ),
            "{out}"
        );
        let guest = tap.guest.0.id();
        tap.host.says(&format!("ip link set tap0 netns {guest}"));
        tap.guest.says("ip link set lo up && ip link set tap0 up");
        Some(tap)
    }

    fn vethlab(&self, args: &[&str]) -> Command {
        let mut command = self.host.command(env!("CARGO_BIN_EXE_vethlab"));
        command
            .args(args)
            .current_dir(&self.folder)
            .env("XDG_RUNTIME_DIR", self.folder.join("run"))
            .stdin(Stdio::null());
        command
    }

    fn ps(&self) -> String {
        let args = ["ps", "-p", "shop", "--format", "json"];
        texts(&self.vethlab(&args).output().unwrap()).0
    }

    /// Writes what a DHCP client runs when something happens; it keeps the client's variables.
    fn hook(&self, text: &str) -> String {
        // Written by a process of its own: a file that another thread's child still has open to write is not executed.
        let script = "printf %s \"$1\" >hook.sh && chmod 755 hook.sh";
        let written = Command::new("sh")
            .args(["-c", script, "sh", text])
            .current_dir(&self.folder)
            .status();
        assert!(written.unwrap().success());
        self.folder.join("hook.sh").display().to_string()
    }
}

fn is_there(program: &str) -> bool {
    let script = format!("command -v {program}");
    let found = Command::new("sh").args(["-c", &script]).output();
    found.is_ok_and(|output| output.status.success())
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !done() {
        assert!(begin.elapsed() < LIMIT, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What a machine does that has its address.
fn works(tap: &Tap) {
    let script = "import socket, urllib.request as r\n\
                  print(r.urlopen('http://172.31.0.2/', timeout=20).status)\n\
                  q = bytes.fromhex('12340100000100000000000003776562000001' '0001')\n\
                  u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.settimeout(20)\n\
                  u.sendto(q, ('172.31.0.1', 53)); print(socket.inet_ntoa(u.recv(4096)[-4:]))\n\
                  t = socket.create_connection(('172.31.0.1', 53), 20); t.sendall(b'\\0' + bytes([len(q)]) + q)\n\
                  f = t.makefile('rb'); print(socket.inet_ntoa(f.read(int.from_bytes(f.read(2), 'big'))[-4:]))";
    let output = tap
        .guest
        .command("python3")
        .args(["-c", script])
        .output()
        .unwrap();
    let (out, err) = texts(&output);
    assert_eq!(out, "200\n172.31.0.2\n172.31.0.2\n", "{err}");
    // The others find it by its name and reach it.
    let args = [
        "exec",
        "-p",
        "shop",
        "web",
        "--",
        "ping",
        "-c",
        "1",
        "shop-tap0",
    ];
    let output = tap.vethlab(&args).output().unwrap();
    let (out, err) = texts(&output);
    assert!(
        out.contains("1 packets received") || out.contains("1 received"),
        "{out}{err}"
    );
}

#[test]
fn busyboxs_client_gets_a_lease() {
    if !is_there("busybox") || !is_there("python3") {
        eprintln!("SKIPPED busyboxs_client_gets_a_lease: no busybox or no python3 here");
        return;
    }
    for more in [&[][..], &["--plain-tap"]] {
        let Some(tap) = Tap::up("busybox", more) else {
            return;
        };
        let hook = tap.hook(
            "#!/bin/sh\n[ \"$1\" = bound ] || exit 0\necho \"$ip $mask $router $dns $domain $mtu $lease $hostname $serverid\"\n\
             ip addr add $ip/$mask dev $interface\nip link set $interface mtu $mtu\nip route add default via $router\n",
        );
        let told = tap.guest.says(&format!(
            "busybox udhcpc -i tap0 -n -q -f -t 60 -T 1 -O mtu -O hostname -s {hook}"
        ));
        assert!(
            told.contains(
                "172.31.0.3 24 172.31.0.1 172.31.0.1 shop_front 1400 3600 shop-tap0 172.31.0.1"
            ),
            "{told}"
        );
        works(&tap);
        assert!(tap.ps().contains("\"answered\":"), "{}", tap.ps());
    }
}

#[test]
fn iscs_client_gets_a_lease_and_releases_it() {
    if !is_there("dhclient") || !is_there("python3") {
        eprintln!("SKIPPED iscs_client_gets_a_lease: no dhclient or no python3 here");
        return;
    }
    let Some(tap) = Tap::up("isc", &[]) else {
        return;
    };
    let hook = tap.hook(
        "#!/bin/sh\necho \"$reason $new_ip_address $new_subnet_mask $new_routers $new_domain_name_servers $new_domain_name \
         $new_interface_mtu\"\n[ \"$reason\" = BOUND ] || exit 0\nip addr add $new_ip_address/24 dev $interface\n\
         ip route add default via $new_routers\n",
    );
    let files = tap.folder.display();
    let client =
        format!("dhclient -4 -1 -v -pf {files}/pid -lf {files}/leases -cf /dev/null -sf {hook}");
    let told = tap.guest.says(&format!("{client} tap0"));
    assert!(
        told.contains("DHCPACK of 172.31.0.3 from 172.31.0.1"),
        "{told}"
    );
    assert!(
        told.contains("BOUND 172.31.0.3 255.255.255.0 172.31.0.1 172.31.0.1 shop_front"),
        "{told}"
    );
    works(&tap);
    // Again, with the address that it remembers. It writes its number when who started it may have ended already.
    let pid = tap.folder.join("pid");
    let number = || fs::read_to_string(&pid).ok().filter(|it| !it.is_empty());
    until("no number", || number().is_some());
    let process = number().unwrap();
    let process = process.trim();
    tap.guest.says(&format!("kill {process}"));
    // A zombie has no program.
    until("it does not end", || {
        fs::read_link(format!("/proc/{process}/exe")).is_err()
    });
    let _gone = fs::remove_file(&pid);
    let told = tap.guest.says(&format!("{client} tap0"));
    assert!(
        !told.contains("DHCPDISCOVER") && told.contains("DHCPACK of 172.31.0.3"),
        "{told}"
    );
    until("no number", || number().is_some());
    let told = tap.guest.says(&format!("{client} -r tap0"));
    assert!(told.contains("DHCPRELEASE"), "{told}");
}

#[test]
fn each_machine_behind_the_tap_has_an_address_of_its_own() {
    if !is_there("busybox") {
        eprintln!("SKIPPED each_machine_behind_the_tap: no busybox here");
        return;
    }
    let Some(tap) = Tap::up("several", &[]) else {
        return;
    };
    tap.guest
        .says("ip link add br0 type bridge && ip link set br0 up && ip link set tap0 master br0");
    let hook = tap.hook("#!/bin/sh\n[ \"$1\" != bound ] || echo \"got $ip\"\n");
    let mut seen = Vec::new();
    for number in 0..4 {
        tap.guest.says(&format!(
            "ip link add a{number} type veth peer name b{number} && ip link set a{number} master br0 up && ip link set b{number} up"
        ));
        let told = tap.guest.says(&format!(
            "busybox udhcpc -i b{number} -n -q -f -t 60 -T 1 -s {hook}"
        ));
        let (_, ip) = told.split_once("got ").unwrap();
        seen.push(ip.lines().next().unwrap().to_owned());
    }
    assert_eq!(
        seen,
        ["172.31.0.3", "172.31.0.4", "172.31.0.5", "172.31.0.6"]
    );
    // A program that is attached meanwhile gets none of them.
    let args = ["attach", "-p", "shop", "front", "--", "cat", "/etc/hosts"];
    let (out, err) = texts(&tap.vethlab(&args).output().unwrap());
    assert!(out.contains("172.31.0.7"), "{out}{err}");
}

#[test]
fn the_kernel_makes_itself_an_ipv6_address() {
    let Some(tap) = Tap::up("slaac", &[]) else {
        return;
    };
    let state = || tap.guest.says("ip -6 addr show dev tap0; ip -6 route");
    // Not `fd00:17::` alone: the prefix may have its route before the address is listed.
    until("no address", || {
        let told = state();
        told.contains("/64 scope global dynamic") && told.contains("default via fe80::")
    });
    let told = state();
    assert!(told.contains("proto ra"), "{told}");
    // With the network's MTU.
    assert_eq!(
        tap.guest.says("cat /proc/sys/net/ipv6/conf/tap0/mtu"),
        "1400\n"
    );
    if is_there("python3") {
        let script = "import socket, urllib.request as r\n\
                      print(r.urlopen('http://[fd00:17::2]/', timeout=20).status)\n\
                      q = bytes.fromhex('12340100000100000000000003776562000001' '0001')\n\
                      u = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); u.settimeout(20)\n\
                      u.sendto(q, ('fd00:17::1', 53)); print(socket.inet_ntoa(u.recv(4096)[-4:]))";
        let output = tap
            .guest
            .command("python3")
            .args(["-c", script])
            .output()
            .unwrap();
        let (out, err) = texts(&output);
        assert_eq!(out, "200\n172.31.0.2\n", "{err}");
    }
    if is_there("rdisc6") {
        let (_, told) = tap.guest.shell("rdisc6 -1 tap0");
        assert!(
            told.contains("Recursive DNS server     : fd00:17::1"),
            "{told}"
        );
        assert!(
            told.contains("MTU                      :         1400 bytes"),
            "{told}"
        );
    }
}

#[test]
fn what_cannot_be_opened_is_said() {
    let folder = std::env::temp_dir().join(format!("vethlab-tap-{}-said", std::process::id()));
    fs::create_dir_all(folder.join("run")).unwrap();
    fs::write(folder.join("compose.yaml"), SHOP).unwrap();
    let up = |tap: &str| {
        let output = rig::command(&["up", "--tap", tap])
            .current_dir(&folder)
            .env("XDG_RUNTIME_DIR", folder.join("run"))
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2));
        texts(&output).1
    };
    assert!(up("front:sixteen-letters-").contains("no name of an interface"));
    let (_, odd) = texts(&rig::vethlab(&["up", "--tap", "tap0"]));
    assert!(odd.contains("write NETWORK:TAP"), "{odd}");
    let _gone = fs::remove_dir_all(&folder);
}
