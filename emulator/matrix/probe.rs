//! One question, and a word for why it was not answered.

use core::time::Duration;

use emulator_core::id::NsId;
use emulator_core::lab::Lab;
use emulator_core::lab::probe::{Answer, Question};
use emulator_core::netns::Errno;
use switch::DropReason;

/// How long a probe waits before it says "timeout", in virtual time.
const LIMIT: Duration = Duration::from_secs(5);

/// How long it waits at first: what a filter drops once it drops again, and is not asked three times.
const SHORT: Duration = Duration::from_millis(900);

/// After an ICMP error: a second, until the next one may be sent.
const PAUSE: Duration = Duration::from_secs(1);

/// Asks, and notes for what reason frames died meanwhile.
pub(crate) fn ask(
    lab: &mut Lab,
    ns: NsId,
    question: &Question<'_>,
) -> (Answer, Option<DropReason>) {
    let before = lab.net().trace.drops.clone();
    let dropped = |lab: &Lab| {
        let mut after = lab.net().trace.drops.iter();
        let more = after.find(|&(reason, count)| count > before.of(reason));
        more.map(|(reason, _)| reason)
    };
    let mut answer = lab.probe(ns, question, SHORT);
    if answer == Answer::Timeout && !dropped(lab).is_some_and(is_filter) {
        answer = lab.probe(ns, question, LIMIT);
    }
    let dropped = dropped(lab);
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
