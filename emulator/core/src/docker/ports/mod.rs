//! Published ports: from `-p` to host ports that are taken.
//!
//! Models `libnetwork/portallocator`, the order of `libnetwork/portmapperapi` and what the bridge
//! driver makes of a request (`port_mapping_linux.go`); for Docker 20.10 what it did before.

pub mod alloc;
pub mod grammar;

use core::cmp::Reverse;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub use alloc::{PortAllocator, PortError};
pub use grammar::{parse_expose, parse_port_spec};

use super::plumb::{GatewayMode, Published};
use super::spec::{Engine, HostPort, PortBinding};

/// A mapping's host addresses that have to share one port, and the container's address behind each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// What was asked for.
    pub binding: PortBinding,
    /// Host address and container address.
    pub pairs: Vec<(IpAddr, IpAddr)>,
    /// The port; `None` until one is taken, and in routed mode.
    pub host_port: Option<u16>,
    /// Routed mode: no host port is bound.
    pub routed: bool,
}

impl Group {
    /// As the kernel's side is told of it.
    pub fn published(&self) -> impl Iterator<Item = Published> + '_ {
        self.pairs.iter().map(|(host_ip, container_ip)| Published {
            host_ip: *host_ip,
            host_port: self.host_port.unwrap_or(0),
            container_ip: *container_ip,
            port: self.binding.port,
        })
    }

    /// Whether another port may be tried when one turns out to be in use: 20.10 does so for ports that it
    /// picks itself, not for those of a range.
    #[must_use]
    pub const fn may_move(&self, engine: Engine) -> bool {
        match self.binding.host_port {
            HostPort::Exact(_) => false,
            HostPort::Range(..) => matches!(engine, Engine::V29),
            HostPort::Ephemeral => true,
        }
    }

    fn hosts(&self) -> Vec<IpAddr> {
        self.pairs.iter().map(|(host, _)| *host).collect()
    }

    /// Takes a port.
    ///
    /// # Errors
    /// See [`PortError`].
    pub fn take(&mut self, ports: &mut PortAllocator) -> Result<(), PortError> {
        if self.routed {
            return Ok(());
        }
        let (hosts, proto) = (self.hosts(), self.binding.port.proto);
        let port = match self.binding.host_port {
            HostPort::Exact(port) => ports.take(&hosts, proto, port).map(|()| port)?,
            HostPort::Range(from, to) => ports.take_from(&hosts, proto, Some((from, to)))?,
            HostPort::Ephemeral => ports.take_from(&hosts, proto, None)?,
        };
        self.host_port = Some(port);
        Ok(())
    }

    /// Gives the port back.
    pub fn give_back(&mut self, ports: &mut PortAllocator) {
        if let Some(port) = self.host_port.take() {
            for (host, _) in &self.pairs {
                ports.give_back(*host, self.binding.port.proto, port);
            }
        }
    }
}

/// What an endpoint publishes for, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// Which engine.
    pub engine: Engine,
    /// The container's IPv4 address, if this endpoint is its way out for IPv4.
    pub v4: Option<Ipv4Addr>,
    /// The same for IPv6.
    pub v6: Option<Ipv6Addr>,
    /// IPv6 clients reach the IPv4 address through the proxy: it runs, and no other endpoint is the
    /// container's way out for IPv6.
    pub proxy_v6: bool,
    /// Where to bind if the mapping does not say.
    pub default_ip: IpAddr,
    /// The host listens on IPv6.
    pub host_v6: bool,
    /// The network's gateway mode for IPv4.
    pub mode_v4: GatewayMode,
    /// The same for IPv6.
    pub mode_v6: GatewayMode,
}

