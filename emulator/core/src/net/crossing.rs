//! A bridge at work: what becomes of frames that wait at its ports, row by row or along courses.

use std::collections::VecDeque;

use switch::bridge::{Bridge, Decision, PortId};
use switch::hook::{Netfilter, Run, Tally};
use switch::link::{Link, Side};
use switch::ring::Waiting;
use switch::trace::Trace;
use switch::verdict::What;
use switch::wire::ETHER_LEN;
use switch::{Pool, Time};

use super::courses::{Course, Courses, Key};
use super::row::{Row, header};
use super::run::{Inlet, Next};
use super::{Plug, Reader, Socket, Work, mark};
use crate::id::{BridgeId, IfId, LinkId};

/// What says whether a frame goes along a course.
pub(super) struct Known<'a> {
    pub(super) now: Time,
    pub(super) bridge: &'a mut Bridge,
    pub(super) courses: &'a Courses,
    pub(super) guard: &'a mut Netfilter,
    pub(super) tally: &'a mut Tally,
    pub(super) pool: &'a Pool,
    pub(super) links: &'a [Option<Box<Link>>],
}

impl Known<'_> {
    /// The course of one frame of `len` bytes from a port, if it holds and there is room for the frame: the bridge and the
    /// hooks have accounted for it then, but for the tally and the bridge's counters. `None`, and nothing has happened, if it
    /// has to be looked at.
    #[inline(always)]
    pub(super) fn course(self, inlet: &Inlet, run: &Run, key: &Key, len: usize) -> Option<Leave> {
        let course = self.courses.of(self.now, key)?;
        let target = self.links.get(course.link().0 as usize)?.as_deref()?;
        let goes_on = course.link() != inlet.link
            && target.is_clear(self.pool, course.side(), 1, len)
            && self.bridge.renew(self.now, inlet.port, key.source())
            && (self.guard).pass_along(self.now, run, &course.passage, self.tally);
        goes_on.then(|| Leave {
            out: course.out,
            peer: course.peer,
            link: course.link(),
            side: course.side(),
        })
    }
}

/// How a frame leaves a bridge: by an interface, whose veth pair ends at a peer.
pub(super) struct Leave {
    pub(super) out: IfId,
    pub(super) peer: IfId,
    pub(super) link: LinkId,
    pub(super) side: Side,
}

/// A bridge at work, and all that its frames touch on their way.
pub(super) struct Crossing<'a> {
    pub(super) now: Time,
    pub(super) own: IfId,
    pub(super) bridge: &'a mut Bridge,
    pub(super) courses: &'a mut Courses,
    /// The next frame has no course that holds.
    pub(super) asked: bool,
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
    pub(super) links: &'a mut [Option<Box<Link>>],
    pub(super) sockets: &'a mut [Socket],
    pub(super) work: &'a mut VecDeque<Work>,
}

