//! `curl` 8 for `http`: `-s -S -o -O -I -i -f -m -w -X -H -d -A -L -k -4 -6 --connect-timeout`.
//!
//! Left out: TLS, redirects (a `-L` is accepted), the progress meter, `-v`, saving to disk.

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use switch::Time;

use super::args::{Args, Failure, Grammar};
use super::http::{Failed, Fetch, Length, Url, place};
use super::resolve::{Resolve, families};
use super::{Context, Libc};
use crate::app::{App, Step, Sys};

const GRAMMAR: Grammar = Grammar {
    program: "curl",
    short: "46A:d:fH:IikLm:Oo:SsvX:w:",
    long: &[
        ("connect-timeout", 'C', true),
        ("data", 'd', true),
        ("fail", 'f', false),
        ("head", 'I', false),
        ("header", 'H', true),
        ("include", 'i', false),
        ("insecure", 'k', false),
        ("ipv4", '4', false),
        ("ipv6", '6', false),
        ("location", 'L', false),
        ("max-time", 'm', true),
        ("output", 'o', true),
        ("remote-name", 'O', false),
        ("request", 'X', true),
        ("show-error", 'S', false),
        ("silent", 's', false),
        ("user-agent", 'A', true),
        ("write-out", 'w', true),
    ],
    usage: "[options...] <url>",
};

/// curl's own limit for a connection to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(300);

#[derive(Debug)]
struct Curl {
    url: Url,
    args: Args,
    libc: Libc,
    connect_timeout: Duration,
    max_time: Option<Duration>,
    started: Option<Time>,
    connect_started: Time,
    candidates: Vec<IpAddr>,
    remote: Option<SocketAddr>,
    state: State,
}

#[derive(Debug)]
enum State {
    Start,
    Resolving(Resolve),
    Fetching(Fetch),
}

/// How it ends: curl's error number and text.
type Ended = Result<(), (u8, String)>;

pub(super) fn start(argv: &[String], context: &Context) -> Result<Box<dyn App>, Failure> {
    let args = GRAMMAR.parse(argv, context.libc).map_err(|failure| {
        let complaint = failure.text.lines().next().unwrap_or_default();
        let option = argv.iter().find(|word| word.starts_with('-'));
        let option = option.map_or("", String::as_str);
        let text = if complaint.contains("requires an argument") {
            format!("curl: option {option}: requires parameter\n")
        } else {
            format!("curl: option {option}: is unknown\n")
        };
        let code = 2;
        let text =
            format!("{text}curl: try 'curl --help' or 'curl --manual' for more information\n");
        Failure { text, code }
    })?;
    let [text] = args.operands.as_slice() else {
        let text = "curl: (2) no URL specified\n".to_owned();
        return Err(Failure { text, code: 2 });
    };
    let url = Url::parse(text).ok_or_else(|| {
        let scheme = text.split_once("://").map(|(scheme, _)| scheme);
        let (code, text) = match scheme {
            Some(scheme) if !scheme.eq_ignore_ascii_case("http") => {
                (1, format!("Protocol \"{scheme}\" not supported"))
            }
            _ => (
                3,
                "URL rejected: Malformed input to a URL function".to_owned(),
            ),
        };
        let text = format!("curl: ({code}) {text}\n");
        Failure { text, code }
    })?;
    Ok(Box::new(Curl {
        connect_timeout: args.seconds('C')?.unwrap_or(CONNECT_TIMEOUT),
        max_time: args.seconds('m')?.filter(|limit| !limit.is_zero()),
        url,
        args,
        libc: context.libc,
        started: None,
        connect_started: Time::ZERO,
        candidates: Vec::new(),
        remote: None,
        state: State::Start,
    }))
}

impl App for Curl {
    fn run(&mut self, sys: &mut dyn Sys) -> Step {
        let started = *self.started.get_or_insert_with(|| sys.now());
        let Some(ended) = self.step(sys, started) else {
            let deadline = self.deadline(started).unwrap_or(Time::MAX);
            if let State::Fetching(_) = self.state {
                sys.wake_at(deadline);
            }
            return Step::Wait;
        };
        let code = ended.as_ref().map_or_else(|(code, _)| *code, |()| 0);
        if let Err((code, text)) = ended
            && (!self.args.has('s') || self.args.has('S'))
        {
            sys.eprint(&format!("curl: ({code}) {text}\n"));
        }
        self.write_out(sys, started);
        Step::Exit(code)
    }

