//! A namespace that stands for the world: what it holds, and what its rulings do.

use core::net::SocketAddr;

use switch::verdict::DropReason;
use switch::{IfId, Time};

use super::rig::{World, at, ip};
use crate::app::{Family, SockKind, SockOpt};
use crate::id::SockId;
use crate::netns::divert::HELD;
use crate::netns::*;

/// A client, a router, and a world behind it.
struct Out {
    world: World,
    way: SockId,
}

/// What was asked, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Said {
    Connection(SocketAddr, SocketAddr),
    Datagram(SocketAddr, SocketAddr, Vec<u8>, Vec<u8>),
    Echo(IpAddr, IpAddr, (u16, u16), Vec<u8>, Vec<u8>),
}

use core::net::IpAddr;

impl Out {
    fn new() -> Self {
        let mut world = World::routed(1500);
        for via in ["10.0.2.2", "fd02::2"] {
            let way = Route::default_via(ip(via), IfId(4));
            world.ns[1].route_add(way).unwrap();
        }
        world.ns[2].icmp_limited = false;
        let way = world.with(2, |ns, cx| ns.divert(cx)).unwrap();
        Self { world, way }
    }

    fn asked(&mut self) -> Option<(HeldId, Said)> {
        self.world.with(2, |ns, cx| {
            ns.diverted(cx, |id, asked| {
                let said = match asked {
                    Asked::Connection { from, to } => Said::Connection(from, to),
                    Asked::Datagram {
                        from,
                        to,
                        payload,
                        packet,
                    } => Said::Datagram(from, to, payload.to_vec(), packet.to_vec()),
                    Asked::Echo {
                        from,
                        to,
                        id,
                        sequence,
                        payload,
                        packet,
                    } => Said::Echo(from, to, (id, sequence), payload.to_vec(), packet.to_vec()),
                };
                (id, said)
            })
        })
    }

    fn rule(&mut self, id: HeldId, ruling: Ruling) {
        self.world.with(2, |ns, cx| ns.rule(cx, id, ruling));
    }

    fn connect(&mut self, to: &str) -> SockId {
        let family = if at(to).is_ipv4() {
            Family::V4
        } else {
            Family::V6
        };
        let sock = self.world.ns[0].socket(SockKind::Tcp, family).unwrap();
        let result = self.world.with(0, |ns, cx| ns.connect(cx, sock, at(to)));
        assert_eq!(result, Err(Errno::InProgress));
        sock
    }

    fn error(&mut self, sock: SockId) -> Option<Errno> {
        self.world.ns[0].take_error(sock)
    }
}

const BOTH: [&str; 2] = ["203.0.113.5:443", "[2001:db8::5]:443"];

#[test]
fn nothing_is_answered_before_it_is_decided() {
    for to in BOTH {
        let mut out = Out::new();
        let client = out.connect(to);
        assert!(out.world.wakes.contains(&out.way));
        assert!(!out.world.ns[0].ready(client).writable, "{to}");
        let (id, said) = out.asked().unwrap();
        let from = out.world.ns[0].local_addr(client).unwrap();
        assert_eq!(said, Said::Connection(from, at(to)));
        assert_eq!(out.asked(), None);
        // It asks again, and waits for the same answer.
        out.world.advance(Time::from_millis(1500));
        assert_eq!(out.asked(), None);
        assert_eq!(out.world.drops(DropReason::EgressPending), 1);
        out.rule(id, Ruling::Accept);
        assert!(out.world.ns[0].ready(client).writable, "{to}");
        let way = out.way;
        let (conn, peer) = out.world.with(2, |ns, cx| ns.accept(cx, way)).unwrap();
        assert_eq!(
            (peer, out.world.ns[2].local_addr(conn)),
            (from, Some(at(to)))
        );
        let mut buffer = [0; 2000];
        for (sender, receiver, a, b) in [(0, 2, client, conn), (2, 0, conn, client)] {
            for size in [1, 2000, 7] {
                let bytes = vec![7; size];
                let sent = out.world.with(sender, |ns, cx| ns.send(cx, a, &bytes));
                assert_eq!(sent, Ok(size));
                let got = out
                    .world
                    .with(receiver, |ns, cx| ns.recv(cx, b, &mut buffer));
                assert_eq!(got, Ok(size), "{to}");
            }
        }
        // A second connection of the same client asks for itself.
        out.connect(to);
        assert!(out.asked().is_some());
        out.world.end();
    }
}

