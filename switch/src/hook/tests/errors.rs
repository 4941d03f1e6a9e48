//! ICMP errors about translated connections.

use super::packets::{Built, SYN, echo, error, tcp, udp};
use super::*;

const T0: Time = Time::ZERO;

/// A masqueraded packet dies on its way; the error has to make sense to its sender.
fn masqueraded(mut sent: Built, router: &str, host: &str) -> (Built, Built) {
    let mut nf = masquerading(Limits::default());
    let inside = sent.clone();
    forward(&mut nf, T0, &mut sent, BRIDGE, UPLINK).unwrap();
    let mut error = error(router, host, &sent.bytes);
    forward(&mut nf, T0, &mut error, UPLINK, BRIDGE).unwrap();
    assert_eq!(nf.conntrack.len(), 1, "the error starts no connection");
    (error, inside)
}

#[test]
fn the_quote_is_what_the_sender_sent() {
    for (packet, router, host) in [
        (
            udp("172.17.0.2:5000", "198.51.100.7:53"),
            "203.0.113.1",
            "192.0.2.2",
        ),
        (
            tcp("172.17.0.2:5000", "198.51.100.7:80", SYN),
            "203.0.113.1",
            "192.0.2.2",
        ),
        (
            echo("172.17.0.2", "198.51.100.7", 9, false),
            "203.0.113.1",
            "192.0.2.2",
        ),
        (
            udp("[fd00::2]:5000", "[2001:db8:ffff::7]:53"),
            "2001:db8:ffff::1",
            "2001:db8:0:1::2",
        ),
        (
            echo("fd00::2", "2001:db8:ffff::7", 9, false),
            "2001:db8:ffff::1",
            "2001:db8:0:1::2",
        ),
    ] {
        let (error, sent) = masqueraded(packet, router, host);
        assert_eq!(error.packet().source, ip(router));
        assert_eq!(error.packet().destination, sent.packet().source);
        assert_eq!(error.quoted().bytes, sent.bytes);
        error.quoted().check();
    }
}

#[test]
fn a_changed_port_and_identifier_are_put_back() {
    let packets: [fn(&str) -> Built; 2] = [
        |source| udp(&format!("{source}:5000"), "198.51.100.7:53"),
        |source| echo(source, "198.51.100.7", 5000, false),
    ];
    for packet in packets {
        let mut nf = masquerading(Limits::default());
        let mut first = packet("172.17.0.3");
        forward(&mut nf, T0, &mut first, BRIDGE, UPLINK).unwrap();
        let original = packet("172.17.0.2");
        let mut sent = original.clone();
        forward(&mut nf, T0, &mut sent, BRIDGE, UPLINK).unwrap();
        assert_ne!(sent.bytes[20..28], original.bytes[20..28]);
        let mut error = error("203.0.113.1", "192.0.2.2", &sent.bytes);
        forward(&mut nf, T0, &mut error, UPLINK, BRIDGE).unwrap();
        assert_eq!(error.packet().destination, ip("172.17.0.2"));
        assert_eq!(error.quoted().bytes, original.bytes);
    }
}

/// RFC 792: the header and eight bytes. The quoted TCP checksum is not there to be mended.
#[test]
fn a_short_quote_is_enough() {
    let mut nf = masquerading(Limits::default());
    let original = tcp("172.17.0.2:5000", "198.51.100.7:80", SYN);
    let mut sent = original.clone();
    forward(&mut nf, T0, &mut sent, BRIDGE, UPLINK).unwrap();
    let mut error = error("203.0.113.1", "192.0.2.2", &sent.bytes[..28]);
    forward(&mut nf, T0, &mut error, UPLINK, BRIDGE).unwrap();
    assert_eq!(error.quoted().bytes, original.bytes[..28]);
}

/// A published container sends the error: its client must see the published address, inside and out.
#[test]
fn errors_of_a_published_server_come_from_the_host() {
    let mut nf = masquerading(Limits::default());
    publish(&mut nf);
    let original = tcp("192.0.2.9:40000", "192.0.2.2:8080", SYN);
    let mut sent = original.clone();
    forward(&mut nf, T0, &mut sent, UPLINK, BRIDGE).unwrap();
    let mut error = error("172.17.0.2", "192.0.2.9", &sent.bytes);
    forward(&mut nf, T0, &mut error, BRIDGE, UPLINK).unwrap();
    assert_eq!(error.packet().source, ip("192.0.2.2"));
    assert_eq!(error.packet().destination, ip("192.0.2.9"));
    assert_eq!(error.quoted().bytes, original.bytes);
}

/// The host itself says that a published packet went too far: it quotes the packet after DNAT.
#[test]
fn errors_of_the_host_about_a_published_connection() {
    let mut nf = masquerading(Limits::default());
    publish(&mut nf);
    let original = tcp("192.0.2.9:40000", "192.0.2.2:8080", SYN);
    let mut sent = original.clone();
    forward(&mut nf, T0, &mut sent, UPLINK, BRIDGE).unwrap();
    let mut error = error("192.0.2.2", "192.0.2.9", &sent.bytes);
    send(&mut nf, T0, &mut error, UPLINK).unwrap();
    assert_eq!(error.quoted().bytes, original.bytes);
}

#[test]
fn errors_are_related_and_lies_are_invalid() {
    let mut nf = masquerading(Limits::default());
    let invalid = Match {
        states: crate::filter::States::of(&[State::Invalid]),
        ..Match::default()
    };
    add(
        &mut nf,
        Family::V4,
        Table::Filter,
        Hook::Forward,
        invalid,
        Action::Drop(DropReason::Filtered),
    );
    let mut sent = udp("172.17.0.2:5000", "198.51.100.7:53");
    forward(&mut nf, T0, &mut sent, BRIDGE, UPLINK).unwrap();
    let mut truth = error("203.0.113.1", "192.0.2.2", &sent.bytes);
    assert_eq!(forward(&mut nf, T0, &mut truth, UPLINK, BRIDGE), Ok(()));
    // To somebody else than the quoted sender; about a connection that nobody has.
    let mut astray = error("203.0.113.1", "172.17.0.2", &sent.bytes);
    let unknown = udp("192.0.2.2:5001", "198.51.100.7:53");
    let mut about_nothing = error("203.0.113.1", "192.0.2.2", &unknown.bytes);
    for packet in [&mut astray, &mut about_nothing] {
        let before = packet.bytes.clone();
        let result = forward(&mut nf, T0, packet, UPLINK, BRIDGE);
        assert_eq!(result, Err(DropReason::Filtered));
        assert_eq!(packet.bytes, before);
    }
}

#[test]
fn redirects_of_translated_connections_are_dropped() {
    let mut nf = masquerading(Limits::default());
    let mut sent = udp("172.17.0.2:5000", "198.51.100.7:53");
    forward(&mut nf, T0, &mut sent, BRIDGE, UPLINK).unwrap();
    let mut redirect = error("192.0.2.1", "192.0.2.2", &sent.bytes);
    redirect.bytes[20] = 5;
    let result = deliver(&mut nf, T0, &mut redirect, UPLINK);
    assert_eq!(result, Err(DropReason::ConntrackInvalid));
}
