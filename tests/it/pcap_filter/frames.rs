//! The frames that filters are tried with, and the file format that tcpdump reads them from.

use std::fs;
use std::io::Read;

use pcap_file::pcapng::{Block, PcapNgReader};

use crate::rig::root;

/// What is there of a frame, and how long it was on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) bytes: Vec<u8>,
    pub(super) length: u32,
}

impl Frame {
    fn whole(bytes: Vec<u8>) -> Self {
        let length = bytes.len() as u32;
        Self { bytes, length }
    }
}

/// Those of the golden captures without those that are the same, then others of every kind.
pub(super) fn all() -> Vec<Frame> {
    let mut frames = golden();
    let made = made();
    let tagged: Vec<Frame> = made
        .iter()
        .chain(frames.iter().step_by(9))
        .flat_map(|frame| tags(&frame.bytes))
        .collect();
    let short = made
        .iter()
        .chain(&tagged[..6])
        .flat_map(cut)
        .collect::<Vec<_>>();
    frames.extend(made);
    frames.extend(tagged);
    frames.extend(short);
    frames
}

/// Those of the golden captures, each once.
pub(super) fn golden() -> Vec<Frame> {
    let mut files: Vec<_> = fs::read_dir(root().join("pcaps/golden"))
        .expect("golden captures")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    let mut frames: Vec<Frame> = Vec::new();
    for file in files {
        let mut bytes = Vec::new();
        fs::File::open(&file)
            .and_then(|mut file| file.read_to_end(&mut bytes))
            .expect("a golden capture");
        let mut reader = PcapNgReader::new(&bytes[..]).expect("a section");
        while let Some(block) = reader.next_block() {
            if let Block::EnhancedPacket(packet) = block.expect("a block").0 {
                let mut bytes = packet.data.to_vec();
                bytes.truncate(200);
                let frame = Frame {
                    bytes,
                    length: packet.original_len,
                };
                if !frames.contains(&frame) {
                    frames.push(frame);
                }
            }
        }
    }
    frames
}

const FROM: [u8; 6] = [2, 0x42, 0xac, 17, 0, 2];
const TO: [u8; 6] = [2, 0x42, 0xac, 17, 0, 3];
const ALL: [u8; 6] = [0xff; 6];
const GROUP: [u8; 6] = [1, 0, 0x5e, 0, 0, 0xfb];

fn ether(to: [u8; 6], kind: u16, payload: &[u8]) -> Vec<u8> {
    [&to[..], &FROM, &kind.to_be_bytes(), payload].concat()
}

/// An IPv4 packet; `fragment` is the field of flags and offset, `options` bytes of options.
fn ip4(protocol: u8, to: [u8; 4], fragment: u16, options: usize, payload: &[u8]) -> Vec<u8> {
    let length = (20 + options + payload.len()) as u16;
    let mut packet = vec![0x45 + options as u8 / 4, 0];
    packet.extend(length.to_be_bytes());
    packet.extend([0x12, 0x34]);
    packet.extend(fragment.to_be_bytes());
    packet.extend([64, protocol, 0, 0, 172, 17, 0, 2]);
    packet.extend(to);
    packet.extend(vec![1; options]);
    packet.extend(payload);
    packet
}

