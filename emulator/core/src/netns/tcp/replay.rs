//! How an engine takes over a brief connection: it is told what happened, at the times at which it was.

use core::net::SocketAddr;

use super::brief::{Brief, Event};
use super::emit::Reply;
use super::engine::TcpEngine;
use super::head::HEADERS;
use super::paths::{PathIx, Shared};
use super::segment::{ACK, SYN};
use super::smol::Smol;
use super::told::Told;

impl Brief {
    /// Tells `engine`, made as [`setup`](Self::setup) says, all that has happened. What is to be added to its
    /// sequence numbers, if it has sent its SYN.
    pub(super) fn replay(
        &self,
        engine: &mut Smol,
        shared: &mut Shared,
        path: PathIx,
        (local, remote): (SocketAddr, SocketAddr),
    ) -> Option<u32> {
        let calls = !matches!(self.log.first(), Some(Event::In { .. }));
        let _begun = if calls {
            engine.connect(shared, path, local, remote)
        } else {
            engine.listen(local)
        };
        let mut reply = Reply::new();
        let (mut sent, mut come, mut shift) = (0, 0, None);
        for event in &self.log {
            match *event {
                Event::In { at, told } => {
                    let data = &self.heard[come..come + usize::from(told.payload)];
                    come += data.len();
                    let mut packet = self.packet(&told, data, shift.unwrap_or(0));
                    engine.input(shared, path, at, &mut packet, false, &mut reply);
                    debug_assert!(reply.take().is_empty(), "an answer that was not sent");
                }
                Event::Out { at } => {
                    let first = engine.output_unseen(shared, path, at);
                    debug_assert!(first.is_some(), "{self:?} sent what smoltcp does not");
                    shift = shift.or_else(|| Some(self.isn.wrapping_sub(first?)));
                }
                Event::Send(count) => {
                    let taken = engine.send_unseen(&self.said[sent..sent + count]);
                    debug_assert_eq!(taken, count);
                    sent += count;
                }
                Event::Recv(count) => engine.skip(count),
                Event::Shut => engine.shutdown(shared, path),
            }
        }
        debug_assert_eq!(engine.glance(), self.glance());
        shift
    }

    /// A segment that came, as smoltcp would have got it.
    fn packet(&self, told: &Told, data: &[u8], shift: u32) -> Vec<u8> {
        let options = match told.has(SYN) {
            true => &self.options.bytes[..self.options.len],
            false => &[],
        };
        let len = HEADERS + options.len() + data.len();
        let mut packet = Vec::with_capacity(len);
        let head = self.head.bytes();
        packet.extend_from_slice(&head);
        packet[2..4].copy_from_slice(&(len as u16).to_be_bytes());
        packet[12..16].copy_from_slice(&head[16..20]);
        packet[16..20].copy_from_slice(&head[12..16]);
        packet[20..22].copy_from_slice(&head[22..24]);
        packet[22..24].copy_from_slice(&head[20..22]);
        packet[24..28].copy_from_slice(&told.seq.to_be_bytes());
        let ack = if told.has(ACK) {
            told.ack.wrapping_sub(shift)
        } else {
            0
        };
        packet[28..32].copy_from_slice(&ack.to_be_bytes());
        packet[32] = ((20 + options.len()) << 2) as u8;
        packet[33] = told.flags;
        packet[34..36].copy_from_slice(&told.window.to_be_bytes());
        packet.extend_from_slice(options);
        packet.extend_from_slice(data);
        packet
    }
}
