//! What is done to the lab, and how it recovers.

use super::*;

/// The byte of a stream at a place.
fn byte(at: usize) -> u8 {
    (at * 7 + at / 251) as u8
}

impl World {
    pub(super) fn step(&mut self, step: &Step) {
        match *step {
            Step::Connect(from, to, family) => {
                self.connect(from, to, family);
            }
            Step::Send(which, end, _)
            | Step::Take(which, end)
            | Step::Shut(which, end)
            | Step::Close(which, end, _) => {
                if let Some(held) = self.end(which, end) {
                    let after = self.ask(step, held);
                    let pairs = self.pairs.len();
                    self.pairs[which % pairs][usize::from(end)] = after;
                }
            }
            Step::Datagram(from, to, family, len, cut) => {
                self.datagram(from, to, family, 0, (len, cut));
            }
            Step::Swarm(to, family, count) => {
                for port in 1..=count {
                    (0..BOXES.len())
                        .for_each(|from| self.datagram(from, to, family, port, (8, true)));
                    if port % 16 == 1 {
                        self.settle();
                    }
                }
            }
            Step::Ping(from, to, family, len) => self.ping(from, to, family, len),
            Step::Calls(from, to, family, count) => {
                for _ in 0..count {
                    if let Some((ns, sock)) = self.connect(from, to, family) {
                        self.settle();
                        let mut sys = self.lab.sys(ns);
                        let _set = sys.set(sock, SockOpt::LingerZero(true));
                        sys.close(sock);
                        self.pairs
                            .pop_if(|pair| pair[0].is_some_and(|end| end.sock == sock));
                    }
                }
            }
            Step::Wire(wire) => self.wire = wire,
            Step::Settle => self.settle(),
            Step::Wait(millis) => self.wait(millis),
            Step::Verb(verb, at) => self.verb(verb, at),
            Step::Rule(family, port) => self.rule(family, port),
        }
        self.mark_long();
        self.events.extend(self.lab.net_mut().trace.drain());
    }

    pub(super) fn connect(
        &mut self,
        from: usize,
        to: usize,
        family: Family,
    ) -> Option<(NsId, SockId)> {
        let (ns, to) = (self.place(from)?, self.address(to, family));
        let mut sys = self.lab.sys(ns);
        let sock = sys.socket(SockKind::Tcp, family).unwrap();
        let begun = sys.connect(sock, to);
        self.said
            .push(format!("{begun:?} {:?}", sys.local_addr(sock)));
        self.pairs.push([Some(End::new(ns, sock)), None]);
        Some((ns, sock))
    }

    pub(super) fn ask(&mut self, step: &Step, mut end: End) -> Option<End> {
        let mut sys = self.lab.sys(end.ns);
        match *step {
            Step::Send(_, _, len) => {
                let bytes: Vec<u8> = (end.sent..end.sent + len).map(byte).collect();
                let sent = sys.send(end.sock, &bytes);
                end.sent += sent.unwrap_or(0);
                self.said.push(format!("{sent:?}"));
            }
            Step::Take(..) => {
                let mut bytes = vec![0; 60_000];
                let taken = sys.recv(end.sock, &mut bytes);
                let expected = (end.taken..).map(byte);
                let taken_bytes = &bytes[..taken.unwrap_or(0)];
                assert!(
                    taken_bytes
                        .iter()
                        .copied()
                        .eq(expected.take(taken_bytes.len()))
                );
                end.taken += taken_bytes.len();
                self.said.push(format!("{taken:?}"));
            }
            Step::Shut(..) => {
                let shut = sys.shutdown(end.sock);
                self.said.push(format!("{shut:?}"));
            }
            _ => {
                if matches!(step, Step::Close(_, _, true)) {
                    let _set = sys.set(end.sock, SockOpt::LingerZero(true));
                }
                sys.close(end.sock);
                return None;
            }
        }
        Some(end)
    }

    pub(super) fn datagram(
        &mut self,
        from: usize,
        to: usize,
        family: Family,
        port: u16,
        (len, cut): (usize, bool),
    ) {
        let Some(ns) = self.place(from) else { return };
        let to = self.address(to, family);
        let mut sys = self.lab.sys(ns);
        let sock = sys.socket(SockKind::Udp, family).unwrap();
        let any: IpAddr = match family {
            Family::V4 => Ipv4Addr::UNSPECIFIED.into(),
            Family::V6 => Ipv6Addr::UNSPECIFIED.into(),
        };
        let sent = sys
            .set(sock, SockOpt::DontFragment(!cut))
            .and_then(|()| {
                if port == 0 {
                    Ok(())
                } else {
                    sys.bind(sock, (any, port).into())
                }
            })
            .and_then(|()| sys.send_to(sock, &vec![7; len], to));
        self.said.push(format!("{sent:?}"));
        self.lab.sys(ns).close(sock);
    }

    pub(super) fn ping(&mut self, from: usize, to: usize, family: Family, len: usize) {
        let Some(ns) = self.place(from) else { return };
        let to = self.address(to, family).ip();
        let mut sys = self.lab.sys(ns);
        let sock = sys.socket(SockKind::Ping, family).unwrap();
        let sent = sys
            .set(sock, SockOpt::DontFragment(false))
            .and_then(|()| sys.connect(sock, (to, 0).into()))
            .and_then(|()| sys.send(sock, &vec![7; len]));
        self.said.push(format!("{sent:?}"));
        self.pings.push((ns, sock));
        if self.pings.len() > 2 {
            self.hear_ping();
        }
    }

