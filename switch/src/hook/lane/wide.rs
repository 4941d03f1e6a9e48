//! Packets of IPv6 whose way is known: their connection is asked what the hooks said of its packets last.
//!
//! Each is looked up; what is kept for flows that go on is their [`Passage`], by those who know the rest of their way.

use core::net::{IpAddr, Ipv6Addr};

use super::super::{Netfilter, Path};
use super::passage::Passage;
use super::plain::is_data;
use crate::conntrack::tuple::{TCP, UDP};
use crate::conntrack::{Conn, Direction, Tuple};
use crate::filter::{ChainId, Counter, Facts, Family, State, Table};
use crate::hook::Hook;
use crate::time::Time;
use crate::verdict::IfId;

const HEADER: usize = 40;

const RAW: Option<ChainId> = ChainId::base(Family::V6, Table::Raw, Hook::Prerouting);
const FORWARD: Option<ChainId> = ChainId::base(Family::V6, Table::Filter, Hook::Forward);

/// A packet of IPv6 that is all there, with TCP or UDP right behind its header.
#[derive(Clone, Copy, Debug)]
pub struct Wide {
    /// As in the header: source, destination; protocol and ports, source first.
    flow: [u64; 5],
    flags: u8,
    bridge: IfId,
    weight: Counter,
}

const fn address(high: u64, low: u64) -> IpAddr {
    IpAddr::V6(Ipv6Addr::from_bits((high as u128) << 64 | low as u128))
}

/// The eight bytes from `at` on.
#[inline(always)]
fn word(header: &[u8; HEADER + 8], at: usize) -> u64 {
    header[at..]
        .first_chunk()
        .map_or(0, |word| u64::from_be_bytes(*word))
}

impl Wide {
    /// The packet that `bytes` start with, which stands for `frames` frames at `bridge`; `None` if it has to be shown to
    /// the hooks.
    #[must_use]
    #[inline]
    pub fn of(bytes: &[u8], bridge: IfId, frames: u64) -> Option<Self> {
        let header: &[u8; HEADER + 8] = bytes.first_chunk()?;
        let first = word(header, 0);
        let payload = (first >> 16) as usize & 0xffff;
        let protocol = (first >> 8) as u8;
        let len = HEADER + payload;
        if first >> 60 != 6 || len > bytes.len() {
            return None;
        }
        let upper = word(header, HEADER);
        let flags = match protocol {
            UDP => (8..=payload)
                .contains(&((upper >> 16) as usize & 0xffff))
                .then_some(0)?,
            TCP => {
                let &[offset, flags] = bytes.get(HEADER + 12..)?.first_chunk()?;
                let header = usize::from(offset >> 4) * 4;
                (20..=payload).contains(&header).then_some(flags)?
            }
            _ => return None,
        };
        Some(Self {
            flow: [
                word(header, 8),
                word(header, 16),
                word(header, 24),
                word(header, 32),
                u64::from(protocol) << 32 | upper >> 32,
            ],
            flags,
            bridge,
            weight: Counter {
                packets: frames,
                bytes: len as u64,
            },
        })
    }

    /// It is nothing but data.
    #[must_use]
    #[inline]
    pub const fn is_data(&self) -> bool {
        self.protocol() == UDP || is_data(self.flags)
    }

    /// Whose packet it is: source, destination; protocol and ports.
    #[must_use]
    #[inline]
    pub const fn flow(&self) -> [u64; 5] {
        self.flow
    }

    /// Its bytes.
    #[must_use]
    #[inline]
    pub const fn bytes(&self) -> u64 {
        self.weight.bytes
    }

    const fn protocol(&self) -> u8 {
        (self.flow[4] >> 32) as u8
    }

    const fn ports(&self) -> (u16, u16) {
        ((self.flow[4] >> 16) as u16, self.flow[4] as u16)
    }

    const fn tuple(&self) -> Tuple {
        let [a, b, c, d, _] = self.flow;
        let (source_port, destination_port) = self.ports();
        Tuple {
            source: address(a, b),
            destination: address(c, d),
            protocol: self.protocol(),
            source_port,
            destination_port,
        }
    }

