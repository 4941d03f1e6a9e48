//! Headers: those that ping-pong makes as smoltcp would, and what it reads in those of smoltcp and of the other side.

use core::ops::Range;

use super::{
    AFTER, HEADERS, KIND_MSS, KIND_SACK, KIND_SCALE, MAX_SHIFT, MIN_MSS, PROMPT, Pingpong,
};
use crate::netns::tcp::segment::{ACK, FIN, PSH, RST, SYN, after};

pub(super) fn word(bytes: &[u8], at: usize) -> u32 {
    let word = bytes.get(at..).and_then(<[u8]>::first_chunk);
    word.map_or(0, |word| u32::from_be_bytes(*word))
}

pub(super) fn put(bytes: &mut [u8], at: usize, value: u32) {
    if let Some(word) = bytes.get_mut(at..).and_then(<[u8]>::first_chunk_mut) {
        *word = value.to_be_bytes();
    }
}

impl Pingpong {
    /// The headers of a segment of so much data, maybe the last there is.
    pub(in crate::netns::tcp) fn saying(
        &self,
        hops: u8,
        count: usize,
        is_last: bool,
    ) -> [u8; HEADERS] {
        let mut head = self.bare(self.expected, hops);
        head[2..4].copy_from_slice(&((HEADERS + count) as u16).to_be_bytes());
        head[33] = if is_last { ACK | PSH } else { ACK };
        head
    }

    /// A segment from the other side that acknowledges all before `ack` and tells this window.
    pub(in crate::netns::tcp) fn acknowledging(&self, ack: u32, field: u16) -> [u8; HEADERS] {
        let mut packet = self.answering(HEADERS);
        put(&mut packet, 24, self.expected);
        put(&mut packet, 28, ack);
        packet[33] = ACK;
        packet[34..36].copy_from_slice(&field.to_be_bytes());
        packet
    }

    /// The headers of a segment without data that acknowledges all before `ack`.
    pub(in crate::netns::tcp) fn bare(&self, ack: u32, hops: u8) -> [u8; HEADERS] {
        let mut head = self.head;
        head[8] = hops;
        head[2..4].copy_from_slice(&(HEADERS as u16).to_be_bytes());
        head[24..28].copy_from_slice(&self.next.to_be_bytes());
        head[28..32].copy_from_slice(&ack.to_be_bytes());
        head[33] = ACK;
        head
    }

    /// A segment that brings `data` from the number `seq` on and nothing else that is new.
    pub(in crate::netns::tcp) fn incoming(&self, seq: u32, data: &[u8]) -> Vec<u8> {
        let mut packet = Vec::with_capacity(HEADERS + data.len());
        packet.extend_from_slice(&self.answering(HEADERS + data.len()));
        put(&mut packet, 24, seq);
        put(&mut packet, 28, self.next);
        packet.extend_from_slice(data);
        packet
    }

    /// The headers of a packet of `len` bytes from the other side, but for its numbers.
    pub(super) fn answering(&self, len: usize) -> [u8; HEADERS] {
        let mut head = self.head;
        head[2..4].copy_from_slice(&(len as u16).to_be_bytes());
        head[12..16].copy_from_slice(&self.head[16..20]);
        head[16..20].copy_from_slice(&self.head[12..16]);
        head[20..22].copy_from_slice(&self.head[22..24]);
        head[22..24].copy_from_slice(&self.head[20..22]);
        head[33] = ACK | PSH;
        head[34..36].copy_from_slice(&self.window.unwrap_or(0).to_be_bytes());
        head
    }

    /// Moves a packet that smoltcp wrote to the true numbers, and notes what it says; `field` is the window field that
    /// smoltcp had in it.
    pub(in crate::netns::tcp) fn wrote(&mut self, packet: &mut [u8], field: u16) {
        // A probe of one byte leaves no trace in smoltcp.
        let is_plain =
            |head: &&[u8; HEADERS]| head[32] == 0x50 && head[33] & (FIN | SYN | RST | ACK) == ACK;
        let head = packet.first_chunk().filter(is_plain);
        let head = head.filter(|_| packet.len() != HEADERS + 1);
        self.told = head.map(|head| (word(head, 28), field));
        if (self.sent_past | self.come_past) != 0 {
            self.lift(packet);
        }
        let Some(head) = packet.first_chunk::<HEADERS>() else {
            return;
        };
        let flags = head[33];
        let data = packet.len() - HEADERS;
        if flags & SYN != 0 {
            let end = word(head, 24).wrapping_add(1);
            self.rtt.open(self.now, end);
        }
        if self.since.is_none() && (data > 0 || flags & SYN != 0) {
            self.since = Some(self.now);
        }
        self.is_current = head[32] == 0x50 && flags & (FIN | SYN | RST | ACK) == ACK;
        if !self.is_current {
            return;
        }
        self.head = *head;
        self.expected = word(head, 28);
        let seq = word(head, 24);
        let end = seq.wrapping_add(data as u32);
        // smoltcp does not time what asks for a closed window.
        if data > 1 || data == 1 && self.field() > 0 {
            self.sends(seq, end);
        }
        if self.sent == 0 || after(end, self.next) {
            self.next = end;
        }
        if data > 0 {
            self.sent = (self.sent + 1).min(AFTER);
        }
    }

