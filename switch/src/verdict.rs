//! What became of a frame: one list of fates for the whole workspace.
//!
//! A frame is delivered or dies for a [`DropReason`]; in between it may be learned from, forwarded
//! and rewritten. All of that is an [`Event`]: counters, packet comments, `why` and test failures
//! read this one stream.

use core::fmt;
use core::net::SocketAddr;

use crate::filter::Judgement;
use crate::time::Time;

/// An interface of the lab: unique in it, and the number that `ip link` prints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IfId(pub u32);

macro_rules! drop_reasons {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// Why a frame died. Each has a counter, a word for machines and a line for people.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum DropReason { $($(#[$doc])* $name,)* }

        impl DropReason {
            /// Every reason, in order.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The reason as a line for people.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// The reason as a word for machines, as it stands in the source.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }
        }
    };
}

drop_reasons! {
    /// Both the port that it came from and the one that it is for are isolated.
    BridgeIsolated = "isolated bridge ports do not reach each other",
    /// The bridge has no other port that is up, so there is nowhere to send it.
    BridgeNoPort = "no other bridge port is up",
    /// The bridge port is down or has been taken off its bridge.
    BridgePortDown = "bridge port is down",
    /// The bridge sends nothing back out of the port that it came from (hairpin is off).
    BridgeSamePort = "destination is behind the port it came from",
    /// A group address that bridges keep to themselves (IEEE 802.1D, 01:80:c2:00:00:0x).
    BridgeLinkLocal = "link-local group address is not forwarded",
    /// The source address is a group address.
    BridgeSourceMulticast = "source MAC is a group address",
    /// The source address is zero.
    BridgeSourceZero = "source MAC is zero",
    /// A transport or network checksum is wrong.
    ChecksumBad = "bad checksum",
    /// A new flow and no room in the connection table.
    ConntrackFull = "connection table is full",
    /// The packet belongs to no connection and cannot start one.
    ConntrackInvalid = "belongs to no connection",
    /// Nobody allowed it to leave the lab for that destination.
    EgressDenied = "egress to there is not allowed",
    /// What it asks for was asked of the world outside before, which has not answered.
    EgressPending = "the world outside has not answered",
    /// A filter rule dropped it.
    Filtered = "dropped by a filter rule",
    /// Direct access from another interface to a container's address (raw PREROUTING, Docker 28).
    FilteredDirect = "direct access to a container address from another interface",
    /// Inter-container communication is off on this bridge.
    FilteredIcc = "inter-container communication is off on this network",
    /// To or from an internal network.
    FilteredInternal = "an internal network has no way in or out",
    /// Between two bridges of Docker.
    FilteredIsolation = "networks are isolated from each other",
    /// To a container port that nothing publishes.
    FilteredUnpublished = "port is not published",
    /// A fragment that never got its fellows in time.
    FragmentTimeout = "fragments missing after 30 s",
    /// Too many datagrams in reassembly.
    FragmentQueueFull = "reassembly queue is full",
    /// Fragments that overlap (RFC 5722).
    FragmentOverlap = "overlapping fragments",
    /// The frame is longer than the MTU of the interface that would receive it.
    FrameTooLong = "longer than the receiving interface's MTU",
    /// Larger than the next link carries and not allowed to be cut.
    FragmentationNeeded = "larger than the MTU and DF is set",
    /// The network header is wrong.
    HeaderMalformed = "malformed network header",
    /// The hop limit reached zero on the way.
    HopLimit = "time to live exceeded",
    /// The interface is down or gone.
    InterfaceDown = "interface is down",
    /// IPv6 is off on the interface.
    Ipv6Disabled = "IPv6 is off on the interface",
    /// The neighbour table is full of neighbours that are being asked for.
    NeighbourTableFull = "neighbour table is full",
    /// For a connection that the listener on its port does not have (any more). What acknowledges something is
    /// answered by a reset (RFC 9293 §3.10.7.2).
    NoConnection = "the listener has no such connection",
    /// Nobody listens for this protocol.
    NoProtocol = "protocol unreachable",
    /// No route to the destination.
    NoRoute = "no route to host",
    /// Nobody listens on this port.
    NoSocket = "nobody listens on the port",
    /// A source or destination that no wire may carry (0/8, 127/8, ::1, a group as source).
    Martian = "martian address",
    /// The neighbour did not answer ARP or ND.
    NeighbourFailed = "neighbour does not answer",
    /// Too many packets wait for one neighbour.
    NeighbourQueueFull = "queue for an unresolved neighbour is full",
    /// The outgoing interface has no address to masquerade with.
    NatNoAddress = "no address to translate to",
    /// No port of the range is free for translation.
    NatPortsExhausted = "no free port for address translation",
    /// The frame is for another station.
    NotForUs = "frame for another station",
    /// Forwarding is off in this namespace.
    NotForwarding = "forwarding is off",
    /// All buffers are in use.
    PoolEmpty = "out of frame buffers",
    /// The receive ring of the link is full.
    RingFull = "receive ring is full",
    /// A datagram did not fit the socket's receive buffer.
    SocketBufferFull = "socket receive buffer is full",
    /// The listener's queue of connections is full.
    SynQueueFull = "listen queue is full",
    /// The filter of the listening socket passes nothing.
    SocketFiltered = "dropped by the socket's filter",
    /// It acknowledges less than its connection could have forgotten (RFC 5961 §5.2).
    TcpAckOld = "acknowledges what was acknowledged long ago",
    /// It acknowledges what its connection has not sent (RFC 9293 §3.10.7.4).
    TcpAckUnsent = "acknowledges what was not sent",
    /// The TCP engine refused the segment.
    TcpRejected = "segment rejected by TCP",
    /// Shorter than its headers say.
    Truncated = "truncated",
    /// An Ethernet type that nobody here speaks.
    UnknownEtherType = "unknown Ethernet type",
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

/// What a hook or a bridge decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// It goes on.
    Accept,
    /// It dies.
    Drop(DropReason),
}

