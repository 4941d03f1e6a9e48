//! The express lane of routed packets changes nothing but the cost.

use proptest::collection::vec;
use proptest::prelude::*;
use switch::filter::{
    Action, ChainId, Family, IfMatch, Match, NetMatch, Rule, RuleId, States, Table,
};
use switch::verdict::{DropReason, Event, Verdict};
use switch::wire::{Packet, fill_header_checksum, fill_transport_checksum, pseudo_sum};
use switch::{IfId, Time};

use super::rig::{World, ip, net};
use crate::netns::hook::{Env, Netfilter, Outcome, Path};
use crate::netns::*;

/// A firewall without the lane.
#[derive(Debug)]
struct Slow(Netfilter);

impl Hooks for Slow {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn run_for(
        &mut self,
        now: Time,
        hook: Hook,
        bytes: &mut [u8],
        partial: bool,
        path: &Path,
        env: &dyn Env,
        frames: u32,
    ) -> Outcome {
        self.0.run_for(now, hook, bytes, partial, path, env, frames)
    }

    fn netfilter(&self) -> Option<&Netfilter> {
        Some(&self.0)
    }

    fn netfilter_mut(&mut self) -> Option<&mut Netfilter> {
        Some(&mut self.0)
    }
}

/// The client's side, and the server's.
const INSIDE: IfId = IfId(3);
const OUTSIDE: IfId = IfId(4);

fn rule(matches: Match, action: Action) -> Rule {
    Rule {
        matches,
        action,
        origin: "test".into(),
    }
}

fn chain(table: Table, hook: Hook) -> ChainId {
    ChainId::base(Family::V4, table, hook).unwrap()
}

/// Masquerade behind the router, a published port, and a filter that lets answers and the inside pass.
fn firewall() -> Netfilter {
    let mut nf = Netfilter::default();
    let forward = chain(Table::Filter, Hook::Forward);
    let inside = Some(NetMatch::inside(net("10.0.1.0/24")));
    nf.rules
        .set_policy(forward, Verdict::Drop(DropReason::Filtered));
    let mut add = |chain, matches, action| nf.rules.add(chain, 0, rule(matches, action)).unwrap();
    let out = Match {
        source: inside,
        output: IfMatch::Is(OUTSIDE),
        ..Match::default()
    };
    add(
        chain(Table::Nat, Hook::Postrouting),
        out,
        Action::Masquerade,
    );
    let published = Match {
        input: IfMatch::Is(OUTSIDE),
        destination_port: Some(80),
        destination_local: true,
        ..Match::default()
    };
    let dnat = Action::Dnat(ip("10.0.1.2"), Some(8080));
    add(chain(Table::Nat, Hook::Prerouting), published, dnat);
    let answers = Match {
        states: States::ANSWERS,
        ..Match::default()
    };
    add(forward, answers, Action::Accept);
    let known = Match {
        input: IfMatch::Is(INSIDE),
        ..Match::default()
    };
    add(forward, known, Action::Accept);
    let to_web = Match {
        destination_port: Some(8080),
        ..Match::default()
    };
    add(forward, to_web, Action::Accept);
    nf
}

fn world(slow: bool) -> World {
    let mut world = World::routed(1300);
    world.trace.listen(true);
    let nf = firewall();
    world.ns[1].netfilter = Some(if slow {
        Box::new(Slow(nf))
    } else {
        Box::new(nf)
    });
    world.udp(0, "0.0.0.0:8080");
    world.udp(0, "0.0.0.0:5000");
    world.udp(2, "0.0.0.0:53");
    world
}

#[derive(Clone, Copy, Debug)]
struct Step {
    what: u8,
    flow: u8,
    odd: u8,
    repeat: u8,
}

