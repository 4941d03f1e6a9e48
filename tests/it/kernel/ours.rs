//! Two of our namespaces, joined by a veth pair, in virtual time.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use emulator_core::app::{Family, SockKind, SockOpt, Sys};
use emulator_core::id::{NsId, SockId};
use emulator_core::lab::{Lab, LabConfig, Output};
use emulator_core::net::VethPlan;
use emulator_core::netns::Errno;
use switch::wire::EthernetAddress;

use super::{Call, Host, Machine};

/// Our side.
pub(crate) struct Ours {
    lab: Lab,
    hosts: [NsId; 2],
    socks: BTreeMap<(usize, String), (SockKind, SockId)>,
}

impl Ours {
    pub(crate) fn new() -> Self {
        let mut lab = Lab::new(LabConfig::default()).unwrap();
        let net = lab.net_mut();
        let hosts = [net.ns_add("a"), net.ns_add("b")];
        let end = |at: usize, name| VethPlan {
            ns: hosts[at],
            name,
            mac: EthernetAddress([2, 0, 0, 0, 0, at as u8 + 1]),
            mtu: 1500,
            ipv6: true,
        };
        let (va, vb) = net.veth_add(&end(0, "va"), &end(1, "vb"));
        for (iface, address) in [
            (va, "10.9.0.1/24"),
            (va, "fd09::1/64"),
            (vb, "10.9.0.2/24"),
            (vb, "fd09::2/64"),
        ] {
            net.addr_add(iface, address.parse().unwrap()).unwrap();
        }
        lab.settle();
        Self {
            lab,
            hosts,
            socks: BTreeMap::new(),
        }
    }

    /// Runs until `act` does not block, at most for `limit` of virtual time.
    fn wait<T>(
        &mut self,
        at: usize,
        limit: Duration,
        mut act: impl FnMut(&mut dyn Sys) -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        let until = self.lab.now() + limit;
        loop {
            match act(&mut self.lab.sys(self.hosts[at])) {
                Err(Errno::WouldBlock | Errno::InProgress) if self.lab.now() < until => {}
                other => return other,
            }
            self.lab
                .run_while(until, |_, output| !matches!(output, Output::Ready(_)));
        }
    }

    fn open(
        &mut self,
        at: usize,
        name: &str,
        kind: SockKind,
        addr: &str,
        act: impl FnOnce(&mut dyn Sys, SockId, SocketAddr) -> Result<(), Errno>,
    ) -> String {
        let addr: SocketAddr = addr.parse().unwrap();
        let family = if addr.is_ipv4() {
            Family::V4
        } else {
            Family::V6
        };
        let mut sys = self.lab.sys(self.hosts[at]);
        let sock = match sys.socket(kind, family) {
            Ok(sock) => sock,
            Err(errno) => return errno.code().to_owned(),
        };
        match act(&mut sys, sock, addr) {
            Ok(()) => {
                self.socks.insert((at, name.to_owned()), (kind, sock));
                "ok".to_owned()
            }
            Err(errno) => {
                sys.close(sock);
                errno.code().to_owned()
            }
        }
    }

    fn connect(&mut self, at: usize, name: &str, addr: &str) -> String {
        let opened = self.open(at, name, SockKind::Tcp, addr, |sys, sock, addr| {
            match sys.connect(sock, addr) {
                Ok(()) | Err(Errno::InProgress) => Ok(()),
                Err(errno) => Err(errno),
            }
        });
        if opened != "ok" {
            return opened;
        }
        let (_, sock) = self.socks[&(at, name.to_owned())];
        let result = self.wait(at, Duration::from_secs(2), |sys| {
            if let Some(errno) = sys.take_error(sock) {
                return Err(errno);
            }
            if sys.ready(sock).writable {
                Ok(())
            } else {
                Err(Errno::WouldBlock)
            }
        });
        match result {
            Ok(()) => "ok".to_owned(),
            Err(errno) => {
                self.socks.remove(&(at, name.to_owned()));
                self.lab.sys(self.hosts[at]).close(sock);
                if errno == Errno::WouldBlock {
                    "timeout".to_owned()
                } else {
                    errno.code().to_owned()
                }
            }
        }
    }

    fn recv(&mut self, at: usize, kind: SockKind, sock: SockId) -> String {
        let mut buffer = vec![0; 70_000];
        match self.wait(at, Duration::from_secs(1), |sys| {
            sys.recv(sock, &mut buffer)
        }) {
            Ok(0) if kind == SockKind::Tcp => "eof".to_owned(),
            Ok(count) => format!("{count} bytes"),
            Err(Errno::WouldBlock) => "nothing".to_owned(),
            Err(errno) => errno.code().to_owned(),
        }
    }

