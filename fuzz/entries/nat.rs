//! Packets through the hooks of a firewall as Docker sets it up: masquerade, publishing, isolation.
//!
//! Promises: nothing panics; a packet keeps its length; one whose checksums were right leaves with right
//! checksums; what is told as a rewrite is what the packet says; the table of connections keeps its bound.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::time::Duration;

use switch::conntrack::Limits;
use switch::filter::{Action, ChainId, Family, IfMatch, Match, Rule, State, States, Table};
use switch::hook::{Env, Hook, Netfilter, Path};
use switch::verdict::{DropReason, Verdict};
use switch::wire::{
    Packet, fill_header_checksum, fill_transport_checksum, header_checksum_ok,
    transport_checksum_ok,
};
use switch::{IfId, Time};

use super::Script;

const UPLINK: IfId = IfId(2);
const BRIDGE: IfId = IfId(3);
const CONNECTIONS: usize = 16;

/// A host at 192.0.2.2 and 2001:db8:0:1::2 with 172.17.0.0/16 and fd00::/64 behind it.
struct Host;

impl Env for Host {
    fn is_local(&self, addr: IpAddr) -> bool {
        let own = [(UPLINK, addr), (BRIDGE, addr)];
        addr.is_loopback()
            || own
                .iter()
                .any(|&(out, to)| self.source_for(out, to) == Some(addr))
    }

    fn change(&self) -> Option<u64> {
        Some(0)
    }

    fn source_for(&self, output: IfId, destination: IpAddr) -> Option<IpAddr> {
        match (output, destination) {
            (BRIDGE, IpAddr::V4(_)) => Some(Ipv4Addr::new(172, 17, 0, 1).into()),
            (BRIDGE, IpAddr::V6(_)) => Some(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1).into()),
            (UPLINK, IpAddr::V4(_)) => Some(Ipv4Addr::new(192, 0, 2, 2).into()),
            (UPLINK, IpAddr::V6(_)) => Some(Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, 2).into()),
            _ => None,
        }
    }
}

/// Runs one input.
pub fn nat(data: &[u8]) {
    let mut script = Script(data);
    let mut nf = firewall(script.u8());
    let mut now = Time::ZERO;
    let mut last: Vec<u8> = Vec::new();
    while let Some(step) = script.next() {
        let mut bytes = match step & 7 {
            0 => script.block().to_vec(),
            1 | 2 => turned(&last),
            3 => quoted(&last, &mut script),
            4 => {
                now += Duration::from_secs(u64::from(script.u16()));
                assert!(nf.conntrack.list(now).len() <= CONNECTIONS);
                continue;
            }
            5 if step & 0x80 != 0 => {
                nf.conntrack.flush_where(address(&mut script));
                continue;
            }
            _ => packet(&mut script),
        };
        if step & 0x10 == 0 {
            fill(&mut bytes);
        }
        if through(&mut nf, now, &mut bytes, step) {
            last = bytes;
        }
        assert!(nf.conntrack.len() <= CONNECTIONS);
    }
}

fn add(
    nf: &mut Netfilter,
    family: Family,
    table: Table,
    hook: Hook,
    matches: Match,
    action: Action,
) {
    let chain = ChainId::base(family, table, hook).expect("a base chain");
    let rule = Rule {
        matches,
        action,
        origin: "fuzz".into(),
    };
    nf.rules.add(chain, 0, rule).expect("the chain is there");
}

fn firewall(bits: u8) -> Netfilter {
    let mut nf = Netfilter::new(Limits {
        connections: CONNECTIONS,
    });
    let v4: IpAddr = Ipv4Addr::new(172, 17, 0, 2).into();
    let v6: IpAddr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2).into();
    for (family, container) in [(Family::V4, v4), (Family::V6, v6)] {
        let out = Match {
            output: IfMatch::IsNot(BRIDGE),
            ..Match::default()
        };
        if bits & 1 == 0 {
            add(
                &mut nf,
                family,
                Table::Nat,
                Hook::Postrouting,
                out,
                Action::Masquerade,
            );
        }
        let published = Match {
            destination_port: Some(8080),
            destination_local: true,
            ..Match::default()
        };
        let to = Action::Dnat(container, (bits & 2 == 0).then_some(80));
        for hook in [Hook::Prerouting, Hook::Output] {
            add(&mut nf, family, Table::Nat, hook, published, to);
        }
        let answers = Match {
            states: States::ANSWERS,
            ..Match::default()
        };
        add(
            &mut nf,
            family,
            Table::Filter,
            Hook::Forward,
            answers,
            Action::Accept,
        );
        let invalid = Match {
            states: States::of(&[State::Invalid]),
            ..Match::default()
        };
        if bits & 4 != 0 {
            let drop = Action::Drop(DropReason::ConntrackInvalid);
            add(&mut nf, family, Table::Filter, Hook::Forward, invalid, drop);
        }
        let unpublished = Match {
            input: IfMatch::Is(UPLINK),
            destination_port: Some(7),
            ..Match::default()
        };
        let drop = Action::Drop(DropReason::FilteredUnpublished);
        add(
            &mut nf,
            family,
            Table::Filter,
            Hook::Forward,
            unpublished,
            drop,
        );
    }
    nf
}

