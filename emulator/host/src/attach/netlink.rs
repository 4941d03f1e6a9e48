//! As much of rtnetlink as an interface needs: a veth pair, names, MTU, up, addresses, a default route.
//!
//! Requests are built by hand, after `rtnetlink(7)`; each is acknowledged before the next.

use core::net::IpAddr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use ipnet::IpNet;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netdevice};

const NEW_LINK: u16 = 16;
const NEW_ADDR: u16 = 20;
const NEW_ROUTE: u16 = 24;
const REQUEST: u16 = 0x1;
const ACK: u16 = 0x4;
const CREATE: u16 = 0x600;
const HEAD: usize = 16;
const UP: u32 = 1;
const V4: u8 = 2;
const V6: u8 = 10;

/// A request that grows.
struct Message(Vec<u8>);

impl Message {
    fn new(kind: u16, flags: u16, fixed: &[u8]) -> Self {
        let mut bytes = vec![0; HEAD];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&(flags | REQUEST | ACK).to_ne_bytes());
        bytes.extend_from_slice(fixed);
        Self(bytes)
    }

    /// The fixed part of a request about an interface.
    fn link(index: u32, up: bool) -> [u8; 16] {
        let mut fixed = [0; 16];
        fixed[4..8].copy_from_slice(&index.to_ne_bytes());
        if up {
            fixed[8..12].copy_from_slice(&UP.to_ne_bytes());
            fixed[12..16].copy_from_slice(&UP.to_ne_bytes());
        }
        fixed
    }

    fn attribute(&mut self, kind: u16, value: &[u8]) {
        let length = (4 + value.len()) as u16;
        self.0.extend_from_slice(&length.to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.0.extend_from_slice(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    /// An attribute that holds what `fill` adds.
    fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) {
        let start = self.0.len();
        self.attribute(kind, &[]);
        fill(self);
        let length = (self.0.len() - start) as u16;
        self.0[start..start + 2].copy_from_slice(&length.to_ne_bytes());
    }
}

fn bytes(address: IpAddr) -> (u8, Vec<u8>) {
    match address {
        IpAddr::V4(v4) => (V4, v4.octets().to_vec()),
        IpAddr::V6(v6) => (V6, v6.octets().to_vec()),
    }
}

/// A netlink socket. It stays in the network namespace in which it was made.
#[derive(Debug)]
pub(super) struct Netlink(OwnedFd);

impl Netlink {
    pub(super) fn new() -> io::Result<Self> {
        let socket = rustix::net::socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            None,
        )?;
        Ok(Self(socket))
    }

    /// The number of an interface.
    pub(super) fn index(&self, name: &str) -> io::Result<u32> {
        Ok(netdevice::name_to_index(&self.0, name)?)
    }

    fn ask(&self, mut message: Message) -> io::Result<()> {
        let length = message.0.len() as u32;
        message.0[..4].copy_from_slice(&length.to_ne_bytes());
        rustix::net::send(&self.0, &message.0, SendFlags::empty())?;
        let mut answer = [0_u8; 4096];
        let (count, _) = rustix::net::recv(&self.0, &mut answer[..], RecvFlags::empty())?;
        let code = answer[..count].get(HEAD..HEAD + 4);
        let code = code.and_then(|code| code.first_chunk::<4>());
        match code.map(|code| i32::from_ne_bytes(*code)) {
            Some(0) => Ok(()),
            Some(errno) => Err(io::Error::from_raw_os_error(-errno)),
            None => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    /// Makes a veth pair.
    pub(super) fn veth(&self, name: &str, peer: &str, mtu: u32) -> io::Result<()> {
        let zero = |text: &str| [text.as_bytes(), &[0]].concat();
        let mut message = Message::new(NEW_LINK, CREATE, &Message::link(0, false));
        message.attribute(3, &zero(name));
        message.attribute(4, &mtu.to_ne_bytes());
        message.nest(18, |info| {
            info.attribute(1, b"veth");
            info.nest(2, |data| {
                data.nest(1, |other| {
                    other.0.extend_from_slice(&Message::link(0, false));
                    other.attribute(3, &zero(peer));
                });
            });
        });
        self.ask(message)
    }

    /// Moves an interface into another network namespace.
    pub(super) fn give(&self, index: u32, namespace: BorrowedFd<'_>) -> io::Result<()> {
        let mut message = Message::new(NEW_LINK, 0, &Message::link(index, false));
        let fd = namespace.as_raw_fd() as u32;
        message.attribute(28, &fd.to_ne_bytes());
        self.ask(message)
    }

    /// Gives an interface a MAC and an MTU.
    pub(super) fn set(&self, index: u32, mac: [u8; 6], mtu: u32) -> io::Result<()> {
        let mut message = Message::new(NEW_LINK, 0, &Message::link(index, false));
        message.attribute(1, &mac);
        message.attribute(4, &mtu.to_ne_bytes());
        self.ask(message)
    }

    /// Says how many frames may wait at an interface.
    pub(super) fn queue(&self, index: u32, frames: u32) -> io::Result<()> {
        let mut message = Message::new(NEW_LINK, 0, &Message::link(index, false));
        message.attribute(13, &frames.to_ne_bytes());
        self.ask(message)
    }

    /// Brings an interface up.
    pub(super) fn up(&self, index: u32) -> io::Result<()> {
        self.ask(Message::new(NEW_LINK, 0, &Message::link(index, true)))
    }

    /// Gives an interface an address, without asking whether somebody has it.
    pub(super) fn address(&self, index: u32, net: IpNet) -> io::Result<()> {
        let (family, address) = bytes(net.addr());
        let no_dad = 2;
        let [a, b, c, d] = index.to_ne_bytes();
        let fixed = [family, net.prefix_len(), no_dad, 0, a, b, c, d];
        let mut message = Message::new(NEW_ADDR, CREATE, &fixed);
        message.attribute(2, &address);
        message.attribute(1, &address);
        if let IpNet::V4(v4) = net
            && v4.prefix_len() < 31
        {
            message.attribute(4, &v4.broadcast().octets());
        }
        self.ask(message)
    }

    /// Makes a default route.
    pub(super) fn default_route(&self, index: u32, via: IpAddr) -> io::Result<()> {
        let (family, address) = bytes(via);
        let (table, boot, unicast) = (254, 3, 1);
        let fixed = [family, 0, 0, 0, table, boot, 0, unicast, 0, 0, 0, 0];
        let mut message = Message::new(NEW_ROUTE, CREATE, &fixed);
        message.attribute(5, &address);
        message.attribute(4, &index.to_ne_bytes());
        self.ask(message)
    }
}
