//! `network ls` and `ps`: lists and their filters.

use core::time::Duration;

use switch::Time;

use crate::docker::container::Container;
use crate::docker::engine::Docker;
use crate::docker::error::{Error, Kind};
use crate::docker::network::{Network, is_user_defined};

/// Filters of `network ls` and `network prune`, as given: key and value. Of one key any value may fit
/// (labels all have to), of different keys each has to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkFilters(pub Vec<(String, String)>);

fn bad_filter(message: String) -> Error {
    Error::new(Kind::Invalid, message)
}

fn label_fits(labels: &std::collections::BTreeMap<String, String>, filter: &str) -> bool {
    match filter.split_once('=') {
        Some((key, value)) => labels.get(key).is_some_and(|v| v == value),
        None => labels.contains_key(filter),
    }
}

/// Go's durations, as far as filters use them: `1h30m`, `10s`; a bare number is seconds.
fn parse_span(text: &str) -> Option<Duration> {
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u32 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let end = rest
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(rest.len());
        let unit = match &rest[..end] {
            "h" => Duration::from_secs(3600),
            "m" => Duration::from_secs(60),
            "s" => Duration::from_secs(1),
            "ms" => Duration::from_millis(1),
            _ => return None,
        };
        total = total.checked_add(unit.checked_mul(number)?)?;
        rest = &rest[end..];
    }
    Some(total)
}

impl NetworkFilters {
    fn of<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(k, _)| k == key)
            .map(|(_, value)| value.as_str())
    }

    fn any(&self, key: &str, fits: impl Fn(&str) -> bool) -> bool {
        let mut given = self.of(key).peekable();
        given.peek().is_none() || given.any(fits)
    }

    fn check_list(&self) -> Result<(), Error> {
        const KEYS: [&str; 7] = ["driver", "type", "name", "id", "label", "scope", "dangling"];
        for (key, value) in &self.0 {
            if !KEYS.contains(&key.as_str()) {
                return Err(bad_filter(format!("Invalid filter '{key}'")));
            }
            if key == "type" && !matches!(value.as_str(), "builtin" | "custom") {
                return Err(bad_filter(format!("invalid filter: 'type'='{value}'")));
            }
            if key == "dangling" && !matches!(value.as_str(), "true" | "false" | "1" | "0") {
                return Err(bad_filter(format!("invalid filter 'dangling=[{value}]'")));
            }
        }
        Ok(())
    }

    pub(in crate::docker) fn check_prune(&self) -> Result<(), Error> {
        for (key, value) in &self.0 {
            match key.as_str() {
                "label" | "label!" => {}
                "until" if parse_span(value).is_some() => {}
                "until" => return Err(bad_filter(format!("invalid filter 'until={value}'"))),
                _ => return Err(bad_filter(format!("invalid filter '{key}'"))),
            }
        }
        Ok(())
    }

    pub(in crate::docker) fn prunes(&self, network: &Network, now: Time) -> bool {
        let labels = &network.spec.labels;
        let old = |text: &str| parse_span(text).is_some_and(|s| now.since(network.created) >= s);
        self.of("label").all(|l| label_fits(labels, l))
            && self.of("label!").all(|l| !label_fits(labels, l))
            && self.of("until").all(old)
    }

    fn lists(&self, network: &Network, used: bool) -> bool {
        let builtin = !is_user_defined(network.name());
        self.any("driver", |d| d == network.driver.name())
            && self.any("type", |t| (t == "builtin") == builtin)
            && self.any("name", |n| network.name().contains(n))
            && self.any("id", |i| network.id.contains(i))
            && self.any("scope", |s| s == "local")
            && self.any("dangling", |d| {
                let dangling = !builtin && !used;
                matches!(d, "true" | "1") == dangling
            })
            && self
                .of("label")
                .all(|l| label_fits(&network.spec.labels, l))
    }
}

impl Docker {
    /// The networks that fit, in the order in which they were made (the client sorts by name).
    ///
    /// # Errors
    /// `Invalid filter 'X'`.
    pub fn network_list(&self, filters: &NetworkFilters) -> Result<Vec<&Network>, Error> {
        filters.check_list()?;
        Ok(self
            .networks()
            .filter(|network| filters.lists(network, !network.endpoints.is_empty()))
            .collect())
    }

    /// The containers that fit, the newest first, as `docker ps` lists them: the running ones, or `all`.
    ///
    /// # Errors
    /// `invalid filter 'X'`.
    pub fn list(&self, all: bool, filters: &[(String, String)]) -> Result<Vec<&Container>, Error> {
        const KEYS: [&str; 7] = [
            "id", "name", "label", "status", "network", "publish", "expose",
        ];
        for (key, _) in filters {
            if !KEYS.contains(&key.as_str()) {
                return Err(bad_filter(format!("invalid filter '{key}'")));
            }
        }
        let by_status = filters.iter().any(|(key, _)| key == "status");
        let fits = |container: &Container| {
            KEYS.iter().all(|key| {
                let mut given = filters.iter().filter(|(k, _)| k == key).peekable();
                given.peek().is_none() || given.any(|(_, v)| self.container_fits(container, key, v))
            })
        };
        let mut list: Vec<&Container> = self
            .containers()
            .filter(|c| (all || by_status || c.state.is_running()) && fits(c))
            .collect();
        list.reverse();
        Ok(list)
    }

    fn container_fits(&self, container: &Container, key: &str, value: &str) -> bool {
        match key {
            "id" => container.id.starts_with(value),
            "name" => container.name.contains(value.trim_start_matches('/')),
            "label" => label_fits(&container.spec.labels, value),
            "status" => container.state.word() == value,
            "network" => container.networks.iter().any(|(name, place)| {
                name == value || (!value.is_empty() && place.network_id.starts_with(value))
            }),
            "publish" => container
                .bindings()
                .iter()
                .any(|b| port_fits(&b.port.to_string(), value)),
            "expose" => container
                .exposed()
                .iter()
                .any(|p| port_fits(&p.to_string(), value)),
            _ => false,
        }
    }
}

fn port_fits(port: &str, value: &str) -> bool {
    port == value
        || port
            .split_once('/')
            .is_some_and(|(number, proto)| number == value && proto == "tcp")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans() {
        assert_eq!(parse_span("90"), Some(Duration::from_secs(90)));
        assert_eq!(parse_span("1h30m"), Some(Duration::from_secs(5400)));
        assert_eq!(parse_span("10x"), None);
        assert_eq!(parse_span("h"), None);
        assert_eq!(parse_span("1"), Some(Duration::from_secs(1)));
        assert_eq!(parse_span("99999999999h"), None);
        assert_eq!(parse_span("é"), None);
    }
}
