//! `traceroute` of busybox 1.36: UDP datagrams, or echo requests with `-I`, with rising hop limits.
//!
//! Routers are named by a PTR query unless `-n` is given. Left out: source routes, `-v`, `-l`, `-F`, `-g`.

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use dns::message::Data;
use switch::Time;

use super::args::{Failure, Grammar};
use super::resolve::{Answer, Ask, Resolve, families, family_of, preferred};
use super::{Context, Libc};
use crate::app::{App, PathError, SockKind, SockOpt, Step, Sys};
use crate::id::SockId;
use crate::netns::Errno;

const GRAMMAR: Grammar = Grammar {
    program: "traceroute",
    short: "46Inq:m:w:f:p:s:i:t:z:rl",
    long: &[],
    usage: "[-46IFlnr] [-f 1ST_TTL] [-m MAXTTL] [-q PROBES] [-p PORT]\n\t[-t TOS] [-w WAIT_SEC] \
            [-s SRC_IP] [-i IFACE]\n\t[-z PAUSE_MSEC] HOST [BYTES]",
};

#[derive(Debug)]
struct Traceroute {
    host: String,
    families: dns::Families,
    libc: Libc,
    icmp: bool,
    numeric: bool,
    probes: u32,
    first: u8,
    max: u8,
    wait: Duration,
    port: u16,
    size: Option<usize>,
    state: State,
}

#[derive(Debug)]
enum State {
    Start,
    Resolving(Resolve),
    Probing(Trace),
}

#[derive(Debug)]
struct Trace {
    sock: SockId,
    to: IpAddr,
    payload: usize,
    ttl: u8,
    /// Probes of this hop that have ended.
    done: u32,
    sequence: u16,
    sent_at: Option<Time>,
    last: Option<IpAddr>,
    arrived: bool,
    unreachable: u32,
    naming: Option<(Naming, String)>,
}

/// A router whose name is asked.
#[derive(Debug)]
struct Naming {
    ask: Ask,
    address: IpAddr,
}

/// What came back for a probe.
#[derive(Debug)]
struct Reply {
    from: IpAddr,
    arrived: bool,
    mark: &'static str,
}

pub(super) fn start(argv: &[String], context: &Context) -> Result<Box<dyn App>, Failure> {
    start_as(argv, context, false)
}

pub(super) fn start_v6(argv: &[String], context: &Context) -> Result<Box<dyn App>, Failure> {
    start_as(argv, context, true)
}

fn start_as(argv: &[String], context: &Context, v6: bool) -> Result<Box<dyn App>, Failure> {
    let args = GRAMMAR.parse(argv, context.libc)?;
    let (host, size) = match args.operands.as_slice() {
        [host] => (host, None),
        [host, size] => {
            let number = size.parse::<usize>().ok().filter(|&size| size <= 32_768);
            let invalid = || Failure::new("traceroute", format!("invalid number '{size}'"));
            (host, Some(number.ok_or_else(invalid)?))
        }
        _ => return Err(GRAMMAR.usage(None)),
    };
    let max = args.number('m', 1..=255)?.unwrap_or(30);
    let first = args.number('f', 1..=max)?.unwrap_or(1);
    let seconds = args.number::<u32>('w', 1..=86_400)?.unwrap_or(5);
    Ok(Box::new(Traceroute {
        host: host.clone(),
        families: families(args.has('4'), args.has('6') || v6),
        libc: context.libc,
        icmp: args.has('I'),
        numeric: args.has('n'),
        probes: args.number('q', 1..=100)?.unwrap_or(3),
        first,
        max,
        wait: Duration::from_secs(u64::from(seconds)),
        port: args.number('p', 1..=65_000)?.unwrap_or(33_434),
        size,
        state: State::Start,
    }))
}

impl App for Traceroute {
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
                sys.eprint(&format!("traceroute: bad address '{}'\n", self.host));
                return Step::Exit(1);
            };
            match self.open(sys, to) {
                Ok(trace) => self.state = State::Probing(trace),
                Err(errno) => return self.die(sys, "socket", errno),
            }
        }
        self.go_on(sys)
    }

    fn name(&self) -> &str {
        "traceroute"
    }
}

impl Traceroute {
    fn die(&self, sys: &mut dyn Sys, call: &str, errno: Errno) -> Step {
        let text = self.libc.text(errno);
        sys.eprint(&format!("traceroute: {call}: {text}\n"));
        Step::Exit(1)
    }

