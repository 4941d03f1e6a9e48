//! Frames of one shape are one to a bridge and its hooks.

use proptest::prelude::*;

use super::packets::{ACK, tcp, udp};
use super::{BRIDGE, Run, Shape};
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
