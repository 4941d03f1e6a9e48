//! What does what is idle cost in memory, and in work?
//!
//! Counted are the bytes that were asked of the allocator and not given back, everything included: Docker's
//! model, files, names, namespace, veth, port, rules, events. Resident is what the process grew by. Checked:
//! after the announcements nothing is left to do, ever.
//!
//! A connection is open, both ends in one lab, with default buffers and connection tracking, before it says anything
//! and after so much that it needs the buffers. Come and gone: a thousand at a time were opened, used and reset.
//! What stays of these is the table of connections in docker0's namespace, about 500 B each: it clears away the dead as
//! new ones come.

use std::net::SocketAddr;
use std::time::Duration;

use switch::fdb::{Fdb, PortId};
use switch::wire::EthernetAddress;

use crate::common::alloc::{held, resident};
use crate::common::lab::{Host, assert_tracked, on_docker0, quiet};
use crate::common::many::{A_NETWORK, check, up};
use crate::common::{Report, Row, smoke};
use vethlab::core::app::{Family, SockKind, SockOpt, Sys};
use vethlab::core::id::SockId;
use vethlab::core::lab::{Lab, LabConfig};
use vethlab::core::netns::Errno;

fn row(report: &mut Report, name: String, target: Option<f64>, figure: f64) {
    let mut row = Row::cost(name, "B");
    if let Some(target) = target {
        row = row.reach(target);
    }
    row.record(report, ("counted", &[figure]), None);
}

fn containers(report: &mut Report, count: usize) {
    let (before, rss) = (held(), resident());
    let mut lab = up(count, A_NETWORK, "busybox").lab;
    // Events that nobody takes would be counted as well.
    lab.net_mut().trace.listen(false);
    lab.run_for(Duration::from_secs(5));
    quiet(&mut lab);
    assert_eq!(lab.deadline(), None, "nothing is left to do");
    let each = |bytes: isize| bytes as f64 / count as f64;
    let name = format!("an idle container, one of {count}");
    row(report, name.clone(), Some(4096.0), each(held() - before));
    let resident = each(resident() - rss);
    Row::cost(format!("{name}: resident"), "B").record(report, ("grown", &[resident]), None);
    check(&mut lab, count, A_NETWORK);
}

/// A client's and a server's socket.
type Pair = (SockId, SockId);

fn connect(lab: &mut Lab, a: Host, b: Host, listener: SockId) -> Pair {
    let mut sys = lab.sys(a.ns);
    let client = sys.socket(SockKind::Tcp, Family::V4).expect("a socket");
    sys.set(client, SockOpt::LingerZero(true))
        .expect("an option");
    let begun = sys.connect(client, SocketAddr::from((b.v4, 80)));
    assert_eq!(begun, Err(Errno::InProgress));
    quiet(lab);
    let (server, _) = lab.sys(b.ns).accept(listener).expect("a connection");
    (client, server)
}

/// More than a connection says before it has buffers.
const BUFFERED: usize = 16 * 1024;

/// So many bytes each way.
fn use_it(lab: &mut Lab, (client, server): Pair, len: usize) {
    let (bytes, mut room) = (vec![7; len], vec![0; len + 1]);
    for (from, to) in [(client, server), (server, client)] {
        assert_eq!(lab.sys(from.ns).send(from, &bytes), Ok(len));
        quiet(lab);
        assert_eq!(lab.sys(to.ns).recv(to, &mut room), Ok(len));
    }
}

fn close(lab: &mut Lab, (client, server): Pair) {
    lab.sys(client.ns).close(client);
    quiet(lab);
    lab.sys(server.ns).close(server);
    quiet(lab);
}

fn connections(report: &mut Report, count: usize) {
    let (mut lab, hosts) = on_docker0(LabConfig::default(), 2);
    let (a, b) = (hosts[0], hosts[1]);
    let mut sys = lab.sys(b.ns);
    let listener = sys.socket(SockKind::Tcp, Family::V4).expect("a socket");
    sys.bind(listener, SocketAddr::from((b.v4, 80)))
        .expect("it binds");
    sys.listen(listener, 16).expect("it listens");
    let first = connect(&mut lab, a, b, listener);
    use_it(&mut lab, first, 1);
    let before = held();
    let open: Vec<Pair> = (0..count)
        .map(|_| connect(&mut lab, a, b, listener))
        .collect();
    assert_tracked(&lab, count);
    let each = |bytes: isize| bytes as f64 / count as f64;
    let name = format!("an open connection, both ends, one of {count}");
    row(report, name, None, each(held() - before));
    open.into_iter().for_each(|pair| close(&mut lab, pair));
    let name = "the same once it is over".to_owned();
    row(report, name, None, each(held() - before));
    let (before, rss) = (held(), resident());
    for _ in 0..10 {
        let open: Vec<Pair> = (0..count)
            .map(|_| connect(&mut lab, a, b, listener))
            .collect();
        for pair in open {
            use_it(&mut lab, pair, 1);
            close(&mut lab, pair);
        }
    }
    let name = format!("{} connections that came and went", 10 * count);
    row(report, name.clone(), None, (held() - before) as f64);
    let resident = (resident() - rss) as f64;
    Row::cost(format!("{name}: resident"), "B").record(report, ("grown", &[resident]), None);
    lab.run_for(Duration::from_secs(600));
    quiet(&mut lab);
    row(
        report,
        format!("{name}, ten minutes later"),
        None,
        (held() - before) as f64,
    );
    let before = held();
    for _ in 0..count {
        let pair = connect(&mut lab, a, b, listener);
        use_it(&mut lab, pair, BUFFERED);
    }
    let name = format!("an open connection after {BUFFERED} B each way");
    row(report, name, None, each(held() - before));
}

fn addresses(report: &mut Report) {
    let before = held();
    let mut fdb = Fdb::new(switch::fdb::LIMIT);
    for number in 0..1000_u32 {
        let [a, b, c, d] = number.to_be_bytes();
        let address = EthernetAddress([2, 0, a, b, c, d]);
        fdb.learn(switch::Time::ZERO, 0, address, PortId(number % 8));
    }
    let name = "1000 addresses that a bridge has learned".to_owned();
    row(report, name, None, (held() - before) as f64);
    assert_eq!(fdb.len(), 1000);
}

pub(crate) fn run(report: &mut Report) {
    report.about(
        "bytes asked of the allocator and not given back, everything included; resident: what the process \
         grew by",
    );
    let (many, few) = if smoke() {
        (1_000, 100)
    } else {
        (10_000, 1_000)
    };
    containers(report, many);
    connections(report, few);
    addresses(report);
}
