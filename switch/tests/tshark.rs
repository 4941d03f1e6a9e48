//! What a capture says to Wireshark: read back by tshark, where there is one.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::{Command, Stdio};

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, IpAddress, IpProtocol, IpRepr, Ipv4Packet, Ipv6Packet,
    TcpControl, TcpPacket, TcpRepr, TcpSeqNumber, UdpPacket, UdpRepr,
};
use switch::capture::{Capture, Direction};
use switch::trace::Trace;
use switch::verdict::Rewrite;
use switch::wire::{Ether, EthernetAddress, EthernetProtocol};
use switch::{DropReason, IfId, Pool, Time};

const WEB: IfId = IfId(7);
const DB: IfId = IfId(9);
const A: EthernetAddress = EthernetAddress([2, 0x42, 0xac, 0x12, 0, 2]);
const B: EthernetAddress = EthernetAddress([2, 0x42, 0xac, 0x12, 0, 3]);
const A4: Ipv4Addr = Ipv4Addr::new(172, 18, 0, 2);
const B4: Ipv4Addr = Ipv4Addr::new(172, 18, 0, 3);
const A6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2);
const B6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 3);

/// Runs tshark on `bytes` with `arguments`; `None`, said aloud, where there is no tshark.
fn tshark(bytes: &[u8], arguments: &[&str]) -> Option<String> {
    let spawned = Command::new("tshark")
        .args(["-r", "-"])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) => {
            eprintln!("SKIPPED: captures are not checked by tshark: {error}");
            return None;
        }
    };
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(bytes).expect("tshark reads all");
    drop(stdin);
    let output = child.wait_with_output().expect("tshark ends");
    let errors = String::from_utf8_lossy(&output.stderr);
    let complaints: Vec<_> = errors
        .lines()
        .filter(|line| !line.starts_with("Running as user"))
        .collect();
    assert!(output.status.success() && complaints.is_empty(), "{errors}");
    Some(String::from_utf8(output.stdout).expect("UTF-8"))
}

fn ether(protocol: EthernetProtocol, len: usize) -> Vec<u8> {
    let mut frame = vec![0; 14 + len];
    Ether::emit(&mut frame, B, A, protocol);
    frame
}

fn arp() -> Vec<u8> {
    let arp = ArpRepr::EthernetIpv4 {
        operation: ArpOperation::Request,
        source_hardware_addr: A,
        source_protocol_addr: A4,
        target_hardware_addr: EthernetAddress([0; 6]),
        target_protocol_addr: B4,
    };
    let mut frame = ether(EthernetProtocol::Arp, arp.buffer_len());
    frame[..6].fill(0xff);
    arp.emit(&mut ArpPacket::new_unchecked(&mut frame[14..]));
    frame
}

/// An IP packet of either family in a frame, its checksums not written, and where its payload is.
fn ip(six: bool, protocol: IpProtocol, len: usize) -> (Vec<u8>, usize, IpAddress, IpAddress) {
    let (source, destination): (IpAddress, IpAddress) = if six {
        (A6.into(), B6.into())
    } else {
        (A4.into(), B4.into())
    };
    let repr = IpRepr::new(source, destination, protocol, len, 64);
    let none = ChecksumCapabilities::ignored();
    let mut frame;
    match &repr {
        IpRepr::Ipv4(repr) => {
            frame = ether(EthernetProtocol::Ipv4, 20 + len);
            repr.emit(&mut Ipv4Packet::new_unchecked(&mut frame[14..]), &none);
        }
        IpRepr::Ipv6(repr) => {
            frame = ether(EthernetProtocol::Ipv6, 40 + len);
            repr.emit(&mut Ipv6Packet::new_unchecked(&mut frame[14..]));
        }
    }
    let at = frame.len() - len;
    (frame, at, source, destination)
}

fn udp() -> Vec<u8> {
    let repr = UdpRepr {
        src_port: 40_000,
        dst_port: 9999,
    };
    let (mut frame, at, source, destination) = ip(false, IpProtocol::Udp, 8 + 5);
    repr.emit(
        &mut UdpPacket::new_unchecked(&mut frame[at..]),
        &source,
        &destination,
        5,
        |payload| payload.copy_from_slice(b"hello"),
        &ChecksumCapabilities::ignored(),
    );
    frame
}

fn tcp(six: bool, payload: &[u8]) -> Vec<u8> {
    let repr = TcpRepr {
        src_port: 40_000,
        dst_port: 9999,
        control: TcpControl::Psh,
        seq_number: TcpSeqNumber(1000),
        ack_number: Some(TcpSeqNumber(1)),
        window_len: 512,
        window_scale: None,
        max_seg_size: None,
        sack_permitted: false,
        sack_ranges: [None; 3],
        timestamp: None,
        payload,
    };
    let (mut frame, at, source, destination) = ip(six, IpProtocol::Tcp, repr.buffer_len());
    repr.emit(
        &mut TcpPacket::new_unchecked(&mut frame[at..]),
        &source,
        &destination,
        &ChecksumCapabilities::ignored(),
    );
    frame
}

