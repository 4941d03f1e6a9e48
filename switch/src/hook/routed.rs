//! The express lane of routed packets: those of known connections through this namespace, translated or not.
//!
//! A packet that is forwarded passes PREROUTING, the routing table, FORWARD and POSTROUTING. Once its connection
//! is in the table all that they say is known: no rule asks for anything but what many packets share, the
//! translation is the connection's, the route follows from the destination. So what rules and routes said of
//! one packet is repeated, counters included, for all that are [the same to them](Like), and the connection is
//! told of each; a flow that outlives a short connection has a lane of its own. It holds until a rule, the
//! connection or (by the number that the namespace gives) an address or a route changes, and not for a packet
//! that is too long for the way or at the end of its time to live.
//!
//! As with [`lane`](super::lane), nothing but the cost changes: tests of the namespace run the same
//! packets both ways. IPv4 with TCP and UDP only.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::lane::{FORWARD, Key, NAT, Plain, RAW, Run, advance, plain};
use super::like::{Answers, Like};
use super::{Netfilter, Path};
use crate::conntrack::tuple::{Words, inverted};
use crate::conntrack::{Conn, ConnRef, Conntrack, Direction, Tuple};
use crate::filter::{ChainId, Facts, Ruleset, State, Target, Trail};
use crate::time::Time;
use crate::verdict::{IfId, Rewrite};
use crate::wire::{add, address_sum, updated};

/// Flows of a namespace; those of two with the same place take turns. Memory (about half a MiB in the
/// end) is taken as flows go on.
const FLOWS: usize = 4096;
/// So many at first: a power of two, a power of four less than [`FLOWS`].
const FIRST_FLOWS: usize = 64;

/// Where a flow leaves a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit {
    /// The interface.
    pub output: IfId,
    /// The station to hand its packets to.
    pub next_hop: IpAddr,
    /// The longest packet that the interface takes, in bytes.
    pub mtu: usize,
}

/// A packet that has passed all its hooks.
#[derive(Clone, Copy, Debug)]
pub struct Passed {
    /// Where it leaves.
    pub exit: Exit,
    /// Addresses and ports as it came and as it leaves, each source first.
    from: (u64, u32),
    to: (u64, u32),
}

impl Passed {
    /// It leaves as it came.
    #[must_use]
    #[inline]
    pub fn is_as_it_was(&self) -> bool {
        self.from == self.to
    }

    /// How PREROUTING translated it: its destination.
    #[must_use]
    pub fn prerouting(&self) -> Option<Rewrite> {
        let (from_source, from_destination) = sockets(self.from);
        let (_, to_destination) = sockets(self.to);
        (from_destination != to_destination).then_some(Rewrite {
            from_source,
            from_destination,
            to_source: from_source,
            to_destination,
        })
    }

    /// How POSTROUTING translated it then: its source.
    #[must_use]
    pub fn postrouting(&self) -> Option<Rewrite> {
        let (from_source, _) = sockets(self.from);
        let (to_source, to_destination) = sockets(self.to);
        (from_source != to_source).then_some(Rewrite {
            from_source,
            from_destination: to_destination,
            to_source,
            to_destination,
        })
    }
}

/// What of a packet to forward is the same for all of its flow.
#[derive(Clone, Copy, Debug)]
pub struct Crossing {
    /// The interface that it came in by.
    pub input: IfId,
    /// The transport checksum holds the sum of the pseudo header only.
    pub csum_partial: bool,
    /// How many frames it stands for.
    pub frames: u32,
    /// The longest of these as a packet, in bytes.
    pub wire_len: usize,
    /// A number that changes with every address and route of the namespace.
    pub routes: u64,
    /// What [`Env::change`](super::Env::change) says.
    pub addresses: Option<u64>,
}

/// What the translation does to checksums: the difference that each of them takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Mend {
    /// The header's, and a partial checksum's.
    addresses: u16,
    /// A full transport checksum's.
    all: u16,
}

#[derive(Clone, Copy, Debug)]
struct Flow {
    key: Key,
    conn: ConnRef,
    direction: Direction,
    state: State,
    rules: u64,
    routes: u64,
    /// Through the rules.
    way: u32,
    exit: Exit,
    /// Addresses and ports as they leave, as in [`Key`].
    to_addresses: u64,
    to_ports: u32,
    mend: Mend,
}

