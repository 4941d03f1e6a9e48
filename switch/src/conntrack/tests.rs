//! The table alone: who is found, who gives way, what is left behind.

use core::net::IpAddr;
use core::time::Duration;

use proptest::prelude::*;

use super::tuple::{TCP, UDP};
use super::*;
use crate::rng::Rng;

fn flow(port: u16) -> Flow {
    Flow {
        tuple: Tuple {
            source: IpAddr::from([10, 0, 0, 1]),
            destination: IpAddr::from([10, 0, 0, 2]),
            protocol: UDP,
            source_port: port,
            destination_port: 53,
        },
        flags: 0,
    }
}

fn table(connections: usize) -> Conntrack {
    Conntrack::new(Limits { connections })
}

fn connect(table: &mut Conntrack, now: Time, port: u16) -> Result<ConnRef, DropReason> {
    let at = table.create(now, &flow(port))?.expect("UDP may start");
    table.confirm(now, at)?;
    Ok(at)
}

#[test]
fn both_directions_are_found() {
    let mut table = table(10);
    let at = connect(&mut table, Time::ZERO, 1).unwrap();
    let tuple = flow(1).tuple;
    let found = table.find(Time::ZERO, &tuple);
    assert_eq!(found, Some((at, Direction::Original)));
    let found = table.find(Time::ZERO, &tuple.inverted());
    assert_eq!(found, Some((at, Direction::Reply)));
}

#[test]
fn an_unconfirmed_connection_is_known_to_its_packet_alone() {
    let mut table = table(10);
    let at = table.create(Time::ZERO, &flow(1)).unwrap().unwrap();
    assert_eq!(table.find(Time::ZERO, &flow(1).tuple), None);
    let found = table.find_translated(Time::ZERO, &flow(1).tuple);
    assert_eq!(found, Some((at, Direction::Original)));
    assert!(table.is_empty());
}

#[test]
fn unconfirmed_connections_are_bounded() {
    let mut table = table(10);
    for port in 1..=1000 {
        table.create(Time::ZERO, &flow(port)).unwrap().unwrap();
    }
    assert!(table.in_flight.len() <= IN_FLIGHT);
    assert!(table.slots.len() <= IN_FLIGHT + 1);
}

#[test]
fn a_tuple_that_is_its_own_answer() {
    let mut table = table(10);
    let mut odd = flow(53);
    odd.tuple.destination = odd.tuple.source;
    assert_eq!(odd.tuple, odd.tuple.inverted());
    let at = table.create(Time::ZERO, &odd).unwrap().unwrap();
    table.confirm(Time::ZERO, at).unwrap();
    let found = table.find(Time::ZERO, &odd.tuple);
    assert_eq!(found, Some((at, Direction::Original)));
    table.remove(at);
    assert_eq!(table.find(Time::ZERO, &odd.tuple), None);
}

#[test]
fn a_stale_reference_finds_nothing() {
    let mut table = table(10);
    let old = connect(&mut table, Time::ZERO, 1).unwrap();
    table.remove(old);
    let new = connect(&mut table, Time::ZERO, 2).unwrap();
    assert_eq!(old.slot, new.slot);
    assert!(table.conn(old).is_none() && table.conn(new).is_some());
    table.remove(old);
    assert_eq!(table.len(), 1);
}

#[test]
fn the_dead_are_cleared_away_by_the_new() {
    let mut table = table(1000);
    for port in 1..=100 {
        connect(&mut table, Time::ZERO, port).unwrap();
    }
    let later = Time::from_secs(30);
    for port in 101..=151 {
        connect(&mut table, later, port).unwrap();
    }
    assert_eq!(table.len(), 51);
}

#[test]
fn a_table_without_room() {
    let mut table = table(0);
    let result = table.create(Time::ZERO, &flow(1));
    assert_eq!(result, Err(DropReason::ConntrackFull));
}

