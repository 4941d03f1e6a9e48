//! A whole lab whose namespaces take no short way, beside one in which they do, with a stranger who sends what he likes and
//! with verbs in between: both tell the same.
//!
//! The long lab is captured as well, so that its bridges look at each frame. What happens is of one family.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use switch::verdict::Event;
use switch::wire::{Packet, fill_header_checksum, fill_transport_checksum};

use crate::app::{Family, SockKind, SockOpt, Sys};
use crate::docker::spec::{
    ContainerSpec, EndpointSpec, HostPort, NetworkSpec, Port, PortBinding, Proto,
};
use crate::id::{NsId, SockId};
use crate::lab::{Input, Lab, LabConfig, Output};
use crate::net::CaptureAt;
use crate::netns::*;

/// Containers that publish their port, and which of the networks they are in.
const BOXES: [(&str, usize); 3] = [("box0", 0), ("box1", 0), ("box2", 1)];
/// The networks of each family.
const NETWORKS: [[&str; 2]; 2] = [["bridge", "other"], ["six", "other"]];
/// In the first of these networks.
const STRANGER: &str = "stranger";
const PORT: u16 = 80;
const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const PSH: u8 = 8;
const ACK: u8 = 16;

#[derive(Clone, Debug)]
enum Step {
    /// A place connects to a box, to its published port, or to the stranger.
    Connect(usize, usize),
    /// One end of a connection sends so much, takes what it has, shuts its half, or closes, maybe by a reset.
    Send(usize, bool, usize),
    Take(usize, bool),
    Shut(usize, bool),
    Close(usize, bool, bool),
    Datagram(usize, usize, usize),
    /// The stranger calls from one of few ports.
    Call(usize, u16),
    /// He says something in one of his connections.
    Say(usize, Said),
    /// He answers what comes, or is silent.
    Answer(bool),
    Settle,
    Wait(u64),
    Verb(Verb, usize),
}

/// Flags, how far its number and its acknowledgement are off, data, window, options, and what is done to the frame.
#[derive(Clone, Debug)]
struct Said {
    flags: u8,
    off: (i8, i8),
    data: usize,
    window: u16,
    stamped: bool,
    change: Change,
}

#[derive(Clone, Copy, Debug)]
enum Change {
    Nothing,
    Xor(usize, u8),
    Cut(usize),
    Pad(usize),
    /// Its time to live, its fragment's place, its class and what is beside that in its header.
    Hops(u8),
    Fragment(u16),
    Class(u16),
}

#[derive(Clone, Copy, Debug)]
enum Verb {
    Leave,
    Join,
    Restart,
    Forget,
    Mac(u8),
    Mtu(u32),
    Down(bool),
    Forward(bool),
}

/// The stranger's end of a connection: he, the other one, the station towards him, numbers.
#[derive(Clone, Copy, Debug)]
struct Peer {
    ends: [(IpAddr, u16); 2],
    mac: [u8; 6],
    next: u32,
    expected: u32,
}

struct World {
    lab: Lab,
    family: Family,
    long: bool,
    listeners: [Option<(NsId, SockId)>; 3],
    pairs: Vec<[Option<(NsId, SockId)>; 2]>,
    peers: Vec<Peer>,
    answers: bool,
    events: Vec<Event>,
    said: Vec<String>,
}

fn container(name: &str, network: &str, published: Option<u16>) -> ContainerSpec {
    let port = Port {
        number: PORT,
        proto: Proto::Tcp,
    };
    let binding = |port_| PortBinding {
        port,
        host_ip: None,
        host_port: HostPort::Exact(port_),
    };
    ContainerSpec {
        name: Some(name.to_owned()),
        image: "busybox".to_owned(),
        network_mode: network.to_owned(),
        ports: published.map(binding).into_iter().collect(),
        ..ContainerSpec::default()
    }
}

fn published(number: usize) -> u16 {
    8000 + number as u16
}

