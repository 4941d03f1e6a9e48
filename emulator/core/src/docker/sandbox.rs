//! A running container's namespace: which network is its way out, and what it looks names up in. Both
//! are worked out again at each connect and disconnect.
//!
//! Models `libnetwork/sandbox.go` (`getGatewayEndpoint`, `updateGateway`) and `sandbox_dns_unix.go`. The
//! routes of a family move as soon as another endpoint comes first; the port mappings move with them,
//! see `publish.rs`.

use std::collections::BTreeMap;

use super::container::{Container, Sandbox};
use super::endpoint::Endpoint;
use super::engine::{Docker, World};
use super::error::{Error, Kind};
use super::hosts;
use super::ids;
use super::names::{EndpointKey, NetKey, SandboxKey, View};
use super::network::{Driver, Way, is_user_defined};
use super::order;
use super::resolv::{Upstream, Use};
use super::spec::Engine;
use crate::id::NsId;

/// What the embedded DNS needs to know of a sandbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsConfig {
    /// 127.0.0.11 answers there.
    pub resolver: bool,
    /// Whom it asks in turn.
    pub upstreams: Vec<Upstream>,
    /// The sandbox has a way to the outside, so that upstreams in the host's namespace are asked.
    pub external_access: bool,
    /// `ndots` was set by the host or the user: names without a dot are not passed on.
    pub ndots_set: bool,
    /// The namespace.
    pub ns: NsId,
}

impl Docker {
    /// Whether 127.0.0.11 answers in a running container's namespace.
    #[must_use]
    pub fn has_resolver(&self, container: &Container) -> bool {
        let sandbox = self.owner(container).sandbox.as_ref();
        sandbox.is_some_and(|sandbox| sandbox.resolver)
    }

    /// What the embedded DNS needs to know of a running container's sandbox.
    ///
    /// # Errors
    /// If there is no such container or it does not run.
    pub fn dns_config(&self, text: &str) -> Result<DnsConfig, Error> {
        let container = self.container(text)?;
        let owner = self.owner(container);
        let (Some(ns), Some(files)) = (container.ns, &owner.files) else {
            return Err(not_running(self.config.engine, container));
        };
        let resolver = owner.sandbox.as_ref().is_some_and(|s| s.resolver);
        let external = owner.endpoints().any(|e| {
            let driver = self.networks.get(e.network).map(|n| n.driver);
            let way = e.way_v4.or(e.way_v6);
            !e.internal && driver != Some(Driver::Null) && way.is_some()
        });
        Ok(DnsConfig {
            resolver,
            upstreams: files.resolv.upstreams.clone(),
            external_access: external || self.config.engine == Engine::V20_10,
            ndots_set: files.resolv.ndots_set,
            ns,
        })
    }

    /// The container whose namespace `container` lives in: itself, or the one that it joined.
    pub(super) fn owner<'a>(&'a self, container: &'a Container) -> &'a Container {
        let mut at = container;
        while let Some(next) = at.joined.and_then(|key| self.containers.get(key)) {
            at = next;
        }
        at
    }

    /// `/etc/hosts` of a container, as it is or was last; empty if it was never started.
    ///
    /// # Errors
    /// If there is no such container.
    pub fn hosts_file(&self, text: &str) -> Result<String, Error> {
        let owner = self.owner(self.container(text)?);
        let files = owner.files.as_ref();
        Ok(files.map_or_else(String::new, |files| files.hosts.text()))
    }

    /// `/etc/resolv.conf` of a container, as it is or was last; empty if it was never started.
    ///
    /// # Errors
    /// If there is no such container.
    pub fn resolv_conf(&self, text: &str) -> Result<&str, Error> {
        let owner = self.owner(self.container(text)?);
        Ok(owner.files.as_ref().map_or("", |f| &f.resolv.text))
    }

    /// `/etc/hostname` of a container, without the newline.
    ///
    /// # Errors
    /// If there is no such container.
    pub fn hostname(&self, text: &str) -> Result<&str, Error> {
        Ok(&self.owner(self.container(text)?).hostname)
    }

    /// Whose view of the embedded DNS a container has: its own, or that of the one that it joined.
    ///
    /// # Errors
    /// If there is no such container.
    pub fn sandbox_key(&self, text: &str) -> Result<SandboxKey, Error> {
        Ok(SandboxKey(self.owner(self.container(text)?).key))
    }

