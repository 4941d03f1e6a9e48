//! Frames of one shape are one to a bridge and its hooks.

use proptest::prelude::*;

use super::packets::{ACK, tcp, udp};
use super::{BRIDGE, Run, Shape, Wide, WideShape};
use crate::wire::ETHER_LEN;

const FROM: &str = "172.17.0.2:5000";
const TO: &str = "172.17.0.3:53";

/// Frames of a datagram and of a segment.
fn firsts() -> [Vec<u8>; 2] {
    [udp(FROM, TO), tcp(FROM, TO, ACK)].map(|packet| {
        let mut frame = vec![2; ETHER_LEN];
        frame[12..].copy_from_slice(&[8, 0]);
        frame.extend(packet.bytes);
        frame.resize(60, 0);
        frame
    })
}

proptest! {
    /// What is of the shape of the first frame of a run belongs to the run, at the first's length.
    #[test]
    fn what_is_alike_belongs(changes in prop::collection::vec((0_usize..60, any::<u8>()), 0..3)) {
        for first in firsts() {
            let run = Run::of(&first[ETHER_LEN..], BRIDGE, 1).expect("a plain packet");
            let shape = Shape::of(&first).expect("it is long enough");
            let mut other = first.clone();
            for &(at, byte) in &changes {
                other[at] = byte;
            }
            let len = usize::from(u16::from_be_bytes([first[16], first[17]]));
            if shape.is_of(&other) {
                prop_assert_eq!(run.length_of(&other[ETHER_LEN..]), Some(len));
                prop_assert_eq!(&first[..ETHER_LEN], &other[..ETHER_LEN]);
            }
        }
    }
}

#[test]
fn some_things_may_differ() {
    for first in firsts() {
        let shape = Shape::of(&first).expect("it is long enough");
        assert!(!shape.is_of(&first[..59]), "it is shorter");
        let is_tcp = first[ETHER_LEN + 9] == 6;
        for at in 0..first.len() {
            for bit in 0..8 {
                let mut other = first.clone();
                other[at] ^= 1 << bit;
                let may_differ = match at {
                    ..=14 | 16 | 17 | 21 | 23 | 26..38 => false,
                    20 => bit >= 6,
                    38 | 39 => is_tcp,
                    46 => !is_tcp,
                    47 => !is_tcp || matches!(1 << bit, 0x08 | 0x40 | 0x80),
                    _ => true,
                };
                assert_eq!(shape.is_of(&other), may_differ, "byte {at}, bit {bit}");
            }
        }
    }
}

/// The same of IPv6: the shortest there are, and longer ones.
fn wide_firsts(len: usize) -> [Vec<u8>; 2] {
    let (from, to) = ("[fd00::2]:5000", "[fd00::3]:53");
    [udp(from, to), tcp(from, to, ACK)].map(|packet| {
        let mut frame = vec![2; ETHER_LEN];
        frame[12..].copy_from_slice(&[0x86, 0xdd]);
        frame.extend(packet.bytes);
        frame.resize(len.max(frame.len()), 0);
        frame
    })
}

/// Whether a frame with other bytes behind it is of this shape.
fn is_of_wide(shape: &WideShape, frame: &[u8]) -> bool {
    let mut head = [0xa5; WideShape::HEAD];
    let known = frame.len().min(head.len());
    head[..known].copy_from_slice(&frame[..known]);
    shape.is_of_head(frame.len() as u32, &head)
}

proptest! {
    /// What is of the shape of a frame of IPv6 is a packet of its flow, as long and nothing but data.
    #[test]
    fn what_is_alike_of_ipv6_is_of_one_flow(
        len in prop::sample::select(vec![0_usize, 70, 80, 200]),
        changes in prop::collection::vec((0_usize..78, any::<u8>()), 0..3),
    ) {
        for first in wide_firsts(len) {
            let of = |frame: &[u8]| Wide::of(&frame[ETHER_LEN..], BRIDGE, 1);
            let packet = of(&first).expect("a plain packet");
            let shape = WideShape::of(&first).expect("it has one");
            prop_assert_eq!(u64::from(shape.packet()), packet.bytes());
            let mut other = first.clone();
            for &(at, byte) in &changes {
                let at = at % other.len();
                other[at] = byte;
            }
            if is_of_wide(&shape, &other) {
                let same = of(&other).expect("as plain");
                prop_assert!(same.is_data());
                prop_assert_eq!((same.flow(), same.bytes()), (packet.flow(), packet.bytes()));
                prop_assert_eq!(&first[..ETHER_LEN], &other[..ETHER_LEN]);
            }
        }
    }
}

#[test]
fn some_things_of_ipv6_may_differ() {
    for first in wide_firsts(80) {
        let shape = WideShape::of(&first).expect("it has one");
        assert!(!is_of_wide(&shape, &first[..79]), "it is shorter");
        let is_tcp = first[ETHER_LEN + 6] == 6;
        for at in 0..first.len() {
            for bit in 0..8 {
                let mut other = first.clone();
                other[at] ^= 1 << bit;
                let may_differ = match at {
                    ..14 | 18..=20 | 22..58 => false,
                    14 => bit < 4,
                    58 | 59 => is_tcp,
                    66 => !is_tcp,
                    67 => !is_tcp || matches!(1 << bit, 0x08 | 0x40 | 0x80),
                    _ => true,
                };
                assert_eq!(
                    is_of_wide(&shape, &other),
                    may_differ,
                    "byte {at}, bit {bit}"
                );
            }
        }
    }
}
