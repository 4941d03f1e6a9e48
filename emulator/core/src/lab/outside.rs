//! What is around the Docker host: its uplink's segment, another machine on it, gateways, an internet.
//!
//! ```text
//!   host eth0 .2 ──┐
//!                  ├── uplink segment 192.0.2.0/24, 2001:db8:0:1::/64 ── gateway .1, ::1 ── internet
//!   lan  eth0 .9 ──┘                                                     (resolver)       198.51.100.0/24
//!                                                                                        2001:db8:ffff::/48
//! ```
//!
//! Those of the segment are the host's own where a real machine is described ([`Uplink`]).
//!
//! Every address of the internet answers ping and TCP 80 and 443, refuses other TCP ports, and answers
//! UDP with "port unreachable". The gateway's resolver gives each dotted name a stable address there.
//! The recorded world is the one of the truth table: no gateway, but a machine 192.0.2.1 whose default
//! route leads back through the host.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use dns::upstream::World;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use switch::Rng;
use switch::wire::EthernetAddress;

use super::apps::Apps;
pub use super::uplink::Uplink;
use super::uplink::{Family, IPV6_MTU};
use crate::id::{BridgeId, IfId, NsId};
use crate::net::{Net, VethPlan};
use crate::netns::{LO, Netns, Room, Route};
use crate::service::resolver::ResolverApp;
use crate::tools::web::Web;

/// Which world is around the host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Outside {
    /// `lan`, gateways and `internet` around a host with the addresses of every lab.
    #[default]
    Standard,
    /// The same around a host whose uplink is known.
    Uplink(Box<Uplink>),
    /// That of the recorded truth table: `outside` at 192.0.2.1 with a default route through the host.
    /// The text is the address of the resolver that the host's resolv.conf names; on loopback it
    /// runs on the host.
    Recorded {
        /// The resolver's address.
        resolver: IpAddr,
    },
}

/// The namespaces that are not containers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// The Docker host.
    pub host: NsId,
    /// The host's interface on the uplink segment.
    pub uplink: IfId,
    /// The host's interfaces that lead nowhere.
    pub others: Vec<IfId>,
    /// The uplink segment.
    pub segment: BridgeId,
    /// Another machine on the segment (in the recorded world: `outside`).
    pub lan: NsId,
    /// The machine behind which the internet is; `lan` again in the recorded world.
    pub gateway: NsId,
    /// A machine that has every address of the internet; `lan` again in the recorded world.
    pub internet: NsId,
}

/// The address by which `internet` is asked for when any of its addresses will do.
pub const INTERNET_V4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);

/// The MTU of what is not the uplink's segment, in bytes.
const MTU: u32 = 1500;
/// The router's addresses on its far side.
const ROUTER: [IpNet; 2] = [
    v4([203, 0, 113, 1], 30),
    v6([0x2001, 0xdb8, 0xfffe, 0, 0, 0, 0, 1], 64),
];
/// Those of the machine that is the internet.
const SERVERS: [IpNet; 2] = [
    v4([203, 0, 113, 2], 30),
    v6([0x2001, 0xdb8, 0xfffe, 0, 0, 0, 0, 2], 64),
];
/// What that machine answers for.
const INTERNET: [IpNet; 2] = [
    v4([198, 51, 100, 0], 24),
    v6([0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 0], 48),
];
/// The host and the other machine of the recorded world.
const RECORDED: [IpNet; 2] = [v4([192, 0, 2, 2], 24), v4([192, 0, 2, 1], 24)];
/// Room for the host with docker0, one more bridge and a few ports.
const HOST: Room = Room {
    ifaces: 8,
    v4: 3,
    v6: 3,
};
/// For a machine with so many interfaces.
const fn machine(links: usize) -> Room {
    Room {
        ifaces: 1 + links,
        v4: links,
        v6: links,
    }
}

