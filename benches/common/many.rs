//! Labs of many containers, a hundred a network, for the benches of time and of memory.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::lab::{container, lab, network, quiet, start};
use vethlab::core::lab::probe::{Answer, Question};
use vethlab::core::lab::{Lab, LabConfig};

/// Containers of one network.
pub(crate) const A_NETWORK: usize = 100;

/// A lab, the seconds that the verbs took, and the seconds until the announcements of that moment had
/// arrived.
pub(crate) struct Up {
    pub(crate) lab: Lab,
    pub(crate) verbs: f64,
    pub(crate) announced: f64,
}

/// The name of a container.
pub(crate) fn name(number: usize) -> String {
    format!("c{number}")
}

fn subnet(number: usize) -> String {
    format!("10.{}.{}.0/24", number / 256, number % 256)
}

/// A lab with `count` containers, `per` a network with a subnet of its own.
pub(crate) fn up(count: usize, per: usize, image: &str) -> Up {
    let names: Vec<String> = (0..count).map(name).collect();
    let (mut verbs, mut announced) = (Duration::ZERO, Duration::ZERO);
    let mut begun = Instant::now();
    let mut lab = lab(LabConfig::default());
    for (number, members) in names.chunks(per).enumerate() {
        let net = format!("net{number}");
        let subnet = if per > 200 {
            "10.10.0.0/16".to_owned()
        } else {
            subnet(number)
        };
        lab.network_create(network(&net, &subnet))
            .expect("a network");
        for name in members {
            start(&mut lab, container(name, image, &net)).expect("it starts");
            let done = Instant::now();
            verbs += done - begun;
            quiet(&mut lab);
            begun = Instant::now();
            announced += begun - done;
        }
    }
    Up {
        lab,
        verbs: verbs.as_secs_f64(),
        announced: announced.as_secs_f64(),
    }
}

/// Lets the repeated announcements of the first second arrive; the seconds that it took. Nobody listens to events
/// meanwhile: ten thousand announcements at one moment are more than the stream holds.
pub(crate) fn first_second(lab: &mut Lab) -> f64 {
    lab.net_mut().trace.listen(false);
    let begun = Instant::now();
    let end = lab.now() + Duration::from_secs(1);
    while lab.deadline().is_some_and(|next| next <= end) {
        super::lab::wait(lab);
        quiet(lab);
    }
    let spent = begun.elapsed().as_secs_f64();
    lab.net_mut().trace.listen(true);
    spent
}

/// Every container has its address; some find their neighbours by name, and reach them.
pub(crate) fn check(lab: &mut Lab, count: usize, per: usize) {
    for number in 0..count {
        let host = super::lab::host(lab, &name(number));
        let at = number % per + 2;
        assert_eq!(host.v4[3], (at % 256) as u8);
        if per <= 200 {
            let net = number / per;
            assert_eq!(host.v4[1..3], [(net / 256) as u8, (net % 256) as u8]);
        }
    }
    super::lab::assert_tracked(lab, 0);
    for sample in 0..10.min(count / 2) {
        let net = sample * (count / per).max(1) / 10;
        let members = per.min(count);
        let (asker, asked) = (
            net * per + sample % members,
            net * per + members - 1 - sample,
        );
        let ns = super::lab::host(lab, &name(asker)).ns;
        let address = IpAddr::from(super::lab::host(lab, &name(asked)).v4);
        assert_eq!(lab.lookup(ns, &name(asked)), [address]);
        let answer = lab.probe(ns, &Question::Ping(address), Duration::from_secs(1));
        assert!(matches!(answer, Answer::Open(_)), "{answer:?}");
    }
    quiet(lab);
}
