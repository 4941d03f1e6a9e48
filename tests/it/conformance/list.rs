//! Where each of the conformance cases is tested.

use std::collections::BTreeMap;
use std::fs;

use super::here;
use crate::rig::root;

/// Where a case is tested, besides the scripts of this module.
#[derive(Clone, Copy, Debug)]
enum Where {
    /// In this file, with this text.
    In(&'static str, &'static str),
    /// Nowhere, and why.
    Out(&'static str),
}

const IPAM: &str = "emulator/core/src/docker/ipam/tests.rs";
const NETWORKS: &str = "emulator/core/src/docker/tests/networks.rs";
const CONTAINERS: &str = "emulator/core/src/docker/tests/containers.rs";
const SANDBOXES: &str = "emulator/core/src/docker/tests/sandboxes.rs";
const PORTS: &str = "emulator/core/src/docker/tests/ports.rs";
const MAPPINGS: &str = "emulator/core/src/docker/ports/mod.rs";
const GRAMMAR: &str = "emulator/core/src/docker/ports/grammar.rs";
const RESOLV: &str = "emulator/core/src/docker/resolv.rs";
const DNS: &str = "dns/src/resolver_tests.rs";

/// The cases that no script of this module plays.
const ELSEWHERE: &[(u32, Where)] = &[
    (1, Where::In(NETWORKS, "\"case 1\"")),
    (2, Where::In(NETWORKS, "\"case 2\"")),
    (3, Where::In(NETWORKS, "\"case 3\"")),
    (4, Where::In(IPAM, "\"4\",")),
    (5, Where::In(IPAM, "\"5\",")),
    (6, Where::In(IPAM, "\"6\",")),
    (7, Where::In(NETWORKS, "\"case 7\"")),
    (8, Where::In(NETWORKS, "\"case 8\"")),
    (9, Where::In(IPAM, "\"case 9\"")),
    (
        10,
        Where::In("emulator/core/src/docker/validate.rs", "// case 10"),
    ),
    (11, Where::In(IPAM, "(\"11\",")),
    (12, Where::In(IPAM, "(\"12\",")),
    (13, Where::In(IPAM, "(\"13\",")),
    (14, Where::In(IPAM, "\"case 14\"")),
    (15, Where::In(NETWORKS, "fn status_counts_case_15")),
    (18, Where::In(CONTAINERS, "\"case 18\"")),
    (19, Where::In(CONTAINERS, "\"case 19")),
    (20, Where::In(CONTAINERS, "\"case 20\"")),
    (21, Where::In(CONTAINERS, "\"case 21\"")),
    (32, Where::In(SANDBOXES, "\"case 32\"")),
    (33, Where::In(SANDBOXES, "\"case 33\"")),
    (34, Where::In(SANDBOXES, "\"case 34\"")),
    (35, Where::In(RESOLV, "fn case_35_")),
    (36, Where::In(RESOLV, "fn case_36_")),
    (38, Where::In(DNS, "fn case_38_")),
    (39, Where::In(DNS, "fn case_39_")),
    (40, Where::In(DNS, "fn case_40_")),
    (41, Where::In(DNS, "fn case_41_")),
    (57, Where::In(PORTS, "fn conflicts_case_57")),
    (58, Where::In(PORTS, "fn ranges_over_containers_case_58")),
    (59, Where::In(GRAMMAR, "// case 59")),
    (60, Where::In(GRAMMAR, "\"case 60\"")),
    (61, Where::In(MAPPINGS, "\"61\",")),
    (
        62,
        Where::In(PORTS, "fn ranges_pass_over_what_is_busy_case_62"),
    ),
    (63, Where::In(MAPPINGS, "\"63\",")),
    (64, Where::In(PORTS, "\"case 64\"")),
    (
        71,
        Where::In(NETWORKS, "fn by_prefix_and_by_name_of_another_case_71"),
    ),
    (
        72,
        Where::Out("texts of the HTTP API, which is not served yet"),
    ),
    (73, Where::In(NETWORKS, "\"case 73\"")),
    (
        75,
        Where::In("tests/it/conformance/compose.rs", "/// case 75"),
    ),
];

#[test]
fn every_case_is_tested_or_out_of_scope() {
    let mut found: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    for (number, what, _) in here() {
        found.entry(*number).or_default().push((*what).to_owned());
    }
    for (number, place) in ELSEWHERE {
        let text = match place {
            Where::In(file, text) => {
                let content = fs::read_to_string(root().join(file)).unwrap();
                assert!(
                    content.contains(text),
                    "case {number} is no more in {file}: {text}"
                );
                (*file).to_owned()
            }
            Where::Out(why) => format!("out of scope: {why}"),
        };
        let before = found.insert(*number, vec![text]);
        assert!(before.is_none(), "case {number} is listed twice");
    }
    let numbers: Vec<u32> = found.into_keys().collect();
    assert_eq!(numbers, (1..=75).collect::<Vec<u32>>());
}
