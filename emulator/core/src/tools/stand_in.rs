//! What stands for a program of which nothing is known, where real clients come: [`StandIn`].
//!
//! It never speaks first. An HTTP request is answered with a page that says which container and port it reached,
//! and who asks; anything else, and each datagram, is sent back. Left out: keep-alive, bodies (they are read
//! and forgotten).

use core::net::SocketAddr;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::Libc;
use super::probe::{datagram, drain, report};
use super::web::listener;
use crate::app::{App, Step, Sys};
use crate::docker::spec::{Listening, Port, Proto};
use crate::id::SockId;
use crate::netns::Errno;

/// How many connections are held at once; later ones wait in the backlog.
const CONNECTIONS_MAX: usize = 16_384;
/// The longest head of a request.
const HEAD_MAX: usize = 8192;
/// Bytes that are read at a time.
const CHUNK: usize = 4096;
/// The longest method of HTTP that is taken for one.
const METHOD_MAX: usize = 16;
/// How many errors of a socket are passed over in one run.
const ERRORS_MAX: usize = 16;

/// A server on the ports of a container.
#[derive(Debug)]
pub struct StandIn {
    container: String,
    on: Vec<Listening>,
    started: bool,
    listeners: Vec<(SockId, Port)>,
    datagrams: Vec<SockId>,
    connections: HashMap<SockId, Connection, FixedState>,
}

/// What a client turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Speaks {
    /// It has not said enough.
    Unknown,
    /// HTTP: it gets a page, `true` without the page itself.
    Http { head: bool },
    /// Too long a head.
    TooMuch,
    /// Something else: it hears itself.
    Other,
}

#[derive(Debug)]
struct Connection {
    port: Port,
    peer: SocketAddr,
    speaks: Speaks,
    /// Heard and not understood yet, or to be sent.
    bytes: Vec<u8>,
    /// The client ended its half.
    ended: bool,
}

/// What somebody speaks who begins like this; `ended`: nothing more comes.
fn speaks(said: &[u8], ended: bool) -> Speaks {
    let method = said.iter().take_while(|byte| byte.is_ascii_uppercase());
    let method = method.count();
    let line = said.iter().position(|byte| *byte == b'\n');
    let plausible = match said.get(method) {
        _ if method == 0 || method > METHOD_MAX => false,
        None => true,
        Some(b' ') => line.is_none_or(|end| {
            let line = said[..end].trim_ascii_end();
            line.windows(8).any(|words| words == b" HTTP/1.")
        }),
        Some(_) => false,
    };
    let whole = said.windows(4).any(|four| four == b"\r\n\r\n");
    match (plausible, whole) {
        (true, true) => Speaks::Http {
            head: said.starts_with(b"HEAD "),
        },
        (true, false) if said.len() > HEAD_MAX => Speaks::TooMuch,
        (true, false) if !ended => Speaks::Unknown,
        _ if said.is_empty() => Speaks::Unknown,
        _ => Speaks::Other,
    }
}

impl StandIn {
    /// A server for `container` on these sockets.
    #[must_use]
    pub fn new(container: &str, on: Vec<Listening>) -> Self {
        Self {
            container: container.to_owned(),
            on,
            started: false,
            listeners: Vec::new(),
            datagrams: Vec::new(),
            connections: HashMap::with_hasher(FixedState::default()),
        }
    }

    fn open(&mut self, sys: &mut dyn Sys) {
        for &Listening { address, port } in &self.on {
            let opened = match port.proto {
                Proto::Tcp => listener(sys, address, port.number)
                    .map(|sock| self.listeners.push((sock, port))),
                Proto::Udp => datagram(sys, address, port.number)
                    .map(|sock| self.datagrams.push(sock))
                    .map_err(|errno| ("bind", errno)),
                Proto::Sctp => Ok(()),
            };
            if let Err((call, errno)) = opened {
                report(sys, Libc::Musl, port, call, errno);
            }
        }
    }

    fn accept(&mut self, sys: &mut dyn Sys) {
        for at in 0..self.listeners.len() {
            let (listener, port) = self.listeners[at];
            while self.connections.len() < CONNECTIONS_MAX {
                let Ok((sock, peer)) = sys.accept(listener) else {
                    break;
                };
                let connection = Connection {
                    port,
                    peer,
                    speaks: Speaks::Unknown,
                    bytes: Vec::new(),
                    ended: false,
                };
                self.connections.insert(sock, connection);
                self.step(sys, sock);
            }
        }
    }

    fn step(&mut self, sys: &mut dyn Sys, sock: SockId) {
        let Some(connection) = self.connections.get_mut(&sock) else {
            return;
        };
        if !connection.run(sys, sock, &self.container) {
            self.connections.remove(&sock);
            sys.close(sock);
            if self.connections.is_empty() {
                self.connections.shrink_to_fit();
            }
        }
    }

    fn answer(&self, sys: &mut dyn Sys, sock: SockId) {
        let mut buffer = vec![0; 65_536];
        let mut errors = 0;
        loop {
            match sys.recv_from(sock, &mut buffer) {
                Ok(got) => {
                    // What cannot be sent is lost, as any datagram may be.
                    let _ = sys.send_to(sock, &buffer[..got.len], got.from);
                }
                Err(Errno::WouldBlock) => return,
                // An answer of ours was refused; the next datagram may be there.
                Err(_) if errors < ERRORS_MAX => errors += 1,
                Err(_) => return,
            }
        }
    }
}

