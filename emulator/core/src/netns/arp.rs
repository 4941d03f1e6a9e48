//! ARP (RFC 826): who has an IPv4 address on a link.
//!
//! After Linux's `arp.c` with its defaults: `arp_ignore` 0 answers for every address of the namespace on any
//! interface, `arp_announce` 0 asks with the waiting packet's own source, `arp_accept` 0 makes no entry
//! from what was not asked. A request for us teaches us its sender. Left out: proxy ARP, RARP.

use core::net::{IpAddr, Ipv4Addr};

use smoltcp::wire::{ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetProtocol};
use switch::verdict::{DropReason, What};
use switch::wire::ETHER_LEN;
use switch::{Frame, IfId, Time};

use super::addr::{BROADCAST, Mac, martian_source};
use super::neigh::{Claim, Override};
use super::{Arrival, Cx, Iface, Netns};

/// Length of an ARP packet for Ethernet and IPv4.
const LEN: usize = 28;

/// An ARP packet, as far as it is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Heard {
    operation: ArpOperation,
    mac: Mac,
    source: Ipv4Addr,
    target: Ipv4Addr,
}

impl Heard {
    fn read(packet: &[u8]) -> Result<Self, DropReason> {
        let repr = ArpPacket::new_checked(packet).and_then(|packet| ArpRepr::parse(&packet));
        let Ok(ArpRepr::EthernetIpv4 {
            operation,
            source_hardware_addr: mac,
            source_protocol_addr: source,
            target_protocol_addr: target,
            ..
        }) = repr
        else {
            return Err(DropReason::HeaderMalformed);
        };
        if target.is_loopback() || target.is_multicast() || martian_source(source.into()) {
            return Err(DropReason::Martian);
        }
        Ok(Self {
            operation,
            mac: mac.0,
            source,
            target,
        })
    }

    /// What is claimed by it where it is not for us. Gratuitous ARP counts at once.
    fn claim(&self, unicast: bool) -> Claim {
        let asked = self.operation == ArpOperation::Reply && unicast;
        let when = match self.source == self.target {
            true => Override::Always,
            false => Override::Late,
        };
        claim(self.mac, asked, when, false)
    }
}

/// A question to a whole link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Question {
    heard: Heard,
    /// Bytes of its frame.
    len: usize,
}

impl Question {
    /// What a frame asks all stations of its link, if nothing is wrong with it.
    pub(crate) fn read(frame: &[u8]) -> Option<Self> {
        let (header, packet) = frame.split_first_chunk::<ETHER_LEN>()?;
        if header[0] & 1 == 0 || header[12..] != [0x08, 0x06] {
            return None;
        }
        let heard = Heard::read(packet).ok()?;
        let is_plain = heard.operation == ArpOperation::Request && !heard.source.is_unspecified();
        let len = frame.len();
        is_plain.then_some(Self { heard, len })
    }

    /// How long its frame is.
    pub(crate) const fn frame_len(&self) -> usize {
        self.len
    }
}

impl Netns {
    /// Hears a question for somebody else as [`input`](Self::input) does. False, and nothing has happened, of one that
    /// concerns this namespace, or of which something would follow.
    pub(crate) fn overhear(&mut self, now: Time, id: IfId, question: &Question) -> bool {
        let heard = question.heard;
        let iface = self.ifaces.counted(id);
        let Some(iface) = iface.filter(|iface| iface.up && iface.has_neighbours()) else {
            return false;
        };
        let is_ours = |address: Ipv4Addr| self.fib.is_local(address.into());
        if is_ours(heard.target) || is_ours(heard.source) {
            return false;
        }
        let key = (id, heard.source.into());
        let overheard = self.neighbours.overhear(now, key, heard.claim(false));
        if overheard {
            iface.rx.packets += 1;
            iface.rx.bytes += question.len as u64;
        }
        overheard
    }

