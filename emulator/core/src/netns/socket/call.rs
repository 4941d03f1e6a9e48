//! The system calls on sockets. None of them waits.

use core::net::{IpAddr, SocketAddr};

use super::{Ports, SockState, Socket, SocketInfo};
use crate::app::{Family, PathError, Ready, Received, SockKind, SockOpt};
use crate::id::SockId;
use crate::netns::tcp::TcpId;
use crate::netns::{Cx, Errno, Netns};

/// `net.core.rmem_max`, before doubling.
const RECV_MAX: usize = 212_992;
/// Groups that one socket may join (`igmp_max_memberships`).
const GROUPS: usize = 20;

impl Netns {
    /// `socket(2)`.
    ///
    /// # Errors
    /// [`Errno::NoBufs`] when the namespace has `SOCKETS`.
    pub fn socket(&mut self, kind: SockKind, family: Family) -> Result<SockId, Errno> {
        let (sock, _) = self.sockets.insert(self.id, kind, family)?;
        Ok(sock)
    }

    /// Marks a socket as a service of the sandbox, before it is bound: it is not listed, and its port
    /// stays free for wildcard binds of others.
    ///
    /// # Errors
    /// [`Errno::BadFd`].
    pub fn set_internal(&mut self, sock: SockId) -> Result<(), Errno> {
        self.sockets.get_mut(sock)?.internal = true;
        Ok(())
    }

    /// `setsockopt(2)`.
    ///
    /// # Errors
    /// [`Errno::BadFd`]; [`Errno::Invalid`] for values that make no sense; [`Errno::NoProtoOpt`] for options of
    /// other kinds; for [`SockOpt::Join`] also [`Errno::NoDev`] and [`Errno::AddrInUse`].
    pub fn set(&mut self, cx: &mut Cx<'_>, sock: SockId, option: SockOpt) -> Result<(), Errno> {
        if let SockOpt::Join(group) = option {
            return self.join(sock, group);
        }
        let socket = self.sockets.get_mut(sock)?;
        socket.prepared = None;
        match option {
            SockOpt::Broadcast(on) => socket.broadcast = on,
            SockOpt::ReuseAddr(on) => socket.reuse = on,
            SockOpt::V6Only(_) if socket.local.is_some() => return Err(Errno::Invalid),
            SockOpt::V6Only(on) => socket.v6_only = on,
            SockOpt::RecvErr(on) => {
                socket.recv_err = on;
                if !on {
                    socket.errors.clear();
                }
            }
            SockOpt::DontFragment(on) => socket.dont_fragment = on,
            SockOpt::HopLimit(0) => return Err(Errno::Invalid),
            SockOpt::HopLimit(hops) => socket.hop_limit = Some(hops),
            SockOpt::RecvBuffer(bytes) => {
                socket.recv_limit = (bytes.min(RECV_MAX) * 2).max(2304);
            }
            SockOpt::KeepAlive(_)
            | SockOpt::NoDelay(_)
            | SockOpt::LingerZero(_)
            | SockOpt::Deaf(_)
            | SockOpt::SendBuffer(_)
            | SockOpt::Join(_) => {}
        }
        if socket.kind == SockKind::Tcp {
            socket.tcp_options.set(option)?;
            let id = socket.tcp;
            return self.stream_option(cx, id, option);
        }
        match option {
            SockOpt::NoDelay(_) => Err(Errno::NoProtoOpt),
            _ => Ok(()),
        }
    }

    fn join(&mut self, sock: SockId, group: IpAddr) -> Result<(), Errno> {
        let socket = self.sockets.get(sock)?;
        if socket.kind == SockKind::Tcp {
            return Err(Errno::NoProtoOpt);
        }
        if !group.is_multicast() {
            return Err(Errno::Invalid);
        }
        let dev = self.route_to(group, None).map_err(|_| Errno::NoDev)?.dev;
        let iface = self.ifaces.get_mut(dev).ok_or(Errno::NoDev)?;
        let socket = self.sockets.get_mut(sock)?;
        if socket.groups.contains(&(dev, group)) {
            return Err(Errno::AddrInUse);
        }
        if socket.groups.len() >= GROUPS {
            return Err(Errno::NoBufs);
        }
        socket.groups.push((dev, group));
        iface.join(group);
        Ok(())
    }

    /// `listen(2)`.
    ///
    /// # Errors
    /// [`Errno::NotSupported`] for other kinds than streams; [`Errno::AddrInUse`].
    pub fn listen(&mut self, cx: &mut Cx<'_>, sock: SockId, backlog: usize) -> Result<(), Errno> {
        match self.sockets.get(sock)?.kind {
            SockKind::Tcp => self.stream_listen(cx, sock, backlog),
            SockKind::Ping | SockKind::Udp => Err(Errno::NotSupported),
        }
    }

