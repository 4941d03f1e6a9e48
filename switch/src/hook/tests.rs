//! Packets through the hooks: a router with one network behind it, and the namespace's own traffic.

mod errors;
mod nat;
mod packets;
mod random;
mod shape;
mod state;

use core::net::IpAddr;

use ipnet::IpNet;

use self::packets::{Built, ip};
use super::*;
use crate::filter::{Action, IfMatch, Match, NetMatch, Rule, RuleId};

const LO: IfId = IfId(1);
const UPLINK: IfId = IfId(2);
const BRIDGE: IfId = IfId(3);

/// A host at 192.0.2.2 with the network 172.17.0.0/16 behind it.
struct Host;

impl Env for Host {
    fn is_local(&self, addr: IpAddr) -> bool {
        let own = [
            "192.0.2.2",
            "172.17.0.1",
            "2001:db8:0:1::2",
            "fd00::1",
            "::1",
        ];
        addr.is_loopback() || own.iter().any(|own| ip(own) == addr)
    }

    fn change(&self) -> Option<u64> {
        Some(0)
    }

    fn source_for(&self, output: IfId, destination: IpAddr) -> Option<IpAddr> {
        let address = match (output, destination) {
            (BRIDGE, IpAddr::V4(_)) => "172.17.0.1",
            (BRIDGE, IpAddr::V6(_)) => "fd00::1",
            (LO | UPLINK, IpAddr::V4(_)) => "192.0.2.2",
            (LO | UPLINK, IpAddr::V6(_)) => "2001:db8:0:1::2",
            _ => return None,
        };
        Some(ip(address))
    }
}

fn net(text: &str) -> NetMatch {
    NetMatch::inside(text.parse::<IpNet>().unwrap())
}

fn rule(matches: Match, action: Action) -> Rule {
    Rule {
        matches,
        action,
        origin: "test".into(),
    }
}

fn add(
    nf: &mut Netfilter,
    family: Family,
    table: Table,
    hook: Hook,
    matches: Match,
    action: Action,
) -> RuleId {
    let chain = ChainId::base(family, table, hook).unwrap();
    nf.rules.add(chain, 0, rule(matches, action)).unwrap()
}

/// A firewall that masquerades the network in both families.
fn masquerading(limits: Limits) -> Netfilter {
    let mut nf = Netfilter::new(limits);
    for (family, subnet) in [(Family::V4, "172.17.0.0/16"), (Family::V6, "fd00::/64")] {
        let matches = Match {
            source: Some(net(subnet)),
            output: IfMatch::IsNot(BRIDGE),
            ..Match::default()
        };
        add(
            &mut nf,
            family,
            Table::Nat,
            Hook::Postrouting,
            matches,
            Action::Masquerade,
        );
    }
    nf
}

/// Publishes port 8080 of every local address as port 80 of 172.17.0.2 and fd00::2.
fn publish(nf: &mut Netfilter) {
    for (family, to) in [(Family::V4, "172.17.0.2"), (Family::V6, "fd00::2")] {
        for hook in [Hook::Prerouting, Hook::Output] {
            let matches = Match {
                protocol: Some(6),
                destination_port: Some(8080),
                destination_local: true,
                ..Match::default()
            };
            let action = Action::Dnat(ip(to), Some(80));
            add(nf, family, Table::Nat, hook, matches, action);
        }
    }
}

const fn path(input: Option<IfId>, output: Option<IfId>) -> Path {
    Path {
        input,
        output,
        bridged: false,
    }
}

/// Runs the hooks of a packet that goes from `input` to `output`.
fn forward(
    nf: &mut Netfilter,
    now: Time,
    packet: &mut Built,
    input: IfId,
    output: IfId,
) -> Result<(), DropReason> {
    let hooks = [
        (Hook::Prerouting, path(Some(input), None)),
        (Hook::Forward, path(Some(input), Some(output))),
        (Hook::Postrouting, path(None, Some(output))),
    ];
    through(nf, now, packet, &hooks)
}

/// Runs the hooks of a packet that comes in by `input` and stays.
fn deliver(
    nf: &mut Netfilter,
    now: Time,
    packet: &mut Built,
    input: IfId,
) -> Result<(), DropReason> {
    let hooks = [
        (Hook::Prerouting, path(Some(input), None)),
        (Hook::Input, path(Some(input), None)),
    ];
    through(nf, now, packet, &hooks)
}

/// Runs the hooks of a packet that the namespace sends by `output`.
fn send(nf: &mut Netfilter, now: Time, packet: &mut Built, output: IfId) -> Result<(), DropReason> {
    let hooks = [
        (Hook::Output, path(None, Some(output))),
        (Hook::Postrouting, path(None, Some(output))),
    ];
    through(nf, now, packet, &hooks)
}

/// Runs hooks; the checksums have to be right after each.
fn through(
    nf: &mut Netfilter,
    now: Time,
    packet: &mut Built,
    hooks: &[(Hook, Path)],
) -> Result<(), DropReason> {
    for (hook, path) in hooks {
        let outcome = nf.run(now, *hook, &mut packet.bytes, false, path, &Host);
        if let Verdict::Drop(reason) = outcome.verdict {
            return Err(reason);
        }
        packet.check();
    }
    Ok(())
}

#[test]
fn a_namespace_without_rules_tracks_nothing() {
    let mut nf = Netfilter::default();
    let mut packet = packets::udp("172.17.0.2:5000", "198.51.100.7:53");
    forward(&mut nf, Time::ZERO, &mut packet, BRIDGE, UPLINK).unwrap();
    assert!(nf.is_empty());
}

#[test]
fn other_families_pass_and_malformed_packets_die() {
    let mut nf = masquerading(Limits::default());
    for (mut bytes, expected) in [
        (vec![], Verdict::Accept),
        (vec![0x00, 0x01, 0x08], Verdict::Accept),
        (vec![0x45; 12], Verdict::Drop(DropReason::Truncated)),
        (vec![0x40; 40], Verdict::Drop(DropReason::HeaderMalformed)),
    ] {
        let path = path(Some(BRIDGE), None);
        let outcome = nf.run(
            Time::ZERO,
            Hook::Prerouting,
            &mut bytes,
            false,
            &path,
            &Host,
        );
        assert_eq!(outcome.verdict, expected);
    }
}
