//! docker-proxy of a TCP port. A wake costs what is ready, however many connections are held.

use core::net::SocketAddr;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::family;
use crate::app::{App, SockKind, SockOpt, Step, Sys};
use crate::id::SockId;
use crate::netns::Errno;

/// Bytes of one direction that are read ahead of the slower side. Go's `io.Copy` between two TCP sockets does not read them into a
/// buffer of this size but splices them through a pipe, of 1 MiB in Docker 28 and 29: whoever sends to somebody who does not read
/// gets rid of that much before it has to wait, here of less. Nothing else of it can be seen.
const CHUNK: usize = 32 * 1024;
/// What a port keeps of its chunk when nobody is connected to it.
const KEPT: usize = 1024;
/// Connections whose places a port keeps then.
const FEW: usize = 64;

/// One direction of a spliced connection.
#[derive(Debug, Default)]
struct Flow {
    /// Read, and not taken by the other side yet: at most a chunk.
    pending: Vec<u8>,
    read_eof: bool,
    ended: bool,
}

impl Flow {
    /// Moves what can be moved from one socket to the other, through `chunk`; `Err` if either is broken.
    fn pump(
        &mut self,
        sys: &mut dyn Sys,
        from: SockId,
        to: SockId,
        chunk: &mut Vec<u8>,
    ) -> Result<(), Errno> {
        loop {
            while !self.pending.is_empty() {
                match sys.send(to, &self.pending) {
                    Ok(count) => drop(self.pending.drain(..count)),
                    // The other side calls when it takes more.
                    Err(Errno::WouldBlock) => return Ok(()),
                    Err(errno) => return Err(errno),
                }
            }
            if self.read_eof {
                self.ended = true;
                return sys.shutdown(to);
            }
            chunk.clear();
            let mut take = |bytes: &[u8]| {
                let count = bytes.len().min(CHUNK);
                chunk.extend_from_slice(&bytes[..count]);
                count
            };
            match sys.recv_with(from, &mut take) {
                Ok(0) => self.read_eof = true,
                Ok(_) => {
                    let sent = match sys.send(to, chunk) {
                        Ok(sent) => sent,
                        Err(Errno::WouldBlock) => 0,
                        Err(errno) => return Err(errno),
                    };
                    self.pending.extend_from_slice(&chunk[sent..]);
                }
                Err(Errno::WouldBlock) => {
                    // An idle connection holds nothing.
                    self.pending = Vec::new();
                    return Ok(());
                }
                Err(errno) => return Err(errno),
            }
        }
    }

    /// The same; an error ends this direction, and the other side is told.
    fn run(&mut self, sys: &mut dyn Sys, from: SockId, to: SockId, chunk: &mut Vec<u8>) {
        if !self.ended && self.pump(sys, from, to, chunk).is_err() {
            self.ended = true;
            self.pending = Vec::new();
            let _gone = sys.shutdown(to);
        }
    }
}

#[derive(Debug)]
struct Splice {
    client: SockId,
    server: SockId,
    connected: bool,
    up: Flow,
    down: Flow,
}

impl Splice {
    /// Whether the connection goes on.
    fn run(&mut self, sys: &mut dyn Sys, chunk: &mut Vec<u8>) -> bool {
        if !self.connected {
            let ready = sys.ready(self.server);
            if !ready.writable && !ready.error && !ready.hup {
                return true;
            }
            if sys.take_error(self.server).is_some() {
                return false;
            }
            self.connected = true;
        }
        self.up.run(sys, self.client, self.server, chunk);
        self.down.run(sys, self.server, self.client, chunk);
        !(self.up.ended && self.down.ended)
    }

    fn close(self, sys: &mut dyn Sys) {
        sys.close(self.client);
        sys.close(self.server);
    }
}

/// The proxy of one published TCP port.
#[derive(Debug)]
pub struct TcpProxy {
    listener: SockId,
    target: SocketAddr,
    /// By place.
    splices: Vec<Option<Splice>>,
    free: Vec<u32>,
    /// The place of both sockets of each connection.
    places: HashMap<SockId, u32, FixedState>,
    chunk: Vec<u8>,
}

impl TcpProxy {
    /// A proxy on `listener`, which listens already.
    #[must_use]
    pub const fn new(listener: SockId, target: SocketAddr) -> Self {
        Self {
            listener,
            target,
            splices: Vec::new(),
            free: Vec::new(),
            places: HashMap::with_hasher(FixedState::with_seed(0)),
            chunk: Vec::new(),
        }
    }

    /// Connects to the container, with `TCP_NODELAY` on both sockets as Go's `net` sets it.
    fn dial(&self, sys: &mut dyn Sys, client: SockId) -> Result<Splice, Errno> {
        sys.set(client, SockOpt::NoDelay(true))?;
        let server = sys.socket(SockKind::Tcp, family(&self.target))?;
        let begun = sys
            .set(server, SockOpt::NoDelay(true))
            .and_then(|()| sys.connect(server, self.target));
        match begun {
            Ok(()) | Err(Errno::InProgress) => Ok(Splice {
                client,
                server,
                connected: false,
                up: Flow::default(),
                down: Flow::default(),
            }),
            Err(errno) => {
                sys.close(server);
                Err(errno)
            }
        }
    }

