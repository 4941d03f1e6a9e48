//! The files that Docker puts into a container: `/etc/hosts` and `/etc/resolv.conf` at its start.

use core::net::IpAddr;
use std::sync::Arc;

use super::config::DaemonConfig;
use super::container::{Container, Files, Mode};
use super::engine::Docker;
use super::error::{Error, Kind};
use super::hosts::{self, HostsFile};
use super::resolv::{self, Overrides, ResolvConf, Use};
use super::spec::Engine;

impl Docker {
    /// Makes the files of a container that starts.
    pub(super) fn write_files(
        &mut self,
        container: &mut Container,
        host_mode: bool,
    ) -> Result<(), Error> {
        let spec = &container.spec;
        let mut hosts = if host_mode && spec.extra_hosts.is_empty() {
            HostsFile::copy_of(&self.config.hosts)
        } else {
            HostsFile::new(self.config.engine, !container.v6_off())
        };
        for extra in &spec.extra_hosts {
            let extra = hosts::parse_extra_host(extra)?;
            if extra.address == "host-gateway" {
                let addresses = self.host_gateway();
                if addresses.is_empty() {
                    return Err(Error::new(
                        Kind::System,
                        "unable to derive the IP value for host-gateway",
                    ));
                }
                for ip in addresses {
                    hosts.add_extra(&ip.to_string(), &extra.name);
                }
                continue;
            }
            let address = match self.config.engine {
                // As it was written.
                Engine::V20_10 => extra.address,
                Engine::V29 => extra
                    .address
                    .parse::<IpAddr>()
                    .map_or(extra.address, |ip| ip.to_string()),
            };
            hosts.add_extra(&address, &extra.name);
        }
        let resolv = self.build_resolv(container, Use::Plain)?;
        container.files = Some(Files { hosts, resolv });
        Ok(())
    }

    /// The resolv.conf of a container. Those that ask for nothing of their own share it.
    pub(super) fn build_resolv(
        &mut self,
        container: &Container,
        purpose: Use,
    ) -> Result<Arc<ResolvConf>, Error> {
        let spec = &container.spec;
        if !(spec.dns.is_empty() && spec.dns_search.is_empty() && spec.dns_options.is_empty()) {
            return self.make_resolv(container, purpose).map(Arc::new);
        }
        let key = (purpose, container.mode == Mode::Host);
        if let Some((_, made)) = self.resolv.iter().find(|(of, _)| *of == key) {
            return Ok(Arc::clone(made));
        }
        let made = Arc::new(self.make_resolv(container, purpose)?);
        self.resolv.push((key, Arc::clone(&made)));
        Ok(made)
    }

    fn make_resolv(&self, container: &Container, purpose: Use) -> Result<ResolvConf, Error> {
        let c = &self.config;
        let over = overrides(container, c)?;
        let (text, path) = match (&c.resolv_conf_systemd, purpose) {
            (Some(behind), Use::Legacy { .. }) if resolv::is_systemd_stub(&c.resolv_conf) => {
                (behind, "/run/systemd/resolve/resolv.conf")
            }
            _ => (&c.resolv_conf, "/etc/resolv.conf"),
        };
        // 20.10 filters the file of a container without a network as that of docker0.
        let purpose = match purpose {
            Use::Plain if c.engine == Engine::V20_10 && container.mode != Mode::Host => {
                Use::Legacy { v6: false }
            }
            other => other,
        };
        Ok(resolv::build(c.engine, text, path, &over, purpose))
    }
}

fn overrides(container: &Container, c: &DaemonConfig) -> Result<Overrides, Error> {
    let pick = |own: &Vec<String>, daemon: &Vec<String>| {
        if own.is_empty() {
            daemon.clone()
        } else {
            own.clone()
        }
    };
    let spec = &container.spec;
    let servers = pick(&spec.dns, &c.dns)
        .iter()
        .map(|text| {
            text.parse()
                .map_err(|_| Error::new(Kind::Invalid, format!("bad nameserver address: {text:?}")))
        })
        .collect::<Result<_, _>>()?;
    Ok(Overrides {
        servers,
        search: pick(&spec.dns_search, &c.dns_search),
        options: pick(&spec.dns_options, &c.dns_options),
    })
}
