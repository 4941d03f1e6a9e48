//! Segments for brief connections, which are read where they are.

use core::ops::Range;

use switch::Frame;
use switch::wire::Packet;

use super::brief::Brief;
use super::conn::Owner;
use super::engine::{Setup, TcpState};
use super::machine::Machine;
use super::segment::{SYN, Segment};
use super::told::Told;
use super::{Tcp, TcpCx};

/// Bytes of a TCP header without options.
const HEADER: usize = 20;

/// What the header in `bytes`, a TCP segment, says, and how much of them it is.
fn told(bytes: &[u8], segment: &Segment) -> Option<(Told, usize)> {
    let flags = *bytes.get(13)?;
    let header = usize::from(bytes[12] >> 4) * 4;
    let told = Told {
        seq: segment.seq,
        ack: segment.ack,
        window: segment.window,
        flags,
        header: header as u8,
        payload: u16::try_from(segment.payload).ok()?,
    };
    (HEADER <= header && header <= bytes.len()).then_some((told, header))
}

/// What takes the plain SYN in `frame`, and whether that offers to scale windows; `None` if it is not plain.
pub(super) fn accept_brief(
    cx: &mut TcpCx<'_>,
    frame: &Frame,
    packet: &Packet,
    segment: &Segment,
    made_with: &Setup,
    isn: u32,
) -> Option<(Box<Brief>, bool)> {
    let bytes = cx.pool.bytes(frame).get(packet.transport..packet.len)?;
    let (told, header) = told(bytes, segment)?;
    let mut brief = (cx.spares).brief(made_with, segment.local, segment.remote, isn);
    if !brief.accept(cx.now, &told, &bytes[HEADER..header]) {
        cx.spares.keep(Some(Machine::Brief(brief)));
        return None;
    }
    let scales = brief.scales();
    Some((brief, scales))
}

impl Tcp {
    /// Gives the TCP segment that stands at `place` in a frame to the connection in `slot`.
    ///
    /// # Errors
    /// The frame comes back if the connection is not brief or the segment not plain there.
    #[inline]
    pub(super) fn hear_brief(
        &mut self,
        cx: &mut TcpCx<'_>,
        slot: u32,
        frame: Frame,
        place: Range<usize>,
        segment: &Segment,
    ) -> Result<(), Frame> {
        let Some(conn) = self.slots.conn_at(slot) else {
            return Err(frame);
        };
        let before = conn.seen();
        let Some(Machine::Brief(brief)) = &mut conn.engine else {
            return Err(frame);
        };
        let is_late = conn.owner == Owner::Nobody && segment.payload > 0;
        let (meta, bytes) = cx.pool.view(&frame);
        if is_late || meta.gso_size > 0 {
            return Err(frame);
        }
        let bytes = bytes.get(place).unwrap_or(&[]);
        let Some((told, header)) = told(bytes, segment) else {
            return Err(frame);
        };
        if !brief.hear(cx.now, &told, &bytes[HEADER..header], &bytes[header..]) {
            return Err(frame);
        }
        cx.pool.free(frame);
        self.counters.engine_runs += 1;
        let scales = segment.has(SYN) && brief.scales();
        if before.state == TcpState::SynSent {
            conn.meet(segment, scales);
        }
        conn.hear(cx.now, segment);
        self.settle(cx, slot, before, Some(segment));
        Ok(())
    }
}
