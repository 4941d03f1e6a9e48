//! One question to the network, asked through real sockets: can this namespace reach that address?
//!
//! A probe runs in virtual time and returns when it knows, or when `limit` has passed. TCP: connects,
//! then waits for what the server says until it closes (its first bytes are kept). UDP: a connected
//! socket sends one datagram and waits for an answer. Ping: one echo request. DNS: one query.

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use super::apps::LabSys;
use super::{Lab, Output};
use crate::app::{Family, SockKind, Sys};
use crate::id::{AppId, NsId, SockId};
use crate::netns::Errno;

/// Bytes kept of an answer.
const ANSWER_LIMIT: usize = 64 * 1024;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question<'a> {
    /// An ICMP echo request.
    Ping(IpAddr),
    /// A TCP connection; sends these bytes once it is open.
    Tcp(SocketAddr, &'a [u8]),
    /// A UDP datagram with these bytes.
    Udp(SocketAddr, &'a [u8]),
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It answered, with these bytes (none for a ping).
    Open(Vec<u8>),
    /// A TCP connection was accepted, and closed without a byte.
    Closed,
    /// It failed with this error.
    Failed(Errno),
    /// Nothing came within the limit.
    Timeout,
}

impl Lab {
    /// The socket calls of a namespace, for whoever drives the lab. Its sockets belong to nobody: their
    /// readiness is told as [`Output::Ready`].
    pub fn sys(&mut self, ns: NsId) -> LabSys<'_> {
        LabSys {
            net: &mut self.net,
            apps: &mut self.apps,
            docker: &self.docker,
            sandboxes: &self.sandboxes,
            app: AppId(0),
            ns,
        }
    }

    /// Runs until `done` says something, at most until `limit` has passed. What is told of others than
    /// `sock` is kept for [`Lab::poll`].
    fn wait<T>(
        &mut self,
        limit: Duration,
        sock: SockId,
        mut done: impl FnMut(&mut LabSys<'_>) -> Option<T>,
    ) -> Option<T> {
        let own = Output::Ready(sock);
        let until = self.now() + limit;
        let mut kept = Vec::new();
        let result = loop {
            let result = done(&mut self.sys(sock.ns));
            if result.is_some() || self.now() >= until {
                break result;
            }
            let told = self.run_while(until, |_, output| *output != own);
            let ready = told.last() == Some(&own);
            kept.extend(told.into_iter().filter(|output| *output != own));
            if !ready {
                break done(&mut self.sys(sock.ns));
            }
        };
        self.put_back(kept);
        result
    }

    /// Asks `question` from `ns` and waits at most `limit`.
    pub fn probe(&mut self, ns: NsId, question: &Question<'_>, limit: Duration) -> Answer {
        let opened = self.open(ns, question);
        let sock = match opened {
            Ok(sock) => sock,
            Err(errno) => return Answer::Failed(errno),
        };
        let answer = match question {
            Question::Tcp(_, bytes) => self.probe_stream(sock, bytes, limit),
            Question::Ping(_) | Question::Udp(..) => self.probe_datagram(sock, limit),
        };
        self.sys(ns).close(sock);
        self.settle();
        self.forget_ready(sock);
        answer
    }

    fn open(&mut self, ns: NsId, question: &Question<'_>) -> Result<SockId, Errno> {
        let (kind, to) = match *question {
            Question::Ping(address) => (SockKind::Ping, SocketAddr::new(address, 0)),
            Question::Tcp(to, _) => (SockKind::Tcp, to),
            Question::Udp(to, _) => (SockKind::Udp, to),
        };
        let sock = self.connect_to_another(ns, kind, to)?;
        let mut sys = self.sys(ns);
        let sent = match *question {
            Question::Ping(_) => sys.send(sock, &[0; 56]).map(|_| ()),
            Question::Udp(_, bytes) => sys.send(sock, bytes).map(|_| ()),
            Question::Tcp(..) => Ok(()),
        };
        sent.inspect_err(|_| sys.close(sock))?;
        Ok(sock)
    }

    /// A socket that is connected, or about to be, to somebody else: of an address of its own a socket may be given the
    /// very port that it asks for, and would hear itself.
    fn connect_to_another(
        &mut self,
        ns: NsId,
        kind: SockKind,
        to: SocketAddr,
    ) -> Result<SockId, Errno> {
        let family = if to.is_ipv4() { Family::V4 } else { Family::V6 };
        let mut sys = self.sys(ns);
        let sock = sys.socket(kind, family)?;
        match sys.connect(sock, to) {
            Ok(()) | Err(Errno::InProgress) => {}
            Err(errno) => {
                sys.close(sock);
                return Err(errno);
            }
        }
        if kind == SockKind::Ping || sys.local_addr(sock) != Some(to) {
            return Ok(sock);
        }
        // Meanwhile the port is taken.
        let other = self.connect_to_another(ns, kind, to);
        self.sys(ns).close(sock);
        other
    }

    fn probe_datagram(&mut self, sock: SockId, limit: Duration) -> Answer {
        let mut buffer = vec![0; ANSWER_LIMIT];
        self.wait(limit, sock, |sys| {
            if let Some(errno) = sys.take_error(sock) {
                return Some(Answer::Failed(errno));
            }
            match sys.recv(sock, &mut buffer) {
                Ok(count) => Some(Answer::Open(buffer[..count].to_vec())),
                Err(Errno::WouldBlock) => None,
                Err(errno) => Some(Answer::Failed(errno)),
            }
        })
        .unwrap_or(Answer::Timeout)
    }

    fn probe_stream(&mut self, sock: SockId, bytes: &[u8], limit: Duration) -> Answer {
        let mut connected = false;
        let mut heard = Vec::new();
        let mut buffer = [0; 4096];
        let answer = self.wait(limit, sock, |sys| {
            if !connected {
                if let Some(errno) = sys.take_error(sock) {
                    return Some(Answer::Failed(errno));
                }
                if !sys.ready(sock).writable {
                    return None;
                }
                connected = true;
                if !bytes.is_empty() {
                    let _taken = sys.send(sock, bytes);
                }
            }
            loop {
                match sys.recv(sock, &mut buffer) {
                    Ok(0) if heard.is_empty() => return Some(Answer::Closed),
                    Ok(0) => return Some(Answer::Open(core::mem::take(&mut heard))),
                    Ok(count) => {
                        heard.extend_from_slice(&buffer[..count]);
                        heard.truncate(ANSWER_LIMIT);
                    }
                    Err(Errno::WouldBlock) => return None,
                    Err(Errno::ConnReset) if connected && heard.is_empty() => {
                        return Some(Answer::Closed);
                    }
                    Err(errno) => return Some(Answer::Failed(errno)),
                }
            }
        });
        match answer {
            Some(answer) => answer,
            // It is open; the server had nothing (more) to say, or does not close.
            None if connected => Answer::Open(heard),
            None => Answer::Timeout,
        }
    }
}