/// What the machine that is the internet answers for itself.
pub(super) const fn stand_ins() -> [IpNet; 2] {
    INTERNET
}

/// The default routes of the gateway where all the world is behind that machine.
pub(super) fn ways_out(gateway: &Netns) -> Vec<Route> {
    let servers = SERVERS.map(|server| server.addr()).into_iter();
    let ways = servers.filter_map(|server| {
        let link = gateway.route_get(server)?;
        Some(Route::default_via(server, link.dev))
    });
    ways.collect()
}

pub(super) const fn v4([a, b, c, d]: [u8; 4], len: u8) -> IpNet {
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), len))
}

pub(super) const fn v6([a, b, c, d, e, f, g, h]: [u16; 8], len: u8) -> IpNet {
    let address = Ipv6Addr::new(a, b, c, d, e, f, g, h);
    IpNet::V6(Ipv6Net::new_assert(address, len))
}

/// A random locally administered unicast MAC.
pub(crate) fn random_mac(rng: &mut Rng) -> EthernetAddress {
    let mut mac = [0; 6];
    rng.fill(&mut mac);
    mac[0] = (mac[0] & 0xfe) | 0x02;
    EthernetAddress(mac)
}

struct Builder<'a> {
    net: &'a mut Net,
    rng: &'a Rng,
    /// Of every interface, in bytes.
    mtu: u32,
}

impl Builder<'_> {
    fn mac(&self, label: &[&str]) -> EthernetAddress {
        random_mac(&mut self.rng.stream_of(label))
    }

    /// A machine with an interface on a segment.
    fn plug(&mut self, ns: NsId, name: &str, segment: BridgeId, addresses: &[IpNet]) -> IfId {
        let label = self.net.ns(ns).map_or("", Netns::name);
        let mac = self.mac(&["mac:", label, ":", name]);
        let port_mac = self.mac(&["mac:port:", label, ":", name]);
        let own = VethPlan {
            ns,
            name,
            mac,
            mtu: self.mtu,
            ipv6: self.mtu >= IPV6_MTU,
        };
        // The other end is a port of nobody's bridge.
        let port = VethPlan {
            ns: self.wires(),
            name: &["p", &self.net.next_iface().0.to_string()].concat(),
            mac: port_mac,
            mtu: self.mtu,
            ipv6: false,
        };
        let (iface, other) = self.net.veth_add(&own, &port);
        // A segment has room: it is made without a limit that its few ports could reach.
        let _full = self.net.port_add(segment, other, port.mac);
        for address in addresses {
            // One that is there already is there.
            let _fresh = self.net.addr_add(iface, *address);
        }
        iface
    }

    /// A segment that is no network of the engine's.
    fn segment(&mut self, name: &str) -> BridgeId {
        let mac = self.mac(&["mac:", name]);
        self.net.bridge_add(None, name, mac, self.mtu).0
    }

    /// The namespace in which the segments' ports live.
    fn wires(&mut self) -> NsId {
        self.net.wires()
    }

    fn route(&mut self, ns: NsId, route: Route) {
        // One that is there already leads there.
        let _fresh = self.net.with_ns(ns, |netns, _| netns.route_add(route));
    }

    /// A machine on the uplink's segment, with an address of each family and a way to all others there.
    fn machine(
        &mut self,
        ns: NsId,
        name: &str,
        segment: BridgeId,
        families: &[Family],
        own: fn(&Family) -> Vec<IpNet>,
    ) -> IfId {
        let addresses: Vec<IpNet> = families.iter().flat_map(own).collect();
        let iface = self.plug(ns, name, segment, &addresses);
        for other in families
            .iter()
            .flat_map(|family| family.beside(&own(family)))
        {
            self.route(ns, Route::on_link(other, iface));
        }
        iface
    }
}

