//! The matrix as a graph for drawing tools: services on their networks, and published ports in between.
//!
//! A line from a service to a network carries the ports that every other service on that network reaches
//! there; a port that only some reach is an arrow of its own. Published ports are nodes: into them lead
//! lines from the places, and from the services (or a whole network) that have no other way. A service's
//! way out and the host's way to a container are the grid's to say.

use std::collections::{BTreeMap, BTreeSet};

use super::facts::fact;
use super::grid::runs;
use super::{Cell, How, Matrix, Verdict};

/// The graph.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Graph {
    /// The services.
    pub services: Vec<String>,
    /// The networks that a service is on, and whether they are internal.
    pub networks: Vec<(String, bool)>,
    /// The places that a line begins at.
    pub places: Vec<String>,
    /// A service on a network.
    pub members: Vec<Member>,
    /// What only some reach: from, to, ports.
    pub arrows: Vec<(String, String, String)>,
    /// Published ports.
    pub openings: Vec<Opening>,
}

impl Graph {
    /// How many lines there are to draw.
    #[must_use]
    pub fn lines(&self) -> usize {
        let openings = self.openings.iter();
        let into = openings.map(|o| 1 + o.places.len() + o.networks.len() + o.services.len());
        self.members.len() + self.arrows.len() + into.sum::<usize>()
    }
}

/// A service on a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The service.
    pub service: String,
    /// The network.
    pub network: String,
    /// The ports that all others on the network reach.
    pub ports: String,
    /// It has ports, and others on the network, but none of them reaches any.
    pub cut_off: bool,
}

/// Published ports of one service that the same ends go in by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    /// `5000→80`, or the port alone where both are the same.
    pub ports: String,
    /// The service.
    pub to: String,
    /// Places.
    pub places: Vec<String>,
    /// Networks all of whose services have no other way.
    pub networks: Vec<String>,
    /// Services that have no other way, and are not on such a network.
    pub services: Vec<String>,
}

/// The graph of a matrix.
#[must_use]
pub fn graph(matrix: &Matrix) -> Graph {
    let members = members_of(matrix);
    let mut graph = Graph::default();
    let services = matrix.ends.iter().filter(|end| end.service);
    graph.services = services.map(|end| end.name.clone()).collect();
    let known = matrix.networks.iter();
    let used = known.filter(|network| members.contains_key(network.key.as_str()));
    graph.networks = used
        .map(|network| (network.key.clone(), network.internal))
        .collect();
    let mut told: BTreeSet<(&str, String)> = BTreeSet::new();
    for (network, _) in &graph.networks {
        for &service in &members[network.as_str()] {
            let member = member(
                matrix,
                service,
                network,
                &members[network.as_str()],
                &mut told,
            );
            graph.members.push(member);
        }
    }
    graph.arrows = arrows(matrix, &told);
    graph.openings = openings(matrix, &members);
    join_outside(&mut graph.openings);
    let used: BTreeSet<&String> = graph
        .openings
        .iter()
        .flat_map(|opening| &opening.places)
        .collect();
    graph.places = ["host", "lan", "internet", OUTSIDE, ROUTED]
        .into_iter()
        .map(str::to_owned)
        .filter(|place| used.contains(place))
        .collect();
    graph
}

/// `lan` and `internet` where they go in by the same ports.
const OUTSIDE: &str = "lan, internet";

/// `lan` where it goes in by a route that it has added.
const ROUTED: &str = "lan by a route";

/// Of [`super::PLACES`], or `lan` with its route.
fn is_place(name: &str) -> bool {
    super::PLACES.contains(&name) || name == ROUTED
}

/// Makes one place of `lan` and `internet` if neither goes in anywhere without the other.
fn join_outside(openings: &mut [Opening]) {
    let has = |opening: &Opening, place: &str| opening.places.iter().any(|has| has == place);
    if !openings
        .iter()
        .all(|opening| has(opening, "lan") == has(opening, "internet"))
    {
        return;
    }
    for opening in openings {
        if has(opening, "lan") {
            opening.places.retain(|place| place == "host");
            opening.places.push(OUTSIDE.to_owned());
        }
    }
}

/// The services on each network.
fn members_of(matrix: &Matrix) -> BTreeMap<&str, Vec<&str>> {
    let mut members: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for end in matrix.ends.iter().filter(|end| end.service) {
        let networks = end
            .addresses
            .iter()
            .filter_map(|own| own.network.as_deref());
        for network in networks.collect::<BTreeSet<_>>() {
            members.entry(network).or_default().push(&end.name);
        }
    }
    members
}

/// Whether a cell is open by an address of the target on `network`.
fn open_on(cell: &Cell, network: &str) -> bool {
    cell.open()
        .any(|way| way.how.is_direct() && way.network.as_deref() == Some(network))
}

