//! Address translation: which addresses and ports a connection gets.
//!
//! After Linux `nf_nat_core`. A connection is mapped once, by its first packet: its destination
//! before routing, its source after it; the mapping is its reply tuple, and every packet is rewritten
//! from that. No two connections ever share a reply tuple:
//!
//! - a source that has a connection translated to the same address already keeps that port (so a UDP
//!   socket looks the same to all its peers, RFC 4787's endpoint-independent mapping);
//! - else the source port stays if the reply tuple is free with it;
//! - else the next free one of its class is taken: 1–511, 600–1023 or 1024–65535 (identifiers of
//!   ICMP queries: 0–65535), going round from where the last search ended, where Linux draws one;
//! - else, or if the protocol has no ports, the packet dies with [`DropReason::NatPortsExhausted`].
//!
//! Connections that no rule translates go through the same check, so a port of the host's own that a
//! masqueraded connection holds is never used twice. A translated destination keeps the source as it
//! is until then. Left out: port ranges in rules, random and persistent mappings, protocol helpers.

mod quote;
pub(crate) mod rewrite;

use core::net::{IpAddr, SocketAddr};
use core::ops::RangeInclusive;

use self::rewrite::{Checksum, Side};
use crate::conntrack::tuple::Quote;
use crate::conntrack::{Conn, ConnRef, Conntrack, Direction, Tuple};
use crate::time::Time;
use crate::verdict::{DropReason, Rewrite};
use crate::wire::Packet;

/// Where the search for a free port goes on, for each class of ports.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cursor([u16; 4]);

/// The class of a source port, and the ports of that class.
const fn class(tuple: &Tuple) -> Option<(usize, RangeInclusive<u16>)> {
    if tuple.is_icmp() {
        return Some((3, 0..=u16::MAX));
    }
    if !tuple.has_ports() {
        return None;
    }
    Some(match tuple.source_port {
        0..=511 => (0, 1..=511),
        512..=1023 => (1, 600..=1023),
        1024.. => (2, 1024..=u16::MAX),
    })
}

/// Sends a new connection to `to`. An address of the other family changes nothing.
pub(crate) fn set_destination(
    table: &mut Conntrack,
    at: ConnRef,
    to: Option<(IpAddr, Option<u16>)>,
) {
    let Some(conn) = table.conn_mut(at) else {
        return;
    };
    conn.destination_done = true;
    let current = conn.reply().inverted();
    let mut mapped = current;
    if let Some((address, port)) = to
        && address.is_ipv4() == current.destination.is_ipv4()
    {
        mapped.destination = address;
        if let Some(port) = port
            && mapped.has_ports()
        {
            mapped.destination_port = port;
        }
    }
    if mapped != current {
        conn.set_reply(mapped.inverted());
        conn.destination_nat = true;
    }
}

/// Lets a new connection come from `to`, or from where it comes from, with a port that is its own.
///
/// # Errors
/// [`DropReason::NatPortsExhausted`].
pub(crate) fn set_source(
    table: &mut Conntrack,
    cursor: &mut Cursor,
    now: Time,
    at: ConnRef,
    to: Option<IpAddr>,
) -> Result<(), DropReason> {
    let Some(conn) = table.conn(at) else {
        return Ok(());
    };
    let (original, current) = (conn.original(), conn.reply().inverted());
    let address = to
        .filter(|address| address.is_ipv4() == current.source.is_ipv4())
        .unwrap_or(current.source);
    let mapped = choose(table, cursor, now, at, &original, &current, address)?;
    let Some(conn) = table.conn_mut(at) else {
        return Ok(());
    };
    conn.source_done = true;
    if mapped != current {
        conn.set_middle(conn.destination_nat.then_some(current));
        conn.set_reply(mapped.inverted());
        conn.source_nat = true;
    }
    Ok(())
}

fn choose(
    table: &mut Conntrack,
    cursor: &mut Cursor,
    now: Time,
    at: ConnRef,
    original: &Tuple,
    current: &Tuple,
    address: IpAddr,
) -> Result<Tuple, DropReason> {
    let mut mapped = *current;
    mapped.source = address;
    if address != current.source
        && let Some(known) = table.by_source(now, original)
    {
        let before = known.reply().inverted();
        let same = Tuple {
            source_port: before.source_port,
            ..mapped
        };
        if before.source == address && !table.taken(now, &same.inverted(), at) {
            return Ok(same);
        }
    }
    if !table.taken(now, &mapped.inverted(), at) {
        return Ok(mapped);
    }
    search(table, cursor, now, at, mapped)
}

