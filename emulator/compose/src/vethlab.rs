//! `x-vethlab`: what a compose file tells vethlab itself, for the project and for a service.
//!
//! ```yaml
//! x-vethlab:
//!   engine: "29"
//!   groups: {data: [redis, db]}
//!   expect:
//!     - worker -> data allow
//!   allow: [publish-all]
//! services:
//!   web:
//!     x-vethlab: {listen: [80, "127.0.0.1:3000", 53/udp], allow: [publish-all]}
//!   db:
//!     x-vethlab: {upstream: "127.0.0.1:5432", dial: "127.0.0.1:1080"}
//! ```
//!
//! Unknown keys are refused. Files merge as everything else does: lists are appended, maps merge,
//! the later `engine` counts. What an included project says of itself does not come along.

use core::net::SocketAddr;
use std::collections::BTreeSet;

use indexmap::IndexMap;

use crate::error::{ErrorKind, Fault};
use crate::expect::Expectation;
use crate::listen::{self, Listen};
use crate::naming;
use crate::near;
use crate::node::{At, Entry, Node, Place, Value};
use crate::read;

/// The key under which it stands.
pub(crate) const KEY: &str = "x-vethlab";

/// The engines whose behaviour can be chosen.
pub const ENGINES: [&str; 2] = ["20.10", "29"];

const PROJECT_KEYS: [&str; 4] = ["allow", "engine", "expect", "groups"];
const SERVICE_KEYS: [&str; 4] = ["allow", "dial", "listen", "upstream"];

/// What is said of a project.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vethlab {
    /// `engine`: one of [`ENGINES`]; `None` leaves it to the caller.
    pub engine: Option<At<String>>,
    /// `groups`, in file order.
    pub groups: IndexMap<String, Group>,
    /// `expect`, in file order; those of `vethlab.yaml` last.
    pub expect: Vec<Expectation>,
    /// `allow`: ids of lint rules that are silent in this project.
    pub allow: Vec<At<String>>,
}

/// A name for several services.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Where its name stands.
    pub at: Place,
    /// Services of the project, each once.
    pub services: Vec<String>,
}

/// What is said of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceVethlab {
    /// `listen`: everything that it listens on, whatever else says so; empty: nothing.
    pub listen: Option<Vec<Listen>>,
    /// `allow`: ids of lint rules that are silent about this service.
    pub allow: Vec<At<String>>,
    /// `upstream`: real servers whose fronts its ports are while the project is up.
    pub upstream: Vec<Upstream>,
    /// `dial`: where a real client finds a proxy into the service's network while the project is up; port 0 is any.
    pub dial: Vec<At<SocketAddr>>,
}

/// A real server behind a port of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// Where it stands.
    pub at: Place,
    /// The service's port; `None`: the one that it is known to listen on, else that of the server.
    pub port: Option<u16>,
    /// The server, on loopback.
    pub to: SocketAddr,
}

/// Reads a service's part.
pub(crate) fn service(node: &Node) -> Result<ServiceVethlab, Fault> {
    let Some(node) = node.get(KEY).filter(|node| !node.is_null()) else {
        return Ok(ServiceVethlab::default());
    };
    keys(node, &SERVICE_KEYS, KEY)?;
    Ok(ServiceVethlab {
        listen: node.get("listen").map(listen::stated).transpose()?,
        allow: read::texts(node, "allow"),
        upstream: node.get("upstream").map_or(Ok(Vec::new()), upstreams)?,
        dial: node.get("dial").map_or(Ok(Vec::new()), dials)?,
    })
}

/// `ADDRESS:PORT` on loopback.
fn loopback(node: &Node, key: &str) -> Result<SocketAddr, Fault> {
    let text = node.text().unwrap_or_default();
    let bad = |why: &str| {
        let message = format!("{key}: `{text}` {why}");
        Fault::invalid(node.at, message).hint("write \"127.0.0.1:5432\" or \"[::1]:5432\"")
    };
    let addr: SocketAddr = text.parse().map_err(|_| bad("is no address and port"))?;
    if addr.ip().is_loopback() {
        Ok(addr)
    } else {
        Err(bad("is not on loopback"))
    }
}

