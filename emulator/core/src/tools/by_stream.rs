//! One question to a server of names over TCP (RFC 7766): its length, then the message, both ways.

use core::net::{IpAddr, SocketAddr};

use super::resolve::{PORT, family_of};
use crate::app::{SockKind, Sys};
use crate::id::SockId;
use crate::netns::Errno;

/// Bytes that are read at a time.
const CHUNK: usize = 4096;

/// The question on its way, or its answer.
#[derive(Debug)]
pub(super) struct ByStream {
    sock: SockId,
    /// What is still to be sent.
    out: Vec<u8>,
    inbox: Vec<u8>,
}

impl ByStream {
    /// Begins to connect to `server`.
    pub(super) fn new(sys: &mut dyn Sys, server: IpAddr, question: &[u8]) -> Result<Self, Errno> {
        let sock = sys.socket(SockKind::Tcp, family_of(server))?;
        let length = (question.len() as u16).to_be_bytes();
        let asked = Self {
            sock,
            out: [&length[..], question].concat(),
            inbox: Vec::new(),
        };
        match sys.connect(sock, SocketAddr::new(server, PORT)) {
            Ok(()) | Err(Errno::InProgress) => Ok(asked),
            Err(errno) => {
                sys.close(sock);
                Err(errno)
            }
        }
    }

    /// Goes on; `None` while it waits. Else the message that came, or why none does.
    pub(super) fn run(&mut self, sys: &mut dyn Sys) -> Option<Result<Vec<u8>, Errno>> {
        if let Some(errno) = sys.take_error(self.sock) {
            return Some(Err(errno));
        }
        if !self.out.is_empty() {
            if !sys.ready(self.sock).writable {
                return None;
            }
            match sys.send(self.sock, &self.out) {
                Ok(sent) => drop(self.out.drain(..sent)),
                Err(Errno::WouldBlock) => return None,
                Err(errno) => return Some(Err(errno)),
            }
        }
        let mut chunk = [0; CHUNK];
        loop {
            let length = self.inbox.first_chunk().copied().map(u16::from_be_bytes);
            if let Some(length) = length.map(usize::from)
                && let Some(message) = self.inbox.get(2..2 + length)
            {
                return Some(Ok(message.to_vec()));
            }
            match sys.recv(self.sock, &mut chunk) {
                Ok(0) => return Some(Err(Errno::ConnReset)),
                Ok(count) => self.inbox.extend_from_slice(&chunk[..count]),
                Err(Errno::WouldBlock) => return None,
                Err(errno) => return Some(Err(errno)),
            }
        }
    }

    pub(super) fn close(self, sys: &mut dyn Sys) {
        sys.close(self.sock);
    }
}
