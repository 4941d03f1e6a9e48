use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::opt_common::{CommonOption, UnknownOption};
use pcap_file::pcapng::{Block, PcapNgReader};
use proptest::prelude::*;

use super::*;
use crate::frame::Pool;
use crate::trace::Trace;
use crate::verdict::{DropReason, Rewrite};
use crate::wire::{Ether, Packet, header_checksum_ok, transport_checksum_ok};

const ETH0: IfId = IfId(7);
const VETH: IfId = IfId(8);

fn blocks(bytes: &[u8]) -> Vec<Block<'static>> {
    let mut reader = PcapNgReader::new(bytes).unwrap();
    let mut blocks = vec![Block::SectionHeader(reader.section().clone())];
    while let Some(block) = reader.next_block() {
        blocks.push(block.unwrap().0.into_owned());
    }
    blocks
}

fn packets(blocks: &[Block<'static>]) -> Vec<EnhancedPacketBlock<'static>> {
    let packet = |block: &Block<'static>| match block {
        Block::EnhancedPacket(packet) => Some(packet.clone()),
        _ => None,
    };
    blocks.iter().filter_map(packet).collect()
}

fn comment(packet: &EnhancedPacketBlock<'_>) -> Option<String> {
    packet.options.iter().find_map(|option| match option {
        EnhancedPacketOption::Common(CommonOption::Comment(text)) => Some(text.to_string()),
        _ => None,
    })
}

fn udp_frame() -> Vec<u8> {
    let mut frame = vec![0; 46];
    frame[..6].copy_from_slice(&[2, 0, 0, 0, 0, 2]);
    frame[6..12].copy_from_slice(&[2, 0, 0, 0, 0, 1]);
    frame[12..14].copy_from_slice(&[8, 0]);
    frame[14..26].copy_from_slice(&[0x45, 0, 0, 32, 0, 1, 0, 0, 64, 17, 0, 0]);
    frame[26..34].copy_from_slice(&[172, 17, 0, 2, 172, 17, 0, 3]);
    frame[34..42].copy_from_slice(&[0x9c, 0x40, 0, 53, 0, 12, 0xab, 0xcd]);
    frame[42..46].copy_from_slice(b"ping");
    frame
}

#[test]
fn an_interface_is_described_when_it_is_first_seen() {
    let mut capture = Capture::default();
    capture.interface(ETH0, "eth0", "web on bridge2", 0);
    capture.interface(VETH, "veth\n12", "", 60);
    let now = Time::from_nanos(1_000_000_042);
    let frame = [0xaa; 100];
    capture
        .packet(now, VETH, Direction::Out, &frame, Some("seen"))
        .unwrap();
    capture
        .packet(now, IfId(99), Direction::In, &frame, None)
        .unwrap();
    let blocks = blocks(&capture.take());
    let [
        Block::SectionHeader(section),
        Block::InterfaceDescription(interface),
        Block::EnhancedPacket(packet),
    ] = &blocks[..]
    else {
        panic!("{blocks:#?}");
    };
    assert_eq!(section.endianness, Endianness::Little);
    assert_eq!(
        section.options,
        [SectionHeaderOption::UserApplication("vethlab".into())]
    );
    assert_eq!(interface.snaplen, 60);
    assert_eq!(
        interface.options,
        [
            InterfaceDescriptionOption::IfName("veth12".into()),
            InterfaceDescriptionOption::IfTsResol(InterfaceTsResolution::NANO),
        ]
    );
    assert_eq!(
        packet.timestamp,
        Duration::new(1_577_836_800 + 1, 42),
        "2020-01-01 and the lab's clock"
    );
    assert_eq!((packet.data.len(), packet.original_len), (60, 100));
    assert_eq!(packet.options[0], EnhancedPacketOption::Flags(2));
    assert_eq!(comment(packet).as_deref(), Some("seen"));
}

#[test]
fn the_same_calls_give_the_same_bytes() {
    let record = || {
        let mut trace = Trace::default();
        let mut capture = Capture::default();
        capture.interface(ETH0, "eth0", "", 0);
        trace.captures.push(capture);
        let mut pool = Pool::default();
        for _ in 0..3 {
            let frame = pool.from_bytes(&udp_frame()).unwrap();
            trace.frame(Time::from_secs(1), &pool, &frame, ETH0, Direction::In);
            trace.drop(
                Time::from_secs(1),
                &mut pool,
                frame,
                ETH0,
                DropReason::NoSocket,
            );
        }
        let mut capture = trace.captures.remove(0);
        capture.finish(Time::from_secs(2));
        capture.take()
    };
    let first = record();
    assert!(first.len() > 500);
    assert_eq!(first, record());
}

#[test]
fn partial_checksums_are_filled_in_the_copy_alone() {
    let mut capture = Capture::default();
    capture.interface(ETH0, "eth0", "", 0);
    let frame = udp_frame();
    let meta = Meta {
        csum_partial: true,
        ..Meta::default()
    };
    capture
        .frame(Time::ZERO, ETH0, Direction::In, &frame, meta, None)
        .unwrap();
    capture
        .frame(
            Time::ZERO,
            ETH0,
            Direction::In,
            &frame,
            Meta::default(),
            None,
        )
        .unwrap();
    let packets = packets(&blocks(capture.pending()));
    let ip = &packets[0].data[14..];
    let parsed = Packet::parse(ip).unwrap();
    assert!(header_checksum_ok(ip) && transport_checksum_ok(ip, &parsed));
    assert_eq!(packets[1].data, frame, "whole checksums are left alone");
}

#[test]
fn a_full_buffer_loses_packets_and_says_so() {
    let limits = Limits {
        buffer: 1000,
        ..Limits::default()
    };
    let mut capture = Capture::new(limits);
    capture.interface(ETH0, "eth0", "", 0);
    let send =
        |capture: &mut Capture| capture.packet(Time::ZERO, ETH0, Direction::In, &[1; 200], None);
    let outcomes: Vec<_> = (0..6).map(|_| send(&mut capture).is_ok()).collect();
    assert_eq!(outcomes, [true, true, true, false, false, false]);
    assert_eq!(capture.lost(), 3);
    assert!(capture.pending_len() <= 1000);
    assert!(capture.is_over(500) && !capture.is_over(1000));

    let mut bytes = Vec::new();
    capture.swap(&mut bytes);
    assert_eq!(capture.pending_len(), 0);
    send(&mut capture).unwrap();
    send(&mut capture).unwrap();
    capture.finish(Time::from_secs(1));
    assert_eq!(
        send(&mut capture),
        Ok(()),
        "a finished capture watches nothing"
    );
    bytes.extend(capture.take());
    let blocks = blocks(&bytes);
    let packets = packets(&blocks);
    assert_eq!(packets.len(), 5);
    assert!(
        packets[3]
            .options
            .contains(&EnhancedPacketOption::DropCount(3))
    );
    assert_eq!(packets[4].options.len(), 1);
    let Some(Block::InterfaceStatistics(statistics)) = blocks.last() else {
        panic!("{blocks:#?}");
    };
    assert!(
        statistics
            .options
            .contains(&InterfaceStatisticsOption::IsbOsDrop(3))
    );
    assert!(
        statistics
            .options
            .contains(&InterfaceStatisticsOption::IsbUsrDeliv(5))
    );
}

#[test]
fn names_and_statistics() {
    let mut capture = Capture::default();
    capture.interface(ETH0, "eth0", "", 0);
    capture.interface(VETH, "veth1", "", 0);
    let web = IpAddr::from([172, 18, 0, 2]);
    let six = IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, 2]);
    capture.names(&[
        (six, "web"),
        (web, "web.bridge2"),
        (web, "web"),
        (web, "\n"),
    ]);
    capture.names::<&str>(&[]);
    capture.statistics(Time::from_secs(3), ETH0, 10, 2);
    capture.statistics(Time::from_secs(3), IfId(99), 10, 2);
    capture.finish(Time::from_secs(4));
    capture.finish(Time::from_secs(5));
    let blocks = blocks(&capture.take());
    assert_eq!(blocks.len(), 4, "veth1 was never seen: {blocks:#?}");
    let Block::NameResolution(names) = &blocks[1] else {
        panic!("{blocks:#?}");
    };
    let [Record::Ipv4(v4), Record::Ipv6(v6)] = &names.records[..] else {
        panic!("{names:#?}");
    };
    assert_eq!(v4.names, ["web.bridge2", "web"]);
    assert_eq!(v6.names, ["web"]);
    let Block::InterfaceStatistics(statistics) = &blocks[3] else {
        panic!("{blocks:#?}");
    };
    for option in [
        InterfaceStatisticsOption::IsbIfRecv(10),
        InterfaceStatisticsOption::IsbIfDrop(2),
        InterfaceStatisticsOption::IsbEndTime(EPOCH + Duration::from_secs(3)),
    ] {
        assert!(statistics.options.contains(&option), "{statistics:#?}");
    }
}

