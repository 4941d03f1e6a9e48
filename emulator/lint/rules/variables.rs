//! `unset-variable`: a variable without a value becomes a blank text, and a port or an address without
//! its number is another one, or none.

use emulator_compose::Unset;

use crate::lint::view::{Draft, View};

pub(in crate::lint) fn check(view: &View<'_>, out: &mut Vec<Draft>) {
    for unset in &view.project.unset {
        let Some((what, effect)) = effect(unset) else {
            continue;
        };
        let subject = unset.path.get(..2).unwrap_or_default().join(".");
        let message = format!("{} has no value in {what}: {effect}", unset.name);
        out.push(view.draft(subject, unset.at, message).fix(format!(
            "write `${{{0}:?}}` to be told, `${{{0}:-VALUE}}` for a default, or set it in .env",
            unset.name
        )));
    }
}

/// What a blank does at this place of the file.
fn effect(unset: &Unset) -> Option<(&'static str, &'static str)> {
    let path: Vec<&str> = unset.path.iter().map(String::as_str).collect();
    let any_port = "the host's port is any free one, or the address every one";
    match path.as_slice() {
        ["services", _, "ports", ..] => Some(("`ports`", any_port)),
        ["services", _, "expose", ..] => Some(("`expose`", "the port is left away")),
        ["services", _, "extra_hosts", ..] => {
            Some(("`extra_hosts`", "the engine refuses the address"))
        }
        ["services", _, "network_mode"] => Some(("`network_mode`", "it counts as not given")),
        [
            "services",
            _,
            "networks",
            _,
            "ipv4_address" | "ipv6_address",
        ] => Some(("an address", "any free one is taken")),
        ["services", _, "scale"] | ["services", _, "deploy", "replicas"] => {
            Some(("the number of containers", "it cannot be read"))
        }
        ["networks", _, "ipam", "config", ..] => {
            Some(("a subnet", "the engine chooses another one"))
        }
        ["networks", _, "name"] => Some(("a network's name", "the network is another one")),
        _ => None,
    }
}
