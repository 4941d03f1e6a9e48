//! Legacy links: `--link` on the default bridge.
//!
//! Models `daemon/links.go`, `registerLinks` and the link rules of the bridge driver: a line in
//! `/etc/hosts`, and with inter-container communication off an opening for the ports that the other
//! side declares. The environment variables are left out (off since 29.0). Links of user-defined
//! networks are names only, see [`super::names::View`].

use core::net::IpAddr;

use super::container::{Container, Mode};
use super::engine::{Docker, World};
use super::error::{Error, Kind};
use super::plumb::LinkRule;

/// A link of the default bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LegacyLink {
    /// The container that is linked to.
    pub child: u32,
    /// What it is called in this container.
    pub alias: String,
}

/// Reads `name`, `name:alias` or, as old configurations have it, `/name:/parent/alias`.
///
/// # Errors
/// `empty string specified for links`, `bad format for links: X`.
pub fn parse_link(text: &str) -> Result<(&str, &str), Error> {
    let bad = |message: String| Error::new(Kind::Invalid, message);
    if text.is_empty() {
        return Err(bad("empty string specified for links".to_owned()));
    }
    let mut parts = text.split(':');
    let (name, alias) = (parts.next().unwrap_or_default(), parts.next());
    if parts.next().is_some() {
        return Err(bad(format!("bad format for links: {text}")));
    }
    let bare = name.strip_prefix('/').unwrap_or(name);
    Ok(match alias {
        None => (name, bare),
        Some(alias) if name.starts_with('/') => (bare, alias.rsplit('/').next().unwrap_or(alias)),
        Some(alias) => (name, alias),
    })
}

impl Docker {
    /// Reads a new container's links and finds whom they mean: one an alias, the last that was written.
    pub(super) fn resolve_links(
        &self,
        mode: &Mode,
        links: &[String],
    ) -> Result<Vec<LegacyLink>, Error> {
        if matches!(mode, Mode::User(_) | Mode::Container(_)) {
            return Ok(Vec::new());
        }
        let mut found: Vec<LegacyLink> = Vec::new();
        for text in links {
            let link = self.resolve_link(text)?;
            match found.iter_mut().find(|other| other.alias == link.alias) {
                Some(other) => *other = link,
                None => found.push(link),
            }
        }
        Ok(found)
    }

    fn resolve_link(&self, text: &str) -> Result<LegacyLink, Error> {
        let (name, alias) = parse_link(text)?;
        let mut child = self.container_key(name).map_err(|e| {
            Error::new(
                Kind::Invalid,
                format!("could not get container for {name}: {e}"),
            )
        })?;
        // Whoever shares a namespace stands for its owner.
        while let Some(Mode::Container(next)) = self.containers.get(child).map(|c| c.mode.clone()) {
            child = self.container_key(&next)?;
        }
        if self
            .containers
            .get(child)
            .is_some_and(|c| c.mode == Mode::Host)
        {
            return Err(Error::new(
                Kind::Invalid,
                "conflicting options: host type networking can't be used with links. This would result in undefined behavior",
            ));
        }
        Ok(LegacyLink {
            child,
            alias: alias.to_owned(),
        })
    }

    /// Writes the lines of a container's links, and refuses those that lead nowhere.
    pub(super) fn write_links(&self, container: &mut Container) -> Result<(), Error> {
        let mut lines: Vec<(IpAddr, String)> = Vec::new();
        for link in &container.links {
            let Some(child) = self.containers.get(link.child) else {
                continue;
            };
            if !child.state.is_running() {
                return Err(Error::new(
                    Kind::System,
                    format!(
                        "Cannot link to a non running container: /{} AS /{}/{}",
                        child.name, container.name, link.alias
                    ),
                ));
            }
            let endpoint = child
                .networks
                .get("bridge")
                .and_then(|place| place.endpoint.as_ref())
                .ok_or_else(|| {
                    Error::new(
                        Kind::System,
                        format!(
                            "Cannot link to /{}, as it does not belong to the default network",
                            child.name
                        ),
                    )
                })?;
            let mut names = format!("{} {}", link.alias, child.hostname);
            if link.alias != child.name {
                names.push(' ');
                names.push_str(&child.name);
            }
            lines.extend(endpoint.addresses().map(|a| (a.addr(), names.clone())));
        }
        if let Some(files) = &mut container.files {
            files.hosts.clear_links();
            for (addr, names) in lines {
                files.hosts.add_link(addr, &names);
            }
        }
        Ok(())
    }

