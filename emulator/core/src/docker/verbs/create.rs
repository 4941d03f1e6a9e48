//! `docker create`: is it sound, and what is it called?
//!
//! Models `daemon/create.go` and `runconfig/hostconfig_unix.go`. Nothing happens on the wires yet; a
//! network that is not there is found out at the start.

use std::sync::Arc;

use indexmap::IndexMap;
use switch::Time;

use crate::docker::container::{Container, Mode, Place, State};
use crate::docker::engine::{Created, Docker, World};
use crate::docker::error::{Error, Kind};
use crate::docker::hosts;
use crate::docker::ids;
use crate::docker::links::parse_link;
use crate::docker::settings;
use crate::docker::spec::{ContainerSpec, EndpointSpec, Engine};
use crate::docker::validate;

const HOST_PORTS: &str = "Published ports are discarded when using host network mode";

fn invalid(message: impl Into<String>) -> Error {
    Error::new(Kind::Invalid, message)
}

impl Docker {
    /// Makes a container, not started.
    ///
    /// # Errors
    /// In Docker's words: a name that is taken or malformed, options that exclude each other, links
    /// to nobody, settings that make no sense.
    pub fn create(
        &mut self,
        world: &mut World<'_>,
        mut spec: ContainerSpec,
    ) -> Result<Created, Error> {
        let mode = Mode::parse(&spec.network_mode).map_err(|e| self.old_case(e))?;
        check_modes(&mode, &spec)?;
        check_texts(&spec)?;
        let (name, named) = self.container_name(spec.name.take())?;
        let networks = self.places(&mode, &spec)?;
        let links = self.resolve_links(&mode, &spec.links)?;
        let id = self.ids.id("container", &name);
        let hostname = match (&spec.hostname, &mode) {
            (Some(hostname), _) if !hostname.is_empty() => hostname.clone(),
            (_, Mode::Host) => self.config.hostname.clone(),
            (_, Mode::Container(_)) => String::new(),
            _ => ids::short(&id).to_owned(),
        };
        let mut warnings = Vec::new();
        if mode == Mode::Host && (!spec.ports.is_empty() || spec.publish_all) {
            warnings.push(HOST_PORTS.to_owned());
        }
        let container = Container {
            key: self.containers.next_key(),
            id: id.as_str().into(),
            name,
            named,
            created: world.now,
            started: None::<Time>,
            finished: None,
            state: State::Created,
            error: String::new(),
            hostname,
            domainname: spec.domainname.clone().unwrap_or_default(),
            networks,
            links,
            ns: None,
            sandbox: None,
            files: None,
            joined: None,
            mode,
            spec: self.container_spec(spec),
        };
        let links = !container.links.is_empty();
        let key = self.containers.insert(container);
        if links {
            self.linked.insert(key);
        }
        Ok(Created { id, warnings })
    }

    /// One for all containers in turn that are asked the same.
    fn container_spec(&mut self, spec: ContainerSpec) -> Arc<ContainerSpec> {
        if *self.asked != spec {
            self.asked = Arc::new(spec);
        }
        Arc::clone(&self.asked)
    }

    pub(in crate::docker) fn endpoint_spec(&self, spec: EndpointSpec) -> Arc<EndpointSpec> {
        if spec == *self.plain {
            Arc::clone(&self.plain)
        } else {
            Arc::new(spec)
        }
    }

    /// 20.10 wrote the first letter large.
    fn old_case(&self, mut error: Error) -> Error {
        if self.config.engine == Engine::V20_10 {
            error.message = error.message.replacen("invalid", "Invalid", 1);
        }
        error
    }

    fn container_name(&mut self, asked: Option<String>) -> Result<(String, bool), Error> {
        let Some(asked) = asked.filter(|name| !name.is_empty()) else {
            let containers = &self.containers;
            let name = self
                .ids
                .container_name(|name| containers.by_name(name).is_some());
            return Ok((name, false));
        };
        let name = asked.strip_prefix('/').unwrap_or(&asked).to_owned();
        validate::container_name(&name)?;
        self.check_name_free(&name)?;
        Ok((name, true))
    }

    pub(in crate::docker) fn check_name_free(&self, name: &str) -> Result<(), Error> {
        let Some(other) = self.containers.by_name(name) else {
            return Ok(());
        };
        let id = self.containers.get(other).map_or("", |c| &c.id);
        Err(Error::new(
            Kind::Conflict,
            format!(
                "Conflict. The container name \"/{name}\" is already in use by container \"{id}\". You have to remove (or rename) that container to be able to reuse that name."
            ),
        ))
    }