    fn insert(&mut self, splice: Splice) {
        let place = self.free.pop().unwrap_or(self.splices.len() as u32);
        self.places.insert(splice.client, place);
        self.places.insert(splice.server, place);
        match self.splices.get_mut(place as usize) {
            Some(free) => *free = Some(splice),
            None => self.splices.push(Some(splice)),
        }
    }

    fn step(&mut self, sys: &mut dyn Sys, place: u32) {
        let Some(here) = self.splices.get_mut(place as usize) else {
            return;
        };
        let on = here
            .as_mut()
            .is_none_or(|splice| splice.run(sys, &mut self.chunk));
        if on {
            return;
        }
        if let Some(splice) = here.take() {
            self.free.push(place);
            self.places.remove(&splice.client);
            self.places.remove(&splice.server);
            splice.close(sys);
        }
        if self.places.is_empty() {
            self.rest();
        }
    }

    /// Nobody is connected: what a storm took goes back.
    fn rest(&mut self) {
        if self.splices.len() > FEW {
            self.splices = Vec::new();
            self.free = Vec::new();
            self.places.shrink_to_fit();
        }
        if self.chunk.capacity() > KEPT {
            self.chunk = Vec::new();
        }
    }
}

impl App for TcpProxy {
    fn run(&mut self, sys: &mut dyn Sys) -> Step {
        while let Ok((client, _)) = sys.accept(self.listener) {
            match self.dial(sys, client) {
                Ok(splice) => self.insert(splice),
                Err(_) => sys.close(client),
            }
        }
        while let Some(sock) = sys.next_ready() {
            if let Some(&place) = self.places.get(&sock) {
                self.step(sys, place);
            }
        }
        Step::Wait
    }

    fn name(&self) -> &str {
        "docker-proxy"
    }
}

#[cfg(test)]
mod tests {
    use core::net::Ipv4Addr;
    use core::time::Duration;

    use switch::Time;

    use super::*;
    use crate::app::Family;
    use crate::docker::spec::{ContainerSpec, NetworkSpec};
    use crate::lab::{Input, Lab, LabConfig, Output};
    use crate::tools::Sink;

    /// A stream through a proxy that always has more to say ends as soon as it can: nobody waits for a timer.
    #[test]
    fn bulk_waits_for_nothing() {
        let mut lab = Lab::new(LabConfig::default()).unwrap();
        lab.network_create(NetworkSpec {
            name: "front".into(),
            ..NetworkSpec::default()
        })
        .unwrap();
        lab.create(ContainerSpec {
            name: Some("sink".into()),
            image: "none".into(),
            listens: Some(Vec::new()),
            network_mode: "front".into(),
            ..ContainerSpec::default()
        })
        .unwrap();
        lab.start("sink").unwrap();
        let (host, sink) = (lab.places().host, lab.namespace("sink").unwrap());
        lab.spawn(sink, Box::new(Sink::new(9000)));
        let address = lab.docker().container("sink").unwrap();
        let address = address.endpoints().flat_map(|it| it.addresses()).next();
        let target = SocketAddr::new(address.unwrap().addr(), 9000);
        let mut sys = lab.sys(host);
        let listener = sys.socket(SockKind::Tcp, Family::V4).unwrap();
        sys.bind(listener, (Ipv4Addr::UNSPECIFIED, 9000).into())
            .unwrap();
        sys.listen(listener, 128).unwrap();
        let app = lab.apps.spawn(
            &mut lab.net,
            host,
            Box::new(TcpProxy::new(listener, target)),
        );
        lab.apps.give(listener, app);
        lab.run_for(Duration::from_secs(10));
        let mut sys = lab.sys(host);
        let client = sys.socket(SockKind::Tcp, Family::V4).unwrap();
        sys.set(client, SockOpt::NoDelay(true)).unwrap();
        let begun = sys.connect(client, (Ipv4Addr::LOCALHOST, 9000).into());
        assert_eq!(begun, Err(Errno::InProgress));
        let start = lab.now();
        let (mut left, chunk) = (16 << 20, vec![7; 32 << 10]);
        while left > 0 {
            match lab.poll() {
                Output::Ready(sock) if sock == client => {
                    let mut sys = lab.sys(host);
                    while let Ok(room) = sys.send_room(client)
                        && room > 0
                        && left > 0
                    {
                        let count = room.min(chunk.len()).min(left);
                        left -= sys.send(client, &chunk[..count]).unwrap();
                    }
                }
                Output::Idle(next) => {
                    let next = next.unwrap_or(Time::MAX);
                    lab.handle(next, Input::Tick);
                }
                _ => {}
            }
        }
        let spent = lab.now().since(start);
        assert!(spent < Duration::from_millis(50), "{spent:?}");
    }
}