fn search(
    table: &mut Conntrack,
    cursor: &mut Cursor,
    now: Time,
    at: ConnRef,
    mut mapped: Tuple,
) -> Result<Tuple, DropReason> {
    let (class, ports) = class(&mapped).ok_or(DropReason::NatPortsExhausted)?;
    let (first, last) = (*ports.start(), *ports.end());
    let start = cursor.0[class].clamp(first, last);
    for port in (start..=last).chain(first..start) {
        mapped.source_port = port;
        if !table.taken(now, &mapped.inverted(), at) {
            cursor.0[class] = if port == last { first } else { port + 1 };
            return Ok(mapped);
        }
    }
    Err(DropReason::NatPortsExhausted)
}

/// What one end of a connection's packets has to be, if that end is translated: address, and port or
/// identifier.
pub(crate) fn target(conn: &Conn, direction: Direction, side: Side) -> Option<(IpAddr, u16)> {
    if !is_translated(conn, direction, side) {
        return None;
    }
    let tuple = match direction {
        Direction::Original => conn.reply().inverted(),
        Direction::Reply => conn.original().inverted(),
    };
    Some(end_of(&tuple, side))
}

const fn is_translated(conn: &Conn, direction: Direction, side: Side) -> bool {
    match (side, direction) {
        (Side::Source, Direction::Original) | (Side::Destination, Direction::Reply) => {
            conn.source_nat
        }
        (Side::Destination, Direction::Original) | (Side::Source, Direction::Reply) => {
            conn.destination_nat
        }
    }
}

const fn end_of(tuple: &Tuple, side: Side) -> (IpAddr, u16) {
    match side {
        Side::Source => (tuple.source, tuple.source_port),
        Side::Destination if tuple.is_icmp() => (tuple.destination, tuple.source_port),
        Side::Destination => (tuple.destination, tuple.destination_port),
    }
}

/// Writes one end of a packet of `tuple`, unless it is so already. Returns the tuple and what changed.
pub(crate) fn rewrite_end(
    bytes: &mut [u8],
    packet: &Packet,
    tuple: &Tuple,
    side: Side,
    to: (IpAddr, u16),
    checksum: Checksum,
) -> Option<(Tuple, Rewrite)> {
    if end_of(tuple, side) == to {
        return None;
    }
    rewrite::end(bytes, packet, side, to, checksum);
    let mut after = *tuple;
    match side {
        Side::Source => (after.source, after.source_port) = to,
        Side::Destination if tuple.is_icmp() => (after.destination, after.source_port) = to,
        Side::Destination => (after.destination, after.destination_port) = to,
    }
    let socket = |tuple: &Tuple, end: Side| {
        let (address, port) = end_of(tuple, end);
        let port = if tuple.is_icmp() && end != side {
            0
        } else {
            port
        };
        SocketAddr::new(address, port)
    };
    let rewrite = Rewrite {
        from_source: socket(tuple, Side::Source),
        from_destination: socket(tuple, Side::Destination),
        to_source: socket(&after, Side::Source),
        to_destination: socket(&after, Side::Destination),
    };
    Some((after, rewrite))
}

/// Translates an ICMP error about `conn` that goes in `direction`, at a hook that translates `side`.
/// Returns what the quoted tuple is now and what changed outside of the quote.
///
/// # Errors
/// [`DropReason::ConntrackInvalid`] for a redirect: it would name a router of another network.
pub(crate) fn rewrite_error(
    bytes: &mut [u8],
    packet: &Packet,
    quote: &Quote,
    conn: &Conn,
    direction: Direction,
    side: Side,
    checksum: Checksum,
) -> Result<Option<(Tuple, Rewrite)>, DropReason> {
    if quote.redirect && (conn.source_nat || conn.destination_nat) {
        return Err(DropReason::ConntrackInvalid);
    }
    if !is_translated(conn, direction, side) {
        return Ok(None);
    }
    let sent = match direction.other() {
        Direction::Original => conn.original(),
        Direction::Reply => conn.reply(),
    };
    quote::translate(bytes, packet, quote, side, &sent, checksum);
    let mut after = quote.tuple;
    match side.other() {
        Side::Source => (after.source, after.source_port) = end_of(&sent, Side::Source),
        Side::Destination if after.is_icmp() => {
            (after.destination, after.source_port) = end_of(&sent, Side::Destination);
        }
        Side::Destination => {
            (after.destination, after.destination_port) = end_of(&sent, Side::Destination);
        }
    }
    let back = sent.inverted();
    let before = |address: IpAddr| SocketAddr::new(address, 0);
    let (to_source, to_destination) = match side {
        Side::Source => (back.source, packet.destination),
        Side::Destination => (packet.source, back.destination),
    };
    let rewrite = Rewrite {
        from_source: before(packet.source),
        from_destination: before(packet.destination),
        to_source: before(to_source),
        to_destination: before(to_destination),
    };
    Ok(Some((after, rewrite)))
}
