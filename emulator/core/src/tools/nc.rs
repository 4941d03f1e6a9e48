//! `nc` of busybox 1.36 (as nc 1.10): client, `-l -p` listener, `-z`, `-v`, `-w`, `-u`.
//!
//! Standard input is sent whole and then closed; standard output is text. Left out: `-e`, `-o`, `-i`, `-n`
//! and port ranges.

use core::net::SocketAddr;
use core::time::Duration;

use switch::Time;

use super::args::{Failure, Grammar};
use super::resolve::{Resolve, any, family_of, preferred};
use super::{Context, Libc};
use crate::app::{App, Family, SockKind, SockOpt, Step, Sys};
use crate::id::SockId;
use crate::netns::Errno;

const GRAMMAR: Grammar = Grammar {
    program: "nc",
    short: "lp:s:w:uvzn",
    long: &[],
    usage: "[OPTIONS] HOST PORT  - connect\nnc [OPTIONS] -l -p PORT [HOST] [PORT]  - listen",
};

/// How long a UDP port has to stay silent until `-z` calls it open.
const UDP_SCAN: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Nc {
    host: Option<String>,
    port: u16,
    local_port: u16,
    udp: bool,
    verbose: bool,
    scan: bool,
    wait: Option<Duration>,
    stdin: Vec<u8>,
    libc: Libc,
    state: State,
}

#[derive(Debug)]
enum State {
    Start,
    Resolving(Box<Resolve>),
    Connecting {
        sock: SockId,
        to: SocketAddr,
        deadline: Time,
    },
    Listening {
        sock: SockId,
        deadline: Time,
    },
    Talking(Talk),
}

#[derive(Debug)]
struct Talk {
    sock: SockId,
    sent: usize,
    shut: bool,
    deadline: Time,
}

pub(super) fn start(argv: &[String], context: &Context) -> Result<Box<dyn App>, Failure> {
    let args = GRAMMAR.parse(argv, context.libc)?;
    let listen = args.has('l');
    let local_port = args.number('p', 0..=u16::MAX)?.unwrap_or(0);
    let port = |text: &String| {
        let number = text.parse().ok().filter(|&port: &u16| port > 0);
        number.ok_or_else(|| Failure::new("nc", format!("bad port '{text}'")))
    };
    let (host, port) = match (args.operands.as_slice(), listen) {
        ([host, text], false) => (Some(host.clone()), port(text)?),
        ([], true) => (None, 0),
        ([text], true) if local_port == 0 => (None, port(text)?),
        _ => return Err(GRAMMAR.usage(None)),
    };
    let seconds = args.number::<u32>('w', 0..=u32::MAX / 1000)?;
    Ok(Box::new(Nc {
        host,
        // A listener's port is its local one, whichever way it was given.
        local_port: if listen && local_port == 0 {
            port
        } else {
            local_port
        },
        port,
        udp: args.has('u'),
        verbose: args.has('v'),
        scan: args.has('z'),
        wait: seconds.map(|seconds| Duration::from_secs(u64::from(seconds))),
        stdin: context.stdin.clone(),
        libc: context.libc,
        state: State::Start,
    }))
}

impl App for Nc {
    fn run(&mut self, sys: &mut dyn Sys) -> Step {
        if let State::Start = self.state {
            match &self.host {
                Some(host) => {
                    let both = dns::Families::Both;
                    self.state =
                        State::Resolving(Box::new(Resolve::new(sys, host, both, self.libc)));
                }
                None => {
                    if let Err((call, errno)) = self.open_listener(sys) {
                        return self.die(sys, call, errno);
                    }
                }
            }
        }
        if let State::Resolving(resolve) = &mut self.state {
            let Some(result) = resolve.run(sys) else {
                return Step::Wait;
            };
            let host = self.host.clone().unwrap_or_default();
            let Some(address) = result.ok().and_then(|list| preferred(&list)) else {
                sys.eprint(&format!("nc: bad address '{host}'\n"));
                return Step::Exit(1);
            };
            let to = SocketAddr::new(address, self.port);
            if let Err(errno) = self.open(sys, to) {
                return self.refused(sys, to, errno);
            }
        }
        match self.state {
            State::Connecting { .. } => self.connecting(sys),
            State::Listening { .. } => self.listening(sys),
            State::Talking(_) => self.talk(sys),
            State::Start | State::Resolving(_) => Step::Wait,
        }
    }

    fn name(&self) -> &str {
        "nc"
    }
}

impl Nc {
    fn die(&self, sys: &mut dyn Sys, call: &str, errno: Errno) -> Step {
        sys.eprint(&format!("nc: {call}: {}\n", self.libc.text(errno)));
        Step::Exit(1)
    }

