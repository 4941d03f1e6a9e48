//! States, timers and bounds as packets through the hooks meet them.

use super::packets::{ACK, Built, FIN, RST, SYN, echo, tcp, udp};
use super::*;
use crate::filter::States;

const T0: Time = Time::ZERO;
const INSIDE: &str = "172.17.0.2:40000";
const OUTSIDE: &str = "198.51.100.7:80";
const HOST: &str = "192.0.2.2:40000";

fn out(nf: &mut Netfilter, at: Time, packet: &Built) -> Result<(), DropReason> {
    forward(nf, at, &mut packet.clone(), BRIDGE, UPLINK)
}

fn back(nf: &mut Netfilter, at: Time, packet: &Built) -> Result<(), DropReason> {
    forward(nf, at, &mut packet.clone(), UPLINK, BRIDGE)
}

fn lines(nf: &Netfilter, at: Time) -> Vec<String> {
    let list = nf.conntrack.list(at);
    list.iter().map(|conn| conn.line(at).to_string()).collect()
}

/// Runs segments and says how long the connection then lives, to the nanosecond.
fn lifetime(segments: &[(bool, u8)]) -> u64 {
    let mut nf = masquerading(Limits::default());
    let start = Time::from_secs(10);
    for &(from_inside, flags) in segments {
        let result = if from_inside {
            out(&mut nf, start, &tcp(INSIDE, OUTSIDE, flags))
        } else {
            back(&mut nf, start, &tcp(OUTSIDE, HOST, flags))
        };
        result.unwrap();
    }
    let list = nf.conntrack.list(start);
    let expires = list[0].expires;
    let before = Time::from_nanos(expires.as_nanos() - 1);
    assert_eq!(nf.conntrack.list(before).len(), 1);
    assert_eq!(nf.conntrack.list(expires).len(), 0);
    let seconds = (expires - start).as_secs();
    assert_eq!(expires, start + core::time::Duration::from_secs(seconds));
    seconds
}

#[test]
fn tcp_timeouts_at_the_boundary() {
    let open = [(true, SYN), (false, SYN | ACK), (true, ACK)];
    let with = |more: &[(bool, u8)]| [&open, more].concat();
    let close = [
        (true, FIN | ACK),
        (false, ACK),
        (false, FIN | ACK),
        (true, ACK),
    ];
    for (segments, seconds) in [
        (open[..1].to_vec(), 120),
        (open[..2].to_vec(), 60),
        (open.to_vec(), 432_000),
        (with(&close[..1]), 120),
        (with(&close[..2]), 60),
        (with(&close[..3]), 30),
        (with(&close), 120),
        (with(&[(false, RST)]), 10),
        (vec![(true, ACK)], 300),
    ] {
        assert_eq!(lifetime(&segments), seconds, "{segments:?}");
    }
}

#[test]
fn udp_is_a_stream_after_two_seconds() {
    let mut nf = masquerading(Limits::default());
    let ask = udp("172.17.0.2:5000", "198.51.100.7:53");
    let answer = udp("198.51.100.7:53", "192.0.2.2:5000");
    let left = |nf: &Netfilter, at: Time| (nf.conntrack.list(at)[0].expires - at).as_secs();
    out(&mut nf, T0, &ask).unwrap();
    back(&mut nf, T0, &answer).unwrap();
    assert_eq!(left(&nf, T0), 30);
    let two = Time::from_secs(2);
    out(&mut nf, two, &ask).unwrap();
    assert_eq!(left(&nf, two), 30, "not yet");
    let later = two + core::time::Duration::from_nanos(1);
    out(&mut nf, later, &ask).unwrap();
    assert_eq!(left(&nf, later), 120);
    assert!(nf.conntrack.list(later)[0].assured);
}

#[test]
fn an_answer_after_the_timeout_finds_nothing() {
    for (at, expected) in [
        (29_999_999_999, "172.17.0.2"),
        (30_000_000_000, "192.0.2.2"),
    ] {
        let mut nf = masquerading(Limits::default());
        out(&mut nf, T0, &udp("172.17.0.2:5000", "198.51.100.7:53")).unwrap();
        let mut answer = udp("198.51.100.7:53", "192.0.2.2:5000");
        deliver(&mut nf, Time::from_nanos(at), &mut answer, UPLINK).unwrap();
        assert_eq!(answer.packet().destination, ip(expected));
    }
}

