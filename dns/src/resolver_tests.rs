//! The embedded server's rules: cases 36 to 49 of `docker-networking` §9 as far as they are DNS, and the
//! facts that were recorded from a 20.10 engine.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::message::{Data, Message};
use crate::upstream::World;
use crate::zone::{EndpointKey, NetKey, View};

const ME: SandboxKey = SandboxKey(1);
const NET: NetKey = NetKey(1);
const T0: Duration = Duration::ZERO;

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn host(text: &str) -> Upstream {
    Upstream {
        address: address(text),
        from: UpstreamFrom::Host,
    }
}

fn container(text: &str) -> Upstream {
    Upstream {
        address: address(text),
        from: UpstreamFrom::Container,
    }
}

/// One network `n` with `name1` (172.18.0.2), and `w1`, `w2` that share the alias `web`.
fn zones(profile: Profile) -> Zones {
    let mut zones = Zones::default();
    zones.add_network(NET, "n");
    for (key, name) in [(2, "name1"), (3, "w1"), (4, "w2")] {
        let mut names = vec![name.to_owned()];
        if key > 2 {
            names.push("web".to_owned());
        }
        let v4 = Ipv4Addr::new(172, 18, 0, key);
        zones.add_endpoint(NET, EndpointKey(u32::from(key)), names, Some(v4), None);
    }
    let networks = vec![(NET, BTreeMap::new())];
    zones.set_view(ME, View { networks, profile });
    zones
}

fn server(profile: Profile, upstreams: &[Upstream], external_access: bool) -> Resolver {
    let config = Config {
        profile,
        upstreams: upstreams.to_vec(),
        ndots_set: false,
        external_access,
    };
    Resolver::new(ME, config)
}

fn query(name: &str, kind: u16) -> Vec<u8> {
    Query::build(77, name, kind).expect("a query")
}

fn ask_bytes(resolver: &mut Resolver, bytes: &[u8], transport: Transport) -> Action {
    let zones = zones(resolver.config.profile);
    resolver.handle_query(T0, &zones, bytes, transport, &mut |list| list.reverse())
}

fn ask(resolver: &mut Resolver, name: &str, kind: u16) -> Action {
    ask_bytes(resolver, &query(name, kind), Transport::Udp)
}

fn read(action: Action) -> Message {
    match action {
        Action::Reply(bytes) => Message::parse(&bytes).expect("a readable reply"),
        other => panic!("no reply: {other:?}"),
    }
}

fn forwarded(action: Action) -> ForwardId {
    match action {
        Action::Forward(id) => id,
        other => panic!("not forwarded: {other:?}"),
    }
}

fn with_rcode(query: &[u8], rcode: Rcode) -> Vec<u8> {
    let query = Query::parse(query).expect("a query");
    Reply::new(&query, rcode).finish(512, Fit::Compress)
}

fn ended(resolver: &mut Resolver, id: ForwardId) -> Option<Message> {
    let (done, bytes) = resolver.poll_reply().expect("it has ended");
    assert_eq!(done, id);
    bytes.map(|bytes| Message::parse(&bytes).expect("a readable reply"))
}

/// Case 37, and the flags that were recorded: QR RD RA, no AA, TTL 600, the question's case kept.
#[test]
fn case_37_names_in_any_case() {
    for profile in [Profile::V20_10, Profile::V29] {
        let mut resolver = server(profile, &[], true);
        for name in ["name1", "name1.", "NaMe1.", "name1.n"] {
            let reply = read(ask(&mut resolver, name, qtype::A));
            assert_eq!(
                reply.addresses().collect::<Vec<_>>(),
                [address("172.18.0.2")]
            );
            assert_eq!(reply.answers[0].owner, name::trim(name));
            assert_eq!(reply.answers[0].ttl, 600);
            assert!(reply.recursion_available && reply.recursion_desired);
            assert!(!reply.authoritative && !reply.truncated);
            assert_eq!(reply.id, 77);
        }
        for kind in [qtype::MX, qtype::AAAA] {
            let reply = read(ask(&mut resolver, "name1", kind));
            assert_eq!((reply.rcode, reply.answers.len()), (Rcode::NoError, 0));
        }
    }
    // An unknown MX without anybody to ask: SERVFAIL now, silence in 20.10.
    let reply = read(ask(
        &mut server(Profile::V29, &[], true),
        "nameX",
        qtype::MX,
    ));
    assert_eq!(reply.rcode, Rcode::ServFail);
    assert!(!reply.recursion_available);
    let silent = ask(&mut server(Profile::V20_10, &[], true), "nameX", qtype::MX);
    assert_eq!(silent, Action::Ignore);
}

