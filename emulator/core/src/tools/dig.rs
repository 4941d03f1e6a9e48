//! `dig` 9.18, as netshoot carries it: one question, the full form or `+short`; over TCP when the answer was cut.
//!
//! Left out: the WHEN line (there is no date), `+tcp`, `+trace`, batches, EDNS in the query.

use core::net::IpAddr;
use core::time::Duration;

use dns::message::{Data, Record, qtype};
use switch::Time;

use super::Context;
use super::args::Failure;
use super::resolve::{Answer, Ask, Resolve, Told, preferred, resolv_conf};
use crate::app::{App, Step, Sys};

const TYPES: [(&str, u16); 10] = [
    ("A", qtype::A),
    ("NS", qtype::NS),
    ("CNAME", qtype::CNAME),
    ("SOA", qtype::SOA),
    ("PTR", qtype::PTR),
    ("MX", qtype::MX),
    ("TXT", qtype::TXT),
    ("AAAA", qtype::AAAA),
    ("SRV", qtype::SRV),
    ("ANY", qtype::ANY),
];

#[derive(Debug)]
struct Dig {
    name: String,
    kind: u16,
    server: Option<String>,
    short: bool,
    sections: Sections,
    timeout: Duration,
    tries: u32,
    context: Context,
    started: Time,
    state: State,
}

#[derive(Debug)]
struct Sections {
    cmd: bool,
    comments: bool,
    question: bool,
    answer: bool,
    stats: bool,
}

#[derive(Debug)]
enum State {
    Start,
    Resolving(Resolve),
    Asking(Ask),
}

pub(super) fn start(argv: &[String], context: &Context) -> Result<Box<dyn App>, Failure> {
    let mut dig = Dig {
        name: String::new(),
        kind: qtype::A,
        server: None,
        short: false,
        sections: Sections {
            cmd: true,
            comments: true,
            question: true,
            answer: true,
            stats: true,
        },
        timeout: Duration::from_secs(5),
        tries: 3,
        context: context.clone(),
        started: Time::ZERO,
        state: State::Start,
    };
    let mut words = argv.iter().map(String::as_str);
    while let Some(word) = words.next() {
        if let Some(server) = word.strip_prefix('@') {
            dig.server = Some(server.to_owned());
        } else if let Some(option) = word.strip_prefix('+') {
            dig.option(option)?;
        } else if word == "-x" {
            let address = words.next().unwrap_or_default().parse::<IpAddr>();
            let address = address.map_err(|_| invalid("invalid address for -x"))?;
            (dig.name, dig.kind) = (dns::name::reverse(address), qtype::PTR);
        } else if let Some(kind) = kind_of(word) {
            dig.kind = kind;
        } else if word == "-t" || word == "-q" {
            let value = words.next().unwrap_or_default();
            match (word, kind_of(value)) {
                ("-t", Some(kind)) => dig.kind = kind,
                ("-t", None) => {
                    return Err(invalid(&format!(
                        ";; Warning, ignoring invalid type {value}"
                    )));
                }
                _ => value.clone_into(&mut dig.name),
            }
        } else if matches!(word, "-4" | "IN" | "in") {
            // What is done anyway.
        } else if word.starts_with('-') {
            return Err(invalid(&format!("Invalid option: {word}")));
        } else {
            word.clone_into(&mut dig.name);
        }
    }
    if dig.name.is_empty() {
        ".".clone_into(&mut dig.name);
        dig.kind = qtype::NS;
    }
    Ok(Box::new(dig))
}

fn invalid(text: &str) -> Failure {
    let text = format!("{text}\n");
    Failure { text, code: 1 }
}

fn kind_of(word: &str) -> Option<u16> {
    let known = TYPES
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(word));
    known.map(|&(_, kind)| kind)
}

fn kind_name(kind: u16) -> String {
    let known = TYPES.iter().find(|&&(_, own)| own == kind);
    known.map_or_else(|| format!("TYPE{kind}"), |(name, _)| (*name).to_owned())
}

impl Dig {
    fn option(&mut self, option: &str) -> Result<(), Failure> {
        let (on, name) = match option.strip_prefix("no") {
            Some(name) => (false, name),
            None => (true, option),
        };
        let (name, value) = name.split_once('=').unwrap_or((name, ""));
        let sections = &mut self.sections;
        match name {
            "short" => self.short = on,
            "all" => {
                (sections.comments, sections.question) = (on, on);
                (sections.answer, sections.stats) = (on, on);
                sections.cmd = on;
            }
            "answer" => sections.answer = on,
            "cmd" => sections.cmd = on,
            "comments" => sections.comments = on,
            "question" => sections.question = on,
            "stats" => sections.stats = on,
            "time" | "timeout" => {
                let seconds: u32 = value.parse().unwrap_or(5);
                self.timeout = Duration::from_secs(u64::from(seconds.max(1)));
            }
            "tries" => self.tries = value.parse::<u32>().unwrap_or(3).clamp(1, 10),
            "retry" => self.tries = value.parse::<u32>().unwrap_or(2).clamp(0, 9) + 1,
            // Sections that are empty here, and forms of the query that change nothing.
            "authority" | "additional" | "recurse" | "search" | "edns" | "adflag" | "cookie" => {}
            _ => return Err(invalid(&format!("Invalid option: +{option}"))),
        }
        Ok(())
    }

