//! Expectations: what a sentence or a map says, what is refused and where, and that what is printed
//! is read again as the same.

use emulator_compose::{
    Claim, Event, Expectation, Party, Probe, Project, Sees, Target, Verdict, Whom, load_str,
};

const SHOP: &str = "
x-vethlab:
  groups: {data: [redis, db]}
services:
  vote: {image: i, networks: [front, back], container_name: the-vote}
  worker: {image: i, networks: [back]}
  result: {image: i, networks: {front: {aliases: [outcome]}, back: }}
  redis: {image: redis, networks: [back], hostname: cache}
  db: {image: postgres, networks: [back]}
  only: {image: i, networks: [back]}
  host: {image: i, networks: [back]}
  tool: {image: i, profiles: [debug], networks: [back]}
networks: {front: , back: }
";

fn shop() -> Project {
    load_str(SHOP).unwrap_or_else(|errors| panic!("{errors}"))
}

fn service(name: &str) -> Party {
    Party::Service(name.to_owned())
}

fn target(name: &str, probe: Probe) -> Target {
    let whom = Whom::Party(service(name));
    Target { whom, probe }
}

fn parse(text: &str) -> Expectation {
    Expectation::parse(text, &shop()).unwrap_or_else(|error| panic!("{error}"))
}

fn reach(from: Vec<Party>, to: Vec<Target>, verdict: Verdict) -> Claim {
    Claim::Reach {
        from,
        to,
        verdict,
        via: None,
        sees: None,
    }
}

#[test]
fn the_sentences_of_the_readme() {
    let vote = || vec![service("vote")];
    let redis = || vec![target("redis", Probe::Tcp(6379))];
    assert_eq!(
        parse("vote -> redis:6379 allow via back").claim,
        Claim::Reach {
            from: vote(),
            to: redis(),
            verdict: Verdict::Allow,
            via: Some("back".into()),
            sees: None,
        }
    );
    assert_eq!(
        parse("worker -> data allow").claim,
        reach(
            vec![service("worker")],
            vec![target("redis", Probe::Known), target("db", Probe::Known)],
            Verdict::Allow
        )
    );
    assert_eq!(
        parse("only worker, result -> db:5432").claim,
        Claim::Only {
            from: vec![service("worker"), service("result")],
            to: vec![target("db", Probe::Tcp(5432))],
        }
    );
    assert_eq!(
        parse("outside -> vote:8080 allow sees client").claim,
        Claim::Reach {
            from: vec![Party::Lan, Party::Internet],
            to: vec![target("vote", Probe::Tcp(8080))],
            verdict: Verdict::Allow,
            via: None,
            sees: Some(Sees::Client),
        }
    );
    assert_eq!(
        parse("lan, outside -> result:9229 deny").claim,
        reach(
            vec![Party::Lan, Party::Internet],
            vec![target("result", Probe::Tcp(9229))],
            Verdict::Deny
        )
    );
    let internet = Target {
        whom: Whom::Party(Party::Internet),
        probe: Probe::Known,
    };
    assert_eq!(
        parse("data -> internet deny").claim,
        reach(
            vec![service("redis"), service("db")],
            vec![internet],
            Verdict::Deny
        )
    );
    assert_eq!(
        parse("vote resolves redis to 1 address on back").claim,
        Claim::Resolves {
            from: vote(),
            name: "redis".into(),
            count: Some(1),
            on: Some("back".into()),
        }
    );
    let moved = parse("vote -> redis:6379 allow after recreate redis moved");
    assert_eq!(moved.claim, reach(vote(), redis(), Verdict::Allow));
    assert_eq!(moved.when, [Event::RecreateMoved("redis".into())]);
}

