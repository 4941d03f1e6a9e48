//! The lab: who is in it, how it is driven, what can be looked at, and how it ends.

use super::*;

/// One end of a connection: its socket, how much it has sent and taken.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    pub(super) ns: NsId,
    pub(super) sock: SockId,
    pub(super) sent: usize,
    pub(super) taken: usize,
}

pub(super) struct World {
    pub(super) lab: Lab,
    pub(super) drive: Drive,
    pub(super) listeners: BTreeMap<usize, (NsId, [SockId; 2])>,
    pub(super) pairs: Vec<[Option<End>; 2]>,
    pub(super) pings: Vec<(NsId, SockId)>,
    pub(super) rules: BTreeMap<(Family, u16), RuleId>,
    pub(super) wire: Wire,
    pub(super) chance: u64,
    /// What is on the wire, by when it arrives and where.
    pub(super) under_way: BTreeMap<(Time, u64), (usize, Vec<u8>, Offload)>,
    pub(super) carried: u64,
    pub(super) events: Vec<Event>,
    pub(super) said: Vec<String>,
}

fn container(name: &str, network: &str, number: Option<usize>) -> ContainerSpec {
    let binding = |(number, proto)| PortBinding {
        port: Port {
            number: PORT,
            proto,
        },
        host_ip: None,
        host_port: HostPort::Exact(published(number)),
    };
    let ports = number
        .into_iter()
        .flat_map(|number| [(number, Proto::Tcp), (number, Proto::Udp)]);
    ContainerSpec {
        name: Some(name.to_owned()),
        image: "busybox".to_owned(),
        network_mode: network.to_owned(),
        ports: ports.map(binding).collect(),
        ..ContainerSpec::default()
    }
}

/// Else what the wire brings from one bridge to the other would be direct access from another interface.
fn unprotected(is_front: bool) -> BTreeMap<String, String> {
    let option = |family| {
        let key = format!("com.docker.network.bridge.gateway_mode_{family}");
        (key, "nat-unprotected".to_owned())
    };
    let families = is_front.then_some(["ipv4", "ipv6"]);
    families.into_iter().flatten().map(option).collect()
}

fn published(number: usize) -> u16 {
    8000 + number as u16
}

/// An address of this family that is known beyond its link.
fn of_family(address: &IpAddr, family: Family) -> bool {
    match address {
        IpAddr::V4(_) => family == Family::V4,
        IpAddr::V6(v6) => family == Family::V6 && !v6.is_unicast_link_local(),
    }
}

impl World {
    pub(super) fn new(setting: Setting, drive: Drive) -> Self {
        let mut lab = Lab::new(LabConfig {
            net: NetConfig {
                mode: setting.mode,
                ring: setting.ring,
                bridge_addresses: setting.addresses,
                pool: setting.buffers,
                ..NetConfig::default()
            },
            ..LabConfig::default()
        })
        .unwrap();
        lab.net_mut().trace.listen(true);
        let host = lab.places().host;
        lab.net_mut().with_ns(host, |netns, _| {
            netns.firewall_mut().unwrap().conntrack = Conntrack::new(Limits {
                connections: setting.connections,
            });
        });
        for name in ["front", "back"] {
            let spec = NetworkSpec {
                name: name.to_owned(),
                ipv6: Some(true),
                options: unprotected(name == "front"),
                ..NetworkSpec::default()
            };
            lab.network_create(spec).unwrap();
        }
        let boxes = BOXES.iter().enumerate();
        let boxes = boxes.map(|(at, (name, network))| (*name, *network, Some(at)));
        let ends = ENDS.map(|(name, network)| (name, network, None));
        for (name, network, number) in boxes.chain(ends) {
            lab.create(container(name, network, number)).unwrap();
            lab.start(name).unwrap();
        }
        if drive == Drive::Long {
            lab.capture_start(CaptureAt::All);
        }
        let mut world = Self {
            lab,
            drive,
            listeners: BTreeMap::new(),
            pairs: Vec::new(),
            pings: Vec::new(),
            rules: BTreeMap::new(),
            wire: Wire::default(),
            chance: 1,
            under_way: BTreeMap::new(),
            carried: 0,
            events: Vec::new(),
            said: Vec::new(),
        };
        for (name, _) in ENDS {
            let ns = world.lab.namespace(name).unwrap();
            let (eth0, _) = world.eth0(ns).unwrap();
            world.lab.net_mut().raw(eth0, true);
        }
        (0..=BOXES.len()).for_each(|at| world.serve(at));
        world.settle();
        world
    }

    pub(super) fn eth0(&self, ns: NsId) -> Option<(IfId, Vec<IpAddr>)> {
        let netns = self.lab.net().ns(ns)?;
        let iface = netns.ifaces().find(|iface| !iface.is_loopback())?;
        let addresses = iface.addrs.iter().map(|at| at.net.addr());
        Some((iface.id, addresses.collect()))
    }

