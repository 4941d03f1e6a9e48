//! What `/etc/hosts` of a container says.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::collections::BTreeMap;

use crate::assigned::Endpoint;
use crate::engine::{DEFAULT_BRIDGE, Model, Site};
use crate::names::own_names;
use crate::outcome::End;

impl Model<'_> {
    /// What `/etc/hosts` says of a name, sorted.
    pub(crate) fn hosts_file(&self, from: &End, name: &str) -> Vec<IpAddr> {
        let at = match self.site(from) {
            Some(Site::Sandbox(at)) => at,
            // A container in the host's namespace gets a copy.
            Some(Site::Host) => {
                let lines = self.machine.hosts.iter();
                let named = lines.filter(|(_, own)| own.eq_ignore_ascii_case(name));
                let mut found: Vec<IpAddr> = named.map(|(address, _)| *address).collect();
                found.sort();
                return found;
            }
            _ => return Vec::new(),
        };
        if name.eq_ignore_ascii_case("localhost") {
            return vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        }
        let sandbox = &self.sandboxes[at];
        let mut lines: BTreeMap<String, Vec<IpAddr>> = BTreeMap::new();
        let mut line = |name: &str, address: IpAddr| {
            lines
                .entry(name.to_ascii_lowercase())
                .or_default()
                .push(address);
        };
        if let Some(service) = sandbox.service {
            for extra in &service.extra_hosts {
                for address in &extra.addresses {
                    match address.parse() {
                        Ok(address) => line(&extra.host, address),
                        Err(_) => self
                            .host_gateway()
                            .iter()
                            .for_each(|&address| line(&extra.host, address)),
                    }
                }
            }
        }
        for (alias, target) in self.legacy_links(sandbox) {
            let service = sandbox.owner.project.as_deref().and_then(|project| {
                let found = self.projects.iter().find(|p| p.name == project)?;
                found.service(target.service.as_deref()?)
            });
            let host = own_names(service, target).into_iter().next();
            let names = [Some(alias), Some(target.name.clone()), host];
            let on_bridge = target.endpoints.iter();
            for address in on_bridge
                .filter(|endpoint| endpoint.network == DEFAULT_BRIDGE)
                .flat_map(Endpoint::addresses)
            {
                names.iter().flatten().for_each(|name| line(name, address));
            }
        }
        for own in own_names(sandbox.service, sandbox.owner) {
            for port in &sandbox.ports {
                for address in [port.v4, port.v6].into_iter().flatten() {
                    line(&own, address);
                }
            }
        }
        let mut found = lines.remove(&name.to_ascii_lowercase()).unwrap_or_default();
        found.sort();
        found.dedup();
        found
    }

    fn host_gateway(&self) -> Vec<IpAddr> {
        if !self.machine.host_gateway.is_empty() {
            return self.machine.host_gateway.clone();
        }
        let bridge = self.nets.iter().find(|net| net.name == DEFAULT_BRIDGE);
        bridge.map_or_else(Vec::new, |net| net.gateways.to_vec())
    }
}
