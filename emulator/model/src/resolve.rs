//! What a container's resolver makes of a question: the engine's own answers, and to whom it passes others on.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use emulator_compose::NetworkMode;

use crate::call::Call;
use crate::engine::{Model, Sandbox, Site};
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
