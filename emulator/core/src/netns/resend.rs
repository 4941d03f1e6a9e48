//! Datagrams to where the last one went: written from its headers.
//!
//! What a socket's datagrams to one destination have in common is kept with the prepared destination: way,
//! MTU and the IPv4 and UDP headers, of which only length, identification and checksums differ. As soon
//! as anything is out of the ordinary (an error waits, a path MTU is known, the datagram is too long, hooks
//! want to see it, checksums have to be full), `udp_send` does all of it anew.

use core::net::SocketAddr;

use switch::Frame;
use switch::verdict::What;
use switch::wire::{add, sum};

use super::fib::RouteKind;
use super::output::Way;
use super::socket::Prepared;
use super::{Cx, Errno, LO, Netns};
use crate::id::SockId;

/// Length of an IPv4 header and a UDP header.
const HEADERS: usize = 28;

/// The headers of the datagrams to one destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Headers {
    /// As they are, with lengths, identification and checksums of 0.
    bytes: [u8; HEADERS],
    /// The sum of the IPv4 header.
    network: u16,
    /// The sum of the pseudo header.
    pseudo: u16,
    /// What the way carries.
    mtu: usize,
}

impl Headers {
    /// Those of a packet that carries a datagram, if it is of IPv4.
    pub(super) fn of(packet: &[u8], mtu: usize) -> Option<Self> {
        let mut bytes: [u8; HEADERS] = *packet.first_chunk()?;
        if bytes[0] != 0x45 {
            return None;
        }
        for at in [2, 4, 10, 24, 26] {
            bytes[at..at + 2].fill(0);
        }
        Some(Self {
            bytes,
            network: sum(&bytes[..20]),
            pseudo: add(sum(&bytes[12..20]), u16::from(bytes[9])),
            mtu: mtu.min(65_535),
        })
    }

    /// Writes them in front of a payload that is there already; the transport checksum stays partial.
    #[inline]
    fn write(&self, packet: &mut [u8], id: u16) {
        let len = packet.len() as u16;
        let upper = len - 20;
        let Some(head) = packet.first_chunk_mut::<HEADERS>() else {
            return;
        };
        *head = self.bytes;
        let check = !add(self.network, add(len, id));
        let partial = add(self.pseudo, upper);
        for (at, value) in [(2, len), (4, id), (10, check), (24, upper), (26, partial)] {
            head[at..at + 2].copy_from_slice(&value.to_be_bytes());
        }
    }
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
        let len = HEADERS + bytes.len();
        if len > headers.mtu || !self.pmtus.is_empty() || self.tracks() {
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
        let Some(frame) = cx.pool.alloc(len) else {
            return Some(Err(Errno::NoBufs));
        };
        let packet = cx.pool.bytes_mut(&frame);
        packet[HEADERS..].copy_from_slice(bytes);
        headers.write(packet, self.ip_id);
        cx.pool.meta_mut(&frame).csum_partial = true;
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

    use switch::wire::{IpProtocol, Packet, pseudo_sum};
    use switch::{Pool, Rng};

    use super::*;
    use crate::netns::build::Head;

    /// Headers that were kept are those that would be built, sums included.
    #[test]
    fn kept_headers_are_as_built_ones() {
        let (mut rng, mut pool) = (Rng::new(3), Pool::default());
        let mut head = Head {
            source: IpAddr::from([172, 17, 0, 2]),
            destination: IpAddr::from([172, 17, 0, 3]),
            protocol: IpProtocol::Udp,
            hop_limit: 64,
            dont_fragment: true,
            id: 1,
            tos: 0,
        };
        for round in 0..2000_u32 {
            if round % 100 == 0 {
                head.source = IpAddr::from(rng.next_u32().to_be_bytes());
                head.destination = IpAddr::from(rng.next_u32().to_be_bytes());
            }
            let first = head.packet(&mut pool, 8).unwrap();
            let kept = Headers::of(pool.bytes(&first), 1500).unwrap();
            head.id = rng.next_u32() as u16;
            let upper = 8 + rng.below(1400) as usize;
            let frame = head.packet(&mut pool, upper).unwrap();
            let mut built = pool.bytes(&frame).to_vec();
            built[20..24].copy_from_slice(&pool.bytes(&first)[20..24]);
            built[24..26].copy_from_slice(&(upper as u16).to_be_bytes());
            let sum = pseudo_sum(head.source, head.destination, head.protocol, upper);
            built[26..28].copy_from_slice(&sum.to_be_bytes());
            let mut written = built.clone();
            written[..HEADERS].fill(0xaa);
            kept.write(&mut written, head.id);
            assert_eq!(written, built);
            assert_eq!(Packet::parse(&written), Ok(head.read(upper)));
            pool.free(first);
            pool.free(frame);
        }
    }
}
