//! Publishing: the port mappings of a container, on the endpoints that are its way out.
//!
//! Models `ProgramExternalConnectivity` of the bridge driver and `libnetwork/portmappers`. Mappings move
//! with the way out; exact host ports stay, ports that Docker picked itself are picked anew. IPv6 on
//! the host is proxied to an IPv4-only container while no other endpoint is its way out for IPv6.

use core::net::{IpAddr, SocketAddr};

use super::container::Container;
use super::endpoint::Endpoint;
use super::engine::{Docker, World};
use super::error::{Error, Kind};
use super::network::Base;
use super::plumb::Published;
use super::ports::{self, Group, PortAllocator, PortError, Target};
use super::spec::{Engine, PortBinding};

/// How often another port is tried when one turns out to be in use on the host.
const TRIES: usize = 10;

impl Docker {
    /// Takes the mappings of endpoints away that are no way out any more, then makes those of the ones
    /// that are.
    pub(super) fn move_ports(
        &mut self,
        world: &mut World<'_>,
        container: &mut Container,
        way_v4: Option<u32>,
        way_v6: Option<u32>,
    ) -> Result<(), Error> {
        let mut bindings = container.bindings();
        ports::sort(self.config.engine, &mut bindings);
        let is_way = |key: &u32| Some(*key) == way_v4 || Some(*key) == way_v6;
        let all: Vec<u32> = container.endpoints().map(|e| e.key).collect();
        for key in all.iter().filter(|key| !is_way(key)) {
            self.unpublish(world, container, *key);
        }
        let ways: Vec<u32> = all.into_iter().filter(is_way).collect();
        // What is given up by one way out may be taken by the other.
        for shrink in [true, false] {
            for key in &ways {
                let Some(target) = self.target(container, *key, way_v4, way_v6) else {
                    continue;
                };
                self.publish(world, container, *key, target, &bindings, shrink)?;
            }
        }
        Ok(())
    }

    /// What an endpoint publishes for; `None` if its network publishes nothing.
    fn target(
        &self,
        container: &Container,
        key: u32,
        way_v4: Option<u32>,
        way_v6: Option<u32>,
    ) -> Option<Target> {
        let endpoint = container.endpoint_by_key(key)?;
        let network = self.networks.get(endpoint.network)?;
        if !matches!(network.base, Base::Bridge { .. }) || network.internal {
            return None;
        }
        let c = &self.config;
        let old = c.engine == Engine::V20_10;
        let is_v4 = way_v4 == Some(key);
        let is_v6 = way_v6 == Some(key) || (old && is_v4);
        Some(Target {
            engine: c.engine,
            v4: endpoint.v4.map(|n| n.addr()).filter(|_| is_v4),
            v6: endpoint.v6.map(|n| n.addr()).filter(|_| is_v6),
            proxy_v6: c.userland_proxy && (old || way_v6.is_none()),
            default_ip: network.default_binding(c.ip),
            host_v6: c.host_v6,
            mode_v4: network.gateway_mode(false),
            mode_v6: network.gateway_mode(true),
        })
    }

    /// Makes an endpoint publish `bindings` as `target` says, keeping the ports that it has. With
    /// `shrink` nothing new is taken yet.
    fn publish(
        &mut self,
        world: &mut World<'_>,
        container: &mut Container,
        key: u32,
        target: Target,
        bindings: &[PortBinding],
        shrink: bool,
    ) -> Result<(), Error> {
        let Some(endpoint) = container.endpoint_mut(key) else {
            return Ok(());
        };
        let have = endpoint.published.take();
        let was: Vec<Published> = have.iter().flatten().flat_map(Group::published).collect();
        if shrink && have.is_none() {
            return Ok(());
        }
        let wanted = target.groups(bindings);
        let mut kept = self.keep(have.unwrap_or_default(), &wanted);
        let result = if shrink {
            Ok(())
        } else {
            self.fill(&mut kept, wanted)
        };
        let now: Vec<Published> = kept.iter().flat_map(Group::published).collect();
        let network = endpoint.network;
        let iface = endpoint.iface;
        endpoint.published = Some(kept);
        if let Err(error) = result {
            let text = external(endpoint, &port_text(error));
            self.unpublish(world, container, key);
            return Err(text);
        }
        if was == now {
            return Ok(());
        }
        if let (false, Some(iface)) = (was.is_empty(), iface) {
            world.plumb.unpublish(network, iface);
        }
        self.open(world, container, key)
    }

    /// Of the groups that an endpoint has, keeps what is wanted still.
    fn keep(&mut self, have: Vec<Group>, wanted: &[Group]) -> Vec<Group> {
        let mut open: Vec<&Group> = wanted.iter().collect();
        let mut kept = Vec::new();
        for mut group in have {
            let fits = open.iter().position(|want| {
                want.binding == group.binding
                    && want.routed == group.routed
                    && want.pairs.iter().any(|pair| group.pairs.contains(pair))
            });
            let Some(place) = fits else {
                group.give_back(&mut self.ports);
                continue;
            };
            let want = open.remove(place);
            if let Some(port) = group.host_port {
                for (host, _) in group.pairs.iter().filter(|p| !want.pairs.contains(p)) {
                    self.ports.give_back(*host, group.binding.port.proto, port);
                }
            }
            group.pairs.retain(|pair| want.pairs.contains(pair));
            kept.push(group);
        }
        kept
    }

