//! A learning bridge: where does this frame go?
//!
//! After Linux's `net/bridge` (`br_handle_frame`, `br_forward`, `br_dev_xmit`) with spanning tree, VLAN
//! filtering and multicast tables off, as Docker creates its bridges. It learns the source address, looks up the
//! destination and answers with a [`Decision`]; it holds no frames and sends none. 802.1Q tags are
//! payload here: addresses are learned without regard to them.
//!
//! ```text
//!   ports ──▶ input(port, frame) ──▶ Local        up to the bridge's own interface
//!                                    Port(p)      out of one port
//!                                    Flood        out of all others, up as well if it is a group address
//!                                    Drop(why)
//!   bridge's own interface ──▶ output(frame) ──▶ Port, Flood, Drop
//! ```
//!
//! Left out: STP, IGMP and MLD snooping (without a querier Linux floods too), VLAN filtering. Frames that a port
//! sends are counted by its link; here is counted what came in and what was decided.

use core::fmt;
use core::ops::RangeInclusive;
use core::time::Duration;

use crate::fdb::{self, Fdb, Kind, Learning};
use crate::segment;
use crate::time::Time;
use crate::verdict::{DropReason, IfId};
use crate::wire::{ETHER_LEN, EthernetAddress};

pub use crate::fdb::PortId;

/// Ports of a Linux bridge: `BR_MAX_PORTS` is 1024 and number 0 is not used.
pub const PORTS: usize = 1023;

/// Group addresses that stay on one link (IEEE 802.1D), 01:80:c2:00:00:01 to :0f. The bridge group
/// address itself, :00, is forwarded while spanning tree is off, so that a bridge behind this one can
/// find a loop (`br_handle_frame`).
const LINK_LOCAL: RangeInclusive<u64> = 0x0180_c200_0001..=0x0180_c200_000f;
/// The bit of an address that says that it is a group's.
const GROUP: u64 = 1 << 40;
const MAC_MASK: u64 = (1 << 48) - 1;

/// How much a bridge may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Ports.
    pub ports: usize,
    /// Learned addresses.
    pub addresses: usize,
}

impl Default for Limits {
    /// 1,023 ports, as Linux has it, and [`fdb::LIMIT`] addresses.
    fn default() -> Self {
        Self {
            ports: PORTS,
            addresses: fdb::LIMIT,
        }
    }
}

/// The bridge has as many ports as it may have. Prints as Linux's `EXFULL`, with which Docker ends
/// `adding interface vethX to bridge docker0 failed: exchange full`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortsFull;

impl fmt::Display for PortsFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("exchange full")
    }
}

impl core::error::Error for PortsFull {}

/// Where a frame goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Decision {
    /// It dies.
    Drop(DropReason),
    /// Out of every port of [`Bridge::flood_ports`].
    Flood {
        /// Up to the bridge's own interface as well.
        local: bool,
    },
    /// Up to the bridge's own interface.
    Local,
    /// Out of this port.
    Port(PortId),
}

/// Port settings as `bridge link set` has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flags {
    /// Frames may leave through the port that they came from.
    pub hairpin: bool,
    /// Frames do not go from one isolated port to another.
    pub isolated: bool,
    /// Source addresses are learned.
    pub learning: bool,
}

impl Default for Flags {
    fn default() -> Self {
        Self {
            hairpin: false,
            isolated: false,
            learning: true,
        }
    }
}

/// What came in at a port. A super-segment counts as the frames that it stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortCounters {
    /// Frames.
    pub frames: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Those of them that the bridge dropped.
    pub dropped: u64,
}

/// What a bridge decided, in frames; a flooded frame counts once however many ports there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Came in at the ports.
    pub received: u64,
    /// Sent by the bridge's own interface.
    pub sent: u64,
    /// Went to one port.
    pub forwarded: u64,
    /// Went to all other ports.
    pub flooded: u64,
    /// Went up to the bridge's own interface, alone or besides a flood.
    pub local: u64,
    /// Dropped.
    pub dropped: u64,
    /// Addresses that moved from one port to another.
    pub moved: u64,
}

/// A port as it stands.
#[derive(Clone, Copy, Debug)]
pub struct Port {
    /// The interface that is the port.
    pub interface: IfId,
    /// Settings.
    pub flags: Flags,
    /// What came in.
    pub counters: PortCounters,
    /// It forwards; a port that is down neither takes nor gets frames.
    pub up: bool,
}