impl World {
    fn new(family: Family, long: bool) -> Self {
        let mut lab = Lab::new(LabConfig::default()).unwrap();
        lab.net_mut().trace.listen(true);
        let networks = NETWORKS[family as usize];
        for name in networks.into_iter().filter(|name| *name != "bridge") {
            let network = NetworkSpec {
                name: name.to_owned(),
                ipv6: Some(family == Family::V6),
                ..NetworkSpec::default()
            };
            lab.network_create(network).unwrap();
        }
        let boxes = BOXES.iter().enumerate();
        let boxes = boxes.map(|(at, (name, network))| (*name, *network, Some(published(at))));
        for (name, network, port) in boxes.chain([(STRANGER, 0, None)]) {
            let network = networks[network];
            lab.create(container(name, network, port)).unwrap();
            lab.start(name).unwrap();
        }
        if long {
            lab.capture_start(CaptureAt::All);
        }
        let mut world = Self {
            lab,
            family,
            long,
            listeners: [None; 3],
            pairs: Vec::new(),
            peers: Vec::new(),
            answers: true,
            events: Vec::new(),
            said: Vec::new(),
        };
        let (stranger, ..) = world.eth0(world.namespace(STRANGER)).unwrap();
        world.lab.net_mut().raw(stranger, true);
        (0..BOXES.len()).for_each(|at| world.serve(at));
        world.settle();
        world
    }

    fn namespace(&self, name: &str) -> NsId {
        let lan = self.lab.places().lan;
        self.lab.namespace(name).unwrap_or(lan)
    }

    fn eth0(&self, ns: NsId) -> Option<(IfId, [u8; 6], IpAddr)> {
        let netns = self.lab.net().ns(ns)?;
        let iface = netns.ifaces().find(|iface| !iface.is_loopback())?;
        Some((iface.id, iface.mac, self.of_family(iface)?))
    }

    /// An address of an interface.
    fn of_family(&self, iface: &Iface) -> Option<IpAddr> {
        let mut addresses = iface.addrs.iter().map(|at| at.net.addr());
        addresses.find(|address| match address {
            IpAddr::V4(_) => self.family == Family::V4,
            IpAddr::V6(v6) => self.family == Family::V6 && !v6.is_unicast_link_local(),
        })
    }

    /// Boxes, then another machine, then the host.
    fn place(&self, at: usize) -> NsId {
        let places = self.lab.places();
        match BOXES.get(at) {
            Some((name, _)) => self.namespace(name),
            None if at == BOXES.len() => places.lan,
            None => places.host,
        }
    }

    /// Boxes, what they publish, then the stranger.
    fn address(&self, at: usize) -> SocketAddr {
        let nobody = match self.family {
            Family::V4 => IpAddr::V4(Ipv4Addr::LOCALHOST),
            Family::V6 => IpAddr::V6(Ipv6Addr::LOCALHOST),
        };
        let of = |ns| self.eth0(ns).map_or(nobody, |eth0| eth0.2);
        let places = self.lab.places();
        if let Some(at) = at.checked_sub(BOXES.len()).filter(|at| *at < BOXES.len()) {
            let host = self.lab.net().ns(places.host).unwrap();
            let uplink = self.of_family(host.iface(places.uplink).unwrap());
            return (uplink.unwrap(), published(at)).into();
        }
        match BOXES.get(at) {
            Some((name, _)) => (of(self.namespace(name)), PORT).into(),
            None => (of(self.namespace(STRANGER)), PORT).into(),
        }
    }

