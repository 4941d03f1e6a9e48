//! The express lane: bridged packets whose way through the hooks is known.
//!
//! Between two members of a bridge every packet passes three hooks. Once a connection is in the table
//! little is decided there any more: no rule asks for anything but what many packets share, nothing is
//! translated, and the connection only has its state and its timer moved on. So what the rules said of
//! one packet is repeated, counters included, for all that are [the same to them](Like), and the connection is told of each. A flow that has had more packets of data than a short connection has
//! gets a lane, which spares it looking up either, until a rule or the connection changes.
//!
//! Nothing changes but the cost: `the_lane_changes_nothing` runs the same packets both ways. IPv4 with TCP
//! and UDP only; first packets, fragments and everything else take the hooks one by one.

use core::net::{IpAddr, Ipv4Addr};

use foldhash::fast::FixedState;
use indexmap::IndexSet;

use super::like::{Answers, Like};
use super::{Env, Hook, Netfilter, Outcome, Path};
use crate::conntrack::tuple::{TCP, UDP};
use crate::conntrack::{Conn, ConnRef, Conntrack, Direction, Flow, Tuple};
use crate::filter::{ChainId, Counter, Facts, Family, Ruleset, State, Table, Target, Trail};
use crate::time::Time;
use crate::verdict::{IfId, Verdict};

/// Lanes of a namespace; those of flows with the same places take turns. Memory (a quarter of a MiB in
/// the end) is taken as flows go on.
const LANES: usize = 4096;
/// So many at first: a power of two, a power of four less than [`LANES`].
const FIRST_LANES: usize = 64;
/// Places that a lane may have, one behind the other.
const PLACES: usize = 4;

/// What the packets of a flow in one direction have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    /// As in the header: protocol and source address; destination address and ports, source first.
    pub(super) flow: [u64; 2],
    /// The bridge, or where a routed packet came in.
    pub(super) input: IfId,
}

/// A line of the cache.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Lane {
    key: Key,
    conn: ConnRef,
    direction: Direction,
    state: State,
    /// Which of the [`Lanes::trails`] it takes.
    trail: u32,
    /// When it was opened, in changes of the rules.
    epoch: u32,
}

/// The way of a flow through the hooks that is known, to be kept by those who know the rest of its way. It holds until
/// [`Netfilter::passages`] changes.
#[derive(Clone, Copy, Debug)]
pub struct Passage {
    conn: ConnRef,
    /// Which of the [`Lanes::trails`] it takes: there are fewer than [`LANES`].
    trail: u16,
    direction: Direction,
    state: State,
}

/// What the rules said of a first packet that nothing translates.
#[derive(Clone, Copy, Debug)]
struct Opening {
    /// In the nat table, before routing and behind it.
    nat: [Trail; 2],
    /// Which of the [`Lanes::trails`].
    trail: u32,
    /// The state of the namespace's addresses, if they were asked for.
    addresses: Option<u64>,
}

/// The lanes of a namespace, by key.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    list: Vec<Option<Lane>>,
    /// What they said of packets without a lane: the number of a trail.
    said: Answers<u32>,
    /// What they said of first packets.
    openings: Answers<Opening>,
    /// What they said about the rules that packets meet: few, however many packets there are.
    trails: IndexSet<Trail, FixedState>,
    /// The rules of this epoch, as [`crate::filter::Ruleset::change`] has it.
    rules: u64,
    epoch: u32,
}

impl Lanes {
    /// The first place of a flow among those that there are now.
    #[inline]
    const fn place(&self, key: &Key) -> usize {
        key.place() & self.list.len().wrapping_sub(PLACES)
    }

    /// The lane of a flow under these rules.
    #[inline]
    fn of(&self, key: &Key, rules: u64) -> Option<&Lane> {
        let place = self.place(key);
        let places: &[_; PLACES] = self.list.get(place..)?.first_chunk()?;
        let lane = match &places[0] {
            Some(first) if first.key == *key => first,
            _ => places[1..].iter().flatten().find(|lane| lane.key == *key)?,
        };
        (self.rules == rules && lane.epoch == self.epoch).then_some(lane)
    }

