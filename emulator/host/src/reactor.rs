//! Which descriptors wait for what: level-triggered epoll, and a bell that other threads may ring.
//!
//! The reactor owns none of the descriptors that it watches. Who owns one takes its watch back before it is closed;
//! an event of a watch that was taken back in the same round is not told any more.

use core::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};

/// Events that one round tells at most.
const ROUND: usize = 256;

/// What a descriptor is watched for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interest {
    /// Something can be read or accepted, or the other side has ended its half.
    pub read: bool,
    /// Something can be written, or a connect has ended.
    pub write: bool,
}

impl Interest {
    /// Nothing: only that both halves are closed, or an error.
    pub const NONE: Self = Self::of(false, false);
    /// Reading.
    pub const READ: Self = Self::of(true, false);
    /// Writing.
    pub const WRITE: Self = Self::of(false, true);
    /// Both.
    pub const BOTH: Self = Self::of(true, true);

    /// Reading, writing, or both.
    #[must_use]
    pub const fn of(read: bool, write: bool) -> Self {
        Self { read, write }
    }

    fn flags(self) -> EventFlags {
        let mut flags = EventFlags::empty();
        // The end of the other half is told where something is read; elsewhere it would be told again and again.
        flags.set(EventFlags::IN | EventFlags::RDHUP, self.read);
        flags.set(EventFlags::OUT, self.write);
        flags
    }
}

/// What a descriptor is ready for. It is told again as long as it is so; a hang-up and an error until the watch is taken
/// back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Events {
    /// Something can be read or accepted, an end of stream too.
    pub read: bool,
    /// Something can be written.
    pub write: bool,
    /// The other side has ended its half (`EPOLLRDHUP`); what it sent before may still wait.
    pub ended: bool,
    /// Both halves are closed (`EPOLLHUP`). Told whatever the interest is.
    pub hup: bool,
    /// An error waits in `SO_ERROR`. Told whatever the interest is.
    pub error: bool,
}

impl Events {
    fn of(flags: EventFlags) -> Self {
        Self {
            read: flags.contains(EventFlags::IN),
            write: flags.contains(EventFlags::OUT),
            ended: flags.contains(EventFlags::RDHUP),
            hup: flags.contains(EventFlags::HUP),
            error: flags.contains(EventFlags::ERR),
        }
    }
}

/// A descriptor that is watched. It outlives nothing: taken back, it names nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Watch {
    slot: u32,
    generation: u32,
}

impl Watch {
    fn data(self) -> EventData {
        EventData::new_u64(u64::from(self.generation) << 32 | u64::from(self.slot))
    }

    const fn of(data: u64) -> Self {
        Self {
            slot: data as u32,
            generation: (data >> 32) as u32,
        }
    }
}

/// Whose a watch is: the attachment's number, and the key that it chose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) attachment: u32,
    pub(crate) key: u64,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    generation: u32,
    interest: Interest,
    owner: Option<Owner>,
}

/// The bell in front of the reactor.
#[derive(Debug)]
struct Bell {
    fd: OwnedFd,
    /// Who was rung for and has not been told.
    rung: Mutex<Vec<u32>>,
}

/// Rings for one attachment, from any thread: [`Attachment::woken`](crate::runtime::Attachment::woken) is called
/// soon, once for any number of rings before that.
#[derive(Clone, Debug)]
pub struct Waker {
    bell: Arc<Bell>,
    attachment: u32,
}

impl Waker {
    /// Rings.
    pub fn wake(&self) {
        let mut rung = self
            .bell
            .rung
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if !rung.contains(&self.attachment) {
            rung.push(self.attachment);
        }
        // A counter that is full has been rung often enough.
        let _full = rustix::io::write(&self.bell.fd, &1_u64.to_ne_bytes());
    }
}

/// The descriptors of one thread.
pub struct Reactor {
    epoll: OwnedFd,
    slots: Vec<Slot>,
    free: Vec<u32>,
    bell: Arc<Bell>,
    events: Vec<epoll::Event>,
}

impl fmt::Debug for Reactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let watched = self.slots.iter().filter(|slot| slot.owner.is_some());
        f.debug_struct("Reactor")
            .field("watched", &watched.count())
            .finish_non_exhaustive()
    }
}

/// The bell's place among the watches.
const BELL: Watch = Watch {
    slot: 0,
    generation: 0,
};

