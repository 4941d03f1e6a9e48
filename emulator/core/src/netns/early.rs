//! Segments, in and out without the questions whose answers are known.
//!
//! After Linux's `ip_early_demux` and the route that a socket keeps (`sk_dst_cache`): a segment with plain headers
//! between known addresses comes to TCP before it is routed, and one that leaves goes the way of the last one. What was decided once
//! holds until an interface, an address or a route changes. Counters, events, checks and neighbours
//! are as on the long way, which everything else takes: whatever the hooks of this namespace would see,
//! options, fragments, what is too long. Both versions of IP go the same ways.

use core::net::IpAddr;

use switch::frame::Meta;
use switch::ring::Waiting;
use switch::verdict::What;
use switch::wire::{ETHER_LEN, Packet};
use switch::{Frame, IfId};

use super::dst::Inward;
use super::fib::RouteKind;
use super::output::{Way, frame_count};
use super::tcp::{Between, Ends, EndsV6, Refusal, TcpCx, has_odd_end};
use super::{Arrival, Cx, Iface, LO, Netns};
use crate::app::Family;

const TCP: u8 = 6;

/// What segments have in common, as far as it is known.
#[derive(Debug, Default)]
pub(super) struct Early {
    course: Option<Course<Narrow>>,
    /// That of the last of IPv6.
    wide: Option<Course<Wide>>,
    known: Option<Known<Ends>>,
    /// That of IPv6.
    known_wide: Option<Known<EndsV6>>,
}

#[cfg(test)]
impl Early {
    /// Segments of this family came in.
    pub(super) const fn knows(&self, family: Family) -> bool {
        match family {
            Family::V4 => self.known.is_some(),
            Family::V6 => self.known_wide.is_some(),
        }
    }
}

/// The ends that tell which way a segment leaves.
trait Outward: Copy {
    /// Those of segments of its version.
    type Ends: Between;

    /// The packet `bytes` is of this version, without options, and between these ends.
    fn are_of(&self, bytes: &[u8]) -> bool;

    fn kept(early: &Early) -> Option<&Course<Self>>;
}

/// The destination, in IPv4.
#[derive(Clone, Copy, Debug)]
struct Narrow([u8; 4]);

/// Both, in IPv6: which link a link-local source is of is part of the way.
#[derive(Clone, Copy, Debug)]
struct Wide([u8; 32]);

impl Outward for Narrow {
    type Ends = Ends;

    #[inline(always)]
    fn are_of(&self, bytes: &[u8]) -> bool {
        let head = bytes.first_chunk::<20>();
        head.is_some_and(|head| head[0] == 0x45 && head[16..] == self.0)
    }

    #[inline(always)]
    fn kept(early: &Early) -> Option<&Course<Self>> {
        early.course.as_ref()
    }
}

impl Outward for Wide {
    type Ends = EndsV6;

    #[inline(always)]
    fn are_of(&self, bytes: &[u8]) -> bool {
        let head = bytes.first_chunk::<40>();
        head.is_some_and(|head| head[0] >> 4 == 6 && head[6] == TCP && head[8..] == self.0)
    }

    #[inline(always)]
    fn kept(early: &Early) -> Option<&Course<Self>> {
        early.wide.as_ref()
    }
}

/// The way of the segment that left last.
#[derive(Clone, Copy, Debug)]
struct Course<E> {
    ends: E,
    change: u64,
    dev: IfId,
    /// Where the interface stands.
    place: usize,
    hop: IpAddr,
    mtu: usize,
    /// The Ethernet header behind the destination.
    header: [u8; 8],
}

/// Whose segment came in last and was for this namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Known<E: Between> {
    iface: IfId,
    change: u64,
    /// Source and destination.
    addresses: E::Addresses,
}

/// Ends of segments that come in: which were known last, and whether an interface takes their version of IP.
trait Inbound: Between {
    fn known(early: &Early) -> Option<Known<Self>>;

    fn keep(early: &mut Early, known: Known<Self>);

    fn are_taken_by(iface: &Iface) -> bool;
}

impl Inbound for Ends {
    #[inline(always)]
    fn known(early: &Early) -> Option<Known<Self>> {
        early.known
    }

    fn keep(early: &mut Early, known: Known<Self>) {
        early.known = Some(known);
    }

    #[inline(always)]
    fn are_taken_by(_iface: &Iface) -> bool {
        true
    }
}