fn rewrite(from: [u8; 4], to: [u8; 4]) -> Rewrite {
    Rewrite {
        from_source: ([172, 17, 0, 2], 40_000).into(),
        from_destination: (from, 80).into(),
        to_source: ([172, 17, 0, 2], 40_000).into(),
        to_destination: (to, 8080).into(),
    }
}

#[test]
fn rewrites_and_drops_are_comments() {
    let mut trace = Trace::default();
    let mut capture = Capture::default();
    capture.interface(ETH0, "eth0", "", 0);
    trace.captures.push(capture);
    let mut pool = Pool::default();
    let now = Time::ZERO;

    let frame = pool.from_bytes(&udp_frame()).unwrap();
    let id = pool.meta(&frame).id;
    trace.rewritten(now, id, VETH, rewrite([192, 0, 2, 2], [172, 17, 0, 3]));
    trace.frame(now, &pool, &frame, VETH, Direction::In);
    trace.frame(now, &pool, &frame, ETH0, Direction::In);
    trace.frame(now, &pool, &frame, ETH0, Direction::In);
    trace.rewritten(now, id, VETH, rewrite([10, 0, 0, 1], [10, 0, 0, 2]));
    trace.rewritten(now, id, VETH, rewrite([10, 0, 0, 2], [10, 0, 0, 3]));
    trace.drop(now, &mut pool, frame, ETH0, DropReason::NoSocket);

    let bare = pool.from_bytes(&udp_frame()).unwrap();
    pool.pull(&bare, 14);
    trace.drop(now, &mut pool, bare, ETH0, DropReason::NoRoute);
    let elsewhere = pool.from_bytes(&udp_frame()).unwrap();
    trace.drop(now, &mut pool, elsewhere, VETH, DropReason::NoRoute);
    assert_eq!(pool.in_use(), 0);
    assert_eq!(trace.drops.total(), 3);

    let packets = packets(&blocks(trace.captures[0].pending()));
    let comments: Vec<_> = packets.iter().map(comment).collect();
    assert_eq!(
        comments,
        [
            Some("rewritten: destination 192.0.2.2:80 → 172.17.0.3:8080".to_owned()),
            None,
            Some(
                "dropped: nobody listens on the port; \
                 rewritten: destination 10.0.0.1:80 → 10.0.0.3:8080"
                    .to_owned()
            ),
            Some("dropped: no route to host".to_owned()),
        ]
    );
    let bare = &packets[3].data;
    assert_eq!(bare[..14], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0]);
    assert_eq!(bare[14..], udp_frame()[14..]);
    assert_eq!(Ether::parse(bare).unwrap().payload, 14);
}

