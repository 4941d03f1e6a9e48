//! Packets of a flow that come alone or one behind the other.

use super::plain::{Head, Plain, is_data, plain, sound};
use crate::conntrack::tuple::{TCP, UDP};
use crate::filter::Counter;
use crate::verdict::IfId;

/// A packet of nothing but data, alone: all that its way depends on, if that is known.
#[derive(Clone, Copy, Debug)]
pub struct Datum {
    flow: [u64; 2],
    pub(super) len: u16,
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
    pub(super) first: Plain,
    pub(super) packets: u32,
    pub(in crate::hook) weight: Counter,
}

impl Run {
    /// A run of the packet that `bytes` start with, which stands for `frames` frames at `bridge`; `None` if
    /// it has to be shown to the hooks.
    #[must_use]
    #[inline(always)]
    pub fn of(bytes: &[u8], bridge: IfId, frames: u64) -> Option<Self> {
        plain(bytes, bridge).map(|first| Self::one(first, frames))
    }

    /// A packet alone, for `frames` frames.
    #[inline]
    pub(in crate::hook) const fn one(first: Plain, frames: u64) -> Self {
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

    /// Adds packets that are [of the shape](crate::hook::Shape::is_of) of the first.
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