    fn ask(&mut self, sys: &mut dyn Sys, servers: Vec<IpAddr>) -> Option<()> {
        self.started = sys.now();
        let question = (self.name.as_str(), self.kind);
        let ask = Ask::new(sys, servers, question, self.timeout, self.tries)?;
        self.state = State::Asking(ask);
        Some(())
    }
}

impl App for Dig {
    fn run(&mut self, sys: &mut dyn Sys) -> Step {
        if let State::Start = self.state {
            match self.server.clone() {
                Some(server) => {
                    let both = dns::Families::Both;
                    let resolve = Resolve::new(sys, &server, both, self.context.libc);
                    self.state = State::Resolving(resolve);
                }
                None => {
                    let servers = resolv_conf(sys).nameservers;
                    if self.ask(sys, servers).is_none() {
                        return self.illegal(sys);
                    }
                }
            }
        }
        if let State::Resolving(resolve) = &mut self.state {
            let Some(result) = resolve.run(sys) else {
                return Step::Wait;
            };
            let Some(address) = result.ok().and_then(|list| preferred(&list)) else {
                let server = self.server.as_deref().unwrap_or_default();
                sys.eprint(&format!(
                    "dig: couldn't get address for '{server}': not found\n"
                ));
                return Step::Exit(10);
            };
            if self.ask(sys, vec![address]).is_none() {
                return self.illegal(sys);
            }
        }
        let State::Asking(ask) = &mut self.state else {
            return Step::Wait;
        };
        match ask.run(sys) {
            None => Step::Wait,
            Some(Answer::Silence) => {
                let head = self.head();
                sys.print(&format!("{head};; no servers could be reached\n"));
                Step::Exit(9)
            }
            Some(Answer::Message(told)) => {
                let took = sys.now().since(self.started);
                sys.print(&self.text(&told, took));
                Step::Exit(0)
            }
        }
    }

    fn name(&self) -> &str {
        "dig"
    }
}

impl Dig {
    fn illegal(&self, sys: &mut dyn Sys) -> Step {
        let name = &self.name;
        sys.eprint(&format!("dig: '{name}' is not a legal name\n"));
        Step::Exit(10)
    }

    fn head(&self) -> String {
        if self.short || !self.sections.cmd {
            return String::new();
        }
        let mut words = Vec::new();
        words.extend(self.server.as_ref().map(|server| format!("@{server}")));
        words.push(self.name.clone());
        if self.kind != qtype::A {
            words.push(kind_name(self.kind));
        }
        let line = words.join(" ");
        format!("\n; <<>> DiG 9.18.25 <<>> {line}\n;; global options: +cmd\n")
    }

    fn text(&self, told: &Told, took: Duration) -> String {
        let (message, server, length) = (&told.message, told.server, told.length);
        let mut out = String::new();
        if told.by_stream && self.sections.comments {
            out += ";; Truncated, retrying in TCP mode.\n";
        }
        if self.short {
            let lines = message
                .answers
                .iter()
                .filter_map(|record| data(&record.data));
            out.extend(lines.map(|(_, text)| format!("{text}\n")));
            return out;
        }
        out += &self.head();
        let answers = message.answers.len();
        if self.sections.comments {
            let flags = [
                ("qr", true),
                ("aa", message.authoritative),
                ("tc", message.truncated),
                ("rd", message.recursion_desired),
                ("ra", message.recursion_available),
            ];
            let flags: String = flags
                .iter()
                .filter(|(_, on)| *on)
                .map(|(name, _)| format!(" {name}"))
                .collect();
            out += &format!(
                ";; Got answer:\n;; ->>HEADER<<- opcode: QUERY, status: {}, id: {}\n;; flags:{flags}; \
                 QUERY: 1, ANSWER: {answers}, AUTHORITY: {}, ADDITIONAL: {}\n\n",
                message.rcode,
                message.id,
                message.authorities,
                u8::from(message.edns)
            );
        }
        if self.sections.question
            && let Some((name, kind)) = &message.question
        {
            let owner = column(&format!(";{name}."), 32);
            out += &format!(";; QUESTION SECTION:\n{owner}IN\t{}\n\n", kind_name(*kind));
        }
        if self.sections.answer && answers > 0 {
            if self.sections.comments {
                out += ";; ANSWER SECTION:\n";
            }
            let lines = message.answers.iter().filter_map(line);
            out += &lines.collect::<String>();
            out += "\n";
        }
        if self.sections.stats {
            let millis = took.as_millis();
            let by = if told.by_stream { "TCP" } else { "UDP" };
            out += &format!(
                ";; Query time: {millis} msec\n;; SERVER: {server}#53({server}) ({by})\n;; MSG SIZE  rcvd: {length}\n\n"
            );
        }
        out
    }
}