/// What the last frame taught.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Learned {
    /// The address.
    pub address: EthernetAddress,
    /// The port that it is behind now.
    pub port: PortId,
    /// The port that it was behind before.
    pub moved_from: Option<PortId>,
}

/// A bridge.
#[derive(Debug)]
pub struct Bridge {
    interface: IfId,
    address: EthernetAddress,
    /// The same as a number.
    own: u64,
    ports: Vec<Option<Port>>,
    count: usize,
    /// No port number below this one is free.
    free: usize,
    limit: usize,
    fdb: Fdb,
    counters: Counters,
    learned: Option<Learned>,
    /// The table had no room for the source of the last frame.
    refused: bool,
    /// Goes up when the bridge or a port is changed.
    change: u64,
    up: bool,
}

impl Bridge {
    /// A bridge without ports whose own interface is `interface` with this address, up.
    #[must_use]
    pub fn new(interface: IfId, address: EthernetAddress, limits: Limits) -> Self {
        let mut fdb = Fdb::new(limits.addresses);
        fdb.insert_local(Time::ZERO, 0, address, None);
        Self {
            interface,
            address,
            own: fdb::bits(address),
            ports: Vec::new(),
            count: 0,
            free: 0,
            limit: limits.ports.min(u32::MAX as usize),
            fdb,
            counters: Counters::default(),
            learned: None,
            refused: false,
            change: 0,
            up: true,
        }
    }

    /// The bridge's own interface.
    #[must_use]
    pub const fn interface(&self) -> IfId {
        self.interface
    }

    /// The address of the bridge's own interface.
    #[must_use]
    pub const fn address(&self) -> EthernetAddress {
        self.address
    }

    /// Whether `destination` (its first byte highest) is the address of the bridge's own interface.
    #[must_use]
    #[inline(always)]
    pub const fn is_own(&self, destination: u64) -> bool {
        self.own == destination
    }

    /// Changes the address of the bridge's own interface.
    pub fn set_address(&mut self, now: Time, address: EthernetAddress) {
        self.fdb.remove(0, self.address);
        self.address = address;
        self.own = fdb::bits(address);
        self.fdb.insert_local(now, 0, address, None);
    }

    /// Brings the bridge up or takes it down. A bridge that is down moves nothing and has forgotten
    /// what it learned.
    pub fn set_up(&mut self, up: bool) {
        self.change += 1;
        self.up = up;
        if !up {
            self.fdb.flush();
        }
    }

    /// Changes how long a learned address is remembered.
    pub const fn set_ageing(&mut self, ageing: Duration) {
        self.fdb.set_ageing(ageing);
    }

    /// Adds `interface` as a port that is up, under the lowest free number. Frames for `address`, the
    /// interface's own, go up.
    ///
    /// # Errors
    /// [`PortsFull`] at the limit.
    pub fn add_port(
        &mut self,
        now: Time,
        interface: IfId,
        address: EthernetAddress,
    ) -> Result<PortId, PortsFull> {
        if self.count >= self.limit {
            return Err(PortsFull);
        }
        let index = (self.free..self.ports.len())
            .find(|&index| self.ports[index].is_none())
            .unwrap_or(self.ports.len());
        if index == self.ports.len() {
            self.ports.push(None);
        }
        self.ports[index] = Some(Port {
            interface,
            flags: Flags::default(),
            counters: PortCounters::default(),
            up: true,
        });
        self.count += 1;
        self.change += 1;
        self.free = index + 1;
        let port = PortId(index as u32);
        if address != self.address {
            self.fdb.insert_local(now, 0, address, Some(port));
        }
        Ok(port)
    }

    /// Takes a port off the bridge, with all that is known of it. Its number is free again.
    pub fn remove_port(&mut self, port: PortId) -> Option<Port> {
        let removed = self.ports.get_mut(port.0 as usize)?.take()?;
        self.count -= 1;
        self.change += 1;
        self.free = self.free.min(port.0 as usize);
        self.fdb.remove_port(port);
        Some(removed)
    }

    /// Number of ports.
    #[must_use]
    pub const fn port_count(&self) -> usize {
        self.count
    }

    /// The port with this number.
    #[must_use]
    pub fn port(&self, port: PortId) -> Option<&Port> {
        self.ports.get(port.0 as usize)?.as_ref()
    }

    fn port_mut(&mut self, port: PortId) -> Option<&mut Port> {
        self.ports.get_mut(port.0 as usize)?.as_mut()
    }

