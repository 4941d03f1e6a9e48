//! The embedded server of one sandbox (libnetwork `resolver.go`), sans-IO: queries in, replies and
//! forwarded queries out.
//!
//! ```text
//!   handle_query ─ known ──────────────────────────────► Action::Reply
//!        └─ unknown ─ Action::Forward ─ poll_transmit ─► upstream 1, 2, 3 (4 s each)
//!                                          ▲   │
//!                      slot free, timeout, │   ▼ handle_upstream_reply, handle_upstream_error, fire
//!                      SERVFAIL, REFUSED ──┘   └───────► poll_reply
//! ```
//!
//! What is asked upstream goes as it came, ID included, and its answer goes to the client as it came (Docker
//! unpacks and packs it again, so names may be compressed differently there; the content is the same).
//! Left out: SRV records of swarm services, the per-source upstreams of swarm load balancers.

use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::Profile;
use crate::message::{self, Fit, Malformed, Query, Rcode, Reply, qtype};
use crate::name;
use crate::zone::{Family, Lookup, SandboxKey, Zones};

/// The address that the server listens on, port 53.
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);
/// Time to live of what the server answers itself, in seconds.
pub const TTL: u32 = 600;
/// How many upstreams are tried.
pub const UPSTREAMS_MAX: usize = 3;
/// How long one upstream may take, and how long a query waits for a slot.
pub const TIMEOUT: Duration = Duration::from_secs(4);
/// How many queries may be out at once.
pub const OUTSTANDING_MAX: usize = 1024;
/// How many queries may wait for a slot; more are refused at once. Docker has no such bound.
pub const WAITING_MAX: usize = 4096;

/// How the client asked; upstreams are asked the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// Over TCP, each message behind two bytes of length (which are not part of the bytes here).
    Tcp,
    /// Over UDP.
    Udp,
}

/// From which namespace an upstream is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UpstreamFrom {
    /// The container's: servers given by `--dns` or the daemon's `dns`; in 20.10 also those of the
    /// host's file that are not on its loopback.
    Container,
    /// The host's: servers of the host's resolv.conf.
    Host,
}

/// A server to forward to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Upstream {
    /// Its address; the port is 53.
    pub address: IpAddr,
    /// Where it is asked from.
    pub from: UpstreamFrom,
}

/// How a sandbox's server is set up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Whose rules.
    pub profile: Profile,
    /// Where to forward to. 127.0.0.11 as seen from the container is left out, then the first three count.
    pub upstreams: Vec<Upstream>,
    /// `ndots` was set by the user or the host's file, not by Docker: names without a dot are not
    /// forwarded.
    pub ndots_set: bool,
    /// The sandbox is on a network that leads outside; if not, upstreams of the host's are left alone
    /// (29; 20.10 asks them all the same).
    pub external_access: bool,
}

/// A query that is being forwarded. Numbers are never reused by a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ForwardId(pub u64);

/// What becomes of a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// This goes back to the client.
    Reply(Vec<u8>),
    /// It is asked upstream; [`Resolver::poll_reply`] will name it again.
    Forward(ForwardId),
    /// Nothing goes back.
    Ignore,
}

/// A query to send upstream. A new one with the same number replaces the one before: its socket is
/// done with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// Whose query.
    pub id: ForwardId,
    /// To whom.
    pub upstream: Upstream,
    /// How.
    pub transport: Transport,
    /// The message.
    pub bytes: Vec<u8>,
}

#[derive(Clone, Debug)]
struct Pending {
    query: Vec<u8>,
    transport: Transport,
    next: usize,
    deadline: Duration,
    waiting: bool,
    /// The last SERVFAIL or REFUSED of an upstream.
    failure: Option<Vec<u8>>,
}

/// The embedded server of one sandbox.
#[derive(Clone, Debug)]
pub struct Resolver {
    sandbox: SandboxKey,
    config: Config,
    last: u64,
    pending: BTreeMap<ForwardId, Pending>,
    deadlines: BTreeSet<(Duration, ForwardId)>,
    waiting: VecDeque<ForwardId>,
    out: usize,
    transmits: VecDeque<Transmit>,
    replies: VecDeque<(ForwardId, Option<Vec<u8>>)>,
}

impl Resolver {
    /// The server of `sandbox`.
    #[must_use]
    pub fn new(sandbox: SandboxKey, config: Config) -> Self {
        let mut resolver = Self {
            sandbox,
            config: Config::default(),
            last: 0,
            pending: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            waiting: VecDeque::new(),
            out: 0,
            transmits: VecDeque::new(),
            replies: VecDeque::new(),
        };
        resolver.configure(config);
        resolver
    }

    /// Changes the set-up; queries under way go on with the new upstreams.
    pub fn configure(&mut self, config: Config) {
        self.config = config;
        let own = |upstream: &Upstream| {
            upstream.address == ADDRESS && upstream.from == UpstreamFrom::Container
        };
        self.config.upstreams.retain(|upstream| !own(upstream));
        self.config.upstreams.truncate(UPSTREAMS_MAX);
    }

