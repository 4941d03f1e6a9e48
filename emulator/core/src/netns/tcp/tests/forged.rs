//! Streams whose other side says anything, written into frames beside the same through smoltcp's buffer.
//!
//! The other side is no end of ours: each of its segments is made up here. What acknowledges something new comes at once
//! or never, since smoltcp's retransmission timeout would depend on all that it has measured before.

use proptest::collection::vec;
use proptest::prelude::*;
use switch::wire;

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

/// For so long acknowledgements of something new may come.
const LIVELY: Duration = Duration::from_millis(60);
/// smoltcp's first number is 60,000 before 2³² with it.
const WRAPS: u64 = 170_549;

/// Where an acknowledgement points to.
#[derive(Clone, Copy, Debug)]
enum Point {
    /// So many thousandths of what is under way.
    Share(u32),
    /// So many bytes behind the first that is not acknowledged, in front of the last that was sent, behind that.
    First(u32),
    Last(u32),
    Future(u32),
    /// Before the first.
    Old(u32),
}

/// A window field.
#[derive(Clone, Copy, Debug)]
enum Field {
    /// As the last.
    Same,
    Is(u16),
    /// So many bytes.
    Bytes(u32),
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Send {
        len: usize,
        times: usize,
    },
    /// All that is to be sent now is.
    Flush,
    Ack(Point, Field),
    /// So many acknowledgements that say nothing new.
    Again(usize),
    /// So many acknowledgements, each of so many bytes more.
    Creep(usize, u32),
    Data {
        len: usize,
        point: Point,
        field: Field,
        /// Where it begins, from what is awaited.
        gap: i32,
    },
    /// Other flags, and options.
    Odd(u8, bool),
    /// What opens, ends or breaks a connection, so far from what is awaited.
    Event {
        flags: u8,
        len: usize,
        point: Point,
        gap: i32,
    },
    Read(usize),
    Wait(u64),
    /// From here on nothing new is acknowledged.
    Mute(u64),
    NoDelay(bool),
    Hops(u8),
    KeepAlive,
    Offload(bool),
    Narrow(u16),
    Complain,
    Shut,
    Close,
}

fn point() -> impl Strategy<Value = Point> {
    prop_oneof![
        4 => Just(Point::Share(1000)),
        3 => (0_u32..1000).prop_map(Point::Share),
        3 => (0_u32..4).prop_map(Point::First),
        2 => (0_u32..4).prop_map(Point::Last),
        1 => prop_oneof![1_u32..3, 1_u32..100_000].prop_map(Point::Future),
        1 => prop_oneof![1_u32..3, 1_u32..100_000].prop_map(Point::Old),
    ]
}

