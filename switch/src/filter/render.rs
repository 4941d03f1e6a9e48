//! Rules as text, in the forms of `iptables-save` and `iptables -nL` (`-nvL`).
//!
//! After iptables 1.8 with protocol names (since 1.8.9 `-n` prints numbers). A drop is a DROP whatever its
//! reason. Negation, order of options, column widths and trailing blanks are those of the tool.

use core::fmt::Write;
use core::net::IpAddr;

use ipnet::IpNet;

use super::rule::{Action, Counter, IfMatch, NetMatch, Rule};
use super::{Chain, ChainId, Family, RuleId, Ruleset, Table};
use crate::verdict::{IfId, Verdict};

/// How interfaces are called.
type Names<'a> = &'a dyn Fn(IfId) -> String;

impl Table {
    /// Its name.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Filter => "filter",
            Self::Nat => "nat",
            Self::Raw => "raw",
        }
    }
}

impl Ruleset {
    /// The table as `iptables-save -t TABLE` prints it, from `*TABLE` to `COMMIT`.
    #[must_use]
    pub fn save(&self, family: Family, table: Table, names: Names<'_>) -> Vec<String> {
        let chains = self.chains_of(family, table);
        let mut lines = vec![format!("*{}", table.word())];
        for chain in &chains {
            let Counter { packets, bytes } = self.passed(chain);
            let policy = policy(chain).unwrap_or("-");
            lines.push(format!(":{} {policy} [{packets}:{bytes}]", chain.name));
        }
        for chain in chains {
            for (rule, _) in self.rules_of(chain) {
                lines.push(self.saved(chain, rule, names));
            }
        }
        lines.push("COMMIT".into());
        lines
    }

    /// The table as `iptables -t TABLE -nL` prints it, or `-nvL` if `verbose`.
    #[must_use]
    pub fn list(&self, family: Family, table: Table, verbose: bool, names: Names<'_>) -> String {
        let mut text = String::new();
        for (at, chain) in self.chains_of(family, table).into_iter().enumerate() {
            if at > 0 {
                text.push('\n');
            }
            text.push_str(&head(chain, self.passed(chain), verbose));
            for (rule, counter) in self.rules_of(chain) {
                text.push_str(&self.listed(family, rule, counter, verbose, names));
                text.push('\n');
            }
        }
        text
    }

    /// A rule as `iptables-save` prints it: `-A CHAIN … -j TARGET`. `None` if it is gone.
    #[must_use]
    pub fn written(&self, rule: RuleId, names: Names<'_>) -> Option<String> {
        let (rule, chain) = (self.rule(rule)?.0, self.chain_of(rule)?);
        Some(self.saved(chain, rule, names))
    }

    /// A rule as it would be printed if it stood in `chain`. `None` if there is no such chain.
    #[must_use]
    pub fn as_written(&self, chain: ChainId, rule: &Rule, names: Names<'_>) -> Option<String> {
        Some(self.saved(self.chain(chain)?, rule, names))
    }

    /// The base chains in their order, then the others by name.
    fn chains_of(&self, family: Family, table: Table) -> Vec<&Chain> {
        let mut chains: Vec<&Chain> = self
            .chains
            .iter()
            .flatten()
            .filter(|chain| chain.family == family && chain.table == table)
            .collect();
        chains.sort_by_key(|chain| match chain.base {
            Some(_) => None,
            None => Some(&chain.name),
        });
        chains
    }

    fn rules_of<'a>(&'a self, chain: &'a Chain) -> impl Iterator<Item = (&'a Rule, Counter)> {
        chain.order.values().filter_map(|&slot| {
            let held = self.slots.get(slot as usize)?;
            Some((&held.placed.as_ref()?.rule, self.counted(slot)))
        })
    }

    fn name_of(&self, chain: ChainId) -> &str {
        self.chain(chain).map_or("-", Chain::name)
    }

    fn saved(&self, chain: &Chain, rule: &Rule, names: Names<'_>) -> String {
        let matches = &rule.matches;
        let mut line = format!("-A {}", chain.name);
        for (net, option) in [(matches.source, "-s"), (matches.destination, "-d")] {
            if let Some(NetMatch { net, not }) = net {
                let not = if not { " !" } else { "" };
                let _ = write!(line, "{not} {option} {net}");
            }
        }
        for (iface, option) in [(matches.input, "-i"), (matches.output, "-o")] {
            match iface {
                IfMatch::Any => {}
                IfMatch::Is(iface) => {
                    let _ = write!(line, " {option} {}", names(iface));
                }
                IfMatch::IsNot(iface) => {
                    let _ = write!(line, " ! {option} {}", names(iface));
                }
            }
        }
        if let Some(protocol) = matches.protocol {
            let name = protocol_name(protocol);
            let _ = write!(line, " -p {name}");
            if matches.source_port.or(matches.destination_port).is_some() {
                let _ = write!(line, " -m {name}");
            }
        }
        for (port, option) in [
            (matches.source_port, "--sport"),
            (matches.destination_port, "--dport"),
        ] {
            if let Some(port) = port {
                let _ = write!(line, " {option} {port}");
            }
        }
        for (wanted, option) in [
            (matches.source_local, "--src-type"),
            (matches.destination_local, "--dst-type"),
        ] {
            if wanted {
                let _ = write!(line, " -m addrtype {option} LOCAL");
            }
        }
        if !matches.states.is_any() {
            let _ = write!(line, " -m conntrack --ctstate {}", matches.states.words());
        }
        if let Some(bridged) = matches.bridged {
            let not = if bridged { "" } else { " !" };
            let _ = write!(line, " -m physdev{not} --physdev-is-bridged");
        }
        let _ = write!(line, " -j {}", self.target_name(rule.action));
        match rule.action {
            Action::Dnat(address, port) => {
                let _ = write!(line, " --to-destination {}", end(address, port));
            }
            Action::Snat(address) => {
                let _ = write!(line, " --to-source {address}");
            }
            _ => {}
        }
        line
    }

    fn target_name(&self, action: Action) -> &str {
        match action {
            Action::Accept => "ACCEPT",
            Action::Drop(_) => "DROP",
            Action::Return => "RETURN",
            Action::Jump(chain) => self.name_of(chain),
            Action::Dnat(..) => "DNAT",
            Action::Snat(_) => "SNAT",
            Action::Masquerade => "MASQUERADE",
        }
    }

    fn listed(
        &self,
        family: Family,
        rule: &Rule,
        counter: Counter,
        verbose: bool,
        names: Names<'_>,
    ) -> String {
        let matches = &rule.matches;
        let mut line = String::new();
        if verbose {
            line.push_str(&number(counter.packets));
            line.push_str(&number(counter.bytes));
        }
        let protocol = matches.protocol.map_or("all", protocol_name);
        let option = if family == Family::V4 { "-- " } else { "   " };
        let target = self.target_name(rule.action);
        let _ = write!(line, "{target:<9}  {protocol:<5}{option}");
        if verbose {
            let (input, output) = (iface(matches.input, names), iface(matches.output, names));
            let _ = write!(line, " {input:<6} {output:<6} ");
        }
        for net in [matches.source, matches.destination] {
            let (not, net) = network(family, net);
            let _ = write!(line, "{not}{net:<19} ");
        }
        line.push_str(&conditions(rule));
        line
    }
}