#[test]
fn rd_0_is_answered_and_echoed() {
    let mut bytes = query("name1", qtype::A);
    bytes[2] &= !1;
    let reply = read(ask_bytes(
        &mut server(Profile::V20_10, &[], true),
        &bytes,
        Transport::Udp,
    ));
    assert_eq!(reply.answers.len(), 1);
    assert!(!reply.recursion_desired && reply.recursion_available);
}

#[test]
fn shared_aliases_are_shuffled_by_the_caller() {
    let reply = read(ask(&mut server(Profile::V29, &[], true), "web", qtype::A));
    let list: Vec<_> = reply.addresses().collect();
    assert_eq!(list, [address("172.18.0.4"), address("172.18.0.3")]);
}

#[test]
fn pointers() {
    let mut resolver = server(Profile::V29, &[], true);
    let reply = read(ask(&mut resolver, "3.0.18.172.in-addr.arpa", qtype::PTR));
    assert_eq!(reply.answers[0].data, Data::Pointer("w1.n".to_owned()));
    assert_eq!(reply.answers[0].ttl, 600);
}

/// Types that Docker does not answer go upstream although the name is known.
#[test]
fn other_types_go_upstream() {
    let mut resolver = server(Profile::V29, &[host("192.0.2.1")], true);
    for kind in [qtype::TXT, qtype::ANY, qtype::SRV, qtype::SOA, 65] {
        let id = forwarded(ask(&mut resolver, "name1", kind));
        let out = resolver.poll_transmit().expect("it is sent");
        assert_eq!((out.id, out.upstream), (id, host("192.0.2.1")));
        let answer = World::Recorded
            .answer(&out.bytes, Transport::Udp)
            .expect("an answer");
        resolver.handle_upstream_reply(T0, id, &answer);
        let reply = ended(&mut resolver, id).expect("a reply");
        assert_eq!((reply.rcode, reply.authoritative), (Rcode::NxDomain, true));
    }
    assert_eq!(resolver.load(), (0, 0));
}

/// Case 38: SERVFAIL of the first upstream asks the second one; so does REFUSED, a timeout, an error.
#[test]
fn case_38_the_next_upstream() {
    let both = [host("10.0.0.1"), host("10.0.0.2")];
    for how in 0..4 {
        let mut resolver = server(Profile::V29, &both, true);
        let id = forwarded(ask(&mut resolver, "up.example", qtype::A));
        let first = resolver.poll_transmit().expect("it is sent");
        assert_eq!(first.upstream, both[0]);
        assert_eq!(resolver.poll_transmit(), None);
        match how {
            0 => resolver.handle_upstream_reply(T0, id, &with_rcode(&first.bytes, Rcode::ServFail)),
            1 => resolver.handle_upstream_reply(T0, id, &with_rcode(&first.bytes, Rcode::Refused)),
            2 => resolver.handle_upstream_error(T0, id),
            _ => {
                assert_eq!(resolver.deadline(), Some(TIMEOUT));
                resolver.fire(TIMEOUT);
            }
        }
        let second = resolver.poll_transmit().expect("it is sent again");
        assert_eq!((second.id, second.upstream), (id, both[1]));
        assert_eq!(second.bytes, first.bytes);
        let answer = World::Recorded
            .answer(&second.bytes, Transport::Udp)
            .expect("an answer");
        resolver.handle_upstream_reply(T0, id, &answer);
        let reply = ended(&mut resolver, id).expect("a reply");
        assert_eq!(
            reply.addresses().collect::<Vec<_>>(),
            [address("198.51.100.7")]
        );
        assert_eq!(resolver.deadline(), None);
    }
}

