//! Frames of many flows that wait at one port, one behind the other.
//!
//! Each goes along the course of its flow, to another port than the one before. Whose course it is needs no look-up while
//! the flows come in the order in which their courses were found; and what the frames have in common is done once.

use std::collections::VecDeque;

use switch::bridge::{Bridge, PortId};
use switch::hook::{Netfilter, Tally, WideShape};
use switch::link::Link;
use switch::ring::{Held, Waiting};
use switch::trace::Trace;
use switch::verdict::What;
use switch::{Frame, Pool, Time};

use super::courses::{Age, Course, Courses, Single, seen};
use super::crossing::{Crossing, Known, carry};
use super::row::Row;
use super::run::Inlet;
use super::version::{Figure, V4, V6, Version};
use super::{QUANTUM, Reader, Socket, Work, mark};
use crate::id::IfId;

impl Crossing<'_> {
    /// Moves the first frames that wait, at most `most`, along the courses of their flows: as long as each has one that
    /// holds, and is not of the flow of the one before. How many; nothing has happened to those behind them.
    #[inline(never)]
    pub(super) fn follow_each(
        &mut self,
        inlet: &Inlet,
        source: &mut Waiting<'_>,
        most: usize,
    ) -> u32 {
        self.proceed::<V4>(inlet, source, most)
    }

    /// The same for frames of IPv6, and for a row of them.
    #[inline(never)]
    pub(super) fn follow_wide(
        &mut self,
        inlet: &Inlet,
        source: &mut Waiting<'_>,
        most: usize,
    ) -> u32 {
        let Some(guard) = &self.guard else {
            return 0;
        };
        self.wide.renew(seen(self.bridge, guard));
        if self.wide.is_empty() {
            return 0;
        }
        if let Some(moved) = self.follow_row(inlet, source, most) {
            return moved;
        }
        self.proceed::<V6>(inlet, source, most)
    }

    /// Moves the first frames that wait, if they are of one flow of IPv6 and look the same to all on their way.
    #[inline(always)]
    fn follow_row(&mut self, inlet: &Inlet, source: &mut Waiting<'_>, most: usize) -> Option<u32> {
        let waiting = source.frames();
        let [first, others @ ..] = &waiting[..most.min(waiting.len())] else {
            return None;
        };
        let shape = WideShape::of(self.pool.bytes(first))?;
        let row = Row::alike(self.pool, first, &shape, others)?;
        let key = Single::<V6>::of(self.pool, first, inlet.iface)?.key;
        let &course = self.wide.of(self.now, &key)?;
        let target = self.links.get_mut(course.link().0 as usize)?;
        let packet = u64::from(shape.packet());
        let goes_on = course.link() != inlet.link
            && target.is_clear(self.pool, course.side(), row.count as usize, row.longest)
            && self.bridge.renew(self.now, inlet.port, key.source())
            && (self.guard.as_deref_mut()?).pass_many(
                self.now,
                (row.count, packet),
                &course.passage,
                &mut self.tally,
            );
        if !goes_on {
            return None;
        }
        self.passed.0 += u64::from(row.count);
        self.passed.1 += row.bytes;
        let way = (course.out, course.side());
        carry(self.now, self.pool, self.trace, source, target, way, &row);
        mark(self.sockets, self.work, course.peer);
        Some(row.count)
    }

    #[inline(always)]
    fn proceed<V: Chosen>(&mut self, inlet: &Inlet, source: &mut Waiting<'_>, most: usize) -> u32 {
        let Some(guard) = self.guard.as_deref_mut() else {
            return 0;
        };
        if !self.pool.has_room(QUANTUM) || !self.trace.has_room(QUANTUM) {
            return 0;
        }
        let courses = V::chosen(self.courses, self.wide);
        let last = courses.last;
        let mut procession = Procession {
            now: self.now,
            age: Age::of(self.now),
            seal: courses.seal(inlet.iface),
            inlet,
            expected: courses.behind(last),
            last,
            sender: 0,
            bytes: 0,
            tally: self.tally,
            bridge: self.bridge,
            courses,
            guard,
            pool: self.pool,
            trace: self.trace,
            links: self.links,
            sockets: self.sockets,
            work: self.work,
        };
        let count = source.take_while(most, |held| procession.go(held).is_some());
        let Procession {
            last, tally, bytes, ..
        } = procession;
        V::chosen(self.courses, self.wide).last = last;
        self.tally = tally;
        self.passed.0 += count as u64;
        self.passed.1 += bytes;
        count as u32
    }

    /// The same for the one frame that waits: it shares nothing with others.
    #[inline(never)]
    pub(super) fn follow_one(&mut self, inlet: &Inlet, source: &mut Waiting<'_>) -> u32 {
        self.go_alone(inlet, source).map_or(0, |()| 1)
    }

    #[inline(always)]
    fn go_alone(&mut self, inlet: &Inlet, source: &mut Waiting<'_>) -> Option<()> {
        let single = Single::of(self.pool, source.frames().first()?, inlet.iface)?;
        let course = self.courses.of(self.now, &single.key)?;
        if course.link() == inlet.link || !self.pool.has_room(1) {
            return None;
        }
        let mut known = Known {
            now: self.now,
            port: inlet.port,
            bridge: self.bridge,
            guard: self.guard.as_deref_mut()?,
            tally: &mut self.tally,
            links: self.links,
            renewed: None,
        };
        let way = known.way(course, &single)?;
        let what = What::Forwarded(course.out);
        (self.trace).event(self.now, single.number, course.out, what);
        if let Some(frame) = source.take() {
            way.carry(self.pool, frame, single.len as u64);
        }
        mark(self.sockets, self.work, course.peer);
        self.passed.0 += 1;
        self.passed.1 += single.len as u64;
        Some(())
    }
}