#[test]
fn without_a_capture_or_a_listener_nothing_is_kept() {
    let mut trace = Trace::default();
    let mut pool = Pool::default();
    let frame = pool.from_bytes(&udp_frame()).unwrap();
    trace.rewritten(Time::ZERO, 1, ETH0, rewrite([1; 4], [2; 4]));
    trace.frame(Time::ZERO, &pool, &frame, ETH0, Direction::In);
    trace.drop(Time::ZERO, &mut pool, frame, ETH0, DropReason::NoSocket);
    assert!(trace.take().is_empty());
    assert_eq!(trace.drops.of(DropReason::NoSocket), 1);
}

#[test]
fn comments_are_cut_between_characters() {
    let mut capture = Capture::default();
    capture.interface(ETH0, "eth0", "", 0);
    let long = "→".repeat(60_000);
    capture
        .packet(Time::MAX, ETH0, Direction::In, &[0; 60], Some(&long))
        .unwrap();
    let packets = packets(&blocks(capture.pending()));
    let text = comment(&packets[0]).unwrap();
    assert_eq!(text.chars().count(), COMMENT_MAX / 3);
    assert_eq!(packets[0].timestamp, Duration::from_nanos(u64::MAX));
}

/// A packet, when it was seen, its flags, its number and its comment.
type Told = (Vec<u8>, Time, u32, Option<u64>, Option<String>);