    fn kind(&self) -> SockKind {
        if self.udp {
            SockKind::Udp
        } else {
            SockKind::Tcp
        }
    }

    fn deadline(&self, sys: &dyn Sys) -> Time {
        self.wait.map_or(Time::MAX, |wait| sys.now() + wait)
    }

    /// Without `-v` a connect that fails is silent.
    fn refused(&self, sys: &mut dyn Sys, to: SocketAddr, errno: Errno) -> Step {
        if self.verbose {
            let host = self.host.as_deref().unwrap_or_default();
            sys.eprint(&format!("nc: {host} ({to}): {}\n", self.libc.text(errno)));
        }
        Step::Exit(1)
    }

    fn open(&mut self, sys: &mut dyn Sys, to: SocketAddr) -> Result<(), Errno> {
        let family = family_of(to.ip());
        let sock = sys.socket(self.kind(), family)?;
        let mut made = Ok(());
        if self.local_port != 0 {
            made = sys.bind(sock, any(family, self.local_port));
        }
        match made.and_then(|()| sys.connect(sock, to)) {
            Ok(()) | Err(Errno::InProgress) => {
                let deadline = self.deadline(sys);
                self.state = State::Connecting { sock, to, deadline };
                Ok(())
            }
            Err(errno) => {
                sys.close(sock);
                Err(errno)
            }
        }
    }

    fn connecting(&mut self, sys: &mut dyn Sys) -> Step {
        let State::Connecting { sock, to, deadline } = self.state else {
            return Step::Wait;
        };
        if !self.udp {
            if let Some(errno) = sys.take_error(sock) {
                return self.refused(sys, to, errno);
            }
            if !sys.ready(sock).writable {
                return self.wait_until(sys, deadline);
            }
        }
        if self.verbose {
            let host = self.host.as_deref().unwrap_or_default();
            sys.eprint(&format!("{host} ({to}) open\n"));
        }
        if self.scan && !self.udp {
            return Step::Exit(0);
        }
        self.begin(sys, sock);
        self.talk(sys)
    }

    fn begin(&mut self, sys: &mut dyn Sys, sock: SockId) {
        let deadline = if self.scan {
            sys.now() + UDP_SCAN
        } else {
            self.deadline(sys)
        };
        if self.scan {
            // A datagram that a closed port refuses.
            self.stdin = b"X".to_vec();
        }
        self.state = State::Talking(Talk {
            sock,
            sent: 0,
            shut: false,
            deadline,
        });
    }

    fn wait_until(&self, sys: &mut dyn Sys, deadline: Time) -> Step {
        if sys.now() >= deadline {
            if self.verbose {
                sys.eprint("nc: timed out\n");
            }
            return Step::Exit(1);
        }
        sys.wake_at(deadline);
        Step::Wait
    }

    fn open_listener(&mut self, sys: &mut dyn Sys) -> Result<(), (&'static str, Errno)> {
        let (sock, family) = match sys.socket(self.kind(), Family::V6) {
            Ok(sock) => (sock, Family::V6),
            Err(_) => {
                let sock = sys.socket(self.kind(), Family::V4);
                (sock.map_err(|errno| ("socket", errno))?, Family::V4)
            }
        };
        sys.set(sock, SockOpt::ReuseAddr(true))
            .and_then(|()| sys.bind(sock, any(family, self.local_port)))
            .map_err(|errno| ("bind", errno))?;
        if !self.udp {
            sys.listen(sock, 1).map_err(|errno| ("listen", errno))?;
        }
        if self.verbose
            && let Some(own) = sys.local_addr(sock)
        {
            sys.eprint(&format!("listening on {own} ...\n"));
        }
        let deadline = self.deadline(sys);
        self.state = State::Listening { sock, deadline };
        Ok(())
    }

    fn listening(&mut self, sys: &mut dyn Sys) -> Step {
        let State::Listening { sock, deadline } = self.state else {
            return Step::Wait;
        };
        if self.udp {
            // The first datagram's sender becomes the peer.
            let mut buffer = [0; 2048];
            match sys.recv_from(sock, &mut buffer) {
                Ok(received) => {
                    sys.print_bytes(&buffer[..received.len]);
                    if let Err(errno) = sys.connect(sock, received.from) {
                        return self.die(sys, "connect", errno);
                    }
                    self.accepted(sys, sock, received.from)
                }
                Err(_) => self.wait_until(sys, deadline),
            }
        } else {
            match sys.accept(sock) {
                Ok((peer, from)) => {
                    sys.close(sock);
                    self.accepted(sys, peer, from)
                }
                Err(Errno::WouldBlock) => self.wait_until(sys, deadline),
                Err(errno) => self.die(sys, "accept", errno),
            }
        }
    }

