//! The two versions of IP: what tells the frames of a flow apart from all others, and what the hooks know of them.

use core::fmt::Debug;

use switch::frame::Small;
use switch::hook::{Datum, Netfilter, Passage, Run, Shape, Wide, WideShape};
use switch::{Frame, Time};

use super::row::{IPV4, IPV6};
use crate::id::IfId;

/// A version of IP.
pub(super) trait Version: Copy + Debug + Default + Eq {
    /// Whose a packet is: protocol, addresses and ports.
    type Flow: Copy + Debug + Eq;
    /// All of a frame that a bridge and its hooks look at.
    type Shape: Figure;
    /// A packet whose way may be known.
    type Packet;

    /// The type of its frames.
    const TYPE: [u8; 2];

    /// A number of a flow, of which each bit depends on all of it.
    fn hash(flow: &Self::Flow) -> u64;

    /// The flow and the bytes of the packet that `bytes` start with, if that is nothing but data.
    fn datum(bytes: &[u8]) -> Option<(Self::Flow, u16)>;

    /// The packet that `bytes` start with, alone at `bridge`. `None` if it has to be shown to the hooks.
    fn packet(bytes: &[u8], bridge: IfId) -> Option<Self::Packet>;

    /// [`Self::datum`] of a packet that was read.
    fn datum_of(packet: &Self::Packet) -> Option<(Self::Flow, u16)>;

    /// Sends a packet the way that is known. False, and nothing has happened, if the hooks have to see it. `addresses` are those
    /// that rules may ask for, in number.
    fn passes(
        guard: &mut Netfilter,
        now: Time,
        packet: &Self::Packet,
        addresses: Option<u64>,
    ) -> bool;

    /// The way of more packets like one that has just passed.
    fn passage(guard: &Netfilter, packet: &Self::Packet) -> Option<Passage>;
}

/// The shape of a frame, to tell others like it in few steps.
pub(super) trait Figure: Copy + Debug {
    /// That of no frame.
    const NONE: Self;
    /// The bytes that tell it.
    type Head;

    fn of(frame: &[u8]) -> Option<Self>;

    /// Number, length and head of an ordinary frame in a small buffer.
    fn head<'a>(small: &Small<'a>, frame: &Frame) -> Option<(u64, u32, &'a Self::Head)>;

    fn is_of_head(&self, len: u32, head: &Self::Head) -> bool;

    /// The source address of its frames and their type, as they stand in memory.
    fn sender(&self) -> u64;

    /// Bytes of the packet in each of its frames.
    fn packet(&self) -> u16;
}

/// IPv4.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct V4;

/// IPv6.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct V6;

impl Version for V4 {
    type Flow = [u64; 2];
    type Shape = Shape;
    type Packet = Run;

    const TYPE: [u8; 2] = IPV4;

    #[inline(always)]
    fn hash(flow: &Self::Flow) -> u64 {
        let addresses = flow[0] << 32 | flow[1] >> 32;
        let rest = flow[1] << 16 ^ flow[0] >> 48;
        (addresses ^ rest).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    #[inline(always)]
    fn datum(bytes: &[u8]) -> Option<(Self::Flow, u16)> {
        let datum = Datum::of(bytes)?;
        Some((datum.flow(), datum.bytes()))
    }

    #[inline(always)]
    fn packet(bytes: &[u8], bridge: IfId) -> Option<Self::Packet> {
        Run::of(bytes, bridge, 1)
    }

    #[inline(always)]
    fn datum_of(packet: &Self::Packet) -> Option<(Self::Flow, u16)> {
        let datum = packet.datum()?;
        Some((datum.flow(), datum.bytes()))
    }

    #[inline(always)]
    fn passes(
        guard: &mut Netfilter,
        now: Time,
        packet: &Self::Packet,
        addresses: Option<u64>,
    ) -> bool {
        guard.pass_bridged(now, packet, addresses)
    }

    #[inline(always)]
    fn passage(guard: &Netfilter, packet: &Self::Packet) -> Option<Passage> {
        guard.passage(packet)
    }
}

impl Version for V6 {
    type Flow = [u64; 5];
    type Shape = WideShape;
    type Packet = Wide;

    const TYPE: [u8; 2] = IPV6;

    #[inline]
    fn hash(flow: &Self::Flow) -> u64 {
        let fold = |hash: u64, &word: &u64| {
            (hash.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        };
        flow.iter().fold(0, fold)
    }

    #[inline]
    fn datum(bytes: &[u8]) -> Option<(Self::Flow, u16)> {
        Self::datum_of(&Self::packet(bytes, IfId(0))?)
    }

    #[inline]
    fn packet(bytes: &[u8], bridge: IfId) -> Option<Self::Packet> {
        Wide::of(bytes, bridge, 1)
    }

    #[inline]
    fn datum_of(packet: &Self::Packet) -> Option<(Self::Flow, u16)> {
        let bytes = u16::try_from(packet.bytes()).ok()?;
        packet.is_data().then_some((packet.flow(), bytes))
    }

    #[inline]
    fn passes(
        guard: &mut Netfilter,
        now: Time,
        packet: &Self::Packet,
        _addresses: Option<u64>,
    ) -> bool {
        guard.pass_wide(now, packet)
    }

    #[inline]
    fn passage(guard: &Netfilter, packet: &Self::Packet) -> Option<Passage> {
        guard.passage_wide(packet)
    }
}

/// Both kinds of shapes are asked the same.
macro_rules! figure {
    ($shape:ty) => {
        impl Figure for $shape {
            const NONE: Self = Self::NONE;
            type Head = [u8; Self::HEAD];

            #[inline(always)]
            fn of(frame: &[u8]) -> Option<Self> {
                Self::of(frame)
            }

            #[inline(always)]
            fn head<'a>(small: &Small<'a>, frame: &Frame) -> Option<(u64, u32, &'a Self::Head)> {
                small.ordinary(frame)
            }

            #[inline(always)]
            fn is_of_head(&self, len: u32, head: &Self::Head) -> bool {
                self.is_of_head(len, head)
            }

            #[inline(always)]
            fn sender(&self) -> u64 {
                self.sender()
            }

            #[inline(always)]
            fn packet(&self) -> u16 {
                self.packet()
            }
        }
    };
}

figure!(Shape);
figure!(WideShape);