    /// `accept(2)`.
    ///
    /// # Errors
    /// [`Errno::WouldBlock`]; [`Errno::Invalid`] if it does not listen.
    pub fn accept(&mut self, cx: &mut Cx<'_>, sock: SockId) -> Result<(SockId, SocketAddr), Errno> {
        match self.sockets.get(sock)?.kind {
            SockKind::Tcp => self.stream_accept(cx, sock),
            SockKind::Ping | SockKind::Udp => Err(Errno::NotSupported),
        }
    }

    /// The slot for an accepted connection.
    pub(in crate::netns) fn adopt(
        &mut self,
        listener: SockId,
        id: TcpId,
        ends: Ports,
    ) -> Result<SockId, Errno> {
        let parent = self.sockets.get(listener)?;
        let (internal, reuse, v6_only) = (parent.internal, parent.reuse, parent.v6_only);
        let (family, options) = (parent.family, parent.tcp_options);
        let (sock, socket) = (self.sockets).insert(self.id, SockKind::Tcp, family)?;
        (socket.internal, socket.reuse, socket.v6_only) = (internal, reuse, v6_only);
        socket.tcp_options = options;
        socket.tcp = Some(id);
        // The name is the connection's: the port belongs to the listener.
        (socket.local, socket.peer) = (Some(ends.local), Some(ends.remote));
        Ok(sock)
    }

    /// `connect(2)`. A stream answers [`Errno::InProgress`].
    ///
    /// # Errors
    /// [`Errno::NetUnreach`], [`Errno::AddrNotAvail`], [`Errno::Access`] for a broadcast without the
    /// option, [`Errno::Invalid`], and for streams [`Errno::IsConn`] and [`Errno::Already`].
    pub fn connect(
        &mut self,
        cx: &mut Cx<'_>,
        sock: SockId,
        addr: SocketAddr,
    ) -> Result<(), Errno> {
        if self.sockets.get(sock)?.kind == SockKind::Tcp {
            return self.stream_connect(cx, sock, addr);
        }
        self.check_scope(sock, addr)?;
        let (to, _, source) = self.prepare(sock, addr)?;
        let mut local = self.autobind(sock)?;
        if local.ip().is_unspecified() {
            local = SocketAddr::new(source, local.port());
            self.rename(sock, local)?;
        }
        let socket = self.sockets.get_mut(sock)?;
        socket.peer = Some(to);
        socket.error = None;
        Ok(())
    }

    /// `send(2)`: bytes taken.
    ///
    /// # Errors
    /// As [`Netns::send_to`]; [`Errno::DestAddrReq`] without a peer.
    pub fn send(&mut self, cx: &mut Cx<'_>, sock: SockId, bytes: &[u8]) -> Result<usize, Errno> {
        let socket = self.sockets.get(sock)?;
        match (socket.kind, socket.peer) {
            (SockKind::Tcp, _) => self.stream_send(cx, sock, bytes),
            (SockKind::Udp, Some(peer)) => self.udp_send(cx, sock, bytes, peer, None),
            (SockKind::Ping, Some(mut peer)) => {
                let socket = self.sockets.get_mut(sock)?;
                peer.set_port(socket.sequence);
                socket.sequence = socket.sequence.wrapping_add(1);
                self.ping_send(cx, sock, bytes, peer)
            }
            (SockKind::Ping | SockKind::Udp, None) => Err(Errno::DestAddrReq),
        }
    }

    /// `sendto(2)`: bytes taken. On a ping socket the port is the sequence number.
    ///
    /// # Errors
    /// A pending error of the socket first; then [`Errno::NetUnreach`], [`Errno::Access`] for a broadcast
    /// without the option, [`Errno::MsgSize`], [`Errno::Perm`] if a filter drops it, [`Errno::NoBufs`].
    pub fn send_to(
        &mut self,
        cx: &mut Cx<'_>,
        sock: SockId,
        bytes: &[u8],
        to: SocketAddr,
    ) -> Result<usize, Errno> {
        let socket = self.sockets.get(sock)?;
        match socket.kind {
            SockKind::Tcp if socket.tcp.is_none() => Err(Errno::Pipe),
            SockKind::Tcp => self.stream_send(cx, sock, bytes),
            SockKind::Udp if to.port() == 0 => Err(Errno::Invalid),
            SockKind::Udp => self.udp_send(cx, sock, bytes, to, None),
            SockKind::Ping => self.ping_send(cx, sock, bytes, to),
        }
    }

