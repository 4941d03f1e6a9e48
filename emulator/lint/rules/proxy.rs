//! `proxy-network`: a reverse proxy that finds its services by their labels or variables dials them over a
//! network that both are on; where there is none, or where it takes another one, it answers 502 or 504.

use emulator_compose::{NetworkMode, Place, Service};

use crate::lint::finding::Level;
use crate::lint::known::image_name;
use crate::lint::view::{Draft, View};

/// A proxy that looks for its services by itself.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Caddy,
    Nginx,
    Traefik,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Caddy, Self::Nginx, Self::Traefik];

    /// Whether a service is such a proxy.
    fn is(self, service: &Service) -> bool {
        let image = service.image.as_ref().map_or("", |image| image_name(image));
        match self {
            Self::Caddy => image == "caddy-docker-proxy",
            Self::Nginx => image == "nginx-proxy",
            Self::Traefik => image == "traefik",
        }
    }

    /// Where a service says that the proxy is to serve it.
    fn asked(self, service: &Service) -> Option<Place> {
        let label = |fits: fn(&str, &str) -> bool| {
            let mut labels = service.labels.iter().chain(&service.deploy_labels);
            let found = labels.find(|(key, value)| fits(key, &value.value));
            found.map(|(_, value)| value.at)
        };
        match self {
            Self::Caddy => label(|key, _| key == "caddy" || key.starts_with("caddy_")),
            Self::Nginx => {
                let value = service.environment.get("VIRTUAL_HOST")?.as_ref()?;
                Some(value.at)
            }
            Self::Traefik => {
                let off = label(|key, value| key == "traefik.enable" && value == "false");
                let on = label(|key, value| {
                    key == "traefik.enable" && value == "true"
                        || key.starts_with("traefik.http.routers.")
                        || key.starts_with("traefik.tcp.routers.")
                        || key.starts_with("traefik.udp.routers.")
                });
                on.filter(|_| off.is_none())
            }
        }
    }
}

pub(in crate::lint) fn check(view: &View<'_>, out: &mut Vec<Draft>) {
    for kind in Kind::ALL {
        let services = || view.project.services.iter();
        let proxies: Vec<&Service> = services().filter(|service| kind.is(service)).collect();
        for service in services().filter(|service| !kind.is(service)) {
            let Some(at) = kind.asked(service) else {
                continue;
            };
            if let Some(proxy) = stranded(view, service, &proxies) {
                let message = format!(
                    "{} is to be served by {} and shares no network with it",
                    service.name, proxy.name
                );
                let draft = view.service(service, at, message);
                out.push(
                    draft
                        .level(Level::Error)
                        .and(view, proxy.at, "the proxy")
                        .fix("put it on the proxy's network as well"),
                );
            } else if kind == Kind::Traefik {
                traefik(view, service, &proxies, at, out);
            }
        }
    }
}

/// The proxy, if none of them can dial the service.
fn stranded<'a>(
    view: &View<'_>,
    service: &Service,
    proxies: &[&'a Service],
) -> Option<&'a Service> {
    let reaches = |proxy: &Service| {
        let on_host = view.owner(proxy).network_mode == NetworkMode::Host;
        on_host
            || view.owner(service).network_mode == NetworkMode::Host
            || view.share(proxy, service)
    };
    match proxies.iter().any(|proxy| reaches(proxy)) {
        true => None,
        false => proxies.first().copied(),
    }
}

const LABEL: &str = "traefik.docker.network";

/// Traefik takes one address of a service: of the network that a label or its own option names, by the
/// engine's name, else of any one.
fn traefik(
    view: &View<'_>,
    service: &Service,
    proxies: &[&Service],
    at: Place,
    out: &mut Vec<Draft>,
) {
    if service.network_mode != NetworkMode::Networks {
        return;
    }
    let members = service.networks.iter();
    let networks: Vec<_> = members
        .filter_map(|member| view.project.network(&member.key))
        .collect();
    let own = service.labels.get(LABEL);
    if let Some(label) = own.or_else(|| service.deploy_labels.get(LABEL)) {
        if label.contains('$') || networks.iter().any(|network| network.name == label.value) {
            return;
        }
        let by_key = networks.iter().find(|network| network.key == label.value);
        let fix = match by_key {
            Some(network) => format!(
                "the engine calls that network {}: write that, or give the network this `name`",
                network.name
            ),
            None => "write the engine's name of a network that the service is on".to_owned(),
        };
        let message = format!(
            "{} is on no network that the engine calls {}: Traefik takes any of its addresses",
            service.name, label.value
        );
        out.push(view.service(service, label.at, message).fix(fix));
        return;
    }
    let told = proxies.iter().any(|proxy| {
        let command = proxy.command.iter().flat_map(|command| &command.value);
        let mut words = command.map(|word| word.to_lowercase());
        let option = words.any(|word| word.contains("providers.docker.network"));
        let mut names = proxy.environment.keys();
        option || names.any(|name| name == "TRAEFIK_PROVIDERS_DOCKER_NETWORK")
    });
    // On every network that the service is on the proxy is, too: any address will do.
    let all_shared = proxies.iter().any(|proxy| {
        let on = |key: &str| proxy.networks.iter().any(|member| member.key == key);
        service.networks.iter().all(|member| on(&member.key))
    });
    if networks.len() < 2 || told || all_shared {
        return;
    }
    let message = format!(
        "{} is on {} networks, and Traefik is not told which one to take",
        service.name,
        networks.len()
    );
    // A proxy of another project may have been told by its own options.
    let level = match proxies.is_empty() {
        true => Level::Note,
        false => Level::Warning,
    };
    out.push(view.service(service, at, message).level(level).fix(format!(
        "write the label `{LABEL}: NAME` with the engine's name of the network that the proxy is on"
    )));
}
