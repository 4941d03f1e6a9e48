//! The subnets and addresses of a network: taking them from the address management and giving them
//! back.
//!
//! Models `libnetwork/network.go` (`ipamAllocateVersion`) and `endpoint.go` (`assignAddressVersion`).

use core::net::IpAddr;

use ipnet::IpNet;

use super::engine::{Docker, World};
use super::error::{Error, Kind};
use super::ipam::{AddressError, PoolError, bits};
use super::network::{Lease, Network};
use super::spec::Engine;
use super::validate::Subnet;

/// What a network needs of the address management.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wants<'a> {
    /// The subnets that it states.
    pub(super) subnets: &'a [Subnet],
    /// It has IPv4.
    pub(super) v4: bool,
    /// It has IPv6.
    pub(super) v6: bool,
    /// Take a gateway address in IPv4 though none is stated.
    pub(super) gateway_v4: bool,
    /// The same for IPv6.
    pub(super) gateway_v6: bool,
}

impl Docker {
    /// Takes all subnets of a network, with their gateways and reserved addresses. What was taken is
    /// given back if something is not to be had.
    pub(super) fn take_leases(
        &mut self,
        world: &World<'_>,
        wants: Wants<'_>,
    ) -> Result<Vec<Lease>, Error> {
        let mut leases = Vec::new();
        for v6 in [false, true] {
            if !(if v6 { wants.v6 } else { wants.v4 }) {
                continue;
            }
            let stated: Vec<&Subnet> = wants
                .subnets
                .iter()
                .filter(|s| bits::is_v6(&s.net) == v6)
                .collect();
            let gateway = if v6 {
                wants.gateway_v6
            } else {
                wants.gateway_v4
            };
            let places: Vec<Option<&Subnet>> = if stated.is_empty() {
                vec![None]
            } else {
                stated.into_iter().map(Some).collect()
            };
            for place in places {
                if let Err(error) = self.take_lease(world, place, v6, gateway, &mut leases) {
                    self.give_leases_back(&leases);
                    return Err(error);
                }
            }
        }
        Ok(leases)
    }

    /// Takes one subnet; it stands in `leases` as soon as there is something to give back.
    fn take_lease(
        &mut self,
        world: &World<'_>,
        stated: Option<&Subnet>,
        v6: bool,
        gateway: bool,
        leases: &mut Vec<Lease>,
    ) -> Result<(), Error> {
        let mut lease = match stated {
            Some(s) if !s.any => {
                self.ipam
                    .take(s.net, s.range)
                    .map_err(|e| self.pool_error(e, v6))?;
                Lease {
                    subnet: s.net,
                    range: s.range,
                    gateway: None,
                    aux: Vec::new(),
                    asked: Some(s.asked.clone()),
                }
            }
            other => {
                let mut reserved = world.plumb.host_routes();
                reserved.extend(self.config.resolver_nets());
                reserved.extend(&self.config.host_networks);
                let size = other.map(|s| s.net.prefix_len());
                let subnet = self
                    .ipam
                    .take_predefined(v6, &reserved, size)
                    .map_err(|e| self.pool_error(e, v6))?;
                Lease {
                    subnet,
                    range: None,
                    gateway: None,
                    aux: Vec::new(),
                    asked: None,
                }
            }
        };
        let asked_gateway = stated.and_then(|s| s.gateway);
        let aux = stated.map_or(&[][..], |s| &s.aux);
        let result = self.reserve(&mut lease, asked_gateway, gateway, aux);
        leases.push(lease);
        result
    }