impl Crossing<'_> {
    /// Moves frames that wait at a port, at most `left`.
    #[inline]
    pub(super) fn port(&mut self, inlet: &Inlet, left: &mut usize) -> Next {
        // Not in its place meanwhile: through a hairpin or a loop frames would meet those that wait.
        let Some(mut source) = self.links[inlet.link.0 as usize].take() else {
            return Next::Nothing;
        };
        let mut waiting = source.waiting_for(inlet.side);
        let next = loop {
            if *left == 0 {
                break Next::Nothing;
            }
            match self.row(inlet, &mut waiting, *left) {
                Ok(count) => *left -= count as usize,
                Err(next) => break next,
            }
        };
        self.links[inlet.link.0 as usize] = Some(source);
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
        let (meta, bytes) = self.pool.view(first);
        let second = waiting.get(1).map(|second| self.pool.bytes(second));
        let is_one = second.is_none_or(|second| header(second) != header(bytes));
        let asked = core::mem::take(&mut self.asked);
        if is_one && !asked && meta.gso_size == 0 && self.guard.is_some() {
            let run = bytes.split_at_checked(ETHER_LEN);
            let run = run.and_then(|(_, packet)| Run::of(packet, self.own, 1));
            if let Some(run) = run.filter(Run::may_grow)
                && let Some(key) = Key::of(bytes, run.flow(), inlet.iface)
                && self.follow_one(inlet, source, (meta.id, bytes.len()), &run, &key)
            {
                return Ok(1);
            }
        }
        self.row_of_many(inlet, source, most, is_one)
    }

    /// Moves the first frame that waits, of this number and length, along the course of its flow. False, and nothing has
    /// happened, if it has to be looked at.
    #[inline]
    fn follow_one(
        &mut self,
        inlet: &Inlet,
        source: &mut Waiting<'_>,
        (number, len): (u64, usize),
        run: &Run,
        key: &Key,
    ) -> bool {
        let Some(guard) = self.guard.as_deref_mut() else {
            return false;
        };
        let known = Known {
            now: self.now,
            bridge: self.bridge,
            courses: self.courses,
            guard,
            tally: &mut self.tally,
            pool: self.pool,
            links: self.links,
        };
        let Some(leave) = known.course(inlet, run, key, len) else {
            return false;
        };
        let Leave {
            out,
            peer,
            link,
            side,
        } = leave;
        self.passed.0 += 1;
        self.passed.1 += len as u64;
        let what = What::Forwarded(out);
        self.trace.event(self.now, number, out, what);
        if let Some(frame) = source.take()
            && let Some(target) = self.links[link.0 as usize].as_deref_mut()
        {
            target.carry_one(self.pool, side, frame, len as u64);
        }
        mark(self.sockets, self.work, peer);
        true
    }

    /// Moves the next row, of at most `most` frames. If it is only one, its course was looked for.
    #[inline(never)]
    fn row_of_many(
        &mut self,
        inlet: &Inlet,
        source: &mut Waiting<'_>,
        most: usize,
        is_one: bool,
    ) -> Result<u32, Next> {
        let waiting = source.frames();
        let waiting = &waiting[..most.min(waiting.len())];
        let Some(first) = waiting.first() else {
            return Err(Next::Nothing);
        };
        let (meta, bytes) = self.pool.view(first);
        let guarded = self.guard.is_some().then_some(self.own);
        let Some(mut row) = Row::of(meta, bytes, guarded) else {
            return Err(Next::Alone);
        };
        let data = row.packets.as_ref().filter(|run| run.may_grow());
        let key = data.and_then(|run| Key::of(bytes, run.flow(), inlet.iface));
        if !is_one
            && let Some(key) = &key
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
        course: &Course,
        key: &Key,
        row: &Row,
    ) -> bool {
        let target = self.links.get_mut(course.link().0 as usize);
        let Some(target) = target.and_then(Option::as_deref_mut) else {
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
        key: Option<Key>,
    ) -> Result<u32, Next> {
        let waiting = source.frames();
        let waiting = &waiting[..most.min(waiting.len())];
        let Some(first) = waiting.first() else {
            return Err(Next::Nothing);
        };
        let bytes = self.pool.bytes(first);
        let decision = self.bridge.judge(self.now, inlet.port, bytes);
        if self.bridge.learned().is_some() {
            let what = What::Learned(inlet.iface);
            self.trace.event(self.now, row.first, self.own, what);
        }
        let len = bytes.len();
        let Decision::Port(to) = decision else {
            return self.alone(inlet, decision, len);
        };
        // Only now: what the stack takes comes one by one, and others would be looked at each time.
        if row.count == 1 {
            row.extend(self.pool, bytes, waiting);
        }
        let moved = self.forward(inlet, source, to, len, &row);
        self.renew_courses();
        if let (Ok(_), Some(key)) = (&moved, key) {
            self.keep_course(inlet, key, to, &row);
        }
        moved
    }

    /// Courses are found out anew if anything that they depend on has changed.
    #[inline]
    pub(super) fn renew_courses(&mut self) {
        if let Some(guard) = &self.guard {
            let (rules, lanes) = guard.passages();
            self.courses.renew((self.bridge.change(), rules, lanes));
        }
    }

    /// A row was just forwarded to a port: others will go the same way, if its flow goes on.
    fn keep_course(&mut self, inlet: &Inlet, key: Key, to: PortId, row: &Row) {
        let guard = self.guard.as_deref();
        let run = row.packets.as_ref();
        let Some(passage) = guard.zip(run).and_then(|(guard, run)| guard.passage(run)) else {
            return;
        };
        let old_at = self.bridge.old_at(inlet.port, key.destination());
        let (Some(old_at), Some(port)) = (old_at, self.bridge.port(to)) else {
            return;
        };
        let out = port.interface;
        if let Plug::Veth { link, side, peer } = self.sockets[out.0 as usize].plug
            && let Some(course) = Course::new(key, passage, (out, peer), (link, side), old_at)
        {
            self.courses.keep(course);
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
            && !guard.pass_bridged(self.now, packets, self.addresses, &mut self.tally)
        {
            return self.alone(inlet, Decision::Port(to), len);
        }
        self.passed.0 += u64::from(row.count);
        self.passed.1 += row.bytes;
        let Some(target) = self.links[link.0 as usize].as_deref_mut() else {
            return Err(Next::Each(to, row.count));
        };
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
fn carry(
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