    /// What these rules said of packets like this one.
    #[inline]
    fn said_of(&self, like: &Like, rules: u64) -> Option<u32> {
        let said = self.said.of(like, u64::from(self.epoch)).copied();
        said.filter(|_| self.rules == rules)
    }

    /// What these rules said of first packets like this one.
    #[inline]
    fn opening_of(&self, like: &Like, rules: u64) -> Option<&Opening> {
        let opening = self.openings.of(like, u64::from(self.epoch));
        opening.filter(|_| self.rules == rules)
    }

    /// These rules said this of packets like this one.
    fn say(&mut self, like: Like, trail: Trail, rules: u64) -> u32 {
        let trail = self.number(trail, rules);
        self.said.keep(like, u64::from(self.epoch), trail);
        trail
    }

    /// The number of a trail under these rules. With others, or with more trails than lanes, a new epoch
    /// begins: all lanes are closed.
    fn number(&mut self, trail: Trail, rules: u64) -> u32 {
        if self.rules != rules || self.trails.len() >= LANES {
            self.rules = rules;
            self.trails.clear();
            self.epoch = self.epoch.wrapping_add(1);
            if self.epoch == 0 {
                self.list.fill(None);
                (self.said, self.openings) = (Answers::default(), Answers::default());
            }
        }
        self.trails.insert_full(trail).0 as u32
    }

    /// Opens a lane: in its flow's place if it had one before, else in the first that is free or closed
    /// by a change of the rules, else in that of another flow once there are as many as there may be.
    fn open(&mut self, lane: Lane) {
        if self.list.is_empty() {
            self.list.resize(FIRST_LANES + PLACES - 1, None);
        }
        let lanes = self.list.len() + 1 - PLACES;
        let place = self.place(&lane.key);
        let places = &mut self.list[place..place + PLACES];
        let of_flow = |held: &Option<Lane>| held.as_ref().is_some_and(|held| held.key == lane.key);
        let is_free =
            |held: &Option<Lane>| held.as_ref().is_none_or(|held| held.epoch != lane.epoch);
        let at = places.iter().position(of_flow);
        let at = at.or_else(|| places.iter().position(is_free));
        if at.is_none() && lanes < LANES {
            self.grow(4 * lanes);
            return self.open(lane);
        }
        places[at.unwrap_or(0)] = Some(lane);
    }

    fn grow(&mut self, lanes: usize) {
        let fresh = vec![None; lanes + PLACES - 1];
        let held = core::mem::replace(&mut self.list, fresh);
        for lane in held.into_iter().flatten() {
            if lane.epoch == self.epoch {
                self.open(lane);
            }
        }
    }
}

impl Lane {
    #[inline]
    const fn passage(&self) -> Passage {
        Passage {
            conn: self.conn,
            trail: self.trail as u16,
            direction: self.direction,
            state: self.state,
        }
    }
}

impl Key {
    /// Source, then destination.
    pub(super) const fn addresses(&self) -> u64 {
        self.flow[0] << 32 | self.flow[1] >> 32
    }

    /// Source, then destination.
    pub(super) const fn ports(&self) -> u32 {
        self.flow[1] as u32
    }

    pub(super) const fn destination_bits(&self) -> u32 {
        (self.flow[1] >> 32) as u32
    }

    const fn protocol(&self) -> u8 {
        (self.flow[0] >> 48) as u8
    }

    pub(super) const fn is_udp(&self) -> bool {
        self.protocol() == UDP
    }

    fn source(&self) -> IpAddr {
        Ipv4Addr::from_bits(self.flow[0] as u32).into()
    }

    fn destination(&self) -> IpAddr {
        Ipv4Addr::from_bits((self.flow[1] >> 32) as u32).into()
    }

