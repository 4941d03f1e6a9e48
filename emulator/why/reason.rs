//! The one reason as a sentence, the lines of the compose file that it comes from, and the steps at both
//! ends of a way: the name and the program's socket.

use core::net::IpAddr;

use emulator_compose::{Images, Known, Listen, Network, Port, Project, Service, listens};

use super::Cause;
use super::change::{Asked, ICC};
use super::steps::{Kind, Step};
use crate::matrix::{Cell, How, Verdict, Way};

/// What became of the name.
pub(super) fn name_step(asked: Asked<'_>, cell: &Cell) -> Option<Step> {
    let name = cell.name.as_ref()?;
    let text = if cell.resolved.is_empty() {
        let who = asked
            .to
            .filter(|to| !to.networks.is_empty())
            .map(|to| format!(": it is known on {} only", networks(to)));
        format!(
            "{name} does not resolve at {}{}",
            cell.from,
            who.unwrap_or_default()
        )
    } else {
        let addresses: Vec<String> = cell.resolved.iter().map(IpAddr::to_string).collect();
        format!("{name} is {}", addresses.join(", "))
    };
    Some(Step::new(Kind::Name, text, Vec::new()))
}

/// What the program at the other end does, if a packet gets there.
pub(super) fn socket_step(
    project: &Project,
    asked: Asked<'_>,
    images: &Images,
    cell: &Cell,
    way: &Way,
) -> Option<Step> {
    let does = match (way.open, way.reason.as_deref()) {
        (true, _) => "answers",
        (false, Some("refused")) => "refuses",
        (false, Some("closed")) => "is not there: docker-proxy accepts, and closes",
        _ => return None,
    };
    let (Some(to), Some((port, protocol))) = (asked.to, asked.port) else {
        return Some(Step::new(
            Kind::Socket,
            format!("{} {does}", cell.to),
            Vec::new(),
        ));
    };
    let socket = match known(to, port, protocol.as_str(), images) {
        None => format!("{} is not known to listen on {port}/{protocol}", to.name),
        Some(listen) => {
            let address = listen.address;
            let address = address.map_or_else(|| "every address".to_owned(), |own| own.to_string());
            let origin = origin(project, &listen.known);
            format!(
                "{} listens on {port}/{protocol} of {address} ({origin})",
                to.name
            )
        }
    };
    let sees = way.sees.as_ref();
    let sees = sees.map(|seen| format!(" and sees {} ({})", seen.address, seen.who));
    let text = format!("{socket}: it {does}{}", sees.unwrap_or_default());
    Some(Step::new(Kind::Socket, text, Vec::new()))
}

fn origin(project: &Project, known: &Known) -> String {
    match (known, known.place()) {
        (Known::Image(image), _) => format!("table of images, {image}"),
        (_, Some(at)) => format!("{}, {}", known.word(), project.locate(at)),
        (_, None) => known.word().to_owned(),
    }
}

fn known(service: &Service, port: u16, protocol: &str, images: &Images) -> Option<Listen> {
    let all = listens(service, images);
    all.into_iter()
        .find(|listen| listen.port == port && listen.protocol.as_str() == protocol)
}

