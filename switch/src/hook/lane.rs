//! The express lane: bridged packets of flows that go on.
//!
//! Between two members of a bridge every packet passes three hooks, and after the first ones nothing is
//! decided any more: no rule asks for anything but what all packets of the flow share, nothing is
//! translated, and the connection only has its timer wound up. A lane keeps what the hooks said about
//! a flow and repeats it, counters included, until a rule changes, the connection changes or a packet
//! comes that is more than data (a TCP flag, a fragment, an option in the IP header).
//!
//! It changes nothing but the cost: `the_lane_changes_nothing` runs the same packets both ways. IPv4
//! with TCP and UDP only; everything else takes the hooks one by one.

use core::net::{IpAddr, Ipv4Addr};

use super::{Env, Hook, Netfilter, Outcome, Path, same};
use crate::conntrack::tuple::{TCP, UDP};
use crate::conntrack::{Advance, ConnRef, Direction, TcpState, Tuple};
use crate::filter::{ChainId, Counter, Facts, Family, State, Table, Trail};
use crate::time::Time;
use crate::verdict::{IfId, Rewrite, Verdict};

/// Lanes of a namespace; those of two flows with the same place take turns. Memory (half a MiB) is taken when
/// the first flow goes on.
const LANES: usize = 4096;

/// What the packets of a flow in one direction have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    /// Source, then destination.
    pub(super) addresses: u64,
    /// Source, then destination.
    pub(super) ports: u32,
    protocol: u8,
    /// The bridge, or where a routed packet came in.
    input: IfId,
}

#[derive(Clone, Copy, Debug)]
struct Lane {
    key: Key,
    conn: ConnRef,
    direction: Direction,
    state: State,
    rules: u64,
    trail: Trail,
}

/// The lanes of a namespace, by key.
#[derive(Debug, Default)]
pub(super) struct Lanes(Vec<Option<Lane>>);

impl Key {
    pub(super) const fn is_udp(&self) -> bool {
        self.protocol == UDP
    }

    fn source(&self) -> IpAddr {
        Ipv4Addr::from_bits((self.addresses >> 32) as u32).into()
    }

    fn destination(&self) -> IpAddr {
        Ipv4Addr::from_bits(self.addresses as u32).into()
    }

    pub(super) fn tuple(&self) -> Tuple {
        Tuple {
            source: self.source(),
            destination: self.destination(),
            protocol: self.protocol,
            source_port: (self.ports >> 16) as u16,
            destination_port: self.ports as u16,
        }
    }

    pub(super) const fn place(&self) -> usize {
        let mixed = (self.addresses ^ (self.ports as u64) << 16 ^ self.protocol as u64)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> 52) as usize % LANES
    }
}

/// Keys for tests of what is made of them.
#[cfg(test)]
pub(super) const UDP_KEY: Key = Key {
    addresses: 0xac11_0002_cb00_7107,
    ports: 5000 << 16 | 53,
    protocol: UDP,
    input: IfId(2),
};
#[cfg(test)]
pub(super) const TCP_KEY: Key = Key {
    protocol: TCP,
    ..UDP_KEY
};

/// A packet that may use a lane.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plain {
    pub(super) key: Key,
    flags: u8,
    len: usize,
}

impl Plain {
    /// What raw rules may ask: they come before the connection is known.
    pub(super) fn facts(&self, path: &Path) -> Facts {
        Facts {
            source: self.key.source(),
            destination: self.key.destination(),
            protocol: self.key.protocol,
            ports: Some(((self.key.ports >> 16) as u16, self.key.ports as u16)),
            input: path.input,
            output: None,
            bridged: path.bridged,
            state: State::Untracked,
            weight: Counter::default(),
        }
    }
}

fn u16_at(bytes: &[u8], at: usize) -> usize {
    usize::from(u16::from_be_bytes([bytes[at], bytes[at + 1]]))
}

/// Reads an IPv4 packet without options and fragmentation that holds UDP, or TCP without any flag but ACK
/// and PSH.
pub(super) fn plain(bytes: &[u8], input: IfId) -> Option<Plain> {
    let head: &[u8; 28] = bytes.first_chunk()?;
    let len = u16_at(head, 2);
    if head[0] != 0x45 || u16_at(head, 6) & 0x3fff != 0 || len > bytes.len() {
        return None;
    }
    let protocol = head[9];
    let flags = match protocol {
        UDP => {
            let datagram = u16_at(head, 24);
            if datagram < 8 || len < 20 + datagram {
                return None;
            }
            0
        }
        TCP => {
            let &offset = bytes.get(32)?;
            let &flags = bytes.get(33)?;
            let header = usize::from(offset >> 4) * 4;
            if header < 20 || len < 20 + header || flags & 0x37 != 0x10 {
                return None;
            }
            flags
        }
        _ => return None,
    };
    let mut addresses = [0; 8];
    addresses.copy_from_slice(&head[12..20]);
    Some(Plain {
        key: Key {
            addresses: u64::from_be_bytes(addresses),
            ports: u32::from_be_bytes([head[20], head[21], head[22], head[23]]),
            protocol,
            input,
        },
        flags,
        len,
    })
}