/// When nobody answers: SERVFAIL now. In 20.10 the last failure as it was, or nothing after a timeout.
#[test]
fn nobody_answers() {
    let one = [container("10.0.0.1")];
    for (profile, refused, want) in [
        (Profile::V29, true, Some(Rcode::ServFail)),
        (Profile::V29, false, Some(Rcode::ServFail)),
        (Profile::V20_10, true, Some(Rcode::Refused)),
        (Profile::V20_10, false, None),
    ] {
        let mut resolver = server(profile, &one, true);
        let id = forwarded(ask(&mut resolver, "up.example", qtype::A));
        let out = resolver.poll_transmit().expect("it is sent");
        if refused {
            resolver.handle_upstream_reply(T0, id, &with_rcode(&out.bytes, Rcode::Refused));
        } else {
            resolver.fire(TIMEOUT);
        }
        let reply = ended(&mut resolver, id);
        assert_eq!(
            reply.map(|reply| reply.rcode),
            want,
            "{profile:?} {refused}"
        );
        assert_eq!(resolver.load(), (0, 0));
    }
}

/// Case 39: NXDOMAIN comes back with its SOA. The bytes are the upstream's own.
#[test]
fn case_39_nxdomain_is_kept() {
    let mut resolver = server(Profile::V29, &[host("10.0.0.1")], true);
    let id = forwarded(ask(&mut resolver, "nx.example", qtype::A));
    let out = resolver.poll_transmit().expect("it is sent");
    let mut answer = with_rcode(&out.bytes, Rcode::NxDomain);
    answer[9] = 1;
    answer.extend_from_slice(b"\xc0\x0f\x00\x06\x00\x01\x00\x00\x00\x3c\x00\x16\x00\x00");
    answer.extend_from_slice(&[0; 20]);
    resolver.handle_upstream_reply(T0, id, &answer);
    let (_, bytes) = resolver.poll_reply().expect("it has ended");
    assert_eq!(bytes.as_deref(), Some(answer.as_slice()));
    let reply = Message::parse(&answer).expect("readable");
    assert_eq!((reply.rcode, reply.authorities), (Rcode::NxDomain, 1));
}

/// Case 40: an upstream's reply of more than 512 bytes is delivered to a client without EDNS.
#[test]
fn case_40_oversized_upstream_reply() {
    let mut resolver = server(Profile::V29, &[host("10.0.0.1")], true);
    let id = forwarded(ask(&mut resolver, "big.example", qtype::A));
    let out = resolver.poll_transmit().expect("it is sent");
    let query = Query::parse(&out.bytes).expect("a query");
    let mut reply = Reply::new(&query, Rcode::NoError);
    for last in 0..100 {
        reply.address(60, IpAddr::from([198, 51, 100, last]));
    }
    let answer = reply.finish(usize::from(u16::MAX), Fit::Compress);
    assert!(answer.len() > 512);
    resolver.handle_upstream_reply(T0, id, &answer);
    assert_eq!(
        ended(&mut resolver, id).expect("a reply").answers.len(),
        100
    );
}

/// Case 41: a PTR name with a label of 64 characters cannot be sent: SERVFAIL.
#[test]
fn case_41_pointer_without_a_wire_form() {
    let mut zones = zones(Profile::V29);
    let long = "x".repeat(64);
    zones.add_endpoint(
        NET,
        EndpointKey(9),
        vec![long],
        Some(Ipv4Addr::new(172, 18, 0, 9)),
        None,
    );
    let mut resolver = server(Profile::V29, &[host("10.0.0.1")], true);
    let bytes = query("9.0.18.172.in-addr.arpa", qtype::PTR);
    let action = resolver.handle_query(T0, &zones, &bytes, Transport::Udp, &mut |_| {});
    assert_eq!(read(action).rcode, Rcode::ServFail);
}

/// Case 42: without a way outside the host's upstreams are left alone, and asked again when there is one.
#[test]
fn case_42_internal_networks() {
    let mut resolver = server(Profile::V29, &[host("192.0.2.1")], true);
    forwarded(ask(&mut resolver, "up.example", qtype::A));
    let mut config = resolver.config().clone();
    config.external_access = false;
    resolver.configure(config.clone());
    assert_eq!(
        read(ask(&mut resolver, "up.example", qtype::A)).rcode,
        Rcode::ServFail
    );
    config.external_access = true;
    resolver.configure(config.clone());
    forwarded(ask(&mut resolver, "up.example", qtype::A));
    // 20.10 asks them from the host all the same (record h56).
    config.external_access = false;
    config.profile = Profile::V20_10;
    forwarded(ask(&mut Resolver::new(ME, config), "up.example", qtype::A));
}

