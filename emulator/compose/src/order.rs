//! In which order containers start: what a service depends on first, otherwise file order, the
//! replicas of a service one after another.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::{ErrorKind, Fault};
use crate::model::{Project, Service};

impl Project {
    /// Every container as its service and its number from 1, in the order of starting.
    #[must_use]
    pub fn start_order(&self) -> Vec<(&Service, u32)> {
        let order = Graph::new(&self.services).order();
        let services = order.into_iter().filter_map(|i| self.services.get(i));
        services
            .flat_map(|service| (1..=service.replicas).map(move |number| (service, number)))
            .collect()
    }
}

/// Services that wait for each other in a circle.
pub(crate) fn check(services: &[Service]) -> Result<(), Fault> {
    let graph = Graph::new(services);
    let order = graph.order();
    if order.len() == services.len() {
        return Ok(());
    }
    let started: BTreeSet<usize> = order.into_iter().collect();
    Err(graph.cycle(&started))
}

struct Graph<'a> {
    services: &'a [Service],
    /// What each service waits for, by position.
    needs: Vec<Vec<usize>>,
}

impl<'a> Graph<'a> {
    fn new(services: &'a [Service]) -> Self {
        let named = services.iter().enumerate();
        let index: BTreeMap<&str, usize> = named.map(|(i, s)| (s.name.as_str(), i)).collect();
        let needs = |service: &Service| {
            let names = service.depends_on.iter().map(|d| d.service.as_str());
            names.filter_map(|name| index.get(name).copied()).collect()
        };
        Self {
            services,
            needs: services.iter().map(needs).collect(),
        }
    }

    /// The services that can be started, in order; those in or behind a circle are missing.
    fn order(&self) -> Vec<usize> {
        let mut waits: Vec<usize> = self.needs.iter().map(Vec::len).collect();
        let mut needed_by: Vec<Vec<usize>> = vec![Vec::new(); self.needs.len()];
        for (i, needs) in self.needs.iter().enumerate() {
            for &need in needs {
                needed_by[need].push(i);
            }
        }
        let ready = waits.iter().enumerate().filter(|&(_, &waits)| waits == 0);
        let mut ready: BTreeSet<usize> = ready.map(|(i, _)| i).collect();
        let mut order = Vec::with_capacity(self.needs.len());
        while let Some(i) = ready.pop_first() {
            order.push(i);
            for &other in &needed_by[i] {
                waits[other] -= 1;
                if waits[other] == 0 {
                    ready.insert(other);
                }
            }
        }
        order
    }

    /// A circle among the services that cannot be started, from the first by name that meets it.
    fn cycle(&self, started: &BTreeSet<usize>) -> Fault {
        let name = |i: usize| self.services[i].name.as_str();
        let stuck = (0..self.services.len()).filter(|i| !started.contains(i));
        let mut next = stuck.min_by_key(|&i| name(i));
        let mut path: Vec<usize> = Vec::new();
        let mut position: BTreeMap<usize, usize> = BTreeMap::new();
        while let Some(i) = next {
            if let Some(&from) = position.get(&i) {
                return self.cycle_fault(&path[from..]);
            }
            position.insert(i, path.len());
            path.push(i);
            let needs = self.needs[i].iter().copied();
            let needs = needs.filter(|need| !started.contains(need));
            next = needs.min_by_key(|&need| name(need));
        }
        Fault::bare(ErrorKind::Cycle, "dependency cycle detected")
    }

    fn cycle_fault(&self, circle: &[usize]) -> Fault {
        let names = circle.iter().chain(circle.first());
        let names: Vec<&str> = names.map(|&i| self.services[i].name.as_str()).collect();
        let text = format!("dependency cycle detected: {}", names.join(" -> "));
        let first = circle.first().map(|&i| &self.services[i]);
        let towards = names.get(1).copied().unwrap_or_default();
        let at = first.map(|service| {
            let edge = service.depends_on.iter().find(|d| d.service == towards);
            edge.map_or(service.at, |edge| edge.at)
        });
        match at {
            Some(at) => Fault::new(ErrorKind::Cycle, at, text),
            None => Fault::bare(ErrorKind::Cycle, text),
        }
    }
}