/// What rules and routes said of a packet.
#[derive(Clone, Copy, Debug)]
struct Said {
    way: u32,
    routes: u64,
    exit: Exit,
}

/// What they said of a first packet whose source stays.
#[derive(Clone, Copy, Debug)]
struct Opening {
    said: Said,
    /// Its way, the nat table included.
    first: u32,
    /// Where its destination is translated to, with a port if that changes.
    to: Option<(IpAddr, Option<u16>)>,
}

/// Lanes that are kept of flows that have none yet: a power of two.
const RECENT: usize = 16;

/// The lanes of a namespace, by key, and the packet that is looked at for one.
#[derive(Debug, Default)]
pub(super) struct Flows {
    list: Vec<Option<Flow>>,
    said: Answers<Said>,
    openings: Answers<Opening>,
    asked: Option<Plain>,
    /// Lanes of the last few packets that had none, by key: their flows may end soon.
    recent: Vec<Option<Flow>>,
}

impl Flows {
    /// The lane of a packet like the one before it in a short flow.
    #[inline]
    fn recent(&self, key: &Key) -> Option<&Flow> {
        self.recent.get(key.place() % RECENT)?.as_ref()
    }

    fn keep_recent(&mut self, flow: Flow) {
        if self.recent.is_empty() {
            self.recent.resize(RECENT, None);
        }
        self.recent[flow.key.place() % RECENT] = Some(flow);
    }

    /// The place of a flow among those that there are now.
    #[inline]
    const fn place(&self, key: &Key) -> usize {
        key.place() & self.list.len().wrapping_sub(1)
    }

    /// The lane in a flow's place.
    #[inline]
    fn at(&self, key: &Key) -> Option<&Flow> {
        self.list.get(self.place(key))?.as_ref()
    }

    /// Opens a lane: in its place if that is free, its own or closed by a change, else in a longer list,
    /// and in that of another flow once there are as many as there may be.
    fn open(&mut self, flow: Flow) {
        if self.list.is_empty() {
            self.list.resize(FIRST_FLOWS, None);
        }
        let places = self.list.len();
        let place = self.place(&flow.key);
        let is_others = |held: &Flow| {
            held.key != flow.key && (held.rules, held.routes) == (flow.rules, flow.routes)
        };
        if places < FLOWS && self.list[place].as_ref().is_some_and(is_others) {
            let fresh = vec![None; 4 * places];
            let held = core::mem::replace(&mut self.list, fresh);
            held.into_iter().flatten().for_each(|flow| self.open(flow));
            return self.open(flow);
        }
        self.list[place] = Some(flow);
    }
}

impl Netfilter {
    /// Runs PREROUTING, FORWARD and POSTROUTING over a packet to forward, if its way is known. `None`: the
    /// hooks have to be run one by one, and nothing has happened. The time to live is left as it is.
    pub fn run_routed(
        &mut self,
        now: Time,
        bytes: &mut [u8],
        crossing: &Crossing,
    ) -> Option<Passed> {
        self.flows.asked = None;
        let plain = plain(bytes, crossing.input)?;
        let now_is = (self.rules.change(), crossing.routes);
        let is_known = |flow: &&Flow| flow.key == plain.key && (flow.rules, flow.routes) == now_is;
        let of_lane = self.flows.at(&plain.key).filter(is_known);
        let of_lane = of_lane.filter(|_| plain.is_data());
        let is_lane = of_lane.is_some();
        let run = Run::one(plain, u64::from(crossing.frames));
        let fits = |flow: &Flow, bytes: &[u8]| crossing.wire_len <= flow.exit.mtu && bytes[8] > 1;
        if let Some(flow) = of_lane
            && fits(flow, bytes)
            && flow.express(now, &run, &mut self.conntrack, &mut self.rules)
        {
            return Some(flow.pass(bytes, crossing.csum_partial));
        }
        if !is_lane
            && let Some(flow) = self.flows.recent(&plain.key).filter(is_known)
            && fits(flow, bytes)
            && flow.express(now, &run, &mut self.conntrack, &mut self.rules)
        {
            let passed = flow.pass(bytes, crossing.csum_partial);
            if plain.is_data()
                && let Some(conn) = self.conntrack.conn_mut(flow.conn)
                && conn.goes_on(flow.direction)
            {
                let flow = *flow;
                self.flows.open(flow);
            }
            return Some(passed);
        }
        if !is_lane
            && let Some(flow) = self.flow_like(&plain, crossing)
            && fits(&flow, bytes)
            && flow.express(now, &run, &mut self.conntrack, &mut self.rules)
        {
            self.flows.keep_recent(flow);
            self.went_on(&plain, flow);
            return Some(flow.pass(bytes, crossing.csum_partial));
        }
        if let Some(flow) = self.flow_first(now, &plain, crossing, bytes[8]) {
            self.went_on(&plain, flow);
            return Some(flow.pass(bytes, crossing.csum_partial));
        }
        self.flows.asked = Some(plain);
        None
    }

