//! `start`, `stop`, `restart`, `kill`, `pause`, `unpause`, `rename`, `rm`, `port`.
//!
//! Models `daemon/{start,stop,kill,pause,rename,delete}.go` and `allocateNetwork` and `releaseNetwork`
//! of `daemon/container_operations.go`. Stopping gives addresses, ports and names back; what was asked
//! for survives. A namespace lives as long as someone runs in it, its owner or one who joined.

use crate::docker::container::{Container, Mode, Place, Sandbox, State};
use crate::docker::engine::{Docker, World};
use crate::docker::error::{Error, Kind};
use crate::docker::names::SandboxKey;
use crate::docker::network::{Network, is_user_defined};
use crate::docker::order::Rank;
use crate::docker::plumb::Published;
use crate::docker::ports::Group;
use crate::docker::sandbox::not_running;
use crate::docker::settings;
use crate::docker::spec::Engine;
use crate::id::NsId;
use std::sync::Arc;

const SETUP: &str = "failed to set up container networking";

impl Docker {
    /// Starts a container; one that runs is left alone.
    ///
    /// # Errors
    /// In Docker's words; the container is as it was before, and its error says why.
    pub fn start(&mut self, world: &mut World<'_>, text: &str) -> Result<(), Error> {
        let key = self.container_key(text)?;
        match self.containers.get(key).map(|c| c.state) {
            Some(State::Running) => return Ok(()),
            Some(State::Paused) => {
                return Err(Error::new(
                    Kind::Conflict,
                    "cannot start a paused container, try unpause instead",
                ));
            }
            _ => {}
        }
        let started = self.with_container(key, |docker, container| {
            container.error.clear();
            let result = docker.enter(world, container);
            match &result {
                Ok(()) => {
                    container.state = State::Running;
                    container.started = Some(world.now);
                }
                Err(error) => container.error.clone_from(&error.message),
            }
            result
        });
        if started.is_ok() {
            self.refresh_links(world, key);
        }
        started
    }

    /// Gives a container its namespace and networks.
    fn enter(&mut self, world: &mut World<'_>, container: &mut Container) -> Result<(), Error> {
        match container.mode.clone() {
            Mode::Container(name) => self.join(container, &name),
            Mode::Host => {
                self.move_in(container, self.config.host_ns);
                let id = self.ids.draw("sandbox", &[&container.name]);
                container.sandbox = Some(Sandbox::new(id, true, true));
                let result = match self.write_files(container, true) {
                    Ok(()) => self.enter_networks(world, container),
                    Err(error) => Err(error),
                };
                if result.is_err() {
                    self.leave(world, container);
                }
                result
            }
            _ => {
                let ns = world.plumb.ns_add(&container.name);
                self.move_in(container, ns);
                let id = self.ids.draw("sandbox", &[&container.name]);
                let v6 = !container.v6_off();
                let loopback = v6 && self.config.engine == Engine::V29;
                if !loopback {
                    world.plumb.loopback_v6(ns, false);
                }
                container.sandbox = Some(Sandbox::new(id, v6, loopback));
                let result = match self.write_files(container, false) {
                    Ok(()) => self.enter_networks(world, container),
                    Err(error) => Err(error),
                };
                if result.is_err() {
                    // 20.10 makes the sandbox and its files after the first endpoint.
                    let late = self.config.engine == Engine::V20_10;
                    let any = |c: &Container| c.files.as_ref().is_some_and(|f| f.hosts.has_own());
                    let bare = late && !any(container);
                    self.leave(world, container);
                    if bare {
                        container.files = None;
                    }
                }
                result
            }
        }
    }

    /// Joins another container's namespace.
    fn join(&mut self, container: &mut Container, name: &str) -> Result<(), Error> {
        let old = self.config.engine == Engine::V20_10;
        let key = self.container_key(name).map_err(|e| {
            if old {
                return e;
            }
            Error::new(
                Kind::System,
                format!("joining network namespace of container: {e}"),
            )
        })?;
        if key == container.key {
            let text = if old {
                "cannot join own network"
            } else {
                "cannot join own network namespace"
            };
            return Err(Error::new(Kind::System, text));
        }
        let Some(other) = self.containers.get(key) else {
            return Err(Error::new(
                Kind::NotFound,
                format!("No such container: {name}"),
            ));
        };
        let Some(ns) = other.ns.filter(|_| other.state.is_running()) else {
            let text = if old {
                format!(
                    "cannot join network of a non running container: {}",
                    other.id
                )
            } else {
                format!(
                    "cannot join network namespace of a non running container: container {} is {}",
                    other.name,
                    other.state.word()
                )
            };
            return Err(Error::new(Kind::Conflict, text));
        };
        container.hostname.clone_from(&other.hostname);
        container.domainname.clone_from(&other.domainname);
        self.move_in(container, ns);
        container.joined = Some(key);
        Ok(())
    }