fn field() -> impl Strategy<Value = Field> {
    prop_oneof![
        4 => Just(Field::Same),
        2 => Just(Field::Is(0)),
        1 => Just(Field::Is(1)),
        1 => Just(Field::Is(u16::MAX)),
        2 => any::<u16>().prop_map(Field::Is),
        3 => (0_u32..20_000).prop_map(Field::Bytes),
        3 => (0_u32..300_000).prop_map(Field::Bytes),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let len = || {
        prop_oneof![
            4 => 4_096_usize..140_000,
            1 => 1_usize..4_096,
            1 => 300_000_usize..700_000,
        ]
    };
    prop_oneof![
        6 => (len(), 1_usize..4).prop_map(|(len, times)| Step::Send { len, times }),
        5 => Just(Step::Flush),
        14 => (point(), field()).prop_map(|(point, field)| Step::Ack(point, field)),
        1 => (1_usize..5).prop_map(Step::Again),
        1 => (1_usize..6, 1_u32..3).prop_map(|(times, by)| Step::Creep(times, by)),
        1 => (1_usize..3_000, point(), field(), prop_oneof![3 => Just(0), 1 => -2_000..2_000_i32])
            .prop_map(|(len, point, field, gap)| Step::Data { len, point, field, gap }),
        1 => (prop_oneof![3 => Just(ACK | PSH), 1 => any::<u8>()], any::<bool>())
            .prop_map(|(flags, options)| Step::Odd(flags, options)),
        1 => (event(), prop_oneof![3 => Just(0_usize), 1 => 1_usize..3_000], point(), gap())
            .prop_map(|(flags, len, point, gap)| Step::Event { flags, len, point, gap }),
        1 => (1_usize..5_000).prop_map(Step::Read),
        5 => prop_oneof![0_u64..5, 0_u64..3_000, 0_u64..20_000].prop_map(Step::Wait),
        1 => prop_oneof![0_u64..10_000, 0_u64..3_000_000].prop_map(Step::Mute),
        1 => any::<bool>().prop_map(Step::NoDelay),
        1 => prop_oneof![8 => Just(Step::Flush), 1 => (1_u8..255).prop_map(Step::Hops)],
        1 => prop_oneof![8 => Just(Step::Flush), 1 => Just(Step::KeepAlive)],
        1 => prop_oneof![6 => Just(Step::Flush), 1 => any::<bool>().prop_map(Step::Offload)],
        1 => prop_oneof![6 => Just(Step::Flush), 1 => (68_u16..1_500).prop_map(Step::Narrow)],
        1 => prop_oneof![8 => Just(Step::Flush), 1 => Just(Step::Complain)],
        1 => prop_oneof![12 => Just(Step::Flush), 1 => Just(Step::Shut), 1 => Just(Step::Close)],
    ]
}

/// Flags, those of a FIN mostly: the others end most that there is to see.
fn event() -> impl Strategy<Value = u8> {
    prop_oneof![
        8 => Just(ACK | FIN),
        2 => Just(ACK | PSH | FIN),
        2 => Just(RST),
        1 => Just(RST | ACK),
        2 => Just(SYN),
        2 => Just(SYN | ACK),
        1 => Just(FIN),
        1 => Just(0),
        1 => any::<u8>(),
    ]
}

fn gap() -> impl Strategy<Value = i32> {
    prop_oneof![4 => Just(0), 2 => -2_i32..3, 1 => -2_000..2_000_i32, 1 => any::<i32>()]
}

#[derive(Clone, Debug)]
struct Kind {
    offload: bool,
    mtu: usize,
    /// What the other side says in its SYN-ACK.
    mss: u16,
    shift: Option<u8>,
    send_buffer: usize,
    /// Its segments come before they are routed.
    express: bool,
    /// They are of IPv6.
    v6: bool,
    /// smoltcp's numbers begin here.
    seed: u64,
}

fn kind() -> impl Strategy<Value = Kind> {
    (
        any::<bool>(),
        prop_oneof![4 => Just(1500_usize), 1 => 128_usize..9000, 1 => Just(65_535), 1 => 9000_usize..65_535],
        prop_oneof![4 => Just(1460_u16), 1 => 88_u16..9000, 1 => Just(u16::MAX), 1 => 0_u16..100],
        prop_oneof![1 => Just(None), 4 => (0_u8..16).prop_map(Some), 4 => (0_u8..4).prop_map(Some)],
        prop_oneof![
            Just(16 * 1024_usize),
            Just(256 * 1024_usize),
            5_000_usize..300_000,
            300_000_usize..1_500_000,
        ],
        any::<bool>(),
        any::<bool>(),
        prop_oneof![Just(WRAPS), any::<u64>()],
    )
        .prop_map(|(offload, mtu, mss, shift, send_buffer, express, v6, seed)| Kind {
            offload,
            mtu,
            mss,
            shift,
            send_buffer,
            express,
            v6,
            seed,
        })
}

/// The header of a packet of IPv4 to our end with a segment of so many bytes, and that of one of IPv6.
fn header_v4(segment: usize) -> Vec<u8> {
    let [high, low] = ((20 + segment) as u16).to_be_bytes();
    let mut bytes = vec![0x45, 0, high, low, 0, 0, 0x40, 0, 64, 6, 0, 0];
    bytes.extend_from_slice(&[10, 0, 0, 2, 10, 0, 0, 1]);
    wire::fill_header_checksum(&mut bytes);
    bytes
}

fn header_v6(segment: usize) -> Vec<u8> {
    let [high, low] = (segment as u16).to_be_bytes();
    let mut bytes = vec![0x60, 0, 0, 0, high, low, 6, 64];
    for end in [V6[1], V6[0]].map(address) {
        let core::net::IpAddr::V6(v6) = end.ip() else {
            unreachable!("it is one of IPv6");
        };
        bytes.extend_from_slice(&v6.octets());
    }
    bytes
}

/// One end of ours, and what is known at the other.
struct Play {
    rig: Rig,
    id: TcpId,
    express: bool,
    v6: bool,
    shift: u8,
    /// The next number of the other side, what it has acknowledged, and the window field that it told last.
    next: u32,
    una: u32,
    field: u16,
    mute: bool,
    alive_until: Time,
}

/// What the end was seen to do.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    log: Vec<Sent>,
    calls: Vec<Result<usize, Errno>>,
    listed: Vec<Vec<TcpSocket>>,
    got: Vec<u8>,
}

