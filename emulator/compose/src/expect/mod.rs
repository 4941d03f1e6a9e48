//! Expectations: what a test says of a project's network, one sentence each.
//!
//! ```text
//! expectation = claim { event | "resolve" "once" }
//! claim       = parties "->" targets { "allow" | "deny" | "via" NETWORK | "sees" SEEN }
//!             | "only" parties "->" targets
//!             | parties "resolves" NAME [ "to" NUMBER ("address" | "addresses") ] [ "on" NETWORK ]
//!             | parties "does" "not" "resolve" NAME [ "on" NETWORK ]
//! parties     = party { "," party }
//! party       = SERVICE | GROUP | "any" | "host" | "lan" | "internet" | "outside"
//! targets     = target { "," target }
//! target      = whom [ ":" PORT ] [ "/tcp" | "/udp" | "/icmp" ]
//! whom        = party | ADDRESS | "[" ADDRESS "]" | HOSTNAME
//! SEEN        = "client" | "gateway" | ADDRESS
//! event       = "after" "recreate" SERVICE [ "moved" ]
//!             | "after" "down" SERVICE
//!             | "before" SERVICE "is" "up"
//! ```
//!
//! Words are separated by blanks; `,` and `->` need none. `any` is every container, `host` the
//! Docker host, `lan` another machine on its uplink's segment, `internet` one farther away, `outside`
//! those two. A group stands for its services. NETWORK is a key of the file's `networks`. A target
//! without a port means every port that the service is known to listen on. HOSTNAME is a name with a
//! dot, or one that the project gives something: an alias, a container name, an extra host. A name in
//! double quotes is a service even if it is also one of the words above. Exactly one of `allow` and
//! `deny` must stand; `via` and `sees` go with `allow` only.
//!
//! An entry of a list of expectations is such a sentence, or a map that says the same:
//!
//! ```yaml
//! - {from: vote, to: "redis:6379", verdict: allow, via: back-tier, sees: client}
//! - {only: [worker, result], to: "db:5432"}
//! - {from: vote, resolves: redis, addresses: 1, on: back-tier}
//! - {from: vote, to: "redis:6379", verdict: allow, after: recreate redis moved, resolve: once}
//! ```
//!
//! Left out: ranges of ports, SCTP.

mod lex;
mod names;
mod parse;
mod read;
mod show;

use core::net::IpAddr;

pub(crate) use names::{Names, hosts, is_place};
pub(crate) use read::{MAX_PARTIES, list};

use crate::error::{Error, ErrorKind};
use crate::model::Project;
use crate::node::Place;

/// One expectation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expectation {
    /// Where it stands.
    pub at: Place,
    /// As it was written; of a map, the sentence that says the same.
    pub text: String,
    /// What is claimed.
    pub claim: Claim,
    /// What happens before it is tried, in order.
    pub when: Vec<Event>,
    /// The client keeps the first answer that it got for a name, from before the events.
    pub resolve_once: bool,
}

/// What an expectation claims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// Among containers and places nobody but these reaches the targets, and these do. The host
    /// itself is left out.
    Only {
        /// Who may.
        from: Vec<Party>,
        /// What they may reach.
        to: Vec<Target>,
    },
    /// Each of `from` reaches each of `to`, or none does.
    Reach {
        /// Who asks.
        from: Vec<Party>,
        /// Who is asked.
        to: Vec<Target>,
        /// Whether it must work.
        verdict: Verdict,
        /// The key of the network through which it must work.
        via: Option<String>,
        /// The source address that the server must see.
        sees: Option<Sees>,
    },
    /// A name has an address, or so many of them, or none (`Some(0)`).
    Resolves {
        /// Who looks it up.
        from: Vec<Party>,
        /// The name.
        name: String,
        /// How many addresses; `None` is at least one.
        count: Option<u32>,
        /// The key of the network on which all of them must be (with `Some(0)`: none is).
        on: Option<String>,
    },
}

impl Claim {
    /// How many parties and targets it names.
    pub(crate) fn names(&self) -> usize {
        match self {
            Self::Only { from, to } | Self::Reach { from, to, .. } => from.len() + to.len(),
            Self::Resolves { from, .. } => from.len(),
        }
    }
}

/// Someone who asks or is asked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Party {
    /// Every container.
    Any,
    /// The Docker host.
    Host,
    /// A machine beyond the uplink's segment.
    Internet,
    /// Another machine on the uplink's segment.
    Lan,
    /// Every container of this service.
    Service(String),
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    /// Who.
    pub whom: Whom,
    /// What is tried.
    pub probe: Probe,
}

/// Who is asked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Whom {
    /// Whoever has this address.
    Address(IpAddr),
    /// Whoever this name leads to.
    Name(String),
    /// A party.
    Party(Party),
}

/// What is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Probe {
    /// An echo request.
    Icmp,
    /// Every port that the target is known to listen on.
    Known,
    /// A connection to this port.
    Tcp(u16),
    /// A datagram to this port, and its answer.
    Udp(u16),
}

/// Whether something must work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It must.
    Allow,
    /// It must not, and for a network reason.
    Deny,
}

/// The source address that a server sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sees {
    /// This one.
    Address(IpAddr),
    /// The client's own.
    Client,
    /// That of the gateway of the server's network.
    Gateway,
}

/// Something that happens to the project before an expectation is tried.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Event {
    /// It is tried while the project starts, before this service does.
    BeforeUp(String),
    /// The service's containers are stopped and removed.
    Down(String),
    /// The service's containers are replaced by new ones; addresses as they come.
    Recreate(String),
    /// The same, and each new one gets an address that the old one did not have.
    RecreateMoved(String),
}

impl Event {
    /// The service that it happens to.
    #[must_use]
    pub fn service(&self) -> &str {
        let (Self::BeforeUp(service)
        | Self::Down(service)
        | Self::Recreate(service)
        | Self::RecreateMoved(service)) = self;
        service
    }
}

/// A part of a sentence, in bytes, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wrong {
    pub(crate) kind: ErrorKind,
    pub(crate) range: core::ops::Range<usize>,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

impl Expectation {
    /// Reads one sentence about `project`; its place is the default one.
    ///
    /// # Errors
    /// What is wrong with it, with the sentence as line 1 of a file without a name.
    pub fn parse(text: &str, project: &Project) -> Result<Self, Error> {
        let names = Names::new(project);
        parse::sentence(text, &names).map_err(|wrong| {
            let chars = |text: &str| u32::try_from(text.chars().count()).unwrap_or(u32::MAX);
            let (before, inside) = (&text[..wrong.range.start], &text[wrong.range.clone()]);
            Error {
                kind: wrong.kind,
                message: wrong.message,
                file: String::new(),
                line: 1,
                column: chars(before).saturating_add(1),
                length: chars(inside).max(1),
                source_line: text.to_owned(),
                hint: wrong.hint,
            }
        })
    }
}
