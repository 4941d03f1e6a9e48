//! Connections that pass smoltcp by, beside the same through it.

use proptest::collection::vec;
use proptest::prelude::*;
use switch::Rng;

use super::*;
use crate::app::{Ready, SockOpt};
use crate::netns::tcp::{Counters, IcmpKind, TcpSocket, TcpState};

/// What a program does, what a path does, or that time goes by.
#[derive(Clone, Copy, Debug)]
enum Step {
    Connect {
        to: usize,
        recv_buffer: usize,
        keepalive: bool,
    },
    Accept,
    Send {
        end: usize,
        which: usize,
        len: usize,
    },
    Recv {
        end: usize,
        which: usize,
        len: usize,
    },
    Shut {
        end: usize,
        which: usize,
    },
    Close {
        end: usize,
        which: usize,
    },
    Abort {
        end: usize,
        which: usize,
    },
    Set {
        end: usize,
        which: usize,
        option: SockOpt,
    },
    Narrow {
        mtu: u16,
    },
    Wait {
        micros: u64,
    },
}

/// How rough a wire is.
#[derive(Clone, Copy, Debug)]
struct Roughness {
    seed: u64,
    /// One of so many segments is lost, and one doubled; 0 for none.
    loses: u32,
    /// Each is under way for up to so many microseconds more.
    jitter: u32,
}

fn step() -> impl Strategy<Value = Step> {
    let end = || 0_usize..2;
    let which = || 0_usize..4;
    let len = || prop_oneof![6 => 1_usize..40, 2 => 400_usize..1600, 1 => 1_usize..9000];
    let option = prop_oneof![
        any::<bool>().prop_map(SockOpt::NoDelay),
        any::<bool>().prop_map(SockOpt::LingerZero),
        (0_u8..3).prop_map(SockOpt::HopLimit),
        Just(SockOpt::RecvBuffer(4000)),
    ];
    prop_oneof![
        4 => (0_usize..8, prop_oneof![3 => Just(96 * 1024_usize), 1 => 1_usize..9000], 0..8)
            .prop_map(|(to, recv_buffer, lot)| Step::Connect { to, recv_buffer, keepalive: lot == 0 }),
        5 => Just(Step::Accept),
        10 => (end(), which(), len()).prop_map(|(end, which, len)| Step::Send { end, which, len }),
        10 => (end(), which(), len()).prop_map(|(end, which, len)| Step::Recv { end, which, len }),
        2 => (end(), which()).prop_map(|(end, which)| Step::Shut { end, which }),
        3 => (end(), which()).prop_map(|(end, which)| Step::Close { end, which }),
        1 => (end(), which()).prop_map(|(end, which)| Step::Abort { end, which }),
        2 => (end(), which(), option)
            .prop_map(|(end, which, option)| Step::Set { end, which, option }),
        1 => (500_u16..1500).prop_map(|mtu| Step::Narrow { mtu }),
        14 => prop_oneof![
            6 => 0_u64..400,
            3 => 0_u64..20_000,
            1 => 0_u64..4_000_000,
        ]
        .prop_map(|micros| Step::Wait { micros }),
    ]
}

fn roughness() -> impl Strategy<Value = Roughness> {
    let loses = prop_oneof![3 => Just(0_u32), 1 => 5_u32..30];
    let jitter = prop_oneof![3 => Just(0_u32), 1 => 1_u32..300, 1 => 1_u32..300_000];
    (any::<u64>(), loses, jitter).prop_map(|(seed, loses, jitter)| Roughness {
        seed,
        loses,
        jitter,
    })
}

fn wire(rough: Roughness) -> Wire {
    let mut rng = Rng::new(rough.seed);
    Box::new(move |_| {
        let mut delay = || match rough.jitter {
            0 => DELAY,
            most => DELAY + Duration::from_micros(u64::from(rng.below(most))),
        };
        let (one, two) = (delay(), delay());
        let lot = if rough.loses > 0 {
            rng.below(rough.loses)
        } else {
            9
        };
        match lot {
            0 => vec![],
            1 => vec![one, two],
            _ => vec![one],
        }
    })
}

/// What programs and listings see after a step.
#[derive(Clone, Debug, PartialEq)]
struct View {
    at: Time,
    answer: String,
    sockets: [Vec<TcpSocket>; 2],
    ready: [Vec<Ready>; 2],
    counters: [Counters; 2],
    deadlines: [Option<Time>; 2],
}

