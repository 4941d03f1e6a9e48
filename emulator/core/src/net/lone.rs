//! Lone frames: the only one that waits at a port of a bridge, as those of short connections and requests do.
//!
//! Such a frame makes no row and shares nothing with others, so it is read once and asked about once: it goes along the
//! course of its flow if there is one, else by the [hop](super::hops) between its two stations, if the hooks let packets
//! like it pass. Nothing differs from a row of one frame but the cost. What is out of the ordinary (new addresses,
//! groups, super-segments, captures, packets of no flow, full rings) goes that way.

use switch::bridge::{Bridge, Decision, PortId};
use switch::hook::{Netfilter, Tally};
use switch::link::Link;
use switch::verdict::What;
use switch::wire::ETHER_LEN;
use switch::{Frame, Time};

use super::courses::{Courses, Key, Single, seen};
use super::crossing::Known;
use super::hand::arrive;
use super::hops::{Exit, Hop, Hops, Pair};
use super::row::{IPV4, IPV6, kind};
use super::run::Inlet;
use super::version::{V4, V6, Version};
use super::{BridgeSlot, Net, Plug, Socket};
use crate::id::{BridgeId, IfId};

/// What becomes of a frame.
enum Way {
    /// It leaves here: this frame, of so many bytes.
    Out(Exit, (u64, usize)),
    /// The bridge decided so: the stack takes it, or the hooks have to see it.
    Decided(Decision),
}

/// A bridge at work on one frame.
struct Gate<'a, V: Version> {
    now: Time,
    inlet: &'a Inlet,
    bridge: &'a mut Bridge,
    courses: &'a mut Courses<V>,
    hops: &'a mut Hops,
    links: &'a mut [Link],
    sockets: &'a [Socket],
    /// The frame, its addresses and its number.
    bytes: &'a [u8],
    pair: Pair,
    number: u64,
}

impl Net {
    /// Moves a frame that alone came in at a port; none waits there. It comes back, and nothing has happened that would
    /// not happen again, if it goes as a row.
    ///
    /// # Errors
    /// The frame.
    #[inline(always)]
    pub(super) fn lone(&mut self, inlet: &Inlet, frame: Frame) -> Result<(), Frame> {
        match self.lone_way::<V4>(inlet, &frame) {
            None => Err(frame),
            Some(way) => {
                self.go_way(inlet, frame, &way);
                Ok(())
            }
        }
    }

    /// The same for a frame of IPv6 with a packet that meets hooks.
    ///
    /// # Errors
    /// The frame.
    #[inline(never)]
    pub(super) fn lone_wide(&mut self, inlet: &Inlet, frame: Frame) -> Result<(), Frame> {
        if kind(self.pool.bytes(&frame)) != Some(&IPV6) {
            return Err(frame);
        }
        match self.lone_way::<V6>(inlet, &frame) {
            None => Err(frame),
            Some(way) => {
                self.go_way(inlet, frame, &way);
                Ok(())
            }
        }
    }

    #[inline(always)]
    fn go_way(&mut self, inlet: &Inlet, frame: Frame, way: &Way) {
        match way {
            Way::Out(exit, what) => self.leave(exit, *what, frame),
            Way::Decided(decision) => {
                self.bridge_obey(inlet.bridge, inlet.port, frame, *decision);
            }
        }
    }

    /// Where it goes, if it is of this version; the bridge and its hooks have accounted for it then.
    #[inline(always)]
    fn lone_way<V: Gated>(&mut self, inlet: &Inlet, frame: &Frame) -> Option<Way> {
        if self.trace.is_capturing() {
            return None;
        }
        let slot = self.bridges[inlet.bridge.0 as usize].as_deref_mut()?;
        let (number, bytes) = self.pool.ordinary(frame)?;
        let pair = Pair::of(bytes.first_chunk()?, inlet.iface)?;
        if slot.bridge.is_own(pair.destination()) {
            let bridge = &mut slot.bridge;
            let decision = bridge.input(self.now, inlet.port, bytes);
            if bridge.learned().is_some() {
                let what = What::Learned(inlet.iface);
                self.trace.event(self.now, number, bridge.interface(), what);
            }
            return Some(Way::Decided(decision));
        }
        let owner = slot.owner.filter(|_| slot.filtered);
        let owner = owner.and_then(|ns| self.namespaces.get_mut(ns.0 as usize)?.as_deref_mut());
        let addresses = owner.as_ref().map(|owner| owner.addresses_change());
        let guard = match owner {
            None => None,
            Some(owner) => owner.guard()?,
        };
        let (bridge, courses, hops) = V::parts(slot);
        let mut gate = Gate {
            now: self.now,
            inlet,
            bridge,
            courses,
            hops,
            links: &mut self.links,
            sockets: &self.sockets,
            bytes,
            pair,
            number,
        };
        match guard {
            Some(guard) if is_packet(bytes) => gate.guarded(guard, addresses),
            _ => gate.unguarded(),
        }
    }