#[test]
fn a_refusal_is_a_reset_and_an_unreachable_host_is_icmp() {
    for (to, ruling, error, reason) in [
        (
            BOTH[0],
            Ruling::Reset,
            Errno::ConnRefused,
            DropReason::NoSocket,
        ),
        (
            BOTH[1],
            Ruling::Reset,
            Errno::ConnRefused,
            DropReason::NoSocket,
        ),
        (
            BOTH[0],
            Ruling::Unreachable(Unreachable::Host),
            Errno::HostUnreach,
            DropReason::NoRoute,
        ),
        (
            BOTH[1],
            Ruling::Unreachable(Unreachable::Network),
            Errno::NetUnreach,
            DropReason::NoRoute,
        ),
    ] {
        let mut out = Out::new();
        let client = out.connect(to);
        let (id, _) = out.asked().unwrap();
        out.rule(id, ruling);
        assert_eq!(out.error(client), Some(error), "{to} {ruling:?}");
        assert_eq!(out.world.drops(reason), 1);
        out.world.end();
    }
}

#[test]
fn what_is_denied_dies_silently_and_is_counted() {
    let mut out = Out::new();
    let client = out.connect(BOTH[0]);
    let before = out.world.packets(2).len();
    let (id, _) = out.asked().unwrap();
    out.rule(id, Ruling::Drop(DropReason::EgressDenied));
    assert_eq!(out.world.drops(DropReason::EgressDenied), 1);
    assert_eq!(out.world.packets(2).len(), before);
    assert_eq!(out.error(client), None);
    // A ruling on what waits no more changes nothing.
    out.rule(id, Ruling::Accept);
    assert!(!out.world.ns[0].ready(client).writable);
    out.world.end();
}

#[test]
fn datagrams_are_handed_over_and_answered_from_anywhere() {
    for to in ["203.0.113.5:53", "[2001:db8::5]:53"] {
        let mut out = Out::new();
        let any = if at(to).is_ipv4() {
            "0.0.0.0:0"
        } else {
            "[::]:0"
        };
        let sock = out.world.udp(0, any);
        out.world
            .with(0, |ns, cx| ns.connect(cx, sock, at(to)))
            .unwrap();
        out.world
            .with(0, |ns, cx| ns.send(cx, sock, b"question"))
            .unwrap();
        let (id, said) = out.asked().unwrap();
        let Said::Datagram(from, asked, payload, packet) = said else {
            panic!("{said:?}");
        };
        assert_eq!((asked, payload.as_slice()), (at(to), &b"question"[..]));
        out.rule(id, Ruling::Accept);
        // Longer than the MTU as well.
        for answer in [vec![1; 10], vec![2; 5000]] {
            let sent = out
                .world
                .with(2, |ns, cx| ns.datagram_as(cx, at(to), from, &answer));
            assert_eq!(sent, Ok(()));
            let (bytes, got) = out.world.recv(0, sock).unwrap();
            assert_eq!((bytes, got.from), (answer, at(to)));
        }
        out.world.with(2, |ns, cx| {
            ns.complain_of(cx, &packet, Unreachable::Port, None)
        });
        assert_eq!(out.error(sock), Some(Errno::ConnRefused), "{to}");
        // The front of a packet is enough, if it is all that an error quotes.
        out.world
            .with(0, |ns, cx| ns.send(cx, sock, &[7; 4000]))
            .unwrap();
        let (id, said) = out.asked().unwrap();
        let Said::Datagram(_, _, payload, packet) = said else {
            panic!("{said:?}");
        };
        assert_eq!(payload, [7; 4000]);
        out.rule(id, Ruling::Accept);
        out.world.with(2, |ns, cx| {
            ns.complain_of(cx, &packet[..1232], Unreachable::Port, None)
        });
        assert_eq!(out.error(sock), Some(Errno::ConnRefused), "{to}");
        out.world.end();
    }
}