    /// The namespace of a running container.
    ///
    /// # Errors
    /// If there is no such container or it does not run.
    pub fn namespace_of(&self, text: &str) -> Result<NsId, Error> {
        let container = self.container(text)?;
        container
            .ns
            .ok_or_else(|| not_running(self.config.engine, container))
    }

    /// Writes the lines and the names of a new endpoint, and its resolvers.
    pub(super) fn announce_endpoint(
        &mut self,
        world: &mut World<'_>,
        container: &mut Container,
        endpoint: &Endpoint,
    ) -> Result<(), Error> {
        let names = hosts::own_names(&container.hostname, &container.domainname);
        if let Some(files) = &mut container.files {
            for addr in endpoint.addresses() {
                files.hosts.add_own(endpoint.key, addr.addr(), &names);
            }
        }
        let user = is_user_defined(&endpoint.network_name);
        let resolver = container.sandbox.as_ref().is_some_and(|s| s.resolver);
        let purpose = if user {
            Some(Use::Internal)
        } else if endpoint.iface.is_some() && !resolver {
            let v6 = endpoint.v6.is_some();
            Some(Use::Legacy { v6 })
        } else {
            None
        };
        if user && let Some(sandbox) = &mut container.sandbox {
            sandbox.resolver = true;
        }
        if let Some(purpose) = purpose.filter(|_| !resolver) {
            let resolv = self.build_resolv(container, purpose)?;
            if let Some(files) = &mut container.files {
                files.resolv = resolv;
            }
        }
        if user {
            self.add_names(world, container, endpoint);
        }
        Ok(())
    }

    /// Tells the embedded DNS an endpoint's names.
    pub(super) fn add_names(
        &self,
        world: &mut World<'_>,
        container: &Container,
        endpoint: &Endpoint,
    ) {
        let names = self.dns_names(container, &endpoint.network_name);
        world.names.add_endpoint(
            NetKey(endpoint.network),
            EndpointKey(endpoint.key),
            names,
            endpoint.v4.map(|n| n.addr()),
            endpoint.v6.map(|n| n.addr()),
        );
    }

    /// The names of a container on a user-defined network; the first one is the reverse name.
    #[must_use]
    pub fn dns_names(&self, container: &Container, network: &str) -> Vec<String> {
        // Docker 20.10 leaves out a name that nobody gave.
        let has_name = container.named || self.config.engine == Engine::V29;
        let own = has_name.then_some(&*container.name);
        let place = container.networks.get(network);
        let aliases = place.map_or(&[][..], |place| &place.spec.aliases[..]);
        let others = [ids::short(&container.id), &container.hostname].into_iter();
        let mut names: Vec<String> = Vec::with_capacity(2 + aliases.len());
        let all = (own.into_iter()).chain(aliases.iter().map(String::as_str));
        for name in all.chain(others.filter(|name| !name.is_empty())) {
            if names.iter().all(|known| known != name) {
                names.push(name.to_owned());
            }
        }
        names
    }

    /// Takes the lines and names of an endpoint away.
    pub(super) fn forget_endpoint(
        &mut self,
        world: &mut World<'_>,
        container: &mut Container,
        endpoint: &Endpoint,
    ) {
        let old = self.config.engine == Engine::V20_10 && container.state.is_running();
        let names = if old {
            self.service_names(container, endpoint)
        } else {
            Vec::new()
        };
        if let Some(files) = &mut container.files {
            if old {
                files.hosts.remove_named(&names);
            } else {
                files.hosts.remove_own(endpoint.key);
            }
        }
        if is_user_defined(&endpoint.network_name) {
            world
                .names
                .remove_endpoint(NetKey(endpoint.network), EndpointKey(endpoint.key));
        }
    }

    /// Docker 20.10: all names on a network but that of the endpoint itself. The default bridge has the
    /// containers' own names only.
    fn service_names(&self, container: &Container, endpoint: &Endpoint) -> Vec<String> {
        let network = &endpoint.network_name;
        let Some(found) = self.networks.get(endpoint.network) else {
            return Vec::new();
        };
        let others = found
            .endpoints
            .values()
            .filter_map(|key| self.containers.get(*key));
        let mut names = Vec::new();
        for c in others.chain([container]) {
            if is_user_defined(network) {
                names.extend(self.dns_names(c, network));
            } else {
                names.push(c.name.clone());
            }
        }
        names.retain(|name| *name != endpoint.name);
        names
    }

