//! Lone frames: the only one that waits at a port of a bridge, as those of short connections and requests do.
//!
//! Such a frame makes no row and shares nothing with others, so it is read once and asked about once: it goes along the
//! course of its flow if there is one, else to where the bridge knows its destination to be, if the hooks let packets
//! like it pass. Nothing differs from a row of one frame but the cost. What is out of the ordinary (new addresses,
//! groups, super-segments, captures, packets of no flow, full rings) goes that way.

use switch::bridge::{Bridge, Decision};
use switch::hook::{Run, Tally};
use switch::link::Side;
use switch::verdict::What;
use switch::wire::ETHER_LEN;
use switch::{DropReason, Frame, Pool};

use super::courses::{Key, Single, seen};
use super::crossing::Known;
use super::hand::arrive;
use super::row::{IPV4, IPV6};
use super::run::Inlet;
use super::{Net, Plug};
use crate::id::{IfId, LinkId};

/// What becomes of a frame.
enum Way {
    Out(Exit),
    /// The bridge decided so, and the hooks have to see it.
    Decided(Decision),
}

/// Where a frame leaves a bridge.
struct Exit {
    number: u64,
    len: usize,
    out: IfId,
    peer: IfId,
    link: LinkId,
    side: Side,
}

/// An ordinary frame, and the packet in it if hooks want to see that.
struct Lone<'a> {
    number: u64,
    bytes: &'a [u8],
    packet: Option<Run>,
}

impl<'a> Lone<'a> {
    /// The frame that waits alone; with hooks on the bridge `guarded` by. `None` if it goes as a row.
    #[inline(always)]
    fn of(pool: &'a Pool, frame: &Frame, bridge: &Bridge, guarded: bool) -> Option<Self> {
        let (meta, bytes) = pool.view(frame);
        let (head, payload) = bytes.split_first_chunk::<ETHER_LEN>()?;
        // What the stack takes goes one by one.
        if meta.gso_size != 0 || head.starts_with(&bridge.address().0) {
            return None;
        }
        let packet = match [head[12], head[13]] {
            IPV4 | IPV6 if guarded => Some(Run::of(payload, bridge.interface(), 1)?),
            _ => None,
        };
        Some(Self {
            number: meta.id,
            bytes,
            packet,
        })
    }

    /// What of it may have a course.
    #[inline(always)]
    fn single(&self, inlet: IfId) -> Option<Single> {
        let datum = self.packet.as_ref()?.datum()?;
        Some(Single {
            number: self.number,
            len: self.bytes.len(),
            datum,
            key: Key::of(self.bytes, datum.flow(), inlet)?,
        })
    }
}

impl Net {
    /// Moves a frame that alone came in at a port; none waits there. It comes back, and nothing has happened that would
    /// not happen again, if it goes as a row.
    ///
    /// # Errors
    /// The frame.
    #[inline(always)]
    pub(super) fn lone(&mut self, inlet: &Inlet, frame: Frame) -> Result<(), Frame> {
        match self.lone_way(inlet, &frame) {
            None => Err(frame),
            Some(Way::Out(exit)) => {
                self.leave(exit, frame);
                Ok(())
            }
            Some(Way::Decided(decision)) => {
                self.bridge_obey(inlet.bridge, inlet.port, frame, decision);
                Ok(())
            }
        }
    }

    /// Where it goes; the bridge and its hooks have accounted for it then.
    #[inline(always)]
    fn lone_way(&mut self, inlet: &Inlet, frame: &Frame) -> Option<Way> {
        if self.trace.is_capturing() || !self.pool.has_room(1) {
            return None;
        }
        let slot = self.bridges[inlet.bridge.0 as usize].as_deref_mut()?;
        let mut addresses = None;
        let mut guard = None;
        if slot.filtered
            && let Some(ns) = slot.owner
            && let Some(owner) = self.namespaces.get_mut(ns.0 as usize)?.as_deref_mut()
        {
            addresses = Some(owner.addresses_change());
            guard = owner.guard()?;
        }
        let lone = Lone::of(&self.pool, frame, &slot.bridge, guard.is_some())?;
        let (number, len) = (lone.number, lone.bytes.len());
        let mut tally = Tally::default();

        let single = lone.single(inlet.iface);
        if let (Some(guard), Some(single)) = (guard.as_deref_mut(), &single) {
            slot.courses.renew(seen(&slot.bridge, guard));
            let mut known = Known {
                now: self.now,
                port: inlet.port,
                bridge: &mut slot.bridge,
                guard: &mut *guard,
                tally: &mut tally,
                links: &mut self.links,
                renewed: None,
            };
            if let Some(course) = slot.courses.of(self.now, &single.key)
                && known.way(course, single).is_some()
            {
                guard.count(&mut tally);
                (slot.bridge).account(inlet.port, Decision::Port(inlet.port), (1, len as u64));
                return Some(Way::Out(Exit {
                    number,
                    len,
                    out: course.out,
                    peer: course.peer,
                    link: course.link(),
                    side: course.side(),
                }));
            }
        }

        let to = (slot.bridge).between(self.now, inlet.port, lone.bytes)?;
        let out = slot.bridge.port(to)?.interface;
        let Plug::Veth { link, side, peer } = self.sockets[out.0 as usize].plug else {
            return None;
        };
        let target = self.links.get_mut(link.0 as usize)?.as_deref_mut()?;
        if link == inlet.link || target.clear(side, len).is_none() {
            return None;
        }
        (slot.bridge).account(inlet.port, Decision::Port(to), (1, len as u64));
        if let (Some(guard), Some(packet)) = (guard, &lone.packet) {
            if !guard.pass_bridged(self.now, packet, addresses, &mut tally) {
                return Some(Way::Decided(Decision::Port(to)));
            }
            guard.count(&mut tally);
            if let Some(single) = single
                && let Some(passage) = guard.passage(packet)
            {
                slot.courses.renew(seen(&slot.bridge, guard));
                let way = ((out, peer), (link, side));
                (slot.courses).found(single.key, passage, (&slot.bridge, inlet.port), way);
            }
        }
        Some(Way::Out(Exit {
            number,
            len,
            out,
            peer,
            link,
            side,
        }))
    }

    /// A frame leaves a bridge over a veth pair whose way is clear.
    #[inline(always)]
    fn leave(&mut self, exit: Exit, frame: Frame) {
        let what = What::Forwarded(exit.out);
        self.trace.event(self.now, exit.number, exit.out, what);
        let target = self.links[exit.link.0 as usize].as_deref_mut();
        let Some(mut way) = target.and_then(|target| target.clear(exit.side, exit.len)) else {
            return self.bridge_drop(frame, exit.out, DropReason::RingFull);
        };
        let frame = way.cross(&mut self.pool, frame, exit.len as u64);
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