    pub(super) fn tuple(&self) -> Tuple {
        Tuple {
            source: self.source(),
            destination: self.destination(),
            protocol: self.protocol(),
            source_port: (self.ports() >> 16) as u16,
            destination_port: self.ports() as u16,
        }
    }

    pub(super) const fn place(&self) -> usize {
        let mixed = (self.addresses() ^ (self.ports() as u64) << 16 ^ self.protocol() as u64)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> 52) as usize % LANES
    }
}

/// Keys for tests of what is made of them.
#[cfg(test)]
pub(super) const UDP_KEY: Key = Key {
    flow: [(UDP as u64) << 48 | 0xac11_0002, 0xcb00_7107_1388_0035],
    input: IfId(2),
};
#[cfg(test)]
pub(super) const TCP_KEY: Key = Key {
    flow: [(TCP as u64) << 48 | 0xac11_0002, UDP_KEY.flow[1]],
    ..UDP_KEY
};

/// A packet whose way may be known.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plain {
    pub(super) key: Key,
    pub(super) flags: u8,
    len: u32,
}

impl Plain {
    /// It is of UDP, or of TCP without any flag but ACK and PSH.
    #[inline]
    pub(super) const fn is_data(&self) -> bool {
        self.key.is_udp() || is_data(self.flags)
    }

    /// What raw rules may ask: they come before the connection is known.
    pub(super) fn facts(&self, path: &Path) -> Facts {
        Facts {
            source: self.key.source(),
            destination: self.key.destination(),
            protocol: self.key.protocol(),
            ports: Some(((self.key.ports() >> 16) as u16, self.key.ports() as u16)),
            input: path.input,
            output: None,
            bridged: path.bridged,
            state: State::Untracked,
            weight: Counter::default(),
        }
    }
}

/// Packets that passed lanes with the same trail and are not counted at their rules yet: by
/// [`Netfilter::count`], before anything else happens there.
#[derive(Clone, Copy, Debug, Default)]
#[must_use]
pub struct Tally {
    trail: u32,
    weight: Counter,
}

/// A packet of nothing but data, alone: all that its way depends on, if that is known.
#[derive(Clone, Copy, Debug)]
pub struct Datum {
    flow: [u64; 2],
    len: u16,
}

impl Datum {
    /// The packet that `bytes` start with. `None` if it has to be shown to the hooks: it would make no [`Run`] that
    /// [may grow](Run::may_grow).
    #[must_use]
    #[inline(always)]
    pub fn of(bytes: &[u8]) -> Option<Self> {
        let head = Head::of(bytes)?;
        let is_data = match head.protocol() {
            UDP => head.is_sound_datagram(bytes),
            TCP => sound(bytes, &head).is_some_and(|(_, flags)| is_data(flags)),
            _ => false,
        };
        is_data.then_some(Self {
            flow: head.flow,
            len: head.len as u16,
        })
    }

    /// Its bytes.
    #[must_use]
    #[inline(always)]
    pub const fn bytes(&self) -> u16 {
        self.len
    }

    /// Whose packet it is, as [`Run::flow`] has it.
    #[must_use]
    #[inline]
    pub const fn flow(&self) -> [u64; 2] {
        self.flow
    }
}

/// Packets of one flow that cross a bridge one after the other at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    first: Plain,
    packets: u32,
    pub(super) weight: Counter,
}

impl Run {
    /// A run of the packet that `bytes` start with, which stands for `frames` frames at `bridge`; `None` if
    /// it has to be shown to the hooks.
    #[must_use]
    #[inline]
    pub fn of(bytes: &[u8], bridge: IfId, frames: u64) -> Option<Self> {
        plain(bytes, bridge).map(|first| Self::one(first, frames))
    }

    /// A packet alone, for `frames` frames.
    #[inline]
    pub(super) const fn one(first: Plain, frames: u64) -> Self {
        let weight = Counter {
            packets: frames,
            bytes: first.len as u64,
        };
        Self {
            first,
            packets: 1,
            weight,
        }
    }

