//! `nslookup` of busybox 1.36: it asks A and AAAA (or PTR for an address) of the servers of resolv.conf
//! itself, without the C library, and prints each reply as it comes.
//!
//! All queries go out again after half of the five seconds; then the next server is asked. A SERVFAIL is
//! asked again at once, twice a query. Left out: SOA, TXT, NS and SRV records in replies, `-debug`.

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use dns::message::{Data, id_of, qtype};
use dns::{Flavour, Message, Query, Rcode};
use switch::Time;

use super::args::{Failure, Grammar};
use super::resolve::{Resolve, family_of, preferred, resolv_conf};
use super::{Context, Libc};
use crate::app::{App, SockKind, Step, Sys};
use crate::id::SockId;
use crate::netns::Errno;

const GRAMMAR: Grammar = Grammar {
    program: "nslookup",
    short: "",
    long: &[],
    usage: "[-type=QUERY_TYPE] [-debug] HOST [DNS_SERVER]",
};

const TYPES: [(&str, u16); 10] = [
    ("SOA", qtype::SOA),
    ("NS", qtype::NS),
    ("A", qtype::A),
    ("AAAA", qtype::AAAA),
    ("CNAME", qtype::CNAME),
    ("MX", qtype::MX),
    ("TXT", qtype::TXT),
    ("SRV", qtype::SRV),
    ("PTR", qtype::PTR),
    ("ANY", qtype::ANY),
];

#[derive(Debug)]
struct Nslookup {
    host: String,
    server: Option<String>,
    types: Vec<u16>,
    port: u16,
    retries: u32,
    timeout: Duration,
    libc: Libc,
    state: State,
}

#[derive(Debug)]
enum State {
    Start,
    Resolving(Resolve),
    Asking(Asking),
}

#[derive(Debug)]
struct Asking {
    servers: Vec<(String, IpAddr)>,
    queries: Vec<Ask>,
    current: Option<Current>,
    failed: bool,
}

#[derive(Debug)]
struct Ask {
    name: String,
    bytes: Vec<u8>,
    answered: bool,
}

/// The server whose turn it is.
#[derive(Debug)]
struct Current {
    sock: SockId,
    resend: Time,
    end: Time,
    replies: usize,
    heard: bool,
    retries: usize,
}

pub(super) fn start(argv: &[String], context: &Context) -> Result<Box<dyn App>, Failure> {
    let mut tool = Nslookup {
        host: String::new(),
        server: None,
        types: Vec::new(),
        port: 53,
        retries: 2,
        timeout: Duration::from_secs(5),
        libc: context.libc,
        state: State::Start,
    };
    let split = argv.iter().take_while(|word| word.starts_with('-')).count();
    let (options, operands) = argv.split_at(split);
    for option in options {
        tool.option(option)?;
    }
    match operands {
        [host] => tool.host.clone_from(host),
        [host, server] => {
            tool.host.clone_from(host);
            tool.server = Some(server.clone());
        }
        _ => return Err(GRAMMAR.usage(None)),
    }
    Ok(Box::new(tool))
}

impl Nslookup {
    fn option(&mut self, word: &str) -> Result<(), Failure> {
        let (key, value) = word[1..]
            .split_once('=')
            .unwrap_or_else(|| (&word[1..], ""));
        let number = || {
            let plain = value.bytes().all(|byte| byte.is_ascii_digit());
            let number = value
                .parse::<u32>()
                .ok()
                .filter(|&number| plain && number > 0);
            number.ok_or_else(|| Failure::new("nslookup", format!("invalid number '{value}'")))
        };
        match key {
            "type" | "querytype" | "ty" | "q" | "query" => {
                let known = TYPES
                    .iter()
                    .find(|(name, _)| name.eq_ignore_ascii_case(value));
                let &(_, kind) = known.ok_or_else(|| {
                    Failure::new("nslookup", format!("invalid query type \"{value}\""))
                })?;
                self.types.push(kind);
            }
            "port" => {
                let number = number()?;
                self.port = u16::try_from(number)
                    .map_err(|_| Failure::new("nslookup", "number is not in 1..65535 range"))?;
            }
            "retry" => self.retries = number()?,
            "timeout" | "t" => self.timeout = Duration::from_secs(u64::from(number()?)),
            "debug" => {}
            _ => return Err(GRAMMAR.usage(None)),
        }
        Ok(())
    }

    fn questions(&self, sys: &mut dyn Sys) -> Vec<Ask> {
        let conf = resolv_conf(sys);
        let address = self.host.parse().map(dns::name::reverse).ok();
        let types = match (self.types.as_slice(), &address) {
            ([], Some(_)) => &[qtype::PTR],
            ([], None) => [qtype::A, qtype::AAAA].as_slice(),
            (types, _) => types,
        };
        let mut questions = Vec::new();
        for &kind in types {
            let names = match &address {
                Some(name) if self.types.is_empty() => vec![name.clone()],
                _ if kind == qtype::PTR => vec![self.host.clone()],
                _ => conf.candidates(&self.host, Flavour::BusyboxNslookup),
            };
            for name in names {
                if let Ok(bytes) = Query::build(sys.random() as u16, &name, kind) {
                    let answered = false;
                    questions.push(Ask {
                        name,
                        bytes,
                        answered,
                    });
                }
            }
        }
        questions
    }

