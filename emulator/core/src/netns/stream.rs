//! Streams: the seam between the socket table and the TCP layer, which knows no routes and no ports.
//!
//! The TCP layer is made when the first stream or segment comes. Its packets are routed here; a stream that
//! becomes ready wakes the socket that holds it. An ephemeral port may serve several connections
//! at once if their peers differ, as in Linux.

use core::net::{IpAddr, SocketAddr};

use switch::verdict::{DropReason, What};
use switch::wire::Packet;
use switch::{Frame, IfId, Time};

use super::fib::RouteKind;
use super::hook::endpoints;
use super::socket::{PORT_FIRST, PORT_LAST, Ports, SockState, Socket, SocketInfo};
use super::tcp::{IcmpKind, PortUse, Tcp, TcpCx, TcpId};
use super::{Arrival, Cx, Errno, LO, Netns, first, only};
use crate::app::{Family, Ready, SockKind, SockOpt};
use crate::id::SockId;

/// The TCP layer of a namespace and who holds its streams.
#[derive(Debug)]
pub(super) struct Streams {
    seed: u64,
    pub(super) tcp: Option<Box<Tcp>>,
    out: Vec<Frame>,
    /// Those of them that go first, the next one last.
    going: Vec<Frame>,
    woken: Vec<TcpId>,
    owners: Owners,
}

/// Which socket holds a stream, by the stream's slot.
#[derive(Debug, Default)]
struct Owners(Vec<Option<(u32, SockId)>>);

impl Owners {
    fn get(&self, id: TcpId) -> Option<SockId> {
        let (generation, sock) = (*self.0.get(id.slot as usize)?)?;
        (generation == id.generation).then_some(sock)
    }

    fn insert(&mut self, id: TcpId, sock: SockId) {
        let slot = id.slot as usize;
        if slot >= self.0.len() {
            self.0.resize(slot + 1, None);
        }
        self.0[slot] = Some((id.generation, sock));
    }

    fn remove(&mut self, id: TcpId) {
        if self.get(id).is_some() {
            self.0[id.slot as usize] = None;
        }
    }
}

impl Streams {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            seed,
            tcp: None,
            out: Vec::new(),
            going: Vec::new(),
            woken: Vec::new(),
            owners: Owners::default(),
        }
    }

    /// The TCP layer, its checksums and super-segments as `offload` says, and where it puts what it sends
    /// and whom it wakes.
    #[inline(always)]
    pub(super) fn tcp(&mut self, offload: bool) -> (&mut Tcp, &mut Vec<Frame>, &mut Vec<TcpId>) {
        let tcp = match &mut self.tcp {
            Some(tcp) => tcp,
            none => none.insert(first_tcp(self.seed)),
        };
        if tcp.offload() != offload {
            tcp.set_partial_checksums(offload);
            tcp.set_offload(offload);
        }
        (tcp, &mut self.out, &mut self.woken)
    }

    /// TCP has something to send.
    pub(super) fn has_work(&self) -> bool {
        self.tcp.as_ref().is_some_and(|tcp| tcp.pending())
    }

    /// When TCP wants to run, the end of time if never.
    pub(super) fn alarm(&self) -> Time {
        self.tcp.as_ref().map_or(Time::MAX, |tcp| tcp.alarm())
    }
}

#[cold]
#[inline(never)]
fn first_tcp(seed: u64) -> Box<Tcp> {
    Box::new(Tcp::new(seed))
}

/// A peer as TCP knows it: without the interface of a link-local address.
const fn plain(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip(), addr.port())
}

/// What became of a segment that arrived.
fn tell_fate(cx: &mut Cx<'_>, arrival: Arrival, id: u64, taken: Result<(), (Frame, DropReason)>) {
    match taken {
        Ok(()) => cx.trace.event(cx.now, id, arrival.iface, What::Delivered),
        Err((frame, reason)) => cx.drop(frame, arrival.iface, reason),
    }
}

