//! Docker's built-in address management (`--ipam-driver default`): subnets and addresses.
//!
//! Models `libnetwork/ipams/defaultipam`. The lowest free address is always the next one; what was
//! given back can be handed out at once.

pub mod bits;
pub mod pool;
pub mod runs;
pub mod ula;

use core::net::IpAddr;
use std::borrow::Cow;

use ipnet::IpNet;

pub use pool::{AddressError, AddressPool, PoolError, default_pools};

use super::spec::Engine;
use pool::Space;

/// The length of a subnet of the host's own pool.
const ULA_SIZE: u8 = 64;

/// Both address spaces of the engine.
#[derive(Clone, Debug)]
pub struct Ipam {
    v4: Space,
    v6: Space,
    /// The host whose own pool of IPv6 is added when a network asks for one.
    ula: Option<Box<str>>,
}

impl Ipam {
    /// With these pools for networks that state no subnet; none at all means Docker's own. In Docker 29 that of
    /// the host with the id `ula` is added if none of them is of IPv6.
    #[must_use]
    pub fn new(engine: Engine, pools: &[AddressPool], ula: Option<&str>) -> Self {
        let pools = match pools {
            [] => Cow::Owned(default_pools()),
            pools => Cow::Borrowed(pools),
        };
        let has_v6 = pools.iter().any(|pool| bits::is_v6(&pool.base));
        Self {
            v4: Space::new(engine, false, &pools),
            v6: Space::new(engine, true, &pools),
            ula: ula
                .filter(|_| engine == Engine::V29 && !has_v6)
                .map(Into::into),
        }
    }

    fn space(&mut self, v6: bool) -> &mut Space {
        if v6 { &mut self.v6 } else { &mut self.v4 }
    }

    /// See [`Space::take`].
    ///
    /// # Errors
    /// [`PoolError::Overlap`].
    pub fn take(&mut self, subnet: IpNet, range: Option<IpNet>) -> Result<(), PoolError> {
        self.space(bits::is_v6(&subnet)).take(subnet, range)
    }

    /// See [`Space::take_predefined`].
    ///
    /// # Errors
    /// [`PoolError::NoMoreSubnets`].
    pub fn take_predefined(
        &mut self,
        v6: bool,
        reserved: &[IpNet],
        size: Option<u8>,
    ) -> Result<IpNet, PoolError> {
        if v6 && let Some(host) = self.ula.take() {
            self.v6.add_pool(AddressPool {
                base: IpNet::V6(ula::base(&host)),
                size: ULA_SIZE,
            });
        }
        self.space(v6).take_predefined(reserved, size)
    }

    /// See [`Space::give_back`].
    pub fn give_back(&mut self, subnet: IpNet, range: Option<IpNet>) {
        self.space(bits::is_v6(&subnet)).give_back(subnet, range);
    }

    /// See [`Space::take_address`].
    ///
    /// # Errors
    /// See [`AddressError`].
    pub fn take_address(
        &mut self,
        subnet: IpNet,
        range: Option<IpNet>,
        wanted: Option<IpAddr>,
    ) -> Result<IpAddr, AddressError> {
        self.space(bits::is_v6(&subnet))
            .take_address(subnet, range, wanted)
    }

    /// See [`Space::free_address`].
    pub fn free_address(&mut self, subnet: IpNet, addr: IpAddr) {
        self.space(bits::is_v6(&subnet)).free_address(subnet, addr);
    }

    /// See [`Space::status`].
    #[must_use]
    pub fn status(&self, subnet: IpNet, range: Option<IpNet>) -> (u128, u128) {
        if bits::is_v6(&subnet) {
            self.v6.status(subnet, range)
        } else {
            self.v4.status(subnet, range)
        }
    }
}

#[cfg(test)]
mod tests;