    /// The container's places in networks, under the networks' names where they are there already.
    fn places(&self, mode: &Mode, spec: &ContainerSpec) -> Result<IndexMap<String, Place>, Error> {
        let mut out: IndexMap<String, Place> = IndexMap::with_capacity(1);
        let Some(first) = mode.network() else {
            return Ok(out);
        };
        let first = self.network_name(first);
        let named = |text: &str| {
            let text = if text == "default" { "bridge" } else { text };
            self.network_name(text)
        };
        if !spec.endpoints.iter().any(|(text, _)| named(text) == first) {
            let place = Place {
                spec: Arc::clone(&self.plain),
                ..Place::default()
            };
            out.insert(first.clone(), place);
        }
        for (text, endpoint) in &spec.endpoints {
            let place = Place {
                spec: self.endpoint_spec(endpoint.clone()),
                ..Place::default()
            };
            out.insert(named(text), place);
        }
        if let Some(place) = out.get_mut(&first) {
            if let Some(mac) = &spec.mac_address
                && place.spec.mac_address.is_empty()
            {
                Arc::make_mut(&mut place.spec).mac_address.clone_from(mac);
            }
            if matches!(mode, Mode::User(_)) && !spec.links.is_empty() {
                let links = &mut Arc::make_mut(&mut place.spec).links;
                links.extend(spec.links.iter().cloned());
            }
        }
        self.check_places(&out)?;
        Ok(out)
    }

    fn network_name(&self, text: &str) -> String {
        self.network(text)
            .map_or_else(|_| text.to_owned(), |network| network.name().to_owned())
    }

    fn check_places(&self, places: &IndexMap<String, Place>) -> Result<(), Error> {
        let mut errors = Vec::new();
        for (name, place) in places {
            for link in &place.spec.links {
                parse_link(link)?;
            }
            // 20.10 finds out at the start.
            if self.config.engine == Engine::V20_10 {
                continue;
            }
            let network = self.network(name).ok();
            if let Err(e) = settings::check(Engine::V29, network, name, &place.spec) {
                errors.push(format!("invalid config for network {name}: {e}"));
            }
        }
        validate::join(&errors).map_or(Ok(()), |text| Err(invalid(text)))
    }
}

fn check_modes(mode: &Mode, spec: &ContainerSpec) -> Result<(), Error> {
    let joined = matches!(mode, Mode::Container(_));
    let host = *mode == Mode::Host;
    let has = |option: &Option<String>| option.as_ref().is_some_and(|t| !t.is_empty());
    let rows = [
        (
            joined && has(&spec.hostname),
            "conflicting options: hostname and the network mode",
        ),
        (
            host && !spec.links.is_empty(),
            "conflicting options: host type networking can't be used with links. This would result in undefined behavior",
        ),
        (
            joined && !spec.links.is_empty(),
            "conflicting options: container type network can't be used with links. This would result in undefined behavior",
        ),
        (
            joined && !spec.dns.is_empty(),
            "conflicting options: dns and the network mode",
        ),
        (
            joined && !spec.extra_hosts.is_empty(),
            "conflicting options: custom host-to-IP mapping and the network mode",
        ),
        (
            (joined || host) && has(&spec.mac_address),
            "conflicting options: mac-address and the network mode",
        ),
        (
            joined && (!spec.ports.is_empty() || spec.publish_all),
            "conflicting options: port publishing and the container type network mode",
        ),
        (
            joined && !spec.expose.is_empty(),
            "conflicting options: port exposing and the container type network mode",
        ),
        (
            joined
                && spec
                    .endpoints
                    .iter()
                    .any(|(_, e)| *e != EndpointSpec::default()),
            "container sharing network namespace with another container or host cannot be connected to any other network",
        ),
    ];
    match rows.iter().find(|(wrong, _)| *wrong) {
        Some((_, text)) => Err(invalid(*text)),
        None => Ok(()),
    }
}

fn check_texts(spec: &ContainerSpec) -> Result<(), Error> {
    for extra in &spec.extra_hosts {
        hosts::parse_extra_host(extra)?;
    }
    for server in &spec.dns {
        if server.parse::<core::net::IpAddr>().is_err() {
            return Err(invalid(format!("bad nameserver address: {server:?}")));
        }
    }
    if let Some(mac) = spec.mac_address.as_ref().filter(|m| !m.is_empty())
        && crate::docker::options::parse_mac(mac).is_none()
    {
        return Err(invalid(format!("invalid MAC address {mac}")));
    }
    Ok(())
}