impl Netns {
    /// Runs `call` on the TCP layer, then routes what it sent and wakes whom it named.
    fn with_tcp<R>(
        &mut self,
        cx: &mut Cx<'_>,
        call: impl FnOnce(&mut Tcp, &mut TcpCx<'_>) -> R,
    ) -> R {
        let result = self.lend_tcp(cx, 1500, call);
        self.stream_tell(cx);
        result
    }

    /// Gives the TCP layer the segment in `frame`, then tells what became of it and what followed.
    fn give_tcp(
        &mut self,
        cx: &mut Cx<'_>,
        arrival: Arrival,
        frame: Frame,
        give: impl FnOnce(&mut Tcp, &mut TcpCx<'_>, Frame) -> Result<(), (Frame, DropReason)>,
    ) {
        let id = cx.pool.meta(&frame).id;
        let mtu = self.mtu_of(arrival.iface);
        let taken = self.lend_tcp(cx, mtu, |tcp, cx| give(tcp, cx, frame));
        tell_fate(cx, arrival, id, taken);
        self.stream_tell(cx);
    }

    /// Runs `call` on the TCP layer, for what came in by an interface with this MTU.
    fn lend_tcp<R>(
        &mut self,
        cx: &mut Cx<'_>,
        mtu: usize,
        call: impl FnOnce(&mut Tcp, &mut TcpCx<'_>) -> R,
    ) -> R {
        let (tcp, out, woken) = self.streams.tcp(self.offload);
        let mut inner = TcpCx {
            now: cx.now,
            mtu,
            pool: cx.pool,
            out,
            wakes: woken,
            spares: cx.spares,
        };
        call(tcp, &mut inner)
    }

    /// Routes what TCP sent and wakes whom it named.
    #[inline(always)]
    pub(super) fn stream_tell(&mut self, cx: &mut Cx<'_>) {
        if !(self.streams.out.is_empty() & self.streams.going.is_empty()) {
            self.stream_flush(cx);
        }
        let Streams { woken, owners, .. } = &mut self.streams;
        if !woken.is_empty() {
            for &id in woken.iter() {
                if let Some(sock) = owners.get(id) {
                    cx.wakes.push(sock);
                }
            }
            woken.clear();
        }
    }

    /// Out of the way of those who have sent nothing.
    #[inline(never)]
    fn stream_flush(&mut self, cx: &mut Cx<'_>) {
        loop {
            let Streams { out, going, .. } = &mut self.streams;
            let Some(frame) = only(out, going).or_else(|| first(out, going)) else {
                return;
            };
            self.stream_output(cx, frame);
            if self.streams.out.is_empty() & self.streams.going.is_empty() {
                return;
            }
        }
    }

    /// Routes a segment of ours.
    #[inline(always)]
    fn stream_output(&mut self, cx: &mut Cx<'_>, frame: Frame) {
        if let Some(frame) = self.early_output(cx, frame)
            && let Some(frame) = self.early_output_wide(cx, frame)
        {
            self.stream_route(cx, frame);
        }
    }

    /// Out of the way of those that go as the last one did.
    #[inline(never)]
    fn stream_route(&mut self, cx: &mut Cx<'_>, frame: Frame) {
        let bytes = cx.pool.bytes(&frame);
        let Ok(packet) = Packet::parse(bytes) else {
            cx.drop(frame, LO, DropReason::HeaderMalformed);
            return;
        };
        let dev = self.link_with(packet.source);
        match self.route_to(packet.destination, dev) {
            Ok(way) => {
                self.keep_course(cx, &packet, &way);
                // A segment that is lost is sent again; errors come back as ICMP.
                let _ = self.send_read(cx, frame, &packet, &way);
            }
            Err(errno) => {
                let (source, destination) = endpoints(bytes, &packet);
                cx.drop(frame, LO, DropReason::NoRoute);
                let Streams {
                    tcp, out, woken, ..
                } = &mut self.streams;
                if let Some(tcp) = tcp {
                    let mut inner = TcpCx {
                        now: cx.now,
                        mtu: 1500,
                        pool: cx.pool,
                        out,
                        wakes: woken,
                        spares: cx.spares,
                    };
                    tcp.route_failed(&mut inner, source, destination, errno);
                }
            }
        }
    }

    /// The interface that has a link-local address of ours.
    fn link_with(&self, addr: IpAddr) -> Option<IfId> {
        if !matches!(addr, IpAddr::V6(v6) if v6.is_unicast_link_local()) {
            return None;
        }
        self.ifaces
            .iter()
            .find(|iface| iface.has(addr))
            .map(|iface| iface.id)
    }

    /// A TCP segment for this namespace.
    pub(super) fn tcp_input(
        &mut self,
        cx: &mut Cx<'_>,
        arrival: Arrival,
        frame: Frame,
        packet: &Packet,
    ) {
        let to_many = packet.destination.is_multicast() || arrival.broadcast;
        if to_many || !arrival.unicast {
            cx.drop(frame, arrival.iface, DropReason::NotForUs);
            return;
        }
        self.give_tcp(cx, arrival, frame, |tcp, cx, frame| {
            tcp.input(cx, frame, packet)
        });
    }

    /// A SYN that somebody has let in, for whatever address.
    pub(super) fn tcp_admit(
        &mut self,
        cx: &mut Cx<'_>,
        arrival: Arrival,
        frame: Frame,
        packet: &Packet,
    ) {
        self.give_tcp(cx, arrival, frame, |tcp, cx, frame| {
            tcp.admit(cx, frame, packet)
        });
    }

    fn mtu_of(&self, iface: IfId) -> usize {
        let iface = self.ifaces.get(iface);
        iface.map_or(1500, |iface| iface.mtu as usize)
    }

    /// An error from the path about a segment of ours.
    pub(super) fn tcp_error(&mut self, cx: &mut Cx<'_>, flow: Ports, seq: u32, kind: IcmpKind) {
        let (local, remote) = (flow.local, plain(flow.remote));
        self.with_tcp(cx, |tcp, cx| tcp.icmp_error(cx, local, remote, seq, kind));
    }

    pub(super) fn stream_poll(&mut self, cx: &mut Cx<'_>) -> bool {
        self.streams.tcp.is_some() && self.with_tcp(cx, Tcp::poll)
    }

    /// Gives back what TCP holds when its sockets are closed, before the namespace goes.
    pub(super) fn stream_clear(&mut self, cx: &mut Cx<'_>) {
        if self.streams.tcp.is_some() {
            self.with_tcp(cx, |tcp, cx| tcp.clear(cx));
        }
    }

    pub(super) fn stream_fire(&mut self, cx: &mut Cx<'_>) {
        if self.streams.tcp.is_some() && self.streams.alarm() <= cx.now {
            self.with_tcp(cx, Tcp::fire);
        }
    }

    /// Whether TCP itself leaves `addr` to this socket. Listeners are in the socket table.
    pub(super) fn stream_port_free(&self, socket: &Socket, addr: SocketAddr) -> bool {
        let Some(tcp) = self
            .streams
            .tcp
            .as_ref()
            .filter(|_| socket.kind == SockKind::Tcp)
        else {
            return true;
        };
        match tcp.in_use(addr.ip(), addr.port()) {
            PortUse::Free | PortUse::Listening => true,
            PortUse::Connected | PortUse::TimeWait => socket.reuse,
        }
    }

    pub(super) fn stream_option(
        &mut self,
        cx: &mut Cx<'_>,
        id: Option<TcpId>,
        option: SockOpt,
    ) -> Result<(), Errno> {
        match id {
            Some(id) => self.with_tcp(cx, |tcp, cx| tcp.set_option(cx.now, id, option)),
            None => Ok(()),
        }
    }

    pub(super) fn stream_listen(
        &mut self,
        cx: &mut Cx<'_>,
        sock: SockId,
        backlog: usize,
    ) -> Result<(), Errno> {
        let socket = self.sockets.get(sock)?;
        if socket.listening {
            return Ok(());
        }
        if socket.tcp.is_some() {
            return Err(Errno::Invalid);
        }
        let local = self.autobind(sock)?;
        let socket = self.sockets.get(sock)?;
        let taken = self
            .sockets
            .with_port(SockKind::Tcp, local.port())
            .filter_map(|(slot, other)| Some((slot, other, other.local?)))
            .any(|(slot, other, name)| {
                slot != sock.slot && other.listening && name.ip() == local.ip()
            });
        if taken {
            return Err(Errno::AddrInUse);
        }
        let options = socket.tcp_options;
        let id = self.with_tcp(cx, |tcp, _| tcp.listen(plain(local), backlog, &options))?;
        let socket = self.sockets.get_mut(sock)?;
        socket.tcp = Some(id);
        socket.listening = true;
        self.streams.owners.insert(id, sock);
        self.tell_watches(cx);
        Ok(())
    }

    /// Listens for every address and port.
    pub(super) fn stream_listen_any(&mut self, sock: SockId, backlog: usize) -> Result<(), Errno> {
        let options = self.sockets.get(sock)?.tcp_options;
        let (tcp, ..) = self.streams.tcp(self.offload);
        let id = tcp.listen_any(backlog, &options)?;
        let socket = self.sockets.get_mut(sock)?;
        socket.tcp = Some(id);
        socket.listening = true;
        self.streams.owners.insert(id, sock);
        Ok(())
    }

    /// Who wants to be connected to whom, if the packet is a SYN that opens a new connection.
    pub(super) fn stream_opens(
        &self,
        bytes: &[u8],
        packet: &Packet,
    ) -> Option<(SocketAddr, SocketAddr)> {
        self.streams.tcp.as_ref()?.opens(bytes, packet)
    }

    /// Refuses a segment with a reset.
    pub(super) fn stream_refuse(&mut self, cx: &mut Cx<'_>, frame: &Frame, packet: &Packet) {
        self.with_tcp(cx, |tcp, cx| tcp.refuse(cx, frame, packet));
    }

    /// Whether a SYN to this address and port finds a listener.
    #[must_use]
    pub fn listens(&self, local: SocketAddr) -> bool {
        let tcp = self.streams.tcp.as_ref();
        tcp.is_some_and(|tcp| tcp.listens(plain(local)))
    }

    pub(super) fn stream_accept(
        &mut self,
        cx: &mut Cx<'_>,
        sock: SockId,
    ) -> Result<(SockId, SocketAddr), Errno> {
        let socket = self.sockets.get(sock)?;
        let listener = socket
            .tcp
            .filter(|_| socket.listening)
            .ok_or(Errno::Invalid)?;
        // Nothing follows from it.
        let (tcp, ..) = self.streams.tcp(self.offload);
        let (id, remote) = tcp.accept(listener)?;
        let ends = Ports {
            local: tcp.local_addr(id).ok_or(Errno::ConnReset)?,
            remote,
        };
        match self.adopt(sock, id, ends) {
            Ok(new) => {
                self.streams.owners.insert(id, new);
                Ok((new, remote))
            }
            Err(errno) => {
                self.with_tcp(cx, |tcp, cx| tcp.abort(cx, id));
                Err(errno)
            }
        }
    }

    pub(super) fn stream_connect(
        &mut self,
        cx: &mut Cx<'_>,
        sock: SockId,
        addr: SocketAddr,
    ) -> Result<(), Errno> {
        let socket = self.sockets.get(sock)?;
        if socket.tcp.is_some() {
            let ready = self.stream_ready(socket);
            let opening = !ready.writable && !ready.hup && !socket.listening;
            return Err(if opening {
                Errno::Already
            } else {
                Errno::IsConn
            });
        }
        self.check_scope(sock, addr)?;
        // Asked once: nothing to keep with the socket.
        let (to, way, source) = self.prepare_anew(sock, addr)?;
        if matches!(way.kind, RouteKind::Broadcast | RouteKind::Multicast) {
            return Err(Errno::NetUnreach);
        }
        let mtu = self.mtu(cx, &way, to.ip());
        let socket = self.sockets.get(sock)?;
        let (options, bound) = (socket.tcp_options, socket.local);
        let span = u32::from(PORT_LAST - PORT_FIRST) + 1;
        let (start, tries) = match bound {
            Some(_) => (0, 1),
            None => (self.rng.below(span), span),
        };
        for i in 0..tries {
            let port = match bound {
                Some(bound) => bound.port(),
                None => PORT_FIRST + ((start + i) % span) as u16,
            };
            let local = SocketAddr::new(source, port);
            if self.streams.tcp(self.offload).0.is_taken(local, plain(to)) {
                continue;
            }
            if bound.is_none() && !self.connect_port_free(local, to) {
                continue;
            }
            let made = self.with_tcp(cx, |tcp, cx| {
                tcp.connect_free(cx, (local, plain(to)), mtu, &options)
            });
            match made {
                Ok(id) => {
                    let socket = self.rename(sock, local)?;
                    socket.tcp = Some(id);
                    socket.peer = Some(to);
                    self.streams.owners.insert(id, sock);
                    return Err(Errno::InProgress);
                }
                Err(errno) => return Err(errno),
            }
        }
        Err(Errno::AddrNotAvail)
    }

    /// Whether a connection to `to` may come from `local`: nobody bound or listens there, and no other
    /// connection has both ends.
    fn connect_port_free(&self, local: SocketAddr, to: SocketAddr) -> bool {
        !self
            .sockets
            .with_port(SockKind::Tcp, local.port())
            .any(|(_, other)| other.peer.is_none() || other.peer == Some(to))
    }

    #[inline]
    fn stream_of(&self, sock: SockId, errno: Errno) -> Result<TcpId, Errno> {
        let socket = self.sockets.get(sock)?;
        socket.tcp.filter(|_| !socket.listening).ok_or(errno)
    }

    /// Takes data; what follows from it is sent by [`Netns::poll`].
    #[inline]
    pub(super) fn stream_send(
        &mut self,
        cx: &mut Cx<'_>,
        sock: SockId,
        bytes: &[u8],
    ) -> Result<usize, Errno> {
        let id = self.stream_of(sock, Errno::Pipe)?;
        self.streams
            .tcp(self.offload)
            .0
            .send((cx.pool, cx.now), id, bytes)
    }

    pub(super) fn stream_send_room(&mut self, sock: SockId) -> Result<usize, Errno> {
        let id = self.stream_of(sock, Errno::Pipe)?;
        self.streams.tcp(self.offload).0.send_room(id)
    }

    /// Gives data; what follows from it is sent by [`Netns::poll`].
    #[inline]
    pub(super) fn stream_recv(
        &mut self,
        cx: &mut Cx<'_>,
        sock: SockId,
        buffer: &mut [u8],
    ) -> Result<usize, Errno> {
        let id = self.stream_of(sock, Errno::NotConn)?;
        self.streams.tcp(self.offload).0.recv(cx.pool, id, buffer)
    }

    /// The same without a copy.
    pub(super) fn stream_recv_with(
        &mut self,
        cx: &mut Cx<'_>,
        sock: SockId,
        look: &mut dyn FnMut(&[u8]) -> usize,
    ) -> Result<usize, Errno> {
        let id = self.stream_of(sock, Errno::NotConn)?;
        let (tcp, ..) = self.streams.tcp(self.offload);
        tcp.recv_with(cx.pool, id, look)
    }

    pub(super) fn stream_shutdown(&mut self, cx: &mut Cx<'_>, sock: SockId) -> Result<(), Errno> {
        let id = self.stream_of(sock, Errno::NotConn)?;
        self.with_tcp(cx, |tcp, cx| tcp.shutdown_write(cx, id))
    }

    pub(super) fn stream_close(&mut self, cx: &mut Cx<'_>, id: TcpId) {
        self.streams.owners.remove(id);
        self.with_tcp(cx, |tcp, cx| tcp.close(cx, id));
    }

    pub(super) fn stream_ready(&self, socket: &Socket) -> Ready {
        match (&self.streams.tcp, socket.tcp) {
            (Some(tcp), Some(id)) => tcp.ready(id),
            _ => Ready {
                writable: true,
                hup: true,
                ..Ready::default()
            },
        }
    }

    pub(super) fn stream_take_error(&mut self, id: TcpId) -> Option<Errno> {
        self.streams.tcp.as_mut()?.take_error(id)
    }

    pub(super) fn stream_peer(&self, id: TcpId) -> Option<SocketAddr> {
        self.streams.tcp.as_ref()?.peer_addr(id)
    }

    /// The streams as a listing shows them, without those of the sandbox's own services.
    pub(super) fn stream_list(&self) -> Vec<SocketInfo> {
        let Some(tcp) = &self.streams.tcp else {
            return Vec::new();
        };
        let hidden: Vec<TcpId> = self.internal_streams().collect();
        let services: Vec<SocketAddr> =
            hidden.iter().filter_map(|&id| tcp.local_addr(id)).collect();
        tcp.sockets()
            .into_iter()
            .filter(|stream| {
                let held = stream.id.is_some_and(|id| hidden.contains(&id));
                // What a service left behind has its name still.
                !held && (stream.id.is_some() || !services.contains(&stream.local))
            })
            .map(|stream| {
                let socket = stream
                    .id
                    .and_then(|id| self.streams.owners.get(id))
                    .and_then(|sock| self.sockets.get(sock).ok());
                SocketInfo {
                    kind: SockKind::Tcp,
                    family: if stream.local.is_ipv4() {
                        Family::V4
                    } else {
                        Family::V6
                    },
                    v6_only: socket.is_some_and(|socket| socket.v6_only),
                    state: SockState::Tcp(stream.state),
                    local: stream.local,
                    peer: stream.remote,
                    recv_queue: stream.recv_queue,
                    send_queue: stream.send_queue,
                }
            })
            .collect()
    }
}
