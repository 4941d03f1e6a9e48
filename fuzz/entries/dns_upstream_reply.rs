//! Queries that go upstream, and whatever comes back: to the embedded server and to a stub resolver.
//!
//! Promises: every forwarded query ends once, at the latest when its time is up, and then nothing is out
//! and nothing waits; a reply that goes to a client is a response with its ID; a look-up ends.

use core::net::IpAddr;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use dns::hosts::Hosts;
use dns::resolver::ForwardId;
use dns::{
    Action, Families, Flavour, Lookup, Profile, Query, ResolvConf, Resolver, Transport, message,
};

use super::Script;
use super::dns_message::{resolver, zones};

/// Longer than all upstreams together may take, waiting included.
const LONG: Duration = Duration::from_secs(3600);
/// Steps of a look-up; far more than its questions and answers.
const STEPS: usize = 10_000;

/// Runs one input.
pub fn dns_upstream_reply(data: &[u8]) {
    let mut script = Script(data);
    let profile = if script.flag() {
        Profile::V20_10
    } else {
        Profile::V29
    };
    forward(profile, script);
    look_up(script);
}

struct World {
    resolver: Resolver,
    now: Duration,
    /// ID of each query that was forwarded.
    open: BTreeMap<ForwardId, u16>,
    done: BTreeSet<ForwardId>,
}

fn forward(profile: Profile, mut script: Script<'_>) {
    let zones = zones(profile);
    let mut world = World {
        resolver: resolver(profile),
        now: Duration::ZERO,
        open: BTreeMap::new(),
        done: BTreeSet::new(),
    };
    while let Some(step) = script.next() {
        let id = ForwardId(u64::from(script.u8()));
        match step % 8 {
            0 | 1 => world.ask(&zones, id.0 as u16, step & 8 != 0),
            2 | 3 => {
                let bytes = script.block();
                world.resolver.handle_upstream_reply(world.now, id, bytes);
            }
            4 => {
                // As the upstream would answer, with a code of the script's.
                let mut bytes = Query::build(0, "out.example", 1).expect("a name");
                let query = world.open.get(&id).copied().unwrap_or(0);
                bytes[..2].copy_from_slice(&query.to_be_bytes());
                bytes[2] |= 0x80;
                bytes[3] = script.u8();
                world.resolver.handle_upstream_reply(world.now, id, &bytes);
            }
            5 => world.resolver.handle_upstream_error(world.now, id),
            6 => {
                world.resolver.cancel(world.now, id);
                world.open.remove(&id);
            }
            _ => {
                world.now += Duration::from_millis(u64::from(script.u16()));
                world.resolver.fire(world.now);
            }
        }
        world.drain();
    }
    world.end();
}

impl World {
    fn ask(&mut self, zones: &dns::Zones, id: u16, tcp: bool) {
        let bytes = Query::build(id, "out.example", 1).expect("a name");
        let transport = if tcp { Transport::Tcp } else { Transport::Udp };
        let mut shuffle = |_: &mut [IpAddr]| {};
        match self
            .resolver
            .handle_query(self.now, zones, &bytes, transport, &mut shuffle)
        {
            Action::Forward(forward) => {
                assert!(self.open.insert(forward, id).is_none(), "a number again");
                assert!(!self.done.contains(&forward), "a number again");
            }
            Action::Reply(reply) => assert_eq!(message::id_of(&reply), Some(id)),
            Action::Ignore => panic!("a good query is ignored"),
        }
    }

    fn drain(&mut self) {
        while let Some(transmit) = self.resolver.poll_transmit() {
            assert!(self.open.contains_key(&transmit.id));
            assert!(Query::parse(&transmit.bytes).is_ok());
        }
        while let Some((id, reply)) = self.resolver.poll_reply() {
            let query = self.open.remove(&id).expect("it ends once");
            self.done.insert(id);
            if let Some(reply) = reply {
                assert!(message::is_response(&reply));
                assert_eq!(message::id_of(&reply), Some(query));
            }
        }
        let (out, waiting) = self.resolver.load();
        assert_eq!(out + waiting, self.open.len());
    }

    fn end(&mut self) {
        let last = self.now + LONG;
        while let Some(deadline) = self.resolver.deadline() {
            assert!(deadline <= last, "a query without an end");
            self.now = self.now.max(deadline);
            self.resolver.fire(self.now);
            self.drain();
        }
        assert!(self.open.is_empty());
        assert_eq!(self.resolver.load(), (0, 0));
    }
}

fn look_up(mut script: Script<'_>) {
    let (conf, hosts) = (script.text(), script.text());
    let (name, bits) = (script.text(), script.u8());
    let families = match bits & 3 {
        0 => Families::V4,
        1 => Families::V6,
        _ => Families::Both,
    };
    let flavour = match bits >> 2 & 3 {
        0 => Flavour::Glibc,
        1 => Flavour::Musl,
        _ => Flavour::BusyboxNslookup,
    };
    let (conf, hosts) = (ResolvConf::parse(&conf), Hosts::of(&hosts));
    let mut lookup = Lookup::new(conf, &hosts, &name, families, flavour, script.u16());
    let (mut now, mut last) = (Duration::ZERO, Vec::new());
    for _ in 0..STEPS {
        while let Some((_, query)) = lookup.poll_transmit(now) {
            assert!(Query::parse(&query).is_ok());
            last = query;
        }
        if lookup.result().is_some() {
            assert!(lookup.poll_transmit(now).is_none());
            return;
        }
        match script.u8() % 8 {
            1 | 2 => lookup.handle(now, script.block()),
            3 | 4 if last.len() >= 4 => {
                // The question comes back as its answer, with flags, counts and records of the script's.
                let mut reply = last.clone();
                reply[2] |= 0x80;
                reply[3] = script.u8();
                reply[7] = script.u8();
                reply.extend_from_slice(script.block());
                lookup.handle(now, &reply);
            }
            5 => lookup.unreachable(now),
            _ => {
                let due = lookup.deadline().expect("a look-up that waits has an end");
                now = now.max(due);
                lookup.fire(now);
            }
        }
    }
    panic!("a look-up without an end");
}
