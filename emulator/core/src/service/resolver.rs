//! The resolver of the outside world: an application that answers DNS over UDP and TCP on port 53.

use std::collections::BTreeMap;

use dns::Transport;
use dns::upstream::World;

use crate::app::{App, Family, SockKind, SockOpt, Step, Sys};
use crate::id::SockId;
use crate::netns::Errno;
use crate::service::proxy::any;

/// Connections that are served at once.
const MAX_CONNECTIONS: usize = 256;

/// The application.
#[derive(Debug)]
pub struct ResolverApp {
    world: World,
    udp: Vec<SockId>,
    listeners: Vec<SockId>,
    streams: BTreeMap<SockId, Vec<u8>>,
    started: bool,
}

impl ResolverApp {
    /// Answers what exists in `world`.
    #[must_use]
    pub const fn new(world: World) -> Self {
        Self {
            world,
            udp: Vec::new(),
            listeners: Vec::new(),
            streams: BTreeMap::new(),
            started: false,
        }
    }

    fn start(&mut self, sys: &mut dyn Sys) -> Result<(), Errno> {
        for (family, v6) in [(Family::V4, false), (Family::V6, true)] {
            let addr = (any(v6), 53).into();
            let udp = sys.socket(SockKind::Udp, family)?;
            sys.set(udp, SockOpt::V6Only(true))?;
            sys.bind(udp, addr)?;
            self.udp.push(udp);
            let listener = sys.socket(SockKind::Tcp, family)?;
            sys.set(listener, SockOpt::V6Only(true))?;
            sys.bind(listener, addr)?;
            sys.listen(listener, 64)?;
            self.listeners.push(listener);
        }
        Ok(())
    }

    fn serve_udp(&self, sys: &mut dyn Sys) {
        let mut buffer = [0; 4096];
        for &sock in &self.udp {
            while let Ok(got) = sys.recv_from(sock, &mut buffer) {
                if let Some(reply) = self.world.answer(&buffer[..got.len], Transport::Udp) {
                    let _lost = sys.send_to(sock, &reply, got.from);
                }
            }
        }
    }

    fn serve_stream(&mut self, sys: &mut dyn Sys, sock: SockId) -> bool {
        let Some(pending) = self.streams.get_mut(&sock) else {
            return false;
        };
        let mut buffer = [0; 4096];
        loop {
            match sys.recv(sock, &mut buffer) {
                Ok(0) => return false,
                Ok(count) => pending.extend_from_slice(&buffer[..count]),
                Err(Errno::WouldBlock) => break,
                Err(_) => return false,
            }
            while let Some(len) = pending
                .first_chunk::<2>()
                .map(|len| usize::from(u16::from_be_bytes(*len)))
            {
                if pending.len() < 2 + len {
                    break;
                }
                let query: Vec<u8> = pending.drain(..2 + len).skip(2).collect();
                let Some(reply) = self.world.answer(&query, Transport::Tcp) else {
                    return false;
                };
                let mut framed = (reply.len() as u16).to_be_bytes().to_vec();
                framed.extend_from_slice(&reply);
                if sys.send(sock, &framed) != Ok(framed.len()) {
                    return false;
                }
            }
        }
        true
    }
}

impl App for ResolverApp {
    fn run(&mut self, sys: &mut dyn Sys) -> Step {
        if !self.started {
            self.started = true;
            if let Err(errno) = self.start(sys) {
                sys.eprint(&format!("resolver: {errno}\n"));
                return Step::Exit(1);
            }
        }
        self.serve_udp(sys);
        for at in 0..self.listeners.len() {
            while let Ok((sock, _)) = sys.accept(self.listeners[at]) {
                if self.streams.len() < MAX_CONNECTIONS {
                    self.streams.insert(sock, Vec::new());
                } else {
                    sys.close(sock);
                }
            }
        }
        let all: Vec<SockId> = self.streams.keys().copied().collect();
        for sock in all {
            if !self.serve_stream(sys, sock) {
                self.streams.remove(&sock);
                sys.close(sock);
            }
        }
        Step::Wait
    }

    fn name(&self) -> &str {
        "resolver"
    }
}
