//! Names: which ones a container has, and what its resolver makes of a question.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::collections::BTreeMap;

use emulator_compose::{Naming, NetworkMode, Project, Service, ServiceNetwork};

use crate::assigned::{Container, Endpoint};
use crate::call::Call;
use crate::engine::{DEFAULT_BRIDGE, Model, Sandbox, Site, dash};
use crate::outcome::{End, Outcome, Reach, Transport};
use crate::rules::Rule;

/// The port of a resolver.
const DOMAIN: u16 = 53;
/// The embedded resolver's own address.
const EMBEDDED: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 11));
/// Those that a container on the default bridge gets if the host has none but on loopback.
const PUBLIC: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(8, 8, 8, 8)),
    IpAddr::V4(Ipv4Addr::new(8, 8, 4, 4)),
];

/// What is asked of a resolver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// IPv4 addresses of a name.
    A,
    /// IPv6 addresses of a name.
    Aaaa,
    /// The name of an address, asked as `2.0.18.172.in-addr.arpa`.
    Ptr,
    /// Where mail for a name goes; the engine knows none.
    Mx,
}

/// What a resolver answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// These addresses, sorted.
    Addresses(Vec<IpAddr>),
    /// This name.
    Name(String),
    /// The name is known, but not for that.
    Nothing,
    /// The engine does not know it; this resolver was asked and answers what it knows.
    Upstream(IpAddr),
    /// No resolver could be asked: "server failure" in 29, silence in 20.10.
    NoUpstream,
    /// The container's own resolver cannot be reached, for this reason.
    Unreachable(Outcome),
}

/// Gives a container's endpoint its names.
pub(crate) struct Namer<'a> {
    pub(crate) container: &'a Container,
    pub(crate) of: Option<(&'a Project, &'a Service)>,
}

impl<'a> Namer<'a> {
    /// Its own name, its aliases there, its short id, its hostname; each once, as it was written.
    pub(crate) fn names(
        &self,
        endpoint: &Endpoint,
        member: Option<&ServiceNetwork>,
    ) -> Vec<String> {
        let mut names = vec![self.container.name.clone()];
        if let (Some((project, service)), Some(member)) = (self.of, member) {
            if project.naming == Naming::V2 {
                names.push(project.container_name(service, self.container.number));
            }
            names.push(service.name.clone());
            names.extend(member.aliases.iter().map(|alias| alias.value.clone()));
        }
        names.extend(endpoint.aliases.iter().cloned());
        names.push(self.container.id.clone());
        names.push(self.hostname());
        names.retain(|name| !name.is_empty());
        let mut seen = std::collections::BTreeSet::new();
        names.retain(|name| seen.insert(name.clone()));
        names
    }

    fn hostname(&self) -> String {
        let given = self.of.and_then(|(_, service)| service.hostname.as_ref());
        given.map_or_else(|| self.container.id.clone(), |name| name.value.clone())
    }

    /// `links` as compose hands them on: the alias, the short container name and the whole one.
    pub(crate) fn links(&self) -> Vec<(String, String)> {
        let mut links = Vec::new();
        let Some((project, service)) = self.of else {
            return links;
        };
        for link in &service.links {
            let Some(target) = project.service(&link.target) else {
                continue;
            };
            let dash = dash(project.naming);
            // Also those that do not run: their names give nothing.
            for number in 1..=target.replicas {
                let name = project.container_name(target, number);
                links.push((link.alias.clone(), name.clone()));
                links.push((format!("{}{dash}{number}", link.target), name.clone()));
                links.push((name.clone(), name));
            }
        }
        for link in &service.external_links {
            links.push((link.alias.clone(), link.target.clone()));
        }
        links
    }
}

/// What the engine knows of a name on one network.
enum Known {
    Addresses(Vec<IpAddr>),
    OtherFamily,
}

impl<'a> Model<'a> {
    /// What a program gets for a name, all addresses of both families, sorted: from `/etc/hosts`, else
    /// from its resolver. Empty if it is not the engine that knows it.
    #[must_use]
    pub fn resolve(&self, from: &End, name: &str) -> Vec<IpAddr> {
        let listed = self.hosts_file(from, name);
        if !listed.is_empty() && self.has(Rule::HostsFile) {
            return listed;
        }
        let mut found = Vec::new();
        for kind in [Kind::A, Kind::Aaaa] {
            if let Reply::Addresses(addresses) = self.lookup(from, name, kind) {
                found.extend(addresses);
            }
        }
        found
    }