impl Play {
    /// A connection that has sent more than one does without an engine.
    fn new(kind: &Kind, long: bool) -> Self {
        let mut rig = Rig::new();
        rig.mtu = kind.mtu;
        rig.wire = Box::new(nothing);
        let tcp = rig.tcp(A);
        tcp.takes_long_way = long;
        tcp.set_offload(kind.offload);
        tcp.set_partial_checksums(kind.offload);
        // As smoltcp, which sees IPv4, has it.
        let (mtu, most) = match kind.v6 {
            false => (kind.mtu, 65_535),
            true => (kind.mtu.max(1280) - 20, 65_536),
        };
        let burst = u64::from(kind.offload && kind.mtu < most);
        tcp.shared = Shared::new(kind.seed ^ ((mtu as u64) << 1) ^ burst);
        let options = TcpOptions {
            send_buffer: kind.send_buffer,
            ..TcpOptions::default()
        };
        let [local, remote] = if kind.v6 { V6 } else { V4 };
        let id = rig.connect_with(local, remote, &options).unwrap();
        rig.flush();
        let una = rig.log[0].segment.end();
        let mut play = Self {
            rig,
            id,
            express: kind.express,
            v6: kind.v6,
            shift: kind.shift.unwrap_or(0).min(14),
            next: 77_000,
            una,
            field: u16::MAX,
            mute: false,
            alive_until: Time::ZERO,
        };
        let [high, low] = kind.mss.to_be_bytes();
        let mut offer = vec![2, 4, high, low, 4, 2, 1, 1];
        if let Some(shift) = kind.shift {
            offer.extend_from_slice(&[3, 3, shift, 0]);
        }
        play.give(SYN | ACK, 0, una, &offer, 0);
        play.next += 1;
        play.rig.flush();
        for _ in 0..12 {
            let _ = play.rig.send(A, id, &pattern(1500));
            play.rig.flush();
            play.una = play.sent();
            play.give(ACK, 0, play.una, &[], 0);
            play.rig.flush();
        }
        play.alive_until = play.rig.now + LIVELY;
        play
    }

    /// What follows the last byte that was sent.
    fn sent(&self) -> u32 {
        let conn = self.rig.ends[A].tcp.slots.conn(self.id);
        conn.map_or(self.una, |conn| conn.marks.sent)
    }

    fn field(&mut self, field: Field) {
        self.field = match field {
            Field::Same => self.field,
            Field::Is(field) => field,
            Field::Bytes(count) => (count >> self.shift).min(65_535) as u16,
        };
    }

