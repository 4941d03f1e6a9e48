//! Small runs that several tests look at: what is set up, what happens, and what is left to compare.

use core::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use core::time::Duration;

use emulator_core::app::{App, Family, SockKind, SockOpt, Step, Sys};
use emulator_core::docker::spec::{
    ContainerSpec, EndpointSpec, HostPort, NetworkSpec, Port, PortBinding, Proto,
};
use emulator_core::id::{CaptureId, NsId, SockId};
use emulator_core::lab::{Lab, LabConfig};
use emulator_core::net::{CaptureAt, CaptureSpec, Places};
use emulator_core::netns::Errno;
use emulator_core::tools;
use switch::DropReason;
use switch::link::Mode;
use switch::verdict::Event;

/// How a scene is run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct How {
    pub(crate) seed: u64,
    pub(crate) mode: Mode,
    pub(crate) capture: Option<CaptureAt>,
    pub(crate) listen: bool,
}

impl Default for How {
    fn default() -> Self {
        Self {
            seed: 1,
            mode: Mode::Copy,
            capture: Some(CaptureAt::Crossing),
            listen: true,
        }
    }
}

/// What a run left behind.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Left {
    /// What was printed, in order, with the commands and exit codes.
    pub(crate) printed: String,
    pub(crate) events: Vec<Event>,
    pub(crate) pcap: Vec<u8>,
    /// How many frames died, and why.
    pub(crate) drops: Vec<(DropReason, u64)>,
    /// When it ended, in nanoseconds.
    pub(crate) end: u64,
}

/// A run and its name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scene {
    pub(crate) name: &'static str,
    /// Its capture is small enough to be kept beside the tests.
    pub(crate) golden: bool,
    /// No frame dies in it.
    pub(crate) lossless: bool,
    play: fn(&mut Stage),
}

/// Every scene.
pub(crate) const SCENES: &[Scene] = &[
    scene("ping-by-name", ping_by_name),
    Scene {
        golden: false,
        ..scene("download", download)
    },
    Scene {
        golden: false,
        ..scene("download-v6", download_v6)
    },
    Scene {
        golden: false,
        ..scene("narrow-receivers", narrow_receivers)
    },
    Scene {
        golden: false,
        ..scene("published-download", published_download)
    },
    // What is too long for the uplink dies, and the path is known then.
    Scene {
        golden: false,
        lossless: false,
        ..scene("narrow-uplink", narrow_uplink)
    },
    scene("page", page),
    scene("fragments", fragments),
    scene("ipv6", ipv6),
    scene("host-to-container", host_to_container),
    scene("two-networks", two_networks),
    scene("names-hit-and-miss", names_hit_and_miss),
    Scene {
        lossless: false,
        ..scene("nobody-there", nobody_there)
    },
    Scene {
        lossless: false,
        ..scene("refused", refused)
    },
    scene("published-port", published_port),
    scene("masquerade", masquerade),
    Scene {
        lossless: false,
        ..scene("isolated", isolated)
    },
    Scene {
        golden: false,
        ..scene("macvlan", macvlan)
    },
];

const fn scene(name: &'static str, play: fn(&mut Stage)) -> Scene {
    Scene {
        name,
        golden: true,
        lossless: true,
        play,
    }
}

impl Scene {
    pub(crate) fn named(name: &str) -> &'static Self {
        SCENES.iter().find(|scene| scene.name == name).unwrap()
    }

    pub(crate) fn run(&self, how: How) -> Left {
        self.run_with(how, |_| ()).0
    }

    /// The same; `also` does something to the lab before it plays.
    pub(crate) fn run_with<T>(&self, how: How, also: impl FnOnce(&mut Lab) -> T) -> (Left, T) {
        let mut stage = Stage::new(how);
        let made = also(&mut stage.lab);
        (self.play)(&mut stage);
        (stage.end(), made)
    }
}

/// A lab on which a scene plays.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) lab: Lab,
    capture: Option<CaptureId>,
    pcap: Vec<u8>,
    printed: String,
}

impl Stage {
    pub(crate) fn new(how: How) -> Self {
        let mut config = LabConfig {
            seed: how.seed,
            ..LabConfig::default()
        };
        config.net.mode = how.mode;
        let mut lab = Lab::new(config).unwrap();
        lab.net_mut().trace.listen(how.listen);
        let capture = how.capture.map(|at| {
            let spec = CaptureSpec {
                places: Places::At(at),
                ..CaptureSpec::default()
            };
            lab.net_mut().capture_open(spec).unwrap()
        });
        Self {
            lab,
            capture,
            pcap: Vec::new(),
            printed: String::new(),
        }
    }