#[test]
fn targets_of_all_kinds() {
    let one = |text: &str| match parse(&format!("vote -> {text} deny")).claim {
        Claim::Reach { mut to, .. } => {
            assert_eq!(to.len(), 1, "{text}");
            let Target { whom, probe } = to.remove(0);
            (whom, probe)
        }
        claim => panic!("{claim}"),
    };
    let party = |party| Whom::Party(party);
    let address = |text: &str| Whom::Address(text.parse().unwrap());
    let name = |text: &str| Whom::Name(text.to_owned());
    let cases = [
        ("redis", party(service("redis")), Probe::Known),
        ("redis:53/udp", party(service("redis")), Probe::Udp(53)),
        ("redis:53/tcp", party(service("redis")), Probe::Tcp(53)),
        ("redis/icmp", party(service("redis")), Probe::Icmp),
        ("\"host\":22", party(service("host")), Probe::Tcp(22)),
        ("host:22", party(Party::Host), Probe::Tcp(22)),
        ("any", party(Party::Any), Probe::Known),
        ("10.0.0.1", address("10.0.0.1"), Probe::Known),
        ("10.0.0.1:80", address("10.0.0.1"), Probe::Tcp(80)),
        ("10.0.0.1/icmp", address("10.0.0.1"), Probe::Icmp),
        ("[fd00::1]:80/udp", address("fd00::1"), Probe::Udp(80)),
        ("fd00::1", address("fd00::1"), Probe::Known),
        ("fd00::1/icmp", address("fd00::1"), Probe::Icmp),
        ("example.com:443", name("example.com"), Probe::Tcp(443)),
        ("outcome:80", name("outcome"), Probe::Tcp(80)),
        ("cache:80", name("cache"), Probe::Tcp(80)),
        ("the-vote", name("the-vote"), Probe::Known),
    ];
    for (text, whom, probe) in cases {
        assert_eq!(one(text), (whom, probe), "{text}");
    }
}

#[test]
fn what_is_refused_where_and_with_which_hint() {
    let cases = [
        ("", 1, 1, "an expectation is empty", "write one as"),
        ("vote", 4, 1, "expected `->`, `resolves` or", ""),
        (
            "vote -> redis:6379",
            19,
            1,
            "says neither `allow` nor `deny`",
            "allow` or",
        ),
        (
            "vote -> reddis allow",
            9,
            6,
            "no service or group `reddis`",
            "`redis`",
        ),
        (
            "vtoe -> redis allow",
            1,
            4,
            "no service or group `vtoe`",
            "`vote`",
        ),
        ("vote => redis allow", 6, 2, "expected `->`", "write `->`"),
        (
            "vote worker -> redis allow",
            6,
            6,
            "expected `->`",
            "commas",
        ),
        ("vote -> redis:x allow", 9, 7, "`x` is no port", ""),
        ("vote -> redis:0 allow", 9, 7, "`0` is no port", ""),
        ("vote -> redis:65536 allow", 9, 11, "`65536` is no port", ""),
        (
            "vote -> redis:80/sctp allow",
            9,
            13,
            "`/sctp` is none of",
            "",
        ),
        (
            "vote -> redis:80/icmp allow",
            9,
            13,
            "a ping has no port",
            "",
        ),
        ("vote -> redis/udp allow", 9, 9, "`/udp` needs a port", ""),
        (
            "vote -> redis allow deny",
            21,
            4,
            "the verdict stands twice",
            "",
        ),
        (
            "vote -> redis allow via bakc",
            25,
            4,
            "no network `bakc`",
            "`back`",
        ),
        (
            "vote -> redis allow via x",
            25,
            1,
            "no network `x`",
            "back, front",
        ),
        (
            "vote -> redis allow sees clinet",
            26,
            6,
            "a server sees",
            "`client`",
        ),
        (
            "vote -> redis deny via back",
            1,
            27,
            "`via` does not go with `deny`",
            "",
        ),
        (
            "vote -> redis allow after restart db",
            27,
            7,
            "`after` needs",
            "",
        ),
        (
            "vote -> redis allow after down lan",
            32,
            3,
            "happens to services only",
            "",
        ),
        (
            "vote -> redis allow before db",
            29,
            1,
            "expected `is` after this",
            "",
        ),
        (
            "vote -> redis allow afetr down db",
            21,
            5,
            "`afetr` is not understood",
            "`after`",
        ),
        (
            "vote:80 -> redis allow",
            1,
            7,
            "a port does not belong on this side",
            "",
        ),
        ("vote -> tool allow", 9, 4, "`tool` is left out", "profiles"),
        (
            "vote resolves -> db",
            15,
            2,
            "no name that can be looked up",
            "",
        ),
        (
            "vote resolves db to many",
            21,
            4,
            "no number of addresses",
            "",
        ),
        ("lan resolves db", 1, 15, "lan does not ask Docker", ""),
        (
            "only vote -> db:5432 deny",
            22,
            4,
            "`deny` is not understood",
            "`only` says it",
        ),
        ("vote -> \"redis allow", 9, 12, "a quote is not closed", ""),
        (
            "é -> redis allow",
            1,
            1,
            "no service or group `é`",
            "its services are",
        ),
    ];
    let project = shop();
    for (text, column, length, message, hint) in cases {
        let error = Expectation::parse(text, &project).expect_err(text);
        assert!(error.message.contains(message), "{text}: {}", error.message);
        assert_eq!((error.column, error.length), (column, length), "{text}");
        let seen = error.hint.unwrap_or_default();
        assert!(seen.contains(hint), "{text}: {seen}");
        assert_eq!(seen.is_empty(), hint.is_empty(), "{text}: {seen}");
    }
}