    /// What raw rules may ask.
    const fn facts(&self, path: &Path) -> Facts {
        let tuple = self.tuple();
        Facts {
            source: tuple.source,
            destination: tuple.destination,
            protocol: tuple.protocol,
            ports: Some(self.ports()),
            input: path.input,
            output: None,
            bridged: path.bridged,
            state: State::Untracked,
            weight: Counter {
                packets: 0,
                bytes: 0,
            },
        }
    }
}

impl Netfilter {
    /// Sends a packet the way that is known, as [`pass_bridged`](Self::pass_bridged) does. `false`, and nothing has happened, if
    /// the hooks have to see it.
    #[inline]
    pub fn pass_wide(&mut self, now: Time, wide: &Wide) -> bool {
        let Some((at, direction)) = self.conntrack.peek(&wide.tuple()) else {
            return false;
        };
        let asked = (wide.bridge, self.lanes.epoch);
        if self.lanes.rules != self.rules.change() {
            return false;
        }
        let Some(conn) = self.conntrack.conn_mut(at) else {
            return false;
        };
        let said = conn.said.of(asked, direction, conn.seen_reply);
        let Some(way) = said.filter(|_| !conn.is_expired(now)) else {
            return false;
        };
        let was_assured = conn.assured;
        if !tell(conn, now, wide, direction) {
            return false;
        }
        let is_unsettled = conn.is_misplaced() || conn.assured != was_assured;
        if wide.is_data() {
            conn.goes_on(direction);
        }
        if is_unsettled {
            self.conntrack.settle(at);
        }
        self.rules.count_way(way, wide.weight);
        true
    }

    /// A packet has just passed the hooks one by one: so will those of its connection that are like it.
    pub(super) fn learn_wide(&mut self, wide: &Wide, path: &Path) {
        if self.rules.keeps_judgements() {
            return;
        }
        let Some(last) = self.last.filter(|last| last.tuple == wide.tuple()) else {
            return;
        };
        let (state, direction) = (last.known.state, last.known.direction);
        let Some(at) = last.known.conn.filter(|_| state != State::Related) else {
            return;
        };
        let conn = self.conntrack.conn(at);
        if conn.is_none_or(|conn| !conn.confirmed || conn.is_translated()) {
            return;
        }
        let Some(way) = self.said_way(&wide.facts(path), path, state, (RAW, FORWARD)) else {
            return;
        };
        self.lanes.renew(self.rules.change());
        let asked = (wide.bridge, self.lanes.epoch);
        if let Some(conn) = self.conntrack.conn_mut(at) {
            conn.said.keep(asked, (direction, conn.seen_reply), way);
            if wide.is_data() {
                conn.goes_on(direction);
            }
        }
    }

    /// The way of packets of nothing but data like one that has just passed, if more are to be expected.
    #[must_use]
    pub fn passage_wide(&self, wide: &Wide) -> Option<Passage> {
        let (at, direction) = self.conntrack.peek(&wide.tuple())?;
        let conn = self.conntrack.conn(at)?;
        let goes_on = wide.is_data() && conn.has_gone_on(direction);
        if !goes_on || self.lanes.rules != self.rules.change() {
            return None;
        }
        let asked = (wide.bridge, self.lanes.epoch);
        let way = conn.said.of(asked, direction, conn.seen_reply)?;
        Some(Passage {
            conn: at,
            way: u16::try_from(way).ok()?,
            direction,
            answered: conn.seen_reply,
        })
    }
}

/// Tells a living connection of a packet. False, and nothing has happened, if that does more to it than to go on.
#[inline]
fn tell(conn: &mut Conn, now: Time, wide: &Wide, direction: Direction) -> bool {
    if conn.is_open() && wide.is_data() {
        conn.advance_open(now, direction);
        return true;
    }
    conn.advance_living(now, direction, wide.flags)
}
