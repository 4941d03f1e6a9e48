use proptest::prelude::*;

use super::*;

const BRIDGE: EthernetAddress = EthernetAddress([0x02, 0x42, 0, 0, 0, 0xff]);

fn at(secs: u64) -> Time {
    Time::from_secs(secs)
}

fn mac(last: u8) -> EthernetAddress {
    EthernetAddress([0x02, 0x42, 0xac, 0x11, 0, last])
}

fn port_mac(index: u32) -> EthernetAddress {
    let [a, b, c, d] = index.to_be_bytes();
    EthernetAddress([0x0a, 0, a, b, c, d])
}

fn frame(destination: EthernetAddress, source: EthernetAddress) -> Vec<u8> {
    let mut frame = vec![0; 60];
    frame[..6].copy_from_slice(&destination.0);
    frame[6..12].copy_from_slice(&source.0);
    frame[12..14].copy_from_slice(&[8, 0]);
    frame
}

fn bridge(ports: u32) -> Bridge {
    let mut bridge = Bridge::new(IfId(3), BRIDGE, Limits::default());
    for index in 0..ports {
        let port = bridge.add_port(Time::ZERO, IfId(10 + index), port_mac(index));
        assert_eq!(port, Ok(PortId(index)));
    }
    bridge
}

fn flood(bridge: &Bridge, except: Option<u32>) -> Vec<u32> {
    bridge
        .flood_ports(except.map(PortId))
        .map(|port| port.0)
        .collect()
}

const P0: PortId = PortId(0);
const P1: PortId = PortId(1);
const P2: PortId = PortId(2);

#[test]
fn two_stations_find_each_other() {
    let mut bridge = bridge(3);
    let asked = bridge.input(at(0), P0, &frame(EthernetAddress::BROADCAST, mac(1)));
    assert_eq!(asked, Decision::Flood { local: true });
    assert_eq!(flood(&bridge, Some(0)), [1, 2]);
    let expected = Learned {
        address: mac(1),
        port: P0,
        moved_from: None,
    };
    assert_eq!(bridge.learned(), Some(expected));
    let answered = bridge.input(at(0), P1, &frame(mac(1), mac(2)));
    assert_eq!(answered, Decision::Port(P0));
    let data = bridge.input(at(0), P0, &frame(mac(2), mac(1)));
    assert_eq!(data, Decision::Port(P1));
    assert_eq!(bridge.learned(), None);
    let counters = *bridge.counters();
    assert_eq!((counters.received, counters.forwarded), (3, 2));
    assert_eq!((counters.flooded, counters.local), (1, 1));
    assert_eq!(bridge.port(P0).unwrap().counters.frames, 2);
    assert_eq!(bridge.port(P0).unwrap().counters.bytes, 120);
}

#[test]
fn unknown_unicast_is_flooded_but_does_not_go_up() {
    let mut bridge = bridge(4);
    let decision = bridge.input(at(0), P2, &frame(mac(9), mac(1)));
    assert_eq!(decision, Decision::Flood { local: false });
    assert_eq!(flood(&bridge, Some(2)), [0, 1, 3]);
}

#[test]
fn groups_are_flooded_and_go_up() {
    let mut bridge = bridge(2);
    let mdns = EthernetAddress([0x01, 0x00, 0x5e, 0, 0, 0xfb]);
    let all_nodes = EthernetAddress([0x33, 0x33, 0, 0, 0, 1]);
    for group in [mdns, all_nodes, EthernetAddress::BROADCAST] {
        let decision = bridge.input(at(0), P0, &frame(group, mac(1)));
        assert_eq!(decision, Decision::Flood { local: true });
    }
}

#[test]
fn the_bridges_and_the_ports_own_addresses_go_up() {
    let mut bridge = bridge(2);
    for own in [BRIDGE, port_mac(0), port_mac(1)] {
        let decision = bridge.input(at(0), P0, &frame(own, mac(1)));
        assert_eq!(decision, Decision::Local);
    }
    bridge.set_address(at(0), mac(77));
    let decision = bridge.input(at(0), P0, &frame(mac(77), mac(1)));
    assert_eq!(decision, Decision::Local);
    let decision = bridge.input(at(0), P0, &frame(BRIDGE, mac(1)));
    assert_eq!(decision, Decision::Flood { local: false });
}

