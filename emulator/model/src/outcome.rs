//! What the model answers with.

use core::fmt;
use core::net::IpAddr;

use emulator_compose::Protocol;

/// One end of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// A container, by name.
    Container(String),
    /// The Docker host.
    Host,
    /// Another machine on the uplink's segment.
    Lan,
    /// Whatever is behind the router.
    Internet,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Container(name) => name,
            Self::Host => "host",
            Self::Lan => "lan",
            Self::Internet => "internet",
        })
    }
}

/// How somebody calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A TCP connection.
    Tcp,
    /// A UDP datagram from a connected socket, which takes answers from whom it asked only.
    Udp,
    /// A ping; the port means nothing.
    Icmp,
}

impl Transport {
    pub(crate) const fn protocol(self) -> Option<Protocol> {
        match self {
            Self::Tcp => Some(Protocol::Tcp),
            Self::Udp => Some(Protocol::Udp),
            Self::Icmp => None,
        }
    }
}

/// What the caller sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// An answer.
    Open,
    /// Somebody says no: a TCP reset, or ICMP "port unreachable".
    Refused,
    /// A TCP connection that is accepted, and closed without a byte: docker-proxy found nobody behind.
    Closed,
    /// Silence.
    Timeout,
    /// No route: "network is unreachable", said by the caller's own system or, to TCP, by a router.
    NetUnreachable,
    /// The last router, or the caller's own system, gets no answer to its neighbour request; only TCP is
    /// told.
    HostUnreachable,
    /// The caller has no address of that family to call from (`EADDRNOTAVAIL`).
    NoAddress,
}

/// Why it is not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// The two are on different bridges.
    Isolated,
    /// One of the two is on an internal network.
    Internal,
    /// Both are on one network with inter-container communication off.
    IccOff,
    /// From outside, a port that is not published.
    NotPublished,
    /// A container's own address, called from outside past its published ports.
    DirectAccess,
    /// It listens, but not on that address.
    OtherAddress,
    /// It listens on loopback only.
    LoopbackOnly,
    /// Nobody listens.
    NobodyListens,
    /// Nobody has that address.
    NobodyThere,
    /// The caller has no route there, or no address of that family.
    NoRoute,
    /// The answer has no way back: no route, or it is dropped on its way.
    NoWayBack,
    /// A UDP socket that is bound to no address, docker-proxy's for one, answers from another address
    /// than was asked.
    OtherSource,
    /// The caller does not run.
    NotRunning,
}

impl Reason {
    /// As it is printed.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Isolated => "isolated",
            Self::Internal => "internal",
            Self::IccOff => "icc-off",
            Self::NotPublished => "not-published",
            Self::DirectAccess => "direct-access",
            Self::OtherAddress => "other-address",
            Self::LoopbackOnly => "loopback-only",
            Self::NobodyListens => "nobody-listens",
            Self::NobodyThere => "nobody-there",
            Self::NoRoute => "no-route",
            Self::NoWayBack => "no-way-back",
            Self::OtherSource => "other-source",
            Self::NotRunning => "not-running",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Through which door it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Via {
    /// Within one namespace.
    Loopback,
    /// On a network that both are on, by that name; the host is on every bridge.
    Network(String),
    /// A published port, translated by the host.
    Translated,
    /// A published port, through docker-proxy.
    Proxy,
    /// By routers, without translation of the destination.
    Routed,
}

/// What comes of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What the caller sees.
    pub reach: Reach,
    /// Why it is not open.
    pub reason: Option<Reason>,
    /// Who answers, or refuses; for a container, the one that listens, or the owner of the namespace.
    pub by: Option<End>,
    /// The source address that the one who answers sees.
    pub source: Option<IpAddr>,
    /// The way that the call took, as far as it came.
    pub via: Via,
}

impl Outcome {
    /// It is open.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.reach == Reach::Open
    }

    pub(crate) const fn fails(reach: Reach, reason: Reason, via: Via) -> Self {
        Self {
            reach,
            reason: Some(reason),
            by: None,
            source: None,
            via,
        }
    }

    /// A router, or the neighbour table, says that it goes no further. A TCP connection that is being
    /// opened fails with that; other sockets are not told.
    pub(crate) const fn undeliverable(
        reach: Reach,
        reason: Reason,
        via: Via,
        transport: Transport,
    ) -> Self {
        let reach = match transport {
            Transport::Tcp => reach,
            Transport::Udp | Transport::Icmp => Reach::Timeout,
        };
        Self::fails(reach, reason, via)
    }

    pub(crate) const fn silent(reason: Reason, via: Via) -> Self {
        Self::fails(Reach::Timeout, reason, via)
    }
}