    fn end(mut self) -> Left {
        self.lab.run_for(Duration::from_secs(1));
        self.drain();
        if let Some(capture) = self.capture {
            self.pcap.extend(self.lab.net_mut().capture_close(capture));
        }
        self.lab.net_mut().capture_close_all();
        let trace = &mut self.lab.net_mut().trace;
        assert_eq!(trace.lost_events(), 0);
        Left {
            printed: self.printed,
            events: trace.take(),
            pcap: self.pcap,
            drops: trace.drops.iter().collect(),
            end: self.lab.now().as_nanos(),
        }
    }

    fn drain(&mut self) {
        if let Some(capture) = self.capture {
            let mut bytes = Vec::new();
            self.lab.net_mut().capture_drain(capture, &mut bytes);
            self.pcap.extend(bytes);
        }
    }

    pub(crate) fn network(&mut self, spec: NetworkSpec) {
        self.lab.network_create(spec).unwrap();
    }

    fn simple_network(&mut self, name: &str) {
        self.network(NetworkSpec {
            name: name.to_owned(),
            ..NetworkSpec::default()
        });
    }

    fn run(&mut self, name: &str, image: &str, network: &str) {
        self.start(ContainerSpec {
            name: Some(name.to_owned()),
            image: image.to_owned(),
            network_mode: network.to_owned(),
            ..ContainerSpec::default()
        });
    }

    pub(crate) fn start(&mut self, spec: ContainerSpec) {
        let name = spec.name.clone().unwrap();
        self.lab.create(spec).unwrap();
        self.lab.start(&name).unwrap();
        self.lab.settle();
    }

    /// The namespace of a container or a place.
    pub(crate) fn ns(&self, who: &str) -> NsId {
        let places = self.lab.places();
        match who {
            "host" => places.host,
            "lan" => places.lan,
            "internet" => places.internet,
            container => self.lab.namespace(container).unwrap(),
        }
    }

    /// `ip link set DEV mtu MTU`.
    fn mtu(&mut self, who: &str, dev: &str, mtu: u32) {
        let ns = self.ns(who);
        let set = |netns: &mut emulator_core::netns::Netns,
                   _: &mut emulator_core::netns::Cx<'_>| {
            let id = netns.iface_named(dev).unwrap().id;
            netns.iface_mtu(id, mtu).unwrap();
        };
        self.lab.net_mut().with_ns(ns, set).unwrap();
    }

    fn address(&self, who: &str) -> Ipv4Addr {
        let netns = self.lab.net().ns(self.ns(who)).unwrap();
        netns
            .iface_named("eth0")
            .unwrap()
            .addrs
            .iter()
            .find_map(|address| match address.net.addr() {
                core::net::IpAddr::V4(v4) => Some(v4),
                core::net::IpAddr::V6(_) => None,
            })
            .unwrap()
    }

    /// Runs a program to its end and keeps what it prints.
    pub(crate) fn app(&mut self, who: &str, what: &str, app: Box<dyn App>) {
        let ns = self.ns(who);
        let app = self.lab.spawn(ns, app);
        let code = self.lab.run_app_for(app, Duration::from_secs(60));
        let out: String = self
            .lab
            .take_output(app)
            .into_iter()
            .map(|(_, text)| text)
            .collect();
        let code = code.map_or_else(|| "still runs".to_owned(), |code| code.to_string());
        self.printed += &format!("{who}$ {what}\n{out}[{code}]\n");
        self.drain();
    }

    pub(crate) fn exec(&mut self, who: &str, line: &str) {
        let argv: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        self.app(who, line, tools::spawn(&argv).unwrap());
    }
}

fn pair(stage: &mut Stage) {
    stage.simple_network("front");
    stage.run("web", "busybox", "front");
    stage.run("db", "busybox", "front");
}

fn ping_by_name(stage: &mut Stage) {
    pair(stage);
    stage.exec("web", "ping -c 2 db");
}

fn transfer(stage: &mut Stage, bytes: usize) {
    pair(stage);
    let server = stage.ns("db");
    stage.lab.spawn(server, Box::new(Pour::new(9000, bytes)));
    let to = (stage.address("db"), 9000).into();
    stage.app("web", "drink", Box::new(Drink::new(to)));
}

