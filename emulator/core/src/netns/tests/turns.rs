//! Questions and answers of any length, some of more than a segment, fare as they would through smoltcp.

use proptest::collection::vec;
use proptest::prelude::*;

use super::change::{Change, change};
use super::rig::World;
use super::sides::{Side, Step, assert_alike, frames_held, of};
use crate::id::SockId;
use crate::netns::tcp::RECV_BUFFER;
use crate::netns::*;

/// One side asks so often, and the other answers when it has read that.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turns {
    pub(super) asker: usize,
    pub(super) times: usize,
    /// Bytes of a question, and of the one or two writes of an answer.
    pub(super) asked: usize,
    pub(super) answered: [usize; 2],
    /// The second of these is given after the first was sent.
    pub(super) apart: bool,
    /// Bytes that are read at once.
    pub(super) most: usize,
}

impl Turns {
    pub(super) fn take(
        &self,
        world: &mut World,
        socks: [SockId; 2],
        results: &mut Vec<Result<usize, Errno>>,
        got: &mut Vec<u8>,
    ) {
        let (asker, other) = (self.asker, 1 - self.asker);
        self.write(world, (asker, socks), &[self.asked], results);
        self.read(world, (other, socks), results, got);
        match self.apart {
            true => {
                for len in self.answered {
                    self.write(world, (other, socks), &[len], results);
                }
            }
            false => self.write(world, (other, socks), &self.answered, results),
        }
        self.read(world, (asker, socks), results, got);
    }

    fn write(
        &self,
        world: &mut World,
        (from, socks): (usize, [SockId; 2]),
        lens: &[usize],
        results: &mut Vec<Result<usize, Errno>>,
    ) {
        world.with(from, |ns, cx| {
            for &len in lens.iter().filter(|len| **len > 0) {
                let data: Vec<u8> = (0..len).map(|at| (at * 7 + len) as u8).collect();
                results.push(ns.send(cx, socks[from], &data));
            }
        });
    }

    fn read(
        &self,
        world: &mut World,
        (at, socks): (usize, [SockId; 2]),
        results: &mut Vec<Result<usize, Errno>>,
        got: &mut Vec<u8>,
    ) {
        let mut heard = vec![0; self.most];
        let count = world.with(at, |ns, cx| ns.recv(cx, socks[at], &mut heard));
        got.extend(&heard[..count.unwrap_or(0)]);
        results.push(count);
    }
}

fn turns() -> impl Strategy<Value = Step> {
    let len = || {
        prop_oneof![
            3 => 1_usize..700,
            2 => 1_usize..6_000,
            2 => 1_400_usize..1_500,
            3 => 1_usize..70_000,
        ]
    };
    let second = prop_oneof![2 => Just(0_usize), 1 => len()];
    let most = prop_oneof![5 => Just(200_000_usize), 1 => 1_usize..20_000];
    let all = (
        0_usize..2,
        1_usize..7,
        len(),
        len(),
        second,
        any::<bool>(),
        most,
    );
    all.prop_map(|(asker, times, asked, first, second, apart, most)| {
        Step::Turns(Turns {
            asker,
            times,
            asked,
            answered: [first, second],
            apart,
            most,
        })
    })
}

/// Turns above all, and what may disturb them.
fn step() -> impl Strategy<Value = Step> {
    let ns = 0_usize..2;
    prop_oneof![
        24 => turns(),
        3 => (ns.clone(), 1_usize..20_000).prop_map(|(ns, len)| Step::Send(ns, len)),
        3 => (ns.clone(), 1_usize..700).prop_map(|(ns, len)| Step::Send(ns, len)),
        3 => (ns.clone(), 1_usize..100_000).prop_map(|(ns, len)| Step::Recv(ns, len)),
        2 => (ns.clone(), 1_usize..100_000).prop_map(|(ns, most)| Step::Look(ns, most)),
        2 => (ns.clone(), 1_usize..6, 1_usize..40_000, 1_usize..60_000)
            .prop_map(|(ns, times, len, most)| Step::Stream(ns, times, len, most)),
        2 => (0_u64..30_000).prop_map(Step::Wait),
        2 => (0_u64..3_000_000).prop_map(Step::Wait),
        2 => (ns.clone(), any::<bool>()).prop_map(|(ns, on)| Step::Cut(ns, on)),
        2 => (0_usize..4, 0_usize..80, change())
            .prop_map(|(back, byte, change)| Step::Again(back, byte, change)),
        1 => (ns.clone(), any::<bool>()).prop_map(|(ns, on)| Step::Offload(ns, on)),
        1 => any::<bool>().prop_map(Step::Family),
        1 => Just(Step::Connect),
        2 => (ns.clone(), any::<bool>()).prop_map(|(ns, on)| Step::Late(ns, on)),
        6 => (0_usize..8).prop_map(Step::Arrive),
        1 => (ns.clone(), 1280_u32..1501).prop_map(|(ns, mtu)| Step::Mtu(ns, mtu)),
        1 => ns.clone().prop_map(Step::Shutdown),
        1 => ns.prop_map(Step::Close),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 300,
        ..ProptestConfig::default()
    })]

    #[test]
    fn turns_are_as_late(
        v6: bool,
        steps in vec(step(), 1..30),
        buffer in prop_oneof![2 => Just(RECV_BUFFER), 1 => 3_000_usize..400_000],
        offload in prop::bool::weighted(0.9),
    ) {
        assert_alike(&of(v6, &steps), buffer, offload)?;
    }
}

const PLAIN: Turns = Turns {
    asker: 0,
    times: 1,
    asked: 200,
    answered: [10_000, 0],
    apart: false,
    most: 200_000,
};

