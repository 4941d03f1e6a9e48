//! What services dial, as their files say, and which of it leads nowhere.

use core::net::{IpAddr, SocketAddr};

use emulator_compose::{Dial, DialIn, Protocol};
use emulator_model::{End, Reach, Transport};

use super::oracle::Oracle;
use super::scene::{Scene, transport};

/// A dial that leads nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lost {
    pub(crate) dial: Dial,
    pub(crate) why: String,
}

/// Tries each dial from the first container of its service. Whose port nobody states can be looked up only; what is
/// outside the project may well answer elsewhere.
pub(crate) fn lost(dials: &[Dial], scene: &Scene<'_>, oracle: &mut dyn Oracle) -> Vec<Lost> {
    let mut lost = Vec::new();
    for dial in dials {
        let Some(from) = scene.containers(&dial.service).find(|c| c.running) else {
            continue;
        };
        let from = End::Container(from.name.clone());
        if let Some(why) = try_one(dial, &from, scene, oracle) {
            let dial = dial.clone();
            lost.push(Lost { dial, why });
        }
    }
    lost
}

fn try_one(dial: &Dial, from: &End, scene: &Scene<'_>, oracle: &mut dyn Oracle) -> Option<String> {
    let addresses = match dial.host.parse::<IpAddr>() {
        Ok(address) => vec![address],
        Err(_) => oracle.lookup(from, &dial.host)?,
    };
    if addresses.is_empty() {
        return Some("the name does not resolve".to_owned());
    }
    let (port, transport) = (dial.port?, transport(dial.protocol)?);
    let mut why = None;
    for address in addresses {
        let seen = oracle.reach(from, SocketAddr::new(address, port), transport);
        if seen.reach == Reach::Open || !is_ours(address, port, transport, &seen.reach, scene) {
            return None;
        }
        let word = seen.why.unwrap_or_else(|| "silence".to_owned());
        why.get_or_insert_with(|| format!("{address} does not answer ({word})"));
    }
    why
}

/// Whether an address is the project's to answer for. A refusal of somebody whose ports are not known says nothing.
fn is_ours(address: IpAddr, port: u16, t: Transport, reach: &Reach, scene: &Scene<'_>) -> bool {
    if address.is_loopback() {
        return false;
    }
    match scene
        .assigned
        .holder(address)
        .and_then(|holder| scene.service_of(holder))
    {
        Some(service) if matches!(reach, Reach::Refused | Reach::Closed) => {
            !scene.sockets(&service.name, port, t).is_empty()
        }
        Some(_) => true,
        None => false,
    }
}

/// A dial in words.
pub(crate) fn words(lost: &Lost) -> String {
    let dial = &lost.dial;
    let how = match &dial.how {
        DialIn::Command => "command".to_owned(),
        DialIn::DependsOn => "depends_on".to_owned(),
        DialIn::Entrypoint => "entrypoint".to_owned(),
        DialIn::Environment(name) => name.clone(),
        DialIn::Healthcheck => "healthcheck".to_owned(),
        DialIn::Label(name) => format!("label {name}"),
        DialIn::Link => "links".to_owned(),
    };
    let port = match (dial.port, dial.protocol) {
        (None, _) => String::new(),
        (Some(port), Protocol::Tcp) => format!(":{port}"),
        (Some(port), protocol) => format!(":{port}/{protocol}"),
    };
    format!(
        "{} dials {}{port} ({how}): {}",
        dial.service, dial.host, lost.why
    )
}