    fn serve(&mut self, at: usize) {
        let ns = self.place(at);
        self.mark_long();
        let mut sys = self.lab.sys(ns);
        let listener = sys.socket(SockKind::Tcp, self.family).unwrap();
        let any = match self.family {
            Family::V4 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            Family::V6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        let bound = sys.bind(listener, (any, PORT).into());
        let listens = bound.and_then(|()| sys.listen(listener, 2));
        self.listeners[at] = listens.ok().map(|()| (ns, listener));
    }

    /// No namespace of the long lab takes short ways.
    fn mark_long(&mut self) {
        let (long, net) = (self.long, self.lab.net_mut());
        let all: Vec<NsId> = net.all_ns().map(Netns::id).collect();
        for ns in all {
            net.with_ns(ns, |netns, _| {
                netns.takes_long_way = long;
                netns.streams.tcp(netns.offload).0.takes_long_way = long;
            });
        }
    }

    fn settle(&mut self) {
        for _ in 0..20 {
            loop {
                match self.lab.poll() {
                    Output::Idle(_) => break,
                    Output::Captured(_) => {}
                    output => self.said.push(format!("{output:?}")),
                }
            }
            self.lab.net_mut().capture_take();
            self.events.extend(self.lab.net_mut().trace.drain());
            self.accept();
            if !self.listen() {
                return;
            }
        }
    }

    fn accept(&mut self) {
        for (ns, listener) in self.listeners.into_iter().flatten() {
            while let Ok((sock, from)) = self.lab.sys(ns).accept(listener) {
                self.said.push(format!("{ns:?} accepts {sock:?} of {from}"));
                let open = self.pairs.iter_mut().rev().find(|pair| pair[1].is_none());
                match open {
                    Some(pair) => pair[1] = Some((ns, sock)),
                    None => self.pairs.push([None, Some((ns, sock))]),
                }
            }
        }
    }

    /// The stranger takes what came; whether he answered.
    fn listen(&mut self) -> bool {
        let Some((eth0, mac, me)) = self.eth0(self.namespace(STRANGER)) else {
            return false;
        };
        let mut frames = Vec::new();
        (self.lab.net_mut()).raw_recv_burst(eth0, 200, |bytes| frames.push(bytes.to_vec()));
        let mut answers = Vec::new();
        for frame in frames {
            self.said.push(format!("{frame:x?}"));
            if let Some(answer) = is_at(&frame, mac, me) {
                answers.push(answer);
            } else if let Some((peer, says)) = self.hear(&frame).filter(|_| self.answers) {
                answers.push(Self::frame(mac, &peer, &says));
            }
        }
        let net = self.lab.net_mut();
        for answer in &answers {
            net.raw_send(eth0, answer).unwrap();
        }
        !answers.is_empty()
    }

    /// Notes a segment; what is to be said to it.
    fn hear(&mut self, frame: &[u8]) -> Option<(Peer, Said)> {
        let is_packet = matches!(frame.get(12..14), Some([8, 0] | [0x86, 0xdd]));
        let bytes = frame.get(14..).filter(|_| is_packet)?;
        let packet = Packet::parse(bytes).ok()?;
        let (from, to) = (packet.source, packet.destination);
        if to.is_multicast() {
            return None;
        }
        let segment = bytes.get(packet.transport..packet.len)?;
        let word = |at: usize| Some(u32::from_be_bytes(*segment.get(at..)?.first_chunk()?));
        let (ports, seq, ack, flags) = (word(0)?, word(4)?, word(8)?, *segment.get(13)?);
        if packet.protocol != switch::wire::IpProtocol::Tcp {
            return None;
        }
        let ends = [(to, ports as u16), (from, (ports >> 16) as u16)];
        let data = segment
            .len()
            .checked_sub(usize::from(segment[12] >> 4) * 4)?;
        let known = self.peers.iter().position(|peer| peer.ends == ends);
        let at = known.unwrap_or_else(|| {
            let next = u32::from(ends[1].1).wrapping_mul(0x1234_5677);
            self.peers.push(Peer {
                ends,
                mac: [0; 6],
                next,
                expected: 0,
            });
            self.peers.len() - 1
        });
        let peer = &mut self.peers[at];
        peer.mac.copy_from_slice(&frame[6..12]);
        let control = u32::from(flags & SYN != 0) + u32::from(flags & FIN != 0);
        peer.expected = seq.wrapping_add(data as u32 + control);
        let mut says = Said::plain(ACK, 0);
        match flags & (SYN | ACK | RST) {
            SYN => says.flags |= SYN,
            flags if flags == SYN | ACK => peer.next = ack,
            ACK if data > 0 || control > 0 => says.data = usize::from(ends[1].1 % 3),
            _ => return None,
        }
        let spoken = *peer;
        peer.say(&says);
        Some((spoken, says))
    }

    fn frame(mac: [u8; 6], peer: &Peer, said: &Said) -> Vec<u8> {
        let [(us, port), (them, to)] = peer.ends;
        let seq = peer.next.wrapping_add_signed(said.off.0.into());
        let ack = peer.expected.wrapping_add_signed(said.off.1.into());
        let options: &[u8] = match (said.flags & SYN != 0, said.stamped, port % 2) {
            (true, true, _) => &[
                2, 4, 5, 0xb4, 1, 3, 3, 7, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0,
            ],
            (true, false, 0) => &[2, 4, 5, 0xb4, 3, 3, 7, 4, 2, 0, 0, 0],
            (false, true, _) => &[1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0],
            _ => &[],
        };
        let (mut packet, kind) = header(us, them);
        let start = packet.len();
        packet.extend_from_slice(&port.to_be_bytes());
        packet.extend_from_slice(&to.to_be_bytes());
        packet.extend_from_slice(&seq.to_be_bytes());
        packet.extend_from_slice(&ack.to_be_bytes());
        packet.extend_from_slice(&[((20 + options.len()) << 2) as u8, said.flags]);
        packet.extend_from_slice(&said.window.to_be_bytes());
        packet.extend_from_slice(&[0; 4]);
        packet.extend_from_slice(options);
        packet.resize(packet.len() + said.data, b'x');
        let (at, len) = match us {
            IpAddr::V4(_) => (2, packet.len()),
            IpAddr::V6(_) => (4, packet.len() - start),
        };
        packet[at..at + 2].copy_from_slice(&(len as u16).to_be_bytes());
        if let Ok(whole) = Packet::parse(&packet) {
            fill_transport_checksum(&mut packet, &whole);
        }
        match (said.change, us) {
            (Change::Hops(hops), IpAddr::V4(_)) => packet[8] = hops,
            (Change::Hops(hops), IpAddr::V6(_)) => packet[7] = hops,
            (Change::Fragment(place), IpAddr::V4(_)) => {
                packet[6..8].copy_from_slice(&place.to_be_bytes());
            }
            (Change::Fragment(place), IpAddr::V6(_)) => {
                let [high, low] = place.to_be_bytes();
                packet.splice(40..40, [6, 0, high, low, 0, 0, 0, 7]);
                (packet[5], packet[6]) = (packet[5].wrapping_add(8), 44);
            }
            (Change::Class(class), IpAddr::V4(_)) => packet[1] = class as u8,
            (Change::Class(class), IpAddr::V6(_)) => {
                packet[0] |= (class >> 12) as u8;
                packet[1..3].copy_from_slice(&(class << 4).to_be_bytes());
            }
            _ => {}
        }
        if us.is_ipv4() {
            fill_header_checksum(&mut packet);
        }
        let mut frame = [&peer.mac[..], &mac, &kind, &packet].concat();
        let len = frame.len();
        match said.change {
            Change::Xor(at, bits) => frame[at % len] ^= bits,
            Change::Cut(at) => frame.truncate(1 + at % len),
            Change::Pad(count) => frame.resize(len + count, 0),
            _ => {}
        }
        frame
    }

    /// The end of a connection, if its namespace is still there.
    fn end(&self, which: usize, end: bool) -> Option<(NsId, SockId)> {
        let pair = self.pairs.get(which % self.pairs.len().max(1))?;
        pair[usize::from(end)].filter(|(ns, _)| self.lab.net().ns(*ns).is_some())
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Connect(from, to) => {
                let (ns, to) = (self.place(from), self.address(to));
                let mut sys = self.lab.sys(ns);
                let sock = sys.socket(SockKind::Tcp, self.family).unwrap();
                let begun = sys.connect(sock, to);
                self.said.push(format!("{begun:?}"));
                self.pairs.push([Some((ns, sock)), None]);
            }
            Step::Datagram(from, to, len) => {
                let (ns, to) = (self.place(from), self.address(to));
                let mut sys = self.lab.sys(ns);
                let sock = sys.socket(SockKind::Udp, self.family).unwrap();
                let sent = sys.send_to(sock, &vec![7; len], to);
                self.said.push(format!("{sent:?}"));
                self.lab.sys(ns).close(sock);
            }
            Step::Send(which, end, _)
            | Step::Take(which, end)
            | Step::Shut(which, end)
            | Step::Close(which, end, _) => {
                if let Some((ns, sock)) = self.end(which, end) {
                    self.ask(step, which, end, (ns, sock));
                }
            }
            Step::Call(to, port) => self.call(to, port),
            Step::Say(which, ref said) => self.say(which, said),
            Step::Answer(on) => self.answers = on,
            Step::Settle => self.settle(),
            Step::Wait(millis) => self.wait(millis),
            Step::Verb(verb, at) => self.verb(verb, at),
        }
        self.mark_long();
        self.events.extend(self.lab.net_mut().trace.drain());
    }