impl Inbound for EndsV6 {
    #[inline(always)]
    fn known(early: &Early) -> Option<Known<Self>> {
        early.known_wide
    }

    fn keep(early: &mut Early, known: Known<Self>) {
        early.known_wide = Some(known);
    }

    #[inline(always)]
    fn are_taken_by(iface: &Iface) -> bool {
        iface.ipv6
    }
}

impl<E: Outward> Course<E> {
    /// Whether a packet goes this way as it is.
    #[inline(always)]
    fn takes(&self, meta: Meta, bytes: &[u8], offload: bool) -> bool {
        self.ends.are_of(bytes)
            && (bytes.len() <= self.mtu || longest::<E>(meta.gso_size, bytes) <= self.mtu)
            && (offload || !meta.csum_partial)
    }

    /// The Ethernet header of what goes to the neighbour with this address.
    #[inline(always)]
    fn header(&self, mac: [u8; 6]) -> [u8; ETHER_LEN] {
        let mut header = [0; ETHER_LEN];
        header[..6].copy_from_slice(&mac);
        header[6..].copy_from_slice(&self.header);
        header
    }
}

impl Netns {
    /// Takes a segment with plain headers that is for this namespace; any other frame comes back.
    #[inline]
    pub(super) fn early_input(&mut self, cx: &mut Cx<'_>, id: IfId, frame: Frame) -> Option<Frame> {
        #[cfg(test)]
        if self.takes_long_way {
            return Some(frame);
        }
        let is_tracked = self.netfilter.is_some() && self.tracks();
        if is_tracked || self.streams.tcp.is_none() {
            return Some(frame);
        }
        let Some(place) = self.ifaces.place(id) else {
            return Some(frame);
        };
        self.input_of::<Ends>(cx, (id, place), frame)
    }

    /// The same for one of IPv6.
    #[inline(never)]
    fn input_wide(&mut self, cx: &mut Cx<'_>, at: (IfId, usize), frame: Frame) -> Option<Frame> {
        self.input_of::<EndsV6>(cx, at, frame)
    }

    /// The same for one of these at an interface, which stands at `place`, and by the way for one of IPv6.
    #[inline(always)]
    fn input_of<E: Inbound>(
        &mut self,
        cx: &mut Cx<'_>,
        (id, place): (IfId, usize),
        frame: Frame,
    ) -> Option<Frame> {
        let change = self.change();
        let Some(iface) = self.ifaces.counted_at(place).filter(|iface| iface.up) else {
            return Some(frame);
        };
        let mtu = iface.mtu as usize;
        let (meta, bytes) = cx.pool.view(&frame);
        let Some(kind) = kind(bytes) else {
            return Some(frame);
        };
        if kind != E::TYPE {
            return match (E::FAMILY, kind) {
                (Family::V4, EndsV6::TYPE) => self.input_wide(cx, (id, place), frame),
                _ => Some(frame),
            };
        }
        let segment = E::read(bytes, iface.mac).filter(|_| E::are_taken_by(iface));
        let Some(segment) = segment else {
            return Some(frame);
        };
        if self.divert.is_some() && segment.has_syn() {
            // It has to wait.
            return Some(frame);
        }
        let known = Known::<E> {
            iface: id,
            change,
            addresses: segment.addresses(),
        };
        let last = self.early.as_deref().and_then(E::known);
        if last != Some(known) && !self.is_for_us(cx, &known, &frame) {
            return Some(frame);
        }
        let (packets, bytes) = if meta.gso_size == 0 {
            // With what pads it to the shortest frame of a real wire.
            (1, bytes.len() as u64)
        } else {
            super_weight(cx, &frame)
        };
        let (tcp, out, woken) = self.streams.tcp(self.offload);
        let mut inner = TcpCx {
            now: cx.now,
            mtu,
            pool: cx.pool,
            out,
            wakes: woken,
            spares: cx.spares,
        };
        let dropped = match tcp.input_plain(&mut inner, frame, &segment) {
            Ok(()) => None,
            Err(Refusal::Unread(frame)) => return Some(frame),
            Err(Refusal::Dropped(frame, reason)) => Some((frame, reason)),
        };
        if let Some(iface) = self.ifaces.counted_at(place) {
            iface.rx.packets += packets;
            iface.rx.bytes += bytes;
        }
        match dropped {
            None => cx.trace.one(cx.now, meta.id, id, What::Delivered),
            Some((frame, reason)) => cx.drop(frame, id, reason),
        }
        self.stream_tell(cx);
        None
    }