impl Connection {
    /// Reads, understands, answers; false when it is done with.
    fn run(&mut self, sys: &mut dyn Sys, sock: SockId, container: &str) -> bool {
        loop {
            if matches!(self.speaks, Speaks::Other) || self.is_answered() {
                while !self.bytes.is_empty() {
                    match sys.send(sock, &self.bytes) {
                        Ok(count) => drop(self.bytes.drain(..count)),
                        Err(Errno::WouldBlock) => return true,
                        Err(_) => return false,
                    }
                }
                // An idle connection holds nothing.
                self.bytes = Vec::new();
                if self.is_answered() {
                    // Its end is waited for, so that nothing is reset.
                    return sys.shutdown(sock).is_ok() && drain(sys, sock);
                }
                if self.ended {
                    return false;
                }
            }
            let mut buffer = [0; CHUNK];
            match sys.recv(sock, &mut buffer) {
                Ok(0) => self.ended = true,
                Ok(count) => self.bytes.extend_from_slice(&buffer[..count]),
                Err(Errno::WouldBlock) => return true,
                Err(_) => return false,
            }
            if self.speaks == Speaks::Unknown {
                self.understand(container);
                if self.ended && self.speaks == Speaks::Unknown {
                    return false;
                }
            }
        }
    }

    const fn is_answered(&self) -> bool {
        matches!(self.speaks, Speaks::Http { .. } | Speaks::TooMuch)
    }

    fn understand(&mut self, container: &str) {
        self.speaks = speaks(&self.bytes, self.ended);
        match self.speaks {
            Speaks::Unknown | Speaks::Other => {}
            Speaks::Http { head } => self.bytes = page(container, self.port, self.peer, head),
            Speaks::TooMuch => {
                self.bytes = b"HTTP/1.1 431 Request Header Fields Too Large\r\n\
                    Connection: close\r\nContent-Length: 0\r\n\r\n"
                    .to_vec();
            }
        }
    }
}

/// The answer to a request.
fn page(container: &str, port: Port, peer: SocketAddr, head: bool) -> Vec<u8> {
    let body = format!(
        "{container}, port {port}\n\
         A stand-in answers here: what the image would run is not run.\n\
         You come from {}.\n",
        peer.ip()
    );
    let mut text = format!(
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    if !head {
        text += &body;
    }
    text.into_bytes()
}

impl App for StandIn {
    fn run(&mut self, sys: &mut dyn Sys) -> Step {
        if !self.started {
            self.started = true;
            self.open(sys);
        }
        while let Some(sock) = sys.next_ready() {
            if self.datagrams.contains(&sock) {
                self.answer(sys, sock);
            } else {
                self.step(sys, sock);
            }
        }
        // After those that ended, as their places are given to who waits.
        self.accept(sys);
        Step::Wait
    }

    fn name(&self) -> &str {
        "stand-in"
    }
}

#[cfg(test)]
mod tests {
    use super::super::fake::Fake;
    use super::*;
    use switch::Time;

    fn listening(number: u16, proto: Proto) -> Listening {
        Listening {
            address: None,
            port: Port { number, proto },
        }
    }

    /// What a TCP client gets that says this and ends.
    fn hears(said: &'static str) -> String {
        let mut fake = Fake::default();
        fake.client(80, "172.18.0.3:4000", said);
        let on = vec![listening(80, Proto::Tcp)];
        let app = Box::new(StandIn::new("shop-web-1", on));
        assert_eq!(fake.run_app_until(app, Time::from_secs(1)), None);
        fake.got.pop().map(|(_, text)| text).unwrap_or_default()
    }

    #[test]
    fn an_http_request_is_answered_with_a_page() {
        let page = "shop-web-1, port 80/tcp\nA stand-in answers here: what the image would run is not run.\n\
                    You come from 172.18.0.3.\n";
        let head = format!(
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\n\
             Content-Length: {}\r\n\r\n",
            page.len()
        );
        let whole = format!("{head}{page}");
        assert_eq!(hears("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), whole);
        assert_eq!(hears("POST /x HTTP/1.0\r\n\r\nbody"), whole);
        assert_eq!(hears("HEAD / HTTP/1.1\r\n\r\n"), head);
    }

    #[test]
    fn anything_else_hears_itself() {
        for said in [
            "",
            "hello\n",
            "PING\r\n",
            "GET key\r\n",
            "get / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\n",
            "\x16\x03\x01",
            "ABCDEFGHIJKLMNOPQRSTUVWXYZ / HTTP/1.1\r\n\r\n",
        ] {
            assert_eq!(hears(said), said);
        }
        let mut fake = Fake::default();
        fake.udp_client(53, "172.18.0.4:4000", "x");
        let app = Box::new(StandIn::new("c", vec![listening(53, Proto::Udp)]));
        assert_eq!(fake.run_app_until(app, Time::from_secs(1)), None);
        assert_eq!(
            fake.got,
            [("172.18.0.4:4000".parse().unwrap(), "x".to_owned())]
        );
    }

    #[test]
    fn nothing_is_decided_before_it_is_said() {
        let get = b"GET / HTTP/1.1\r\n\r\n";
        for len in 0..get.len() {
            assert_eq!(speaks(&get[..len], false), Speaks::Unknown, "{len}");
        }
        assert_eq!(speaks(get, false), Speaks::Http { head: false });
        let long = [&get[..16], &[b'a'; HEAD_MAX]].concat();
        assert_eq!(speaks(&long, false), Speaks::TooMuch);
        assert_eq!(speaks(b"GE", true), Speaks::Other);
        assert_eq!(speaks(b"GEt", false), Speaks::Other);
    }
}