#[test]
fn icmp_and_the_rest() {
    let mut nf = masquerading(Limits::default());
    out(&mut nf, T0, &echo("172.17.0.2", "198.51.100.7", 1, false)).unwrap();
    let tunnel = packets::packet(ip("172.17.0.2"), ip("198.51.100.7"), 47, &[0; 8]);
    out(&mut nf, T0, &tunnel).unwrap();
    let alive = |seconds| nf.conntrack.list(Time::from_secs(seconds)).len();
    assert_eq!((alive(29), alive(30), alive(599), alive(600)), (2, 1, 1, 0));
}

#[test]
fn the_list_is_that_of_conntrack() {
    let mut nf = masquerading(Limits::default());
    for (outgoing, flags) in [(true, SYN), (false, SYN | ACK), (true, ACK)] {
        if outgoing {
            out(&mut nf, T0, &tcp(INSIDE, OUTSIDE, flags)).unwrap();
        } else {
            back(&mut nf, T0, &tcp(OUTSIDE, HOST, flags)).unwrap();
        }
    }
    out(&mut nf, T0, &udp("172.17.0.2:5000", "198.51.100.7:53")).unwrap();
    out(&mut nf, T0, &echo("172.17.0.2", "198.51.100.7", 1, false)).unwrap();
    assert_eq!(
        lines(&nf, Time::from_secs(1)),
        [
            "tcp      6 431999 ESTABLISHED src=172.17.0.2 dst=198.51.100.7 sport=40000 dport=80 \
             src=198.51.100.7 dst=192.0.2.2 sport=80 dport=40000 [ASSURED] mark=0 use=1",
            "udp      17 29 src=172.17.0.2 dst=198.51.100.7 sport=5000 dport=53 [UNREPLIED] \
             src=198.51.100.7 dst=192.0.2.2 sport=53 dport=5000 mark=0 use=1",
            "icmp     1 29 src=172.17.0.2 dst=198.51.100.7 type=8 code=0 id=1 [UNREPLIED] \
             src=198.51.100.7 dst=192.0.2.2 type=0 code=0 id=1 mark=0 use=1",
        ]
    );
}

/// A connection to itself passes PREROUTING again: its FIN must not count twice.
#[test]
fn looped_segments_count_once() {
    let mut nf = masquerading(Limits::default());
    let (client, server) = ("127.0.0.1:40000", "127.0.0.1:80");
    for (to_server, flags) in [
        (true, SYN),
        (false, SYN | ACK),
        (true, ACK),
        (true, FIN | ACK),
    ] {
        let (source, destination) = if to_server {
            (client, server)
        } else {
            (server, client)
        };
        let mut packet = tcp(source, destination, flags);
        send(&mut nf, T0, &mut packet, LO).unwrap();
        deliver(&mut nf, T0, &mut packet, LO).unwrap();
    }
    assert!(
        lines(&nf, T0)[0].contains("FIN_WAIT"),
        "{:?}",
        lines(&nf, T0)
    );
}

#[test]
fn a_closed_connection_may_start_again_with_other_rules() {
    let mut nf = masquerading(Limits::default());
    for (outgoing, flags) in [(true, SYN), (false, SYN | ACK), (true, ACK), (true, RST)] {
        if outgoing {
            out(&mut nf, T0, &tcp(INSIDE, OUTSIDE, flags)).unwrap();
        } else {
            back(&mut nf, T0, &tcp(OUTSIDE, HOST, flags)).unwrap();
        }
    }
    assert!(lines(&nf, T0)[0].contains("CLOSE"));
    out(&mut nf, T0, &tcp(INSIDE, OUTSIDE, SYN)).unwrap();
    assert_eq!(nf.conntrack.len(), 1);
    assert!(lines(&nf, T0)[0].contains("SYN_SENT"));
    assert!(lines(&nf, T0)[0].contains("[UNREPLIED]"));
}

fn count(nf: &Netfilter, rule: RuleId) -> u64 {
    nf.rules
        .rule(rule)
        .map_or(0, |(_, counter)| counter.packets)
}