    /// Tells the embedded DNS what a sandbox sees.
    pub(super) fn refresh_view(&self, world: &mut World<'_>, container: &Container) {
        let engine = self.config.engine;
        let mut endpoints: Vec<&Endpoint> = container
            .endpoints()
            .filter(|e| is_user_defined(&e.network_name))
            .collect();
        endpoints.sort_by(|a, b| a.rank().compare(&b.rank(), engine));
        let networks = endpoints
            .iter()
            .map(|e| (NetKey(e.network), links(container, &e.network_name)))
            .collect();
        world
            .names
            .set_view(SandboxKey(container.key), View { networks });
    }

    /// Works out the ways out again: default routes, and port mappings on the endpoints that are one.
    pub(super) fn refresh_ways(
        &mut self,
        world: &mut World<'_>,
        container: &mut Container,
    ) -> Result<(), Error> {
        let engine = self.config.engine;
        let endpoints: Vec<&Endpoint> = container.endpoints().collect();
        let ranks: Vec<_> = endpoints.iter().map(|e| e.rank()).collect();
        let (v4, v6) = order::ways_out(&ranks, engine);
        let way = |place: Option<usize>| place.and_then(|i| endpoints.get(i)).map(|e| e.key);
        let (way_v4, way_v6) = (way(v4), way(v6));
        self.move_routes(world, container, way_v4, way_v6)?;
        self.move_ports(world, container, way_v4, way_v6)
    }

    fn move_routes(
        &self,
        world: &mut World<'_>,
        container: &mut Container,
        way_v4: Option<u32>,
        way_v6: Option<u32>,
    ) -> Result<(), Error> {
        let (Some(ns), Some(sandbox)) = (container.ns, &container.sandbox) else {
            return Ok(());
        };
        let before = (sandbox.way_v4, sandbox.way_v6);
        // An endpoint that has gone took its route along.
        let route = |key: Option<u32>, v6: bool| {
            let endpoint = container.endpoint_by_key(key?)?;
            let way = if v6 { endpoint.way_v6 } else { endpoint.way_v4 };
            let via = match way? {
                Way::Via(gateway) => Some(gateway),
                Way::Direct => None,
                Way::Unset => return None,
            };
            Some((endpoint.iface?, via))
        };
        let mut set = |v6: bool, old: Option<u32>, new: Option<u32>| {
            if old == new {
                return Ok(());
            }
            let done = world
                .plumb
                .default_route(ns, v6, route(old, v6), route(new, v6));
            done.map_err(|why| self.no_gateway(v6, &why))
        };
        let v4 = set(false, before.0, way_v4);
        let v6 = match &v4 {
            Ok(()) => set(true, before.1, way_v6),
            Err(_) => Ok(()),
        };
        if let (Some(sandbox), Ok(())) = (&mut container.sandbox, &v4) {
            sandbox.way_v4 = way_v4;
            if v6.is_ok() {
                sandbox.way_v6 = way_v6;
            }
        }
        v4.and(v6)
    }

    fn no_gateway(&self, v6: bool, why: &str) -> Error {
        let family = if v6 { "IPv6 " } else { "" };
        let when = match self.config.engine {
            Engine::V29 => "",
            Engine::V20_10 => " while updating gateway",
        };
        Error::new(
            Kind::System,
            format!("failed to set {family}gateway{when}: {why}"),
        )
    }
}

/// The links that hold on a network: alias → name.
fn links(container: &Container, network: &str) -> BTreeMap<String, String> {
    let Some(place) = container.networks.get(network) else {
        return BTreeMap::new();
    };
    place
        .spec
        .links
        .iter()
        .map(|link| {
            let (name, alias) = link.split_once(':').unwrap_or((link, link));
            (alias.to_owned(), name.to_owned())
        })
        .collect()
}

/// The refusal to do something with a container that does not run.
pub(super) fn not_running(engine: Engine, container: &Container) -> Error {
    let word = match engine {
        Engine::V20_10 => "Container",
        Engine::V29 => "container",
    };
    Error::new(
        Kind::Conflict,
        format!("{word} {} is not running", container.id),
    )
}

impl Sandbox {
    /// A sandbox without networks.
    #[must_use]
    pub const fn new(id: ids::Id, v6: bool, loopback_v6: bool) -> Self {
        Self {
            id,
            resolver: false,
            way_v4: None,
            way_v6: None,
            v6,
            loopback_v6,
        }
    }
}
