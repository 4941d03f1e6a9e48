//! The real machine's resolvers, and one question to one of them.

use core::net::SocketAddr;
use core::time::Duration;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;

use emulator_core::dns::ResolvConf;
use emulator_core::switch::Time;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};

use super::{Proto, real};
use crate::reactor::{Events, Interest, Watch};
use crate::runtime::Cx;

/// Where the real machine says whom it asks.
const RESOLV_CONF: &str = "/etc/resolv.conf";
/// The file is read anew when it is older.
const FRESH: Duration = Duration::from_secs(5);
/// The largest message.
const MESSAGE: usize = 65_535;

/// Whom to ask for names.
#[derive(Clone, Debug, Default)]
pub struct Resolver {
    servers: Vec<SocketAddr>,
    /// They are given; else they are the machine's, as of then.
    fixed: bool,
    read: Option<Time>,
}

impl Resolver {
    /// The servers of the machine's `/etc/resolv.conf`, as it is when somebody asks.
    #[must_use]
    pub fn machine() -> Self {
        Self::default()
    }

    /// These servers, in this order.
    #[must_use]
    pub const fn at(servers: Vec<SocketAddr>) -> Self {
        Self {
            servers,
            fixed: true,
            read: None,
        }
    }

    /// The servers, in the order in which they are asked.
    pub(super) fn servers(&mut self, now: Time) -> &[SocketAddr] {
        let fresh = self.read.is_some_and(|read| now.since(read) < FRESH);
        if !self.fixed && !fresh {
            self.read = Some(now);
            // Without the file the C library asks 127.0.0.1.
            let text = fs::read_to_string(RESOLV_CONF).unwrap_or_default();
            let servers = ResolvConf::parse(&text).nameservers.into_iter();
            self.servers = servers.map(|server| (server, 53).into()).collect();
        }
        &self.servers
    }
}

/// What came of a question so far.
#[derive(Debug)]
pub(super) enum Heard {
    /// Nothing yet.
    Nothing,
    /// A message.
    Answer(Vec<u8>),
    /// There will be none.
    Failed,
}

/// A question on its way.
#[derive(Debug)]
pub(super) struct Call {
    fd: OwnedFd,
    watch: Watch,
    /// By a stream: what is still to be written, and what was read.
    stream: Option<(Vec<u8>, Vec<u8>)>,
}

impl Call {
    /// Asks a server.
    pub(super) fn new(
        cx: &mut Cx<'_>,
        key: u64,
        server: SocketAddr,
        query: &[u8],
        stream: bool,
    ) -> io::Result<Self> {
        let proto = if stream { Proto::Tcp } else { Proto::Udp };
        let fd = real::connect(proto, server)?;
        let stream = stream.then(|| {
            let length = (query.len() as u16).to_be_bytes();
            ([&length[..], query].concat(), Vec::new())
        });
        if stream.is_none() {
            rustix::net::send(&fd, query, SendFlags::NOSIGNAL)?;
        }
        let interest = Interest::of(stream.is_none(), stream.is_some());
        let watch = cx.watch(&fd, key, interest)?;
        Ok(Self { fd, watch, stream })
    }

    /// Its socket is ready.
    pub(super) fn ready(&mut self, cx: &mut Cx<'_>, events: Events) -> Heard {
        match &mut self.stream {
            None => {
                let mut buffer = vec![0; MESSAGE];
                match rustix::net::recv(&self.fd, &mut buffer[..], RecvFlags::empty()) {
                    Ok((len, _)) => {
                        buffer.truncate(len);
                        Heard::Answer(buffer)
                    }
                    Err(Errno::AGAIN | Errno::INTR) => Heard::Nothing,
                    Err(_) => Heard::Failed,
                }
            }
            Some((out, inbox)) => {
                if events.error {
                    return Heard::Failed;
                }
                match pump(&self.fd, out, inbox) {
                    Ok(true) => Heard::Answer(inbox.split_off(2)),
                    Ok(false) => {
                        let interest = Interest::of(true, !out.is_empty());
                        // The watch is there as long as the question is.
                        let _there = cx.rewatch(self.watch, &self.fd, interest);
                        Heard::Nothing
                    }
                    Err(_) => Heard::Failed,
                }
            }
        }
    }

    pub(super) fn close(self, cx: &mut Cx<'_>) {
        cx.unwatch(self.watch, &self.fd);
    }
}

/// Writes and reads what can be; true if a whole message was read.
fn pump(fd: &OwnedFd, out: &mut Vec<u8>, inbox: &mut Vec<u8>) -> io::Result<bool> {
    while !out.is_empty() {
        match rustix::net::send(fd, out, SendFlags::NOSIGNAL) {
            Ok(count) => drop(out.drain(..count)),
            Err(Errno::AGAIN) => break,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let mut chunk = [0; 4096];
    loop {
        let whole = inbox
            .first_chunk::<2>()
            .map(|len| 2 + usize::from(u16::from_be_bytes(*len)));
        if let Some(whole) = whole
            && inbox.len() >= whole
        {
            inbox.truncate(whole);
            return Ok(true);
        }
        match rustix::net::recv(fd, &mut chunk[..], RecvFlags::empty()) {
            Ok((0, _)) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok((count, _)) => inbox.extend_from_slice(&chunk[..count]),
            Err(Errno::AGAIN) => return Ok(false),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
