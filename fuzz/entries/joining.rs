//! Frames of machines that join a network: DHCP messages, router solicitations, and whatever else.
//!
//! Promises: every answer is a frame with right checksums; no address is acknowledged to two machines at a time; a
//! frame that is not for the servers is the network's.

use core::net::Ipv4Addr;
use core::time::Duration;
use std::collections::BTreeMap;

use emulator_core::joining::{Heard, Joining, Kind, LEASE, Message, Segment, V4, V6, option};
use switch::Time;
use switch::segment::fill_checksums;
use switch::wire::{Packet, header_checksum_ok, transport_checksum_ok};

use super::Script;

const SERVER: [u8; 4] = [172, 18, 0, 1];

fn segment() -> Segment {
    Segment {
        mac: [2, 0, 0, 0, 0, 1],
        mtu: 1500,
        v4: Some(V4 {
            net: "172.18.0.0/24".parse().expect("a prefix"),
            server: SERVER.into(),
            router: Some(SERVER.into()),
            dns: Some(SERVER.into()),
            domain: "front".to_owned(),
        }),
        v6: Some(V6 {
            prefix: "fd00::/64".parse().expect("a prefix"),
            link_local: "fe80::1".parse().expect("an address"),
            router: true,
            dns: None,
        }),
    }
}

/// A DHCP message as the script has it.
fn message(script: &mut Script<'_>) -> Vec<u8> {
    let mut bytes = vec![0; 236];
    bytes[..3].copy_from_slice(&[1, 1, 6]);
    bytes[10] = script.u8() & 0x80;
    if script.flag() {
        bytes[12..16].copy_from_slice(&[172, 18, 0, script.below(8)]);
    }
    bytes[28..34].copy_from_slice(&[2, 0, 0, 0, 1, script.below(20)]);
    bytes.extend_from_slice(&[99, 130, 83, 99, option::KIND, 1, 1 + script.below(8)]);
    if script.flag() {
        bytes.extend_from_slice(&[option::ADDRESS, 4, 172, 18, 0, script.below(8)]);
    }
    if script.flag() {
        bytes.extend_from_slice(&[option::SERVER, 4]);
        bytes.extend_from_slice(&SERVER);
    }
    bytes.extend_from_slice(script.block());
    bytes
}

/// The frame of a message.
fn frame(payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0xff; 6];
    frame.extend_from_slice(&[2, 0, 0, 0, 1, 0, 8, 0, 0x45, 0]);
    frame.extend_from_slice(&(28 + payload.len() as u16).to_be_bytes());
    frame.extend_from_slice(&[0, 0, 0, 0, 64, 17, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255]);
    frame.extend_from_slice(&[0, 68, 0, 67]);
    frame.extend_from_slice(&(8 + payload.len() as u16).to_be_bytes());
    frame.extend_from_slice(&[0, 0]);
    frame.extend_from_slice(payload);
    fill_checksums(&mut frame);
    frame
}

/// Runs one input.
pub fn joining(data: &[u8]) {
    let mut script = Script(data);
    let mut joining = Joining::new(segment());
    let mut now = Time::ZERO;
    let mut next = 2;
    // Who has an address, and until when.
    let mut held: BTreeMap<Ipv4Addr, (Vec<u8>, Time)> = BTreeMap::new();
    while let Some(step) = script.next() {
        let bytes = match step % 4 {
            0 => {
                now += Duration::from_secs(script.u16().into());
                continue;
            }
            1 => script.block().to_vec(),
            _ => {
                let payload = message(&mut script);
                frame(&payload[..payload.len().min(1_400)])
            }
        };
        let mut heard = joining.hear(now, &bytes);
        if heard == Heard::Wanting {
            assert!(
                joining.add([172, 18, 0, next].into(), "machine"),
                "it asked"
            );
            next += 1;
            heard = joining.hear(now, &bytes);
            assert_ne!(heard, Heard::Wanting, "there is one now");
        }
        let asked = bytes.get(42..).and_then(Message::parse);
        if let Some(asked) = &asked
            && asked.kind != Kind::Discover
            && heard == Heard::Nothing
        {
            // Released, declined, or refused for another server.
            held.retain(|_, (client, _)| *client != asked.client());
        }
        let Heard::Answer(answer) = heard else {
            continue;
        };
        let packet = Packet::parse(&answer[14..]).expect("a packet");
        assert!(transport_checksum_ok(&answer[14..], &packet));
        if packet.source.is_ipv6() {
            continue;
        }
        assert!(header_checksum_ok(&answer[14..]));
        let asked = asked.expect("an answer to a message");
        let [a, b, c, d] = *answer[58..].first_chunk().expect("yiaddr");
        let given = Ipv4Addr::new(a, b, c, d);
        let is_ack = answer
            .windows(7)
            .any(|it| it == [99, 130, 83, 99, 53, 1, 5]);
        if is_ack && !given.is_unspecified() {
            if let Some((client, until)) = held.get(&given) {
                assert!(*client == asked.client() || *until <= now, "{given} twice");
            }
            held.insert(given, (asked.client(), now + LEASE));
        }
    }
}
