//! Cutting packets into fragments: RFC 791 §3.2 for IPv4, RFC 8200 §4.5 for IPv6.
//!
//! One fragment at a time is written into a fresh buffer, so that nothing is held back. Only options with the
//! copied flag go into later IPv4 fragments. IPv6 packets are cut behind their fixed header: the
//! extension headers that the namespace itself writes are none. A super-segment is never cut here.

use switch::wire::{Packet, fill_header_checksum, fill_transport_checksum};
use switch::{Frame, Pool};

/// What is left to cut of a packet.
#[derive(Debug)]
pub(super) struct Cut {
    /// Header bytes of the packet that are not payload.
    header: usize,
    /// Payload bytes that are out already.
    done: usize,
    total: usize,
    mtu: usize,
    /// Offset and more-flag of the packet, if it is a fragment itself.
    base: usize,
    more: bool,
    id: u32,
    v6: bool,
    next_header: u8,
    dont_fragment: bool,
}

impl Cut {
    /// Prepares `frame` to be cut to `mtu`; `id` names an IPv6 datagram. `None` if the MTU has no room
    /// for a payload.
    pub(super) fn new(
        pool: &mut Pool,
        frame: &Frame,
        packet: &Packet,
        mtu: usize,
        id: u32,
    ) -> Option<Self> {
        fill_checksum(pool, frame, packet);
        let bytes = pool.bytes(frame);
        let v6 = packet.source.is_ipv6();
        let header = if v6 {
            40
        } else {
            usize::from(bytes[0] & 15) * 4
        };
        let overhead = if v6 { header + 8 } else { header };
        if mtu < overhead + 8 || packet.len <= header || (v6 && packet.fragment.is_some()) {
            return None;
        }
        Some(Self {
            header,
            done: 0,
            total: packet.len - header,
            mtu,
            base: packet.fragment.map_or(0, |f| f.offset),
            more: packet.fragment.is_some_and(|f| f.more),
            id,
            v6,
            next_header: bytes[6],
            dont_fragment: packet.dont_fragment,
        })
    }

    /// The next fragment, ready to send. `Err` if the pool is empty.
    pub(super) fn next(&mut self, pool: &mut Pool, frame: &Frame) -> Option<Result<Frame, ()>> {
        if self.done >= self.total {
            return None;
        }
        Some(if self.v6 {
            self.next_v6(pool, frame).ok_or(())
        } else {
            self.next_v4(pool, frame).ok_or(())
        })
    }

    /// How much payload the next fragment takes behind `overhead` bytes, and whether more follows.
    fn share(&self, overhead: usize) -> (usize, bool) {
        let left = self.total - self.done;
        let room = self.mtu - overhead;
        if left <= room {
            (left, self.more)
        } else {
            (room & !7, true)
        }
    }

    fn next_v4(&mut self, pool: &mut Pool, frame: &Frame) -> Option<Frame> {
        let mut head = [0_u8; 60];
        let full = &pool.bytes(frame)[..self.header];
        let len = if self.done == 0 {
            head[..self.header].copy_from_slice(full);
            self.header
        } else {
            later_header(full, &mut head)
        };
        let (take, more) = self.share(len);
        let flags = u16::from(more) << 13
            | u16::from(self.dont_fragment) << 14
            | ((self.base + self.done) / 8) as u16;
        head[2..4].copy_from_slice(&((len + take) as u16).to_be_bytes());
        head[6..8].copy_from_slice(&flags.to_be_bytes());
        fill_header_checksum(&mut head[..len]);
        self.write(pool, frame, &head[..len], take)
    }

    fn next_v6(&mut self, pool: &mut Pool, frame: &Frame) -> Option<Frame> {
        let mut head = [0_u8; 48];
        head[..40].copy_from_slice(&pool.bytes(frame)[..40]);
        let (take, more) = self.share(48);
        head[4..6].copy_from_slice(&((take + 8) as u16).to_be_bytes());
        head[6] = 44;
        head[40] = self.next_header;
        let field = self.done as u16 | u16::from(more);
        head[42..44].copy_from_slice(&field.to_be_bytes());
        head[44..48].copy_from_slice(&self.id.to_be_bytes());
        self.write(pool, frame, &head, take)
    }

    fn write(&mut self, pool: &mut Pool, frame: &Frame, head: &[u8], take: usize) -> Option<Frame> {
        let fragment = pool.alloc(head.len() + take)?;
        pool.bytes_mut(&fragment)[..head.len()].copy_from_slice(head);
        let from = self.header + self.done;
        copy(pool, frame, from, &fragment, head.len(), take);
        self.done += take;
        Some(fragment)
    }
}

/// Copies payload between two frames of a pool, through the stack a piece at a time.
pub(super) fn copy(
    pool: &mut Pool,
    source: &Frame,
    from: usize,
    target: &Frame,
    to: usize,
    len: usize,
) {
    let mut piece = [0_u8; 2048];
    let mut done = 0;
    while done < len {
        let take = (len - done).min(piece.len());
        piece[..take].copy_from_slice(&pool.bytes(source)[from + done..from + done + take]);
        pool.bytes_mut(target)[to + done..to + done + take].copy_from_slice(&piece[..take]);
        done += take;
    }
}

/// Fills the transport checksum if it was left to a real edge.
pub(super) fn fill_checksum(pool: &mut Pool, frame: &Frame, packet: &Packet) {
    if pool.meta(frame).csum_partial {
        fill_transport_checksum(pool.bytes_mut(frame), packet);
        pool.meta_mut(frame).csum_partial = false;
    }
}

/// The header of a later fragment: the options with the copied flag only. Gives its length.
fn later_header(full: &[u8], head: &mut [u8; 60]) -> usize {
    head[..20].copy_from_slice(&full[..20]);
    let (mut at, mut len) = (20, 20);
    while at < full.len() {
        let size = match full[at] {
            0 => break,
            1 => 1,
            _ => full.get(at + 1).map_or(0, |&size| usize::from(size)),
        };
        if size == 0 || at + size > full.len() || (full[at] != 1 && size < 2) {
            break;
        }
        if full[at] & 0x80 != 0 {
            head[len..len + size].copy_from_slice(&full[at..at + size]);
            len += size;
        }
        at += size;
    }
    while len % 4 != 0 {
        head[len] = 0;
        len += 1;
    }
    head[0] = 0x40 | (len / 4) as u8;
    len
}

/// The length of the largest packet that goes over a wire for this one: itself, or one segment of
/// a super-segment.
pub(super) fn wire_len(pool: &Pool, frame: &Frame, packet: &Packet) -> usize {
    let gso = usize::from(pool.meta(frame).gso_size);
    if gso == 0 {
        return packet.len;
    }
    (headers_len(pool.bytes(frame), packet) + gso).min(packet.len)
}

/// Length of the network and transport headers, which every frame of a super-segment has.
pub(super) fn headers_len(bytes: &[u8], packet: &Packet) -> usize {
    let upper = match u8::from(packet.protocol) {
        6 => bytes
            .get(packet.transport + 12)
            .map_or(20, |offset| usize::from(offset >> 4) * 4),
        _ => 8,
    };
    packet.transport + upper
}