    /// The same of a packet that starts a connection, which is then in the table, and accounted for.
    fn flow_first(
        &mut self,
        now: Time,
        plain: &Plain,
        crossing: &Crossing,
        hop_limit: u8,
    ) -> Option<Flow> {
        let tuple = plain.key.tuple();
        let rules = self.rules.change();
        let Opening { said, first, to } = *self
            .flows
            .openings
            .of(&self.first_like(&plain.key), rules)?;
        let may_pass =
            said.routes == crossing.routes && crossing.wire_len <= said.exit.mtu && hop_limit > 1;
        if !may_pass || self.conntrack.peek_words(plain.key.flow).is_some() {
            return None;
        }
        let to = to.map(|(address, port)| (address, port.unwrap_or(tuple.destination_port)));
        let flow = crate::conntrack::Flow {
            tuple,
            flags: plain.flags,
        };
        let at = self.conntrack.enter_plain(now, &flow, to)?;
        let weight = Run::one(*plain, u64::from(crossing.frames)).weight;
        self.rules.count_way(first, weight);
        let (from, to) = ends(self.conntrack.conn(at)?, Direction::Original)?;
        Some(Flow::new(
            plain,
            (at, Direction::Original, State::New),
            rules,
            &said,
            from,
            to,
        ))
    }

    /// What a first packet with this key is to rules and routes.
    fn first_like(&self, key: &Key) -> Like {
        Like::of(key, State::New, 0, self.rules.named(key.ports()))
    }

    /// What a lane of this packet's flow would be, if rules and routes have said it of others like it.
    fn flow_like(&mut self, plain: &Plain, crossing: &Crossing) -> Option<Flow> {
        let (at, direction, conn) = self.conntrack.peek_words(plain.key.flow)?;
        if !is_settled(conn) {
            return None;
        }
        let state = match direction {
            Direction::Original if !conn.seen_reply => State::New,
            _ => State::Established,
        };
        let (from, to) = ends(conn, direction)?;
        let rules = self.rules.change();
        let like = self.routed_like(&plain.key, state, to);
        let said = self.flows.said.of(&like, rules)?;
        let of = (at, direction, state);
        (said.routes == crossing.routes).then(|| Flow::new(plain, of, rules, said, from, to))
    }

    /// What a packet with this key that leaves as `to` is to rules and routes.
    fn routed_like(&self, key: &Key, state: State, [_, to]: Words) -> Like {
        let named = self.rules.named(to as u32 & 0xffff);
        let ports = self.rules.named(key.ports()) | named >> 17 << 34;
        Like::of(key, state, (to >> 32) as u32, ports)
    }

    /// One more packet of a flow: it gets a lane if more data is to be expected.
    fn went_on(&mut self, plain: &Plain, flow: Flow) {
        if plain.is_data()
            && let Some(conn) = self.conntrack.conn_mut(flow.conn)
            && conn.goes_on(flow.direction)
        {
            self.flows.open(flow);
        }
    }

    /// How many flows have a lane.
    #[must_use]
    pub fn flows(&self) -> usize {
        self.flows.list.iter().flatten().count()
    }

