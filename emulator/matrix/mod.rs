//! Who reaches whom in a project, every way tried with real packets.
//!
//! Rows are the services and the three places `host`, `lan` and `internet`; columns are each (service, port), then
//! the places. A cell is tried by name, by every address of the target, and by its published ports at every address
//! of the host: the uplink's, the gateway of each bridge, loopback for the host itself. `lan` is asked once more with
//! a route to the container's network through the host: nobody has such a route unasked, but everybody on the segment
//! may add it. [`fill`] gives a [`Matrix`], which is plain data; the renderers, one to a file, only read it.
//! [`facts`] says it without the addresses that the next start may change: what a lock file and a difference are made
//! of.

pub mod csv;
pub mod fact;
pub mod facts;
pub mod graph;
pub mod graphviz;
pub mod grid;
pub mod json;
pub mod lock;
pub mod markdown;
pub mod mermaid;
pub mod svg;
pub mod table;

mod ask;
mod askers;
pub(crate) mod probe;
mod route;
mod targets;

use core::net::{IpAddr, SocketAddr};

use emulator_compose::Project;
use serde::Serialize;

use crate::project::Up;
pub(crate) use ask::{One, conclude, engine, one};
pub use ask::{fill, fill_together};

/// The places, in the order in which they follow the services.
pub const PLACES: [&str; 3] = ["host", "lan", "internet"];

/// How a service is called in a matrix: its name, but `service/host` if the name is that of a place.
#[must_use]
pub fn label(service: &str) -> String {
    if PLACES.contains(&service) {
        format!("service/{service}")
    } else {
        service.to_owned()
    }
}

/// A project of a world, and what became of it there.
#[derive(Clone, Copy, Debug)]
pub struct Member<'a> {
    /// What its services are told apart by from those of other projects: `KEY/SERVICE`; none if it is alone.
    pub key: Option<&'a str>,
    /// The project.
    pub project: &'a Project,
    /// How it runs.
    pub up: &'a Up,
}

impl Member<'_> {
    /// How a service of it is called in a matrix.
    #[must_use]
    pub fn label(&self, service: &str) -> String {
        match self.key {
            Some(key) => format!("{key}/{service}"),
            None => label(service),
        }
    }
}

/// How much of a cell is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Until one way answers, the most usual ones first; of the host's addresses those on the asker's own
    /// networks and the uplink.
    First,
    /// Every way, those of `lan` by an added route too.
    Every,
}

/// The answers of a whole project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Matrix {
    /// The project's name.
    pub project: String,
    /// The engine's version, as `--engine` names it.
    pub engine: String,
    /// The seed of the run.
    pub seed: u64,
    /// The rows and columns: services in file order, then the places.
    pub ends: Vec<End>,
    /// The networks that carry them, in the order in which they were made.
    pub networks: Vec<Carrier>,
    /// Row by row.
    pub cells: Vec<Cell>,
    /// What did not start, with Docker's words.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<(String, String)>,
}

impl Matrix {
    /// The row or column of this name.
    #[must_use]
    pub fn end(&self, name: &str) -> Option<&End> {
        self.ends.iter().find(|end| end.name == name)
    }
}

/// A row and column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct End {
    /// A [`label`] of a service, or a place.
    pub name: String,
    /// It is a service.
    pub service: bool,
    /// How many of its containers run.
    pub containers: usize,
    /// What it is known to listen on; empty if nobody states a port.
    pub ports: Vec<Listening>,
    /// Its addresses, with the network that each one is on.
    pub addresses: Vec<Addressed>,
}

/// A port that a service is known to listen on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Listening {
    /// The port.
    pub port: u16,
    /// `tcp`, `udp` or `sctp`.
    pub protocol: String,
    /// The addresses that it is bound to; empty is every address.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<IpAddr>,
    /// How that is known: `stated`, `published`, `exposed`, `healthcheck`, `image`.
    pub known: String,
    /// Where that is said: `file:line:column`, or the source of a table's entry.
    pub at: Option<String>,
}

