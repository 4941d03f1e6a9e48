//! `ping` and `ping6` of busybox 1.36, on a ping socket.
//!
//! A reply is timed by the stamp of its own payload, so nothing is kept per request. Left out: `-A`, `-p`,
//! and `-I` with an interface's name (an address is taken).

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use switch::Time;

use super::args::{Failure, Grammar};
use super::resolve::{Resolve, families, family_of, preferred};
use super::{Context, Libc};
use crate::app::{App, SockKind, SockOpt, Step, Sys};
use crate::id::SockId;
use crate::netns::Errno;

const GRAMMAR: Grammar = Grammar {
    program: "ping",
    short: "46c:s:i:t:I:W:w:q",
    long: &[],
    usage: "[OPTIONS] HOST",
};

/// How many sequence numbers are remembered to tell duplicates.
const SEEN: usize = 1024;
/// How many errors of the socket are passed over in one run.
const ERRORS_MAX: usize = 16;
/// The most that one datagram can carry.
const SIZE_MAX: usize = 65_507 - 8;

#[derive(Debug)]
struct Ping {
    host: String,
    families: dns::Families,
    libc: Libc,
    count: Option<u64>,
    size: usize,
    interval: Duration,
    wait: Duration,
    limit: Option<Duration>,
    ttl: Option<u8>,
    source: Option<IpAddr>,
    quiet: bool,
    state: State,
}

#[derive(Debug)]
enum State {
    Start,
    Resolving(Resolve),
    Running(Run),
}

#[derive(Debug)]
struct Run {
    sock: SockId,
    to: IpAddr,
    next_send: Option<Time>,
    end: Option<Time>,
    sent: u64,
    received: u64,
    repeats: u64,
    min: u32,
    max: u32,
    sum: u64,
    seen: [u64; SEEN / 64],
}

pub(super) fn start(argv: &[String], context: &Context) -> Result<Box<dyn App>, Failure> {
    start_as(argv, context, false)
}

pub(super) fn start_v6(argv: &[String], context: &Context) -> Result<Box<dyn App>, Failure> {
    start_as(argv, context, true)
}

fn start_as(argv: &[String], context: &Context, v6: bool) -> Result<Box<dyn App>, Failure> {
    let args = GRAMMAR.parse(argv, context.libc)?;
    let [host] = args.operands.as_slice() else {
        return Err(GRAMMAR.usage(None));
    };
    let source = match args.value('I') {
        None => None,
        Some(text) => Some(
            text.parse()
                .map_err(|_| Failure::new("ping", format!("bad address '{text}'")))?,
        ),
    };
    let seconds = |option| args.number::<u32>(option, 0..=u32::MAX / 1000);
    Ok(Box::new(Ping {
        host: host.clone(),
        families: families(args.has('4'), args.has('6') || v6),
        libc: context.libc,
        count: args.number('c', 0..=u64::MAX)?.filter(|&count| count > 0),
        size: args.number('s', 0..=SIZE_MAX)?.unwrap_or(56),
        interval: args.seconds('i')?.unwrap_or(Duration::from_secs(1)),
        wait: Duration::from_secs(u64::from(seconds('W')?.unwrap_or(10))),
        limit: seconds('w')?.map(|limit| Duration::from_secs(u64::from(limit))),
        ttl: args.number('t', 1..=255)?,
        source,
        quiet: args.has('q'),
        state: State::Start,
    }))
}

impl App for Ping {
    fn run(&mut self, sys: &mut dyn Sys) -> Step {
        if let State::Start = self.state {
            let resolve = Resolve::new(sys, &self.host, self.families, self.libc);
            self.state = State::Resolving(resolve);
        }
        if let State::Resolving(resolve) = &mut self.state {
            let Some(result) = resolve.run(sys) else {
                return Step::Wait;
            };
            let Some(to) = result.ok().and_then(|list| preferred(&list)) else {
                sys.eprint(&format!("ping: bad address '{}'\n", self.host));
                return Step::Exit(1);
            };
            match self.open(sys, to) {
                Ok(run) => self.state = State::Running(run),
                Err((call, errno)) => return self.die(sys, call, errno),
            }
        }
        self.go_on(sys)
    }

    fn name(&self) -> &str {
        "ping"
    }
}

impl Ping {
    fn die(&self, sys: &mut dyn Sys, call: &str, errno: Errno) -> Step {
        sys.eprint(&format!("ping: {call}: {}\n", self.libc.text(errno)));
        Step::Exit(1)
    }