    fn enter_networks(
        &mut self,
        world: &mut World<'_>,
        container: &mut Container,
    ) -> Result<(), Error> {
        let result = self.allocate(world, container);
        result.map_err(|e| match self.config.engine {
            Engine::V29 => Error::new(e.kind, format!("{SETUP}: {}", e.message)),
            Engine::V20_10 => e,
        })
    }

    /// Connects a container that starts to all its networks, the way out first.
    fn allocate(&mut self, world: &mut World<'_>, container: &mut Container) -> Result<(), Error> {
        let mut order = Vec::new();
        for (name, place) in &container.networks {
            order.push((name.clone(), self.place_network(name, place)?));
        }
        let engine = self.config.engine;
        let rank = |name: &str, key: u32| {
            let network = self.networks.get(key)?;
            let place = container.networks.get(name)?;
            Some(rank_of(network, engine, place.spec.gw_priority))
        };
        order.sort_by(|(a, ka), (b, kb)| match (rank(a, *ka), rank(b, *kb)) {
            (Some(a), Some(b)) => a.compare(&b, engine),
            _ => core::cmp::Ordering::Equal,
        });
        for (name, key) in order {
            self.enter_network(world, container, &name, key)?;
        }
        Ok(())
    }

    /// The network of a container's place: by id once it was in it, otherwise by name.
    fn place_network(&self, name: &str, place: &Place) -> Result<u32, Error> {
        if is_user_defined(name) && !place.network_id.is_empty() {
            return self.network_key(&place.network_id);
        }
        self.network_key(name)
    }

    /// Connects a running container to the network of one of its places. A failure leaves the place
    /// without an endpoint.
    pub(in crate::docker) fn enter_network(
        &mut self,
        world: &mut World<'_>,
        container: &mut Container,
        name: &str,
        key: u32,
    ) -> Result<(), Error> {
        let Some((full, id)) = self
            .networks
            .get(key)
            .map(|n| (n.name().to_owned(), n.id.clone()))
        else {
            return Err(Error::new(
                Kind::NotFound,
                format!("network {name} not found"),
            ));
        };
        if full != name {
            rename_place(container, name, &full);
        }
        let place = container.networks.get(&full).cloned().unwrap_or_default();
        settings::check(
            self.config.engine,
            self.networks.get(key),
            &full,
            &place.spec,
        )?;
        let endpoint = self.make_endpoint(world, container, key, &place)?;
        if let Some(place) = container.networks.get_mut(&full) {
            place.network_id = id;
            place.endpoint = Some(endpoint.clone());
        }
        let resolv = container.files.as_ref().map(|f| f.resolv.clone());
        let result = self.settle_in(world, container, &full, &endpoint);
        if result.is_err() {
            let hosts = container.files.as_ref().map(|f| f.hosts.clone());
            self.leave_network(world, container, &full);
            // A start that fails leaves 20.10's files as they were at that point.
            if let (Engine::V20_10, false, Some(files), Some(hosts), Some(resolv)) = (
                self.config.engine,
                container.state.is_running(),
                &mut container.files,
                hosts,
                resolv,
            ) {
                (files.hosts, files.resolv) = (hosts, resolv);
            }
            // The mappings go back to the endpoint that had them; they fitted there before.
            let _ = self.refresh_ways(world, container);
            self.refresh_view(world, container);
        }
        result
    }

    fn settle_in(
        &mut self,
        world: &mut World<'_>,
        container: &mut Container,
        name: &str,
        endpoint: &crate::docker::endpoint::Endpoint,
    ) -> Result<(), Error> {
        if let (Some(ns), Some(sandbox)) = (container.ns, &mut container.sandbox)
            && endpoint.v6.is_some()
            && !sandbox.loopback_v6
            && sandbox.v6
        {
            sandbox.loopback_v6 = true;
            world.plumb.loopback_v6(ns, true);
        }
        if name == "bridge" {
            self.write_links(container)?;
        }
        self.announce_endpoint(world, container, endpoint)?;
        if endpoint.iface.is_some() {
            self.refresh_ways(world, container)?;
            self.refresh_view(world, container);
        }
        Ok(())
    }