    fn ask(&mut self, step: &Step, which: usize, end: bool, (ns, sock): (NsId, SockId)) {
        let mut sys = self.lab.sys(ns);
        let result = match *step {
            Step::Send(_, _, len) => sys.send(sock, &vec![which as u8; len]),
            Step::Take(..) => {
                let mut bytes = vec![0; 60_000];
                let taken = sys.recv(sock, &mut bytes);
                bytes.truncate(taken.unwrap_or(0));
                taken.map(|_| bytes.iter().map(|byte| usize::from(*byte)).sum())
            }
            Step::Shut(..) => sys.shutdown(sock).map(|()| 0),
            _ => {
                if matches!(step, Step::Close(_, _, true)) {
                    let _set = sys.set(sock, SockOpt::LingerZero(true));
                }
                sys.close(sock);
                let pairs = self.pairs.len();
                self.pairs[which % pairs][usize::from(end)] = None;
                Ok(0)
            }
        };
        self.said.push(format!("{result:?}"));
    }

    fn call(&mut self, to: usize, port: u16) {
        let Some((eth0, mac, me)) = self.eth0(self.namespace(STRANGER)) else {
            return;
        };
        let to = self.address(to);
        let others = BOXES[..2].iter().map(|(name, _)| self.namespace(name));
        let mut others = others.filter_map(|ns| self.eth0(ns));
        let direct = others.find(|other| other.2 == to.ip()).map(|other| other.1);
        let host = self.lab.net().ns(self.lab.places().host).unwrap();
        let is_beside = |iface: &&Iface| iface.addrs.iter().any(|at| at.net.contains(&me));
        let gateway = host.ifaces().find(is_beside).unwrap().mac;
        let peer = Peer {
            ends: [(me, port), (to.ip(), to.port())],
            mac: direct.unwrap_or(gateway),
            next: u32::MAX - 40,
            expected: 0,
        };
        self.peers.retain(|known| known.ends != peer.ends);
        self.peers.push(Peer {
            next: peer.next + 1,
            ..peer
        });
        let frame = Self::frame(mac, &peer, &Said::plain(SYN, 0));
        self.lab.net_mut().raw_send(eth0, &frame).unwrap();
    }

