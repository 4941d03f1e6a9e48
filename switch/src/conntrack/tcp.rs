//! The TCP states of a connection as a router sees them, from the flags alone.
//!
//! After Linux `nf_conntrack_proto_tcp` with its default timeouts. Left out: the window tracking
//! that finds segments outside of the window (as if `nf_conntrack_tcp_be_liberal` were on and
//! resets were believed), the shorter timeout after retransmissions, and `SYN_SENT2`'s role in
//! guessing what a lost answer was.
//!
//! ```text
//!   SYN          SYN+ACK       ACK            FIN          ACK           FIN         ACK
//!  ────▶ SYN_SENT ────▶ SYN_RECV ────▶ ESTABLISHED ────▶ FIN_WAIT ────▶ CLOSE_WAIT ────▶ LAST_ACK ────▶ TIME_WAIT
//!                         RST from anywhere ────▶ CLOSE          SYN in TIME_WAIT or CLOSE starts anew
//! ```

use core::time::Duration;

use super::Direction;
use crate::time::Time;

/// A connection's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcpState {
    /// The first SYN has been seen.
    SynSent,
    /// Both ends have sent a SYN and none an ACK (simultaneous open).
    SynSent2,
    /// The SYN was answered.
    SynRecv,
    /// Data may flow. Also where a connection begins that was under way before it was seen.
    Established,
    /// One end has sent a FIN.
    FinWait,
    /// That FIN was acknowledged.
    CloseWait,
    /// Both ends have sent a FIN.
    LastAck,
    /// Both FINs were acknowledged.
    TimeWait,
    /// There was a reset.
    Close,
}

impl TcpState {
    /// How long a connection in this state outlives its last packet (`nf_conntrack_tcp_timeout_*`).
    #[must_use]
    pub const fn timeout(self) -> Duration {
        Duration::from_secs(match self {
            Self::SynSent | Self::SynSent2 | Self::FinWait | Self::TimeWait => 120,
            Self::SynRecv | Self::CloseWait => 60,
            Self::Established => 432_000,
            Self::LastAck => 30,
            Self::Close => 10,
        })
    }

    /// When a connection in this state runs out whose last packet comes now.
    #[inline]
    pub(super) const fn runs_out(self, now: Time) -> Time {
        Time::from_nanos(now.as_nanos().saturating_add(TIMEOUTS[self as usize]))
    }

    /// Every state, by its number.
    const ALL: [Self; 9] = [
        Self::SynSent,
        Self::SynSent2,
        Self::SynRecv,
        Self::Established,
        Self::FinWait,
        Self::CloseWait,
        Self::LastAck,
        Self::TimeWait,
        Self::Close,
    ];

    /// The word that `conntrack -L` prints.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::SynSent => "SYN_SENT",
            Self::SynSent2 => "SYN_SENT2",
            Self::SynRecv => "SYN_RECV",
            Self::Established => "ESTABLISHED",
            Self::FinWait => "FIN_WAIT",
            Self::CloseWait => "CLOSE_WAIT",
            Self::LastAck => "LAST_ACK",
            Self::TimeWait => "TIME_WAIT",
            Self::Close => "CLOSE",
        }
    }
}

/// The timeouts of all states in nanoseconds.
const TIMEOUTS: [u64; TcpState::ALL.len()] = {
    let mut timeouts = [0; TcpState::ALL.len()];
    let mut at = 0;
    while at < timeouts.len() {
        timeouts[at] = TcpState::ALL[at].timeout().as_nanos() as u64;
        at += 1;
    }
    timeouts
};

/// `ESTABLISHED` without an answer yet: a connection that was picked up half way
/// (`nf_conntrack_tcp_timeout_unacknowledged`).
pub(crate) const UNACKNOWLEDGED: Duration = Duration::from_secs(300);

/// What a segment does, by its flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Segment {
    Syn,
    SynAck,
    Fin,
    Ack,
    Rst,
}

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const PSH: u8 = 0x08;
const ACK: u8 = 0x10;
const URG: u8 = 0x20;