    /// `sendmsg(2)` with `IP_PKTINFO`: from this address of ours.
    ///
    /// # Errors
    /// Those of [`Netns::send_to`]; [`Errno::Invalid`] if the address is not ours or of the other family,
    /// [`Errno::NotSupported`] on others than datagram sockets.
    pub fn send_from(
        &mut self,
        cx: &mut Cx<'_>,
        sock: SockId,
        bytes: &[u8],
        to: SocketAddr,
        from: IpAddr,
    ) -> Result<usize, Errno> {
        if self.sockets.get(sock)?.kind != SockKind::Udp {
            return Err(Errno::NotSupported);
        }
        if to.port() == 0 || from.is_ipv4() != to.is_ipv4() || !self.is_local(from) {
            return Err(Errno::Invalid);
        }
        self.udp_send(cx, sock, bytes, to, Some(from))
    }

    /// `recv(2)`: bytes given. What does not fit of a datagram is lost.
    ///
    /// # Errors
    /// [`Errno::WouldBlock`], or the pending error of the socket.
    pub fn recv(
        &mut self,
        cx: &mut Cx<'_>,
        sock: SockId,
        buffer: &mut [u8],
    ) -> Result<usize, Errno> {
        if self.sockets.get(sock)?.kind == SockKind::Tcp {
            return self.stream_recv(cx, sock, buffer);
        }
        self.recv_from(cx, sock, buffer)
            .map(|received| received.len)
    }

    /// Bytes that a stream takes now; 0: readiness is told when there is room again.
    ///
    /// # Errors
    /// [`Errno::Pipe`] if it takes none any more; [`Errno::NotSupported`] on others than streams.
    pub fn send_room(&mut self, sock: SockId) -> Result<usize, Errno> {
        match self.sockets.get(sock)?.kind {
            SockKind::Tcp => self.stream_send_room(sock),
            SockKind::Ping | SockKind::Udp => Err(Errno::NotSupported),
        }
    }

    /// Reads a stream where its bytes lie: shows `look` those that wait, or the first of them, and takes as many
    /// as it says.
    ///
    /// # Errors
    /// [`Errno::WouldBlock`], or the pending error of the socket; [`Errno::NotSupported`] on others than streams.
    pub fn recv_with(
        &mut self,
        cx: &mut Cx<'_>,
        sock: SockId,
        look: &mut dyn FnMut(&[u8]) -> usize,
    ) -> Result<usize, Errno> {
        match self.sockets.get(sock)?.kind {
            SockKind::Tcp => self.stream_recv_with(cx, sock, look),
            SockKind::Ping | SockKind::Udp => Err(Errno::NotSupported),
        }
    }

    /// `recvmsg(2)` on a datagram or ping socket. What does not fit is lost.
    ///
    /// # Errors
    /// [`Errno::WouldBlock`], or the pending error of the socket; [`Errno::NotSupported`] on a stream.
    pub fn recv_from(
        &mut self,
        cx: &mut Cx<'_>,
        sock: SockId,
        buffer: &mut [u8],
    ) -> Result<Received, Errno> {
        let socket = self.sockets.get_mut(sock)?;
        if socket.kind == SockKind::Tcp {
            return Err(Errno::NotSupported);
        }
        if let Some(error) = socket.error.take() {
            return Err(error);
        }
        let datagram = socket.queue.pop_front().ok_or(Errno::WouldBlock)?;
        socket.weight -= datagram.weight;
        let bytes = cx.pool.bytes(&datagram.frame);
        let len = bytes.len().min(buffer.len());
        buffer[..len].copy_from_slice(&bytes[..len]);
        cx.pool.free(datagram.frame);
        Ok(Received {
            len,
            from: datagram.from,
            to: datagram.to,
            hop_limit: datagram.hop_limit,
        })
    }

    /// `recvmsg(MSG_ERRQUEUE)`: the oldest error with its sender. The pending error becomes the
    /// next one's.
    pub fn recv_error(&mut self, sock: SockId) -> Option<PathError> {
        let socket = self.sockets.get_mut(sock).ok()?;
        let error = socket.errors.pop_front()?;
        socket.error = socket.errors.front().map(|next| next.errno);
        Some(error)
    }

    /// `shutdown(SHUT_WR)`.
    ///
    /// # Errors
    /// [`Errno::NotConn`].
    pub fn shutdown(&mut self, cx: &mut Cx<'_>, sock: SockId) -> Result<(), Errno> {
        let socket = self.sockets.get_mut(sock)?;
        if socket.kind == SockKind::Tcp {
            return self.stream_shutdown(cx, sock);
        }
        if socket.peer.is_none() {
            return Err(Errno::NotConn);
        }
        socket.shut = true;
        Ok(())
    }