    /// The one packet, if it is nothing but data.
    #[must_use]
    #[inline]
    pub fn datum(&self) -> Option<Datum> {
        (self.packets == 1 && self.may_grow()).then_some(Datum {
            flow: self.first.key.flow,
            len: self.first.len as u16,
        })
    }

    /// The length of the packet that `bytes` start with, if it is one of this flow and nothing but data as
    /// well.
    #[must_use]
    #[inline]
    pub fn length_of(&self, bytes: &[u8]) -> Option<usize> {
        let head = Head::of(bytes)?;
        if head.flow != self.first.key.flow {
            return None;
        }
        let (len, flags) = sound(bytes, &head)?;
        (self.first.key.is_udp() || is_data(flags)).then_some(len)
    }

    /// Whether more packets may be added: what is more than data comes alone.
    #[must_use]
    #[inline]
    pub const fn may_grow(&self) -> bool {
        self.first.is_data()
    }

    /// Whose packets these are: protocol and source address; destination address and ports.
    #[must_use]
    #[inline]
    pub const fn flow(&self) -> [u64; 2] {
        self.first.key.flow
    }

    /// Adds packets that are [of the shape](super::Shape::is_of) of the first.
    #[inline]
    pub const fn add_alike(&mut self, packets: u32) {
        self.add(packets, packets as usize * self.first.len as usize);
    }

    /// Adds packets of this flow, which stand for as many frames, of `bytes` in all.
    #[inline]
    pub const fn add(&mut self, packets: u32, bytes: usize) {
        self.packets += packets;
        self.weight.packets += packets as u64;
        self.weight.bytes += bytes as u64;
    }
}

#[inline]
fn u16_at(bytes: &[u8], at: usize) -> usize {
    usize::from(u16::from_be_bytes([bytes[at], bytes[at + 1]]))
}

/// What an IPv4 header without options and fragmentation is known by: version and length, MF and offset.
const PLAIN: u64 = 0x4500_0000_0000_0000;
const PLAIN_MASK: u64 = 0xff00_0000_0000_3fff;
/// Protocol and source, without time to live and checksum.
pub(super) const SOURCE_MASK: u64 = 0x00ff_0000_ffff_ffff;

/// The first 28 bytes of a packet, as far as they say whose it is.
#[derive(Clone, Copy, Debug)]
struct Head {
    /// Protocol and source address; destination and ports.
    flow: [u64; 2],
    /// Bytes of the packet, as it says.
    len: usize,
    /// Bytes 24 and 25: the length of a UDP datagram.
    datagram: usize,
}

impl Head {
    #[inline]
    fn of(bytes: &[u8]) -> Option<Self> {
        let head: &[u8; 28] = bytes.first_chunk()?;
        let (first, rest) = head.split_first_chunk::<8>()?;
        let (second, rest) = rest.split_first_chunk::<8>()?;
        let third = rest.first_chunk::<8>()?;
        let first = u64::from_be_bytes(*first);
        if first & PLAIN_MASK != PLAIN {
            return None;
        }
        Some(Self {
            flow: [
                u64::from_be_bytes(*second) & SOURCE_MASK,
                u64::from_be_bytes(*third),
            ],
            len: (first >> 32) as usize & 0xffff,
            datagram: u16_at(head, 24),
        })
    }

    const fn protocol(&self) -> u8 {
        (self.flow[0] >> 48) as u8
    }

    #[inline(always)]
    const fn is_sound_datagram(&self, bytes: &[u8]) -> bool {
        self.len <= bytes.len() && self.datagram >= 8 && self.len >= 20 + self.datagram
    }
}

/// The flags of a segment that is nothing but data or an acknowledgement.
#[inline]
const fn is_data(flags: u8) -> bool {
    flags & 0x37 == 0x10
}

