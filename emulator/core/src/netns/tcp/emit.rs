//! Where segments leave: straight into pooled frames, with ID, sequence offset and checksums set.
//!
//! The engine writes its own initial sequence number; [`Marks::shift`] moves it to the one that
//! RFC 6528 asks for, here on the way out and in the acknowledgements on the way in. IPv4 IDs count
//! up for the whole namespace and DF is set, as Linux does for TCP. A frame starts at its IP header
//! and has headroom in front.

use core::net::{Ipv6Addr, SocketAddr};
use switch::{Frame, Pool};

use super::segment::{ACK, Bare, RST, SYN, after, write_checksum};
use super::{Counters, TcpCx};

/// What a connection has put on the wire and heard back, in the wire's sequence numbers.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Marks {
    /// The initial sequence number that the wire sees.
    pub(super) isn: u32,
    /// What is added to the engine's sequence numbers; known once it has sent its SYN.
    pub(super) shift: Option<u32>,
    /// The sequence number behind the last byte ever sent (`SND.MAX`).
    pub(super) sent: u32,
    /// The highest acknowledgement that came back (`SND.UNA`).
    pub(super) acked: u32,
    /// The last acknowledgement sent.
    pub(super) acking: u32,
    /// The last window field sent.
    pub(super) window: u16,
    /// SYNs sent.
    pub(super) syns: u8,
    /// Something may be sent again, or be waiting for a window: until everything is acknowledged.
    pub(super) again: bool,
}

impl Marks {
    /// Marks of a connection that will start at `isn`.
    pub(super) const fn new(isn: u32) -> Self {
        Self {
            isn,
            shift: None,
            sent: isn,
            acked: isn,
            acking: 0,
            window: 0,
            syns: 0,
            again: false,
        }
    }

    /// All of the `queued` bytes that wait to be acknowledged are on the wire, none for the second time.
    #[inline]
    pub(super) const fn is_all_sent(&self, queued: usize) -> bool {
        !self.again && self.sent.wrapping_sub(self.acked) as usize == queued
    }

    /// There may be something new in an acknowledgement of all before `ack`, or it is the last one again.
    #[inline]
    pub(super) const fn may_be_acked(&self, ack: u32) -> bool {
        ack.wrapping_sub(self.acked) <= self.sent.wrapping_sub(self.acked)
    }

    /// Something sent has not been acknowledged.
    pub(super) const fn outstanding(&self) -> bool {
        self.sent != self.acked
    }
}

/// Stamps that all connections of a namespace share.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Stamp {
    /// The next IPv4 ID.
    pub(super) ip_id: u16,
    /// Leave checksums partial.
    pub(super) partial: bool,
}

/// A segment without data that answers one that just came in: kept aside while the frame that came in
/// is still being read.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    bytes: [u8; Self::ROOM],
    len: usize,
}

impl Reply {
    /// IPv6 header and the longest TCP header.
    const ROOM: usize = 40 + 60;

    /// No answer.
    pub(super) const fn new() -> Self {
        Self {
            bytes: [0; Self::ROOM],
            len: 0,
        }
    }

    /// Has `write` fill in an answer of `len` bytes. One with data, which no engine sends here, would
    /// be lost.
    pub(super) fn write<R>(&mut self, len: usize, write: impl FnOnce(&mut [u8]) -> R) -> R {
        match self.bytes.get_mut(..len) {
            Some(bytes) => {
                self.len = len;
                write(bytes)
            }
            None => write(&mut vec![0; len]),
        }
    }

    /// The answer, if there is one.
    pub(super) fn bytes_mut(&mut self) -> Option<&mut [u8]> {
        (self.len > 0).then(|| &mut self.bytes[..self.len])
    }

    /// The answer, taken out; empty if there is none.
    pub(super) fn take(&mut self) -> &[u8] {
        let len = core::mem::take(&mut self.len);
        &self.bytes[..len]
    }
}

