//! An expectation put to an oracle: the questions, the answers, and what follows from them.
//!
//! One judge for packets and model, so that the two differ in their answers only. A container asks by name, and
//! takes whichever address answers; whoever has no names asks where the port is published. That something is
//! forbidden is tried by every way there is: by name, at each of the target's addresses, at its published ports.

mod answers;
mod claims;
mod target;
mod ways;

use core::net::IpAddr;
use core::ops::Range;
use std::collections::BTreeMap;

use emulator_compose::{Event, Expectation};
use emulator_model::{End, Transport};

use super::oracle::{Oracle, Seen};
use super::scene::{Asker, Goal, Scene, Way};
use crate::report::Status;

/// How many calls one expectation may stand for, about.
pub(crate) const TRIALS_MAX: usize = 1 << 20;

/// The addresses that each end got for each name before something happened.
pub(crate) type Kept = BTreeMap<(End, String), Vec<IpAddr>>;

/// A name that was looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lookup {
    pub(crate) from: End,
    pub(crate) name: String,
    pub(crate) got: Vec<IpAddr>,
}

/// A call that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trial {
    pub(crate) from: End,
    pub(crate) way: Way,
    pub(crate) transport: Transport,
    pub(crate) seen: Seen,
}

/// Who asked for what, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pair {
    pub(crate) asker: Asker,
    pub(crate) goal: Goal,
    /// The name that was looked up, by its place among the lookups.
    pub(crate) lookup: Option<usize>,
    /// The calls, by their places among the trials.
    pub(crate) trials: Range<usize>,
}

/// Why an expectation does not pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// Somebody should get there and does not, by any call.
    NotReached(Pair),
    /// Somebody should not get there and does, by this call.
    Reached(Pair, usize),
    /// It works, but by this call not through that network only.
    OtherNetwork(Pair, usize, String),
    /// It works, but by this call the server sees another address.
    OtherSource(Pair, usize, String),
    /// The name also leads to somebody else, by this call.
    OtherAnswers(Pair, usize),
    /// The target's program does not take calls in its own namespace.
    NotListening { goal: Goal },
    /// A service has no container that runs.
    NotRunning { service: String },
    /// There is nobody who could ask.
    NobodyAsks,
    /// Nobody states a port of this service.
    UnknownPort { service: String },
    /// A name gives something else.
    Resolves { lookup: usize, wanted: String },
    /// A name that nobody has.
    NoSuchName { name: String },
    /// It stands for more calls than are made.
    TooMuch,
}

impl What {
    /// Who asked for what, and the call that it is about; none if no call was made.
    pub(crate) fn call(&self) -> Option<(&Pair, Option<usize>)> {
        match self {
            Self::Reached(pair, trial)
            | Self::OtherNetwork(pair, trial, _)
            | Self::OtherSource(pair, trial, _)
            | Self::OtherAnswers(pair, trial) => Some((pair, Some(*trial))),
            Self::NotReached(pair) => Some((pair, pair.trials.clone().next())),
            _ => None,
        }
    }

    /// It says the same of the same two.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        let same = core::mem::discriminant(self) == core::mem::discriminant(other);
        match (self.call(), other.call()) {
            (Some((one, _)), Some((two, _))) => {
                same && (&one.asker, &one.goal) == (&two.asker, &two.goal)
            }
            _ => same,
        }
    }
}

/// A finding and what it makes of the expectation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) status: Status,
    pub(crate) what: What,
}

/// An expectation as one oracle sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Judged {
    pub(crate) findings: Vec<Finding>,
    pub(crate) lookups: Vec<Lookup>,
    pub(crate) trials: Vec<Trial>,
}

impl Judged {
    /// The worst of what was found.
    pub(crate) fn status(&self) -> Status {
        let worst = [Status::Fail, Status::Vacuous, Status::Unknown];
        worst
            .into_iter()
            .find(|&status| self.findings.iter().any(|finding| finding.status == status))
            .unwrap_or(Status::Pass)
    }

    /// The first finding of the worst kind.
    pub(crate) fn worst(&self) -> Option<&Finding> {
        let status = self.status();
        self.findings
            .iter()
            .find(|finding| finding.status == status)
    }
}