struct Play {
    rig: Rig,
    ids: [Vec<TcpId>; 2],
    ports: u16,
    listener: TcpId,
    ends: [&'static str; 2],
}

impl Play {
    fn new(ends: [&'static str; 2], backlog: usize, rough: Roughness, long: bool) -> Self {
        let mut rig = Rig::new();
        for end in [A, B] {
            rig.tcp(end).takes_long_way = long;
        }
        rig.wire = wire(rough);
        let listener = rig.listen(ends[1], backlog);
        Self {
            rig,
            ids: [Vec::new(), Vec::new()],
            ports: 0,
            listener,
            ends,
        }
    }

    fn id(&self, end: usize, which: usize) -> Option<TcpId> {
        let ids = &self.ids[end];
        ids.get(which % ids.len().max(1)).copied()
    }

    /// The call of a step, and what it said.
    fn call(&mut self, step: Step) -> String {
        let (Step::Send { end, which, .. }
        | Step::Recv { end, which, .. }
        | Step::Shut { end, which }
        | Step::Close { end, which }
        | Step::Abort { end, which }
        | Step::Set { end, which, .. }) = step
        else {
            return self.event(step);
        };
        let Some(id) = self.id(end, which) else {
            return String::new();
        };
        let rig = &mut self.rig;
        match step {
            Step::Send { len, .. } => format!("{:?}", rig.send(end, id, &pattern(len))),
            Step::Recv { len, .. } => {
                let mut buffer = vec![0; len];
                let taken = rig.with(end, |tcp, cx| tcp.recv(cx.pool, id, &mut buffer));
                format!("{taken:?} {buffer:?}")
            }
            Step::Shut { .. } => format!("{:?}", rig.shut(end, id)),
            Step::Close { .. } => {
                rig.close(end, id);
                String::new()
            }
            Step::Set { option, .. } => format!("{:?}", rig.set_option(end, id, option)),
            _ => {
                rig.with(end, |tcp, cx| tcp.abort(cx, id));
                String::new()
            }
        }
    }

    fn event(&mut self, step: Step) -> String {
        match step {
            Step::Connect {
                to,
                recv_buffer,
                keepalive,
            } => {
                self.ports += 1;
                let mut local = address(self.ends[0]);
                local.set_port(40_000 + self.ports % 3);
                let mut remote = address(self.ends[1]);
                // One of eight is called at a port where nobody listens.
                remote.set_port(remote.port() + u16::from(to == 0));
                let probes = (Duration::from_secs(3), Duration::from_secs(1), 3);
                let options = TcpOptions {
                    recv_buffer,
                    keepalive: keepalive.then_some(probes),
                    ..TcpOptions::default()
                };
                let call = |tcp: &mut Tcp, cx: &mut TcpCx<'_>| {
                    tcp.connect(cx, local, remote, 1500, &options)
                };
                let made = self.rig.with(A, call);
                self.ids[A].extend(made.ok());
                format!("{made:?}")
            }
            Step::Accept => {
                let made = self.rig.tcp(B).accept(self.listener);
                self.ids[B].extend(made.ok().map(|(id, _)| id));
                format!("{made:?}")
            }
            Step::Narrow { mtu } => {
                let ours = self.rig.log.iter().rev().find(|sent| sent.from == A);
                let Some(segment) = ours.map(|sent| sent.segment) else {
                    return String::new();
                };
                let (ends, seq) = ((segment.remote, segment.local), segment.seq);
                let error = IcmpKind::FragmentationNeeded { mtu };
                let call = |tcp: &mut Tcp, cx: &mut TcpCx<'_>| {
                    tcp.icmp_error(cx, ends.0, ends.1, seq, error);
                };
                self.rig.with(A, call);
                String::new()
            }
            Step::Wait { micros } => {
                self.rig.run_for(Duration::from_micros(micros));
                String::new()
            }
            _ => unreachable!("a call"),
        }
    }

    fn view(&mut self, answer: String) -> View {
        let ends = &self.rig.ends;
        let ready = |end: usize| -> Vec<Ready> {
            let ids = self.ids[end].iter();
            ids.map(|&id| ends[end].tcp.ready(id)).collect()
        };
        let counters = |end: usize| Counters {
            engine_runs: 0,
            ..*ends[end].tcp.counters()
        };
        View {
            at: self.rig.now,
            answer,
            sockets: [ends[A].tcp.sockets(), ends[B].tcp.sockets()],
            ready: [ready(A), ready(B)],
            counters: [counters(A), counters(B)],
            deadlines: [ends[A].tcp.deadline(), ends[B].tcp.deadline()],
        }
    }
}

