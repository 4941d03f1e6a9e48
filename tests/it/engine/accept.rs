//! Differences from the recorded engine that are right, each under the name by which the records' index
//! or the version gates list it. Nothing else is accepted.

use emulator_core::docker::spec::Engine;

use super::cells::Place;

/// The name under which a difference is accepted.
pub fn accepted(
    engine: Engine,
    place: &Place<'_>,
    expected: &str,
    seen: &str,
) -> Option<&'static str> {
    match engine {
        Engine::V20_10 => None,
        Engine::V29 => current(place, expected, seen),
    }
}

fn current(place: &Place<'_>, expected: &str, seen: &str) -> Option<&'static str> {
    match place.kind {
        "endpoint" if place.to.ends_with(" mac") => Some("MAC: random since 28.0"),
        "dns" if expected == "timeout" && seen == "SERVFAIL" => {
            Some("DNS: no upstream reachable is SERVFAIL")
        }
        "hosts" => Some("/etc/hosts: fe00:: and ff00::, no IPv6 lines without IPv6"),
        "resolv.conf" => Some("resolv.conf: header and footer comments"),
        _ => None,
    }
}