    /// The set-up, with the upstreams that count.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// A query of a client. `shuffle` puts the addresses of an answer in order.
    pub fn handle_query(
        &mut self,
        now: Duration,
        zones: &Zones,
        bytes: &[u8],
        transport: Transport,
        shuffle: &mut impl FnMut(&mut [IpAddr]),
    ) -> Action {
        let query = match Query::parse(bytes) {
            Ok(query) => query,
            Err(Malformed::OpCode) => return refuse(bytes, Rcode::NotImp),
            Err(Malformed::Sections) => return refuse(bytes, Rcode::FormErr),
            Err(Malformed::IsResponse | Malformed::NoQuestion | Malformed::Unreadable) => {
                return Action::Ignore;
            }
        };
        if let Some(reply) = self.answer(zones, &query, shuffle) {
            let limit = match transport {
                Transport::Tcp => usize::from(u16::MAX),
                Transport::Udp => query.udp_limit(),
            };
            return Action::Reply(reply.finish(limit, self.fit()));
        }
        let address = matches!(query.qtype, qtype::A | qtype::AAAA);
        if address && self.config.ndots_set && !query.name.contains('.') {
            let reply = Reply::new(&query, Rcode::NoError).recursion_available();
            return Action::Reply(reply.finish(message::UDP_SIZE, self.fit()));
        }
        self.forward(now, bytes, transport)
    }

    const fn fit(&self) -> Fit {
        match self.config.profile {
            Profile::V20_10 => Fit::Cut,
            Profile::V29 => Fit::Compress,
        }
    }