/// Case 43: on an internal network a `--dns` server is asked, from the container.
#[test]
fn case_43_internal_network_with_a_local_server() {
    let mut resolver = server(
        Profile::V29,
        &[host("192.0.2.1"), container("172.18.0.4")],
        false,
    );
    forwarded(ask(&mut resolver, "up.example", qtype::A));
    let out = resolver.poll_transmit().expect("it is sent");
    assert_eq!(out.upstream, container("172.18.0.4"));
}

/// Case 44: its own address is not an upstream.
#[test]
fn case_44_own_address() {
    let own = container("127.0.0.11");
    let mut resolver = server(Profile::V29, &[own], true);
    assert_eq!(
        read(ask(&mut resolver, "up.example", qtype::A)).rcode,
        Rcode::ServFail
    );
    let mut resolver = server(Profile::V29, &[own, container("10.0.0.2")], true);
    forwarded(ask(&mut resolver, "up.example", qtype::A));
    assert_eq!(
        resolver.poll_transmit().map(|out| out.upstream),
        Some(container("10.0.0.2"))
    );
    // The fifth upstream never counts; the own address did not use up one of the three places.
    let five: Vec<_> = (1..=5)
        .map(|last| container(&format!("10.0.0.{last}")))
        .collect();
    let mut all = vec![own];
    all.extend_from_slice(&five);
    assert_eq!(
        server(Profile::V29, &all, true).config().upstreams,
        five[..3]
    );
}

/// Case 49: garbage does no harm and gets no answer.
#[test]
fn case_49_garbage() {
    let mut resolver = server(Profile::V29, &[host("10.0.0.1")], true);
    let response = with_rcode(&query("name1", qtype::A), Rcode::NoError);
    let mut no_question = query("name1", qtype::A);
    no_question[5] = 0;
    for bytes in [
        b"".as_slice(),
        b"garbage",
        &[0xff; 40],
        &response,
        &no_question,
        &query("name1", 1)[..20],
    ] {
        assert_eq!(
            ask_bytes(&mut resolver, bytes, Transport::Udp),
            Action::Ignore
        );
    }
    let mut two = query("name1", qtype::A);
    two[5] = 2;
    assert_eq!(
        read(ask_bytes(&mut resolver, &two, Transport::Udp)).rcode,
        Rcode::FormErr
    );
    let mut update = query("name1", qtype::A);
    update[2] |= 5 << 3;
    assert_eq!(
        read(ask_bytes(&mut resolver, &update, Transport::Udp)).rcode,
        Rcode::NotImp
    );
    assert_eq!(resolver.poll_transmit(), None);
}

/// Recorded in h20: `ndots:3` by the user, so a name without a dot is not forwarded.
#[test]
fn ndots_keeps_plain_names_in() {
    let mut resolver = server(Profile::V20_10, &[host("10.0.0.1")], true);
    forwarded(ask(&mut resolver, "no-such-name", qtype::A));
    let mut config = resolver.config().clone();
    config.ndots_set = true;
    resolver.configure(config);
    let reply = read(ask(&mut resolver, "no-such-name", qtype::A));
    assert_eq!((reply.rcode, reply.answers.len()), (Rcode::NoError, 0));
    assert!(reply.recursion_available);
    forwarded(ask(&mut resolver, "no-such-name.example", qtype::A));
    forwarded(ask(&mut resolver, "no-such-name", qtype::MX));
    assert_eq!(read(ask(&mut resolver, "name1", qtype::A)).answers.len(), 1);
}

fn crowd(count: u8) -> Zones {
    let mut zones = zones(Profile::V29);
    for last in 0..count {
        let names = vec![format!("m{last}"), "many".to_owned()];
        let v4 = Ipv4Addr::new(172, 18, 1, last);
        zones.add_endpoint(
            NET,
            EndpointKey(100 + u32::from(last)),
            names,
            Some(v4),
            None,
        );
    }
    zones
}

