//! What a bare TAP has in place of a container's files: DHCP, router advertisements and DNS at the gateway.
//!
//! The first machine gets the address of the container whose `eth0` the TAP is; each other one that comes through
//! it (behind a bridge of the kernel, say) that of a container of its own, which is made when it asks. On IPv6 networks
//! each makes itself an address, which its container does not know: its name leads to it by IPv4.

use core::net::IpAddr;
use core::time::Duration;

use emulator_core::docker::spec::ContainerSpec;
use emulator_core::id::{IfId, NsId, SockId};
use emulator_core::joining::{Heard, INTERVAL, Joining};

use super::gateway::Gateway;
use crate::means::Means;
use crate::runtime::Cx;

/// What stands where a container has its image.
pub const IMAGE: &str = "vethlab/attached";

/// Where a bare TAP is.
#[derive(Clone, Debug)]
pub struct Place {
    /// The network, by its name in the engine.
    pub network: String,
    /// The container whose `eth0` it is.
    pub container: String,
    /// The container's namespace.
    pub ns: NsId,
    /// The host's namespace.
    pub host: NsId,
}

/// What answers the machines at a bare TAP.
#[derive(Debug)]
pub struct Joined {
    joining: Joining,
    place: Place,
    means: Means,
    dns: Option<Gateway>,
    /// The containers of further machines.
    others: Vec<(String, Option<IpAddr>)>,
}

impl Joined {
    /// Answers at a place of a network whose first address `joining` has.
    #[must_use]
    pub const fn new(joining: Joining, place: Place, means: Means) -> Self {
        Self {
            joining,
            place,
            means,
            dns: None,
            others: Vec::new(),
        }
    }

    /// Opens the DNS; `key` comes back with its sockets.
    pub(super) fn open(&mut self, cx: &mut Cx<'_>, key: u64) {
        let segment = self.joining.segment();
        let v4 = segment.v4.as_ref().and_then(|v4| v4.dns).map(IpAddr::V4);
        let v6 = segment.v6.as_ref().and_then(|v6| v6.dns).map(IpAddr::V6);
        let addresses: Vec<IpAddr> = v4.into_iter().chain(v6).collect();
        match Gateway::new(cx, self.place.host, &addresses, key) {
            Ok(dns) => self.dns = Some(dns),
            Err((ip, errno)) => self.means.say(&format!(
                "no DNS for the machines at {}: {ip}:53 of the lab's host: {errno}",
                self.place.container
            )),
        }
        self.again(cx);
    }

    /// Sets the alarm for the next advertisement.
    fn again(&self, cx: &mut Cx<'_>) {
        if self.joining.segment().v6.is_some() {
            cx.wake_at(cx.now() + INTERVAL);
        }
    }

    /// The advertisement that is due.
    pub(super) fn due(&self, cx: &mut Cx<'_>) -> Option<Vec<u8>> {
        self.again(cx);
        self.joining.advertised()
    }

    /// Looks at a frame that comes in.
    pub(super) fn hear(&mut self, cx: &mut Cx<'_>, frame: &[u8], sink: u64) -> Heard {
        match self.joining.hear(cx.now(), frame) {
            Heard::Wanting if self.another(cx, sink) => self.joining.hear(cx.now(), frame),
            heard => heard,
        }
    }

    /// Makes a container for another machine. What comes for its own `eth0` goes to `sink`.
    fn another(&mut self, cx: &mut Cx<'_>, sink: u64) -> bool {
        let name = format!("{}-{}", self.place.container, self.others.len() + 2);
        let spec = ContainerSpec {
            name: Some(name.clone()),
            image: IMAGE.to_owned(),
            listens: Some(Vec::new()),
            network_mode: self.place.network.clone(),
            ..ContainerSpec::default()
        };
        let made = cx.lab.create(spec).and_then(|_| cx.lab.start(&name));
        if let Err(error) = made {
            self.means.say(&format!(
                "no address for another machine at {}: {error}",
                self.place.container
            ));
            // It may have been made, and then not started.
            let _there = cx.lab.remove(&name, true);
            return false;
        }
        let eth0 = cx.lab.namespace(&name).and_then(|ns| {
            let eth0 = cx.lab.net().ns(ns)?.iface_named("eth0")?;
            let v4 = eth0
                .addrs
                .iter()
                .find_map(|address| match address.net.addr() {
                    IpAddr::V4(ip) => Some(ip),
                    IpAddr::V6(_) => None,
                });
            Some((eth0.id, v4?))
        });
        let ip = eth0.map(|(_, ip)| IpAddr::V4(ip));
        self.others.push((name.clone(), ip));
        eth0.is_some_and(|(iface, ip)| {
            // The machine speaks for itself, with a MAC of its own.
            cx.lab.net_mut().raw(iface, true);
            cx.lab.net_mut().announce(iface, 0, Duration::ZERO);
            cx.own_iface(iface, sink);
            self.joining.add(ip, &name)
        })
    }

    /// Frames for a container that only stands for a machine: that has its own copy.
    pub(super) fn sink(cx: &mut Cx<'_>, iface: IfId) {
        while cx.lab.net_mut().raw_recv(iface, |_| ()).is_some() {}
    }

    /// A socket of the DNS has something.
    pub(super) fn lab_ready(&mut self, cx: &mut Cx<'_>, sock: SockId) {
        let others = self.others.iter();
        let spaces: Vec<(IpAddr, NsId)> = others
            .filter_map(|(name, ip)| Some(((*ip)?, cx.lab.namespace(name)?)))
            .collect();
        let of = |ip: IpAddr| {
            let other = spaces.iter().find(|(own, _)| *own == ip);
            other.map_or(self.place.ns, |(_, ns)| *ns)
        };
        if let Some(dns) = &mut self.dns {
            dns.ready(cx, sock, of);
        }
    }

    /// Gives up everything but the first container.
    pub(super) fn end(&mut self, cx: &mut Cx<'_>) {
        if let Some(mut dns) = self.dns.take() {
            dns.close(cx);
        }
        for (name, _) in self.others.drain(..) {
            // Nobody else takes it away.
            let _there = cx.lab.remove(&name, true);
        }
    }
}
