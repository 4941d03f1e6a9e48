//! Segment sizes: each is an interface of smoltcp, which the connections that have it are run with.

use core::fmt;
use core::net::{Ipv4Addr, SocketAddr};

use smoltcp::iface::{Config, Interface};
use smoltcp::time::Instant;
use smoltcp::wire::{HardwareAddress, IpAddress, IpEndpoint};

use super::device::Inbound;
use super::emit::Reply;

/// Segment sizes that a namespace uses at once; asked for more, it takes the next smaller one.
const MAX_PATHS: usize = 32;
/// No packet is cut smaller: leaves 88 bytes of data over IPv4 (RFC 791: every host takes 576).
const MIN_MTU_V4: usize = 128;
/// RFC 8200 §5.
const MIN_MTU_V6: usize = 1280;

/// The longest packet.
const MAX_LEN: usize = u16::MAX as usize;
/// What an IPv6 header is longer than one of IPv4.
const HEADERS_DIFFER: usize = 20;
/// Our address in IPv6 connections, as the engine has it.
pub(super) const LOCAL: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// The other side's.
pub(super) const REMOTE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

/// An address as the engine knows it. The engine looks up nothing by address, so that any will do for
/// IPv6.
pub(super) const fn endpoint(address: SocketAddr, stand_in: Ipv4Addr) -> IpEndpoint {
    let addr = match address {
        SocketAddr::V4(v4) => *v4.ip(),
        SocketAddr::V6(_) => stand_in,
    };
    IpEndpoint {
        addr: IpAddress::Ipv4(addr),
        port: address.port(),
    }
}

struct Path {
    /// The largest packet with its IPv4 header.
    mtu: usize,
    /// The largest super-segment, likewise; 0 for none.
    burst: usize,
    iface: Interface,
}

/// The interfaces of a namespace's connections, one for each segment size in use.
pub(super) struct Shared {
    paths: Vec<Path>,
    seed: u64,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.paths.iter().map(|path| (path.mtu, path.burst)))
            .finish()
    }
}

/// Which of the interfaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PathIx(u8);

impl Shared {
    /// No interfaces yet; their random streams derive from `seed`.
    pub(super) const fn new(seed: u64) -> Self {
        Self {
            paths: Vec::new(),
            seed,
        }
    }

    /// The one for packets of `mtu` bytes from `local`, with super-segments if they are on.
    pub(super) fn path(&mut self, local: SocketAddr, mtu: usize, offload: bool) -> PathIx {
        // Linux's loopback has an MTU of 65,536, one more than an IPv4 packet can be.
        let (min, max, header) = match local {
            SocketAddr::V4(_) => (MIN_MTU_V4, MAX_LEN, 0),
            SocketAddr::V6(_) => (MIN_MTU_V6, MAX_LEN + 1, HEADERS_DIFFER),
        };
        let mtu = mtu.clamp(min, max);
        let burst = if offload && mtu < max { MAX_LEN } else { 0 };
        self.find(mtu - header, burst.saturating_sub(header))
    }

    fn find(&mut self, mtu: usize, burst: usize) -> PathIx {
        let same = |path: &Path| path.mtu == mtu && path.burst == burst;
        let index = match self.paths.iter().position(same) {
            Some(index) => index,
            None if self.paths.len() < MAX_PATHS => {
                self.add(mtu, burst);
                self.paths.len() - 1
            }
            None => self.next_smaller(mtu),
        };
        PathIx(index as u8)
    }

    fn add(&mut self, mtu: usize, burst: usize) {
        // The last one is good enough for everybody.
        let (mtu, burst) = if self.paths.len() + 1 == MAX_PATHS {
            (MIN_MTU_V4, 0)
        } else {
            (mtu, burst)
        };
        let mut config = Config::new(HardwareAddress::Ip);
        config.random_seed = self.seed ^ ((mtu as u64) << 1) ^ u64::from(burst > 0);
        let mut device = Inbound {
            packet: None,
            reply: &mut Reply::new(),
            mtu,
            burst,
        };
        let mut iface = Interface::new(config, &mut device, Instant::ZERO);
        iface.set_any_ip(true);
        self.paths.push(Path { mtu, burst, iface });
    }

    fn next_smaller(&self, mtu: usize) -> usize {
        let all = self.paths.iter().enumerate();
        let fits = all.filter(|(_, path)| path.mtu <= mtu && path.burst == 0);
        let best = fits.max_by_key(|(index, path)| (path.mtu, core::cmp::Reverse(*index)));
        best.map_or(0, |(index, _)| index)
    }

    pub(super) fn mtu(&self, path: PathIx) -> usize {
        self.paths[usize::from(path.0)].mtu
    }

    /// The largest super-segment with its IPv4 header; 0 for none.
    pub(super) fn burst(&self, path: PathIx) -> usize {
        self.paths[usize::from(path.0)].burst
    }

    pub(super) fn iface(&mut self, path: PathIx) -> &mut Interface {
        &mut self.paths[usize::from(path.0)].iface
    }
}
