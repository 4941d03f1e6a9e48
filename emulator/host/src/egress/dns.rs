//! The resolver at the lab's gateway, which asks the real machine's.
//!
//! The embedded DNS asks it by UDP, and by TCP what was cut; the question goes on the same way, under a socket of its
//! own. Addresses in answers are learned for the rules. A name that no rule is about is refused and not asked
//! outside.

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use std::collections::VecDeque;

use emulator_core::app::{Family, SockKind, Sys};
use emulator_core::dns::message::{Data, Fit, Reply, id_of, refuse};
use emulator_core::dns::{Malformed, Message, Query, Rcode};
use emulator_core::id::{NsId, SockId};
use emulator_core::netns::Errno;
use emulator_core::switch::Time;

use super::alarms::Alarms;
use super::policy::{HOST_NAME, Policy};
pub use super::stub::Resolver;
use super::stub::{Call, Heard};
use crate::means::Share;
use crate::places::Places;
use crate::reactor::Events;
use crate::runtime::{Attachment, Cx};

/// Questions on their way at a time; more are not answered.
pub const QUESTIONS: usize = 256;
/// Streams from the lab at a time.
const STREAMS: usize = 64;
/// How long one server is waited for, less than the embedded DNS waits.
const PATIENCE: Duration = Duration::from_secs(2);
/// The longest question.
const QUESTION: usize = 4096;
/// How long the address of the real loopback may be kept, in seconds.
const TTL: u32 = 60;
/// Datagrams that are taken in one call.
const ROUND: usize = 64;

const UDP: u64 = 0;
const LISTENER: u64 = 1;
const STREAM: u64 = 1 << 32;
const CALL: u64 = 2 << 32;

const A: u16 = 1;
const AAAA: u16 = 28;

/// Who waits for an answer.
#[derive(Clone, Copy, Debug)]
enum Client {
    /// The other end of a datagram, and the address of ours that it was for.
    Datagram(SocketAddr, IpAddr),
    Stream(SockId),
}

#[derive(Debug)]
struct Question {
    client: Client,
    query: Vec<u8>,
    /// In lower case.
    name: String,
    call: Call,
    /// Whom to ask next.
    left: VecDeque<SocketAddr>,
    until: Time,
    _share: Share,
}

/// A stream from the lab, and what was read of it.
#[derive(Debug)]
struct Stream {
    sock: SockId,
    inbox: Vec<u8>,
    /// Nothing more is asked there; it is closed when all has been answered.
    ended: bool,
}

/// The resolver.
#[derive(Debug)]
pub(super) struct Dns {
    ns: NsId,
    udp: SockId,
    listener: SockId,
    resolver: Resolver,
    policy: Policy,
    questions: Places<Question>,
    streams: Places<Stream>,
    alarms: Alarms,
}

impl Dns {
    pub(super) fn new(
        cx: &mut Cx<'_>,
        ns: NsId,
        resolver: Resolver,
        policy: Policy,
    ) -> Result<Self, Errno> {
        let any = SocketAddr::new(core::net::Ipv6Addr::UNSPECIFIED.into(), 53);
        let mut sys = cx.lab.sys(ns);
        let udp = sys.socket(SockKind::Udp, Family::V6)?;
        sys.bind(udp, any)?;
        let listener = sys.socket(SockKind::Tcp, Family::V6)?;
        sys.bind(listener, any)?;
        sys.listen(listener, STREAMS)?;
        cx.own(udp, UDP);
        cx.own(listener, LISTENER);
        Ok(Self {
            ns,
            udp,
            listener,
            resolver,
            policy,
            questions: Places::default(),
            streams: Places::default(),
            alarms: Alarms::default(),
        })
    }

    fn hear(&mut self, cx: &mut Cx<'_>) {
        let mut buffer = [0; QUESTION];
        for _ in 0..ROUND {
            match cx.lab.sys(self.ns).recv_from(self.udp, &mut buffer) {
                Ok(got) => {
                    let client = Client::Datagram(got.from, got.to);
                    self.ask(cx, client, &buffer[..got.len]);
                }
                Err(Errno::WouldBlock) => return,
                // Who asked is gone.
                Err(_) => {}
            }
        }
        let now = cx.now();
        self.alarms.set(cx, now, UDP);
    }