/// 512 bytes without EDNS, what EDNS offers with it (never less than 512), everything over TCP.
#[test]
fn truncation() {
    let zones = crowd(100);
    let mut edns = query("many", qtype::A);
    edns[11] = 1;
    edns.extend_from_slice(&[0, 0, 41, 4, 0xd0, 0, 0, 0, 0, 0, 0]); // 1232
    let mut tiny = edns.clone();
    let at = tiny.len() - 8;
    tiny[at..at + 2].copy_from_slice(&[0, 100]);
    let plain = query("many", qtype::A);
    let ask = |profile, bytes: &[u8], transport| {
        let mut resolver = server(profile, &[], true);
        let action = resolver.handle_query(T0, &zones, bytes, transport, &mut |_| {});
        let Action::Reply(reply) = action else {
            panic!("no reply: {action:?}");
        };
        let message = Message::parse(&reply).expect("readable");
        assert!(!message.edns);
        (reply.len(), message.answers.len(), message.truncated)
    };
    // Header 12, question 10; a compressed record is 16 bytes, a plain one 20.
    assert_eq!(ask(Profile::V29, &plain, Transport::Udp), (502, 30, true));
    assert_eq!(ask(Profile::V29, &tiny, Transport::Udp), (502, 30, true));
    assert_eq!(ask(Profile::V29, &edns, Transport::Udp), (1222, 75, true));
    assert_eq!(
        ask(Profile::V29, &plain, Transport::Tcp),
        (2022, 100, false)
    );
    assert_eq!(
        ask(Profile::V20_10, &plain, Transport::Udp),
        (502, 24, true)
    );
}

/// 1,024 queries may be out; the next ones wait four seconds for a slot and are then refused.
#[test]
fn outstanding_queries_are_bounded() {
    let mut resolver = server(Profile::V29, &[host("10.0.0.1")], true);
    let ids: Vec<_> = (0..OUTSTANDING_MAX + 2)
        .map(|_| forwarded(ask(&mut resolver, "up.example", qtype::A)))
        .collect();
    assert_eq!(resolver.load(), (OUTSTANDING_MAX, 2));
    let first = resolver.poll_transmit().expect("it is sent");
    let rest = core::iter::from_fn(|| resolver.poll_transmit()).count();
    assert_eq!(rest, OUTSTANDING_MAX - 1);
    // A freed slot goes to the one that waits longest.
    let answer = World::Recorded
        .answer(&first.bytes, Transport::Udp)
        .expect("an answer");
    resolver.handle_upstream_reply(Duration::from_secs(1), first.id, &answer);
    assert_eq!(
        resolver.poll_transmit().map(|out| out.id),
        Some(ids[OUTSTANDING_MAX])
    );
    assert_eq!(resolver.load(), (OUTSTANDING_MAX, 1));
    ended(&mut resolver, first.id);
    // Everything times out at four seconds, except the one that got its slot later.
    resolver.fire(TIMEOUT);
    let mut counts = BTreeMap::new();
    while let Some((_, bytes)) = resolver.poll_reply() {
        let rcode = bytes.as_deref().and_then(message::rcode_of);
        *counts.entry(rcode).or_insert(0) += 1;
    }
    assert_eq!(counts.len(), 1);
    assert_eq!(
        counts.get(&Some(Rcode::ServFail)),
        Some(&(OUTSTANDING_MAX - 1))
    );
    resolver.fire(Duration::from_secs(9));
    assert_eq!(resolver.load(), (0, 0));
    assert_eq!(resolver.deadline(), None);
}

/// Who waits four seconds in vain is refused; who finds the queue full is refused at once.
#[test]
fn waiting_in_vain_is_refused() {
    let mut resolver = server(Profile::V29, &[host("10.0.0.1")], true);
    let ids: Vec<_> = (0..=2 * OUTSTANDING_MAX)
        .map(|_| forwarded(ask(&mut resolver, "up.example", qtype::A)))
        .collect();
    resolver.fire(TIMEOUT);
    assert_eq!(resolver.load(), (OUTSTANDING_MAX, 0));
    let mut refused = Vec::new();
    while let Some((id, bytes)) = resolver.poll_reply() {
        if bytes.as_deref().and_then(message::rcode_of) == Some(Rcode::Refused) {
            refused.push(id);
        }
    }
    assert_eq!(refused, ids[2 * OUTSTANDING_MAX..]);
    for _ in 0..WAITING_MAX {
        forwarded(ask(&mut resolver, "up.example", qtype::A));
    }
    let full = read(ask(&mut resolver, "up.example", qtype::A));
    assert_eq!(full.rcode, Rcode::Refused);
    // 20.10 does not wait: no slot, no answer.
    let mut resolver = server(Profile::V20_10, &[host("10.0.0.1")], true);
    for _ in 0..OUTSTANDING_MAX {
        forwarded(ask(&mut resolver, "up.example", qtype::A));
    }
    assert_eq!(ask(&mut resolver, "up.example", qtype::A), Action::Ignore);
}

