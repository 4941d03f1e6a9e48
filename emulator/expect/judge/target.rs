//! Whether a goal could be reached at all: a claim that something is closed says nothing of who is not there.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use emulator_model::{End, Reach, Transport};

use super::{Judge, What};
use crate::expect::scene::{Asker, Goal};

impl Judge<'_, '_> {
    /// What is wrong with a target itself: nobody runs, or its program does not take calls where nothing is in the
    /// way. Asked in this very run.
    pub(super) fn target(&mut self, goal: &Goal) -> Option<What> {
        let listening = match goal {
            Goal::Service(service, asked, transport) => {
                let containers: Vec<String> = self
                    .scene
                    .containers(service)
                    .filter(|container| container.running)
                    .map(|container| container.name.clone())
                    .collect();
                if containers.is_empty() {
                    let service = service.clone();
                    return Some(What::NotRunning { service });
                }
                // As everybody means it who is no container, or as containers do.
                let host = Asker {
                    end: End::Host,
                    service: None,
                };
                let mut ports = self.scene.ports(&host, service, *asked, *transport);
                ports.push(*asked);
                containers.iter().all(|name| {
                    let end = End::Container(name.clone());
                    ports
                        .iter()
                        .any(|&port| self.takes(&end, service, port, *transport))
                })
            }
            Goal::Place(place, port, transport) => self.takes_at(place, None, *port, *transport),
            Goal::Address(address, port, transport) => self.held(*address, *port, *transport),
            Goal::Name(name, port, transport) => {
                let all = self.holders(name);
                if all.is_empty() {
                    let name = name.clone();
                    return Some(What::NoSuchName { name });
                }
                all.into_iter()
                    .all(|address| self.held(address, *port, *transport))
            }
            Goal::Unknown(_) => true,
        };
        (!listening).then(|| What::NotListening { goal: goal.clone() })
    }

    /// Whether a container's program answers on one of its sockets of that port in its own namespace.
    fn takes(&mut self, end: &End, service: &str, port: u16, transport: Transport) -> bool {
        let sockets = self.scene.sockets(service, port, transport);
        let addresses: Vec<Option<IpAddr>> = sockets.iter().map(|socket| socket.address).collect();
        if transport == Transport::Icmp {
            return self.takes_at(end, None, port, transport);
        }
        addresses
            .into_iter()
            .any(|address| self.takes_at(end, address, port, transport))
    }

    fn takes_at(
        &mut self,
        end: &End,
        address: Option<IpAddr>,
        port: u16,
        transport: Transport,
    ) -> bool {
        let own = match address {
            Some(IpAddr::V6(any)) if any.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            Some(bound) if !bound.is_unspecified() => bound,
            _ => Ipv4Addr::LOCALHOST.into(),
        };
        let seen = self
            .oracle
            .reach(end, SocketAddr::new(own, port), transport);
        seen.reach == Reach::Open
    }

    /// Whether whoever has an address answers there when it asks itself.
    fn held(&mut self, address: IpAddr, port: u16, transport: Transport) -> bool {
        let end = match self.scene.assigned.holder(address) {
            Some(container) => End::Container(container.name.clone()),
            None if self.scene.machine.lan.contains(&address) => End::Lan,
            None if self
                .scene
                .machine
                .internet
                .iter()
                .any(|net| net.contains(&address)) =>
            {
                End::Internet
            }
            None => End::Host,
        };
        let seen = self
            .oracle
            .reach(&end, SocketAddr::new(address, port), transport);
        seen.reach == Reach::Open
    }
}