#[test]
fn the_states_that_rules_see() {
    let mut nf = masquerading(Limits::default());
    let states = [
        State::New,
        State::Established,
        State::Related,
        State::Invalid,
    ];
    let rules = states.map(|state| {
        let matches = Match {
            states: States::of(&[state]),
            ..Match::default()
        };
        let (table, hook) = (Table::Filter, Hook::Forward);
        add(&mut nf, Family::V4, table, hook, matches, Action::Accept)
    });
    let seen = |nf: &Netfilter| rules.map(|rule| count(nf, rule));
    let steps: [(bool, Built, [u64; 4]); 7] = [
        (true, tcp(INSIDE, OUTSIDE, SYN), [1, 0, 0, 0]),
        (true, tcp(INSIDE, OUTSIDE, SYN), [2, 0, 0, 0]),
        (false, tcp(OUTSIDE, HOST, SYN | ACK), [2, 1, 0, 0]),
        (true, tcp(INSIDE, OUTSIDE, ACK), [2, 2, 0, 0]),
        (true, tcp(INSIDE, OUTSIDE, SYN | ACK), [2, 2, 0, 1]),
        (true, tcp("172.17.0.2:1", OUTSIDE, RST), [2, 2, 0, 2]),
        (
            false,
            packets::error("203.0.113.1", "192.0.2.2", &tcp(HOST, OUTSIDE, ACK).bytes),
            [2, 2, 1, 2],
        ),
    ];
    for (at, (outgoing, packet, expected)) in steps.into_iter().enumerate() {
        if outgoing {
            out(&mut nf, T0, &packet).unwrap();
        } else {
            back(&mut nf, T0, &packet).unwrap();
        }
        assert_eq!(seen(&nf), expected, "step {at}");
    }
}

#[test]
fn fragments_are_invalid_and_never_translated() {
    let mut nf = masquerading(Limits::default());
    let mut packet = udp("172.17.0.2:5000", "198.51.100.7:53");
    packet.bytes[6] = 0x20;
    crate::wire::fill_header_checksum(&mut packet.bytes);
    let before = packet.bytes.clone();
    forward(&mut nf, T0, &mut packet, BRIDGE, UPLINK).unwrap();
    assert_eq!(packet.bytes, before);
    assert!(nf.conntrack.is_empty());
}

#[test]
fn a_dropped_first_packet_starts_nothing() {
    let mut nf = masquerading(Limits::default());
    let chain = ChainId::base(Family::V4, Table::Filter, Hook::Forward).unwrap();
    nf.rules
        .set_policy(chain, Verdict::Drop(DropReason::Filtered));
    let packet = tcp(INSIDE, OUTSIDE, SYN);
    for _ in 0..100 {
        assert_eq!(out(&mut nf, T0, &packet), Err(DropReason::Filtered));
    }
    assert!(nf.conntrack.is_empty());
    let Read::Flow(flow) = read(&packet.bytes, &packet.packet()) else {
        panic!("a TCP segment")
    };
    let found = nf.conntrack.find_translated(T0, &flow.tuple);
    assert_eq!(found, None, "not even on its way");
    assert_eq!(nf.rules.passed(nf.rules.chain(chain).unwrap()).packets, 100);
}

#[test]
fn what_was_accepted_is_remembered_until_a_rule_changes() {
    let mut nf = masquerading(Limits::default());
    let accept = add(
        &mut nf,
        Family::V4,
        Table::Filter,
        Hook::Forward,
        Match {
            input: IfMatch::Is(BRIDGE),
            ..Match::default()
        },
        Action::Accept,
    );
    let packet = udp("172.17.0.2:5000", "198.51.100.7:53");
    for _ in 0..10 {
        out(&mut nf, T0, &packet).unwrap();
    }
    let (_, counter) = nf.rules.rule(accept).unwrap();
    assert_eq!((counter.packets, counter.bytes), (10, 330));
    assert_eq!(nf.rules.last(), None, "the NAT rules were asked nothing");
    nf.rules.remove(accept);
    let chain = ChainId::base(Family::V4, Table::Filter, Hook::Forward).unwrap();
    nf.rules
        .set_policy(chain, Verdict::Drop(DropReason::FilteredIsolation));
    let result = out(&mut nf, T0, &packet);
    assert_eq!(result, Err(DropReason::FilteredIsolation));
}

