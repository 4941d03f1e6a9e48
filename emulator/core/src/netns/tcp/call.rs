//! The system calls of TCP sockets. None of them waits.

use core::net::SocketAddr;

use switch::{Pool, Time};

use super::conn::{Conn, Origin, Owner, setup};
use super::demux::Tuple;
use super::emit::initial_sequence;
use super::engine::{TcpEngine, TcpState};
use super::listen::Listener;
use super::machine::Machine;
use super::paths::Shared;
use super::run::guarded;
use super::slots::Tenant;
use super::{MAX_CONNECTIONS, Tcp, TcpCx, TcpId, TcpOptions};
use crate::app::{Ready, SockOpt};
use crate::netns::Errno;

impl Tcp {
    /// `listen(2)` on an address that the caller has found free ([`Tcp::in_use`]). A specific address
    /// may be listened on beside its wildcard and goes first. The backlog is cut to 4,096.
    ///
    /// # Errors
    /// [`Errno::AddrInUse`] for the same address, or the wildcards of both families;
    /// [`Errno::Invalid`] for port 0.
    pub fn listen(
        &mut self,
        local: SocketAddr,
        backlog: usize,
        options: &TcpOptions,
    ) -> Result<TcpId, Errno> {
        if local.port() == 0 {
            return Err(Errno::Invalid);
        }
        if self.listeners.collides(local, options.v6_only) {
            return Err(Errno::AddrInUse);
        }
        let listener = Listener::new(local, backlog, *options);
        let id = self.slots.insert(Tenant::Listener(Box::new(listener)));
        self.listeners.insert(local, options.v6_only, id);
        Ok(id)
    }

    /// `connect(2)` from `local` over a path of `mtu` bytes: sends the SYN. When the socket becomes
    /// writable, [`Tcp::take_error`] says how it went.
    ///
    /// # Errors
    /// [`Errno::Invalid`] for addresses that are not of one family or not whole;
    /// [`Errno::NetUnreach`] for a group; [`Errno::AddrNotAvail`] if the same connection exists or is
    /// in TIME_WAIT; [`Errno::NoBufs`] for more than [`MAX_CONNECTIONS`].
    pub fn connect(
        &mut self,
        cx: &mut TcpCx<'_>,
        local: SocketAddr,
        remote: SocketAddr,
        mtu: usize,
        options: &TcpOptions,
    ) -> Result<TcpId, Errno> {
        if self.is_taken(local, remote) {
            return Err(Errno::AddrNotAvail);
        }
        self.connect_free(cx, (local, remote), mtu, options)
    }

    /// The same between ends that [are free](Self::is_taken).
    ///
    /// # Errors
    /// As [`Self::connect`], but for [`Errno::AddrNotAvail`].
    #[inline]
    pub(in crate::netns) fn connect_free(
        &mut self,
        cx: &mut TcpCx<'_>,
        (local, remote): (SocketAddr, SocketAddr),
        mtu: usize,
        options: &TcpOptions,
    ) -> Result<TcpId, Errno> {
        self.now = cx.now;
        let whole = |address: SocketAddr| address.port() != 0 && !address.ip().is_unspecified();
        if !whole(local) || !whole(remote) || local.is_ipv4() != remote.is_ipv4() {
            return Err(Errno::Invalid);
        }
        if remote.ip().is_multicast() {
            return Err(Errno::NetUnreach);
        }
        debug_assert!(!self.is_taken(local, remote));
        if self.demux.len() >= MAX_CONNECTIONS {
            return Err(Errno::NoBufs);
        }
        let path = self.path(local, mtu, options);
        let made_with = setup(options, mtu);
        let isn = initial_sequence(cx.now, self.secret, local, remote);
        let engine = if self.may_be_brief(&made_with) {
            Machine::Brief(cx.spares.brief(&made_with, local, remote, isn))
        } else {
            let mut engine = cx.spares.engine(&made_with);
            if !engine.connect(&mut self.shared, path, local, remote) {
                return Err(Errno::Invalid);
            }
            Machine::Engine(engine)
        };
        let origin = Origin {
            local,
            remote,
            path,
            mtu,
            owner: Owner::App,
            options,
        };
        let conn = cx.spares.conn(cx.now, isn, engine, &origin);
        let id = self.slots.insert(Tenant::Conn(conn));
        (self.demux).insert(&self.slots, &Tuple::new(local, remote), id.slot);
        self.expect_plain(id.slot);
        self.run(cx, id.slot);
        Ok(id)
    }

