//! What an answer has to be besides an answer: whose, through which network, seen by whom; and what names give.

use core::net::IpAddr;

use emulator_compose::{Event, Sees};
use emulator_model::End;

use super::{Judge, What};
use crate::expect::scene::{Asker, Door, Goal};
use crate::report::Status;

impl Judge<'_, '_> {
    /// The name gave an address of somebody who is not meant.
    pub(super) fn is_somebody_elses(&self, trial: usize, goal: &Goal) -> bool {
        let (Goal::Service(service, ..), way) = (goal, &self.out.trials[trial].way) else {
            return false;
        };
        if !matches!(way.door, Door::Named(_)) {
            return false;
        }
        let Some(holder) = self.scene.assigned.holder(way.to.ip()) else {
            return true;
        };
        !self
            .scene
            .containers(service)
            .any(|target| self.scene.owner(target).name == holder.name)
    }

    /// Whether a call went over the network with this key.
    pub(super) fn is_on(&self, trial: usize, key: &str) -> bool {
        let way = &self.out.trials[trial].way;
        let direct = matches!(way.door, Door::Named(_) | Door::Direct(_) | Door::Written);
        let network = self.scene.network_of(way.to.ip());
        direct && network.is_some_and(|network| self.scene.key_of(network) == key)
    }

    /// What the server should see, if it sees something else.
    pub(super) fn sees_other(
        &self,
        asker: &Asker,
        goal: &Goal,
        sees: Sees,
        trial: usize,
    ) -> Option<String> {
        let source = self.out.trials[trial].seen.source;
        let scene = self.scene;
        let (wanted, fits) = match sees {
            Sees::Address(address) => (address.to_string(), source == Some(address)),
            Sees::Client => {
                let own: Vec<IpAddr> = match &asker.end {
                    End::Container(name) => {
                        let container = scene.assigned.container(name);
                        let endpoints = container.map(|c| &scene.owner(c).endpoints);
                        let endpoints = endpoints.into_iter().flatten();
                        endpoints
                            .flat_map(|endpoint| endpoint.addresses())
                            .collect()
                    }
                    End::Lan => scene.machine.lan.clone(),
                    End::Internet => scene.machine.internet_own.clone(),
                    End::Host => scene.host_addresses(asker),
                };
                let fits = source.is_some_and(|source| own.contains(&source));
                ("the client".to_owned(), fits)
            }
            Sees::Gateway => {
                let own = match goal {
                    Goal::Service(service, ..) => service.as_str(),
                    _ => "",
                };
                let networks: Vec<&str> = scene
                    .containers(own)
                    .flat_map(|target| &scene.owner(target).endpoints)
                    .map(|endpoint| endpoint.network.as_str())
                    .collect();
                let gateways = scene
                    .assigned
                    .networks
                    .iter()
                    .filter(|network| networks.contains(&network.name.as_str()))
                    .flat_map(|network| &network.gateways);
                let fits = gateways.copied().any(|gateway| source == Some(gateway));
                ("a gateway".to_owned(), fits)
            }
        };
        (!fits).then_some(wanted)
    }

    pub(super) fn resolves(
        &mut self,
        asker: &Asker,
        name: &str,
        count: Option<u32>,
        on: Option<&str>,
    ) {
        if !self.runs(asker) {
            let service = asker.service.clone().unwrap_or_default();
            let status = if count == Some(0) {
                Status::Vacuous
            } else {
                Status::Fail
            };
            return self.find(status, What::NotRunning { service });
        }
        self.asked += 1;
        let lookup = self.look_up(asker, name);
        let got = self.out.lookups[lookup].got.clone();
        let is_on = |address: &IpAddr| {
            on.is_none_or(|key| {
                let network = self.scene.network_of(*address);
                network.is_some_and(|network| self.scene.key_of(network) == key)
            })
        };
        let fitting = got.iter().filter(|address| is_on(address)).count();
        let fits = match count {
            Some(0) => fitting == 0,
            Some(n) => got.len() == n as usize && fitting == got.len(),
            None => !got.is_empty() && fitting == got.len(),
        };
        if !fits {
            let number = match count {
                Some(0) => "no address".to_owned(),
                Some(1) => "1 address".to_owned(),
                Some(n) => format!("{n} addresses"),
                None => "an address".to_owned(),
            };
            let wanted = match on {
                Some(on) => format!("{number} on {on}"),
                None => number,
            };
            return self.find(Status::Fail, What::Resolves { lookup, wanted });
        }
        // Who is down, or not up yet, has no name for anybody.
        let away = |event: &Event| matches!(event, Event::Down(_) | Event::BeforeUp(_));
        let away = self.events.iter().any(away);
        if count == Some(0) && on.is_none() && !away && self.holders(name).is_empty() {
            let name = name.to_owned();
            self.find(Status::Vacuous, What::NoSuchName { name });
        }
    }
}
