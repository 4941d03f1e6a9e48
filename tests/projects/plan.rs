//! Random projects: what is drawn.

use core::net::{IpAddr, Ipv4Addr};

use emulator_core::docker::DaemonConfig;
use emulator_core::docker::spec::Engine;
use emulator_core::id::NsId;
use proptest::prelude::*;

/// A project, the machine that it runs on, and what happens to it.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) engine: Engine,
    pub(crate) daemon: Daemon,
    pub(crate) networks: Vec<Network>,
    pub(crate) services: Vec<Service>,
    pub(crate) events: Vec<Event>,
}

/// What is configured besides the project.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Daemon {
    icc: bool,
    ip_masq: bool,
    userland_proxy: bool,
    ip6tables: bool,
    /// Ports are published on loopback if nobody says.
    loopback: bool,
    /// The default bridge has IPv6.
    ipv6: bool,
    /// Containers ask the router for names.
    dns: bool,
}

impl Daemon {
    pub(crate) fn config(self, engine: Engine) -> DaemonConfig {
        let base = DaemonConfig::new(engine, NsId::default());
        DaemonConfig {
            icc: self.icc,
            ip_masq: self.ip_masq,
            userland_proxy: self.userland_proxy,
            ip6tables: base.ip6tables && self.ip6tables,
            ip: self.loopback.then_some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            ipv6: self.ipv6,
            fixed_cidr_v6: self.ipv6.then(|| "fd00:ffff::/64".parse().unwrap()),
            dns: self
                .dns
                .then(|| "192.0.2.1".to_owned())
                .into_iter()
                .collect(),
            ..base
        }
    }
}

/// What carries a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Driver {
    Bridge,
    Macvlan,
    /// Without a parent.
    MacvlanAlone,
    /// On a VLAN of the uplink.
    MacvlanTagged,
    Ipvlan,
    IpvlanAlone,
    /// Somebody else's bridge.
    External,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Families {
    V4,
    Both,
    V6,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Network {
    pub(crate) driver: Driver,
    pub(crate) families: Families,
    pub(crate) internal: bool,
    pub(crate) icc: bool,
    pub(crate) masquerade: bool,
    /// `nat-unprotected`, `routed` and, where that may be, `isolated`; of IPv6 too.
    pub(crate) modes: (u8, u8),
    /// Where ports are published: everywhere, on loopback, on the uplink's address.
    pub(crate) binding: u8,
    /// The file says which subnets it has.
    pub(crate) subnet: bool,
    /// Their gateway is another one than the first address, or, on the uplink's segment, is stated.
    pub(crate) gateway: bool,
    /// Containers get their addresses from a part of the subnet.
    pub(crate) range: bool,
    /// The default route leads to nobody.
    pub(crate) astray: bool,
    /// The mode of a macvlan or ipvlan.
    pub(crate) mode: u8,
    /// Which of the host's interfaces it trusts: none, the uplink, the bridges that trust somebody, the default one.
    pub(crate) trusts: u8,
    /// How its subnets lie over the uplink's, if they do.
    pub(crate) over: Option<Over>,
}

/// A subnet over the uplink's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Over {
    /// The same.
    Equal,
    /// A part of it.
    Part,
    /// It and more.
    Wider,
}