/// 200 KiB from `db` to `web` over IPv6.
fn transfer_v6(stage: &mut Stage) {
    let server = stage.ns("db");
    stage
        .lab
        .spawn(server, Box::new(Pour::new(9000, 200 << 10)));
    let netns = stage.lab.net().ns(server).unwrap();
    let eth0 = netns.iface_named("eth0").unwrap();
    let global = |ip: &Ipv6Addr| !ip.is_unicast_link_local();
    let v6 = eth0.addrs.iter().find_map(|at| match at.net.addr() {
        core::net::IpAddr::V6(v6) => Some(v6).filter(global),
        core::net::IpAddr::V4(_) => None,
    });
    let to = (v6.unwrap(), 9000).into();
    stage.app("web", "drink", Box::new(Drink::new(to)));
}

fn pair_v6(stage: &mut Stage) {
    stage.network(NetworkSpec {
        name: "six".to_owned(),
        ipv6: Some(true),
        ..NetworkSpec::default()
    });
    stage.run("web", "busybox", "six");
    stage.run("db", "busybox", "six");
}

fn download_v6(stage: &mut Stage) {
    pair_v6(stage);
    transfer_v6(stage);
}

/// The sender's link takes 1500 bytes, the receiver's less; each says so in its SYN.
fn narrow_receivers(stage: &mut Stage) {
    pair_v6(stage);
    stage.mtu("web", "eth0", 1280);
    transfer_v6(stage);
    stage.mtu("web", "eth0", 576);
    let server = stage.ns("db");
    stage
        .lab
        .spawn(server, Box::new(Pour::new(9001, 100 << 10)));
    let to = (stage.address("db"), 9001).into();
    stage.app("web", "drink", Box::new(Drink::new(to)));
}

fn pour_published(stage: &mut Stage) {
    stage.start(ContainerSpec {
        name: Some("web".to_owned()),
        image: "busybox".to_owned(),
        ports: vec![publish(9000, 9000, Proto::Tcp)],
        ..ContainerSpec::default()
    });
    let server = stage.ns("web");
    stage
        .lab
        .spawn(server, Box::new(Pour::new(9000, 200 << 10)));
    let to = (Ipv4Addr::new(192, 0, 2, 2), 9000).into();
    stage.app("lan", "drink", Box::new(Drink::new(to)));
}

fn published_download(stage: &mut Stage) {
    pour_published(stage);
}

/// The host has to refuse what is too long for its uplink, and the sender to cut it smaller.
fn narrow_uplink(stage: &mut Stage) {
    stage.mtu("host", "eth0", 1000);
    pour_published(stage);
}

fn download(stage: &mut Stage) {
    transfer(stage, 200 << 10);
}

fn page(stage: &mut Stage) {
    transfer(stage, 20 << 10);
}

fn fragments(stage: &mut Stage) {
    pair(stage);
    let server = stage.ns("db");
    stage.lab.spawn(server, Box::new(Echo::new(7)));
    let to = (stage.address("db"), 7).into();
    stage.app("web", "shout", Box::new(Shout::new(to, 4000)));
}

fn ipv6(stage: &mut Stage) {
    stage.network(NetworkSpec {
        name: "six".to_owned(),
        ipv6: Some(true),
        ..NetworkSpec::default()
    });
    stage.run("web", "nginx", "six");
    stage.run("db", "busybox", "six");
    stage.exec("db", "ping6 -c 2 web");
    stage.exec("db", "wget -q -O - http://web/");
}

fn host_to_container(stage: &mut Stage) {
    stage.run("web", "nginx", "");
    stage.exec("host", "ping -c 1 172.17.0.2");
    stage.exec("host", "wget -q -O - http://172.17.0.2/");
}

fn two_networks(stage: &mut Stage) {
    stage.simple_network("front");
    stage.simple_network("back");
    stage.run("web", "busybox", "front");
    stage.run("db", "nginx", "back");
    stage.run("api", "busybox", "front");
    stage
        .lab
        .network_connect("back", "api", EndpointSpec::default())
        .unwrap();
    stage.exec("web", "ping -c 1 api");
    stage.exec("api", "wget -q -O - http://db/");
}

fn names_hit_and_miss(stage: &mut Stage) {
    pair(stage);
    stage.exec("web", "nslookup db");
    stage.exec("web", "nslookup example.com");
}

fn nobody_there(stage: &mut Stage) {
    stage.simple_network("empty");
    stage.exec("host", "ping -c 1 -W 4 172.18.0.77");
    stage.run("web", "busybox", "empty");
    stage.exec("web", "ping -c 1 -W 4 172.18.0.77");
}

fn refused(stage: &mut Stage) {
    pair(stage);
    stage.exec("web", "nc -w 2 db 81");
}