/// The way out for one connection's segments.
#[derive(Debug)]
pub(super) struct Emitter<'a> {
    pub(super) pool: &'a mut Pool,
    pub(super) out: &'a mut Vec<Frame>,
    pub(super) stamp: &'a mut Stamp,
    pub(super) counters: &'a mut Counters,
    pub(super) marks: &'a mut Marks,
    /// Source and destination if the packets are IPv6's: the engine writes IPv4.
    pub(super) v6: Option<(Ipv6Addr, Ipv6Addr)>,
    /// A frame that is being written; not `None` after a panic in the middle of it.
    pub(super) open: Option<Frame>,
}

impl<'a> Emitter<'a> {
    /// The way out for the connection with these marks and, if it is one of IPv6, these ends.
    #[inline(always)]
    pub(super) fn new(
        cx: &'a mut TcpCx<'_>,
        stamp: &'a mut Stamp,
        counters: &'a mut Counters,
        marks: &'a mut Marks,
        v6: Option<(Ipv6Addr, Ipv6Addr)>,
    ) -> Self {
        Self {
            pool: cx.pool,
            out: cx.out,
            stamp,
            counters,
            marks,
            v6,
            open: None,
        }
    }
}

impl Emitter<'_> {
    /// One segment of `len` bytes with its IPv4 header, which `write` fills. `gso_size` is not 0 for a
    /// super-segment. With no buffer left the segment is lost, as on a full ring.
    pub(super) fn segment<R>(
        &mut self,
        len: usize,
        gso_size: u16,
        write: impl FnOnce(&mut [u8]) -> R,
    ) -> R {
        let longer = self.longer();
        let Some(frame) = self.pool.alloc(longer + len) else {
            self.counters.out_of_frames += 1;
            return write(&mut vec![0; len]);
        };
        self.open = Some(frame);
        let result = match &self.open {
            Some(frame) => write(&mut self.pool.bytes_mut(frame)[longer..]),
            None => write(&mut []),
        };
        if let Some(frame) = self.open.take() {
            self.finish(frame, gso_size);
        }
        result
    }

    /// A segment that the engine wrote elsewhere.
    pub(super) fn copy(&mut self, bytes: &[u8]) {
        let longer = self.longer();
        match self.pool.alloc(longer + bytes.len()) {
            Some(frame) => {
                self.pool.bytes_mut(&frame)[longer..].copy_from_slice(bytes);
                self.finish(frame, 0);
            }
            None => self.counters.out_of_frames += 1,
        }
    }

    /// What the IP header is longer than the one that the engine writes.
    const fn longer(&self) -> usize {
        if self.v6.is_some() { 20 } else { 0 }
    }

    /// Gives back a frame that was being written when the engine panicked.
    pub(super) fn recover(&mut self) {
        if let Some(frame) = self.open.take() {
            self.pool.free(frame);
        }
    }

    /// Sends the segment in `frame`, with a header of the engine's.
    pub(super) fn finish(&mut self, frame: Frame, gso_size: u16) {
        let partial = self.stamp.partial || gso_size != 0;
        let (meta, bytes) = self.pool.parts_mut(&frame);
        meta.csum_partial = partial;
        meta.gso_size = gso_size;
        meta.written = true;
        let transport = match self.v6 {
            None => 20,
            Some((source, destination)) => {
                let hop_limit = bytes[20 + 8];
                let payload = ((bytes.len() - 40) as u16).to_be_bytes();
                bytes[..8].copy_from_slice(&[0x60, 0, 0, 0, payload[0], payload[1], 6, hop_limit]);
                bytes[8..24].copy_from_slice(&source.octets());
                bytes[24..40].copy_from_slice(&destination.octets());
                40
            }
        };
        let len = bytes.len() - transport;
        if let Some(header) = bytes[transport..].first_chunk_mut() {
            let (end, is_reset) = mark(header, len, self.marks);
            if after(end, self.marks.sent) {
                self.marks.sent = end;
            }
            self.counters.resets_out += u64::from(is_reset);
        }
        seal(bytes, self.stamp, gso_size, partial);
        self.counters.segments_out += 1;
        self.out.push(frame);
    }
}

