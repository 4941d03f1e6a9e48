//! Look-ups played by hand: what is sent, what comes back, how it ends.

use super::*;
use crate::message::{Fit, Reply};

const T0: Duration = Duration::ZERO;

fn start(conf: &str, name: &str, families: Families, flavour: Flavour) -> Lookup {
    let hosts = Hosts::of("127.0.0.1 localhost\n::1 localhost\n172.18.0.2 me\n");
    Lookup::new(ResolvConf::parse(conf), &hosts, name, families, flavour, 7)
}

/// What is sent now: server, name, type.
fn sent(lookup: &mut Lookup, now: Duration) -> Vec<(IpAddr, Vec<u8>)> {
    core::iter::from_fn(|| lookup.poll_transmit(now)).collect()
}

fn asked(sent: &[(IpAddr, Vec<u8>)]) -> Vec<String> {
    let line = |(server, bytes): &(IpAddr, Vec<u8>)| {
        let query = Query::parse(bytes).expect("a query");
        format!("{server} {} {}", query.name, query.qtype)
    };
    sent.iter().map(line).collect()
}

fn reply(query: &[u8], rcode: Rcode, addresses: &[&str]) -> Vec<u8> {
    let query = Query::parse(query).expect("a query");
    let mut reply = Reply::new(&query, rcode);
    for address in addresses {
        reply.address(600, address.parse().expect("an address"));
    }
    reply.finish(512, Fit::Compress)
}

fn texts(lookup: &Lookup) -> Result<Vec<String>, LookupError> {
    let result = lookup.result().expect("it has ended").clone();
    result.map(|list| list.iter().map(ToString::to_string).collect())
}

#[test]
fn numbers_and_hosts_need_no_server() {
    for (name, families, want) in [
        ("10.0.0.1", Families::Both, Ok(vec!["10.0.0.1"])),
        ("fd00::1", Families::V4, Err(LookupError::NoName)),
        ("localhost", Families::Both, Ok(vec!["127.0.0.1", "::1"])),
        ("ME", Families::V4, Ok(vec!["172.18.0.2"])),
        ("", Families::Both, Err(LookupError::NoName)),
        ("a..b", Families::Both, Err(LookupError::NoName)),
    ] {
        let mut lookup = start("nameserver 10.0.0.53", name, families, Flavour::Glibc);
        assert_eq!(lookup.poll_transmit(T0), None);
        let want = want.map(|list| list.into_iter().map(str::to_owned).collect());
        assert_eq!(texts(&lookup), want, "{name}");
    }
}

#[test]
fn both_families_are_asked_and_joined() {
    let mut lookup = start(
        "nameserver 127.0.0.11\noptions ndots:0",
        "db",
        Families::Both,
        Flavour::Musl,
    );
    let out = sent(&mut lookup, T0);
    assert_eq!(asked(&out), ["127.0.0.11 db 1", "127.0.0.11 db 28"]);
    lookup.handle(T0, &reply(&out[1].1, Rcode::NoError, &["fd00::3"]));
    assert_eq!(lookup.result(), None);
    // A stray, a reply to somebody else, and the same reply again change nothing.
    lookup.handle(T0, b"nonsense");
    lookup.handle(
        T0,
        &reply(
            &Query::build(99, "db", 1).expect("a query"),
            Rcode::NoError,
            &["9.9.9.9"],
        ),
    );
    lookup.handle(T0, &reply(&out[1].1, Rcode::NxDomain, &[]));
    lookup.handle(
        T0,
        &reply(&out[0].1, Rcode::NoError, &["172.18.0.3", "172.18.0.4"]),
    );
    assert_eq!(
        texts(&lookup).expect("found"),
        ["172.18.0.3", "172.18.0.4", "fd00::3"]
    );
    assert_eq!(lookup.deadline(), None);
}

#[test]
fn servers_take_turns_and_time_out() {
    let conf = "nameserver 10.0.0.1\nnameserver 10.0.0.2";
    let mut lookup = start(conf, "db", Families::V4, Flavour::Glibc);
    let mut now = T0;
    for server in ["10.0.0.1", "10.0.0.2", "10.0.0.1", "10.0.0.2"] {
        assert_eq!(asked(&sent(&mut lookup, now)), [format!("{server} db 1")]);
        let deadline = lookup.deadline().expect("it waits");
        assert_eq!(deadline, now + Duration::from_secs(5));
        lookup.fire(deadline - Duration::from_nanos(1));
        assert!(sent(&mut lookup, now).is_empty());
        now = deadline;
        lookup.fire(now);
    }
    assert_eq!(texts(&lookup), Err(LookupError::Again));
}

#[test]
fn failing_servers_are_passed_over() {
    let conf = "nameserver 10.0.0.1\nnameserver 10.0.0.2";
    let mut lookup = start(conf, "db", Families::V4, Flavour::Glibc);
    let out = sent(&mut lookup, T0);
    lookup.handle(T0, &reply(&out[0].1, Rcode::ServFail, &[]));
    let out = sent(&mut lookup, T0);
    assert_eq!(asked(&out), ["10.0.0.2 db 1"]);
    lookup.handle(T0, &reply(&out[0].1, Rcode::Refused, &[]));
    assert_eq!(texts(&lookup), Err(LookupError::Again));

    let mut lookup = start(conf, "db", Families::V4, Flavour::Glibc);
    for _ in 0..4 {
        assert_eq!(sent(&mut lookup, T0).len(), 1);
        lookup.unreachable(T0);
    }
    assert_eq!(texts(&lookup), Err(LookupError::Again));
}

#[test]
fn the_search_list_is_walked() {
    let conf = "nameserver 127.0.0.11\nsearch a.example b.example";
    let mut lookup = start(conf, "db", Families::V4, Flavour::Glibc);
    for name in ["db.a.example", "db.b.example"] {
        let out = sent(&mut lookup, T0);
        assert_eq!(asked(&out), [format!("127.0.0.11 {name} 1")]);
        lookup.handle(T0, &reply(&out[0].1, Rcode::NxDomain, &[]));
    }
    let out = sent(&mut lookup, T0);
    assert_eq!(asked(&out), ["127.0.0.11 db 1"]);
    lookup.handle(T0, &reply(&out[0].1, Rcode::NoError, &[]));
    assert_eq!(texts(&lookup), Err(LookupError::NoData));
}

/// A SERVFAIL stops musl (moby#45553), not glibc; a name without addresses likewise.
#[test]
fn musl_stops_where_glibc_goes_on() {
    let conf = "nameserver 127.0.0.11\nsearch a.example";
    for (rcode, flavour, next) in [
        (Rcode::ServFail, Flavour::Glibc, true),
        (Rcode::ServFail, Flavour::Musl, false),
        (Rcode::NoError, Flavour::Glibc, true),
        (Rcode::NoError, Flavour::Musl, false),
        (Rcode::NxDomain, Flavour::Musl, true),
    ] {
        let mut lookup = start(conf, "db", Families::V4, flavour);
        let out = sent(&mut lookup, T0);
        lookup.handle(T0, &reply(&out[0].1, rcode, &[]));
        assert_eq!(lookup.result().is_none(), next, "{rcode} {flavour:?}");
    }
}