    /// After a container of the default bridge has come or gone: the lines of those who link to it,
    /// and the openings of all links.
    pub(super) fn refresh_links(&mut self, world: &mut World<'_>, child: u32) {
        if self.linked.is_empty() && self.link_rules.is_empty() {
            return;
        }
        let running = |key: &u32| {
            let container = self.containers.get(*key);
            container.is_some_and(|c| !c.links.is_empty() && c.state.is_running())
        };
        let linked: Vec<u32> = self.linked.iter().copied().filter(running).collect();
        let started = self
            .containers
            .get(child)
            .is_some_and(|c| c.state.is_running());
        for key in &linked {
            let to_child = self
                .containers
                .get(*key)
                .is_some_and(|c| c.links.iter().any(|l| l.child == child));
            if started && to_child {
                // Another of its links may lead nowhere now; the lines stay as they are then.
                let _ = self.with_container(*key, |docker, c| docker.write_links(c));
            }
        }
        let rules = self.link_rules(&linked);
        if rules != self.link_rules {
            if let Some(bridge) = self.networks.by_name("bridge") {
                world.plumb.links_set(bridge, &rules);
            }
            self.link_rules = rules;
        }
    }

    fn link_rules(&self, linked: &[u32]) -> Vec<LinkRule> {
        let address = |container: &Container| {
            let place = container.networks.get("bridge")?;
            place.endpoint.as_ref()?.v4.map(|net| net.addr())
        };
        let mut rules = Vec::new();
        for parent in linked.iter().filter_map(|key| self.containers.get(*key)) {
            let Some(client) = address(parent) else {
                continue;
            };
            for link in &parent.links {
                let child = self.containers.get(link.child);
                let Some((child, server)) = child.and_then(|c| Some((c, address(c)?))) else {
                    continue;
                };
                for port in child.exposed() {
                    let rule = LinkRule {
                        client,
                        server,
                        port,
                    };
                    if !rules.contains(&rule) {
                        rules.push(rule);
                    }
                }
            }
        }
        rules
    }

    /// Takes a link away: `docker rm --link /parent/alias`.
    ///
    /// # Errors
    /// If there is no such container or link.
    pub fn link_remove(&mut self, world: &mut World<'_>, path: &str) -> Result<(), Error> {
        let bare = path.strip_prefix('/').unwrap_or(path);
        let (parent, alias) = bare.split_once('/').ok_or_else(|| {
            Error::new(
                Kind::Invalid,
                format!("Conflict, cannot remove the default link name of the container: {path}"),
            )
        })?;
        let key = self.container_key(parent)?;
        self.with_container(key, |docker, container| {
            let before = container.links.len();
            container.links.retain(|l| l.alias != alias);
            if container.links.len() == before {
                return Err(Error::new(
                    Kind::NotFound,
                    format!("Cannot get parent /{parent} for link {path}"),
                ));
            }
            docker.write_links(container)
        })?;
        self.refresh_links(world, key);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        assert_eq!(parse_link("db").unwrap(), ("db", "db"));
        assert_eq!(parse_link("db:database").unwrap(), ("db", "database"));
        assert_eq!(parse_link("/db:/web/database").unwrap(), ("db", "database"));
        assert_eq!(
            parse_link("").unwrap_err().message,
            "empty string specified for links"
        );
        assert_eq!(
            parse_link("a:b:c").unwrap_err().message,
            "bad format for links: a:b:c"
        );
    }
}