/// What `pcap-file` writes of a capture with these packets.
fn by_pcap_file(snaplen: u32, packets: &[Told]) -> Vec<u8> {
    let mut capture = Capture::default();
    capture.interface(ETH0, "eth0", "", snaplen);
    let interface_id = capture.number(ETH0).unwrap();
    for (bytes, now, flags, id, comment) in packets {
        let mut options = vec![EnhancedPacketOption::Flags(*flags)];
        let id = id.map(u64::to_le_bytes);
        if let Some(id) = &id {
            let id = CommonOption::Unknown(UnknownOption::new(5, id));
            options.push(EnhancedPacketOption::Common(id));
        }
        if let Some(comment) = comment {
            let comment = CommonOption::Comment(plain(comment, COMMENT_MAX).into());
            options.push(EnhancedPacketOption::Common(comment));
        }
        let kept = if snaplen == 0 {
            bytes.len()
        } else {
            bytes.len().min(snaplen as usize)
        };
        let block = EnhancedPacketBlock {
            interface_id,
            timestamp: capture.wall_clock(*now),
            original_len: bytes.len() as u32,
            data: Cow::Borrowed(&bytes[..kept]),
            options,
        };
        assert!(capture.write(block));
    }
    capture.take()
}

proptest! {
    /// The blocks laid out here are those that `pcap-file` writes, byte for byte.
    #[test]
    fn packets_are_laid_out_as_pcap_file_does(
        snaplen in prop_oneof![Just(0_u32), 1_u32..100],
        packets in proptest::collection::vec((
            proptest::collection::vec(any::<u8>(), 0..200),
            any::<u64>().prop_map(Time::from_nanos),
            0_u32..3,
            proptest::option::of(any::<u64>()),
            proptest::option::of("[a-z→\\n]{0,30}|(→b){1500}"),
        ), 1..5),
    ) {
        let mut capture = Capture::default();
        capture.interface(ETH0, "eth0", "", snaplen);
        for (bytes, now, flags, id, comment) in &packets {
            let direction = [Direction::Unknown, Direction::In, Direction::Out][*flags as usize];
            match *id {
                Some(id) => {
                    let meta = Meta { id, ..Meta::default() };
                    capture.frame(*now, ETH0, direction, bytes, meta, comment.as_deref()).unwrap();
                }
                None => capture.packet(*now, ETH0, direction, bytes, comment.as_deref()).unwrap(),
            }
        }
        prop_assert_eq!(capture.take(), by_pcap_file(snaplen, &packets));
    }
}

#[test]
fn a_whole_capture_shows_what_memory_holds() {
    for whole in [false, true] {
        let limits = Limits {
            whole,
            ..Limits::default()
        };
        let mut capture = Capture::new(limits);
        capture.interface(ETH0, "eth0", "", 0);
        let mut frame = udp_frame();
        frame[14 + 9] = 6;
        frame.splice(
            34..46,
            [&[0; 12][..], &[0x50, 0x18], &[0; 6], &[7; 2900]].concat(),
        );
        let len = (frame.len() - 14) as u16;
        frame[16..18].copy_from_slice(&len.to_be_bytes());
        let meta = Meta {
            gso_size: 1448,
            csum_partial: true,
            ..Meta::default()
        };
        capture
            .frame(Time::ZERO, ETH0, Direction::In, &frame, meta, Some("first"))
            .unwrap();
        let packets = packets(&blocks(capture.pending()));
        let lens: Vec<_> = packets.iter().map(|packet| packet.data.len()).collect();
        if whole {
            assert_eq!(lens, [frame.len()]);
            assert_eq!(packets[0].data, frame);
            continue;
        }
        assert_eq!(lens, [1502, 1502, 58]);
        for packet in &packets {
            let ip = &packet.data[14..];
            let parsed = Packet::parse(ip).unwrap();
            assert!(header_checksum_ok(ip) && transport_checksum_ok(ip, &parsed));
        }
        let comments: Vec<_> = packets.iter().map(comment).collect();
        assert_eq!(comments, [Some("first".to_owned()), None, None]);
    }
}
