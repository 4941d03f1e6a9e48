//! Putting fragments together: RFC 815 in effect, with the rule of RFC 5722 for both families.
//!
//! After Linux's `inet_fragment.c`: a datagram whose fragments overlap dies whole, an exact repetition is
//! ignored. IPv4 waits 30 s, IPv6 60 s, counted from the first fragment that came; then time exceeded
//! goes to the sender if the fragment with the header is there. At most 256 datagrams and 4 MiB wait at a
//! time, and at most 128 fragments each: what comes beyond that dies.

use core::net::IpAddr;
use core::time::Duration;
use std::collections::BTreeMap;

use switch::verdict::DropReason;
use switch::wire::{Packet, fill_header_checksum};
use switch::{Frame, IfId, Pool, Time};

use super::fragment::copy;

/// Datagrams that may wait at a time.
pub(super) const DATAGRAMS: usize = 256;
/// Bytes that may wait at a time (`ipfrag_high_thresh`).
pub(super) const BYTES: usize = 4 << 20;
/// Fragments of one datagram.
const PIECES: usize = 128;

/// Which datagram a fragment belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    id: u32,
}

#[derive(Debug)]
struct Piece {
    offset: usize,
    len: usize,
    /// Where the payload starts in the frame.
    start: usize,
    frame: Frame,
}

#[derive(Debug)]
pub(super) struct Datagram {
    pieces: Vec<Piece>,
    /// Payload length, known when the last fragment came.
    total: Option<usize>,
    have: usize,
    largest: usize,
    pub(super) iface: IfId,
    pub(super) deadline: Time,
}

/// What became of a fragment.
#[derive(Debug)]
pub(super) enum Joined {
    /// It waits; a timer at this time if it is the first of its datagram.
    Waits(Option<Time>),
    /// The datagram is whole: its frame, the fragments that it was made of, the size of the largest,
    /// the timer to cancel.
    Whole(Frame, Vec<Frame>, usize, Time),
    /// These frames died.
    Dead(Vec<Frame>, DropReason, Option<Time>),
}

/// The datagrams that wait.
#[derive(Debug, Default)]
pub(super) struct Reassembly {
    waiting: BTreeMap<Key, Datagram>,
    bytes: usize,
}

impl Key {
    fn of(packet: &Packet, id: u32) -> Self {
        Self {
            source: packet.source,
            destination: packet.destination,
            protocol: if packet.source.is_ipv4() {
                packet.protocol.into()
            } else {
                0
            },
            id,
        }
    }
}

impl Datagram {
    fn new(now: Time, iface: IfId, v6: bool) -> Self {
        let wait = Duration::from_secs(if v6 { 60 } else { 30 });
        Self {
            pieces: Vec::new(),
            total: None,
            have: 0,
            largest: 0,
            iface,
            deadline: now + wait,
        }
    }

    /// Puts a piece in its place; gives it back as a repetition (`Ok`) or an overlap (`Err`).
    fn insert(&mut self, piece: Piece, more: bool) -> Result<Option<Frame>, Frame> {
        let end = piece.offset + piece.len;
        let beyond = self
            .total
            .is_some_and(|total| end > total || (!more && end != total));
        let last = self.pieces.last().map_or(0, |p| p.offset + p.len);
        if beyond || (!more && end < last) || self.pieces.len() >= PIECES {
            return Err(piece.frame);
        }
        let at = self.pieces.partition_point(|p| p.offset < piece.offset);
        let same = self
            .pieces
            .get(at)
            .is_some_and(|p| (p.offset, p.len) == (piece.offset, piece.len));
        if same {
            return Ok(Some(piece.frame));
        }
        let after = self.pieces.get(at).is_some_and(|p| p.offset < end);
        let before = at > 0 && {
            let p = &self.pieces[at - 1];
            p.offset + p.len > piece.offset
        };
        if after || before {
            return Err(piece.frame);
        }
        if !more {
            self.total = Some(end);
        }
        self.have += piece.len;
        self.pieces.insert(at, piece);
        Ok(None)
    }

    fn frames(self) -> Vec<Frame> {
        self.pieces.into_iter().map(|piece| piece.frame).collect()
    }

    /// The fragment with the header, if it came; and the others.
    pub(super) fn split(mut self) -> (Option<Frame>, Vec<Frame>) {
        let first = self
            .pieces
            .first()
            .is_some_and(|piece| piece.offset == 0)
            .then(|| self.pieces.remove(0).frame);
        (first, self.frames())
    }
}

