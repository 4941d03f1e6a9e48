//! Captures: frames as pcapng bytes, as Wireshark reads them.
//!
//! After draft-ietf-opsawg-pcapng: one section; an interface block when an interface is first seen,
//! nanosecond timestamps, a direction on each packet, comments, names for addresses, statistics at the
//! end. Each frame carries its number (`epb_packetid`), the same wherever it is recorded; the pieces of a
//! super-segment share theirs. Packets are laid out where they wait (`epb`), the rarer blocks by
//! `pcap-file`; nothing here writes a file: whoever owns the capture drains [`Capture::pending`]. The same
//! calls give the same bytes: the clock is the lab's, put behind a fixed [`EPOCH`].
//!
//! A [filter](PcapFilter) looks at each packet as it would be written, whole and with its checksums; what does not pass leaves no
//! trace. What the hooks rewrote stands as a comment beside the frame where it is next recorded (`notes`).
//!
//! A capture never changes what it sees: checksums are filled in, and super-segments cut, in its own
//! copy, so that no frame stands there that a wire could not carry, unless it was asked for them
//! [whole](Limits::whole). Its buffer is bounded; a packet that does not fit is left out and counted, on the next
//! packet of its interface (`epb_dropcount`) and in the statistics (`isb_osdrop`).
//!
//! Left out: decryption secrets, verdicts, several sections.

mod epb;
mod notes;

use core::fmt;
use core::mem;
use core::net::IpAddr;
use core::time::Duration;
use std::borrow::Cow;
use std::collections::BTreeMap;

use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption, InterfaceTsResolution,
};
use pcap_file::pcapng::blocks::interface_statistics::{
    InterfaceStatisticsBlock, InterfaceStatisticsOption,
};
use pcap_file::pcapng::blocks::name_resolution::{
    Ipv4Record, Ipv6Record, NameResolutionBlock, Record,
};
use pcap_file::pcapng::blocks::section_header::{SectionHeaderBlock, SectionHeaderOption};
use pcap_file::pcapng::{PcapNgBlock, PcapNgWriter};
use pcap_file::{DataLink, Endianness};

use self::notes::Notes;
use crate::frame::Meta;
use crate::pcap_filter::PcapFilter;
use crate::segment;
use crate::time::Time;
use crate::verdict::{DropReason, IfId, Rewrite};

/// The wall clock at [`Time::ZERO`]: 2020-01-01 00:00:00 UTC, in seconds since 1970.
pub const EPOCH: Duration = Duration::from_secs(1_577_836_800);
/// Bytes that wait to be drained unless the lab says otherwise.
pub const BUFFER: usize = 16 * 1024 * 1024;

/// Names, descriptions and names of hosts are cut to this many bytes.
const NAME_MAX: usize = 255;
/// Comments are cut to this many bytes.
const COMMENT_MAX: usize = 4096;
/// Names that one address has at most.
const NAMES_MAX: usize = 64;

/// Which way a packet went at the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The interface received it.
    In,
    /// The interface sent it.
    Out,
    /// Neither: it died there.
    Unknown,
}

impl Direction {
    /// The lowest two bits of `epb_flags`.
    const fn flags(self) -> u32 {
        match self {
            Self::Unknown => 0,
            Self::In => 1,
            Self::Out => 2,
        }
    }
}

/// What a capture may hold and when its clock starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes that wait to be drained, at most.
    pub buffer: usize,
    /// The wall clock at [`Time::ZERO`], since 1970.
    pub epoch: Duration,
    /// Frames stand as they are in memory: super-segments in one piece, partial checksums partial, as a
    /// capture on a Linux veth shows them.
    pub whole: bool,
    /// Packets that are recorded, at most; then nothing is watched any more.
    pub packets: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            buffer: BUFFER,
            epoch: EPOCH,
            whole: false,
            packets: u64::MAX,
        }
    }
}

/// When, where and as which frame a packet was seen.
#[derive(Clone, Copy, Debug)]
struct Seen {
    now: Time,
    interface: IfId,
    direction: Direction,
    id: Option<u64>,
}

/// A packet was not recorded: the buffer is full until somebody drains it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CaptureFull;

impl fmt::Display for CaptureFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("capture buffer is full")
    }
}

impl core::error::Error for CaptureFull {}