/// Text and tabs up to a column, at least one tab.
fn column(text: &str, to: usize) -> String {
    let tabs = to.saturating_sub(text.len()).div_ceil(8).max(1);
    format!("{text}{}", "\t".repeat(tabs))
}

fn line(record: &Record) -> Option<String> {
    let (kind, text) = data(&record.data)?;
    let owner = column(&format!("{}.", record.owner), 24);
    Some(format!("{owner}{}\tIN\t{kind}\t{text}\n", record.ttl))
}

fn data(data: &Data) -> Option<(&'static str, String)> {
    Some(match data {
        Data::Address(address @ IpAddr::V4(_)) => ("A", address.to_string()),
        Data::Address(address @ IpAddr::V6(_)) => ("AAAA", address.to_string()),
        Data::Alias(name) => ("CNAME", format!("{name}.")),
        Data::Exchange(weight, name) => ("MX", format!("{weight} {name}.")),
        Data::Pointer(name) => ("PTR", format!("{name}.")),
        Data::Other(_) => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::fake::{Fake, Server};
    use crate::netns::Errno;

    #[test]
    fn forms() {
        let mut fake = Fake::default();
        fake.names("db", "172.18.0.3");
        assert_eq!(fake.run("dig +short db"), 0);
        assert_eq!(fake.stdout, "172.18.0.3\n");
        fake.stdout.clear();
        assert_eq!(fake.run("dig +short -x 172.18.0.3"), 0);
        assert_eq!(fake.stdout, "db.net.\n");
        fake.stdout.clear();
        assert_eq!(fake.run("dig db"), 0);
        assert_eq!(
            fake.stdout,
            "\n; <<>> DiG 9.18.25 <<>> db\n;; global options: +cmd\n;; Got answer:\n\
             ;; ->>HEADER<<- opcode: QUERY, status: NOERROR, id: 9\n\
             ;; flags: qr rd ra; QUERY: 1, ANSWER: 1, AUTHORITY: 0, ADDITIONAL: 0\n\n\
             ;; QUESTION SECTION:\n;db.\t\t\t\tIN\tA\n\n\
             ;; ANSWER SECTION:\ndb.\t\t\t600\tIN\tA\t172.18.0.3\n\n\
             ;; Query time: 0 msec\n;; SERVER: 127.0.0.11#53(127.0.0.11) (UDP)\n;; MSG SIZE  rcvd: 38\n\n"
        );
        fake.stdout.clear();
        assert_eq!(fake.run("dig +noall +answer nosuch"), 0);
        assert_eq!(fake.stdout, "");
    }

    #[test]
    fn an_answer_that_was_cut_is_asked_for_by_tcp() {
        let mut fake = Fake::default();
        for last in 1..=40 {
            fake.names("many", &format!("172.18.1.{last}"));
        }
        fake.serves("127.0.0.11:53", Server::Resolves);
        assert_eq!(fake.run("dig many"), 0);
        let out = &fake.stdout;
        assert!(
            out.starts_with(";; Truncated, retrying in TCP mode.\n\n; <<>> DiG"),
            "{out}"
        );
        assert!(
            out.contains("flags: qr rd ra; QUERY: 1, ANSWER: 40,"),
            "{out}"
        );
        assert!(
            out.contains(";; SERVER: 127.0.0.11#53(127.0.0.11) (TCP)\n;; MSG SIZE  rcvd: 822\n"),
            "{out}"
        );
        // A server that does not speak TCP is asked as often as one that is silent.
        fake.stdout.clear();
        fake.serves("127.0.0.11:53", Server::Fails(Errno::ConnRefused));
        assert_eq!(fake.run("dig +short many"), 9);
        assert_eq!(fake.stdout, ";; no servers could be reached\n");
    }

    #[test]
    fn silence() {
        let mut fake = Fake::default();
        fake.silence_dns();
        assert_eq!(fake.run("dig +short +time=1 +tries=2 db"), 9);
        assert_eq!(fake.stdout, ";; no servers could be reached\n");
        assert_eq!(fake.now.as_millis(), 2_000);
    }
}
