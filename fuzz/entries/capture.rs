//! Packets, comments, names and statistics into a capture, drained now and then.
//!
//! Promises: what comes out is one pcapng section that `pcap-file` reads to its end; each packet names an
//! interface that was described before it; packets read and packets lost are the packets recorded; the
//! buffer keeps its bound, up to what is always written.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use pcap_file::pcapng::{Block, PcapNgReader};
use switch::capture::{Capture, Direction, Limits};
use switch::frame::Meta;
use switch::{IfId, Time, segment};

use super::Script;

const BUFFER: usize = 4096;

/// Runs one input.
pub fn capture(data: &[u8]) {
    let mut script = Script(data);
    let mut capture = Capture::new(Limits {
        buffer: BUFFER,
        ..Limits::default()
    });
    let (mut out, mut now, mut packets) = (Vec::new(), Time::ZERO, 0);
    while let Some(step) = script.next() {
        match step % 10 {
            0 | 1 => describe(&mut capture, &mut script),
            2..=4 => packets += record(&mut capture, now, &mut script),
            5 => name(&mut capture, &mut script),
            6 => {
                let interface = IfId(u32::from(script.below(4)));
                let (received, dropped) = (script.u32().into(), script.u32().into());
                capture.statistics(now, interface, received, dropped);
            }
            7 => {
                let later = u64::from(script.u32()) << (step & 0x1f);
                now = Time::from_nanos(now.as_nanos().saturating_add(later));
            }
            8 => {
                out.extend(capture.take());
                assert_eq!(capture.pending_len(), 0);
            }
            _ if step == 0xff => capture.finish(now),
            _ => capture.forget(IfId(u32::from(script.below(4)))),
        }
    }
    capture.finish(now);
    assert_eq!(record(&mut capture, now, &mut Script(&[0; 8])), 0);
    out.extend(capture.take());
    assert_eq!(read(&out) + capture.lost(), packets);
}

fn describe(capture: &mut Capture, script: &mut Script<'_>) {
    let interface = IfId(u32::from(script.below(4)));
    let (name, description) = (script.text(), script.text());
    capture.interface(interface, &name, &description, u32::from(script.u8()));
}

/// Records a packet and says how many it stands for.
fn record(capture: &mut Capture, now: Time, script: &mut Script<'_>) -> u64 {
    let interface = IfId(u32::from(script.below(4)));
    let kind = script.u8();
    let direction = match kind % 3 {
        0 => Direction::In,
        1 => Direction::Out,
        _ => Direction::Unknown,
    };
    let meta = Meta {
        id: 1,
        gso_size: if kind & 0x10 == 0 { 0 } else { script.u16() },
        csum_partial: kind & 0x20 != 0,
        ..Meta::default()
    };
    let comment = (kind & 0x40 != 0).then(|| script.text());
    let bytes = script.block();
    let watched = capture.watches(interface);
    let (before, pending) = (capture.lost(), capture.pending_len());
    let result = capture.frame(now, interface, direction, bytes, meta, comment.as_deref());
    assert_eq!(result.is_ok(), capture.lost() == before);
    assert!(capture.pending_len() <= pending.max(BUFFER));
    if watched {
        segment::wire_size(bytes, meta.gso_size).0
    } else {
        0
    }
}

fn name(capture: &mut Capture, script: &mut Script<'_>) {
    let mut names: Vec<(IpAddr, String)> = Vec::new();
    for _ in 0..script.below(8) {
        let host = script.u8();
        let address = if host & 1 == 0 {
            Ipv4Addr::new(172, 17, 0, host).into()
        } else {
            Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, u16::from(host)).into()
        };
        names.push((address, script.text()));
    }
    capture.names(&names);
}

/// Reads a capture to its end and says how many packets it has.
fn read(bytes: &[u8]) -> u64 {
    let mut reader = PcapNgReader::new(bytes).expect("a section header");
    let (mut interfaces, mut packets) = (0, 0);
    while let Some(block) = reader.next_block() {
        match block.expect("a block that can be read").0 {
            Block::InterfaceDescription(_) => interfaces += 1,
            Block::EnhancedPacket(packet) => {
                assert!(packet.interface_id < interfaces);
                assert!(packet.data.len() as u64 <= u64::from(packet.original_len));
                packets += 1;
            }
            Block::InterfaceStatistics(statistics) => {
                assert!(statistics.interface_id < interfaces);
            }
            Block::NameResolution(_) => {}
            other => panic!("a block that captures do not have: {other:?}"),
        }
    }
    packets
}