    /// Of which family those behind the frame that came in last are, if they may be [taken](Self::train_input) in one go.
    #[inline(always)]
    pub(crate) fn leads_train(&mut self) -> Option<Family> {
        let tcp = self.streams.tcp.as_deref_mut();
        tcp.and_then(|tcp| tcp.leads_train())
    }

    /// Takes in frames that wait behind one that has just come in by an interface, at most `most`, as far as they carry on the same
    /// [train](super::tcp::Tcp::input_train) of segments; how many.
    #[inline]
    pub(crate) fn train_input(
        &mut self,
        cx: &mut Cx<'_>,
        id: IfId,
        family: Family,
        waiting: &mut Waiting<'_>,
        most: usize,
    ) -> usize {
        match family {
            Family::V4 => self.train_of::<Ends>(cx, id, waiting, most),
            Family::V6 => self.train_of::<EndsV6>(cx, id, waiting, most),
        }
    }

    #[inline(never)]
    fn train_of<E: Inbound>(
        &mut self,
        cx: &mut Cx<'_>,
        id: IfId,
        waiting: &mut Waiting<'_>,
        most: usize,
    ) -> usize {
        #[cfg(test)]
        if self.takes_long_way {
            return 0;
        }
        let change = self.change();
        let is_tracked = self.netfilter.is_some() && self.tracks();
        let known = self.early.as_deref().and_then(E::known);
        let known = known.filter(|known| known.iface == id && known.change == change);
        let Some((known, place)) = known.zip(self.ifaces.place(id)).filter(|_| !is_tracked) else {
            return 0;
        };
        let iface = self.ifaces.counted_at(place).filter(|iface| iface.up);
        let iface = iface.filter(|iface| E::are_taken_by(iface));
        let (Some(iface), Some(_)) = (iface, &self.streams.tcp) else {
            return 0;
        };
        let (tcp, out, woken) = self.streams.tcp(self.offload);
        let mut inner = TcpCx {
            now: cx.now,
            mtu: iface.mtu as usize,
            pool: cx.pool,
            out,
            wakes: woken,
            spares: cx.spares,
        };
        let (rx, trace, now) = (&mut iface.rx, &mut *cx.trace, cx.now);
        let between = (iface.mac, known.addresses);
        let count = tcp.input_train::<E>(&mut inner, waiting, most, between, |number, len| {
            rx.packets += 1;
            rx.bytes += len as u64;
            trace.one(now, number, id, What::Delivered);
        });
        self.stream_tell(cx);
        count
    }

    /// Whether the segment is for this namespace by its tables.
    #[inline(never)]
    fn is_for_us<E: Inbound>(&mut self, cx: &Cx<'_>, known: &Known<E>, frame: &Frame) -> bool {
        let arrival = Arrival {
            iface: known.iface,
            unicast: true,
            looped: false,
            broadcast: false,
            fragment: 0,
        };
        let packet = Packet::parse(&cx.pool.bytes(frame)[ETHER_LEN..]);
        let is_ours = packet.is_ok_and(|packet| match self.judge(&arrival, &packet) {
            // Among the ends of IPv6 are such as stand for those of IPv4 in the table of connections.
            _ if E::FAMILY == Family::V6 && has_odd_end(&packet) => false,
            Inward::Local => true,
            // A connection of anybody's. What opens one was sent the long way.
            Inward::Foreign => self.divert.is_some() && !packet.destination.is_multicast(),
            Inward::Broadcast | Inward::Martian => false,
        });
        if is_ours {
            E::keep(self.early.get_or_insert_default(), *known);
        }
        is_ours
    }

    /// Sends a segment of ours the way of the last one; any other packet comes back.
    #[inline(always)]
    pub(super) fn early_output(&mut self, cx: &mut Cx<'_>, frame: Frame) -> Option<Frame> {
        self.output_along::<Narrow>(cx, frame)
    }

    /// The same for one of IPv6.
    #[inline(never)]
    pub(super) fn early_output_wide(&mut self, cx: &mut Cx<'_>, frame: Frame) -> Option<Frame> {
        self.output_along::<Wide>(cx, frame)
    }