    fn say(&mut self, which: usize, said: &Said) {
        let Some((eth0, mac, _)) = self.eth0(self.namespace(STRANGER)) else {
            return;
        };
        let peers = self.peers.len().max(1);
        if let Some(peer) = self.peers.get_mut(which % peers) {
            let frame = Self::frame(mac, peer, said);
            if said.off == (0, 0) && matches!(said.change, Change::Nothing | Change::Pad(_)) {
                peer.say(said);
            }
            self.lab.net_mut().raw_send(eth0, &frame).unwrap();
        }
    }

    fn wait(&mut self, millis: u64) {
        self.settle();
        let end = self.lab.now() + Duration::from_millis(millis);
        while let Some(next) = self.lab.deadline().filter(|next| *next < end) {
            self.lab.handle(next, Input::Tick);
            self.settle();
        }
        self.lab.handle(end, Input::Tick);
        self.settle();
    }

    fn verb(&mut self, verb: Verb, at: usize) {
        let (name, network) = BOXES[at];
        let network = NETWORKS[self.family as usize][network];
        let (ns, host) = (self.place(at), self.lab.places().host);
        let address = self.address(at).ip();
        let done = match verb {
            Verb::Leave => self.lab.network_disconnect(network, name, false),
            Verb::Join => (self.lab).network_connect(network, name, EndpointSpec::default()),
            Verb::Restart => {
                let done = self.lab.restart(name);
                self.serve(at);
                done
            }
            _ => Ok(()),
        };
        self.said.push(format!("{done:?}"));
        let eth0 = self.eth0(ns).map(|eth0| eth0.0);
        self.lab.net_mut().with_ns(host, |netns, _| match verb {
            Verb::Forward(on) => netns.set_forwarding(on),
            Verb::Forget => {
                let firewall = netns.firewall_mut().unwrap();
                firewall.conntrack.flush_where(address);
            }
            _ => {}
        });
        let Some(eth0) = eth0 else { return };
        let done = self.lab.net_mut().with_ns(ns, |netns, cx| match verb {
            Verb::Mac(last) => netns.iface_mac(eth0, [2, 0, 0, 0, 1, last]),
            Verb::Mtu(mtu) => netns.iface_mtu(eth0, mtu),
            Verb::Down(down) => netns.iface_up(cx, eth0, !down),
            _ => Ok(()),
        });
        self.said.push(format!("{done:?}"));
    }