    /// The acknowledgement there, which is noted.
    fn point(&mut self, point: Point) -> u32 {
        let flight = self.sent().wrapping_sub(self.una) as i32;
        let flight = u32::try_from(flight).unwrap_or(0);
        let by = match point {
            Point::Share(share) => (u64::from(flight) * u64::from(share) / 1000) as u32,
            Point::First(by) => by.min(flight),
            Point::Last(by) => flight.saturating_sub(by),
            Point::Future(by) => flight + by,
            Point::Old(by) => by.wrapping_neg(),
        };
        let late = self.mute || self.rig.now > self.alive_until;
        let is_new = (by as i32) > 0;
        if late && is_new {
            return self.una;
        }
        let ack = self.una.wrapping_add(by);
        if is_new && by <= flight {
            self.una = ack;
        }
        ack
    }

    /// The other side's segment.
    fn give(&mut self, flags: u8, seq: i32, ack: u32, options: &[u8], len: usize) {
        let segment = 20 + options.len() + len;
        let mut bytes = if self.v6 {
            header_v6(segment)
        } else {
            header_v4(segment)
        };
        let at = bytes.len();
        bytes.extend_from_slice(&[0, 80, 40_000_u16.to_be_bytes()[0], 40_000_u16 as u8]);
        let seq = self.next.wrapping_add_signed(seq);
        bytes.extend_from_slice(&seq.to_be_bytes());
        bytes.extend_from_slice(&ack.to_be_bytes());
        bytes.extend_from_slice(&[((20 + options.len()) << 2) as u8, flags]);
        bytes.extend_from_slice(&self.field.to_be_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(options);
        bytes.resize(at + segment, 0x55);
        write_checksum(&mut bytes, at, false);
        if !self.express {
            let frame = self.rig.pool.from_bytes(&bytes).unwrap();
            return self.rig.deliver(A, frame);
        }
        match self.v6 {
            false => self.give_early::<Ends>(&bytes),
            true => self.give_early::<EndsV6>(&bytes),
        }
    }

    /// The packet comes before it is routed.
    fn give_early<E: Between>(&mut self, packet: &[u8]) {
        let mut whole = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
        whole.extend_from_slice(&E::TYPE);
        whole.extend_from_slice(packet);
        let plain = E::read(&whole, [2, 0, 0, 0, 0, 1]).unwrap();
        let frame = self.rig.pool.from_bytes(&whole).unwrap();
        let taken = self
            .rig
            .with(A, |tcp, cx| tcp.input_plain(cx, frame, &plain));
        match taken {
            Ok(()) => {}
            Err(Refusal::Dropped(frame, _)) => self.rig.pool.free(frame),
            Err(Refusal::Unread(frame)) => {
                self.rig.pool.pull(&frame, 14);
                self.rig.deliver(A, frame);
            }
        }
    }

    fn step(&mut self, step: Step, seen: &mut Seen) {
        let id = self.id;
        match step {
            Step::Send { len, times } => {
                for time in 0..times {
                    seen.calls.push(self.rig.send(A, id, &pattern(len + time)));
                }
            }
            Step::Flush => self.rig.flush(),
            Step::Ack(point, field) => {
                self.field(field);
                let ack = self.point(point);
                self.give(ACK, 0, ack, &[], 0);
            }
            Step::Again(times) => {
                for _ in 0..times {
                    self.give(ACK, 0, self.una, &[], 0);
                }
            }
            Step::Creep(times, by) => {
                for _ in 0..times {
                    let ack = self.point(Point::First(by));
                    self.give(ACK, 0, ack, &[], 0);
                }
            }
            Step::Data {
                len,
                point,
                field,
                gap,
            } => {
                self.field(field);
                let ack = self.point(point);
                self.give(ACK | PSH, gap, ack, &[], len);
                self.next = self.heard();
            }
            Step::Odd(flags, options) => {
                let stamps = [1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0];
                let options = if options { &stamps[..] } else { &[] };
                let ack = self.point(Point::Share(500));
                self.give(flags & !(SYN | RST | FIN) | ACK, 0, ack, options, 0);
            }
            Step::Event {
                flags,
                len,
                point,
                gap,
            } => {
                let ack = self.point(point);
                self.give(flags, gap, ack, &[], len);
                self.next = self.heard();
            }
            Step::Read(len) => {
                let mut buffer = vec![0; len];
                let count = self
                    .rig
                    .with(A, |tcp, cx| tcp.recv(cx.pool, id, &mut buffer));
                seen.calls.push(count);
                seen.got.extend_from_slice(&buffer[..count.unwrap_or(0)]);
            }
            Step::Wait(span) => self.rig.run_for(Duration::from_micros(span)),
            Step::Mute(span) => {
                self.mute = true;
                self.rig.run_for(Duration::from_micros(span));
            }
            Step::NoDelay(on) => self.set(SockOpt::NoDelay(on)),
            Step::Hops(hops) => self.set(SockOpt::HopLimit(hops)),
            Step::KeepAlive => {
                let idle = self.rig.now.since(Time::ZERO) + Duration::from_secs(1);
                let option = SockOpt::KeepAlive(Some((idle, Duration::from_secs(1), 3)));
                self.set(option);
            }
            Step::Offload(on) => self.rig.tcp(A).set_offload(on),
            Step::Narrow(mtu) => self.complain(IcmpKind::FragmentationNeeded { mtu }),
            Step::Complain => self.complain(IcmpKind::Soft(Errno::HostUnreach)),
            Step::Shut => {
                let _ = self.rig.shut(A, id);
            }
            Step::Close => self.rig.close(A, id),
        }
    }

    fn set(&mut self, option: SockOpt) {
        let id = self.id;
        let _ = self.rig.set_option(A, id, option);
    }

    /// The next number that is awaited of the other side.
    fn heard(&self) -> u32 {
        let conn = self.rig.ends[A].tcp.slots.conn(self.id);
        conn.map_or(self.next, |conn| conn.recv_next())
    }

    fn engine(&self) -> &Smol {
        let conn = self.rig.ends[A].tcp.slots.conn(self.id).unwrap();
        match &conn.engine {
            Some(Machine::Engine(engine)) => engine,
            _ => panic!("no engine"),
        }
    }

    fn complain(&mut self, kind: IcmpKind) {
        let [local, remote] = if self.v6 { V6 } else { V4 }.map(address);
        let seq = self.una;
        self.rig
            .with(A, |tcp, cx| tcp.icmp_error(cx, local, remote, seq, kind));
    }
}

/// What was seen, and after how many steps frames were queued.
fn played(kind: &Kind, steps: &[Step], long: bool) -> (Seen, usize) {
    let mut play = Play::new(kind, long);
    let mut seen = Seen::default();
    let mut queued = 0;
    for step in steps {
        play.step(*step, &mut seen);
        queued += usize::from(play.rig.tcp(A).queues_frames(play.id));
        seen.listed.push(play.rig.tcp(A).sockets());
    }
    play.rig.run_for(Duration::from_secs(20));
    if steps.iter().any(|step| matches!(step, Step::Close)) {
        // Nobody waits for what the other side has not acknowledged.
        play.give(RST, 0, play.una, &[], 0);
    }
    let id = play.id;
    play.rig.with(A, |tcp, cx| tcp.abort(cx, id));
    play.rig.with(A, |tcp, cx| tcp.close(cx, id));
    play.rig.flush();
    assert_eq!(play.rig.pool.in_use(), 0, "frames were lost");
    assert_eq!(play.rig.tcp(A).counters().engine_panics, 0);
    seen.log = play.rig.log;
    (seen, queued)
}

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

/// smoltcp takes none with both flags, whatever options it has or has not.
#[test]
fn a_reset_that_opens_a_connection_changes_nothing_of_how_it_was_opened() {
    let kind = Kind {
        shift: Some(1),
        send_buffer: 16 * 1024,
        ..KIND
    };
    let send = |times| Step::Send { len: 4_096, times };
    let steps = [
        send(1),
        Step::Flush,
        Step::Ack(Point::Share(1000), Field::Is(1)),
        Step::Event {
            flags: SYN | RST,
            len: 0,
            point: Point::Share(1000),
            gap: 0,
        },
        send(2),
    ];
    same(&kind, &steps);
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