    fn open(&self, sys: &mut dyn Sys, to: IpAddr) -> Result<Run, (&'static str, Errno)> {
        let sock = sys
            .socket(SockKind::Ping, family_of(to))
            .map_err(|errno| ("can't create raw socket", errno))?;
        if let Some(ttl) = self.ttl {
            sys.set(sock, SockOpt::HopLimit(ttl))
                .map_err(|errno| ("setsockopt", errno))?;
        }
        // An option that a namespace may refuse without harm.
        let _ = sys.set(sock, SockOpt::Broadcast(true));
        if let Some(source) = self.source {
            sys.bind(sock, SocketAddr::new(source, 0))
                .map_err(|errno| ("bind", errno))?;
        }
        let from = self
            .source
            .map_or_else(String::new, |source| format!(" from {source}"));
        sys.print(&format!(
            "PING {} ({to}){from}: {} data bytes\n",
            self.host, self.size
        ));
        let now = sys.now();
        Ok(Run {
            sock,
            to,
            next_send: Some(now),
            end: self.limit.map(|limit| now + limit),
            sent: 0,
            received: 0,
            repeats: 0,
            min: u32::MAX,
            max: 0,
            sum: 0,
            seen: [0; SEEN / 64],
        })
    }

    fn go_on(&mut self, sys: &mut dyn Sys) -> Step {
        let State::Running(run) = &mut self.state else {
            return Step::Wait;
        };
        run.receive(sys, self.size, self.quiet);
        let now = sys.now();
        let complete = self.count.is_some_and(|count| run.received >= count);
        if complete || run.end.is_some_and(|end| end <= now) {
            run.statistics(sys, &self.host);
            let short =
                self.limit.is_some() && self.count.is_some_and(|count| run.received < count);
            return Step::Exit(u8::from(run.received == 0 || short));
        }
        while run.next_send.is_some_and(|at| at <= now) {
            if let Err(errno) = run.send(sys, self.size) {
                return self.die(sys, "sendto", errno);
            }
            if self.count.is_none_or(|count| run.sent < count) {
                // An interval of nothing would never end: at least a millisecond.
                let interval = self.interval.max(Duration::from_millis(1));
                run.next_send = run.next_send.map(|at| at + interval);
            } else {
                run.next_send = None;
                let last = now + run.patience(self.wait);
                run.end = Some(run.end.map_or(last, |end| end.min(last)));
            }
        }
        let wake = [run.next_send, run.end].into_iter().flatten().min();
        sys.wake_at(wake.unwrap_or(Time::MAX));
        Step::Wait
    }
}

impl Run {
    /// How long to wait for what is still out: two round trips, or the option if none is known.
    fn patience(&self, wait: Duration) -> Duration {
        if self.received == 0 {
            return wait;
        }
        Duration::from_secs(u64::from(self.max / (512 * 1024)).max(1))
    }

    fn send(&mut self, sys: &mut dyn Sys, size: usize) -> Result<(), Errno> {
        let mut payload = vec![0; size];
        let stamp = (sys.now().as_micros() as u32).to_be_bytes();
        if let Some(head) = payload.first_chunk_mut() {
            *head = stamp;
        }
        let sequence = self.sent as u16;
        self.sent += 1;
        let bit = usize::from(sequence) % SEEN;
        self.seen[bit / 64] &= !(1 << (bit % 64));
        match sys.send_to(self.sock, &payload, SocketAddr::new(self.to, sequence)) {
            // What the queue does not take is lost like any other request.
            Ok(_) | Err(Errno::WouldBlock | Errno::NoBufs) => Ok(()),
            Err(errno) => Err(errno),
        }
    }

    fn receive(&mut self, sys: &mut dyn Sys, size: usize, quiet: bool) {
        let mut buffer = vec![0; size + 64];
        let mut errors = 0;
        loop {
            let received = match sys.recv_from(self.sock, &mut buffer) {
                Ok(received) => received,
                Err(Errno::WouldBlock) => return,
                // An error from the path: busybox's own socket hears of none.
                Err(_) if errors < ERRORS_MAX => {
                    errors += 1;
                    continue;
                }
                Err(_) => return,
            };
            let sequence = received.from.port();
            let bit = usize::from(sequence) % SEEN;
            let twice = self.seen[bit / 64] >> (bit % 64) & 1 == 1;
            self.seen[bit / 64] |= 1 << (bit % 64);
            if twice {
                self.repeats += 1;
            } else {
                self.received += 1;
            }
            let payload = &buffer[..received.len.min(buffer.len())];
            let mut line = format!(
                "{} bytes from {}: seq={sequence} ttl={}",
                payload.len() + 8,
                received.from.ip(),
                received.hop_limit
            );
            if let Some(stamp) = payload.first_chunk() {
                let now = sys.now().as_micros() as u32;
                let took = now.wrapping_sub(u32::from_be_bytes(*stamp));
                self.min = self.min.min(took);
                self.max = self.max.max(took);
                self.sum += u64::from(took);
                line += &format!(" time={} ms", millis(took));
            }
            if !quiet {
                let repeat = if twice { " (DUP!)" } else { "" };
                sys.print(&format!("{line}{repeat}\n"));
            }
        }
    }

