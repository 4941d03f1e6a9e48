//! Nothing is allocated for a frame once a lab runs: forwarding, UDP, TCP request and response, NAT.
//!
//! A binary of its own, because it counts every allocation of the process. Each test warms its path up,
//! so that rings, tables and buffers have grown, then repeats it and looks at the count of its own thread.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use vethlab::core::app::{Family, SockKind, Sys};
use vethlab::core::docker::spec::ContainerSpec;
use vethlab::core::id::{IfId, NsId, SockId};
use vethlab::core::lab::{Input, Lab, LabConfig, Output};
use vethlab::core::net::{CaptureAt, CaptureSink};
use vethlab::core::netns::Errno;
use vethlab::core::netns::tcp::{RECV_BUFFER, SEND_BUFFER, SPARE_BYTES};

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
    static LIVE: Cell<i64> = const { Cell::new(0) };
}

struct Counting;

fn count(bytes: usize) {
    // A thread that is ending has no counter any more.
    let _ended = COUNT.try_with(|count| count.set(count.get() + 1));
    live(bytes as i64);
}

fn live(change: i64) {
    let _ended = LIVE.try_with(|live| live.set(live.get() + change));
}

// SAFETY: every call goes to the system's allocator as it came; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        live(-(layout.size() as i64));
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        live(-(layout.size() as i64));
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const WARM: u32 = 2_000;
const COUNTED: u32 = 2_000;

/// Allocations in `COUNTED` rounds of `act`, after `WARM` of them.
fn steady(lab: &mut Lab, mut act: impl FnMut(&mut Lab)) -> u64 {
    for _ in 0..WARM {
        act(lab);
    }
    let before = COUNT.with(Cell::get);
    for _ in 0..COUNTED {
        act(lab);
    }
    COUNT.with(Cell::get) - before
}

fn quiet(lab: &mut Lab) {
    while !matches!(lab.poll(), Output::Idle(_)) {}
    lab.net_mut().trace.drain().for_each(drop);
}

/// Two containers on docker0, their announcements over, events on.
fn lab() -> (Lab, [NsId; 2]) {
    let mut lab = Lab::new(LabConfig::default()).unwrap();
    lab.net_mut().trace.listen(true);
    for name in ["web", "db"] {
        let spec = ContainerSpec {
            name: Some(name.to_owned()),
            image: "busybox".to_owned(),
            ..ContainerSpec::default()
        };
        lab.create(spec).unwrap();
        lab.start(name).unwrap();
    }
    lab.run_for(Duration::from_secs(5));
    quiet(&mut lab);
    let hosts = ["web", "db"].map(|name| lab.namespace(name).unwrap());
    (lab, hosts)
}

fn eth0(lab: &Lab, ns: NsId) -> (IfId, [u8; 6], IpAddr) {
    let eth0 = lab.net().ns(ns).unwrap().iface_named("eth0").unwrap();
    (eth0.id, eth0.mac, eth0.addrs[0].net.addr())
}

fn socket(lab: &mut Lab, ns: NsId, kind: SockKind) -> SockId {
    lab.sys(ns).socket(kind, Family::V4).unwrap()
}

/// A byte from one socket to another.
fn pass(lab: &mut Lab, from: (NsId, SockId), to: (NsId, SockId)) {
    assert_eq!(lab.sys(from.0).send(from.1, b"x"), Ok(1));
    quiet(lab);
    let mut heard = [0; 4];
    assert_eq!(lab.sys(to.0).recv(to.1, &mut heard), Ok(1));
}

/// Time goes on a little, and what is due happens.
fn tick(lab: &mut Lab) {
    let now = lab.now() + Duration::from_micros(10);
    lab.handle(now, Input::Tick);
}

/// Connected UDP sockets at both ends.
fn udp_pair(lab: &mut Lab, [a, b]: [NsId; 2]) -> [(NsId, SockId); 2] {
    let (from, to) = (eth0(lab, a).2, eth0(lab, b).2);
    let ends = [(a, from, 4001, to, 4002), (b, to, 4002, from, 4001)];
    ends.map(|(ns, own, port, peer, peer_port)| {
        let sock = socket(lab, ns, SockKind::Udp);
        let mut sys = lab.sys(ns);
        sys.bind(sock, SocketAddr::new(own, port)).unwrap();
        sys.connect(sock, SocketAddr::new(peer, peer_port)).unwrap();
        (ns, sock)
    })
}

/// A TCP connection from a namespace to an address of another's, accepted there.
fn tcp_pair(
    lab: &mut Lab,
    a: NsId,
    to: SocketAddr,
    (b, at): (NsId, SocketAddr),
) -> [(NsId, SockId); 2] {
    let listener = socket(lab, b, SockKind::Tcp);
    lab.sys(b).bind(listener, at).unwrap();
    lab.sys(b).listen(listener, 8).unwrap();
    let client = socket(lab, a, SockKind::Tcp);
    assert_eq!(lab.sys(a).connect(client, to), Err(Errno::InProgress));
    quiet(lab);
    assert_eq!(lab.sys(a).take_error(client), None);
    let (server, _) = lab.sys(b).accept(listener).unwrap();
    [(a, client), (b, server)]
}