    fn name(&self) -> &str {
        "curl"
    }
}

impl Curl {
    /// When patience ends: with the whole, or with the connection.
    fn deadline(&self, started: Time) -> Option<Time> {
        let whole = self.max_time.map(|limit| started + limit);
        match &self.state {
            State::Fetching(fetch) if !fetch.connected => {
                let connect = started + self.connect_timeout;
                Some(whole.map_or(connect, |whole| whole.min(connect)))
            }
            _ => whole,
        }
    }

    fn step(&mut self, sys: &mut dyn Sys, started: Time) -> Option<Ended> {
        if let State::Start = self.state {
            let wanted = families(self.args.has('4'), self.args.has('6'));
            let resolve = Resolve::new(sys, &self.url.host, wanted, self.libc);
            self.state = State::Resolving(resolve);
        }
        if let State::Resolving(resolve) = &mut self.state {
            match resolve.run(sys)? {
                Ok(list) => self.candidates = list,
                Err(_) => {
                    return Some(Err((
                        6,
                        format!("Could not resolve host: {}", self.url.host),
                    )));
                }
            }
            self.connect_started = sys.now();
            self.connect(sys);
        }
        loop {
            let State::Fetching(fetch) = &mut self.state else {
                return Some(Err(self.not_connected(sys)));
            };
            match fetch.run(sys) {
                Some(Ok(body)) => return Some(self.deliver(sys, &body)),
                Some(Err(Failed::Connect(_))) => self.connect(sys),
                Some(Err(Failed::BadLength)) => return Some(self.refuse(sys)),
                Some(Err(failed)) => {
                    let complaint = self.complaint(failed);
                    return Some(self.deliver_so_far(sys).and(Err(complaint)));
                }
                None => return self.late(sys, started),
            }
        }
    }

    /// curl's error number and text for what went wrong with an open connection.
    fn complaint(&self, failed: Failed) -> (u8, String) {
        let (code, text) = match failed {
            Failed::Short(Some(missing)) => {
                let text = format!("transfer closed with {missing} bytes remaining to read");
                return (18, text);
            }
            Failed::Connect(errno) | Failed::Broken(Some(errno)) => {
                return (56, format!("Recv failure: {}", self.libc.text(errno)));
            }
            Failed::Broken(None) => (52, "Empty reply from server"),
            Failed::Short(None) => (18, "transfer closed with outstanding read data remaining"),
            Failed::BadChunk => (
                56,
                "Illegal or missing hexadecimal sequence in chunked-encoding",
            ),
            Failed::BadLength => (8, "Invalid Content-Length: value"),
            Failed::Nonsense => (1, "Received HTTP/0.9 when not allowed"),
            Failed::TooLong => (
                63,
                "Maximum file size exceeded: a reply is at most 16 MiB here",
            ),
        };
        (code, text.to_owned())
    }

    fn late(&self, sys: &mut dyn Sys, started: Time) -> Option<Ended> {
        self.deadline(started)
            .filter(|&deadline| deadline <= sys.now())?;
        let State::Fetching(fetch) = &self.state else {
            return None;
        };
        let took = sys.now().since(started).as_millis();
        let came = fetch.so_far().len();
        let came = match fetch.length() {
            Some(length) => format!("{came} out of {length}"),
            None => came.to_string(),
        };
        let text = if fetch.connected {
            format!("Operation timed out after {took} milliseconds with {came} bytes received")
        } else {
            format!("Connection timed out after {took} milliseconds")
        };
        fetch.abandon(sys);
        Some(self.deliver_so_far(sys).and(Err((28, text))))
    }

    /// Tries the next address; without one the state is no longer fetching.
    fn connect(&mut self, sys: &mut dyn Sys) {
        self.state = State::Start;
        while !self.candidates.is_empty() {
            let to = place(self.candidates.remove(0), self.url.port);
            self.remote = Some(to);
            let request = self.request();
            if let Ok(fetch) = Fetch::start(sys, to, request, !self.args.has('I'), length) {
                self.state = State::Fetching(fetch);
                return;
            }
        }
    }