#[test]
fn what_no_bridge_takes() {
    let mut bridge = bridge(3);
    let group = EthernetAddress([0x03, 0, 0, 0, 0, 1]);
    let zero = EthernetAddress([0; 6]);
    for (bytes, reason) in [
        (frame(mac(2), group), DropReason::BridgeSourceMulticast),
        (
            frame(mac(2), EthernetAddress::BROADCAST),
            DropReason::BridgeSourceMulticast,
        ),
        (frame(mac(2), zero), DropReason::BridgeSourceZero),
        (frame(mac(2), mac(1))[..13].to_vec(), DropReason::Truncated),
        (Vec::new(), DropReason::Truncated),
    ] {
        assert_eq!(
            bridge.input(at(0), P0, &bytes),
            Decision::Drop(reason),
            "{bytes:?}"
        );
    }
    for last in 0x01..=0x0f {
        let group = EthernetAddress([0x01, 0x80, 0xc2, 0, 0, last]);
        assert_eq!(
            bridge.input(at(0), P0, &frame(group, mac(1))),
            Decision::Drop(DropReason::BridgeLinkLocal)
        );
    }
    assert_eq!(bridge.port(P0).unwrap().counters.dropped, 20);
    assert_eq!(bridge.counters().dropped, 20);
    assert_eq!(bridge.fdb().entries(at(0)).len(), 4, "nothing was learned");

    for last in [0x00, 0x10] {
        let group = EthernetAddress([0x01, 0x80, 0xc2, 0, 0, last]);
        assert_eq!(
            bridge.input(at(0), P0, &frame(group, mac(1))),
            Decision::Flood { local: true }
        );
    }
}

#[test]
fn nothing_goes_back_unless_hairpin_is_on() {
    let mut bridge = bridge(2);
    let _ = bridge.input(at(0), P0, &frame(mac(9), mac(1)));
    let _ = bridge.input(at(0), P0, &frame(mac(9), mac(2)));
    let back = frame(mac(1), mac(2));
    assert_eq!(
        bridge.input(at(0), P0, &back),
        Decision::Drop(DropReason::BridgeSamePort)
    );
    bridge.set_port_flags(
        P0,
        Flags {
            hairpin: true,
            ..Flags::default()
        },
    );
    assert_eq!(bridge.input(at(0), P0, &back), Decision::Port(P0));
    assert_eq!(flood(&bridge, Some(0)), [0, 1]);
}

#[test]
fn isolated_ports_reach_only_the_others() {
    let mut bridge = bridge(3);
    let isolated = Flags {
        isolated: true,
        ..Flags::default()
    };
    bridge.set_port_flags(P0, isolated);
    bridge.set_port_flags(P1, isolated);
    for (port, last) in [(P0, 1), (P1, 2), (P2, 3)] {
        let _ = bridge.input(at(0), port, &frame(EthernetAddress::BROADCAST, mac(last)));
    }
    assert_eq!(flood(&bridge, Some(0)), [2]);
    assert_eq!(flood(&bridge, Some(2)), [0, 1]);
    assert_eq!(flood(&bridge, None), [0, 1, 2]);
    assert_eq!(
        bridge.input(at(0), P0, &frame(mac(2), mac(1))),
        Decision::Drop(DropReason::BridgeIsolated)
    );
    assert_eq!(
        bridge.input(at(0), P0, &frame(mac(3), mac(1))),
        Decision::Port(P2)
    );
    assert_eq!(
        bridge.input(at(0), P0, &frame(BRIDGE, mac(1))),
        Decision::Local
    );
}

#[test]
fn learning_can_be_off() {
    let mut bridge = bridge(2);
    bridge.set_port_flags(
        P0,
        Flags {
            learning: false,
            ..Flags::default()
        },
    );
    let _ = bridge.input(at(0), P0, &frame(mac(9), mac(1)));
    assert_eq!(bridge.learned(), None);
    assert_eq!(
        bridge.input(at(0), P1, &frame(mac(1), mac(2))),
        Decision::Flood { local: false }
    );
}

