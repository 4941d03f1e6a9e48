//! A published TCP port and its clients, kind and hostile.

use core::net::{Ipv6Addr, SocketAddr};
use core::time::Duration;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::channel;

use emulator_core::netns::Errno;
use rustix::net::sockopt::set_socket_linger;

use super::rig::{How, Rig, Server, Serves, byte, until};
use crate::rig::{loopback, skip};

fn reset(client: TcpStream) {
    set_socket_linger(&client, Some(Duration::ZERO)).unwrap();
    drop(client);
}

/// Says something and hears it again, to its end.
fn echo(mut client: TcpStream, bytes: &[u8]) {
    client.write_all(bytes).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut back = Vec::new();
    client.read_to_end(&mut back).unwrap();
    assert_eq!(back, bytes);
}

/// Whether a client is refused. One that comes while the port closes may be let in and reset.
fn refused(addr: SocketAddr) -> Option<()> {
    let kind = TcpStream::connect(addr).err()?.kind();
    if kind == ErrorKind::ConnectionReset {
        return None;
    }
    assert_eq!(kind, ErrorKind::ConnectionRefused);
    Some(())
}

#[test]
fn it_listens_while_the_container_does() {
    if !loopback() {
        return;
    }
    let rig = Rig::new();
    assert!(refused(rig.tcp).is_some());
    for _ in 0..3 {
        let (server, _) = Server::new(Serves::Echo);
        let app = rig.run(server);
        let open = rig.client();
        echo(rig.client(), b"hello");
        rig.order(move |cx| cx.lab.end_app(app));
        until(|| refused(rig.tcp));
        drop(open);
    }
    assert_eq!(rig.said(), [""; 0]);
}

#[test]
fn each_half_ends_on_its_own_in_both_families() {
    if !loopback() {
        return;
    }
    let mut reals = vec![How::default().real];
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() {
        reals.push(Ipv6Addr::LOCALHOST.into());
    } else {
        skip("no IPv6 loopback here");
    }
    for real in reals {
        let rig = Rig::with(How {
            real,
            ..How::default()
        });
        rig.run(Server::new(Serves::Echo).0);
        let bytes: Vec<u8> = (0..300_000).map(byte).collect();
        echo(rig.client(), b"");
        let client = rig.client();
        let mut writer = client.try_clone().unwrap();
        let said = bytes.clone();
        let thread = std::thread::spawn(move || {
            writer.write_all(&said).unwrap();
            writer.shutdown(Shutdown::Write).unwrap();
        });
        let mut back = Vec::new();
        let mut reader = client;
        reader.read_to_end(&mut back).unwrap();
        thread.join().unwrap();
        assert!(back == bytes, "{} bytes came back", back.len());
        until(|| (rig.streams() == 0).then_some(()));
    }
}

#[test]
fn the_server_may_end_first() {
    if !loopback() {
        return;
    }
    let rig = Rig::new();
    rig.run(Server::new(Serves::Says(100_000)).0);
    let mut client = rig.client();
    let mut heard = Vec::new();
    client.read_to_end(&mut heard).unwrap();
    assert!(heard.iter().enumerate().all(|(at, got)| *got == byte(at)));
    assert_eq!(heard.len(), 100_000);
}

