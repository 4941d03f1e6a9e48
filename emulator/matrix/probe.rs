//! One question, and a word for why it was not answered.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use emulator_core::id::NsId;
use emulator_core::lab::Lab;
use emulator_core::lab::probe::{Answer, Question};
use emulator_core::netns::{Errno, LO};
use switch::DropReason;
use switch::trace::Mark;
use switch::verdict::What;

/// How long a probe waits before it says "timeout", in virtual time.
const LIMIT: Duration = Duration::from_secs(5);

/// How long it waits at first: what a filter drops once it drops again, and is not asked three times.
const SHORT: Duration = Duration::from_millis(900);

/// How long a server repeats an answer that dies (`tcp_synack_retries`): a later question would meet it.
const REST: Duration = Duration::from_secs(64);

/// After an ICMP error: a second, until the next one may be sent.
const PAUSE: Duration = Duration::from_secs(1);

/// Asks, and notes for what reason frames died of it.
pub(crate) fn ask(
    lab: &mut Lab,
    ns: NsId,
    question: &Question<'_>,
) -> (Answer, Option<DropReason>) {
    let (mut answer, mut dropped) = asked(lab, ns, question, SHORT);
    if answer == Answer::Timeout && !dropped.is_some_and(is_filter) {
        let (later, again) = asked(lab, ns, question, LIMIT);
        answer = later;
        dropped = dropped.into_iter().chain(again).min();
    }
    let limited = match &answer {
        Answer::Failed(Errno::ConnRefused) => matches!(question, Question::Udp(..)),
        Answer::Failed(Errno::HostUnreach) => true,
        _ => false,
    };
    if limited {
        lab.run_for(PAUSE);
    }
    (answer, dropped)
}

/// Asks once, with patience for `limit`. Somebody may be listening already, and keeps the events.
pub(crate) fn asked(
    lab: &mut Lab,
    ns: NsId,
    question: &Question<'_>,
    limit: Duration,
) -> (Answer, Option<DropReason>) {
    let heard = lab.net().trace.is_listening();
    lab.net_mut().trace.listen(true);
    let mark = lab.net().trace.mark();
    let answer = lab.probe(ns, question, limit);
    let died = died(lab, ns, mark);
    if !heard {
        let trace = &mut lab.net_mut().trace;
        trace.listen(false);
        let _unheard = trace.drain();
    }
    if died.answer && answer == Answer::Timeout && matches!(question, Question::Tcp(..)) {
        lab.run_for(REST);
    }
    (answer, died.reason)
}

/// What died of a question.
#[derive(Clone, Copy, Debug, Default)]
struct Died {
    /// Why: the first in the order of reasons.
    reason: Option<DropReason>,
    /// An answer did.
    answer: bool,
}

/// What became since `mark` of the frames of `ns`, and of those whom they reached. Others speak meanwhile, and what
/// becomes of that says nothing about this question.
fn died(lab: &Lab, ns: NsId, mark: Mark) -> Died {
    let net = lab.net();
    let mut reached = BTreeSet::from([ns]);
    let mut senders: BTreeMap<u64, Option<NsId>> = BTreeMap::new();
    let mut flooded = BTreeSet::new();
    let mut died = Died::default();
    for event in net.trace.fates(mark) {
        // Loopback is everybody's.
        let here = match event.place {
            LO => Some(ns),
            place => net.ns_of(place),
        };
        let sender = senders.get(&event.frame).copied();
        // What dies before it is sent dies at home.
        let from = sender.unwrap_or(here);
        let is_own = from.is_some_and(|from| reached.contains(&from));
        match event.what {
            // Routers send it on.
            What::Sent => {
                senders.entry(event.frame).or_insert(here);
            }
            What::Flooded => {
                flooded.insert(event.frame);
            }
            What::Delivered if is_own && !flooded.contains(&event.frame) => reached.extend(here),
            What::Dropped(reason) if is_own => {
                let first = died.reason.map_or(reason, |first| first.min(reason));
                died.reason = Some(first);
                died.answer |= from != Some(ns);
            }
            _ => {}
        }
    }
    died
}

/// A rule decided: it decides the same again.
const fn is_filter(reason: DropReason) -> bool {
    matches!(
        reason,
        DropReason::Filtered
            | DropReason::FilteredDirect
            | DropReason::FilteredIcc
            | DropReason::FilteredInternal
            | DropReason::FilteredIsolation
            | DropReason::FilteredUnpublished
    )
}

/// A word for why it did not answer; `container` is the asker.
pub(crate) fn word(container: bool, answer: &Answer, dropped: Option<DropReason>) -> String {
    let word = match (answer, dropped) {
        // The rule guards what is not published against everybody else; a container is elsewhere.
        (Answer::Timeout, Some(DropReason::FilteredUnpublished)) if container => {
            "no-common-network"
        }
        (Answer::Timeout, Some(DropReason::FilteredIcc)) => "icc-off",
        (Answer::Timeout, Some(DropReason::FilteredInternal)) => "internal",
        (Answer::Timeout, Some(DropReason::FilteredIsolation)) => "isolated",
        (Answer::Timeout, Some(DropReason::FilteredUnpublished)) => "not-published",
        (Answer::Timeout, Some(DropReason::FilteredDirect)) => "direct-access",
        (Answer::Timeout, Some(DropReason::Filtered)) => "filtered",
        (Answer::Timeout, _) => "timeout",
        (Answer::Closed, _) => "closed",
        (Answer::Failed(Errno::ConnRefused), _) => "refused",
        (Answer::Failed(Errno::NetUnreach), _) => "net-unreachable",
        (Answer::Failed(Errno::HostUnreach), _) => "host-unreachable",
        (Answer::Failed(Errno::ConnReset), _) => "reset",
        (Answer::Failed(Errno::TimedOut), _) => "timeout",
        (Answer::Failed(errno), _) => return errno.code().to_owned(),
        (Answer::Open(_), _) => "open",
    };
    word.to_owned()
}
