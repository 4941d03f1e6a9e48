//! The rules: one line a rule, with its id, its level and what looks for it.

use super::finding::Level;
use super::rules;
use super::view::{Draft, Host, View};

/// What looks for a rule's findings.
#[derive(Clone, Copy, Debug)]
pub(super) enum Check {
    /// It looks at one project.
    Project(fn(&View<'_>, &mut Vec<Draft>)),
    /// It looks at all projects of a host together.
    Host(fn(&Host<'_>, &mut Vec<Draft>)),
    /// The comments that allow something are looked at last.
    Allows,
}

/// A rule.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Its id: the heading of its section in `docs/rules.md`.
    pub id: &'static str,
    /// Its level; a finding may say another one.
    pub level: Level,
    /// What it says, in half a line.
    pub summary: &'static str,
    pub(super) check: Check,
}

/// The id of the rule that reports comments that allow nothing.
pub const UNUSED_ALLOW: &str = "unused-allow";

const fn project(
    id: &'static str,
    level: Level,
    summary: &'static str,
    check: fn(&View<'_>, &mut Vec<Draft>),
) -> Rule {
    Rule {
        id,
        level,
        summary,
        check: Check::Project(check),
    }
}

const fn host(
    id: &'static str,
    level: Level,
    summary: &'static str,
    check: fn(&Host<'_>, &mut Vec<Draft>),
) -> Rule {
    Rule {
        id,
        level,
        summary,
        check: Check::Host(check),
    }
}

/// Every rule, in the order of `docs/rules.md`.
pub static RULES: &[Rule] = &[
    project(
        "publish-data-store",
        Level::Warning,
        "a data store's port is open to every machine that reaches the host",
        rules::publish::data_store,
    ),
    project(
        "publish-all",
        Level::Note,
        "a port is published without saying on which address",
        rules::publish::all,
    ),
    host(
        "publish-duplicate",
        Level::Error,
        "a port of the host is published twice",
        rules::publish_duplicate::check,
    ),
    project(
        "publish-internal",
        Level::Warning,
        "a port is published by a service that is on internal networks only",
        rules::publish_mode::internal,
    ),
    project(
        "publish-host-mode",
        Level::Warning,
        "a port is published by a service that has no network of its own",
        rules::publish_mode::host_mode,
    ),
    project(
        "publish-scaled",
        Level::Error,
        "several containers of a service want the same port of the host",
        rules::publish_mode::scaled,
    ),
    project(
        "publish-udp",
        Level::Warning,
        "a port that speaks UDP is published as TCP",
        rules::publish_udp::check,
    ),
    project(
        "side-door",
        Level::Warning,
        "a published port lets services in that share no network with the publisher",
        rules::side_door::check,
    ),
    project(
        "dial-unknown",
        Level::Warning,
        "a service dials a name that nobody has",
        rules::dial::unknown,
    ),
    project(
        "dial-no-network",
        Level::Error,
        "a service dials another one with which it has no network in common",
        rules::dial::no_network,
    ),
    project(
        "dial-localhost",
        Level::Warning,
        "a service dials itself where another service listens",
        rules::dial::localhost,
    ),
    project(
        "dial-host-loopback",
        Level::Error,
        "a service dials the host at a port that only the host itself reaches",
        rules::dial::host_loopback,
    ),
    project(
        "dial-default-bridge",
        Level::Error,
        "a service dials a name over the default bridge, which has none",
        rules::dial::default_bridge,
    ),
    project(
        "health-localhost",
        Level::Note,
        "a health check asks `localhost` with a client that tries ::1 only",
        rules::health::localhost,
    ),
    project(
        "health-none",
        Level::Error,
        "a service waits for the health of one that has no health check",
        rules::health::none,
    ),
    host(
        "alias-shared",
        Level::Warning,
        "two services answer to the same name on a network",
        rules::alias_shared::check,
    ),
    project(
        "proxy-network",
        Level::Warning,
        "a reverse proxy cannot reach what it is to serve, or picks a network by chance",
        rules::proxy::check,
    ),
    project(
        "static-in-dynamic",
        Level::Warning,
        "a fixed address may be handed out to another container first",
        rules::addresses::static_in_dynamic,
    ),
    project(
        "address-refused",
        Level::Error,
        "a fixed address is not one that the network gives",
        rules::address_refused::check,
    ),
    project(
        "subnet-invalid",
        Level::Error,
        "a subnet, or an address in its settings, is not sound",
        rules::subnet_invalid::check,
    ),
    host(
        "pool-overlap",
        Level::Error,
        "a subnet overlaps another one, or a route of the host",
        rules::overlap::check,
    ),
    host(
        "pool-exhausted",
        Level::Error,
        "a subnet or the pools are too small for what runs on them",
        rules::addresses::exhausted,
    ),
    project(
        "mtu-over-uplink",
        Level::Warning,
        "a network's packets are larger than the uplink takes",
        rules::mtu::check,
    ),
    project(
        "netns-provider",
        Level::Warning,
        "a service loses its network when the container it joins is made anew",
        rules::netns::check,
    ),
    project(
        "unused-network",
        Level::Note,
        "a network is declared and no service is on it",
        rules::networks::unused,
    ),
    project(
        "links",
        Level::Note,
        "`links` is from before networks had names",
        rules::networks::links,
    ),
    project(
        "half-ipv6",
        Level::Warning,
        "IPv6 is configured in one place and off in another",
        rules::networks::half_ipv6,
    ),
    project(
        "real-domain",
        Level::Note,
        "a container answers to a name of the public DNS",
        rules::names::real_domain,
    ),
    project(
        "underscore-name",
        Level::Note,
        "a name with an underscore is no host name",
        rules::names::underscore,
    ),
    project(
        "unset-variable",
        Level::Warning,
        "a variable in a port or an address has no value",
        rules::variables::check,
    ),
    Rule {
        id: UNUSED_ALLOW,
        level: Level::Warning,
        summary: "a comment allows something that is not found",
        check: Check::Allows,
    },
];

/// The rule with this id.
#[must_use]
pub fn rule(id: &str) -> Option<&'static Rule> {
    RULES.iter().find(|rule| rule.id == id)
}