/// Moves a segment of `len` bytes to the wire's sequence numbers and notes what its header says. Returns its end,
/// and whether it is a reset.
#[inline]
fn mark(header: &mut [u8; 20], len: usize, marks: &mut Marks) -> (u32, bool) {
    let word = |at: usize, header: &[u8; 20]| {
        u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
    };
    let flags = header[13];
    let from = word(4, header);
    if flags & SYN != 0 {
        marks.shift = Some(marks.isn.wrapping_sub(from));
        marks.syns = marks.syns.saturating_add(1);
    }
    let seq = from.wrapping_add(marks.shift.unwrap_or(0));
    header[4..8].copy_from_slice(&seq.to_be_bytes());
    marks.again |= seq != marks.sent;
    if flags & RST != 0 {
        return (marks.sent, true);
    }
    if flags & ACK != 0 {
        marks.acking = word(8, header);
    }
    marks.window = u16::from_be_bytes([header[14], header[15]]);
    let data = len - usize::from(header[12] >> 4) * 4;
    let control = u32::from(flags & SYN != 0) + u32::from(flags & super::segment::FIN != 0);
    (seq.wrapping_add(data as u32 + control), false)
}

/// Sets ID and checksums of the IP packet `bytes`, the checksum of the segment in part only if `partial`.
fn seal(bytes: &mut [u8], stamp: &mut Stamp, gso_size: u16, partial: bool) {
    let transport = if bytes[0] >> 4 == 4 {
        bytes[4..6].copy_from_slice(&stamp.ip_id.to_be_bytes());
        switch::wire::fill_header_checksum(bytes);
        let cuts = match gso_size {
            0 => 1,
            size => (bytes.len() - 40).div_ceil(usize::from(size)) as u16,
        };
        stamp.ip_id = stamp.ip_id.wrapping_add(cuts);
        20
    } else {
        40
    };
    write_checksum(bytes, transport, partial);
}

/// Sends a segment that belongs to no engine.
pub(super) fn send_bare(
    bare: &Bare,
    pool: &mut Pool,
    out: &mut Vec<Frame>,
    stamp: &mut Stamp,
    counters: &mut Counters,
) {
    let Some(frame) = bare.emit(pool) else {
        counters.out_of_frames += 1;
        return;
    };
    let partial = stamp.partial;
    pool.meta_mut(&frame).csum_partial = partial;
    seal(pool.bytes_mut(&frame), stamp, 0, partial);
    counters.segments_out += 1;
    if bare.flags & RST != 0 {
        counters.resets_out += 1;
    }
    out.push(frame);
}

/// The initial sequence number of a connection (RFC 6528): a clock of 64 ns ticks plus a number that
/// only the connection's addresses and `secret` decide.
pub(super) fn initial_sequence(
    now: switch::Time,
    secret: u64,
    local: SocketAddr,
    remote: SocketAddr,
) -> u32 {
    let mut mix = secret;
    let mut fold = |word: u64| {
        mix = switch::Rng::new(mix ^ word).next_u64();
    };
    for address in [local, remote] {
        let port = u64::from(address.port());
        match address.ip() {
            core::net::IpAddr::V4(v4) => fold(u64::from(v4.to_bits()) << 16 | port),
            core::net::IpAddr::V6(v6) => {
                fold((v6.to_bits() >> 64) as u64);
                fold(v6.to_bits() as u64);
                fold(port);
            }
        }
    }
    ((now.as_nanos() >> 6) as u32).wrapping_add(mix as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_not_lost_to_a_panic() {
        let mut pool = Pool::default();
        let (mut stamp, mut counters) = (Stamp::default(), Counters::default());
        let (mut out, mut marks) = (Vec::new(), Marks::new(7));
        let mut emitter = Emitter {
            pool: &mut pool,
            out: &mut out,
            stamp: &mut stamp,
            counters: &mut counters,
            marks: &mut marks,
            v6: None,
            open: None,
        };
        let done = super::super::run::guarded(|| {
            emitter.segment(40, 0, |_| panic!("in the middle of a segment"));
        });
        assert_eq!(done, None);
        emitter.recover();
        assert_eq!((pool.in_use(), out.len()), (0, 0));
    }

    #[test]
    fn an_answer_that_is_too_long_is_no_answer() {
        let mut reply = Reply::new();
        reply.write(60, |bytes| bytes.fill(1));
        assert_eq!(reply.take(), [1; 60]);
        reply.write(2000, |bytes| bytes.fill(1));
        assert!(reply.take().is_empty());
    }
}
