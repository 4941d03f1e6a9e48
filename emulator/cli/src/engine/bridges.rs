//! `bridge link`, `bridge fdb show`, `brctl show`, `brctl showmacs`, as bridge-utils and iproute2 print them.

use vethlab::core::id::{BridgeId, IfId};
use vethlab::core::netns::Netns;
use vethlab::core::switch::bridge::Bridge;
use vethlab::core::switch::fdb::Kind;

use super::LabEngine;
use crate::output::Output;

impl LabEngine {
    fn host_ns(&self) -> Option<&Netns> {
        self.lab.net().ns(self.lab.places().host)
    }

    /// The bridges of the host with their names, by number.
    fn bridges(&self) -> Vec<(String, &Bridge)> {
        let Some(host) = self.host_ns() else {
            return Vec::new();
        };
        (0..)
            .map(BridgeId)
            .take(self.lab.net().bridge_numbers())
            .filter_map(|id| self.lab.net().bridge(id))
            .filter_map(|bridge| Some((host.iface(bridge.interface())?.name.clone(), bridge)))
            .collect()
    }

    fn name(&self, iface: IfId) -> String {
        self.host_ns()
            .and_then(|host| host.iface(iface))
            .map_or_else(String::new, |iface| iface.name.clone())
    }

    pub(super) fn bridge_line(&self, program: &str, words: &[&str]) -> Output {
        match (program, words) {
            ("bridge", ["link"] | ["link", "show"]) => Output::out(self.bridge_link(None)),
            ("bridge", ["link", "show", "master" | "dev", name] | ["link", "show", name]) => {
                Output::out(self.bridge_link(Some(name)))
            }
            ("bridge", ["fdb"] | ["fdb", "show"]) => Output::out(self.bridge_fdb(None)),
            ("bridge", ["fdb", "show", "br", name] | ["fdb", "show", "dev" | "master", name]) => {
                Output::out(self.bridge_fdb(Some(name)))
            }
            ("brctl", ["show"]) => Output::out(self.brctl_show(None)),
            ("brctl", ["show", name]) => Output::out(self.brctl_show(Some(name))),
            ("brctl", ["showmacs", name]) => Output::out(self.brctl_macs(name)),
            _ => Output::err(format!("{program}: this form is not known here\n"), 255),
        }
    }

    fn bridge_link(&self, only: Option<&str>) -> String {
        let mut text = String::new();
        let Some(host) = self.host_ns() else {
            return text;
        };
        for (bridge_name, bridge) in self.bridges() {
            for (_, port) in bridge.ports() {
                let Some(iface) = host.iface(port.interface) else {
                    continue;
                };
                if only.is_some_and(|only| only != bridge_name && only != iface.name) {
                    continue;
                }
                let peer = iface
                    .peer
                    .map(|peer| format!("@if{}", peer.id.0))
                    .unwrap_or_default();
                text.push_str(&format!(
                    "{}: {}{peer}: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu {} master {bridge_name} state forwarding priority 32 cost 2 \n",
                    iface.id.0, iface.name, iface.mtu
                ));
            }
        }
        text
    }

    fn bridge_fdb(&self, only: Option<&str>) -> String {
        let mut text = String::new();
        for (bridge_name, bridge) in self.bridges() {
            for entry in bridge.fdb().entries(self.lab.now()) {
                let port = entry.port.and_then(|port| bridge.port(port));
                let dev =
                    port.map_or_else(|| bridge_name.clone(), |port| self.name(port.interface));
                if only.is_some_and(|only| only != bridge_name && only != dev) {
                    continue;
                }
                let permanent = if entry.kind == Kind::Learned {
                    ""
                } else {
                    " permanent"
                };
                text.push_str(&format!(
                    "{} dev {dev} master {bridge_name}{permanent}\n",
                    mac(entry.address.0)
                ));
            }
        }
        text
    }

    fn brctl_show(&self, only: Option<&str>) -> String {
        let mut text = "bridge name\tbridge id\t\tSTP enabled\tinterfaces\n".to_owned();
        for (name, bridge) in self.bridges() {
            if only.is_some_and(|only| only != name) {
                continue;
            }
            let id: String = bridge
                .address()
                .0
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            let ports: Vec<String> = bridge
                .ports()
                .map(|(_, port)| self.name(port.interface))
                .collect();
            text.push_str(&format!(
                "{name}\t\t8000.{id}\tno\t\t{}\n",
                ports.first().map_or("", String::as_str)
            ));
            for port in ports.iter().skip(1) {
                text.push_str(&format!("\t\t\t\t\t\t\t{port}\n"));
            }
        }
        text
    }

    fn brctl_macs(&self, name: &str) -> String {
        let mut text = "port no\tmac addr\t\tis local?\tageing timer\n".to_owned();
        for (_, bridge) in self
            .bridges()
            .into_iter()
            .filter(|(found, _)| found == name)
        {
            for entry in bridge.fdb().entries(self.lab.now()) {
                let number = entry.port.map_or(0, |port| port.0 + 1);
                let local = if entry.kind == Kind::Learned {
                    "no"
                } else {
                    "yes"
                };
                let age = entry.age.as_secs_f64();
                text.push_str(&format!(
                    "{number:3}\t{}\t{local}\t\t{age:7.2}\n",
                    mac(entry.address.0)
                ));
            }
        }
        text
    }
}

fn mac(bytes: [u8; 6]) -> String {
    bytes.map(|byte| format!("{byte:02x}")).join(":")
}
