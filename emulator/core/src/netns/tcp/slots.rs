//! The sockets of a namespace: numbered slots with generations, so that an old id names nothing.

use super::TcpId;
use super::conn::{Conn, Owner};
use super::demux::Tuple;
use super::listen::Listener;

/// What lives in a slot.
#[derive(Debug)]
pub(super) enum Tenant {
    /// A connection.
    Conn(Box<Conn>),
    /// A listener.
    Listener(Box<Listener>),
}

#[derive(Debug, Default)]
struct Slot {
    generation: u32,
    tenant: Option<Tenant>,
}

/// The slots; the last one left is the first one taken.
#[derive(Debug, Default)]
pub(super) struct Slots {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

impl Slots {
    /// Sockets that there are.
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Takes a slot for `tenant`.
    pub(super) fn insert(&mut self, tenant: Tenant) -> TcpId {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            (self.slots.len() - 1) as u32
        });
        let place = &mut self.slots[slot as usize];
        place.tenant = Some(tenant);
        TcpId {
            slot,
            generation: place.generation,
        }
    }

    /// Empties a slot.
    pub(super) fn remove(&mut self, slot: u32) -> Option<Tenant> {
        let place = self.slots.get_mut(slot as usize)?;
        let tenant = place.tenant.take()?;
        place.generation = place.generation.wrapping_add(1);
        self.free.push(slot);
        Some(tenant)
    }

    /// The id of what is in `slot` now.
    pub(super) fn id(&self, slot: u32) -> TcpId {
        let generation = self.slots.get(slot as usize).map_or(0, |s| s.generation);
        TcpId { slot, generation }
    }

    fn tenant(&self, id: TcpId) -> Option<&Tenant> {
        let place = self.slots.get(id.slot as usize)?;
        (place.generation == id.generation).then_some(place.tenant.as_ref()?)
    }

    /// What `id` names, to change.
    #[inline]
    pub(super) fn tenant_mut(&mut self, id: TcpId) -> Option<&mut Tenant> {
        let place = self.slots.get_mut(id.slot as usize)?;
        let tenant = place.tenant.as_mut();
        tenant.filter(|_| place.generation == id.generation)
    }

    /// The connection that `id` names.
    pub(super) fn conn(&self, id: TcpId) -> Option<&Conn> {
        match self.tenant(id)? {
            Tenant::Conn(conn) => Some(conn),
            Tenant::Listener(_) => None,
        }
    }

    /// The ends of the connection in `slot`.
    #[inline]
    pub(super) fn tuple(&self, slot: u32) -> Option<Tuple> {
        match self.slots.get(slot as usize)?.tenant.as_ref()? {
            Tenant::Conn(conn) => Some(conn.tuple()),
            Tenant::Listener(_) => None,
        }
    }

    /// The connection in `slot`.
    #[inline]
    pub(super) fn conn_at(&mut self, slot: u32) -> Option<&mut Conn> {
        match self.slots.get_mut(slot as usize)?.tenant.as_mut()? {
            Tenant::Conn(conn) => Some(conn),
            Tenant::Listener(_) => None,
        }
    }

    /// The connection that `id` names, to change.
    #[inline]
    pub(super) fn conn_mut(&mut self, id: TcpId) -> Option<&mut Conn> {
        match self.tenant_mut(id)? {
            Tenant::Conn(conn) => Some(conn),
            Tenant::Listener(_) => None,
        }
    }

    /// The listener that `id` names.
    pub(super) fn listener(&self, id: TcpId) -> Option<&Listener> {
        match self.tenant(id)? {
            Tenant::Listener(listener) => Some(listener),
            Tenant::Conn(_) => None,
        }
    }

    /// The listener that `id` names, to change.
    pub(super) fn listener_mut(&mut self, id: TcpId) -> Option<&mut Listener> {
        self.tenant(id)?;
        match self.slots.get_mut(id.slot as usize)?.tenant.as_mut()? {
            Tenant::Listener(listener) => Some(listener),
            Tenant::Conn(_) => None,
        }
    }

    /// The connections in the SYN queue of `listener`.
    pub(super) fn embryos(&self, listener: TcpId) -> Vec<u32> {
        let conns = self.iter().filter(|(_, tenant)| {
            matches!(tenant, Tenant::Conn(conn) if conn.owner == Owner::Embryo(listener))
        });
        conns.map(|(id, _)| id.slot).collect()
    }

    /// All sockets by slot.
    pub(super) fn iter(&self) -> impl Iterator<Item = (TcpId, &Tenant)> {
        let numbered = (0u32..).zip(&self.slots);
        numbered.filter_map(|(slot, place)| {
            let id = TcpId {
                slot,
                generation: place.generation,
            };
            Some((id, place.tenant.as_ref()?))
        })
    }
}