    /// What the first resolver of an end answers.
    #[must_use]
    pub fn lookup(&self, from: &End, name: &str, kind: Kind) -> Reply {
        let Some(site) = self.site(from) else {
            return Reply::NoUpstream;
        };
        let Site::Sandbox(at) = site else {
            return self.ask_direct(site, &self.machine.resolvers);
        };
        let sandbox = &self.sandboxes[at];
        if !self.has_resolver(sandbox) {
            return self.ask_direct(site, &self.default_resolvers(sandbox));
        }
        let name = name.strip_suffix('.').unwrap_or(name);
        if let Some(reply) = self.embedded(sandbox, name, kind) {
            return reply;
        }
        let ndots = sandbox
            .service
            .is_some_and(|service| service.dns_opt.iter().any(|opt| sets_ndots(&opt.value)));
        if ndots && matches!(kind, Kind::A | Kind::Aaaa) && !name.contains('.') {
            return Reply::Nothing;
        }
        self.forward(at, sandbox)
    }

    /// The container's network has names: it is of a user. One such network is enough, also one that
    /// the container has left since.
    fn has_resolver(&self, sandbox: &Sandbox<'a>) -> bool {
        if !self.has(Rule::DefaultBridgeNames) {
            return true;
        }
        let asked = sandbox.service.is_some_and(|service| {
            matches!(service.network_mode, NetworkMode::Networks) && !service.networks.is_empty()
        });
        asked
            || sandbox
                .ports
                .iter()
                .any(|port| !self.nets[port.net].is_default())
    }

    fn embedded(&self, sandbox: &Sandbox<'a>, name: &str, kind: Kind) -> Option<Reply> {
        if kind == Kind::Ptr {
            return self.pointer(sandbox, name).map(Reply::Name);
        }
        let v6 = kind == Kind::Aaaa;
        let known = self.known(sandbox, name, v6)?;
        Some(match known {
            Known::Addresses(_) if kind == Kind::Mx => Reply::Nothing,
            Known::Addresses(addresses) => Reply::Addresses(addresses),
            Known::OtherFamily => Reply::Nothing,
        })
    }

    /// `a.b.c` is that name on any network, `a.b` on the network `c`, or `a` on `b.c`; for each, the
    /// asker's own links first. The first network that knows it answers.
    fn known(&self, sandbox: &Sandbox<'a>, name: &str, v6: bool) -> Option<Known> {
        let cuts = name.char_indices().rev().filter(|&(_, c)| c == '.');
        let parts = cuts.map(|(at, _)| (&name[..at], Some(&name[at + 1..])));
        for (name, network) in core::iter::once((name, None)).chain(parts) {
            let fits = |net: usize| network.is_none_or(|network| network == self.nets[net].name);
            for by_link in [true, false] {
                let mut merged: Vec<IpAddr> = Vec::new();
                let mut other_family = false;
                for net in self.networks_asked(sandbox).filter(|&net| fits(net)) {
                    let holders = if by_link {
                        self.linked(sandbox, net, name)
                    } else {
                        self.named(net, name)
                    };
                    match self.addresses(net, &holders, v6) {
                        Some(Known::Addresses(found)) => merged.extend(found),
                        // 20.10 looks further.
                        Some(Known::OtherFamily) if self.is_old() => {
                            other_family = true;
                            continue;
                        }
                        Some(Known::OtherFamily) => other_family = true,
                        None => continue,
                    }
                    if self.has(Rule::FirstNetwork) {
                        break;
                    }
                }
                if !merged.is_empty() {
                    merged.sort();
                    merged.dedup();
                    return Some(Known::Addresses(merged));
                }
                if other_family {
                    return Some(Known::OtherFamily);
                }
            }
        }
        None
    }