    fn not_connected(&self, sys: &dyn Sys) -> (u8, String) {
        let took = sys.now().since(self.connect_started).as_millis();
        let (host, port) = (&self.url.host, self.url.port);
        let text = format!(
            "Failed to connect to {host} port {port} after {took} ms: Couldn't connect to server"
        );
        (7, text)
    }

    fn request(&self) -> Vec<u8> {
        let data = self.args.value('d');
        let method = match (self.args.value('X'), self.args.has('I'), data) {
            (Some(method), ..) => method,
            (None, true, _) => "HEAD",
            (None, false, Some(_)) => "POST",
            (None, false, None) => "GET",
        };
        let agent = self.args.value('A').unwrap_or("curl/8.5.0");
        let (path, authority) = (&self.url.path, &self.url.authority);
        let mut text = format!(
            "{method} {path} HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: {agent}\r\nAccept: */*\r\n"
        );
        for header in self.args.values('H') {
            text += &format!("{header}\r\n");
        }
        if let Some(data) = data {
            let kind = "application/x-www-form-urlencoded";
            text += &format!("Content-Length: {}\r\nContent-Type: {kind}\r\n", data.len());
        }
        text += "\r\n";
        text += data.unwrap_or_default();
        text.into_bytes()
    }

    fn deliver(&self, sys: &mut dyn Sys, body: &[u8]) -> Ended {
        let State::Fetching(Fetch {
            head: Some(head), ..
        }) = &self.state
        else {
            return Ok(());
        };
        if self.args.has('f') && head.status >= 400 {
            let text = format!("The requested URL returned error: {}", head.status);
            return Err((22, text));
        }
        if self.args.has('o') || self.args.has('O') {
            return Ok(());
        }
        if self.shows_head() {
            sys.print(&format!("{}\r\n", lines(&head.status_line, &head.lines)));
        }
        sys.print_bytes(body);
        Ok(())
    }

    fn shows_head(&self) -> bool {
        self.args.has('I') || self.args.has('i')
    }

    /// A reply whose length makes no sense: what stands before that is shown.
    fn refuse(&self, sys: &mut dyn Sys) -> Ended {
        let is_shown = self.shows_head() && !self.args.has('o') && !self.args.has('O');
        if let State::Fetching(fetch) = &self.state
            && let Some(head) = fetch.head.as_ref().filter(|_| is_shown)
            && let [before @ .., _] = &head.lines[..]
        {
            sys.print(&lines(&head.status_line, before));
        }
        Err(self.complaint(Failed::BadLength))
    }

    /// Shows what came of a reply that does not become whole.
    fn deliver_so_far(&self, sys: &mut dyn Sys) -> Ended {
        match &self.state {
            State::Fetching(fetch) => self.deliver(sys, &fetch.so_far()),
            State::Start | State::Resolving(_) => Ok(()),
        }
    }

    /// `-w`: the variables that a network shows, and `\n`, `\r`, `\t`.
    fn write_out(&self, sys: &mut dyn Sys, started: Time) {
        let Some(format) = self.args.value('w') else {
            return;
        };
        let format = format
            .replace("\\n", "\n")
            .replace("\\t", "\t")
            .replace("\\r", "\r");
        let mut out = String::new();
        let mut rest = format.as_str();
        while let Some((before, behind)) = rest.split_once("%{") {
            out += before;
            let (name, behind) = behind.split_once('}').unwrap_or((behind, ""));
            out += &self.variable(name, sys.now().since(started));
            rest = behind;
        }
        out += &rest.replace("%%", "%");
        sys.print(&out);
    }