    /// Keeps what the hooks said of the packet that [`run_routed`](Self::run_routed) was asked for last: it has
    /// passed them and leaves by `exit`.
    pub fn keep_routed(&mut self, crossing: &Crossing, exit: Exit) {
        let Some(plain) = self.flows.asked.take() else {
            return;
        };
        if self.rules.keeps_judgements() {
            return;
        }
        let Some(known) = self.last.as_ref().map(|last| last.known) else {
            return;
        };
        let Some(conn) = known.conn.and_then(|at| self.conntrack.conn(at)) else {
            return;
        };
        let Some((from, to)) = ends(conn, known.direction) else {
            return;
        };
        let is_ours = from == plain.key.flow && known.state != State::Related;
        if !conn.confirmed || !is_settled(conn) || !is_ours {
            return;
        }
        let routes = crossing.routes;
        let like = self.routed_like(&plain.key, known.state, to);
        let to = Tuple::of_words(to);
        let said = self.flows.said.of(&like, self.rules.change());
        if said.is_none_or(|said| (said.routes, said.exit) != (routes, exit)) {
            let (Some(trail), Some(raw), Some(forward)) = (
                self.routed_trail(&plain, crossing, exit, known.state, &to),
                RAW,
                FORWARD,
            ) else {
                return;
            };
            let said = Said {
                way: self.rules.way(&[(raw, Trail::POLICY), (forward, trail)]),
                routes,
                exit,
            };
            self.flows.said.keep(like, self.rules.change(), said);
        }
        if known.state == State::New {
            self.keep_opening(&plain, crossing, like, &to);
        }
        if let Some(flow) = self.flow_like(&plain, crossing) {
            self.went_on(&plain, flow);
        }
    }

    /// It may have been the first of its connection, and have been shown to the nat table as well.
    fn keep_opening(&mut self, plain: &Plain, crossing: &Crossing, like: Like, to: &Tuple) {
        let rules = self.rules.change();
        let Some(&said) = self.flows.said.of(&like, rules) else {
            return;
        };
        let before = Facts {
            state: State::New,
            ..plain.facts(&Path {
                input: Some(crossing.input),
                output: None,
                bridged: false,
            })
        };
        let behind = Facts {
            destination: to.destination,
            ports: Some((to.source_port, to.destination_port)),
            output: Some(said.exit.output),
            ..before
        };
        let [Some(before_routing), Some(behind_it)] = NAT else {
            return;
        };
        let ask =
            |chain: ChainId, facts: &Facts| self.rules.said_with(chain, facts, crossing.addresses);
        let (Some((target, first)), Some((Target::Accept, second))) =
            (ask(before_routing, &before), ask(behind_it, &behind))
        else {
            return;
        };
        let nat = [(before_routing, first), (behind_it, second)];
        let to = match target {
            Target::Accept => None,
            Target::Dnat(address, port) if address.is_ipv4() => Some((address, port)),
            _ => return,
        };
        let Some(first) = self.rules.longer_way(said.way, nat) else {
            return;
        };
        let opening = Opening { said, first, to };
        self.flows
            .openings
            .keep(self.first_like(&plain.key), rules, opening);
    }

    /// The rules that a packet of a known connection meets that leaves as `to`, if they will say the same of the
    /// next one like it.
    fn routed_trail(
        &self,
        plain: &Plain,
        crossing: &Crossing,
        exit: Exit,
        state: State,
        to: &Tuple,
    ) -> Option<Trail> {
        let raw = plain.facts(&Path {
            input: Some(crossing.input),
            output: None,
            bridged: false,
        });
        // Only the destination is translated there.
        let source_port = raw.ports.map_or(0, |(source, _)| source);
        let forward = Facts {
            destination: to.destination,
            ports: Some((source_port, to.destination_port)),
            output: Some(exit.output),
            state,
            ..raw
        };
        if !RAW.is_some_and(|chain| self.rules.lets_pass(chain, &raw)) {
            return None;
        }
        FORWARD.and_then(|chain| self.rules.trail_of(chain, &forward))
    }
}

/// The rules have been asked for both of its ends, and its packets come from elsewhere.
const fn is_settled(conn: &Conn) -> bool {
    conn.source_done && conn.destination_done && !conn.local
}

/// What packets of a direction come as, and what they leave as, if that is IPv4 with ports.
fn ends(conn: &Conn, direction: Direction) -> Option<(Words, Words)> {
    let [original, reply] = conn.words()?;
    Some(match direction {
        Direction::Original => (original, inverted(reply)),
        Direction::Reply => (reply, inverted(original)),
    })
}