#[test]
fn words_are_underlined_where_they_stand_in_the_file() {
    let wrong = |lines: &str| {
        let text =
            format!("{SHOP}x-a: 1\n").replace("  groups: {", &format!("{lines}\n  groups: {{"));
        let errors = load_str(&text).expect_err(lines);
        let places = errors.0.iter();
        let places = places.map(|error| (error.line, error.column, error.length));
        places.collect::<Vec<_>>()
    };
    assert_eq!(wrong("  expect:\n  - vote -> reddis allow"), [(4, 13, 6)]);
    assert_eq!(wrong("  expect: ['vote -> reddis allow']"), [(3, 21, 6)]);
    assert_eq!(
        wrong("  expect:\n  - vote -> reddis allow\n  - vote -> bd allow"),
        [(4, 13, 6), (5, 13, 2)]
    );
    // What does not stand there letter by letter is underlined as a whole.
    assert_eq!(
        wrong("  expect:\n  - \"v\\x6fte -> reddis allow\""),
        [(4, 5, 25)]
    );
    assert_eq!(
        wrong("  expect:\n  - |\n    vote -> reddis allow"),
        [(5, 13, 6)]
    );
    assert_eq!(
        wrong("  expect:\n  - {from: vote, to: 'reddis:1', verdict: allow}"),
        [(4, 23, 8)]
    );
}