#[test]
fn a_station_moves() {
    let mut bridge = bridge(3);
    let _ = bridge.input(at(0), P0, &frame(mac(9), mac(1)));
    let _ = bridge.input(at(1), P2, &frame(mac(9), mac(1)));
    assert_eq!(
        bridge.learned().and_then(|learned| learned.moved_from),
        Some(P0)
    );
    assert_eq!(bridge.counters().moved, 1);
    assert_eq!(
        bridge.input(at(1), P1, &frame(mac(1), mac(2))),
        Decision::Port(P2)
    );
}

#[test]
fn own_addresses_as_source_are_not_learned() {
    let mut bridge = bridge(2);
    let _ = bridge.input(at(0), P0, &frame(mac(9), BRIDGE));
    assert_eq!(bridge.learned(), None);
    assert_eq!(
        bridge.input(at(0), P1, &frame(BRIDGE, mac(2))),
        Decision::Local
    );
}

#[test]
fn an_address_is_known_for_300_s() {
    let mut bridge = bridge(3);
    let _ = bridge.input(at(0), P0, &frame(mac(9), mac(1)));
    let to = frame(mac(1), mac(2));
    let last = Time::from_nanos(at(300).as_nanos() - 1);
    assert_eq!(bridge.input(last, P1, &to), Decision::Port(P0));
    assert_eq!(
        bridge.input(at(300), P1, &to),
        Decision::Flood { local: false }
    );
}

#[test]
fn a_port_that_goes_down_is_forgotten() {
    let mut bridge = bridge(3);
    let _ = bridge.input(at(0), P0, &frame(mac(9), mac(1)));
    bridge.set_port_up(P0, false);
    assert_eq!(
        bridge.input(at(0), P0, &frame(mac(9), mac(1))),
        Decision::Drop(DropReason::BridgePortDown)
    );
    assert_eq!(
        bridge.input(at(0), P1, &frame(mac(1), mac(2))),
        Decision::Flood { local: false }
    );
    assert_eq!(flood(&bridge, Some(1)), [2]);
    bridge.set_port_up(P0, true);
    assert_eq!(flood(&bridge, Some(1)), [0, 2]);

    bridge.fdb_mut().insert_static(at(0), 0, mac(1), P0);
    bridge.set_port_up(P0, false);
    assert_eq!(
        bridge.input(at(0), P1, &frame(mac(1), mac(2))),
        Decision::Drop(DropReason::BridgePortDown)
    );
}

#[test]
fn a_bridge_that_is_down_moves_nothing() {
    let mut bridge = bridge(2);
    let _ = bridge.input(at(0), P0, &frame(mac(9), mac(1)));
    bridge.set_up(false);
    let down = Decision::Drop(DropReason::InterfaceDown);
    assert_eq!(bridge.input(at(0), P0, &frame(mac(9), mac(1))), down);
    assert_eq!(bridge.output(at(0), &frame(mac(1), BRIDGE)), down);
    bridge.set_up(true);
    assert_eq!(
        bridge.input(at(0), P1, &frame(mac(1), mac(2))),
        Decision::Flood { local: false }
    );
}

#[test]
fn what_the_bridge_itself_sends() {
    let mut bridge = bridge(2);
    assert_eq!(
        bridge.output(at(0), &frame(mac(1), BRIDGE)),
        Decision::Flood { local: false }
    );
    assert_eq!(flood(&bridge, None), [0, 1]);
    let _ = bridge.input(at(0), P1, &frame(BRIDGE, mac(1)));
    assert_eq!(
        bridge.output(at(0), &frame(mac(1), BRIDGE)),
        Decision::Port(P1)
    );
    assert_eq!(
        bridge.output(at(0), &frame(EthernetAddress::BROADCAST, BRIDGE)),
        Decision::Flood { local: false }
    );
    assert_eq!(
        bridge.output(at(0), &frame(BRIDGE, BRIDGE)),
        Decision::Drop(DropReason::BridgeSamePort)
    );
    assert_eq!(
        bridge.output(at(0), &[0; 13]),
        Decision::Drop(DropReason::Truncated)
    );
    assert_eq!(bridge.counters().sent, 5);
}

