//! A bridge at work: what becomes of frames that wait at its ports, row by row or along courses.

use std::collections::VecDeque;

use switch::bridge::{Bridge, Decision, PortId};
use switch::hook::{Netfilter, Tally};
use switch::link::{Clear, Link, Side};
use switch::ring::Waiting;
use switch::trace::Trace;
use switch::verdict::What;
use switch::{Frame, Pool, Time};

use super::courses::{Course, Courses, Key, Single, seen};
use super::row::{IPV6, Row, flow, kind};
use super::run::{Inlet, Next};
use super::version::{V4, V6, Version};
use super::{Plug, Reader, Socket, Work, mark};
use crate::id::{BridgeId, IfId};

/// What says whether a frame goes along a course.
pub(super) struct Known<'a> {
    pub(super) now: Time,
    pub(super) port: PortId,
    pub(super) bridge: &'a mut Bridge,
    pub(super) guard: &'a mut Netfilter,
    pub(super) tally: &'a mut Tally,
    pub(super) links: &'a mut [Link],
    /// A source that the bridge knows to be at the port now.
    pub(super) renewed: Option<u64>,
}

impl Known<'_> {
    /// The way of a frame along a course, if that holds and there is room for the frame (in the pool its caller has seen
    /// some, and the veth pair that it came by is not in its place): the bridge and the hooks have accounted for it then,
    /// but for the tally and the bridge's counters. `None`, and nothing has happened, if it has to be looked at.
    #[inline(always)]
    pub(super) fn way<V: Version>(
        &mut self,
        course: &Course<V>,
        single: &Single<V>,
    ) -> Option<Clear<'_>> {
        let target = self.links.get_mut(course.link().0 as usize)?;
        let way = target.clear(course.side(), single.len)?;
        let source = single.key.source();
        if self.renewed != Some(source) {
            if !self.bridge.renew(self.now, self.port, source) {
                return None;
            }
            self.renewed = Some(source);
        }
        let passes = (self.guard).pass_one(self.now, single.bytes, &course.passage, self.tally);
        passes.then_some(way)
    }
}

/// A bridge at work, and all that its frames touch on their way.
pub(super) struct Crossing<'a> {
    pub(super) now: Time,
    pub(super) own: IfId,
    pub(super) bridge: &'a mut Bridge,
    pub(super) courses: &'a mut Courses<V4>,
    /// Those for frames of IPv6.
    pub(super) wide: &'a mut Courses<V6>,
    /// The hooks that packets meet.
    pub(super) guard: Option<&'a mut Netfilter>,
    /// What passed the hooks and is not counted there yet.
    pub(super) tally: Tally,
    /// What the hooks' answers may depend on.
    pub(super) addresses: Option<u64>,
    /// Frames and bytes from this port that were forwarded and are not counted at the bridge yet.
    pub(super) passed: (u64, u64),
    pub(super) pool: &'a mut Pool,
    pub(super) trace: &'a mut Trace,
    pub(super) links: &'a mut [Link],
    pub(super) sockets: &'a mut [Socket],
    pub(super) work: &'a mut VecDeque<Work>,
}

