//! The socket table: slots with generations, and who has which port.

use core::net::SocketAddr;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::Socket;
use crate::app::{Family, SockKind};
use crate::id::{NsId, SockId};
use crate::netns::Errno;

/// Sockets of a namespace; more fail with `ENOBUFS`.
pub const SOCKETS: usize = 1 << 20;

#[derive(Debug, Default)]
pub(super) struct Slot {
    generation: u32,
    socket: Option<Box<Socket>>,
}

/// Closed stream sockets whose memory is kept for the next ones.
const SPARES: usize = 4;

/// The sockets that have a port, the latest bound last: most ports have one.
#[derive(Debug)]
struct Holders {
    port: Port,
    first: u32,
    others: Vec<u32>,
}

impl Holders {
    fn iter(&self) -> impl DoubleEndedIterator<Item = u32> {
        core::iter::once(self.first).chain(self.others.iter().copied())
    }

    /// Takes a socket out; whether none is left.
    fn remove(&mut self, slot: u32) -> bool {
        if self.others.is_empty() {
            return self.first == slot;
        }
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

/// A kind of sockets and a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Port(SockKind, u16);

impl Port {
    /// A number that is another one for each.
    #[inline]
    const fn mixed(self) -> u64 {
        let number = (self.0 as u64) << 16 | self.1 as u64;
        let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed ^ mixed >> 32
    }
}

/// Which sockets have a port.
type PortTable = HashTable<Holders>;

/// The socket table.
#[derive(Debug, Default)]
pub(in crate::netns) struct Sockets {
    pub(super) slots: Vec<Slot>,
    free: Vec<u32>,
    ports: PortTable,
    #[allow(clippy::vec_box, reason = "they move from slot to slot")]
    spares: Vec<Box<Socket>>,
}

impl Sockets {
    /// A new socket.
    #[inline]
    pub(super) fn insert(
        &mut self,
        ns: NsId,
        kind: SockKind,
        family: Family,
    ) -> Result<(SockId, &mut Socket), Errno> {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None if self.slots.len() < SOCKETS => {
                self.slots.push(Slot::default());
                self.slots.len() as u32 - 1
            }
            None => return Err(Errno::NoBufs),
        };
        let entry = &mut self.slots[slot as usize];
        let socket = match self.spares.pop() {
            Some(mut room) => {
                room.renew(kind, family);
                room
            }
            None => Box::new(Socket::new(kind, family)),
        };
        let id = SockId {
            ns,
            slot,
            generation: entry.generation,
        };
        Ok((id, entry.socket.insert(socket)))
    }

    pub(super) fn remove(&mut self, id: SockId) -> Option<Box<Socket>> {
        let entry = self.slots.get_mut(id.slot as usize)?;
        if entry.generation != id.generation {
            return None;
        }
        let socket = entry.socket.take()?;
        entry.generation = entry.generation.wrapping_add(1);
        self.free.push(id.slot);
        if socket.holds_port {
            self.unname(id.slot, socket.kind, socket.local);
        }
        Some(socket)
    }

    /// Keeps the memory of a socket that has been removed.
    pub(super) fn keep(&mut self, socket: Box<Socket>) {
        if socket.kind == SockKind::Tcp && self.spares.len() < SPARES {
            self.spares.push(socket);
        }
    }

    fn unname(&mut self, slot: u32, kind: SockKind, local: Option<SocketAddr>) {
        let Some(port) = local.map(|local| Port(kind, local.port())) else {
            return;
        };
        let found = self
            .ports
            .find_entry(port.mixed(), |held| held.port == port);
        if let Ok(mut found) = found
            && found.get_mut().remove(slot)
        {
            found.remove();
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
        let port = Port(kind, port);
        self.ports
            .find(port.mixed(), |held| held.port == port)
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

    /// Gives a socket its name, and the port.
    pub(super) fn name(&mut self, id: SockId, local: SocketAddr) -> Result<&mut Socket, Errno> {
        let socket = self.get(id)?;
        let old = socket.local.filter(|_| socket.holds_port);
        let port = Port(socket.kind, local.port());
        if old.map(|old| old.port()) != Some(local.port()) {
            if old.is_some() {
                self.unname(id.slot, port.0, old);
            }
            let is_it = |held: &Holders| held.port == port;
            match (self.ports).entry(port.mixed(), is_it, |held| held.port.mixed()) {
                Entry::Occupied(held) => held.into_mut().others.push(id.slot),
                Entry::Vacant(free) => {
                    free.insert(Holders {
                        port,
                        first: id.slot,
                        others: Vec::new(),
                    });
                }
            }
        }
        let socket = self.get_mut(id)?;
        socket.local = Some(local);
        socket.holds_port = true;
        socket.prepared = None;
        Ok(socket)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Socket> {
        self.slots.iter().filter_map(|slot| slot.socket.as_deref())
    }
}
