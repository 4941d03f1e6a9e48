//! A whole lab in both families under strain, driven its short ways, its long ones, and in pieces: all tell the same, and
//! it recovers.
//!
//! A wire between two networks loses, delays, repeats, reorders and spoils what crosses it; tables, rings and buffers are
//! small; datagrams are cut; many flows want the same few ports; containers and networks come and go in between.

mod acts;
mod steps;
mod wire;
mod world;

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::time::Duration;
use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use switch::conntrack::{Conntrack, Limits};
use switch::filter::{self, Action, ChainId, Match, Rule, RuleId, Table};
use switch::frame::PoolLimits;
use switch::hook::Hook;
use switch::link::{Mode, Side};
use switch::segment::{cut, fill_checksums};
use switch::verdict::Event;

use crate::app::{Family, SockKind, SockOpt, Sys};
use crate::docker::spec::{
    ContainerSpec, EndpointSpec, HostPort, NetworkSpec, Port, PortBinding, Proto,
};
use crate::id::{NsId, SockId};
use crate::lab::{Input, Lab, LabConfig, Output};
use crate::net::{CaptureAt, NetConfig, Offload};
use crate::netns::*;
use ipnet::IpNet;

use steps::*;
use world::{End, World};

/// Containers that publish their ports, and the networks that they are in.
const BOXES: [(&str, &str); 3] = [("box0", "front"), ("box1", "front"), ("box2", "back")];
/// The ends of the wire, and the networks that they are in.
const ENDS: [(&str, &str); 2] = [("end0", "front"), ("end1", "back")];
const PORT: u16 = 80;

fn compare(setting: Setting, steps: &[Step], drives: &[Drive]) -> Result<(), TestCaseError> {
    let mut worlds: Vec<World> = drives
        .iter()
        .map(|drive| World::new(setting, *drive))
        .collect();
    let alike = |worlds: &[World], step: &dyn core::fmt::Debug| {
        for other in &worlds[1..] {
            let (one, drive) = (&worlds[0], other.drive);
            differ(&one.said, &other.said, format!("{drive:?} said {step:?}"))?;
            differ(
                &one.events,
                &other.events,
                format!("{drive:?} events {step:?}"),
            )?;
            differ(
                &one.state(),
                &other.state(),
                format!("{drive:?} state {step:?}"),
            )?;
        }
        Ok::<_, TestCaseError>(())
    };
    for step in steps {
        worlds.iter_mut().for_each(|world| world.step(step));
        alike(&worlds, step)?;
    }
    worlds.iter_mut().for_each(World::heal);
    alike(&worlds, &"heal")?;
    worlds.iter_mut().for_each(|world| world.recovers(setting));
    alike(&worlds, &"recovers")?;
    worlds.iter_mut().for_each(World::finish);
    Ok(())
}

/// The first place where two lists differ is none.
fn differ<T: PartialEq + core::fmt::Debug>(
    one: &[T],
    other: &[T],
    context: String,
) -> Result<(), TestCaseError> {
    let at = (0..one.len().max(other.len())).find(|&at| one.get(at) != other.get(at));
    if let Some(at) = at {
        let from = at.saturating_sub(3);
        let some =
            |list: &[T]| format!("{:#?}", list.iter().skip(from).take(6).collect::<Vec<_>>());
        prop_assert!(
            false,
            "{} at {}: {} {}",
            context,
            at,
            some(one),
            some(other)
        );
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: ProptestConfig::default().cases / 25,
        failure_persistence: None,
        max_shrink_iters: 400,
        ..ProptestConfig::default() })]

    #[test]
    fn under_strain_all_ways_tell_the_same(
        setting in any_setting(),
        steps in vec(any_step(), 1..60),
    ) {
        compare(setting, &steps, &[Drive::Short, Drive::Long, Drive::Pieces])?;
    }

    /// A short way keeps buffers that a long one gives back, so that these are compared with nothing but themselves.
    #[test]
    fn with_few_buffers_it_recovers(
        setting in any_setting(),
        small in prop::sample::select(vec![40_usize, 100, 400]),
        large in prop::sample::select(vec![2_usize, 20, 400]),
        steps in vec(any_step(), 1..60),
    ) {
        let setting = Setting { buffers: PoolLimits { small, large }, ..setting };
        compare(setting, &steps, &[Drive::Short])?;
    }
}

/// What finds no buffer is not on the wire, and a reset later says so, whatever the engine believes.
#[test]
fn a_reset_after_an_end_that_found_no_buffer() {
    let setting = Setting {
        mode: Mode::Copy,
        ring: 8,
        addresses: 3,
        connections: 5,
        buffers: PoolLimits {
            small: 40,
            large: 2,
        },
    };
    let mut steps = vec![
        Step::Connect(0, 3, Family::V6),
        Step::Settle,
        Step::Connect(0, 0, Family::V4),
    ];
    steps.extend((0..38).map(|_| Step::Datagram(0, 1, Family::V4, 8, true)));
    steps.extend([
        Step::Close(2, true, false),
        Step::Connect(0, 0, Family::V4),
        Step::Send(15, false, 1),
        Step::Settle,
    ]);
    assert!(compare(setting, &steps, &[Drive::Short]).is_ok());
}

/// The steps lead to what strains a lab.
#[test]
fn random_steps_meet_what_they_are_for() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut drops = BTreeMap::new();
    let (mut accepted, mut heard) = (0, 0);
    for (connections, ring) in [(5, 8), (60, 1024), (262_144, 1024), (262_144, 64)] {
        let setting = Setting {
            mode: Mode::Copy,
            ring,
            addresses: 3,
            connections,
            buffers: PoolLimits::default(),
        };
        let steps = vec(any_step(), 300..301).new_tree(&mut runner).unwrap();
        let mut world = World::new(setting, Drive::Short);
        steps.current().iter().for_each(|step| world.step(step));
        for (reason, count) in world.lab.net().trace.drops.iter() {
            *drops.entry(reason).or_insert(0) += count;
        }
        let of = |word: &str| world.said.iter().filter(|said| said.contains(word)).count();
        accepted += of("accepts");
        heard += of("hears");
    }
    for reason in [
        DropReason::ChecksumBad,
        DropReason::ConntrackFull,
        DropReason::Filtered,
        DropReason::FragmentationNeeded,
        DropReason::InterfaceDown,
        DropReason::NatPortsExhausted,
        DropReason::NeighbourFailed,
        DropReason::NoRoute,
        DropReason::NotForwarding,
        DropReason::RingFull,
    ] {
        assert!(drops.contains_key(&reason), "{reason:?}: {drops:?}");
    }
    assert!(accepted > 20 && heard > 200, "{accepted} {heard}");
}