    fn variable(&self, name: &str, took: Duration) -> String {
        let fetch = match &self.state {
            State::Fetching(fetch) => Some(fetch),
            _ => None,
        };
        let head = fetch.and_then(|fetch| fetch.head.as_ref());
        let connected = fetch.is_some_and(|fetch| fetch.connected);
        let remote = self.remote.filter(|_| connected);
        let local = fetch.and_then(|fetch| fetch.local);
        let text = |value: Option<String>| value.unwrap_or_default();
        match name {
            "http_code" | "response_code" => format!("{:03}", head.map_or(0, |head| head.status)),
            "remote_ip" => text(remote.map(|remote| remote.ip().to_string())),
            "remote_port" => text(remote.map(|remote| remote.port().to_string())),
            "local_ip" => text(local.map(|local| local.ip().to_string())),
            "local_port" => text(local.map(|local| local.port().to_string())),
            "content_type" => text(
                head.and_then(|head| head.header("Content-Type"))
                    .map(str::to_owned),
            ),
            "num_connects" => u8::from(connected).to_string(),
            "time_total" => format!("{}.{:06}", took.as_secs(), took.subsec_micros()),
            "url" | "url_effective" => format!("http://{}{}", self.url.authority, self.url.path),
            _ => String::new(),
        }
    }
}

/// The lines of a head as they came.
fn lines(status_line: &str, others: &[String]) -> String {
    let all = core::iter::once(status_line).chain(others.iter().map(String::as_str));
    all.map(|line| format!("{line}\r\n")).collect()
}