/// Segments that smoltcp was given, and wrote.
fn by_smoltcp(side: &Side) -> usize {
    let layers = side.world.ns.iter();
    let layers = layers.filter_map(|netns| netns.streams.tcp.as_ref());
    layers.map(|tcp| tcp.smoltcp_calls()).sum()
}

/// Or the comparison would compare nothing.
#[test]
fn long_answers_pass_smoltcp_by() {
    let lens = [
        (200, [10_000, 0]),
        (200, [3_000, 0]),
        (200, [200, 8_000]),
        (200, [60_000, 0]),
        (10_000, [200, 0]),
        (10_000, [10_000, 0]),
        (3_000, [3_000, 0]),
    ];
    let both = [false, true].map(|v6| lens.map(|(asked, answered)| (v6, asked, answered)));
    for (v6, asked, answered) in both.concat() {
        let turns = Turns {
            times: 8,
            asked,
            answered,
            ..PLAIN
        };
        let mut side = Side::new(false, RECV_BUFFER);
        let steps = of(v6, &[Step::Turns(turns)]);
        steps.iter().for_each(|step| drop(side.take(step)));
        let before = by_smoltcp(&side);
        side.take(&Step::Turns(turns));
        assert_eq!(by_smoltcp(&side), before, "{v6} {turns:?}");
        let alike = assert_alike(&steps, RECV_BUFFER, true);
        assert!(alike.is_ok(), "{v6} {turns:?}");
    }
}

/// A question goes out before its answer's predecessor is acknowledged, or with that, and what has not left yet is disturbed.
#[test]
fn what_disturbs_a_turn_finds_smoltcp_where_it_would_be() {
    let turns = Step::Turns(Turns { times: 8, ..PLAIN });
    let back = Step::Turns(Turns {
        times: 8,
        asker: 1,
        ..PLAIN
    });
    let ends = [
        vec![Step::Send(0, 200), Step::Shutdown(0)],
        vec![Step::Send(0, 200), Step::Recv(1, 200), Step::Close(1)],
        vec![
            Step::Send(0, 200),
            Step::Recv(1, 200),
            Step::Send(1, 10_000),
            Step::Close(0),
        ],
        vec![Step::Again(0, 0, Change::Pad(0)), turns.clone()],
        vec![Step::Again(1, 0, Change::Pad(0)), turns.clone()],
        vec![Step::Again(2, 0, Change::Pad(0)), turns.clone()],
        vec![
            Step::Cut(1, true),
            turns.clone(),
            Step::Cut(1, false),
            Step::Wait(3_000_000),
        ],
        vec![
            Step::Cut(0, true),
            turns.clone(),
            Step::Cut(0, false),
            Step::Wait(3_000_000),
        ],
        vec![Step::Mtu(1, 1300), turns.clone()],
        vec![Step::Wait(50_000), back, turns.clone()],
        vec![Step::Stream(1, 8, 20_000, 30_000), turns.clone()],
        vec![Step::Stream(1, 8, 20_000, 10_000), turns.clone()],
    ];
    for end in ends {
        let mut steps = vec![turns.clone()];
        steps.extend(end);
        steps.push(Step::Wait(2_000_000));
        for v6 in [false, true] {
            let alike = assert_alike(&of(v6, &steps), RECV_BUFFER, true);
            assert!(alike.is_ok(), "{v6} {steps:?}: {alike:?}");
        }
    }
}

/// An answer of a super-segment is held where it came, though smoltcp had no streak of them.
#[test]
fn an_answer_is_held() {
    for v6 in [false, true] {
        let mut side = Side::new(false, RECV_BUFFER);
        let steps = [
            Step::Turns(Turns { times: 8, ..PLAIN }),
            Step::Send(0, 200),
            Step::Recv(1, 200),
            Step::Send(1, 10_000),
        ];
        for step in of(v6, &steps) {
            side.take(&step);
        }
        assert_eq!(frames_held(&side.world.ns[0]), 1);
        side.take(&Step::Close(0));
        assert_eq!(side.world.pool.in_use(), 0);
    }
}

/// What is given to be sent has not left when our half is closed: as a message, from a queue, as both.
#[test]
fn an_answer_leaves_before_the_end_that_follows_it_at_once() {
    for (from, lens) in [(0, &[200][..]), (1, &[10_000]), (1, &[200, 8_000])] {
        let seen = [false, true].map(|long| {
            let mut side = Side::new(long, RECV_BUFFER);
            side.take(&Step::Turns(Turns { times: 8, ..PLAIN }));
            if from == 1 {
                side.take(&Step::Send(0, 200));
                side.take(&Step::Recv(1, 200));
            }
            let sock = side.socks[from];
            side.world.with(from, |ns, cx| {
                for &len in lens {
                    assert_eq!(ns.send(cx, sock, &vec![7; len]), Ok(len));
                }
                ns.shutdown(cx, sock).unwrap();
            });
            side.take(&Step::Recv(1 - from, 20_000));
            side.take(&Step::Wait(3_000_000));
            side.world.seen
        });
        assert_eq!(seen[0], seen[1], "{from} {lens:?}");
    }
}

/// A question tells a smaller window than the one before it, since answers have not been read, and a lone segment follows: smoltcp has
/// to know of that window when it takes over.
#[test]
fn the_window_of_a_question_is_known() {
    let unread = Turns {
        times: 3,
        asked: 1,
        answered: [1, 28_402],
        apart: true,
        most: 1,
        ..PLAIN
    };
    let read = Turns {
        times: 1,
        answered: [1_400, 11_697],
        most: 200_000,
        ..unread
    };
    let steps = [Step::Turns(unread), Step::Turns(read)];
    assert!(assert_alike(&steps, RECV_BUFFER, true).is_ok());
}