fn published_port(stage: &mut Stage) {
    stage.start(ContainerSpec {
        name: Some("web".to_owned()),
        image: "nginx".to_owned(),
        ports: vec![publish(8080, 80, Proto::Tcp)],
        ..ContainerSpec::default()
    });
    stage.exec("lan", "wget -q -O - http://192.0.2.2:8080/");
}

fn masquerade(stage: &mut Stage) {
    stage.run("box", "busybox", "");
    stage.exec("box", "wget -q -O - http://198.51.100.7/");
    stage.exec("box", "ping -c 1 198.51.100.7");
}

fn isolated(stage: &mut Stage) {
    stage.simple_network("front");
    stage.simple_network("back");
    stage.run("web", "busybox", "front");
    stage.run("db", "nginx", "back");
    let db = stage.address("db");
    stage.exec("web", &format!("wget -q -T 2 -O - http://{db}/"));
}

fn macvlan(stage: &mut Stage) {
    let parent = [("parent".to_owned(), "eth0".to_owned())];
    let mut spec = NetworkSpec {
        name: "flat".to_owned(),
        driver: "macvlan".to_owned(),
        options: parent.into_iter().collect(),
        ..NetworkSpec::default()
    };
    spec.ipam.push(emulator_core::docker::spec::IpamConfig {
        subnet: "192.0.2.0/24".to_owned(),
        ip_range: "192.0.2.128/28".to_owned(),
        gateway: "192.0.2.1".to_owned(),
        ..emulator_core::docker::spec::IpamConfig::default()
    });
    stage.network(spec);
    stage.run("web", "nginx", "flat");
    stage.run("db", "busybox", "flat");
    stage.exec("lan", "wget -q -O - http://192.0.2.128/");
    stage.exec("db", "wget -q -O - http://web/");
}

/// A port of the host for a port of a container.
pub(crate) fn publish(host: u16, container: u16, proto: Proto) -> PortBinding {
    PortBinding {
        port: Port {
            number: container,
            proto,
        },
        host_ip: None,
        host_port: HostPort::Exact(host),
    }
}

/// The byte of a stream at `at`.
const fn byte(at: usize) -> u8 {
    (at % 251) as u8
}

/// A server that sends so many known bytes to its first client, of either family, closes and ends.
#[derive(Debug)]
pub(crate) struct Pour {
    port: u16,
    bytes: usize,
    sent: usize,
    listener: Option<SockId>,
    client: Option<SockId>,
}

impl Pour {
    pub(crate) const fn new(port: u16, bytes: usize) -> Self {
        Self {
            port,
            bytes,
            sent: 0,
            listener: None,
            client: None,
        }
    }

    fn go_on(&mut self, sys: &mut dyn Sys) -> Result<(), Errno> {
        let listener = match self.listener {
            Some(listener) => listener,
            None => {
                let listener = sys.socket(SockKind::Tcp, Family::V6)?;
                sys.bind(listener, (Ipv6Addr::UNSPECIFIED, self.port).into())?;
                sys.listen(listener, 1)?;
                *self.listener.insert(listener)
            }
        };
        let client = match self.client {
            Some(client) => client,
            None => *self.client.insert(sys.accept(listener)?.0),
        };
        while self.sent < self.bytes {
            let upto = self.bytes.min(self.sent + 8192);
            let chunk: Vec<u8> = (self.sent..upto).map(byte).collect();
            self.sent += sys.send(client, &chunk)?;
        }
        Ok(())
    }
}

impl App for Pour {
    fn run(&mut self, sys: &mut dyn Sys) -> Step {
        match self.go_on(sys) {
            Ok(()) => Step::Exit(0),
            Err(Errno::WouldBlock) => Step::Wait,
            Err(_) => Step::Exit(1),
        }
    }

    fn name(&self) -> &str {
        "pour"
    }
}

/// A client that reads a stream of known bytes to its end.
#[derive(Debug)]
pub(crate) struct Drink {
    to: SocketAddr,
    sock: Option<SockId>,
    heard: usize,
}

impl Drink {
    pub(crate) const fn new(to: SocketAddr) -> Self {
        Self {
            to,
            sock: None,
            heard: 0,
        }
    }

