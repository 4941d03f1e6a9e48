//! `ip`, `ifconfig`, `route`, `arp`, `netstat`, `ss`: their arguments, read into [`Listing`]s.
//!
//! A container has no `CAP_NET_ADMIN`, so whatever would change something is refused as the kernel refuses it.

use super::args::{Failure, Grammar};
use super::show::{self, Listing, Sockets};
use super::{Context, Start};
use crate::app::{App, Family, Step, Sys};

#[derive(Debug)]
struct Show {
    program: &'static str,
    listing: Listing,
}

impl App for Show {
    fn run(&mut self, sys: &mut dyn Sys) -> Step {
        match show::text(sys.netns(), sys.now(), &self.listing) {
            Ok(text) => {
                sys.print(&text);
                Step::Exit(0)
            }
            Err(text) => {
                sys.eprint(&text);
                Step::Exit(1)
            }
        }
    }

    fn name(&self) -> &str {
        self.program
    }
}

type Parsed = Result<Listing, Failure>;

macro_rules! shows {
    ($($name:literal $start:ident $parse:ident)*) => {
        pub(super) fn starter(program: &str) -> Option<Start> {
            match program {
                $($name => Some($start),)*
                _ => None,
            }
        }
        $(fn $start(argv: &[String], context: &Context) -> Result<Box<dyn App>, Failure> {
            let listing = $parse(argv, context)?;
            Ok(Box::new(Show { program: $name, listing }))
        })*
    };
}

shows! {
    "arp" start_arp arp
    "ifconfig" start_ifconfig ifconfig
    "ip" start_ip ip
    "netstat" start_netstat netstat
    "route" start_route route
    "ss" start_ss ss
}

const IP: Grammar = Grammar {
    program: "ip",
    short: "",
    long: &[],
    usage: "[OPTIONS] address|route|link|neigh [ARGS]",
};

/// `word` is the beginning of `whole`, as `ip` abbreviates, or one of its other names.
fn is(word: &str, whole: &str) -> bool {
    !word.is_empty() && whole.starts_with(word)
}

fn not_permitted() -> Failure {
    Failure {
        text: "ip: RTNETLINK answers: Operation not permitted\n".to_owned(),
        code: 2,
    }
}

fn ip(argv: &[String], context: &Context) -> Parsed {
    let mut words = argv.iter().map(String::as_str).peekable();
    let (mut family, mut one_line, mut brief) = (None, false, false);
    while let Some(option) = words.next_if(|word| word.starts_with('-')) {
        match option {
            "-4" => family = Some(Family::V4),
            "-6" => family = Some(Family::V6),
            "-o" | "-oneline" => one_line = true,
            "-br" | "-brief" => brief = true,
            "-f" | "-family" => {
                family = match words.next() {
                    Some("inet") => Some(Family::V4),
                    Some("inet6") => Some(Family::V6),
                    _ => return Err(IP.usage(None)),
                };
            }
            // Colour, details and statistics change nothing here.
            "-c" | "-color" | "-d" | "-details" | "-s" | "-stats" => {}
            _ => return Err(IP.usage(None)),
        }
    }
    let object = words.next().unwrap_or_default();
    let command = words.next().unwrap_or("show");
    let shows = ["show", "list", "lst", "ls"]
        .iter()
        .any(|own| is(command, own));
    let gets = is(command, "get") && is(object, "route");
    let changes = [
        "add", "append", "change", "del", "delete", "flush", "prepend", "replace", "set",
    ];
    if changes.contains(&command) {
        return Err(not_permitted());
    }
    // `ip addr eth0` is no command; the name of an interface follows `show`, with or without `dev`.
    if !shows && !gets {
        let text = format!("ip: invalid argument '{command}' to '{object}'\n");
        return Err(Failure { text, code: 1 });
    }
    let mut iface = None;
    let mut address = None;
    while let Some(word) = words.next() {
        match word {
            "dev" => iface = words.next().map(str::to_owned),
            "up" => {}
            "table" => {
                words.next();
            }
            _ if gets => address = word.parse().ok(),
            _ => iface = Some(word.to_owned()),
        }
    }
    let iproute2 = context.iproute2;
    if is(object, "address") {
        return Ok(Listing::IpAddr {
            iface,
            family,
            one_line,
            brief,
            iproute2,
        });
    }
    if is(object, "link") {
        return Ok(Listing::IpLink {
            iface,
            one_line,
            brief,
            iproute2,
        });
    }
    if gets {
        let invalid = || Failure::new("ip", "an inet address is expected");
        let address = address.ok_or_else(invalid)?;
        return Ok(Listing::IpRouteGet { address });
    }
    if is(object, "route") {
        let family = family.unwrap_or(Family::V4);
        return Ok(Listing::IpRoute { family, iproute2 });
    }
    if is(object, "neighbor") || is(object, "neighbour") {
        return Ok(Listing::IpNeigh { iface, family });
    }
    Err(IP.usage(None))
}

fn ifconfig(argv: &[String], _: &Context) -> Parsed {
    match argv {
        [] => Ok(Listing::Ifconfig {
            iface: None,
            all: false,
        }),
        [all] if all == "-a" => Ok(Listing::Ifconfig {
            iface: None,
            all: true,
        }),
        [iface] => Ok(Listing::Ifconfig {
            iface: Some(iface.clone()),
            all: true,
        }),
        _ => Err(Failure::new(
            "ifconfig",
            "SIOCSIFADDR: Operation not permitted",
        )),
    }
}