    /// The ports in order of their numbers.
    pub fn ports(&self) -> impl Iterator<Item = (PortId, &Port)> {
        self.ports.iter().enumerate().filter_map(|(index, port)| {
            let port = port.as_ref()?;
            Some((PortId(index as u32), port))
        })
    }

    /// Brings a port up or takes it down; what was learned at a port that goes down is forgotten.
    pub fn set_port_up(&mut self, port: PortId, up: bool) {
        self.change += 1;
        if let Some(state) = self.port_mut(port) {
            state.up = up;
            if !up {
                self.fdb.flush_port(port);
            }
        }
    }

    /// Changes a port's settings.
    pub fn set_port_flags(&mut self, port: PortId, flags: Flags) {
        self.change += 1;
        if let Some(state) = self.port_mut(port) {
            state.flags = flags;
        }
    }

    /// The addresses that the bridge knows.
    #[must_use]
    pub const fn fdb(&self) -> &Fdb {
        &self.fdb
    }

    /// The same, to add and remove entries by hand.
    pub const fn fdb_mut(&mut self) -> &mut Fdb {
        &mut self.fdb
    }

    /// What was decided so far.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// What the last frame that came in taught, if it was new.
    #[must_use]
    pub const fn learned(&self) -> Option<Learned> {
        self.learned
    }

    /// Decides about an ordinary frame that came in at `port`.
    #[inline]
    pub fn input(&mut self, now: Time, port: PortId, frame: &[u8]) -> Decision {
        let decision = self.judge(now, port, frame);
        self.account(port, decision, (1, frame.len() as u64));
        decision
    }

    /// [`Self::input`] without counting: the caller [accounts](Self::account) for the frame.
    #[inline]
    pub fn judge(&mut self, now: Time, port: PortId, frame: &[u8]) -> Decision {
        self.learned = None;
        self.refused = false;
        self.decide_input(now, port, frame)
    }

    /// Decides about a frame that came in at `port` and may be a super-segment.
    pub fn input_super(
        &mut self,
        now: Time,
        port: PortId,
        frame: &[u8],
        gso_size: u16,
    ) -> Decision {
        self.learned = None;
        self.refused = false;
        let decision = self.decide_input(now, port, frame);
        self.account(port, decision, segment::wire_size(frame, gso_size));
        decision
    }

    /// More frames with the addresses of the last one at the same port and moment, if nothing at the
    /// bridge was changed since: `frames` of `bytes` in all on a wire. The last one's decision holds for
    /// them, and they teach nothing that it did not teach. The bridge has to be
    /// [settled](Self::is_settled), else it wants to look at each.
    pub fn input_again(&mut self, port: PortId, decision: Decision, (frames, bytes): (u64, u64)) {
        if frames > 0 {
            debug_assert!(self.is_settled());
            self.learned = None;
            self.account(port, decision, (frames, bytes));
        }
    }

    /// A number that changes when a frame with the addresses of an earlier one may go another way than that,
    /// unless that is because its destination is [too old](Self::old_at).
    #[must_use]
    #[inline]
    pub const fn change(&self) -> u64 {
        self.change + self.fdb.change()
    }

    /// When `destination` (its first byte highest) has been silent for so long that frames for it no longer go the way of
    /// one that came in at `port` and was forwarded. `None` if the bridge has to look at each.
    #[must_use]
    pub fn old_at(&self, port: PortId, destination: u64) -> Option<Time> {
        let learning = self.port(port)?.flags.learning;
        self.known_until(destination).filter(|_| learning)
    }

    /// Until when the bridge knows where `destination` (its first byte highest) is, if that is silent.
    #[must_use]
    pub fn known_until(&self, destination: u64) -> Option<Time> {
        self.fdb.old_at(destination)
    }

    /// One more frame with the addresses of an earlier one came in at the same port: true if nothing has
    /// [changed](Self::change) meanwhile, it goes the same way and teaches nothing. Else nothing has happened. The caller
    /// [accounts](Self::account) for the frame. `source` is its source, the first byte highest.
    #[inline(always)]
    pub fn renew(&mut self, now: Time, port: PortId, source: u64) -> bool {
        let is_known = self.fdb.renew_key(now, source, port);
        if is_known {
            self.learned = None;
            self.refused = false;
        }
        is_known
    }

