//! What a sentence claims: who has to get where, who must not, and on which terms.

use core::ops::Range;

use emulator_compose::{Claim, NetworkMode, Party, Sees, Target, Verdict};
use emulator_model::{End, Reach};

use super::{Judge, Pair, TRIALS_MAX, Trial, What};
use crate::expect::scene::{Asker, Door, Goal, Way};
use crate::report::Status;

/// What an allowed call has to be besides open.
#[derive(Clone, Copy)]
struct Terms<'a> {
    via: Option<&'a str>,
    sees: Option<Sees>,
}

impl Judge<'_, '_> {
    pub(super) fn claim(&mut self, claim: &Claim) {
        let open = Terms {
            via: None,
            sees: None,
        };
        match claim {
            Claim::Reach {
                from,
                to,
                verdict,
                via,
                sees,
            } => {
                let terms = Terms {
                    via: via.as_deref(),
                    sees: *sees,
                };
                for goal in self.goals(to) {
                    for party in from {
                        let any = *party == Party::Any;
                        let verdict = (*verdict == Verdict::Allow).then_some(terms);
                        self.party(party, &goal, verdict, any);
                    }
                }
            }
            Claim::Only { from, to } => {
                for goal in self.goals(to) {
                    for party in from {
                        self.party(party, &goal, Some(open), false);
                    }
                    for party in self.all_but(from) {
                        self.party(&party, &goal, None, true);
                    }
                }
            }
            Claim::Resolves {
                from,
                name,
                count,
                on,
            } => {
                for party in from {
                    for asker in self.scene.askers(party) {
                        if self.settled {
                            return;
                        }
                        self.resolves(&asker, name, *count, on.as_deref());
                    }
                }
            }
        }
    }

    fn goals(&self, to: &[Target]) -> Vec<Goal> {
        to.iter()
            .flat_map(|target| self.scene.goals(target))
            .collect()
    }

    /// The services and places that are none of these; the host, and who lives in its namespace, is left out.
    fn all_but(&self, from: &[Party]) -> Vec<Party> {
        let services = self.scene.project.services.iter();
        let services = services.filter(|service| service.network_mode != NetworkMode::Host);
        let containers = services.map(|service| Party::Service(service.name.clone()));
        let every = from.contains(&Party::Any);
        containers
            .filter(|_| !every)
            .chain([Party::Lan, Party::Internet])
            .filter(|party| !from.contains(party))
            .collect()
    }

    /// `terms`: it is allowed, on these; else it is forbidden. `others`: the target's own containers, and services
    /// that do not run, are not meant.
    fn party(&mut self, party: &Party, goal: &Goal, terms: Option<Terms<'_>>, others: bool) {
        if let Goal::Unknown(service) = goal {
            self.find(
                Status::Unknown,
                What::UnknownPort {
                    service: service.clone(),
                },
            );
            return;
        }
        let own = match goal {
            Goal::Service(service, ..) => Some(service.as_str()),
            _ => None,
        };
        let mut askers = self.scene.askers(party);
        if others {
            askers.retain(|asker| {
                self.runs(asker) && (own.is_none() || asker.service.as_deref() != own)
            });
        } else if let Party::Service(service) = party
            && !askers.iter().any(|asker| self.runs(asker))
        {
            let status = if terms.is_some() {
                Status::Fail
            } else {
                Status::Vacuous
            };
            let service = service.clone();
            self.find(status, What::NotRunning { service });
            return;
        }
        askers.retain(|asker| self.runs(asker));
        for asker in &askers {
            if self.settled {
                return;
            }
            if self.out.trials.len() >= TRIALS_MAX {
                return self.find(Status::Fail, What::TooMuch);
            }
            self.asked += 1;
            match terms {
                Some(terms) => self.allowed(asker, goal, terms),
                None => self.forbidden(asker, goal),
            }
        }
    }

    pub(super) fn runs(&self, asker: &Asker) -> bool {
        match &asker.end {
            End::Container(name) => {
                let container = self.scene.assigned.container(name);
                container.is_some_and(|container| container.running)
            }
            _ => true,
        }
    }

    fn allowed(&mut self, asker: &Asker, goal: &Goal, terms: Terms<'_>) {
        let (lookup, ways) = self.usual_ways(asker, goal);
        let trials = self.try_all(asker, goal, &ways);
        let open: Vec<usize> = trials.clone().filter(|&at| self.is_open(at)).collect();
        let pair = Pair {
            asker: asker.clone(),
            goal: goal.clone(),
            lookup,
            trials,
        };
        let Some(&first) = open.first() else {
            let what = match self.target(goal) {
                Some(missing) => missing,
                None => What::NotReached(pair),
            };
            return self.find(Status::Fail, what);
        };
        for &trial in &open {
            if self.is_somebody_elses(trial, goal) {
                self.find(Status::Fail, What::OtherAnswers(pair.clone(), trial));
            }
            if let Some(wanted) = terms.via
                && !self.is_on(trial, wanted)
            {
                let what = What::OtherNetwork(pair.clone(), trial, wanted.to_owned());
                self.find(Status::Fail, what);
            }
        }
        if let Some(sees) = terms.sees
            && let Some(wanted) = self.sees_other(asker, goal, sees, first)
        {
            self.find(Status::Fail, What::OtherSource(pair, first, wanted));
        }
    }

    fn forbidden(&mut self, asker: &Asker, goal: &Goal) {
        let (lookup, ways) = self.every_way(asker, goal);
        let trials = self.try_all(asker, goal, &ways);
        let pair = Pair {
            asker: asker.clone(),
            goal: goal.clone(),
            lookup,
            trials: trials.clone(),
        };
        let open: Vec<usize> = trials.filter(|&at| self.is_open(at)).collect();
        for &trial in &open {
            self.find(Status::Fail, What::Reached(pair.clone(), trial));
        }
        if open.is_empty()
            && let Some(missing) = self.target(goal)
        {
            self.find(Status::Vacuous, missing);
        }
    }

    fn is_open(&self, trial: usize) -> bool {
        self.out.trials[trial].seen.reach == Reach::Open
    }

    fn try_all(&mut self, asker: &Asker, goal: &Goal, ways: &[Way]) -> Range<usize> {
        let transport = goal.transport();
        let first = self.out.trials.len();
        for way in ways {
            let seen = match &way.door {
                Door::Routed(_, route) => self.oracle.reach_by_route(*route, way.to, transport),
                _ => self.oracle.reach(&asker.end, way.to, transport),
            };
            self.out.trials.push(Trial {
                from: asker.end.clone(),
                way: way.clone(),
                transport,
                seen,
            });
        }
        first..self.out.trials.len()
    }
}