/// Builds the world around the host, and the host.
pub(crate) fn build(net: &mut Net, apps: &mut Apps, outside: &Outside, rng: &Rng) -> Places {
    match outside {
        Outside::Standard => standard(net, apps, &Uplink::default(), rng),
        Outside::Uplink(uplink) => standard(net, apps, uplink, rng),
        Outside::Recorded { resolver } => recorded(net, apps, *resolver, rng),
    }
}

fn host(net: &mut Net) -> NsId {
    let host = net.ns_add_for("host", HOST);
    net.with_ns(host, |netns, _| netns.set_forwarding(true));
    host
}

fn standard(net: &mut Net, apps: &mut Apps, given: &Uplink, rng: &Rng) -> Places {
    let host = host(net);
    let lan = net.ns_add_for("lan", machine(1));
    let gateway = net.ns_add_for("gateway", machine(2));
    let internet = net.ns_add_for("internet", machine(1));
    let mut build = Builder {
        net,
        rng,
        mtu: given.mtu,
    };
    let segment = build.segment("uplink");
    build.mtu = MTU;
    let beyond = build.segment("beyond");
    build.net.segment_far(beyond);
    build.mtu = given.mtu;
    let families = given.families();
    let uplink = build.machine(host, &given.name, segment, &families, |f| f.host.clone());
    let lan_if = build.machine(lan, "eth0", segment, &families, |f| vec![f.lan]);
    build.machine(gateway, "eth0", segment, &families, Family::router);
    build.mtu = MTU;
    let out = build.plug(gateway, "eth1", beyond, &ROUTER);
    let far = build.plug(internet, "eth0", beyond, &SERVERS);
    build
        .net
        .with_ns(gateway, |netns, _| netns.set_forwarding(true));
    for family in &families {
        if let Some(hop) = family.next_hop {
            build.route(host, Route::default_via(hop, uplink));
        }
        build.route(lan, Route::default_via(family.gateway.addr(), lan_if));
    }
    for (at, served) in INTERNET.into_iter().enumerate() {
        build.route(internet, Route::default_via(ROUTER[at].addr(), far));
        build.route(gateway, Route::through(served, SERVERS[at].addr(), out));
    }
    let others = others(&mut build, host, given);
    for local in stand_ins() {
        net.with_ns(internet, |netns, _| {
            netns.route_add(Route::local(local, LO))
        });
    }
    for port in [80, 443] {
        apps.spawn(net, internet, Box::new(Web::new(port)));
    }
    apps.spawn(net, gateway, Box::new(ResolverApp::new(World::Hashed)));
    Places {
        host,
        uplink,
        others,
        segment,
        lan,
        gateway,
        internet,
    }
}

/// The host's other interfaces, each on a segment where nobody else is.
fn others(build: &mut Builder<'_>, host: NsId, given: &Uplink) -> Vec<IfId> {
    let mut all = Vec::new();
    for (name, addresses) in &given.others {
        let segment = build.segment(&format!("beside:{name}"));
        all.push(build.plug(host, name, segment, addresses));
    }
    all
}

fn recorded(net: &mut Net, apps: &mut Apps, resolver: IpAddr, rng: &Rng) -> Places {
    let host = host(net);
    let lan = net.ns_add("outside");
    let mut build = Builder { net, rng, mtu: MTU };
    let segment = build.segment("uplink");
    let uplink = build.plug(host, "up0", segment, &RECORDED[..1]);
    let out = build.plug(lan, "up1", segment, &RECORDED[1..]);
    build.route(host, Route::default_via(RECORDED[1].addr(), uplink));
    build.route(lan, Route::default_via(RECORDED[0].addr(), out));
    apps.spawn(net, lan, Box::new(ResolverApp::new(World::Recorded)));
    if resolver.is_loopback() {
        apps.spawn(net, host, Box::new(ResolverApp::new(World::Recorded)));
    }
    Places {
        host,
        uplink,
        others: Vec::new(),
        segment,
        lan,
        gateway: lan,
        internet: lan,
    }
}