#[derive(Debug)]
struct Interface {
    name: String,
    description: String,
    snaplen: u32,
    /// Its number in the section, once it has been written.
    number: Option<u32>,
    watched: bool,
    reported: bool,
    captured: u64,
    /// Frames that died there.
    dropped: u64,
    lost: u64,
    /// Of those lost, the ones since the last packet that was recorded.
    lost_since: u64,
}

/// A capture in the making.
pub struct Capture {
    writer: PcapNgWriter<Vec<u8>>,
    interfaces: BTreeMap<IfId, Interface>,
    /// Interfaces written so far: the number of the next.
    written: u32,
    limits: Limits,
    filter: Option<PcapFilter>,
    /// A packet on its way through the filter.
    scratch: Vec<u8>,
    notes: Notes,
    /// Packets recorded.
    captured: u64,
    lost: u64,
    finished: bool,
}

impl fmt::Debug for Capture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Capture")
            .field("pending", &self.pending_len())
            .field("interfaces", &self.interfaces)
            .field("lost", &self.lost)
            .field("finished", &self.finished)
            .finish_non_exhaustive()
    }
}

impl Default for Capture {
    fn default() -> Self {
        Self::new(Limits::default())
    }
}

/// `text` without control characters, cut to `max` bytes.
fn plain(text: &str, max: usize) -> String {
    let mut plain: String = text.chars().filter(|c| !c.is_control()).collect();
    plain.truncate(plain.floor_char_boundary(max));
    plain
}

