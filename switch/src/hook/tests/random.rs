//! Properties over random traffic.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::packets::{ACK, RST, SYN, echo, tcp, udp};
use super::*;
use crate::filter::Ruling;

/// Thousands of flows over few ports and peers: no two leave the host with the same tuple, answers
/// come back to who asked, and the table keeps its bound.
fn flows(picks: &[(u8, u8, u8, u8)], connections: usize) {
    let mut nf = masquerading(Limits { connections });
    publish(&mut nf);
    for (at, &(kind, host, port, peer)) in picks.iter().enumerate() {
        let now = Time::from_millis(at as u64);
        let inside = format!("172.17.0.{}", 2 + host % 20);
        let peer = format!("198.51.100.{}", 1 + peer % 2);
        let port = [7, 600, 40_000, 40_001][usize::from(port % 4)];
        let mut packet = match kind % 3 {
            0 => tcp(&format!("{inside}:{port}"), &format!("{peer}:80"), SYN),
            1 => udp(&format!("{inside}:{port}"), &format!("{peer}:53")),
            _ => echo(&inside, &peer, port, false),
        };
        match forward(&mut nf, now, &mut packet, BRIDGE, UPLINK) {
            Ok(()) => {}
            Err(DropReason::NatPortsExhausted | DropReason::ConntrackFull) => continue,
            Err(other) => panic!("{other}"),
        }
        assert_eq!(packet.packet().source, ip("192.0.2.2"));
        let (source, destination) = (packet.source(), packet.destination());
        let mut answer = match kind % 3 {
            0 => tcp(&destination.to_string(), &source.to_string(), SYN | 0x10),
            1 => udp(&destination.to_string(), &source.to_string()),
            _ => echo(&peer, "192.0.2.2", packet.id(), true),
        };
        forward(&mut nf, now, &mut answer, UPLINK, BRIDGE).unwrap();
        assert_eq!(answer.packet().destination, ip(&inside));
        assert!(nf.conntrack.len() <= connections);
    }
    let now = Time::from_millis(picks.len() as u64);
    let mut replies = BTreeSet::new();
    for conn in nf.conntrack.list(now) {
        let reply = conn.reply();
        let key = (
            reply.source,
            reply.destination,
            reply.protocol,
            reply.source_port,
            reply.destination_port,
        );
        assert!(replies.insert(key), "{}", conn.line(now));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn no_two_flows_share_a_tuple(
        picks in prop::collection::vec(any::<(u8, u8, u8, u8)>(), 1..3000),
        bound in prop::sample::select(vec![16usize, 200, 262_144]),
    ) {
        flows(&picks, bound);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever comes, nothing panics and nothing but the packet's own bytes changes.
    #[test]
    fn any_bytes_at_any_hook(
        packets in prop::collection::vec(
            (any_packet(), 0usize..5, any::<bool>(), any::<[bool; 2]>()), 1..40),
    ) {
        let mut nf = masquerading(Limits { connections: 8 });
        publish(&mut nf);
        let hooks = [
            Hook::Prerouting, Hook::Input, Hook::Forward, Hook::Output, Hook::Postrouting,
        ];
        for (at, (mut bytes, hook, partial, ends)) in packets.into_iter().enumerate() {
            let path = Path {
                input: ends[0].then_some(BRIDGE),
                output: ends[1].then_some(UPLINK),
                bridged: partial,
            };
            let len = bytes.len();
            let now = Time::from_secs(at as u64);
            let _ = nf.run(now, hooks[hook], &mut bytes, partial, &path, &Host);
            prop_assert_eq!(bytes.len(), len);
            prop_assert!(nf.conntrack.len() <= 8);
        }
    }
}

/// Bytes of a packet that is nearly right, so that all of its parsers are reached.
fn any_packet() -> impl Strategy<Value = Vec<u8>> {
    let addresses = prop::sample::select(vec!["172.17.0.2", "192.0.2.2", "198.51.100.7"]);
    let v6 = prop::sample::select(vec!["fd00::2", "2001:db8:0:1::2", "2001:db8:ffff::7"]);
    let protocol = prop::sample::select(vec![1u8, 6, 17, 44, 47, 58, 0, 132]);
    let upper = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..80),
        (
            prop::sample::select(vec![3u8, 5, 11, 1, 8, 128]),
            any::<u8>(),
            inner()
        )
            .prop_map(|(kind, code, inner)| {
                let mut upper = vec![kind, code, 0, 0, 0, 0, 0, 0];
                upper.extend(inner);
                upper
            }),
        inner(),
    ];
    let whole = (
        prop_oneof![
            (addresses.clone(), addresses).prop_map(|(a, b)| (ip(a), ip(b))),
            (v6.clone(), v6).prop_map(|(a, b)| (ip(a), ip(b))),
        ],
        protocol,
        upper,
        prop::collection::vec((any::<usize>(), any::<u8>()), 0..3),
    )
        .prop_map(|((source, destination), protocol, upper, flips)| {
            let mut bytes = packets::packet(source, destination, 59, &upper).bytes;
            bytes[if source.is_ipv4() { 9 } else { 6 }] = protocol;
            for (at, value) in flips {
                let at = at % bytes.len();
                bytes[at] = value;
            }
            bytes
        });
    prop_oneof![4 => whole, 1 => prop::collection::vec(any::<u8>(), 0..100)]
}