/// Puts an expectation to an oracle. `others` answers for names that are not the oracle's to tell; `kept` are the
/// answers from before the events, for clients that keep theirs.
pub(crate) fn judge(
    expectation: &Expectation,
    scene: &Scene<'_>,
    oracle: &mut dyn Oracle,
    kept: &Kept,
    others: &Kept,
) -> Judged {
    judge_until(expectation, scene, oracle, [kept, others], &mut |_| false).0
}

/// The same until something is found that settles what is to be known; whether that was found. The answers are those
/// from before the events, and those for names that are not the oracle's to tell.
pub(crate) fn judge_until(
    expectation: &Expectation,
    scene: &Scene<'_>,
    oracle: &mut dyn Oracle,
    [kept, others]: [&Kept; 2],
    settles: &mut dyn FnMut(&What) -> bool,
) -> (Judged, bool) {
    let mut judge = Judge {
        scene,
        oracle,
        kept: expectation.resolve_once.then_some(kept),
        others,
        events: &expectation.when,
        settles,
        settled: false,
        asked: 0,
        out: Judged::default(),
    };
    judge.claim(&expectation.claim);
    if judge.asked == 0 && judge.out.findings.is_empty() {
        judge.find(Status::Vacuous, What::NobodyAsks);
    }
    (judge.out, judge.settled)
}

struct Judge<'a, 'p> {
    scene: &'a Scene<'p>,
    oracle: &'a mut dyn Oracle,
    kept: Option<&'a Kept>,
    others: &'a Kept,
    events: &'a [Event],
    /// Whether nothing more needs to be asked once this is found.
    settles: &'a mut dyn FnMut(&What) -> bool,
    settled: bool,
    /// How many pairs, or names, were tried.
    asked: usize,
    out: Judged,
}

impl Judge<'_, '_> {
    fn find(&mut self, status: Status, what: What) {
        let finding = Finding { status, what };
        if !self.out.findings.contains(&finding) {
            self.settled |= (self.settles)(&finding.what);
            self.out.findings.push(finding);
        }
    }
}

impl Goal {
    const fn transport(&self) -> Transport {
        match self {
            Self::Service(_, _, transport)
            | Self::Place(_, _, transport)
            | Self::Address(_, _, transport)
            | Self::Name(_, _, transport) => *transport,
            Self::Unknown(_) => Transport::Tcp,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expect::oracle::Packets;
    use crate::world::{self, World};

    #[test]
    fn nothing_is_asked_any_more_once_it_is_settled() {
        let text = "x-vethlab: {expect: [any -> any deny, any resolves a to 2 addresses]}\nservices:\n  \
                    a: {image: x, expose: [1]}\n  b: {image: x, expose: [2]}\n  c: {image: x, expose: [3]}\n";
        let mut files = BTreeMap::from([("compose.yaml".to_owned(), text.to_owned())]);
        let options = emulator_compose::Options {
            files: vec!["compose.yaml".to_owned()],
            project_name: Some("settled".to_owned()),
            ..emulator_compose::Options::default()
        };
        let project = emulator_compose::load(&mut files, &options).unwrap();
        let mut world = World::with(&project, &world::Options::default()).unwrap();
        let scene = Scene::of(&world, &project, None);
        let none = Kept::new();
        for (expectation, all) in project.vethlab.expect.iter().zip([6, 3]) {
            for number in 1..=all {
                let mut packets = Packets::new(&mut world.lab, None);
                let mut found = 0;
                let mut settles = |_: &What| {
                    found += 1;
                    found == number
                };
                let answers = [&none, &none];
                let (judged, settled) =
                    judge_until(expectation, &scene, &mut packets, answers, &mut settles);
                assert!(settled);
                assert_eq!(judged.findings.len(), number);
                assert_eq!(judged.lookups.len(), number);
            }
            let mut packets = Packets::new(&mut world.lab, None);
            let judged = judge(expectation, &scene, &mut packets, &none, &none);
            assert_eq!(judged.findings.len(), all);
        }
    }
}