    fn begin(&mut self, sys: &mut dyn Sys, servers: Vec<(String, IpAddr)>) {
        let queries = self.questions(sys);
        self.state = State::Asking(Asking {
            servers,
            queries,
            current: None,
            failed: false,
        });
    }
}

impl App for Nslookup {
    fn run(&mut self, sys: &mut dyn Sys) -> Step {
        if let State::Start = self.state {
            match &self.server {
                Some(name) => {
                    let families = dns::Families::Both;
                    self.state = State::Resolving(Resolve::new(sys, name, families, self.libc));
                }
                None => {
                    let list = resolv_conf(sys).nameservers.into_iter();
                    let servers = list.map(|address| (address.to_string(), address)).collect();
                    self.begin(sys, servers);
                }
            }
        }
        if let State::Resolving(resolve) = &mut self.state {
            let Some(result) = resolve.run(sys) else {
                return Step::Wait;
            };
            let name = self.server.clone().unwrap_or_default();
            match result.ok().and_then(|list| preferred(&list)) {
                Some(address) => self.begin(sys, vec![(name, address)]),
                None => {
                    sys.eprint(&format!("nslookup: bad address '{name}'\n"));
                    return Step::Exit(1);
                }
            }
        }
        let (port, retries, timeout, libc) = (self.port, self.retries, self.timeout, self.libc);
        match &mut self.state {
            State::Asking(asking) => asking.run(sys, port, timeout, timeout / retries, libc),
            _ => Step::Wait,
        }
    }

    fn name(&self) -> &str {
        "nslookup"
    }
}

impl Asking {
    fn run(
        &mut self,
        sys: &mut dyn Sys,
        port: u16,
        timeout: Duration,
        retry: Duration,
        libc: Libc,
    ) -> Step {
        loop {
            let Some((name, address)) = self.servers.first().cloned() else {
                sys.print(";; connection timed out; no servers could be reached\n\n");
                return Step::Exit(1);
            };
            let mut current = match self.current.take() {
                Some(current) => current,
                None => match Self::open(sys, SocketAddr::new(address, port), timeout) {
                    Ok(current) => current,
                    Err(errno) => {
                        sys.eprint(&format!(
                            "nslookup: write to '{name}': {}\n",
                            libc.text(errno)
                        ));
                        self.servers.remove(0);
                        continue;
                    }
                },
            };
            match self.turn(sys, &mut current, (&name, address, port), retry, libc) {
                Turn::Wait => {
                    sys.wake_at(current.resend.min(current.end));
                    self.current = Some(current);
                    return Step::Wait;
                }
                Turn::Next => {
                    sys.close(current.sock);
                    self.servers.remove(0);
                }
                Turn::Done => {
                    sys.close(current.sock);
                    return self.finish(sys);
                }
            }
        }
    }

    fn open(sys: &mut dyn Sys, to: SocketAddr, timeout: Duration) -> Result<Current, Errno> {
        let sock = sys.socket(SockKind::Udp, family_of(to.ip()))?;
        if let Err(errno) = sys.connect(sock, to) {
            sys.close(sock);
            return Err(errno);
        }
        let now = sys.now();
        Ok(Current {
            sock,
            resend: now,
            end: now + timeout,
            replies: 0,
            heard: false,
            retries: 0,
        })
    }

    fn turn(
        &mut self,
        sys: &mut dyn Sys,
        current: &mut Current,
        server: (&str, IpAddr, u16),
        retry: Duration,
        libc: Libc,
    ) -> Turn {
        let mut buffer = [0; 4096];
        loop {
            match sys.recv(current.sock, &mut buffer) {
                Ok(length) => self.reply(sys, current, server, &buffer[..length]),
                Err(Errno::WouldBlock) => break,
                Err(errno) => {
                    sys.eprint(&format!("nslookup: read: {}\n", libc.text(errno)));
                    break;
                }
            }
            if self.queries.iter().all(|query| query.answered) {
                return Turn::Done;
            }
        }
        let now = sys.now();
        if now >= current.end {
            return if current.replies > 0 {
                Turn::Done
            } else {
                Turn::Next
            };
        }
        if now >= current.resend {
            for query in self.queries.iter().filter(|query| !query.answered) {
                if let Err(errno) = sys.send(current.sock, &query.bytes) {
                    let (name, ..) = server;
                    sys.eprint(&format!(
                        "nslookup: write to '{name}': {}\n",
                        libc.text(errno)
                    ));
                    return Turn::Next;
                }
            }
            current.resend = now + retry.max(Duration::from_millis(1));
            current.retries = 2 * self.queries.len();
        }
        Turn::Wait
    }

