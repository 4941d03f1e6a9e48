//! smoltcp alone: two interfaces back to back, one socket each, frames in recycled buffers.

use std::collections::VecDeque;

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{self, ChecksumCapabilities, Device, DeviceCapabilities, Medium};
use smoltcp::socket::tcp;
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpAddress, IpCidr};

/// Frames under way in one direction.
const QUEUE: usize = 64;

/// One end of the wire; the other has `rx` and `tx` the other way round.
#[derive(Debug, Default)]
struct End {
    rx: VecDeque<Vec<u8>>,
    tx: VecDeque<Vec<u8>>,
    free: Vec<Vec<u8>>,
    checksums: bool,
}

pub(crate) struct Rx<'a>(Vec<u8>, &'a mut Vec<Vec<u8>>);
pub(crate) struct Tx<'a>(&'a mut VecDeque<Vec<u8>>, &'a mut Vec<Vec<u8>>);

impl phy::RxToken for Rx<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        let result = f(&self.0);
        self.1.push(self.0);
        result
    }
}

impl phy::TxToken for Tx<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut buffer = self.1.pop().unwrap_or_else(|| vec![0; 2048]);
        buffer.resize(len, 0);
        let result = f(&mut buffer);
        self.0.push_back(buffer);
        result
    }
}

/// The device borrows the recycled buffers twice: once to give one back, once to take one.
struct Split<'a> {
    end: &'a mut End,
    given: Vec<Vec<u8>>,
}

impl Device for Split<'_> {
    type RxToken<'b>
        = Rx<'b>
    where
        Self: 'b;
    type TxToken<'b>
        = Tx<'b>
    where
        Self: 'b;

    fn receive(&mut self, _: Instant) -> Option<(Rx<'_>, Tx<'_>)> {
        self.end.free.append(&mut self.given);
        if self.end.tx.len() >= QUEUE {
            return None;
        }
        let frame = self.end.rx.pop_front()?;
        let End { tx, free, .. } = &mut *self.end;
        Some((Rx(frame, &mut self.given), Tx(tx, free)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Tx<'_>> {
        let End { tx, free, .. } = &mut *self.end;
        (tx.len() < QUEUE).then_some(Tx(tx, free))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = 1514;
        capabilities.checksum = if self.end.checksums {
            ChecksumCapabilities::default()
        } else {
            ChecksumCapabilities::ignored()
        };
        capabilities
    }
}

/// Two hosts.
pub(crate) struct Pair {
    ends: [End; 2],
    ifaces: Vec<Interface>,
    sets: Vec<SocketSet<'static>>,
    handles: Vec<SocketHandle>,
    port: u16,
    now: i64,
}

fn socket(buffer: usize) -> tcp::Socket<'static> {
    let buffer = || tcp::SocketBuffer::new(vec![0; buffer]);
    let mut socket = tcp::Socket::new(buffer(), buffer());
    socket.set_nagle_enabled(false);
    socket
}

impl Pair {
    /// A connection from the first to the second.
    pub(crate) fn connected(checksums: bool, buffer: usize) -> Self {
        let mut pair = Self {
            ends: Default::default(),
            ifaces: Vec::new(),
            sets: Vec::new(),
            handles: Vec::new(),
            port: 0,
            now: 1,
        };
        for host in 0..2_u8 {
            let end = &mut pair.ends[host as usize];
            end.checksums = checksums;
            let mac = HardwareAddress::Ethernet(EthernetAddress([2, 0, 0, 0, 0, host + 1]));
            let mut device = Split {
                end,
                given: Vec::new(),
            };
            let mut iface = Interface::new(Config::new(mac), &mut device, Instant::from_millis(1));
            iface.update_ip_addrs(|addrs| {
                addrs
                    .push(IpCidr::new(IpAddress::v4(10, 0, 0, host + 1), 24))
                    .expect("room for an address");
            });
            let mut set = SocketSet::new(Vec::new());
            pair.handles.push(set.add(socket(buffer)));
            pair.ifaces.push(iface);
            pair.sets.push(set);
        }
        pair.connect();
        pair
    }

    /// New sockets at both ends, and a connection between them from another port.
    pub(crate) fn reconnect(&mut self, buffer: usize) {
        for host in 0..2 {
            self.sets[host].remove(self.handles[host]);
            self.handles[host] = self.sets[host].add(socket(buffer));
        }
        self.connect();
    }

    fn connect(&mut self) {
        self.port = 40_000 + (self.port + 1) % 20_000;
        self.socket(1).listen(80).expect("it listens");
        let socket = self.sets[0].get_mut::<tcp::Socket<'_>>(self.handles[0]);
        let context = self.ifaces[0].context();
        socket
            .connect(context, (IpAddress::v4(10, 0, 0, 2), 80), self.port)
            .expect("it connects");
        for _ in 0..100 {
            self.turn();
            if self.socket(0).may_send() && self.socket(1).may_send() {
                return;
            }
        }
        panic!("no connection");
    }

    /// A host's socket.
    pub(crate) fn socket(&mut self, host: usize) -> &mut tcp::Socket<'static> {
        self.sets[host].get_mut(self.handles[host])
    }

    /// Each host polls once, and the wire carries; time goes on by a millisecond.
    pub(crate) fn turn(&mut self) {
        self.now += 1;
        let now = Instant::from_millis(self.now);
        for host in 0..2 {
            let mut device = Split {
                end: &mut self.ends[host],
                given: Vec::new(),
            };
            self.ifaces[host].poll(now, &mut device, &mut self.sets[host]);
            let Split { end, mut given } = device;
            end.free.append(&mut given);
            let [a, b] = &mut self.ends;
            let (from, to) = if host == 0 { (a, b) } else { (b, a) };
            to.rx.append(&mut from.tx);
            // Buffers travel one way with data; their owner has to get them back.
            if to.free.len() > QUEUE {
                from.free.extend(to.free.drain(QUEUE / 2..));
            }
        }
    }
}
