//! Packets for anybody: what a namespace that stands for the whole world holds until somebody outside has decided.
//!
//! After Linux's TPROXY and NFQUEUE. While a diversion is open, packets that the namespace would forward are taken in. A SYN that
//! opens a connection, a datagram or an echo request waits for a ruling; an accepted SYN goes to a listener that
//! takes every address and port, so that nothing is answered before it is known what the answer is. Whatever else
//! arrives meets its connection, or nobody. Packets for addresses of the namespace itself are not diverted.

use core::net::{IpAddr, SocketAddr};
use std::collections::{BTreeMap, VecDeque};

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use switch::Frame;
use switch::verdict::DropReason;
use switch::wire::{IpProtocol, Packet, sum, transport_checksum_ok};

use super::build::Head;
use super::fragment::fill_checksum;
use super::icmp::{Complaint, fill_icmp_checksum};
use super::udp::{HEADER as UDP_HEADER, seal, udp_check};
use super::{Arrival, Cx, Errno, LO, Netns};
use crate::app::{Family, SockKind, SockOpt};
use crate::id::SockId;

/// Packets that may wait for a ruling.
pub const HELD: usize = 1024;
/// Connections that wait to be accepted.
const BACKLOG: usize = 4096;
/// Bytes of an echo message in front of its payload.
const ECHO_HEADER: usize = 8;

/// A packet that waits for a ruling; each diversion has numbers of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HeldId(u64);

/// What a packet asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked<'a> {
    /// To open a connection.
    Connection {
        /// Who.
        from: SocketAddr,
        /// To whom.
        to: SocketAddr,
    },
    /// To take a datagram.
    Datagram {
        /// Who sent it.
        from: SocketAddr,
        /// Whom it is for.
        to: SocketAddr,
        /// What it holds.
        payload: &'a [u8],
        /// The packet, from its IP header on.
        packet: &'a [u8],
    },
    /// To answer an echo request.
    Echo {
        /// Who sent it.
        from: IpAddr,
        /// Whom it is for.
        to: IpAddr,
        /// Its identifier.
        id: u16,
        /// Its sequence number.
        sequence: u16,
        /// What it holds.
        payload: &'a [u8],
        /// The packet, from its IP header on.
        packet: &'a [u8],
    },
}

/// Why somebody cannot be reached, as ICMP says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreachable {
    /// No route to its network.
    Network,
    /// It does not answer.
    Host,
    /// Nobody listens on its port.
    Port,
    /// A firewall forbids it.
    Prohibited,
    /// The packet's hop limit ran out on the way to it.
    HopLimit,
}

/// What becomes of a packet that waited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// A SYN opens its connection; anything else has been taken by whoever decided.
    Accept,
    /// A SYN is refused with a reset.
    Reset,
    /// Its sender is told.
    Unreachable(Unreachable),
    /// Nothing is answered.
    Drop(DropReason),
}

impl Unreachable {
    const fn complaint(self) -> Complaint {
        match self {
            Self::Network => Complaint::NetUnreachable,
            Self::Host => Complaint::HostUnreachable,
            Self::Port => Complaint::PortUnreachable,
            Self::Prohibited => Complaint::Prohibited,
            Self::HopLimit => Complaint::HopLimit,
        }
    }

    const fn reason(self) -> DropReason {
        match self {
            Self::Network | Self::Host => DropReason::NoRoute,
            Self::Port => DropReason::NoSocket,
            Self::Prohibited => DropReason::Filtered,
            Self::HopLimit => DropReason::HopLimit,
        }
    }
}

/// Both ends of a connection that is asked for: who, and to whom.
type Ends = (SocketAddr, SocketAddr);

#[derive(Debug)]
struct Held {
    arrival: Arrival,
    frame: Frame,
    opens: Option<Ends>,
}

/// A diversion that is open.
#[derive(Debug)]
pub(super) struct Diversion {
    pub(super) sock: SockId,
    held: BTreeMap<HeldId, Held>,
    /// Those that nobody has looked at, the oldest first.
    fresh: VecDeque<HeldId>,
    opening: HashMap<Ends, HeldId, FixedState>,
    next: u64,
}

impl Diversion {
    fn take(&mut self, id: HeldId) -> Option<Held> {
        let held = self.held.remove(&id)?;
        if let Some(ends) = held.opens {
            self.opening.remove(&ends);
        }
        self.fresh.retain(|fresh| *fresh != id);
        Some(held)
    }
}