const fn policy(chain: &Chain) -> Option<&'static str> {
    match chain.base {
        Some((_, Verdict::Accept)) => Some("ACCEPT"),
        Some((_, Verdict::Drop(_))) => Some("DROP"),
        None => None,
    }
}

fn head(chain: &Chain, passed: Counter, verbose: bool) -> String {
    let about = match policy(chain) {
        Some(policy) if verbose => {
            let Counter { packets, bytes } = passed;
            format!("policy {policy} {packets} packets, {bytes} bytes")
        }
        Some(policy) => format!("policy {policy}"),
        None => format!("{} references", chain.references),
    };
    let (counts, ifaces) = if verbose {
        (" pkts bytes ", " in     out    ")
    } else {
        ("", "")
    };
    format!(
        "Chain {} ({about})\n{counts}{:<9}  prot opt{ifaces} {:<19}  {:<19} \n",
        chain.name, "target", "source", "destination"
    )
}

/// A counter in six columns, in thousands where it needs more.
fn number(value: u64) -> String {
    let mut value = value;
    if value <= 99_999 {
        return format!("{value:5} ");
    }
    for unit in ["K", "M", "G"] {
        value = (value + 500) / 1000;
        if value <= 9999 {
            return format!("{value:4}{unit} ");
        }
    }
    format!("{:4}T ", (value + 500) / 1000)
}

const fn protocol_name(protocol: u8) -> &'static str {
    match protocol {
        1 => "icmp",
        6 => "tcp",
        17 => "udp",
        58 => "ipv6-icmp",
        132 => "sctp",
        _ => "unknown",
    }
}

fn iface(iface: IfMatch, names: Names<'_>) -> String {
    match iface {
        IfMatch::Any => "*".into(),
        IfMatch::Is(iface) => names(iface),
        IfMatch::IsNot(iface) => format!("!{}", names(iface)),
    }
}

fn network(family: Family, net: Option<NetMatch>) -> (char, String) {
    let any = match family {
        Family::V4 => "0.0.0.0/0",
        Family::V6 => "::/0",
    };
    match net {
        None => (' ', any.into()),
        Some(NetMatch { net, not }) => (if not { '!' } else { ' ' }, short(net)),
    }
}

/// A network, or the address alone if it is one.
fn short(net: IpNet) -> String {
    if net.prefix_len() == net.max_prefix_len() {
        net.addr().to_string()
    } else {
        net.to_string()
    }
}

fn conditions(rule: &Rule) -> String {
    let matches = &rule.matches;
    let mut text = String::new();
    if matches.source_port.or(matches.destination_port).is_some() {
        let _ = write!(text, " {}", matches.protocol.map_or("all", protocol_name));
    }
    if let Some(port) = matches.source_port {
        let _ = write!(text, " spt:{port}");
    }
    if let Some(port) = matches.destination_port {
        let _ = write!(text, " dpt:{port}");
    }
    if matches.source_local {
        text.push_str(" ADDRTYPE match src-type LOCAL");
    }
    if matches.destination_local {
        text.push_str(" ADDRTYPE match dst-type LOCAL");
    }
    if !matches.states.is_any() {
        let _ = write!(text, " ctstate {}", matches.states.words());
    }
    match matches.bridged {
        Some(true) => text.push_str(" PHYSDEV match --physdev-is-bridged"),
        Some(false) => text.push_str(" PHYSDEV match ! --physdev-is-bridged"),
        None => {}
    }
    match rule.action {
        Action::Dnat(address, port) => {
            let _ = write!(text, " to:{}", end(address, port));
        }
        Action::Snat(address) => {
            let _ = write!(text, " to:{address}");
        }
        _ => {}
    }
    text
}

fn end(address: IpAddr, port: Option<u16>) -> String {
    match (address, port) {
        (_, None) => address.to_string(),
        (IpAddr::V4(_), Some(port)) => format!("{address}:{port}"),
        (IpAddr::V6(_), Some(port)) => format!("[{address}]:{port}"),
    }
}