    fn accepted(&mut self, sys: &mut dyn Sys, sock: SockId, from: SocketAddr) -> Step {
        if self.verbose
            && let Some(own) = sys.local_addr(sock)
        {
            sys.eprint(&format!("connect to {own} from {from} ({from})\n"));
        }
        self.begin(sys, sock);
        self.talk(sys)
    }

    fn talk(&mut self, sys: &mut dyn Sys) -> Step {
        let State::Talking(talk) = &mut self.state else {
            return Step::Wait;
        };
        while talk.sent < self.stdin.len() {
            // A datagram socket takes its bytes in pieces that a datagram can carry.
            let end = if self.udp {
                self.stdin.len().min(talk.sent + 8192)
            } else {
                self.stdin.len()
            };
            match sys.send(talk.sock, &self.stdin[talk.sent..end]) {
                Ok(count) => talk.sent += count,
                Err(Errno::WouldBlock) => break,
                Err(_) => return Step::Exit(1),
            }
        }
        if talk.sent == self.stdin.len() && !talk.shut && !self.udp {
            talk.shut = true;
            // The other side may be gone already; reading tells.
            let _ = sys.shutdown(talk.sock);
        }
        let mut buffer = [0; 8192];
        loop {
            match sys.recv(talk.sock, &mut buffer) {
                Ok(0) if !self.udp => return Step::Exit(0),
                Ok(count) => {
                    sys.print_bytes(&buffer[..count]);
                    if let Some(wait) = self.wait {
                        talk.deadline = sys.now() + wait;
                    }
                }
                Err(Errno::WouldBlock) => break,
                Err(_) => return Step::Exit(1),
            }
        }
        if talk.deadline <= sys.now() {
            // A scanned UDP port that said nothing counts as open.
            return Step::Exit(0);
        }
        sys.wake_at(talk.deadline);
        Step::Wait
    }
}

#[cfg(test)]
mod tests {
    use super::super::fake::{Fake, Server};
    use crate::netns::Errno;

    fn net(server: Server) -> Fake {
        let mut fake = Fake::default();
        fake.names("db", "172.18.0.3");
        fake.serves("172.18.0.3:80", server);
        fake
    }

    #[test]
    fn clients() {
        let mut fake = net(Server::Answers("hello\n"));
        fake.stdin = "hi\n";
        assert_eq!(fake.run("nc db 80"), 0);
        assert_eq!(
            (fake.stdout.as_str(), fake.stderr.as_str()),
            ("hello\n", "")
        );
        let mut fake = net(Server::Answers(""));
        assert_eq!(fake.run("nc -zv db 80"), 0);
        assert_eq!(fake.stderr, "db (172.18.0.3:80) open\n");
    }

    #[test]
    fn failures() {
        let mut fake = net(Server::Fails(Errno::ConnRefused));
        assert_eq!(fake.run("nc -zv db 80"), 1);
        assert_eq!(fake.stderr, "nc: db (172.18.0.3:80): Connection refused\n");
        let mut fake = net(Server::Fails(Errno::ConnRefused));
        assert_eq!(fake.run("nc -z db 80"), 1);
        assert_eq!(fake.stderr, "");
        let mut fake = Fake::default();
        assert_eq!(fake.run("nc -v -w 3 172.18.0.9 80"), 1);
        assert_eq!(
            (fake.stderr.as_str(), fake.now.as_millis()),
            ("nc: timed out\n", 3_000)
        );
        let mut fake = Fake::default();
        assert_eq!(fake.run("nc nosuch 80"), 1);
        assert_eq!(fake.stderr, "nc: bad address 'nosuch'\n");
        assert_eq!(fake.run("nc -l -p 9"), 1);
        assert!(fake.stderr.ends_with("nc: bind: Address in use\n"));
    }

    #[test]
    fn listeners() {
        let mut fake = Fake::default();
        fake.stdin = "bye\n";
        fake.client(8080, "172.18.0.3:4000", "hi\n");
        assert_eq!(fake.run("nc -l -p 8080"), 0);
        assert_eq!(fake.stdout, "hi\n");
        assert_eq!(
            fake.got,
            [(
                "172.18.0.3:4000".parse().expect("a peer"),
                "bye\n".to_owned()
            )]
        );
        let mut fake = Fake::default();
        fake.udp_client(53, "172.18.0.3:4000", "hi\n");
        assert_eq!(fake.run("nc -u -l -p 53 -w 1"), 0);
        assert_eq!(fake.stdout, "hi\n");
    }
}