/// An end that is not translated takes no difference, of one that is both parts take theirs, be they
/// equal: 0 and 0xffff are the same sum, but not the same bytes.
fn mend([from, to]: Words, [new_from, new_to]: Words) -> Mend {
    let address = |bits: u64| IpAddr::from(Ipv4Addr::from_bits(bits as u32));
    let source = |from: u64, to: u64| (address(from), (to >> 16) as u16);
    let destination = |to: u64| (address(to >> 32), to as u16);
    let mut mend = Mend::default();
    for (old, new) in [
        (source(from, to), source(new_from, new_to)),
        (destination(to), destination(new_to)),
    ] {
        if old != new {
            let addresses = add(!address_sum(old.0), address_sum(new.0));
            mend.addresses = add(mend.addresses, addresses);
            mend.all = add(mend.all, add(addresses, add(!old.1, new.1)));
        }
    }
    mend
}

/// The ends of a packet with these addresses and ports.
fn sockets((addresses, ports): (u64, u32)) -> (SocketAddr, SocketAddr) {
    let socket = |address: u64, port: u32| {
        SocketAddr::from((Ipv4Addr::from_bits(address as u32), port as u16))
    };
    (
        socket(addresses >> 32, ports >> 16),
        socket(addresses, ports),
    )
}

impl Flow {
    /// The lane of a packet of this connection that comes as `from` and leaves as `to`.
    fn new(
        plain: &Plain,
        (conn, direction, state): (ConnRef, Direction, State),
        rules: u64,
        said: &Said,
        from: Words,
        to: Words,
    ) -> Self {
        Self {
            key: plain.key,
            conn,
            direction,
            state,
            rules,
            routes: said.routes,
            way: said.way,
            exit: said.exit,
            to_addresses: to[0] << 32 | to[1] >> 32,
            to_ports: to[1] as u32,
            mend: mend(from, to),
        }
    }

    /// Accounts for packets of the flow, unless the first ends its connection or changes its state: what the hooks
    /// would count.
    #[inline]
    fn express(
        &self,
        now: Time,
        run: &Run,
        conntrack: &mut Conntrack,
        rules: &mut Ruleset,
    ) -> bool {
        let of = (self.conn, self.direction, self.state);
        let passes = advance(conntrack, now, run, of);
        if passes {
            rules.count_way(self.way, run.weight);
        }
        passes
    }

    /// Translates a packet of the flow.
    #[inline]
    fn pass(&self, bytes: &mut [u8], csum_partial: bool) -> Passed {
        let passed = Passed {
            exit: self.exit,
            from: (self.key.addresses(), self.key.ports()),
            to: (self.to_addresses, self.to_ports),
        };
        if !passed.is_as_it_was() {
            self.write(bytes, csum_partial);
        }
        passed
    }

    /// Writes addresses and ports, and mends the checksums as `nat::rewrite` does.
    fn write(&self, bytes: &mut [u8], csum_partial: bool) {
        let udp = self.key.is_udp();
        bytes[12..20].copy_from_slice(&self.to_addresses.to_be_bytes());
        bytes[20..24].copy_from_slice(&self.to_ports.to_be_bytes());
        let field = |bytes: &[u8], at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
        let header = changed(field(bytes, 10), self.mend.addresses);
        bytes[10..12].copy_from_slice(&header.to_be_bytes());
        let at = if udp { 26 } else { 36 };
        let old = field(bytes, at);
        if old == 0 && (udp || csum_partial) {
            return;
        }
        let mut new = if csum_partial {
            add(old, self.mend.addresses)
        } else {
            changed(old, self.mend.all)
        };
        if new == 0 && udp && !csum_partial {
            new = 0xffff;
        }
        bytes[at..at + 2].copy_from_slice(&new.to_be_bytes());
    }
}

/// A checksum after the bytes under it changed by `difference` ([`updated`] of all that changed).
const fn changed(field: u16, difference: u16) -> u16 {
    updated(field, 0xffff, difference)
}

#[cfg(test)]
mod tests {
    use super::super::lane::{TCP_KEY, UDP_KEY};
    use super::*;
    use crate::nat::rewrite::{Checksum, Side};
    use crate::nat::rewrite_end;
    use crate::wire::Packet;

