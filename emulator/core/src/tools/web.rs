//! HTTP/1.1 servers: busybox's `httpd`, and `web`, which answers one line, its hostname and the address of
//! the client as it saw it.
//!
//! A connection answers one request and closes. Left out: CGI, authentication, directories, keep-alive.

use core::net::{IpAddr, SocketAddr};
use std::collections::BTreeMap;

use super::args::{Args, Failure, Grammar};
use super::resolve::any;
use super::{Context, Libc};
use crate::app::{App, Family, SockKind, SockOpt, Step, Sys};
use crate::id::SockId;
use crate::netns::Errno;

/// How many connections are served at once; later ones wait in the backlog.
const CONNECTIONS_MAX: usize = 1024;
/// The longest request.
const REQUEST_MAX: usize = 8192;
/// The backlog of the listening socket.
const BACKLOG: usize = 511;

const HTTPD: Grammar = Grammar {
    program: "httpd",
    short: "c:d:e:fh:im:p:r:u:v",
    long: &[],
    usage: "[-ifv[v]] [-c CONFFILE] [-p [IP:]PORT] [-u USER[:GRP]] [-r REALM] [-h HOME]",
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    Httpd,
    Web,
}

/// A web server.
#[derive(Debug)]
pub struct Web {
    style: Style,
    port: u16,
    libc: Libc,
    listener: Option<SockId>,
    connections: BTreeMap<SockId, Connection>,
}

#[derive(Debug)]
struct Connection {
    peer: SocketAddr,
    request: Vec<u8>,
    reply: Vec<u8>,
    sent: usize,
    answered: bool,
}

impl Web {
    /// A server on `port` that answers every path with one line: its hostname and the client's address.
    #[must_use]
    pub const fn new(port: u16) -> Self {
        Self {
            style: Style::Web,
            port,
            libc: Libc::Musl,
            listener: None,
            connections: BTreeMap::new(),
        }
    }

    fn open(&self, sys: &mut dyn Sys) -> Result<SockId, (&'static str, Errno)> {
        listener(sys, None, self.port)
    }

    fn accept(&mut self, sys: &mut dyn Sys, listener: SockId) {
        while self.connections.len() < CONNECTIONS_MAX {
            let Ok((sock, peer)) = sys.accept(listener) else {
                return;
            };
            self.connections.insert(
                sock,
                Connection {
                    peer,
                    request: Vec::new(),
                    reply: Vec::new(),
                    sent: 0,
                    answered: false,
                },
            );
        }
    }

    fn serve(&mut self, sys: &mut dyn Sys) {
        let hostname = sys.hostname();
        let style = self.style;
        self.connections.retain(|&sock, connection| {
            let open = connection.go_on(sys, sock, style, &hostname);
            if !open {
                sys.close(sock);
            }
            open
        });
    }
}

/// A socket for a port of `address`, or of every address of both families, and what to bind it to.
pub(super) fn socket_for(
    sys: &mut dyn Sys,
    kind: SockKind,
    address: Option<IpAddr>,
    port: u16,
) -> Result<(SockId, SocketAddr), Errno> {
    match address {
        Some(address) => {
            let family = match address {
                IpAddr::V4(_) => Family::V4,
                IpAddr::V6(_) => Family::V6,
            };
            Ok((sys.socket(kind, family)?, SocketAddr::new(address, port)))
        }
        None => match sys.socket(kind, Family::V6) {
            Ok(sock) => Ok((sock, any(Family::V6, port))),
            Err(_) => Ok((sys.socket(kind, Family::V4)?, any(Family::V4, port))),
        },
    }
}

/// A TCP socket that listens on a port of `address`, or of every address of both families.
pub(super) fn listener(
    sys: &mut dyn Sys,
    address: Option<IpAddr>,
    port: u16,
) -> Result<SockId, (&'static str, Errno)> {
    let (sock, bind) = socket_for(sys, SockKind::Tcp, address, port).map_err(|e| ("socket", e))?;
    let bound = sys
        .set(sock, SockOpt::ReuseAddr(true))
        .and_then(|()| sys.bind(sock, bind))
        .map_err(|errno| ("bind", errno))
        .and_then(|()| sys.listen(sock, BACKLOG).map_err(|errno| ("listen", errno)));
    match bound {
        Ok(()) => Ok(sock),
        Err(error) => {
            sys.close(sock);
            Err(error)
        }
    }
}

impl App for Web {
    fn run(&mut self, sys: &mut dyn Sys) -> Step {
        let listener = match self.listener {
            Some(listener) => listener,
            None => match self.open(sys) {
                Ok(listener) => *self.listener.insert(listener),
                Err((call, errno)) => {
                    let name = self.name();
                    sys.eprint(&format!("{name}: {call}: {}\n", self.libc.text(errno)));
                    return Step::Exit(1);
                }
            },
        };
        // Places that become free are given to who waits.
        loop {
            self.accept(sys, listener);
            self.serve(sys);
            if self.connections.len() >= CONNECTIONS_MAX || !sys.ready(listener).readable {
                return Step::Wait;
            }
            let before = self.connections.len();
            self.accept(sys, listener);
            if self.connections.len() == before {
                return Step::Wait;
            }
        }
    }

    fn name(&self) -> &str {
        match self.style {
            Style::Httpd => "httpd",
            Style::Web => "web",
        }
    }
}