    fn go_on(&mut self, sys: &mut dyn Sys) -> Result<(), Errno> {
        let Some(sock) = self.sock else {
            let family = match self.to {
                SocketAddr::V4(_) => Family::V4,
                SocketAddr::V6(_) => Family::V6,
            };
            let sock = *self.sock.insert(sys.socket(SockKind::Tcp, family)?);
            return match sys.connect(sock, self.to) {
                Ok(()) | Err(Errno::InProgress) => Err(Errno::WouldBlock),
                Err(errno) => Err(errno),
            };
        };
        if let Some(errno) = sys.take_error(sock) {
            return Err(errno);
        }
        let mut buffer = [0; 16384];
        loop {
            match sys.recv(sock, &mut buffer)? {
                0 => return Ok(()),
                count => {
                    for (at, &heard) in buffer[..count].iter().enumerate() {
                        assert_eq!(heard, byte(self.heard + at));
                    }
                    self.heard += count;
                }
            }
        }
    }
}

impl App for Drink {
    fn run(&mut self, sys: &mut dyn Sys) -> Step {
        match self.go_on(sys) {
            Ok(()) => {
                sys.print(&format!("{} bytes\n", self.heard));
                Step::Exit(0)
            }
            Err(Errno::WouldBlock | Errno::NotConn) => Step::Wait,
            Err(errno) => {
                sys.eprint(&format!("{}\n", errno.text()));
                Step::Exit(1)
            }
        }
    }

    fn name(&self) -> &str {
        "drink"
    }
}

/// A UDP server that sends every datagram back.
#[derive(Debug)]
pub(crate) struct Echo {
    port: u16,
    sock: Option<SockId>,
}

impl Echo {
    pub(crate) const fn new(port: u16) -> Self {
        Self { port, sock: None }
    }
}

impl App for Echo {
    fn run(&mut self, sys: &mut dyn Sys) -> Step {
        let sock = match self.sock {
            Some(sock) => sock,
            None => {
                let Ok(sock) = sys.socket(SockKind::Udp, Family::V4) else {
                    return Step::Exit(1);
                };
                let any = (Ipv4Addr::UNSPECIFIED, self.port).into();
                if sys.bind(sock, any).is_err() {
                    return Step::Exit(1);
                }
                *self.sock.insert(sock)
            }
        };
        let mut buffer = vec![0; 65_536];
        // Errors of earlier answers are passed over.
        for _ in 0..64 {
            match sys.recv_from(sock, &mut buffer) {
                Ok(got) => {
                    // What cannot be sent is lost, as any datagram may be.
                    let _ = sys.send_to(sock, &buffer[..got.len], got.from);
                }
                Err(Errno::WouldBlock) => break,
                Err(_) => {}
            }
        }
        Step::Wait
    }

    fn name(&self) -> &str {
        "echo"
    }
}

/// A client that sends one datagram of known bytes and waits two seconds for it to come back.
#[derive(Debug)]
pub(crate) struct Shout {
    to: SocketAddr,
    bytes: usize,
    sock: Option<SockId>,
    until: switch::Time,
}

impl Shout {
    pub(crate) const fn new(to: SocketAddr, bytes: usize) -> Self {
        Self {
            to,
            bytes,
            sock: None,
            until: switch::Time::ZERO,
        }
    }

    fn go_on(&mut self, sys: &mut dyn Sys) -> Result<usize, Errno> {
        let sock = match self.sock {
            Some(sock) => sock,
            None => {
                let sock = *self.sock.insert(sys.socket(SockKind::Udp, Family::V4)?);
                sys.set(sock, SockOpt::DontFragment(false))?;
                sys.connect(sock, self.to)?;
                let bytes: Vec<u8> = (0..self.bytes).map(byte).collect();
                sys.send(sock, &bytes)?;
                self.until = sys.now() + Duration::from_secs(2);
                sys.wake_at(self.until);
                sock
            }
        };
        let mut buffer = vec![0; 65_536];
        match sys.recv(sock, &mut buffer) {
            Err(Errno::WouldBlock) if sys.now() >= self.until => Err(Errno::TimedOut),
            Err(errno) => Err(errno),
            Ok(count) => {
                let known: Vec<u8> = (0..self.bytes).map(byte).collect();
                assert_eq!(buffer[..count], known);
                Ok(count)
            }
        }
    }
}

impl App for Shout {
    fn run(&mut self, sys: &mut dyn Sys) -> Step {
        match self.go_on(sys) {
            Ok(count) => {
                sys.print(&format!("{count} bytes back\n"));
                Step::Exit(0)
            }
            Err(Errno::WouldBlock) => Step::Wait,
            Err(errno) => {
                sys.eprint(&format!("{}\n", errno.text()));
                Step::Exit(1)
            }
        }
    }

    fn name(&self) -> &str {
        "shout"
    }
}
