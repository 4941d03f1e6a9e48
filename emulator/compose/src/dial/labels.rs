//! Dials of reverse proxies that read them from labels (or variables) of the services behind them.
//!
//! Known are Traefik, caddy-docker-proxy and nginx-proxy. If the project has no such proxy, another
//! project's is meant, and nothing is known of it.

use super::{Dial, DialIn, DialTo};
use crate::listen::{self, Images};
use crate::model::{Project, Protocol, Service};
use crate::node::{At, Place};

/// How many dials of proxies are read.
const MAX_BEHIND: usize = 65_536;

/// The dials of the project's proxies.
pub(super) fn dials(project: &Project, images: &Images) -> Vec<Dial> {
    let mut out = Vec::new();
    let kinds: [(&str, Ask); 3] = [
        ("traefik", traefik),
        ("caddy-docker-proxy", caddy),
        ("nginx-proxy", nginx),
    ];
    for (word, asked) in kinds {
        let is_proxy = |service: &&Service| last_part(service) == word;
        let proxies: Vec<&Service> = project.services.iter().filter(is_proxy).collect();
        if proxies.is_empty() {
            continue;
        }
        for service in &project.services {
            let Some((label, at, port)) = asked(service, images) else {
                continue;
            };
            for proxy in proxies.iter().filter(|proxy| proxy.name != service.name) {
                out.push(Dial {
                    service: proxy.name.clone(),
                    host: service.name.clone(),
                    to: DialTo::Project,
                    port,
                    protocol: Protocol::Tcp,
                    at,
                    how: DialIn::Label(label.clone()),
                    text: label.clone(),
                });
            }
            if out.len() > MAX_BEHIND {
                return out;
            }
        }
    }
    out
}

/// The last part of an image's name, without its tag.
fn last_part(service: &Service) -> &str {
    let image = service.image.as_ref().map_or("", |image| image.as_str());
    let name = image.rsplit('/').next().unwrap_or_default();
    name.split(['@', ':']).next().unwrap_or_default()
}

/// What one kind of proxy reads of a service.
type Ask = fn(&Service, &Images) -> Asked;
/// The label, where it stands, and the port.
type Asked = Option<(String, Place, Option<u16>)>;

fn traefik(service: &Service, images: &Images) -> Asked {
    let off = |value: &str| value == "false";
    if every_label(service).any(|(key, value)| key == "traefik.enable" && off(value)) {
        return None;
    }
    let port = every_label(service).find(|(key, _)| {
        key.starts_with("traefik.")
            && (key.ends_with(".loadbalancer.server.port") || *key == "traefik.port")
    });
    if let Some((key, value)) = port {
        return Some((key.clone(), value.at, value.parse().ok()));
    }
    let asked = |key: &str| {
        key == "traefik.enable"
            || ["traefik.http.", "traefik.tcp.", "traefik.frontend."]
                .iter()
                .any(|start| key.starts_with(start))
    };
    // In a swarm the port has to be named.
    let (key, value) = service.labels.iter().find(|(key, _)| asked(key))?;
    Some((key.clone(), value.at, lowest(service, images)))
}

/// `labels`, which proxies of one engine read, then `deploy.labels`, which those of a swarm read.
fn every_label(service: &Service) -> impl Iterator<Item = (&String, &At<String>)> {
    service.labels.iter().chain(&service.deploy_labels)
}

/// The port that a proxy takes when no label names one: the lowest that is known.
fn lowest(service: &Service, images: &Images) -> Option<u16> {
    let tcp = listen::known(service, images).filter(|listen| listen.protocol == Protocol::Tcp);
    tcp.map(|listen| listen.port).min()
}

fn caddy(service: &Service, _: &Images) -> Asked {
    let (key, value) = every_label(service).find(|(key, value)| {
        key.starts_with("caddy") && key.ends_with("reverse_proxy") && value.contains("{{upstreams")
    })?;
    let (_, rest) = value.split_once("{{upstreams")?;
    let (inside, _) = rest.split_once("}}")?;
    let numbers = inside.split_whitespace();
    let port = numbers.filter_map(|word| word.parse().ok()).next();
    Some((key.clone(), value.at, port.or(Some(80))))
}

fn nginx(service: &Service, images: &Images) -> Asked {
    let variable = |name: &str| service.environment.get(name)?.as_ref();
    let host = variable("VIRTUAL_HOST").filter(|host| !host.is_empty())?;
    let port = variable("VIRTUAL_PORT").and_then(|port| port.parse().ok());
    let port = port.or_else(|| lowest(service, images)).or(Some(80));
    Some(("VIRTUAL_HOST".to_owned(), host.at, port))
}
