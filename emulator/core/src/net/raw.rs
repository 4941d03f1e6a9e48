//! Frames past the stack: what a packet socket with the interface to itself would do.
//!
//! For generators, fuzzers and measurements. A raw interface's frames wait in its ring, bounded like
//! any other, until they are taken; its stack sees none of them. As with Linux's packet sockets on a
//! veth, what a stack sent may be a super-segment, longer than the MTU and with a partial checksum,
//! unless that is off there ([`Netns::offload`](crate::netns::Netns::offload)).

use core::mem;

use switch::capture::Direction;
use switch::frame::Burst;
use switch::segment::wire_size;
use switch::verdict::What;
use switch::{DropReason, Frame};

use super::{Net, Plug, QUANTUM, Reader, Socket};
use crate::id::{IfId, NsId};

/// Wire frames that a super-segment from outside may stand for.
const SEGMENTS: u64 = 512;

/// What a frame leaves to a later edge, as the header of a virtio device says it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offload {
    /// Payload bytes of each frame that it stands for, if it is a super-segment of TCP; else 0.
    pub gso_size: u16,
    /// Its transport checksum holds the sum of the pseudo-header only.
    pub csum_partial: bool,
}

impl Net {
    /// Takes an interface away from its stack, or gives it back.
    pub fn raw(&mut self, iface: IfId, on: bool) {
        let Some(socket) = self.sockets.get_mut(iface.0 as usize) else {
            return;
        };
        match socket.reader {
            Reader::Stack if on => self.set_reader(iface, Reader::Raw),
            Reader::Raw | Reader::Told if !on => {
                socket.marked = false;
                self.set_reader(iface, Reader::Stack);
                self.mark(iface);
            }
            Reader::Port { .. } | Reader::Raw | Reader::Stack | Reader::Told => {}
        }
    }

    /// Has the user of a raw interface told when frames wait for it ([`Output::Frames`]), or not any more. It is
    /// told once; then again when frames arrive after a read that found none left.
    ///
    /// [`Output::Frames`]: crate::lab::Output::Frames
    pub fn raw_tell(&mut self, iface: IfId, on: bool) {
        let Some(socket) = self.sockets.get_mut(iface.0 as usize) else {
            return;
        };
        match socket.reader {
            Reader::Raw if on => {
                self.set_reader(iface, Reader::Told);
                // Those that wait already are told of as well.
                self.mark(iface);
            }
            Reader::Told if !on => {
                socket.marked = false;
                self.set_reader(iface, Reader::Raw);
            }
            Reader::Port { .. } | Reader::Raw | Reader::Stack | Reader::Told => {}
        }
    }

    /// Frames have arrived at a raw interface. Its mark stays until all have been taken.
    pub(super) fn raw_arrived(&mut self, iface: IfId) {
        self.sockets[iface.0 as usize].marked = true;
        self.told.push(iface);
    }

    /// The next raw interface that frames wait for, each once.
    pub(crate) fn take_told(&mut self) -> Option<IfId> {
        self.told.pop()
    }