/// A reply with another ID is somebody else's on UDP and a failure on TCP; nonsense is a failure.
#[test]
fn replies_that_do_not_belong() {
    for (transport, bytes, waits) in [
        (
            Transport::Udp,
            with_rcode(
                &Query::build(1, "up.example", 1).expect("a query"),
                Rcode::NoError,
            ),
            true,
        ),
        (
            Transport::Tcp,
            with_rcode(
                &Query::build(1, "up.example", 1).expect("a query"),
                Rcode::NoError,
            ),
            false,
        ),
        (Transport::Udp, b"nonsense".to_vec(), false),
    ] {
        let mut resolver = server(Profile::V29, &[host("10.0.0.1")], true);
        let id = forwarded(ask_bytes(&mut resolver, &query("up.example", 1), transport));
        assert_eq!(
            resolver.poll_transmit().map(|out| out.transport),
            Some(transport)
        );
        resolver.handle_upstream_reply(T0, id, &bytes);
        assert_eq!(resolver.poll_reply().is_none(), waits, "{transport:?}");
        resolver.handle_upstream_reply(T0, ForwardId(99), &bytes);
    }
}

proptest! {
    #[test]
    fn any_bytes_and_any_order(
        messages in proptest::collection::vec((0_u8..6, proptest::collection::vec(any::<u8>(), 0..80)), 0..40),
    ) {
        let mut resolver = server(Profile::V29, &[host("10.0.0.1"), container("10.0.0.2")], true);
        let mut now = T0;
        for (what, bytes) in messages {
            let last = ForwardId(resolver.last);
            match what {
                0 => drop(ask_bytes(&mut resolver, &bytes, Transport::Udp)),
                1 => drop(ask(&mut resolver, "up.example", u16::from(bytes.len() as u8))),
                2 => resolver.handle_upstream_reply(now, last, &bytes),
                3 => resolver.handle_upstream_error(now, last),
                4 => resolver.cancel(now, last),
                _ => {
                    now += Duration::from_secs(bytes.len() as u64);
                    resolver.fire(now);
                }
            }
            let (out, waiting) = resolver.load();
            prop_assert_eq!(out + waiting, resolver.pending.len());
            prop_assert_eq!(resolver.deadlines.len(), resolver.pending.len());
        }
        resolver.fire(now + Duration::from_secs(60));
        resolver.fire(now + Duration::from_secs(120));
        prop_assert_eq!(resolver.load(), (0, 0));
    }

    /// Queries with a good header and question and anything behind: a reply reads again.
    #[test]
    fn replies_read_again(
        labels in proptest::collection::vec("[ -~]{1,20}", 1..5),
        kind in prop_oneof![Just(1_u16), Just(12), Just(15), Just(28), any::<u16>()],
        flags in any::<u16>(),
        tail in proptest::collection::vec(any::<u8>(), 0..30),
    ) {
        let mut bytes = vec![0, 9, (flags >> 8) as u8 & 0x07, flags as u8, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in &labels {
            bytes.push(label.len() as u8);
            bytes.extend_from_slice(label.as_bytes());
        }
        bytes.push(0);
        bytes.extend_from_slice(&kind.to_be_bytes());
        bytes.extend_from_slice(&[0, 1]);
        bytes.extend_from_slice(&tail);
        let query = Query::parse(&bytes).expect("a query");
        let answer = World::Hashed.answer(&bytes, Transport::Udp).expect("an answer");
        prop_assert!(message::is_response(&answer));
        // simple-dns refuses questions for types that it does not know.
        if simple_dns::QTYPE::try_from(kind).is_ok() {
            let message = Message::parse(&answer).expect("simple-dns reads it");
            prop_assert_eq!(message.id, 9);
            prop_assert_eq!(message.question, Some((query.name.clone(), kind)));
        }
        if let Action::Reply(reply) = ask_bytes(&mut server(Profile::V29, &[], true), &bytes, Transport::Udp) {
            prop_assert!(message::is_response(&reply));
        }
    }

    #[test]
    fn any_bytes_are_messages_or_not(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Message::parse(&bytes);
        let _ = Query::parse(&bytes);
        let _ = World::Hashed.answer(&bytes, Transport::Tcp);
    }
}