fn ip6(next: u8, to: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend((payload.len() as u16).to_be_bytes());
    packet.extend([next, 64]);
    packet.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
    packet.extend([to, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    packet.extend(payload);
    packet
}

fn ports(from: u16, to: u16, flags: u8) -> Vec<u8> {
    let mut segment = [from.to_be_bytes(), to.to_be_bytes()].concat();
    segment.extend([0, 0, 0, 1, 0, 0, 0, 2, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    segment.extend(b"GET / HTTP/1.1");
    segment
}

/// A frame of each kind.
fn made() -> Vec<Frame> {
    let (web, dns) = (ports(40_000, 80, 0x18), ports(5353, 53, 2));
    let (near, far, everybody) = ([172, 17, 0, 3], [203, 0, 113, 9], [255; 4]);
    let mut all = Vec::new();
    for (protocol, to, mac) in [
        (1, near, TO),
        (2, [224, 0, 0, 1], GROUP),
        (6, near, TO),
        (9, near, TO),
        (17, everybody, ALL),
        (17, [239, 255, 255, 250], GROUP),
        (47, far, TO),
        (50, far, TO),
        (51, far, TO),
        (89, far, TO),
        (103, far, TO),
        (112, far, TO),
        (132, far, TO),
        (17, [0; 4], ALL),
    ] {
        all.push(ether(mac, 0x0800, &ip4(protocol, to, 0, 0, &web)));
        all.push(ether(mac, 0x0800, &ip4(protocol, to, 0, 8, &dns)));
        // The first fragment, one in the middle, the last.
        for fragment in [0x2000, 0x20b9, 0x0172] {
            all.push(ether(mac, 0x0800, &ip4(protocol, to, fragment, 0, &dns)));
        }
    }
    // A header length that is none, and one behind the end.
    for first in [0x40, 0x4f] {
        let mut packet = ip4(6, near, 0, 0, &web);
        packet[0] = first;
        all.push(ether(TO, 0x0800, &packet));
    }
    for next in [6, 17, 58, 132, 50, 103, 59] {
        all.push(ether(TO, 0x86dd, &ip6(next, 0xfd, &web)));
        all.push(ether(GROUP, 0x86dd, &ip6(next, 0xff, &dns)));
        // Behind hop-by-hop options, behind a fragment header.
        let hop = [&[next, 0, 5, 2, 0, 0, 1, 0][..], &web].concat();
        all.push(ether(TO, 0x86dd, &ip6(0, 0xfd, &hop)));
        let fragment = [&[next, 0, 0, 1, 0, 0, 0, 9][..], &dns].concat();
        all.push(ether(TO, 0x86dd, &ip6(44, 0xfd, &fragment)));
    }
    for kind in 128..=137 {
        all.push(ether(
            TO,
            0x86dd,
            &ip6(58, 0xfd, &[kind, 0, 1, 2, 3, 4, 5, 6]),
        ));
    }
    for kind in [0, 3, 5, 8, 11] {
        all.push(ether(
            TO,
            0x0800,
            &ip4(1, near, 0, 0, &[kind, 1, 1, 2, 3, 4]),
        ));
    }
    let arp = |operation: u8| {
        let mut packet = vec![0, 1, 8, 0, 6, 4, 0, operation];
        packet.extend(FROM);
        packet.extend([172, 17, 0, 2]);
        packet.extend([0; 6]);
        packet.extend(near);
        packet
    };
    for operation in [1, 2] {
        all.push(ether(ALL, 0x0806, &arp(operation)));
        all.push(ether(ALL, 0x8035, &arp(operation + 2)));
    }
    all.extend(odd());
    all.into_iter().map(Frame::whole).collect()
}

/// Frames with a length where a type stands, and types that few have.
fn odd() -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for payload in [
        &[0x42, 0x42, 3, 0, 0, 0, 0, 0][..],
        &[0xfe, 0xfe, 3, 0x83, 0, 0, 0, 0],
        &[0xe0, 0xe0, 3, 0, 0, 0, 0, 0],
        &[0xf0, 0xf0, 3, 0, 0, 0, 0, 0],
        &[0x06, 0x06, 3, 0x45, 0, 0, 0, 0],
        &[0xff, 0xff, 0, 30, 0, 0, 0, 0],
        &[0xaa, 0xaa, 3, 0, 0, 0, 0x08, 0x00, 0x45, 0, 0, 0],
        &[0xaa, 0xaa, 3, 8, 0, 7, 0x80, 0x9b, 0, 0, 0, 0],
        &[0xaa, 0xaa, 3, 0, 0, 0, 0x80, 0xf3, 0, 0, 0, 0],
        &[0xaa, 0xaa, 3, 0, 0, 0, 0x81, 0x37, 0, 0, 0, 0],
    ] {
        all.push(ether(GROUP, payload.len() as u16, payload));
    }
    for kind in [
        0x6003, 0x6004, 0x6007, 0x809b, 0x80f3, 0x8137, 0x8847, 0x8863, 0x88cc, 0x9000, 0x05dd,
        0x05dc,
    ] {
        all.push(ether(TO, kind, &[0x45; 46]));
    }
    all
}

/// The frame behind one tag and behind two.
fn tags(frame: &[u8]) -> Vec<Frame> {
    let Some((addresses, rest)) = frame.split_at_checked(12) else {
        return Vec::new();
    };
    [
        &[0x81, 0, 0, 100][..],
        &[0x88, 0xa8, 0x60, 7, 0x81, 0, 0x0f, 0xff],
        &[0x91, 0, 0xe0, 200],
    ]
    .iter()
    .map(|tags| Frame::whole([addresses, tags, rest].concat()))
    .collect()
}

/// The frame cut at every length of its headers.
fn cut(frame: &Frame) -> Vec<Frame> {
    [
        1, 5, 6, 11, 12, 13, 14, 15, 18, 20, 22, 23, 24, 25, 29, 33, 34, 35, 36, 37, 38, 40, 45,
        47, 53,
    ]
    .iter()
    .filter(|&&length| length < frame.bytes.len())
    .map(|&length| Frame {
        bytes: frame.bytes[..length].to_vec(),
        length: frame.length,
    })
    .collect()
}

/// A classic capture file; a frame's time is its number.
pub(super) fn pcap(frames: &[Frame]) -> Vec<u8> {
    let mut file = Vec::new();
    for word in [0xa1b2_c3d4, 0x0004_0002, 0, 0, 0x0004_0000, 1_u32] {
        file.extend(word.to_le_bytes());
    }
    for (number, frame) in frames.iter().enumerate() {
        let kept = frame.bytes.len() as u32;
        for word in [number as u32, 0, kept, frame.length] {
            file.extend(word.to_le_bytes());
        }
        file.extend(&frame.bytes);
    }
    file
}

/// The times of a classic capture's frames.
pub(super) fn numbers(file: &[u8]) -> Vec<usize> {
    let word = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().expect("four bytes"));
    let (mut numbers, mut at) = (Vec::new(), 24);
    while at < file.len() {
        numbers.push(word(at) as usize);
        at += 16 + word(at + 8) as usize;
    }
    numbers
}