    fn reply(
        &mut self,
        sys: &mut dyn Sys,
        current: &mut Current,
        (name, address, port): (&str, IpAddr, u16),
        bytes: &[u8],
    ) {
        if !current.heard {
            current.heard = true;
            let place = SocketAddr::new(address, port);
            sys.print(&format!("Server:\t\t{name}\nAddress:\t{place}\n\n"));
        }
        let fits = |query: &&mut Ask| !query.answered && id_of(&query.bytes) == id_of(bytes);
        let Some(query) = self.queries.iter_mut().find(fits) else {
            return;
        };
        let rcode = dns::message::rcode_of(bytes);
        if rcode == Some(Rcode::ServFail) && current.retries > 0 {
            current.retries -= 1;
            // A lost retry is like a lost datagram: the timer sends it again.
            let _ = sys.send(current.sock, &query.bytes);
            return;
        }
        query.answered = true;
        current.replies += 1;
        match (rcode, Message::parse(bytes)) {
            (Some(Rcode::NoError), Ok(message)) => sys.print(&text(&message)),
            (Some(Rcode::NoError) | None, _) => {
                sys.print(&format!("*** Can't find {}: Parse error\n", query.name));
            }
            (Some(rcode), _) => {
                sys.print(&format!("** server can't find {}: {rcode}\n", query.name));
                self.failed = true;
            }
        }
        sys.print("\n");
    }

    fn finish(&self, sys: &mut dyn Sys) -> Step {
        let mut failed = self.failed;
        let mut silent = false;
        for query in self.queries.iter().filter(|query| !query.answered) {
            sys.print(&format!("*** Can't find {}: No answer\n", query.name));
            silent = true;
        }
        if silent {
            sys.print("\n");
            failed = true;
        }
        Step::Exit(u8::from(failed))
    }
}

enum Turn {
    Wait,
    Next,
    Done,
}

/// A reply's records, behind the line for those without authority.
fn text(message: &Message) -> String {
    let mut out = String::new();
    if !message.authoritative {
        out.push_str("Non-authoritative answer:\n");
    }
    for record in &message.answers {
        let owner = &record.owner;
        out += &match &record.data {
            Data::Address(address) => format!("Name:\t{owner}\nAddress: {address}\n"),
            Data::Alias(name) => format!("{owner}\tcanonical name = {name}\n"),
            Data::Pointer(name) => format!("{owner}\tname = {name}\n"),
            Data::Exchange(weight, name) => format!("{owner}\tmail exchanger = {weight} {name}\n"),
            Data::Other(_) => continue,
        };
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::fake::Fake;

    const HEAD: &str = "Server:\t\t127.0.0.11\nAddress:\t127.0.0.11:53\n\n";

    #[test]
    fn a_name_without_ipv6() {
        let mut fake = Fake::default();
        fake.names("db", "172.18.0.3");
        assert_eq!(fake.run("nslookup db"), 0);
        let want = "Non-authoritative answer:\nName:\tdb\nAddress: 172.18.0.3\n\nNon-authoritative answer:\n\n";
        assert_eq!(fake.stdout, format!("{HEAD}{want}"));
    }

    #[test]
    fn an_unknown_name() {
        let mut fake = Fake::default();
        assert_eq!(fake.run("nslookup nosuch"), 1);
        let line = "** server can't find nosuch: NXDOMAIN\n\n";
        assert_eq!(fake.stdout, format!("{HEAD}{line}{line}"));
    }

    #[test]
    fn an_address_and_a_type() {
        let mut fake = Fake::default();
        fake.names("db", "172.18.0.3");
        assert_eq!(fake.run("nslookup 172.18.0.3"), 0);
        let line = "Non-authoritative answer:\n3.0.18.172.in-addr.arpa\tname = db.net\n\n";
        assert_eq!(fake.stdout, format!("{HEAD}{line}"));
        let mut fake = Fake::default();
        fake.names("db", "172.18.0.3");
        assert_eq!(fake.run("nslookup -type=a db 10.0.0.53"), 0);
        assert!(
            fake.stdout
                .starts_with("Server:\t\t10.0.0.53\nAddress:\t10.0.0.53:53\n\n")
        );
        assert_eq!(fake.run("nslookup -type=zz db"), 1);
        assert!(
            fake.stderr
                .ends_with("nslookup: invalid query type \"zz\"\n")
        );
    }

    #[test]
    fn silence_takes_five_seconds() {
        let mut fake = Fake::default();
        fake.silence_dns();
        assert_eq!(fake.run("nslookup db"), 1);
        assert_eq!(
            fake.stdout,
            ";; connection timed out; no servers could be reached\n\n"
        );
        assert_eq!(fake.now.as_millis(), 5_000);
    }
}
