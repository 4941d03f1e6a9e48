//! Turns: a long answer to a short question, and the other way round, without smoltcp between the two.
//!
//! [Ping-pong](super::pingpong) has messages of a segment, [frames that are held](super::held) and
//! [queues](super::queue) have more than that. Where one of these ends in a state that the next one begins with, it does so at once:
//! a super-segment that answers a message is held; who has read all of what is held, or of a message, answers by a
//! message or from a queue, which takes the acknowledgement along; and when all of a queue is acknowledged, the next question
//! is ping-pong's. smoltcp would come to know of nothing but that its numbers have moved on.
//!
//! Until the answer leaves, what was held stays so beside it, since smoltcp has not said then that it has come. Whatever else happens
//! meanwhile has smoltcp take over both.

use switch::{Pool, Time};

use super::held::Heard;
use super::paths::{PathIx, Shared};
use super::pingpong::{PROMPT, is_alone, is_at_rest};
use super::smol::Smol;

impl Smol {
    /// Nothing passes smoltcp by.
    #[inline]
    pub(super) const fn is_by_smoltcp(&self) -> bool {
        !self.pingpong.is_on() && !self.held.is_on() && !self.queue.is_on()
    }

    /// All that came has been read, and all that was sent is acknowledged; what has not been sent is a message at most.
    /// smoltcp would say no more of what came than an answer says.
    pub(super) fn has_turn(&self) -> bool {
        let is_read = match self.held.is_on() {
            true => self.held.unread() == 0 && self.pingpong.is_current() && !self.owes,
            false => self.pingpong.has_turn(self.owes),
        };
        is_read && !self.queue.is_on() && self.pingpong.may_stream()
    }

    /// What is written now answers what came.
    pub(super) fn is_answering(&self) -> bool {
        self.has_turn() || self.is_by_smoltcp() && self.owes && is_at_rest(self.socket())
    }

    /// Has an answer of `len` bytes follow frames that were held, as a message; whether it can.
    pub(super) fn answer(&mut self, len: usize) -> bool {
        self.held.is_on() && self.has_turn() && self.pingpong.answer(len)
    }

    /// Has an answer follow what came, from a [queue](super::queue). What is left to say of the
    /// message before it is returned.
    pub(super) fn leave_pingpong(&mut self) -> Vec<u8> {
        if let Some(message) = self.pingpong.unanswered()
            && let Some((ack, field)) = self.pingpong.told()
        {
            self.held.owe((ack, field), message);
        }
        self.pingpong.leave()
    }

    /// A segment takes along all that there is to say of what was held.
    pub(super) fn forget_held(&mut self) {
        let (expected, count) = self.held.forget();
        self.pingpong.come(expected, count);
    }

    /// Has ping-pong go on where a segment with data acknowledges all that was sent: whether that was from a queue, which ends
    /// then, or by smoltcp, which a super-segment answers.
    pub(super) fn turn(
        &mut self,
        (shared, path): (&mut Shared, PathIx),
        now: Time,
        heard: &Heard,
    ) -> bool {
        if !self.pingpong.may_stream() || !self.pingpong.is_next(heard) {
            return false;
        }
        match self.queue.is_on() {
            true => self.turn_queue((shared, path), now, heard),
            false => heard.burst && self.turn_answered((shared, path), now, heard),
        }
    }

    fn turn_queue(
        &mut self,
        (shared, path): (&mut Shared, PathIx),
        now: Time,
        heard: &Heard,
    ) -> bool {
        if !self.queue.ends_with(now, heard) || self.pingpong.since().is_some() {
            return false;
        }
        if !self.passes(now, heard.ack) {
            return false;
        }
        let is_current = self.pingpong.is_current();
        if is_current && !self.queue.tells_more && heard.window == self.queue.field {
            let passed = self.queue.end();
            self.pingpong.pass_sent(passed);
            self.pingpong.rtt.pass(now, heard.ack);
            if self.pingpong.rtt.keeps() {
                self.measure((shared, path), now, (heard.ack, heard.window));
            }
        } else if self.queue.is_empty() && (is_current || self.queue.tells()) {
            self.end_queue((shared, path), heard.window);
        } else {
            return false;
        }
        self.asks_at = None;
        self.pingpong.set_window(heard.window);
        if self.pingpong.is_current() {
            self.pingpong.enter();
        }
        true
    }

    /// smoltcp has sent all that it had, and has nothing else to do once it knows that this is acknowledged.
    fn turn_answered(
        &mut self,
        (shared, path): (&mut Shared, PathIx),
        now: Time,
        heard: &Heard,
    ) -> bool {
        let is_plain = !self.owes && is_alone(self.socket());
        let is_prompt = self.pingpong.since().is_none_or(|at| now <= at + PROMPT);
        if !is_plain || !is_prompt || !self.pingpong.may_enter() {
            return false;
        }
        let is_known = self.pingpong.awaits(heard.ack, heard.window);
        if self.socket().send_queue() > 0 || !is_known {
            self.feed_ack((shared, path), now, heard.ack, heard.window);
            self.pingpong.set_window(heard.window);
        }
        self.is_at_rest() && self.pingpong.enter()
    }

    /// Has smoltcp take over all that passes it by.
    pub(super) fn take_over(&mut self, shared: &mut Shared, path: PathIx, pool: &mut Pool) {
        if self.queue.is_on() {
            self.settle(shared, path, pool);
        } else if self.pingpong.is_on() {
            self.catch_up(shared, path);
        } else if self.held.is_on() {
            self.part(shared, path, pool);
        }
    }
}
