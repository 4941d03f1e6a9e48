//! How long until a lab with many containers is up?
//!
//! API: `Lab::new`, `network_create` with a subnet, for each container `create`, `start` and
//! `Lab::poll` until nothing is left to do now: what it announces has reached all others. On: rules,
//! counters, events. Checked: each has its address, and the last one answers the first one's ping.
//!
//! The anchor is the figure per container of the smallest lab.

use std::time::Instant;

use crate::common::lab::{assert_tracked, container, lab, network, quiet, start};
use crate::common::{Plot, Report, Row, rounds};
use vethlab::core::lab::probe::{Answer, Question};
use vethlab::core::lab::{Lab, LabConfig};

/// A lab with `count` containers; seconds in the verbs, and in all.
fn up(count: usize, image: &str) -> (Lab, f64, f64) {
    let names: Vec<String> = (0..count).map(|number| format!("c{number}")).collect();
    let mut verbs = 0.0;
    let begun = Instant::now();
    let mut lab = lab(LabConfig::default());
    lab.network_create(network("big", "10.10.0.0/16"))
        .expect("a network");
    for name in &names {
        let before = Instant::now();
        start(&mut lab, container(name, image, "big")).expect("it starts");
        verbs += before.elapsed().as_secs_f64();
        quiet(&mut lab);
    }
    (lab, verbs, begun.elapsed().as_secs_f64())
}

fn check(mut lab: Lab, count: usize) {
    let host = |number: usize| crate::common::lab::host(&lab, &format!("c{number}"));
    for number in 0..count {
        let address = u32::from_be_bytes(host(number).v4);
        assert_eq!(address, 0x0a0a_0002 + number as u32);
    }
    assert_tracked(&lab, 0);
    let (first, last) = (host(0), host(count - 1));
    let ping = Question::Ping(last.v4.into());
    let answer = lab.probe(first.ns, &ping, core::time::Duration::from_secs(1));
    assert!(matches!(answer, Answer::Open(_)), "{answer:?}");
}

pub(crate) fn run(report: &mut Report) {
    report.about(
        "Lab::new, network_create, create and start of each container; on: rules, counters, events; \
         the anchor is so many times the figure of one of two",
    );
    let rounds = rounds();
    for image in ["busybox", "nginx"] {
        let sizes = [2, 100, 1000];
        let mut verbs = [Vec::new(), Vec::new(), Vec::new()];
        let mut all = [Vec::new(), Vec::new(), Vec::new()];
        for _ in 0..rounds.count {
            for (at, &count) in sizes.iter().enumerate() {
                let (lab, until_verbs, until_quiet) = up(count, image);
                verbs[at].push(until_verbs);
                all[at].push(until_quiet);
                check(lab, count);
            }
        }
        for (at, &count) in sizes.iter().enumerate() {
            let scaled: Vec<f64> = all[0]
                .iter()
                .map(|time| time / 2.0 * count as f64)
                .collect();
            Row::cost(format!("{count} containers of {image}, verbs alone"), "s").record(
                report,
                ("verbs", &verbs[at]),
                None,
            );
            Row::cost(format!("{count} containers of {image}, up and quiet"), "s")
                .point(Plot::Containers, count as f64, image)
                .record(
                    report,
                    ("all", &all[at]),
                    Some(("one of two, times", &scaled)),
                );
        }
    }
}