#[test]
fn the_counter_counts() {
    let before = COUNT.with(Cell::get);
    drop(std::hint::black_box(vec![0_u8; 100]));
    assert_eq!(COUNT.with(Cell::get), before + 1);
}

#[test]
fn forwarding_allocates_nothing() {
    let (mut lab, [a, b]) = lab();
    let ((from, mac, _), (to, peer, _)) = (eth0(&lab, a), eth0(&lab, b));
    lab.net_mut().raw(from, true);
    lab.net_mut().raw(to, true);
    let mut frame = [peer, mac].concat();
    frame.extend_from_slice(&[0x88, 0xb5]);
    frame.resize(64, 7);
    let allocated = steady(&mut lab, |lab| {
        tick(lab);
        lab.net_mut().raw_send(from, &frame).unwrap();
        quiet(lab);
        assert_eq!(
            lab.net_mut().raw_recv(to, |bytes| bytes == frame),
            Some(true)
        );
    });
    assert_eq!(allocated, 0);
}

#[test]
fn udp_allocates_nothing() {
    let (mut lab, hosts) = lab();
    let [a, b] = udp_pair(&mut lab, hosts);
    let allocated = steady(&mut lab, |lab| {
        tick(lab);
        pass(lab, a, b);
        pass(lab, b, a);
    });
    assert_eq!(allocated, 0);
}

#[test]
fn tcp_allocates_nothing() {
    let (mut lab, [a, b]) = lab();
    let at = SocketAddr::new(eth0(&lab, b).2, 80);
    let [client, server] = tcp_pair(&mut lab, a, at, (b, at));
    let allocated = steady(&mut lab, |lab| {
        tick(lab);
        pass(lab, client, server);
        pass(lab, server, client);
    });
    assert_eq!(allocated, 0);
}

#[test]
fn address_translation_allocates_nothing() {
    let (mut lab, [a, _]) = lab();
    // From a container to the other machine on the uplink: masqueraded by the host.
    let lan = lab.places().lan;
    let at = SocketAddr::from(([192, 0, 2, 9], 8080));
    let [client, server] = tcp_pair(&mut lab, a, at, (lan, at));
    let seen = lab.sys(lan).peer_addr(server.1).unwrap();
    assert_eq!(
        seen.ip(),
        IpAddr::from([192, 0, 2, 2]),
        "it is not masqueraded"
    );
    let allocated = steady(&mut lab, |lab| {
        tick(lab);
        pass(lab, client, server);
        pass(lab, server, client);
    });
    assert_eq!(allocated, 0);
}

/// A sink that counts.
#[derive(Clone, Debug, Default)]
struct Tally(Arc<AtomicUsize>);

impl CaptureSink for Tally {
    fn take(&mut self, bytes: &mut Vec<u8>) {
        self.0.fetch_add(bytes.len(), Ordering::Relaxed);
    }
}

#[test]
fn a_capture_allocates_nothing() {
    let (mut lab, [a, b]) = lab();
    let tally = Tally::default();
    lab.capture_start(CaptureAt::All);
    lab.capture_to(Box::new(tally.clone()));
    let at = SocketAddr::new(eth0(&lab, b).2, 80);
    let [client, server] = tcp_pair(&mut lab, a, at, (b, at));
    let lan = lab.places().lan;
    let outside = SocketAddr::from(([192, 0, 2, 9], 8080));
    let [inner, outer] = tcp_pair(&mut lab, a, outside, (lan, outside));
    let allocated = steady(&mut lab, |lab| {
        tick(lab);
        pass(lab, client, server);
        pass(lab, server, client);
        pass(lab, inner, outer);
        pass(lab, outer, inner);
        lab.capture_flush();
    });
    assert_eq!(allocated, 0);
    assert!(tally.0.load(Ordering::Relaxed) > 1 << 20);
}

/// Writes as much as the sender takes, moves it, and reads it all; how much.
fn pour(lab: &mut Lab, from: (NsId, SockId), to: (NsId, SockId), buffer: &mut [u8]) -> usize {
    while lab.sys(from.0).send(from.1, buffer).is_ok() {}
    quiet(lab);
    let mut heard = 0;
    while let Ok(count) = lab.sys(to.0).recv(to.1, buffer) {
        heard += count;
    }
    heard
}

#[test]
fn a_tcp_stream_allocates_nothing() {
    for offload in [true, false] {
        let (mut lab, [a, b]) = lab();
        for ns in [a, b] {
            lab.net_mut()
                .with_ns(ns, |netns, _| netns.offload = offload)
                .unwrap();
        }
        let at = SocketAddr::new(eth0(&lab, b).2, 80);
        let [client, server] = tcp_pair(&mut lab, a, at, (b, at));
        let mut buffer = vec![7; 16 * 1024];
        let mut heard = 0;
        let allocated = steady(&mut lab, |lab| {
            tick(lab);
            heard += pour(lab, client, server, &mut buffer);
        });
        assert!(heard > 10 << 20, "{heard} bytes");
        assert_eq!(allocated, 0, "offload: {offload}");
    }
}

