//! Frames of many flows that wait at one port, one behind the other.
//!
//! Each goes along the course of its flow, to another port than the one before. In three passes: their courses are found,
//! then it is seen that each may go, which changes nothing that the others are judged by, then they are delivered. So
//! what each of them touches is fetched while others are looked at, and what they have in common is done once.

use switch::bridge::{Bridge, PortId};
use switch::hook::{Netfilter, Tally};
use switch::link::Link;
use switch::ring::Waiting;
use switch::verdict::What;
use switch::{Frame, Pool, Time};

use super::courses::{Courses, Single, Step};
use super::crossing::{Crossing, Known};
use super::run::Inlet;
use super::{QUANTUM, mark};
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
        if !self.pool.has_room(QUANTUM) {
            return 0;
        }
        let mut steps = core::mem::take(&mut self.courses.steps);
        let waiting = source.frames();
        let waiting = &waiting[..most.min(waiting.len())];
        find(
            self.pool,
            self.courses,
            (self.now, inlet.iface),
            waiting,
            &mut steps,
        );
        let mut gate = Gate {
            now: self.now,
            courses: self.courses,
            guard,
            links: self.links,
        };
        steps.truncate(gate.judge(self.bridge, inlet, &steps));
        let forwarded = |step: &Step| (step.number, step.out, What::Forwarded(step.out));
        self.trace.each(self.now, steps.iter().map(forwarded));
        let (mut tally, mut bytes) = (self.tally, 0);
        for (step, frame) in steps.iter().zip(source.take_run(steps.len())) {
            gate.pass(self.pool, step, frame, &mut tally);
            mark(self.sockets, self.work, step.peer);
            bytes += u64::from(step.len);
        }
        self.tally = tally;
        let count = steps.len();
        self.passed.0 += count as u64;
        self.passed.1 += bytes;
        steps.clear();
        self.courses.steps = steps;
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

/// Takes down the courses of frames that came in at a port, up to the first that has none or the one of the frame before.
#[inline(never)]
fn find(
    pool: &Pool,
    courses: &Courses,
    (now, inlet): (Time, IfId),
    waiting: &[Frame],
    steps: &mut Vec<Step>,
) {
    let mut last = usize::MAX;
    for frame in waiting {
        let Some(single) = Single::of(pool, frame, inlet) else {
            return;
        };
        let Some((place, course)) = courses.find(now, &single.key) else {
            return;
        };
        if place == last {
            return;
        }
        last = place;
        steps.push(Step {
            number: single.number,
            len: single.len as u32,
            packet: single.datum.bytes(),
            course: place as u16,
            out: course.out,
            peer: course.peer,
        });
    }
}

/// What frames with courses have to get through.
struct Gate<'a> {
    now: Time,
    courses: &'a Courses,
    guard: &'a mut Netfilter,
    links: &'a mut [Link],
}

impl Gate<'_> {
    /// How many of the first frames may go along their courses, all of them together.
    #[inline(never)]
    fn judge(&self, bridge: &mut Bridge, inlet: &Inlet, steps: &[Step]) -> usize {
        let mut renewed = None;
        for (before, step) in steps.iter().enumerate() {
            let way = self.courses.at(step.course).and_then(|course| {
                let target = self.links.get(course.link().0 as usize)?;
                Some((course, target))
            });
            let Some((course, target)) = way else {
                return before;
            };
            // As if all of them went there.
            let goes = course.link() != inlet.link
                && target.takes(course.side(), step.len as usize, before + 1)
                && self.guard.holds(self.now, &course.passage);
            if !goes {
                return before;
            }
            let sender = course.sender();
            if renewed != Some(sender) {
                if !renews(bridge, self.now, inlet.port, sender) {
                    return before;
                }
                renewed = Some(sender);
            }
        }
        steps.len()
    }

    /// Lets a frame pass that may go.
    #[inline(always)]
    fn pass(&mut self, pool: &mut Pool, step: &Step, frame: Frame, tally: &mut Tally) {
        if let Some(course) = self.courses.at(step.course)
            && let Some(target) = self.links.get_mut(course.link().0 as usize)
        {
            (self.guard).pass_held(self.now, step.packet, &course.passage, tally);
            let way = target.taking(course.side());
            way.carry(pool, frame, step.len.into());
        } else {
            pool.free(frame);
        }
    }
}

#[inline(never)]
fn renews(bridge: &mut Bridge, now: Time, port: PortId, sender: u64) -> bool {
    bridge.renew(now, port, sender)
}
