//! `getaddrinfo`, sans-IO: numbers, the hosts file, then the nameservers, for A and AAAA records.
//!
//! For each candidate name all families are asked at once of one server; after the timeout the next server,
//! round by round, until the attempts are used up (`resolv.conf(5)`). SERVFAIL, NOTIMP and REFUSED go to
//! the next server at once. A truncated answer counts as it is: there is no second try over TCP.

use core::fmt;
use core::net::IpAddr;
use core::time::Duration;
use std::collections::VecDeque;

use crate::hosts::Hosts;
use crate::message::{Message, Query, Rcode, qtype};
use crate::name;
use crate::search::{Flavour, ResolvConf};
use crate::zone::Family;

/// Which families are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Families {
    /// IPv4 and IPv6.
    #[default]
    Both,
    /// IPv4 only.
    V4,
    /// IPv6 only.
    V6,
}

impl Families {
    const fn list(self) -> &'static [Family] {
        match self {
            Self::Both => &[Family::V4, Family::V6],
            Self::V4 => &[Family::V4],
            Self::V6 => &[Family::V6],
        }
    }
}

/// Why there is no address: the errors of `getaddrinfo(3)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LookupError {
    /// `EAI_AGAIN`: no server gave an answer.
    Again,
    /// `EAI_NODATA`: the name is there, but has no such address.
    NoData,
    /// `EAI_NONAME`: there is no such name.
    NoName,
}

/// The text of glibc's `gai_strerror`.
impl fmt::Display for LookupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Again => "Temporary failure in name resolution",
            Self::NoData => "No address associated with hostname",
            Self::NoName => "Name or service not known",
        })
    }
}

impl core::error::Error for LookupError {}

#[derive(Clone, Debug)]
struct Ask {
    id: u16,
    family: Family,
    answered: bool,
}

/// One look-up under way.
#[derive(Clone, Debug)]
pub struct Lookup {
    conf: ResolvConf,
    flavour: Flavour,
    families: Families,
    candidates: VecDeque<String>,
    asks: Vec<Ask>,
    /// Server and round of the questions that are out.
    server: usize,
    round: u8,
    next_id: u16,
    deadline: Option<Duration>,
    transmits: VecDeque<(IpAddr, Vec<u8>)>,
    v4: Vec<IpAddr>,
    v6: Vec<IpAddr>,
    /// The worst that was met on the way: SERVFAIL before no data before no name.
    failed: bool,
    no_data: bool,
    result: Option<Result<Vec<IpAddr>, LookupError>>,
}

impl Lookup {
    /// Starts to look up `name`. `id` is the ID of the first query; the next ones count up.
    #[must_use]
    pub fn new(
        conf: ResolvConf,
        hosts: &Hosts<'_>,
        name: &str,
        families: Families,
        flavour: Flavour,
        id: u16,
    ) -> Self {
        let candidates = conf.candidates(name, flavour).into();
        let mut lookup = Self {
            conf,
            flavour,
            families,
            candidates,
            asks: Vec::new(),
            server: 0,
            round: 0,
            next_id: id,
            deadline: None,
            transmits: VecDeque::new(),
            v4: Vec::new(),
            v6: Vec::new(),
            failed: false,
            no_data: false,
            result: None,
        };
        lookup.result = lookup.without_asking(hosts, name);
        lookup
    }

    /// Numbers and names of the hosts file need no server.
    fn without_asking(
        &self,
        hosts: &Hosts<'_>,
        name: &str,
    ) -> Option<Result<Vec<IpAddr>, LookupError>> {
        if let Ok(address) = name.parse::<IpAddr>() {
            let family = if address.is_ipv4() {
                Family::V4
            } else {
                Family::V6
            };
            let wanted = self.families.list().contains(&family);
            return Some(wanted.then(|| vec![address]).ok_or(LookupError::NoName));
        }
        let mut wire = Vec::new();
        if name.is_empty() || name::write(name, &mut wire).is_err() {
            return Some(Err(LookupError::NoName));
        }
        let known = hosts.all_addresses(name);
        let found = self.families.list().iter().flat_map(|&family| {
            let known = known.iter().copied();
            known.filter(move |address| address.is_ipv4() == (family == Family::V4))
        });
        let found: Vec<_> = found.collect();
        (!found.is_empty()).then_some(Ok(found))
    }

    /// The outcome: IPv4 addresses first, then IPv6, each in the order of the answer.
    #[must_use]
    pub const fn result(&self) -> Option<&Result<Vec<IpAddr>, LookupError>> {
        self.result.as_ref()
    }

    /// The next query to send to port 53 of a server, over UDP.
    pub fn poll_transmit(&mut self, now: Duration) -> Option<(IpAddr, Vec<u8>)> {
        if self.result.is_none() && self.asks.is_empty() {
            self.next_candidate(now);
        }
        self.transmits.pop_front()
    }