/// Opens 500 connections in which each end says so many bytes, closes them, and lets time pass: the most that lived,
/// and what is left.
fn come_and_go(
    lab: &mut Lab,
    [a, b]: [NsId; 2],
    listener: SockId,
    at: SocketAddr,
    len: usize,
) -> (i64, i64) {
    let (bytes, mut room) = (vec![7; len], vec![0; len + 1]);
    let ends: Vec<_> = (0..500)
        .map(|_| {
            let client = socket(lab, a, SockKind::Tcp);
            assert_eq!(lab.sys(a).connect(client, at), Err(Errno::InProgress));
            quiet(lab);
            let server = lab.sys(b).accept(listener).unwrap().0;
            for (from, sock, to, peer) in [(a, client, b, server), (b, server, a, client)] {
                assert_eq!(lab.sys(from).send(sock, &bytes), Ok(len));
                quiet(lab);
                assert_eq!(lab.sys(to).recv(peer, &mut room), Ok(len));
            }
            (client, server)
        })
        .collect();
    let most = LIVE.with(Cell::get);
    for (client, server) in ends {
        lab.sys(a).close(client);
        quiet(lab);
        lab.sys(b).close(server);
        quiet(lab);
    }
    lab.run_for(Duration::from_secs(300));
    quiet(lab);
    (most, LIVE.with(Cell::get))
}

/// Connections that came and went leave tables that have grown, once, and nothing else.
#[test]
fn connections_give_their_memory_back() {
    let (mut lab, [a, b]) = lab();
    let at = SocketAddr::new(eth0(&lab, b).2, 80);
    let listener = socket(&mut lab, b, SockKind::Tcp);
    lab.sys(b).bind(listener, at).unwrap();
    lab.sys(b).listen(listener, 8).unwrap();
    for (len, least) in [(8192, SEND_BUFFER + RECV_BUFFER), (100, 0)] {
        come_and_go(&mut lab, [a, b], listener, at, len);
        let (most, before) = come_and_go(&mut lab, [a, b], listener, at, len);
        let (_, after) = come_and_go(&mut lab, [a, b], listener, at, len);
        // Two sockets with their buffers for each; the first take those that others have left. Who says little
        // has none.
        let buffers = 500 * 2 * least as i64;
        let more = most - before;
        assert!(more + SPARE_BYTES as i64 > buffers, "{more}");
        assert!(least > 0 || more < 500 * 2 * 4096, "{more}");
        assert!((after - before).abs() < 4096, "{before} {after}");
    }
}

/// 3,000 clients of a service that accepts no more, half a minute long: each says its SYN again, and none has buffers.
#[test]
fn calls_that_nobody_takes_hold_little() {
    const CALLS: i64 = 3_000;
    let (mut lab, [a, b]) = lab();
    let (_, _, address) = eth0(&lab, b);
    let server = socket(&mut lab, b, SockKind::Tcp);
    let port = SocketAddr::new(address, 7000);
    lab.sys(b).bind(server, port).unwrap();
    lab.sys(b).listen(server, 16).unwrap();
    let before = LIVE.with(Cell::get);
    for _ in 0..CALLS {
        let call = socket(&mut lab, a, SockKind::Tcp);
        let begun = lab.sys(a).connect(call, port);
        assert!(matches!(begun, Ok(()) | Err(Errno::InProgress)));
        quiet(&mut lab);
    }
    let mut most = 0;
    for _ in 0..30 {
        lab.run_for(Duration::from_secs(1));
        quiet(&mut lab);
        most = most.max(LIVE.with(Cell::get) - before);
    }
    assert!(most < CALLS * 4_096, "{} bytes each", most / CALLS);
}

#[test]
fn translated_datagrams_allocate_nothing() {
    let (mut lab, [a, _]) = lab();
    let lan = lab.places().lan;
    let at = SocketAddr::from(([192, 0, 2, 9], 4002));
    let own = SocketAddr::new(eth0(&lab, a).2, 4001);
    let (client, server) = (
        socket(&mut lab, a, SockKind::Udp),
        socket(&mut lab, lan, SockKind::Udp),
    );
    lab.sys(a).bind(client, own).unwrap();
    lab.sys(a).connect(client, at).unwrap();
    lab.sys(lan).bind(server, at).unwrap();
    assert_eq!(lab.sys(a).send(client, b"x"), Ok(1));
    quiet(&mut lab);
    let seen = lab.sys(lan).recv_from(server, &mut [0; 4]).unwrap().from;
    assert_eq!(seen.ip(), IpAddr::from([192, 0, 2, 2]));
    lab.sys(lan).connect(server, seen).unwrap();
    let (client, server) = ((a, client), (lan, server));
    let allocated = steady(&mut lab, |lab| {
        tick(lab);
        pass(lab, client, server);
        pass(lab, server, client);
    });
    assert_eq!(allocated, 0);
}
