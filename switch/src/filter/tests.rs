//! The walk through chains, the index behind it, and what the tools print.

use core::net::IpAddr;

use proptest::prelude::*;

use super::rule::Facts;
use super::*;
use crate::IfId;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn facts(source: &str, destination: &str) -> Facts {
    Facts {
        source: ip(source),
        destination: ip(destination),
        protocol: 6,
        ports: Some((40_000, 80)),
        input: Some(IfId(1)),
        output: Some(IfId(2)),
        bridged: false,
        state: State::New,
        weight: Counter {
            packets: 1,
            bytes: 60,
        },
    }
}

fn rule(matches: Match, action: Action) -> Rule {
    Rule {
        matches,
        action,
        origin: "test".into(),
    }
}

const NOBODY: Locals<'_> = Locals {
    is_local: &|_| false,
    change: None,
};

fn forward() -> ChainId {
    ChainId::base(Family::V4, Table::Filter, Hook::Forward).unwrap()
}

fn ask(rules: &mut Ruleset, facts: &Facts) -> Target {
    rules.ask(forward(), facts, &NOBODY)
}

const DROP: Action = Action::Drop(DropReason::Filtered);

#[test]
fn base_chains_are_where_linux_has_them() {
    for (table, hook, there) in [
        (Table::Raw, Hook::Prerouting, true),
        (Table::Raw, Hook::Input, false),
        (Table::Nat, Hook::Input, true),
        (Table::Nat, Hook::Forward, false),
        (Table::Filter, Hook::Forward, true),
        (Table::Filter, Hook::Postrouting, false),
    ] {
        assert_eq!(ChainId::base(Family::V6, table, hook).is_some(), there);
    }
}

#[test]
fn ranks_order_rules_and_equal_ranks_keep_theirs() {
    let mut rules = Ruleset::new();
    let packet = facts("10.0.0.1", "10.0.0.2");
    let host = Match {
        destination: Some(NetMatch::host(ip("10.0.0.2"))),
        ..Match::default()
    };
    rules.add(forward(), 5, rule(Match::default(), DROP));
    let first = rules.add(forward(), 5, rule(host, Action::Accept)).unwrap();
    assert_eq!(ask(&mut rules, &packet), Target::Drop(DropReason::Filtered));
    rules.remove(first);
    let before = rules.add(forward(), 4, rule(host, Action::Accept)).unwrap();
    assert_eq!(ask(&mut rules, &packet), Target::Accept);
    assert_eq!(rules.last(), Some(before));
    assert_eq!(rules.rule(before).unwrap().1.bytes, 60);
    assert!(rules.remove(before) && !rules.remove(before));
}

#[test]
fn a_return_goes_on_behind_the_jump() {
    let mut rules = Ruleset::new();
    let packet = facts("10.0.0.1", "10.0.0.2");
    let called = rules.add_chain(Family::V4, Table::Filter, "CALLED");
    rules.add(forward(), 0, rule(Match::default(), Action::Jump(called)));
    rules.add(forward(), 1, rule(Match::default(), DROP));
    assert_eq!(ask(&mut rules, &packet), Target::Drop(DropReason::Filtered));
    let back = rules.add(called, 0, rule(Match::default(), Action::Return));
    let accept = rule(Match::default(), Action::Accept);
    rules.add(called, 1, accept);
    assert_eq!(ask(&mut rules, &packet), Target::Drop(DropReason::Filtered));
    rules.remove(back.unwrap());
    assert_eq!(ask(&mut rules, &packet), Target::Accept);
}

/// The rule that decided, or the policy and the rule that went back to it; the same from memory, and nothing
/// while nobody asks.
#[test]
fn a_judgement_names_the_rule_that_decided() {
    let mut rules = Ruleset::new();
    let packet = facts("10.0.0.1", "10.0.0.2");
    let called = rules.add_chain(Family::V4, Table::Filter, "CALLED");
    rules.add(forward(), 0, rule(Match::default(), Action::Jump(called)));
    let host = Match {
        destination: Some(NetMatch::host(ip("10.0.0.2"))),
        ..Match::default()
    };
    let back = rules.add(called, 0, rule(host, Action::Return));
    rules.set_policy(forward(), Verdict::Drop(DropReason::FilteredUnpublished));
    ask(&mut rules, &packet);
    assert_eq!(rules.take_judgements(), [], "nobody asks");
    rules.keep_judgements(true);
    let policy = Judgement {
        family: Family::V4,
        table: Table::Filter,
        hook: Hook::Forward,
        ruling: Ruling::Drop(DropReason::FilteredUnpublished),
        rule: None,
        returned: back,
    };
    for _ in 0..3 {
        ask(&mut rules, &packet);
        assert_eq!(rules.take_judgements(), [policy]);
    }
    let accept = rules.add(forward(), 1, rule(host, Action::Accept));
    let accepted = Judgement {
        ruling: Ruling::Accept,
        rule: accept,
        returned: None,
        ..policy
    };
    for _ in 0..3 {
        ask(&mut rules, &packet);
        assert_eq!(rules.take_judgements(), [accepted]);
    }
    let written = rules.written(accept.unwrap(), &|_| String::new());
    assert_eq!(
        written.as_deref(),
        Some("-A FORWARD -d 10.0.0.2/32 -j ACCEPT")
    );
    for _ in 0..100 {
        ask(&mut rules, &packet);
    }
    assert!(rules.take_judgements().len() <= 32, "they are bounded");
}