    /// What the zones answer; `None` if the query has to go upstream.
    fn answer<'q>(
        &self,
        zones: &Zones,
        query: &Query<'q>,
        shuffle: &mut impl FnMut(&mut [IpAddr]),
    ) -> Option<Reply<'q>> {
        let mut reply = Reply::new(query, Rcode::NoError).recursion_available();
        let lookup = |family| zones.lookup(self.sandbox, &query.name, family);
        match query.qtype {
            qtype::A | qtype::AAAA => {
                let v4 = query.qtype == qtype::A;
                match lookup(if v4 { Family::V4 } else { Family::V6 }) {
                    Lookup::Unknown => return None,
                    Lookup::NoData => {}
                    Lookup::Addresses(mut list) => {
                        if list.len() > 1 {
                            shuffle(&mut list);
                        }
                        for address in list {
                            reply.address(TTL, address);
                        }
                    }
                }
            }
            qtype::MX => {
                let known = |family| matches!(lookup(family), Lookup::Addresses(_));
                if !known(Family::V4) && !known(Family::V6) {
                    return None;
                }
            }
            qtype::PTR => {
                let address = name::address_of(&query.name)?;
                let target = zones.reverse(self.sandbox, address)?;
                if reply.pointer(TTL, &target).is_err() {
                    // The name has no wire form: the client is told so and need not wait.
                    return Some(Reply::new(query, Rcode::ServFail));
                }
            }
            _ => return None,
        }
        Some(reply)
    }

    fn forward(&mut self, now: Duration, bytes: &[u8], transport: Transport) -> Action {
        self.last += 1;
        let id = ForwardId(self.last);
        let pending = Pending {
            query: bytes.to_vec(),
            transport,
            next: 0,
            deadline: now,
            waiting: false,
            failure: None,
        };
        self.pending.insert(id, pending);
        self.advance(now, id);
        // Decided at once: nobody to ask.
        match self.replies.pop_back_if(|(last, _)| *last == id) {
            Some((_, Some(bytes))) => Action::Reply(bytes),
            Some((_, None)) => Action::Ignore,
            None => Action::Forward(id),
        }
    }

    /// Asks the next upstream, waits for a slot, or gives up.
    fn advance(&mut self, now: Duration, id: ForwardId) {
        let Some(pending) = self.pending.get_mut(&id) else {
            return;
        };
        let skip_host = self.config.profile == Profile::V29 && !self.config.external_access;
        let rest = self.config.upstreams.iter().enumerate();
        let found = rest
            .skip(pending.next)
            .find(|(_, upstream)| !(skip_host && upstream.from == UpstreamFrom::Host));
        let Some((at, &upstream)) = found else {
            return self.give_up(id);
        };
        pending.next = at;
        self.deadlines.remove(&(pending.deadline, id));
        pending.deadline = now + TIMEOUT;
        if self.out < OUTSTANDING_MAX {
            pending.waiting = false;
            pending.next = at + 1;
            self.out += 1;
            self.deadlines.insert((pending.deadline, id));
            self.transmits.push_back(Transmit {
                id,
                upstream,
                transport: pending.transport,
                bytes: pending.query.clone(),
            });
        } else if self.config.profile == Profile::V20_10 {
            // 20.10 does not wait; it would not get a slot for the next upstream either.
            self.give_up(id);
        } else if self.waiting.len() >= WAITING_MAX {
            self.end_with(id, Rcode::Refused);
        } else {
            pending.waiting = true;
            self.deadlines.insert((pending.deadline, id));
            self.waiting.push_back(id);
        }
    }

    /// No upstream answered.
    fn give_up(&mut self, id: ForwardId) {
        match self.config.profile {
            Profile::V29 => self.end_with(id, Rcode::ServFail),
            Profile::V20_10 => {
                let failure = self.pending.get_mut(&id).and_then(|p| p.failure.take());
                self.end(id, failure);
            }
        }
    }

    fn end_with(&mut self, id: ForwardId, rcode: Rcode) {
        let reply = self.pending.get(&id).and_then(|pending| {
            let query = Query::parse(&pending.query).ok()?;
            Some(Reply::new(&query, rcode).finish(message::UDP_SIZE, Fit::Compress))
        });
        self.end(id, reply);
    }

    fn end(&mut self, id: ForwardId, reply: Option<Vec<u8>>) {
        if let Some(pending) = self.pending.remove(&id) {
            self.deadlines.remove(&(pending.deadline, id));
            if pending.waiting {
                self.waiting.retain(|&waiting| waiting != id);
            }
            self.replies.push_back((id, reply));
        }
    }

    /// Gives the slot of a query that is out to the one that waits longest.
    fn release(&mut self, now: Duration) {
        self.out -= 1;
        if let Some(id) = self.waiting.pop_front()
            && let Some(pending) = self.pending.get_mut(&id)
        {
            pending.waiting = false;
            self.advance(now, id);
        }
    }

    /// What an upstream sent for `id`. Anything that does not belong to the query is left alone on UDP;
    /// what cannot be read counts as a failure of that upstream.
    pub fn handle_upstream_reply(&mut self, now: Duration, id: ForwardId, bytes: &[u8]) {
        let Some(pending) = self.pending.get_mut(&id).filter(|pending| !pending.waiting) else {
            return;
        };
        let same_id = message::id_of(bytes) == message::id_of(&pending.query);
        let readable = message::is_response(bytes);
        if readable && !same_id && pending.transport == Transport::Udp {
            return;
        }
        if !readable || !same_id {
            return self.handle_upstream_error(now, id);
        }
        match message::rcode_of(bytes) {
            Some(Rcode::ServFail | Rcode::Refused) => {
                pending.failure = Some(bytes.to_vec());
                self.handle_upstream_error(now, id);
            }
            _ => {
                self.end(id, Some(bytes.to_vec()));
                self.release(now);
            }
        }
    }

    /// The upstream of `id` could not be reached, or closed: the next one is asked.
    pub fn handle_upstream_error(&mut self, now: Duration, id: ForwardId) {
        if self
            .pending
            .get(&id)
            .is_some_and(|pending| !pending.waiting)
        {
            // The slot goes to who waits longest, as a semaphore gives it; this query asks for one anew.
            self.release(now);
            self.advance(now, id);
        }
    }

    /// The client of `id` is gone (its TCP connection closed): nothing more comes of it.
    pub fn cancel(&mut self, now: Duration, id: ForwardId) {
        if let Some(pending) = self.pending.get(&id) {
            let was_out = !pending.waiting;
            self.end(id, None);
            self.replies.retain(|(done, _)| *done != id);
            self.transmits.retain(|transmit| transmit.id != id);
            if was_out {
                self.release(now);
            }
        }
    }

    /// The next query to send upstream.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    /// The next forwarded query that has ended: with what goes to its client, or with nothing.
    pub fn poll_reply(&mut self) -> Option<(ForwardId, Option<Vec<u8>>)> {
        self.replies.pop_front()
    }

    /// When [`Resolver::fire`] wants to be called.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        self.deadlines.first().map(|&(at, _)| at)
    }

    /// Ends what has taken too long by `now`.
    pub fn fire(&mut self, now: Duration) {
        while let Some(&(at, id)) = self.deadlines.first() {
            if at > now {
                return;
            }
            self.deadlines.remove(&(at, id));
            match self.pending.get_mut(&id) {
                Some(pending) if pending.waiting => self.end_with(id, Rcode::Refused),
                Some(pending) => {
                    pending.failure = None;
                    self.handle_upstream_error(now, id);
                }
                None => {}
            }
        }
    }

    /// How many queries are out and how many wait for a slot.
    #[must_use]
    pub fn load(&self) -> (usize, usize) {
        (self.out, self.waiting.len())
    }
}

fn refuse(bytes: &[u8], rcode: Rcode) -> Action {
    message::refuse(bytes, rcode).map_or(Action::Ignore, Action::Reply)
}

#[cfg(test)]
#[path = "resolver_tests.rs"]
mod tests;