impl Segment {
    /// The segment with these flags, or `None` if no TCP sends such (a FIN without ACK, SYN with
    /// FIN, no flag at all). ECN bits and PSH are not looked at.
    #[inline]
    pub(crate) const fn of(flags: u8) -> Option<Self> {
        SEGMENTS[(flags & 0x3f) as usize]
    }

    const fn read(flags: u8) -> Option<Self> {
        match flags & (FIN | SYN | RST | ACK | URG) & !PSH {
            SYN => Some(Self::Syn),
            f if f == SYN | URG => Some(Self::Syn),
            f if f == SYN | ACK => Some(Self::SynAck),
            RST => Some(Self::Rst),
            f if f == RST | ACK => Some(Self::Rst),
            f if f == FIN | ACK || f == FIN | ACK | URG => Some(Self::Fin),
            ACK => Some(Self::Ack),
            f if f == ACK | URG => Some(Self::Ack),
            _ => None,
        }
    }
}

/// What flags mean, read from a line of the cache: by all of them but ECN's.
static SEGMENTS: [Option<Segment>; 64] = {
    let mut all = [None; 64];
    let mut flags = 0;
    while flags < all.len() {
        all[flags] = Segment::read(flags as u8);
        flags += 1;
    }
    all
};

/// What a segment makes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// It is in this state now.
    To(TcpState),
    /// It stays as it is; its timer too.
    Ignore,
    /// The segment does not belong to it.
    Invalid,
    /// The connection is over and the segment starts a new one.
    Reopen,
}

/// The state that a connection begins in with its first segment, if it may begin with it. An ACK may:
/// the connection was there before the tracking was (`nf_conntrack_tcp_loose`).
pub(crate) const fn first(segment: Segment) -> Option<TcpState> {
    match segment {
        Segment::Syn => Some(TcpState::SynSent),
        Segment::Ack => Some(TcpState::Established),
        Segment::SynAck | Segment::Fin | Segment::Rst => None,
    }
}

/// Every [step](worked_out), by segment, direction and state.
static STEPS: [[[Step; 9]; 2]; 5] = {
    let mut all = [[[Step::Invalid; 9]; 2]; 5];
    let segments = [
        Segment::Syn,
        Segment::SynAck,
        Segment::Fin,
        Segment::Ack,
        Segment::Rst,
    ];
    let mut at = 0;
    while at < 5 * 9 {
        let (segment, state) = (segments[at / 9], TcpState::ALL[at % 9]);
        let steps = &mut all[segment as usize];
        steps[0][state as usize] = worked_out(state, Direction::Original, segment);
        steps[1][state as usize] = worked_out(state, Direction::Reply, segment);
        at += 1;
    }
    all
};

/// What `segment` in `direction` makes of a connection in `state`.
#[inline]
pub(crate) const fn step(state: TcpState, direction: Direction, segment: Segment) -> Step {
    STEPS[segment as usize][direction as usize][state as usize]
}

const fn worked_out(state: TcpState, direction: Direction, segment: Segment) -> Step {
    match segment {
        Segment::Rst => Step::To(TcpState::Close),
        Segment::Syn => syn(state, direction),
        Segment::SynAck => syn_ack(state, direction),
        Segment::Fin => fin(state),
        Segment::Ack => ack(state, direction),
    }
}

const fn syn(state: TcpState, direction: Direction) -> Step {
    match (direction, state) {
        (Direction::Original, TcpState::SynSent) => Step::To(TcpState::SynSent),
        (_, TcpState::SynSent | TcpState::SynSent2) => Step::To(TcpState::SynSent2),
        (_, TcpState::TimeWait) | (Direction::Original, TcpState::Close) => Step::Reopen,
        (Direction::Original, _) => Step::Ignore,
        (Direction::Reply, _) => Step::Invalid,
    }
}

const fn syn_ack(state: TcpState, direction: Direction) -> Step {
    match (direction, state) {
        (_, TcpState::SynSent2) => Step::To(TcpState::SynRecv),
        (Direction::Original, TcpState::SynRecv) => Step::To(TcpState::SynRecv),
        (Direction::Original, _) => Step::Invalid,
        (Direction::Reply, TcpState::SynSent) => Step::To(TcpState::SynRecv),
        (Direction::Reply, _) => Step::Ignore,
    }
}

