//! Matrices of random projects, and what differs between them.

use std::collections::{BTreeMap, BTreeSet};

use emulator_core::docker::spec::Engine;
use proptest::prelude::*;
use vethlab::compose::load_str;
use vethlab::diff::{Changes, Diff, Side, compare};
use vethlab::matrix::fact::Fact;
use vethlab::matrix::{Depth, Matrix, Verdict, fill, lock};
use vethlab::matrix::{csv, facts, graphviz, json, markdown, mermaid, svg, table};
use vethlab::world::{Options, World};

/// What a service says of its port.
#[derive(Clone, Copy, Debug)]
enum Says {
    Nothing,
    Exposed,
    Loopback,
    Published,
}

#[derive(Clone, Debug)]
struct Plan {
    /// For each service: its networks, its port.
    services: Vec<(BTreeSet<usize>, Says)>,
    /// For each network: it is internal.
    networks: Vec<bool>,
}

fn plan() -> impl Strategy<Value = Plan> {
    let says = prop_oneof![
        Just(Says::Nothing),
        Just(Says::Exposed),
        Just(Says::Loopback),
        Just(Says::Published)
    ];
    let service = (proptest::collection::btree_set(0..3usize, 1..3), says);
    let services = proptest::collection::vec(service, 1..5);
    let networks = proptest::collection::vec(any::<bool>(), 3);
    (services, networks).prop_map(|(services, networks)| Plan { services, networks })
}

impl Plan {
    fn compose(&self) -> String {
        let mut text = "services:\n".to_owned();
        for (at, (networks, says)) in self.services.iter().enumerate() {
            let networks: Vec<String> = networks.iter().map(|net| format!("n{net}")).collect();
            let port = match says {
                Says::Nothing => String::new(),
                Says::Exposed => ", expose: ['80']".to_owned(),
                Says::Loopback => format!(", ports: ['127.0.0.1:80{at:02}:80']"),
                Says::Published => format!(", ports: ['80{at:02}:80']"),
            };
            let networks = networks.join(", ");
            text.push_str(&format!(
                "  s{at}: {{image: example/s, networks: [{networks}]{port}}}\n"
            ));
        }
        text.push_str("networks:\n");
        for (at, internal) in self.networks.iter().enumerate() {
            text.push_str(&format!("  n{at}: {{internal: {internal}}}\n"));
        }
        text
    }

    fn matrix(&self, engine: Engine, depth: Depth) -> Matrix {
        let project = load_str(&self.compose()).unwrap();
        let mut world = World::with(&project, &Options::new(0, engine)).unwrap();
        let up = world.first().unwrap().1.clone();
        assert!(up.is_complete());
        let images = world.images().clone();
        fill(
            &mut world.lab,
            &project,
            &up,
            &images,
            depth,
            0,
            |_, _, _| Ok(()),
        )
        .unwrap()
    }
}

/// Each fact of the lists, and the list that it is in.
fn lists(diff: &Diff) -> Vec<(Fact, &'static str)> {
    let part = |changes: &Changes| {
        let gained = changes
            .gained
            .iter()
            .map(|gained| (gained.fact.clone(), "gained"));
        let lost = changes.lost.iter().map(|lost| (lost.fact.clone(), "lost"));
        let moved = changes
            .moved
            .iter()
            .map(|moved| (moved.fact.clone(), "moved"));
        gained.chain(lost).chain(moved).collect::<Vec<_>>()
    };
    let mut all = part(&diff.exposure);
    all.extend(part(&diff.inside));
    all
}