    /// Adds what is wanted and not there; the order is that of `wanted`.
    fn fill(&mut self, groups: &mut Vec<Group>, wanted: Vec<Group>) -> Result<(), PortError> {
        let mut have = core::mem::take(groups);
        let mut failed = None;
        for mut want in wanted {
            let place = have.iter().position(|g| {
                g.binding == want.binding && g.pairs.iter().all(|p| want.pairs.contains(p))
            });
            if let Some(place) = place {
                let mut group = have.remove(place);
                if self.widen(&mut group, &want) {
                    groups.push(group);
                    continue;
                }
                group.give_back(&mut self.ports);
            }
            if failed.is_none() {
                match want.take(&mut self.ports) {
                    Ok(()) => groups.push(want),
                    Err(error) => failed = Some(error),
                }
            }
        }
        for mut left in have {
            left.give_back(&mut self.ports);
        }
        failed.map_or(Ok(()), Err)
    }

    /// Adds addresses to a group on the port that it has, if that is free there.
    fn widen(&mut self, group: &mut Group, want: &Group) -> bool {
        let more: Vec<IpAddr> = want
            .pairs
            .iter()
            .filter(|p| !group.pairs.contains(p))
            .map(|(host, _)| *host)
            .collect();
        let taken = match group.host_port {
            Some(port) => self
                .ports
                .take(&more, group.binding.port.proto, port)
                .is_ok(),
            None => group.routed,
        };
        if taken {
            group.pairs.clone_from(&want.pairs);
        }
        taken
    }

    /// Has an endpoint's mappings opened; tries other ports where that is allowed and one is in use.
    fn open(
        &mut self,
        world: &mut World<'_>,
        container: &mut Container,
        key: u32,
    ) -> Result<(), Error> {
        let engine = self.config.engine;
        for attempt in 0.. {
            let Some(endpoint) = container.endpoint_mut(key) else {
                return Ok(());
            };
            let (Some(iface), Some(groups)) = (endpoint.iface, &mut endpoint.published) else {
                return Ok(());
            };
            let list: Vec<Published> = groups.iter().flat_map(Group::published).collect();
            if list.is_empty() {
                return Ok(());
            }
            let Err((which, why)) = world.plumb.publish(endpoint.network, iface, &list) else {
                return Ok(());
            };
            let group = groups.iter_mut().find(|g| {
                g.may_move(engine) && g.host_port.is_some() && g.published().any(|p| p == which)
            });
            let moved = match group {
                Some(group) if attempt + 1 < TRIES => move_on(&mut self.ports, group),
                _ => Err(None),
            };
            if let Err(error) = moved {
                let text = match error {
                    Some(error) => port_text(error),
                    None => self.bind_text(which, &why),
                };
                let error = external(endpoint, &text);
                if let Some(groups) = endpoint.published.take() {
                    for mut group in groups {
                        group.give_back(&mut self.ports);
                    }
                }
                return Err(error);
            }
        }
        Ok(())
    }

    fn bind_text(&self, which: Published, why: &str) -> String {
        let at = SocketAddr::new(which.host_ip, which.host_port);
        let proto = which.port.proto;
        match self.config.engine {
            Engine::V29 => format!("failed to bind host port {at}/{proto}: {why}"),
            Engine::V20_10 => {
                let family = if at.is_ipv4() { 4 } else { 6 };
                let start = if self.config.userland_proxy {
                    "Error starting userland proxy: "
                } else {
                    ""
                };
                format!("{start}listen {proto}{family} {at}: bind: {why}")
            }
        }
    }

    /// Closes what an endpoint publishes and gives its ports back.
    pub(super) fn unpublish(&mut self, world: &mut World<'_>, container: &mut Container, key: u32) {
        let Some(endpoint) = container.endpoint_mut(key) else {
            return;
        };
        let Some(groups) = endpoint.published.take() else {
            return;
        };
        let any = groups.iter().any(|g| !g.pairs.is_empty());
        if let (Some(iface), true) = (endpoint.iface, any) {
            world.plumb.unpublish(endpoint.network, iface);
        }
        for mut group in groups {
            group.give_back(&mut self.ports);
        }
    }
}

fn move_on(ports: &mut PortAllocator, group: &mut Group) -> Result<(), Option<PortError>> {
    // The port in use stays taken while the next one is found, so that it is another one.
    let mut next = group.clone();
    next.host_port = None;
    next.take(ports).map_err(Some)?;
    group.give_back(ports);
    *group = next;
    Ok(())
}

fn external(endpoint: &Endpoint, why: &str) -> Error {
    Error::new(
        Kind::System,
        format!(
            "driver failed programming external connectivity on endpoint {} ({}): {why}",
            endpoint.name, endpoint.id
        ),
    )
}

fn port_text(error: PortError) -> String {
    match error {
        PortError::Taken(ip, port) => {
            format!("Bind for {ip}:{port} failed: port is already allocated")
        }
        PortError::AllTaken => "all ports are allocated".to_owned(),
    }
}