    /// In which networks a name is looked for, in order.
    fn networks_asked<'s>(&'s self, sandbox: &'s Sandbox<'a>) -> impl Iterator<Item = usize> + 's {
        let own = sandbox.ports.iter().map(|port| port.net);
        let others = (0..self.nets.len()).filter(|_| !self.has(Rule::NameScope));
        own.chain(others)
            .filter(|&net| !self.nets[net].is_default() || !self.has(Rule::DefaultBridgeNames))
    }

    /// The namespaces that have a name on a network; letters count as small ones.
    fn named(&self, net: usize, name: &str) -> Vec<usize> {
        let has = |sandbox: &Sandbox<'_>| {
            let mut ports = sandbox.ports.iter().filter(|port| port.net == net);
            ports.any(|port| port.names.iter().any(|own| own.eq_ignore_ascii_case(name)))
        };
        let all = self.sandboxes.iter().enumerate();
        all.filter(|(_, sandbox)| has(sandbox))
            .map(|(at, _)| at)
            .collect()
    }

    /// What one of the asker's links names on a network, letter for letter.
    fn linked(&self, sandbox: &Sandbox<'a>, net: usize, name: &str) -> Vec<usize> {
        let ports = sandbox.ports.iter().filter(|port| port.net == net);
        let mut links = ports.flat_map(|port| &port.links);
        // An alias that is given twice is the last one's.
        match links.rfind(|(alias, _)| alias == name) {
            Some((_, target)) => self.named(net, target),
            None => Vec::new(),
        }
    }

    fn addresses(&self, net: usize, holders: &[usize], v6: bool) -> Option<Known> {
        if holders.is_empty() {
            return None;
        }
        let ports = holders
            .iter()
            .flat_map(|&at| &self.sandboxes[at].ports)
            .filter(|port| port.net == net);
        let addresses: Vec<IpAddr> = ports.filter_map(|port| port.address(v6)).collect();
        Some(if addresses.is_empty() {
            Known::OtherFamily
        } else {
            Known::Addresses(addresses)
        })
    }

    fn pointer(&self, sandbox: &Sandbox<'a>, question: &str) -> Option<String> {
        let address = reversed(question)?;
        self.networks_asked(sandbox).find_map(|net| {
            let holder = self.holder(net, address)?;
            let port = self.sandboxes[holder].ports.iter();
            let mut names = port.filter(|port| port.net == net);
            let name = names.next()?.names.first()?;
            Some(format!("{name}.{}.", self.nets[net].name))
        })
    }

    /// The embedded resolver passes it on: to the container's or the daemon's own resolvers from the
    /// container; to the host's from the host (in 20.10 only if they are on its loopback), in 29 only
    /// for who has a way out.
    fn forward(&self, at: usize, sandbox: &Sandbox<'a>) -> Reply {
        let given = self.given_resolvers(sandbox);
        let of_host = given.is_empty();
        let resolvers = if of_host {
            &self.machine.resolvers
        } else {
            &given
        };
        let external = sandbox.ports.iter().any(|port| {
            let net = &self.nets[port.net];
            let leads = |v6| port.address(v6).is_some() && net.way(self.engine, v6).is_some();
            !net.internal && (leads(false) || leads(true))
        });
        for &resolver in resolvers.iter().filter(|&&ip| ip != EMBEDDED).take(3) {
            let from_host = of_host && (!self.is_old() || resolver.is_loopback());
            if from_host && !external && !self.is_old() {
                continue;
            }
            let site = if from_host {
                Site::Host
            } else {
                Site::Sandbox(at)
            };
            if self.call(site, &question(resolver)).is_open() {
                return Reply::Upstream(resolver);
            }
        }
        Reply::NoUpstream
    }

    /// `dns` of the service, else of the daemon.
    fn given_resolvers(&self, sandbox: &Sandbox<'a>) -> Vec<IpAddr> {
        let of_service = sandbox.service.into_iter().flat_map(|service| &service.dns);
        let given: Vec<IpAddr> = of_service
            .filter_map(|dns| dns.value.parse().ok())
            .collect();
        if given.is_empty() {
            self.machine.dns.clone()
        } else {
            given
        }
    }

    /// Without embedded resolver: the host's, those on loopback left out.
    fn default_resolvers(&self, sandbox: &Sandbox<'a>) -> Vec<IpAddr> {
        let given = self.given_resolvers(sandbox);
        if !given.is_empty() {
            return given;
        }
        let of_host = self.machine.resolvers.iter().copied();
        let usable: Vec<IpAddr> = of_host.filter(|ip| !ip.is_loopback()).collect();
        if usable.is_empty() {
            PUBLIC.to_vec()
        } else {
            usable
        }
    }

    fn ask_direct(&self, site: Site, resolvers: &[IpAddr]) -> Reply {
        let Some(&first) = resolvers.first() else {
            return Reply::NoUpstream;
        };
        let outcome = self.call(site, &question(first));
        match outcome.reach {
            Reach::Open => Reply::Upstream(first),
            _ => Reply::Unreachable(outcome),
        }
    }

    /// What `/etc/hosts` says of a name, sorted.
    fn hosts_file(&self, from: &End, name: &str) -> Vec<IpAddr> {
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

    /// The links of a container on the default bridge: the alias, and whose it is. They mean the containers
    /// that were there when it was made, also when those have gone and others have their names.
    pub(crate) fn legacy_links(&self, sandbox: &Sandbox<'a>) -> Vec<(String, &'a Container)> {
        let owner = sandbox.owner;
        let Some((service, project)) = sandbox.service.zip(owner.project.as_deref()) else {
            return Vec::new();
        };
        if service.network_mode != NetworkMode::Bridge {
            return Vec::new();
        }
        let mut known: BTreeMap<&str, &'a Container> = BTreeMap::new();
        let all = self.assigned.gone.iter().chain(&self.assigned.containers);
        for container in all.filter(|container| container.made <= owner.made) {
            let last = known.entry(&container.name).or_insert(container);
            if last.made <= container.made {
                *last = container;
            }
        }
        // An alias that is given twice is the last one's.
        let mut of_alias = BTreeMap::new();
        for link in &service.links {
            let targets = known.values().filter(|target| {
                target.project.as_deref() == Some(project)
                    && target.service.as_deref() == Some(link.target.as_str())
            });
            let mut targets: Vec<&'a Container> = targets.copied().collect();
            targets.sort_by_key(|target| target.number);
            for target in targets {
                let short = format!("{}{}{}", link.target, sandbox.dash, target.number);
                for alias in [short, link.alias.clone()] {
                    of_alias.insert(alias, target);
                }
            }
        }
        for link in &service.external_links {
            if let Some(target) = known.get(link.target.as_str()) {
                of_alias.insert(link.alias.clone(), target);
            }
        }
        of_alias.into_iter().collect()
    }
}