    /// An ordinary frame of the bridge's own interface `own` leaves by the hop to its destination. It comes back, and nothing has
    /// happened, if the bridge has to look at it.
    ///
    /// # Errors
    /// The frame.
    #[inline(always)]
    pub(super) fn lone_output(
        &mut self,
        bridge: BridgeId,
        own: IfId,
        frame: Frame,
    ) -> Result<(), Frame> {
        match self.lone_exit(bridge, own, &frame) {
            None => Err(frame),
            Some((exit, what)) => {
                self.leave(&exit, what, frame);
                Ok(())
            }
        }
    }

    #[inline(always)]
    fn lone_exit(
        &mut self,
        bridge: BridgeId,
        own: IfId,
        frame: &Frame,
    ) -> Option<(Exit, (u64, usize))> {
        if self.trace.is_capturing() {
            return None;
        }
        let (number, bytes) = self.pool.ordinary(frame)?;
        let slot = self.bridges[bridge.0 as usize].as_deref_mut()?;
        let pair = Pair::to(bytes.first_chunk()?, own)?;
        let exit = match slot.hops.of(self.now, &slot.bridge, &pair) {
            Some(hop) => hop.exit,
            None => {
                let to = slot.bridge.towards(self.now, bytes)?;
                let exit = exit(&slot.bridge, &self.sockets, to)?;
                slot.hops.keep(Hop::new(&slot.bridge, pair, exit)?);
                exit
            }
        };
        let target = self.links.get_mut(exit.link.0 as usize)?;
        target.clear(exit.side, bytes.len())?;
        slot.bridge.sent();
        Some((exit, (number, bytes.len())))
    }

    /// A frame of this number and so many bytes leaves a bridge over a veth pair whose way is clear.
    #[inline(always)]
    fn leave(&mut self, exit: &Exit, (number, len): (u64, usize), frame: Frame) {
        let what = What::Forwarded(exit.out);
        self.trace.one(self.now, number, exit.out, what);
        let mut way = self.links[exit.link.0 as usize].taking(exit.side);
        let frame = way.cross(&mut self.pool, frame, len as u64);
        let arrival = (exit.peer, frame);
        arrive(
            &mut self.hand,
            &mut self.sockets,
            &mut self.work,
            way,
            arrival,
        );
    }
}

/// Where frames leave a bridge that go to this port of it.
pub(super) fn exit(bridge: &Bridge, sockets: &[Socket], port: PortId) -> Option<Exit> {
    let out = bridge.port(port)?.interface;
    let Plug::Veth { link, side, peer } = sockets[out.0 as usize].plug else {
        return None;
    };
    Some(Exit {
        port,
        out,
        peer,
        link,
        side,
    })
}

/// What is in the frame meets the hooks.
#[inline(always)]
fn is_packet(bytes: &[u8]) -> bool {
    matches!(kind(bytes), Some(&IPV4 | &IPV6))
}

/// Which of a bridge's courses are those of a version.
trait Gated: Version {
    fn parts(slot: &mut BridgeSlot) -> (&mut Bridge, &mut Courses<Self>, &mut Hops);
}

impl Gated for V4 {
    #[inline(always)]
    fn parts(slot: &mut BridgeSlot) -> (&mut Bridge, &mut Courses<Self>, &mut Hops) {
        (&mut slot.bridge, &mut slot.courses, &mut slot.hops)
    }
}

impl Gated for V6 {
    #[inline(always)]
    fn parts(slot: &mut BridgeSlot) -> (&mut Bridge, &mut Courses<Self>, &mut Hops) {
        (&mut slot.bridge, &mut slot.wide, &mut slot.hops)
    }
}