    /// When [`Lookup::fire`] wants to be called.
    #[must_use]
    pub const fn deadline(&self) -> Option<Duration> {
        self.deadline
    }

    fn next_candidate(&mut self, now: Duration) {
        while let Some(name) = self.candidates.front() {
            let mut wire = Vec::new();
            if name::write(name, &mut wire).is_err() {
                // A search domain made it too long.
                self.candidates.pop_front();
                continue;
            }
            self.asks.clear();
            for &family in self.families.list() {
                self.asks.push(Ask {
                    id: self.next_id,
                    family,
                    answered: false,
                });
                self.next_id = self.next_id.wrapping_add(1);
            }
            (self.server, self.round) = (0, 0);
            return self.ask(now);
        }
        let error = if self.failed {
            LookupError::Again
        } else if self.no_data {
            LookupError::NoData
        } else {
            LookupError::NoName
        };
        self.finish(Err(error));
    }

    fn finish(&mut self, result: Result<Vec<IpAddr>, LookupError>) {
        self.result = Some(result);
        self.deadline = None;
        self.transmits.clear();
    }

    /// Sends what is not answered yet to the server whose turn it is.
    fn ask(&mut self, now: Duration) {
        let (Some(&server), Some(name)) = (
            self.conf.nameservers.get(self.server),
            self.candidates.front(),
        ) else {
            return self.finish(Err(LookupError::Again));
        };
        self.transmits.clear();
        for ask in self.asks.iter().filter(|ask| !ask.answered) {
            let kind = match ask.family {
                Family::V4 => qtype::A,
                Family::V6 => qtype::AAAA,
            };
            if let Ok(bytes) = Query::build(ask.id, name, kind) {
                self.transmits.push_back((server, bytes));
            }
        }
        self.deadline = Some(now + self.conf.timeout);
    }

    /// The server does not answer, or does not want to: the next one, and then the next round.
    fn next_server(&mut self, now: Duration, refused: bool) {
        self.server += 1;
        if self.server >= self.conf.nameservers.len() {
            self.server = 0;
            self.round += 1;
        }
        if self.round < self.conf.attempts && !(refused && self.server == 0) {
            return self.ask(now);
        }
        // What one family brought is good even if the other got no answer.
        if !self.v4.is_empty() || !self.v6.is_empty() {
            return self.collect();
        }
        self.failed = true;
        if refused && self.flavour == Flavour::Glibc {
            self.candidates.pop_front();
            self.next_candidate(now);
        } else {
            self.finish(Err(LookupError::Again));
        }
    }

    fn collect(&mut self) {
        let mut found = core::mem::take(&mut self.v4);
        found.append(&mut self.v6);
        self.finish(Ok(found));
    }

    /// Datagrams that came from a server. What does not belong to an open question is left alone.
    pub fn handle(&mut self, now: Duration, bytes: &[u8]) {
        if self.result.is_some() {
            return;
        }
        let Ok(message) = Message::parse(bytes) else {
            return;
        };
        let name = self.candidates.front().cloned().unwrap_or_default();
        let asked = |ask: &&mut Ask| {
            let question = message.question.as_ref();
            ask.id == message.id
                && !ask.answered
                && question.is_none_or(|(own, _)| name::same(own, &name))
        };
        let Some(ask) = self.asks.iter_mut().find(asked) else {
            return;
        };
        match message.rcode {
            Rcode::NoError | Rcode::NxDomain => {}
            _ => return self.next_server(now, true),
        }
        ask.answered = true;
        let v4 = ask.family == Family::V4;
        let found = message
            .addresses()
            .filter(|address| address.is_ipv4() == v4);
        let list = if v4 { &mut self.v4 } else { &mut self.v6 };
        list.extend(found);
        self.no_data |= message.rcode == Rcode::NoError;
        if self.asks.iter().all(|ask| ask.answered) {
            self.answered(now, message.rcode);
        }
    }

    fn answered(&mut self, now: Duration, rcode: Rcode) {
        if !self.v4.is_empty() || !self.v6.is_empty() {
            return self.collect();
        }
        if self.flavour == Flavour::Musl && rcode == Rcode::NoError {
            return self.finish(Err(LookupError::NoData));
        }
        self.candidates.pop_front();
        self.next_candidate(now);
    }

    /// The server whose turn it is cannot be reached (no route, port unreachable): the next one is asked.
    pub fn unreachable(&mut self, now: Duration) {
        if self.result.is_none() && !self.asks.is_empty() {
            self.next_server(now, false);
        }
    }

    /// The time is `now`; asks the next server if this one took too long.
    pub fn fire(&mut self, now: Duration) {
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            self.next_server(now, false);
        }
    }
}

#[cfg(test)]
#[path = "lookup_tests.rs"]
mod tests;