    /// Takes a running container's endpoint out of a network; its place stays.
    pub(in crate::docker) fn leave_network(
        &mut self,
        world: &mut World<'_>,
        container: &mut Container,
        name: &str,
    ) {
        let key = container
            .networks
            .get(name)
            .and_then(|p| p.endpoint.as_ref())
            .map(|e| e.key);
        let Some(key) = key else {
            return;
        };
        self.unpublish(world, container, key);
        let endpoint = container
            .networks
            .get_mut(name)
            .and_then(|p| p.endpoint.take());
        if let Some(endpoint) = endpoint {
            self.forget_endpoint(world, container, &endpoint);
            self.drop_endpoint(world, container.ns, &endpoint);
        }
    }

    /// Takes a container out of all networks and out of its namespace.
    fn leave(&mut self, world: &mut World<'_>, container: &mut Container) {
        let names: Vec<String> = container.networks.keys().cloned().collect();
        for name in names {
            self.leave_network(world, container, &name);
        }
        if container.sandbox.take().is_some() && container.mode != Mode::Host {
            world.names.remove_view(SandboxKey(container.key));
        }
        container.joined = None;
        if let Some(ns) = container.ns.take()
            && self.move_out(ns)
            && ns != self.config.host_ns
        {
            world.plumb.ns_remove(ns);
        }
    }

    fn move_in(&mut self, container: &mut Container, ns: NsId) {
        container.ns = Some(ns);
        *self.inhabitants.entry(ns).or_insert(0) += 1;
    }

    /// Whether nobody is left.
    fn move_out(&mut self, ns: NsId) -> bool {
        let Some(count) = self.inhabitants.get_mut(&ns) else {
            return true;
        };
        *count -= 1;
        if *count > 0 {
            return false;
        }
        self.inhabitants.remove(&ns);
        true
    }

    /// Ends a container; `code` is what its process ends with. One that does not run is left alone.
    ///
    /// # Errors
    /// If there is no such container.
    pub fn stop(&mut self, world: &mut World<'_>, text: &str, code: i32) -> Result<(), Error> {
        let key = self.container_key(text)?;
        let mut remove = false;
        self.with_container(key, |docker, container| {
            if container.state.is_running() {
                container.state = State::Exited(code);
                docker.leave(world, container);
                container.finished = Some(world.now);
                remove = container.spec.auto_remove;
            }
            Ok(())
        })?;
        self.refresh_links(world, key);
        if remove {
            self.forget_container(key);
        }
        Ok(())
    }