    /// Asks outside, or answers at once.
    fn ask(&mut self, cx: &mut Cx<'_>, client: Client, bytes: &[u8]) {
        let query = match Query::parse(bytes) {
            Ok(query) => query,
            Err(Malformed::IsResponse) => return,
            Err(_) => return self.answer(cx, client, refuse(bytes, Rcode::FormErr)),
        };
        let name = query.name.trim_end_matches('.').to_ascii_lowercase();
        let limit = match client {
            Client::Datagram(..) => query.udp_limit(),
            Client::Stream(_) => usize::from(u16::MAX),
        };
        let reply = |rcode| Reply::new(&query, rcode).recursion_available();
        let opens = [false, true]
            .iter()
            .any(|v6| self.policy.host(*v6).is_some());
        if name == HOST_NAME && opens {
            let mut reply = reply(Rcode::NoError);
            let address = match query.qtype {
                A => self.policy.host(false),
                AAAA => self.policy.host(true),
                _ => None,
            };
            if let Some(address) = address {
                reply.address(TTL, address);
            }
            return self.answer(cx, client, Some(reply.finish(limit, Fit::Compress)));
        }
        if !self.policy.asks(&name) {
            let refusal = reply(Rcode::Refused).finish(limit, Fit::Compress);
            return self.answer(cx, client, Some(refusal));
        }
        let share = self.policy.means.take();
        let Some(share) = share.filter(|_| self.questions.len() < QUESTIONS) else {
            return;
        };
        let mut left: VecDeque<SocketAddr> =
            self.resolver.servers(cx.now()).iter().copied().collect();
        let key = CALL | u64::from(self.questions.next());
        let Some(call) = call(cx, key, &mut left, client, bytes) else {
            let failure = reply(Rcode::ServFail).finish(limit, Fit::Compress);
            return self.answer(cx, client, Some(failure));
        };
        let until = cx.now() + PATIENCE;
        self.alarms.set(cx, until, key);
        self.policy.count(|counts| counts.questions += 1);
        self.questions.insert(Question {
            client,
            query: bytes.to_vec(),
            name,
            call,
            left,
            until,
            _share: share,
        });
    }

    fn answer(&self, cx: &mut Cx<'_>, client: Client, message: Option<Vec<u8>>) {
        let Some(message) = message else { return };
        let mut sys = cx.lab.sys(self.ns);
        match client {
            Client::Datagram(to, own) => {
                let _lost = sys.send_from(self.udp, &message, to, own);
            }
            Client::Stream(sock) => {
                let length = (message.len() as u16).to_be_bytes();
                let framed = [&length[..], &message].concat();
                // What it has no room for, it did not wait for.
                if sys.send(sock, &framed) != Ok(framed.len()) {
                    let _gone = sys.shutdown(sock);
                }
            }
        }
    }

    /// Something came of a question.
    fn heard(&mut self, cx: &mut Cx<'_>, number: u32, events: Events) {
        let Some(question) = self.questions.at(number) else {
            return;
        };
        match question.call.ready(cx, events) {
            Heard::Nothing => {}
            Heard::Failed => self.next(cx, number),
            Heard::Answer(message) => {
                let same = id_of(&message) == id_of(&question.query);
                let read = Message::parse(&message).ok().filter(|_| same);
                let asked = read.as_ref().and_then(|read| read.question.as_ref());
                let fits = asked.is_none_or(|(name, _)| {
                    name.trim_end_matches('.')
                        .eq_ignore_ascii_case(&question.name)
                });
                if !same || !fits {
                    // Somebody else's.
                    return;
                }
                let Some(question) = self.questions.remove(number) else {
                    return;
                };
                question.call.close(cx);
                if let Some(read) = read {
                    self.learn(cx.now(), &question.name, &read);
                }
                self.answer(cx, question.client, Some(message));
                self.answered(cx, question.client);
            }
        }
    }

    fn learn(&self, now: Time, name: &str, message: &Message) {
        let mut names = self.policy.names.borrow_mut();
        for record in &message.answers {
            if let Data::Address(address) = record.data {
                names.learn(now, name, address, record.ttl);
            }
        }
    }

    /// A server does not answer: the next one is asked.
    fn next(&mut self, cx: &mut Cx<'_>, number: u32) {
        let Some(mut question) = self.questions.remove(number) else {
            return;
        };
        question.call.close(cx);
        let key = CALL | u64::from(self.questions.next());
        let Question {
            client,
            query,
            mut left,
            ..
        } = question;
        let Some(call) = call(cx, key, &mut left, client, &query) else {
            if let Ok(read) = Query::parse(&query) {
                let failure = Reply::new(&read, Rcode::ServFail).recursion_available();
                let failure = failure.finish(usize::from(u16::MAX), Fit::Compress);
                self.answer(cx, client, Some(failure));
            }
            return self.answered(cx, client);
        };
        let until = cx.now() + PATIENCE;
        self.alarms.set(cx, until, key);
        question = Question {
            client,
            query,
            name: question.name,
            call,
            left,
            until,
            _share: question._share,
        };
        self.questions.insert(question);
    }