    /// There is a connection between these ends, or what is left of one.
    #[inline]
    pub(in crate::netns) fn is_taken(&self, local: SocketAddr, remote: SocketAddr) -> bool {
        let tuple = Tuple::new(local, remote);
        self.waits.contains(&tuple) || self.demux.get(&self.slots, &tuple).is_some()
    }

    /// `accept(2)`: the connection and its other end.
    ///
    /// # Errors
    /// [`Errno::WouldBlock`] if there is none; [`Errno::Invalid`] if the socket does not listen;
    /// [`Errno::BadFd`].
    pub fn accept(&mut self, listener: TcpId) -> Result<(TcpId, SocketAddr), Errno> {
        let queues = match self.slots.tenant_mut(listener) {
            Some(Tenant::Listener(queues)) => queues,
            Some(Tenant::Conn(_)) => return Err(Errno::Invalid),
            None => return Err(Errno::BadFd),
        };
        let slot = queues.ready.pop_front().ok_or(Errno::WouldBlock)?;
        let id = self.slots.id(slot);
        let conn = self.slots.conn_at(slot).ok_or(Errno::WouldBlock)?;
        conn.owner = Owner::App;
        Ok((id, conn.remote))
    }

    /// A connection that an application holds.
    #[inline]
    fn held(&mut self, id: TcpId) -> Result<&mut Conn, Errno> {
        match self.slots.conn_mut(id) {
            Some(conn) if conn.owner == Owner::App => Ok(conn),
            _ => Err(Errno::BadFd),
        }
    }

    /// `send(2)`: bytes taken. `pool` is that of the frames, and it is `now`.
    ///
    /// # Errors
    /// The pending error; [`Errno::Pipe`] once our half is closed or the connection is over;
    /// [`Errno::WouldBlock`] while it is opening or the buffer is full; [`Errno::BadFd`].
    pub fn send(
        &mut self,
        (pool, now): (&mut Pool, Time),
        id: TcpId,
        bytes: &[u8],
    ) -> Result<usize, Errno> {
        self.now = now;
        let conn = match self.slots.tenant_mut(id) {
            Some(Tenant::Conn(conn)) if conn.owner == Owner::App => conn,
            Some(Tenant::Listener(_)) => return Err(Errno::Pipe),
            _ => return Err(Errno::BadFd),
        };
        if let Some(error) = conn.error.take() {
            return Err(error);
        }
        let engine = match &mut conn.engine {
            Some(engine) if conn.mapped && !conn.write_shut => engine,
            _ => return Err(Errno::Pipe),
        };
        if bytes.is_empty() {
            return Ok(0);
        }
        #[cfg(test)]
        if self.takes_long_way
            && let Machine::Engine(engine) = engine
        {
            engine.pingpong.forbid();
        }
        let longer = if conn.local.is_ipv6() { 20 } else { 0 };
        let when = (self.now, &conn.marks, longer);
        let (shared, path) = (&mut self.shared, conn.path);
        let Some(taken) = guarded(|| engine.send(shared, path, pool, when, bytes)) else {
            self.crashed(id.slot);
            return Err(self.take_error(id).unwrap_or(Errno::ConnReset));
        };
        conn.want_write |= taken < bytes.len();
        if taken == 0 {
            return Err(Errno::WouldBlock);
        }
        if !conn.queued {
            conn.queued = true;
            self.dirty.push_back(id.slot);
        }
        Ok(taken)
    }

    /// Bytes that [`Self::send`] takes now. 0: there is less than what is worth a write, and the application is
    /// told when there is.
    ///
    /// # Errors
    /// [`Errno::Pipe`] once our half is closed or the connection is over; [`Errno::BadFd`]. A pending error stays.
    pub fn send_room(&mut self, id: TcpId) -> Result<usize, Errno> {
        let conn = self.held(id)?;
        if !conn.mapped || conn.write_shut {
            return Err(Errno::Pipe);
        }
        if conn.has_room()
            && let Some(engine) = &conn.engine
        {
            return Ok(engine.send_capacity() - engine.send_queue());
        }
        conn.want_write = true;
        Ok(0)
    }