    /// `close(2)`. A socket that is closed already stays so.
    pub fn close(&mut self, cx: &mut Cx<'_>, sock: SockId) {
        let Some(mut socket) = self.sockets.remove(sock) else {
            return;
        };
        if socket.kind != SockKind::Tcp {
            self.empty(cx, &mut socket);
        }
        let (stream, listened) = (socket.tcp, socket.listening);
        self.sockets.keep(socket);
        if let Some(id) = stream {
            self.stream_close(cx, id);
        }
        self.divert_end(cx, sock);
        if listened {
            self.tell_watches(cx);
        }
        if !self.watches.is_empty() {
            self.watches.retain(|watch| *watch != sock);
        }
    }

    /// Leaves the groups of a datagram socket and gives back what waits in it.
    fn empty(&mut self, cx: &mut Cx<'_>, socket: &mut Socket) {
        for (dev, group) in core::mem::take(&mut socket.groups) {
            if let Some(iface) = self.ifaces.get_mut(dev) {
                iface.leave(group);
            }
        }
        for datagram in core::mem::take(&mut socket.queue) {
            cx.pool.free(datagram.frame);
        }
    }

    /// A socket that becomes ready whenever a stream socket of the namespace begins or ceases to listen, and when
    /// the namespace goes: what a netlink socket would tell. [`Netns::listens`] says how it is then.
    ///
    /// # Errors
    /// As [`Netns::socket`].
    pub fn listen_watch(&mut self) -> Result<SockId, Errno> {
        let sock = self.socket(SockKind::Udp, Family::V4)?;
        self.set_internal(sock)?;
        self.watches.push(sock);
        Ok(sock)
    }

    pub(in crate::netns) fn tell_watches(&self, cx: &mut Cx<'_>) {
        cx.wakes.extend_from_slice(&self.watches);
    }

    /// Closes everything, before the namespace goes.
    pub(in crate::netns) fn close_all(&mut self, cx: &mut Cx<'_>) {
        self.tell_watches(cx);
        self.watches.clear();
        for slot in 0..self.sockets.slots.len() as u32 {
            let id = self.sockets.id(self.id, slot);
            self.close(cx, id);
        }
    }

    /// `poll(2)`. A closed socket is ready for nothing.
    #[must_use]
    pub fn ready(&self, sock: SockId) -> Ready {
        let Ok(socket) = self.sockets.get(sock) else {
            return Ready::default();
        };
        if socket.kind == SockKind::Tcp {
            return self.stream_ready(socket);
        }
        let error = socket.error.is_some() || !socket.errors.is_empty();
        Ready {
            readable: error || !socket.queue.is_empty(),
            writable: true,
            hup: false,
            error,
        }
    }

    /// `getsockopt(SO_ERROR)`: the pending error, which is then cleared.
    pub fn take_error(&mut self, sock: SockId) -> Option<Errno> {
        let socket = self.sockets.get_mut(sock).ok()?;
        match socket.tcp {
            Some(id) => self.stream_take_error(id),
            None => socket.take_error(),
        }
    }

    /// `getsockname(2)`; `None` before it has a name.
    #[must_use]
    pub fn local_addr(&self, sock: SockId) -> Option<SocketAddr> {
        self.sockets.get(sock).ok()?.local
    }

    /// `getpeername(2)`.
    #[must_use]
    pub fn peer_addr(&self, sock: SockId) -> Option<SocketAddr> {
        let socket = self.sockets.get(sock).ok()?;
        match socket.tcp {
            Some(id) if !socket.listening => self.stream_peer(id),
            _ => socket.peer,
        }
    }

    /// The sockets that have a name, as `ss` and `netstat` list them: those of the sandbox's own services
    /// left out. Streams come from TCP, so that connections without a socket are among them.
    #[must_use]
    pub fn sockets(&self) -> Vec<SocketInfo> {
        let mut list: Vec<SocketInfo> = self
            .sockets
            .iter()
            .filter(|socket| socket.kind != SockKind::Tcp && !socket.internal)
            .filter_map(|socket| {
                Some(SocketInfo {
                    kind: socket.kind,
                    family: socket.family,
                    v6_only: socket.v6_only,
                    state: if socket.peer.is_some() {
                        SockState::Connected
                    } else {
                        SockState::Unconnected
                    },
                    local: socket.local?,
                    peer: socket.peer,
                    recv_queue: socket.weight,
                    send_queue: 0,
                })
            })
            .collect();
        list.extend(self.stream_list());
        list
    }

    /// The TCP connections that belong to internal sockets.
    pub(in crate::netns) fn internal_streams(&self) -> impl Iterator<Item = TcpId> + '_ {
        self.sockets
            .iter()
            .filter(|socket| socket.internal)
            .filter_map(|socket| socket.tcp)
    }
}