    /// The port that an ordinary frame from `port` is forwarded to, if the bridge knows both its addresses: what
    /// [`Self::judge`] decides about it then, and all that it does. `None` if that has to decide.
    #[inline]
    pub fn between(&mut self, now: Time, port: PortId, frame: &[u8]) -> Option<PortId> {
        let (header, flags) = self.admit(port, frame).ok()?;
        if !flags.learning || header.is_to_group() || !self.renew(now, port, header.source) {
            return None;
        }
        let (kind, to) = self.fdb.known(now, header.destination)?;
        let to = to.filter(|_| kind != Kind::Local)?;
        let refusal = self.refusal(Some((port, flags)), to);
        refusal.is_none().then_some(to)
    }

    /// A frame like the last one would change nothing: the table knows its source, or need not. Else the
    /// table is full, and each such frame makes it look for room again, or forgets at once, and each is learned anew.
    #[must_use]
    pub const fn is_settled(&self) -> bool {
        !self.refused && self.fdb.remembers()
    }

    /// Counts frames that came in at `port`, of so many bytes in all, and what became of them.
    #[inline]
    pub fn account(&mut self, port: PortId, decision: Decision, (frames, bytes): (u64, u64)) {
        if let Some(port) = self.port_mut(port) {
            port.counters.frames += frames;
            port.counters.bytes += bytes;
            if matches!(decision, Decision::Drop(_)) {
                port.counters.dropped += frames;
            }
        }
        self.counters.received += frames;
        self.count_decision(decision, frames);
    }

    /// Counts a frame of so many bytes that came in at `port` and was forwarded.
    #[inline(always)]
    pub fn forwarded(&mut self, port: PortId, bytes: u64) {
        if let Some(port) = self.port_mut(port) {
            port.counters.frames += 1;
            port.counters.bytes += bytes;
        }
        self.counters.received += 1;
        self.counters.forwarded += 1;
    }

    #[inline]
    fn decide_input(&mut self, now: Time, port: PortId, frame: &[u8]) -> Decision {
        let (header, flags) = match self.admit(port, frame) {
            Ok(admitted) => admitted,
            Err(reason) => return Decision::Drop(reason),
        };
        if flags.learning {
            self.learn(now, port, header.source);
        }
        if header.is_to_group() {
            return Decision::Flood { local: true };
        }
        match self.fdb.lookup_key(now, header.destination) {
            Some((Kind::Local, _) | (_, None)) => Decision::Local,
            Some((_, Some(to))) => self.to_port(Some((port, flags)), to),
            None => self.flood_unknown(Some(port)),
        }
    }

    /// What a frame has to be before it is looked at, or why it is not that; and the settings of its port.
    #[inline]
    fn admit(&self, port: PortId, frame: &[u8]) -> Result<(Header, Flags), DropReason> {
        if !self.up {
            return Err(DropReason::InterfaceDown);
        }
        let Some(&Port {
            up: true, flags, ..
        }) = self.port(port)
        else {
            return Err(DropReason::BridgePortDown);
        };
        let header = Header::of(frame).ok_or(DropReason::Truncated)?;
        if header.source & GROUP != 0 {
            return Err(DropReason::BridgeSourceMulticast);
        }
        if header.source == 0 {
            return Err(DropReason::BridgeSourceZero);
        }
        if LINK_LOCAL.contains(&header.destination) {
            return Err(DropReason::BridgeLinkLocal);
        }
        Ok((header, flags))
    }

    #[inline]
    fn learn(&mut self, now: Time, port: PortId, source: u64) {
        let moved_from = match self.fdb.learn_key(now, source, port) {
            Learning::Added => None,
            Learning::Moved(before) => {
                self.counters.moved += 1;
                Some(before)
            }
            Learning::Refused => {
                self.refused = true;
                return;
            }
            Learning::Known | Learning::Fixed => return,
        };
        self.learned = Some(Learned {
            address: fdb::address(source),
            port,
            moved_from,
        });
    }

    /// Decides about an ordinary frame that the bridge's own interface sends.
    pub fn output(&mut self, now: Time, frame: &[u8]) -> Decision {
        self.output_super(now, frame, 0)
    }

    /// Decides about a frame that the bridge's own interface sends and that may be a super-segment.
    pub fn output_super(&mut self, now: Time, frame: &[u8], gso_size: u16) -> Decision {
        let decision = self.decide_output(now, frame);
        let (frames, _) = segment::wire_size(frame, gso_size);
        self.counters.sent += frames;
        self.count_decision(decision, frames);
        decision
    }

