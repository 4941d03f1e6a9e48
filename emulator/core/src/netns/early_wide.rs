//! Segments of IPv6 that come in: TCP gets them without the questions whose answers are known (see [`early`](super::early)).
//!
//! Only those right behind their header, to an address that the last one was for as well. TCP looks up and reads them as
//! on the long way.

use switch::wire::{ETHER_LEN, Packet};
use switch::{Frame, IfId};

use super::dst::Inward;
use super::output::frame_count;
use super::{Arrival, Cx, Netns};

const TYPE: [u8; 2] = [0x86, 0xdd];
const TCP: u8 = 6;

/// Whose segment came in last and was for this namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct KnownWide {
    iface: IfId,
    change: u64,
    /// Source and destination.
    addresses: [u8; 32],
}

/// The addresses of the segment in the untagged frame `bytes`, if it is for `mac` and of IPv6.
#[inline]
fn addresses(bytes: &[u8], mac: [u8; 6]) -> Option<[u8; 32]> {
    let head: &[u8; ETHER_LEN + 40] = bytes.first_chunk()?;
    let is_segment = head[12..14] == TYPE && head[14] >> 4 == 6 && head[20] == TCP;
    (is_segment && head[..6] == mac).then_some(*head.last_chunk()?)
}

const fn arrival(iface: IfId) -> Arrival {
    Arrival {
        iface,
        unicast: true,
        looped: false,
        broadcast: false,
        fragment: 0,
    }
}

impl Netns {
    /// Takes a segment of IPv6 that is for this namespace; any other frame comes back.
    #[inline(never)]
    pub(super) fn early_input_wide(
        &mut self,
        cx: &mut Cx<'_>,
        id: IfId,
        frame: Frame,
    ) -> Option<Frame> {
        let Some(packet) = self.early_packet(cx, id, &frame) else {
            return Some(frame);
        };
        // One that is shared is copied on the long way.
        if cx.pool.view_unique(&frame).is_none() {
            return Some(frame);
        }
        cx.pool.pull(&frame, ETHER_LEN);
        let (packets, bytes) = frame_count(cx, &frame);
        if let Some(iface) = self.ifaces.counted(id) {
            iface.rx.packets += packets;
            iface.rx.bytes += bytes;
        }
        cx.pool.truncate(&frame, packet.len);
        self.tcp_input(cx, arrival(id), frame, &packet);
        None
    }

    /// The packet in a frame, if it is such a segment.
    #[inline]
    fn early_packet(&mut self, cx: &Cx<'_>, id: IfId, frame: &Frame) -> Option<Packet> {
        #[cfg(test)]
        if self.takes_long_way {
            return None;
        }
        if self.divert.is_some() || self.tracks() {
            return None;
        }
        let change = self.change();
        let iface = self.ifaces.get(id).filter(|iface| iface.up && iface.ipv6)?;
        let bytes = cx.pool.bytes(frame);
        let known = KnownWide {
            iface: id,
            change,
            addresses: addresses(bytes, iface.mac)?,
        };
        let packet = Packet::parse(&bytes[ETHER_LEN..]).ok()?;
        let last = self.early.as_ref().and_then(|early| early.known_wide);
        if last != Some(known) {
            let is_ours = self.judge(&arrival(id), &packet) == Inward::Local;
            if !is_ours || packet.destination.is_multicast() {
                return None;
            }
            self.early.get_or_insert_default().known_wide = Some(known);
        }
        Some(packet)
    }
}
