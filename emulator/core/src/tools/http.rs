//! One HTTP/1.1 request over one TCP connection: what `wget` and `curl` share.
//!
//! The body ends by its length, by chunks (RFC 9112 §7.1), or by the end of the connection. Left out: TLS,
//! redirects, proxies, connections used twice.

use core::net::{IpAddr, SocketAddr};

use super::resolve::family_of;
use crate::app::{SockKind, Sys};
use crate::id::SockId;
use crate::netns::Errno;

/// The longest reply that is kept; a longer one fails.
pub(super) const REPLY_MAX: usize = 16 << 20;

/// `http://host:port/path`, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Url {
    /// The host, without the brackets of an IPv6 address.
    pub(super) host: String,
    /// Host and port as they were written, for the `Host` header and messages.
    pub(super) authority: String,
    pub(super) port: u16,
    pub(super) path: String,
}

impl Url {
    /// Reads a URL; the scheme may be left out. `None` for other schemes and bad ports.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let rest = match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest,
            Some(_) => return None,
            None => text,
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let path = path.split('#').next().unwrap_or_default();
        let authority = authority.rsplit('@').next().unwrap_or(authority);
        let (host, port) = match authority.strip_prefix('[') {
            Some(inner) => {
                let (host, port) = inner.split_once(']')?;
                (host, port.strip_prefix(':'))
            }
            None => match authority.rsplit_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (authority, None),
            },
        };
        if host.is_empty() {
            return None;
        }
        Some(Self {
            host: host.to_owned(),
            authority: authority.to_owned(),
            port: port.map_or(Some(80), |port| port.parse().ok())?,
            path: match path.strip_prefix('/') {
                Some(_) => path.to_owned(),
                None => format!("/{path}"),
            },
        })
    }

    /// The last part of the path, which a download is saved under.
    pub(super) fn file_name(&self) -> &str {
        let path = self.path.split('?').next().unwrap_or_default();
        match path.rsplit('/').next() {
            Some(name) if !name.is_empty() => name,
            _ => "index.html",
        }
    }
}

/// What a program makes of a `Content-Length`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Length {
    Is(usize),
    /// There is none, or one that is ignored.
    Unknown,
    /// It is refused.
    Bad,
}

/// How a program reads a `Content-Length`.
pub(super) type ReadLength = fn(&str) -> Length;

/// A reply as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// `HTTP/1.1 200 OK`.
    pub(super) status_line: String,
    pub(super) status: u16,
    /// The header lines, without the status line; of those behind a bad length nothing is known.
    pub(super) lines: Vec<String>,
    /// The last one is a length that is refused.
    pub(super) is_bad: bool,
    length: Option<usize>,
    /// Where the body starts.
    body: usize,
}

impl Head {
    fn parse(bytes: &[u8], read: ReadLength) -> Option<Self> {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
        let text = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let mut lines = text.split("\r\n").map(str::to_owned);
        let status_line = lines.next()?;
        let status = status_line.split_ascii_whitespace().nth(1)?.parse().ok()?;
        let mut head = Self {
            status_line,
            status,
            lines: lines.collect(),
            is_bad: false,
            length: None,
            body: end + 4,
        };
        if !head.has_no_body() {
            head.measure(read);
        }
        Some(head)
    }

    /// Its status says that there is no body.
    const fn has_no_body(&self) -> bool {
        matches!(self.status, 100..=199 | 204 | 304)
    }

    /// Reads the lengths, of which the last one counts.
    fn measure(&mut self, read: ReadLength) {
        for at in 0..self.lines.len() {
            let Some(value) = value(&self.lines[at], "Content-Length") else {
                continue;
            };
            match read(value) {
                Length::Is(length) => self.length = Some(length),
                Length::Unknown => self.length = None,
                Length::Bad => {
                    self.is_bad = true;
                    return self.lines.truncate(at + 1);
                }
            }
        }
    }

    /// What says where the body ends; one that is not to come has no length.
    fn framing(&self, with_body: bool) -> Framing {
        if !with_body || self.has_no_body() || self.is_bad {
            return Framing::Length(0);
        }
        let chunked = self.header("Transfer-Encoding");
        if chunked.is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
            return Framing::Chunks;
        }
        self.length.map_or(Framing::End, Framing::Length)
    }

    /// A header's value.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.lines.iter().find_map(|line| value(line, name))
    }
}