/// An address of a container or a place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Addressed {
    /// The network by its key in the file, else by its name; none for what is on no network.
    pub network: Option<String>,
    /// The address.
    pub address: IpAddr,
}

/// A network as it was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Carrier {
    /// Its key in the file, else its name.
    pub key: String,
    /// Its name in the engine.
    pub name: String,
    /// No way in or out.
    pub internal: bool,
    /// Its subnets.
    pub subnets: Vec<String>,
    /// The host's addresses on it.
    pub gateways: Vec<IpAddr>,
}

/// One question of the matrix and its answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cell {
    /// Who asks.
    pub from: String,
    /// Who is asked.
    pub to: String,
    /// The port; none of a service whose ports nobody states, and where a ping is sent.
    pub port: Option<u16>,
    /// `tcp`, `udp`, `sctp`; `icmp` where a ping is sent.
    pub protocol: String,
    /// The answer.
    pub verdict: Verdict,
    /// Why it is not open, or not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The name that was looked up, if the asker looks names up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What the name gave, addresses of others too.
    pub resolved: Vec<IpAddr>,
    /// Everything that was tried.
    pub ways: Vec<Way>,
}

impl Cell {
    /// The ways that answered.
    pub fn open(&self) -> impl Iterator<Item = &Way> {
        self.ways.iter().filter(|way| way.open)
    }

    /// Whether an address of the target itself answered: no published port was needed.
    #[must_use]
    pub fn direct(&self) -> bool {
        self.open().any(|way| way.how.is_direct())
    }

    /// The port as it is written behind a name: `:80`, `:53/udp`, nothing for a ping.
    #[must_use]
    pub fn suffix(&self) -> String {
        match (self.port, self.protocol.as_str()) {
            (Some(port), "tcp") => format!(":{port}"),
            (Some(port), protocol) => format!(":{port}/{protocol}"),
            (None, _) => String::new(),
        }
    }
}

/// The answer of a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Something answered at an address of the target.
    Open,
    /// Something answered, but only at a published port: a side door between containers, the front door
    /// for those outside.
    Door,
    /// Something answered, but only once `lan` had a route to the target's network.
    Route,
    /// Nothing answered.
    Closed,
    /// Nobody states a port, or the protocol is not carried. The ways say whether an address answers a ping.
    Unknown,
}

impl Verdict {
    /// As it is written.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Door => "door",
            Self::Route => "route",
            Self::Closed => "closed",
            Self::Unknown => "unknown",
        }
    }
}

/// One address that was tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Way {
    /// What kind of way it is.
    pub how: How,
    /// The address, and the port (0 for a ping).
    pub at: SocketAddr,
    /// The network that has the address, if it is the target's own one or a gateway's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// The host's port was drawn by the engine.
    #[serde(skip_serializing_if = "core::ops::Not::not")]
    pub ephemeral: bool,
    /// It answered.
    pub open: bool,
    /// Whom the server saw.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sees: Option<Seen>,
    /// Why it did not answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Its first and last packet in a capture, as Wireshark numbers them, if somebody looked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frames: Option<[u64; 2]>,
}

/// What kind of way leads to a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum How {
    /// An address of the target that its name gave.
    Name,
    /// An address of the target that its name did not give, or that was asked for without a name.
    Address,
    /// Loopback of a namespace that both share.
    Shared,
    /// A published port at the host's loopback.
    Loopback,
    /// A published port at an address of the host's uplink.
    Host,
    /// A published port at the host's address on a bridge.
    Gateway,
    /// An address of the target, to which `lan` was given a route through the host.
    Route,
}

impl How {
    /// It leads to an address of the target itself.
    #[must_use]
    pub const fn is_direct(self) -> bool {
        matches!(self, Self::Name | Self::Address | Self::Shared)
    }

    /// It leads through a published port.
    #[must_use]
    pub const fn is_door(self) -> bool {
        matches!(self, Self::Loopback | Self::Host | Self::Gateway)
    }
}

/// The client as the server sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Seen {
    /// The source address.
    pub address: IpAddr,
    /// Whose it is: `client`, `host`, `gateway(NETWORK)` or `other`.
    pub who: String,
}
