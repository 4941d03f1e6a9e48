//! A published UDP port and its clients.

use core::net::{Ipv4Addr, Ipv6Addr};
use core::time::Duration;
use std::net::UdpSocket;

use emulator_core::app::SockKind;
use switch::DropReason;

use super::rig::{How, LIMIT, Rig, UdpEcho, until};
use crate::rig::{loopback, skip};

fn client(rig: &Rig) -> UdpSocket {
    let any = if rig.udp.is_ipv4() {
        UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))
    } else {
        UdpSocket::bind((Ipv6Addr::LOCALHOST, 0))
    };
    let client = any.unwrap();
    client.connect(rig.udp).unwrap();
    client.set_read_timeout(Some(LIMIT)).unwrap();
    client
}

/// Sends, and hears the same.
fn echo(client: &UdpSocket, bytes: &[u8]) {
    client.send(bytes).unwrap();
    let mut back = vec![0; 65_536];
    let count = client.recv(&mut back).unwrap();
    assert_eq!(&back[..count], bytes);
}

fn sockets(rig: &Rig) -> usize {
    let host = rig.host;
    rig.order(move |cx| {
        let sockets = cx.lab.net().ns(host).unwrap().sockets();
        sockets
            .iter()
            .filter(|socket| socket.kind == SockKind::Udp)
            .count()
    })
}

#[test]
fn replies_find_their_client_in_both_families() {
    if !loopback() {
        return;
    }
    let mut reals = vec![How::default().real];
    if UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() {
        reals.push(Ipv6Addr::LOCALHOST.into());
    } else {
        skip("no IPv6 loopback here");
    }
    for real in reals {
        let rig = Rig::with(How {
            real,
            ..How::default()
        });
        rig.run(UdpEcho::default());
        let clients: Vec<UdpSocket> = (0..50).map(|_| client(&rig)).collect();
        for round in 0..4_usize {
            for (at, client) in clients.iter().enumerate() {
                client
                    .send(format!("{round} of client {at}").as_bytes())
                    .unwrap();
            }
            for (at, client) in clients.iter().enumerate() {
                let mut back = [0; 64];
                let count = client.recv(&mut back).unwrap();
                assert_eq!(&back[..count], format!("{round} of client {at}").as_bytes());
            }
        }
        assert_eq!(sockets(&rig), clients.len());
        echo(&clients[0], &[]);
        echo(&clients[0], &vec![5; 40_000]);
    }
}

#[test]
fn nobody_there_is_silence_and_passes() {
    if !loopback() {
        return;
    }
    let rig = Rig::new();
    let client = client(&rig);
    client.send(b"lost").unwrap();
    until(|| (sockets(&rig) == 1).then_some(()));
    // Whoever listens before it has died hears it.
    until(|| {
        let died = rig.order(|cx| cx.lab.net().trace.drops.of(DropReason::NoSocket));
        (died > 0).then_some(())
    });
    rig.run(UdpEcho::default());
    echo(&client, b"heard");
}

#[test]
fn a_silent_client_is_forgotten() {
    if !loopback() {
        return;
    }
    let rig = Rig::with(How {
        // Longer than the lab has to wait for a core before it answers.
        idle: Duration::from_secs(2),
        ..How::default()
    });
    rig.run(UdpEcho::default());
    let client = client(&rig);
    echo(&client, b"one");
    until(|| (sockets(&rig) == 0).then_some(()));
    echo(&client, b"two");
}

#[test]
fn clients_are_bounded_and_it_is_said_once() {
    if !loopback() {
        return;
    }
    use vethlab::host::publish::CLIENTS;
    // Nobody is forgotten meanwhile, however long it takes.
    let rig = Rig::with(How {
        idle: Duration::from_secs(3600),
        ..How::default()
    });
    rig.run(UdpEcho::default());
    let first = client(&rig);
    echo(&first, b"first");
    let mut seen = 1;
    while rig.said().is_empty() {
        // Each from an address of its own, one after the other so that none is lost.
        let other = client(&rig);
        other.send(b"other").unwrap();
        if seen < CLIENTS {
            other.recv(&mut [0; 16]).unwrap();
        }
        seen += 1;
        assert!(seen < CLIENTS + 100_000);
    }
    assert_eq!(sockets(&rig), CLIENTS);
    echo(&first, b"still heard");
    assert_eq!(rig.said().len(), 1);
}
