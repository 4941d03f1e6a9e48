//! Courses: the whole way of a flow through a bridge, found by one look.
//!
//! What a bridge, its hooks and the wiring say of a frame of a flow that goes on is the same each time. A course keeps
//! all of it on two lines of the cache, as the flow caches of Open vSwitch do, so that a frame that comes alone
//! is not asked about address by address. It holds until the bridge, the rules or the connection changes, or until the
//! destination has been silent for too long; counters, timers and events are as without it.

use switch::bridge::{Bridge, PortId};
use switch::hook::{Netfilter, Passage};
use switch::link::Side;
use switch::wire::ETHER_LEN;
use switch::{Frame, Pool, Time};

use super::version::{Figure, Version};
use crate::id::{IfId, LinkId};

/// Courses of a bridge for each version of IP, half a MiB in the end (three quarters for IPv6): flows with the same
/// places take turns. Memory is taken as flows go on.
const COURSES: usize = 4096;
/// So many at first: a power of two, a power of four less than [`COURSES`].
const FIRST_COURSES: usize = 64;
/// Places that a course may have, one behind the other.
const PLACES: usize = 4;
/// Bits of a place that tell flows apart; the others say where the course stands.
const MARK: u32 = 0xffff_0000;
/// A place that names no course.
const NOTHING: u32 = !MARK;
/// Bits of a time that a course does not keep: about a second.
const COARSE: u32 = 30;

/// What the frames of a flow at one port have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key<V: Version> {
    /// Protocol, addresses and ports.
    flow: V::Flow,
    /// The destination, and where the source begins.
    front: u64,
    /// Where the source ends.
    back: u32,
    /// The interface that is the port.
    inlet: IfId,
}

/// A frame of nothing but data, which may have a course.
#[derive(Clone, Copy, Debug)]
pub(super) struct Single<V: Version> {
    pub(super) number: u64,
    pub(super) len: usize,
    /// Those of the packet.
    pub(super) bytes: u16,
    pub(super) key: Key<V>,
}

/// A veth pair that frames leave by, and the end of it where they arrive.
#[derive(Clone, Copy, Debug)]
struct Outlet(u32);

/// Where they go.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub(super) struct Course<V: Version> {
    /// That of the frame that was looked up last.
    pub(super) shape: V::Shape,
    /// When it was found out, in changes, and where its frames come in.
    seal: u64,
    /// Where the course stands of the frame that came behind one of these last.
    pub(super) next: u16,
    key: Key<V>,
    pub(super) passage: Passage,
    /// The interface that they leave by.
    pub(super) out: IfId,
    /// The other end of its veth pair.
    pub(super) peer: IfId,
    /// The veth pair that they leave by.
    outlet: Outlet,
    /// When the destination is too old.
    old: Age,
}

/// All that a course depends on besides its connection and its age: the change of the bridge, and those of the rules.
pub(super) type Seen = (u64, u64, u32);

/// What courses depend on, as it is now.
#[inline]
pub(super) const fn seen(bridge: &Bridge, guard: &Netfilter) -> Seen {
    let (rules, lanes) = guard.passages();
    (bridge.change(), rules, lanes)
}

/// The courses of a bridge for frames of one version of IP.
#[derive(Debug, Default)]
pub(super) struct Courses<V: Version> {
    /// One behind the other as they were found.
    list: Vec<Course<V>>,
    /// Where they stand there, below a mark of the flow.
    places: Vec<u32>,
    seen: Seen,
    epoch: u16,
    /// Where the course stands of the last frame of many.
    pub(super) last: u16,
}

/// Those of frames that come in at one port at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now<'a, V: Version> {
    list: &'a [Course<V>],
    age: Age,
    seal: u64,
}

/// A time in coarse units.
#[derive(Clone, Copy, Debug)]
pub(super) struct Age(u32);

impl Age {
    #[inline]
    pub(super) const fn of(time: Time) -> Self {
        let units = time.as_nanos() >> COARSE;
        Self(if units < u32::MAX as u64 {
            units as u32
        } else {
            u32::MAX
        })
    }
}

impl<V: Version> Key<V> {
    /// The frame that `bytes` start with, of this flow, came in at this port. `None` if it is not of this version,
    /// whatever it looks like.
    #[inline(always)]
    pub(super) fn of(bytes: &[u8], flow: V::Flow, inlet: IfId) -> Option<Self> {
        let head = bytes.first_chunk::<ETHER_LEN>()?;
        let (front, rest) = head.split_first_chunk::<8>()?;
        let (back, kind) = rest.split_first_chunk::<4>()?;
        (kind == V::TYPE).then_some(Self {
            flow,
            front: u64::from_be_bytes(*front),
            back: u32::from_be_bytes(*back),
            inlet,
        })
    }

