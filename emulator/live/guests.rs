//! Programs outside on a network of the project: each is a container of the model as long as its client is there.

use std::collections::{BTreeMap, VecDeque};
use std::net::{TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::time::Duration;

use emulator_compose::Project;
use emulator_core::docker::spec::ContainerSpec;
use emulator_core::lab::Lab;
use emulator_core::switch::Time;
use emulator_host::attach::{Frames, Front, Guest, IMAGE, Tally};
use emulator_host::control::ClientId;
use emulator_host::runtime::{AttachmentId, Cx};
use serde_json::{Value, json};

use crate::project::{Started, Up};

/// Programs outside at a time.
const GUESTS: usize = 32;
/// What stands where a container has its service.
const SERVICE: &str = "(attached)";

/// How long the interface of a program that is gone is there still, if nobody else comes: what it sent last is on its way.
const LAST: Duration = Duration::from_millis(20);

/// A program that is gone, and its container, which is not yet.
#[derive(Debug)]
struct Leaving {
    until: Time,
    attachment: AttachmentId,
    container: String,
}

impl Leaving {
    fn end(self, cx: &mut Cx<'_>) {
        cx.end(self.attachment);
        // Nobody else takes it away.
        let _there = cx.lab.remove(&self.container, true);
    }
}

/// The programs outside.
#[derive(Debug, Default)]
pub(super) struct Guests {
    all: BTreeMap<ClientId, (AttachmentId, String, Tally)>,
    /// Those who are gone, the first one first.
    leaving: VecDeque<Leaving>,
    /// The containers of bare TAPs.
    taps: Vec<(String, Tally)>,
    /// How many there were.
    count: u32,
}

impl Guests {
    /// None yet, but for those who join a TAP.
    pub(super) fn new(taps: Vec<(String, Tally)>) -> Self {
        Self {
            taps,
            ..Self::default()
        }
    }

    /// Makes a container for a client whose `eth0` is the descriptor that it sent, and says what it is.
    ///
    /// # Errors
    /// A sentence, Docker's where it is the model that refuses.
    pub(super) fn attach(
        &mut self,
        cx: &mut Cx<'_>,
        (project, up): (&Project, &mut Up),
        (from, descriptors): (ClientId, Vec<OwnedFd>),
        request: &Value,
    ) -> Result<Value, String> {
        let mut descriptors = descriptors.into_iter();
        let frames = descriptors
            .next()
            .ok_or("attach needs the descriptor of an interface")?;
        let dns = match (descriptors.next(), descriptors.next()) {
            (Some(udp), Some(tcp)) => Some((UdpSocket::from(udp), TcpListener::from(tcp))),
            _ => None,
        };
        if self.all.len() >= GUESTS {
            return Err(format!("{GUESTS} programs are attached already"));
        }
        let network = network(
            cx.lab,
            project,
            request["network"].as_str().unwrap_or_default(),
        )?;
        let number = self.count + 1;
        let given = request["name"].as_str().map(str::to_owned);
        let name = given.unwrap_or_else(|| format!("{}-attached-{number}", project.name));
        // Their names and addresses are free.
        self.leave(cx, Time::MAX);
        let spec = ContainerSpec {
            name: Some(name.clone()),
            image: IMAGE.to_owned(),
            listens: Some(Vec::new()),
            network_mode: network,
            ..ContainerSpec::default()
        };
        cx.lab.create(spec).map_err(|error| error.to_string())?;
        let tally = Tally::default();
        let made = start(cx, &name, frames, dns, tally.clone());
        let (attachment, value) = match made {
            Ok(made) => made,
            Err(sentence) => {
                // It was made a moment ago.
                let _made = cx.lab.remove(&name, true);
                return Err(sentence);
            }
        };
        self.count = number;
        self.all.insert(from, (attachment, name.clone(), tally));
        up.containers.push(Started {
            service: SERVICE.to_owned(),
            number,
            container: name,
            error: None,
        });
        Ok(value)
    }

    /// A client is gone, and with it its container.
    pub(super) fn gone(&mut self, cx: &mut Cx<'_>, up: &mut Up, client: ClientId) {
        if let Some((attachment, container, _)) = self.all.remove(&client) {
            up.containers
                .retain(|started| started.container != container);
            self.leaving.push_back(Leaving {
                until: cx.now() + LAST,
                attachment,
                container,
            });
            self.leave(cx, cx.now());
        }
    }

    /// Takes away those who have been gone long enough at a time, and sees to the others later.
    pub(super) fn leave(&mut self, cx: &mut Cx<'_>, now: Time) {
        while let Some(gone) = self.leaving.pop_front_if(|gone| gone.until <= now) {
            gone.end(cx);
        }
        let next = self.leaving.front().map_or(Time::MAX, |gone| gone.until);
        cx.wake_at(next);
    }

    /// Whether a container is one of these.
    pub(super) fn has(&self, container: &str) -> bool {
        self.each().any(|(name, _)| name == container)
    }

    fn each(&self) -> impl Iterator<Item = (&String, &Tally)> {
        let programs = self.all.values().map(|(_, name, tally)| (name, tally));
        programs.chain(self.taps.iter().map(|(name, tally)| (name, tally)))
    }

    /// What became of the frames of each.
    pub(super) fn counts(&self) -> Vec<Value> {
        let told = self.each().map(|(name, tally)| {
            let counts = tally.get();
            json!({
                "name": name,
                "sent": counts.sent,
                "received": counts.received,
                "answered": counts.answered,
                "dropped": {"unknown-offload": counts.odd, "no-buffer": counts.no_buffer},
            })
        });
        told.collect()
    }
}

/// The engine's name of a network of the project, which is given by its key or by that name.
pub(super) fn network(lab: &Lab, project: &Project, given: &str) -> Result<String, String> {
    let full = format!("{}_{given}", project.name);
    let names = [full.as_str(), given];
    if let Some(name) = names
        .into_iter()
        .find(|name| lab.network_id(name).is_some())
    {
        return Ok(name.to_owned());
    }
    let keys: Vec<&str> = project.networks.iter().map(|it| it.key.as_str()).collect();
    Err(format!(
        "{} has no network {given}; its networks are {}",
        project.name,
        keys.join(", ")
    ))
}

fn start(
    cx: &mut Cx<'_>,
    name: &str,
    frames: OwnedFd,
    dns: Option<(UdpSocket, TcpListener)>,
    tally: Tally,
) -> Result<(AttachmentId, Value), String> {
    cx.lab.start(name).map_err(|error| error.to_string())?;
    let (ns, value) = described(cx.lab, name).ok_or("the network has no interface to attach to")?;
    let iface = cx
        .lab
        .net()
        .ns(ns)
        .and_then(|netns| netns.iface_named("eth0"));
    let iface = iface
        .map(|iface| iface.id)
        .ok_or("the network has no eth0")?;
    let attachment = cx
        .attach(|cx| {
            let frames = Frames::new(frames, true)?;
            Guest::new(cx, (ns, iface), frames, Front::Told(dns), tally)
        })
        .map_err(|error| format!("the descriptor that was sent cannot be waited for: {error}"))?;
    Ok((attachment, value))
}

/// What the client makes of its namespace.
fn described(lab: &Lab, name: &str) -> Option<(emulator_core::id::NsId, Value)> {
    let ns = lab.namespace(name)?;
    let netns = lab.net().ns(ns)?;
    let eth0 = netns.iface_named("eth0")?;
    let addresses: Vec<String> = eth0
        .addrs
        .iter()
        .map(|address| address.net)
        .filter(
            |net| !matches!(net.addr(), core::net::IpAddr::V6(v6) if v6.is_unicast_link_local()),
        )
        .map(|net| net.to_string())
        .collect();
    let routes = [false, true].into_iter().flat_map(|v6| netns.routes(v6));
    let gateways: Vec<String> = routes
        .filter(|route| route.is_default())
        .filter_map(|route| route.via.map(|via| via.to_string()))
        .collect();
    let docker = lab.docker();
    let value = json!({
        "name": name,
        "mac": eth0.mac,
        "mtu": eth0.mtu,
        "addresses": addresses,
        "gateways": gateways,
        "hostname": docker.hostname(name).ok()?,
        "hosts": docker.hosts_file(name).ok()?,
        "resolv_conf": docker.resolv_conf(name).ok()?,
    });
    Some((ns, value))
}