impl Crossing<'_> {
    /// Moves frames that wait at a port, at most `left`.
    #[inline]
    pub(super) fn port(&mut self, inlet: &Inlet, left: &mut usize) -> Next {
        // Not in its place meanwhile: nothing goes by this veth pair along with others.
        let mut ring = self.links[inlet.link.0 as usize].take_ring(inlet.side);
        let mut waiting = ring.waiting();
        let next = loop {
            if *left == 0 {
                break Next::Nothing;
            }
            match self.row(inlet, &mut waiting, *left) {
                Ok(count) => *left -= count as usize,
                Err(next) => break next,
            }
        };
        self.links[inlet.link.0 as usize].put_ring(inlet.side, ring);
        let passed = core::mem::take(&mut self.passed);
        // Whichever port they went to.
        self.bridge
            .account(inlet.port, Decision::Port(inlet.port), passed);
        next
    }

    /// The port of this bridge whose mark is next, if that is what is next.
    #[inline]
    pub(super) fn next_port(&mut self, own: BridgeId) -> Option<Inlet> {
        let Some(&Work::Receive(iface)) = self.work.front() else {
            return None;
        };
        let socket = &mut self.sockets[iface.0 as usize];
        let (Reader::Port { bridge, port }, Plug::Veth { link, side, .. }) =
            (socket.reader, socket.plug)
        else {
            return None;
        };
        if bridge != own {
            return None;
        }
        socket.marked = false;
        self.work.pop_front();
        Some(Inlet {
            bridge,
            port,
            iface,
            link,
            side,
        })
    }

    /// Moves the next row, of at most `most` frames.
    #[inline]
    fn row(&mut self, inlet: &Inlet, source: &mut Waiting<'_>, most: usize) -> Result<u32, Next> {
        let waiting = source.frames();
        let waiting = &waiting[..most.min(waiting.len())];
        let Some(first) = waiting.first() else {
            return Err(Next::Nothing);
        };
        if (self.pool.bytes(first)).starts_with(&self.bridge.address().0) {
            return Err(self.local(inlet, first));
        }
        if self.guard.is_some() && self.is_alone(waiting) {
            let moved = match waiting.len() {
                1 => self.follow_one(inlet, source),
                _ => self.follow_each(inlet, source, most),
            };
            if moved > 0 {
                return Ok(moved);
            }
        }
        self.row_of_many(inlet, source, most)
    }

    /// What comes next is a frame for the bridge's own interface: such go one by one.
    #[inline(never)]
    fn local(&mut self, inlet: &Inlet, frame: &Frame) -> Next {
        let (meta, bytes) = self.pool.view(frame);
        if meta.gso_size != 0 {
            return Next::Alone;
        }
        let decision = self.bridge.judge(self.now, inlet.port, bytes);
        let weight = (1, bytes.len() as u64);
        self.bridge.account(inlet.port, decision, weight);
        self.learned(inlet, meta.id);
        Next::Decided(decision)
    }

    /// The first frame that waits is of another flow than the second, or none is behind it.
    #[inline]
    fn is_alone(&self, waiting: &[Frame]) -> bool {
        let flow = |at: usize| flow(self.pool.bytes(waiting.get(at)?));
        flow(1).is_none_or(|second| Some(second) != flow(0))
    }

    /// Moves the next row, of at most `most` frames. If it is only one, its course was looked for.
    #[inline(never)]
    fn row_of_many(
        &mut self,
        inlet: &Inlet,
        source: &mut Waiting<'_>,
        most: usize,
    ) -> Result<u32, Next> {
        let waiting = source.frames();
        let waiting = &waiting[..most.min(waiting.len())];
        let Some(first) = waiting.first() else {
            return Err(Next::Nothing);
        };
        let (meta, bytes) = self.pool.view(first);
        let guarded = self.guard.is_some().then_some(self.own);
        let Some(mut row) = Row::of(meta, bytes, guarded) else {
            if kind(bytes) == Some(&IPV6) {
                let moved = self.follow_wide(inlet, source, most);
                if moved > 0 {
                    return Ok(moved);
                }
            }
            return Err(Next::Alone);
        };
        let data = row.packets.as_ref().filter(|run| run.may_grow());
        let key = data.and_then(|run| Key::of(bytes, run.flow(), inlet.iface));
        if let Some(key) = &key
            && let Some(&course) = self.courses.of(self.now, key)
        {
            row.extend(self.pool, bytes, waiting);
            if self.follow(inlet, source, &course, key, &row) {
                return Ok(row.count);
            }
        }
        self.row_anew(inlet, source, most, row, key)
    }

    /// Moves a row along the course of its flow. False, and nothing has happened, if the bridge or the hooks have to see
    /// it, or it does not find room.
    #[inline]
    fn follow(
        &mut self,
        inlet: &Inlet,
        source: &mut Waiting<'_>,
        course: &Course<V4>,
        key: &Key<V4>,
        row: &Row,
    ) -> bool {
        let target = self.links.get_mut(course.link().0 as usize);
        let Some(target) = target.filter(|_| course.link() != inlet.link) else {
            return false;
        };
        let (Some(packets), Some(guard)) = (&row.packets, &mut self.guard) else {
            return false;
        };
        let goes_on = packets.may_grow()
            && target.is_clear(self.pool, course.side(), row.count as usize, row.longest)
            && self.bridge.renew(self.now, inlet.port, key.source())
            && guard.pass_along(self.now, packets, &course.passage, &mut self.tally);
        if goes_on {
            self.passed.0 += u64::from(row.count);
            self.passed.1 += row.bytes;
            let way = (course.out, course.side());
            carry(self.now, self.pool, self.trace, source, target, way, row);
            mark(self.sockets, self.work, course.peer);
        }
        goes_on
    }

    /// Moves the next row by what the bridge and the hooks say of its first frame. It may have only that yet.
    #[inline(never)]
    fn row_anew(
        &mut self,
        inlet: &Inlet,
        source: &mut Waiting<'_>,
        most: usize,
        mut row: Row,
        key: Option<Key<V4>>,
    ) -> Result<u32, Next> {
        let waiting = source.frames();
        let waiting = &waiting[..most.min(waiting.len())];
        let Some(first) = waiting.first() else {
            return Err(Next::Nothing);
        };
        let bytes = self.pool.bytes(first);
        let decision = self.bridge.judge(self.now, inlet.port, bytes);
        let len = bytes.len();
        self.learned(inlet, row.first);
        let Decision::Port(to) = decision else {
            return self.alone(inlet, decision, len);
        };
        // Only now: what the stack takes comes one by one, and others would be looked at each time.
        if row.count == 1 {
            row.extend(self.pool, self.pool.bytes(first), waiting);
        }
        let moved = self.forward(inlet, source, to, len, &row);
        self.renew_courses();
        if let (Ok(_), Some(key)) = (&moved, key) {
            self.keep_course(inlet, key, to, &row);
        }
        moved
    }

    /// Reports what the bridge learned from a frame of this number.
    #[inline]
    fn learned(&mut self, inlet: &Inlet, number: u64) {
        if self.bridge.learned().is_some() {
            let what = What::Learned(inlet.iface);
            self.trace.event(self.now, number, self.own, what);
        }
    }

    /// Courses are found out anew if anything that they depend on has changed.
    #[inline]
    pub(super) fn renew_courses(&mut self) {
        if let Some(guard) = &self.guard {
            self.courses.renew(seen(self.bridge, guard));
        }
    }

    /// A row was just forwarded to a port: others will go the same way, if its flow goes on.
    fn keep_course(&mut self, inlet: &Inlet, key: Key<V4>, to: PortId, row: &Row) {
        let guard = self.guard.as_deref();
        let run = row.packets.as_ref();
        let Some(passage) = guard.zip(run).and_then(|(guard, run)| guard.passage(run)) else {
            return;
        };
        let Some(out) = self.bridge.port(to).map(|port| port.interface) else {
            return;
        };
        if let Plug::Veth { link, side, peer } = self.sockets[out.0 as usize].plug {
            let way = ((out, peer), (link, side));
            (self.courses).found(key, passage, (self.bridge, inlet.port), way);
        }
    }

    /// The next frame goes alone, as the bridge decided.
    #[cold]
    fn alone(&mut self, inlet: &Inlet, decision: Decision, len: usize) -> Result<u32, Next> {
        self.bridge.account(inlet.port, decision, (1, len as u64));
        Err(Next::Decided(decision))
    }

    /// Forwards a row to the port that the bridge chose for its first frame, of `len` bytes.
    #[inline]
    fn forward(
        &mut self,
        inlet: &Inlet,
        source: &mut Waiting<'_>,
        to: PortId,
        len: usize,
        row: &Row,
    ) -> Result<u32, Next> {
        let Some(iface) = self.bridge.port(to).map(|port| port.interface) else {
            return self.alone(inlet, Decision::Port(to), len);
        };
        let Plug::Veth { link, side, peer } = self.sockets[iface.0 as usize].plug else {
            return self.alone(inlet, Decision::Port(to), len);
        };
        if link == inlet.link || (row.count > 1 && !self.bridge.is_settled()) {
            return self.alone(inlet, Decision::Port(to), len);
        }
        if let Some(packets) = &row.packets
            && let Some(guard) = &mut self.guard
            && !guard.pass_bridged(self.now, packets, self.addresses)
        {
            return self.alone(inlet, Decision::Port(to), len);
        }
        self.passed.0 += u64::from(row.count);
        self.passed.1 += row.bytes;
        let target = &mut self.links[link.0 as usize];
        if !target.is_clear(self.pool, side, row.count as usize, row.longest) {
            return Err(Next::Each(to, row.count));
        }
        let way = (iface, side);
        carry(self.now, self.pool, self.trace, source, target, way, row);
        mark(self.sockets, self.work, peer);
        Ok(row.count)
    }

    /// Counts what passed the hooks.
    pub(super) fn end(mut self) {
        if let Some(guard) = self.guard {
            guard.count(&mut self.tally);
        }
    }
}

/// Carries a row over the veth pair `target`, whose way is clear, from its end `out` to the other.
#[inline]
pub(super) fn carry(
    now: Time,
    pool: &mut Pool,
    trace: &mut Trace,
    source: &mut Waiting<'_>,
    target: &mut Link,
    (out, side): (IfId, Side),
    row: &Row,
) {
    let what = What::Forwarded(out);
    if row.in_order {
        trace.events(now, row.first, row.count, out, what);
    } else {
        for frame in &source.frames()[..row.count as usize] {
            trace.event(now, pool.meta(frame).id, out, what);
        }
    }
    if row.count == 1 {
        if let Some(frame) = source.take() {
            target.carry_one(pool, side, frame, row.bytes);
        }
    } else {
        let frames = source.take_run(row.count as usize);
        let weight = (u64::from(row.count), row.bytes);
        target.carry_run(pool, side, frames, weight);
    }
}