    /// What can be looked at.
    fn state(&self) -> Vec<String> {
        let net = self.lab.net();
        let now = net.now();
        let mut state = vec![format!("{:?}", net.trace.drops)];
        let host = net.ns(self.lab.places().host).unwrap();
        let connections = host.firewall().unwrap().conntrack.list(now);
        let line =
            |conn: &&switch::conntrack::Conn| format!("{} {:?}", conn.line(now), conn.expires);
        state.extend(connections.iter().map(line));
        for bridge in net.bridges() {
            state.push(format!(
                "{:?} {:?}",
                bridge.counters(),
                bridge.fdb().entries(now)
            ));
        }
        for netns in net.all_ns() {
            let ifaces = netns
                .ifaces()
                .map(|iface| (&iface.name, iface.rx, iface.tx));
            state.extend(ifaces.map(|iface| format!("{} {iface:?}", netns.name())));
            state.push(format!("{:?}", netns.neighbours(now).collect::<Vec<_>>()));
            state.push(format!("{:?}", netns.sockets()));
        }
        state
    }
}

/// The header of a packet between these, without its length and sum, and the type of its frame.
fn header(from: IpAddr, to: IpAddr) -> (Vec<u8>, [u8; 2]) {
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let mut header = vec![0x45, 0, 0, 0, 0, 7, 0x40, 0, 64, 6, 0, 0];
            header.extend([from.octets(), to.octets()].concat());
            (header, [8, 0])
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let mut header = vec![0x60, 0, 0, 0, 0, 0, 6, 64];
            header.extend([from.octets(), to.octets()].concat());
            (header, [0x86, 0xdd])
        }
        _ => unreachable!("both ends are of one family"),
    }
}

/// What tells that an address is at a station, if a frame asks for it.
fn is_at(frame: &[u8], mac: [u8; 6], me: IpAddr) -> Option<Vec<u8>> {
    let asker = frame.get(6..12)?;
    match me {
        IpAddr::V4(me) => {
            let asks = frame[12..14] == [8, 6] && frame.get(21) == Some(&1);
            if !asks || frame.get(38..42) != Some(&me.octets()) {
                return None;
            }
            let mut answer = [asker, &mac, &[8, 6, 0, 1, 8, 0, 6, 4, 0, 2]].concat();
            answer.extend_from_slice(&mac);
            answer.extend_from_slice(&me.octets());
            answer.extend_from_slice(&frame[22..32]);
            Some(answer)
        }
        IpAddr::V6(me) => {
            let asks = frame[12..14] == [0x86, 0xdd] && frame.get(20) == Some(&58);
            let asks = asks && frame.get(54) == Some(&135);
            if !asks || frame.get(62..78) != Some(&me.octets()) {
                return None;
            }
            let mut answer = [asker, &mac, &[0x86, 0xdd, 0x60, 0, 0, 0, 0, 32, 58, 255]].concat();
            answer.extend_from_slice(&me.octets());
            answer.extend_from_slice(&frame[22..38]);
            answer.extend_from_slice(&[136, 0, 0, 0, 0x60, 0, 0, 0]);
            answer.extend_from_slice(&me.octets());
            answer.extend_from_slice(&[2, 1]);
            answer.extend_from_slice(&mac);
            let packet = &mut answer[14..];
            let parsed = Packet::parse(packet).ok()?;
            fill_transport_checksum(packet, &parsed);
            Some(answer)
        }
    }
}

impl Said {
    const fn plain(flags: u8, data: usize) -> Self {
        Self {
            flags,
            off: (0, 0),
            data,
            window: 60_000,
            stamped: false,
            change: Change::Nothing,
        }
    }
}

impl Peer {
    fn say(&mut self, said: &Said) {
        let control = u32::from(said.flags & SYN != 0) + u32::from(said.flags & FIN != 0);
        self.next = self.next.wrapping_add(said.data as u32 + control);
    }
}