#[test]
fn chains_in_a_circle_end() {
    let mut rules = Ruleset::new();
    let packet = facts("10.0.0.1", "10.0.0.2");
    let one = rules.add_chain(Family::V4, Table::Filter, "ONE");
    let two = rules.add_chain(Family::V4, Table::Filter, "TWO");
    rules.add(one, 0, rule(Match::default(), Action::Jump(two)));
    rules.add(two, 0, rule(Match::default(), Action::Jump(one)));
    rules.add(forward(), 0, rule(Match::default(), Action::Jump(one)));
    assert_eq!(ask(&mut rules, &packet), Target::Accept);
}

#[test]
fn families_do_not_see_each_others_rules() {
    let mut rules = Ruleset::new();
    rules.add(forward(), 0, rule(Match::default(), DROP));
    let v6 = ChainId::base(Family::V6, Table::Filter, Hook::Forward).unwrap();
    let packet = facts("fd00::1", "fd00::2");
    assert_eq!(rules.ask(v6, &packet, &NOBODY), Target::Accept);
}

#[test]
fn the_listing_is_that_of_iptables() {
    let mut rules = Ruleset::new();
    let docker = rules.add_chain(Family::V4, Table::Nat, "DOCKER");
    let base = |hook| ChainId::base(Family::V4, Table::Nat, hook).unwrap();
    let local = Match {
        destination_local: true,
        ..Match::default()
    };
    let jump = Action::Jump(docker);
    rules.add(base(Hook::Prerouting), 0, rule(local, jump));
    let no_loopback = Match {
        destination: Some(NetMatch::outside("127.0.0.0/8".parse().unwrap())),
        ..local
    };
    rules.add(base(Hook::Output), 0, rule(no_loopback, jump));
    let masquerade = Match {
        source: Some(NetMatch::inside("172.17.0.0/16".parse().unwrap())),
        output: IfMatch::IsNot(IfId(3)),
        ..Match::default()
    };
    rules.add(
        base(Hook::Postrouting),
        0,
        rule(masquerade, Action::Masquerade),
    );
    let published = Match {
        input: IfMatch::IsNot(IfId(3)),
        protocol: Some(6),
        destination_port: Some(8080),
        ..Match::default()
    };
    let to = Action::Dnat(ip("172.17.0.2"), Some(80));
    rules.add(docker, 0, rule(published, to));
    let names = |_: IfId| String::from("docker0");
    let text = rules.list(Family::V4, Table::Nat, false, &names);
    let expected = "\
Chain PREROUTING (policy ACCEPT)
target     prot opt source               destination         
DOCKER     all  --  0.0.0.0/0            0.0.0.0/0            ADDRTYPE match dst-type LOCAL

Chain INPUT (policy ACCEPT)
target     prot opt source               destination         

Chain OUTPUT (policy ACCEPT)
target     prot opt source               destination         
DOCKER     all  --  0.0.0.0/0           !127.0.0.0/8          ADDRTYPE match dst-type LOCAL

Chain POSTROUTING (policy ACCEPT)
target     prot opt source               destination         
MASQUERADE  all  --  172.17.0.0/16        0.0.0.0/0           

Chain DOCKER (2 references)
target     prot opt source               destination         
DNAT       tcp  --  0.0.0.0/0            0.0.0.0/0            tcp dpt:8080 to:172.17.0.2:80
";
    assert_eq!(text, expected);
    let verbose = rules.list(Family::V4, Table::Nat, true, &names);
    for line in [
        "Chain PREROUTING (policy ACCEPT 0 packets, 0 bytes)",
        " pkts bytes target     prot opt in     out     source               destination         ",
        "    0     0 MASQUERADE  all  --  *      !docker0  172.17.0.0/16        0.0.0.0/0           ",
        "    0     0 DNAT       tcp  --  !docker0 *       0.0.0.0/0            0.0.0.0/0            \
         tcp dpt:8080 to:172.17.0.2:80",
    ] {
        assert!(
            verbose.lines().any(|found| found == line),
            "{line}\n{verbose}"
        );
    }
}