    fn statistics(&self, sys: &mut dyn Sys, host: &str) {
        let lost = self.sent.saturating_sub(self.received) * 100;
        let mut text = format!(
            "\n--- {host} ping statistics ---\n{} packets transmitted, {} packets received, ",
            self.sent, self.received
        );
        if self.repeats > 0 {
            text += &format!("{} duplicates, ", self.repeats);
        }
        text += &format!(
            "{}% packet loss\n",
            lost.checked_div(self.sent).unwrap_or(0)
        );
        let timed = self.received + self.repeats;
        if self.min != u32::MAX && timed > 0 {
            let average = u32::try_from(self.sum / timed).unwrap_or(u32::MAX);
            let [min, average, max] = [self.min, average, self.max].map(millis);
            text += &format!("round-trip min/avg/max = {min}/{average}/{max} ms\n");
        }
        sys.print(&text);
    }
}

/// Microseconds as busybox prints milliseconds.
fn millis(micros: u32) -> String {
    format!("{}.{:03}", micros / 1000, micros % 1000)
}

#[cfg(test)]
mod tests {
    use super::super::fake::Fake;
    use super::*;

    #[test]
    fn answers_are_printed_as_busybox_prints_them() {
        let mut fake = Fake::default();
        fake.names("db", "172.18.0.3");
        fake.pings("172.18.0.3", Duration::from_micros(123));
        assert_eq!(fake.run("ping -c 2 db"), 0);
        assert_eq!(
            fake.stdout,
            "PING db (172.18.0.3): 56 data bytes\n\
             64 bytes from 172.18.0.3: seq=0 ttl=64 time=0.123 ms\n\
             64 bytes from 172.18.0.3: seq=1 ttl=64 time=0.123 ms\n\
             \n--- db ping statistics ---\n\
             2 packets transmitted, 2 packets received, 0% packet loss\n\
             round-trip min/avg/max = 0.123/0.123/0.123 ms\n"
        );
        assert_eq!(fake.now, Time::from_secs(1) + Duration::from_micros(123));
    }

    #[test]
    fn silence_is_counted() {
        let mut fake = Fake::default();
        assert_eq!(fake.run("ping -c1 -W1 172.18.0.2"), 1);
        assert_eq!(
            fake.stdout,
            "PING 172.18.0.2 (172.18.0.2): 56 data bytes\n\
             \n--- 172.18.0.2 ping statistics ---\n\
             1 packets transmitted, 0 packets received, 100% packet loss\n"
        );
        assert_eq!(fake.now, Time::from_secs(1));
        let mut fake = Fake::default();
        assert_eq!(fake.run("ping -w 3 172.18.0.2"), 1);
        assert!(
            fake.stdout.contains("\n3 packets transmitted"),
            "{}",
            fake.stdout
        );
    }

    #[test]
    fn failures() {
        let mut fake = Fake::default();
        assert_eq!(fake.run("ping b1"), 1);
        assert_eq!(
            (fake.stdout.as_str(), fake.stderr.as_str()),
            ("", "ping: bad address 'b1'\n")
        );
        let mut fake = Fake::default();
        fake.unroutable("10.0.0.1", Errno::NetUnreach);
        assert_eq!(fake.run("ping 10.0.0.1"), 1);
        assert_eq!(fake.stderr, "ping: sendto: Network unreachable\n");
        let mut fake = Fake::default();
        assert_eq!(fake.run("ping -c x db"), 1);
        assert_eq!(fake.stderr, "ping: invalid number 'x'\n");
        assert_eq!(fake.run("ping"), 1);
    }

    #[test]
    fn options() {
        let mut fake = Fake::default();
        fake.pings("fd00::3", Duration::from_millis(2));
        assert_eq!(fake.run("ping -6 -q -c 3 -i 0.2 -s 0 fd00::3"), 0);
        assert_eq!(
            fake.stdout,
            "PING fd00::3 (fd00::3): 0 data bytes\n\
             \n--- fd00::3 ping statistics ---\n\
             3 packets transmitted, 3 packets received, 0% packet loss\n"
        );
        assert_eq!(fake.now.as_millis(), 402);
    }
}