#[test]
fn maps_say_the_same() {
    let text = SHOP.replace(
        "  groups: {",
        "  expect:
  - {from: vote, to: 'redis:6379', verdict: allow, via: back, sees: client}
  - {only: [worker, result], to: 'db:5432'}
  - {from: vote, resolves: redis, addresses: 1, on: back}
  - {from: vote, resolves: redis, addresses: 0}
  - {from: 'vote, worker', to: [data, 'lan/icmp'], verdict: deny, after: [recreate redis moved, down db], before: vote is up, resolve: once}
  groups: {",
    );
    let project = load_str(&text).unwrap_or_else(|errors| panic!("{errors}"));
    let expect = &project.vethlab.expect;
    let texts: Vec<&str> = expect.iter().map(|e| e.text.as_str()).collect();
    assert_eq!(
        texts,
        [
            "vote -> redis:6379 allow via back sees client",
            "only worker, result -> db:5432",
            "vote resolves redis to 1 address on back",
            "vote does not resolve redis",
            "vote, worker -> redis, db, lan/icmp deny after recreate redis moved after down db before vote is up resolve once",
        ]
    );
    for expectation in expect {
        let again = Expectation::parse(&expectation.text, &project).unwrap();
        assert_eq!(again.claim, expectation.claim);
        assert_eq!(again.when, expectation.when);
        assert_eq!(again.resolve_once, expectation.resolve_once);
    }
}

#[test]
fn maps_that_are_refused() {
    let cases = [
        ("{from: vote, to: db}", "an expectation needs \"verdict\""),
        ("{to: db, verdict: allow}", "an expectation needs \"from\""),
        (
            "{from: vote, too: db, verdict: allow}",
            "an expectation has no key \"too\"",
        ),
        (
            "{only: vote, to: db, verdict: deny}",
            "\"verdict\" does not go with \"only\"",
        ),
        ("{from: [], to: db, verdict: allow}", "\"from\" is empty"),
        (
            "{from: vote, to: db, verdict: maybe}",
            "a verdict is `allow` or `deny`",
        ),
        (
            "{from: vote, to: db, verdict: deny, via: back}",
            "does not go with `deny`",
        ),
        (
            "{from: vote, resolves: db, addresses: -1}",
            "must be a number",
        ),
        (
            "{from: vote, to: db, verdict: allow, resolve: twice}",
            "`once` or `always`",
        ),
        (
            "{from: {a: b}, to: db, verdict: allow}",
            "\"from\" must be a text",
        ),
        ("[vote]", "must be a sentence or a mapping"),
    ];
    for (entry, message) in cases {
        let text = SHOP.replace("  groups: {", &format!("  expect: [{entry}]\n  groups: {{"));
        let errors = load_str(&text).expect_err(entry);
        assert!(errors.0[0].message.contains(message), "{entry}: {errors}");
    }
}

#[test]
fn x_vethlab_is_checked() {
    let cases = [
        (
            "x-vethlab: {expects: []}",
            "x-vethlab has no key \"expects\"",
            "`expect`",
        ),
        (
            "x-vethlab: {engine: 19}",
            "engine \"19\" is not known",
            "\"20.10\" and \"29\"",
        ),
        (
            "x-vethlab: {groups: {any: [a]}}",
            "a group cannot be named \"any\"",
            "place",
        ),
        (
            "x-vethlab: {groups: {a: [a]}}",
            "a group cannot be named \"a\"",
            "service",
        ),
        (
            "x-vethlab: {groups: {g: [web1]}}",
            "which is no service",
            "`web0`",
        ),
        ("x-vethlab: []", "x-vethlab must be a mapping", ""),
    ];
    for (line, message, hint) in cases {
        let text = format!("{line}\nservices: {{a: {{image: i}}, web0: {{image: i}}}}\n");
        let error = load_str(&text).expect_err(line).0.remove(0);
        assert!(error.message.contains(message), "{line}: {}", error.message);
        assert!(error.hint.unwrap_or_default().contains(hint), "{line}");
    }
    let text = "x-vethlab: {engine: 20.10}\nservices: {a: {image: i}}\n";
    let engine = load_str(text).unwrap().vethlab.engine.unwrap();
    assert_eq!(engine.value, "20.10");
}

mod properties {
    use super::*;
    use proptest::prelude::*;

    fn parties() -> impl Strategy<Value = Vec<Party>> {
        let service = prop::sample::select(vec!["vote", "redis", "only", "host"]);
        let party = prop_oneof![
            Just(Party::Any),
            Just(Party::Host),
            Just(Party::Lan),
            Just(Party::Internet),
            service.prop_map(service_party),
        ];
        prop::collection::btree_set(party, 1..4).prop_map(|set| set.into_iter().collect())
    }

    fn service_party(name: &str) -> Party {
        service(name)
    }

    fn targets() -> impl Strategy<Value = Vec<Target>> {
        let name = prop::sample::select(vec!["outcome", "example.com", "the-vote", "cache"]);
        let whom = prop_oneof![
            any::<core::net::Ipv4Addr>().prop_map(|ip| Whom::Address(ip.into())),
            any::<core::net::Ipv6Addr>().prop_map(|ip| Whom::Address(ip.into())),
            name.prop_map(|name: &str| Whom::Name(name.to_owned())),
            parties().prop_map(|mut parties| Whom::Party(parties.remove(0))),
        ];
        let probe = prop_oneof![
            Just(Probe::Icmp),
            Just(Probe::Known),
            (1..=u16::MAX).prop_map(Probe::Tcp),
            (1..=u16::MAX).prop_map(Probe::Udp),
        ];
        let target = (whom, probe).prop_map(|(whom, probe)| Target { whom, probe });
        prop::collection::btree_set(target, 1..4).prop_map(|set| set.into_iter().collect())
    }

    fn claims() -> impl Strategy<Value = Claim> {
        let sees = prop_oneof![
            Just(Sees::Client),
            Just(Sees::Gateway),
            any::<core::net::IpAddr>().prop_map(Sees::Address),
        ];
        let network = || prop::option::of(prop::sample::select(vec!["front", "back"]));
        let text = |network: Option<&str>| network.map(str::to_owned);
        let seen = (network(), prop::option::of(sees));
        let inside = parties().prop_filter("who asks Docker for names", |parties| {
            !parties.contains(&Party::Lan) && !parties.contains(&Party::Internet)
        });
        let names = prop::sample::select(vec!["redis", "db.internal", "x"]);
        prop_oneof![
            (parties(), targets()).prop_map(|(from, to)| Claim::Only { from, to }),
            (parties(), targets()).prop_map(|(from, to)| reach(from, to, Verdict::Deny)),
            (parties(), targets(), seen).prop_map(move |(from, to, (via, sees))| Claim::Reach {
                from,
                to,
                verdict: Verdict::Allow,
                via: text(via),
                sees,
            }),
            (inside, names, prop::option::of(any::<u32>()), network()).prop_map(
                move |(from, name, count, on)| Claim::Resolves {
                    from,
                    name: name.to_owned(),
                    count: count.map(|count| count % 1_000_000),
                    on: text(on),
                }
            ),
        ]
    }

    fn events() -> impl Strategy<Value = Vec<Event>> {
        let service = prop::sample::select(vec!["vote", "only", "host"]);
        let event = (service, 0..4).prop_map(|(service, kind)| {
            let kinds = [
                Event::BeforeUp,
                Event::Down,
                Event::Recreate,
                Event::RecreateMoved,
            ];
            kinds[kind as usize](service.to_owned())
        });
        prop::collection::vec(event, 0..3)
    }

    proptest! {
        /// What is printed is read again as the same.
        #[test]
        fn round_trip(claim in claims(), when in events(), resolve_once in any::<bool>()) {
            let expectation = Expectation {
                at: emulator_compose::Place::default(),
                text: String::new(),
                claim,
                when,
                resolve_once,
            };
            let shown = expectation.to_string();
            let project = shop();
            let again = Expectation::parse(&shown, &project);
            let again = again.unwrap_or_else(|error| panic!("{error}"));
            prop_assert_eq!(&again.claim, &expectation.claim, "{}", shown);
            prop_assert_eq!(&again.when, &expectation.when, "{}", shown);
            prop_assert_eq!(again.resolve_once, expectation.resolve_once, "{}", shown);
        }

        /// No text makes the reader fall over, and an error stands inside the text.
        #[test]
        fn any_text(text in "[ a-z>\\-,\":/\\[\\]0-9é]{0,40}") {
            if let Err(error) = Expectation::parse(&text, &shop()) {
                let end = (error.column + error.length) as usize;
                prop_assert!(end <= text.chars().count() + 2, "{}", error);
            }
        }
    }
}
