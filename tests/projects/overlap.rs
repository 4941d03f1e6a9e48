//! Projects with a subnet that lies over the uplink's: the model against packets.

use proptest::strategy::ValueTree as _;

use super::plan::{Driver, Families, Over, Plan};
use super::run::{differences, report, tree};

/// The plan with its first bridge over the uplink's subnet; the engine refuses two such networks.
fn over(mut plan: Plan, how: Over) -> Option<Plan> {
    let on_segment = |driver: Driver| matches!(driver, Driver::Macvlan | Driver::Ipvlan);
    for network in &mut plan.networks {
        if on_segment(network.driver) {
            network.driver = Driver::Bridge;
        }
    }
    let mut bridges = plan.networks.iter_mut();
    let first = bridges.find(|network| network.driver == Driver::Bridge)?;
    first.over = Some(how);
    if how == Over::Equal && first.families == Families::V6 {
        first.families = Families::Both;
    }
    Some(plan)
}

#[test]
fn subnets_over_the_uplinks_go_by_the_longest_prefix() {
    let (mut tried, mut asked) = (0, 0);
    for number in 1..=60 {
        let how = [Over::Equal, Over::Part, Over::Wider][number as usize % 3];
        let Some(plan) = over(tree(number).current(), how) else {
            continue;
        };
        let Some((count, wrong)) = differences(&plan) else {
            continue;
        };
        assert!(wrong.is_empty(), "{how:?}: {}", report(number, &plan));
        tried += 1;
        asked += count;
    }
    assert!(
        tried >= 30 && asked > 10_000,
        "{tried} projects, {asked} questions"
    );
}

/// Prints each project that differs.
#[test]
#[ignore = "a tool: shows many differences at once"]
fn hunt_over() {
    let mut bad = 0;
    for number in 1..=600 {
        let how = [Over::Equal, Over::Part, Over::Wider][number as usize % 3];
        let Some(plan) = over(tree(number).current(), how) else {
            continue;
        };
        let Some((_, wrong)) = differences(&plan) else {
            continue;
        };
        if !wrong.is_empty() {
            bad += 1;
            println!("===== {how:?} {}", report(number, &plan));
        }
    }
    println!("{bad} differ");
}