impl Over {
    pub(crate) const fn subnets(self) -> [&'static str; 2] {
        match self {
            Self::Equal => ["192.0.2.0/24", "2001:db8:0:1::/64"],
            Self::Part => ["192.0.2.0/26", "2001:db8:0:1::/80"],
            Self::Wider => ["192.0.0.0/16", "2001:db8::/48"],
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Member {
    pub(crate) network: usize,
    pub(crate) alias: bool,
    pub(crate) priority: i8,
    /// The address is stated where the subnet is.
    pub(crate) fixed: bool,
}

#[derive(Clone, Debug)]
pub(crate) enum Home {
    Networks(Vec<Member>),
    Bridge,
    Host,
    None,
    Of(usize),
}

/// At which of the host's addresses a port is published.
#[derive(Clone, Copy, Debug)]
pub(crate) enum At {
    Default,
    Loopback,
    Uplink,
    UplinkV6,
    LoopbackV6,
    AnyV4,
    AnyV6,
}

impl At {
    pub(crate) const fn address(self) -> Option<&'static str> {
        match self {
            Self::Default => None,
            Self::Loopback => Some("127.0.0.1"),
            Self::Uplink => Some("192.0.2.2"),
            Self::UplinkV6 => Some("2001:db8:0:1::2"),
            Self::LoopbackV6 => Some("::1"),
            Self::AnyV4 => Some("0.0.0.0"),
            Self::AnyV6 => Some("::"),
        }
    }
}

/// Which port of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HostPort {
    /// One of its own.
    Own,
    /// The same as everybody else.
    Shared,
    /// One of a few that several want.
    Range,
    Ephemeral,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Publish {
    pub(crate) at: At,
    /// Which of the service's ports.
    pub(crate) port: usize,
    pub(crate) host: HostPort,
    /// Written in one word.
    pub(crate) short: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Service {
    pub(crate) home: Home,
    pub(crate) replicas: u32,
    pub(crate) publish: Vec<Publish>,
    /// Where each of its ports is listened on: nobody, loopback, any IPv4 address, every address.
    pub(crate) listens: [u8; PORTS],
    /// None, a name, a name in a domain, a name and a domain.
    pub(crate) hostname: u8,
    pub(crate) link: Option<usize>,
    pub(crate) external_link: Option<usize>,
    pub(crate) extra_host: bool,
    pub(crate) expose: bool,
    /// The daemon's resolvers, the router, nobody.
    pub(crate) dns: u8,
    /// It has a container's name of its own.
    pub(crate) named: bool,
    pub(crate) healthcheck: bool,
}

/// How many ports a service has: two of TCP, one of UDP.
pub(crate) const PORTS: usize = 3;

/// What happens when all is up.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Event {
    Recreate(usize),
    /// And it gets other addresses.
    Move(usize),
    Down(usize),
}

/// Mostly `usual`.
fn mostly(usual: bool) -> impl Strategy<Value = bool> + Clone {
    prop_oneof![5 => Just(usual), 1 => Just(!usual)]
}

fn rarely() -> impl Strategy<Value = bool> + Clone {
    prop_oneof![12 => Just(false), 1 => Just(true)]
}

fn daemon() -> impl Strategy<Value = Daemon> {
    (
        mostly(true),
        mostly(true),
        mostly(true),
        mostly(true),
        mostly(false),
        mostly(false),
        rarely(),
    )
        .prop_map(
            |(icc, ip_masq, userland_proxy, ip6tables, loopback, ipv6, dns)| Daemon {
                icc,
                ip_masq,
                userland_proxy,
                ip6tables,
                loopback,
                ipv6,
                dns,
            },
        )
}

fn driver() -> impl Strategy<Value = Driver> {
    prop_oneof![
        20 => Just(Driver::Bridge),
        2 => Just(Driver::Macvlan),
        1 => Just(Driver::MacvlanAlone),
        1 => Just(Driver::MacvlanTagged),
        2 => Just(Driver::Ipvlan),
        1 => Just(Driver::IpvlanAlone),
        2 => Just(Driver::External),
    ]
}

fn network() -> impl Strategy<Value = Network> {
    let mode = || prop_oneof![6 => Just(0u8), 1 => Just(1), 1 => Just(2), 1 => Just(3)];
    (
        driver(),
        prop_oneof![6 => Just(Families::V4), 3 => Just(Families::Both), 1 => Just(Families::V6)],
        prop_oneof![3 => Just(false), 1 => Just(true)],
        mostly(true),
        mostly(true),
        (mode(), mode()),
        prop_oneof![5 => Just(0u8), 1 => Just(1), 1 => Just(2)],
        (any::<bool>(), mostly(false), mostly(false), rarely()),
    )
        .prop_map(
            |(driver, families, internal, icc, masquerade, modes, binding, ipam)| Network {
                driver,
                families,
                internal,
                icc,
                masquerade,
                modes,
                binding,
                subnet: ipam.0,
                gateway: ipam.1,
                range: ipam.2,
                astray: ipam.3,
                over: None,
                mode: 0,
                trusts: 0,
            },
        )
}

fn home() -> impl Strategy<Value = Home> {
    let member = (
        0..3usize,
        any::<bool>(),
        prop_oneof![4 => Just(0i8), 1 => -1..2i8],
        mostly(false),
    )
        .prop_map(|(network, alias, priority, fixed)| Member {
            network,
            alias,
            priority,
            fixed,
        });
    prop_oneof![
        12 => prop::collection::vec(member, 1..4).prop_map(Home::Networks),
        4 => Just(Home::Bridge),
        1 => Just(Home::Host),
        1 => Just(Home::None),
        1 => (0..4usize).prop_map(Home::Of),
    ]
}

fn publish() -> impl Strategy<Value = Publish> {
    let at = prop_oneof![
        6 => Just(At::Default),
        1 => Just(At::Loopback),
        1 => Just(At::Uplink),
        1 => Just(At::UplinkV6),
        1 => Just(At::LoopbackV6),
        1 => Just(At::AnyV4),
        1 => Just(At::AnyV6),
    ];
    let host = prop_oneof![
        6 => Just(HostPort::Own),
        1 => Just(HostPort::Shared),
        2 => Just(HostPort::Range),
        3 => Just(HostPort::Ephemeral),
    ];
    (at, 0..PORTS, host, any::<bool>()).prop_map(|(at, port, host, short)| Publish {
        at,
        port,
        host,
        short,
    })
}

fn service() -> impl Strategy<Value = Service> {
    let listens = || prop_oneof![1 => Just(0u8), 1 => Just(1), 1 => Just(2), 5 => Just(3)];
    (
        home(),
        prop_oneof![5 => Just(1u32), 1 => Just(2)],
        prop::collection::vec(publish(), 0..4),
        [listens(), listens(), listens()],
        prop_oneof![6 => Just(0u8), 1 => Just(1), 1 => Just(2), 1 => Just(3)],
        prop::option::weighted(0.3, 0..4usize),
        prop::option::weighted(0.1, 0..4usize),
        (mostly(false), mostly(false), mostly(false), rarely()),
        prop_oneof![12 => Just(0u8), 1 => Just(1), 1 => Just(2)],
    )
        .prop_map(
            |(home, replicas, publish, listens, hostname, link, external_link, flags, dns)| {
                Service {
                    home,
                    replicas,
                    publish,
                    listens,
                    hostname,
                    link,
                    external_link,
                    extra_host: flags.0,
                    expose: flags.1,
                    dns,
                    named: flags.3,
                    healthcheck: flags.2,
                }
            },
        )
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        2 => (0..4usize).prop_map(Event::Recreate),
        2 => (0..4usize).prop_map(Event::Move),
        1 => (0..4usize).prop_map(Event::Down),
    ]
}

/// A project that an engine takes, mostly.
pub(crate) fn plan() -> impl Strategy<Value = Plan> {
    let events = prop_oneof![
        3 => Just(Vec::new()),
        1 => prop::collection::vec(event(), 1..4),
    ];
    (
        prop_oneof![Just(Engine::V20_10), Just(Engine::V29)],
        daemon(),
        prop::collection::vec(network(), 0..4),
        prop::collection::vec(service(), 1..5),
        events,
    )
        .prop_map(|(engine, daemon, networks, services, events)| Plan {
            engine,
            daemon,
            networks,
            services,
            events,
        })
}