fn side(matrix: &Matrix) -> Side {
    Side::of("x".to_owned(), matrix.clone())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    /// What differs is in one list, and only what differs; there and back is the same with the signs changed.
    #[test]
    fn every_fact_that_differs_is_in_one_list(old in plan(), new in plan(), upgrade in any::<bool>()) {
        let before = if upgrade { Engine::V20_10 } else { Engine::V29 };
        let (old, new) = (side(&old.matrix(before, Depth::Every)), side(&new.matrix(Engine::V29, Depth::Every)));
        prop_assert!(lists(&compare(&old, &old)).is_empty());
        let diff = compare(&old, &new);
        let listed = lists(&diff);
        let names: BTreeSet<&Fact> = listed.iter().map(|(fact, _)| fact).collect();
        prop_assert_eq!(names.len(), listed.len());
        let (was, is) = (&old.facts.open, &new.facts.open);
        let all: BTreeSet<&Fact> = was.keys().chain(is.keys()).collect();
        for fact in all {
            prop_assert_eq!(was.get(fact) != is.get(fact), names.contains(fact), "{}", fact);
        }
        let back: BTreeMap<Fact, &str> = lists(&compare(&new, &old)).into_iter().collect();
        for (fact, list) in &listed {
            let other = match *list {
                "gained" => "lost",
                "lost" => "gained",
                list => list,
            };
            prop_assert_eq!(back.get(fact), Some(&other), "{}", fact);
        }
        prop_assert_eq!(back.len(), names.len());
    }

    /// A lock file says all that there is to compare; verdicts, ways and formats fit together.
    #[test]
    fn a_matrix_says_one_thing(plan in plan()) {
        let matrix = plan.matrix(Engine::V29, Depth::Every);
        let facts = facts::Facts::of(&matrix);
        let text = lock::write(&facts);
        prop_assert_eq!(&lock::read(&text).unwrap(), &facts);
        let locked = Side::locked("lock".to_owned(), facts);
        prop_assert!(compare(&locked, &side(&matrix)).is_empty());
        for cell in &matrix.cells {
            let direct = cell.open().any(|way| way.how.is_direct());
            let any = cell.open().next().is_some();
            let fits = match cell.verdict {
                Verdict::Open => any,
                Verdict::Door | Verdict::Route => any && !direct,
                Verdict::Closed => !any && cell.reason.is_some(),
                Verdict::Unknown => cell.port.is_none() && cell.reason.is_some(),
            };
            prop_assert!(fits, "{:?}", cell);
        }
        // Who stops at the first way that answers finds one exactly where there is one.
        let short = plan.matrix(Engine::V29, Depth::First);
        prop_assert_eq!(short.cells.len(), matrix.cells.len());
        for (short, cell) in short.cells.iter().zip(&matrix.cells) {
            let found = short.open().next().is_some();
            prop_assert_eq!(found, cell.open().next().is_some(), "{:?}", cell);
        }
        let width = matrix.ends.len();
        let pairs: BTreeSet<(&str, &str)> =
            matrix.cells.iter().map(|cell| (&*cell.from, &*cell.to)).collect();
        // Everybody is asked of everybody; a place is not asked of itself.
        prop_assert_eq!(pairs.len(), width * width - 3);
        prop_assert_eq!(csv::render(&matrix).lines().count(), matrix.cells.len() + 1);
        let json: serde_json::Value = serde_json::from_str(&json::render(&matrix)).unwrap();
        prop_assert_eq!(json["cells"].as_array().unwrap().len(), matrix.cells.len());
        for render in [table::render, markdown::render, mermaid::render, graphviz::render, svg::render] {
            let text = render(&matrix);
            prop_assert!(text.ends_with('\n') && text.contains("s0"));
        }
    }
}

/// The answers of a server that die are repeated for a minute; they are no reason for what is asked next.
#[test]
fn a_reason_is_of_its_own_question() {
    let file = "
        services:
          web: {image: example/web, ports: ['8081:80'], networks: [a]}
          bare: {image: example/bare, expose: ['81'], networks: [bare]}
          sealed: {image: example/sealed, expose: ['82'], networks: [sealed]}
          last: {image: example/last, expose: ['83'], networks: [last]}
        networks:
          a: {}
          bare: {driver_opts: {com.docker.network.bridge.enable_ip_masquerade: 'false'}}
          sealed: {internal: true}
          last: {}
    ";
    let project = load_str(file).unwrap();
    let mut world = World::with(&project, &Options::new(0, Engine::V29)).unwrap();
    let up = world.first().unwrap().1.clone();
    let images = world.images().clone();
    let matrix = fill(
        &mut world.lab,
        &project,
        &up,
        &images,
        Depth::Every,
        0,
        |_, _, _| Ok(()),
    )
    .unwrap();
    let reason = |from: &str, to: &str| {
        let mut cells = matrix.cells.iter();
        let cell = cells.find(|cell| cell.from == from && cell.to == to);
        cell.unwrap().reason.clone().unwrap()
    };
    assert_eq!(reason("bare", "web"), "direct-access");
    // These leave, and nobody outside knows the way back.
    assert_eq!(reason("bare", "lan"), "timeout");
    assert_eq!(reason("bare", "internet"), "timeout");
    assert_eq!(reason("bare", "sealed"), "internal");
    assert_eq!(reason("last", "sealed"), "internal");
    assert_eq!(reason("last", "bare"), "direct-access");
    let mut cells = matrix.cells.iter();
    let cell = cells.find(|cell| cell.from == "bare" && cell.to == "web");
    let doors = cell
        .unwrap()
        .ways
        .iter()
        .filter(|way| way.how.is_door() && way.at.is_ipv4());
    // The page comes back to an address that nobody masqueraded, and dies at the host.
    for door in doors {
        assert_eq!(door.reason.as_deref(), Some("direct-access"), "{door:?}");
    }
}