    /// smoltcp sends data, maybe again.
    fn sends(&mut self, seq: u32, end: u32) {
        if self.sent > 0 && after(self.next, seq) {
            self.rtt.set_timed(None);
        }
        if self.sent == 0 || after(end, self.next) {
            self.rtt.send(self.now, end);
        }
    }

    fn lift(&self, packet: &mut [u8]) {
        let (seq, ack) = (word(packet, 24), word(packet, 28));
        put(packet, 24, seq.wrapping_add(self.sent_past));
        put(packet, 28, ack.wrapping_add(self.come_past));
        if let Some(edges) = option(packet, KIND_SACK) {
            for at in edges.step_by(4) {
                let edge = word(packet, at);
                put(packet, at, edge.wrapping_add(self.come_past));
            }
        }
    }

    /// Moves a packet that came to smoltcp's numbers.
    pub(in crate::netns::tcp) fn lower(&mut self, packet: &mut [u8]) {
        if (self.sent_past | self.come_past) != 0 {
            let (seq, ack) = (word(packet, 24), word(packet, 28));
            put(packet, 24, seq.wrapping_sub(self.come_past));
            put(packet, 28, ack.wrapping_sub(self.sent_past));
        }
    }

    /// smoltcp took a packet in: so many bytes were waiting to be acknowledged and to be read, and are now. It `opened` the
    /// connection.
    pub(in crate::netns::tcp) fn took(
        &mut self,
        packet: &[u8],
        before: (usize, usize),
        now: (usize, usize),
        opened: bool,
    ) {
        let header = packet.get(32).map_or(0, |byte| usize::from(byte >> 4) * 4);
        let flags = packet.get(33).copied().unwrap_or_default();
        if opened || now.0 < before.0 {
            let ack = word(packet, 28).wrapping_add(self.sent_past);
            self.rtt.hear(self.now, ack);
        }
        if let Some(since) = self.since {
            self.is_off |= now.0 <= before.0 && self.now.since(since) > PROMPT;
            self.since = self.since.filter(|_| now.0 > 0);
        }
        if flags & SYN != 0 {
            return;
        }
        let len = (word(packet, 0) & 0xffff) as usize;
        let data = len.saturating_sub(20 + header);
        let grown = now.1.wrapping_sub(before.1);
        self.is_off |= grown != data;
        // A probe of a closed window begins with the first byte that is missing, and what comes again before it.
        let seq = word(packet, 24);
        let is_late = self.told.is_some_and(|(ack, _)| !after(seq, ack));
        self.has_gap |= grown != data && !is_late;
        if is_late && data > 0 && grown == 0 {
            // Refused whatever its window is.
            return;
        }
        self.is_current &= data == 0 && now.1 == 0;
        let is_sure = now.0 < before.0 || grown > 0;
        self.field = (word(packet, 32) & 0xffff) as u16;
        self.widest = self.widest.max(self.field);
        self.window = is_sure.then_some(self.field);
    }

    /// smoltcp took this SYN, which opens the connection. It looks at no other ones.
    pub(in crate::netns::tcp) fn meet(&mut self, packet: &[u8]) {
        let said = option(packet, KIND_MSS).and_then(|at| packet.get(at)?.first_chunk());
        match said.map(|mss| u16::from_be_bytes(*mss)) {
            None | Some(0) => {}
            Some(mss) => self.mss = mss.max(MIN_MSS),
        }
        let shift = option(packet, KIND_SCALE).and_then(|at| packet.get(at)?.first().copied());
        self.peer_shift = shift.unwrap_or(0).min(MAX_SHIFT);
        self.syn_window = (word(packet, 32) & 0xffff) as u16;
        self.field = self.syn_window >> self.peer_shift;
    }
}

/// Where the data of a TCP option stands in an IPv4 packet without options of its own.
pub(in crate::netns::tcp) fn option(packet: &[u8], wanted: u8) -> Option<Range<usize>> {
    let header = usize::from(packet.get(32)? >> 4) * 4;
    let end = packet.len().min(20 + header);
    let mut at = HEADERS;
    while at + 1 < end {
        let kind = packet[at];
        let len = usize::from(packet[at + 1]);
        match kind {
            0 => return None,
            1 => at += 1,
            _ if len < 2 || at + len > end => return None,
            _ if kind == wanted => return Some(at + 2..at + len),
            _ => at += len,
        }
    }
    None
}