#[test]
fn what_cannot_start_a_connection() {
    let mut table = table(10);
    let mut reset = flow(1);
    reset.tuple.protocol = TCP;
    reset.flags = 0x04;
    assert_eq!(table.create(Time::ZERO, &reset), Ok(None));
    let mut answer = flow(1);
    answer.tuple.protocol = tuple::ICMP;
    answer.tuple.destination_port = 0;
    assert_eq!(table.create(Time::ZERO, &answer), Ok(None));
}

/// All indices agree with the connections that there are.
fn consistent(table: &Conntrack) {
    let held: Vec<&Conn> = table
        .slots
        .iter()
        .filter_map(|slot| slot.conn.as_ref())
        .collect();
    let confirmed = held.iter().filter(|conn| conn.confirmed).count();
    assert_eq!(confirmed, table.confirmed);
    let places = table.timers.places();
    let saying = places.iter().filter(|&&place| says(&table.slots, place));
    assert_eq!(saying.count(), confirmed);
    let unlike = held
        .iter()
        .filter(|conn| conn.confirmed && !conn.is_its_inverse());
    assert_eq!(table.unlike, unlike.count());
    let shared = |conn: &&Conn| conn.confirmed && conn.reply() == conn.original().inverted();
    assert_eq!(
        table.index.len(),
        2 * confirmed - held.iter().filter(|conn| shared(conn)).count()
    );
    let unassured = held.iter().filter(|conn| conn.confirmed && !conn.assured);
    assert_eq!(table.unassured.len(), unassured.count());
    for conn in held.iter().filter(|conn| conn.confirmed) {
        let slot = table.index.of(&table.slots, &conn.original()).unwrap().0;
        assert!(conn.queued <= conn.expires);
        assert!(places.contains(&(conn.queued, slot)));
        assert!(table.index.of(&table.slots, &conn.original()).is_some());
        assert!(table.index.of(&table.slots, &conn.reply()).is_some());
    }
    assert_eq!(table.slots.len(), held.len() + table.free.len());
}

proptest! {
    #[test]
    fn never_above_its_bound_and_always_consistent(
        steps in prop::collection::vec((0u8..5, 1u16..40, 0u64..40), 1..400),
        limit in 1usize..20,
    ) {
        let mut table = table(limit);
        let mut now = Time::ZERO;
        for (step, port, wait) in steps {
            match step {
                0 | 1 => {
                    let tuple = flow(port).tuple;
                    if let Some((at, direction)) = table.find(now, &tuple) {
                        table.conn_mut(at).unwrap().advance(now, direction, 0);
                        table.settle(at);
                    } else {
                        let _ = connect(&mut table, now, port);
                    }
                }
                2 => {
                    if let Some((at, direction)) = table.find(now, &flow(port).tuple.inverted()) {
                        table.conn_mut(at).unwrap().advance(now, direction, 0);
                        table.settle(at);
                    }
                }
                3 => now += Duration::from_secs(wait),
                _ => {
                    if let Some((at, _)) = table.find(now, &flow(port).tuple) {
                        table.remove(at);
                    }
                }
            }
            prop_assert!(table.len() <= limit);
            consistent(&table);
        }
    }
}

