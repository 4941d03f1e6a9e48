//! The matrix folded for people: one mark for each pair of ends, and lists of what a mark cannot say.

use std::collections::{BTreeMap, BTreeSet};

use super::facts::{fact, kind, sees};
use super::{Cell, End, How, Matrix, Verdict, Way};

/// How many names a list shows before it says how many more there are.
const NAMES: usize = 8;

/// What a row and a column have to do with each other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// Ports that answer at the target's own address: `80`, `53u` for UDP, `8000-8010` for a run.
    pub open: Vec<String>,
    /// Ports that answer only where they are published.
    pub doors: Vec<String>,
    /// Ports that answer only once `lan` has a route to the target's network.
    pub routes: Vec<String>,
    /// Something is closed.
    pub closed: bool,
    /// Ports are not known; true if an address answers a ping.
    pub unknown: Option<bool>,
    /// The ends are the same.
    pub same: bool,
}

impl Mark {
    /// The mark in one word or a few.
    #[must_use]
    pub fn text(&self) -> String {
        let doors = self.doors.iter().map(|port| format!("{port}*"));
        let routes = self.routes.iter().map(|port| format!("{port}+"));
        let open = self.open.iter().cloned();
        let mut words: Vec<String> = open.chain(doors).chain(routes).collect();
        if self.unknown == Some(true) {
            words.push("?".to_owned());
        }
        if words.is_empty() {
            words.push(if self.same { "." } else { "-" }.to_owned());
        }
        words.join(" ")
    }
}

/// The cells of each row and column, in the order of the ends.
#[must_use]
pub fn pairs(matrix: &Matrix) -> Vec<Vec<Vec<&Cell>>> {
    let ends = matrix.ends.iter().enumerate();
    let at: BTreeMap<&str, usize> = ends.map(|(at, end)| (end.name.as_str(), at)).collect();
    let width = matrix.ends.len();
    let mut cells: Vec<Vec<Vec<&Cell>>> = vec![vec![Vec::new(); width]; width];
    for cell in &matrix.cells {
        let pair = (at.get(cell.from.as_str()), at.get(cell.to.as_str()));
        if let (Some(&row), Some(&column)) = pair {
            cells[row][column].push(cell);
        }
    }
    cells
}

/// The marks of a matrix, row by row, in the order of its ends.
#[must_use]
pub fn marks(matrix: &Matrix) -> Vec<Vec<Mark>> {
    let pairs = pairs(matrix);
    let rows = pairs.iter().enumerate();
    rows.map(|(row, columns)| {
        let columns = columns.iter().enumerate();
        columns
            .map(|(column, cells)| mark(cells, row == column))
            .collect()
    })
    .collect()
}

fn mark(cells: &[&Cell], same: bool) -> Mark {
    let ports = |verdict: Verdict| {
        let ports = cells.iter().filter(|cell| cell.verdict == verdict);
        runs(ports.map(|cell| (cell.protocol.as_str(), cell.port)))
    };
    let unknown: Vec<&&Cell> = cells
        .iter()
        .filter(|cell| cell.verdict == Verdict::Unknown)
        .collect();
    Mark {
        open: ports(Verdict::Open),
        doors: ports(Verdict::Door),
        routes: ports(Verdict::Route),
        closed: cells.iter().any(|cell| cell.verdict == Verdict::Closed),
        unknown: (!unknown.is_empty())
            .then(|| unknown.iter().any(|cell| cell.open().next().is_some())),
        same,
    }
}

/// Ports of several protocols in words: `ping`, `80`, `8000-8010`, `53u` for UDP.
pub(super) fn runs<'a>(ports: impl Iterator<Item = (&'a str, Option<u16>)>) -> Vec<String> {
    let mut by_protocol: BTreeMap<&str, BTreeSet<u16>> = BTreeMap::new();
    let mut words = Vec::new();
    for (protocol, port) in ports {
        match port {
            Some(port) => {
                by_protocol.entry(protocol).or_default().insert(port);
            }
            None => words.push("ping".to_owned()),
        }
    }
    for (protocol, ports) in by_protocol {
        let letter = if protocol == "udp" { "u" } else { "" };
        let spans = spans(&ports).into_iter();
        words.extend(spans.map(|span| format!("{span}{letter}")));
    }
    words
}