    /// `recv(2)`: bytes given; 0 is the end of the stream. Data that came before a reset is still
    /// given. `pool` is that of the frames.
    ///
    /// # Errors
    /// The pending error, once; [`Errno::WouldBlock`]; [`Errno::NotConn`] on a listener;
    /// [`Errno::BadFd`].
    pub fn recv(&mut self, pool: &mut Pool, id: TcpId, buffer: &mut [u8]) -> Result<usize, Errno> {
        let conn = self.reader(id)?;
        if buffer.is_empty() {
            return Ok(0);
        }
        let engine = conn.engine.as_mut();
        let given = engine.map_or(0, |engine| engine.recv(pool, buffer));
        if given == 0 {
            return conn.gives_nothing();
        }
        if conn.has_given(given) {
            self.touch(self.now, id.slot);
        }
        Ok(given)
    }

    /// The same without a copy: shows `look` the bytes that wait, or the first of them, and takes as many as it
    /// says. It is shown nothing if there are none.
    ///
    /// # Errors
    /// As [`Self::recv`].
    pub fn recv_with(
        &mut self,
        pool: &mut Pool,
        id: TcpId,
        look: &mut dyn FnMut(&[u8]) -> usize,
    ) -> Result<usize, Errno> {
        let conn = self.reader(id)?;
        let given = match conn.engine.as_mut() {
            Some(engine) if engine.recv_queue() > 0 => engine.recv_with(pool, look),
            _ => return conn.gives_nothing(),
        };
        if given > 0 && conn.has_given(given) {
            self.touch(self.now, id.slot);
        }
        Ok(given)
    }

    /// A connection to read from.
    #[inline]
    fn reader(&mut self, id: TcpId) -> Result<&mut Conn, Errno> {
        match self.slots.tenant_mut(id) {
            Some(Tenant::Conn(conn)) if conn.owner == Owner::App => Ok(conn),
            Some(Tenant::Listener(_)) => Err(Errno::NotConn),
            _ => Err(Errno::BadFd),
        }
    }

    /// `shutdown(2)` with `SHUT_WR`: a FIN behind the data that is queued. A second call has no effect.
    ///
    /// # Errors
    /// [`Errno::NotConn`] before the connection is open and after its end; [`Errno::BadFd`].
    pub fn shutdown_write(&mut self, cx: &mut TcpCx<'_>, id: TcpId) -> Result<(), Errno> {
        if self.slots.listener(id).is_some() {
            return Err(Errno::NotConn);
        }
        let conn = match self.slots.conn_mut(id) {
            Some(conn) if conn.owner == Owner::App => conn,
            _ => return Err(Errno::BadFd),
        };
        if conn.state().opening() || !conn.mapped {
            return Err(Errno::NotConn);
        }
        if !conn.write_shut
            && self.part(cx, id)
            && let Some(conn) = self.slots.conn_mut(id)
        {
            conn.shut(&mut self.shared);
            self.mark(id.slot);
        }
        Ok(())
    }

    /// `close(2)`. With data unread or [`TcpOptions::linger_zero`] the other side gets a reset;
    /// otherwise the connection goes on without its socket until it is closed. A listener's
    /// connections that nobody accepted are reset, and so is one that both ends were opening at once:
    /// smoltcp 0.14 would never get a FIN behind a SYN that was not acknowledged.
    pub fn close(&mut self, cx: &mut TcpCx<'_>, id: TcpId) {
        self.now = cx.now;
        let conn = match self.slots.tenant_mut(id) {
            Some(Tenant::Conn(conn)) if conn.owner == Owner::App => conn,
            Some(Tenant::Listener(_)) => return self.close_listener(cx, id),
            _ => return,
        };
        let state = conn.state();
        if !conn.mapped || state == TcpState::SynSent {
            self.release(cx, id.slot);
        } else if conn.recv_queue() > 0
            || conn.options.linger_zero
            || state == TcpState::SynReceived
        {
            self.reset(cx, id.slot);
        } else if self.part(cx, id) {
            self.orphan(cx, id.slot);
        }
    }