/// The bytes of a packet: one of few flows, mostly plain.
fn packet(step: Step) -> (IfId, Vec<u8>, bool) {
    // Connections from several ports: they begin alike.
    let caller = 6000 + u16::from(step.flow >> 3 & 3);
    let (iface, source, destination, ports) = match step.flow % 5 {
        0 => (INSIDE, [10, 0, 1, 2], [10, 0, 2, 2], (5000_u16, 53_u16)),
        1 => (OUTSIDE, [10, 0, 2, 2], [10, 0, 2, 1], (53, 5000)),
        2 => (OUTSIDE, [10, 0, 2, 2], [10, 0, 2, 1], (caller, 80)),
        3 => (INSIDE, [10, 0, 1, 2], [10, 0, 2, 2], (8080, caller)),
        _ => (OUTSIDE, [10, 0, 2, 2], [10, 0, 1, 2], (7000, 9)),
    };
    let tcp = step.flow & 0x40 != 0;
    let header = if tcp { 20 } else { 8 };
    let payload = if step.odd == 1 { 1290 } else { 22 };
    let mut bytes = vec![0; 20 + header + payload];
    let len = bytes.len() as u16;
    bytes[0] = 0x45;
    bytes[2..4].copy_from_slice(&len.to_be_bytes());
    bytes[4..6].copy_from_slice(&[step.repeat, step.odd]);
    bytes[6] = match step.odd {
        2 => 0x20,
        3 => 0,
        _ => 0x40,
    };
    bytes[8] = if step.odd == 4 { 1 } else { 64 };
    bytes[9] = if tcp { 6 } else { 17 };
    bytes[12..16].copy_from_slice(&source);
    bytes[16..20].copy_from_slice(&destination);
    bytes[20..22].copy_from_slice(&ports.0.to_be_bytes());
    bytes[22..24].copy_from_slice(&ports.1.to_be_bytes());
    if tcp {
        bytes[32] = 0x50;
        bytes[33] = [0x10, 0x10, 0x18, 0x02, 0x12, 0x11, 0x04, 0x10][usize::from(step.odd & 7)];
    } else {
        bytes[24..26].copy_from_slice(&(len - 20).to_be_bytes());
    }
    fill_header_checksum(&mut bytes);
    let packet = Packet::parse(&bytes).unwrap();
    let partial = step.odd == 5;
    let at = if tcp { 36 } else { 26 };
    if partial {
        let sum = pseudo_sum(
            packet.source,
            packet.destination,
            packet.protocol,
            header + payload,
        );
        bytes[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    } else if step.odd != 6 {
        fill_transport_checksum(&mut bytes, &packet);
    }
    (iface, bytes, partial)
}

fn arrive(world: &mut World, step: Step) {
    arrive_cut(world, step, usize::MAX);
}

/// The same of no more than the first `most` bytes of the frame.
fn arrive_cut(world: &mut World, step: Step, most: usize) {
    let (iface, bytes, partial) = packet(step);
    let to = world.ns[1].iface(iface).map_or([0; 6], |iface| iface.mac);
    let mut frame = [&to[..], &[2, 0, 0, 0, 0, 9], &[8, 0]].concat();
    frame.extend(bytes);
    frame.truncate(most);
    let frame = world.pool.from_bytes(&frame).unwrap();
    world.pool.meta_mut(&frame).csum_partial = partial;
    world.with(1, |ns, cx| ns.input(cx, iface, frame));
}

/// A frame of a flow that is known, cut off anywhere, dies as without the lane.
#[test]
fn what_is_cut_off_dies_by_the_same_name() {
    let step = Step {
        what: 2,
        flow: 0,
        odd: 0,
        repeat: 0,
    };
    let seen = [false, true].map(|slow| {
        let mut world = world(slow);
        for _ in 0..8 {
            arrive(&mut world, step);
        }
        let whole = packet(step).1.len() + 14;
        for most in (0..=whole).rev() {
            arrive_cut(&mut world, step, most);
        }
        let events = world.trace.take();
        let drops = format!("{:?}", world.trace.drops);
        world.end();
        (events, drops)
    });
    assert!(
        seen[0].1.contains("runcated") || seen[0].0.len() > 50,
        "{seen:?}"
    );
    assert_eq!(seen[0], seen[1]);
}

/// Something changes at the router.
fn change(world: &mut World, step: Step, added: &mut Option<RuleId>) {
    let router = &mut world.ns[1];
    // What is refused changes nothing.
    let _refused = match step.flow % 7 {
        0 => {
            let nf = router.firewall_mut().unwrap();
            if let Some(rule) = added.take() {
                nf.rules.remove(rule);
            } else {
                let matches = Match {
                    protocol: Some(17),
                    destination_port: Some(53),
                    ..Match::default()
                };
                let drop = rule(matches, Action::Drop(DropReason::FilteredIcc));
                let tables = [Table::Raw, Table::Filter];
                let (table, hook) = match step.odd & 1 {
                    0 => (tables[0], Hook::Prerouting),
                    _ => (tables[1], Hook::Forward),
                };
                *added = nf.rules.add(chain(table, hook), -1, drop);
            }
            Ok(())
        }
        1 => router.addr_add(OUTSIDE, net("10.0.2.7/24")),
        2 => router.addr_del(OUTSIDE, ip("10.0.2.7")),
        3 => router.iface_mtu(OUTSIDE, 1200 + 100 * u32::from(step.odd & 1)),
        4 => router.route_add(Route::through(net("10.0.2.2/32"), ip("10.0.1.2"), INSIDE)),
        5 => router.route_del(net("10.0.2.2/32"), None, None),
        _ => {
            router.set_forwarding(step.odd & 1 == 0);
            Ok(())
        }
    };
}

/// What one can see of a run.
#[derive(Debug, PartialEq)]
struct Seen {
    frames: Vec<((usize, IfId), Vec<u8>)>,
    events: Vec<Event>,
    drops: String,
    table: Vec<String>,
    rules: String,
}

fn play(steps: &[Step], slow: bool) -> (Seen, usize) {
    let mut world = world(slow);
    let mut added = None;
    let mut lanes = 0;
    for &step in steps {
        match step.what % 16 {
            0 => change(&mut world, step, &mut added),
            1 => {
                let span = [1, 1000, 31_000, 130_000][usize::from(step.odd & 3)];
                let to = world.now + core::time::Duration::from_millis(span);
                world.advance(to);
            }
            _ => (0..=step.repeat % 8).for_each(|repeat| {
                arrive(&mut world, Step { repeat, ..step });
            }),
        }
        lanes = lanes.max(world.ns[1].firewall().unwrap().flows());
    }
    let now = world.now;
    let events = world.trace.take();
    let drops = format!("{:?}", world.trace.drops);
    let nf = world.ns[1].firewall().unwrap();
    let list = nf.conntrack.list(now);
    let table = list.iter().map(|c| c.line(now).to_string()).collect();
    let names = |id: IfId| format!("if{}", id.0);
    let rules = [Table::Raw, Table::Nat, Table::Filter]
        .map(|table| nf.rules.list(Family::V4, table, true, &names))
        .concat();
    let frames = core::mem::take(&mut world.seen);
    world.end();
    let seen = Seen {
        frames,
        events,
        drops,
        table,
        rules,
    };
    (seen, lanes)
}

fn step() -> impl Strategy<Value = Step> {
    (any::<u8>(), any::<u8>(), 0_u8..24, any::<u8>()).prop_map(|(what, flow, odd, repeat)| Step {
        what,
        flow,
        odd,
        repeat,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_lane_changes_nothing(steps in vec(step(), 1..60)) {
        prop_assert_eq!(play(&steps, false).0, play(&steps, true).0);
    }
}

#[test]
fn flows_that_go_on_have_a_lane() {
    let steps = |flow| Step {
        what: 2,
        flow,
        odd: 0,
        repeat: 3,
    };
    let there_and_back = [0, 1, 0, 1, 2, 3, 2, 3].map(steps);
    let (fast, lanes) = play(&there_and_back, false);
    let (slow, none) = play(&there_and_back, true);
    assert_eq!((lanes, none), (4, 0));
    assert_eq!(fast, slow);
}
