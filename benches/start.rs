//! How long until a lab with many containers is up?
//!
//! API: `Lab::new`, `network_create` with a subnet, for each container `create`, `start` and
//! `Lab::poll` until nothing is left to do now: what it announces has reached all others. On: rules,
//! counters, events. Checked: each has its address, and the last one answers the first one's ping.
//!
//! The anchor is the figure per container of the smallest lab.

use std::time::Instant;

use crate::common::lab::{assert_tracked, container, lab, network, quiet, start};
use crate::common::{rounds, si, spread};
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

pub(crate) fn run() {
    println!(
        "start: Lab::new, network_create, create and start of each container; on: rules, counters, events"
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
        let each: Vec<f64> = all[0].iter().map(|time| time / 2.0).collect();
        for (at, &count) in sizes.iter().enumerate() {
            let ratio: Vec<f64> = all[at]
                .iter()
                .zip(&each)
                .map(|(time, each)| time / count as f64 / each)
                .collect();
            println!("{count} containers of {image}");
            for (word, times) in [("verbs alone", &verbs[at]), ("up and quiet", &all[at])] {
                let (median, least, most) = spread(times);
                println!(
                    "  {word:<28} {}s ({}..{}), {}s each",
                    si(median),
                    si(least).trim_end(),
                    si(most).trim_end(),
                    si(median / count as f64)
                );
            }
            let (median, least, most) = spread(&ratio);
            println!("  each, to one of two          {median:.3} ({least:.3}..{most:.3})");
        }
    }
}
