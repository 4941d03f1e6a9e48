//! What a service listens on, as far as anybody says: its files, or a table of well-known images.
//!
//! `x-vethlab: {listen: …}` of the service counts alone if it is there. Else, best known first:
//! published targets, `expose`, ports of the service itself that its health check asks, the table of
//! images. A port that nobody states is not known, and a service may have none.

mod health;
mod images;

use core::net::IpAddr;
use std::collections::BTreeSet;

pub use images::{Image, Images};

use crate::error::{ErrorKind, Fault};
use crate::model::{Protocol, Service};
use crate::node::{Node, Place, Value};
use crate::ports;

/// How many ports one list may state.
const MAX_STATED: usize = 4096;

/// A port that a service is known to listen on, and how that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// The port.
    pub port: u16,
    /// The protocol.
    pub protocol: Protocol,
    /// The address that it is bound to; `None` is every address of both families.
    pub address: Option<IpAddr>,
    /// Who says so.
    pub known: Known,
}

/// How a port is known, best first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known {
    /// `x-vethlab: {listen: …}` of the service.
    Stated(Place),
    /// A published port's target.
    Published(Place),
    /// `expose`.
    Exposed(Place),
    /// The health check asks it.
    Healthcheck(Place),
    /// The entry of the table of images with this pattern.
    Image(String),
}

impl Known {
    /// Where it stands; the table of images has no place in the project.
    #[must_use]
    pub const fn place(&self) -> Option<Place> {
        match self {
            Self::Stated(at) | Self::Published(at) | Self::Exposed(at) | Self::Healthcheck(at) => {
                Some(*at)
            }
            Self::Image(_) => None,
        }
    }

    /// The kind as a word: `stated`, `published`, `exposed`, `healthcheck`, `image`.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Stated(_) => "stated",
            Self::Published(_) => "published",
            Self::Exposed(_) => "exposed",
            Self::Healthcheck(_) => "healthcheck",
            Self::Image(_) => "image",
        }
    }
}

/// What a service is known to listen on, each port of a protocol once, best known first (of a
/// `listen` that states one port for several addresses, each of them).
#[must_use]
pub fn listens(service: &Service, images: &Images) -> Vec<Listen> {
    known(service, images).collect()
}

/// The same, one after the other.
pub(crate) fn known(service: &Service, images: &Images) -> impl Iterator<Item = Listen> {
    let stated = service.vethlab.listen.as_ref();
    let others = stated.is_none().then(|| guessed(service, images));
    stated
        .into_iter()
        .flatten()
        .cloned()
        .chain(others.into_iter().flatten())
}

/// What is known when nothing is stated.
fn guessed(service: &Service, images: &Images) -> impl Iterator<Item = Listen> {
    let open = |port, protocol, known| Listen {
        port,
        protocol,
        address: None,
        known,
    };
    let published = service
        .ports
        .iter()
        .map(move |port| open(port.target, port.protocol, Known::Published(port.at)));
    let exposed = service.expose.iter().flat_map(move |expose| {
        (expose.first..=expose.last)
            .map(move |port| open(port, expose.protocol, Known::Exposed(expose.at)))
    });
    let health = health::ports(service).into_iter();
    let health = health.map(move |(port, at)| open(port, Protocol::Tcp, Known::Healthcheck(at)));
    let image = service.image.as_ref().and_then(|image| images.find(image));
    let image = image
        .into_iter()
        .flat_map(|image| image.listen.iter().cloned());
    let mut seen = BTreeSet::new();
    published
        .chain(exposed)
        .chain(health)
        .chain(image)
        .filter(move |listen| seen.insert((listen.port, listen.protocol)))
}

/// Reads a `listen`: one entry or a list of `PORT`, `PORT-PORT`, `ADDRESS:PORT`, each with
/// `/PROTOCOL` if it is not TCP.
pub(crate) fn stated(node: &Node) -> Result<Vec<Listen>, Fault> {
    let single = core::slice::from_ref(node);
    let items = match &node.value {
        Value::List(items) => items.as_slice(),
        Value::Null => &[],
        _ => single,
    };
    let mut out: Vec<Listen> = Vec::new();
    let mut seen = BTreeSet::new();
    for item in items {
        for listen in one(item)? {
            if seen.insert((listen.port, listen.protocol, listen.address)) {
                out.push(listen);
            }
            if out.len() > MAX_STATED {
                let text = format!("listen has more than {MAX_STATED} ports");
                return Err(Fault::new(ErrorKind::TooLarge, item.at, text));
            }
        }
    }
    Ok(out)
}

fn one(item: &Node) -> Result<Vec<Listen>, Fault> {
    let text = item.text().unwrap_or_default();
    let bad = || {
        let message = format!("listen: `{text}` is no port");
        Fault::invalid(item.at, message)
            .hint("write 80, \"53/udp\", \"127.0.0.1:3000\" or \"[::1]:3000\"")
    };
    let (address, ports) = match text.rsplit_once(':') {
        None => (None, text.as_str()),
        Some((address, port)) => {
            let inner = address
                .strip_prefix('[')
                .and_then(|rest| rest.strip_suffix(']'));
            let address = inner
                .unwrap_or(address)
                .parse::<IpAddr>()
                .map_err(|_| bad())?;
            (Some(address), port)
        }
    };
    let (first, last, protocol) = ports::listened(ports).ok_or_else(bad)?;
    if first == 0 || usize::from(last - first) >= MAX_STATED {
        return Err(bad());
    }
    // `[::]` listens in both families, as Linux has it.
    let both = |address: &IpAddr| address.is_ipv6() && address.is_unspecified();
    let address = address.filter(|address| !both(address));
    Ok((first..=last)
        .map(|port| Listen {
            port,
            protocol,
            address,
            known: Known::Stated(item.at),
        })
        .collect())
}
