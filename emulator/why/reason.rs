//! The one reason as a sentence, the lines of the compose file that it comes from, and the steps at both
//! ends of a way: the name, the address, and the program's socket.

use core::net::IpAddr;

use emulator_compose::{
    Images, Known, Listen, Network, NetworkMode, Place, Port, Project, Service, listens,
};
use ipnet::IpNet;
use switch::DropReason;

use super::change::{Asked, ICC, mode};
use super::record::Carried;
use super::steps::{Kind, Step, Trip};
use super::{About, Cause};
use crate::matrix::{Cell, How, Verdict, Way};

/// What became of the name.
pub(super) fn name_step(about: &About<'_>) -> Option<Step> {
    let (asked, cell) = (about.asked, about.cell);
    let name = cell.name.as_ref()?;
    let text = if cell.resolved.is_empty() {
        let who = nameless(about).or_else(|| {
            let to = asked.to.filter(|to| !to.networks.is_empty())?;
            Some(format!("it is known on {} only", networks(to)))
        });
        let who = who.map(|who| format!(": {who}")).unwrap_or_default();
        format!("{name} does not resolve at {}{who}", cell.from)
    } else {
        let addresses: Vec<String> = cell.resolved.iter().map(IpAddr::to_string).collect();
        format!("{name} is {}", addresses.join(", "))
    };
    Some(Step::new(Kind::Name, text, Vec::new()))
}

/// Why a service has no name for the asker, or the asker no names at all.
fn nameless(about: &About<'_>) -> Option<String> {
    let Asked { from, to, .. } = about.asked;
    let (from_home, to_home) = (about.asked.from_home?, about.asked.to_home?);
    let (from, to) = (from?, to?);
    Some(match (&from_home.network_mode, &to_home.network_mode) {
        _ if to.name != to_home.name => format!(
            "who lives in the namespace of {0} has no name of its own; call {0}",
            to_home.name
        ),
        (NetworkMode::Host, _) => {
            format!(
                "{} asks the host's own DNS, which knows no services",
                from.name
            )
        }
        (NetworkMode::None, _) => format!("{} is on no network", from.name),
        (NetworkMode::Bridge, _) => "on the default bridge nobody has a name".to_owned(),
        (_, NetworkMode::Host) => format!("{} is on the host itself, not on a network", to.name),
        (_, NetworkMode::None) => format!("{} is on no network", to.name),
        (_, NetworkMode::Bridge) => format!(
            "{} is on the default bridge, where nobody has a name",
            to.name
        ),
        _ => return None,
    })
}

/// The target lives in the host's namespace.
fn at_host(about: &About<'_>) -> bool {
    let home = about.asked.to_home;
    home.is_some_and(|home| home.network_mode == NetworkMode::Host)
}

/// What the address is that is called.
pub(super) fn address_step(about: &About<'_>) -> Option<Step> {
    let (cell, way) = (about.cell, about.way?);
    let (to, address) = (&cell.to, way.at.ip());
    let port = port(cell);
    let network = way.network.as_deref();
    let text = match (way.how, network) {
        (How::Name | How::Address, Some(network)) if to == "host" => {
            format!("{address} is the host's on {network}")
        }
        (How::Name | How::Address | How::Route, Some(network)) => {
            format!("{address} is {to}'s on {network}")
        }
        (How::Name | How::Address | How::Route, None) => return None,
        (How::Shared, _) => format!("{address}: both live in one namespace"),
        (How::Loopback, _) => {
            format!("{} of the host leads to {port} of {to}", way.at)
        }
        (How::Host | How::Gateway, _) if at_host(about) => {
            format!("{address} is the host's, in whose namespace {to} lives")
        }
        (How::Host, _) => {
            format!(
                "{address} is the host's; its port {} leads to {port} of {to}",
                way.at.port()
            )
        }
        (How::Gateway, network) => format!(
            "{address} is the host's on {}; its port {} leads to {port} of {to}",
            network.unwrap_or("a network"),
            way.at.port()
        ),
    };
    Some(Step::new(Kind::Address, text, Vec::new()))
}