/// Connections of TCP and UDP in whatever state: each new one clears away two of those that have run out, whichever
/// those are, and no other.
#[test]
fn as_many_of_the_dead_go_as_a_plain_count_says() {
    let mut rng = Rng::new(5);
    let mut table = table(300);
    let (mut now, mut most) = (Time::ZERO, 0);
    for step in 0..60_000_u32 {
        now += Duration::from_millis(
            rng.below(if step % 10_000 < 8_000 { 300 } else { 9_000 })
                .into(),
        );
        let mut flow = flow(1 + rng.below(400) as u16);
        if rng.below(3) > 0 {
            flow.tuple.protocol = TCP;
            flow.flags = [0x02, 0x12, 0x10, 0x11, 0x04][rng.below(5) as usize];
        }
        let there = rng.below(2) == 0;
        let asked = if there {
            flow.tuple
        } else {
            flow.tuple.inverted()
        };
        if let Some((at, direction)) = table.find(now, &asked) {
            let conn = table.conn_mut(at).unwrap();
            let was_assured = conn.assured;
            match conn.advance(now, direction, flow.flags) {
                Advance::Reopen => table.remove(at),
                _ if conn.is_misplaced() || conn.assured != was_assured => table.settle(at),
                _ => {}
            }
        } else if there {
            let dead = table.len() - table.list(now).len();
            most = most.max(dead);
            let (live, is_full) = (table.len() - dead, table.len() - dead == 300);
            if let Ok(Some(at)) = table.create(now, &flow) {
                table.confirm(now, at).unwrap();
                let left = if is_full {
                    0
                } else {
                    dead.saturating_sub(SWEEP)
                };
                assert_eq!(table.len() - table.list(now).len(), left, "at {step}");
                assert_eq!(table.list(now).len(), live + 1 - usize::from(is_full));
            }
        }
        if step % 64 == 0 {
            consistent(&table);
        }
        if step % 1_000 == 0 {
            let before = format!("{:?}", table.list(now));
            table.shrink();
            consistent(&table);
            assert_eq!(format!("{:?}", table.list(now)), before);
        }
    }
    assert!(
        most > 20 && table.next_number > 5_000,
        "{most} {}",
        table.next_number
    );
}

/// The connection of this number, from an address of its own; one in three has its source translated.
fn numbered(table: &mut Conntrack, now: Time, number: u32) -> (Tuple, ConnRef) {
    let mut flow = flow(1000);
    flow.tuple.source = IpAddr::from((0x0a01_0000 + number).to_be_bytes());
    let at = table.create(now, &flow).unwrap().unwrap();
    if number.is_multiple_of(3) {
        let conn = table.conn_mut(at).unwrap();
        let mut reply = conn.reply();
        (reply.destination, reply.destination_port) =
            ([192, 0, 2, 2 + (number >> 16) as u8].into(), number as u16);
        conn.set_reply(reply);
        conn.source_nat = true;
    }
    table.confirm(now, at).unwrap();
    (flow.tuple, at)
}

/// Many come and run out; when new ones have cleared them away, the table is as small as those are few, and they are found.
#[test]
fn a_table_that_few_are_left_in_gives_its_memory_back() {
    const MANY: u32 = 100_000;
    let mut table = Conntrack::new(Limits::default());
    let (_, old) = numbered(&mut table, Time::ZERO, 0);
    for number in 1..MANY {
        numbered(&mut table, Time::ZERO, number);
    }
    let full = table.slots.capacity();
    assert!(full >= MANY as usize);
    // Each one after the other has run out.
    let after = |number: u32| Time::from_secs(60) + Duration::from_millis(u64::from(3 * number));
    let mut last = Vec::new();
    for number in MANY..2 * MANY {
        last.push((number, numbered(&mut table, after(number), number)));
    }
    let now = after(2 * MANY - 1);
    let live = table.list(now).len();
    assert!((10_000..10_010).contains(&live), "{live} in 30 seconds");
    consistent(&table);
    assert!(table.slots.len() < SPARSE * live && table.slots.capacity() < full);
    for (number, (tuple, at)) in last.split_off(last.len() - live) {
        let found = table.find(now, &tuple);
        assert!(found.is_some_and(|(_, direction)| direction == Direction::Original));
        let (found, _) = found.unwrap();
        // Who knew it before the table was made smaller looks again.
        assert!(table.conn(at).is_none_or(|_| at == found));
        let by_source = table.by_source(now, &tuple).map(Conn::original);
        assert_eq!(by_source, number.is_multiple_of(3).then_some(tuple));
    }
    assert!(table.conn(old).is_none());
}

/// What is looked at of one that stands there: all but this.
#[test]
fn a_line_is_enough_for_those_that_only_stand() {
    assert_eq!(size_of::<Slot>(), 128);
    let conn = core::mem::offset_of!(Slot, conn);
    assert_eq!(conn + Conn::FIRST_LINE, 64);
}