impl Target {
    fn behind(&self, host: IpAddr) -> Option<(IpAddr, bool)> {
        let routed = |mode| mode == GatewayMode::Routed;
        if host.is_ipv4() {
            self.v4.map(|ip| (IpAddr::V4(ip), routed(self.mode_v4)))
        } else if let Some(ip) = self.v6 {
            Some((IpAddr::V6(ip), routed(self.mode_v6)))
        } else if self.proxy_v6 && !routed(self.mode_v4) {
            self.v4.map(|ip| (IpAddr::V4(ip), false))
        } else {
            None
        }
    }

    /// The host addresses of a mapping: the one it names, or the default; everywhere is both families.
    fn hosts(&self, binding: &PortBinding) -> Vec<IpAddr> {
        match binding.host_ip {
            Some(ip) => vec![ip],
            None if self.default_ip == IpAddr::V4(Ipv4Addr::UNSPECIFIED) && self.host_v6 => {
                vec![self.default_ip, IpAddr::V6(Ipv6Addr::UNSPECIFIED)]
            }
            None => vec![self.default_ip],
        }
    }

    /// What to take for `bindings`, in the order in which it has to be taken.
    #[must_use]
    pub fn groups(&self, bindings: &[PortBinding]) -> Vec<Group> {
        let mut groups = Vec::new();
        for binding in bindings {
            let mut bound = Vec::new();
            for host in self.hosts(binding) {
                let Some((container, routed)) = self.behind(host) else {
                    continue;
                };
                let group = Group {
                    binding: *binding,
                    pairs: vec![(host, container)],
                    host_port: None,
                    routed,
                };
                if routed || self.engine == Engine::V20_10 {
                    groups.push(group);
                } else {
                    bound.push((host, container));
                }
            }
            if !bound.is_empty() {
                groups.push(Group {
                    binding: *binding,
                    pairs: bound,
                    host_port: None,
                    routed: false,
                });
            }
        }
        groups
    }
}