/// The hooks of one packet's way, and the look at it behind each. Whether it arrived.
fn through(nf: &mut Netfilter, now: Time, bytes: &mut Vec<u8>, step: u8) -> bool {
    let (near, far) = match step & 0x20 {
        0 => (UPLINK, BRIDGE),
        _ => (BRIDGE, UPLINK),
    };
    let path = |input, output| Path {
        input,
        output,
        bridged: false,
    };
    let over = Path {
        input: Some(BRIDGE),
        output: Some(BRIDGE),
        bridged: true,
    };
    let hooks: Vec<(Hook, Path)> = match step >> 6 {
        0 => vec![
            (Hook::Prerouting, path(Some(near), None)),
            (Hook::Forward, path(Some(near), Some(far))),
            (Hook::Postrouting, path(None, Some(far))),
        ],
        1 => vec![
            (Hook::Prerouting, path(Some(near), None)),
            (Hook::Input, path(Some(near), None)),
        ],
        2 => vec![
            (Hook::Output, path(None, Some(far))),
            (Hook::Postrouting, path(None, Some(far))),
        ],
        _ => [Hook::Prerouting, Hook::Forward, Hook::Postrouting]
            .map(|hook| (hook, over))
            .to_vec(),
    };
    let partial = step & 0x08 != 0;
    hooks.into_iter().all(|(hook, path)| {
        let before = bytes.clone();
        let outcome = nf.run(now, hook, bytes, partial, &path, &Host);
        assert_eq!(before.len(), bytes.len());
        if !partial && right(&before) {
            assert!(right(bytes), "{hook:?}: {before:02x?} became {bytes:02x?}");
        }
        match outcome.rewrite {
            Some(rewrite) => {
                let (old, new) = (ends(&before), ends(bytes));
                assert_eq!(
                    old,
                    Some((rewrite.from_source.ip(), rewrite.from_destination.ip()))
                );
                assert_eq!(
                    new,
                    Some((rewrite.to_source.ip(), rewrite.to_destination.ip()))
                );
            }
            None => assert_eq!(ends(&before), ends(bytes), "a rewrite untold"),
        }
        outcome.verdict == Verdict::Accept
    })
}

fn ends(bytes: &[u8]) -> Option<(IpAddr, IpAddr)> {
    let packet = Packet::parse(bytes).ok()?;
    Some((packet.source, packet.destination))
}

/// Both checksums are right.
fn right(bytes: &[u8]) -> bool {
    Packet::parse(bytes).is_ok_and(|packet| {
        let header = packet.source.is_ipv6() || header_checksum_ok(bytes);
        header && transport_checksum_ok(bytes, &packet) && icmp_right(bytes, &packet)
    })
}

/// ICMP over IPv4 has a checksum of its own, without a pseudo-header.
fn icmp_right(bytes: &[u8], packet: &Packet) -> bool {
    if u8::from(packet.protocol) != 1 || packet.fragment.is_some() {
        return true;
    }
    let body = &bytes[packet.transport..packet.len];
    body.len() >= 8 && switch::wire::sum(body) == 0xffff
}

fn fill(bytes: &mut [u8]) {
    let Ok(packet) = Packet::parse(bytes) else {
        return;
    };
    if packet.source.is_ipv4() {
        fill_header_checksum(bytes);
    }
    fill_transport_checksum(bytes, &packet);
    if u8::from(packet.protocol) == 1 && packet.len >= packet.transport + 8 {
        let body = &mut bytes[packet.transport..packet.len];
        body[2..4].fill(0);
        let sum = !switch::wire::sum(body);
        body[2..4].copy_from_slice(&sum.to_be_bytes());
    }
}

