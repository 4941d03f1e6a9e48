//! Random projects: what is drawn, and the compose text that it makes.

use core::fmt::Write as _;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use emulator_core::docker::spec::{Engine, Listening, Port, Proto};
use proptest::prelude::*;

/// A project and the machine that it runs on.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) engine: Engine,
    pub(super) daemon: Daemon,
    pub(super) networks: Vec<Network>,
    pub(super) services: Vec<Service>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Daemon {
    pub(super) icc: bool,
    pub(super) ip_masq: bool,
    pub(super) userland_proxy: bool,
    pub(super) ip6tables: bool,
    /// Ports are published on loopback if nobody says.
    pub(super) loopback: bool,
    /// The default bridge has IPv6.
    pub(super) ipv6: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Driver {
    Bridge,
    Macvlan,
    MacvlanAlone,
    Ipvlan,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Network {
    driver: Driver,
    internal: bool,
    icc: bool,
    masquerade: bool,
    ipv6: bool,
    /// `nat`, `nat-unprotected`, `routed` and, where that may be, `isolated`; of IPv6 too.
    modes: (u8, u8),
    loopback: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Member {
    network: usize,
    alias: bool,
    priority: i8,
}

#[derive(Clone, Debug)]
enum Home {
    Networks(Vec<Member>),
    Bridge,
    Host,
    None,
    Of(usize),
}

/// At which of the host's addresses a port is published.
#[derive(Clone, Copy, Debug)]
enum At {
    Default,
    Loopback,
    Uplink,
    UplinkV6,
    LoopbackV6,
    AnyV4,
    AnyV6,
}

#[derive(Clone, Copy, Debug)]
struct Publish {
    at: At,
    /// Which of the service's ports.
    port: usize,
    ephemeral: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Service {
    home: Home,
    replicas: u32,
    publish: Vec<Publish>,
    /// Where each of its ports is listened on: nobody, every address, loopback, any IPv4 address.
    listens: [u8; PORTS],
    hostname: bool,
    link: Option<usize>,
    extra_host: bool,
}

/// How many ports a service has: two of TCP, one of UDP.
const PORTS: usize = 3;

impl Service {
    /// The ports of the service at `index`, which are no other's.
    pub(super) fn ports(index: usize) -> [Port; PORTS] {
        let first = 100 + 10 * index as u16;
        [(0, Proto::Tcp), (1, Proto::Tcp), (2, Proto::Udp)].map(|(offset, proto)| Port {
            number: first + offset,
            proto,
        })
    }

    pub(super) fn listening(&self, index: usize) -> Vec<Listening> {
        let ports = Self::ports(index).into_iter().zip(self.listens);
        ports
            .filter_map(|(port, how)| {
                let address = match how {
                    0 => return None,
                    1 => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
                    2 => Some(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
                    _ => None,
                };
                Some(Listening { address, port })
            })
            .collect()
    }
}

impl Plan {
    pub(super) fn service(&self, name: &str) -> Option<(usize, &Service)> {
        let index = name.strip_prefix('s')?.parse().ok()?;
        Some((index, self.services.get(index)?))
    }

    /// Whose namespace a service lives in, if not its own.
    fn joins(&self, index: usize) -> Option<usize> {
        match self.services[index].home {
            // Only somebody before it, so that nobody waits for himself.
            Home::Of(other) if index > 0 => Some(other % index),
            _ => None,
        }
    }

    pub(super) fn compose(&self) -> String {
        let mut out = String::from("name: p\nservices:\n");
        for index in 0..self.services.len() {
            self.service_text(index, &mut out).unwrap();
        }
        if !self.networks.is_empty() {
            out.push_str("networks:\n");
        }
        for (index, network) in self.networks.iter().enumerate() {
            self.network_text(index, network, &mut out).unwrap();
        }
        out
    }

    fn service_text(&self, index: usize, out: &mut String) -> core::fmt::Result {
        let service = &self.services[index];
        writeln!(out, "  s{index}:\n    image: probe")?;
        let mut own = true;
        match (&service.home, self.joins(index)) {
            (_, Some(other)) => {
                writeln!(out, "    network_mode: service:s{other}")?;
                own = false;
            }
            (Home::Bridge, _) => writeln!(out, "    network_mode: bridge")?,
            (Home::Host, _) => {
                writeln!(out, "    network_mode: host")?;
                own = false;
            }
            (Home::None, _) => writeln!(out, "    network_mode: none")?,
            (Home::Networks(members), _) if !self.networks.is_empty() => {
                self.members_text(index, members, out)?;
            }
            (Home::Networks(_) | Home::Of(_), _) => {}
        }
        if own && service.replicas > 1 {
            writeln!(out, "    scale: {}", service.replicas)?;
        }
        if own && !service.publish.is_empty() {
            self.ports_text(index, out)?;
        }
        if own && service.hostname {
            writeln!(out, "    hostname: host{index}.example")?;
        }
        if own && service.extra_host {
            writeln!(
                out,
                "    extra_hosts: ['gate:host-gateway', 'far:203.0.113.9']"
            )?;
        }
        let links = !matches!(service.home, Home::None);
        if let Some(link) = service.link.filter(|_| own && links && index > 0) {
            let target = link % index;
            // A legacy link wants both on the default bridge.
            let bridges = [index, target].map(|at| matches!(self.services[at].home, Home::Bridge));
            let joined = self.joins(target).is_some()
                || matches!(self.services[target].home, Home::Host | Home::None);
            if !joined && bridges[0] == bridges[1] {
                writeln!(out, "    links: ['s{target}:other']")?;
            }
        }
        Ok(())
    }

    fn members_text(
        &self,
        index: usize,
        members: &[Member],
        out: &mut String,
    ) -> core::fmt::Result {
        writeln!(out, "    networks:")?;
        let mut seen = Vec::new();
        for member in members {
            let network = member.network % self.networks.len();
            if seen.contains(&network) {
                continue;
            }
            seen.push(network);
            writeln!(out, "      n{network}:")?;
            writeln!(out, "        gw_priority: {}", member.priority)?;
            if member.alias {
                writeln!(out, "        aliases: [shared, 'alias{index}']")?;
            }
        }
        Ok(())
    }

    fn ports_text(&self, index: usize, out: &mut String) -> core::fmt::Result {
        let service = &self.services[index];
        writeln!(out, "    ports:")?;
        for (at, publish) in service.publish.iter().enumerate() {
            let port = Service::ports(index)[publish.port % PORTS];
            writeln!(out, "    - target: {}", port.number)?;
            writeln!(out, "      protocol: {}", port.proto)?;
            if !publish.ephemeral && service.replicas == 1 {
                writeln!(out, "      published: '{}'", 8000 + 10 * index + at)?;
            }
            let host_ip = match publish.at {
                At::Default => continue,
                At::Loopback => "127.0.0.1",
                At::Uplink => "192.0.2.2",
                At::UplinkV6 => "2001:db8:0:1::2",
                At::LoopbackV6 => "::1",
                At::AnyV4 => "0.0.0.0",
                At::AnyV6 => "::",
            };
            writeln!(out, "      host_ip: '{host_ip}'")?;
        }
        Ok(())
    }

    fn network_text(&self, index: usize, network: &Network, out: &mut String) -> core::fmt::Result {
        writeln!(out, "  n{index}:")?;
        let bridge = network.driver == Driver::Bridge;
        let mut options = Vec::new();
        match network.driver {
            Driver::Bridge => {}
            Driver::Macvlan | Driver::MacvlanAlone => writeln!(out, "    driver: macvlan")?,
            Driver::Ipvlan => writeln!(out, "    driver: ipvlan")?,
        }
        if matches!(network.driver, Driver::Macvlan | Driver::Ipvlan) {
            options.push(("parent", "eth0".to_owned()));
        }
        if network.internal {
            writeln!(out, "    internal: true")?;
        }
        if network.ipv6 && bridge {
            writeln!(out, "    enable_ipv6: true")?;
        }
        let far = !bridge && network.driver != Driver::MacvlanAlone;
        if far {
            // Part of the uplink's segment, where nobody else is.
            let first = 32 + 16 * index;
            writeln!(
                out,
                "    ipam: {{config: [{{subnet: 192.0.2.0/24, ip_range: 192.0.2.{first}/28, gateway: 192.0.2.1}}]}}"
            )?;
        } else if network.ipv6 && bridge {
            writeln!(
                out,
                "    ipam: {{config: [{{subnet: 10.{index}.0.0/24}}, {{subnet: 'fd00:{index}::/64'}}]}}"
            )?;
        }
        if bridge {
            let key = |name: &str| format!("com.docker.network.bridge.{name}");
            if !network.icc {
                options.push(("enable_icc", "false".to_owned()));
            }
            if !network.masquerade {
                options.push(("enable_ip_masquerade", "false".to_owned()));
            }
            if network.loopback {
                options.push(("host_binding_ipv4", "127.0.0.1".to_owned()));
            }
            for (name, mode) in [
                ("gateway_mode_ipv4", network.modes.0),
                ("gateway_mode_ipv6", network.modes.1),
            ] {
                let word = match mode {
                    1 => "nat-unprotected",
                    2 => "routed",
                    3 if network.internal => "isolated",
                    _ => continue,
                };
                options.push((name, word.to_owned()));
            }
            if !options.is_empty() {
                writeln!(out, "    driver_opts:")?;
            }
            for (name, value) in options {
                writeln!(out, "      {}: '{value}'", key(name))?;
            }
        } else if !options.is_empty() {
            writeln!(out, "    driver_opts: {{parent: eth0}}")?;
        }
        Ok(())
    }
}

/// Mostly `usual`.
fn mostly(usual: bool) -> impl Strategy<Value = bool> + Clone {
    prop_oneof![5 => Just(usual), 1 => Just(!usual)]
}

fn daemon() -> impl Strategy<Value = Daemon> {
    (
        mostly(true),
        mostly(true),
        mostly(true),
        mostly(true),
        mostly(false),
        mostly(false),
    )
        .prop_map(
            |(icc, ip_masq, userland_proxy, ip6tables, loopback, ipv6)| Daemon {
                icc,
                ip_masq,
                userland_proxy,
                ip6tables,
                loopback,
                ipv6,
            },
        )
}

fn driver() -> impl Strategy<Value = Driver> {
    prop_oneof![
        12 => Just(Driver::Bridge),
        1 => Just(Driver::Macvlan),
        1 => Just(Driver::MacvlanAlone),
        1 => Just(Driver::Ipvlan),
    ]
}

fn network() -> impl Strategy<Value = Network> {
    let mode = || prop_oneof![6 => Just(0u8), 1 => Just(1), 1 => Just(2), 1 => Just(3)];
    (
        driver(),
        prop_oneof![3 => Just(false), 1 => Just(true)],
        mostly(true),
        mostly(true),
        prop_oneof![2 => Just(false), 1 => Just(true)],
        (mode(), mode()),
        mostly(false),
    )
        .prop_map(
            |(driver, internal, icc, masquerade, ipv6, modes, loopback)| Network {
                driver,
                internal,
                icc,
                masquerade,
                ipv6,
                modes,
                loopback,
            },
        )
}

fn home() -> impl Strategy<Value = Home> {
    let member = (
        0..3usize,
        any::<bool>(),
        prop_oneof![4 => Just(0i8), 1 => -1..2i8],
    )
        .prop_map(|(network, alias, priority)| Member {
            network,
            alias,
            priority,
        });
    prop_oneof![
        10 => prop::collection::vec(member, 1..3).prop_map(Home::Networks),
        2 => Just(Home::Bridge),
        1 => Just(Home::Host),
        1 => Just(Home::None),
        1 => (0..4usize).prop_map(Home::Of),
    ]
}

fn service() -> impl Strategy<Value = Service> {
    let at = prop_oneof![
        6 => Just(At::Default),
        1 => Just(At::Loopback),
        1 => Just(At::Uplink),
        1 => Just(At::UplinkV6),
        1 => Just(At::LoopbackV6),
        1 => Just(At::AnyV4),
        1 => Just(At::AnyV6),
    ];
    let publish = (at, 0..PORTS, mostly(false)).prop_map(|(at, port, ephemeral)| Publish {
        at,
        port,
        ephemeral,
    });
    let listens = || prop_oneof![1 => Just(0u8), 1 => Just(1), 1 => Just(2), 5 => Just(3)];
    (
        home(),
        prop_oneof![4 => Just(1u32), 1 => Just(2)],
        prop::collection::vec(publish, 0..3),
        [listens(), listens(), listens()],
        mostly(false),
        prop::option::weighted(0.3, 0..4usize),
        mostly(false),
    )
        .prop_map(
            |(home, replicas, publish, listens, hostname, link, extra_host)| Service {
                home,
                replicas,
                publish,
                listens,
                hostname,
                link,
                extra_host,
            },
        )
}

/// A project that an engine takes, mostly.
pub(super) fn plan() -> impl Strategy<Value = Plan> {
    (
        prop_oneof![Just(Engine::V20_10), Just(Engine::V29)],
        daemon(),
        prop::collection::vec(network(), 0..4),
        prop::collection::vec(service(), 1..5),
    )
        .prop_map(|(engine, daemon, networks, services)| Plan {
            engine,
            daemon,
            networks,
            services,
        })
}

/// Addresses that nobody has.
pub(super) const NOBODY: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(172, 18, 99, 99)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0x99)),
];