#[test]
fn a_super_segment_counts_as_its_frames() {
    let mut nf = masquerading(Limits::default());
    let all = add(
        &mut nf,
        Family::V4,
        Table::Filter,
        Hook::Forward,
        Match::default(),
        Action::Accept,
    );
    let mut packet = tcp(INSIDE, OUTSIDE, SYN);
    let whole = path(Some(BRIDGE), Some(UPLINK));
    let hook = Hook::Forward;
    let _ = nf.run_for(T0, hook, &mut packet.bytes, false, &whole, &Host, 44);
    assert_eq!(count(&nf, all), 44);
}

mod bounds {
    use super::*;

    fn full(assured: bool) -> Netfilter {
        let mut nf = masquerading(Limits { connections: 3 });
        for port in 1..=3 {
            let inside = format!("172.17.0.2:{}", 40_000 + port);
            let host = format!("192.0.2.2:{}", 40_000 + port);
            let at = Time::from_secs(port);
            out(&mut nf, at, &tcp(&inside, OUTSIDE, SYN)).unwrap();
            if assured || port == 1 {
                back(&mut nf, at, &tcp(OUTSIDE, &host, SYN | ACK)).unwrap();
                out(&mut nf, at, &tcp(&inside, OUTSIDE, ACK)).unwrap();
            }
        }
        assert_eq!(nf.conntrack.len(), 3);
        nf
    }

    fn ports(nf: &Netfilter, at: Time) -> Vec<u16> {
        let list = nf.conntrack.list(at);
        list.iter()
            .map(|conn| conn.original().source_port)
            .collect()
    }

    #[test]
    fn the_oldest_unassured_gives_way() {
        let mut nf = full(false);
        let now = Time::from_secs(4);
        out(&mut nf, now, &tcp("172.17.0.2:50000", OUTSIDE, SYN)).unwrap();
        assert_eq!(ports(&nf, now), [40_001, 40_003, 50_000]);
    }

    #[test]
    fn expired_before_unassured() {
        let mut nf = full(false);
        // The second has run out (2 s + 120 s), the third has not.
        let now = Time::from_secs(122);
        out(&mut nf, now, &tcp("172.17.0.2:50000", OUTSIDE, SYN)).unwrap();
        assert_eq!(ports(&nf, now), [40_001, 40_003, 50_000]);
        assert_eq!(nf.conntrack.len(), 3);
    }

    #[test]
    fn assured_ones_stay_and_the_new_one_dies() {
        let mut nf = full(true);
        let now = Time::from_secs(4);
        let result = out(&mut nf, now, &tcp("172.17.0.2:50000", OUTSIDE, SYN));
        assert_eq!(result, Err(DropReason::ConntrackFull));
        assert_eq!(ports(&nf, now), [40_001, 40_002, 40_003]);
    }

    /// A timer that became shorter is seen in time: five days shrink to ten seconds.
    #[test]
    fn a_reset_connection_makes_room() {
        let mut nf = full(true);
        let now = Time::from_secs(4);
        out(&mut nf, now, &tcp("172.17.0.2:40002", OUTSIDE, RST)).unwrap();
        let now = Time::from_secs(14);
        out(&mut nf, now, &tcp("172.17.0.2:50000", OUTSIDE, SYN)).unwrap();
        assert_eq!(ports(&nf, now), [40_001, 40_003, 50_000]);
    }

    #[test]
    fn an_endpoint_takes_its_connections_along() {
        let mut nf = full(true);
        assert_eq!(nf.conntrack.flush_where(ip("172.17.0.9")), 0);
        assert_eq!(nf.conntrack.flush_where(ip("172.17.0.2")), 3);
        assert!(nf.conntrack.is_empty());
        let now = Time::from_secs(5);
        out(&mut nf, now, &tcp("172.17.0.2:40001", OUTSIDE, SYN)).unwrap();
        assert_eq!(ports(&nf, now), [40_001]);
    }
}