    /// The destination address as a number, its first byte highest.
    #[inline]
    pub(super) const fn destination(&self) -> u64 {
        self.front >> 16
    }

    /// The source address as a number, its first byte highest.
    #[inline]
    pub(super) const fn source(&self) -> u64 {
        (self.front & 0xffff) << 32 | self.back as u64
    }

    #[inline(always)]
    fn hash(&self) -> u64 {
        V::hash(&self.flow)
    }
}

impl<V: Version> Single<V> {
    /// The frame that waits at this port. `None` if it has no course.
    #[inline(always)]
    pub(super) fn of(pool: &Pool, frame: &Frame, inlet: IfId) -> Option<Self> {
        let (meta, bytes) = pool.view(frame);
        let (flow, packet) = V::datum(bytes.get(ETHER_LEN..)?)?;
        let key = Key::of(bytes, flow, inlet)?;
        (meta.gso_size == 0).then_some(Self {
            number: meta.id,
            len: bytes.len(),
            bytes: packet,
            key,
        })
    }
}

impl<V: Version> Course<V> {
    /// A course that is kept by [`Courses::keep`], which gives it its epoch. `None` if the number of the veth pair is
    /// beyond all bounds.
    fn new(
        key: Key<V>,
        passage: Passage,
        (out, peer): (IfId, IfId),
        (link, side): (LinkId, Side),
        old_at: Time,
    ) -> Option<Self> {
        Some(Self {
            shape: V::Shape::NONE,
            key,
            passage,
            out,
            peer,
            outlet: Outlet(link.0.checked_mul(2)? | side.peer() as u32),
            old: Age::of(old_at),
            seal: 0,
            next: 0,
        })
    }

    /// The source address of their frames as a number, its first byte highest.
    #[inline]
    pub(super) const fn sender(&self) -> u64 {
        self.key.source()
    }

    #[inline]
    const fn epoch(&self) -> u16 {
        (self.seal >> 32) as u16
    }

    /// The veth pair that they leave by.
    #[inline]
    pub(super) const fn link(&self) -> LinkId {
        self.outlet.link()
    }

    /// The end of it where they leave.
    #[inline]
    pub(super) const fn side(&self) -> Side {
        self.outlet.side()
    }
}

impl Outlet {
    #[inline]
    const fn link(self) -> LinkId {
        LinkId(self.0 / 2)
    }

    /// The end of it where frames leave.
    #[inline]
    const fn side(self) -> Side {
        match self.0 % 2 {
            0 => Side::B,
            _ => Side::A,
        }
    }
}

/// A change and a port as one number.
#[inline]
const fn seal(epoch: u16, inlet: IfId) -> u64 {
    (epoch as u64) << 32 | inlet.0 as u64
}

impl<'a, V: Version> Now<'a, V> {
    /// The course that stands here, if it is that of an ordinary frame. The frame is of the shape of the one that was looked up
    /// last, else nobody knows it here.
    #[inline(always)]
    pub(super) fn at(
        &self,
        at: u16,
        len: u32,
        head: &<V::Shape as Figure>::Head,
    ) -> Option<&'a Course<V>> {
        let course = self.list.get(usize::from(at))?;
        let holds = course.seal == self.seal && self.age.0 < course.old.0;
        (holds && course.shape.is_of_head(len, head)).then_some(course)
    }
}

impl<V: Version> Courses<V> {
    /// Forgets all courses if anything that they depend on has changed.
    #[inline]
    pub(super) fn renew(&mut self, seen: Seen) {
        if self.seen != seen {
            self.seen = seen;
            self.epoch = self.epoch.wrapping_add(1);
            if self.epoch == 0 {
                self.list.clear();
                self.places.fill(NOTHING);
            }
        }
    }

    /// There has been none.
    #[inline(always)]
    pub(super) const fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The course of frames like this.
    #[inline(always)]
    pub(super) fn of(&self, now: Time, key: &Key<V>) -> Option<&Course<V>> {
        Some(self.find(now, key)?.1)
    }

    /// The same, and where it stands.
    #[inline(always)]
    pub(super) fn find(&self, now: Time, key: &Key<V>) -> Option<(usize, &Course<V>)> {
        let hash = key.hash();
        let places: &[u32; PLACES] = self.places.get(self.place(hash)..)?.first_chunk()?;
        let (at, course) = match self.stands(places[0], hash, key) {
            Some(first) => first,
            None => (places[1..].iter()).find_map(|&held| self.stands(held, hash, key))?,
        };
        self.holds(Age::of(now), course).then_some((at, course))
    }