    #[inline(always)]
    fn output_along<E: Outward>(&mut self, cx: &mut Cx<'_>, frame: Frame) -> Option<Frame> {
        #[cfg(test)]
        if self.takes_long_way {
            return Some(frame);
        }
        let change = self.change();
        let is_tracked = self.netfilter.is_some() && self.tracks();
        let course = self.early.as_deref().and_then(E::kept);
        let Some(course) = course.filter(|course| course.change == change && !is_tracked) else {
            return Some(frame);
        };
        let may_go = self.pmtus.is_empty();
        let iface = self.ifaces.counted_at(course.place);
        let Some(iface) = iface.filter(|iface| iface.up && may_go) else {
            return Some(frame);
        };
        let (dev, hop) = (course.dev, course.hop);
        let (now, neighbours, offload) = (cx.now, &mut self.neighbours, self.offload);
        let mut known = (Meta::default(), 0);
        let is_ready = cx.pool.put_before(&frame, |meta, bytes, header| {
            if !course.takes(meta, bytes, offload) {
                return false;
            }
            let Some(mac) = neighbours.in_use(now, (dev, hop)) else {
                return false;
            };
            *header = course.header(mac);
            known = (meta, bytes.len());
            true
        });
        if !is_ready {
            return Some(frame);
        }
        let (meta, len) = known;
        let (packets, count) = if meta.gso_size == 0 {
            (1, (ETHER_LEN + len) as u64)
        } else {
            super_weight(cx, &frame)
        };
        iface.tx.packets += packets;
        iface.tx.bytes += count;
        cx.trace.one(cx.now, meta.id, dev, What::Sent);
        cx.tx.push((dev, frame));
        None
    }

    /// The packet of ours to `way` goes as many others will.
    pub(super) fn keep_course(&mut self, cx: &Cx<'_>, packet: &Packet, way: &Way) {
        match (packet.source, packet.destination) {
            (IpAddr::V4(_), IpAddr::V4(destination)) => {
                let ends = Narrow(destination.octets());
                if let Some(course) = self.course(cx, packet.destination, way, ends) {
                    self.early.get_or_insert_default().course = Some(course);
                }
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let mut ends = [0; 32];
                ends[..16].copy_from_slice(&source.octets());
                ends[16..].copy_from_slice(&destination.octets());
                if let Some(course) = self.course(cx, packet.destination, way, Wide(ends)) {
                    self.early.get_or_insert_default().wide = Some(course);
                }
            }
            _ => {}
        }
    }

    /// That of packets between these ends, if they leave by an interface.
    fn course<E: Outward>(
        &self,
        cx: &Cx<'_>,
        destination: IpAddr,
        way: &Way,
        ends: E,
    ) -> Option<Course<E>> {
        let place = self.ifaces.place(way.dev)?;
        let iface = self.ifaces.get(way.dev).filter(|iface| iface.up)?;
        if way.kind != RouteKind::Unicast || way.dev == LO {
            return None;
        }
        let mut header = [0; 8];
        header[..6].copy_from_slice(&iface.mac);
        header[6..].copy_from_slice(&E::Ends::TYPE);
        Some(Course {
            ends,
            change: self.change(),
            dev: way.dev,
            place,
            hop: way.hop,
            mtu: self.mtu(cx, way, destination),
            header,
        })
    }
}

/// The type of the frame `bytes`, if that may hold a segment.
#[inline(always)]
fn kind(bytes: &[u8]) -> Option<[u8; 2]> {
    let head: &[u8; ETHER_LEN + 40] = bytes.first_chunk()?;
    Some([head[12], head[13]])
}

/// How many frames the super-segment in `frame` stands for, and their bytes.
#[inline(never)]
fn super_weight(cx: &mut Cx<'_>, frame: &Frame) -> (u64, u64) {
    cx.pool.pull(frame, ETHER_LEN);
    let weight = frame_count(cx, frame);
    cx.pool.push(frame, ETHER_LEN);
    weight
}

/// The longest packet that the segment `bytes` becomes on a wire.
#[inline]
fn longest<E: Outward>(gso_size: u16, bytes: &[u8]) -> usize {
    match (gso_size, bytes.get(E::Ends::HEADER + 12)) {
        (1.., Some(offset)) => {
            let headers = E::Ends::HEADER + usize::from(offset >> 4) * 4;
            bytes.len().min(headers + usize::from(gso_size))
        }
        _ => bytes.len(),
    }
}
