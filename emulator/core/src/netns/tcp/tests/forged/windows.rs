//! Windows that close and open, and smoltcp's timer.

use super::*;

/// What is owed goes with data that is about to leave, and alone if the window closes before it does.
#[test]
fn a_window_that_closes_before_anything_is_sent_loses_no_acknowledgement() {
    let data = Step::Data {
        len: 500,
        point: Point::First(0),
        field: Field::Same,
        gap: 0,
    };
    // A stream, and a message.
    for len in [5_000, 500] {
        let send = Step::Send { len, times: 1 };
        let closed = Step::Ack(Point::First(0), Field::Is(0));
        let steps = [data, Step::Read(500), send, closed, Step::Flush];
        same(&KIND, &steps);
        let (seen, _) = played(&KIND, &steps, false);
        let acks = seen.log.iter().filter(|sent| sent.segment.ack == 77_501);
        let first = acks.map(|sent| sent.at).min().unwrap();
        assert!(first <= Time::from_millis(200), "acknowledged at {first}");
    }
}

/// smoltcp goes on to ask for a window that was closed before what it sent last was acknowledged.
#[test]
fn a_closed_window_is_not_asked_for_without_data() {
    let ack = |by, field| Step::Ack(Point::Last(by), Field::Is(field));
    let steps = [
        Step::Send {
            len: 5_000,
            times: 1,
        },
        Step::Flush,
        ack(1_000, 0),
        ack(0, 0),
        Step::Flush,
    ];
    for long in [false, true] {
        let mut play = Play::new(&KIND, long);
        let mut seen = Seen::default();
        for step in steps {
            play.step(step, &mut seen);
        }
        let sent = play.rig.log.len();
        play.rig.run_for(Duration::from_secs(10));
        assert_eq!(play.rig.log[sent..], [], "long: {long}");
    }
    same(&KIND, &steps);
    let data = Step::Data {
        len: 1,
        point: Point::Share(1000),
        field: Field::Same,
        gap: 0,
    };
    same(&KIND, &[&steps[..3], &[data]].concat());
}

/// smoltcp stops its timer when the window closes and opens in front of what it has sent.
#[test]
fn a_window_that_closes_in_front_of_bytes_of_smoltcp_stops_its_timer() {
    let kind = Kind {
        shift: None,
        ..KIND
    };
    let send = |len| Step::Send { len, times: 1 };
    let ack = |share, field| Step::Ack(Point::Share(share), Field::Is(field));
    let steps = [
        send(4_000),
        Step::Flush,
        send(4_096),
        ack(25, 0),
        ack(0, 1),
        ack(26, 1),
        Step::Odd(24, false),
    ];
    for len in 0..=steps.len() {
        same(&kind, &steps[..len]);
    }
    let steps = [
        send(4_096),
        ack(25, 0),
        ack(0, 1),
        ack(26, 1),
        Step::Odd(24, false),
    ];
    same(&kind, &steps);
}

/// smoltcp would ask for a window for ever, and at one moment, if our FIN were acknowledged while it does.
#[test]
fn a_window_that_is_closed_when_our_fin_is_acknowledged_is_not_asked_for() {
    let kind = Kind {
        shift: None,
        send_buffer: 16 * 1024,
        ..KIND
    };
    let closed = |share| Step::Ack(Point::Share(share), Field::Is(0));
    let steps = [
        Step::Send { len: 40, times: 2 },
        Step::Flush,
        Step::Shut,
        Step::Flush,
        closed(25),
        closed(1000),
    ];
    same(&kind, &steps);
    let (seen, _) = played(&kind, &steps, false);
    let late = seen.log.iter().filter(|sent| sent.at > Time::ZERO);
    assert!(late.map(|sent| sent.segment.flags).eq([RST | ACK]));
    assert_eq!(seen.listed.last().unwrap()[0].state, TcpState::FinWait2);
}

/// Or if all before our FIN were acknowledged first, and then that.
#[test]
fn a_window_that_stays_closed_when_our_fin_is_acknowledged_is_not_asked_for() {
    let kind = Kind {
        shift: None,
        send_buffer: 16 * 1024,
        ..KIND
    };
    let closed = |point| Step::Ack(point, Field::Is(0));
    let steps = [
        Step::Send { len: 40, times: 2 },
        Step::Flush,
        Step::Shut,
        Step::Flush,
        closed(Point::Last(2)),
        closed(Point::Last(1)),
        closed(Point::Last(0)),
    ];
    same(&kind, &steps);
    let (seen, _) = played(&kind, &steps, false);
    let late = seen.log.iter().filter(|sent| sent.at > Time::ZERO);
    assert!(late.map(|sent| sent.segment.flags).eq([RST | ACK]));
    assert_eq!(seen.listed.last().unwrap()[0].state, TcpState::FinWait2);
}

