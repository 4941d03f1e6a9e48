//! What this machine lets this user do, tried: sockets, the runtime, the way out. Nothing is sent further than loopback,
//! and nothing is left behind. Ways that need namespaces are in [`crate::attach::trial`].

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::fs;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use emulator_core::dns::ResolvConf;
use emulator_core::lab::{Lab, LabConfig};
use rustix::net::ipproto;
use rustix::net::{AddressFamily, SocketType};

use crate::control::{Claimed, Place, folder};
use crate::runtime::Runtime;

/// Addresses that are nobody's (RFC 5737, RFC 3849): a route to them is asked for, and nothing is sent.
const AWAY: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
];
/// How long loopback may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// How it is here, in a sentence: `Err` if it does not work.
pub type Found = Result<String, String>;

/// Whether the real-time loop runs.
///
/// # Errors
/// What is missing.
pub fn runtime() -> Found {
    let lab = Lab::new(LabConfig::default()).map_err(|error| error.to_string())?;
    let mut runtime =
        Runtime::new(lab).map_err(|error| format!("it needs Linux 5.11 or later ({error})"))?;
    runtime
        .turn()
        .map_err(|error| format!("epoll does not wait ({error}): it needs Linux 5.11 or later"))?;
    Ok("the loop waits and wakes".to_owned())
}

/// Whether a project can have a control socket.
///
/// # Errors
/// What is missing.
pub fn control() -> Found {
    let place = Place::new(folder());
    let name = format!("doctor-{}", std::process::id());
    match place.claim(&name) {
        Ok(_claim) => Ok(format!("sockets in {}", place.folder().display())),
        Err(Claimed::Error(sentence)) => Err(sentence),
        Err(Claimed::Up(_)) => Err(format!("{name} is somebody's already")),
    }
}

/// The families in which loopback does something.
fn families(works: impl Fn(IpAddr) -> io::Result<()>) -> Found {
    let four = works(Ipv4Addr::LOCALHOST.into());
    let six = works(Ipv6Addr::LOCALHOST.into());
    match (four, six) {
        (Ok(()), Ok(())) => Ok("IPv4 and IPv6".to_owned()),
        (Ok(()), Err(error)) => Ok(format!("IPv4; IPv6 has no loopback here ({error})")),
        (Err(error), Ok(())) => Ok(format!("IPv6; IPv4 has no loopback here ({error})")),
        (Err(error), Err(_)) => Err(format!("no socket of loopback works ({error})")),
    }
}

fn through(at: IpAddr) -> io::Result<()> {
    let listener = TcpListener::bind((at, 0))?;
    let mut client = TcpStream::connect_timeout(&listener.local_addr()?, PATIENCE)?;
    let (mut server, _) = listener.accept()?;
    client.write_all(b"x")?;
    server.set_read_timeout(Some(PATIENCE))?;
    server.read_exact(&mut [0])
}

/// Whether loopback carries connections.
///
/// # Errors
/// What is missing.
pub fn streams() -> Found {
    families(through)
}

/// The same, and which ports may be published.
///
/// # Errors
/// What is missing.
pub fn published_streams() -> Found {
    Ok(format!("{}; {}", streams()?, low_ports()))
}

fn low_ports() -> String {
    let start = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    let start = start.ok().and_then(|text| text.trim().parse::<u32>().ok());
    let start = start.unwrap_or(1024);
    let capable = rustix::thread::capabilities(None).is_ok_and(|sets| {
        let wanted = rustix::thread::CapabilitySet::NET_BIND_SERVICE;
        sets.effective.contains(wanted)
    });
    if capable || start == 0 {
        "every port".to_owned()
    } else {
        format!("ports from {start} on (net.ipv4.ip_unprivileged_port_start)")
    }
}

/// Whether loopback carries datagrams.
///
/// # Errors
/// What is missing.
pub fn datagrams() -> Found {
    families(|at| {
        let server = UdpSocket::bind((at, 0))?;
        let client = UdpSocket::bind((at, 0))?;
        server.set_read_timeout(Some(PATIENCE))?;
        client.send_to(b"x", server.local_addr()?)?;
        server.recv(&mut [0]).map(|_| ())
    })
}

/// Whether this machine has a way to others. Its first hop is not asked.
///
/// # Errors
/// What is missing.
pub fn way_out() -> Found {
    let leads = |to: IpAddr| {
        let any: SocketAddr = match to {
            IpAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            IpAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        UdpSocket::bind(any)
            .and_then(|socket| socket.connect((to, 9)))
            .is_ok()
    };
    match AWAY.map(leads) {
        [true, true] => Ok("this machine has routes out, IPv4 and IPv6".to_owned()),
        [true, false] => Ok("this machine has a route out for IPv4, none for IPv6".to_owned()),
        [false, true] => Ok("this machine has a route out for IPv6, none for IPv4".to_owned()),
        [false, false] => {
            Err("this machine has no route out; its own loopback can be reached".to_owned())
        }
    }
}

/// Whether this user may ping.
///
/// # Errors
/// What is missing.
pub fn pings() -> Found {
    let opens =
        |family, protocol| rustix::net::socket(family, SocketType::DGRAM, Some(protocol)).map(drop);
    let four = opens(AddressFamily::INET, ipproto::ICMP);
    let six = opens(AddressFamily::INET6, ipproto::ICMPV6);
    let range = fs::read_to_string("/proc/sys/net/ipv4/ping_group_range").unwrap_or_default();
    let range = range.split_whitespace().collect::<Vec<_>>().join(" ");
    match (four, six) {
        (Ok(()), Ok(())) => Ok(format!(
            "ping sockets, IPv4 and IPv6 (net.ipv4.ping_group_range is {range})"
        )),
        (Ok(()), Err(error)) => Ok(format!("ping sockets of IPv4; not of IPv6 ({error})")),
        (Err(error), _) => Err(format!(
            "ping sockets are closed ({error}): net.ipv4.ping_group_range is {range:?} and has no group of this user"
        )),
    }
}

/// Whom this machine asks for names. They are not asked here.
///
/// # Errors
/// What is missing.
pub fn resolvers() -> Found {
    let text = fs::read_to_string("/etc/resolv.conf")
        .map_err(|error| format!("/etc/resolv.conf cannot be read ({error})"))?;
    if !text
        .lines()
        .any(|line| line.trim_start().starts_with("nameserver"))
    {
        return Err("/etc/resolv.conf names no resolver".to_owned());
    }
    let servers = ResolvConf::parse(&text).nameservers;
    let servers: Vec<String> = servers.iter().map(ToString::to_string).collect();
    Ok(format!("/etc/resolv.conf names {}", servers.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_works_here_is_found() {
        assert!(runtime().is_ok());
        let loopback = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .and_then(|listener| TcpStream::connect(listener.local_addr()?));
        for found in [published_streams(), datagrams()] {
            match found {
                Ok(works) => assert!(works.contains("IPv4")),
                Err(why) => assert!(loopback.is_err(), "{why}"),
            }
        }
        // Whatever they say, they say it.
        for found in [pings(), resolvers(), way_out()] {
            let (Ok(sentence) | Err(sentence)) = found;
            assert!(!sentence.is_empty());
        }
    }
}
