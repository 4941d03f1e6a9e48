//! What strains a lab, step by step, and how much of everything it has.

use super::*;

#[derive(Clone, Debug)]
pub(super) enum Step {
    /// A place connects to an address of this family.
    Connect(usize, usize, Family),
    Send(usize, bool, usize),
    Take(usize, bool),
    Shut(usize, bool),
    Close(usize, bool, bool),
    /// A datagram of so many bytes that may be cut on its way, or not.
    Datagram(usize, usize, Family, usize, bool),
    /// An echo request likewise.
    Ping(usize, usize, Family, usize),
    /// A datagram of each box from each of so many ports, the lowest ones.
    Swarm(usize, Family, u16),
    /// So many connections are begun, and reset.
    Calls(usize, usize, Family, usize),
    Wire(Wire),
    Settle,
    Wait(u64),
    Verb(Verb, usize),
    /// A rule that drops what is for a port comes or goes.
    Rule(Family, u16),
}

/// What the wire does to one frame in so many, never where that is nought, how long it takes, and whether it carries
/// super-segments and partial checksums.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wire {
    pub(super) loses: u8,
    pub(super) repeats: u8,
    pub(super) swaps: u8,
    pub(super) spoils: u8,
    pub(super) millis: u16,
    pub(super) whole: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Verb {
    Leave,
    Join,
    Restart,
    Kill,
    Start,
    Pause(bool),
    Forget,
    Mac(u8),
    Mtu(u32),
    /// Of the bridge.
    BridgeMtu(u32),
    Down(bool),
    Forward(bool),
}

/// What there is little of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setting {
    pub(super) mode: Mode,
    pub(super) ring: usize,
    pub(super) addresses: usize,
    pub(super) connections: usize,
    pub(super) buffers: PoolLimits,
}

/// How a lab is driven.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Drive {
    Short,
    /// No namespace takes short ways, and bridges look at each frame.
    Long,
    Pieces,
}

pub(super) fn any_family() -> impl Strategy<Value = Family> + Clone {
    prop::sample::select(vec![Family::V4, Family::V6])
}

pub(super) fn any_verb() -> impl Strategy<Value = Verb> {
    prop_oneof![
        1 => Just(Verb::Leave),
        2 => Just(Verb::Join),
        1 => Just(Verb::Restart),
        1 => Just(Verb::Kill),
        2 => Just(Verb::Start),
        1 => any::<bool>().prop_map(Verb::Pause),
        2 => Just(Verb::Forget),
        1 => any::<u8>().prop_map(Verb::Mac),
        2 => (1280_u32..1501).prop_map(Verb::Mtu),
        1 => (576_u32..1501).prop_map(Verb::Mtu),
        1 => (576_u32..1501).prop_map(Verb::BridgeMtu),
        1 => any::<bool>().prop_map(Verb::Down),
        1 => any::<bool>().prop_map(Verb::Forward),
    ]
}

pub(super) fn any_wire() -> impl Strategy<Value = Wire> {
    let one_in = || prop_oneof![3 => Just(0_u8), 2 => 2_u8..30];
    let millis = prop_oneof![3 => Just(0_u16), 1 => 1_u16..400];
    (
        one_in(),
        one_in(),
        one_in(),
        one_in(),
        millis,
        any::<bool>(),
    )
        .prop_map(|(loses, repeats, swaps, spoils, millis, whole)| Wire {
            loses,
            repeats,
            swaps,
            spoils,
            millis,
            whole,
        })
}

pub(super) fn any_step() -> impl Strategy<Value = Step> {
    let places = 0..=BOXES.len() + 1;
    let to = prop_oneof![3 => 0..2 * BOXES.len() + 2, 2 => Just(2 * BOXES.len())];
    let flow = (places, to, any_family());
    let swarmed = prop_oneof![0..2 * BOXES.len() + 2, Just(2 * BOXES.len() + 1)];
    let which = 0_usize..64;
    let len = prop_oneof![1_usize..100, 1_usize..20_000];
    let whole = prop_oneof![0_usize..100, 1_200_usize..1_500, 1_usize..9_000];
    let wait = prop_oneof![4 => 1_u64..300, 1 => 300_u64..70_000];
    prop_oneof![
        6 => flow.clone().prop_map(|(from, to, family)| Step::Connect(from, to, family)),
        8 => (which.clone(), any::<bool>(), len).prop_map(|(at, end, len)| Step::Send(at, end, len)),
        6 => (which.clone(), any::<bool>()).prop_map(|(at, end)| Step::Take(at, end)),
        1 => (which.clone(), any::<bool>()).prop_map(|(at, end)| Step::Shut(at, end)),
        3 => (which, any::<bool>(), any::<bool>())
            .prop_map(|(at, end, reset)| Step::Close(at, end, reset)),
        3 => (flow.clone(), whole.clone(), any::<bool>())
            .prop_map(|((from, to, family), len, cut)| Step::Datagram(from, to, family, len, cut)),
        2 => (flow.clone(), whole)
            .prop_map(|((from, to, family), len)| Step::Ping(from, to, family, len)),
        1 => (swarmed, any_family(), prop_oneof![1_u16..40, 260_u16..400])
            .prop_map(|(to, family, count)| Step::Swarm(to, family, count)),
        1 => (flow, 1_usize..12)
            .prop_map(|((from, to, family), count)| Step::Calls(from, to, family, count)),
        3 => any_wire().prop_map(Step::Wire),
        8 => Just(Step::Settle),
        3 => wait.prop_map(Step::Wait),
        2 => (any_verb(), 0..BOXES.len()).prop_map(|(verb, at)| Step::Verb(verb, at)),
        1 => (any_family(), prop::sample::select(vec![80_u16, 8000]))
            .prop_map(|(family, port)| Step::Rule(family, port)),
    ]
}

pub(super) fn any_setting() -> impl Strategy<Value = Setting> {
    (
        prop::sample::select(vec![Mode::Copy, Mode::Move]),
        prop::sample::select(vec![8_usize, 64, 1024]),
        prop::sample::select(vec![3_usize, 65_536]),
        prop::sample::select(vec![5_usize, 60, 262_144]),
    )
        .prop_map(|(mode, ring, addresses, connections)| Setting {
            mode,
            ring,
            addresses,
            connections,
            buffers: PoolLimits::default(),
        })
}
