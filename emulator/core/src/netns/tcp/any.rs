//! A listener for every address and port, to which segments come only when somebody has decided that they may
//! (Linux's TPROXY).

use core::net::{IpAddr, Ipv6Addr, SocketAddr};

use switch::Frame;
use switch::verdict::DropReason;
use switch::wire::Packet;

use super::demux::Tuple;
use super::emit::send_bare;
use super::listen::Listener;
use super::segment::{ACK, FIN, RST, SYN, Segment};
use super::slots::Tenant;
use super::{Tcp, TcpCx, TcpId, TcpOptions};
use crate::netns::Errno;

/// The name of such a listener.
pub(super) const ANY: SocketAddr = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0);

impl Tcp {
    /// Listens for whatever no other listener takes, if it is [admitted](Tcp::admit).
    ///
    /// # Errors
    /// [`Errno::AddrInUse`] if one does.
    pub fn listen_any(&mut self, backlog: usize, options: &TcpOptions) -> Result<TcpId, Errno> {
        if self.listeners.any.is_some() {
            return Err(Errno::AddrInUse);
        }
        let listener = Listener::new(ANY, backlog, *options);
        let id = self.slots.insert(Tenant::Listener(Box::new(listener)));
        self.listeners.any = Some(id);
        Ok(id)
    }

    /// Who wants to be connected to whom, if the packet is a SYN that opens a new connection.
    #[must_use]
    pub fn opens(&self, bytes: &[u8], packet: &Packet) -> Option<(SocketAddr, SocketAddr)> {
        let segment = Segment::parse(bytes, packet).ok()?;
        let opens = segment.flags & (SYN | ACK | RST | FIN) == SYN;
        let tuple = Tuple::new(segment.local, segment.remote);
        (opens && self.demux.get(&self.slots, &tuple).is_none())
            .then_some((segment.remote, segment.local))
    }

    /// Takes a segment as [`Tcp::input`] does, but that the listener for all takes what no other does.
    ///
    /// # Errors
    /// As [`Tcp::input`].
    pub fn admit(
        &mut self,
        cx: &mut TcpCx<'_>,
        frame: Frame,
        packet: &Packet,
    ) -> Result<(), (Frame, DropReason)> {
        self.listeners.admits = true;
        let taken = self.input(cx, frame, packet);
        self.listeners.admits = false;
        taken
    }

    /// Refuses a segment with a reset.
    pub fn refuse(&mut self, cx: &mut TcpCx<'_>, frame: &Frame, packet: &Packet) {
        let segment = Segment::parse(cx.pool.bytes(frame), packet);
        if let Some(bare) = segment.ok().and_then(|segment| segment.reset()) {
            let (stamp, counters) = (&mut self.stamp, &mut self.counters);
            send_bare(&bare, cx.pool, cx.out, stamp, counters);
        }
    }
}