/// `a`, `a and b`, `a, b and c`.
fn list(words: &[&str]) -> String {
    match words {
        [] => "no network".to_owned(),
        [one] => (*one).to_owned(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}

fn keys(service: &Service) -> Vec<&str> {
    let members = service.networks.iter();
    members.map(|member| member.key.as_str()).collect()
}

fn networks(service: &Service) -> String {
    list(&keys(service))
}

/// Both are on networks, and on none together.
fn apart<'p>(asked: Asked<'p>) -> Option<(&'p Service, &'p Service)> {
    let (from, to) = (asked.from?, asked.to?);
    let known = !from.networks.is_empty() && !to.networks.is_empty();
    let shared = keys(from).iter().any(|key| keys(to).contains(key));
    (known && !shared).then_some((from, to))
}

/// The one reason, a sentence without its full stop.
pub(super) fn sentence(
    project: &Project,
    asked: Asked<'_>,
    images: &Images,
    cell: &Cell,
    way: Option<&Way>,
) -> String {
    let (from, to) = (&cell.from, &cell.to);
    match (cell.verdict, way) {
        (Verdict::Unknown, _) if cell.protocol == "sctp" => {
            "SCTP is modelled, but not carried".to_owned()
        }
        (Verdict::Unknown, _) => format!("Nobody states a port of {to}"),
        (Verdict::Open | Verdict::Door | Verdict::Route, Some(way)) if way.open => open(cell, way),
        (_, way) => {
            if let Some((from, to)) = apart(asked) {
                return format!(
                    "{} is on {}, {} on {}: they share no network",
                    from.name,
                    networks(from),
                    to.name,
                    networks(to)
                );
            }
            match way {
                Some(way) => closed(project, asked, images, cell, way),
                None if asked.from.is_none() && asked.to.is_some() => {
                    unpublished(project, asked, cell)
                }
                None => format!("{from} has no address of {to} to try"),
            }
        }
    }
}

fn open(cell: &Cell, way: &Way) -> String {
    let (from, to) = (&cell.from, &cell.to);
    let at = way.at;
    match (way.how, &way.network) {
        (How::Shared, _) => format!("{from} and {to} share one network namespace"),
        (How::Name | How::Address, Some(network)) if from == "host" => {
            format!("The host has an address of its own on {network}, as on every bridge network")
        }
        (How::Name | How::Address, Some(network)) if from == to => {
            format!("{to} reaches itself on {network}")
        }
        (How::Name | How::Address, Some(network)) => {
            format!("{to} is on {network}, and {from} has a way there that nothing filters")
        }
        (How::Route, _) => format!("{from} has added a route to {at}, and nothing filters it"),
        (How::Name | How::Address, None) => {
            format!("{from} has a way there that nothing filters")
        }
        (How::Loopback, _) => format!("The port is published at {at} of this host"),
        (How::Host, _) => {
            format!("The port is published at {at} of this host, for whoever reaches that address")
        }
        (How::Gateway, network) => format!(
            "The port is published on every address of this host, {at} among them, its own on {}: a published port \
             joins networks that are apart otherwise",
            network.as_deref().unwrap_or("a network")
        ),
    }
}

fn closed(project: &Project, asked: Asked<'_>, images: &Images, cell: &Cell, way: &Way) -> String {
    let (from, to) = (&cell.from, &cell.to);
    let address = way.at.ip();
    let word = cell.reason.as_deref().or(way.reason.as_deref());
    match word.unwrap_or_default() {
        "not-published" | "loopback-only" => unpublished(project, asked, cell),
        "isolated" => "Docker lets nothing pass from one of its networks to another".to_owned(),
        "internal" | "net-unreachable" | "no-such-name"
            if internal(project, asked.from).is_some() =>
        {
            let network = internal(project, asked.from).unwrap_or_default();
            format!("{from} has no way out: {network} is internal")
        }
        "internal" if internal(project, asked.to).is_some() => {
            let network = internal(project, asked.to).unwrap_or_default();
            format!("{to} has no way in: {network} is internal")
        }
        "net-unreachable" => format!("{from} has no route to {address}"),
        "icc-off" => "Containers of this network may not talk to each other".to_owned(),
        "direct-access" => format!(
            "Docker drops what comes to {address}, an address of a container, from another interface"
        ),
        "refused" | "closed" | "reset" => match bound(asked, images) {
            Some(address) => format!("The packet arrives, but {to} listens on {address} alone"),
            None => format!(
                "The packet arrives, but nobody listens on {} of {to}",
                port(cell)
            ),
        },
        "host-unreachable" => format!("Nobody answers for {address}"),
        "filtered" => "A rule of Docker's firewall drops it".to_owned(),
        other => format!("{} does not answer ({other})", way.at),
    }
}

fn port(cell: &Cell) -> String {
    cell.suffix().trim_start_matches(':').to_owned()
}

/// The address that the target binds, if it is one alone.
fn bound(asked: Asked<'_>, images: &Images) -> Option<IpAddr> {
    let (port, protocol) = asked.port?;
    known(asked.to?, port, protocol.as_str(), images)?
        .address
        .filter(|address| !address.is_unspecified())
}

fn published<'p>(asked: Asked<'p>) -> Option<&'p Port> {
    let (port, protocol) = asked.port?;
    let mut ports = asked.to?.ports.iter();
    ports.find(|own| own.target == port && own.protocol == protocol)
}

