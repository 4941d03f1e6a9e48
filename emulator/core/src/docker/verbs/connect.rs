//! `network connect` and `network disconnect`.
//!
//! Models `ConnectToNetwork` and `DisconnectFromNetwork` of `daemon/container_operations.go`. Of a
//! container that does not run only the settings change; of one that runs the change is made at once,
//! and what fails leaves no trace.

use crate::docker::container::{Container, Mode, Place};
use crate::docker::engine::{Docker, World};
use crate::docker::error::{Error, Kind};
use crate::docker::links::parse_link;
use crate::docker::network::{Driver, is_user_defined};
use crate::docker::settings;
use crate::docker::spec::{EndpointSpec, Engine};

const OLD_HOST: &str =
    "container cannot be disconnected from host network or connected to host network";
const SHARED: &str = "container sharing network namespace with another container or host cannot be connected to any other network";
const PRIVATE: &str = "container cannot be connected to multiple networks with one of the networks in private (none) mode";

fn invalid(message: &str) -> Error {
    Error::new(Kind::Invalid, message)
}

impl Docker {
    /// Connects a container to a network.
    ///
    /// # Errors
    /// In Docker's words.
    pub fn network_connect(
        &mut self,
        world: &mut World<'_>,
        network: &str,
        container: &str,
        spec: EndpointSpec,
    ) -> Result<(), Error> {
        let key = self.container_key(container)?;
        for link in &spec.links {
            parse_link(link)?;
        }
        let place = Place {
            spec: self.endpoint_spec(spec),
            by_connect: true,
            ..Place::default()
        };
        let connected = self.with_container(key, |docker, c| {
            if c.state.is_running() {
                docker.connect_running(world, network, c, place)
            } else {
                docker.connect_stopped(network, c, place)
            }
        });
        self.refresh_links(world, key);
        connected
    }

    fn connect_stopped(
        &self,
        network: &str,
        container: &mut Container,
        place: Place,
    ) -> Result<(), Error> {
        let Ok(key) = self.network_key(network) else {
            container.networks.insert(network.to_owned(), place);
            return Ok(());
        };
        let Some(found) = self.networks.get(key) else {
            return Ok(());
        };
        let name = found.name().to_owned();
        settings::check(self.config.engine, Some(found), &name, &place.spec)?;
        if self.check_places_agree(container, key)? {
            container.networks.insert(name, place);
        }
        Ok(())
    }

    fn connect_running(
        &mut self,
        world: &mut World<'_>,
        network: &str,
        container: &mut Container,
        place: Place,
    ) -> Result<(), Error> {
        if matches!(container.mode, Mode::Container(_)) {
            return Err(invalid(SHARED));
        }
        let key = self.network_key(network)?;
        let Some(name) = self.networks.get(key).map(|n| n.name().to_owned()) else {
            return Ok(());
        };
        settings::check(
            self.config.engine,
            self.networks.get(key),
            &name,
            &place.spec,
        )?;
        if !self.check_places_agree(container, key)? {
            return Err(Error::new(
                Kind::Forbidden,
                format!(
                    "endpoint with name {} already exists in network {name}",
                    container.name
                ),
            ));
        }
        container.networks.insert(name.clone(), place);
        let result = self.enter_network(world, container, &name, key);
        if result.is_err() {
            container.networks.shift_remove(&name);
        }
        result
    }

    /// Whether the container may be on this network besides the ones that it is on; false if it is on
    /// it already.
    fn check_places_agree(&self, container: &Container, key: u32) -> Result<bool, Error> {
        let Some(network) = self.networks.get(key) else {
            return Ok(false);
        };
        let host = |driver: Driver| driver == Driver::Host;
        if container.mode != Mode::Host && host(network.driver) {
            return Err(invalid(match self.config.engine {
                Engine::V29 => {
                    "cannot connect container to host network - container must be created in host network mode"
                }
                Engine::V20_10 => OLD_HOST,
            }));
        }
        for (name, place) in &container.networks {
            let id = if is_user_defined(name) && !place.network_id.is_empty() {
                &*place.network_id
            } else {
                name
            };
            let Ok(theirs) = self.network(id) else {
                continue;
            };
            if theirs.key == key {
                return Ok(false);
            }
            if host(theirs.driver) || host(network.driver) {
                return Err(invalid(SHARED));
            }
            if theirs.driver == Driver::Null || network.driver == Driver::Null {
                return Err(invalid(PRIVATE));
            }
        }
        Ok(true)
    }

    /// Disconnects a container from a network. With `force` neither has to be there any more.
    ///
    /// # Errors
    /// In Docker's words.
    pub fn network_disconnect(
        &mut self,
        world: &mut World<'_>,
        network: &str,
        container: &str,
        force: bool,
    ) -> Result<(), Error> {
        let key = match self.container_key(container) {
            Ok(key) => key,
            Err(error) if !force => return Err(error),
            Err(_) => {
                self.network_key(network)?;
                return Err(Error::new(
                    Kind::NotFound,
                    format!("endpoint {container} not found"),
                ));
            }
        };
        let result = self.with_container(key, |docker, c| {
            let found = docker
                .network(network)
                .map(|n| (n.name().to_owned(), n.driver));
            let running = c.state.is_running();
            match found {
                Ok((name, driver)) if running => docker.disconnect_running(world, c, &name, driver),
                Err(error) if running && !force => Err(error),
                found => {
                    let name = found.map_or_else(|_| network.to_owned(), |(name, _)| name);
                    if c.networks.shift_remove(&name).is_none() {
                        return Err(Error::new(
                            Kind::System,
                            format!("container {} is not connected to the network {name}", c.id),
                        ));
                    }
                    Ok(())
                }
            }
        });
        self.refresh_links(world, key);
        result
    }

    fn disconnect_running(
        &mut self,
        world: &mut World<'_>,
        container: &mut Container,
        name: &str,
        driver: Driver,
    ) -> Result<(), Error> {
        if driver == Driver::Host && container.mode == Mode::Host {
            return Err(invalid(match self.config.engine {
                Engine::V29 => {
                    "cannot disconnect container from host network - container was created in host network mode"
                }
                Engine::V20_10 => OLD_HOST,
            }));
        }
        let attached = container
            .networks
            .get(name)
            .is_some_and(|p| p.endpoint.is_some());
        if !attached {
            return Err(Error::new(
                Kind::System,
                format!(
                    "container {} is not connected to network {name}",
                    container.id
                ),
            ));
        }
        self.leave_network(world, container, name);
        container.networks.shift_remove(name);
        let moved = self.refresh_ways(world, container);
        self.refresh_view(world, container);
        moved
    }
}
