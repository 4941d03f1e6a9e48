//! Many projects, each from its number; of one that shows a difference, the smallest that still does.

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use emulator_core::docker::DaemonConfig;
use emulator_core::docker::spec::Engine;
use proptest::strategy::{Strategy as _, ValueTree};
use proptest::test_runner::{Config, RngSeed, TestRunner};
use vethlab::world::{Options, World};

use super::plan::{Event, Plan, plan};
use super::scene::Scene;

/// What is tried: `count` projects from number `first` on.
#[derive(Clone, Copy, Debug)]
struct Range {
    first: u64,
    count: u64,
}

impl Range {
    fn from_env() -> Self {
        let said = |name: &str| {
            let text = std::env::var(name).ok()?;
            Some(
                text.parse()
                    .unwrap_or_else(|_| panic!("{name}: {text} is no number")),
            )
        };
        Self {
            first: said("VETHLAB_FIRST").unwrap_or(1),
            count: said("VETHLAB_PROJECTS").unwrap_or(40),
        }
    }

    fn numbers(self) -> core::ops::Range<u64> {
        self.first..self.first + self.count
    }
}

pub(crate) fn tree(number: u64) -> impl ValueTree<Value = Plan> {
    let config = Config {
        rng_seed: RngSeed::Fixed(number),
        failure_persistence: None,
        ..Config::default()
    };
    plan().new_tree(&mut TestRunner::new(config)).unwrap()
}

/// The project, up and past its events; `None` if the engine refuses the networks.
fn scene(plan: &Plan) -> Option<Scene> {
    scene_with(plan, plan.daemon.config(plan.engine))
}

/// The same with another daemon.
pub(crate) fn scene_with(plan: &Plan, daemon: DaemonConfig) -> Option<Scene> {
    let text = plan.compose();
    let project =
        emulator_compose::load_str(&text).unwrap_or_else(|errors| panic!("{errors}\n{text}"));
    let options = Options {
        daemon,
        ..Options::new(1, plan.engine)
    };
    let mut world =
        World::with(&project, &options).unwrap_or_else(|error| panic!("{error}\n{text}"));
    if world.up.iter().any(|(_, up)| !up.networks.is_empty()) {
        return None;
    }
    for event in &plan.events {
        let name = |index: usize| format!("s{}", index % plan.services.len());
        match *event {
            Event::Recreate(index) => world.recreate(&project, &name(index), false),
            Event::Move(index) => world.recreate(&project, &name(index), true),
            Event::Down(index) => world.down(&project, &name(index)),
        }
    }
    let assigned = world.assigned();
    let lab = world.lab;
    Some(Scene::new(project, lab, assigned))
}

/// Questions asked, and the answers that differ; `None` if the engine refuses the project.
pub(crate) fn differences(plan: &Plan) -> Option<(usize, Vec<String>)> {
    Some(scene(plan)?.differences(usize::MAX))
}

/// Simplified as long as it still shows a difference of that kind.
fn smallest(mut tree: impl ValueTree<Value = Plan>, kind: &str) -> Plan {
    let differs = |plan: &Plan| {
        let (_, wrong) = differences(plan).unwrap_or_default();
        wrong.iter().any(|line| kind_of(plan, line) == kind)
    };
    let mut least = tree.current();
    while tree.simplify() {
        loop {
            let candidate = tree.current();
            if differs(&candidate) {
                least = candidate;
                break;
            }
            if !tree.complicate() {
                return least;
            }
        }
    }
    least
}

/// What a difference is reported with: the project, what was assigned, both verdicts.
pub(crate) fn report(number: u64, plan: &Plan) -> String {
    let Some(mut scene) = scene(plan) else {
        return format!("project {number} is refused");
    };
    let (_, wrong) = scene.differences(usize::MAX);
    let engine = match plan.engine {
        Engine::V20_10 => "20.10",
        Engine::V29 => "29",
    };
    let containers: Vec<String> = scene
        .assigned
        .containers
        .iter()
        .map(|container| {
            let on = container.endpoints.iter().map(|endpoint| {
                let addresses: Vec<String> =
                    endpoint.addresses().map(|ip| ip.to_string()).collect();
                format!("{} {}", endpoint.network, addresses.join(" "))
            });
            let published = container.published.iter().map(|p| {
                let at = SocketAddr::new(p.host_ip, p.host_port);
                format!("{at}->{}/{}", p.port, p.protocol)
            });
            let state = if container.running {
                ""
            } else {
                " (does not run)"
            };
            format!(
                "{}{state}: {}; {}",
                container.name,
                on.collect::<Vec<_>>().join(", "),
                published.collect::<Vec<_>>().join(", ")
            )
        })
        .collect();
    format!(
        "project {number}, engine {engine}, {:?}, {:?}\n{}\n{}\n{} answers differ:\n{}",
        plan.daemon,
        plan.events,
        plan.compose(),
        containers.join("\n"),
        wrong.len(),
        wrong[..wrong.len().min(20)].join("\n")
    )
}

