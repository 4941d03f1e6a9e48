//! The ways to a goal: those that a client takes, and all that there are.

use core::net::{IpAddr, SocketAddr};

use emulator_compose::Party;
use emulator_model::End;

use super::{Judge, Lookup};
use crate::expect::scene::{Asker, Door, Goal, INTERNET_NAME, Way, asked_for};

impl Judge<'_, '_> {
    /// Whom a name leads to now, or led to before the events for who keeps what it got.
    pub(super) fn look_up(&mut self, asker: &Asker, name: &str) -> usize {
        let key = (asker.end.clone(), name.to_owned());
        let mut events = self.events.iter();
        let renewed = events.any(|event| asker.service.as_deref() == Some(event.service()));
        let kept = self
            .kept
            .filter(|_| !renewed)
            .and_then(|kept| kept.get(&key));
        let got = match kept {
            Some(got) => got.clone(),
            None => match self.oracle.lookup(&asker.end, name) {
                Some(got) => got,
                None => self.others.get(&key).cloned().unwrap_or_default(),
            },
        };
        self.out.lookups.push(Lookup {
            from: asker.end.clone(),
            name: name.to_owned(),
            got,
        });
        self.out.lookups.len() - 1
    }

    fn named(&mut self, asker: &Asker, name: &str, ports: &[u16]) -> (usize, Vec<Way>) {
        let lookup = self.look_up(asker, name);
        let got = &self.out.lookups[lookup].got;
        let ways = got.iter().flat_map(|&address| {
            ports.iter().map(move |&port| Way {
                to: SocketAddr::new(address, port),
                door: Door::Named(name.to_owned()),
            })
        });
        (lookup, ways.collect())
    }

    /// The ways that a client takes that wants to get there.
    pub(super) fn usual_ways(&mut self, asker: &Asker, goal: &Goal) -> (Option<usize>, Vec<Way>) {
        let container = matches!(asker.end, End::Container(_));
        match goal {
            Goal::Service(service, asked, transport) => {
                let ports = self.scene.ports(asker, service, *asked, *transport);
                let mut ways: Vec<Way> = ports
                    .iter()
                    .flat_map(|&port| self.scene.ways(asker, service, port, *transport))
                    .collect();
                if container {
                    ways.retain(|way| matches!(way.door, Door::Loopback | Door::Host));
                    let (lookup, mut named) = self.named(asker, asked_for(service), &ports);
                    named.append(&mut ways);
                    return (Some(lookup), named);
                }
                let is_door = |way: &Way| matches!(way.door, Door::Published(_) | Door::Host);
                if asker.end != End::Host && ways.iter().any(is_door) {
                    ways.retain(is_door);
                }
                (None, ways)
            }
            Goal::Place(End::Internet, port, _) if container || asker.end == End::Host => {
                let (lookup, ways) = self.named(asker, INTERNET_NAME, &[*port]);
                (Some(lookup), ways)
            }
            Goal::Name(name, port, _) if container || asker.end == End::Host => {
                let (lookup, ways) = self.named(asker, name, &[*port]);
                (Some(lookup), ways)
            }
            _ => (None, self.other_ways(asker, goal)),
        }
    }

    /// Every way there is, and the name that gave the first.
    pub(super) fn every_way(&mut self, asker: &Asker, goal: &Goal) -> (Option<usize>, Vec<Way>) {
        let container = matches!(asker.end, End::Container(_));
        let (lookup, mut ways) = match goal {
            Goal::Service(service, asked, transport) => {
                let ports = self.scene.ports(asker, service, *asked, *transport);
                let (mut lookup, mut ways) = (None, Vec::new());
                if container {
                    let (found, named) = self.named(asker, asked_for(service), &ports);
                    (lookup, ways) = (Some(found), named);
                    // A client that keeps what it got knows of no other address.
                    if self.kept.is_some() {
                        return (lookup, ways);
                    }
                }
                for port in ports {
                    ways.extend(self.scene.ways(asker, service, port, *transport));
                }
                (lookup, ways)
            }
            _ => {
                let (lookup, mut ways) = self.usual_ways(asker, goal);
                ways.extend(self.other_ways(asker, goal));
                (lookup, ways)
            }
        };
        let mut seen = Vec::new();
        ways.retain(|way| {
            let new = !seen.contains(&way.to);
            seen.push(way.to);
            new
        });
        // Nobody has a route to a container's network unasked, but whoever is on the segment may add it.
        if asker.end == End::Lan {
            let routed: Vec<Way> = ways
                .iter()
                .filter_map(|way| self.scene.routed(way))
                .collect();
            ways.extend(routed);
        }
        (lookup, ways)
    }

    /// The ways to what is no service, names left out.
    fn other_ways(&mut self, asker: &Asker, goal: &Goal) -> Vec<Way> {
        let written = |address: IpAddr, port: u16| Way {
            to: SocketAddr::new(address, port),
            door: Door::Written,
        };
        match goal {
            Goal::Place(place, port, _) => self.scene.place_ways(asker, place, *port),
            Goal::Address(address, port, _) => vec![written(*address, *port)],
            Goal::Name(name, port, _) => {
                let got = self.holders(name);
                got.iter().map(|&address| written(address, *port)).collect()
            }
            Goal::Service(..) | Goal::Unknown(_) => Vec::new(),
        }
    }

    /// What a name gives to anybody of the project, or to the host.
    pub(super) fn holders(&mut self, name: &str) -> Vec<IpAddr> {
        let mut ends: Vec<End> = self
            .scene
            .askers(&Party::Any)
            .into_iter()
            .map(|asker| asker.end)
            .collect();
        ends.push(End::Host);
        let mut all: Vec<IpAddr> = Vec::new();
        for end in ends {
            let got = match self.oracle.lookup(&end, name) {
                Some(got) => got,
                None => {
                    let key = (end, name.to_owned());
                    self.others.get(&key).cloned().unwrap_or_default()
                }
            };
            all.extend(got);
        }
        all.sort_by_key(|address| (address.is_ipv6(), *address));
        all.dedup();
        all
    }
}
