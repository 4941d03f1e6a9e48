//! What a change opens, closes and moves: two projects, or a project and its lock file, fact by fact.
//!
//! *Exposure* is what another machine on the host's segment or the internet reaches, and what the host
//! reaches by a published port (a container's own address it always reaches). Everything else is
//! *inside*. Each fact is in one list at most: gained, lost, or moved when it holds on both sides by
//! other ways or with another source.

pub mod markdown;
pub mod text;

use core::net::IpAddr;
use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::matrix::fact::Fact;
use crate::matrix::facts::{self, Facts};
use crate::matrix::{Matrix, Verdict};

/// One of the two that are compared.
#[derive(Clone, Debug)]
pub struct Side {
    /// How it is called: a file, a revision.
    pub title: String,
    /// What holds.
    pub facts: Facts,
    /// Why the rest does not hold; a lock file does not say.
    pub matrix: Option<Matrix>,
}

impl Side {
    /// A project that was tried.
    #[must_use]
    pub fn of(title: String, matrix: Matrix) -> Self {
        Self {
            title,
            facts: Facts::of(&matrix),
            matrix: Some(matrix),
        }
    }

    /// A lock file.
    #[must_use]
    pub const fn locked(title: String, facts: Facts) -> Self {
        Self {
            title,
            facts,
            matrix: None,
        }
    }

    fn without_routes(self) -> Self {
        Self {
            facts: self.facts.without_routes(),
            ..self
        }
    }

    /// Why a fact does not hold, if that is known.
    fn why(&self, fact: &Fact) -> Option<String> {
        let matrix = self.matrix.as_ref()?;
        for name in [&fact.from, &fact.to] {
            if matrix.end(name).is_none() {
                return Some(format!("no {name}"));
            }
        }
        let cells = matrix.cells.iter();
        let mut cells = cells.filter(|cell| cell.from == fact.from && cell.to == fact.to);
        let cell = cells.find(|cell| cell.port == fact.port && cell.protocol == fact.protocol);
        match cell {
            None if fact.port.is_none() => Some("its ports are stated".to_owned()),
            None => Some("nobody states the port".to_owned()),
            Some(cell) if cell.verdict == Verdict::Unknown => {
                Some("no answer to a ping".to_owned())
            }
            Some(cell) => cell.reason.clone(),
        }
    }
}

/// What differs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Diff {
    /// The title of the old side.
    pub old: String,
    /// The title of the new side.
    pub new: String,
    /// The engines, if they differ.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub engines: Option<(String, String)>,
    /// What is reachable from outside.
    pub exposure: Changes,
    /// What is reachable inside.
    pub inside: Changes,
    /// Addresses of services that are others now, where both sides were tried.
    pub addresses: Vec<Readdressed>,
}

/// The lists of a part.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Changes {
    /// What holds now and did not before.
    pub gained: Vec<Gained>,
    /// What held before and does not now.
    pub lost: Vec<Lost>,
    /// What holds on both sides, but otherwise.
    pub moved: Vec<Moved>,
}

/// A fact that holds now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Gained {
    /// The fact.
    pub fact: Fact,
    /// By which ways.
    pub ways: BTreeSet<String>,
    /// Why it did not hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
}

/// A fact that held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Lost {
    /// The fact.
    pub fact: Fact,
    /// By which ways it held.
    pub ways: BTreeSet<String>,
    /// Why it does not hold now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub now: Option<String>,
}

/// A fact that holds otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Moved {
    /// The fact.
    pub fact: Fact,
    /// The ways that do not work any more.
    pub gone: BTreeSet<String>,
    /// The ways that work now.
    pub came: BTreeSet<String>,
}

/// A service with other addresses on a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Readdressed {
    /// The service.
    pub service: String,
    /// The network.
    pub network: String,
    /// Its addresses before.
    pub old: Vec<IpAddr>,
    /// Its addresses now.
    pub new: Vec<IpAddr>,
}

impl Changes {
    /// Nothing differs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.gained.is_empty() && self.lost.is_empty() && self.moved.is_empty()
    }

    fn note(
        &mut self,
        fact: &Fact,
        old: &BTreeSet<String>,
        new: &BTreeSet<String>,
        sides: [&Side; 2],
    ) {
        let fact = fact.clone();
        match (old.is_empty(), new.is_empty()) {
            (true, false) => self.gained.push(Gained {
                before: sides[0].why(&fact),
                ways: new.clone(),
                fact,
            }),
            (false, true) => self.lost.push(Lost {
                now: sides[1].why(&fact),
                ways: old.clone(),
                fact,
            }),
            _ if old != new => self.moved.push(Moved {
                gone: old.difference(new).cloned().collect(),
                came: new.difference(old).cloned().collect(),
                fact,
            }),
            _ => {}
        }
    }
}

impl Diff {
    /// Nothing that is reachable differs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.exposure.is_empty() && self.inside.is_empty()
    }
}

/// Compares two sides.
#[must_use]
pub fn compare(old: &Side, new: &Side) -> Diff {
    if old.facts.routes != new.facts.routes {
        // One is a lock file that does not list them.
        return compare(&old.clone().without_routes(), &new.clone().without_routes());
    }
    let mut diff = Diff {
        old: old.title.clone(),
        new: new.title.clone(),
        engines: (old.facts.engine != new.facts.engine)
            .then(|| (old.facts.engine.clone(), new.facts.engine.clone())),
        addresses: readdressed(old, new),
        ..Diff::default()
    };
    let none = BTreeSet::new();
    let all: BTreeSet<&Fact> = old.facts.open.keys().chain(new.facts.open.keys()).collect();
    for fact in all {
        let before = old.facts.open.get(fact).unwrap_or(&none);
        let after = new.facts.open.get(fact).unwrap_or(&none);
        let sides = [old, new];
        if !fact.is_exposure() {
            diff.inside.note(fact, before, after, sides);
            continue;
        }
        if fact.from != "host" {
            diff.exposure.note(fact, before, after, sides);
            continue;
        }
        let (doors_before, doors_after) = (doors(before), doors(after));
        // What differs only in the container's own addresses is no matter of exposure.
        if doors_before == doors_after {
            diff.inside.note(fact, before, after, sides);
        } else {
            diff.exposure.note(fact, &doors_before, &doors_after, sides);
        }
    }
    diff
}

/// The ways that lead through a published port.
fn doors(ways: &BTreeSet<String>) -> BTreeSet<String> {
    let doors = ways.iter().filter(|way| facts::is_door(way));
    doors.cloned().collect()
}

/// The addresses that differ, of services and networks that both sides have.
fn readdressed(old: &Side, new: &Side) -> Vec<Readdressed> {
    let (Some(old), Some(new)) = (&old.matrix, &new.matrix) else {
        return Vec::new();
    };
    let before = addresses(old);
    let both = addresses(new).into_iter().filter_map(|(key, new)| {
        let old = before.get(&key)?.clone();
        let (service, network) = key;
        (old != new).then_some(Readdressed {
            service,
            network,
            old,
            new,
        })
    });
    both.collect()
}

fn addresses(matrix: &Matrix) -> BTreeMap<(String, String), Vec<IpAddr>> {
    let mut all: BTreeMap<_, Vec<IpAddr>> = BTreeMap::new();
    for end in matrix.ends.iter().filter(|end| end.service) {
        for own in &end.addresses {
            let network = own.network.clone().unwrap_or_default();
            all.entry((end.name.clone(), network))
                .or_default()
                .push(own.address);
        }
    }
    all
}
