//! What the path says: errors of routers and hosts on the way, neighbours that do not answer, narrower links.

use core::net::SocketAddr;

use super::conn::Owner;
use super::demux::Tuple;
use super::engine::{Next, TcpEngine};
use super::machine::Machine;
use super::options::IcmpKind;
use super::run::guarded;
use super::segment::after;
use super::{Tcp, TcpCx};
use crate::netns::Errno;

/// Linux's `min_pmtu`: nothing makes segments smaller than this.
const MIN_PMTU: usize = 552;

impl Tcp {
    /// The path reported an error about the segment of ours that started at `seq`. Ignored unless
    /// something with that number is outstanding.
    pub fn icmp_error(
        &mut self,
        cx: &mut TcpCx<'_>,
        local: SocketAddr,
        remote: SocketAddr,
        seq: u32,
        error: IcmpKind,
    ) {
        self.now = cx.now;
        let Some(slot) = self.demux.get(&self.slots, &Tuple::new(local, remote)) else {
            return;
        };
        let Some(conn) = self.slots.conn_at(slot) else {
            return;
        };
        if after(conn.marks.acked, seq) || after(seq, conn.marks.sent) {
            return;
        }
        match error {
            IcmpKind::HardUnreachable(errno) => self.unreachable(cx, slot, errno, false),
            IcmpKind::Soft(errno) => self.unreachable(cx, slot, errno, true),
            IcmpKind::FragmentationNeeded { mtu } => self.narrow(cx, slot, usize::from(mtu)),
        }
    }

    /// The neighbour on the way to `remote` did not answer, or the route is gone: a connect fails, a
    /// connection remembers it.
    pub fn route_failed(
        &mut self,
        cx: &mut TcpCx<'_>,
        local: SocketAddr,
        remote: SocketAddr,
        errno: Errno,
    ) {
        self.now = cx.now;
        if let Some(slot) = self.demux.get(&self.slots, &Tuple::new(local, remote)) {
            self.unreachable(cx, slot, errno, true);
        }
    }

    fn unreachable(&mut self, cx: &mut TcpCx<'_>, slot: u32, errno: Errno, soft: bool) {
        let Some(conn) = self.slots.conn_at(slot) else {
            return;
        };
        let opening = conn.state().opening();
        match conn.owner {
            Owner::Embryo(_) if soft => self.over(cx, slot, None),
            Owner::Embryo(_) => {}
            _ if opening => self.over(cx, slot, Some(errno)),
            _ => conn.soft_error = Some(errno),
        }
    }

    /// The path carries less than was thought: smaller segments, and what is out is sent again at once.
    fn narrow(&mut self, cx: &mut TcpCx<'_>, slot: u32, mtu: usize) {
        let Some(conn) = self.slots.conn_at(slot) else {
            return;
        };
        let floor = MIN_PMTU.min(conn.mtu);
        let mtu = mtu.max(floor);
        if mtu >= conn.mtu || !self.catch_up(cx, slot) {
            return;
        }
        let Some(conn) = self.slots.conn_at(slot) else {
            return;
        };
        conn.mtu = mtu;
        if let Some(Machine::Engine(engine)) = &mut conn.engine {
            // A message that is under way was sent whole.
            let (shared, path) = (&mut self.shared, conn.path);
            if engine.pingpong.is_on() && guarded(|| engine.catch_up(shared, path)).is_none() {
                self.crashed(slot);
                return;
            }
            // What is sent again at once makes the engine's timeout longer than ping-pong believes.
            engine.pingpong.forbid();
        }
        self.repath(slot);
        // New data first: what remains then is when the old data would be sent again.
        self.run(cx, slot);
        let Some(conn) = self.slots.conn_at(slot).filter(|conn| conn.mapped) else {
            return;
        };
        let Some(Machine::Engine(engine)) = &mut conn.engine else {
            return;
        };
        let (shared, path) = (&mut self.shared, conn.path);
        let Some(next) = guarded(|| engine.next(shared, path, cx.now)) else {
            self.crashed(slot);
            return;
        };
        match next {
            Next::At(at) if conn.marks.outstanding() && !engine.state().opening() => {
                if guarded(|| engine.lapse(shared, path, at)).is_none() {
                    self.crashed(slot);
                    return;
                }
                conn.marks.again = true;
                self.run(cx, slot);
            }
            _ => self.touch(cx.now, slot),
        }
    }
}
