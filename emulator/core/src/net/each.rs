//! Frames of many flows that wait at one port, one behind the other.
//!
//! Each goes along the course of its flow, to another port than the one before. Whose course it is needs no look-up while
//! the flows come in the order in which their courses were found; and what the frames have in common is done once.

use std::collections::VecDeque;

use switch::bridge::{Bridge, PortId};
use switch::hook::{Netfilter, Shape, Tally};
use switch::link::Link;
use switch::ring::{Held, Waiting};
use switch::trace::Trace;
use switch::verdict::What;
use switch::{Frame, Pool, Time};

use super::courses::{Age, Course, Courses, Single};
use super::crossing::{Crossing, Known};
use super::run::Inlet;
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
        let Some(guard) = self.guard.as_deref_mut() else {
            return 0;
        };
        if !self.pool.has_room(QUANTUM) || !self.trace.has_room(QUANTUM) {
            return 0;
        }
        let last = self.courses.last;
        let mut procession = Procession {
            now: self.now,
            age: Age::of(self.now),
            seal: self.courses.seal(inlet.iface),
            inlet,
            expected: self.courses.behind(last),
            last,
            sender: 0,
            bytes: 0,
            tally: self.tally,
            bridge: self.bridge,
            courses: self.courses,
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
        self.courses.last = last;
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

/// Frames on their way, one behind the other.
struct Procession<'a> {
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
    courses: &'a mut Courses,
    guard: &'a mut Netfilter,
    pool: &'a mut Pool,
    trace: &'a mut Trace,
    links: &'a mut [Link],
    sockets: &'a mut [Socket],
    work: &'a mut VecDeque<Work>,
}

impl Procession<'_> {
    /// Moves the next frame. `None`, and nothing has happened, if it has to be looked at.
    #[inline(always)]
    fn go(&mut self, held: Held<'_>) -> Option<()> {
        let (number, len, head) = self.pool.small().ordinary(held.frame())?;
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
fn look_up<'a>(
    courses: &'a mut Courses,
    now: Time,
    (pool, frame, inlet): (&Pool, &Frame, IfId),
    (last, has_gone): (u16, bool),
) -> Option<(u16, &'a Course)> {
    let single = Single::of(pool, frame, inlet)?;
    let (place, _) = courses.find(now, &single.key)?;
    let place = place as u16;
    if has_gone && place == last {
        return None;
    }
    let course = courses.expect(place, Shape::of(pool.bytes(frame))?, last)?;
    Some((place, course))
}

#[inline(never)]
fn renews(bridge: &mut Bridge, now: Time, port: PortId, course: &Course) -> bool {
    bridge.renew(now, port, course.sender())
}
