//! `wget` of busybox 1.36 for `http`. What it would save is counted and forgotten.
//!
//! Left out: FTP, TLS, redirects, `-c`, `-Y`, POST from a file.

use core::net::SocketAddr;
use core::time::Duration;

use switch::Time;

use super::args::{Failure, Grammar};
use super::http::{Failed, Fetch, Length, Url, place};
use super::resolve::{Resolve, preferred};
use super::{Context, Libc};
use crate::app::{App, Step, Sys};

const GRAMMAR: Grammar = Grammar {
    program: "wget",
    short: "cqO:o:P:SsT:t:U:Y:",
    long: &[
        ("continue", 'c', false),
        ("header", 'H', true),
        ("no-check-certificate", 'k', false),
        ("output-document", 'O', true),
        ("post-data", 'd', true),
        ("quiet", 'q', false),
        ("server-response", 'S', false),
        ("spider", 's', false),
        ("timeout", 'T', true),
        ("tries", 't', true),
        ("user-agent", 'U', true),
    ],
    usage: "[-cqS] [--spider] [-O FILE] [-o LOGFILE] [--header STR]\n\t[--post-data STR] \
            [-P DIR] [-U AGENT] [-T SEC] URL...",
};

/// Busybox's own patience with a silent server.
const TIMEOUT: Duration = Duration::from_secs(900);

#[derive(Debug)]
struct Wget {
    urls: Vec<Url>,
    request: Request,
    quiet: bool,
    headers_shown: bool,
    spider: bool,
    output: Option<String>,
    timeout: Duration,
    libc: Libc,
    state: State,
}

#[derive(Debug)]
struct Request {
    agent: String,
    headers: Vec<String>,
    post: Option<String>,
}

#[derive(Debug)]
enum State {
    Start,
    Resolving(Resolve),
    Fetching {
        fetch: Fetch,
        to: SocketAddr,
        deadline: Time,
        shown: bool,
    },
}

pub(super) fn start(argv: &[String], context: &Context) -> Result<Box<dyn App>, Failure> {
    let args = GRAMMAR.parse(argv, context.libc)?;
    if args.operands.is_empty() {
        return Err(GRAMMAR.usage(None));
    }
    let url = |text: &String| {
        Url::parse(text)
            .ok_or_else(|| Failure::new("wget", format!("not an http or ftp url: {text}")))
    };
    let seconds = args.number::<u32>('T', 1..=u32::MAX / 1000)?;
    Ok(Box::new(Wget {
        urls: args.operands.iter().map(url).collect::<Result<_, _>>()?,
        request: Request {
            agent: args.value('U').unwrap_or("Wget").to_owned(),
            headers: args.values('H').map(str::to_owned).collect(),
            post: args.value('d').map(str::to_owned),
        },
        quiet: args.has('q'),
        headers_shown: args.has('S'),
        spider: args.has('s'),
        output: args.value('O').map(str::to_owned),
        timeout: seconds.map_or(TIMEOUT, |seconds| Duration::from_secs(u64::from(seconds))),
        libc: context.libc,
        state: State::Start,
    }))
}

impl Request {
    fn bytes(&self, url: &Url, spider: bool) -> Vec<u8> {
        let method = match (spider, &self.post) {
            (true, _) => "HEAD",
            (false, Some(_)) => "POST",
            (false, None) => "GET",
        };
        let mut text = format!(
            "{method} {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: {}\r\nConnection: close\r\n",
            url.path, url.authority, self.agent
        );
        for header in &self.headers {
            text += &format!("{header}\r\n");
        }
        if let Some(post) = &self.post {
            let kind = "application/x-www-form-urlencoded";
            text += &format!("Content-Type: {kind}\r\nContent-Length: {}\r\n", post.len());
        }
        text += "\r\n";
        text += self.post.as_deref().unwrap_or_default();
        text.into_bytes()
    }
}