#[test]
fn a_frame_that_nobody_can_get_has_a_reason() {
    let none = Decision::Drop(DropReason::BridgeNoPort);
    let mut alone = bridge(1);
    assert_eq!(alone.input(at(0), P0, &frame(mac(9), mac(1))), none);
    assert_eq!(
        alone.input(at(0), P0, &frame(EthernetAddress::BROADCAST, mac(1))),
        Decision::Flood { local: true }
    );
    assert_eq!(
        bridge(0).output(at(0), &frame(EthernetAddress::BROADCAST, BRIDGE)),
        none
    );
}

#[test]
fn a_linux_bridge_has_1023_ports() {
    let mut bridge = bridge(1023);
    let full = bridge.add_port(at(0), IfId(5000), mac(1)).unwrap_err();
    assert_eq!(full.to_string(), "exchange full");
    assert_eq!(flood(&bridge, Some(500)).len(), 1022);

    assert_eq!(
        bridge.remove_port(PortId(7)).map(|port| port.interface),
        Some(IfId(17))
    );
    assert!(bridge.remove_port(PortId(7)).is_none());
    assert_eq!(bridge.port_count(), 1022);
    assert_eq!(
        bridge.add_port(at(0), IfId(5000), mac(1)),
        Ok(PortId(7)),
        "the lowest free number"
    );

    let limits = Limits {
        ports: 5000,
        ..Limits::default()
    };
    let mut lifted = Bridge::new(IfId(1), BRIDGE, limits);
    for index in 0..5000 {
        lifted
            .add_port(at(0), IfId(index), port_mac(index))
            .unwrap();
    }
    assert_eq!(lifted.add_port(at(0), IfId(9999), mac(1)), Err(PortsFull));
}

#[test]
fn a_removed_port_takes_its_addresses_along() {
    let mut bridge = bridge(3);
    let _ = bridge.input(at(0), P0, &frame(mac(9), mac(1)));
    bridge.remove_port(P0);
    assert_eq!(bridge.fdb().entries(at(0)).len(), 3, "bridge and two ports");
    assert_eq!(
        bridge.input(at(0), P0, &frame(mac(9), mac(1))),
        Decision::Drop(DropReason::BridgePortDown)
    );
    assert_eq!(
        bridge.ports().map(|(port, _)| port.0).collect::<Vec<_>>(),
        [1, 2]
    );
}

#[test]
fn tags_are_carried_untouched() {
    let mut bridge = bridge(2);
    let tagged = |destination, source, vlan: u8| {
        let mut frame = frame(destination, source);
        frame[12..18].copy_from_slice(&[0x81, 0, 0, vlan, 8, 0]);
        frame
    };
    let _ = bridge.input(at(0), P0, &tagged(mac(9), mac(1), 5));
    assert_eq!(
        bridge.input(at(0), P1, &tagged(mac(1), mac(2), 6)),
        Decision::Port(P0),
        "the VLAN is no part of what is learned"
    );
}

proptest! {
    #[test]
    fn any_bytes_get_a_decision(
        frames in proptest::collection::vec((0_u32..6, proptest::collection::vec(any::<u8>(), 0..80), any::<u16>()), 0..60)
    ) {
        let limits = Limits { ports: 4, addresses: 8 };
        let mut bridge = Bridge::new(IfId(1), BRIDGE, limits);
        for index in 0..4 {
            bridge.add_port(at(0), IfId(index), port_mac(index)).unwrap();
        }
        for (second, (port, bytes, gso_size)) in frames.iter().enumerate() {
            let now = at(second as u64 * 20);
            let port = PortId(*port);
            match bridge.input_super(now, port, bytes, *gso_size) {
                Decision::Port(to) => prop_assert!(to != port && to.0 < 4),
                Decision::Flood { .. } => {
                    let expected: Vec<u32> = (0..4).filter(|&to| to != port.0).collect();
                    prop_assert_eq!(flood(&bridge, Some(port.0)), expected);
                }
                Decision::Drop(_) | Decision::Local => {}
            }
            let _ = bridge.output_super(now, bytes, *gso_size);
            prop_assert!(bridge.fdb().learned() <= 8);
        }
        let counters = *bridge.counters();
        prop_assert!(counters.forwarded + counters.flooded + counters.local + counters.dropped >= counters.received + counters.sent);
    }
}