/// Says how far it is, on a terminal, and what came of it.
struct Progress {
    begun: Instant,
    said: Instant,
    shown: bool,
}

impl Progress {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            begun: now,
            said: now,
            shown: std::io::stderr().is_terminal(),
        }
    }

    fn at(&mut self, done: u64, of: u64) {
        if self.shown && self.said.elapsed() > Duration::from_millis(500) {
            self.said = Instant::now();
            let _lost = write!(std::io::stderr(), "\r{done} of {of} projects");
        }
    }

    fn end(&self, range: Range, asked: usize, refused: usize) {
        let clear = if self.shown { "\r\x1b[K" } else { "" };
        let _lost = writeln!(
            std::io::stderr(),
            "{clear}{} projects from number {}: {asked} questions, {refused} projects refused, {:.1} s",
            range.count,
            range.first,
            self.begun.elapsed().as_secs_f64(),
        );
    }
}

#[test]
fn what_the_model_says_packets_do() {
    let range = Range::from_env();
    let (mut asked, mut refused) = (0, 0);
    let mut progress = Progress::new();
    for number in range.numbers() {
        progress.at(number - range.first, range.count);
        let plan = tree(number).current();
        match differences(&plan) {
            None => refused += 1,
            Some((count, wrong)) => {
                asked += count;
                if let Some(line) = wrong.first() {
                    let kind = kind_of(&plan, line);
                    panic!("{}", report(number, &smallest(tree(number), &kind)));
                }
            }
        }
    }
    progress.end(range, asked, refused);
    assert!(refused as u64 <= range.count / 5, "{refused} refused");
}

/// Prints each kind of difference that many projects show, with the smallest project that shows it.
#[test]
#[ignore = "a tool: shows many differences at once"]
fn hunt() {
    let range = Range::from_env();
    let mut kinds: BTreeMap<String, (usize, u64, usize)> = BTreeMap::new();
    let (mut asked, mut refused, mut bad) = (0, 0, 0);
    let mut progress = Progress::new();
    for number in range.numbers() {
        progress.at(number - range.first, range.count);
        let plan = tree(number).current();
        let Some((count, wrong)) = differences(&plan) else {
            refused += 1;
            continue;
        };
        asked += count;
        bad += usize::from(!wrong.is_empty());
        let size = plan.compose().len();
        for line in &wrong {
            let entry = kinds
                .entry(kind_of(&plan, line))
                .or_insert((0, number, size));
            entry.0 += 1;
            if size < entry.2 {
                (entry.1, entry.2) = (number, size);
            }
        }
    }
    progress.end(range, asked, refused);
    println!("{bad} projects differ");
    let mut kinds: Vec<_> = kinds.into_iter().collect();
    kinds.sort_by_key(|(_, (count, ..))| core::cmp::Reverse(*count));
    for (kind, (count, number, _)) in &kinds {
        println!("{count:>6} {kind} (project {number})");
    }
    for (kind, (count, number, _)) in kinds.iter().take(25) {
        let plan = smallest(tree(*number), kind);
        println!("===== {count} {kind}\n{}", report(*number, &plan));
    }
}

/// A difference without its names and numbers.
fn kind_of(plan: &Plan, line: &str) -> String {
    let plain: Vec<&str> = line
        .split_whitespace()
        .map(|whole| {
            let word = whole.trim_matches(['[', ']', ',']);
            let socket = whole
                .parse::<SocketAddr>()
                .map(|s| s.ip())
                .or_else(|_| word.parse());
            match socket {
                Ok(IpAddr::V4(v4)) if v4.is_loopback() => "lo4",
                Ok(IpAddr::V4(v4)) if v4.octets()[0] == 192 => "up4",
                Ok(IpAddr::V4(v4)) if v4.octets()[3] == 1 => "gw4",
                Ok(IpAddr::V4(_)) => "in4",
                Ok(IpAddr::V6(v6)) if v6.is_loopback() => "lo6",
                Ok(IpAddr::V6(v6)) if v6.segments()[0] == 0x2001 => "up6",
                Ok(IpAddr::V6(v6)) if v6.segments()[7] == 1 => "gw6",
                Ok(IpAddr::V6(_)) => "in6",
                Err(_) if word.starts_with("p-s") => "ctr",
                Err(_) if word.starts_with("Network(") => "Network)",
                Err(_) => word,
            }
        })
        .collect();
    format!("{:?} {}", plan.engine, plain.join(" "))
}