    /// What is the same in all courses of frames that come in at this port.
    #[inline]
    pub(super) const fn seal(&self, inlet: IfId) -> u64 {
        seal(self.epoch, inlet)
    }

    /// The courses of frames that come in now at the port of this [seal](Self::seal).
    #[inline(always)]
    pub(super) fn now(&self, age: Age, seal: u64) -> Now<'_, V> {
        Now {
            list: &self.list,
            age,
            seal,
        }
    }

    /// The course that stands at `next`: frames of this shape are expected to have it, behind those of the course that
    /// stands at `last`.
    pub(super) fn expect(&mut self, next: u16, shape: V::Shape, last: u16) -> Option<&Course<V>> {
        if last != next
            && let Some(last) = self.list.get_mut(usize::from(last))
        {
            last.next = next;
        }
        let course = self.list.get_mut(usize::from(next))?;
        course.shape = shape;
        Some(course)
    }

    /// Where the course stands that is expected behind the one that stands at `last`.
    #[inline]
    pub(super) fn behind(&self, last: u16) -> u16 {
        let last = self.list.get(usize::from(last));
        last.map_or(0, |last| last.next)
    }

    #[inline(always)]
    const fn holds(&self, now: Age, course: &Course<V>) -> bool {
        course.epoch() == self.epoch && now.0 < course.old.0
    }

    /// The course that a place names, if it is of this flow.
    #[inline(always)]
    fn stands(&self, held: u32, hash: u64, key: &Key<V>) -> Option<(usize, &Course<V>)> {
        if (held ^ hash as u32) & MARK != 0 {
            return None;
        }
        let at = (held & !MARK) as usize;
        let course = self.list.get(at)?;
        (course.key == *key).then_some((at, course))
    }

    /// The first place of a flow among those that there are now.
    #[inline(always)]
    const fn place(&self, hash: u64) -> usize {
        (hash >> 48) as usize & self.places.len().wrapping_sub(PLACES)
    }

    /// A packet that makes its flow one that goes on was just forwarded from a port of the bridge, out of the first
    /// interface, whose other end is the second: others will go the same way.
    pub(super) fn found(
        &mut self,
        key: Key<V>,
        passage: Passage,
        (bridge, port): (&Bridge, PortId),
        (ends, way): ((IfId, IfId), (LinkId, Side)),
    ) {
        if let Some(old_at) = bridge.old_at(port, key.destination())
            && let Some(course) = Course::new(key, passage, ends, way, old_at)
        {
            self.keep(course);
        }
    }

    /// Keeps a course: in its flow's place if it had one before, else in the first that is free or closed by a change,
    /// else in that of another flow once there are as many as there may be.
    fn keep(&mut self, course: Course<V>) {
        let course = Course {
            seal: seal(self.epoch, course.key.inlet),
            ..course
        };
        self.put(course);
    }

    fn put(&mut self, course: Course<V>) {
        if self.places.is_empty() {
            self.places.resize(FIRST_COURSES + PLACES - 1, NOTHING);
        }
        let courses = self.places.len() + 1 - PLACES;
        let hash = course.key.hash();
        let place = self.place(hash);
        let places = &self.places[place..place + PLACES];
        let of_flow = |&held: &u32| self.stands(held, hash, &course.key).is_some();
        let is_free = |&held: &u32| {
            let held = self.list.get((held & !MARK) as usize);
            held.is_none_or(|held| held.epoch() != course.epoch())
        };
        let behind = places.iter().position(of_flow);
        let behind = behind.or_else(|| places.iter().position(is_free));
        if behind.is_none() && courses < COURSES {
            self.grow(4 * courses);
            return self.put(course);
        }
        let held = &mut self.places[place + behind.unwrap_or(0)];
        let at = (*held & !MARK).min(self.list.len() as u32);
        *held = hash as u32 & MARK | at;
        let course = Course {
            next: at as u16 + 1,
            ..course
        };
        match self.list.get_mut(at as usize) {
            Some(held) => *held = course,
            None => self.list.push(course),
        }
    }

    fn grow(&mut self, courses: usize) {
        self.places = vec![NOTHING; courses + PLACES - 1];
        for course in core::mem::take(&mut self.list) {
            if course.epoch() == self.epoch {
                self.put(course);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::version::{V4, V6};
    use super::*;

    #[test]
    fn a_course_is_two_lines_of_the_cache_or_three() {
        assert_eq!(
            (size_of::<Course<V4>>(), align_of::<Course<V4>>()),
            (128, 64)
        );
        assert_eq!(
            (size_of::<Course<V6>>(), align_of::<Course<V6>>()),
            (192, 64)
        );
    }
}