    fn bytes(key: &Key) -> Vec<u8> {
        let mut bytes = vec![0; 40];
        bytes[0] = 0x45;
        bytes[3] = 40;
        bytes[9] = if key.is_udp() { 17 } else { 6 };
        bytes[12..20].copy_from_slice(&key.addresses().to_be_bytes());
        bytes[20..24].copy_from_slice(&key.ports().to_be_bytes());
        bytes
    }

    /// Every checksum is mended to the byte as the translation of one end after the other does it.
    #[test]
    fn the_same_bytes_as_end_by_end() {
        for key in [UDP_KEY, TCP_KEY] {
            let from = key.tuple();
            for which in 1..8_u8 {
                let mut to = from;
                if which & 1 != 0 {
                    to.source = IpAddr::from([192, 0, 2, 2]);
                }
                if which & 2 != 0 {
                    to.destination = IpAddr::from([172, 17, 0, 3]);
                }
                if which & 4 != 0 {
                    (to.source_port, to.destination_port) = (1024, 8080);
                }
                for partial in [false, true] {
                    compare(&key, &from, &to, partial);
                }
            }
        }
    }

    fn flow(key: &Key, to: &Tuple) -> Flow {
        let to_words = to.words().expect("IPv4");
        Flow {
            key: *key,
            conn: ConnRef {
                slot: 0,
                generation: 0,
            },
            direction: Direction::Original,
            state: State::New,
            rules: 0,
            routes: 0,
            way: 0,
            exit: Exit {
                output: IfId(2),
                next_hop: to.destination,
                mtu: 1500,
            },
            to_addresses: to_words[0] << 32 | to_words[1] >> 32,
            to_ports: to_words[1] as u32,
            mend: mend(key.flow, to_words),
        }
    }

    /// A few flows take little, many take turns in what there may be, and the latest always has its lane.
    #[test]
    fn lanes_grow_with_the_flows() {
        let mut flows = Flows::default();
        assert!(flows.at(&UDP_KEY).is_none());
        for number in 0..3 * FLOWS as u64 {
            let mut key = UDP_KEY;
            key.flow[1] ^= number << 32;
            let before = flows.list.iter().flatten().count();
            flows.open(flow(&key, &key.tuple()));
            assert!(flows.at(&key).is_some_and(|held| held.key == key));
            let held = flows.list.iter().flatten().count();
            assert!(held > before || (held == before && flows.list.len() == FLOWS));
            if number == 0 {
                assert_eq!(flows.list.len(), FIRST_FLOWS);
            }
        }
        assert_eq!(flows.list.len(), FLOWS);
        flows.open(flow(&UDP_KEY, &UDP_KEY.tuple()));
        let changed = Flow {
            rules: 1,
            ..flow(&UDP_KEY, &UDP_KEY.tuple())
        };
        flows.open(changed);
        assert_eq!(flows.at(&UDP_KEY).map(|held| held.rules), Some(1));
    }

    fn compare(key: &Key, from: &Tuple, to: &Tuple, partial: bool) {
        let flow = flow(key, to);
        let checksum = if partial {
            Checksum::Partial
        } else {
            Checksum::Full
        };
        let at = if key.is_udp() { 26 } else { 36 };
        for field in 0..=u16::MAX {
            let mut slow = bytes(key);
            slow[10..12].copy_from_slice(&field.to_be_bytes());
            slow[at..at + 2].copy_from_slice(&field.to_be_bytes());
            let mut fast = slow.clone();
            let passed = flow.pass(&mut fast, partial);
            let mut rewrites = [None, None];
            let mut tuple = *from;
            for (side, rewrite) in [Side::Destination, Side::Source].iter().zip(&mut rewrites) {
                let packet = Packet::parse(&slow).unwrap();
                let end = match side {
                    Side::Source => (to.source, to.source_port),
                    Side::Destination => (to.destination, to.destination_port),
                };
                let written = rewrite_end(&mut slow, &packet, &tuple, *side, end, checksum);
                if let Some((after, what)) = written {
                    (tuple, *rewrite) = (after, Some(what));
                }
            }
            assert_eq!(fast, slow, "{field:#x} {to:?} {partial}");
            assert_eq!([passed.prerouting(), passed.postrouting()], rewrites);
        }
    }
}