fn address(script: &mut Script<'_>) -> IpAddr {
    match script.below(10) {
        0 => Ipv4Addr::new(172, 17, 0, 2).into(),
        1 => Ipv4Addr::new(192, 0, 2, 2).into(),
        2 => Ipv4Addr::new(172, 17, 0, 1).into(),
        3 => Ipv4Addr::LOCALHOST.into(),
        4 => Ipv4Addr::new(198, 51, 100, script.u8()).into(),
        5 => Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2).into(),
        6 => Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, 2).into(),
        7 => Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, script.u8().into()).into(),
        8 => Ipv6Addr::LOCALHOST.into(),
        _ => Ipv4Addr::from(script.u32()).into(),
    }
}

/// A packet between two addresses of the world.
fn packet(script: &mut Script<'_>) -> Vec<u8> {
    let (source, destination) = (address(script), address(script));
    let protocol = [6, 17, 1, 58, 132, script.u8()][usize::from(script.below(6))];
    let ports =
        [script.below(4), script.below(4)].map(|port| [80, 8080, 40_000, 7][usize::from(port)]);
    let mut body: Vec<u8> = ports.map(u16::to_be_bytes).concat();
    if matches!(protocol, 1 | 58) {
        body = vec![script.u8(), 0, 0, 0];
    }
    body.extend_from_slice(script.block());
    if protocol == 6 {
        body.resize(body.len().max(20), 0);
        body[12] = 0x50;
    }
    wrap(source, destination, protocol, &body)
}

fn wrap(source: IpAddr, destination: IpAddr, protocol: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let (IpAddr::V4(from), IpAddr::V4(to)) = (source, destination) {
        let [high, low] = ((20 + body.len()) as u16).to_be_bytes();
        bytes.extend_from_slice(&[0x45, 0, high, low, 0, 1, 0, 0, 64, protocol, 0, 0]);
        bytes.extend_from_slice(&from.octets());
        bytes.extend_from_slice(&to.octets());
    } else {
        let [high, low] = (body.len() as u16).to_be_bytes();
        bytes.extend_from_slice(&[0x60, 0, 0, 0, high, low, protocol, 64]);
        for address in [source, destination] {
            match address {
                IpAddr::V4(v4) => bytes.extend_from_slice(&v4.to_ipv6_mapped().octets()),
                IpAddr::V6(v6) => bytes.extend_from_slice(&v6.octets()),
            }
        }
    }
    bytes.extend_from_slice(body);
    bytes
}

/// The answer to a packet: addresses and ports turned round.
fn turned(bytes: &[u8]) -> Vec<u8> {
    let Ok(packet) = Packet::parse(bytes) else {
        return Vec::new();
    };
    let mut body = bytes[packet.transport..packet.len].to_vec();
    match u8::from(packet.protocol) {
        6 | 17 | 132 if body.len() >= 4 => body[..4].rotate_left(2),
        1 if body.first() == Some(&8) => body[0] = 0,
        58 if body.first() == Some(&128) => body[0] = 129,
        _ => {}
    }
    let protocol = u8::from(packet.protocol);
    wrap(packet.destination, packet.source, protocol, &body)
}

/// An ICMP error about a packet, from somebody on the way.
fn quoted(bytes: &[u8], script: &mut Script<'_>) -> Vec<u8> {
    let Ok(packet) = Packet::parse(bytes) else {
        return Vec::new();
    };
    let (from, kind, code) = (address(script), script.u8(), script.u8());
    let quote = &bytes[..bytes.len().min(20 + usize::from(script.u8()))];
    let v4 = packet.source.is_ipv4();
    let kind = match (v4, kind & 3) {
        (true, 0) => 3,
        (true, 1) => 11,
        (true, _) => 12,
        (false, kind) => 1 + kind,
    };
    let mut body = vec![kind, code, 0, 0, 0, 0, 5, 0];
    body.extend_from_slice(quote);
    let from = if from.is_ipv4() == v4 {
        from
    } else {
        packet.destination
    };
    wrap(from, packet.source, if v4 { 1 } else { 58 }, &body)
}