pub(super) const RAW: Option<ChainId> = ChainId::base(Family::V4, Table::Raw, Hook::Prerouting);
pub(super) const FORWARD: Option<ChainId> = ChainId::base(Family::V4, Table::Filter, Hook::Forward);

impl Netfilter {
    /// Runs PREROUTING, FORWARD and POSTROUTING over a packet that `bridge` passes from one port to
    /// another: what [`run_for`](Self::run_for) does one by one.
    pub fn run_bridged(
        &mut self,
        now: Time,
        bytes: &mut [u8],
        csum_partial: bool,
        bridge: IfId,
        env: &dyn Env,
        frames: u32,
    ) -> Outcome {
        if self.is_empty() {
            return Outcome::ACCEPT;
        }
        let plain = plain(bytes, bridge);
        if let Some(plain) = &plain
            && self.express(now, plain, frames)
        {
            return Outcome::ACCEPT;
        }
        let path = Path {
            input: Some(bridge),
            output: Some(bridge),
            bridged: true,
        };
        let mut whole = Outcome::ACCEPT;
        for hook in [Hook::Prerouting, Hook::Forward, Hook::Postrouting] {
            let outcome = self.run_for(now, hook, bytes, csum_partial, &path, env, frames);
            whole.verdict = outcome.verdict;
            if outcome.verdict != Verdict::Accept {
                return whole;
            }
            whole.rewrite = merged(whole.rewrite, outcome.rewrite);
        }
        if let Some(plain) = plain
            && whole.rewrite.is_none()
        {
            self.open(&plain, &path);
        }
        whole
    }

    #[cfg(test)]
    pub(super) fn lanes_used(&self) -> usize {
        self.lanes.0.iter().flatten().count()
    }

    /// Sends a packet down its lane, if it has one.
    fn express(&mut self, now: Time, plain: &Plain, frames: u32) -> bool {
        let Some(Some(lane)) = self.lanes.0.get(plain.key.place()) else {
            return false;
        };
        if lane.key != plain.key || lane.rules != self.rules.change() {
            return false;
        }
        let lane = *lane;
        let of = (lane.conn, lane.direction, lane.state);
        express(self, now, plain, of, &lane.trail, frames)
    }

    /// Opens a lane for a packet that has just passed the hooks, if all of them will say the same of
    /// the next one.
    fn open(&mut self, plain: &Plain, path: &Path) {
        let Some(known) = self.last.as_ref().map(|last| last.known) else {
            return;
        };
        let Some(at) = known.conn else { return };
        let is_settled = self
            .conntrack
            .conn(at)
            .is_some_and(|conn| conn.confirmed && !conn.source_nat && !conn.destination_nat);
        if !is_settled || known.state == State::Related {
            return;
        }
        let passes = RAW.is_some_and(|raw| self.rules.lets_pass(raw, &plain.facts(path)));
        let Some(trail) = self.rules.trail_of(same(at, known, Hook::Forward, path)) else {
            return;
        };
        if !passes {
            return;
        }
        if self.lanes.0.is_empty() {
            self.lanes.0.resize(LANES, None);
        }
        self.lanes.0[plain.key.place()] = Some(Lane {
            key: plain.key,
            conn: at,
            direction: known.direction,
            state: known.state,
            rules: self.rules.change(),
            trail,
        });
    }
}

/// Accounts for a packet of a connection in a direction and state, unless it ends or changes that: what
/// the hooks would count.
#[inline]
pub(super) fn express(
    nf: &mut Netfilter,
    now: Time,
    plain: &Plain,
    (at, direction, state): (ConnRef, Direction, State),
    trail: &Trail,
    frames: u32,
) -> bool {
    let Some(conn) = nf.conntrack.conn_mut(at) else {
        return false;
    };
    let answered = direction == Direction::Reply || conn.seen_reply;
    let now_is = if answered {
        State::Established
    } else {
        State::New
    };
    let is_open = matches!(conn.tcp, None | Some(TcpState::Established));
    if now_is != state || !is_open || conn.is_expired(now) {
        return false;
    }
    let before = (conn.expires, conn.assured);
    if conn.advance(now, direction, plain.flags) != Advance::Live {
        return false;
    }
    if conn.expires < before.0 || conn.assured != before.1 {
        nf.conntrack.settle(at);
    }
    let weight = Counter {
        packets: u64::from(frames),
        bytes: plain.len as u64,
    };
    if let (Some(raw), Some(forward)) = (RAW, FORWARD) {
        nf.rules.count_passed(raw, weight);
        nf.rules.count_along(forward, trail, weight);
    }
    true
}

/// Two rewrites of a packet, one after the other, as one.
fn merged(first: Option<Rewrite>, second: Option<Rewrite>) -> Option<Rewrite> {
    let (Some(first), Some(second)) = (first, second) else {
        return first.or(second);
    };
    Some(Rewrite {
        from_source: first.from_source,
        from_destination: first.from_destination,
        ..second
    })
}
