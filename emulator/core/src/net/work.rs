//! The worklist: who has something to do, in the order in which it was marked, and the timers.

use switch::Time;

use super::hand::Hand;
use super::{Net, Work, Worked, mark};
use crate::id::{AppId, IfId, NsId, SockId};

impl Net {
    #[inline]
    pub(crate) fn mark(&mut self, iface: IfId) {
        mark(&mut self.sockets, &mut self.work, iface);
    }

    pub(super) fn mark_ns(&mut self, ns: NsId) {
        let marked = &mut self.marked_ns[ns.0 as usize];
        if !*marked {
            *marked = true;
            self.work.push_back(Work::Poll(ns));
        }
    }

    /// Puts an application on the worklist.
    pub(crate) fn mark_app(&mut self, app: AppId) {
        self.work.push_back(Work::Run(app));
    }

    /// Whether anything is marked.
    pub(crate) fn has_work(&self) -> bool {
        !self.work.is_empty()
    }

    /// Does the work of marks until there is none, an application is next, a socket is to be told of, or
    /// a capture may have to be emptied.
    #[inline]
    pub(crate) fn work(&mut self) -> Worked {
        match self.work.pop_front() {
            Some(work) => self.work_from(work),
            None => Worked::Nothing,
        }
    }

    /// The same for at most `marks` marks, which are counted down: real time has others to look after.
    pub(crate) fn work_within(&mut self, marks: &mut u32) -> Worked {
        let all = *marks;
        while *marks > 0 {
            let Some(work) = self.work.pop_front() else {
                // What was done may have something to tell.
                return match *marks == all {
                    true => Worked::Nothing,
                    false => Worked::Something,
                };
            };
            *marks -= 1;
            match work {
                Work::Receive(iface) => self.receive(iface),
                Work::Poll(ns) => {
                    self.marked_ns[ns.0 as usize] = false;
                    self.with_ns(ns, |netns, cx| netns.poll(cx));
                }
                Work::Run(app) => return Worked::Till(app),
            }
            if !self.wakes.is_empty() || self.trace.is_capturing() {
                break;
            }
        }
        Worked::Something
    }

    /// Out of the way of those who ask and find nothing.
    #[inline(never)]
    fn work_from(&mut self, work: Work) -> Worked {
        self.hand = Hand::Open;
        let worked = self.work_on(work);
        self.hand = Hand::Closed;
        worked
    }

    #[inline(always)]
    fn work_on(&mut self, mut work: Work) -> Worked {
        loop {
            match work {
                Work::Receive(iface) => self.receive(iface),
                Work::Poll(ns) => {
                    self.marked_ns[ns.0 as usize] = false;
                    self.with_ns(ns, |netns, cx| netns.poll(cx));
                }
                Work::Run(app) => return Worked::Till(app),
            }
            loop {
                if !self.wakes.is_empty() || self.trace.is_capturing() {
                    self.put_down();
                    return Worked::Something;
                }
                match self.take_hand() {
                    Some((iface, frame)) => self.take_in(iface, frame),
                    None => break,
                }
            }
            work = match self.work.pop_front() {
                Some(work) => work,
                None => return Worked::Something,
            };
        }
    }

    /// Whether there may be something to tell: of sockets, raw interfaces, captures.
    #[inline]
    pub(crate) const fn has_news(&self) -> bool {
        !self.wakes.is_empty() | !self.told.is_empty() | self.trace.is_capturing()
    }

    /// The sockets whose readiness changed since the last call.
    pub(crate) fn take_wakes(&mut self) -> Option<SockId> {
        self.wakes.pop()
    }

    /// The socket whose readiness changed, if that is all that there is to tell.
    #[inline]
    pub(crate) fn only_wake(&self) -> Option<SockId> {
        match self.wakes[..] {
            [sock] if self.told.is_empty() && !self.trace.is_capturing() => Some(sock),
            _ => None,
        }
    }

    /// When the next namespace wants to run.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        self.alarms.first().map(|(at, _)| at)
    }

    /// Moves time to `now`. Time never goes back.
    pub(crate) fn advance(&mut self, now: Time) {
        self.now = self.now.max(now);
    }

    /// Runs the timers of the first namespace that has any due; false if none has. One after the other, each when
    /// the frames of the last have arrived: a thousand announcements of one moment are not under way at once.
    #[inline]
    pub(crate) fn fire_next(&mut self) -> bool {
        let is_due = (self.alarms.first()).is_some_and(|(at, _)| at <= self.now);
        is_due && self.fire_first()
    }

    #[inline(never)]
    fn fire_first(&mut self) -> bool {
        let Some(ns) = self.alarms.pop(self.now) else {
            return false;
        };
        self.with_ns(NsId(ns), |netns, cx| {
            netns.noted = Time::MAX;
            netns.fire(cx);
        });
        true
    }
}
