//! Datagrams to where the last one went: written from its headers.
//!
//! What a socket's datagrams to one destination have in common is kept with the prepared destination: way,
//! MTU and the IP and UDP headers, of which only length, identification and checksums differ. As soon
//! as anything is out of the ordinary (an error waits, a path MTU is known, the datagram is too long, hooks
//! want to see it, checksums have to be full), `udp_send` does all of it anew.

use core::net::SocketAddr;

use switch::verdict::What;
use switch::wire::{add, sum};
use switch::{Frame, Pool};

use super::fib::RouteKind;
use super::output::Way;
use super::socket::Prepared;
use super::{Cx, Errno, LO, Netns};
use crate::id::SockId;

/// Length of an IPv4 header and a UDP header.
const HEADERS: usize = 28;
/// The same with an IPv6 header.
const WIDE: usize = 48;

/// The headers of the datagrams to one destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Headers {
    V4(Pattern<HEADERS>),
    V6(Pattern<WIDE>),
}

/// `N` bytes of headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pattern<const N: usize> {
    /// As they are, with lengths, identification and checksums of 0.
    bytes: [u8; N],
    /// The sum of the IPv4 header.
    network: u16,
    /// The sum of the pseudo header.
    pseudo: u16,
    /// The longest payload that the way carries.
    most: usize,
}

/// Writes headers in front of a payload that is there already; the transport checksum stays partial.
trait Write<const N: usize> {
    fn write(&self, head: &mut [u8; N], payload: usize, id: u16);
}

impl Headers {
    /// Those of a packet that carries a datagram right behind its header, if that has no options.
    pub(super) fn of(packet: &[u8], mtu: usize) -> Option<Self> {
        let mtu = mtu.min(65_535);
        match packet.first()? {
            0x45 => Pattern::v4(packet, mtu).map(Self::V4),
            _ => Pattern::v6(packet, mtu).map(Self::V6),
        }
    }

    #[inline]
    const fn most(&self) -> usize {
        match self {
            Self::V4(pattern) => pattern.most,
            Self::V6(pattern) => pattern.most,
        }
    }

    /// The packet with this payload.
    #[inline]
    fn packet(&self, pool: &mut Pool, id: u16, payload: &[u8]) -> Option<Frame> {
        match self {
            Self::V4(pattern) => packet(pattern, pool, id, payload),
            Self::V6(pattern) => packet(pattern, pool, id, payload),
        }
    }
}

impl Pattern<HEADERS> {
    fn v4(packet: &[u8], mtu: usize) -> Option<Self> {
        let mut bytes: [u8; HEADERS] = *packet.first_chunk()?;
        for at in [2, 4, 10, 24, 26] {
            bytes[at..at + 2].fill(0);
        }
        Some(Self {
            bytes,
            network: sum(&bytes[..20]),
            pseudo: add(sum(&bytes[12..20]), u16::from(bytes[9])),
            most: mtu.checked_sub(HEADERS)?,
        })
    }
}

impl Pattern<WIDE> {
    fn v6(packet: &[u8], mtu: usize) -> Option<Self> {
        let mut bytes: [u8; WIDE] = *packet.first_chunk()?;
        if bytes[0] >> 4 != 6 {
            return None;
        }
        for at in [4, 44, 46] {
            bytes[at..at + 2].fill(0);
        }
        Some(Self {
            bytes,
            network: 0,
            pseudo: add(sum(&bytes[8..40]), u16::from(bytes[6])),
            most: mtu.checked_sub(WIDE)?,
        })
    }
}

impl Write<HEADERS> for Pattern<HEADERS> {
    #[inline]
    fn write(&self, head: &mut [u8; HEADERS], payload: usize, id: u16) {
        *head = self.bytes;
        let upper = payload as u16 + 8;
        let len = upper + 20;
        let check = !add(self.network, add(len, id));
        let partial = add(self.pseudo, upper);
        for (at, value) in [(2, len), (4, id), (10, check), (24, upper), (26, partial)] {
            head[at..at + 2].copy_from_slice(&value.to_be_bytes());
        }
    }
}

impl Write<WIDE> for Pattern<WIDE> {
    #[inline]
    fn write(&self, head: &mut [u8; WIDE], payload: usize, _id: u16) {
        *head = self.bytes;
        let upper = payload as u16 + 8;
        let partial = add(self.pseudo, upper);
        for (at, value) in [(4, upper), (44, upper), (46, partial)] {
            head[at..at + 2].copy_from_slice(&value.to_be_bytes());
        }
    }
}

