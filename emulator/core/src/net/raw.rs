//! Frames past the stack: what a packet socket with the interface to itself would do.
//!
//! For generators, fuzzers and measurements. A raw interface's frames wait in its ring, bounded like
//! any other, until they are taken; its stack sees none of them. As with Linux's packet sockets on a
//! veth, what a stack sent may be a super-segment, longer than the MTU and with a partial checksum,
//! unless that is off there ([`Netns::offload`](crate::netns::Netns::offload)).

use switch::{DropReason, Frame};

use super::{Net, Reader};
use crate::id::IfId;

impl Net {
    /// Takes an interface away from its stack, or gives it back.
    pub fn raw(&mut self, iface: IfId, on: bool) {
        let Some(socket) = self.sockets.get_mut(iface.0 as usize) else {
            return;
        };
        match socket.reader {
            Reader::Stack if on => socket.reader = Reader::Raw,
            Reader::Raw if !on => {
                socket.reader = Reader::Stack;
                self.mark(iface);
            }
            Reader::Port { .. } | Reader::Raw | Reader::Stack => {}
        }
    }

    /// Sends a frame out of `iface`.
    ///
    /// # Errors
    /// [`DropReason::InterfaceDown`] when there never was such an interface, [`DropReason::PoolEmpty`] when
    /// there is no buffer for it; what becomes of it later is its fate.
    pub fn raw_send(&mut self, iface: IfId, bytes: &[u8]) -> Result<(), DropReason> {
        if iface >= self.next_iface() {
            return Err(DropReason::InterfaceDown);
        }
        let frame = self.pool.from_bytes(bytes).ok_or(DropReason::PoolEmpty)?;
        self.transmit(iface, frame);
        Ok(())
    }

    /// Takes the next frame that arrived at a raw interface and shows it to `look`.
    pub fn raw_recv<T>(&mut self, iface: IfId, look: impl FnOnce(&[u8]) -> T) -> Option<T> {
        let socket = self.sockets.get(iface.0 as usize)?;
        if socket.reader != Reader::Raw {
            return None;
        }
        let frame: Frame = self.take_received(iface, socket.plug)?;
        let result = look(self.pool.bytes(&frame));
        self.pool.free(frame);
        Some(result)
    }
}
