//! A TCP port of the real machine that is bound, and listens when it is told to.
//!
//! `shutdown(2)` for reading takes a Linux listener back: the socket keeps its port and refuses.

use core::net::SocketAddr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{AddressFamily, Shutdown, SocketFlags, SocketType, sockopt};

/// Connections that wait to be accepted (cut to `net.core.somaxconn`).
const BACKLOG: i32 = 4096;
/// How often a free port is looked for.
const TRIES: usize = 16;

/// The port.
#[derive(Debug)]
pub struct Gate {
    fd: OwnedFd,
    addr: SocketAddr,
    open: bool,
}

impl Gate {
    /// Binds an address; port 0 takes a free one. It refuses until it is opened.
    ///
    /// # Errors
    /// What `bind(2)` says.
    pub fn bind(addr: SocketAddr) -> io::Result<Self> {
        if addr.port() != 0 {
            return Self::exactly(addr);
        }
        let mut last = None;
        for _ in 0..TRIES {
            // A port that the kernel chose is given up with the listener: it is bound again by its number.
            let probe = socket(addr)?;
            rustix::net::bind(&probe, &addr)?;
            let found = SocketAddr::try_from(rustix::net::getsockname(&probe)?)?;
            drop(probe);
            match Self::exactly(found) {
                Ok(gate) => return Ok(gate),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| io::ErrorKind::AddrInUse.into()))
    }

    fn exactly(addr: SocketAddr) -> io::Result<Self> {
        // Whoever is bound there, listening or not, keeps it; what remains of connections may be.
        let strict = socket(addr)?;
        let fd = match rustix::net::bind(&strict, &addr) {
            Ok(()) => strict,
            Err(rustix::io::Errno::ADDRINUSE) => {
                let fd = socket(addr)?;
                sockopt::set_socket_reuseaddr(&fd, true)?;
                rustix::net::bind(&fd, &addr)?;
                sockopt::set_socket_reuseaddr(&fd, false)?;
                fd
            }
            Err(error) => return Err(error.into()),
        };
        Ok(Self {
            fd,
            addr,
            open: false,
        })
    }

    /// Where it is.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub(super) const fn is_open(&self) -> bool {
        self.open
    }

    /// Listens.
    pub(super) fn open(&mut self) -> io::Result<()> {
        // The connections of before share the port.
        sockopt::set_socket_reuseaddr(&self.fd, true)?;
        rustix::net::listen(&self.fd, BACKLOG)?;
        self.open = true;
        Ok(())
    }

    /// Refuses. Who waits to be accepted is reset.
    pub(super) fn close(&mut self) {
        // It listens: this cannot fail. Without the option nobody else can bind it meanwhile.
        let _done = rustix::net::shutdown(&self.fd, Shutdown::Read);
        let _kept = sockopt::set_socket_reuseaddr(&self.fd, false);
        self.open = false;
    }

    /// The next connection.
    pub(super) fn accept(&self) -> io::Result<OwnedFd> {
        let fd = rustix::net::accept_with(&self.fd, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC)?;
        // As docker-proxy does; without it small messages wait.
        sockopt::set_tcp_nodelay(&fd, true)?;
        Ok(fd)
    }
}

impl AsFd for Gate {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn socket(addr: SocketAddr) -> io::Result<OwnedFd> {
    let family = if addr.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let fd = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    if addr.is_ipv6() {
        sockopt::set_ipv6_v6only(&fd, true)?;
    }
    Ok(fd)
}

#[cfg(test)]
mod tests {
    use core::net::{Ipv4Addr, Ipv6Addr};
    use std::net::{TcpListener, TcpStream};
    use std::time::{Duration, Instant};

    use super::*;

    fn takes_back(any: SocketAddr) {
        let mut gate = Gate::bind(any).unwrap();
        let addr = gate.addr();
        let refused = |addr| {
            let kind = TcpStream::connect(addr).unwrap_err().kind();
            assert_eq!(kind, io::ErrorKind::ConnectionRefused);
        };
        refused(addr);
        // Nobody else gets it meanwhile, not even with SO_REUSEADDR (which TcpListener sets).
        assert!(TcpListener::bind(addr).is_err());
        let mut held = Vec::new();
        for _ in 0..3 {
            gate.open().unwrap();
            let client = TcpStream::connect(addr).unwrap();
            // It does not wait, and the end of the handshake may be on its way.
            let until = Instant::now() + Duration::from_secs(60);
            let accepted = loop {
                match gate.accept() {
                    Ok(accepted) => break accepted,
                    Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
                }
                assert!(Instant::now() < until, "nobody comes");
            };
            held.push((client, accepted));
            gate.close();
            refused(addr);
            assert!(TcpListener::bind(addr).is_err());
        }
        assert!(Gate::bind(addr).is_err());
        drop(gate);
        // What is left of the connections keeps nobody from coming up again.
        drop(held);
        assert!(Gate::bind(addr).unwrap().open().is_ok());
    }

    /// Whether this loopback is there and carries.
    fn carries(any: SocketAddr) -> bool {
        let there = TcpListener::bind(any)
            .and_then(|listener| TcpStream::connect(listener.local_addr()?))
            .is_ok();
        if !there {
            eprintln!("SKIPPED: no loopback like {any} here");
        }
        there
    }

    #[test]
    fn a_listener_is_taken_back_and_keeps_its_port() {
        let any = (Ipv4Addr::LOCALHOST, 0).into();
        if carries(any) {
            takes_back(any);
        }
    }

    #[test]
    fn in_ipv6_too() {
        let any = SocketAddr::from((Ipv6Addr::LOCALHOST, 0));
        if carries(any) {
            takes_back(any);
        }
    }
}