#[inline]
fn packet<const N: usize>(
    pattern: &impl Write<N>,
    pool: &mut Pool,
    id: u16,
    payload: &[u8],
) -> Option<Frame> {
    let frame = pool.alloc(N + payload.len())?;
    let (meta, bytes) = pool.parts_mut(&frame);
    meta.csum_partial = true;
    if let Some((head, rest)) = bytes.split_first_chunk_mut() {
        rest.copy_from_slice(payload);
        pattern.write(head, payload.len(), id);
    }
    Some(frame)
}

impl Netns {
    /// Sends a datagram to where the last one of the socket went; `None` if it did not go there, or something
    /// is out of the ordinary.
    pub(super) fn udp_resend(
        &mut self,
        cx: &mut Cx<'_>,
        sock: SockId,
        bytes: &[u8],
        to: SocketAddr,
    ) -> Option<Result<usize, Errno>> {
        let change = self.change();
        let socket = self.sockets.get(sock).ok()?;
        let Prepared { way, headers, .. } = socket.prepared_for(change, to)?;
        let headers = headers.as_ref()?;
        if bytes.len() > headers.most() || !self.pmtus.is_empty() || self.tracks() {
            return None;
        }
        let local = match way.kind {
            RouteKind::Local => true,
            RouteKind::Unicast => false,
            RouteKind::Broadcast | RouteKind::Multicast => return None,
        };
        if !self.offload && !local {
            return None;
        }
        self.ip_id = self.ip_id.wrapping_add(1);
        let Some(frame) = headers.packet(cx.pool, self.ip_id, bytes) else {
            return Some(Err(Errno::NoBufs));
        };
        let way = *way;
        self.pass_on(cx, frame, &way);
        Some(Ok(bytes.len()))
    }

    fn pass_on(&mut self, cx: &mut Cx<'_>, frame: Frame, way: &Way) {
        cx.event(&frame, way.dev, What::Sent);
        if way.dev == LO {
            self.loop_back(cx, LO, frame);
        } else {
            self.neighbour_send(cx, frame, way);
        }
    }
}

#[cfg(test)]
mod tests {
    use core::net::IpAddr;

    use switch::Rng;
    use switch::wire::{IpProtocol, Packet, pseudo_sum};

    use super::*;
    use crate::netns::build::Head;

    /// Headers that were kept are those that would be built, sums included.
    #[test]
    fn kept_headers_are_as_built_ones() {
        let ends = |rng: &mut Rng| [(); 2].map(|()| rng.next_u32().to_be_bytes().into());
        kept_are_as_built(HEADERS, ends);
    }

    #[test]
    fn kept_headers_of_ipv6_are_as_built_ones() {
        let word = |rng: &mut Rng| u128::from(rng.next_u64());
        let ends = |rng: &mut Rng| {
            [(); 2].map(|()| IpAddr::from((word(rng) << 64 | word(rng)).to_be_bytes()))
        };
        kept_are_as_built(WIDE, ends);
    }

    fn kept_are_as_built(headers: usize, ends: impl Fn(&mut Rng) -> [IpAddr; 2]) {
        let (mut rng, mut pool) = (Rng::new(3), Pool::default());
        let [source, destination] = ends(&mut rng);
        let mut head = Head {
            source,
            destination,
            protocol: IpProtocol::Udp,
            hop_limit: 64,
            dont_fragment: true,
            id: 1,
            tos: 0,
        };
        let at = headers - 8;
        for round in 0..2000_u32 {
            if round % 100 == 0 {
                [head.source, head.destination] = ends(&mut rng);
            }
            let first = head.packet(&mut pool, 8).unwrap();
            let kept = Headers::of(pool.bytes(&first), 1500).unwrap();
            head.id = rng.next_u32() as u16;
            let upper = 8 + rng.below(1400) as usize;
            let frame = head.packet(&mut pool, upper).unwrap();
            let mut built = pool.bytes(&frame).to_vec();
            built[at..at + 4].copy_from_slice(&pool.bytes(&first)[at..at + 4]);
            built[at + 4..at + 6].copy_from_slice(&(upper as u16).to_be_bytes());
            let sum = pseudo_sum(head.source, head.destination, head.protocol, upper);
            built[at + 6..at + 8].copy_from_slice(&sum.to_be_bytes());
            assert_eq!(kept.most(), 1500 - headers);
            let written = kept.packet(&mut pool, head.id, &built[headers..]).unwrap();
            assert_eq!(pool.bytes(&written), built);
            assert_eq!(Packet::parse(&built), Ok(head.read(upper)));
            for frame in [first, frame, written] {
                pool.free(frame);
            }
        }
    }
}
