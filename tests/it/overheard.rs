//! Questions that are overheard where they are flooded against questions that are brought to everybody.
//!
//! While somebody listens to events each station of a link is brought each question. So two labs in which the same happens,
//! one with a listener, have to end up with the same neighbours, counters and answers.

use core::fmt::Write;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::time::Duration;

use emulator_core::docker::spec::{ContainerSpec, Listening, NetworkSpec, Port, Proto};
use emulator_core::id::NsId;
use emulator_core::lab::probe::{Answer, Question};
use emulator_core::lab::{Lab, LabConfig};
use emulator_core::net::NetConfig;
use proptest::prelude::*;
use switch::frame::PoolLimits;
use switch::link::{Mode, Side};
use switch::verdict::DropReason;

const BOXES: usize = 6;
const PORT: u16 = 80;

#[derive(Clone, Debug)]
enum Step {
    /// A box or another machine pings a box, or an address that nobody has.
    Ping(usize, usize),
    Connect(usize, usize),
    /// A box goes, and another one with the same name comes, with another MAC perhaps.
    Again(usize),
    Wait(u64),
}

fn any_step() -> impl Strategy<Value = Step> {
    let pair = || (0..=BOXES, 0..=BOXES);
    prop_oneof![
        6 => pair().prop_map(|(from, to)| Step::Ping(from, to)),
        6 => pair().prop_map(|(from, to)| Step::Connect(from, to)),
        1 => (0..BOXES).prop_map(Step::Again),
        3 => prop_oneof![1u64..1500, 1_000u64..70_000].prop_map(Step::Wait),
    ]
}

fn start(lab: &mut Lab, number: usize) {
    let name = format!("box{number}");
    lab.create(ContainerSpec {
        name: Some(name.clone()),
        image: "example".to_owned(),
        network_mode: "link".to_owned(),
        listens: Some(vec![Listening {
            address: None,
            port: Port {
                number: PORT,
                proto: Proto::Tcp,
            },
        }]),
        ..ContainerSpec::default()
    })
    .unwrap();
    lab.start(&name).unwrap();
}

fn lab(mode: Mode, boxes: usize, pool: PoolLimits) -> Lab {
    let net = NetConfig {
        mode,
        pool,
        ..NetConfig::default()
    };
    let config = LabConfig {
        net,
        ..LabConfig::default()
    };
    let mut lab = Lab::new(config).unwrap();
    lab.network_create(NetworkSpec {
        name: "link".to_owned(),
        ..NetworkSpec::default()
    })
    .unwrap();
    for number in 0..boxes {
        start(&mut lab, number);
    }
    lab
}

fn place(lab: &Lab, number: usize) -> NsId {
    let own = lab.namespace(&format!("box{number}"));
    own.unwrap_or_else(|| lab.places().lan)
}

fn address(lab: &Lab, number: usize) -> IpAddr {
    let netns = lab.net().ns(place(lab, number)).unwrap();
    let own = netns.iface_named("eth0").filter(|_| number < BOXES);
    let mut own = own.into_iter().flat_map(|iface| iface.addrs.iter());
    let own = own.find_map(|own| Some(own.net.addr()).filter(IpAddr::is_ipv4));
    own.unwrap_or_else(|| Ipv4Addr::new(172, 18, 0, 200).into())
}

fn take(lab: &mut Lab, step: &Step) -> Option<Answer> {
    let (from, question) = match *step {
        Step::Ping(from, to) => (from, Question::Ping(address(lab, to))),
        Step::Connect(from, to) => {
            let to = SocketAddr::new(address(lab, to), PORT);
            (from, Question::Tcp(to, b""))
        }
        Step::Again(number) => {
            lab.remove(&format!("box{number}"), true).unwrap();
            start(lab, number);
            return None;
        }
        Step::Wait(millis) => {
            lab.run_for(Duration::from_millis(millis));
            return None;
        }
    };
    let from = place(lab, from);
    Some(lab.probe(from, &question, Duration::from_millis(1500)))
}

/// What every station knows of its neighbours, and what was counted.
fn known(lab: &Lab) -> String {
    let mut text = format!("{:?} {:?}\n", lab.now(), lab.net().trace.drops);
    for netns in lab.net().all_ns() {
        for iface in netns.ifaces() {
            writeln!(text, "{} {:?} {:?}", iface.name, iface.rx, iface.tx).unwrap();
        }
        for neighbour in netns.neighbours(lab.now()) {
            writeln!(text, "  {neighbour:?}").unwrap();
        }
    }
    for link in lab.net().links() {
        writeln!(
            text,
            "{:?}",
            [Side::A, Side::B].map(|side| link.counters(side))
        )
        .unwrap();
    }
    text
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn who_overhears_a_question_knows_as_much_as_who_is_brought_it(
        steps in prop::collection::vec(any_step(), 1..40),
        moves in any::<bool>(),
    ) {
        let mode = if moves { Mode::Move } else { Mode::Copy };
        let mut labs = [(); 2].map(|()| lab(mode, BOXES, PoolLimits::default()));
        labs[1].net_mut().trace.listen(true);
        for step in &steps {
            let [overheard, brought] = labs.each_mut().map(|lab| take(lab, step));
            prop_assert_eq!(overheard, brought, "{:?}", step);
            labs[1].events();
            let [overheard, brought] = labs.each_ref().map(known);
            prop_assert_eq!(overheard, brought, "{:?}", step);
        }
    }
}

/// Containers that start together all announce themselves at once, each to each.
#[test]
fn announcements_of_one_moment_share_their_buffers() {
    let few = PoolLimits {
        small: 256,
        large: 16,
    };
    let mut lab = lab(Mode::Copy, 100, few);
    lab.settle();
    assert_eq!(lab.net().trace.drops.of(DropReason::PoolEmpty), 0);
    lab.run_for(Duration::from_secs(5));
    assert_eq!(lab.net().trace.drops.of(DropReason::PoolEmpty), 0);
}