impl Reactor {
    /// A reactor that watches nothing but its bell.
    ///
    /// # Errors
    /// If the process has no descriptors left, or the kernel has no epoll.
    pub fn new() -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        epoll::add(&epoll, &fd, BELL.data(), EventFlags::IN)?;
        let taken = Slot {
            generation: 0,
            interest: Interest::READ,
            owner: None,
        };
        Ok(Self {
            epoll,
            slots: vec![taken],
            free: Vec::new(),
            bell: Arc::new(Bell {
                fd,
                rung: Mutex::new(Vec::new()),
            }),
            events: Vec::with_capacity(ROUND),
        })
    }

    pub(crate) fn watch(
        &mut self,
        fd: impl AsFd,
        owner: Owner,
        interest: Interest,
    ) -> io::Result<Watch> {
        let slot = match self.free.last() {
            Some(&slot) => slot,
            None => self.slots.len() as u32,
        };
        let generation = self
            .slots
            .get(slot as usize)
            .map_or(0, |slot| slot.generation);
        let watch = Watch { slot, generation };
        epoll::add(&self.epoll, fd, watch.data(), interest.flags())?;
        let entry = Slot {
            generation,
            interest,
            owner: Some(owner),
        };
        match self.slots.get_mut(slot as usize) {
            Some(place) => {
                self.free.pop();
                *place = entry;
            }
            None => self.slots.push(entry),
        }
        Ok(watch)
    }

    pub(crate) fn rewatch(
        &mut self,
        watch: Watch,
        fd: impl AsFd,
        interest: Interest,
    ) -> io::Result<()> {
        let Some(slot) = self.slot_mut(watch) else {
            return Err(rustix::io::Errno::NOENT.into());
        };
        if slot.interest != interest {
            slot.interest = interest;
            epoll::modify(&self.epoll, fd, watch.data(), interest.flags())?;
        }
        Ok(())
    }

    pub(crate) fn unwatch(&mut self, watch: Watch, fd: impl AsFd) {
        if self.slot_mut(watch).is_some() {
            // Closed already, it is gone from there as well.
            let _gone = epoll::delete(&self.epoll, fd);
            self.forget(watch);
        }
    }

    fn slot_mut(&mut self, watch: Watch) -> Option<&mut Slot> {
        let slot = self.slots.get_mut(watch.slot as usize)?;
        (slot.generation == watch.generation && slot.owner.is_some()).then_some(slot)
    }

    fn forget(&mut self, watch: Watch) {
        if let Some(slot) = self.slot_mut(watch) {
            slot.owner = None;
            slot.generation = slot.generation.wrapping_add(1);
            self.free.push(watch.slot);
        }
    }

    /// Nothing is told to an attachment any more; what it still has open it closes itself.
    pub(crate) fn forget_all(&mut self, attachment: u32) {
        for slot in 0..self.slots.len() as u32 {
            let entry = self.slots[slot as usize];
            if entry
                .owner
                .is_some_and(|owner| owner.attachment == attachment)
            {
                self.forget(Watch {
                    slot,
                    generation: entry.generation,
                });
            }
        }
        let mut rung = self
            .bell
            .rung
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        rung.retain(|other| *other != attachment);
    }

    pub(crate) fn waker(&self, attachment: u32) -> Waker {
        Waker {
            bell: Arc::clone(&self.bell),
            attachment,
        }
    }

    /// Waits until a descriptor is ready, the bell rings, or `timeout` is over (`None`: however long it takes).
    /// What happened is asked with [`Reactor::event`].
    pub(crate) fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let timeout = timeout.map(|span| Timespec {
            tv_sec: i64::try_from(span.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: span.subsec_nanos().into(),
        });
        self.events.clear();
        match epoll::wait(
            &self.epoll,
            spare_capacity(&mut self.events),
            timeout.as_ref(),
        ) {
            // A signal, or the process goes on after it was stopped.
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// How many events the last wait found.
    pub(crate) fn found(&self) -> usize {
        self.events.len()
    }

    /// One of them, if it is still anybody's.
    pub(crate) fn event(&self, index: usize) -> Option<(Owner, Events)> {
        let event = self.events.get(index)?;
        let (flags, data) = (event.flags, event.data);
        let watch = Watch::of(data.u64());
        let slot = self.slots.get(watch.slot as usize)?;
        let owner = slot.owner.filter(|_| slot.generation == watch.generation)?;
        Some((owner, Events::of(flags)))
    }

    /// The bell was among them: for whom it rang.
    pub(crate) fn rung(&mut self) -> Vec<u32> {
        let is_bell = |event: &epoll::Event| {
            let data = event.data;
            Watch::of(data.u64()) == BELL
        };
        if !self.events.iter().any(is_bell) {
            return Vec::new();
        }
        // Before the list is taken: a ring in between rings again.
        let _empty = rustix::io::read(&self.bell.fd, &mut [0; 8]);
        let mut rung = self
            .bell
            .rung
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        core::mem::take(&mut rung)
    }
}
