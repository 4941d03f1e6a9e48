//! Projects whose networks share the uplink in every mode of macvlan and ipvlan, and external ones that are described:
//! the model against packets.

use proptest::strategy::ValueTree as _;

use super::plan::{Driver, Plan};
use super::run::{differences, report, tree};

/// The plan with a mode for each of its networks, the first of which shares the uplink.
fn sharing(number: u64) -> Plan {
    let mut plan = tree(number).current();
    for (index, network) in plan.networks.iter_mut().enumerate() {
        if index == 0 && network.driver == Driver::Bridge {
            network.driver = match number % 3 {
                0 => Driver::Macvlan,
                1 => Driver::Ipvlan,
                _ => Driver::IpvlanAlone,
            };
        }
        network.mode = ((number / 3) as usize + index) as u8 % 7;
    }
    plan
}

#[test]
fn every_mode_of_macvlan_and_ipvlan() {
    let mut asked = 0;
    for number in 1..=100 {
        let plan = sharing(number);
        let Some((count, wrong)) = differences(&plan) else {
            continue;
        };
        assert!(wrong.is_empty(), "{}", report(number, &plan));
        asked += count;
    }
    assert!(asked > 10_000, "{asked} questions");
}

/// Prints each project that differs.
#[test]
#[ignore = "a tool: shows many differences at once"]
fn hunt_shared() {
    let mut bad = 0;
    for number in 1..=600 {
        let plan = sharing(number);
        let Some((_, wrong)) = differences(&plan) else {
            continue;
        };
        if !wrong.is_empty() {
            bad += 1;
            println!("===== {number} {}: {}", wrong.len(), wrong[0]);
        }
    }
    println!("{bad} differ");
}