#[test]
fn large_counters_are_rounded() {
    let mut rules = Ruleset::new();
    let all = rules.add(forward(), 0, rule(Match::default(), Action::Accept));
    let mut packet = facts("10.0.0.1", "10.0.0.2");
    packet.weight = Counter {
        packets: 99_999,
        bytes: 123_456_789,
    };
    ask(&mut rules, &packet);
    assert!(all.is_some());
    let text = rules.list(Family::V4, Table::Filter, true, &|_| String::new());
    assert!(text.contains("99999  123M ACCEPT"), "{text}");
}

/// A thousand networks with four rules each, and a packet between two of them looks at theirs alone.
#[test]
fn rules_of_other_networks_are_not_looked_at() {
    let mut rules = Ruleset::new();
    for bridge in 1..=1000u32 {
        let (own, other) = (IfMatch::Is(IfId(bridge)), IfMatch::IsNot(IfId(bridge)));
        let subnet = IpAddr::from([10, (bridge >> 8) as u8, bridge as u8, 0]);
        let subnet = ipnet::IpNet::new(subnet, 24).unwrap();
        for (input, output, source) in [
            (IfMatch::Any, own, None),
            (own, other, None),
            (own, own, None),
            (IfMatch::Any, other, Some(NetMatch::inside(subnet))),
        ] {
            let matches = Match {
                input,
                output,
                source,
                ..Match::default()
            };
            rules.add(forward(), 0, rule(matches, Action::Accept));
        }
    }
    let packet = facts("10.0.1.2", "10.0.2.2");
    let chain = rules.chain(forward()).unwrap();
    // Out of 2: two rules. In by 1: one (the one that names both stands under its output). Source: one.
    assert_eq!(chain.candidates(&packet).count(), 4);
}

fn any_net() -> impl Strategy<Value = NetMatch> {
    (0u8..4, 8u8..=32, any::<bool>()).prop_map(|(host, len, not)| {
        let address = IpAddr::from([10, 0, 0, host]);
        let net = ipnet::IpNet::new(address, len).unwrap().trunc();
        NetMatch { net, not }
    })
}

fn any_iface() -> impl Strategy<Value = IfMatch> {
    prop_oneof![
        Just(IfMatch::Any),
        (0u32..3).prop_map(|at| IfMatch::Is(IfId(at))),
        (0u32..3).prop_map(|at| IfMatch::IsNot(IfId(at))),
    ]
}

fn any_match() -> impl Strategy<Value = Match> {
    (
        any_iface(),
        any_iface(),
        prop::option::of(any_net()),
        prop::option::of(any_net()),
        prop::option::of(prop::sample::select(vec![80u16, 81])),
    )
        .prop_map(|(input, output, source, destination, port)| Match {
            input,
            output,
            source,
            destination,
            destination_port: port,
            ..Match::default()
        })
}

proptest! {
    /// The index finds what a look at every rule in order finds, whatever comes and goes.
    #[test]
    fn the_index_changes_nothing(
        edits in prop::collection::vec((any_match(), -2i64..3, any::<bool>()), 1..60),
        packets in prop::collection::vec((0u8..4, 0u8..4, 0u32..4, 0u32..4, 79u16..82), 1..20),
    ) {
        let mut rules = Ruleset::new();
        let mut plain: Vec<(i64, usize, Match, RuleId)> = Vec::new();
        for (at, (matches, rank, keep)) in edits.into_iter().enumerate() {
            let id = rules.add(forward(), rank, rule(matches, Action::Accept)).unwrap();
            plain.push((rank, at, matches, id));
            if !keep {
                let (.., gone) = plain.remove(at % plain.len());
                prop_assert!(rules.remove(gone));
            }
        }
        plain.sort_by_key(|&(rank, at, ..)| (rank, at));
        for (source, destination, input, output, port) in packets {
            let mut packet = facts("10.0.0.0", "10.0.0.0");
            packet.source = IpAddr::from([10, 0, 0, source]);
            packet.destination = IpAddr::from([10, 0, 0, destination]);
            packet.ports = Some((40_000, port));
            packet.input = (input < 3).then_some(IfId(input));
            packet.output = (output < 3).then_some(IfId(output));
            let expected = plain
                .iter()
                .find(|(.., matches, _)| matches.holds(&packet, &|_| false))
                .map(|&(.., id)| id);
            ask(&mut rules, &packet);
            prop_assert_eq!(rules.last(), expected);
        }
    }
}

