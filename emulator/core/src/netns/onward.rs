//! Packets that are forwarded, in and out without the questions whose answers are known.
//!
//! What the hooks and routes say of a packet with a plain header whose flow or likes they know is one question
//! ([`Hooks::run_routed`]); if it and the next station are known, the frame is turned round where it lies, with new
//! addresses in front. Everything else goes the long way: other protocols, options, fragments, super-segments, packets for
//! this namespace, and what it says nothing of yet. Counters, events and checks are as there.

use core::net::IpAddr;

use switch::hook::Crossing;
use switch::wire::{ETHER_LEN, header_checksum_ok};
use switch::{Frame, IfId};

use super::forward::{decrement, tell_onward};
use super::output::Way;
use super::{Cx, Netns};

/// Behind the addresses of a frame: IPv4 without options.
const PLAIN: [u8; 3] = [0x08, 0x00, 0x45];

impl Netns {
    /// Forwards a frame whose way is known; any other comes back.
    #[inline]
    pub(super) fn onward(&mut self, cx: &mut Cx<'_>, id: IfId, frame: Frame) -> Option<Frame> {
        #[cfg(test)]
        if self.takes_long_way {
            return Some(frame);
        }
        if !self.forwarding || !self.tracks() {
            return Some(frame);
        }
        let (routes, addresses) = (self.change(), self.addresses_change());
        let Some(iface) = self.ifaces.counted(id).filter(|iface| iface.up) else {
            return Some(frame);
        };
        let Some((meta, bytes)) = cx.pool.view_unique(&frame) else {
            return Some(frame);
        };
        let len = bytes.len();
        let is_plain = meta.gso_size == 0
            && (self.offload || !meta.csum_partial)
            && bytes.starts_with(&iface.mac)
            && bytes.get(12..).is_some_and(|rest| rest.starts_with(&PLAIN));
        let Some((_, packet)) = bytes.split_first_chunk_mut::<ETHER_LEN>() else {
            return Some(frame);
        };
        if !is_plain || said_len(packet) != packet.len() || !header_checksum_ok(packet) {
            return Some(frame);
        }
        let crossing = Crossing {
            input: id,
            csum_partial: meta.csum_partial,
            frames: 1,
            wire_len: packet.len(),
            routes,
            addresses: Some(addresses),
        };
        let hooks = self.netfilter.as_mut();
        let Some(passed) = hooks.and_then(|hooks| hooks.run_routed(cx.now, packet, &crossing))
        else {
            return Some(frame);
        };
        decrement(packet);
        iface.rx.packets += 1;
        iface.rx.bytes += len as u64;
        tell_onward(cx, meta.id, id, &passed);
        self.turn(cx, frame, len, (passed.exit.output, passed.exit.next_hop));
        None
    }

    /// Sends a frame of `len` bytes as it lies to another station.
    #[inline]
    fn turn(&mut self, cx: &mut Cx<'_>, frame: Frame, len: usize, hop: (IfId, IpAddr)) {
        let dev = hop.0;
        if let Some(mac) = self.neighbours.at_hand(cx.now, hop)
            && let Some(iface) = self.ifaces.counted(dev).filter(|iface| iface.up)
            && let Some(head) = cx.pool.bytes_mut(&frame).first_chunk_mut::<12>()
        {
            head[..6].copy_from_slice(&mac);
            head[6..].copy_from_slice(&iface.mac);
            iface.tx.packets += 1;
            iface.tx.bytes += len as u64;
            cx.tx.push((dev, frame));
            return;
        }
        cx.pool.pull(&frame, ETHER_LEN);
        self.neighbour_send(cx, frame, &Way::onward(dev, hop.1));
    }
}

/// The length that the header of a packet says.
#[inline]
fn said_len(packet: &[u8]) -> usize {
    match packet {
        [_, _, high, low, ..] => usize::from(u16::from_be_bytes([*high, *low])),
        _ => 0,
    }
}