    fn accept(&mut self, cx: &mut Cx<'_>) {
        while let Ok((sock, _)) = cx.lab.sys(self.ns).accept(self.listener) {
            if self.streams.len() >= STREAMS {
                cx.lab.sys(self.ns).close(sock);
                continue;
            }
            let number = self.streams.insert(Stream {
                sock,
                inbox: Vec::new(),
                ended: false,
            });
            cx.own(sock, STREAM | u64::from(number));
            self.read(cx, number);
        }
    }

    /// Reads a stream from the lab, and asks what is asked there.
    fn read(&mut self, cx: &mut Cx<'_>, number: u32) {
        let mut chunk = [0; QUESTION];
        loop {
            let Some(stream) = self.streams.at(number) else {
                return;
            };
            let sock = stream.sock;
            match cx.lab.sys(self.ns).recv(sock, &mut chunk) {
                Ok(count) if count > 0 => stream.inbox.extend_from_slice(&chunk[..count]),
                Err(Errno::WouldBlock) => return,
                Ok(_) => {
                    stream.ended = true;
                    return self.close_answered(cx, number);
                }
                Err(_) => return self.close(cx, number),
            }
            loop {
                let Some(stream) = self.streams.at(number) else {
                    return;
                };
                let head = stream.inbox.first_chunk::<2>();
                let whole = head.map(|len| 2 + usize::from(u16::from_be_bytes(*len)));
                let Some(whole) = whole else { break };
                if whole > QUESTION {
                    return self.close(cx, number);
                }
                if stream.inbox.len() < whole {
                    break;
                }
                let query: Vec<u8> = stream.inbox.drain(..whole).skip(2).collect();
                self.ask(cx, Client::Stream(sock), &query);
            }
        }
    }
}

impl Dns {
    fn close(&mut self, cx: &mut Cx<'_>, number: u32) {
        if let Some(stream) = self.streams.remove(number) {
            cx.close(stream.sock);
        }
    }

    /// Closes a stream on which nothing more is asked, if nobody waits for an answer there.
    fn close_answered(&mut self, cx: &mut Cx<'_>, number: u32) {
        let Some(stream) = self.streams.at(number).filter(|stream| stream.ended) else {
            return;
        };
        let sock = stream.sock;
        let waits = |(_, question): (u32, &Question)| matches!(question.client, Client::Stream(own) if own == sock);
        if !self.questions.iter().any(waits) {
            self.close(cx, number);
        }
    }

    /// A client has its answer.
    fn answered(&mut self, cx: &mut Cx<'_>, client: Client) {
        let Client::Stream(sock) = client else { return };
        let stream = self.streams.iter().find(|(_, stream)| stream.sock == sock);
        if let Some((number, _)) = stream {
            self.close_answered(cx, number);
        }
    }
}

/// Asks the first server that can be asked.
fn call(
    cx: &mut Cx<'_>,
    key: u64,
    left: &mut VecDeque<SocketAddr>,
    client: Client,
    query: &[u8],
) -> Option<Call> {
    let stream = matches!(client, Client::Stream(_));
    while let Some(server) = left.pop_front() {
        if let Ok(call) = Call::new(cx, key, server, query, stream) {
            return Some(call);
        }
    }
    None
}

impl Attachment for Dns {
    fn ready(&mut self, cx: &mut Cx<'_>, key: u64, events: Events) {
        self.heard(cx, key as u32, events);
    }

    fn lab_ready(&mut self, cx: &mut Cx<'_>, key: u64, _sock: SockId) {
        match key {
            UDP => self.hear(cx),
            LISTENER => self.accept(cx),
            stream => self.read(cx, stream as u32),
        }
    }

    fn alarm(&mut self, cx: &mut Cx<'_>) {
        let now = cx.now();
        let mut again = false;
        while let Some(key) = self.alarms.pop(now) {
            let number = key as u32;
            if key == UDP {
                again = true;
            } else if let Some(question) = self.questions.at(number)
                && question.until <= now
            {
                self.next(cx, number);
            }
        }
        self.alarms.wake(cx);
        if again {
            self.hear(cx);
        }
    }
}
