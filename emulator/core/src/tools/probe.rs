//! Servers for measuring: [`Probe`] tells each client its own address, [`Sink`] swallows everything.
//!
//! A TCP client of a probe gets one line at once and the end of the stream; a UDP client gets one line for each
//! datagram. A port that cannot be bound is reported on standard error and left out.

use core::net::{IpAddr, SocketAddr};
use std::collections::BTreeSet;

use super::args::Failure;
use super::web::{listener, socket_for};
use super::{Context, Libc};
use crate::app::{App, SockKind, Step, Sys};
use crate::docker::spec::{Listening, Port, Proto};
use crate::id::SockId;
use crate::netns::Errno;

/// How many connections are held at once; later ones wait in the backlog.
const CONNECTIONS_MAX: usize = 1024;

/// How many errors of a socket are passed over in one run.
const ERRORS_MAX: usize = 16;

/// A server that answers on TCP and UDP ports with the client's address.
#[derive(Debug)]
pub struct Probe {
    on: Vec<Listening>,
    libc: Libc,
    started: bool,
    listeners: Vec<SockId>,
    datagrams: Vec<SockId>,
    /// Connections that were answered and wait for the client's end.
    closing: BTreeSet<SockId>,
}

impl Probe {
    /// A probe on these ports, on every address of both families.
    #[must_use]
    pub fn new(tcp: Vec<u16>, udp: Vec<u16>) -> Self {
        let every = |proto| {
            move |number| Listening {
                address: None,
                port: Port { number, proto },
            }
        };
        let tcp = tcp.into_iter().map(every(Proto::Tcp));
        Self::on(tcp.chain(udp.into_iter().map(every(Proto::Udp))).collect())
    }

    /// A probe on these sockets.
    #[must_use]
    pub const fn on(on: Vec<Listening>) -> Self {
        Self {
            on,
            libc: Libc::Musl,
            started: false,
            listeners: Vec::new(),
            datagrams: Vec::new(),
            closing: BTreeSet::new(),
        }
    }

    fn open(&mut self, sys: &mut dyn Sys) {
        for &Listening { address, port } in &self.on {
            let opened = match port.proto {
                Proto::Tcp => {
                    listener(sys, address, port.number).map(|sock| self.listeners.push(sock))
                }
                Proto::Udp => datagram(sys, address, port.number)
                    .map(|sock| self.datagrams.push(sock))
                    .map_err(|errno| ("bind", errno)),
                Proto::Sctp => Ok(()),
            };
            if let Err((call, errno)) = opened {
                report(sys, self.libc, port, call, errno);
            }
        }
    }

    /// Tells the client, ends our half, and waits for its end so that nothing is reset.
    fn accept(&mut self, sys: &mut dyn Sys) -> bool {
        let mut any = false;
        for &listener in &self.listeners {
            while self.closing.len() < CONNECTIONS_MAX {
                let Ok((sock, peer)) = sys.accept(listener) else {
                    break;
                };
                any = true;
                let line = format!("{}\n", peer.ip());
                // A fresh connection takes one line; if it is gone already, closing is all that is left.
                let told = sys.send(sock, line.as_bytes()).is_ok() && sys.shutdown(sock).is_ok();
                if told && drain(sys, sock) {
                    self.closing.insert(sock);
                } else {
                    sys.close(sock);
                }
            }
        }
        any
    }

    fn answer(&self, sys: &mut dyn Sys) {
        let mut buffer = [0; 2048];
        for &sock in &self.datagrams {
            let mut errors = 0;
            loop {
                match sys.recv_from(sock, &mut buffer) {
                    Ok(received) => {
                        let line = format!("{}\n", received.from.ip());
                        // What cannot be sent is lost, as any datagram may be.
                        let _ = sys.send_to(sock, line.as_bytes(), received.from);
                    }
                    Err(Errno::WouldBlock) => break,
                    // An answer of ours was refused; the next datagram may be there.
                    Err(_) if errors < ERRORS_MAX => errors += 1,
                    Err(_) => break,
                }
            }
        }
    }
}

pub(super) fn report(sys: &mut dyn Sys, libc: Libc, port: Port, call: &str, errno: Errno) {
    let text = libc.text(errno);
    sys.eprint(&format!("probe: {call} {port}: {text}\n"));
}

pub(super) fn datagram(
    sys: &mut dyn Sys,
    address: Option<IpAddr>,
    port: u16,
) -> Result<SockId, Errno> {
    let (sock, bind) = socket_for(sys, SockKind::Udp, address, port)?;
    match sys.bind(sock, bind) {
        Ok(()) => Ok(sock),
        Err(errno) => {
            sys.close(sock);
            Err(errno)
        }
    }
}

/// Takes what is there and forgets it; false at the end of the stream.
pub(super) fn drain(sys: &mut dyn Sys, sock: SockId) -> bool {
    loop {
        match sys.recv_with(sock, &mut |bytes| bytes.len()) {
            Ok(0) => return false,
            Ok(_) => {}
            Err(errno) => return errno == Errno::WouldBlock,
        }
    }
}