/// The length and the flags of a packet of UDP or TCP that is all there.
#[inline]
fn sound(bytes: &[u8], head: &Head) -> Option<(usize, u8)> {
    let len = head.len;
    if len > bytes.len() {
        return None;
    }
    match head.protocol() {
        UDP if head.is_sound_datagram(bytes) => Some((len, 0)),
        TCP => {
            let &offset = bytes.get(32)?;
            let &flags = bytes.get(33)?;
            let header = usize::from(offset >> 4) * 4;
            (header >= 20 && len >= 20 + header).then_some((len, flags))
        }
        _ => None,
    }
}

/// Reads a packet whose way may be known: IPv4 without options and fragmentation, and [`sound`].
#[inline]
pub(super) fn plain(bytes: &[u8], input: IfId) -> Option<Plain> {
    let head = Head::of(bytes)?;
    let (len, flags) = sound(bytes, &head)?;
    Some(Plain {
        key: Key {
            flow: head.flow,
            input,
        },
        flags,
        len: len as u32,
    })
}

pub(super) const RAW: Option<ChainId> = ChainId::base(Family::V4, Table::Raw, Hook::Prerouting);
pub(super) const NAT: [Option<ChainId>; 2] = [
    ChainId::base(Family::V4, Table::Nat, Hook::Prerouting),
    ChainId::base(Family::V4, Table::Nat, Hook::Postrouting),
];
pub(super) const FORWARD: Option<ChainId> = ChainId::base(Family::V4, Table::Filter, Hook::Forward);

impl Netfilter {
    /// Runs PREROUTING, FORWARD and POSTROUTING over a packet that `bridge` passes from one port to
    /// another: what [`run_for`](Self::run_for) does one by one.
    pub fn run_bridged(
        &mut self,
        now: Time,
        bytes: &mut [u8],
        csum_partial: bool,
        bridge: IfId,
        env: &dyn Env,
        frames: u32,
    ) -> Outcome {
        if self.is_empty() {
            return Outcome::ACCEPT;
        }
        let run = Run::of(bytes, bridge, u64::from(frames));
        if let Some(run) = &run
            && self.pass_alone(now, run, env.change())
        {
            return Outcome::ACCEPT;
        }
        let path = Path {
            input: Some(bridge),
            output: Some(bridge),
            bridged: true,
        };
        let hooks = [Hook::Prerouting, Hook::Forward, Hook::Postrouting];
        let whole = self.run_hooks(now, &hooks, bytes, csum_partial, &path, env, frames);
        if let Some(run) = run
            && (whole.verdict, whole.rewrite) == (Verdict::Accept, None)
        {
            self.learn(&run.first, &path, env.change());
        }
        whole
    }

    #[cfg(test)]
    pub(super) fn lanes_used(&self) -> usize {
        self.lanes.list.iter().flatten().count()
    }

    /// Sends packets the way that is known: each passes the three hooks as it is, which is accounted for, at the
    /// rules in `tally`. `false`, and nothing has happened, if the hooks have to see them. `addresses` is what
    /// [`Env::change`] says.
    #[inline]
    pub fn pass_bridged(
        &mut self,
        now: Time,
        run: &Run,
        addresses: Option<u64>,
        tally: &mut Tally,
    ) -> bool {
        let rules = self.rules.change();
        if run.first.is_data()
            && let Some(lane) = self.lanes.of(&run.first.key, rules)
        {
            let (trail, of) = (lane.trail, (lane.conn, lane.direction, lane.state));
            if advance(&mut self.conntrack, now, run, of) {
                self.tally(tally, trail, run.weight);
                return true;
            }
        }
        let Some(trail) = self.pass_like(now, run, addresses) else {
            return false;
        };
        self.tally(tally, trail, run.weight);
        true
    }

    /// The same for packets of nothing but data whose way is known and [holds](Self::passages): in a connection that is open
    /// and as it was.
    #[inline]
    pub fn pass_along(
        &mut self,
        now: Time,
        run: &Run,
        passage: &Passage,
        tally: &mut Tally,
    ) -> bool {
        self.pass_open(now, (run.packets, run.weight), passage, tally)
    }

