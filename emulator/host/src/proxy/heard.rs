//! What a client of a proxy says first: SOCKS5 (RFC 1928) or the head of an HTTP request (RFC 9110). Pure: bytes in,
//! meaning out.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::Host;

/// Bytes of a request before the streams are tied together.
pub const MOST: usize = 8 << 10;

/// How the client is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// By SOCKS5.
    Socks,
    /// By SOCKS5; it wants to send datagrams (`UDP ASSOCIATE`), from the address that it names if it knows it.
    Associate,
    /// `CONNECT`: with a status line.
    Connect,
    /// By whoever it asks; this head is passed on.
    Forward(Vec<u8>),
}

/// Where a client wants to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The host.
    pub host: Host,
    /// Its port.
    pub port: u16,
    /// How it is asked.
    pub way: Way,
}

/// What was understood so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// More has to come.
    More,
    /// So many bytes were understood, and this is said.
    Say(usize, &'static [u8]),
    /// So many bytes were understood, and the client is to be connected.
    Wanted(usize, Wanted),
    /// This is said, and that was it.
    Refuse(&'static [u8]),
}

/// An answer of SOCKS5: version, code, a reserved byte, 0.0.0.0:0.
const fn socks(code: u8) -> [u8; 10] {
    [5, code, 0, 1, 0, 0, 0, 0, 0, 0]
}

pub(super) const SOCKS_DONE: [u8; 10] = socks(0);
pub(super) const SOCKS_FAILED: [u8; 10] = socks(1);
pub(super) const SOCKS_NET_UNREACHABLE: [u8; 10] = socks(3);
pub(super) const SOCKS_HOST_UNREACHABLE: [u8; 10] = socks(4);
pub(super) const SOCKS_REFUSED: [u8; 10] = socks(5);
pub(super) const SOCKS_TIMEOUT: [u8; 10] = socks(6);
/// An answer of SOCKS5 that names an address of ours.
pub(super) fn socks_at(at: SocketAddr) -> Vec<u8> {
    let mut answer = vec![5, 0, 0];
    put(&mut answer, at);
    answer
}

/// Writes an address as SOCKS5 has it.
pub(super) fn put(to: &mut Vec<u8>, at: SocketAddr) {
    match at.ip() {
        IpAddr::V4(v4) => {
            to.push(1);
            to.extend_from_slice(&v4.octets());
        }
        IpAddr::V6(v6) => {
            to.push(4);
            to.extend_from_slice(&v6.octets());
        }
    }
    to.extend_from_slice(&at.port().to_be_bytes());
}

const SOCKS_NO_COMMAND: [u8; 10] = socks(7);
const SOCKS_NO_ADDRESS: [u8; 10] = socks(8);
pub(super) const HTTP_LATE: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
pub(super) const HTTP_DONE: &[u8] = b"HTTP/1.1 200 Connection established\r\n\r\n";
const HTTP_BAD: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 79\r\n\r\n\
this is a proxy into a lab: it takes CONNECT and requests that name their host\n";
const HTTP_LARGE: &[u8] =
    b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

/// Reads what was said, at most [`MOST`] bytes of it; `greeted`: SOCKS5 has had its greeting.
#[must_use]
pub fn hear(said: &[u8], greeted: bool) -> Heard {
    match said.first() {
        None => Heard::More,
        Some(5) if greeted => request(said),
        Some(5) => greeting(said),
        Some(4) => Heard::Refuse(&[0, 0x5b, 0, 0, 0, 0, 0, 0]),
        Some(first) if first.is_ascii_alphabetic() && !greeted => head(said),
        Some(_) => Heard::Refuse(&[]),
    }
}

fn greeting(said: &[u8]) -> Heard {
    let Some(&count) = said.get(1) else {
        return Heard::More;
    };
    let end = 2 + usize::from(count);
    match said.get(2..end) {
        None => Heard::More,
        // Without a password, as this is loopback.
        Some(methods) if methods.contains(&0) => Heard::Say(end, &[5, 0]),
        Some(_) => Heard::Refuse(&[5, 0xff]),
    }
}

/// An address of SOCKS5 with its port, and how many bytes it takes: `Ok(None)` if more has to come.
///
/// # Errors
/// If it is of no kind that is known, or a name that is no text.
#[allow(clippy::result_unit_err, reason = "there is one answer to it")]
pub fn address(said: &[u8]) -> Result<Option<(Host, u16, usize)>, ()> {
    let Some((&kind, rest)) = said.split_first() else {
        return Ok(None);
    };
    let (host, len) = match kind {
        1 => match rest.first_chunk::<4>() {
            Some(bytes) => (Host::Address(IpAddr::V4(Ipv4Addr::from(*bytes))), 4),
            None => return Ok(None),
        },
        4 => match rest.first_chunk::<16>() {
            Some(bytes) => (Host::Address(IpAddr::V6(Ipv6Addr::from(*bytes))), 16),
            None => return Ok(None),
        },
        3 => {
            let Some((&len, name)) = rest.split_first() else {
                return Ok(None);
            };
            let Some(name) = name.get(..usize::from(len)) else {
                return Ok(None);
            };
            let name = core::str::from_utf8(name).map_err(|_| ())?;
            (named(name), 1 + usize::from(len))
        }
        _ => return Err(()),
    };
    let Some(port) = rest.get(len..).and_then(|rest| rest.first_chunk::<2>()) else {
        return Ok(None);
    };
    Ok(Some((host, u16::from_be_bytes(*port), 1 + len + 2)))
}

fn request(said: &[u8]) -> Heard {
    let Some([_, command, _]) = said.first_chunk::<3>() else {
        return Heard::More;
    };
    let way = match *command {
        1 => Way::Socks,
        3 => Way::Associate,
        _ => return Heard::Refuse(&SOCKS_NO_COMMAND),
    };
    match address(&said[3..]) {
        Ok(None) => Heard::More,
        Ok(Some((host, port, len))) => Heard::Wanted(3 + len, Wanted { host, port, way }),
        Err(()) => Heard::Refuse(&SOCKS_NO_ADDRESS),
    }
}

/// A datagram of a client of SOCKS5 (RFC 1928, section 7): for whom it is, and where its bytes begin. `None` if it is
/// none, or a fragment, which nobody has to put together.
#[must_use]
pub fn datagram(bytes: &[u8]) -> Option<(Host, u16, usize)> {
    let rest = bytes.strip_prefix(&[0, 0, 0])?;
    let (host, port, len) = address(rest).ok()??;
    Some((host, port, 3 + len))
}

fn named(name: &str) -> Host {
    let bare = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'));
    match bare.unwrap_or(name).parse() {
        Ok(address) => Host::Address(address),
        Err(_) => Host::Name(name.to_owned()),
    }
}

/// `HOST:PORT`, the port as it is or `default`.
fn authority(text: &str, default: Option<u16>) -> Option<(Host, u16)> {
    // Not the colons of an address in brackets.
    let colon = text.rfind(':').filter(|at| !text[*at..].contains(']'));
    let (host, port) = match colon {
        Some(at) => (&text[..at], Some(text[at + 1..].parse().ok()?)),
        None => (text, default),
    };
    let fits = !host.is_empty() && host.len() <= 255 && !host.contains('@');
    fits.then_some((named(host), port?))
}

fn head(said: &[u8]) -> Heard {
    let Some(end) = said.windows(4).position(|four| four == b"\r\n\r\n") else {
        return if said.len() >= MOST {
            Heard::Refuse(HTTP_LARGE)
        } else {
            Heard::More
        };
    };
    let end = end + 4;
    match core::str::from_utf8(&said[..end]).ok().and_then(wanted) {
        Some(wanted) => Heard::Wanted(end, wanted),
        None => Heard::Refuse(HTTP_BAD),
    }
}

fn wanted(head: &str) -> Option<Wanted> {
    // What ends a line for one reader and not for another is nobody's request.
    let odd = |line: &str| {
        line.bytes()
            .any(|byte| byte.is_ascii_control() && byte != b'\t')
    };
    if head.split("\r\n").any(odd) {
        return None;
    }
    let (line, fields) = head.split_once("\r\n")?;
    let mut words = line.split(' ');
    let (method, target, version) = (words.next()?, words.next()?, words.next()?);
    if words.next().is_some() || !version.starts_with("HTTP/1.") {
        return None;
    }
    if method == "CONNECT" {
        let (host, port) = authority(target, None)?;
        let way = Way::Connect;
        return Some(Wanted { host, port, way });
    }
    let rest = target.strip_prefix("http://")?;
    let (at, path) = match rest.find(['/', '?']) {
        Some(slash) => rest.split_at(slash),
        None => (rest, ""),
    };
    let (host, port) = authority(at, Some(80))?;
    let slash = if path.starts_with('/') { "" } else { "/" };
    let mut passed = format!("{method} {slash}{path} {version}\r\n");
    for field in fields.split("\r\n").filter(|field| !field.is_empty()) {
        let name = field.split(':').next().unwrap_or_default();
        let own = [
            "connection",
            "proxy-connection",
            "keep-alive",
            "proxy-authorization",
        ];
        if !own.iter().any(|own| name.eq_ignore_ascii_case(own)) {
            passed.push_str(field);
            passed.push_str("\r\n");
        }
    }
    passed.push_str("Connection: close\r\n\r\n");
    let way = Way::Forward(passed.into_bytes());
    Some(Wanted { host, port, way })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nothing is understood before it is whole, and never more than that.
    fn whole(said: &[u8], greeted: bool) -> Heard {
        for len in 0..said.len() {
            assert_eq!(hear(&said[..len], greeted), Heard::More, "{len}");
        }
        hear(said, greeted)
    }

    fn host(name: &str) -> Host {
        Host::Name(name.to_owned())
    }

    #[test]
    fn socks() {
        assert_eq!(whole(&[5, 2, 2, 0], false), Heard::Say(4, &[5, 0]));
        assert_eq!(whole(&[5, 1, 2], false), Heard::Refuse(&[5, 0xff]));
        let way = Way::Socks;
        assert_eq!(
            whole(&[5, 1, 0, 3, 2, b'd', b'b', 0x15, 0x38], true),
            Heard::Wanted(
                9,
                Wanted {
                    host: host("db"),
                    port: 5432,
                    way: way.clone()
                }
            )
        );
        let v6 = [&[5, 1, 0, 4][..], &[0; 15], &[1, 0, 80]].concat();
        let loopback = Host::Address(IpAddr::V6(Ipv6Addr::LOCALHOST));
        assert_eq!(
            whole(&v6, true),
            Heard::Wanted(
                22,
                Wanted {
                    host: loopback,
                    port: 80,
                    way
                }
            )
        );
        let any = Host::Address(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        assert_eq!(
            whole(&[5, 3, 0, 1, 0, 0, 0, 0, 0, 0], true),
            Heard::Wanted(
                10,
                Wanted {
                    host: any,
                    port: 0,
                    way: Way::Associate
                }
            )
        );
        assert_eq!(hear(&[5, 2, 0, 1], true), Heard::Refuse(&SOCKS_NO_COMMAND));
        assert_eq!(hear(&[5, 1, 0, 9], true), Heard::Refuse(&SOCKS_NO_ADDRESS));
        assert!(matches!(hear(&[4, 1], false), Heard::Refuse(_)));
        assert_eq!(hear(&[0x16, 3], false), Heard::Refuse(&[]));
    }

    #[test]
    fn datagrams() {
        let mut bytes = vec![0, 0, 0];
        put(&mut bytes, "[::1]:53".parse().unwrap());
        let loopback = Host::Address(IpAddr::V6(Ipv6Addr::LOCALHOST));
        for len in 0..bytes.len() {
            assert_eq!(datagram(&bytes[..len]), None, "{len}");
        }
        bytes.extend_from_slice(b"what?");
        assert_eq!(datagram(&bytes), Some((loopback, 53, bytes.len() - 5)));
        assert_eq!(
            datagram(&[0, 0, 0, 3, 2, b'd', b'b', 0, 53]),
            Some((host("db"), 53, 9))
        );
        // A fragment, and what is reserved.
        for at in 0..3 {
            let mut other = bytes.clone();
            other[at] = 1;
            assert_eq!(datagram(&other), None);
        }
    }

    #[test]
    fn http() {
        let connect = b"CONNECT web:443 HTTP/1.1\r\nHost: web:443\r\n\r\n";
        assert_eq!(
            whole(connect, false),
            Heard::Wanted(
                connect.len(),
                Wanted {
                    host: host("web"),
                    port: 443,
                    way: Way::Connect
                }
            )
        );
        let get =
            b"GET http://web/a?b=c HTTP/1.1\r\nHost: web\r\nProxy-Connection: Keep-Alive\r\n\r\n";
        let passed = b"GET /a?b=c HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n".to_vec();
        assert_eq!(
            whole(get, false),
            Heard::Wanted(
                get.len(),
                Wanted {
                    host: host("web"),
                    port: 80,
                    way: Way::Forward(passed)
                }
            )
        );
        for bad in [
            "GET / HTTP/1.1\r\n\r\n",
            "CONNECT web HTTP/1.1\r\n\r\n",
            "CONNECT :80 HTTP/1.1\r\n\r\n",
            "CONNECT a@web:80 HTTP/1.1\r\n\r\n",
            "GET http://web:x/ HTTP/1.1\r\n\r\n",
            "GET https://web/ HTTP/1.1\r\n\r\n",
            "GET http://web/ HTTP/2\r\n\r\n",
            "GET http://web/ HTTP/1.1\r\nA: b\nC: d\r\n\r\n",
            "G\rT http://web/ HTTP/1.1\r\n\r\n",
        ] {
            assert_eq!(
                hear(bad.as_bytes(), false),
                Heard::Refuse(HTTP_BAD),
                "{bad}"
            );
        }
        assert_eq!(hear(&[b'a'; MOST], false), Heard::Refuse(HTTP_LARGE));
        let v6 = Host::Address(IpAddr::V6(Ipv6Addr::LOCALHOST));
        assert_eq!(authority("[::1]:8080", None), Some((v6.clone(), 8080)));
        assert_eq!(authority("[::1]", Some(80)), Some((v6, 80)));
    }
}