    /// All frames of a raw interface have been taken: the next one is told of.
    fn raw_emptied(&mut self, iface: IfId) {
        let socket = &mut self.sockets[iface.0 as usize];
        if socket.reader == Reader::Told {
            socket.marked = false;
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
        if let Plug::Veth { link, side, peer } = self.sockets[iface.0 as usize].plug
            && let link = &mut self.links[link.0 as usize]
            && link.is_clear(&self.pool, side, 1, bytes.len())
            && !self.trace.is_capturing()
        {
            let number = self.pool.meta(&frame).id;
            self.trace.event(self.now, number, iface, What::Sent);
            link.hand_over(side, frame, bytes.len() as u64);
            self.mark(peer);
        } else {
            self.transmit(iface, frame);
        }
        Ok(())
    }

    /// Sends frames out of `iface` one after the other, as [`Self::raw_send`] does: what `sendmmsg` is to a
    /// packet socket. Returns how many were sent.
    ///
    /// # Errors
    /// As [`Self::raw_send`] if not even the first was sent.
    #[inline(never)]
    pub fn raw_send_burst<'a>(
        &mut self,
        iface: IfId,
        frames: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<usize, DropReason> {
        if iface >= self.next_iface() {
            return Err(DropReason::InterfaceDown);
        }
        let mut frames = frames.into_iter().fuse();
        let mut burst = mem::take(&mut self.burst);
        let mut sent = 0;
        let result = loop {
            // A full pool hands buffers out one by one, each when the last frame is on its way.
            let is_full = !self.pool.has_room(2 * QUANTUM);
            let most = if is_full { 1 } else { QUANTUM };
            let is_empty = !self.pool.fill(&mut burst, most, &mut frames);
            let count = burst.frames.len();
            self.raw_transmit(iface, &mut burst);
            sent += count;
            if is_empty && sent == 0 {
                break Err(DropReason::PoolEmpty);
            }
            if count < most {
                break Ok(sent);
            }
        };
        self.burst = burst;
        result
    }

    /// Sends a frame that leaves its checksum or its cutting to a later edge. A super-segment that
    /// stands for more than 512 frames is dropped as malformed; one that is no TCP packet is an ordinary frame, too long.
    ///
    /// # Errors
    /// As [`Self::raw_send`].
    pub fn raw_send_offload(
        &mut self,
        iface: IfId,
        bytes: &[u8],
        offload: Offload,
    ) -> Result<(), DropReason> {
        if offload == Offload::default() {
            return self.raw_send(iface, bytes);
        }
        if iface >= self.next_iface() {
            return Err(DropReason::InterfaceDown);
        }
        let frame = self.pool.from_bytes(bytes).ok_or(DropReason::PoolEmpty)?;
        let (frames, _) = wire_size(bytes, offload.gso_size);
        let meta = self.pool.meta_mut(&frame);
        // One that is a single frame already needs no cutting.
        meta.gso_size = if frames > 1 { offload.gso_size } else { 0 };
        meta.csum_partial = offload.csum_partial;
        if frames > SEGMENTS {
            self.trace.drop(
                self.now,
                &mut self.pool,
                frame,
                iface,
                DropReason::HeaderMalformed,
            );
            return Ok(());
        }
        self.transmit(iface, frame);
        Ok(())
    }

    /// Takes the next frame that arrived at a raw interface and shows it to `look`, with what it leaves to a later
    /// edge.
    pub fn raw_recv_offload<T>(
        &mut self,
        iface: IfId,
        look: impl FnOnce(&[u8], Offload) -> T,
    ) -> Option<T> {
        let socket = self.sockets.get(iface.0 as usize)?;
        if !matches!(socket.reader, Reader::Raw | Reader::Told) {
            return None;
        }
        let frame = self.raw_take(iface, socket.plug)?;
        let meta = self.pool.meta(&frame);
        let offload = Offload {
            gso_size: meta.gso_size,
            csum_partial: meta.csum_partial,
        };
        Some(self.pool.consume(frame, |bytes| look(bytes, offload)))
    }

    /// Whether somebody else than its stack reads what arrives at an interface of a namespace.
    #[must_use]
    pub(crate) fn is_raw(&self, ns: NsId) -> bool {
        let is_raw = |iface: IfId| {
            let socket = self.sockets.get(iface.0 as usize);
            socket.is_some_and(|socket| matches!(socket.reader, Reader::Raw | Reader::Told))
        };
        self.ns(ns)
            .is_some_and(|netns| netns.ifaces().any(|iface| is_raw(iface.id)))
    }

    /// Sends new frames.
    fn raw_transmit(&mut self, iface: IfId, burst: &mut Burst) {
        let (bytes, longest) = (mem::take(&mut burst.bytes), mem::take(&mut burst.longest));
        let frames = &mut burst.frames;
        let count = frames.len();
        if let Plug::Veth { link, side, peer } = self.sockets[iface.0 as usize].plug
            && let Some(first) = frames.first()
            && let link = &mut self.links[link.0 as usize]
            && link.is_clear(&self.pool, side, count, longest)
            && !self.trace.is_capturing()
        {
            let number = self.pool.meta(first).id;
            self.trace
                .events(self.now, number, count as u32, iface, What::Sent);
            let weight = (count as u64, bytes);
            link.hand_over_run(side, frames.drain(..), weight);
            return self.mark(peer);
        }
        for frame in frames.drain(..) {
            self.transmit(iface, frame);
        }
    }

    /// The next frame that arrived; captures see it as it is taken.
    #[inline]
    fn raw_take(&mut self, iface: IfId, plug: Plug) -> Option<Frame> {
        let taken = self.take_received(iface, plug);
        match &taken {
            Some(frame) => self
                .trace
                .frame(self.now, &self.pool, frame, iface, Direction::In),
            None => self.raw_emptied(iface),
        }
        taken
    }

    /// Takes the next frame that arrived at a raw interface and shows it to `look`.
    pub fn raw_recv<T>(&mut self, iface: IfId, look: impl FnOnce(&[u8]) -> T) -> Option<T> {
        let socket = self.sockets.get(iface.0 as usize)?;
        if !matches!(socket.reader, Reader::Raw | Reader::Told) {
            return None;
        }
        let frame = self.raw_take(iface, socket.plug)?;
        Some(self.pool.consume(frame, look))
    }

    /// Takes up to `most` frames one by one.
    fn raw_recv_singly(&mut self, iface: IfId, most: usize, mut look: impl FnMut(&[u8])) -> usize {
        let mut taken = 0;
        while taken < most && self.raw_recv(iface, &mut look).is_some() {
            taken += 1;
        }
        taken
    }

    /// Takes up to `most` frames that arrived at a raw interface and shows each to `look`: what `recvmmsg`
    /// is to a packet socket. Returns how many they were.
    pub fn raw_recv_burst(&mut self, iface: IfId, most: usize, look: impl FnMut(&[u8])) -> usize {
        let Some(&Socket {
            reader: reader @ (Reader::Raw | Reader::Told),
            plug,
            ..
        }) = self.sockets.get(iface.0 as usize)
        else {
            return 0;
        };
        let Plug::Veth { link, side, .. } = plug else {
            return self.raw_recv_singly(iface, most, look);
        };
        if self.trace.is_capturing() {
            return self.raw_recv_singly(iface, most, look);
        }
        let link = &mut self.links[link.0 as usize];
        if most > 1
            && let Some(frame) = link.receive_only(side)
        {
            self.pool.consume(frame, look);
            if reader == Reader::Told {
                self.raw_emptied(iface);
            }
            return 1;
        }
        let waiting = link.receive_run(side, most);
        let taken = self.pool.consume_run(waiting, look);
        if taken < most && reader == Reader::Told {
            self.raw_emptied(iface);
        }
        taken
    }

    /// Takes up to `most` frames that arrived at each of these raw interfaces, one interface after the other, and shows
    /// each to `look` with where it arrived: [`Self::raw_recv_burst`] for those who read at many places, as one
    /// submission to io_uring reads many packet sockets. Returns how many frames they were in all. Nobody reads at
    /// an interface that is not raw or not there.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use emulator_core::docker::spec::ContainerSpec;
    /// use emulator_core::lab::{Lab, LabConfig};
    ///
    /// let mut lab = Lab::new(LabConfig::default())?;
    /// let mut ends = Vec::new();
    /// for name in ["one", "two", "three"] {
    ///     lab.create(ContainerSpec { name: Some(name.into()), image: "busybox".into(), ..Default::default() })?;
    ///     lab.start(name)?;
    ///     let netns = lab.namespace(name).and_then(|ns| lab.net().ns(ns)).unwrap();
    ///     ends.push(netns.iface_named("eth0").unwrap().id);
    /// }
    /// lab.run_for(Duration::from_secs(5));
    /// let net = lab.net_mut();
    /// ends.iter().for_each(|&eth0| net.raw(eth0, true));
    ///
    /// // To all others on docker0.
    /// let frame = [[0xff; 6], [2, 0, 0, 0, 0, 1]].concat();
    /// let frame = [&frame[..], &[0x88, 0xb5], &[7; 46]].concat();
    /// net.raw_send(ends[0], &frame).unwrap();
    /// lab.run_for(Duration::from_millis(1));
    /// let mut readers = Vec::new();
    /// let count = lab.net_mut().raw_recv_each(ends.iter().copied(), 64, |reader, bytes| {
    ///     assert_eq!(bytes, frame);
    ///     readers.push(reader);
    /// });
    /// assert_eq!((count, &readers[..]), (2, &ends[1..]));
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn raw_recv_each(
        &mut self,
        ifaces: impl IntoIterator<Item = IfId>,
        most: usize,
        mut look: impl FnMut(IfId, &[u8]),
    ) -> usize {
        let may_be_lone = most > 0 && !self.trace.is_capturing();
        let mut taken = 0;
        for iface in ifaces {
            let look = |bytes: &[u8]| look(iface, bytes);
            let lone = if may_be_lone {
                self.raw_lone(iface)
            } else {
                None
            };
            taken += match lone {
                Some(frame) => {
                    self.pool.consume(frame, look);
                    1
                }
                None => self.raw_recv_burst(iface, most, look),
            };
        }
        taken
    }

    /// The frame that waits at a raw interface whose user is not told, if it is the only one since none did.
    #[inline(always)]
    fn raw_lone(&mut self, iface: IfId) -> Option<Frame> {
        let socket = self.sockets.get(iface.0 as usize)?;
        match (socket.reader, socket.plug) {
            (Reader::Raw, Plug::Veth { link, side, .. }) => {
                self.links[link.0 as usize].receive_only(side)
            }
            _ => None,
        }
    }
}