/// Sorts mappings into the order in which their ports are taken: in Docker 29 exact host ports before
/// ranges before ephemeral ones, then by container port and protocol; in Docker 20.10 larger host
/// ports first, then larger container ports, TCP before the others.
pub fn sort(engine: Engine, bindings: &mut [PortBinding]) {
    match engine {
        Engine::V29 => bindings.sort_by_key(|b| {
            let class = match b.host_port {
                HostPort::Exact(_) => (0, 0, 0),
                HostPort::Range(from, to) => (1, from, to),
                HostPort::Ephemeral => (2, 0, 0),
            };
            (class.0, b.port.number, b.port.proto, class.1, class.2)
        }),
        Engine::V20_10 => bindings.sort_by_key(|b| {
            // A range is no number to Go's Atoi, so it counts as 0.
            let host = match b.host_port {
                HostPort::Exact(port) => port,
                HostPort::Range(..) | HostPort::Ephemeral => 0,
            };
            (Reverse(host), Reverse(b.port.number), b.port.proto)
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: Target = Target {
        engine: Engine::V29,
        v4: Some(Ipv4Addr::new(172, 19, 0, 2)),
        v6: None,
        proxy_v6: true,
        default_ip: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        host_v6: true,
        mode_v4: GatewayMode::Nat,
        mode_v6: GatewayMode::Nat,
    };

    fn run(
        target: Target,
        ports: &mut PortAllocator,
        specs: &[&str],
    ) -> Result<Vec<String>, PortError> {
        let mut bindings: Vec<_> = specs
            .iter()
            .flat_map(|s| parse_port_spec(s).unwrap())
            .collect();
        sort(target.engine, &mut bindings);
        let mut out = Vec::new();
        for mut group in target.groups(&bindings) {
            group.take(ports)?;
            out.extend(group.published().map(|p| {
                format!(
                    "{}>{}:{}",
                    std::net::SocketAddr::new(p.host_ip, p.host_port),
                    p.container_ip,
                    p.port
                )
            }));
        }
        Ok(out)
    }

    fn ports(engine: Engine) -> PortAllocator {
        PortAllocator::new(engine, (32768, 60999), &[])
    }

    #[test]
    fn mappings() {
        let v6 = Target {
            v6: Some("fd00::2".parse().unwrap()),
            ..TARGET
        };
        let rows: &[(&str, Target, &[&str], &str)] = &[
            (
                "61",
                TARGET,
                &["22", "80"],
                "0.0.0.0:32768>172.19.0.2:22/tcp [::]:32768>172.19.0.2:22/tcp 0.0.0.0:32769>172.19.0.2:80/tcp [::]:32769>172.19.0.2:80/tcp",
            ),
            (
                "dual",
                v6,
                &["8080:80"],
                "0.0.0.0:8080>172.19.0.2:80/tcp [::]:8080>fd00::2:80/tcp",
            ),
            (
                "63",
                TARGET,
                &["12345-12346:12345", "12345:12345"],
                "0.0.0.0:12345>172.19.0.2:12345/tcp [::]:12345>172.19.0.2:12345/tcp 0.0.0.0:12346>172.19.0.2:12345/tcp [::]:12346>172.19.0.2:12345/tcp",
            ),
            (
                "64",
                Target {
                    default_ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
                    ..TARGET
                },
                &["8080:80"],
                "127.0.0.1:8080>172.19.0.2:80/tcp",
            ),
            (
                "no proxy",
                Target {
                    proxy_v6: false,
                    ..TARGET
                },
                &["8080:80"],
                "0.0.0.0:8080>172.19.0.2:80/tcp",
            ),
            (
                "no v6 host",
                Target {
                    host_v6: false,
                    ..TARGET
                },
                &["8080:80"],
                "0.0.0.0:8080>172.19.0.2:80/tcp",
            ),
            (
                "v6 address, v4 container",
                TARGET,
                &["[::1]:8080:80"],
                "[::1]:8080>172.19.0.2:80/tcp",
            ),
            (
                "v4 address, v6 way out elsewhere",
                Target { v4: None, ..v6 },
                &["192.0.2.2:8080:80"],
                "",
            ),
            (
                "routed",
                Target {
                    mode_v4: GatewayMode::Routed,
                    proxy_v6: false,
                    ..TARGET
                },
                &["8080:80"],
                "0.0.0.0:0>172.19.0.2:80/tcp",
            ),
        ];
        for (case, target, specs, expected) in rows {
            let got = run(*target, &mut ports(Engine::V29), specs).unwrap();
            assert_eq!(got.join(" "), *expected, "case {case}");
        }
    }

    #[test]
    fn twenty_ten_takes_large_ports_first_and_each_family_alone() {
        let old = Target {
            engine: Engine::V20_10,
            ..TARGET
        };
        let mut p = ports(Engine::V20_10);
        p.take(
            &[IpAddr::V4(Ipv4Addr::UNSPECIFIED)],
            crate::docker::spec::Proto::Tcp,
            32768,
        )
        .unwrap();
        let got = run(old, &mut p, &["3000", "49100:22", "3005"]).unwrap();
        assert_eq!(
            got.join(" "),
            "0.0.0.0:49100>172.19.0.2:22/tcp [::]:49100>172.19.0.2:22/tcp \
             0.0.0.0:32769>172.19.0.2:3005/tcp [::]:32768>172.19.0.2:3005/tcp \
             0.0.0.0:32770>172.19.0.2:3000/tcp [::]:32769>172.19.0.2:3000/tcp"
        );
    }

    #[test]
    fn conflicts_and_giving_back() {
        let mut p = ports(Engine::V29);
        run(TARGET, &mut p, &["80:80"]).unwrap();
        assert_eq!(
            run(TARGET, &mut p, &["80:8080"]),
            Err(PortError::Taken(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 80)),
            "case 57"
        );
        let mut q = ports(Engine::V29);
        let mut groups = TARGET.groups(&parse_port_spec("80").unwrap());
        groups[0].take(&mut q).unwrap();
        assert!(!q.is_empty());
        groups[0].give_back(&mut q);
        assert!(q.is_empty());
    }
}