    /// An ARP packet arrived, behind the first `header` bytes of the frame. It is read where it is: most are for somebody
    /// else, and shared with everybody on the link.
    pub(super) fn arp_input(
        &mut self,
        cx: &mut Cx<'_>,
        arrival: Arrival,
        frame: Frame,
        header: usize,
    ) {
        let iface = arrival.iface;
        let has_neighbours = self.ifaces.get(iface).is_some_and(Iface::has_neighbours);
        let heard = match Heard::read(&cx.pool.bytes(&frame)[header..]) {
            Ok(heard) if has_neighbours => heard,
            other => {
                let reason = other.err().unwrap_or(DropReason::UnknownEtherType);
                if let Some(frame) = cx.unshare(frame, iface) {
                    cx.pool.pull(&frame, header);
                    cx.drop(frame, iface, reason);
                }
                return;
            }
        };
        let Heard { source, target, .. } = heard;
        // Somebody else with one of our addresses: Linux does not argue.
        let ours = self.fib.is_local(source.into());
        let for_us = heard.operation == ArpOperation::Request
            && match target == source {
                true => ours,
                false => self.fib.is_local(target.into()),
            };
        if for_us && (source.is_unspecified() || !ours) {
            if !source.is_unspecified() {
                let claim = claim(heard.mac, false, Override::Always, true);
                self.neighbour_heard(cx, iface, source, claim);
            }
            self.arp_reply(cx, iface, target, heard.mac, source);
        } else if !source.is_unspecified() && !ours {
            self.neighbour_heard(cx, iface, source, heard.claim(arrival.unicast));
        }
        cx.delivered(frame, iface);
    }

    fn neighbour_heard(&mut self, cx: &mut Cx<'_>, iface: IfId, addr: Ipv4Addr, claim: Claim) {
        self.heard(cx, (iface, addr.into()), claim);
    }

    /// Asks who has `addr`: everybody, or the station that had it.
    pub(super) fn arp_ask(
        &mut self,
        cx: &mut Cx<'_>,
        iface: IfId,
        addr: Ipv4Addr,
        asker: Option<IpAddr>,
        known: Option<Mac>,
    ) {
        let source = match asker {
            Some(IpAddr::V4(source)) => source,
            _ => Ipv4Addr::UNSPECIFIED,
        };
        let to = known.unwrap_or(BROADCAST);
        self.arp_send(cx, iface, ArpOperation::Request, source, [0; 6], addr, to);
    }

    fn arp_reply(
        &mut self,
        cx: &mut Cx<'_>,
        iface: IfId,
        own: Ipv4Addr,
        mac: Mac,
        asker: Ipv4Addr,
    ) {
        self.arp_send(cx, iface, ArpOperation::Reply, own, mac, asker, mac);
    }

    /// Tells everybody on the link that `addr` is here: a request for it by itself, as Docker sends it.
    pub(super) fn arp_announce(&mut self, cx: &mut Cx<'_>, iface: IfId, addr: Ipv4Addr) {
        self.arp_send(
            cx,
            iface,
            ArpOperation::Request,
            addr,
            [0; 6],
            addr,
            BROADCAST,
        );
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of an ARP packet")]
    fn arp_send(
        &mut self,
        cx: &mut Cx<'_>,
        dev: IfId,
        operation: ArpOperation,
        source: Ipv4Addr,
        target_mac: Mac,
        target: Ipv4Addr,
        to: Mac,
    ) {
        let iface = self.ifaces.get(dev).filter(|iface| iface.has_neighbours());
        let (Some(iface), Some(frame)) = (iface, cx.pool.alloc(LEN)) else {
            return;
        };
        let repr = ArpRepr::EthernetIpv4 {
            operation,
            source_hardware_addr: EthernetAddress(iface.mac),
            source_protocol_addr: source,
            target_hardware_addr: EthernetAddress(target_mac),
            target_protocol_addr: target,
        };
        repr.emit(&mut ArpPacket::new_unchecked(cx.pool.bytes_mut(&frame)));
        cx.event(&frame, dev, What::Sent);
        self.transmit(cx, dev, frame, to, EthernetProtocol::Arp);
    }
}

const fn claim(mac: Mac, solicited: bool, overrides: Override, creates: bool) -> Claim {
    Claim {
        mac,
        solicited,
        overrides,
        creates,
        router: None,
    }
}
