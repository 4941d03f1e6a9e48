//! Hops: from which station to which frames go through a bridge, and where they leave it.
//!
//! What a bridge and its wiring say of a frame between two stations is the same each time, until the bridge changes or
//! the destination has been silent for too long. A hop keeps it, for frames that have no [course](super::courses)
//! because their flow is short. That the source was seen again the bridge is told each time.

use switch::Time;
use switch::bridge::{Bridge, PortId};
use switch::link::Side;
use switch::wire::ETHER_LEN;

use crate::id::{IfId, LinkId};

/// Hops that a bridge keeps, 4 KiB; pairs with the same place take turns. Memory is taken with the first.
const HOPS: usize = 64;

/// Two addresses, and the interface that is the port where the frame came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pair {
    /// The destination, and where the source begins.
    front: u64,
    /// Where the source ends, and the interface.
    back: u64,
}

/// Where frames leave a bridge.
#[derive(Clone, Copy, Debug)]
pub(super) struct Exit {
    pub(super) port: PortId,
    /// The interface that is this port, and the other end of its veth pair.
    pub(super) out: IfId,
    pub(super) peer: IfId,
    /// The veth pair and the end of it.
    pub(super) link: LinkId,
    pub(super) side: Side,
}

/// Where frames between two stations leave the bridge: a line of the cache.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub(super) struct Hop {
    pair: Pair,
    pub(super) exit: Exit,
    /// When the destination is too old.
    old_at: Time,
    /// The bridge as it was.
    change: u64,
}

/// The hops of a bridge.
#[derive(Debug, Default)]
pub(super) struct Hops(Option<Box<[Hop; HOPS]>>);

impl Pair {
    #[inline(always)]
    pub(super) fn of(head: &[u8; ETHER_LEN], inlet: IfId) -> Option<Self> {
        let (front, rest) = head.split_first_chunk::<8>()?;
        let back = u32::from_be_bytes(*rest.first_chunk::<4>()?);
        Some(Self {
            front: u64::from_be_bytes(*front),
            back: u64::from(back) << 32 | u64::from(inlet.0),
        })
    }

    /// Frames to this destination from the bridge's own interface, which is the `inlet`.
    #[inline(always)]
    pub(super) fn to(head: &[u8; ETHER_LEN], own: IfId) -> Option<Self> {
        let front = u64::from_be_bytes(*head.first_chunk::<8>()?);
        Some(Self {
            front: front >> 16 << 16,
            back: u64::from(own.0),
        })
    }

    /// The destination address as a number, its first byte highest.
    #[inline(always)]
    pub(super) const fn destination(&self) -> u64 {
        self.front >> 16
    }

    /// The source address as a number, its first byte highest.
    #[inline(always)]
    pub(super) const fn source(&self) -> u64 {
        (self.front & 0xffff) << 32 | self.back >> 32
    }

    #[inline(always)]
    const fn place(&self) -> usize {
        let mixed = (self.front ^ self.back >> 32 << 24).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> 58) as usize % HOPS
    }
}

impl Hop {
    /// That of no frame: always too old.
    const NONE: Self = Self {
        pair: Pair { front: 0, back: 0 },
        exit: Exit {
            port: PortId(0),
            out: IfId(0),
            peer: IfId(0),
            link: LinkId(0),
            side: Side::A,
        },
        old_at: Time::ZERO,
        change: 0,
    };

    /// What `bridge` has just said of a frame between these two.
    pub(super) fn new(bridge: &Bridge, pair: Pair, exit: Exit) -> Option<Self> {
        Some(Self {
            pair,
            exit,
            old_at: bridge.known_until(pair.destination())?,
            change: bridge.change(),
        })
    }
}

impl Hops {
    /// The hop of frames between these two, if it holds.
    #[inline(always)]
    pub(super) fn of(&self, now: Time, bridge: &Bridge, pair: &Pair) -> Option<&Hop> {
        let hop = &self.0.as_ref()?[pair.place()];
        let holds = hop.pair == *pair && hop.change == bridge.change() && now < hop.old_at;
        holds.then_some(hop)
    }

    pub(super) fn keep(&mut self, hop: Hop) {
        let hops = (self.0).get_or_insert_with(|| Box::new([Hop::NONE; HOPS]));
        hops[hop.pair.place()] = hop;
    }
}