    fn open(&self, sys: &mut dyn Sys, to: IpAddr) -> Result<Trace, Errno> {
        let kind = if self.icmp {
            SockKind::Ping
        } else {
            SockKind::Udp
        };
        let sock = sys.socket(kind, family_of(to))?;
        sys.set(sock, SockOpt::RecvErr(true))?;
        // 20 or 40 bytes of IP, 8 of UDP or ICMP, and what the tool keeps in them.
        let (headers, default) = if to.is_ipv4() { (28, 46) } else { (48, 72) };
        let size = self.size.map_or(default, |size| size.max(headers));
        sys.print(&format!(
            "traceroute to {} ({to}), {} hops max, {size} byte packets\n",
            self.host, self.max
        ));
        Ok(Trace {
            sock,
            to,
            payload: size - headers,
            ttl: self.first,
            done: 0,
            sequence: 0,
            sent_at: None,
            last: None,
            arrived: false,
            unreachable: 0,
            naming: None,
        })
    }

    fn go_on(&mut self, sys: &mut dyn Sys) -> Step {
        let State::Probing(trace) = &mut self.state else {
            return Step::Wait;
        };
        loop {
            if let Some((naming, behind)) = &mut trace.naming {
                let Some(answer) = naming.ask.run(sys) else {
                    return Step::Wait;
                };
                let name = name_in(&answer).unwrap_or_else(|| naming.address.to_string());
                sys.print(&format!("  {name} ({}){behind}", naming.address));
                trace.naming = None;
                trace.done += 1;
            }
            if trace.done == self.probes {
                sys.print("\n");
                let enough = trace.unreachable > 0 && trace.unreachable + 1 >= self.probes;
                if trace.arrived || enough || trace.ttl == self.max {
                    return Step::Exit(0);
                }
                trace.ttl += 1;
                (trace.done, trace.last, trace.unreachable) = (0, None, 0);
            }
            let Some(sent_at) = trace.sent_at else {
                if trace.done == 0 {
                    sys.print(&format!("{:>2}", trace.ttl));
                }
                if let Err(errno) = trace.send(sys, self.port, self.icmp) {
                    sys.print("\n");
                    return self.die(sys, "sendto", errno);
                }
                trace.sent_at = Some(sys.now());
                continue;
            };
            if let Some(reply) = trace.receive(sys, self.port, self.icmp) {
                trace.sent_at = None;
                let took = sys.now().since(sent_at);
                trace.print(sys, &reply, took, self.numeric);
            } else if sys.now() >= sent_at + self.wait {
                trace.sent_at = None;
                sys.print("  *");
                trace.done += 1;
            } else {
                sys.wake_at(sent_at + self.wait);
                return Step::Wait;
            }
        }
    }
}

fn name_in(answer: &Answer) -> Option<String> {
    let Answer::Message(told) = answer else {
        return None;
    };
    told.message
        .answers
        .iter()
        .find_map(|record| match &record.data {
            Data::Pointer(name) => Some(name.clone()),
            _ => None,
        })
}

impl Trace {
    /// Ports count up from the first one; echo requests count their sequence numbers.
    fn target(&self, port: u16, icmp: bool) -> SocketAddr {
        let port = if icmp {
            self.sequence
        } else {
            port.wrapping_add(self.sequence)
        };
        SocketAddr::new(self.to, port)
    }

    fn send(&mut self, sys: &mut dyn Sys, port: u16, icmp: bool) -> Result<(), Errno> {
        self.sequence = self.sequence.wrapping_add(1);
        sys.set(self.sock, SockOpt::HopLimit(self.ttl))?;
        let payload = vec![0; self.payload];
        let target = self.target(port, icmp);
        match sys.send_to(self.sock, &payload, target) {
            // An older error of this socket is told first; then the datagram goes out.
            Err(Errno::ConnRefused | Errno::HostUnreach) => {
                sys.send_to(self.sock, &payload, target)?;
                Ok(())
            }
            // What the queue does not take is lost, as on any hop.
            Ok(_) | Err(Errno::WouldBlock | Errno::NoBufs) => Ok(()),
            Err(errno) => Err(errno),
        }
    }

