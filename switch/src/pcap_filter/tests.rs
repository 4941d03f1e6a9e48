use core::net::IpAddr;

use ipnet::IpNet;
use proptest::prelude::*;

use super::*;

struct Lab;

impl Names for Lab {
    fn host(&self, name: &str) -> Vec<IpAddr> {
        match name {
            "web" => vec![[172, 18, 0, 2].into(), "fd00::2".parse().unwrap()],
            "db" => vec![[172, 18, 0, 3].into()],
            _ => Vec::new(),
        }
    }

    fn network(&self, name: &str) -> Vec<IpNet> {
        if name == "back-tier" {
            vec![
                "172.18.0.0/16".parse().unwrap(),
                "fd00::/64".parse().unwrap(),
            ]
        } else {
            Vec::new()
        }
    }
}

fn compile(text: &str) -> PcapFilter {
    PcapFilter::compile(text, &Lab).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn error(text: &str) -> String {
    let Err(error) = PcapFilter::compile(text, &Lab) else {
        panic!("{text} is compiled");
    };
    error.to_string()
}

/// A TCP segment between two addresses, by the last bytes of them.
fn segment(from: u8, to: u8, port: u8) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, to, 2, 0, 0, 0, 0, from, 8, 0];
    frame.extend([0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0]);
    frame.extend([172, 18, 0, from, 172, 18, 0, to]);
    frame.extend([0x9c, 0x40, 0, port]);
    frame.extend([0; 16]);
    frame
}

#[test]
fn names_are_those_of_the_lab() {
    let (there, elsewhere) = (segment(2, 9, 80), segment(8, 9, 80));
    for text in [
        "host web",
        "src web",
        "net back-tier",
        "host db or web",
        "ip host web",
    ] {
        assert!(compile(text).passes(&there, 54), "{text}");
    }
    assert!(!compile("host web").passes(&elsewhere, 54));
    assert!(compile("net back-tier and not host web").passes(&elsewhere, 54));
    assert!(!compile("ip6 host web").passes(&there, 54));
    assert_eq!(error("host nobody"), "column 6: unknown host 'nobody'");
    assert_eq!(error("net front"), "column 5: unknown network 'front'");
    assert_eq!(
        error("tcp and ip6 host db"),
        "column 18: unknown host 'db' for specified address family"
    );
}

#[test]
fn errors_say_where_and_what_was_expected() {
    for (text, expected) in [
        (
            "tcp porr 80",
            "column 5: syntax error; expected a qualifier, 'and', 'or' or the end",
        ),
        (
            "port 80 443",
            "column 9: syntax error; expected 'and', 'or' or the end",
        ),
        (
            "tcp port 70000",
            "column 10: illegal port number 70000 > 65535",
        ),
        (
            "host → web",
            "column 6: syntax error; expected a word, a number or a sign",
        ),
        (
            "port 80 or\tdst",
            "column 15: syntax error; expected an address or the name of a host",
        ),
        ("(tcp or udp", "column 12: syntax error; expected ')'"),
        ("gateway web", "column 1: 'gateway' is not supported here"),
        (
            "tcp and ip[0] & 1",
            "column 18: syntax error; expected a comparison: =, !=, <, >, <= or >=",
        ),
        (
            "ip proto tcp",
            "column 10: syntax error; expected the number of a protocol, or its name behind \\",
        ),
        ("ip[0] / 0 = 1", "column 9: division by zero"),
    ] {
        assert_eq!(error(text), expected, "{text}");
    }
}

#[test]
fn what_is_too_much_is_refused() {
    let nested = |depth: usize| format!("{}tcp{}", "(".repeat(depth), ")".repeat(depth));
    compile(&nested(100));
    assert_eq!(error(&nested(101)), "column 101: nested more than 100 deep");
    compile(&format!("{}tcp", "not ".repeat(100)));
    assert!(error(&format!("{}tcp", "not ".repeat(101))).contains("nested"));
    assert!(error(&format!("{}1 = 1", "- ".repeat(200))).contains("nested"));
    let long = vec!["tcp"; TEXT_MAX].join(" or ");
    assert!(error(&long).contains("more than 16384 bytes"));
    let ports = vec!["port 1"; 1000].join(" or ");
    assert!(error(&ports).contains("too complex"), "{}", error(&ports));
    let deep = |values: usize| {
        format!(
            "{}1{} = 1",
            "1+(".repeat(values - 1),
            ")".repeat(values - 1)
        )
    };
    compile(&deep(15));
    assert_eq!(
        error(&deep(17)),
        "column 49: out of registers needed to evaluate expression"
    );
}

#[test]
fn what_cannot_be_read_ends_in_no() {
    let frame = segment(2, 3, 80);
    for (text, needed) in [
        ("tcp dst port 80", 38),
        ("not tcp dst port 81", 38),
        ("dst host db", 34),
        ("not dst host web", 34),
        ("ip[33] = 0 or arp", 48),
    ] {
        for cut in 0..frame.len() {
            let passes = compile(text).passes(&frame[..cut], 54);
            assert_eq!(passes, cut >= needed, "{text} at {cut}");
        }
    }
    assert!(!compile("not port 80").passes(&frame[..30], 54));
    assert!(!compile("not len / (ip[8] - 64) = 1").passes(&frame, 54));
    assert!(compile("").passes(&[], 0));
    assert!(compile("less 0").passes(&[], 0));
}

#[test]
fn it_shows_what_was_written() {
    assert_eq!(compile(" tcp  port 80 ").to_string(), "tcp  port 80");
}

proptest! {
    /// No text and no frame breaks anything; an error points into the text or behind its end.
    #[test]
    fn any_text(
        text in "[a-z0-9 ()\\[\\]:./!&|<>=+*%^-]{0,40}|((tcp|port|host|net|and|or|not|80|[(]|[)]|ip\\[0\\]|=|1) ){0,12}",
        frame in proptest::collection::vec(any::<u8>(), 0..80),
    ) {
        match PcapFilter::compile(&text, &Lab) {
            Ok(filter) => {
                let _either: bool = filter.passes(&frame, frame.len() as u32);
            }
            Err(error) => prop_assert!((1..=text.chars().count() + 1).contains(&error.column)),
        }
    }
}