/// The value in a header line, if it has this name.
fn value<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let (own, value) = line.split_once(':')?;
    own.eq_ignore_ascii_case(name).then_some(value.trim())
}

/// Why there is no reply, or not all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failed {
    /// There was no connection.
    Connect(Errno),
    /// The connection broke, or ended before there was a reply.
    Broken(Option<Errno>),
    /// The connection ended before the body: so many bytes of its length are missing, or chunks.
    Short(Option<usize>),
    /// A chunk does not say how long it is.
    BadChunk,
    /// The length of the body is refused.
    BadLength,
    /// The reply is not HTTP.
    Nonsense,
    /// It is longer than [`REPLY_MAX`].
    TooLong,
}

/// What says where a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Length(usize),
    Chunks,
    /// The end of the connection.
    End,
}

/// How far a chunked body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chunks {
    Whole,
    More,
    Nonsense,
}

/// A request under way.
#[derive(Debug)]
pub(super) struct Fetch {
    sock: SockId,
    request: Vec<u8>,
    /// There is a body to come behind the reply's head.
    with_body: bool,
    read_length: ReadLength,
    sent: usize,
    pub(super) connected: bool,
    received: Vec<u8>,
    ended: bool,
    pub(super) head: Option<Head>,
    pub(super) local: Option<SocketAddr>,
}

impl Fetch {
    /// Connects to `to`; the request follows.
    pub(super) fn start(
        sys: &mut dyn Sys,
        to: SocketAddr,
        request: Vec<u8>,
        with_body: bool,
        read_length: ReadLength,
    ) -> Result<Self, Errno> {
        let sock = sys.socket(SockKind::Tcp, family_of(to.ip()))?;
        match sys.connect(sock, to) {
            Ok(()) | Err(Errno::InProgress) => Ok(Self {
                sock,
                request,
                with_body,
                read_length,
                sent: 0,
                connected: false,
                received: Vec::new(),
                ended: false,
                head: None,
                local: None,
            }),
            Err(errno) => {
                sys.close(sock);
                Err(errno)
            }
        }
    }

    /// Goes on: `None` while it waits; the body when it is whole.
    pub(super) fn run(&mut self, sys: &mut dyn Sys) -> Option<Result<Vec<u8>, Failed>> {
        let result = self.step(sys).transpose()?;
        sys.close(self.sock);
        Some(result)
    }

    /// Gives up.
    pub(super) fn abandon(&self, sys: &mut dyn Sys) {
        sys.close(self.sock);
    }

    fn step(&mut self, sys: &mut dyn Sys) -> Result<Option<Vec<u8>>, Failed> {
        if !self.connected {
            if let Some(errno) = sys.take_error(self.sock) {
                return Err(Failed::Connect(errno));
            }
            if !sys.ready(self.sock).writable {
                return Ok(None);
            }
            self.connected = true;
            self.local = sys.local_addr(self.sock);
        }
        while self.sent < self.request.len() {
            match sys.send(self.sock, &self.request[self.sent..]) {
                Ok(count) => self.sent += count,
                Err(Errno::WouldBlock) => break,
                Err(errno) => return Err(Failed::Broken(Some(errno))),
            }
        }
        let received = self.receive(sys);
        if self.head.is_none() {
            self.head = Head::parse(&self.received, self.read_length);
        }
        if self.head.as_ref().is_some_and(|head| head.is_bad) {
            return Err(Failed::BadLength);
        }
        if let Some(head) = &self.head
            && let Some(body) = self.body(head)?
        {
            return Ok(Some(body));
        }
        received?;
        match self.framing() {
            _ if !self.ended => Ok(None),
            None if self.received.is_empty() => Err(Failed::Broken(None)),
            None => Err(Failed::Nonsense),
            Some(Framing::End) => Ok(Some(self.so_far())),
            Some(Framing::Chunks) => Err(Failed::Short(None)),
            Some(Framing::Length(length)) => Err(Failed::Short(Some(length - self.so_far().len()))),
        }
    }

    fn receive(&mut self, sys: &mut dyn Sys) -> Result<(), Failed> {
        let received = &mut self.received;
        while !self.ended {
            let mut take = |bytes: &[u8]| {
                received.extend_from_slice(bytes);
                bytes.len()
            };
            match sys.recv_with(self.sock, &mut take) {
                Ok(0) => self.ended = true,
                Ok(_) => {}
                Err(Errno::WouldBlock) => break,
                Err(errno) => return Err(Failed::Broken(Some(errno))),
            }
            if received.len() > REPLY_MAX {
                return Err(Failed::TooLong);
            }
        }
        Ok(())
    }

