//! A proxy and clients that do not say what they want.

use core::net::Ipv4Addr;
use core::time::Duration;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::channel;

use vethlab::host::means::Means;
use vethlab::host::proxy::Proxy;

use super::rig::{LIMIT, Rig, until};
use crate::rig::loopback;

/// How long the proxy waits: longer than a client here has to wait for a core before it speaks.
const PATIENCE: Duration = Duration::from_secs(3);

/// A proxy of the rig's lab that waits so long.
fn proxy(rig: &Rig, patience: Duration) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let at = listener.local_addr().unwrap();
    let ns = rig.container;
    rig.order(move |cx| {
        let means = Means::new(Some(10_000), |_| {});
        let made = cx
            .attach(|cx| Proxy::new(cx, listener, ns, means).map(|proxy| proxy.patient(patience)));
        made.unwrap();
    });
    at
}

fn client(at: SocketAddr) -> TcpStream {
    let client = TcpStream::connect(at).unwrap();
    client.set_read_timeout(Some(LIMIT)).unwrap();
    client
}

#[test]
fn who_says_nothing_is_sent_away() {
    if !loopback() {
        return;
    }
    let rig = Rig::new();
    let at = proxy(&rig, PATIENCE);
    let mut all: Vec<TcpStream> = (0..1000).map(|_| client(at)).collect();
    let (mut http, mut socks) = (client(at), client(at));
    http.write_all(b"GET http://web/ HTT").unwrap();
    socks.write_all(&[5, 1, 0, 5, 1]).unwrap();
    let mut rest = Vec::new();
    for silent in &mut all {
        assert_eq!(silent.read_to_end(&mut rest).unwrap(), 0);
    }
    let mut said = String::new();
    http.read_to_string(&mut said).unwrap();
    assert!(said.starts_with("HTTP/1.1 408 "), "{said}");
    socks.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, [5, 0], "the greeting is answered, and that is all");
}

#[test]
fn who_has_said_it_in_time_stays() {
    if !loopback() {
        return;
    }
    let rig = Rig::new();
    let (server, _) = super::rig::Server::new(super::rig::Serves::Echo);
    rig.run(server);
    let at = proxy(&rig, PATIENCE);
    let mut tied = until(|| {
        let mut tied = client(at);
        tied.write_all(b"CONNECT 127.0.0.1:80 HTTP/1.1\r\n\r\n")
            .unwrap();
        let mut head = [0; 12];
        tied.read_exact(&mut head).unwrap();
        (&head == b"HTTP/1.1 200").then_some(tied)
    });
    // A client that comes later is sent away later: by then the first one is late, if it counts.
    let (gone, told) = channel();
    let mut later = client(at);
    std::thread::spawn(move || gone.send(later.read(&mut [0; 1]).unwrap()).unwrap());
    assert_eq!(told.recv_timeout(LIMIT).unwrap(), 0);
    tied.write_all(b"hello").unwrap();
    let mut heard = Vec::new();
    until(|| {
        let mut more = [0; 64];
        let count = tied.read(&mut more).unwrap();
        heard.extend_from_slice(&more[..count]);
        heard.ends_with(b"hello").then_some(())
    });
}