impl App for Wget {
    fn run(&mut self, sys: &mut dyn Sys) -> Step {
        loop {
            match self.step(sys) {
                Ok(None) => return Step::Wait,
                Ok(Some(())) => {
                    self.urls.remove(0);
                    self.state = State::Start;
                    if self.urls.is_empty() {
                        return Step::Exit(0);
                    }
                }
                Err(text) => {
                    sys.eprint(&format!("wget: {text}\n"));
                    return Step::Exit(1);
                }
            }
        }
    }

    fn name(&self) -> &str {
        "wget"
    }
}

impl Wget {
    fn step(&mut self, sys: &mut dyn Sys) -> Result<Option<()>, String> {
        let url = self.urls[0].clone();
        if let State::Start = self.state {
            let resolve = Resolve::new(sys, &url.host, dns::Families::Both, self.libc);
            self.state = State::Resolving(resolve);
        }
        if let State::Resolving(resolve) = &mut self.state {
            let Some(result) = resolve.run(sys) else {
                return Ok(None);
            };
            let address = result.ok().and_then(|list| preferred(&list));
            let address = address.ok_or_else(|| format!("bad address '{}'", url.host))?;
            let to = place(address, url.port);
            if !self.quiet {
                sys.eprint(&format!("Connecting to {} ({to})\n", url.authority));
            }
            let request = self.request.bytes(&url, self.spider);
            let fetch = Fetch::start(sys, to, request, !self.spider, length)
                .map_err(|errno| self.refused(to, errno))?;
            self.state = State::Fetching {
                fetch,
                to,
                deadline: sys.now() + self.timeout,
                shown: false,
            };
        }
        self.fetch(sys, &url)
    }

    fn refused(&self, to: SocketAddr, errno: crate::netns::Errno) -> String {
        let text = self.libc.text(errno);
        format!("can't connect to remote host ({}): {text}", to.ip())
    }

    fn fetch(&mut self, sys: &mut dyn Sys, url: &Url) -> Result<Option<()>, String> {
        let State::Fetching {
            fetch,
            to,
            deadline,
            shown,
        } = &mut self.state
        else {
            return Ok(None);
        };
        let (to, deadline) = (*to, *deadline);
        let outcome = match fetch.run(sys) {
            // To strtol a size that is no number is 0: the last chunk.
            Some(Err(Failed::BadChunk)) => Some(Ok(fetch.so_far())),
            outcome => outcome,
        };
        if let Some(head) = fetch.head.as_ref().filter(|_| !*shown) {
            *shown = true;
            if self.headers_shown {
                let lines = core::iter::once(&head.status_line).chain(&head.lines);
                let text: String = lines.map(|line| format!("  {line}\n")).collect();
                sys.eprint(&text);
            }
            if !matches!(head.status, 200..=299) {
                let text = format!("server returned error: {}", head.status_line);
                if outcome.is_none() {
                    fetch.abandon(sys);
                }
                return Err(text);
            }
            if let (true, Some(line)) = (head.is_bad, head.lines.last()) {
                let value = line.split_once(':').map_or("", |(_, value)| value.trim());
                return Err(format!("content-length {value} is garbage"));
            }
            self.announce(sys, url, true);
        }
        match outcome {
            Some(Ok(body)) => {
                sys.wake_at(Time::MAX);
                self.deliver(sys, url, &body);
                Ok(Some(()))
            }
            Some(Err(Failed::Connect(errno))) => Err(self.refused(to, errno)),
            Some(Err(failed)) => {
                self.deliver_so_far(sys);
                Err(self.complaint(failed))
            }
            None if sys.now() >= deadline => {
                if let State::Fetching { fetch, .. } = &self.state {
                    fetch.abandon(sys);
                }
                self.deliver_so_far(sys);
                Err("download timed out".to_owned())
            }
            None => {
                sys.wake_at(deadline);
                Ok(None)
            }
        }
    }