/// Everything that was sent and seen, and which sockets were woken.
fn played(
    ends: [&'static str; 2],
    backlog: usize,
    rough: Roughness,
    steps: &[Step],
    long: bool,
) -> (Vec<Sent>, Vec<View>, [Vec<TcpId>; 2]) {
    let mut play = Play::new(ends, backlog, rough, long);
    let mut views = Vec::new();
    for &step in steps {
        let answer = play.call(step);
        // Most of what programs do is sent before anything else happens.
        if !matches!(step, Step::Set { .. } | Step::Recv { .. }) {
            play.rig.flush();
        }
        views.push(play.view(answer));
    }
    for (end, which) in [
        (A, 0),
        (B, 0),
        (A, 1),
        (B, 1),
        (A, 2),
        (B, 2),
        (A, 3),
        (B, 3),
    ] {
        play.call(Step::Close { end, which });
        play.rig.run_for(Duration::from_millis(7));
        views.push(play.view(String::new()));
    }
    play.rig.run_for(Duration::from_secs(1200));
    views.push(play.view(String::new()));
    let [a, b] = play.rig.ends;
    (play.rig.log, views, [a.wakes, b.wakes])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn what_happens_is_the_same(
        mut steps in vec(step(), 1..60),
        rough in roughness(),
        v6 in any::<bool>(),
        backlog in 0_usize..3,
    ) {
        let ends = if v6 { V6 } else { V4 };
        steps.insert(0, CONNECT);
        let past = played(ends, backlog, rough, &steps, false);
        let through = played(ends, backlog, rough, &steps, true);
        for (past, through) in past.1.iter().zip(&through.1) {
            prop_assert_eq!(past, through);
        }
        for (past, through) in past.0.iter().zip(&through.0) {
            prop_assert_eq!(past, through);
        }
        prop_assert_eq!(past.0.len(), through.0.len());
        prop_assert_eq!(past.2, through.2);
    }
}

const CONNECT: Step = Step::Connect {
    to: 1,
    recv_buffer: 96 * 1024,
    keepalive: false,
};

const CALM: Roughness = Roughness {
    seed: 1,
    loses: 0,
    jitter: 0,
};

/// A narrower path has segments sent again before their time, which makes the engine's timeout longer.
#[test]
fn what_is_sent_again_early_has_a_longer_timeout() {
    let wait = Step::Wait { micros: 100 };
    let send = |len| Step::Send {
        end: A,
        which: 0,
        len,
    };
    let refused = Step::Connect {
        to: 0,
        recv_buffer: 96 * 1024,
        keepalive: true,
    };
    let steps = [
        CONNECT,
        Step::Narrow { mtu: 739 },
        wait,
        send(2098),
        refused,
        wait,
        Step::Narrow { mtu: 500 },
        refused,
        refused,
        wait,
        send(1),
    ];
    let [past, through] = [false, true].map(|long| played(V4, 0, CALM, &steps, long));
    assert_eq!(past.1, through.1);
    assert_eq!(past.0, through.0);
}

/// Or the comparison would compare nothing: a connection is brief from its SYN to its last FIN.
#[test]
fn short_connections_pass_smoltcp_by() {
    for ends in [V4, V6] {
        let mut play = Play::new(ends, 8, CALM, false);
        let is_brief = |play: &mut Play| {
            let brief = [A, B].map(|end| match play.id(end, 0) {
                Some(id) => play.rig.tcp(end).is_brief(id),
                None => true,
            });
            brief == [true; 2]
        };
        let wait = Step::Wait { micros: 300 };
        let which = 0;
        for step in [
            CONNECT,
            wait,
            Step::Accept,
            Step::Send {
                end: A,
                which,
                len: 100,
            },
            wait,
            Step::Recv {
                end: B,
                which,
                len: 100,
            },
            Step::Send {
                end: B,
                which,
                len: 1000,
            },
            wait,
            Step::Recv {
                end: A,
                which,
                len: 2000,
            },
        ] {
            play.call(step);
            play.rig.flush();
            assert!(is_brief(&mut play), "after {step:?}");
        }
        play.call(Step::Shut { end: A, which });
        play.rig.run_for(Duration::from_millis(30));
        assert!(is_brief(&mut play), "half closed");
        let (a, b) = (play.ids[A][0], play.ids[B][0]);
        let state = |play: &mut Play, end, id| play.rig.tcp(end).state(id);
        assert_eq!(state(&mut play, A, a), TcpState::FinWait2);
        assert_eq!(state(&mut play, B, b), TcpState::CloseWait);
        assert_eq!(play.rig.tcp(A).buffer_bytes(), 1100);
        play.call(Step::Close { end: B, which });
        play.rig.run_for(Duration::from_millis(30));
        assert_eq!(play.rig.tcp(B).connections(), 0);
        assert_eq!(play.rig.tcp(A).time_waits(), 1);
        assert_eq!(play.rig.spares.bytes(), 0, "an engine was made");
    }
}

/// What is plain no longer has an engine made.
#[test]
fn much_is_not_brief() {
    let mut rig = Rig::new();
    let (a, b) = rig.pair(V4);
    assert!(rig.tcp(A).is_brief(a) && rig.tcp(B).is_brief(b));
    rig.send(A, a, &pattern(9000)).unwrap();
    rig.run_for(Duration::from_millis(1));
    assert!(!rig.tcp(A).is_brief(a) && !rig.tcp(B).is_brief(b));
    assert_eq!(rig.recv(B, b).unwrap(), pattern(9000));
    let (a, b) = rig.pair(["10.0.0.1:40001", "10.0.0.2:81"]);
    // Those who play ping-pong are answered before time goes by.
    rig.wire = Box::new(|_| vec![Duration::ZERO]);
    let mut played = [false; 2];
    for _ in 0..20 {
        for (from, id, to, peer) in [(A, a, B, b), (B, b, A, a)] {
            rig.send(from, id, b"x").unwrap();
            rig.run_for(Duration::from_micros(100));
            assert_eq!(rig.recv(to, peer).unwrap(), b"x");
            played[from] |= rig.tcp(from).plays_pingpong(id);
        }
    }
    assert!(!rig.tcp(A).is_brief(a) && !rig.tcp(B).is_brief(b));
    assert_eq!(played, [true; 2]);
}
