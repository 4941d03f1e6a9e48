//! What a matrix says without the addresses that the next start may change.
//!
//! Each open cell is one [`Fact`] with its ways as words: `name on NETWORK`, `address on NETWORK`,
//! `shared` (loopback of a namespace that both live in), `host:PORT`, `loopback:PORT`, `gateway:PORT` (at
//! the host's address on some bridge), `route on NETWORK` (an address, once `lan` has a route to that
//! network through the host); a 6 behind the first word is IPv6, a port that the engine drew is
//! `ephemeral`, ` sees WHO` is the source that the server saw, left out where it is the client itself at
//! an address of the target, and ` (some)` means that other addresses of the target on the same network
//! did not answer. Of places among themselves nothing is said: the project has no part in it.

use std::collections::{BTreeMap, BTreeSet};

use super::fact::{Fact, is_plain};
use super::{Cell, How, Matrix, PLACES, Way};

/// The facts of a project.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The engine's version.
    pub engine: String,
    /// The ways of `lan` by an added route are among those of [`Facts::open`].
    pub routes: bool,
    /// What is open, and by which ways.
    pub open: BTreeMap<Fact, BTreeSet<String>>,
}

impl Facts {
    /// Those of a matrix.
    #[must_use]
    pub fn of(matrix: &Matrix) -> Self {
        let open = matrix.cells.iter().filter(|cell| {
            !(PLACES.contains(&cell.from.as_str()) && PLACES.contains(&cell.to.as_str()))
        });
        Self {
            engine: matrix.engine.clone(),
            routes: true,
            open: open
                .map(|cell| (fact(cell), ways(cell)))
                .filter(|(_, ways)| !ways.is_empty())
                .collect(),
        }
    }
}

impl Facts {
    /// The same without the ways by an added route, and without what is open by no other.
    #[must_use]
    pub fn without_routes(mut self) -> Self {
        self.open.retain(|_, ways| {
            ways.retain(|way| !is_route(way));
            !ways.is_empty()
        });
        self.routes = false;
        self
    }
}

/// What a cell would say if it were open.
#[must_use]
pub fn fact(cell: &Cell) -> Fact {
    Fact {
        from: cell.from.clone(),
        to: cell.to.clone(),
        port: cell.port,
        protocol: cell.protocol.clone(),
    }
}

/// The open ways of a cell in words; empty if none is.
#[must_use]
pub fn ways(cell: &Cell) -> BTreeSet<String> {
    let mut closed: BTreeSet<String> = BTreeSet::new();
    for way in &cell.ways {
        if !way.open && !way.how.is_door() {
            closed.insert(kind(way));
        }
    }
    let open = cell.open().map(|way| {
        let kind = kind(way);
        let some = if closed.contains(&kind) {
            " (some)"
        } else {
            ""
        };
        let sees = sees(way).map(|who| format!(" sees {who}"));
        format!("{kind}{some}{}", sees.unwrap_or_default())
    });
    open.collect()
}

/// The words of a way, the same for all that differ in the address only.
pub(super) fn kind(way: &Way) -> String {
    let six = if way.at.is_ipv6() { "6" } else { "" };
    let port = if way.ephemeral {
        "ephemeral".to_owned()
    } else {
        way.at.port().to_string()
    };
    let on = |word: &str| match &way.network {
        Some(network) => format!("{word}{six} on {}", plain(network)),
        None => format!("{word}{six}"),
    };
    match way.how {
        How::Name => on("name"),
        How::Address => on("address"),
        How::Route => on("route"),
        How::Shared => format!("shared{six}"),
        How::Loopback => format!("loopback{six}:{port}"),
        How::Host => format!("host{six}:{port}"),
        How::Gateway if way.at.port() == 0 => format!("gateway{six}"),
        How::Gateway => format!("gateway{six}:{port}"),
    }
}

/// Whether a way, as it is written here, is by an added route.
fn is_route(way: &str) -> bool {
    let word = way.split(' ').next().unwrap_or_default();
    matches!(word, "route" | "route6")
}

/// Whom the server saw, if that has to be said: it is not the client itself at an address of the target.
pub(super) fn sees(way: &Way) -> Option<&str> {
    let seen = way.sees.as_ref()?;
    (way.how.is_door() || seen.who != "client").then_some(seen.who.as_str())
}

/// Whether a way, as it is written here, leads through a published port.
#[must_use]
pub fn is_door(way: &str) -> bool {
    let word = way.split([':', ' ']).next().unwrap_or_default();
    matches!(
        word.strip_suffix('6').unwrap_or(word),
        "host" | "loopback" | "gateway"
    )
}

/// A name with everything that could end it written as `%XX`.
fn plain(name: &str) -> String {
    let mut text = String::new();
    for c in name.chars() {
        if is_plain(c) {
            text.push(c);
        } else {
            let mut bytes = [0; 4];
            for byte in c.encode_utf8(&mut bytes).bytes() {
                text.push_str(&format!("%{byte:02X}"));
            }
        }
    }
    text
}
