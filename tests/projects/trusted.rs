//! Projects whose networks trust interfaces of the host: the model against packets.

use proptest::strategy::ValueTree as _;

use super::plan::Plan;
use super::routes;
use super::run::{differences, report, scene_with, tree};

fn trusting(number: u64) -> Plan {
    let mut plan = tree(number).current();
    for (index, network) in plan.networks.iter_mut().enumerate() {
        network.trusts = ((number as usize + index) % 4) as u8;
    }
    plan
}

#[test]
fn what_trusted_interfaces_let_in() {
    let (mut asked, mut routed) = (0, 0);
    for number in 1..=60 {
        let plan = trusting(number);
        let Some((count, wrong)) = differences(&plan) else {
            continue;
        };
        assert!(wrong.is_empty(), "{}", report(number, &plan));
        let Some(mut scene) = scene_with(&plan, plan.daemon.config(plan.engine)) else {
            continue;
        };
        let (more, _, wrong) = routes::differences(&mut scene);
        assert!(
            wrong.is_empty(),
            "{number}\n{}\n{}",
            plan.compose(),
            wrong.join("\n")
        );
        asked += count;
        routed += more;
    }
    assert!(
        asked > 10_000 && routed > 1_000,
        "{asked} questions, {routed} by routes"
    );
}