#[test]
fn resets_are_passed_on_both_ways() {
    if !loopback() {
        return;
    }
    let rig = Rig::new();
    let app = rig.run(Server::new(Serves::Resets).0);
    let mut client = rig.client();
    client.write_all(b"x").unwrap();
    let error = client.read(&mut [0; 16]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    rig.order(move |cx| cx.lab.end_app(app));
    until(|| refused(rig.tcp));

    let (server, seen) = Server::new(Serves::Echo);
    rig.run(server);
    let mut client = rig.client();
    client.write_all(b"x").unwrap();
    client.read_exact(&mut [0]).unwrap();
    reset(client);
    until(|| (seen.0.lock().unwrap().errors == [Errno::ConnReset]).then_some(()));
}

#[test]
fn a_client_whose_connection_fails_in_the_lab_is_reset() {
    if !loopback() {
        return;
    }
    // It is connected where nobody listens.
    let rig = Rig::with(How {
        to: 81,
        ..How::default()
    });
    rig.run(Server::new(Serves::Echo).0);
    let mut client = rig.client();
    let error = client.read(&mut [0; 16]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    until(|| (rig.streams() == 0).then_some(()));
}

#[test]
fn whoever_does_not_read_stops_the_other_side() {
    if !loopback() {
        return;
    }
    const MANY: usize = 64 << 20;
    let rig = Rig::new();
    let (server, seen) = Server::new(Serves::Says(MANY));
    let app = rig.run(server);
    let mut slow = rig.client();
    // As much as the buffers on the way hold, and not a byte more.
    let (mut last, mut calm) = (0, 0);
    let held = until(|| {
        std::thread::sleep(Duration::from_millis(20));
        // The lab has had its turn, or this does not return.
        rig.streams();
        let sent = seen.0.lock().unwrap().sent;
        calm = if sent > 0 && sent == last {
            calm + 1
        } else {
            0
        };
        last = sent;
        (calm >= 10).then_some(sent)
    });
    assert!(held < MANY / 2, "{held} bytes left the server");
    let mut at = 0;
    let mut buffer = vec![0; 64 << 10];
    loop {
        let count = slow.read(&mut buffer).unwrap();
        if count == 0 {
            break;
        }
        for got in &buffer[..count] {
            assert_eq!(*got, byte(at));
            at += 1;
        }
    }
    assert_eq!(at, MANY);
    drop(slow);
    rig.order(move |cx| cx.lab.end_app(app));
    until(|| refused(rig.tcp));

    rig.run(Server::new(Serves::Deaf).0);
    let mut client = rig.client();
    client
        .set_write_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    let mut written = 0;
    let chunk = vec![0; 64 << 10];
    let stopped = loop {
        match client.write(&chunk) {
            Ok(count) => written += count,
            Err(error) => break error,
        }
        assert!(written < MANY, "a server that reads nothing took it all");
    };
    assert_eq!(stopped.kind(), ErrorKind::WouldBlock);
    // A reset comes through although nobody reads.
    reset(client);
    until(|| (rig.streams() == 0).then_some(()));
}

#[test]
fn small_pieces_arrive_in_order() {
    if !loopback() {
        return;
    }
    let rig = Rig::new();
    rig.run(Server::new(Serves::Echo).0);
    let client = rig.client();
    client.set_nodelay(true).unwrap();
    let mut writer = client.try_clone().unwrap();
    let total = 64 * 5000;
    let thread = std::thread::spawn(move || {
        for piece in (0..total).map(byte).collect::<Vec<u8>>().chunks(64) {
            writer.write_all(piece).unwrap();
        }
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let mut back = Vec::new();
    let mut reader = client;
    reader.read_to_end(&mut back).unwrap();
    thread.join().unwrap();
    assert!(back.iter().enumerate().all(|(at, got)| *got == byte(at)));
    assert_eq!(back.len(), total);
}

#[test]
fn clients_that_are_gone_at_once_leave_nothing() {
    if !loopback() {
        return;
    }
    let rig = Rig::new();
    let (server, seen) = Server::new(Serves::Echo);
    rig.run(server);
    for round in 0..1000 {
        let client = rig.client();
        match round % 3 {
            0 => reset(client),
            1 => drop(client),
            _ => client.shutdown(Shutdown::Both).unwrap(),
        }
    }
    echo(rig.client(), b"still here");
    until(|| (rig.streams() == 0).then_some(()));
    assert!(seen.0.lock().unwrap().accepted > 0);
    assert_eq!(rig.said(), [""; 0]);
}

#[test]
fn thousands_that_say_nothing_harm_nobody() {
    if !loopback() {
        return;
    }
    let rig = Rig::new();
    let (server, seen) = Server::new(Serves::Echo);
    rig.run(server);
    let idle: Vec<TcpStream> = (0..1500).map(|_| rig.client()).collect();
    until(|| (seen.0.lock().unwrap().accepted == idle.len()).then_some(()));
    echo(rig.client(), &[7; 100_000]);
    for (at, client) in idle.into_iter().enumerate() {
        if at % 2 == 0 {
            reset(client);
        }
    }
    until(|| (rig.streams() == 0).then_some(()));
}

#[test]
fn too_many_wait_and_it_is_said_once() {
    if !loopback() {
        return;
    }
    // Four connections at a time.
    let rig = Rig::with(How {
        descriptors: 8,
        ..How::default()
    });
    rig.run(Server::new(Serves::Echo).0);
    let mut held: Vec<TcpStream> = (0..4).map(|_| rig.client()).collect();
    for client in &mut held {
        client.write_all(b"x").unwrap();
        client.read_exact(&mut [0]).unwrap();
    }
    let mut fifth = rig.client();
    let (heard, told) = channel();
    let thread = std::thread::spawn(move || {
        fifth.write_all(b"y").unwrap();
        fifth.read_exact(&mut [0]).unwrap();
        heard.send(()).unwrap();
    });
    let said = until(|| Some(rig.said()).filter(|said| !said.is_empty()));
    assert!(told.recv_timeout(Duration::from_millis(300)).is_err());
    let addr = rig.tcp;
    let sentence = format!(
        "{addr}: clients wait until others end (4 connections, as many as there are descriptors for)"
    );
    assert_eq!(said, [sentence]);
    held.pop();
    told.recv_timeout(super::rig::LIMIT).unwrap();
    thread.join().unwrap();
    assert_eq!(rig.said().len(), 1);
}
