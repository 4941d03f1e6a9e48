//! What a machine that joins from outside is told, read by tshark.

use emulator_core::joining::{Heard, Joining, Segment, V4, V6, option};
use switch::Time;
use switch::segment::fill_checksums;

use crate::captures::{WRONG, fields};

fn joining() -> Joining {
    let server = [172, 31, 0, 1].into();
    let mut joining = Joining::new(Segment {
        mac: [2, 0, 0, 0, 0, 1],
        mtu: 1400,
        v4: Some(V4 {
            net: "172.31.0.0/24".parse().unwrap(),
            server,
            router: Some(server),
            dns: Some(server),
            domain: "shop_front".to_owned(),
        }),
        v6: Some(V6 {
            prefix: "fd00:17::/64".parse().unwrap(),
            link_local: "fe80::1".parse().unwrap(),
            router: true,
            dns: Some("fd00:17::1".parse().unwrap()),
        }),
    });
    joining.add([172, 31, 0, 3].into(), "shop-tap0");
    joining
}

/// A client's message in a frame to everybody.
fn asked(kind: u8, options: &[(u8, &[u8])]) -> Vec<u8> {
    let mut message = vec![0; 236];
    message[..8].copy_from_slice(&[1, 1, 6, 0, 9, 9, 9, 9]);
    message[28..34].copy_from_slice(&[2, 0, 0, 0, 0, 7]);
    message.extend_from_slice(&[99, 130, 83, 99, option::KIND, 1, kind]);
    for (number, value) in options {
        message.extend_from_slice(&[*number, value.len() as u8]);
        message.extend_from_slice(value);
    }
    message.push(255);
    let mut frame = vec![0xff; 6];
    frame.extend_from_slice(&[2, 0, 0, 0, 0, 7, 8, 0, 0x45, 0]);
    frame.extend_from_slice(&(28 + message.len() as u16).to_be_bytes());
    frame.extend_from_slice(&[0, 0, 0, 0, 64, 17, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255]);
    frame.extend_from_slice(&[0, 68, 0, 67]);
    frame.extend_from_slice(&(8 + message.len() as u16).to_be_bytes());
    frame.extend_from_slice(&[0, 0]);
    frame.extend_from_slice(&message);
    fill_checksums(&mut frame);
    frame
}

/// A capture file of frames.
fn pcap(frames: &[Vec<u8>]) -> Vec<u8> {
    let words =
        |words: &[u32]| -> Vec<u8> { words.iter().flat_map(|it| it.to_le_bytes()).collect() };
    let mut file = words(&[0xa1b2_c3d4, 0x0004_0002, 0, 0, 65_535, 1]);
    for frame in frames {
        let length = frame.len() as u32;
        file.extend(words(&[1, 0, length, length]));
        file.extend_from_slice(frame);
    }
    file
}

#[test]
fn tshark_reads_what_a_machine_is_told() {
    let mut joining = joining();
    let server: &[u8] = &[172, 31, 0, 1];
    let own: &[u8] = &[172, 31, 0, 3];
    let asked = [
        asked(1, &[(option::WANTED, &[1, 3, 6, 12, 15, 26, 28])]),
        asked(3, &[(option::SERVER, server), (option::ADDRESS, own)]),
        asked(3, &[(option::ADDRESS, &[10, 0, 0, 1])]),
        asked(8, &[]),
    ];
    let mut frames = Vec::new();
    for frame in &asked {
        let Heard::Answer(answer) = joining.hear(Time::ZERO, frame) else {
            panic!("no answer to {frame:?}");
        };
        frames.extend([frame.clone(), answer]);
    }
    frames.push(joining.advertised().unwrap());
    let file = pcap(&frames);
    let Some(wrong) = fields(&file, WRONG, &["frame.number", "_ws.expert.message"]) else {
        return;
    };
    assert_eq!(wrong, Vec::<Vec<String>>::new());
    let told = fields(
        &file,
        "dhcp.type == 2",
        &[
            "ip.dst",
            "dhcp.option.dhcp",
            "dhcp.ip.your",
            "dhcp.option.subnet_mask",
            "dhcp.option.router",
            "dhcp.option.domain_name_server",
            "dhcp.option.hostname",
            "dhcp.option.domain_name",
            "dhcp.option.interface_mtu",
            "dhcp.option.ip_address_lease_time",
        ],
    )
    .unwrap();
    let all = "255.255.255.0|172.31.0.1|172.31.0.1|shop-tap0|shop_front|1400|3600";
    let told: Vec<String> = told.iter().map(|fields| fields.join("|")).collect();
    assert_eq!(
        told,
        [
            format!("172.31.0.3|2|172.31.0.3|{all}"),
            format!("172.31.0.3|5|172.31.0.3|{all}"),
            "255.255.255.255|6|0.0.0.0|||||||".to_owned(),
            "255.255.255.255|5|0.0.0.0|255.255.255.0|172.31.0.1|172.31.0.1||shop_front|1400|"
                .to_owned(),
        ]
    );
    let told = fields(
        &file,
        "icmpv6.type == 134",
        &[
            "ipv6.src",
            "ipv6.dst",
            "ipv6.hlim",
            "icmpv6.nd.ra.router_lifetime",
            "icmpv6.opt.prefix",
            "icmpv6.opt.prefix.flag.a",
            "icmpv6.opt.mtu",
            "icmpv6.opt.rdnss",
        ],
    )
    .unwrap();
    let told: Vec<String> = told.iter().map(|fields| fields.join("|")).collect();
    assert_eq!(
        told,
        ["fe80::1|ff02::1|255|1800|fd00:17::|1|1400|fd00:17::1"]
    );
}
