//! In which order containers start: services in file order, each after what it depends on (in the
//! order in which it names that), the replicas of a service one after another.
//!
//! Compose starts independent services at the same time; this is the order of the engine records.

use std::collections::BTreeMap;

use crate::error::{ErrorKind, Fault};
use crate::model::{Project, Service};

impl Project {
    /// Every container as its service and its number from 1, in the order of starting.
    #[must_use]
    pub fn start_order(&self) -> Vec<(&Service, u32)> {
        let files: Vec<usize> = (0..self.services.len()).collect();
        let order = Graph::new(&self.services).visit(&files).unwrap_or(files);
        let services = order.into_iter().filter_map(|i| self.services.get(i));
        services
            .flat_map(|service| (1..=service.replicas).map(move |number| (service, number)))
            .collect()
    }
}

/// Services that wait for each other in a circle.
pub(crate) fn check(services: &[Service]) -> Result<(), Fault> {
    let mut graph = Graph::new(services);
    let name = |i: usize| services[i].name.as_str();
    for needs in &mut graph.needs {
        needs.sort_by_key(|&i| name(i));
    }
    let mut roots: Vec<usize> = (0..services.len()).collect();
    roots.sort_by_key(|&i| name(i));
    match graph.visit(&roots) {
        Ok(_) => Ok(()),
        Err(circle) => Err(cycle_fault(services, &circle)),
    }
}

fn cycle_fault(services: &[Service], circle: &[usize]) -> Fault {
    let around = circle.iter().chain(circle.first());
    let names: Vec<&str> = around.map(|&i| services[i].name.as_str()).collect();
    let text = format!("dependency cycle detected: {}", names.join(" -> "));
    let Some(first) = circle.first().map(|&i| &services[i]) else {
        return Fault::bare(ErrorKind::Cycle, text);
    };
    let mut edges = first.depends_on.iter();
    let edge = edges.find(|edge| names.get(1) == Some(&edge.service.as_str()));
    Fault::new(
        ErrorKind::Cycle,
        edge.map_or(first.at, |edge| edge.at),
        text,
    )
}

struct Graph {
    /// What each service waits for, by position.
    needs: Vec<Vec<usize>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    New,
    Open,
    Done,
}

impl Graph {
    fn new(services: &[Service]) -> Self {
        let named = services.iter().enumerate();
        let index: BTreeMap<&str, usize> = named.map(|(i, s)| (s.name.as_str(), i)).collect();
        let needs = |service: &Service| {
            let names = service.depends_on.iter().map(|d| d.service.as_str());
            names.filter_map(|name| index.get(name).copied()).collect()
        };
        Self {
            needs: services.iter().map(needs).collect(),
        }
    }

    /// Depth first from `roots`: everything after what it needs. The error is a circle.
    fn visit(&self, roots: &[usize]) -> Result<Vec<usize>, Vec<usize>> {
        let mut marks = vec![Mark::New; self.needs.len()];
        let mut order = Vec::with_capacity(self.needs.len());
        // The way down, with how many needs of each have been looked at.
        let mut way: Vec<(usize, usize)> = Vec::new();
        for &root in roots {
            if marks[root] == Mark::New {
                marks[root] = Mark::Open;
                way.push((root, 0));
            }
            while let Some((i, looked)) = way.last_mut() {
                let (i, next) = (*i, self.needs[*i].get(*looked).copied());
                *looked += 1;
                match next.map(|need| (need, marks[need])) {
                    None => {
                        marks[i] = Mark::Done;
                        order.push(i);
                        way.pop();
                    }
                    Some((_, Mark::Done)) => {}
                    Some((need, Mark::New)) => {
                        marks[need] = Mark::Open;
                        way.push((need, 0));
                    }
                    Some((need, Mark::Open)) => {
                        let way = way.into_iter().map(|(i, _)| i);
                        return Err(way.skip_while(|&i| i != need).collect());
                    }
                }
            }
        }
        Ok(order)
    }
}
