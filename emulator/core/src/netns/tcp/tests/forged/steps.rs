//! What is done, and what the other side says.

use super::*;

/// smoltcp's first number is 60,000 before 2³² with it.
pub(super) const WRAPS: u64 = 170_549;

/// Where an acknowledgement points to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Point {
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
pub(super) enum Field {
    /// As the last.
    Same,
    Is(u16),
    /// So many bytes.
    Bytes(u32),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
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

pub(super) fn step() -> impl Strategy<Value = Step> {
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
pub(super) struct Kind {
    pub(super) offload: bool,
    pub(super) mtu: usize,
    /// What the other side says in its SYN-ACK.
    pub(super) mss: u16,
    pub(super) shift: Option<u8>,
    pub(super) send_buffer: usize,
    /// Its segments come before they are routed.
    pub(super) express: bool,
    /// They are of IPv6.
    pub(super) v6: bool,
    /// smoltcp's numbers begin here.
    pub(super) seed: u64,
}

pub(super) fn kind() -> impl Strategy<Value = Kind> {
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