/// The number that a `Content-Length` begins with (`curlx_strtoofft`); one that is too long is ignored.
fn length(value: &str) -> Length {
    let digits = value.strip_prefix('+').unwrap_or(value);
    let end = digits.find(|digit: char| !digit.is_ascii_digit());
    let digits = &digits[..end.unwrap_or(digits.len())];
    match digits.parse::<i64>() {
        _ if digits.is_empty() => Length::Bad,
        Ok(length) => usize::try_from(length).map_or(Length::Unknown, Length::Is),
        Err(_) => Length::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::super::fake::{Fake, Server};
    use crate::netns::Errno;

    const PAGE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello\n";

    fn net(server: Server) -> Fake {
        let mut fake = Fake::default();
        fake.names("db", "172.18.0.3");
        fake.serves("172.18.0.3:80", server);
        fake
    }

    #[test]
    fn pages() {
        for (line, stdout) in [
            ("curl db", "hello\n"),
            (
                "curl -s -o /dev/null -w %{http_code}\\n http://db/",
                "200\n",
            ),
            (
                "curl -i db",
                "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello\n",
            ),
            (
                "curl -w %{remote_ip}:%{remote_port}% -so x db",
                "172.18.0.3:80%",
            ),
        ] {
            let mut fake = net(Server::Answers(PAGE));
            assert_eq!(fake.run(line), 0, "{line}");
            assert_eq!(
                (fake.stdout.as_str(), fake.stderr.as_str()),
                (stdout, ""),
                "{line}"
            );
        }
        let mut fake = net(Server::Answers(
            "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n",
        ));
        assert_eq!(fake.run("curl -I db"), 0);
        assert_eq!(fake.stdout, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n");
    }

    #[test]
    fn failures() {
        let mut fake = net(Server::Fails(Errno::ConnRefused));
        assert_eq!(fake.run("curl db"), 7);
        let text =
            "curl: (7) Failed to connect to db port 80 after 0 ms: Couldn't connect to server\n";
        assert_eq!(fake.stderr, text);
        let mut fake = Fake::default();
        assert_eq!(fake.run("curl -s -w %{http_code} nosuch"), 6);
        assert_eq!((fake.stdout.as_str(), fake.stderr.as_str()), ("000", ""));
        let mut fake = Fake::default();
        assert_eq!(fake.run("curl --max-time 2 172.18.0.9"), 28);
        assert_eq!(
            fake.stderr,
            "curl: (28) Connection timed out after 2000 milliseconds\n"
        );
        let mut fake = net(Server::Answers("HTTP/1.1 404 Not Found\r\n\r\n"));
        assert_eq!(fake.run("curl -fsS db"), 22);
        assert_eq!(
            fake.stderr,
            "curl: (22) The requested URL returned error: 404\n"
        );
        let mut fake = Fake::default();
        assert_eq!(fake.run("curl --nope db"), 2);
        assert!(fake.stderr.starts_with("curl: option --nope: is unknown\n"));
        assert_eq!(fake.run("curl https://db"), 1);
    }

    /// What curl 7.88 makes of a `Content-Length`.
    #[test]
    fn lengths() {
        const BAD: &str = "curl: (8) Invalid Content-Length: value\n";
        for (head, code, stdout) in [
            ("Content-Length: x", 8, ""),
            ("Content-Length: -1", 8, ""),
            ("Content-Length:", 8, ""),
            ("Content-Length: 5\r\nContent-Length: x", 8, ""),
            ("Content-Length: x\r\nTransfer-Encoding: chunked", 8, ""),
            ("Content-Length: 5x", 0, "hello"),
            ("Content-Length: +5", 0, "hello"),
            ("Content-Length: 3.5", 0, "hel"),
            ("Content-Length: 0x5", 0, ""),
            ("Content-Length: 5, 6", 0, "hello"),
            ("Content-Length: 3\r\nContent-Length: 5", 0, "hello"),
            ("Content-Length: 99999999999999999999", 0, "hello"),
        ] {
            let reply = format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\nhello");
            let mut fake = net(Server::Answers(reply.leak()));
            assert_eq!(fake.run("curl db"), code, "{head}");
            let stderr = if code == 0 { "" } else { BAD };
            let said = (fake.stdout.as_str(), fake.stderr.as_str());
            assert_eq!(said, (stdout, stderr), "{head}");
        }
        let odd = "HTTP/1.1 404 No\r\nA: b\r\nContent-Length: x\r\nC: d\r\n\r\n";
        for (line, stdout) in [
            ("curl -i db", "HTTP/1.1 404 No\r\nA: b\r\n"),
            ("curl -I db", "HTTP/1.1 404 No\r\nA: b\r\n"),
            ("curl -f -w %{http_code} db", "404"),
            ("curl -i -o x db", ""),
        ] {
            let mut fake = net(Server::Answers(odd));
            assert_eq!(fake.run(line), 8, "{line}");
            let said = (fake.stdout.as_str(), fake.stderr.as_str());
            assert_eq!(said, (stdout, BAD), "{line}");
        }
        let none = "HTTP/1.1 204 No\r\nContent-Length: x\r\n\r\n";
        assert_eq!(net(Server::Answers(none)).run("curl db"), 0);
    }

    /// What is printed and said of a reply that ends before its time, as curl 7.88 and 8.5 do.
    #[test]
    fn cut_off() {
        const SHORT: &str = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello\n";
        const CHUNK: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        const OPEN: &str = "HTTP/1.1 200 OK\r\n\r\nhello\n";
        const CHUNKS: &str = "transfer closed with outstanding read data remaining";
        let chunk = |rest: &str| Server::Answers(format!("{CHUNK}{rest}").leak());
        let reset = Some(Errno::ConnReset);
        for (server, code, text) in [
            (
                Server::Answers(SHORT),
                18,
                "transfer closed with 4 bytes remaining to read",
            ),
            (chunk("8\r\nhello\n"), 18, CHUNKS),
            (chunk("6\r\nhello\n\r\n"), 18, CHUNKS),
            (
                chunk("6\r\nhello\n\r\nzz\r\n"),
                56,
                "Illegal or missing hexadecimal sequence in chunked-encoding",
            ),
            (
                Server::Stops(SHORT, reset),
                56,
                "Recv failure: Connection reset by peer",
            ),
            (
                Server::Stops(SHORT, None),
                28,
                "Operation timed out after 2000 milliseconds with 6 out of 10 bytes received",
            ),
            (
                Server::Stops(OPEN, None),
                28,
                "Operation timed out after 2000 milliseconds with 6 bytes received",
            ),
        ] {
            let mut fake = net(server);
            assert_eq!(fake.run("curl -m 2 db"), code, "{text}");
            assert_eq!(
                (fake.stdout.as_str(), fake.stderr),
                ("hello\n", format!("curl: ({code}) {text}\n"))
            );
        }
        let mut fake = net(Server::Answers(SHORT));
        assert_eq!(fake.run("curl -I db"), 0, "a body is not to come");
        let mut fake = net(Server::Stops(PAGE, reset));
        assert_eq!(fake.run("curl db"), 0, "what is whole may be reset");
        assert_eq!(fake.stdout, "hello\n");
    }
}