impl Connection {
    /// Reads, answers, writes; false when it is done with.
    fn go_on(&mut self, sys: &mut dyn Sys, sock: SockId, style: Style, hostname: &str) -> bool {
        let mut buffer = [0; 2048];
        loop {
            match sys.recv(sock, &mut buffer) {
                // The client is gone, or has read what it wanted.
                Ok(0) if !self.answered || self.sent == self.reply.len() => return false,
                Ok(0) => break,
                Ok(count) if self.request.len() + count <= REQUEST_MAX => {
                    self.request.extend_from_slice(&buffer[..count]);
                }
                Ok(_) if self.answered => {}
                Ok(_) => self.answer("413 Request Entity Too Large", style, "", false),
                Err(Errno::WouldBlock) => break,
                Err(_) => return false,
            }
            if !self.answered && self.request.windows(4).any(|four| four == b"\r\n\r\n") {
                self.respond(style, hostname);
            }
        }
        while self.sent < self.reply.len() {
            match sys.send(sock, &self.reply[self.sent..]) {
                Ok(count) => self.sent += count,
                Err(Errno::WouldBlock) => return true,
                Err(_) => return false,
            }
        }
        !self.answered
    }

    fn respond(&mut self, style: Style, hostname: &str) {
        let text = String::from_utf8_lossy(&self.request).into_owned();
        let line = text.lines().next().unwrap_or_default();
        let mut words = line.split_ascii_whitespace();
        let (method, path) = (words.next(), words.next().unwrap_or_default());
        let root = matches!(path.split('?').next(), Some("/" | "/index.html"));
        let own = format!("{hostname} {}\n", self.peer.ip());
        match (method, style) {
            (Some("GET" | "HEAD"), Style::Web) => {
                self.answer("200 OK", style, &own, method == Some("GET"));
            }
            (Some("GET" | "HEAD"), Style::Httpd) if root => {
                let page = format!("<html><body><h1>{hostname}</h1></body></html>\n");
                self.answer("200 OK", style, &page, method == Some("GET"));
            }
            (Some("GET" | "HEAD"), Style::Httpd) => {
                let page = "<HTML><HEAD><TITLE>404 Not Found</TITLE></HEAD>\n<BODY><H1>404 Not Found</H1>\n\
                            The requested URL was not found\n</BODY></HTML>\n";
                self.answer("404 Not Found", style, page, method == Some("GET"));
            }
            _ => self.answer("501 Not Implemented", style, "", true),
        }
    }

    fn answer(&mut self, status: &str, style: Style, body: &str, with_body: bool) {
        let kind = match style {
            Style::Httpd => "text/html",
            Style::Web => "text/plain",
        };
        let mut text = format!(
            "HTTP/1.1 {status}\r\nConnection: close\r\nContent-type: {kind}\r\nContent-length: {}\r\n\r\n",
            body.len()
        );
        if with_body {
            text += body;
        }
        self.reply = text.into_bytes();
        self.answered = true;
    }
}

/// `web [PORT]`, 80 if it is not given; `http` is another name for it.
pub(super) fn start_web(argv: &[String], context: &Context) -> Result<Box<dyn App>, Failure> {
    let port = match argv {
        [] => Some(80),
        [text] => text.parse().ok(),
        _ => None,
    };
    let port = port.ok_or_else(|| Failure::new("web", "a port is needed"))?;
    let mut web = Web::new(port);
    web.libc = context.libc;
    Ok(Box::new(web))
}

/// `httpd`: goes into the background unless `-f` is given, see [`super::detaches`].
pub(super) fn start_httpd(argv: &[String], context: &Context) -> Result<Box<dyn App>, Failure> {
    let args = HTTPD.parse(argv, context.libc)?;
    let mut web = Web::new(port_of(&args)?);
    web.style = Style::Httpd;
    web.libc = context.libc;
    Ok(Box::new(web))
}

fn port_of(args: &Args) -> Result<u16, Failure> {
    let Some(text) = args.value('p') else {
        return Ok(80);
    };
    let port = text.rsplit(':').next().unwrap_or(text);
    port.parse()
        .map_err(|_| Failure::new("httpd", format!("bad port '{text}'")))
}

pub(super) fn detaches(argv: &[String]) -> bool {
    HTTPD
        .parse(argv, Libc::Musl)
        .is_ok_and(|args| !args.has('f'))
}

#[cfg(test)]
mod tests {
    use super::super::fake::Fake;
    use switch::Time;

    fn serve(line: &str, request: &'static str) -> String {
        let mut fake = Fake::default();
        fake.client(80, "172.18.0.3:4000", request);
        assert_eq!(fake.run_until(line, Time::from_secs(1)), None);
        fake.got.pop().map(|(_, text)| text).unwrap_or_default()
    }

    #[test]
    fn pages() {
        let got = serve("web", "GET /x HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(
            got,
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-type: text/plain\r\n\
             Content-length: 16\r\n\r\nbox1 172.18.0.3\n"
        );
        assert!(serve("httpd -f -p 80", "GET / HTTP/1.0\r\n\r\n").contains("<h1>box1</h1>"));
        assert!(
            serve("httpd -f", "GET /no HTTP/1.0\r\n\r\n").starts_with("HTTP/1.1 404 Not Found\r\n")
        );
        assert!(serve("web 80", "HEAD / HTTP/1.0\r\n\r\n").ends_with("Content-length: 16\r\n\r\n"));
        assert!(serve("web 80", "BREW / HTTP/1.0\r\n\r\n").starts_with("HTTP/1.1 501 "));
        // A client that closes before its request is whole gets nothing.
        assert_eq!(serve("web 80", "GET / HT"), "");
    }

    #[test]
    fn a_taken_port() {
        let mut fake = Fake::default();
        assert_eq!(fake.run("httpd -f -p 9"), 1);
        assert_eq!(fake.stderr, "httpd: bind: Address in use\n");
    }
}