fn route(argv: &[String], _: &Context) -> Parsed {
    let mut family = Family::V4;
    let mut words = argv.iter().map(String::as_str);
    while let Some(word) = words.next() {
        match word {
            "-n" | "-e" | "-ne" | "-en" => {}
            "-A" => {
                family = match words.next() {
                    Some("inet6") => Family::V6,
                    _ => Family::V4,
                }
            }
            "-6" => family = Family::V6,
            "add" | "del" => {
                let text = "SIOCADDRT: Operation not permitted";
                return Err(Failure::new("route", text));
            }
            _ => return Err(ROUTE.usage(None)),
        }
    }
    Ok(Listing::Route {
        family,
        netstat: false,
    })
}

const ROUTE: Grammar = Grammar {
    program: "route",
    short: "",
    long: &[],
    usage: "[-ne] [-A inet[6]] [{add|del} TARGET]",
};

const ARP: Grammar = Grammar {
    program: "arp",
    short: "vnaei:H:A:dsfD",
    long: &[],
    usage: "[-vn] [-H HWTYPE] [-i IF] [-a HOSTNAME]",
};

fn arp(argv: &[String], context: &Context) -> Parsed {
    let args = ARP.parse(argv, context.libc)?;
    if args.has('d') || args.has('s') {
        return Err(Failure::new("arp", "SIOCSARP: Operation not permitted"));
    }
    let iface = args.value('i').map(str::to_owned);
    Ok(Listing::Arp { iface })
}

const NETSTAT: Grammar = Grammar {
    program: "netstat",
    short: "laentuwxrWp46",
    long: &[],
    usage: "[-ral] [-tuwx] [-enWp]",
};

fn netstat(argv: &[String], context: &Context) -> Parsed {
    let args = NETSTAT.parse(argv, context.libc)?;
    if args.has('r') {
        let family = if args.has('6') {
            Family::V6
        } else {
            Family::V4
        };
        return Ok(Listing::Route {
            family,
            netstat: true,
        });
    }
    let neither = !args.has('t') && !args.has('u');
    Ok(Listing::Netstat(Sockets {
        tcp: args.has('t') || neither,
        udp: args.has('u') || neither,
        listening: args.has('l'),
        all: args.has('a'),
        programs: args.has('p'),
    }))
}

const SS: Grammar = Grammar {
    program: "ss",
    short: "antulpeiOH46",
    long: &[
        ("all", 'a', false),
        ("listening", 'l', false),
        ("numeric", 'n', false),
        ("processes", 'p', false),
        ("tcp", 't', false),
        ("udp", 'u', false),
    ],
    usage: "[-antulp]",
};

fn ss(argv: &[String], context: &Context) -> Parsed {
    let args = SS.parse(argv, context.libc)?;
    let neither = !args.has('t') && !args.has('u');
    Ok(Listing::Ss(Sockets {
        tcp: args.has('t') || neither,
        udp: args.has('u') || neither,
        listening: args.has('l'),
        all: args.has('a'),
        programs: args.has('p'),
    }))
}

#[cfg(test)]
mod tests {
    use core::net::IpAddr;

    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn ip_is_abbreviated() {
        let context = Context::default();
        let addr = |iface: Option<&str>, family, one_line| Listing::IpAddr {
            iface: iface.map(str::to_owned),
            family,
            one_line,
            brief: false,
            iproute2: false,
        };
        for (line, want) in [
            ("a", addr(None, None, false)),
            ("-o -4 addr", addr(None, Some(Family::V4), true)),
            ("addr show eth0", addr(Some("eth0"), None, false)),
            ("address sh dev eth0", addr(Some("eth0"), None, false)),
            (
                "-6 r",
                Listing::IpRoute {
                    family: Family::V6,
                    iproute2: false,
                },
            ),
            (
                "route show table all",
                Listing::IpRoute {
                    family: Family::V4,
                    iproute2: false,
                },
            ),
            (
                "neigh",
                Listing::IpNeigh {
                    iface: None,
                    family: None,
                },
            ),
            (
                "n s dev eth0",
                Listing::IpNeigh {
                    iface: Some("eth0".to_owned()),
                    family: None,
                },
            ),
            (
                "route get 10.0.0.1",
                Listing::IpRouteGet {
                    address: IpAddr::from([10, 0, 0, 1]),
                },
            ),
        ] {
            assert_eq!(ip(&words(line), &context), Ok(want), "{line}");
        }
        for line in ["", "addr eth0", "frob", "-z addr"] {
            assert_eq!(
                ip(&words(line), &context).expect_err(line).code,
                1,
                "{line}"
            );
        }
    }

    #[test]
    fn nothing_is_changed() {
        let context = Context::default();
        let failure = ip(&words("addr add 10.0.0.1/8 dev eth0"), &context).expect_err("refused");
        assert_eq!(
            failure.text,
            "ip: RTNETLINK answers: Operation not permitted\n"
        );
        assert_eq!(failure.code, 2);
        assert!(ifconfig(&words("eth0 down"), &context).is_err());
        assert!(route(&words("add default gw 10.0.0.1"), &context).is_err());
    }

    #[test]
    fn sockets() {
        let context = Context::default();
        let listening = Sockets {
            tcp: true,
            udp: true,
            listening: true,
            ..Sockets::default()
        };
        assert_eq!(
            netstat(&words("-tuln"), &context),
            Ok(Listing::Netstat(listening))
        );
        assert_eq!(ss(&words("-tuln"), &context), Ok(Listing::Ss(listening)));
        assert_eq!(ss(&words("-ln"), &context), Ok(Listing::Ss(listening)));
        let routes = Listing::Route {
            family: Family::V4,
            netstat: true,
        };
        assert_eq!(netstat(&words("-rn"), &context), Ok(routes));
    }
}
