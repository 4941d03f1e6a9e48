//! Random projects: the compose text that is made of what was drawn.

use core::fmt::{Result, Write as _};

use emulator_core::docker::spec::Engine;

use super::plan::{
    Driver, Families, Home, HostPort, Member, Network, PORTS, Plan, Publish, Service,
};

/// The ports of the service at `index`, which are no other's.
fn ports(index: usize) -> [(u16, &'static str); PORTS] {
    let first = 100 + 10 * index as u16;
    [(first, "tcp"), (first + 1, "tcp"), (first + 2, "udp")]
}

impl Network {
    fn is_bridge(&self) -> bool {
        self.driver == Driver::Bridge
    }

    /// On the uplink's own segment.
    fn is_uplink(&self) -> bool {
        matches!(self.driver, Driver::Macvlan | Driver::Ipvlan)
    }

    /// Docker 20.10 knows no network without IPv4.
    fn families(&self, engine: Engine) -> Families {
        match self.families {
            Families::V6 if engine == Engine::V20_10 || !self.is_bridge() => Families::Both,
            families => families,
        }
    }

    /// Whether the file states subnets: where an IPv6 one has to be, and addresses on the uplink's segment.
    fn states(&self, engine: Engine) -> bool {
        let v6 = self.families(engine) != Families::V4;
        let stated = self.subnet || v6 || self.is_uplink() || self.over.is_some();
        self.driver != Driver::External && stated
    }
}

impl Plan {
    /// Whose namespace a service lives in, if not its own.
    fn joins(&self, index: usize) -> Option<usize> {
        match self.services[index].home {
            // Only somebody before it, so that nobody waits for himself.
            Home::Of(other) if index > 0 => Some(other % index),
            _ => None,
        }
    }

    fn replicas(&self, index: usize) -> u32 {
        let service = &self.services[index];
        if service.named { 1 } else { service.replicas }
    }

    fn container(&self, index: usize) -> String {
        if self.services[index].named {
            format!("c{index}")
        } else {
            format!("p-s{index}-1")
        }
    }

    pub(crate) fn compose(&self) -> String {
        let mut out = String::from("name: p\nservices:\n");
        for index in 0..self.services.len() {
            self.service_text(index, &mut out).unwrap();
        }
        if !self.networks.is_empty() {
            out.push_str("networks:\n");
        }
        for (index, network) in self.networks.iter().enumerate() {
            self.network_text(index, network, &mut out).unwrap();
        }
        out
    }

    fn service_text(&self, index: usize, out: &mut String) -> Result {
        let service = &self.services[index];
        writeln!(out, "  s{index}:\n    image: probe")?;
        listens_text(index, service, out)?;
        let mut own = true;
        match (&service.home, self.joins(index)) {
            (_, Some(other)) => {
                writeln!(out, "    network_mode: service:s{other}")?;
                own = false;
            }
            (Home::Bridge, _) => writeln!(out, "    network_mode: bridge")?,
            (Home::Host, _) => {
                writeln!(out, "    network_mode: host")?;
                own = false;
            }
            (Home::None, _) => writeln!(out, "    network_mode: none")?,
            (Home::Networks(members), _) if !self.networks.is_empty() => {
                self.members_text(index, members, out)?;
            }
            (Home::Networks(_) | Home::Of(_), _) => {}
        }
        if service.named {
            writeln!(out, "    container_name: c{index}")?;
        } else if own && service.replicas > 1 {
            writeln!(out, "    scale: {}", service.replicas)?;
        }
        if !own {
            return Ok(());
        }
        if !service.publish.is_empty() {
            writeln!(out, "    ports:")?;
        }
        for (at, publish) in service.publish.iter().enumerate() {
            self.port_text(index, at, publish, out)?;
        }
        settings_text(index, service, out)?;
        self.links_text(index, out)
    }

    /// A legacy link wants both on the default bridge.
    fn may_link(&self, index: usize, target: usize) -> bool {
        let on_bridge =
            |at: usize| self.joins(at).is_none() && matches!(self.services[at].home, Home::Bridge);
        let apart = |at: usize| matches!(self.services[at].home, Home::Host | Home::None);
        let joined = self.joins(target).is_some();
        !joined && !apart(target) && !apart(index) && on_bridge(index) == on_bridge(target)
    }

    fn links_text(&self, index: usize, out: &mut String) -> Result {
        let service = &self.services[index];
        let target = |link: Option<usize>| {
            let target = link.filter(|_| index > 0)? % index;
            self.may_link(index, target).then_some(target)
        };
        if let Some(target) = target(service.link) {
            writeln!(out, "    links: ['s{target}:other']")?;
        }
        if let Some(target) = target(service.external_link) {
            let container = self.container(target);
            writeln!(out, "    external_links: ['{container}:far-one']")?;
            // It has to be there first.
            writeln!(out, "    depends_on: [s{target}]")?;
        }
        Ok(())
    }

    fn members_text(&self, index: usize, members: &[Member], out: &mut String) -> Result {
        writeln!(out, "    networks:")?;
        let mut seen = Vec::new();
        for member in members {
            let at = member.network % self.networks.len();
            if seen.contains(&at) {
                continue;
            }
            seen.push(at);
            writeln!(out, "      n{at}:")?;
            writeln!(out, "        gw_priority: {}", member.priority)?;
            if member.alias {
                writeln!(out, "        aliases: [shared, 'alias{index}']")?;
            }
            let network = &self.networks[at];
            let ranged = network.over.is_some() || !network.states(self.engine);
            if !member.fixed || !network.is_bridge() || ranged {
                continue;
            }
            let families = network.families(self.engine);
            let last = 100 + index;
            if families != Families::V6 {
                writeln!(out, "        ipv4_address: 10.{at}.0.{last}")?;
            }
            if families != Families::V4 {
                writeln!(out, "        ipv6_address: 'fd00:{at}::{last}'")?;
            }
        }
        Ok(())
    }

    fn port_text(&self, index: usize, at: usize, publish: &Publish, out: &mut String) -> Result {
        let (target, proto) = ports(index)[publish.port % PORTS];
        let host = match publish.host {
            // More than one container cannot have it.
            HostPort::Own | HostPort::Shared if self.replicas(index) > 1 => String::new(),
            HostPort::Own => format!("{}", 8000 + 10 * index + at),
            HostPort::Shared => "9000".to_owned(),
            HostPort::Range => "9000-9005".to_owned(),
            HostPort::Ephemeral => String::new(),
        };
        if publish.short {
            let address = publish.at.address().map(|ip| {
                if ip.contains(':') {
                    format!("[{ip}]:")
                } else {
                    format!("{ip}:")
                }
            });
            let host = match (&address, host.is_empty()) {
                (None, true) => host,
                _ => format!("{host}:"),
            };
            let address = address.unwrap_or_default();
            return writeln!(out, "    - '{address}{host}{target}/{proto}'");
        }
        writeln!(out, "    - target: {target}")?;
        writeln!(out, "      protocol: {proto}")?;
        if !host.is_empty() {
            writeln!(out, "      published: '{host}'")?;
        }
        match publish.at.address() {
            Some(ip) => writeln!(out, "      host_ip: '{ip}'"),
            None => Ok(()),
        }
    }

    fn network_text(&self, index: usize, network: &Network, out: &mut String) -> Result {
        writeln!(out, "  n{index}:")?;
        if network.driver == Driver::External {
            writeln!(out, "    external: true\n    name: outer{index}")?;
            return match network.mode % 4 {
                0 => Ok(()),
                1 => writeln!(out, "    x-vethlab: {{internal: true}}"),
                2 => writeln!(
                    out,
                    "    x-vethlab: {{driver: macvlan, driver_opts: {{parent: eth0.9}}}}"
                ),
                _ => writeln!(
                    out,
                    "    x-vethlab:\n      driver_opts: {{com.docker.network.bridge.enable_icc: 'false'}}\n      \
                     ipam: {{config: [{{subnet: 10.{index}.0.0/24}}]}}"
                ),
            };
        }
        let families = network.families(self.engine);
        if network.internal {
            writeln!(out, "    internal: true")?;
        }
        if families != Families::V4 {
            writeln!(out, "    enable_ipv6: true")?;
        }
        if families == Families::V6 {
            writeln!(out, "    enable_ipv4: false")?;
        }
        if network.states(self.engine) {
            self.ipam_text(index, network, out)?;
        }
        let (driver, options): (_, &[(&str, &str)]) = match network.driver {
            Driver::Bridge | Driver::External => return bridge_text(index, network, out),
            Driver::Macvlan => ("macvlan", &[("parent", "eth0")]),
            Driver::MacvlanAlone => ("macvlan", &[]),
            Driver::MacvlanTagged => ("macvlan", &[("parent", "eth0.7")]),
            Driver::Ipvlan => ("ipvlan", &[("parent", "eth0")]),
            Driver::IpvlanAlone => ("ipvlan", &[]),
        };
        writeln!(out, "    driver: {driver}")?;
        let own: &[(&str, &str)] = match (driver, network.mode % 7) {
            ("macvlan", 1 | 4) => &[("macvlan_mode", "private")],
            ("macvlan", 2 | 5) => &[("macvlan_mode", "vepa")],
            ("macvlan", 3) => &[("macvlan_mode", "passthru")],
            ("ipvlan", 1) => &[("ipvlan_mode", "l3")],
            ("ipvlan", 2) => &[("ipvlan_mode", "l3s")],
            ("ipvlan", 3) => &[("ipvlan_flag", "private")],
            ("ipvlan", 4) => &[("ipvlan_flag", "vepa")],
            ("ipvlan", 5) => &[("ipvlan_mode", "l3"), ("ipvlan_flag", "private")],
            ("ipvlan", 6) => &[("ipvlan_mode", "l3"), ("ipvlan_flag", "vepa")],
            _ => &[],
        };
        let options: Vec<_> = options.iter().chain(own).collect();
        if !options.is_empty() {
            writeln!(out, "    driver_opts:")?;
        }
        for (key, value) in options {
            writeln!(out, "      {key}: {value}")?;
        }
        Ok(())
    }

    fn ipam_text(&self, index: usize, network: &Network, out: &mut String) -> Result {
        let families = network.families(self.engine);
        writeln!(out, "    ipam:\n      config:")?;
        // Part of the uplink's segment, where nobody else is.
        let (v4, v6) = if network.is_uplink() || network.over.is_some() {
            ("192.0.2".to_owned(), "2001:db8:0:1".to_owned())
        } else {
            (format!("10.{index}.0"), format!("fd00:{index}"))
        };
        let subnets = network.over.map_or_else(
            || [format!("{v4}.0/24"), format!("{v6}::/64")],
            |over| over.subnets().map(str::to_owned),
        );
        let apart = network.over.is_some();
        let range = network.range || network.is_uplink() || apart;
        let first = 32 + 16 * index;
        // The uplink's router, or an address of the network's own.
        let gateway = if network.is_uplink() { "1" } else { "31" };
        let gateway = (network.gateway && !network.internal || apart).then_some(gateway);
        if families != Families::V6 {
            write!(out, "      - {{subnet: {}", subnets[0])?;
            if range {
                write!(out, ", ip_range: {v4}.{first}/28")?;
            }
            if let Some(gateway) = gateway {
                write!(out, ", gateway: {v4}.{gateway}")?;
            }
            if network.astray && network.is_bridge() && !network.internal {
                write!(out, ", aux_addresses: {{DefaultGatewayIPv4: {v4}.30}}")?;
            }
            writeln!(out, "}}")?;
        }
        if families != Families::V4 {
            write!(out, "      - {{subnet: '{}'", subnets[1])?;
            if range {
                write!(out, ", ip_range: '{v6}::{first:x}/124'")?;
            }
            if let Some(gateway) = gateway {
                write!(out, ", gateway: '{v6}::{gateway}'")?;
            }
            writeln!(out, "}}")?;
        }
        Ok(())
    }
}

fn listens_text(index: usize, service: &Service, out: &mut String) -> Result {
    let ports = ports(index).into_iter().zip(service.listens);
    let said: Vec<String> = ports
        .filter_map(|((port, proto), how)| {
            let address = match how {
                0 => return None,
                1 => "127.0.0.1:",
                2 => "0.0.0.0:",
                _ => "",
            };
            Some(format!("'{address}{port}/{proto}'"))
        })
        .collect();
    writeln!(out, "    x-vethlab: {{listen: [{}]}}", said.join(", "))
}

fn settings_text(index: usize, service: &Service, out: &mut String) -> Result {
    match service.hostname {
        1 => writeln!(out, "    hostname: host{index}")?,
        2 => writeln!(out, "    hostname: host{index}.example")?,
        3 => writeln!(out, "    hostname: host{index}\n    domainname: example")?,
        _ => {}
    }
    match service.dns {
        1 => writeln!(out, "    dns: 192.0.2.1")?,
        2 => writeln!(out, "    dns: 192.0.2.200")?,
        _ => {}
    }
    if service.extra_host {
        writeln!(
            out,
            "    extra_hosts: ['gate:host-gateway', 'far:203.0.113.9']"
        )?;
    }
    if service.expose {
        writeln!(out, "    expose: ['{}']", ports(index)[0].0)?;
    }
    if service.healthcheck {
        writeln!(
            out,
            "    healthcheck: {{test: [CMD, nc, -z, localhost, '{}']}}",
            ports(index)[1].0
        )?;
    }
    Ok(())
}

fn bridge_text(index: usize, network: &Network, out: &mut String) -> Result {
    let key = |name: &str| format!("com.docker.network.bridge.{name}");
    let mut options = Vec::new();
    if !network.icc {
        options.push(("enable_icc", "false"));
    }
    if !network.masquerade {
        options.push(("enable_ip_masquerade", "false"));
    }
    match network.binding {
        1 => options.push(("host_binding_ipv4", "127.0.0.1")),
        2 => options.push(("host_binding_ipv4", "192.0.2.2")),
        _ => {}
    }
    for (name, mode) in [
        ("gateway_mode_ipv4", network.modes.0),
        ("gateway_mode_ipv6", network.modes.1),
    ] {
        let word = match mode {
            1 => "nat-unprotected",
            2 => "routed",
            3 if network.internal => "isolated",
            _ => continue,
        };
        options.push((name, word));
    }
    let own = format!("vb{index}");
    let trusted = match network.trusts {
        1 => "eth0",
        2 => "vb0:vb1:vb2:vb3",
        _ => "docker0",
    };
    if network.trusts > 0 {
        options.extend([("name", own.as_str()), ("trusted_host_interfaces", trusted)]);
    }
    if !options.is_empty() {
        writeln!(out, "    driver_opts:")?;
    }
    for (name, value) in options {
        writeln!(out, "      {}: '{value}'", key(name))?;
    }
    Ok(())
}