fn unpublished(project: &Project, asked: Asked<'_>, cell: &Cell) -> String {
    let to = &cell.to;
    match published(asked).map(|own| (own, &own.host_ip)) {
        None => format!(
            "{to} does not publish {}, and {} has no other way to it",
            port(cell),
            cell.from
        ),
        Some((own, Some(ip))) => format!(
            "The port is published at {ip} of the host alone ({})",
            project.locate(own.at)
        ),
        Some((own, None)) => format!(
            "{} publishes it, but the port is not open on the host",
            project.locate(own.at)
        ),
    }
}

/// All of a service's networks are internal: the first one.
fn internal(project: &Project, service: Option<&Service>) -> Option<String> {
    let mut members = service?.networks.iter();
    let is_internal = |key: &str| {
        let network: Option<&Network> = project.network(key);
        network.is_some_and(|network| network.internal)
    };
    let first = members.next().filter(|member| is_internal(&member.key))?;
    members
        .all(|member| is_internal(&member.key))
        .then(|| first.key.clone())
}

/// The lines that it comes from.
pub(super) fn causes(
    project: &Project,
    asked: Asked<'_>,
    images: &Images,
    cell: &Cell,
    way: Option<&Way>,
) -> Vec<Cause> {
    let word = cell
        .reason
        .as_deref()
        .or_else(|| way.and_then(|way| way.reason.as_deref()));
    let word = word.unwrap_or_default();
    let open = way.is_some_and(|way| way.open);
    let mut causes = Causes {
        project,
        told: Vec::new(),
    };
    match way {
        Some(way) if way.open && !way.how.is_direct() => causes.published(asked),
        Some(way) if way.open => {
            let via = way.network.as_deref();
            causes.members(asked, |key| via == Some(key));
        }
        _ if apart(asked).is_some() => causes.members(asked, |_| true),
        _ if matches!(word, "not-published" | "loopback-only") => causes.published(asked),
        _ => {}
    }
    if !open && apart(asked).is_none() {
        match word {
            "internal" | "net-unreachable" | "no-such-name" => causes.internal(asked),
            "icc-off" => causes.icc(),
            "refused" | "closed" => causes.socket(asked, images),
            _ => {}
        }
    }
    causes.told
}

struct Causes<'p> {
    project: &'p Project,
    told: Vec<Cause>,
}

impl Causes<'_> {
    fn tell(&mut self, text: String, at: emulator_compose::Place) {
        let cause = Cause::new(self.project, text, at);
        self.told
            .extend(cause.filter(|cause| !self.told.contains(cause)));
    }

    fn published(&mut self, asked: Asked<'_>) {
        if let (Some(own), Some(to)) = (published(asked), asked.to) {
            self.tell(format!("{} publishes it", to.name), own.at);
        }
    }

    fn members(&mut self, asked: Asked<'_>, told: impl Fn(&str) -> bool) {
        for service in [asked.from, asked.to].into_iter().flatten() {
            for member in service.networks.iter().filter(|member| told(&member.key)) {
                self.tell(format!("{} is on {}", service.name, member.key), member.at);
            }
        }
    }

    fn internal(&mut self, asked: Asked<'_>) {
        for service in [asked.from, asked.to].into_iter().flatten() {
            for member in &service.networks {
                let network = self.project.network(&member.key);
                if let Some(network) = network.filter(|network| network.internal) {
                    self.tell(format!("{} is internal", network.key), network.at);
                }
            }
        }
    }

    fn icc(&mut self) {
        for network in &self.project.networks {
            if let Some(icc) = network.driver_opts.get(ICC) {
                self.tell(
                    format!("no talk between containers of {}", network.key),
                    icc.at,
                );
            }
        }
    }

    fn socket(&mut self, asked: Asked<'_>, images: &Images) {
        let Some((to, (port, protocol))) = asked.to.zip(asked.port) else {
            return;
        };
        let listen = known(to, port, protocol.as_str(), images);
        match listen.and_then(|listen| listen.known.place()) {
            Some(at) => self.tell(format!("where {} listens", to.name), at),
            None => self.tell(format!("{} says nothing of this port", to.name), to.at),
        }
    }
}