/// A window that closed and opened stops smoltcp's timer, and what is sent long after that starts it.
#[test]
fn a_stream_goes_on_long_after_its_timer_was_stopped() {
    let kind = Kind {
        offload: false,
        shift: Some(2),
        send_buffer: 16 * 1024,
        ..KIND
    };
    let ack = |point, field| Step::Ack(point, Field::Is(field));
    let send = Step::Send {
        len: 4_096,
        times: 1,
    };
    let steps = [
        send,
        Step::Odd(24, false),
        Step::Ack(Point::Share(1000), Field::Same),
        Step::Flush,
        ack(Point::Share(1), 0),
        ack(Point::Share(0), u16::MAX),
        Step::Mute(1_000_000),
        send,
    ];
    same(&kind, &steps);
}

/// The rest of what a window cut in two is sent later than the first part of it.
#[test]
fn a_part_that_is_sent_later_has_its_own_time() {
    let kind = Kind {
        offload: false,
        shift: None,
        send_buffer: 16 * 1024,
        ..KIND
    };
    let ack = |point, field| Step::Ack(point, Field::Is(field));
    let steps = [
        Step::NoDelay(true),
        ack(Point::Share(1000), 2_000),
        Step::Send {
            len: 4_096,
            times: 1,
        },
        Step::Flush,
        ack(Point::First(1), 0),
        ack(Point::Share(0), 1),
        Step::Wait(50_000),
        ack(Point::Share(0), 2_500),
        Step::Mute(970_000),
        Step::Odd(ACK, true),
    ];
    for len in 0..=steps.len() {
        same(&kind, &steps[..len]);
    }
}

/// smoltcp's timer, which closing stopped, is not started again by an acknowledgement of a part.
#[test]
fn a_reset_behind_a_window_that_opened_byte_by_byte_has_its_number() {
    let kind = Kind {
        offload: false,
        shift: None,
        send_buffer: 16_301,
        express: true,
        seed: 170_549,
        ..KIND
    };
    let send = |times| Step::Send { len: 4096, times };
    let ack = |point, field| Step::Ack(point, Field::Is(field));
    let steps = [
        send(1),
        send(1),
        send(1),
        send(1),
        Step::Odd(24, false),
        send(1),
        ack(Point::Last(0), 65_535),
        Step::Flush,
        ack(Point::Share(1), 0),
        ack(Point::Share(0), 1),
        ack(Point::Share(1), 1),
    ];
    assert!(same(&kind, &steps) > 4);
}

/// Sent behind data that a window closed in front of, it is no longer in smoltcp's mind when that opens again.
#[test]
fn a_fin_that_was_lost_while_the_window_closed_is_sent_again() {
    let ack = |point, field| Step::Ack(point, Field::Is(field));
    let steps = [
        Step::Ack(Point::Share(1000), Field::Same),
        Step::Send {
            len: 5_000,
            times: 1,
        },
        Step::Flush,
        Step::Shut,
        Step::Flush,
        ack(Point::Last(24), 0),
        Step::Wait(5_000),
        ack(Point::Last(1), 500),
    ];
    same(&KIND, &steps);
    let (seen, _) = played(&KIND, &steps, false);
    let fins = seen.log.iter().filter(|sent| sent.segment.has(FIN));
    let fins: Vec<_> = fins.map(|sent| (sent.at, sent.segment.end())).collect();
    let at = |millis| (Time::from_millis(millis), fins[0].1);
    assert_eq!(fins, [0, 1_005, 3_005, 7_005, 15_005].map(at));
}

/// As are data, by the third answer to what asks for them.
#[test]
fn data_that_were_lost_while_the_window_closed_are_sent_again() {
    let steps = [
        Step::Ack(Point::Share(1000), Field::Same),
        Step::Send {
            len: 5_000,
            times: 1,
        },
        Step::Flush,
        Step::Ack(Point::Last(24), Field::Is(0)),
        Step::Ack(Point::Share(0), Field::Is(500)),
        Step::Again(3),
    ];
    same(&KIND, &steps);
    let (seen, _) = played(&KIND, &steps, false);
    let again = seen.log.iter().filter(|sent| sent.segment.payload == 24);
    assert_eq!(again.map(|sent| sent.at).next(), Some(Time::ZERO));
}