    /// The same for one packet, which is one frame.
    #[inline(always)]
    pub fn pass_one(
        &mut self,
        now: Time,
        datum: &Datum,
        passage: &Passage,
        tally: &mut Tally,
    ) -> bool {
        let weight = Counter {
            packets: 1,
            bytes: u64::from(datum.len),
        };
        self.pass_open(now, (1, weight), passage, tally)
    }

    /// Whether [`Self::pass_one`] would let packets of data pass now. If so, it does whatever others pass first, of which
    /// the same was said at this moment.
    #[must_use]
    #[inline(always)]
    pub fn holds(&self, now: Time, passage: &Passage) -> bool {
        let conn = self.conntrack.conn(passage.conn);
        conn.is_some_and(|conn| {
            conn.is_open()
                && !conn.is_expired(now)
                && conn.seen_reply == (passage.state == State::Established)
        })
    }

    /// [`Self::pass_one`] for a packet of `len` bytes whose way [holds](Self::holds).
    #[inline(always)]
    pub fn pass_held(&mut self, now: Time, len: u16, passage: &Passage, tally: &mut Tally) {
        let Some(conn) = self.conntrack.conn_mut(passage.conn) else {
            return;
        };
        let (last, was_assured) = (conn.expires, conn.assured);
        conn.advance_open(now, passage.direction);
        if conn.expires < last || conn.assured != was_assured {
            self.conntrack.settle(passage.conn);
        }
        let weight = Counter {
            packets: 1,
            bytes: len.into(),
        };
        self.tally(tally, u32::from(passage.trail), weight);
    }

    #[inline(always)]
    fn pass_open(
        &mut self,
        now: Time,
        (packets, weight): (u32, Counter),
        passage: &Passage,
        tally: &mut Tally,
    ) -> bool {
        let Some(conn) = self.conntrack.conn_mut(passage.conn) else {
            return false;
        };
        let answered = passage.direction == Direction::Reply || conn.seen_reply;
        let holds = conn.is_open()
            && !conn.is_expired(now)
            && answered == (passage.state == State::Established);
        if !holds {
            return false;
        }
        let (mut last, was_assured) = (conn.expires, conn.assured);
        conn.advance_open(now, passage.direction);
        let mut is_shorter = conn.expires < last;
        if packets > 1 {
            last = conn.expires;
            conn.advance_open(now, passage.direction);
            is_shorter |= conn.expires < last;
        }
        if is_shorter || conn.assured != was_assured {
            self.conntrack.settle(passage.conn);
        }
        self.tally(tally, u32::from(passage.trail), weight);
        true
    }

    #[inline]
    fn tally(&mut self, tally: &mut Tally, trail: u32, weight: Counter) {
        if trail != tally.trail {
            self.count(tally);
            tally.trail = trail;
        }
        tally.weight.add(weight);
    }

    /// The way of packets that have just passed and are nothing but data, if more are to be expected.
    #[must_use]
    pub fn passage(&self, run: &Run) -> Option<Passage> {
        let lane = self.lanes.of(&run.first.key, self.rules.change());
        lane.filter(|_| run.first.is_data()).map(Lane::passage)
    }

    /// Two numbers of which one changes when the [passages](Passage) that were given hold no longer.
    #[must_use]
    #[inline]
    pub const fn passages(&self) -> (u64, u32) {
        (self.rules.change(), self.lanes.epoch)
    }

