//! ICMP errors about a translated connection: the quoted packet is put back to what its sender
//! knows, and so is the error's own address.
//!
//! After Linux `nf_nat_icmp_reply_translation` (RFC 5508 §4): at the hook that would translate one end
//! of an ordinary packet in this direction, the opposite end of the quoted packet is translated back,
//! then the error's own address as if it came from, or went to, the connection's end. A router between
//! a published container and its client therefore appears as the published address. The quoted
//! transport checksum is mended if the quote reaches that far; the error's checksum always is.

use super::rewrite::{self, Change, Checksum, Side, port_at, sum_at};
use crate::conntrack::Tuple;
use crate::conntrack::tuple::{ICMPV6, Quote, UDP};
use crate::wire::{Packet, updated};

/// The sum of an ICMP message, kept up to date while words under it change. (All of them stand at even
/// distances: headers are multiples of four bytes.)
struct Sum(u16);

impl Sum {
    const fn word(&mut self, old: u16, new: u16) {
        self.0 = updated(self.0, old, new);
    }
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

/// Translates an ICMP error at a hook that translates `side`. `sent` is the connection's tuple in the
/// direction of the quoted packet, as it left its sender.
pub(super) fn translate(
    bytes: &mut [u8],
    packet: &Packet,
    quote: &Quote,
    side: Side,
    sent: &Tuple,
    checksum: Checksum,
) {
    let field = packet.transport + 2;
    let mut sum = Sum(u16_at(bytes, field));
    let unset = checksum == Checksum::Partial && packet.source.is_ipv6();
    quoted(bytes, packet.len, quote, side.other(), sent, &mut sum);
    let back = sent.inverted();
    let outer = match side {
        Side::Source => back.source,
        Side::Destination => back.destination,
    };
    let change = rewrite::address(bytes, 0, side, outer);
    let v6 = u8::from(packet.protocol) == ICMPV6;
    if unset {
        // The pseudo header's sum covers nothing of the quote.
        let partial = u16_at(bytes, field);
        if partial != 0 {
            let mended = crate::wire::add(crate::wire::add(partial, !change.old), change.new);
            bytes[field..field + 2].copy_from_slice(&mended.to_be_bytes());
        }
        return;
    }
    if v6 {
        sum.word(change.old, change.new);
    }
    bytes[field..field + 2].copy_from_slice(&sum.0.to_be_bytes());
}

/// Puts one end of the quoted packet back.
fn quoted(bytes: &mut [u8], len: usize, quote: &Quote, side: Side, sent: &Tuple, sum: &mut Sum) {
    let (to, port) = match side {
        Side::Source => (sent.source, sent.source_port),
        Side::Destination if sent.is_icmp() => (sent.destination, sent.source_port),
        Side::Destination => (sent.destination, sent.destination_port),
    };
    let change = rewrite::address(bytes, quote.network, side, to);
    sum.word(change.old, change.new);
    sum.word(change.header_old, change.header_new);
    let protocol = sent.protocol;
    let mut old_port = port;
    if let Some(at) = port_at(protocol, side) {
        let at = quote.transport + at;
        old_port = u16_at(bytes, at);
        bytes[at..at + 2].copy_from_slice(&port.to_be_bytes());
        sum.word(old_port, port);
    }
    quoted_sum(bytes, len, quote, protocol, &change, (old_port, port), sum);
}

fn quoted_sum(
    bytes: &mut [u8],
    len: usize,
    quote: &Quote,
    protocol: u8,
    change: &Change,
    ports: (u16, u16),
    sum: &mut Sum,
) {
    let Some((at, with_addresses)) = sum_at(protocol) else {
        return;
    };
    let at = quote.transport + at;
    if at + 2 > len {
        return;
    }
    let old = u16_at(bytes, at);
    if old == 0 && protocol == UDP {
        return;
    }
    let mut new = old;
    if with_addresses {
        new = updated(new, change.old, change.new);
    }
    new = updated(new, ports.0, ports.1);
    if new == 0 && protocol == UDP {
        new = 0xffff;
    }
    bytes[at..at + 2].copy_from_slice(&new.to_be_bytes());
    sum.word(old, new);
}