/// What the program at the other end does, if a packet gets there.
pub(super) fn socket_step(about: &About<'_>) -> Option<Step> {
    let (asked, cell, way) = (about.asked, about.cell, about.way?);
    let does = match (way.open, way.reason.as_deref()) {
        (true, _) => "answers",
        (false, Some("refused")) => "refuses",
        (false, Some("closed")) => "is not there: docker-proxy accepts, and closes",
        _ => return None,
    };
    let (Some(to), Some((port, protocol))) = (asked.to, asked.port) else {
        let text = format!("{} {does}", cell.to);
        return Some(Step::new(Kind::Socket, text, Vec::new()));
    };
    let socket = match known(to, port, protocol.as_str(), about.images) {
        None => format!("{} is not known to listen on {port}/{protocol}", to.name),
        Some(listen) => {
            let address = listen.address;
            let address = address.map_or_else(|| "every address".to_owned(), |own| own.to_string());
            let origin = origin(about.project, &listen.known);
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

/// Both are on networks, and on none together: whose networks these are.
fn apart<'p>(asked: Asked<'p>) -> Option<(&'p Service, &'p Service)> {
    let (from, to) = (asked.from_home?, asked.to_home?);
    let known = !from.networks.is_empty() && !to.networks.is_empty();
    let shared = keys(from).iter().any(|key| keys(to).contains(key));
    (known && !shared).then_some((from, to))
}

/// A service, and whose namespace it lives in if that is another's.
fn lodger(service: Option<&Service>, home: &Service) -> String {
    match service {
        Some(service) if service.name != home.name => {
            format!("{} (in the namespace of {})", service.name, home.name)
        }
        _ => home.name.clone(),
    }
}

/// The one reason, a sentence without its full stop.
pub(super) fn sentence(about: &About<'_>, trip: Option<&Trip<'_>>) -> String {
    let (asked, cell, way) = (about.asked, about.cell, about.way);
    let to = &cell.to;
    match (cell.verdict, way) {
        (Verdict::Unknown, _) if cell.protocol == "sctp" => {
            "SCTP is modelled, but not carried".to_owned()
        }
        (Verdict::Unknown, _) => format!("Nobody states a port of {to}"),
        (Verdict::Open | Verdict::Door | Verdict::Route, Some(way)) if way.open => {
            let reason = open(about, way);
            match nameless(about).filter(|_| cell.name.is_some() && cell.resolved.is_empty()) {
                Some(why) if way.how != How::Shared => {
                    format!("{reason}, but not by the name {to}: {why}")
                }
                _ => reason,
            }
        }
        (_, way) => {
            if let Some((a, b)) = apart(asked) {
                let mut text = format!(
                    "{} is on {}, {} on {}: they share no network",
                    lodger(asked.from, a),
                    networks(a),
                    lodger(asked.to, b),
                    networks(b)
                );
                if asked.to.is_some_and(|to| to.name != b.name) {
                    text.push_str(&format!(
                        "; and {to} has no name of its own, call {}",
                        b.name
                    ));
                }
                return text;
            }
            if let Some(offline) = offline(asked) {
                return format!("{offline} is on no network (`network_mode: none`)");
            }
            match way {
                Some(way) => closed(about, way, trip),
                None if asked.from.is_none() && asked.to.is_some() => unpublished(about, trip),
                None => unresolved(about),
            }
        }
    }
}

/// No address came of the name, and there is no other way to try.
fn unresolved(about: &About<'_>) -> String {
    let (asked, cell) = (about.asked, about.cell);
    let from = &cell.from;
    let network = internal(about.project, asked.from_home).filter(|_| asked.to.is_none());
    match (network, &cell.name) {
        (Some(network), _) => format!("{from} has no way out: {network} is internal"),
        (None, None) => format!("{from} has no address of {} to try", cell.to),
        (None, Some(name)) => match nameless(about) {
            Some(why) => format!("the name {name} does not resolve at {from}: {why}"),
            None => format!("the name {name} does not resolve at {from}"),
        },
    }
}

/// Who has loopback only.
fn offline(asked: Asked<'_>) -> Option<&str> {
    let homes = [asked.from_home, asked.to_home].into_iter().flatten();
    let mut none = homes.filter(|home| home.network_mode == NetworkMode::None);
    none.next().map(|home| home.name.as_str())
}

fn open(about: &About<'_>, way: &Way) -> String {
    let (from, to) = (&about.cell.from, &about.cell.to);
    let at = way.at;
    match (way.how, &way.network) {
        (How::Loopback | How::Host | How::Gateway, _) if at_host(about) => {
            format!(
                "{to} lives in the host's namespace: {at} is its own, and Docker filters nothing there"
            )
        }
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

fn closed(about: &About<'_>, way: &Way, trip: Option<&Trip<'_>>) -> String {
    let (project, asked, cell) = (about.project, about.asked, about.cell);
    let (from, to) = (&cell.from, &cell.to);
    let address = way.at.ip();
    let word = cell.reason.as_deref().or(way.reason.as_deref());
    match word.unwrap_or_default() {
        "not-published" | "loopback-only" => unpublished(about, trip),
        "isolated" => "Docker lets nothing pass from one of its networks to another".to_owned(),
        "internal" | "net-unreachable" | "no-such-name"
            if internal(project, asked.from_home).is_some() =>
        {
            let network = internal(project, asked.from_home).unwrap_or_default();
            format!("{from} has no way out: {network} is internal")
        }
        "internal" if internal(project, asked.to_home).is_some() => {
            let network = internal(project, asked.to_home).unwrap_or_default();
            format!("{to} has no way in: {network} is internal")
        }
        "net-unreachable" => format!("{from} has no route to {address}"),
        "icc-off" => "Containers of this network may not talk to each other".to_owned(),
        "direct-access" => format!(
            "Docker drops what comes to {address}, an address of a container, from another interface"
        ),
        "refused" | "closed" | "reset" => unheard(about),
        "host-unreachable" => silent(about, address, trip),
        "filtered" => "A rule of Docker's firewall drops it".to_owned(),
        other => lost(trip).unwrap_or_else(|| match way.at.port() {
            0 => format!("{address} does not answer ({other})"),
            _ => format!("{} does not answer ({other})", way.at),
        }),
    }
}

/// Nobody has the address to which the packet goes next.
fn silent(about: &About<'_>, address: IpAddr, trip: Option<&Trip<'_>>) -> String {
    let hop = trip.and_then(Trip::silent).unwrap_or(address);
    let mut text = format!("Nobody answers for {hop}");
    if hop != address {
        text.push_str(&format!(", by which {} goes to {address}", about.cell.from));
    }
    match elsewhere(about.project, about.asked.from_home, trip) {
        Some(why) => format!("{text}: {why}"),
        None => text,
    }
}

/// All that was asked arrived, and the answer died.
fn lost(trip: Option<&Trip<'_>>) -> Option<String> {
    let lost = trip?.died_answering()?;
    let why = lost.comment.as_deref()?.strip_prefix("dropped: ")?;
    let text = format!(
        "It arrives, and the answer dies at {}: {why}",
        lost.interface
    );
    let Carried::Ip { to, .. } = lost.what else {
        return Some(text);
    };
    let unknown = why == DropReason::NoRoute.text();
    Some(match unknown {
        true => format!("{text} of {}, which nothing masquerades", to.ip()),
        false => text,
    })
}

/// A network that is a segment of the machine's own, on which the machine of this world is not.
fn elsewhere(
    project: &Project,
    service: Option<&Service>,
    trip: Option<&Trip<'_>>,
) -> Option<String> {
    let own = trip?.lab.host_addresses();
    let mut members = service?.networks.iter();
    members.find_map(|member| {
        let network = project.network(&member.key)?;
        let driver = network.driver.as_ref()?.value.as_str();
        let option = |key: &str| network.driver_opts.get(key).map(|value| value.value.as_str());
        let mode = option("ipvlan_mode").unwrap_or("l2");
        let is_segment = driver == "macvlan" || driver == "ipvlan" && mode == "l2";
        // A VLAN of the parent is another segment by intention.
        if !is_segment || option("parent")?.contains('.') {
            return None;
        }
        let subnets = network.ipam.iter();
        let mut subnets = subnets.filter_map(|subnet| subnet.subnet.as_ref()?.value.parse().ok());
        let subnet: IpNet = subnets.next()?;
        let host = own.iter().find(|own| own.is_ipv4() == subnet.addr().is_ipv4())?;
        (!own.iter().any(|own| subnet.contains(own))).then(|| {
            format!(
                "{} is a {driver} on {subnet}, where the machine ({host}) is not; `--host` describes yours",
                network.key
            )
        })
    })
}

/// The packet arrives where nobody listens.
fn unheard(about: &About<'_>) -> String {
    let (asked, cell) = (about.asked, about.cell);
    let to = &cell.to;
    if let Some(address) = bound(asked, about.images) {
        return format!("The packet arrives, but {to} listens on {address} alone");
    }
    let port = port(cell);
    let others = asked.to.map(|to| listens(to, about.images));
    let mut others: Vec<String> = others
        .iter()
        .flatten()
        .map(|listen| match listen.protocol.as_str() {
            "tcp" => listen.port.to_string(),
            protocol => format!("{}/{protocol}", listen.port),
        })
        .collect();
    others.dedup();
    let others: Vec<&str> = others.iter().map(String::as_str).collect();
    match others.as_slice() {
        [] => format!("The packet arrives, but nobody listens on {port} of {to}"),
        others if others.contains(&port.as_str()) => {
            format!("The packet arrives, but nobody listens on {port} of {to} there")
        }
        others => format!(
            "The packet arrives, but nobody listens on {port} of {to}: it is known to listen on {}",
            list(others)
        ),
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
    let mut ports = asked.to_home?.ports.iter();
    ports.find(|own| own.target == port && own.protocol == protocol)
}

fn unpublished(about: &About<'_>, trip: Option<&Trip<'_>>) -> String {
    let (project, asked, cell) = (about.project, about.asked, about.cell);
    let to = &cell.to;
    match published(asked).map(|own| (own, &own.host_ip)) {
        None if cell.port.is_none() => format!("{to} has no address that {} could ping", cell.from),
        None => {
            let elsewhere = elsewhere(project, asked.to_home, trip);
            let why = elsewhere.map_or_else(String::new, |why| format!(": {why}"));
            format!(
                "{to} does not publish {}, and {} has no other way to it{why}",
                port(cell),
                cell.from
            )
        }
        Some((own, Some(ip))) => format!(
            "The port is published at {ip} of the host alone ({})",
            project.locate(own.at)
        ),
        Some((own, None)) if internal(project, asked.to_home).is_some() => format!(
            "{} publishes it, but {to} is on internal networks alone, where that is without effect",
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
pub(super) fn causes(about: &About<'_>) -> Vec<Cause> {
    let (asked, cell, way) = (about.asked, about.cell, about.way);
    let word = cell
        .reason
        .as_deref()
        .or_else(|| way.and_then(|way| way.reason.as_deref()));
    let word = word.unwrap_or_default();
    let open = way.is_some_and(|way| way.open);
    let mut causes = Causes {
        project: about.project,
        told: Vec::new(),
    };
    causes.modes(asked);
    match way {
        Some(way) if way.open && !way.how.is_direct() => causes.published(asked),
        Some(way) if way.open && cell.to == "internet" => causes.ways_out(asked),
        Some(way) if way.open => {
            let via = way.network.as_deref();
            causes.members(asked, |key| via == Some(key));
        }
        _ if apart(asked).is_some() => causes.members(asked, |_| true),
        _ if matches!(word, "not-published" | "loopback-only") => causes.published(asked),
        _ => {}
    }
    if !open && apart(asked).is_none() && offline(asked).is_none() {
        match word {
            "internal" | "net-unreachable" | "no-address" | "no-such-name" | "not-published" => {
                causes.internal(asked);
            }
            "icc-off" => causes.icc(),
            "refused" | "closed" => causes.socket(asked, about.images),
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
    fn tell(&mut self, text: String, at: Place) {
        let cause = Cause::new(self.project, text, at);
        self.told
            .extend(cause.filter(|cause| !self.told.contains(cause)));
    }

    /// Who lives in somebody else's namespace, or in none of the project's networks.
    fn modes(&mut self, asked: Asked<'_>) {
        for service in [asked.from, asked.to].into_iter().flatten() {
            let name = &service.name;
            let text = match &service.network_mode {
                NetworkMode::Networks => continue,
                NetworkMode::Bridge => {
                    format!("{name} is on the default bridge, where nobody has a name")
                }
                NetworkMode::Host => format!("{name} lives in the host's namespace"),
                NetworkMode::None => format!("{name} is on no network"),
                NetworkMode::Service(home) => format!("{name} lives in the namespace of {home}"),
                NetworkMode::Container(home) => {
                    format!("{name} lives in the namespace of container {home}")
                }
                other @ NetworkMode::Named(_) => format!("{name} is on {}", mode(other)),
            };
            self.tell(text, service.network_mode_at.unwrap_or(service.at));
        }
    }

    fn published(&mut self, asked: Asked<'_>) {
        if let (Some(own), Some(to)) = (published(asked), asked.to_home) {
            self.tell(format!("{} publishes it", to.name), own.at);
        }
    }

    fn members(&mut self, asked: Asked<'_>, told: impl Fn(&str) -> bool) {
        for service in [asked.from_home, asked.to_home].into_iter().flatten() {
            for member in service.networks.iter().filter(|member| told(&member.key)) {
                self.tell(format!("{} is on {}", service.name, member.key), member.at);
            }
        }
    }

    /// The networks that lead out.
    fn ways_out(&mut self, asked: Asked<'_>) {
        if let Some(service) = asked.from_home {
            for member in &service.networks {
                let network = self.project.network(&member.key);
                if network.is_some_and(|network| !network.internal) {
                    let text = format!(
                        "{} is on {}, which is not internal",
                        service.name, member.key
                    );
                    self.tell(text, member.at);
                }
            }
        }
    }

    fn internal(&mut self, asked: Asked<'_>) {
        for service in [asked.from_home, asked.to_home].into_iter().flatten() {
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
