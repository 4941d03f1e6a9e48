//! What may leave the project's lab.

use core::cell::Cell;
use core::net::SocketAddr;
use std::io;
use std::rc::Rc;

use emulator_host::egress::{Counts, Egress, Resolver, Rule, pings};
use emulator_host::means::Means;
use emulator_host::runtime::Runtime;
use serde_json::{Value, json};

/// What is wished for: nothing leaves unless a rule allows it.
#[derive(Clone, Debug, Default)]
pub struct EgressWish {
    /// What may leave.
    pub rules: Vec<Rule>,
    /// Whom to ask for names; the machine's resolvers if nobody.
    pub resolvers: Vec<SocketAddr>,
}

/// What left so far, for the desk.
#[derive(Clone, Debug)]
pub(super) struct Left {
    rules: Vec<String>,
    counts: Rc<Cell<Counts>>,
}

impl Left {
    pub(super) fn value(&self) -> Value {
        let counts = self.counts.get();
        json!({
            "rules": self.rules,
            "connections": counts.connections,
            "datagrams": counts.datagrams,
            "pings": counts.pings,
            "questions": counts.questions,
            "denied": counts.denied,
        })
    }
}

impl EgressWish {
    /// What is told of it, if anything may leave.
    pub(super) fn left(&self) -> Option<Left> {
        (!self.rules.is_empty()).then(|| Left {
            rules: self.rules.iter().map(ToString::to_string).collect(),
            counts: Rc::default(),
        })
    }

    /// Opens the way out.
    pub(super) fn attach(
        self,
        runtime: &mut Runtime,
        left: Option<&Left>,
        means: &Means,
    ) -> io::Result<()> {
        let Some(left) = left else { return Ok(()) };
        if !pings() {
            means.say(
                "egress: pings do not leave: net.ipv4.ping_group_range of this machine has no group of this user; \
                 connections, datagrams and names do",
            );
        }
        let resolver = if self.resolvers.is_empty() {
            Resolver::machine()
        } else {
            Resolver::at(self.resolvers)
        };
        let counts = Rc::clone(&left.counts);
        let means = means.clone();
        runtime.attach(|cx| Egress::new(cx, self.rules, resolver, counts, means))?;
        Ok(())
    }
}