    /// Stops and starts a container.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn restart(&mut self, world: &mut World<'_>, text: &str, code: i32) -> Result<(), Error> {
        let key = self.container_key(text)?;
        let set = |docker: &mut Self, auto_remove| {
            if let Some(container) = docker.containers.get_mut(key) {
                Arc::make_mut(&mut container.spec).auto_remove = auto_remove;
            }
        };
        let keep = self.containers.get(key).is_some_and(|c| c.spec.auto_remove);
        if keep {
            set(self, false);
        }
        let result = self
            .stop(world, text, code)
            .and_then(|()| self.start(world, text));
        if keep {
            set(self, true);
        }
        result
    }

    /// Kills a container.
    ///
    /// # Errors
    /// `cannot kill container: X: container ID is not running`.
    pub fn kill(&mut self, world: &mut World<'_>, text: &str) -> Result<(), Error> {
        let container = self.container(text)?;
        if !container.state.is_running() {
            let why = not_running(self.config.engine, container);
            let start = match self.config.engine {
                Engine::V29 => "cannot kill container",
                Engine::V20_10 => "Cannot kill container",
            };
            return Err(Error::new(
                Kind::Conflict,
                format!("{start}: {text}: {}", why.message),
            ));
        }
        self.stop(world, text, 137)
    }

    /// Holds a container.
    ///
    /// # Errors
    /// If it does not run or is held already.
    pub fn pause(&mut self, text: &str) -> Result<(), Error> {
        let engine = self.config.engine;
        let key = self.container_key(text)?;
        self.with_container(key, |_, container| match container.state {
            State::Running => {
                container.state = State::Paused;
                Ok(())
            }
            State::Paused => Err(Error::new(
                Kind::Conflict,
                format!("Container {} is already paused", container.id),
            )),
            _ => Err(not_running(engine, container)),
        })
    }

    /// Lets a container go on.
    ///
    /// # Errors
    /// If it is not held.
    pub fn unpause(&mut self, text: &str) -> Result<(), Error> {
        let key = self.container_key(text)?;
        self.with_container(key, |_, container| {
            if container.state != State::Paused {
                return Err(Error::new(
                    Kind::Conflict,
                    format!("Container {} is not paused", container.id),
                ));
            }
            container.state = State::Running;
            Ok(())
        })
    }

    /// Gives a container another name.
    ///
    /// # Errors
    /// If the name is malformed, taken or the same.
    pub fn rename(&mut self, world: &mut World<'_>, text: &str, new: &str) -> Result<(), Error> {
        let fail = |kind, message: &str| Err(Error::new(kind, message));
        let new = new.strip_prefix('/').unwrap_or(new);
        if text.is_empty() || new.is_empty() {
            return fail(Kind::Invalid, "Neither old nor new names may be empty");
        }
        let key = self.container_key(text)?;
        let old = self.container(text)?.name.clone();
        if old == new {
            return fail(
                Kind::Invalid,
                "Renaming a container with the same name as its current name",
            );
        }
        crate::docker::validate::container_name(new)?;
        self.check_name_free(new)?;
        self.containers.rename(key, &old, new);
        self.with_container(key, |docker, container| {
            container.name = new.to_owned();
            container.named = true;
            for place in container.networks.values_mut() {
                if let Some(endpoint) = &mut place.endpoint {
                    endpoint.name = new.to_owned();
                }
            }
            for endpoint in container.endpoints() {
                if is_user_defined(&endpoint.network_name) {
                    docker.add_names(world, container, endpoint);
                }
            }
            Ok(())
        })
    }

    /// Takes a container away; `force` stops it first.
    ///
    /// # Errors
    /// If there is no such container, or it runs and `force` is off.
    pub fn remove(&mut self, world: &mut World<'_>, text: &str, force: bool) -> Result<(), Error> {
        let key = self.container_key(text)?;
        let container = self.container(text)?;
        if container.state.is_running() {
            if !force {
                return Err(self.cannot_remove(container));
            }
            self.stop(world, text, 137)?;
        }
        self.forget_container(key);
        Ok(())
    }

    fn forget_container(&mut self, key: u32) {
        self.containers.remove(key);
        self.linked.remove(&key);
        for parent in &self.linked {
            if let Some(parent) = self.containers.get_mut(*parent) {
                parent.links.retain(|l| l.child != key);
            }
        }
    }

    fn cannot_remove(&self, container: &Container) -> Error {
        let paused = container.state == State::Paused;
        let text = match (self.config.engine, paused) {
            (Engine::V29, false) => format!(
                "cannot remove container {:?}: container is running: stop the container before removing or force remove",
                container.name
            ),
            (Engine::V29, true) => format!(
                "cannot remove container {:?}: container is paused and must be unpaused first",
                container.name
            ),
            (Engine::V20_10, false) => format!(
                "You cannot remove a running container {}. Stop the container before attempting removal or force remove",
                container.id
            ),
            (Engine::V20_10, true) => format!(
                "You cannot remove a paused container {}. Unpause and then stop the container before attempting removal or force remove",
                container.id
            ),
        };
        Error::new(Kind::Conflict, text)
    }

    /// What a container publishes, as it was allocated.
    ///
    /// # Errors
    /// If there is no such container.
    pub fn port(&self, text: &str) -> Result<Vec<Published>, Error> {
        let container = self.container(text)?;
        Ok(container
            .endpoints()
            .filter_map(|e| e.published.as_ref())
            .flatten()
            .flat_map(Group::published)
            .collect())
    }
}

/// Where a network will stand in the order of a container's endpoints.
fn rank_of(network: &Network, engine: Engine, priority: i64) -> Rank<'_> {
    Rank {
        priority,
        internal: network.internal,
        gateway_v4: network.way_out(engine, None, false).is_some(),
        gateway_v6: network.way_out(engine, None, true).is_some(),
        name: network.name(),
    }
}

/// A place that was made under an id or before the network was there gets the network's name.
fn rename_place(container: &mut Container, from: &str, to: &str) {
    if let Some(index) = container.networks.get_index_of(from)
        && let Some((_, place)) = container.networks.shift_remove_index(index)
    {
        container.networks.insert(to.to_owned(), place);
        let last = container.networks.len() - 1;
        container.networks.move_index(last, index.min(last));
    }
}