    /// The way of packets without a lane, if the rules have said it of others like them and all that the
    /// connection needs is to be told.
    #[inline]
    fn pass_like(&mut self, now: Time, run: &Run, addresses: Option<u64>) -> Option<u32> {
        let first = &run.first;
        let Some((at, direction)) = self.conntrack.peek_words(first.key.flow) else {
            return self.pass_first(now, run, addresses);
        };
        let conn = self.conntrack.conn_mut(at)?;
        if conn.is_translated() || conn.is_expired(now) {
            return None;
        }
        let state = match direction {
            Direction::Original if !conn.seen_reply => State::New,
            _ => State::Established,
        };
        let (asked, answered) = ((first.key.input, self.lanes.epoch), conn.seen_reply);
        let rules = self.rules.change();
        let said = conn.said.of(asked, direction, answered);
        let trail = match said.filter(|_| self.lanes.rules == rules) {
            Some(trail) => trail,
            None => {
                let like = bridged_like(&self.rules, &first.key, state);
                let trail = self.lanes.said_of(&like, rules)?;
                conn.said.keep(asked, (direction, answered), trail);
                trail
            }
        };
        if tell(conn, now, run, direction)? {
            self.conntrack.settle(at);
        }
        if first.is_data() {
            self.open(first, (at, direction, state), trail);
        }
        Some(trail)
    }

    /// Counts at the rules what passed lanes; nothing is left in the tally.
    #[inline(never)]
    pub fn count(&mut self, tally: &mut Tally) {
        let weight = core::mem::take(&mut tally.weight);
        if weight.packets > 0
            && let Some(trail) = self.lanes.trails.get_index(tally.trail as usize)
        {
            count(&mut self.rules, trail, weight);
        }
    }

    /// The way of a packet that starts a connection, if the rules have said it of others like it.
    fn pass_first(&mut self, now: Time, run: &Run, addresses: Option<u64>) -> Option<u32> {
        let first = &run.first;
        let like = bridged_like(&self.rules, &first.key, State::New);
        let opening = *self.lanes.opening_of(&like, self.rules.change())?;
        let holds = opening.addresses.is_none() || opening.addresses == addresses;
        if !holds || run.packets != 1 {
            return None;
        }
        let flow = Flow {
            tuple: first.key.tuple(),
            flags: first.flags,
        };
        let at = self.conntrack.enter_plain(now, &flow, None)?;
        self.count_nat(&opening.nat, run.weight);
        if first.is_data() {
            self.open(first, (at, Direction::Original, State::New), opening.trail);
        }
        Some(opening.trail)
    }

    /// Counts a first packet at the rules of the nat table.
    pub(super) fn count_nat(&mut self, trails: &[Trail; 2], weight: Counter) {
        for (chain, trail) in NAT.iter().zip(trails) {
            if let Some(chain) = *chain {
                self.rules.count_along(chain, trail, weight);
            }
        }
    }

    fn pass_alone(&mut self, now: Time, run: &Run, addresses: Option<u64>) -> bool {
        let mut tally = Tally::default();
        let passed = self.pass_bridged(now, run, addresses, &mut tally);
        self.count(&mut tally);
        passed
    }

    /// A packet has just passed the hooks: so will all that are like it, if every hook will say the same.
    fn learn(&mut self, plain: &Plain, path: &Path, addresses: Option<u64>) {
        if self.rules.keeps_judgements() {
            return;
        }
        let Some(known) = self.last.as_ref().map(|last| last.known) else {
            return;
        };
        let Some(at) = known.conn else { return };
        let conn = self.conntrack.conn(at);
        let is_settled = conn.is_some_and(|conn| conn.confirmed && !conn.is_translated());
        if !is_settled || known.state == State::Related {
            return;
        }
        let rules = self.rules.change();
        let like = bridged_like(&self.rules, &plain.key, known.state);
        let said = self.lanes.said_of(&like, rules);
        let Some(trail) = said.or_else(|| {
            let trail = self.trail(plain, path, known.state)?;
            Some(self.lanes.say(like, trail, rules))
        }) else {
            return;
        };
        if known.state == State::New {
            self.learn_opening(plain, path, like, trail, addresses);
        }
        if plain.is_data() {
            self.open(plain, (at, known.direction, known.state), trail);
        }
    }