impl<V: Version> Gate<'_, V> {
    /// A frame that no hooks see.
    #[inline(always)]
    fn unguarded(&mut self) -> Option<Way> {
        let exit = self.hop()?;
        self.account();
        Some(self.out(exit))
    }

    /// A frame with a packet that meets these hooks.
    #[inline(always)]
    fn guarded(&mut self, guard: &mut Netfilter, addresses: Option<u64>) -> Option<Way> {
        let packet = V::packet(self.bytes.get(ETHER_LEN..)?, self.bridge.interface())?;
        if kind(self.bytes) != Some(&V::TYPE) {
            return None;
        }
        let single = self.single(&packet);
        if let Some(single) = &single
            && let Some(way) = self.along(guard, single)
        {
            return Some(way);
        }
        let exit = self.hop()?;
        self.account();
        if !V::passes(guard, self.now, &packet, addresses) {
            return Some(Way::Decided(Decision::Port(exit.port)));
        }
        if let Some(single) = single
            && let Some(passage) = V::passage(guard, &packet)
        {
            self.courses.renew(seen(self.bridge, guard));
            let from = (&*self.bridge, self.inlet.port);
            let way = ((exit.out, exit.peer), (exit.link, exit.side));
            self.courses.found(single.key, passage, from, way);
        }
        Some(self.out(exit))
    }

    /// What of the frame may have a course.
    #[inline(always)]
    fn single(&self, packet: &V::Packet) -> Option<Single<V>> {
        let (flow, bytes) = V::datum_of(packet)?;
        Some(Single {
            number: self.number,
            len: self.bytes.len(),
            bytes,
            key: Key::of(self.bytes, flow, self.inlet.iface)?,
        })
    }

    /// Along the course of its flow.
    #[inline(always)]
    fn along(&mut self, guard: &mut Netfilter, single: &Single<V>) -> Option<Way> {
        if self.courses.is_empty() {
            return None;
        }
        self.courses.renew(seen(self.bridge, guard));
        let course = self.courses.of(self.now, &single.key)?;
        let mut tally = Tally::default();
        let mut known = Known {
            now: self.now,
            port: self.inlet.port,
            bridge: &mut *self.bridge,
            guard: &mut *guard,
            tally: &mut tally,
            links: &mut *self.links,
            renewed: None,
        };
        known.way(course, single)?;
        guard.count(&mut tally);
        let exit = Exit {
            port: self.inlet.port,
            out: course.out,
            peer: course.peer,
            link: course.link(),
            side: course.side(),
        };
        self.account();
        Some(self.out(exit))
    }

    /// Where the bridge forwards it to, if the way is clear.
    #[inline(always)]
    fn hop(&mut self) -> Option<Exit> {
        let (now, port, source) = (self.now, self.inlet.port, self.pair.source());
        let exit = match self.hops.of(now, self.bridge, &self.pair) {
            Some(hop) if self.bridge.renew(now, port, source) => hop.exit,
            _ => hop_anew(
                (now, self.inlet, self.bytes),
                self.bridge,
                self.hops,
                self.sockets,
            )?,
        };
        let target = self.links.get_mut(exit.link.0 as usize)?;
        target.clear(exit.side, self.bytes.len())?;
        Some(exit)
    }

    #[inline(always)]
    const fn out(&self, exit: Exit) -> Way {
        Way::Out(exit, (self.number, self.bytes.len()))
    }

    #[inline(always)]
    fn account(&mut self) {
        self.bridge
            .forwarded(self.inlet.port, self.bytes.len() as u64);
    }
}

/// Finds out where the bridge forwards a frame to, and keeps it. Not a method of the gate: it stays in registers then.
#[inline(never)]
fn hop_anew(
    (now, inlet, bytes): (Time, &Inlet, &[u8]),
    bridge: &mut Bridge,
    hops: &mut Hops,
    sockets: &[Socket],
) -> Option<Exit> {
    let pair = Pair::of(bytes.first_chunk()?, inlet.iface)?;
    let to = bridge.between(now, inlet.port, bytes)?;
    let exit = exit(bridge, sockets, to)?;
    if exit.link == inlet.link {
        return None;
    }
    hops.keep(Hop::new(bridge, pair, exit)?);
    Some(exit)
}
