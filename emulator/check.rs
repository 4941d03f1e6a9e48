//! `check`: the matrix in one line a cell, with the way that answered first, and the dials of the files.

use core::net::{IpAddr, SocketAddr};
use std::collections::BTreeMap;

use serde::Serialize;

use crate::dials::Dialled;
use crate::matrix::{self, Carrier, How, PLACES, Verdict, Way};

/// One question of the matrix and its answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cell {
    /// Who asks: a service, `host`, `lan` or `internet`.
    pub from: String,
    /// Who is asked: a service, `internet` or `host`.
    pub to: String,
    /// The port; none is known of a service whose ports nobody states.
    pub port: Option<u16>,
    /// `tcp`, `udp`, `sctp`, or `icmp` of the host; none without a port.
    pub protocol: Option<String>,
    /// The name that was looked up, if the asker looks names up.
    pub name: Option<String>,
    /// What the name gave.
    pub resolved: Vec<IpAddr>,
    /// Whether anything answered; nothing is known without a port, or of a protocol that is not carried.
    pub connected: Option<bool>,
    /// The network, or the published address, through which it answered.
    pub via: Option<String>,
    /// Why it did not.
    pub reason: Option<String>,
}

/// The answers of a whole project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// The project's name.
    pub project: String,
    /// Which engine was modelled.
    pub engine: String,
    /// The seed of the run.
    pub seed: u64,
    /// Row by row.
    pub cells: Vec<Cell>,
    /// What the files say is dialled.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dials: Vec<Dialled>,
    /// Services that did not start, with Docker's words.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<(String, String)>,
}

/// The summary of a matrix; of the places `lan` is not asked.
#[must_use]
pub fn summary(matrix: matrix::Matrix, dials: Vec<Dialled>) -> Summary {
    let mut cells = matrix.cells;
    let mut rows: BTreeMap<&str, usize> = BTreeMap::new();
    for (at, end) in matrix.ends.iter().enumerate() {
        rows.entry(&end.name).or_insert(at);
    }
    let stands = |cell: &matrix::Cell| Some((*rows.get(cell.from.as_str())?, place(cell)?));
    cells.retain(|cell| stands(cell).is_some());
    cells.sort_by_cached_key(stands);
    let cells = cells.into_iter();
    let cells = cells.map(|cell| short(&matrix.networks, cell)).collect();
    Summary {
        project: matrix.project,
        engine: matrix.engine,
        seed: matrix.seed,
        cells,
        dials,
        failed: matrix.failed,
    }
}

/// Where a cell stands in its row: services before places; none of a place that is not asked.
fn place(cell: &matrix::Cell) -> Option<usize> {
    match cell.to.as_str() {
        "internet" => Some(1),
        "host" => Some(2),
        to if PLACES.contains(&to) => None,
        _ => Some(0),
    }
}

fn short(networks: &[Carrier], cell: matrix::Cell) -> Cell {
    let stated = cell.port.is_some() || cell.verdict != Verdict::Unknown;
    let open = (cell.verdict != Verdict::Unknown)
        .then(|| cell.open().next())
        .flatten();
    Cell {
        connected: (cell.verdict != Verdict::Unknown).then_some(open.is_some()),
        via: open.map(|way| via(networks, &cell, way)),
        from: cell.from,
        to: cell.to,
        port: cell.port,
        protocol: stated.then_some(cell.protocol),
        name: cell.name,
        resolved: cell.resolved,
        reason: cell.reason,
    }
}

fn via(networks: &[Carrier], cell: &matrix::Cell, way: &Way) -> String {
    let name = |key: &str| {
        let mut known = networks.iter().filter(|network| network.key == key);
        known
            .next()
            .map_or_else(|| key.to_owned(), |network| network.name.clone())
    };
    let network = || way.network.as_deref().map(name);
    let at = || match way.at.port() {
        0 => way.at.ip().to_string(),
        _ => SocketAddr::to_string(&way.at),
    };
    match way.how {
        _ if cell.to == "internet" => "default route".to_owned(),
        How::Address if cell.to == "host" => format!("host {}", at()),
        How::Name | How::Address | How::Route => network().unwrap_or_else(|| "route".to_owned()),
        How::Shared => format!("loopback {}", at()),
        How::Loopback | How::Host => format!("host {}", at()),
        How::Gateway => format!("gateway {} {}", network().unwrap_or_default(), at()),
    }
}