fn any_said() -> impl Strategy<Value = Said> {
    let flags = prop_oneof![
        6 => Just(ACK | PSH),
        3 => Just(ACK),
        2 => Just(ACK | FIN),
        1 => Just(ACK | RST),
        1 => any::<u8>(),
    ];
    let off = prop_oneof![6 => Just(0_i8), 1 => -2_i8..3];
    let change = prop_oneof![
        12 => Just(Change::Nothing),
        1 => (0_usize..60, 0_u8..8).prop_map(|(at, bit)| Change::Xor(at, 1_u8 << bit)),
        1 => (0_usize..60).prop_map(Change::Cut),
        2 => (1_usize..30).prop_map(Change::Pad),
        1 => (0_u8..3).prop_map(Change::Hops),
        1 => prop::sample::select(vec![0, 0x2000, 1, 0x2003]).prop_map(Change::Fragment),
        1 => any::<u16>().prop_map(Change::Class),
    ];
    let data = prop_oneof![Just(0_usize), 0_usize..20, 0_usize..1400];
    let window = prop_oneof![6 => Just(60_000_u16), 1 => 0_u16..4];
    (
        flags,
        (off.clone(), off),
        data,
        window,
        prop::bool::weighted(0.1),
        change,
    )
        .prop_map(|(flags, off, data, window, stamped, change)| Said {
            flags,
            off,
            data,
            window,
            stamped,
            change,
        })
}

fn any_verb() -> impl Strategy<Value = Verb> {
    prop_oneof![
        1 => Just(Verb::Leave),
        1 => Just(Verb::Join),
        1 => Just(Verb::Restart),
        2 => Just(Verb::Forget),
        1 => any::<u8>().prop_map(Verb::Mac),
        1 => (576_u32..1501).prop_map(Verb::Mtu),
        2 => any::<bool>().prop_map(Verb::Down),
        2 => any::<bool>().prop_map(Verb::Forward),
    ]
}

fn any_step() -> impl Strategy<Value = Step> {
    let (place, to, which) = (0..=BOXES.len() + 1, 0..=2 * BOXES.len(), 0_usize..64);
    let len = prop_oneof![1_usize..100, 1_usize..20_000];
    let wait = prop_oneof![4 => 1_u64..300, 1 => 300_u64..70_000];
    prop_oneof![
        5 => (place.clone(), to.clone()).prop_map(|(from, to)| Step::Connect(from, to)),
        5 => (which.clone(), any::<bool>(), len).prop_map(|(at, end, len)| Step::Send(at, end, len)),
        4 => (which.clone(), any::<bool>()).prop_map(|(at, end)| Step::Take(at, end)),
        1 => (which.clone(), any::<bool>()).prop_map(|(at, end)| Step::Shut(at, end)),
        3 => (which.clone(), any::<bool>(), any::<bool>())
            .prop_map(|(at, end, reset)| Step::Close(at, end, reset)),
        1 => (place, to.clone(), 1_usize..3000).prop_map(|(from, to, len)| Step::Datagram(from, to, len)),
        3 => (0..2 * BOXES.len(), 1000_u16..1004).prop_map(|(to, port)| Step::Call(to, port)),
        8 => (which, any_said()).prop_map(|(at, said)| Step::Say(at, said)),
        1 => any::<bool>().prop_map(Step::Answer),
        8 => Just(Step::Settle),
        2 => wait.prop_map(Step::Wait),
        1 => (any_verb(), 0..BOXES.len()).prop_map(|(verb, at)| Step::Verb(verb, at)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 90, ..ProptestConfig::default() })]

    #[test]
    fn short_ways_tell_what_the_long_ones_do(
        family in prop::sample::select(vec![Family::V4, Family::V6]),
        steps in vec(any_step(), 1..80),
    ) {
        let (mut short, mut long) = (World::new(family, false), World::new(family, true));
        for step in &steps {
            short.step(step);
            long.step(step);
            prop_assert_eq!(&short.said, &long.said, "{:?}", step);
            prop_assert_eq!(&short.events, &long.events, "{:?}", step);
            prop_assert_eq!(short.state(), long.state(), "{:?}", step);
        }
    }
}