impl Netns {
    /// Opens the diversion. Its socket becomes ready when packets wait ([`Netns::diverted`]), and when connections that
    /// were accepted are open ([`Netns::accept`]); closing it ends the diversion.
    ///
    /// # Errors
    /// [`Errno::AddrInUse`] if one is open; as [`Netns::socket`].
    pub fn divert(&mut self, cx: &mut Cx<'_>) -> Result<SockId, Errno> {
        if self.divert.is_some() {
            return Err(Errno::AddrInUse);
        }
        let sock = self.socket(SockKind::Tcp, Family::V6)?;
        self.set_internal(sock)?;
        self.set(cx, sock, SockOpt::NoDelay(true))?;
        self.stream_listen_any(sock, BACKLOG)?;
        self.divert = Some(Box::new(Diversion {
            sock,
            held: BTreeMap::new(),
            fresh: VecDeque::new(),
            opening: HashMap::with_hasher(FixedState::default()),
            next: 0,
        }));
        Ok(sock)
    }

    /// Shows `look` the next packet that waits and has not been shown; it waits on for [`Netns::rule`].
    pub fn diverted<T>(
        &mut self,
        cx: &mut Cx<'_>,
        look: impl FnOnce(HeldId, Asked<'_>) -> T,
    ) -> Option<T> {
        let divert = self.divert.as_mut()?;
        let id = divert.fresh.pop_front()?;
        let held = divert.held.get(&id)?;
        if let Some((from, to)) = held.opens {
            return Some(look(id, Asked::Connection { from, to }));
        }
        let packet = Packet::parse(cx.pool.bytes(&held.frame)).ok()?;
        fill_checksum(cx.pool, &held.frame, &packet);
        let bytes = cx.pool.bytes(&held.frame);
        Some(look(id, asked(bytes, &packet)))
    }

    /// Decides on a packet that waits. One that waits no more is left alone.
    pub fn rule(&mut self, cx: &mut Cx<'_>, id: HeldId, ruling: Ruling) {
        let held = self.divert.as_mut().and_then(|divert| divert.take(id));
        let Some(Held {
            arrival,
            frame,
            opens,
        }) = held
        else {
            return;
        };
        let Ok(packet) = Packet::parse(cx.pool.bytes(&frame)) else {
            cx.drop(frame, arrival.iface, DropReason::HeaderMalformed);
            return;
        };
        match ruling {
            Ruling::Accept if opens.is_some() => self.tcp_admit(cx, arrival, frame, &packet),
            Ruling::Accept => cx.delivered(frame, arrival.iface),
            Ruling::Reset => {
                self.stream_refuse(cx, &frame, &packet);
                cx.drop(frame, arrival.iface, DropReason::NoSocket);
            }
            Ruling::Unreachable(why) => {
                self.complain(cx, &frame, why.complaint(), Some(arrival));
                cx.drop(frame, arrival.iface, why.reason());
            }
            Ruling::Drop(reason) => cx.drop(frame, arrival.iface, reason),
        }
    }

    /// Sends a datagram from any address.
    ///
    /// # Errors
    /// [`Errno::Invalid`] if the addresses are not of one family, [`Errno::MsgSize`], [`Errno::NetUnreach`],
    /// [`Errno::NoBufs`].
    pub fn datagram_as(
        &mut self,
        cx: &mut Cx<'_>,
        from: SocketAddr,
        to: SocketAddr,
        payload: &[u8],
    ) -> Result<(), Errno> {
        let (from_ip, to_ip) = (from.ip(), to.ip());
        let upper = UDP_HEADER + payload.len();
        let protocol = IpProtocol::Udp;
        let (frame, way, head, fits) = self.packet_as(cx, from_ip, to_ip, protocol, upper)?;
        let bytes = &mut cx.pool.bytes_mut(&frame)[head.len()..];
        bytes[0..2].copy_from_slice(&from.port().to_be_bytes());
        bytes[2..4].copy_from_slice(&to.port().to_be_bytes());
        bytes[4..6].copy_from_slice(&(upper as u16).to_be_bytes());
        bytes[6..8].fill(0);
        bytes[UDP_HEADER..].copy_from_slice(payload);
        let packet = head.read(upper);
        seal(cx, &frame, &packet, (self.offload || way.dev == LO) && fits);
        self.send_read(cx, frame, &packet, &way)
    }

    /// Answers an echo request from any address.
    ///
    /// # Errors
    /// As [`Netns::datagram_as`].
    pub fn echo_as(
        &mut self,
        cx: &mut Cx<'_>,
        from: IpAddr,
        to: IpAddr,
        (id, sequence): (u16, u16),
        payload: &[u8],
    ) -> Result<(), Errno> {
        let (protocol, kind) = match to {
            IpAddr::V4(_) => (IpProtocol::Icmp, 0),
            IpAddr::V6(_) => (IpProtocol::Icmpv6, 129),
        };
        let upper = ECHO_HEADER + payload.len();
        let (frame, way, head, _) = self.packet_as(cx, from, to, protocol, upper)?;
        let at = head.len();
        let bytes = cx.pool.bytes_mut(&frame);
        bytes[at..at + 4].copy_from_slice(&[kind, 0, 0, 0]);
        bytes[at + 4..at + 6].copy_from_slice(&id.to_be_bytes());
        bytes[at + 6..at + 8].copy_from_slice(&sequence.to_be_bytes());
        bytes[at + ECHO_HEADER..].copy_from_slice(payload);
        fill_icmp_checksum(bytes, at);
        self.send_packet(cx, frame, way)
    }

    /// Whether an error is said in the name of whom the packet was for: while a diversion is open, that nobody listens on a port
    /// is what the destination says, and anything else what a router on the way to it does.
    pub(super) fn stands_for_all(&self, complaint: Complaint) -> bool {
        self.divert.is_some() && complaint == Complaint::PortUnreachable
    }

    /// Tells the sender of a packet that was taken before that its destination cannot be reached. `packet` is the packet
    /// from its IP header on, or as much of its front as an error quotes (1,232 bytes). `by` is the station outside that says
    /// so, if one does; its errors are not limited here once more.
    pub fn complain_of(
        &mut self,
        cx: &mut Cx<'_>,
        packet: &[u8],
        why: Unreachable,
        by: Option<IpAddr>,
    ) {
        let Some(len) = stated(packet) else { return };
        let Some(frame) = cx.pool.alloc(len.max(packet.len())) else {
            return;
        };
        let bytes = cx.pool.bytes_mut(&frame);
        let (front, rest) = bytes.split_at_mut(packet.len());
        front.copy_from_slice(packet);
        rest.fill(0);
        self.complain_by(cx, &frame, why.complaint(), None, by);
        cx.pool.free(frame);
    }

    /// A packet with this header and room behind it, the way that it goes, and whether it fits there.
    fn packet_as(
        &mut self,
        cx: &mut Cx<'_>,
        source: IpAddr,
        destination: IpAddr,
        protocol: IpProtocol,
        upper: usize,
    ) -> Result<(Frame, super::output::Way, Head, bool), Errno> {
        if source.is_ipv4() != destination.is_ipv4() {
            return Err(Errno::Invalid);
        }
        let way = self.route_to(destination, None)?;
        let mut head = Head {
            source,
            destination,
            protocol,
            hop_limit: 64,
            dont_fragment: false,
            id: self.next_ip_id(),
            tos: 0,
        };
        let len = head.len() + upper;
        if upper > 65_535 - if source.is_ipv4() { 20 } else { 0 } {
            return Err(Errno::MsgSize);
        }
        let fits = len <= self.mtu(cx, &way, destination);
        head.dont_fragment = fits;
        let frame = head.packet(cx.pool, upper).ok_or(Errno::NoBufs)?;
        Ok((frame, way, head, fits))
    }

    /// A packet for somebody else arrived: it comes back if it waits for nobody.
    pub(super) fn divert_input(
        &mut self,
        cx: &mut Cx<'_>,
        arrival: Arrival,
        frame: Frame,
        packet: &Packet,
    ) -> Option<Frame> {
        let asks = match self.asks(cx, arrival, &frame, packet) {
            Ok(Some(asks)) => asks,
            Ok(None) => return Some(frame),
            Err(reason) => {
                cx.drop(frame, arrival.iface, reason);
                return None;
            }
        };
        let divert = self.divert.as_mut()?;
        if asks.is_some_and(|ends| divert.opening.contains_key(&ends)) {
            cx.drop(frame, arrival.iface, DropReason::EgressPending);
            return None;
        }
        if divert.held.len() >= HELD {
            let full = match asks {
                Some(_) => DropReason::SynQueueFull,
                None => DropReason::SocketBufferFull,
            };
            cx.drop(frame, arrival.iface, full);
            return None;
        }
        let id = HeldId(divert.next);
        divert.next += 1;
        if let Some(ends) = asks {
            divert.opening.insert(ends, id);
        }
        divert.fresh.push_back(id);
        let held = Held {
            arrival,
            frame,
            opens: asks,
        };
        divert.held.insert(id, held);
        cx.wakes.push(divert.sock);
        None
    }

    /// Whether a packet waits for a ruling, and which connection it opens.
    fn asks(
        &self,
        cx: &Cx<'_>,
        arrival: Arrival,
        frame: &Frame,
        packet: &Packet,
    ) -> Result<Option<Option<Ends>>, DropReason> {
        let many = arrival.broadcast || packet.destination.is_multicast() || !arrival.unicast;
        if many || self.fib.is_local(packet.destination) {
            return Ok(None);
        }
        let bytes = cx.pool.bytes(frame);
        match (packet.protocol, packet.source.is_ipv4()) {
            (IpProtocol::Tcp, _) => {
                let Some(ends) = self.stream_opens(bytes, packet) else {
                    return Ok(None);
                };
                if !cx.pool.meta(frame).csum_partial && !transport_checksum_ok(bytes, packet) {
                    return Err(DropReason::ChecksumBad);
                }
                Ok(Some(Some(ends)))
            }
            (IpProtocol::Udp, _) => {
                udp_check(cx, arrival, frame, packet)?;
                Ok(Some(None))
            }
            (IpProtocol::Icmp, true) => {
                let message = &bytes[packet.transport..packet.len];
                let whole = message.len() >= ECHO_HEADER && message[0] == 8;
                if whole && sum(message) != 0xffff {
                    return Err(DropReason::ChecksumBad);
                }
                Ok(whole.then_some(None))
            }
            (IpProtocol::Icmpv6, false) => {
                let message = &bytes[packet.transport..packet.len];
                let whole = message.len() >= ECHO_HEADER && message[0] == 128;
                if whole && !transport_checksum_ok(bytes, packet) {
                    return Err(DropReason::ChecksumBad);
                }
                Ok(whole.then_some(None))
            }
            _ => Ok(None),
        }
    }

    /// The diversion's socket was closed.
    pub(super) fn divert_end(&mut self, cx: &mut Cx<'_>, sock: SockId) {
        if self
            .divert
            .as_ref()
            .is_none_or(|divert| divert.sock != sock)
        {
            return;
        }
        let divert = self.divert.take();
        for held in divert
            .into_iter()
            .flat_map(|divert| divert.held.into_values())
        {
            cx.drop(held.frame, held.arrival.iface, DropReason::NoRoute);
        }
        // What is known of segments that came in was known of a world that is gone.
        self.early = None;
    }
}

/// What a datagram or an echo request asks for.
fn asked<'a>(bytes: &'a [u8], packet: &Packet) -> Asked<'a> {
    let upper = &bytes[packet.transport..packet.len];
    let field = |at: usize| u16::from_be_bytes([upper[at], upper[at + 1]]);
    let (from, to) = (packet.source, packet.destination);
    let whole = &bytes[..packet.len];
    if packet.protocol != IpProtocol::Udp {
        return Asked::Echo {
            from,
            to,
            id: field(4),
            sequence: field(6),
            payload: &upper[ECHO_HEADER..],
            packet: whole,
        };
    }
    let end = usize::from(field(4)).clamp(UDP_HEADER, upper.len());
    Asked::Datagram {
        from: SocketAddr::new(from, field(0)),
        to: SocketAddr::new(to, field(2)),
        payload: &upper[UDP_HEADER..end],
        packet: whole,
    }
}

/// How long a packet says that it is.
fn stated(packet: &[u8]) -> Option<usize> {
    let half = |at: usize| {
        Some(usize::from(u16::from_be_bytes([
            *packet.get(at)?,
            *packet.get(at + 1)?,
        ])))
    };
    match packet.first()? >> 4 {
        4 => half(2),
        6 => Some(40 + half(4)?),
        _ => None,
    }
}