impl Capture {
    /// A capture that watches nothing yet. The section header is its first output.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let section = SectionHeaderBlock {
            endianness: Endianness::Little,
            options: vec![SectionHeaderOption::UserApplication("vethlab".into())],
            ..SectionHeaderBlock::default()
        };
        let writer = PcapNgWriter::with_section_header(Vec::new(), section)
            .expect("a fixed header is valid and a Vec takes all bytes");
        Self {
            writer,
            interfaces: BTreeMap::new(),
            written: 0,
            limits,
            filter: None,
            scratch: Vec::new(),
            notes: Notes::default(),
            captured: 0,
            lost: 0,
            finished: false,
        }
    }

    /// Records only what passes `filter` from now on.
    pub fn only(&mut self, filter: PcapFilter) {
        self.filter = Some(filter);
    }

    /// Watches an interface from now on. Its block is written with its first packet. Packets are cut
    /// to `snaplen` bytes; 0 keeps them whole. An interface that is watched already keeps what has
    /// been written of it.
    pub fn interface(&mut self, interface: IfId, name: &str, description: &str, snaplen: u32) {
        if let Some(known) = self.interfaces.get_mut(&interface) {
            known.watched = true;
            return;
        }
        let described = Interface {
            name: plain(name, NAME_MAX),
            description: plain(description, NAME_MAX),
            snaplen,
            number: None,
            watched: true,
            reported: false,
            captured: 0,
            dropped: 0,
            lost: 0,
            lost_since: 0,
        };
        self.interfaces.insert(interface, described);
    }

    /// Watches an interface no longer. What was recorded stays.
    pub fn forget(&mut self, interface: IfId) {
        if let Some(known) = self.interfaces.get_mut(&interface) {
            known.watched = false;
        }
    }

    /// Whether packets of the interface are recorded.
    #[must_use]
    pub fn watches(&self, interface: IfId) -> bool {
        !self.has_ended()
            && self
                .interfaces
                .get(&interface)
                .is_some_and(|known| known.watched)
    }

    /// It has ended, or has all the packets that it may have.
    #[must_use]
    pub const fn has_ended(&self) -> bool {
        self.finished || self.captured >= self.limits.packets
    }

    /// Sets what the wall clock says at [`Time::ZERO`] anew ([`Limits::epoch`]): where it or the lab's time has jumped.
    pub const fn set_epoch(&mut self, epoch: Duration) {
        self.limits.epoch = epoch;
    }

    fn wall_clock(&self, now: Time) -> Duration {
        let epoch = u64::try_from(self.limits.epoch.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(epoch.saturating_add(now.as_nanos()))
    }

    /// Writes a block, or nothing of it if it is not valid.
    fn write<'a>(&mut self, block: impl PcapNgBlock<'a>) -> bool {
        let before = self.pending_len();
        let is_written = self.writer.write_pcapng_block(block).is_ok();
        if !is_written {
            self.writer.get_mut().truncate(before);
        }
        is_written
    }

    /// The interface's number in the section; its block is written if it has none yet.
    fn number(&mut self, interface: IfId) -> Option<u32> {
        let known = self.interfaces.get(&interface)?;
        if known.number.is_some() {
            return known.number;
        }
        let mut options = vec![InterfaceDescriptionOption::IfName(
            known.name.clone().into(),
        )];
        if !known.description.is_empty() {
            let description = known.description.clone().into();
            options.push(InterfaceDescriptionOption::IfDescription(description));
        }
        options.push(InterfaceDescriptionOption::IfTsResol(
            InterfaceTsResolution::NANO,
        ));
        let block = InterfaceDescriptionBlock {
            linktype: DataLink::ETHERNET,
            snaplen: known.snaplen,
            options,
        };
        if !self.write(block) {
            return None;
        }
        let number = self.written;
        self.written += 1;
        self.interfaces.get_mut(&interface)?.number = Some(number);
        Some(number)
    }

    /// Records `bytes` as they are, if the interface is watched.
    ///
    /// # Errors
    /// [`CaptureFull`]; the packet is counted as lost.
    pub fn packet(
        &mut self,
        now: Time,
        interface: IfId,
        direction: Direction,
        bytes: &[u8],
        comment: Option<&str>,
    ) -> Result<(), CaptureFull> {
        let seen = Seen {
            now,
            interface,
            direction,
            id: None,
        };
        if !self.passes(interface, bytes) {
            return Ok(());
        }
        self.record(seen, bytes.len(), comment, |out| {
            out.extend_from_slice(bytes);
        })
    }

    /// Whether a packet at an interface is to be recorded.
    fn passes(&self, interface: IfId, bytes: &[u8]) -> bool {
        match &self.filter {
            None => true,
            Some(filter) => self.watches(interface) && filter.passes(bytes, bytes.len() as u32),
        }
    }

    /// Records a frame as a wire would carry it, if the interface is watched: a super-segment as the
    /// frames that it stands for, a partial checksum filled in. The comment goes to the first.
    ///
    /// # Errors
    /// [`CaptureFull`] if any of it was lost.
    pub fn frame(
        &mut self,
        now: Time,
        interface: IfId,
        direction: Direction,
        bytes: &[u8],
        meta: Meta,
        comment: Option<&str>,
    ) -> Result<(), CaptureFull> {
        let seen = Seen {
            now,
            interface,
            direction,
            id: Some(meta.id),
        };
        self.put(seen, bytes, meta, comment).1
    }

    /// The same; first, whether any of it passed the filter.
    fn put(
        &mut self,
        seen: Seen,
        bytes: &[u8],
        meta: Meta,
        mut comment: Option<&str>,
    ) -> (bool, Result<(), CaptureFull>) {
        let is_wire = self.limits.whole || (meta.gso_size == 0 && !meta.csum_partial);
        if is_wire {
            if !self.passes(seen.interface, bytes) {
                return (false, Ok(()));
            }
            let recorded = self.record(seen, bytes.len(), comment, |out| {
                out.extend_from_slice(bytes);
            });
            return (true, recorded);
        }
        if !self.watches(seen.interface) {
            return (false, Ok(()));
        }
        if meta.gso_size == 0 {
            return self.laid_out(seen, bytes.len(), &mut comment, |out| {
                let start = out.len();
                out.extend_from_slice(bytes);
                segment::fill_checksums(&mut out[start..]);
            });
        }
        let (mut any, mut result) = (false, Ok(()));
        for piece in segment::pieces(bytes, meta.gso_size) {
            let (passed, recorded) = self.laid_out(seen, piece.wire_len(), &mut comment, |out| {
                piece.append_to(out)
            });
            any |= passed;
            result = result.and(recorded);
        }
        (any, result)
    }

    /// Records the packet of `len` bytes that `write` puts behind what it is given, if it passes; the comment goes with
    /// it then.
    #[inline]
    fn laid_out(
        &mut self,
        seen: Seen,
        len: usize,
        comment: &mut Option<&str>,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> (bool, Result<(), CaptureFull>) {
        if self.filter.is_none() {
            return (true, self.record(seen, len, comment.take(), write));
        }
        let mut packet = mem::take(&mut self.scratch);
        packet.clear();
        write(&mut packet);
        let passed = self.passes(seen.interface, &packet);
        let recorded = if passed {
            self.record(seen, packet.len(), comment.take(), |out| {
                out.extend_from_slice(&packet);
            })
        } else {
            Ok(())
        };
        self.scratch = packet;
        (passed, recorded)
    }

    /// A frame was rewritten; it is said beside it where it is next recorded.
    pub fn rewritten(&mut self, frame: u64, rewrite: Rewrite) {
        self.notes.add(frame, rewrite);
    }

    /// A frame crosses an interface: it is recorded if that is watched, with what was rewritten.
    pub fn crossed(
        &mut self,
        now: Time,
        interface: IfId,
        direction: Direction,
        bytes: &[u8],
        meta: Meta,
    ) {
        if !self.watches(interface) {
            return;
        }
        let mut notes = mem::take(&mut self.notes);
        let comment = notes.crossing(meta.id);
        let seen = Seen {
            now,
            interface,
            direction,
            id: Some(meta.id),
        };
        // What is lost is counted.
        let (passed, _counted) = self.put(seen, bytes, meta, comment);
        if passed {
            notes.told(meta.id);
        }
        self.notes = notes;
    }

    /// A frame died at an interface: it is recorded with the reason, if that is watched.
    pub fn died(
        &mut self,
        now: Time,
        interface: IfId,
        bytes: &[u8],
        meta: Meta,
        reason: DropReason,
    ) {
        // What a flood brought to a station that it is not for is no loss, and recorded already.
        if reason == DropReason::NotForUs || !self.watches(interface) {
            self.notes.told(meta.id);
            return;
        }
        let mut notes = mem::take(&mut self.notes);
        let comment = notes.death(meta.id, reason);
        let seen = Seen {
            now,
            interface,
            direction: Direction::Unknown,
            id: Some(meta.id),
        };
        // What is lost is counted.
        let (_passed, _counted) = self.put(seen, bytes, meta, Some(comment));
        notes.told(meta.id);
        self.notes = notes;
    }

    /// Records the packet of `len` bytes that `write` puts behind what it is given.
    #[inline]
    fn record(
        &mut self,
        seen: Seen,
        len: usize,
        comment: Option<&str>,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), CaptureFull> {
        if self.has_ended() {
            return Ok(());
        }
        let wall = self.wall_clock(seen.now).as_nanos() as u64;
        let Some(known) = self.interfaces.get_mut(&seen.interface) else {
            return Ok(());
        };
        if !known.watched {
            return Ok(());
        }
        known.dropped += u64::from(seen.direction == Direction::Unknown);
        let size = len + comment.map_or(0, |text| text.len().min(COMMENT_MAX)) + epb::OVERHEAD;
        let fits = self.writer.get_ref().len() + size <= self.limits.buffer;
        let number = match known.number {
            None if fits => self.number(seen.interface),
            number => number,
        };
        let Some(known) = self.interfaces.get_mut(&seen.interface) else {
            return Ok(());
        };
        let Some(number) = number.filter(|_| fits) else {
            known.lost += 1;
            known.lost_since += 1;
            self.lost += 1;
            return Err(CaptureFull);
        };
        known.captured += 1;
        self.captured += 1;
        let about = epb::About {
            flags: seen.direction.flags(),
            lost: mem::take(&mut known.lost_since),
            id: seen.id,
            comment,
            comment_max: COMMENT_MAX,
        };
        let snaplen = known.snaplen as usize;
        let buffer = self.writer.get_mut();
        let block = epb::Open::begin(buffer, number, wall);
        write(buffer);
        block.end(buffer, snaplen, about);
        Ok(())
    }

    /// Writes names for addresses, in the order of the addresses. Empty names are left out. Names and
    /// statistics are written even if the buffer is full: the lab has so many of them and no more.
    pub fn names<S: AsRef<str>>(&mut self, names: &[(IpAddr, S)]) {
        let mut by_address: BTreeMap<IpAddr, Vec<Cow<'_, str>>> = BTreeMap::new();
        for (address, name) in names {
            let name = plain(name.as_ref(), NAME_MAX);
            let known = by_address.entry(*address).or_default();
            if !name.is_empty() && known.len() < NAMES_MAX {
                known.push(name.into());
            }
        }
        let records: Vec<_> = by_address
            .into_iter()
            .filter(|(_, names)| !names.is_empty())
            .map(|(address, names)| match address {
                IpAddr::V4(ip_addr) => Record::Ipv4(Ipv4Record { ip_addr, names }),
                IpAddr::V6(ip_addr) => Record::Ipv6(Ipv6Record { ip_addr, names }),
            })
            .collect();
        if !records.is_empty() && !self.finished {
            self.write(NameResolutionBlock {
                records,
                options: Vec::new(),
            });
        }
    }

    /// Writes what the interface has seen since the start: frames received and dropped there, and how
    /// many packets this capture recorded and lost. Only for interfaces that were declared.
    pub fn statistics(&mut self, now: Time, interface: IfId, received: u64, dropped: u64) {
        if self.finished || !self.interfaces.contains_key(&interface) {
            return;
        }
        let options = vec![
            InterfaceStatisticsOption::IsbIfRecv(received),
            InterfaceStatisticsOption::IsbIfDrop(dropped),
        ];
        self.write_statistics(now, interface, options);
    }

    fn write_statistics(
        &mut self,
        now: Time,
        interface: IfId,
        counted: Vec<InterfaceStatisticsOption<'static>>,
    ) {
        let Some(interface_id) = self.number(interface) else {
            return;
        };
        let timestamp = self.wall_clock(now);
        let mut options = vec![
            InterfaceStatisticsOption::IsbStartTime(self.wall_clock(Time::ZERO)),
            InterfaceStatisticsOption::IsbEndTime(timestamp),
        ];
        options.extend(counted);
        if let Some(known) = self.interfaces.get_mut(&interface) {
            known.reported = true;
            options.push(InterfaceStatisticsOption::IsbOsDrop(known.lost));
            options.push(InterfaceStatisticsOption::IsbUsrDeliv(known.captured));
        }
        self.write(InterfaceStatisticsBlock {
            interface_id,
            timestamp,
            options,
        });
    }

    /// Ends the capture: statistics for every interface that was seen and has none yet. Later calls
    /// record nothing.
    pub fn finish(&mut self, now: Time) {
        if self.finished {
            return;
        }
        let unreported: Vec<_> = self
            .interfaces
            .iter()
            .filter(|(_, known)| known.number.is_some() && !known.reported)
            .map(|(&interface, _)| interface)
            .collect();
        for interface in unreported {
            self.write_statistics(now, interface, Vec::new());
        }
        self.finished = true;
    }

    /// The bytes that wait to be drained, in order.
    #[must_use]
    pub fn pending(&self) -> &[u8] {
        self.writer.get_ref()
    }

    /// Number of bytes that wait to be drained.
    #[must_use]
    pub fn pending_len(&self) -> usize {
        self.writer.get_ref().len()
    }

    /// More than `limit` bytes wait: time to drain.
    #[must_use]
    pub fn is_over(&self, limit: usize) -> bool {
        self.pending_len() > limit
    }

    /// Takes the bytes that wait.
    #[must_use]
    pub fn take(&mut self) -> Vec<u8> {
        mem::take(self.writer.get_mut())
    }

    /// Hands the bytes that wait to `sink`; they are gone then, and the next ones take the memory that it
    /// leaves in their place.
    pub fn drain(&mut self, sink: impl FnOnce(&mut Vec<u8>)) {
        let pending = self.writer.get_mut();
        sink(pending);
        pending.clear();
    }

    /// Takes the bytes that wait into `drained`, whose memory is used for the next ones: two buffers
    /// that change places instead of a new one each time. What `drained` held is gone.
    pub fn swap(&mut self, drained: &mut Vec<u8>) {
        drained.clear();
        mem::swap(drained, self.writer.get_mut());
    }

    /// Frames that died at the interface while it was watched, recorded or not.
    #[must_use]
    pub fn dropped(&self, interface: IfId) -> u64 {
        self.interfaces
            .get(&interface)
            .map_or(0, |known| known.dropped)
    }

    /// Packets that were recorded.
    #[must_use]
    pub const fn captured(&self) -> u64 {
        self.captured
    }

    /// Packets that were not recorded because the buffer was full.
    #[must_use]
    pub const fn lost(&self) -> u64 {
        self.lost
    }
}

#[cfg(test)]
mod tests;