/// What a frame was once told, for later ones with its addresses.
#[derive(Clone, Debug)]
struct Told {
    port: PortId,
    addresses: (u8, u8),
    to: PortId,
    change: u64,
    old_at: Time,
}

/// Changes something at the bridge.
fn disturb(bridge: &mut Bridge, now: Time, what: u8, port: PortId, last: u8) {
    match what {
        0 => bridge.set_port_up(port, !last.is_multiple_of(3)),
        1 => bridge.set_port_flags(
            port,
            Flags {
                hairpin: last & 1 > 0,
                isolated: last & 2 > 0,
                learning: last & 4 > 0,
            },
        ),
        2 => bridge.fdb_mut().flush(),
        3 => bridge.fdb_mut().insert_static(now, 0, mac(last), port),
        4 => {
            let _gone = bridge.fdb_mut().remove(0, mac(last));
        }
        5 => bridge.set_ageing(Duration::from_secs(u64::from(last) * 40)),
        6 => bridge.set_up(!last.is_multiple_of(4)),
        7 => bridge.set_address(now, mac(last)),
        _ => {
            bridge.remove_port(port);
            bridge.add_port(now, IfId(10 + port.0), mac(last)).unwrap();
        }
    }
}

proptest! {
    /// For as long as nothing changes and the destination is not too old, a frame like an earlier one goes the same way
    /// and teaches nothing.
    #[test]
    fn what_does_not_change_holds(
        steps in proptest::collection::vec((0_u8..40, 0_u32..4, (0_u8..6, 0_u8..6), 0_u64..90, any::<prop::sample::Index>()), 1..200)
    ) {
        let mut bridge = Bridge::new(IfId(3), BRIDGE, Limits { ports: 4, addresses: 5 });
        for index in 0..4 {
            bridge.add_port(at(0), IfId(10 + index), port_mac(index)).unwrap();
        }
        let (mut now, mut told) = (at(0), Vec::<Told>::new());
        for (what, port, (from, to), wait, which) in steps {
            now += Duration::from_secs(wait);
            let port = PortId(port);
            if what < 9 {
                disturb(&mut bridge, now, what, port, from);
            } else {
                let bytes = frame(mac(to), mac(from));
                if let Decision::Port(way) = bridge.input(now, port, &bytes)
                    && let Some(old_at) = bridge.old_at(port, fdb::bits(mac(to)))
                {
                    told.push(Told { port, addresses: (to, from), to: way, change: bridge.change(), old_at });
                }
            }
            told.retain(|told| told.change == bridge.change() && now < told.old_at);
            if told.is_empty() {
                continue;
            }
            let held = which.get(&told);
            let bytes = frame(mac(held.addresses.0), mac(held.addresses.1));
            let source = fdb::bits(mac(held.addresses.1));
            if bridge.renew(now, held.port, source) {
                prop_assert_eq!(bridge.judge(now, held.port, &bytes), Decision::Port(held.to));
                prop_assert_eq!(bridge.learned(), None);
                prop_assert!(bridge.is_settled());
            }
        }
    }
}

/// The test above meets both.
#[test]
fn a_known_way_is_renewed_until_something_changes() {
    let mut bridge = bridge(3);
    let there = frame(mac(2), mac(1));
    for (port, bytes) in [(P0, &there), (P1, &frame(mac(1), mac(2)))] {
        let _taught = bridge.input(at(1), port, bytes);
    }
    let source = fdb::bits(mac(1));
    assert_eq!(bridge.input(at(2), P0, &there), Decision::Port(P1));
    assert_eq!(bridge.old_at(P0, fdb::bits(mac(2))), Some(at(301)));
    let change = bridge.change();
    assert!(bridge.renew(at(3), P0, source) && bridge.renew(at(200), P0, source));
    assert!(!bridge.renew(at(200), P2, source), "it has to move");
    assert!(!bridge.renew(at(500), P0, source), "it is too old");
    assert_eq!(bridge.change(), change);
    let _moved = bridge.input(at(200), P2, &there);
    assert_ne!(bridge.change(), change);
}