const fn fin(state: TcpState) -> Step {
    match state {
        TcpState::SynSent | TcpState::SynSent2 => Step::Invalid,
        TcpState::SynRecv | TcpState::Established => Step::To(TcpState::FinWait),
        TcpState::FinWait | TcpState::CloseWait | TcpState::LastAck => Step::To(TcpState::LastAck),
        TcpState::TimeWait | TcpState::Close => Step::To(state),
    }
}

const fn ack(state: TcpState, direction: Direction) -> Step {
    match (state, direction) {
        (TcpState::SynSent | TcpState::SynSent2, Direction::Original) => Step::Invalid,
        (TcpState::SynSent | TcpState::SynSent2, Direction::Reply) => Step::Ignore,
        (TcpState::SynRecv, Direction::Reply) => Step::To(TcpState::SynRecv),
        (TcpState::SynRecv, Direction::Original) | (TcpState::Established, _) => {
            Step::To(TcpState::Established)
        }
        (TcpState::FinWait | TcpState::CloseWait, _) => Step::To(TcpState::CloseWait),
        (TcpState::LastAck | TcpState::TimeWait, _) => Step::To(TcpState::TimeWait),
        (TcpState::Close, _) => Step::To(TcpState::Close),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Direction::{Original, Reply};
    use TcpState::*;

    fn walk(segments: &[(Direction, Segment)]) -> TcpState {
        let mut state = SynSent;
        for &(direction, segment) in segments {
            match step(state, direction, segment) {
                Step::To(next) => state = next,
                Step::Ignore => {}
                other => panic!("{state:?} {direction:?} {segment:?}: {other:?}"),
            }
        }
        state
    }

    #[test]
    fn a_connection_opens_and_closes() {
        let open = [(Reply, Segment::SynAck), (Original, Segment::Ack)];
        assert_eq!(walk(&open), Established);
        let steps = [
            (Original, Segment::Fin, FinWait),
            (Reply, Segment::Ack, CloseWait),
            (Reply, Segment::Ack, CloseWait),
            (Reply, Segment::Fin, LastAck),
            (Original, Segment::Ack, TimeWait),
        ];
        let mut path = open.to_vec();
        for (direction, segment, expected) in steps {
            path.push((direction, segment));
            assert_eq!(walk(&path), expected);
        }
        assert_eq!(step(TimeWait, Original, Segment::Syn), Step::Reopen);
        assert_eq!(step(Close, Original, Segment::Syn), Step::Reopen);
    }

    #[test]
    fn simultaneous_open_and_resets() {
        let both = [(Reply, Segment::Syn), (Original, Segment::SynAck)];
        assert_eq!(walk(&both), SynRecv);
        assert_eq!(walk(&[(Reply, Segment::Rst)]), Close);
        assert_eq!(step(Close, Reply, Segment::Syn), Step::Invalid);
        assert_eq!(step(Established, Reply, Segment::Syn), Step::Invalid);
        assert_eq!(step(Established, Original, Segment::Syn), Step::Ignore);
    }

    #[test]
    fn flags_that_no_tcp_sends() {
        for flags in [
            0,
            FIN,
            SYN | FIN,
            SYN | RST,
            FIN | RST | ACK,
            PSH,
            URG,
            0x3f,
        ] {
            assert_eq!(Segment::of(flags), None, "{flags:#x}");
        }
        assert_eq!(Segment::of(PSH | ACK), Some(Segment::Ack));
        assert_eq!(Segment::of(0xc0 | SYN), Some(Segment::Syn), "ECN setup");
        assert_eq!(first(Segment::Rst), None);
        assert_eq!(first(Segment::Ack), Some(Established));
    }

    #[test]
    fn default_timeouts_of_linux() {
        let seconds = [
            (SynSent, 120),
            (SynRecv, 60),
            (Established, 432_000),
            (FinWait, 120),
            (CloseWait, 60),
            (LastAck, 30),
            (TimeWait, 120),
            (Close, 10),
        ];
        for (state, expected) in seconds {
            assert_eq!(state.timeout().as_secs(), expected, "{}", state.word());
        }
    }
}