/// Drains connections and closes those that ended.
fn sweep(sys: &mut dyn Sys, connections: &mut BTreeSet<SockId>) {
    connections.retain(|&sock| {
        let open = drain(sys, sock);
        if !open {
            sys.close(sock);
        }
        open
    });
}

impl App for Probe {
    fn run(&mut self, sys: &mut dyn Sys) -> Step {
        if !self.started {
            self.started = true;
            self.open(sys);
        }
        sweep(sys, &mut self.closing);
        while self.accept(sys) {
            sweep(sys, &mut self.closing);
        }
        self.answer(sys);
        Step::Wait
    }

    fn name(&self) -> &str {
        "probe"
    }
}

/// A TCP and UDP server that reads everything and says nothing.
#[derive(Debug)]
pub struct Sink {
    port: u16,
    libc: Libc,
    sockets: Option<(SockId, SockId)>,
    connections: BTreeSet<SockId>,
}

impl Sink {
    /// A sink on this port, on every address of both families.
    #[must_use]
    pub const fn new(port: u16) -> Self {
        Self {
            port,
            libc: Libc::Musl,
            sockets: None,
            connections: BTreeSet::new(),
        }
    }
}

impl App for Sink {
    fn run(&mut self, sys: &mut dyn Sys) -> Step {
        let (tcp, udp) = match self.sockets {
            Some(sockets) => sockets,
            None => {
                let tcp = listener(sys, None, self.port).map_err(|(_, errno)| errno);
                match tcp.and_then(|tcp| Ok((tcp, datagram(sys, None, self.port)?))) {
                    Ok(sockets) => *self.sockets.insert(sockets),
                    Err(errno) => {
                        sys.eprint(&format!("sink: bind: {}\n", self.libc.text(errno)));
                        return Step::Exit(1);
                    }
                }
            }
        };
        loop {
            sweep(sys, &mut self.connections);
            if self.connections.len() >= CONNECTIONS_MAX {
                break;
            }
            match sys.accept(tcp) {
                Ok((sock, _)) => self.connections.insert(sock),
                Err(_) => break,
            };
        }
        let mut buffer = [0; 2048];
        while sys.recv_from(udp, &mut buffer).is_ok() {}
        Step::Wait
    }

    fn name(&self) -> &str {
        "sink"
    }
}

/// `probe 80/tcp 53/udp 127.0.0.1:90`: sockets, TCP if no protocol is said, on every address if none is.
pub(super) fn start_probe(argv: &[String], context: &Context) -> Result<Box<dyn App>, Failure> {
    let mut probe = Probe::on(Vec::new());
    probe.libc = context.libc;
    for word in argv {
        let bad = || Failure::new("probe", format!("bad port '{word}'"));
        let (place, protocol) = word.split_once('/').unwrap_or((word, "tcp"));
        let proto = match protocol {
            "tcp" => Proto::Tcp,
            "udp" => Proto::Udp,
            _ => return Err(bad()),
        };
        let (address, number) = match (place.parse::<u16>(), place.parse::<SocketAddr>()) {
            (Ok(number), _) => (None, number),
            (_, Ok(at)) => (Some(at.ip()), at.port()),
            _ => return Err(bad()),
        };
        let port = Port { number, proto };
        probe.on.push(Listening { address, port });
    }
    Ok(Box::new(probe))
}

/// `sink PORT`.
pub(super) fn start_sink(argv: &[String], context: &Context) -> Result<Box<dyn App>, Failure> {
    let port = match argv {
        [text] => text.parse().ok(),
        _ => None,
    };
    let port = port.ok_or_else(|| Failure::new("sink", "a port is needed"))?;
    let mut sink = Sink::new(port);
    sink.libc = context.libc;
    Ok(Box::new(sink))
}

#[cfg(test)]
mod tests {
    use super::super::fake::Fake;
    use switch::Time;

    #[test]
    fn clients_are_told_their_address() {
        let mut fake = Fake::default();
        fake.client(80, "172.18.0.3:4000", "");
        fake.client(81, "[fd00::3]:4000", "what?");
        fake.udp_client(53, "172.18.0.4:4000", "x");
        assert_eq!(
            fake.run_until("probe 80/tcp 81 53/udp 9", Time::from_secs(1)),
            None
        );
        let got: Vec<_> = fake.got.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(got, ["172.18.0.3\n", "fd00::3\n", "172.18.0.4\n"]);
        assert_eq!(fake.stderr, "probe: bind 9/tcp: Address in use\n");
    }

    #[test]
    fn a_sink_says_nothing() {
        let mut fake = Fake::default();
        fake.client(80, "172.18.0.3:4000", "much");
        fake.udp_client(80, "172.18.0.4:4000", "x");
        assert_eq!(fake.run_until("sink 80", Time::from_secs(1)), None);
        assert!(fake.got.is_empty());
        assert_eq!(fake.run("probe x"), 1);
    }
}