/// The start of a packet, cut anywhere.
fn inner() -> impl Strategy<Value = Vec<u8>> {
    (any::<bool>(), 0usize..70, any::<u8>()).prop_map(|(v6, cut, flags)| {
        let mut bytes = if v6 {
            tcp("[fd00::2]:40000", "[2001:db8:ffff::7]:80", flags).bytes
        } else {
            tcp("172.17.0.2:40000", "198.51.100.7:80", flags).bytes
        };
        bytes.truncate(cut);
        bytes
    })
}

const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

/// One step of a bridged flow's life.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// Packets: which version and protocol, towards the server, TCP flags, which flow, how many.
    Packet((bool, bool), bool, u8, u8, u8),
    Wait(u16),
    /// A rule comes: in the raw or the filter table; it drops one flow's port.
    Drop(bool, u8),
    /// All rules of those go.
    Forget,
}

fn any_step() -> impl Strategy<Value = Step> {
    let flags = prop::sample::select(vec![SYN, SYN | 0x10, 0x10, 0x18, 0x11, 0x04]);
    prop_oneof![
        12 => (any::<(bool, bool)>(), any::<bool>(), flags, 0u8..3, 1u8..8)
            .prop_map(|(kind, there, flags, flow, count)| {
                Step::Packet(kind, there, flags, flow, count)
            }),
        2 => (0u16..200).prop_map(Step::Wait),
        1 => (any::<bool>(), 0u8..3).prop_map(|(raw, flow)| Step::Drop(raw, flow)),
        1 => Just(Step::Forget),
    ]
}

/// A firewall that a step was told to, with the rules that come and go.
struct Bridged {
    nf: Netfilter,
    passing: Vec<RuleId>,
}

impl Bridged {
    fn new() -> Self {
        let mut nf = masquerading(Limits { connections: 4 });
        publish(&mut nf);
        for family in FAMILIES {
            for matches in [
                Match {
                    states: crate::filter::States::ANSWERS,
                    ..Match::default()
                },
                Match {
                    input: IfMatch::Is(BRIDGE),
                    ..Match::default()
                },
            ] {
                let (table, hook) = (Table::Filter, Hook::Forward);
                add(&mut nf, family, table, hook, matches, Action::Accept);
            }
        }
        Self {
            nf,
            passing: Vec::new(),
        }
    }