fn recorded() -> Vec<u8> {
    let mut pool = Pool::default();
    let mut trace = Trace::default();
    let mut capture = Capture::default();
    capture.interface(WEB, "eth0@web", "web on bridge2", 0);
    capture.interface(DB, "eth0@db", "db on bridge2", 65_535);
    capture.names(&[
        (IpAddr::from(A4), "web"),
        (IpAddr::from(B4), "db"),
        (IpAddr::from(B6), "db"),
    ]);
    trace.captures.push(capture);

    let frames = [
        (arp(), 0, false),
        (udp(), 0, true),
        (tcp(false, &[b'x'; 4000]), 1460, true),
        (tcp(true, &[b'x'; 4000]), 1440, true),
    ];
    for (index, (bytes, gso_size, partial)) in frames.into_iter().enumerate() {
        let frame = pool.from_bytes(&bytes).expect("a buffer");
        pool.meta_mut(&frame).gso_size = gso_size;
        pool.meta_mut(&frame).csum_partial = partial;
        let now = Time::from_nanos(index as u64 * 1_000_000_000 + 7);
        trace.frame(now, &pool, &frame, WEB, Direction::Out);
        pool.free(frame);
    }

    let now = Time::from_secs(5);
    let frame = pool.from_bytes(&udp()).expect("a buffer");
    let id = pool.meta(&frame).id;
    pool.meta_mut(&frame).csum_partial = true;
    let rewrite = Rewrite {
        from_source: (A4, 40_000).into(),
        from_destination: (Ipv4Addr::new(192, 0, 2, 2), 80).into(),
        to_source: (A4, 40_000).into(),
        to_destination: (B4, 9999).into(),
    };
    trace.rewritten(now, id, WEB, rewrite);
    trace.frame(now, &pool, &frame, DB, Direction::In);
    trace.drop(now, &mut pool, frame, DB, DropReason::NoSocket);
    assert_eq!(pool.in_use(), 0);

    let mut capture = trace.captures.remove(0);
    capture.statistics(now, WEB, 8, 0);
    capture.finish(now);
    capture.take()
}

#[test]
fn tshark_reads_every_block_without_complaint() {
    let bytes = recorded();
    let Some(table) = tshark(
        &bytes,
        &[
            "-n",
            "-T",
            "fields",
            "-E",
            "separator=|",
            "-e",
            "frame.time_epoch",
            "-e",
            "frame.interface_name",
            "-e",
            "frame.packet_flags_direction",
            "-e",
            "frame.protocols",
            "-e",
            "frame.comment",
        ],
    ) else {
        return;
    };
    let lines: Vec<_> = table.lines().collect();
    let udp = "eth:ethertype:ip:udp:data";
    let rows = [
        "1577836800.000000007|eth0@web|0x00000002|eth:ethertype:arp|".to_owned(),
        format!("1577836801.000000007|eth0@web|0x00000002|{udp}|"),
        "1577836802.000000007|eth0@web|0x00000002|eth:ethertype:ip:tcp:data|".to_owned(),
        "1577836802.000000007|eth0@web|0x00000002|eth:ethertype:ip:tcp:data|".to_owned(),
        "1577836802.000000007|eth0@web|0x00000002|eth:ethertype:ip:tcp:data|".to_owned(),
        "1577836803.000000007|eth0@web|0x00000002|eth:ethertype:ipv6:tcp:data|".to_owned(),
        "1577836803.000000007|eth0@web|0x00000002|eth:ethertype:ipv6:tcp:data|".to_owned(),
        "1577836803.000000007|eth0@web|0x00000002|eth:ethertype:ipv6:tcp:data|".to_owned(),
        format!(
            "1577836805.000000000|eth0@db|0x00000001|{udp}|\
             rewritten: destination 192.0.2.2:80 → 172.18.0.3:9999"
        ),
        format!(
            "1577836805.000000000|eth0@db|0x00000000|{udp}|dropped: nobody listens on the port"
        ),
    ];
    assert_eq!(lines, rows);
}

#[test]
fn tshark_finds_checksums_good_and_nothing_malformed() {
    let bytes = recorded();
    let arguments = [
        "-n",
        "-o",
        "ip.check_checksum:TRUE",
        "-o",
        "tcp.check_checksum:TRUE",
        "-o",
        "udp.check_checksum:TRUE",
        "-Y",
    ];
    let count = |filter| {
        let mut arguments = arguments.to_vec();
        arguments.push(filter);
        tshark(&bytes, &arguments).map(|listing| listing.lines().count())
    };
    let Some(all) = count("frame") else {
        return;
    };
    assert_eq!(all, 10);
    assert_eq!(count("ip.checksum.status == 1"), Some(6));
    assert_eq!(count("tcp.checksum.status == 1"), Some(6));
    assert_eq!(count("udp.checksum.status == 1"), Some(3));
    assert_eq!(
        count("_ws.malformed || _ws.expert.severity == error"),
        Some(0)
    );
    assert_eq!(count("tcp.analysis.flags"), Some(0));
    assert_eq!(count("tcp.flags.push == 1"), Some(2));
}

#[test]
fn tshark_knows_the_names() {
    let bytes = recorded();
    let arguments = [
        "-N",
        "n",
        "-T",
        "fields",
        "-e",
        "ip.dst_host",
        "-e",
        "ipv6.dst_host",
    ];
    let Some(hosts) = tshark(&bytes, &arguments) else {
        return;
    };
    let hosts: Vec<_> = hosts.lines().map(str::trim).collect();
    assert_eq!(hosts[0], "");
    assert!(hosts[1..].iter().all(|&host| host == "db"), "{hosts:?}");
}
