//! The devices through which smoltcp gets and gives packets: each lasts for one call.

use core::num::NonZeroUsize;

use smoltcp::phy::{
    ChecksumCapabilities, Device, DeviceCapabilities, Medium, PacketMeta, RxToken, TxToken,
};
use smoltcp::time::Instant;

use super::emit::{Emitter, Reply};
use super::pingpong::Pingpong;
use super::segment::SYN;

pub(super) fn capabilities(mtu: usize, burst: usize) -> DeviceCapabilities {
    let mut caps = DeviceCapabilities::default();
    caps.medium = Medium::Ip;
    caps.max_transmission_unit = mtu;
    caps.max_burst_size = None;
    caps.checksum = ChecksumCapabilities::ignored();
    caps.segmentation.tcpv4 = NonZeroUsize::new(burst);
    caps
}

/// The device of one call of `poll_ingress_single`.
pub(super) struct Inbound<'a> {
    pub(super) packet: Option<&'a [u8]>,
    pub(super) reply: &'a mut Reply,
    pub(super) mtu: usize,
    pub(super) burst: usize,
}

pub(super) struct RxBytes<'a>(&'a [u8]);
pub(super) struct ReplyToken<'a>(&'a mut Reply);

impl RxToken for RxBytes<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(self.0)
    }
}

impl TxToken for ReplyToken<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        self.0.write(len, f)
    }
}

impl Device for Inbound<'_> {
    type RxToken<'t>
        = RxBytes<'t>
    where
        Self: 't;
    type TxToken<'t>
        = ReplyToken<'t>
    where
        Self: 't;

    fn receive(&mut self, _: Instant) -> Option<(RxBytes<'_>, ReplyToken<'_>)> {
        let packet = self.packet.take()?;
        Some((RxBytes(packet), ReplyToken(self.reply)))
    }

    fn transmit(&mut self, _: Instant) -> Option<ReplyToken<'_>> {
        None
    }

    fn capabilities(&self) -> DeviceCapabilities {
        capabilities(self.mtu, self.burst)
    }
}

/// The window that a connection tells of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    /// Bytes that there is room for.
    room: usize,
    /// What it is scaled by.
    shift: u8,
}

impl Window {
    /// Room for so many bytes, told in units of 2^`shift`.
    #[inline]
    pub(super) const fn new(room: usize, shift: u8) -> Self {
        Self { room, shift }
    }

    /// Writes it into a segment that smoltcp made, and gives back the field that was there. In a SYN, windows are not
    /// scaled.
    pub(super) fn tell(self, packet: &mut [u8]) -> u16 {
        let Some(head) = packet.first_chunk_mut::<40>() else {
            return 0;
        };
        let was = u16::from_be_bytes([head[34], head[35]]);
        if head[33] & SYN == 0 {
            let field = u16::try_from(self.room >> self.shift).unwrap_or(u16::MAX);
            head[34..36].copy_from_slice(&field.to_be_bytes());
        }
        was
    }
}

/// The device of one call of `poll_egress`.
pub(super) struct Outbound<'a, 'e>(
    pub(super) &'a mut Emitter<'e>,
    pub(super) &'a mut Pingpong,
    pub(super) Window,
);

pub(super) struct EmitToken<'a, 'e> {
    emitter: &'a mut Emitter<'e>,
    pingpong: &'a mut Pingpong,
    window: Window,
    gso_size: u16,
}

impl TxToken for EmitToken<'_, '_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        self.emitter.segment(len, self.gso_size, |packet| {
            let result = f(packet);
            let field = self.window.tell(packet);
            self.pingpong.wrote(packet, field);
            result
        })
    }

    fn set_meta(&mut self, meta: PacketMeta) {
        self.gso_size = meta.segmentation_offload_size.map_or(0, Into::into);
    }
}

impl<'e> Device for Outbound<'_, 'e> {
    type RxToken<'t>
        = RxBytes<'t>
    where
        Self: 't;
    type TxToken<'t>
        = EmitToken<'t, 'e>
    where
        Self: 't;

    fn receive(&mut self, _: Instant) -> Option<(RxBytes<'_>, EmitToken<'_, 'e>)> {
        None
    }

    fn transmit(&mut self, _: Instant) -> Option<EmitToken<'_, 'e>> {
        Some(EmitToken {
            emitter: self.0,
            pingpong: self.1,
            window: self.2,
            gso_size: 0,
        })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        // The interface copied the true ones when it was made.
        capabilities(usize::from(u16::MAX), 0)
    }
}

/// The device of a call whose packet nobody sees; its sequence number.
pub(super) struct Unseen<'a>(
    pub(super) &'a mut Pingpong,
    pub(super) Window,
    pub(super) Option<u32>,
);

pub(super) struct UnseenToken<'t, 'a>(&'t mut Unseen<'a>);

impl TxToken for UnseenToken<'_, '_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut packet = vec![0; len];
        let result = f(&mut packet);
        let field = self.0.1.tell(&mut packet);
        self.0.0.wrote(&mut packet, field);
        let seq = packet.get(24..).and_then(<[u8]>::first_chunk);
        self.0.2 = seq.map(|seq| u32::from_be_bytes(*seq));
        result
    }
}

impl<'a> Device for Unseen<'a> {
    type RxToken<'t>
        = RxBytes<'t>
    where
        Self: 't;
    type TxToken<'t>
        = UnseenToken<'t, 'a>
    where
        Self: 't;

    fn receive(&mut self, _: Instant) -> Option<(RxBytes<'_>, UnseenToken<'_, 'a>)> {
        None
    }

    fn transmit(&mut self, _: Instant) -> Option<UnseenToken<'_, 'a>> {
        Some(UnseenToken(self))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        capabilities(usize::from(u16::MAX), 0)
    }
}