    pub(super) fn hear_ping(&mut self) {
        let (ns, sock) = self.pings.remove(0);
        if self.lab.net().ns(ns).is_none() {
            return;
        }
        let mut sys = self.lab.sys(ns);
        let heard = sys.recv_from(sock, &mut [0; 70_000]);
        let error = sys.take_error(sock);
        sys.close(sock);
        self.said.push(format!("{heard:?} {error:?}"));
    }

    pub(super) fn rule(&mut self, family: Family, port: u16) {
        let before = self.rules.remove(&(family, port));
        let of_rule = match family {
            Family::V4 => filter::Family::V4,
            Family::V6 => filter::Family::V6,
        };
        let host = self.lab.places().host;
        let added = self.lab.net_mut().with_ns(host, |netns, _| {
            let rules = &mut netns.firewall_mut().unwrap().rules;
            if let Some(before) = before {
                rules.remove(before);
                return None;
            }
            let forward = ChainId::base(of_rule, Table::Filter, Hook::Forward)?;
            let matches = Match {
                destination_port: Some(port),
                ..Match::default()
            };
            let rule = Rule {
                matches,
                action: Action::Drop(DropReason::Filtered),
                origin: "test".into(),
            };
            rules.add(forward, i64::MIN, rule)
        });
        if let Some(id) = added.flatten() {
            self.rules.insert((family, port), id);
        }
    }

    pub(super) fn verb(&mut self, verb: Verb, at: usize) {
        let (name, network) = BOXES[at];
        let host = self.lab.places().host;
        let addresses = [Family::V4, Family::V6].map(|family| self.address(at, family).ip());
        let done = match verb {
            Verb::Leave => self.lab.network_disconnect(network, name, false),
            Verb::Join => (self.lab).network_connect(network, name, EndpointSpec::default()),
            Verb::Restart => self.lab.restart(name),
            Verb::Kill => self.lab.kill(name),
            Verb::Start => self.lab.start(name),
            Verb::Pause(true) => self.lab.pause(name),
            Verb::Pause(false) => self.lab.unpause(name),
            _ => Ok(()),
        };
        if done.is_ok() && matches!(verb, Verb::Join | Verb::Restart | Verb::Start) {
            self.serve(at);
        }
        self.said.push(format!("{done:?}"));
        let bridge = self.bridge(network);
        let done = self.lab.net_mut().with_ns(host, |netns, _| match verb {
            Verb::Forward(on) => {
                netns.set_forwarding(on);
                Ok(())
            }
            Verb::BridgeMtu(mtu) => netns.iface_mtu(bridge, mtu),
            Verb::Forget => {
                let firewall = netns.firewall_mut().unwrap();
                for address in addresses {
                    firewall.conntrack.flush_where(address);
                }
                Ok(())
            }
            _ => Ok(()),
        });
        self.said.push(format!("{done:?}"));
        let Some(ns) = self.place(at) else { return };
        let Some((eth0, _)) = self.eth0(ns) else {
            return;
        };
        let done = self.lab.net_mut().with_ns(ns, |netns, cx| match verb {
            Verb::Mac(last) => netns.iface_mac(eth0, [2, 0, 0, 0, 1, last]),
            Verb::Mtu(mtu) => netns.iface_mtu(eth0, mtu),
            Verb::Down(down) => netns.iface_up(cx, eth0, !down),
            _ => Ok(()),
        });
        self.said.push(format!("{done:?}"));
    }

    /// All that strains it ends, and time passes.
    pub(super) fn heal(&mut self) {
        self.wire = Wire::default();
        for (family, port) in self.rules.clone().into_keys() {
            self.rule(family, port);
        }
        for at in 0..BOXES.len() {
            for verb in [
                Verb::Pause(false),
                Verb::Start,
                Verb::Join,
                // An interface that was down has no default route, and no address of IPv6.
                Verb::Restart,
                Verb::BridgeMtu(1500),
                Verb::Forward(true),
            ] {
                self.verb(verb, at);
            }
        }
        self.mark_long();
        for (ns, sock) in self
            .pairs
            .drain(..)
            .flatten()
            .flatten()
            .map(|end| (end.ns, end.sock))
        {
            if self.lab.net().ns(ns).is_some() {
                self.lab.sys(ns).close(sock);
            }
        }
        while !self.pings.is_empty() {
            self.hear_ping();
        }
        self.wait(700_000);
    }

    /// Each family carries a stream to its end, over a bridge, through a published port and over the wire.
    pub(super) fn recovers(&mut self, setting: Setting) {
        const LEN: usize = 30_000;
        let count = BOXES.len();
        for (from, to) in [
            (0, 1),
            (count, count + 2),
            (1, 2 * count),
            (2, 2 * count + 1),
        ] {
            for family in [Family::V4, Family::V6] {
                self.pairs.clear();
                self.connect(from, to, family);
                self.wait(30_000);
                assert!(
                    self.end(0, true).is_some(),
                    "{from} to {to} {family:?} {setting:?}"
                );
                for _ in 0..100 {
                    let (sent, taken) = match (self.end(0, false), self.end(0, true)) {
                        (Some(one), Some(other)) => (one.sent, other.taken),
                        _ => panic!(),
                    };
                    if taken == LEN {
                        break;
                    }
                    self.step(&Step::Send(0, false, (LEN - sent).min(5_000)));
                    self.wait(700);
                    self.step(&Step::Take(0, true));
                }
                let taken = self.end(0, true).unwrap().taken;
                assert_eq!(taken, LEN, "{from} to {to} {family:?} {setting:?}");
                for end in [false, true] {
                    self.step(&Step::Close(0, end, end));
                }
                self.wait(130_000);
            }
        }
    }
}