/// Ports in words, those that follow each other as `FIRST-LAST`.
fn spans(ports: &BTreeSet<u16>) -> Vec<String> {
    let mut words = Vec::new();
    let mut ports = ports.iter().copied().peekable();
    while let Some(first) = ports.next() {
        let mut last = first;
        while let Some(next) = ports.next_if(|&next| Some(next) == last.checked_add(1)) {
            last = next;
        }
        words.push(if first == last {
            first.to_string()
        } else {
            format!("{first}-{last}")
        });
    }
    words
}

/// A line of a list: targets, what is said of them, and of whom it is true.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Targets with their ports.
    pub targets: Vec<String>,
    /// Ways, or a reason.
    pub what: String,
    /// Who asks.
    pub from: Vec<String>,
}

/// What answers only at published ports, and at which; `service` takes the services' side doors or the
/// places' front doors.
#[must_use]
pub fn doors(matrix: &Matrix, service: bool) -> Vec<Entry> {
    let doors = matrix
        .cells
        .iter()
        .filter(|cell| cell.verdict == Verdict::Door && is_service(matrix, &cell.from) == service);
    grouped(doors.map(|cell| (cell, via(cell, |way| way.how.is_door()))))
}

/// What answers `lan` once it has a route to the target's network, whether it is published too or not.
#[must_use]
pub fn routes(matrix: &Matrix) -> Vec<Entry> {
    let by_route = |way: &Way| way.how == How::Route;
    let open = matrix.cells.iter().filter(|cell| cell.open().any(by_route));
    grouped(open.map(|cell| (cell, via(cell, by_route))))
}

/// The open ways of a cell of which something holds: those that show the server the same source together.
fn via(cell: &Cell, which: impl Fn(&Way) -> bool) -> String {
    let mut groups: Vec<(Option<&str>, Vec<String>)> = Vec::new();
    for way in cell.open().filter(|way| which(way)) {
        let (kind, sees) = (kind(way), sees(way));
        match groups.iter_mut().find(|(who, _)| *who == sees) {
            Some((_, kinds)) if kinds.contains(&kind) => {}
            Some((_, kinds)) => kinds.push(kind),
            None => groups.push((sees, vec![kind])),
        }
    }
    let texts = groups.into_iter().map(|(sees, kinds)| {
        let sees = sees.map(|who| format!(" sees {who}"));
        kinds.join(" ") + &sees.unwrap_or_default()
    });
    texts.collect::<Vec<_>>().join(", ")
}

/// What is closed, and why.
#[must_use]
pub fn reasons(matrix: &Matrix) -> Vec<Entry> {
    let closed = matrix
        .cells
        .iter()
        .filter(|cell| cell.verdict == Verdict::Closed);
    grouped(closed.map(|cell| (cell, cell.reason.clone().unwrap_or_default())))
}

fn is_service(matrix: &Matrix, name: &str) -> bool {
    matrix.end(name).is_some_and(|end| end.service)
}

/// Cells of which the same is said to the same askers in one entry, in the order of the first of each.
fn grouped<'a>(cells: impl Iterator<Item = (&'a Cell, String)>) -> Vec<Entry> {
    // What is said of one target, and to whom.
    let mut said: Vec<(&Cell, String, Vec<String>)> = Vec::new();
    let mut known: BTreeMap<(String, String), usize> = BTreeMap::new();
    for (cell, what) in cells {
        let key = (fact(cell).target(), what.clone());
        let at = *known.entry(key).or_insert_with(|| {
            said.push((cell, what, Vec::new()));
            said.len() - 1
        });
        said[at].2.push(cell.from.clone());
    }
    // Targets of which the same is said, a host's port that is the target's own being the same.
    let mut merged: Vec<(Vec<&Cell>, String, Vec<String>)> = Vec::new();
    let mut known: BTreeMap<(String, Vec<String>), usize> = BTreeMap::new();
    for (cell, what, from) in said {
        let own = cell.port.map(|port| format!(":{port}")).unwrap_or_default();
        let ends = |rest: &str| !rest.starts_with(|c: char| c.is_ascii_digit());
        let general = match what.split_once(&own) {
            Some((_, rest)) if !own.is_empty() && ends(rest) => what.replace(&own, SAME),
            _ => what.clone(),
        };
        match known.get(&(general.clone(), from.clone())) {
            Some(&at) => {
                merged[at].0.push(cell);
                merged[at].1 = general;
            }
            None => {
                known.insert((general, from.clone()), merged.len());
                merged.push((vec![cell], what, from));
            }
        }
    }
    let entries = merged.into_iter().map(|(cells, what, from)| Entry {
        targets: targets(&cells),
        what,
        from,
    });
    entries.collect()
}

