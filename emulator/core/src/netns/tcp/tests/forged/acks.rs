//! Acknowledgements of bytes that are smoltcp's, and of what was not sent.

use super::*;

/// The first byte's acknowledgement is no repeat of the one before.
#[test]
fn an_acknowledgement_of_one_byte_of_smoltcp_is_not_counted_as_a_repeat() {
    let send = |len| Step::Send { len, times: 1 };
    let one = Step::Ack(Point::First(1), Field::Is(u16::MAX));
    let steps = [send(4_000), Step::Flush, send(5_000), Step::Flush, one];
    let mut play = Play::new(&KIND, false);
    let mut seen = Seen::default();
    for step in &steps[..4] {
        play.step(*step, &mut seen);
    }
    let before = play.engine().repeats();
    assert!(play.rig.tcp(A).queues_frames(play.id));
    play.step(one, &mut seen);
    assert!(play.rig.tcp(A).queues_frames(play.id));
    assert_eq!(play.engine().repeats(), before);
    for count in 0..4 {
        let again = Step::Again(count);
        same(
            &KIND,
            &[&steps[..], &[again, one, Step::Flush, again]].concat(),
        );
    }
}

/// smoltcp, which has sent the first bytes, has not heard of the window that the others were sent into.
#[test]
fn an_acknowledgement_of_one_byte_of_smoltcp_comes_after_a_window_that_grew() {
    let kind = Kind {
        offload: false,
        shift: None,
        ..KIND
    };
    let send = |len, times| Step::Send { len, times };
    let steps = [
        Step::Ack(Point::Share(1000), Field::Is(7)),
        send(4_000, 1),
        Step::Flush,
        Step::Ack(Point::First(1), Field::Is(1)),
        send(21_900, 2),
        Step::Ack(Point::Share(0), Field::Is(u16::MAX)),
        Step::Flush,
        Step::Ack(Point::First(1), Field::Is(1)),
        send(4_096, 1),
    ];
    for len in 0..=steps.len() {
        same(&kind, &steps[..len]);
    }
    let steps = [
        Step::Ack(Point::Share(850), Field::Is(1)),
        send(21_900, 2),
        Step::Ack(Point::Share(0), Field::Is(u16::MAX)),
        Step::Flush,
        Step::Ack(Point::First(1), Field::Is(1)),
        send(4_096, 1),
    ];
    same(&kind, &steps);
}

/// Each of them lets smoltcp send one byte more.
#[test]
fn bytes_of_smoltcp_are_acknowledged_one_by_one() {
    let kind = Kind {
        offload: false,
        shift: None,
        ..KIND
    };
    let one = |field| Step::Ack(Point::First(1), Field::Is(field));
    let send = Step::Send {
        len: 32_755,
        times: 2,
    };
    let steps = [send, one(u16::MAX), Step::NoDelay(true), Step::Flush];
    for count in 1..5 {
        for field in [1, u16::MAX] {
            let ones = vec![one(field); count];
            same(&kind, &[&steps[..], &ones, &[Step::Again(1)]].concat());
        }
    }
}

/// Whichever way its segment comes, and whatever waits to be sent.
#[test]
fn an_acknowledgement_of_what_was_not_sent_is_not_believed() {
    let future = |by| Step::Ack(Point::Future(by), Field::Is(u16::MAX));
    for express in [false, true] {
        let kind = Kind { express, ..KIND };
        for (len, by) in [(100, 50), (100, 101), (5_000, 1), (5_000, 5_000)] {
            let steps = [
                Step::Ack(Point::Share(0), Field::Is(0)),
                Step::Send { len, times: 1 },
                future(by),
                Step::Shut,
                future(len as u32 + 1),
            ];
            for count in 3..=steps.len() {
                same(&kind, &steps[..count]);
                let (seen, _) = played(&kind, &steps[..count], false);
                let last = seen.listed.last().unwrap()[0];
                assert_eq!(last.send_queue, len, "{last:?}");
                let answers = seen.log.iter().filter(|sent| sent.at == Time::ZERO);
                let answers = answers.filter(|sent| sent.segment.payload == 0).count();
                // After SYN and the SYN-ACK's acknowledgement.
                assert_eq!(answers, 3);
            }
        }
    }
}

/// RFC 9293 §3.10.7.4: a segment that is not in the window is answered, and nothing in it is taken in.
#[test]
fn an_acknowledgement_in_a_segment_out_of_the_window_is_not_believed() {
    for express in [false, true] {
        for (flags, len, gap) in [(ACK, 0, -1), (ACK | FIN, 0, -1), (ACK | PSH, 5, -5)] {
            let kind = Kind { express, ..KIND };
            let steps = [
                Step::Ack(Point::Share(1000), Field::Same),
                Step::Send {
                    len: 5_000,
                    times: 1,
                },
                Step::Flush,
                Step::Event {
                    flags,
                    len,
                    point: Point::Share(1000),
                    gap,
                },
                Step::Ack(Point::Last(1_000), Field::Same),
            ];
            same(&kind, &steps);
            for (long, len) in [(false, 0), (false, 1), (true, 0), (true, 1)] {
                let mut play = Play::new(&kind, long);
                for step in &steps[..4] {
                    play.step(*step, &mut Seen::default());
                }
                assert_eq!(play.rig.tcp(A).sockets()[0].send_queue, 5_000);
                // Less than the one before, but new.
                play.give(ACK, 0, play.sent().wrapping_sub(1_000), &[], len);
                assert_eq!(play.rig.tcp(A).sockets()[0].send_queue, 1_000);
            }
        }
    }
}