fn member<'a>(
    matrix: &'a Matrix,
    service: &str,
    network: &str,
    members: &[&str],
    told: &mut BTreeSet<(&'a str, String)>,
) -> Member {
    // Whoever is alone on a network is asked what it answers to itself.
    let alone = members.len() == 1;
    let others = |from: &str| members.contains(&from) && (alone || from != service);
    let cells = matrix.cells.iter().filter(|cell| cell.to == service);
    let mut ports: BTreeMap<(&str, Option<u16>), Vec<&Cell>> = BTreeMap::new();
    for cell in cells.filter(|cell| others(&cell.from) && cell.port.is_some()) {
        let port = (cell.protocol.as_str(), cell.port);
        ports.entry(port).or_default().push(cell);
    }
    let all = ports
        .iter()
        .filter(|(_, cells)| cells.iter().all(|cell| open_on(cell, network)));
    let all: Vec<_> = all.collect();
    for (_, cells) in &all {
        told.extend(
            cells
                .iter()
                .map(|cell| (cell.from.as_str(), fact(cell).target())),
        );
    }
    let none = ports.values().flatten().all(|cell| !open_on(cell, network));
    Member {
        service: service.to_owned(),
        network: network.to_owned(),
        ports: runs(all.iter().map(|(port, _)| **port)).join(" "),
        cut_off: none && !ports.is_empty(),
    }
}

/// A protocol, and a port of it.
type Asked<'a> = (&'a str, Option<u16>);

/// What is open between services and no network's line has told.
fn arrows(matrix: &Matrix, told: &BTreeSet<(&str, String)>) -> Vec<(String, String, String)> {
    let mut ports: BTreeMap<(&str, &str), Vec<Asked<'_>>> = BTreeMap::new();
    for cell in &matrix.cells {
        let between = cell.from != cell.to
            && [&cell.from, &cell.to].iter().all(|name| {
                let end = matrix.end(name);
                end.is_some_and(|end| end.service && !end.addresses.is_empty())
            });
        let news = || !told.contains(&(cell.from.as_str(), fact(cell).target()));
        if between && cell.verdict == Verdict::Open && cell.port.is_some() && news() {
            let ports = ports.entry((&cell.from, &cell.to)).or_default();
            ports.push((&cell.protocol, cell.port));
        }
    }
    let arrows = ports.into_iter().map(|((from, to), ports)| {
        (
            from.to_owned(),
            to.to_owned(),
            runs(ports.into_iter()).join(" "),
        )
    });
    arrows.collect()
}

/// A host's port (none: drawn by the engine) in front of a service's.
type Mapping<'a> = (&'a str, Option<u16>, Option<u16>);

fn openings(matrix: &Matrix, members: &BTreeMap<&str, Vec<&str>>) -> Vec<Opening> {
    let mut entries: BTreeMap<(&str, Mapping<'_>), BTreeSet<&str>> = BTreeMap::new();
    for cell in &matrix.cells {
        let place = super::PLACES.contains(&cell.from.as_str());
        let own = cell.from == cell.to || cell.port.is_none();
        if own || !(place || cell.verdict == Verdict::Door) {
            continue;
        }
        for way in cell.open().filter(|way| !way.how.is_direct()) {
            // The host is told of where it alone goes in.
            if cell.from == "host" && way.how != How::Loopback {
                continue;
            }
            let host_port = (!way.ephemeral).then(|| way.at.port());
            let mapping = (cell.protocol.as_str(), host_port, cell.port);
            let from = entries.entry((cell.to.as_str(), mapping)).or_default();
            from.insert(match way.how {
                How::Route => ROUTED,
                _ => &cell.from,
            });
        }
    }
    let mut groups: BTreeMap<(&str, BTreeSet<&str>), Vec<Mapping<'_>>> = BTreeMap::new();
    for ((to, mapping), mut from) in entries {
        if from.len() > 1 {
            from.remove("host");
        }
        groups.entry((to, from)).or_default().push(mapping);
    }
    let openings = groups.into_iter().map(|((to, from), mappings)| {
        let places = from.iter().filter(|from| is_place(from));
        let whole = members
            .iter()
            .filter(|(_, all)| all.iter().all(|one| from.contains(one)));
        let whole: Vec<&str> = whole.map(|(network, _)| *network).collect();
        let rest = from.iter().filter(|from| {
            let inside = |network: &&str| members[*network].contains(*from);
            !is_place(from) && !whole.iter().any(inside)
        });
        let owned = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect::<Vec<_>>();
        Opening {
            ports: mapped(&mappings),
            to: to.to_owned(),
            places: owned(places.copied().collect()),
            services: owned(rest.copied().collect()),
            networks: owned(whole),
        }
    });
    openings.collect()
}

fn mapped(mappings: &[Mapping<'_>]) -> String {
    let (same, other): (Vec<&Mapping<'_>>, Vec<_>) =
        mappings.iter().partition(|(_, host, port)| host == port);
    let mut words = runs(
        same.into_iter()
            .map(|(protocol, _, port)| (*protocol, *port)),
    );
    for (protocol, host, port) in other {
        let host = host.map_or_else(|| "ephemeral".to_owned(), |host| host.to_string());
        let port = runs([(*protocol, *port)].into_iter()).join("");
        words.push(format!("{host}→{port}"));
    }
    words.join(" ")
}