    /// The body, if it is known to be whole.
    fn body(&self, head: &Head) -> Result<Option<Vec<u8>>, Failed> {
        let bytes = &self.received[head.body..];
        match head.framing(self.with_body) {
            Framing::Length(length) => Ok(bytes.get(..length).map(<[u8]>::to_vec)),
            Framing::Chunks => match dechunk(bytes) {
                (body, Chunks::Whole) => Ok(Some(body)),
                (_, Chunks::More) => Ok(None),
                (_, Chunks::Nonsense) => Err(Failed::BadChunk),
            },
            Framing::End => Ok(None),
        }
    }

    fn framing(&self) -> Option<Framing> {
        Some(self.head.as_ref()?.framing(self.with_body))
    }

    /// How long the body says that it is.
    pub(super) fn length(&self) -> Option<usize> {
        match self.framing()? {
            Framing::Length(length) => Some(length),
            Framing::Chunks | Framing::End => None,
        }
    }

    /// As much of the body as came.
    pub(super) fn so_far(&self) -> Vec<u8> {
        let Some(head) = &self.head else {
            return Vec::new();
        };
        let bytes = &self.received[head.body..];
        match head.framing(self.with_body) {
            Framing::Length(length) => bytes[..length.min(bytes.len())].to_vec(),
            Framing::Chunks => dechunk(bytes).0,
            Framing::End => bytes.to_vec(),
        }
    }
}

/// The body of a chunked message, as far as it came.
fn dechunk(mut bytes: &[u8]) -> (Vec<u8>, Chunks) {
    let mut body = Vec::new();
    while let Some(end) = bytes.windows(2).position(|two| two == b"\r\n") {
        let line = core::str::from_utf8(&bytes[..end]).unwrap_or_default();
        let size = line.split(';').next().unwrap_or_default().trim();
        let Ok(size) = usize::from_str_radix(size, 16) else {
            return (body, Chunks::Nonsense);
        };
        if size == 0 {
            return (body, Chunks::Whole);
        }
        let came = &bytes[end + 2..];
        body.extend_from_slice(&came[..size.min(came.len())]);
        match size.checked_add(2).and_then(|size| came.get(size..)) {
            Some(rest) => bytes = rest,
            None => break,
        }
    }
    (body, Chunks::More)
}

/// `172.18.0.2:80`, `[fd00::2]:80`.
pub(super) fn place(address: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(address, port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        for (text, host, authority, port, path, file) in [
            ("http://db", "db", "db", 80, "/", "index.html"),
            (
                "db:8080/a/b.txt?x=1#y",
                "db",
                "db:8080",
                8080,
                "/a/b.txt?x=1",
                "b.txt",
            ),
            (
                "http://[fd00::2]:81/",
                "fd00::2",
                "[fd00::2]:81",
                81,
                "/",
                "index.html",
            ),
            ("http://u:p@db?x", "db", "db", 80, "/?x", "index.html"),
        ] {
            let url = Url::parse(text).expect(text);
            let file_name = url.file_name().to_owned();
            assert_eq!(
                (url.host.as_str(), url.authority.as_str()),
                (host, authority),
                "{text}"
            );
            assert_eq!(
                (url.port, url.path.as_str(), file_name.as_str()),
                (port, path, file),
                "{text}"
            );
        }
        for text in [
            "https://db",
            "ftp://db",
            "http://",
            "http://:80",
            "http://db:x",
            "http://[::1",
        ] {
            assert_eq!(Url::parse(text), None, "{text}");
        }
    }

    #[test]
    fn chunks() {
        for (bytes, body, end) in [
            (
                "3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n",
                "abcde",
                Chunks::Whole,
            ),
            ("3\r\nab", "ab", Chunks::More),
            ("3\r\nabc\r", "abc", Chunks::More),
            ("3\r\nabc\r\n2", "abc", Chunks::More),
            ("ffffffffffffffff\r\nab", "ab", Chunks::More),
            ("3\r\nabc\r\nzz\r\n", "abc", Chunks::Nonsense),
        ] {
            assert_eq!(dechunk(bytes.as_bytes()), (body.into(), end), "{bytes:?}");
        }
    }
}