    /// The reply to the probe that is out; replies to older ones are dropped.
    fn receive(&self, sys: &mut dyn Sys, port: u16, icmp: bool) -> Option<Reply> {
        let target = self.target(port, icmp);
        while let Some(error) = sys.recv_error(self.sock) {
            if error.to.port() == target.port() {
                return Some(reply_of(&error, self.to));
            }
        }
        let mut buffer = vec![0; self.payload + 64];
        for _ in 0..64 {
            match sys.recv_from(self.sock, &mut buffer) {
                Ok(received) if received.from == target => {
                    let (from, arrived, mark) = (received.from.ip(), true, "");
                    return Some(Reply {
                        from,
                        arrived,
                        mark,
                    });
                }
                Err(Errno::WouldBlock) => break,
                Ok(_) | Err(_) => {}
            }
        }
        None
    }

    fn print(&mut self, sys: &mut dyn Sys, reply: &Reply, took: Duration, numeric: bool) {
        self.arrived |= reply.arrived;
        self.unreachable += u32::from(!reply.mark.is_empty());
        let micros = took.as_micros();
        let behind = format!("  {}.{:03} ms{}", micros / 1000, micros % 1000, reply.mark);
        let known = self.last.replace(reply.from) == Some(reply.from);
        let address = reply.from;
        if known {
            sys.print(&behind);
        } else if numeric {
            sys.print(&format!("  {address}{behind}"));
        } else if let Some(ask) = Ask::reverse(sys, address) {
            self.naming = Some((Naming { ask, address }, behind));
            return;
        } else {
            sys.print(&format!("  {address} ({address}){behind}"));
        }
        self.done += 1;
    }
}

/// What an ICMP error says of a probe.
fn reply_of(error: &PathError, to: IpAddr) -> Reply {
    let v4 = to.is_ipv4();
    let mark = match (v4, error.icmp) {
        (true, (3, 0 | 6)) => " !N",
        (true, (3, 1 | 7)) => " !H",
        (true, (3, 2)) => " !P",
        (true, (3, 4)) => " !F",
        (true, (3, 9 | 10 | 13)) | (false, (1, 1)) => " !X",
        (false, (1, 0)) => " !N",
        (false, (1, 3)) => " !H",
        _ => "",
    };
    let closed_port = error.icmp == if v4 { (3, 3) } else { (1, 4) };
    Reply {
        from: error.from,
        arrived: closed_port,
        mark,
    }
}

#[cfg(test)]
mod tests {
    use super::super::fake::Fake;
    use core::net::IpAddr;

    fn net() -> Fake {
        let mut fake = Fake::default();
        fake.hops = vec![
            IpAddr::from([172, 18, 0, 1]),
            IpAddr::from([198, 51, 100, 7]),
        ];
        fake.names("up", "198.51.100.7");
        fake
    }

    #[test]
    fn numbers_and_names() {
        let mut fake = net();
        assert_eq!(fake.run("traceroute -n 198.51.100.7"), 0);
        let want = "traceroute to 198.51.100.7 (198.51.100.7), 30 hops max, 46 byte packets\n \
                    1  172.18.0.1  0.500 ms  0.500 ms  0.500 ms\n \
                    2  198.51.100.7  0.500 ms  0.500 ms  0.500 ms\n";
        assert_eq!(fake.stdout, want);
        let mut fake = net();
        assert_eq!(fake.run("traceroute -q 1 -I up"), 0);
        let want = "traceroute to up (198.51.100.7), 30 hops max, 46 byte packets\n \
                    1  172.18.0.1 (172.18.0.1)  0.500 ms\n \
                    2  up.net (198.51.100.7)  0.500 ms\n";
        assert_eq!(fake.stdout, want);
    }

    #[test]
    fn silence() {
        let mut fake = Fake::default();
        assert_eq!(fake.run("traceroute -m 2 -q 2 -w 1 10.0.0.1"), 0);
        let want =
            "traceroute to 10.0.0.1 (10.0.0.1), 2 hops max, 46 byte packets\n 1  *  *\n 2  *  *\n";
        assert_eq!(fake.stdout, want);
        assert_eq!(fake.now.as_millis(), 4_000);
        assert_eq!(fake.run("traceroute nosuch"), 1);
        assert_eq!(fake.stderr, "traceroute: bad address 'nosuch'\n");
    }
}