/// Which of a bridge's courses are those of a version.
trait Chosen: Version {
    fn chosen<'a>(v4: &'a mut Courses<V4>, v6: &'a mut Courses<V6>) -> &'a mut Courses<Self>;
}

impl Chosen for V4 {
    #[inline(always)]
    fn chosen<'a>(v4: &'a mut Courses<V4>, _v6: &'a mut Courses<V6>) -> &'a mut Courses<Self> {
        v4
    }
}

impl Chosen for V6 {
    #[inline(always)]
    fn chosen<'a>(_v4: &'a mut Courses<V4>, v6: &'a mut Courses<V6>) -> &'a mut Courses<Self> {
        v6
    }
}

/// Frames on their way, one behind the other.
struct Procession<'a, V: Version> {
    now: Time,
    age: Age,
    /// That of the courses of frames that came in here.
    seal: u64,
    inlet: &'a Inlet,
    /// Where the course stands that is expected next.
    expected: u16,
    /// That of the last frame.
    last: u16,
    /// Whom the bridge knows to be at the port now, as a [shape](Shape::sender) has it. No station has the address of zeros.
    sender: u64,
    /// Of those that have gone.
    bytes: u64,
    tally: Tally,
    bridge: &'a mut Bridge,
    courses: &'a mut Courses<V>,
    guard: &'a mut Netfilter,
    pool: &'a mut Pool,
    trace: &'a mut Trace,
    links: &'a mut [Link],
    sockets: &'a mut [Socket],
    work: &'a mut VecDeque<Work>,
}

impl<V: Version> Procession<'_, V> {
    /// Moves the next frame. `None`, and nothing has happened, if it has to be looked at.
    #[inline(always)]
    fn go(&mut self, held: Held<'_>) -> Option<()> {
        let (number, len, head) = V::Shape::head(&self.pool.small(), held.frame())?;
        let expected = self.courses.now(self.age, self.seal);
        let course = match expected.at(self.expected, len, head) {
            Some(course) => course,
            None => {
                let single = (&*self.pool, held.frame(), self.inlet.iface);
                let last = (self.last, self.bytes > 0);
                let (place, course) = look_up(self.courses, self.now, single, last)?;
                self.expected = place;
                course
            }
        };
        // A frame that leaves by the port that it came by is no part of a row, so no course was kept of it.
        debug_assert_ne!(course.link(), self.inlet.link);
        let target = self.links.get_mut(course.link().0 as usize)?;
        let way = target.clear(course.side(), len as usize)?;
        let sender = course.shape.sender();
        if sender != self.sender {
            if !renews(self.bridge, self.now, self.inlet.port, course) {
                return None;
            }
            self.sender = sender;
        }
        let packet = course.shape.packet();
        let passes = (self.guard).pass_one(self.now, packet, &course.passage, &mut self.tally);
        if !passes {
            return None;
        }
        let what = What::Forwarded(course.out);
        (self.trace).one_kept(self.now, number, course.out, what);
        let is_quiet = way.is_quiet();
        way.carry(self.pool, held.take(), u64::from(len));
        if is_quiet {
            debug_assert_eq!(self.sockets[course.peer.0 as usize].reader, Reader::Raw);
        } else {
            mark(self.sockets, self.work, course.peer);
        }
        self.bytes += u64::from(len);
        (self.last, self.expected) = (self.expected, course.next);
        Some(())
    }
}

/// The course of a frame that came in at a port, and where it stands. It comes behind the one that stands at `last`, and is
/// another if frames of that have just gone.
#[inline(never)]
fn look_up<'a, V: Version>(
    courses: &'a mut Courses<V>,
    now: Time,
    (pool, frame, inlet): (&Pool, &Frame, IfId),
    (last, has_gone): (u16, bool),
) -> Option<(u16, &'a Course<V>)> {
    let single = Single::of(pool, frame, inlet)?;
    let (place, _) = courses.find(now, &single.key)?;
    let place = place as u16;
    if has_gone && place == last {
        return None;
    }
    let course = courses.expect(place, V::Shape::of(pool.bytes(frame))?, last)?;
    Some((place, course))
}

#[inline(never)]
fn renews<V: Version>(bridge: &mut Bridge, now: Time, port: PortId, course: &Course<V>) -> bool {
    bridge.renew(now, port, course.sender())
}