    /// What went wrong with an open connection.
    fn complaint(&self, failed: Failed) -> String {
        let head = matches!(&self.state, State::Fetching { fetch, .. } if fetch.head.is_some());
        match failed {
            Failed::TooLong => "a reply is at most 16 MiB here".to_owned(),
            Failed::Short(Some(_)) => "connection closed prematurely".to_owned(),
            Failed::Broken(Some(errno)) if head => format!("read error: {}", self.libc.text(errno)),
            Failed::Connect(_)
            | Failed::Broken(_)
            | Failed::Short(None)
            | Failed::BadChunk
            | Failed::BadLength
            | Failed::Nonsense => "error getting response".to_owned(),
        }
    }

    /// Shows what came of a body that does not become whole.
    fn deliver_so_far(&self, sys: &mut dyn Sys) {
        if let State::Fetching { fetch, .. } = &self.state
            && self.to_stdout()
        {
            sys.print_bytes(&fetch.so_far());
        }
    }

    fn to_stdout(&self) -> bool {
        self.output.as_deref() == Some("-")
    }

    /// The line before or behind the body.
    fn announce(&self, sys: &mut dyn Sys, url: &Url, before: bool) {
        if self.quiet || self.spider {
            return;
        }
        let name = self.output.as_deref().unwrap_or_else(|| url.file_name());
        sys.eprint(&match (self.to_stdout(), before) {
            (true, true) => "writing to stdout\n".to_owned(),
            (true, false) => "written to stdout\n".to_owned(),
            (false, true) => format!("saving to '{name}'\n"),
            (false, false) => format!("'{name}' saved\n"),
        });
    }

    fn deliver(&self, sys: &mut dyn Sys, url: &Url, body: &[u8]) {
        if self.spider {
            if !self.quiet {
                sys.eprint("remote file exists\n");
            }
            return;
        }
        if self.to_stdout() {
            sys.print_bytes(body);
        }
        if !self.quiet {
            let name = self.output.as_deref().unwrap_or_else(|| url.file_name());
            sys.eprint(&progress(name, body.len()));
        }
        self.announce(sys, url, false);
    }
}

/// The progress meter's last state, 80 columns wide.
fn progress(name: &str, size: usize) -> String {
    let size = if size < 100_000 {
        format!("{size:>5} ")
    } else if size < 10 << 20 {
        let tenths = size * 10 / 1024;
        format!("{:>3}.{}k", tenths / 10, tenths % 10)
    } else {
        let tenths = size * 10 / (1 << 20);
        format!("{:>3}.{}M", tenths / 10, tenths % 10)
    };
    let name: String = name.chars().take(20).collect();
    format!("{name:<20} 100% |{}| {size} 0:00:00 ETA\n", "*".repeat(32))
}

/// A `Content-Length` is digits and nothing else (`BB_STRTOOFF`).
fn length(value: &str) -> Length {
    let is_number = value.bytes().all(|digit| digit.is_ascii_digit());
    let length = value.parse().ok().filter(|_| is_number);
    length.map_or(Length::Bad, Length::Is)
}

#[cfg(test)]
mod tests {
    use super::super::fake::{Fake, Server};
    use crate::netns::Errno;

    const PAGE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\nServer: x\r\n\r\nhello\n";
    const SHORT: &str = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello\n";

    fn fake(server: Server) -> Fake {
        let mut fake = Fake::default();
        fake.names("db", "172.18.0.3");
        fake.serves("172.18.0.3:80", server);
        fake
    }

    /// What BusyBox 1.35 makes of a `Content-Length`.
    #[test]
    fn lengths() {
        for value in ["x", "5x", "", "-1", "+5", "5, 5", "99999999999999999999"] {
            let reply =
                format!("HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: {value}\r\nC: d\r\n\r\nhello");
            let mut net = fake(Server::Answers(reply.leak()));
            assert_eq!(net.run("wget -S -O - db"), 1, "{value}");
            let stderr = format!(
                "Connecting to db (172.18.0.3:80)\n  HTTP/1.1 200 OK\n  A: b\n  Content-Length: {value}\nwget: \
                 content-length {value} is garbage\n"
            );
            assert_eq!((net.stdout.as_str(), net.stderr), ("", stderr));
        }
        let reply = "HTTP/1.1 200 OK\r\nContent-Length:  5 \r\n\r\nhello";
        let mut net = fake(Server::Answers(reply));
        assert_eq!(net.run("wget -q -O - db"), 0);
        assert_eq!(net.stdout, "hello");
    }
    const CHUNK: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nhello\n";

