//! `subnet-invalid`: what the engine says of a network's subnets before it makes the network.
//!
//! The checks are those of the emulator's own engine, so the words are Docker's.

use emulator_compose::{Network, Place};
use emulator_core::docker::spec::{Engine, IpamConfig};
use emulator_core::docker::validate;

use crate::lint::view::{Draft, View};
use crate::project;

pub(in crate::lint) fn check(view: &View<'_>, out: &mut Vec<Draft>) {
    let networks = view.project.networks.iter();
    for network in networks.filter(|network| network.used && !network.external) {
        let spec = project::spec(network);
        let has_v6 = network.enable_ipv6 == Some(true);
        let Err(error) = validate::subnets(&spec, Engine::V29, has_v6) else {
            continue;
        };
        // The first line says that the network's configuration is invalid.
        let why: Vec<&str> = error.message.lines().skip(1).collect();
        let why = why.join("; ").replace("* ", "");
        let message = format!("{} is not made: {why}", network.key);
        let at = first_wrong(network, has_v6);
        out.push(view.network(network, at, message).fix(
            "write the subnet with its host bits zero, and `gateway`, `ip_range` and `aux_addresses` inside of it, in the same list item",
        ));
    }
}

/// The subnet, or its list item, that is wrong alone.
fn first_wrong(network: &Network, has_v6: bool) -> Place {
    let entry = network.ipam.iter().zip(project::spec(network).ipam);
    let mut wrong = entry.filter(|(_, asked)| is_wrong(asked, has_v6));
    wrong.next().map_or(network.at, |(entry, _)| {
        entry.subnet.as_ref().map_or(entry.at, |subnet| subnet.at)
    })
}

fn is_wrong(asked: &IpamConfig, has_v6: bool) -> bool {
    let spec = emulator_core::docker::spec::NetworkSpec {
        ipam: vec![asked.clone()],
        ..Default::default()
    };
    validate::subnets(&spec, Engine::V29, has_v6).is_err()
}