/// Its hostname, with and without domain.
fn own_names(service: Option<&Service>, container: &Container) -> Vec<String> {
    let given = service.and_then(|service| service.hostname.as_ref());
    let host = given.map_or(container.id.as_str(), |name| name.value.as_str());
    let mut names = vec![host.to_owned()];
    let domain = service.and_then(|service| service.domainname.as_ref());
    match (domain, host.split_once('.')) {
        (Some(domain), _) => names.push(format!("{host}.{}", domain.value)),
        (None, Some((short, _))) => names.push(short.to_owned()),
        (None, None) => {}
    }
    names
}

const fn question(resolver: IpAddr) -> Call {
    Call {
        to: resolver,
        port: DOMAIN,
        transport: Transport::Udp,
    }
}

/// `ndots:N` with a number that is one.
fn sets_ndots(option: &str) -> bool {
    let value = option.strip_prefix("ndots:");
    value.is_some_and(|value| value.parse::<u32>().is_ok())
}

/// The address of a reverse name.
fn reversed(name: &str) -> Option<IpAddr> {
    let name = name.to_ascii_lowercase();
    if let Some(digits) = name.strip_suffix(".in-addr.arpa") {
        let parts: Vec<&str> = digits.split('.').rev().collect();
        return parts.join(".").parse::<Ipv4Addr>().ok().map(IpAddr::V4);
    }
    let digits = name.strip_suffix(".ip6.arpa")?;
    let nibbles: Vec<&str> = digits.split('.').rev().collect();
    if nibbles.len() != 32 || nibbles.iter().any(|nibble| nibble.len() != 1) {
        return None;
    }
    let groups: Vec<String> = nibbles.chunks(4).map(<[&str]>::concat).collect();
    groups.join(":").parse::<Ipv6Addr>().ok().map(IpAddr::V6)
}