    fn recv_all(&mut self, at: usize, sock: SockId, count: usize) -> String {
        let mut buffer = vec![0; 65_536];
        let mut got = 0;
        while got < count {
            match self.wait(at, Duration::from_secs(5), |sys| {
                sys.recv(sock, &mut buffer)
            }) {
                Ok(0) => return format!("eof after {got}"),
                Ok(more) => got += more,
                Err(errno) => return format!("{} after {got}", errno.code()),
            }
        }
        format!("{got} bytes")
    }

    fn send(&mut self, at: usize, kind: SockKind, sock: SockId, count: usize) -> String {
        let bytes = vec![0; count];
        let mut sent = 0;
        loop {
            let result = self.wait(at, Duration::from_secs(5), |sys| {
                sys.send(sock, &bytes[sent..])
            });
            match result {
                Ok(more) => sent += more,
                Err(errno) => return errno.code().to_owned(),
            }
            if sent >= count || kind != SockKind::Tcp {
                return "ok".to_owned();
            }
        }
    }
}

fn word(result: Result<(), Errno>) -> String {
    result.map_or_else(|errno| errno.code().to_owned(), |()| "ok".to_owned())
}

impl Machine for Ours {
    fn call(&mut self, host: Host, call: &Call) -> String {
        let at = match host {
            Host::A => 0,
            Host::B => 1,
        };
        let ns = self.hosts[at];
        let find = |ours: &Self, name: &str| ours.socks.get(&(at, name.to_owned())).copied();
        let outcome = match *call {
            Call::Listen(name, addr, backlog) => {
                self.open(at, name, SockKind::Tcp, addr, |sys, sock, addr| {
                    // As std does before it binds.
                    sys.set(sock, SockOpt::ReuseAddr(true))?;
                    sys.bind(sock, addr)?;
                    sys.listen(sock, backlog as usize)
                })
            }
            Call::Udp(name, addr) => self.open(at, name, SockKind::Udp, addr, |sys, sock, addr| {
                sys.bind(sock, addr)
            }),
            Call::Connect(name, addr) => self.connect(at, name, addr),
            Call::Accept(listener, name) => match find(self, listener) {
                None => "no listener".to_owned(),
                Some((_, sock)) => {
                    match self.wait(at, Duration::from_secs(2), |sys| sys.accept(sock)) {
                        Ok((conn, _)) => {
                            self.socks
                                .insert((at, name.to_owned()), (SockKind::Tcp, conn));
                            "ok".to_owned()
                        }
                        Err(errno) => errno.code().to_owned(),
                    }
                }
            },
            Call::Close(name) => match self.socks.remove(&(at, name.to_owned())) {
                Some((_, sock)) => {
                    self.lab.sys(ns).close(sock);
                    "ok".to_owned()
                }
                None => "no socket".to_owned(),
            },
            Call::Wait(millis) => {
                self.lab.run_for(Duration::from_millis(millis));
                "ok".to_owned()
            }
            Call::Peer(name, _)
            | Call::Send(name, _)
            | Call::SendTo(name, ..)
            | Call::Recv(name)
            | Call::RecvAll(name, _)
            | Call::KeepAlive(name, ..)
            | Call::Shutdown(name) => match find(self, name) {
                None => "no socket".to_owned(),
                Some((kind, sock)) => match *call {
                    Call::Peer(_, addr) => {
                        word(self.lab.sys(ns).connect(sock, addr.parse().unwrap()))
                    }
                    Call::Send(_, count) => self.send(at, kind, sock, count),
                    Call::SendTo(_, addr, count) => {
                        let sent =
                            self.lab
                                .sys(ns)
                                .send_to(sock, &vec![0; count], addr.parse().unwrap());
                        word(sent.map(|_| ()))
                    }
                    Call::RecvAll(_, count) => self.recv_all(at, sock, count),
                    Call::KeepAlive(_, idle, interval, count) => {
                        let times = [idle, interval].map(Duration::from_secs);
                        let option = SockOpt::KeepAlive(Some((times[0], times[1], count)));
                        word(self.lab.sys(ns).set(sock, option))
                    }
                    Call::Shutdown(_) => word(self.lab.sys(ns).shutdown(sock)),
                    _ => self.recv(at, kind, sock),
                },
            },
        };
        self.lab.settle();
        outcome
    }
}
