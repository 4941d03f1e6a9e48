//! The socket table: slots with generations, and who has which port.

use core::net::SocketAddr;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;

use super::Socket;
use crate::app::SockKind;
use crate::id::{NsId, SockId};
use crate::netns::Errno;

/// Sockets of a namespace; more fail with `ENOBUFS`.
pub const SOCKETS: usize = 1 << 20;

#[derive(Debug, Default)]
pub(super) struct Slot {
    generation: u32,
    socket: Option<Box<Socket>>,
}

/// The sockets that have a port, the latest bound last: most ports have one.
#[derive(Debug)]
struct Holders {
    first: u32,
    others: Vec<u32>,
}

impl Holders {
    fn iter(&self) -> impl DoubleEndedIterator<Item = u32> {
        core::iter::once(self.first).chain(self.others.iter().copied())
    }

    /// Takes a socket out; whether none is left.
    fn remove(&mut self, slot: u32) -> bool {
        self.others.retain(|&other| other != slot);
        if self.first != slot {
            return false;
        }
        if self.others.is_empty() {
            return true;
        }
        self.first = self.others.remove(0);
        false
    }
}

/// Which sockets have a port, by kind.
type PortMap = HashMap<(SockKind, u16), Holders, FixedState>;

/// The socket table.
#[derive(Debug, Default)]
pub(in crate::netns) struct Sockets {
    pub(super) slots: Vec<Slot>,
    free: Vec<u32>,
    ports: PortMap,
}

impl Sockets {
    pub(super) fn insert(&mut self, ns: NsId, socket: Socket) -> Result<SockId, Errno> {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None if self.slots.len() < SOCKETS => {
                self.slots.push(Slot::default());
                self.slots.len() as u32 - 1
            }
            None => return Err(Errno::NoBufs),
        };
        let entry = &mut self.slots[slot as usize];
        entry.socket = Some(Box::new(socket));
        Ok(SockId {
            ns,
            slot,
            generation: entry.generation,
        })
    }

    pub(super) fn remove(&mut self, id: SockId) -> Option<Box<Socket>> {
        let entry = self.slots.get_mut(id.slot as usize)?;
        if entry.generation != id.generation {
            return None;
        }
        let socket = entry.socket.take()?;
        entry.generation = entry.generation.wrapping_add(1);
        self.free.push(id.slot);
        self.unname(id.slot, socket.kind, socket.local);
        Some(socket)
    }

    fn unname(&mut self, slot: u32, kind: SockKind, local: Option<SocketAddr>) {
        let Some(port) = local.map(|local| local.port()) else {
            return;
        };
        if let Some(holders) = self.ports.get_mut(&(kind, port))
            && holders.remove(slot)
        {
            self.ports.remove(&(kind, port));
        }
    }

    pub(in crate::netns) fn get(&self, id: SockId) -> Result<&Socket, Errno> {
        let entry = self.slots.get(id.slot as usize).ok_or(Errno::BadFd)?;
        if entry.generation != id.generation {
            return Err(Errno::BadFd);
        }
        entry.socket.as_deref().ok_or(Errno::BadFd)
    }

    pub(in crate::netns) fn get_mut(&mut self, id: SockId) -> Result<&mut Socket, Errno> {
        let entry = self.slots.get_mut(id.slot as usize).ok_or(Errno::BadFd)?;
        if entry.generation != id.generation {
            return Err(Errno::BadFd);
        }
        entry.socket.as_deref_mut().ok_or(Errno::BadFd)
    }

    /// The sockets of a kind with this port, the latest bound last.
    pub(in crate::netns) fn with_port(
        &self,
        kind: SockKind,
        port: u16,
    ) -> impl DoubleEndedIterator<Item = (u32, &Socket)> {
        self.ports
            .get(&(kind, port))
            .into_iter()
            .flat_map(Holders::iter)
            .filter_map(|slot| Some((slot, self.slots[slot as usize].socket.as_deref()?)))
    }

    /// The socket in a slot, with its name.
    #[inline]
    pub(in crate::netns) fn at_mut(
        &mut self,
        ns: NsId,
        slot: u32,
    ) -> Option<(SockId, &mut Socket)> {
        let entry = self.slots.get_mut(slot as usize)?;
        let id = SockId {
            ns,
            slot,
            generation: entry.generation,
        };
        Some((id, entry.socket.as_deref_mut()?))
    }

    pub(in crate::netns) fn id(&self, ns: NsId, slot: u32) -> SockId {
        SockId {
            ns,
            slot,
            generation: self.slots[slot as usize].generation,
        }
    }

    pub(super) fn name(&mut self, id: SockId, local: SocketAddr) -> Result<(), Errno> {
        let socket = self.get_mut(id)?;
        let (kind, old) = (socket.kind, socket.local);
        socket.local = Some(local);
        socket.prepared = None;
        if old.map(|old| old.port()) != Some(local.port()) {
            self.unname(id.slot, kind, old);
            match self.ports.entry((kind, local.port())) {
                Entry::Occupied(held) => held.into_mut().others.push(id.slot),
                Entry::Vacant(free) => {
                    free.insert(Holders {
                        first: id.slot,
                        others: Vec::new(),
                    });
                }
            }
        }
        Ok(())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Socket> {
        self.slots.iter().filter_map(|slot| slot.socket.as_deref())
    }
}