    fn reserve(
        &mut self,
        lease: &mut Lease,
        asked: Option<IpAddr>,
        wanted: bool,
        aux: &[(String, IpAddr)],
    ) -> Result<(), Error> {
        let invalid = |text| Error::new(Kind::Invalid, text);
        if asked.is_some() || wanted {
            let got = self.ipam.take_address(lease.subnet, lease.range, asked);
            lease.gateway = Some(got.map_err(|e| {
                let ip = asked.map_or_else(String::new, |ip| ip.to_string());
                invalid(format!(
                    "failed to allocate gateway ({ip}): {}",
                    address_text(e)
                ))
            })?);
        }
        for (name, ip) in aux {
            if !lease.subnet.contains(ip) {
                return Err(Error::new(
                    Kind::Forbidden,
                    format!(
                        "auxiliary address: ({name}:{ip}) must belong to the master pool: {}",
                        lease.subnet
                    ),
                ));
            }
            self.ipam
                .take_address(lease.subnet, lease.range, Some(*ip))
                .map_err(|e| {
                    invalid(format!(
                        "failed to allocate secondary ip address ({name}:{ip}): {}",
                        address_text(e)
                    ))
                })?;
            lease.aux.push((name.clone(), *ip));
        }
        Ok(())
    }

    fn pool_error(&self, error: PoolError, v6: bool) -> Error {
        let text = match (error, self.config.engine) {
            (PoolError::Overlap, Engine::V29) => {
                "invalid pool request: Pool overlaps with other one on this address space"
                    .to_owned()
            }
            (PoolError::Overlap, Engine::V20_10) => {
                "Pool overlaps with other one on this address space".to_owned()
            }
            (PoolError::NoMoreSubnets, Engine::V29) => {
                "all predefined address pools have been fully subnetted".to_owned()
            }
            (PoolError::NoMoreSubnets, Engine::V20_10) => format!(
                "could not find an available, non-overlapping IPv{} address pool among the defaults to assign to the network",
                if v6 { 6 } else { 4 }
            ),
        };
        let kind = match error {
            PoolError::Overlap => Kind::Forbidden,
            PoolError::NoMoreSubnets => Kind::NotFound,
        };
        Error::new(kind, text)
    }

    /// Gives subnets back with the addresses that the network itself holds.
    pub(super) fn give_leases_back(&mut self, leases: &[Lease]) {
        for lease in leases {
            let own = lease.aux.iter().map(|(_, ip)| *ip).chain(lease.gateway);
            for ip in own {
                self.ipam.free_address(lease.subnet, ip);
            }
            self.ipam.give_back(lease.subnet, lease.range);
        }
    }

    /// Takes an address for an endpoint: `wanted`, or the lowest free one. With the subnet's length.
    pub(super) fn take_endpoint_address(
        &mut self,
        network: &Network,
        v6: bool,
        wanted: Option<IpAddr>,
    ) -> Result<IpNet, Error> {
        for lease in network.leases_of(v6) {
            if wanted.is_some_and(|ip| !lease.subnet.contains(&ip)) {
                continue;
            }
            match self.ipam.take_address(lease.subnet, lease.range, wanted) {
                Ok(addr) => return Ok(with_length(addr, lease.subnet)),
                Err(AddressError::NoneLeft) => {}
                Err(e) => return Err(Error::new(Kind::Forbidden, address_text(e))),
            }
        }
        Err(match wanted {
            Some(ip) => Error::new(
                Kind::Invalid,
                format!(
                    "Invalid address {ip}: It does not belong to any of this network's subnets"
                ),
            ),
            None => Error::new(
                Kind::System,
                format!(
                    "no available IPv{} addresses on this network's address pools: {} ({})",
                    if v6 { 6 } else { 4 },
                    network.name(),
                    network.id
                ),
            ),
        })
    }

    /// Gives an endpoint's address back.
    pub(super) fn free_endpoint_address(&mut self, network: &Network, addr: IpNet) {
        if let Some(lease) = network.lease_with(addr.addr()) {
            self.ipam.free_address(lease.subnet, addr.addr());
        }
    }
}

fn with_length(addr: IpAddr, subnet: IpNet) -> IpNet {
    // A subnet's own length always fits its family.
    IpNet::new(addr, subnet.prefix_len()).unwrap_or_else(|_| IpNet::from(addr))
}

const fn address_text(error: AddressError) -> &'static str {
    match error {
        AddressError::InUse => "Address already in use",
        AddressError::OutOfRange => "Requested address is out of range",
        AddressError::NoneLeft => "No available addresses on this pool",
    }
}
