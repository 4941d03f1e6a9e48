//! A host with an uplink and some networks, without wires: packets walk through the hooks as the
//! host's namespace would take them.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use switch::hook::{Env, Hook, Netfilter, Path};
use switch::wire::{self, IpProtocol, Packet};
use switch::{DropReason, Time, Verdict};

use super::super::DockerRules;
use crate::docker::plumb::{GatewayMode, LinkRule, NetworkRules, Published};
use crate::docker::spec::{Engine, Port, Proto};
use crate::id::IfId;

const LO: IfId = IfId(1);
pub(super) const UPLINK: IfId = IfId(2);

/// Another machine on the uplink's segment.
pub(super) const LAN: From = From::Wire("192.0.2.9");
/// The host itself, from its uplink's address.
pub(super) const HOST: From = From::Host("192.0.2.2");

/// Who sends.
#[derive(Clone, Copy, Debug)]
pub(super) enum From {
    /// A container: network number and address.
    Container(u32, &'static str),
    /// The host, from this address.
    Host(&'static str),
    /// A machine beyond the uplink.
    Wire(&'static str),
}

/// Where a first packet came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// To a container: its address, the port, the source that it sees. The answer came back.
    Container(SocketAddr, IpAddr),
    /// To a socket of the host (docker-proxy, if a port is published): the source that it sees.
    Host(IpAddr),
    /// Into the wire, from this address.
    Out(IpAddr),
    /// Nowhere.
    Dropped(DropReason),
    /// It arrives, and the answer is dropped.
    Unanswered(DropReason),
}

pub(super) fn name(iface: IfId) -> String {
    match iface {
        LO => "lo".into(),
        UPLINK => "up0".into(),
        IfId(bridge) => format!("br{}", bridge - 10),
    }
}

/// A dual-stack network: number 1 is 172.17.0.0/16 and fd00:0:0:1::/64, and so on.
pub(super) fn network(number: u8) -> NetworkRules {
    let v4 = Ipv4Addr::new(172, 16 + number, 0, 0);
    let v6 = Ipv6Addr::new(0xfd00, 0, 0, u16::from(number), 0, 0, 0, 0);
    NetworkRules {
        engine: Engine::V29,
        bridge: bridge(u32::from(number)),
        subnet_v4: Some(Ipv4Net::new(v4, 16).unwrap()),
        subnet_v6: Some(Ipv6Net::new(v6, 64).unwrap()),
        icc: true,
        internal: false,
        gateway_mode_v4: GatewayMode::Nat,
        gateway_mode_v6: GatewayMode::Nat,
        masquerade: true,
        host_ipv4: None,
        host_ipv6: None,
        userland_proxy: true,
        allow_direct_routing: false,
        trusted: Vec::new(),
        crowded: false,
        filter_v6: true,
    }
}

const fn bridge(number: u32) -> IfId {
    IfId(10 + number)
}

pub(super) struct World {
    pub(super) nf: Netfilter,
    pub(super) rules: DockerRules,
    engine: Engine,
    proxy: bool,
    networks: Vec<(u32, NetworkRules)>,
    next_port: u16,
}

struct Addresses {
    own: Vec<(IfId, IpNet)>,
}

impl Env for Addresses {
    fn is_local(&self, addr: IpAddr) -> bool {
        addr.is_loopback() || self.own.iter().any(|(_, net)| net.addr() == addr)
    }

    fn change(&self) -> Option<u64> {
        None
    }

    fn source_for(&self, output: IfId, destination: IpAddr) -> Option<IpAddr> {
        let family = |net: &IpNet| net.addr().is_ipv4() == destination.is_ipv4();
        let mut own = self.own.iter().filter(|(_, net)| family(net));
        let on = own.clone().find(|(iface, _)| *iface == output);
        on.or_else(|| own.next()).map(|(_, net)| net.addr())
    }
}

impl World {
    pub(super) fn new(engine: Engine, proxy: bool) -> Self {
        Self {
            nf: Netfilter::default(),
            rules: DockerRules::new(LO, true),
            engine,
            proxy,
            networks: Vec::new(),
            next_port: 40_000,
        }
    }

    pub(super) fn set(&mut self, number: u32, mut rules: NetworkRules) {
        rules.engine = self.engine;
        rules.userland_proxy = self.proxy;
        rules.filter_v6 &= self.engine == Engine::V29;
        self.rules.network_set(&mut self.nf, number, &rules);
        self.networks.retain(|network| network.0 != number);
        self.networks.push((number, rules));
    }

    pub(super) fn remove(&mut self, number: u32) {
        self.rules.network_remove(&mut self.nf, number);
        self.networks.retain(|network| network.0 != number);
    }

    fn endpoint(number: u32, host: u8) -> IfId {
        IfId(1000 + number * 100 + u32::from(host))
    }

    /// Publishes ports (`HOST:PORT->PORT`) of the network's member with this last byte.
    pub(super) fn publish(&mut self, number: u32, host: u8, ports: &[&str]) {
        let ports: Vec<Published> = ports
            .iter()
            .map(|text| {
                let (outside, inside) = text.split_once("->").unwrap();
                let outside: SocketAddr = outside.parse().unwrap();
                let v6 = outside.is_ipv6();
                Published {
                    host_ip: outside.ip(),
                    host_port: outside.port(),
                    container_ip: member(number, host, v6),
                    port: Port {
                        number: inside.parse().unwrap(),
                        proto: Proto::Tcp,
                    },
                }
            })
            .collect();
        let endpoint = Self::endpoint(number, host);
        self.rules.publish(&mut self.nf, number, endpoint, &ports);
    }

    pub(super) fn unpublish(&mut self, number: u32, host: u8) {
        let endpoint = Self::endpoint(number, host);
        self.rules.unpublish(&mut self.nf, number, endpoint);
    }

    /// Links (client, server, port) between members with these last bytes.
    pub(super) fn links(&mut self, number: u32, links: &[(u8, u8, u16)]) {
        let v4 = |host| match member(number, host, false) {
            IpAddr::V4(v4) => v4,
            IpAddr::V6(_) => unreachable!(),
        };
        let links: Vec<LinkRule> = links
            .iter()
            .map(|&(client, server, port)| LinkRule {
                client: v4(client),
                server: v4(server),
                port: Port {
                    number: port,
                    proto: Proto::Tcp,
                },
            })
            .collect();
        self.rules.links_set(&mut self.nf, number, &links);
    }

    fn addresses(&self) -> Addresses {
        let uplink = ["192.0.2.2/24", "2001:db8:0:1::2/64"];
        let mut own: Vec<(IfId, IpNet)> = uplink
            .iter()
            .map(|net| (UPLINK, net.parse().unwrap()))
            .collect();
        for (number, rules) in &self.networks {
            let v4 = IpNet::new(member(*number, 1, false), 16).unwrap();
            own.push((rules.bridge, v4));
            let v6 = IpNet::new(member(*number, 1, true), 64).unwrap();
            own.push((rules.bridge, v6));
        }
        Addresses { own }
    }

    fn route(addresses: &Addresses, to: IpAddr) -> IfId {
        if addresses.is_local(to) {
            return LO;
        }
        let mut nets = addresses.own.iter();
        nets.find(|(_, net)| net.contains(&to))
            .map_or(UPLINK, |(iface, _)| *iface)
    }

    fn hook(
        &mut self,
        hook: Hook,
        bytes: &mut [u8],
        path: (Option<IfId>, Option<IfId>, bool),
    ) -> Result<(), DropReason> {
        let path = Path {
            input: path.0,
            output: path.1,
            bridged: path.2,
        };
        let env = self.addresses();
        let outcome = self.nf.run(Time::ZERO, hook, bytes, false, &path, &env);
        let packet = Packet::parse(bytes).unwrap();
        assert!(wire::transport_checksum_ok(bytes, &packet), "{hook:?}");
        match outcome.verdict {
            Verdict::Accept => Ok(()),
            Verdict::Drop(reason) => Err(reason),
        }
    }

    /// Takes a packet through the host. Returns the interface that it leaves by; lo if it stays.
    fn carry(&mut self, from: From, bytes: &mut [u8]) -> Result<IfId, DropReason> {
        let input = match from {
            From::Host(_) => return self.emit(bytes),
            From::Wire(_) => UPLINK,
            From::Container(number, _) => bridge(number),
        };
        let addresses = self.addresses();
        let to = Packet::parse(bytes).unwrap().destination;
        let direct = input != UPLINK && Self::route(&addresses, to) == input;
        if direct {
            let path = (Some(input), Some(input), true);
            for hook in [Hook::Prerouting, Hook::Forward, Hook::Postrouting] {
                self.hook(hook, bytes, path)?;
            }
            return Ok(input);
        }
        self.hook(Hook::Prerouting, bytes, (Some(input), None, false))?;
        let to = Packet::parse(bytes).unwrap().destination;
        let output = Self::route(&addresses, to);
        if output == LO {
            self.hook(Hook::Input, bytes, (Some(input), None, false))?;
            return Ok(LO);
        }
        self.hook(Hook::Forward, bytes, (Some(input), Some(output), false))?;
        self.hook(Hook::Postrouting, bytes, (None, Some(output), false))?;
        Ok(output)
    }

    fn emit(&mut self, bytes: &mut [u8]) -> Result<IfId, DropReason> {
        let addresses = self.addresses();
        let output = Self::route(&addresses, Packet::parse(bytes).unwrap().destination);
        self.hook(Hook::Output, bytes, (None, Some(output), false))?;
        let output = Self::route(&addresses, Packet::parse(bytes).unwrap().destination);
        self.hook(Hook::Postrouting, bytes, (None, Some(output), false))?;
        if output == LO {
            self.hook(Hook::Prerouting, bytes, (Some(LO), None, false))?;
            self.hook(Hook::Input, bytes, (Some(LO), None, false))?;
        }
        Ok(output)
    }

    /// A connection to a port: its SYN, and the answer, which has to come back as from where the SYN
    /// was sent to.
    pub(super) fn reach(&mut self, from: From, to: &str) -> Fate {
        let to: SocketAddr = to.parse().unwrap();
        self.next_port += 1;
        let source = SocketAddr::new(address(from), self.next_port);
        let mut bytes = tcp(source, to, 0x02);
        self.there_and_back(from, source, to, &mut bytes)
    }

    /// A ping.
    pub(super) fn ping(&mut self, from: From, to: &str) -> Fate {
        let to: IpAddr = to.parse().unwrap();
        let mut bytes = echo(address(from), to, false);
        let source = SocketAddr::new(address(from), 0);
        self.there_and_back(from, source, SocketAddr::new(to, 0), &mut bytes)
    }

    fn there_and_back(
        &mut self,
        from: From,
        source: SocketAddr,
        to: SocketAddr,
        bytes: &mut [u8],
    ) -> Fate {
        let output = match self.carry(from, bytes) {
            Ok(output) => output,
            Err(reason) => return Fate::Dropped(reason),
        };
        let packet = Packet::parse(bytes).unwrap();
        let (sport, dport) = packet.ports(bytes).unwrap_or((0, 0));
        let (seen, reached) = (
            SocketAddr::new(packet.source, sport),
            SocketAddr::new(packet.destination, dport),
        );
        let answerer = match output {
            LO => From::Host(""),
            UPLINK => From::Wire(""),
            IfId(other) => From::Container(other - 10, ""),
        };
        let mut answer = if packet.protocol == IpProtocol::Tcp {
            tcp(reached, seen, 0x12)
        } else {
            echo(reached.ip(), seen.ip(), true)
        };
        if let Err(reason) = self.carry(answerer, &mut answer) {
            return Fate::Unanswered(reason);
        }
        let packet = Packet::parse(&answer).unwrap();
        let (sport, dport) = packet.ports(&answer).unwrap_or((0, 0));
        assert_eq!(SocketAddr::new(packet.source, sport), to, "answer's source");
        assert_eq!(SocketAddr::new(packet.destination, dport), source);
        match output {
            LO => Fate::Host(seen.ip()),
            UPLINK => Fate::Out(seen.ip()),
            _ => Fate::Container(reached, seen.ip()),
        }
    }
}

fn address(from: From) -> IpAddr {
    let (From::Container(_, text) | From::Host(text) | From::Wire(text)) = from;
    text.parse().unwrap()
}

/// A network's member by its last byte.
pub(super) fn member(number: u32, host: u8, v6: bool) -> IpAddr {
    if v6 {
        Ipv6Addr::new(0xfd00, 0, 0, number as u16, 0, 0, 0, u16::from(host)).into()
    } else {
        Ipv4Addr::new(172, 16 + number as u8, 0, host).into()
    }
}

fn header(source: IpAddr, destination: IpAddr, protocol: u8, upper: &[u8]) -> Vec<u8> {
    let mut bytes = match (source, destination) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let mut header = vec![
                0x45,
                0,
                0,
                20 + upper.len() as u8,
                0,
                0,
                0,
                0,
                64,
                protocol,
                0,
                0,
            ];
            header.extend(from.octets());
            header.extend(to.octets());
            wire::fill_header_checksum(&mut header);
            header
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let mut header = vec![0x60, 0, 0, 0, 0, upper.len() as u8, protocol, 64];
            header.extend(from.octets());
            header.extend(to.octets());
            header
        }
        _ => panic!("two families in one packet"),
    };
    bytes.extend_from_slice(upper);
    bytes
}