    #[test]
    fn to_standard_output() {
        let mut net = fake(Server::Answers(PAGE));
        assert_eq!(net.run("wget -qO- http://db"), 0);
        assert_eq!((net.stdout.as_str(), net.stderr.as_str()), ("hello\n", ""));
        let mut net = fake(Server::Answers(PAGE));
        assert_eq!(net.run("wget -O - db/a.html"), 0);
        assert_eq!(
            net.stderr,
            "Connecting to db (172.18.0.3:80)\nwriting to stdout\n\
             -                    100% |********************************|     6  0:00:00 ETA\n\
             written to stdout\n"
        );
    }

    #[test]
    fn into_a_file_and_only_looking() {
        let mut net = fake(Server::Answers(PAGE));
        assert_eq!(net.run("wget -S db/a.html"), 0);
        assert_eq!(
            net.stderr,
            "Connecting to db (172.18.0.3:80)\n  HTTP/1.1 200 OK\n  Content-Length: 6\n  Server: x\n\
             saving to 'a.html'\n\
             a.html               100% |********************************|     6  0:00:00 ETA\n\
             'a.html' saved\n"
        );
        let mut net = fake(Server::Answers(
            "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n",
        ));
        assert_eq!(net.run("wget --spider db"), 0);
        assert_eq!(
            net.stderr,
            "Connecting to db (172.18.0.3:80)\nremote file exists\n"
        );
    }

    #[test]
    fn failures() {
        let mut net = fake(Server::Fails(Errno::ConnRefused));
        assert_eq!(net.run("wget -qO- db"), 1);
        let text = "wget: can't connect to remote host (172.18.0.3): Connection refused\n";
        assert_eq!(net.stderr, text);
        let mut net = Fake::default();
        assert_eq!(net.run("wget nosuch"), 1);
        assert_eq!(net.stderr, "wget: bad address 'nosuch'\n");
        let mut net = Fake::default();
        assert_eq!(net.run("wget -q -T 2 172.18.0.9"), 1);
        assert_eq!(
            (net.stderr.as_str(), net.now.as_millis()),
            ("wget: download timed out\n", 2_000)
        );
        let mut net = fake(Server::Answers("HTTP/1.1 404 Not Found\r\n\r\n"));
        assert_eq!(net.run("wget -q db/x"), 1);
        assert_eq!(
            net.stderr,
            "wget: server returned error: HTTP/1.1 404 Not Found\n"
        );
        let mut net = fake(Server::Answers(""));
        assert_eq!(net.run("wget -q db"), 1);
        assert_eq!(net.stderr, "wget: error getting response\n");
        let long = "x".repeat(17 << 20);
        let mut net = fake(Server::Answers(long.leak()));
        assert_eq!(net.run("wget -q db"), 1);
        assert_eq!(net.stderr, "wget: a reply is at most 16 MiB here\n");
        for (server, text) in [
            (Server::Answers(SHORT), "connection closed prematurely"),
            (Server::Answers(CHUNK), "error getting response"),
            (
                Server::Stops(SHORT, Some(Errno::ConnReset)),
                "read error: Connection reset by peer",
            ),
            (Server::Stops(SHORT, None), "download timed out"),
        ] {
            let mut net = fake(server);
            assert_eq!(net.run("wget -T 2 -qO- db"), 1, "{text}");
            assert_eq!(
                (net.stdout.as_str(), net.stderr),
                ("hello\n", format!("wget: {text}\n"))
            );
        }
        let mut net = Fake::default();
        net.unroutable("10.0.0.1", Errno::NetUnreach);
        assert_eq!(net.run("wget -q 10.0.0.1"), 1);
        let text = "wget: can't connect to remote host (10.0.0.1): Network unreachable\n";
        assert_eq!(net.stderr, text);
    }
}