#[test]
fn echo_requests_wait_and_are_answered_with_their_own_numbers() {
    for (to, v6) in [("203.0.113.5", false), ("2001:db8::5", true)] {
        let mut out = Out::new();
        let sock = out.world.ping(0, v6);
        let to = ip(to);
        let sent = out.world.with(0, |ns, cx| {
            ns.send_to(cx, sock, b"are you there", SocketAddr::new(to, 7))
        });
        assert_eq!(sent, Ok(13));
        assert!(out.world.recv(0, sock).is_err());
        let (id, said) = out.asked().unwrap();
        let Said::Echo(from, asked, numbers, payload, packet) = said else {
            panic!("{said:?}");
        };
        assert_eq!(
            (asked, numbers.1, payload.as_slice()),
            (to, 7, &b"are you there"[..])
        );
        out.rule(id, Ruling::Accept);
        let sent = out
            .world
            .with(2, |ns, cx| ns.echo_as(cx, to, from, numbers, &payload));
        assert_eq!(sent, Ok(()));
        let (bytes, got) = out.world.recv(0, sock).unwrap();
        assert_eq!(
            (bytes.as_slice(), got.from),
            (&b"are you there"[..], SocketAddr::new(to, 7))
        );
        out.world.with(2, |ns, cx| {
            ns.complain_of(cx, &packet, Unreachable::Prohibited, None)
        });
        // A router forbids it, as nobody else than the destination says that nobody listens.
        let error = out.world.ns[0].recv_error(sock).unwrap();
        assert_eq!(error.icmp, if v6 { (1, 1) } else { (3, 13) });
        assert_ne!(error.from, to);
        out.world.with(2, |ns, cx| {
            ns.complain_of(cx, &packet, Unreachable::Port, None)
        });
        let error = out.world.ns[0].recv_error(sock).unwrap();
        assert_eq!(error.icmp, if v6 { (1, 4) } else { (3, 3) });
        assert_eq!(error.from, to);
        // Routers outside speak for themselves, as often as they do.
        let router = ip(if v6 { "2001:db8:7::1" } else { "198.51.100.1" });
        for _ in 0..20 {
            out.world.with(2, |ns, cx| {
                ns.complain_of(cx, &packet, Unreachable::HopLimit, Some(router));
            });
            let error = out.world.ns[0].recv_error(sock).unwrap();
            assert_eq!(error.icmp, if v6 { (3, 0) } else { (11, 0) });
            assert_eq!(error.from, router);
        }
        out.world.end();
    }
}

#[test]
fn what_is_for_the_namespace_itself_is_its_own() {
    let mut out = Out::new();
    let client = out.connect("10.0.2.2:80");
    assert_eq!(out.error(client), Some(Errno::ConnRefused));
    let sock = out.world.ping(0, false);
    out.world.send(0, sock, b"x", "10.0.2.2:1").unwrap();
    assert!(out.world.recv(0, sock).is_ok());
    assert_eq!(out.asked(), None);
    out.world.end();
}

#[test]
fn as_many_wait_as_there_is_room_for_and_the_end_frees_them() {
    let mut out = Out::new();
    let sock = out.world.udp(0, "0.0.0.0:0");
    for _ in 0..HELD + 3 {
        out.world.send(0, sock, b"x", "203.0.113.5:9").unwrap();
    }
    assert_eq!(out.world.drops(DropReason::SocketBufferFull), 3);
    let client = out.connect(BOTH[0]);
    assert_eq!(out.world.drops(DropReason::SynQueueFull), 1);
    let way = out.way;
    assert_eq!(
        out.world.with(2, |ns, cx| ns.divert(cx)),
        Err(Errno::AddrInUse)
    );
    out.world.with(2, |ns, cx| ns.close(cx, way));
    assert_eq!(out.asked(), None);
    assert_eq!(out.world.drops(DropReason::NoRoute), HELD as u64);
    // Now nobody takes it, and it can be opened again.
    out.world.set(0, client, SockOpt::NoDelay(true)).unwrap();
    out.world.send(0, sock, b"x", "203.0.113.5:9").unwrap();
    assert_eq!(out.world.drops(DropReason::NotForwarding), 1);
    out.world.with(2, |ns, cx| ns.divert(cx)).unwrap();
    out.world.end();
}