/// In the place of a host's port that is the target's own.
const SAME: &str = ":(same)";

/// Targets with their ports, in the order of the first of each; ports in a row as a run.
fn targets(cells: &[&Cell]) -> Vec<String> {
    let mut ends: Vec<((&str, &str), BTreeSet<u16>)> = Vec::new();
    let mut at: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for cell in cells {
        let end = (cell.to.as_str(), cell.protocol.as_str());
        let at = *at.entry(end).or_insert_with(|| {
            ends.push((end, BTreeSet::new()));
            ends.len() - 1
        });
        ends[at].1.extend(cell.port);
    }
    let mut out = Vec::new();
    for ((to, protocol), ports) in ends {
        let suffix = if protocol == "tcp" {
            String::new()
        } else {
            format!("/{protocol}")
        };
        if ports.is_empty() {
            out.push(format!("{to}{suffix}"));
        }
        let spans = spans(&ports).into_iter();
        out.extend(spans.map(|span| format!("{to}:{span}{suffix}")));
    }
    out
}

/// Where the ports of a service came from, one line each; runs that were said together are one.
#[must_use]
pub fn ports(end: &End) -> Vec<(String, String)> {
    let mut said: Vec<(&str, &str, &str, Vec<u16>)> = Vec::new();
    for port in &end.ports {
        let at = port.at.as_deref().unwrap_or_default();
        let protocol = port.protocol.as_str();
        match said.last_mut() {
            Some((p, known, place, ports))
                if (*p, *known, *place) == (protocol, port.known.as_str(), at) =>
            {
                ports.push(port.port);
            }
            _ => said.push((protocol, &port.known, at, vec![port.port])),
        }
    }
    let line = |(protocol, known, at, ports): (&str, &str, &str, Vec<u16>)| {
        let words = runs(ports.into_iter().map(|port| (protocol, Some(port))));
        let suffix = if protocol == "sctp" { "/sctp" } else { "" };
        let what = format!("{}:{}{suffix}", end.name, words.join(","));
        (what, format!("{known} {at}").trim_end().to_owned())
    };
    said.into_iter().map(line).collect()
}

/// Names, at most a few of them.
#[must_use]
pub fn names(names: &[String]) -> String {
    match names.get(..NAMES) {
        Some(first) if names.len() > NAMES => {
            format!("{} and {} more", first.join(", "), names.len() - NAMES)
        }
        _ => names.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_in_a_row_are_a_run() {
        let ports = [
            ("udp", Some(53)),
            ("tcp", Some(81)),
            ("tcp", Some(80)),
            ("tcp", Some(65535)),
            ("tcp", Some(443)),
            ("icmp", None),
        ];
        assert_eq!(
            runs(ports.into_iter()),
            ["ping", "80-81", "443", "65535", "53u"]
        );
    }

    #[test]
    fn long_lists_of_names_are_cut_and_say_so() {
        let all: Vec<String> = (0..10).map(|n| n.to_string()).collect();
        assert_eq!(names(&all), "0, 1, 2, 3, 4, 5, 6, 7 and 2 more");
        assert_eq!(names(&all[..8]), "0, 1, 2, 3, 4, 5, 6, 7");
        assert_eq!(names(&[]), "");
    }
}