impl Reassembly {
    /// Takes a fragment in. `packet.fragment` is set and the frame is nobody else's.
    pub(super) fn add(
        &mut self,
        now: Time,
        pool: &mut Pool,
        frame: Frame,
        packet: &Packet,
        iface: IfId,
    ) -> (Joined, Key) {
        let (offset, more, id) = packet
            .fragment
            .map_or((0, false, 0), |f| (f.offset, f.more, f.id));
        let key = Key::of(packet, id);
        let start = payload_start(pool.bytes(&frame), packet);
        let len = packet.len - start;
        // The length field counts the header in IPv4 only.
        let counted = if packet.source.is_ipv4() { start } else { 0 };
        let fits = offset + len + counted <= 65_535 && (!more || len.is_multiple_of(8)) && len > 0;
        if !fits {
            let dead = Joined::Dead(vec![frame], DropReason::HeaderMalformed, None);
            return (dead, key);
        }
        let known = self.waiting.contains_key(&key);
        if self.bytes + packet.len > BYTES || (!known && self.waiting.len() >= DATAGRAMS) {
            let dead = Joined::Dead(vec![frame], DropReason::FragmentQueueFull, None);
            return (dead, key);
        }
        let datagram = self
            .waiting
            .entry(key)
            .or_insert_with(|| Datagram::new(now, iface, packet.source.is_ipv6()));
        let piece = Piece {
            offset,
            len,
            start,
            frame,
        };
        match datagram.insert(piece, more) {
            Ok(Some(again)) => {
                let dead = Joined::Dead(vec![again], DropReason::FragmentOverlap, None);
                return (dead, key);
            }
            Ok(None) => {}
            Err(frame) => {
                let mut frames = vec![frame];
                let mut timer = None;
                if let Some(datagram) = self.take(key) {
                    timer = Some(datagram.deadline).filter(|_| known);
                    frames.extend(datagram.frames());
                }
                return (
                    Joined::Dead(frames, DropReason::FragmentOverlap, timer),
                    key,
                );
            }
        }
        self.bytes += len;
        datagram.largest = datagram.largest.max(packet.len);
        if datagram.total != Some(datagram.have) {
            let timer = (!known).then_some(datagram.deadline);
            return (Joined::Waits(timer), key);
        }
        let Some(datagram) = self.take(key) else {
            return (Joined::Waits(None), key);
        };
        let (largest, deadline) = (datagram.largest, datagram.deadline);
        let joined = match join(pool, &datagram) {
            Some(whole) => Joined::Whole(whole, datagram.frames(), largest, deadline),
            None => Joined::Dead(datagram.frames(), DropReason::PoolEmpty, Some(deadline)),
        };
        (joined, key)
    }

    /// Gives up on a datagram.
    pub(super) fn take(&mut self, key: Key) -> Option<Datagram> {
        let datagram = self.waiting.remove(&key)?;
        self.bytes -= datagram.have;
        Some(datagram)
    }

    /// Everything that waits, when the namespace ends.
    pub(super) fn clear(&mut self) -> Vec<Frame> {
        self.bytes = 0;
        core::mem::take(&mut self.waiting)
            .into_values()
            .flat_map(Datagram::frames)
            .collect()
    }
}

/// Where the payload of a fragment starts: behind the IPv4 header, or behind the IPv6 fragment header
/// (the first fragment may have more extension headers there, which are payload to us).
fn payload_start(bytes: &[u8], packet: &Packet) -> usize {
    if packet.source.is_ipv4() {
        return packet.transport;
    }
    let (mut next, mut at) = (bytes[6], 40);
    while next != 44 && at + 8 <= packet.transport {
        next = bytes[at];
        at += 8 + usize::from(bytes[at + 1]) * 8;
    }
    (at + 8).min(packet.transport)
}

/// Writes the whole packet: the first fragment's header, without the fragment part, and all payload.
fn join(pool: &mut Pool, datagram: &Datagram) -> Option<Frame> {
    let first = datagram.pieces.first()?;
    let total = datagram.total?;
    let v6 = pool.bytes(&first.frame)[0] >> 4 == 6;
    let head = if v6 { first.start - 8 } else { first.start };
    if head + total - if v6 { 40 } else { 0 } > 65_535 {
        return None;
    }
    let whole = pool.alloc(head + total)?;
    pool.meta_mut(&whole).id = pool.meta(&first.frame).id;
    copy(pool, &first.frame, 0, &whole, 0, head);
    for piece in &datagram.pieces {
        copy(
            pool,
            &piece.frame,
            piece.start,
            &whole,
            head + piece.offset,
            piece.len,
        );
    }
    if v6 {
        unlink_v6(pool, &first.frame, &whole, head);
    } else {
        let bytes = pool.bytes_mut(&whole);
        bytes[2..4].copy_from_slice(&((head + total) as u16).to_be_bytes());
        let dont_fragment = bytes[6] & 0x40;
        bytes[6] = dont_fragment;
        bytes[7] = 0;
        fill_header_checksum(bytes);
    }
    Some(whole)
}

/// Takes the fragment header, which stood behind the first `head` bytes, out of the chain of next
/// headers.
fn unlink_v6(pool: &mut Pool, first: &Frame, whole: &Frame, head: usize) {
    let next = pool.bytes(first)[head];
    let bytes = pool.bytes_mut(whole);
    let payload = (bytes.len() - 40) as u16;
    bytes[4..6].copy_from_slice(&payload.to_be_bytes());
    let mut field = 6;
    let mut header = 40;
    while header < head && bytes[field] != 44 {
        field = header;
        header += 8 + usize::from(bytes[header + 1]) * 8;
    }
    bytes[field] = next;
}