    /// Lets a connection finish without its socket.
    fn orphan(&mut self, cx: &mut TcpCx<'_>, slot: u32) {
        let Some(conn) = self.slots.conn_at(slot) else {
            return;
        };
        conn.owner = Owner::Nobody;
        if conn.state() == TcpState::FinWait2 {
            self.rest(cx, slot, true);
            return;
        }
        if !conn.write_shut {
            conn.shut(&mut self.shared);
        }
        if !conn.queued {
            self.run(cx, slot);
        }
    }

    fn close_listener(&mut self, cx: &mut TcpCx<'_>, id: TcpId) {
        let Some(Tenant::Listener(listener)) = self.slots.remove(id.slot) else {
            return;
        };
        self.listeners.remove(listener.local);
        for slot in self.slots.embryos(id) {
            self.release(cx, slot);
        }
        for slot in listener.ready {
            self.reset(cx, slot);
        }
    }

    /// Closes a connection with a reset and forgets it, whatever is queued.
    pub fn abort(&mut self, cx: &mut TcpCx<'_>, id: TcpId) {
        self.now = cx.now;
        if self.slots.listener(id).is_some() {
            self.close_listener(cx, id);
        } else if let Ok(conn) = self.held(id) {
            if conn.state() == TcpState::SynSent {
                self.release(cx, id.slot);
            } else {
                self.reset(cx, id.slot);
            }
        }
    }

    /// Sets an option of an open socket. Buffer sizes and `V6Only` come too late for it: the first
    /// count for a listener's next connections, the second is an error.
    ///
    /// # Errors
    /// As [`TcpOptions::set`]; [`Errno::Invalid`] for `V6Only`; [`Errno::BadFd`].
    pub fn set_option(&mut self, now: Time, id: TcpId, option: SockOpt) -> Result<(), Errno> {
        if matches!(option, SockOpt::V6Only(_)) {
            return Err(Errno::Invalid);
        }
        if let Some(listener) = self.slots.listener_mut(id) {
            return listener.options.set(option);
        }
        let conn = self.held(id)?;
        conn.options.set(option)?;
        if matches!(option, SockOpt::KeepAlive(_)) {
            // As `TCP_KEEPIDLE` does: who was silent for longer is asked at once.
            conn.next_probe = now;
        }
        let options = conn.options;
        if let Some(engine) = &mut conn.engine {
            engine.set_nodelay(options.nodelay);
            engine.set_hop_limit(options.hop_limit);
        }
        let may_run = matches!(option, SockOpt::NoDelay(_) | SockOpt::KeepAlive(_));
        if conn.mapped && may_run {
            self.touch(self.now, id.slot);
        }
        Ok(())
    }

    /// `poll(2)`; nothing for a socket that is not there.
    #[must_use]
    pub fn ready(&self, id: TcpId) -> Ready {
        if let Some(listener) = self.slots.listener(id) {
            return Ready {
                readable: !listener.ready.is_empty(),
                ..Ready::default()
            };
        }
        self.slots.conn(id).map_or_else(Ready::default, Conn::ready)
    }

    /// `getsockopt(SO_ERROR)`: the pending error, which is then cleared.
    pub fn take_error(&mut self, id: TcpId) -> Option<Errno> {
        self.held(id).ok()?.error.take()
    }
}

impl Conn {
    /// Closes our half, which is then to be run.
    fn shut(&mut self, shared: &mut Shared) {
        if let Some(engine) = &mut self.engine {
            self.write_shut = true;
            engine.shutdown(shared, self.path);
        }
    }

    /// An application was given bytes; whether the other side may have to be told of the room.
    #[inline]
    fn has_given(&mut self, given: usize) -> bool {
        self.read = self.read.wrapping_add(given as u32);
        if !self.mapped && self.recv_queue() == 0 {
            self.engine = None;
        }
        self.mapped && self.window_opened()
    }

    /// What an application is told that asks for bytes when there are none.
    fn gives_nothing(&mut self) -> Result<usize, Errno> {
        if self.ended {
            return Ok(0);
        }
        match self.error.take() {
            Some(error) => Err(error),
            None if self.mapped => Err(Errno::WouldBlock),
            None => Ok(0),
        }
    }
}
