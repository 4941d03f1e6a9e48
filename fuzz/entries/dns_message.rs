//! Bytes as a DNS message: read as a query and as a reply, and asked of the embedded server, of the
//! emulated outside and over both transports.
//!
//! Promises: reading ends; a query's name can be written and read again; every reply is a response with
//! the query's ID that is read back whole, carries the query's name and fits the size that was offered.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::time::Duration;
use std::collections::BTreeMap;

use dns::message::{self, HEADER_LEN, UDP_SIZE, qtype};
use dns::upstream::World;
use dns::{
    Action, Config, EndpointKey, Message, NetKey, Profile, Query, Resolver, SandboxKey, Transport,
    Upstream, UpstreamFrom, View, Zones, name,
};

/// The sandbox that asks.
pub(super) const SANDBOX: SandboxKey = SandboxKey(1);

/// Types of questions that are asked here.
const KNOWN: [u16; 10] = [
    qtype::A,
    qtype::AAAA,
    qtype::ANY,
    qtype::CNAME,
    qtype::MX,
    qtype::NS,
    qtype::PTR,
    qtype::SOA,
    qtype::SRV,
    qtype::TXT,
];

/// Runs one input.
pub fn dns_message(data: &[u8]) {
    let parsed = Message::parse(data);
    if let Ok(message) = &parsed {
        assert_eq!(message::id_of(data), Some(message.id));
        assert!(message.addresses().count() <= message.answers.len());
    }
    let response = message::is_response(data);
    assert!(!response || message::rcode_of(data).is_some());
    let query = Query::parse(data);
    if let Ok(query) = &query {
        assert!(!response, "a query and a response");
        round_trip(query);
    }
    for profile in [Profile::V29, Profile::V20_10] {
        for transport in [Transport::Udp, Transport::Tcp] {
            ask(data, profile, transport);
        }
    }
    for world in [World::Hashed, World::Recorded] {
        for transport in [Transport::Udp, Transport::Tcp] {
            if let Some(reply) = world.answer(data, transport) {
                check_reply(data, &reply, transport);
            }
        }
    }
}

/// A name that was read is written again as the same name.
fn round_trip(query: &Query<'_>) {
    let mut wire = Vec::new();
    name::write(&query.name, &mut wire).expect("what was read can be written");
    let (again, end) = name::read(&wire, 0).expect("what was written can be read");
    assert_eq!((again.as_str(), end), (query.name.as_str(), wire.len()));
    if let Some(address) = name::address_of(&query.name) {
        assert!(name::same(&name::reverse(address), &query.name));
    }
    assert!(query.udp_limit() >= UDP_SIZE);
    let built = Query::build(query.id, &query.name, query.qtype).expect("a query");
    let built = Query::parse(&built).expect("a query that can be read");
    assert_eq!((&built.name, built.qtype), (&query.name, query.qtype));
}

/// Two networks: one with names of all kinds, one whose shared name has more addresses than 512 bytes hold.
pub(super) fn zones(profile: Profile) -> Zones {
    let mut zones = Zones::default();
    zones.add_network(NetKey(1), "bridge2");
    zones.add_network(NetKey(2), "back");
    let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    let v6 = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2);
    zones.add_endpoint(
        NetKey(1),
        EndpointKey(1),
        names(&["box1", "web", "0123456789ab"]),
        Some(Ipv4Addr::new(172, 18, 0, 2)),
        Some(v6),
    );
    zones.add_endpoint(
        NetKey(1),
        EndpointKey(2),
        names(&["odd name", "a.b", "web"]),
        Some(Ipv4Addr::new(172, 18, 0, 3)),
        None,
    );
    for host in 0..60 {
        zones.add_endpoint(
            NetKey(2),
            EndpointKey(10 + u32::from(host)),
            names(&["many"]),
            Some(Ipv4Addr::new(172, 19, 0, host + 2)),
            None,
        );
    }
    let links = BTreeMap::from([("db".to_owned(), "web".to_owned())]);
    let view = View {
        networks: vec![(NetKey(1), links), (NetKey(2), BTreeMap::new())],
        profile,
    };
    zones.set_view(SANDBOX, view);
    zones
}

/// A server with two upstreams.
pub(super) fn resolver(profile: Profile) -> Resolver {
    let upstream = |last, from| Upstream {
        address: IpAddr::from([192, 0, 2, last]),
        from,
    };
    let config = Config {
        profile,
        upstreams: vec![
            upstream(1, UpstreamFrom::Container),
            upstream(2, UpstreamFrom::Host),
        ],
        ndots_set: false,
        external_access: true,
    };
    Resolver::new(SANDBOX, config)
}

fn ask(data: &[u8], profile: Profile, transport: Transport) {
    let zones = zones(profile);
    let mut resolver = resolver(profile);
    let mut shuffle = |addresses: &mut [IpAddr]| addresses.reverse();
    match resolver.handle_query(Duration::ZERO, &zones, data, transport, &mut shuffle) {
        Action::Reply(reply) => check_reply(data, &reply, transport),
        Action::Forward(id) => {
            let transmit = resolver.poll_transmit().expect("a query to forward");
            assert_eq!(transmit.id, id);
            assert_eq!(transmit.transport, transport);
            assert!(Query::parse(&transmit.bytes).is_ok());
        }
        Action::Ignore => {
            assert!(Query::parse(data).is_err(), "a good query is answered");
            assert_eq!(resolver.load(), (0, 0));
        }
    }
}

fn check_reply(query: &[u8], reply: &[u8], transport: Transport) {
    assert!(message::is_response(reply));
    assert_eq!(message::id_of(reply), message::id_of(query));
    assert!(reply.len() <= usize::from(u16::MAX));
    let Ok(query) = Query::parse(query) else {
        assert_eq!(reply.len(), HEADER_LEN, "a bare refusal");
        return;
    };
    let (name, end) = name::read(reply, HEADER_LEN).expect("the question comes back");
    assert_eq!(name, query.name);
    let kind = [query.qtype, query.qclass].map(u16::to_be_bytes).concat();
    assert_eq!(reply[end..end + 4], kind);
    if transport == Transport::Udp {
        assert!(reply.len() <= query.udp_limit());
    }
    // The general view refuses questions of types and classes that its library does not know.
    if !KNOWN.contains(&query.qtype) || query.qclass != 1 {
        return;
    }
    let read = Message::parse(reply).expect("a reply that can be read");
    assert_eq!(read.question, Some((query.name.clone(), query.qtype)));
    assert!(read.answers.iter().all(|answer| answer.owner == query.name));
    assert_eq!(read.recursion_desired, query.recursion_desired());
}