/// A server for the service, or one for each of its ports.
fn upstreams(node: &Node) -> Result<Vec<Upstream>, Fault> {
    let one = |node: &Node, port| {
        let to = loopback(node, "upstream")?;
        if to.port() == 0 {
            return Err(Fault::invalid(node.at, "upstream: a server has a port"));
        }
        let at = node.at;
        Ok(Upstream { at, port, to })
    };
    match &node.value {
        Value::Null => Ok(Vec::new()),
        Value::Map(entries) => entries
            .iter()
            .map(|Entry { key, key_at, node }| {
                let port = key.parse::<u16>().ok().filter(|port| *port != 0);
                let Some(port) = port else {
                    let message = format!("upstream: {key:?} is no port of the service");
                    return Err(
                        Fault::invalid(*key_at, message).hint("write {80: \"127.0.0.1:3000\"}")
                    );
                };
                one(node, Some(port))
            })
            .collect(),
        _ => Ok(vec![one(node, None)?]),
    }
}

fn dials(node: &Node) -> Result<Vec<At<SocketAddr>>, Fault> {
    let single = core::slice::from_ref(node);
    let items = match &node.value {
        Value::List(items) => items.as_slice(),
        Value::Null => &[],
        _ => single,
    };
    let addrs = items
        .iter()
        .map(|item| Ok(At::new(loopback(item, "dial")?, item.at)));
    addrs.collect()
}

/// The project's part, but for the expectations: they need the whole project.
pub(crate) fn project(node: &Node) -> Result<Vethlab, Fault> {
    keys(node, &PROJECT_KEYS, KEY)?;
    Ok(Vethlab {
        engine: engine(node)?,
        groups: IndexMap::new(),
        expect: Vec::new(),
        allow: read::texts(node, "allow"),
    })
}

/// `engine`, a version that is known. A number (`20.10` without quotes is 20.1) is told apart.
pub(crate) fn engine(node: &Node) -> Result<Option<At<String>>, Fault> {
    let Some(node) = node.get("engine").filter(|node| !node.is_null()) else {
        return Ok(None);
    };
    let text = match &node.value {
        // YAML drops the zero of a number.
        Value::Float(number) if (number - 20.1).abs() < 1e-9 => "20.10".to_owned(),
        _ => node.text().unwrap_or_default(),
    };
    if ENGINES.contains(&text.as_str()) {
        return Ok(Some(At::new(text, node.at)));
    }
    let engines = ENGINES.join("\" and \"");
    let message = format!("engine {text:?} is not known");
    Err(Fault::invalid(node.at, message).hint(format!("there are \"{engines}\"")))
}

/// Reads `groups` into `groups`; `services` are those that there are.
pub(crate) fn groups(
    node: &Node,
    services: &BTreeSet<&str>,
    groups: &mut IndexMap<String, Group>,
) -> Result<(), Fault> {
    let Value::Map(entries) = &node.value else {
        let message = "groups must be a mapping from a name to a list of services";
        return Err(Fault::invalid(node.at, message));
    };
    for Entry { key, key_at, node } in entries {
        if !naming::is_key(key) || crate::expect::is_place(key) || services.contains(key.as_str()) {
            let message = format!("a group cannot be named {key:?}");
            return Err(Fault::invalid(*key_at, message)
                .hint("it must not be the name of a service or of a place"));
        }
        let mut group = Group {
            at: *key_at,
            services: Vec::new(),
        };
        let mut seen = BTreeSet::new();
        let single = core::slice::from_ref(node);
        let items = match &node.value {
            Value::List(items) => items.as_slice(),
            _ => single,
        };
        for item in items {
            let name = item.text().unwrap_or_default();
            if !services.contains(name.as_str()) {
                let message = format!("group {key:?} names {name:?}, which is no service");
                let mut fault = Fault::new(ErrorKind::Undefined, item.at, message);
                fault.hint = near::hint(&name, services.iter().copied());
                return Err(fault);
            }
            if seen.insert(name.clone()) {
                group.services.push(name);
            }
        }
        groups.insert(key.clone(), group);
    }
    Ok(())
}

/// Refuses a key that is none of `known`.
pub(crate) fn keys(node: &Node, known: &[&str], of: &str) -> Result<(), Fault> {
    let Value::Map(entries) = &node.value else {
        return Err(Fault::invalid(node.at, format!("{of} must be a mapping")));
    };
    let Some(entry) = entries
        .iter()
        .find(|entry| !known.contains(&entry.key.as_str()))
    else {
        return Ok(());
    };
    let message = format!("{of} has no key {:?}", entry.key);
    let near = near::hint(&entry.key, known.iter().copied());
    let hint = near.unwrap_or_else(|| format!("there are: {}", known.join(", ")));
    Err(Fault::invalid(entry.key_at, message).hint(hint))
}