/// An address translation as it was written into a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rewrite {
    /// Source before.
    pub from_source: SocketAddr,
    /// Destination before.
    pub from_destination: SocketAddr,
    /// Source after.
    pub to_source: SocketAddr,
    /// Destination after.
    pub to_destination: SocketAddr,
}

impl fmt::Display for Rewrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            from_source,
            from_destination,
            to_source,
            to_destination,
        } = self;
        if from_source != to_source {
            write!(f, "source {from_source} → {to_source}")?;
        }
        if from_destination != to_destination {
            if from_source != to_source {
                f.write_str(", ")?;
            }
            write!(f, "destination {from_destination} → {to_destination}")?;
        }
        Ok(())
    }
}

/// One step of a frame's life, or its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub at: Time,
    /// Which frame ([`crate::frame::Meta::id`]).
    pub frame: u64,
    /// At which interface (the bridge's own interface for what a bridge does).
    pub place: IfId,
    /// What happened.
    pub what: What,
}

/// What happened to a frame at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A stack consumed it.
    Delivered,
    /// It died.
    Dropped(DropReason),
    /// A bridge sent it out of every other port.
    Flooded,
    /// A bridge or a router passed it on to this interface.
    Forwarded(IfId),
    /// A table of rules decided on it. Told only where [`keep_judgements`](crate::filter::Ruleset::keep_judgements)
    /// asks for it.
    Judged(Judgement),
    /// A bridge learned its source address behind this interface.
    Learned(IfId),
    /// An address translation changed it.
    Rewritten(Rewrite),
    /// A stack sent it.
    Sent,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} frame {} if{} ", self.at, self.frame, self.place.0)?;
        write!(f, "{}", self.what)
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Delivered => f.write_str("delivered"),
            Self::Dropped(reason) => write!(f, "dropped: {reason}"),
            Self::Flooded => f.write_str("flooded"),
            Self::Forwarded(to) => write!(f, "forwarded to if{}", to.0),
            Self::Judged(judgement) => write!(f, "judged: {judgement}"),
            Self::Learned(port) => write!(f, "learned behind if{}", port.0),
            Self::Rewritten(rewrite) => write!(f, "rewritten: {rewrite}"),
            Self::Sent => f.write_str("sent"),
        }
    }
}

/// Frames that died, by reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drops {
    counts: Vec<u64>,
}

impl Drops {
    /// One more frame died of `reason`.
    pub fn count(&mut self, reason: DropReason) {
        if self.counts.is_empty() {
            self.counts = vec![0; DropReason::ALL.len()];
        }
        self.counts[reason as usize] += 1;
    }

    /// How many died of `reason`.
    #[must_use]
    pub fn of(&self, reason: DropReason) -> u64 {
        self.counts.get(reason as usize).copied().unwrap_or(0)
    }

    /// How many died.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The reasons that occurred, in the order of the list.
    pub fn iter(&self) -> impl Iterator<Item = (DropReason, u64)> + '_ {
        DropReason::ALL
            .iter()
            .copied()
            .map(|reason| (reason, self.of(reason)))
            .filter(|&(_, count)| count > 0)
    }
}