fn tcp(source: SocketAddr, destination: SocketAddr, flags: u8) -> Vec<u8> {
    let mut upper = vec![0; 20];
    upper[0..2].copy_from_slice(&source.port().to_be_bytes());
    upper[2..4].copy_from_slice(&destination.port().to_be_bytes());
    upper[12] = 0x50;
    upper[13] = flags;
    let mut bytes = header(source.ip(), destination.ip(), 6, &upper);
    let packet = Packet::parse(&bytes).unwrap();
    wire::fill_transport_checksum(&mut bytes, &packet);
    bytes
}

fn echo(source: IpAddr, destination: IpAddr, reply: bool) -> Vec<u8> {
    let v4 = source.is_ipv4();
    let mut upper = vec![0; 8];
    upper[0] = match (v4, reply) {
        (true, false) => 8,
        (true, true) => 0,
        (false, false) => 128,
        (false, true) => 129,
    };
    upper[5] = 77;
    if v4 {
        let check = !wire::sum(&upper);
        upper[2..4].copy_from_slice(&check.to_be_bytes());
    }
    let mut bytes = header(source, destination, if v4 { 1 } else { 58 }, &upper);
    let packet = Packet::parse(&bytes).unwrap();
    wire::fill_transport_checksum(&mut bytes, &packet);
    bytes
}

impl World {
    /// The source that the outside sees of a connection out; no answer is sent.
    pub(super) fn reach_one_way(&mut self, from: From, to: &str) -> Result<IpAddr, DropReason> {
        let source = SocketAddr::new(address(from), 50_000);
        let mut bytes = tcp(source, to.parse().unwrap(), 0x02);
        self.carry(from, &mut bytes)?;
        Ok(Packet::parse(&bytes).unwrap().source)
    }
}