fn any_rule() -> impl Strategy<Value = (Match, u8)> {
    let asks = (
        any_match(),
        prop::option::of(79u16..82),
        prop::option::of(prop::sample::select(vec![6u8, 17])),
        0u8..4,
        0u8..12,
    );
    asks.prop_map(|(mut matches, port, protocol, states, action)| {
        matches.source_port = port.filter(|_| action % 2 == 0);
        matches.protocol = protocol;
        matches.states = match states {
            0 => States::of(&[State::New]),
            1 => States::ANSWERS,
            _ => States::ANY,
        };
        matches.source_local = action == 3;
        matches.destination_local = action == 5;
        matches.bridged = (states == 3).then_some(protocol.is_some());
        (matches, action)
    })
}

/// What went along ways shows in the counters at once, and stays there when there are too many of them.
#[test]
fn a_way_too_many_begins_anew_and_loses_nothing() {
    let mut rules = Ruleset::new();
    let id = rules
        .add(forward(), 0, rule(Match::default(), Action::Accept))
        .unwrap();
    let mut trail = Trail::NEW;
    trail.push(id.slot);
    let (change, weight) = (rules.change(), facts("10.0.0.1", "10.0.0.2").weight);
    for number in 0..WAYS as u32 {
        let way = rules.way(&[(ChainId(number), trail), (forward(), Trail::POLICY)]);
        assert_eq!(way, number);
        rules.count_way(way, weight);
    }
    let counted = |rules: &Ruleset| {
        let passed = rules.passed(rules.chain(forward()).unwrap());
        (rules.rule(id).unwrap().1.packets, passed.packets)
    };
    assert_eq!((rules.change(), counted(&rules)), (change, (4096, 4096)));
    assert_eq!(rules.way(&[(forward(), trail)]), 0);
    assert!(rules.change() != change);
    assert_eq!(counted(&rules), (4096, 4096));
}

proptest! {
    /// Two tables with the same rules, of which one remembers nothing, say and count the same, while rules and
    /// addresses come and go.
    #[test]
    fn the_memory_changes_nothing(
        edits in prop::collection::vec((any_rule(), any::<bool>(), any::<bool>()), 1..24),
        packets in prop::collection::vec(
            (0u8..4, 0u8..4, 0u32..4, 0u32..4, 79u16..83, 79u16..83, 0u8..8), 8..60),
    ) {
        let mut pair = [Ruleset::new(), Ruleset::new()];
        pair[1].remember_nothing();
        let mut ids: Vec<RuleId> = Vec::new();
        let [quick, slow] = &mut pair;
        let inner = quick.add_chain(Family::V4, Table::Filter, "INNER");
        prop_assert_eq!(slow.add_chain(Family::V4, Table::Filter, "INNER"), inner);
        for (at, ((matches, action), in_inner, goes)) in edits.into_iter().enumerate() {
            let action = match action {
                0 | 1 => Action::Accept,
                2 => Action::Drop(DropReason::Filtered),
                4 | 6 => Action::Return,
                7 | 8 if !in_inner => Action::Jump(inner),
                _ => Action::Accept,
            };
            let chain = if in_inner { inner } else { forward() };
            let id = quick.add(chain, 0, rule(matches, action));
            prop_assert_eq!(slow.add(chain, 0, rule(matches, action)), id);
            ids.extend(id);
            if goes && at % 3 == 0 {
                let gone = ids.remove(at % ids.len());
                prop_assert_eq!(quick.remove(gone), slow.remove(gone));
            }
            let own = at as u8 % 4;
            let locals = Locals {
                is_local: &|address| address == IpAddr::from([10, 0, 0, own]),
                change: (at % 5 != 0).then_some(u64::from(own)),
            };
            for &(source, destination, input, output, from, to, kind) in &packets {
                let mut packet = facts("10.0.0.0", "10.0.0.0");
                packet.source = IpAddr::from([10, 0, 0, source]);
                packet.destination = IpAddr::from([10, 0, 0, destination]);
                packet.ports = (kind > 0).then_some((from, to));
                packet.protocol = if kind % 2 == 0 { 6 } else { 17 };
                packet.input = (input < 3).then_some(IfId(input));
                packet.output = (output < 3).then_some(IfId(output));
                packet.bridged = kind % 3 == 0;
                packet.state = if kind < 4 { State::New } else { State::Established };
                let said = quick.ask(forward(), &packet, &locals);
                prop_assert_eq!(said, slow.ask(forward(), &packet, &locals));
                prop_assert_eq!(quick.last(), slow.last());
            }
        }
        for &id in &ids {
            prop_assert_eq!(quick.rule(id).unwrap().1, slow.rule(id).unwrap().1);
        }
        let passed = |rules: &Ruleset| rules.passed(rules.chain(forward()).unwrap());
        prop_assert_eq!(passed(quick), passed(slow));
    }
}
