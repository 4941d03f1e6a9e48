//! Bytes from outside: reading them never panics, and what was read can be used without checks.

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use switch::wire::{
    Ether, IpProtocol, Packet, checksum_offset, fill_header_checksum, fill_transport_checksum,
    header_checksum_ok, transport_checksum_ok,
};

/// Bytes that often begin like an IP packet of a plausible length.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![Just(0x45), Just(0x46), Just(0x60), any::<u8>()];
    let next = prop_oneof![
        Just(0_u8),
        Just(6),
        Just(17),
        Just(43),
        Just(44),
        Just(58),
        Just(60),
        Just(132),
        any::<u8>()
    ];
    let rest = prop::collection::vec(any::<u8>(), 0..120);
    (first, next, rest, any::<bool>()).prop_map(|(first, next, mut bytes, fits)| {
        if let Some(byte) = bytes.first_mut() {
            *byte = first;
        }
        let at = if first >> 4 == 6 { 6 } else { 9 };
        if let Some(byte) = bytes.get_mut(at) {
            *byte = next;
        }
        let len = bytes.len() as u16;
        if fits && len >= 40 {
            let (at, len) = if first >> 4 == 6 {
                (4, len - 40)
            } else {
                (2, len)
            };
            bytes[at..at + 2].copy_from_slice(&len.to_be_bytes());
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn a_packet_that_was_read_can_be_used(mut bytes in bytes()) {
        let Ok(packet) = Packet::parse(&bytes) else {
            return Ok(());
        };
        prop_assert!(packet.transport <= packet.len && packet.len <= bytes.len());
        if let Some((source, _)) = packet.ports(&bytes) {
            let at = packet.transport;
            prop_assert_eq!(source, u16::from_be_bytes([bytes[at], bytes[at + 1]]));
        }
        if packet.source.is_ipv4() {
            fill_header_checksum(&mut bytes);
            prop_assert!(header_checksum_ok(&bytes));
        }
        fill_transport_checksum(&mut bytes, &packet);
        let has_room = checksum_offset(packet.protocol)
            .is_none_or(|offset| packet.transport + offset + 2 <= packet.len);
        let is_ok = transport_checksum_ok(&bytes, &packet);
        prop_assert!(is_ok || !has_room, "{packet:?}");
    }

    #[test]
    fn an_ethernet_header_that_was_read_is_there(bytes in prop::collection::vec(prop_oneof![Just(0x81_u8), Just(0), any::<u8>()], 0..40)) {
        if let Ok(ether) = Ether::parse(&bytes) {
            prop_assert!(ether.payload >= 14 && ether.payload <= bytes.len());
            prop_assert_eq!(ether.vlan.is_some(), ether.payload > 14);
        }
    }
}

/// The generator reaches the packets that the property is about.
#[test]
fn many_packets_are_readable() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut read = std::collections::BTreeMap::new();
    for _ in 0..4000 {
        let bytes = bytes().new_tree(&mut runner).expect("bytes").current();
        if let Ok(packet) = Packet::parse(&bytes) {
            *read.entry(packet.protocol).or_insert(0) += 1;
        }
    }
    for protocol in [IpProtocol::Tcp, IpProtocol::Udp, IpProtocol::Icmpv6] {
        assert!(
            read.get(&protocol).is_some_and(|&count| count > 20),
            "{read:?}"
        );
    }
}