    fn rules(&mut self, step: Step) {
        match step {
            Step::Drop(raw, flow) => {
                let (table, hook) = if raw {
                    (Table::Raw, Hook::Prerouting)
                } else {
                    (Table::Filter, Hook::Forward)
                };
                let matches = Match {
                    source_port: Some(40_000 + u16::from(flow)),
                    ..Match::default()
                };
                for family in FAMILIES {
                    let chain = ChainId::base(family, table, hook).unwrap();
                    let drop = rule(matches, Action::Drop(DropReason::Filtered));
                    self.passing
                        .push(self.nf.rules.add(chain, -1, drop).unwrap());
                }
            }
            Step::Forget => {
                for rule in self.passing.drain(..) {
                    self.nf.rules.remove(rule);
                }
            }
            _ => {}
        }
    }

    fn state(&self, now: Time) -> (Vec<String>, Vec<String>) {
        let list = self.nf.conntrack.list(now);
        let lines = list.iter().map(|conn| conn.line(now).to_string());
        let tables = [Table::Raw, Table::Nat, Table::Filter];
        let tables = FAMILIES
            .into_iter()
            .flat_map(|family| tables.map(|table| (family, table)));
        let rules =
            tables.map(|(family, table)| self.nf.rules.list(family, table, true, &|_| "if".into()));
        (lines.collect(), rules.collect())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Packets over the express lane and hook by hook: the same verdicts, states, timers and counters.
    #[test]
    fn the_lane_changes_nothing(steps in prop::collection::vec(any_step(), 1..120)) {
        let (mut fast, mut slow) = (Bridged::new(), Bridged::new());
        // Somebody asks now and then which rule decided.
        let mut asked = Bridged::new();
        slow.nf.rules.remember_nothing();
        let mut now = Time::from_secs(1);
        let path = Path { input: Some(BRIDGE), output: Some(BRIDGE), bridged: true };
        for step in steps {
            fast.rules(step);
            slow.rules(step);
            asked.rules(step);
            if let Step::Wait(seconds) = step {
                now += core::time::Duration::from_secs(u64::from(seconds));
            }
            let Step::Packet((is_v6, is_tcp), there, flags, flow, count) = step else { continue };
            asked.nf.rules.keep_judgements(flow % 2 == 0);
            let (client, server) = if is_v6 {
                ("[fd00::3]", "[fd00::2]:80")
            } else {
                ("172.17.0.3", "172.17.0.2:80")
            };
            let client = format!("{client}:{}", 40_000 + u16::from(flow));
            let (from, to) = if there {
                (client.as_str(), server)
            } else {
                (server, client.as_str())
            };
            let packet = if is_tcp { tcp(from, to, flags) } else { udp(from, to) };
            for _ in 0..count {
                let (mut one, mut other) = (packet.clone(), packet.clone());
                let whole = fast.nf.run_bridged(now, &mut one.bytes, false, BRIDGE, &Host, 3);
                let mut verdict = Verdict::Accept;
                for hook in [Hook::Prerouting, Hook::Forward, Hook::Postrouting] {
                    let bytes = &mut other.bytes;
                    let outcome = slow.nf.run_for(now, hook, bytes, false, &path, &Host, 3);
                    verdict = outcome.verdict;
                    if verdict != Verdict::Accept {
                        break;
                    }
                }
                prop_assert_eq!(whole.verdict, verdict);
                prop_assert_eq!(&one.bytes, &other.bytes);
                prop_assert_eq!(fast.state(now), slow.state(now));
                let mut third = packet.clone();
                let outcome = asked.nf.run_bridged(now, &mut third.bytes, false, BRIDGE, &Host, 3);
                let last = asked.nf.rules.take_judgements().pop();
                prop_assert_eq!(outcome.verdict, verdict);
                prop_assert_eq!(&third.bytes, &one.bytes);
                prop_assert_eq!(asked.state(now), slow.state(now));
                // What no rule drops, such as the first packet of a connection too many, is no ruling.
                if let (Some(last), Verdict::Drop(reason)) = (last, verdict) {
                    let by_rule = reason == DropReason::Filtered;
                    prop_assert_eq!(last.ruling == Ruling::Drop(reason), by_rule);
                }
            }
        }
    }
}

/// Also where the nat table has no rules.
#[test]
fn a_connection_begins_as_others_like_it() {
    for nf in [Bridged::new().nf, Netfilter::new(Limits::default())] {
        let mut bridged = Bridged {
            nf,
            passing: Vec::new(),
        };
        bridged.rules(Step::Drop(false, 2));
        for (port, passes) in [(40_000, false), (40_001, true), (40_002, false)] {
            let mut packet = tcp(&format!("172.17.0.3:{port}"), "172.17.0.2:80", SYN);
            let nf = &mut bridged.nf;
            let run = Run::of(&packet.bytes, BRIDGE, 1).unwrap();
            assert_eq!(nf.pass_bridged(Time::ZERO, &run, Some(0)), passes);
            if !passes {
                nf.run_bridged(Time::ZERO, &mut packet.bytes, false, BRIDGE, &Host, 1);
            }
        }
        assert_eq!(bridged.nf.conntrack.len(), 2);
    }
}

/// The SYN that reopens a connection, and one after it has run out.
#[test]
fn a_connection_begins_in_the_place_of_one_that_is_over() {
    let mut nf = Bridged::new().nf;
    let (client, server) = ("172.17.0.3:40000", "172.17.0.2:80");
    let minute = Time::from_secs(60);
    let segments = [
        (client, server, SYN, Time::ZERO, false),
        (server, client, SYN | ACK, Time::ZERO, false),
        (client, server, ACK, Time::ZERO, false),
        (client, server, SYN, Time::ZERO, true),
        (client, server, RST | ACK, Time::ZERO, true),
        (client, server, SYN, Time::ZERO, true),
        (server, client, SYN | ACK, Time::ZERO, true),
        (client, server, RST, Time::ZERO, true),
        (client, server, SYN, minute, true),
    ];
    for (from, to, flags, now, passes) in segments {
        let mut packet = tcp(from, to, flags);
        let run = Run::of(&packet.bytes, BRIDGE, 1).unwrap();
        let passed = nf.pass_bridged(now, &run, Some(0));
        assert_eq!(passed, passes, "{from} {flags:#x} {now:?}");
        if !passed {
            nf.run_bridged(now, &mut packet.bytes, false, BRIDGE, &Host, 1);
        }
    }
    assert_eq!(nf.conntrack.len(), 1);
    let list = nf.conntrack.list(minute);
    assert_eq!((list[0].number, list[0].seen_reply), (2, false));
}

#[test]
fn a_published_connection_begins_as_others_like_it() {
    let mut nf = masquerading(Limits::default());
    publish(&mut nf);
    let crossing = Crossing {
        input: UPLINK,
        csum_partial: false,
        frames: 1,
        wire_len: 40,
        routes: 0,
        addresses: Some(0),
    };
    let exit = Exit {
        output: BRIDGE,
        next_hop: ip("172.17.0.2"),
        mtu: 1500,
    };
    for (port, is_known) in [(4000, false), (4001, true)] {
        let mut packet = tcp(&format!("198.51.100.7:{port}"), "192.0.2.2:8080", SYN);
        let passed = nf.run_routed(Time::ZERO, &mut packet.bytes, &crossing);
        assert_eq!(passed.is_some(), is_known);
        if passed.is_none() {
            let both = path(Some(UPLINK), Some(BRIDGE));
            let hooks = [
                (Hook::Prerouting, path(Some(UPLINK), None)),
                (Hook::Forward, both),
                (Hook::Postrouting, both),
            ];
            through(&mut nf, Time::ZERO, &mut packet, &hooks).unwrap();
            nf.keep_routed(&crossing, exit);
        }
        assert_eq!(packet.destination().to_string(), "172.17.0.2:80");
    }
    assert_eq!(nf.conntrack.len(), 2);
}

/// Of IPv6 it has a passage, and is answered from its connection from the second packet on: nothing else knows its rules.
#[test]
fn a_flow_of_ipv6_that_goes_on_has_a_passage() {
    let mut nf = Bridged::new().nf;
    let there = udp("[fd00::3]:40000", "[fd00::2]:80");
    let back = udp("[fd00::2]:80", "[fd00::3]:40000");
    let mut pass = |packet: &Built| {
        let wide = Wide::of(&packet.bytes, BRIDGE, 1).unwrap();
        let passes = nf.pass_wide(Time::ZERO, &wide);
        if !passes {
            let mut bytes = packet.bytes.clone();
            let outcome = nf.run_bridged(Time::ZERO, &mut bytes, false, BRIDGE, &Host, 1);
            assert_eq!(outcome.verdict, Verdict::Accept);
        }
        (passes, nf.passage_wide(&wide).is_some())
    };
    for count in 0..7 {
        assert_eq!(pass(&there), (count > 0, count > 3), "{count}");
    }
    // An answer changes what the rules are asked.
    for count in 0..7 {
        assert_eq!(pass(&back), (count > 0, count > 3), "{count}");
    }
    assert_eq!([pass(&there), pass(&there)], [(false, true), (true, true)]);
}

/// What has to be shown to the hooks, and what of it is data.
#[test]
fn packets_of_ipv6_that_are_plain() {
    let good = [
        (udp("[fd00::3]:40000", "[fd00::2]:80"), Some(true)),
        (tcp("[fd00::3]:40000", "[fd00::2]:80", ACK), Some(true)),
        (tcp("[fd00::3]:40000", "[fd00::2]:80", SYN), Some(false)),
        (echo("fd00::3", "fd00::2", 7, false), None),
        (udp("172.17.0.3:40000", "172.17.0.2:80"), None),
    ];
    let is_data = |bytes: &[u8]| Wide::of(bytes, BRIDGE, 1).map(|wide| wide.is_data());
    for (packet, said) in &good {
        assert_eq!(is_data(&packet.bytes), *said, "{packet:?}");
    }
    let changed = |which: usize, places: &[(usize, u8)]| {
        let mut bytes = good[which].0.bytes.clone();
        places.iter().for_each(|&(at, byte)| bytes[at] = byte);
        is_data(&bytes)
    };
    // Another version, longer than it is, another header next, a datagram too short and too long.
    for (at, byte) in [
        (0, 0x40),
        (5, 14),
        (6, 0),
        (6, 43),
        (6, 44),
        (6, 60),
        (45, 7),
        (45, 14),
    ] {
        assert_eq!(changed(0, &[(at, byte)]), None, "{at} {byte}");
    }
    // Padding behind it, and a datagram that ends before its packet.
    assert_eq!(changed(0, &[(5, 12), (45, 12)]), Some(true));
    assert_eq!(changed(0, &[(45, 12)]), Some(true));
    // A segment's header too short and too long.
    for offset in [0x40, 0x70] {
        assert_eq!(changed(1, &[(52, offset)]), None, "{offset:x}");
    }
    assert_eq!(changed(1, &[(52, 0x60)]), Some(true));
    let packet = &good[1].0.bytes;
    assert!((0..packet.len()).all(|len| is_data(&packet[..len]).is_none()));
}

#[test]
fn a_flow_that_goes_on_has_a_lane() {
    let mut bridged = Bridged::new();
    let mut packet = udp("172.17.0.3:40000", "172.17.0.2:80");
    for lanes in [0, 0, 0, 0, 1, 1] {
        let nf = &mut bridged.nf;
        let outcome = nf.run_bridged(Time::ZERO, &mut packet.bytes, false, BRIDGE, &Host, 1);
        assert_eq!(outcome.verdict, Verdict::Accept);
        assert_eq!(bridged.nf.lanes_used(), lanes);
    }
}