    /// It may have been the first of its connection, and have been shown to the nat table as well.
    fn learn_opening(
        &mut self,
        plain: &Plain,
        path: &Path,
        like: Like,
        trail: u32,
        addresses: Option<u64>,
    ) {
        let facts = Facts {
            output: path.output,
            state: State::New,
            ..plain.facts(path)
        };
        let said = |chain: Option<ChainId>| self.rules.said_with(chain?, &facts, addresses);
        let [
            Some((Target::Accept, before)),
            Some((Target::Accept, behind)),
        ] = NAT.map(said)
        else {
            return;
        };
        let asks = before.asks_addresses() || behind.asks_addresses();
        let opening = Opening {
            nat: [before, behind],
            trail,
            addresses: addresses.filter(|_| asks),
        };
        self.lanes
            .openings
            .keep(like, u64::from(self.lanes.epoch), opening);
    }

    /// The rules that a packet of a known connection meets, if they will say the same of the next one like it.
    fn trail(&self, plain: &Plain, path: &Path, state: State) -> Option<Trail> {
        let raw = plain.facts(path);
        let forward = Facts {
            output: path.output,
            state,
            ..raw
        };
        if !RAW.is_some_and(|chain| self.rules.lets_pass(chain, &raw)) {
            return None;
        }
        FORWARD.and_then(|chain| self.rules.trail_of(chain, &forward))
    }

    /// One more packet of data of a flow: opens a lane for it if more are to be expected.
    #[inline]
    fn open(&mut self, plain: &Plain, of: (ConnRef, Direction, State), trail: u32) {
        let (at, direction, state) = of;
        let conn = self.conntrack.conn_mut(at);
        if conn.is_some_and(|conn| conn.goes_on(direction)) {
            self.lanes.open(Lane {
                key: plain.key,
                conn: at,
                direction,
                state,
                trail,
                epoch: self.lanes.epoch,
            });
        }
    }
}

/// Counts at the rules what passed the hooks along a trail.
pub(super) fn count(rules: &mut Ruleset, trail: &Trail, weight: Counter) {
    if let (Some(raw), Some(forward)) = (RAW, FORWARD) {
        rules.count_passed(raw, weight);
        rules.count_along(forward, trail, weight);
    }
}

/// What a packet that a bridge passes is to the rules.
#[inline]
fn bridged_like(rules: &Ruleset, key: &Key, state: State) -> Like {
    let ports = rules.named(key.ports());
    Like::of(key, state, key.destination_bits(), ports)
}

/// Accounts for packets at their connection, if it is as it was.
#[inline]
pub(super) fn advance(
    conntrack: &mut Conntrack,
    now: Time,
    run: &Run,
    (at, direction, state): (ConnRef, Direction, State),
) -> bool {
    let Some(conn) = conntrack.conn_mut(at) else {
        return false;
    };
    let answered = direction == Direction::Reply || conn.seen_reply;
    if answered != (state == State::Established) || conn.is_expired(now) {
        return false;
    }
    match tell(conn, now, run, direction) {
        None => return false,
        Some(true) => conntrack.settle(at),
        Some(false) => {}
    }
    true
}

/// Tells a living connection of its packets; whether its place in the table is to be [settled](Conntrack::settle).
/// `None` if they do more to it than to go on.
///
/// To a connection the second packet of a moment and every later one mean the same: whether there was
/// an answer, the state and the timer are then as they leave them. So two are enough.
#[inline]
fn tell(conn: &mut Conn, now: Time, run: &Run, direction: Direction) -> Option<bool> {
    let flags = run.first.flags;
    let is_open = conn.is_open() && run.first.is_data();
    let (mut is_shorter, was_assured) = (false, conn.assured);
    for _ in 0..run.packets.min(2) {
        let before = conn.expires;
        if is_open {
            conn.advance_open(now, direction);
        } else if !conn.advance_living(now, direction, flags) {
            return None;
        }
        is_shorter |= conn.expires < before;
    }
    Some(is_shorter || conn.assured != was_assured)
}
