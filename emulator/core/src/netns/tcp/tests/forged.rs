//! Streams whose other side says anything, written into frames beside the same through smoltcp's buffer.
//!
//! The other side is no end of ours: each of its segments is made up here.

mod acks;
mod play;
mod steps;
mod windows;

use proptest::collection::vec;
use proptest::prelude::*;
use switch::wire;

use self::play::{Play, Seen, played};
use self::steps::{Field, Kind, Point, Step, WRAPS, kind, step};
use super::*;
use crate::app::SockOpt;
use crate::netns::tcp::engine::{TcpEngine, TcpState};
use crate::netns::tcp::express::Refusal;
use crate::netns::tcp::machine::Machine;
use crate::netns::tcp::paths::Shared;
use crate::netns::tcp::plain::{Between, Ends, EndsV6};
use crate::netns::tcp::segment::{ACK, FIN, PSH, RST, SYN, write_checksum};
use crate::netns::tcp::smol::Smol;
use crate::netns::tcp::{IcmpKind, TcpSocket};

/// Compares both ways; after how many steps frames were queued.
fn same(kind: &Kind, steps: &[Step]) -> usize {
    let ((queued, count), (through, none)) =
        (played(kind, steps, false), played(kind, steps, true));
    assert_eq!(none, 0);
    for (ours, theirs) in queued.log.iter().zip(&through.log) {
        assert_eq!(ours, theirs);
    }
    assert_eq!(queued, through);
    count
}

const KIND: Kind = Kind {
    offload: true,
    mtu: 1500,
    mss: 1460,
    shift: Some(0),
    send_buffer: 256 * 1024,
    express: false,
    v6: false,
    seed: WRAPS,
};

/// Or a peer could have all of a long buffer copied with each segment.
#[test]
fn to_end_costs_what_was_written_however_far_along_the_buffer_is() {
    let kind = Kind {
        shift: Some(7),
        send_buffer: 4 << 20,
        ..KIND
    };
    let send = |len| Step::Send { len, times: 1 };
    let all_but_one = Step::Ack(Point::Last(1), Field::Is(u16::MAX));
    let round = [send(65_536), Step::Flush, all_but_one];
    let mut play = Play::new(&kind, false);
    let mut seen = Seen::default();
    for step in round.iter().cycle().take(3 * 48) {
        play.step(*step, &mut seen);
        assert!(play.rig.tcp(A).queues_frames(play.id));
    }
    let (before, queued) = (play.engine().copied, play.engine().send_queue());
    play.step(Step::Odd(ACK, true), &mut seen);
    assert!(!play.rig.tcp(A).queues_frames(play.id));
    assert_eq!(play.engine().copied - before, queued);
}

/// A message was sent whole, whatever the path carries since.
#[test]
fn a_path_may_become_narrow_while_a_message_is_under_way() {
    let send = Step::Send {
        len: 1_148,
        times: 1,
    };
    let kind = Kind {
        offload: false,
        ..KIND
    };
    let all = Step::Ack(Point::Share(1000), Field::Same);
    same(
        &kind,
        &[all, send, Step::Flush, Step::Narrow(500), Step::Flush],
    );
}

/// What a narrower path has sent again at once is no round trip, whatever those before took.
#[test]
fn a_narrower_path_leaves_the_timeout_as_it_was() {
    let all = |field| Step::Ack(Point::Share(1000), field);
    let send = |len, times| Step::Send { len, times };
    let steps = [
        send(300_000, 1),
        Step::Wait(1_000),
        all(Field::Is(3)),
        Step::Flush,
        Step::Creep(1, 1),
        Step::Narrow(0),
        all(Field::Same),
        send(4_096, 2),
    ];
    let kind = Kind {
        shift: None,
        ..KIND
    };
    same(&kind, &steps);
    let (seen, _) = played(&kind, &steps, false);
    let last = seen.log.iter().rev();
    let again = last.filter(|sent| sent.at < Time::from_millis(2_000));
    let again = again.map(|sent| sent.at).next();
    assert_eq!(again, Some(Time::from_millis(1_001)));
}

/// One that is not believed is answered, and nothing in it is looked at.
#[test]
fn a_reset_that_opens_a_connection_changes_nothing_of_how_it_was_opened() {
    let kind = Kind {
        shift: Some(1),
        send_buffer: 16 * 1024,
        ..KIND
    };
    let send = |times| Step::Send { len: 4_096, times };
    for gap in [-1, 1] {
        let steps = [
            send(1),
            Step::Flush,
            Step::Ack(Point::Share(1000), Field::Is(1)),
            Step::Event {
                flags: SYN | RST,
                len: 0,
                point: Point::Share(1000),
                gap,
            },
            send(2),
        ];
        same(&kind, &steps);
    }
}

/// Or the comparison would compare nothing.
#[test]
fn numbers_wrap_while_frames_are_queued() {
    let send = Step::Send {
        len: 60_000,
        times: 1,
    };
    let play = Play::new(&KIND, false);
    let conn = play.rig.ends[A].tcp.slots.conn(play.id).unwrap();
    let next = conn.marks.sent.wrapping_sub(conn.marks.shift.unwrap());
    assert!((1..60_000).contains(&next.wrapping_neg()), "{next}");
    let half = Step::Ack(Point::Share(500), Field::Same);
    let steps = [
        send,
        Step::Flush,
        half,
        send,
        Step::Flush,
        half,
        half,
        Step::Again(4),
        Step::Flush,
    ];
    assert!(same(&KIND, &steps) > 4);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn what_is_sent_is_the_same(kind in kind(), steps in vec(step(), 1..40)) {
        let (queued, through) = (played(&kind, &steps, false).0, played(&kind, &steps, true).0);
        for (ours, theirs) in queued.log.iter().zip(&through.log) {
            prop_assert_eq!(ours, theirs);
        }
        prop_assert_eq!(queued.log.len(), through.log.len());
        prop_assert_eq!(queued.calls, through.calls);
        prop_assert_eq!(queued.listed, through.listed);
        prop_assert!(queued.got == through.got);
    }
}