    /// Boxes, then another machine, then the host.
    pub(super) fn place(&self, at: usize) -> Option<NsId> {
        let places = self.lab.places();
        match BOXES.get(at) {
            Some((name, _)) => self.lab.namespace(name),
            None if at == BOXES.len() => Some(places.lan),
            None => Some(places.host),
        }
    }

    /// The address of the last box behind the wire.
    pub(super) fn far(&self, family: Family) -> IpAddr {
        let host = self.lab.net().ns(self.lab.places().host).unwrap();
        let bridge = self.bridge("front");
        let addresses = host.iface(bridge).unwrap().addrs.iter();
        let mut gateways = addresses.map(|at| at.net.addr());
        let gateway = gateways.find(|at| of_family(at, family));
        match gateway.unwrap() {
            IpAddr::V4(v4) => {
                let [a, b, ..] = v4.octets();
                Ipv4Addr::new(a, b, 0, 200).into()
            }
            IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64 | 0x200).into(),
        }
    }

    pub(super) fn bridge(&self, network: &str) -> IfId {
        let id = self.lab.network_id(network).unwrap();
        let name = format!("br-{}", &id[..12]);
        let host = self.lab.net().ns(self.lab.places().host).unwrap();
        host.iface_named(&name).unwrap().id
    }

    /// Boxes, what they publish, the last box behind the wire, then another machine.
    pub(super) fn address(&self, at: usize, family: Family) -> SocketAddr {
        let count = BOXES.len();
        let of = |ns: Option<NsId>| {
            let addresses = ns.and_then(|ns| self.eth0(ns)).map(|eth0| eth0.1);
            let mut addresses = addresses.unwrap_or_default().into_iter();
            let nowhere = match family {
                Family::V4 => Ipv4Addr::new(172, 18, 0, 99).into(),
                Family::V6 => Ipv6Addr::LOCALHOST.into(),
            };
            addresses
                .find(|at| of_family(at, family))
                .unwrap_or(nowhere)
        };
        if at < count {
            return (of(self.place(at)), PORT).into();
        }
        if at < 2 * count {
            let places = self.lab.places();
            let host = self.lab.net().ns(places.host).unwrap();
            let uplink = host.iface(places.uplink).unwrap().addrs.iter();
            let mut addresses = uplink.map(|at| at.net.addr());
            let address = addresses.find(|at| of_family(at, family)).unwrap();
            return (address, published(at - count)).into();
        }
        match at - 2 * count {
            0 => (self.far(family), PORT).into(),
            _ => (of(self.place(count)), PORT).into(),
        }
    }

    /// A place listens, and the last box has its second addresses.
    pub(super) fn serve(&mut self, at: usize) {
        let Some(ns) = self.place(at) else { return };
        self.mark_long();
        if at == BOXES.len() - 1
            && let Some((eth0, _)) = self.eth0(ns)
        {
            for family in [Family::V4, Family::V6] {
                let prefix = if family == Family::V4 { 16 } else { 64 };
                let far = IpNet::new(self.far(family), prefix).unwrap();
                let done = self.lab.net_mut().addr_add(eth0, far);
                self.said.push(format!("{done:?}"));
            }
        }
        let mut sys = self.lab.sys(ns);
        let all = SocketAddr::from((Ipv6Addr::UNSPECIFIED, PORT));
        let listener = sys.socket(SockKind::Tcp, Family::V6).unwrap();
        let datagrams = sys.socket(SockKind::Udp, Family::V6).unwrap();
        let listens = sys
            .bind(listener, all)
            .and_then(|()| sys.listen(listener, 3))
            .and_then(|()| sys.set(datagrams, SockOpt::DontFragment(false)))
            .and_then(|()| sys.bind(datagrams, all));
        if listens.is_ok() {
            self.listeners.insert(at, (ns, [listener, datagrams]));
        }
    }

    pub(super) fn mark_long(&mut self) {
        let (long, net) = (self.drive == Drive::Long, self.lab.net_mut());
        let all: Vec<NsId> = net.all_ns().map(Netns::id).collect();
        for ns in all {
            net.with_ns(ns, |netns, _| {
                netns.takes_long_way = long;
                netns.streams.tcp(netns.offload).0.takes_long_way = long;
            });
        }
    }

    pub(super) fn settle(&mut self) {
        self.settle_by(self.drive);
    }

    pub(super) fn settle_by(&mut self, drive: Drive) {
        for _ in 0..30 {
            loop {
                // In pieces timers do not wait for frames.
                let is_due = self.lab.deadline().is_some_and(|at| at <= self.lab.now());
                let output = match drive {
                    Drive::Pieces if !is_due => self.lab.poll_within(u32::MAX),
                    _ => Some(self.lab.poll()),
                };
                match output {
                    Some(Output::Idle(_)) => break,
                    None | Some(Output::Captured(_)) => {}
                    Some(output) => self.said.push(format!("{output:?}")),
                }
            }
            self.lab.net_mut().capture_take();
            self.events.extend(self.lab.net_mut().trace.drain());
            self.accept();
            let (answered, carried) = (self.answer(), self.carry());
            if !answered && !carried {
                return;
            }
        }
    }

    pub(super) fn accept(&mut self) {
        for (ns, [listener, _]) in self.listeners.clone().into_values() {
            while let Ok((sock, from)) = self.lab.sys(ns).accept(listener) {
                self.said.push(format!("{ns:?} accepts {sock:?} of {from}"));
                let end = Some(End::new(ns, sock));
                let mut open = self.pairs.iter_mut().rev();
                match open.find(|pair| pair[1].is_none()) {
                    Some(pair) => pair[1] = end,
                    None => self.pairs.push([None, end]),
                }
            }
        }
    }

    /// Who is sent a datagram of an odd length sends it back.
    pub(super) fn answer(&mut self) -> bool {
        let mut answered = false;
        let mut bytes = vec![0; 70_000];
        for (ns, [_, datagrams]) in self.listeners.clone().into_values() {
            while let Ok(heard) = self.lab.sys(ns).recv_from(datagrams, &mut bytes) {
                self.said.push(format!("{ns:?} hears {heard:?}"));
                assert!(bytes[..heard.len].iter().all(|byte| *byte == 7));
                if heard.len % 2 == 1 {
                    let mut sys = self.lab.sys(ns);
                    let sent = sys.send_from(datagrams, &bytes[..heard.len], heard.from, heard.to);
                    self.said.push(format!("{sent:?}"));
                    answered = true;
                }
            }
        }
        answered
    }

    pub(super) fn wait(&mut self, millis: u64) {
        self.settle();
        let end = self.lab.now() + Duration::from_millis(millis);
        loop {
            let arrives = self.under_way.first_key_value().map(|((at, _), _)| *at);
            let next = self.lab.deadline().into_iter().chain(arrives).min();
            let Some(next) = next.filter(|next| *next < end) else {
                break;
            };
            self.lab.handle(next.max(self.lab.now()), Input::Tick);
            self.settle_by(Drive::Short);
        }
        self.lab.handle(end, Input::Tick);
        self.settle_by(Drive::Short);
    }

    pub(super) fn end(&self, which: usize, end: bool) -> Option<End> {
        let pair = self.pairs.get(which % self.pairs.len().max(1))?;
        pair[usize::from(end)].filter(|end| self.lab.net().ns(end.ns).is_some())
    }

    /// What can be looked at.
    pub(super) fn state(&self) -> Vec<String> {
        let net = self.lab.net();
        let now = net.now();
        let mut state = vec![format!("{:?}", net.trace.drops)];
        let host = net.ns(self.lab.places().host).unwrap();
        let firewall = host.firewall().unwrap();
        let line =
            |conn: &&switch::conntrack::Conn| format!("{} {:?}", conn.line(now), conn.expires);
        state.extend(firewall.conntrack.list(now).iter().map(line));
        let names = |iface: IfId| iface.0.to_string();
        for family in [filter::Family::V4, filter::Family::V6] {
            for table in [Table::Raw, Table::Nat, Table::Filter] {
                state.push(firewall.rules.list(family, table, true, &names));
            }
        }
        for bridge in net.bridges() {
            state.push(format!(
                "{:?} {:?}",
                bridge.counters(),
                bridge.fdb().entries(now)
            ));
        }
        for link in net.links() {
            state.push(format!(
                "{:?}",
                [Side::A, Side::B].map(|side| link.counters(side))
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

    /// Everything goes, and no buffer is left.
    pub(super) fn finish(&mut self) {
        for (name, _) in BOXES.into_iter().chain(ENDS) {
            if BOXES.iter().all(|(other, _)| *other != name) {
                let ns = self.lab.namespace(name).unwrap();
                let eth0 = self.eth0(ns).unwrap().0;
                while self.lab.net_mut().raw_recv(eth0, |_| ()).is_some() {}
            }
            self.lab.remove(name, true).unwrap();
        }
        let end = self.lab.now() + Duration::from_secs(400);
        self.lab.run_until(end);
        self.events.extend(self.lab.net_mut().trace.drain());
        assert_eq!(
            self.lab.net().pool.in_use(),
            0,
            "{:?}: frames were kept",
            self.drive
        );
    }
}

impl End {
    pub(super) const fn new(ns: NsId, sock: SockId) -> Self {
        Self {
            ns,
            sock,
            sent: 0,
            taken: 0,
        }
    }
}