    /// The port that an ordinary frame of the bridge's own interface leaves by, if the bridge knows its destination: what
    /// [`Self::output`] decides about it then. `None` if that has to decide.
    #[must_use]
    pub fn towards(&self, now: Time, frame: &[u8]) -> Option<PortId> {
        let header = Header::of(frame).filter(|header| self.up && !header.is_to_group())?;
        let (_, to) = self.fdb.known(now, header.destination)?;
        to.filter(|&to| self.refusal(None, to).is_none())
    }

    /// Counts a frame of the bridge's own interface that was forwarded.
    #[inline(always)]
    pub fn sent(&mut self) {
        self.counters.sent += 1;
        self.counters.forwarded += 1;
    }

    fn decide_output(&mut self, now: Time, frame: &[u8]) -> Decision {
        if !self.up {
            return Decision::Drop(DropReason::InterfaceDown);
        }
        let Some(header) = Header::of(frame) else {
            return Decision::Drop(DropReason::Truncated);
        };
        if header.is_to_group() {
            return self.flood_unknown(None);
        }
        match self.fdb.lookup_key(now, header.destination) {
            Some((_, Some(to))) => self.to_port(None, to),
            Some((_, None)) => Decision::Drop(DropReason::BridgeSamePort),
            None => self.flood_unknown(None),
        }
    }

    #[inline]
    fn count_decision(&mut self, decision: Decision, frames: u64) {
        match decision {
            Decision::Drop(_) => self.counters.dropped += frames,
            Decision::Flood { local } => {
                self.counters.flooded += frames;
                self.counters.local += u64::from(local) * frames;
            }
            Decision::Local => self.counters.local += frames,
            Decision::Port(_) => self.counters.forwarded += frames,
        }
    }

    #[inline]
    fn to_port(&self, from: Option<(PortId, Flags)>, to: PortId) -> Decision {
        match self.refusal(from, to) {
            Some(reason) => Decision::Drop(reason),
            None => Decision::Port(to),
        }
    }

    /// Why a frame from `from` may not leave through `to` (`should_deliver` in Linux).
    #[inline]
    fn refusal(&self, from: Option<(PortId, Flags)>, to: PortId) -> Option<DropReason> {
        let Some(target) = self.port(to).filter(|port| port.up) else {
            return Some(DropReason::BridgePortDown);
        };
        let (from, flags) = from?;
        if from == to && !target.flags.hairpin {
            return Some(DropReason::BridgeSamePort);
        }
        let both_isolated = target.flags.isolated && flags.isolated;
        both_isolated.then_some(DropReason::BridgeIsolated)
    }

    fn flood_unknown(&self, from: Option<PortId>) -> Decision {
        if self.next_flood_port(from, None).is_none() {
            return Decision::Drop(DropReason::BridgeNoPort);
        }
        Decision::Flood { local: false }
    }

    /// The ports that a flooded frame leaves through, in order; `except` is the port that it came
    /// from, none if the bridge's own interface sent it.
    pub fn flood_ports(&self, except: Option<PortId>) -> impl Iterator<Item = PortId> + '_ {
        let mut last = None;
        core::iter::from_fn(move || {
            last = Some(self.next_flood_port(except, last)?);
            last
        })
    }

    /// The first port of [`Self::flood_ports`] with a number above `after`: for callers that change
    /// the bridge between two of them.
    #[must_use]
    pub fn next_flood_port(&self, except: Option<PortId>, after: Option<PortId>) -> Option<PortId> {
        let first = after.map_or(0, |port| port.0.saturating_add(1));
        let except = except.map(|port| {
            let flags = self.port(port).map(|port| port.flags);
            (port, flags.unwrap_or_default())
        });
        (first..self.ports.len() as u32)
            .map(PortId)
            .find(|&port| self.refusal(except, port).is_none())
    }
}

/// The addresses of a frame as numbers of 48 bits.
#[derive(Clone, Copy, Debug)]
struct Header {
    destination: u64,
    source: u64,
}

impl Header {
    /// The addresses of `frame`, if it has a whole Ethernet header.
    #[inline]
    fn of(frame: &[u8]) -> Option<Self> {
        let header = frame.first_chunk::<ETHER_LEN>()?;
        let (first, rest) = header.split_first_chunk::<8>()?;
        let (second, _) = rest.split_first_chunk::<4>()?;
        let first = u64::from_be_bytes(*first);
        let second = u64::from(u32::from_be_bytes(*second));
        Some(Self {
            destination: first >> 16,
            source: (first << 32 | second) & MAC_MASK,
        })
    }

    const fn is_to_group(self) -> bool {
        self.destination & GROUP != 0
    }
}

#[cfg(test)]
mod tests;
