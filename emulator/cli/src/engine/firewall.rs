//! `iptables -t TABLE -nL [CHAIN]`, `iptables-save`, `conntrack -L` on the host.

use vethlab::core::id::IfId;
use vethlab::core::netns::Netns;
use vethlab::core::switch::filter::{Family, Table};

use super::LabEngine;
use crate::output::Output;

/// What a line asks of the rules.
#[derive(Debug, Default)]
struct Asked<'a> {
    table: Option<Table>,
    verbose: bool,
    chain: Option<&'a str>,
}

fn table(word: &str) -> Option<Table> {
    match word {
        "filter" => Some(Table::Filter),
        "nat" => Some(Table::Nat),
        "raw" => Some(Table::Raw),
        _ => None,
    }
}

/// Reads `-t nat -nvL CHAIN`; `Err` is a word that is not known here.
fn asked<'a>(words: &[&'a str]) -> Result<Asked<'a>, &'a str> {
    let mut asked = Asked::default();
    let mut words = words.iter().copied();
    while let Some(word) = words.next() {
        match word {
            "-t" | "--table" => {
                let name = words.next().unwrap_or_default();
                asked.table = Some(table(name).ok_or(name)?);
            }
            "--list" | "--numeric" | "--line-numbers" => {}
            "--verbose" => asked.verbose = true,
            _ if word.starts_with('-') && word[1..].chars().all(|flag| "nvLSw".contains(flag)) => {
                asked.verbose |= word.contains('v');
            }
            _ if !word.starts_with('-') && asked.chain.is_none() => asked.chain = Some(word),
            other => return Err(other),
        }
    }
    Ok(asked)
}

/// The part of a listing that is about one chain.
fn only(text: &str, chain: &str) -> Option<String> {
    let title = format!("Chain {chain} (");
    text.split("\n\n")
        .find(|part| part.trim_start().starts_with(&title))
        .map(|part| format!("{}\n", part.trim_matches('\n')))
}

impl LabEngine {
    fn host(&self) -> Option<&Netns> {
        self.lab.net().ns(self.lab.places().host)
    }

    pub(super) fn firewall_line(&self, program: &str, words: &[&str]) -> Output {
        match program {
            "conntrack" => self.conntrack(words),
            _ => self.iptables(program, words),
        }
    }

    fn iptables(&self, program: &str, words: &[&str]) -> Output {
        let asked = match asked(words) {
            Ok(asked) => asked,
            Err(word) => return Output::err(format!("{program}: {word} is not known here\n"), 2),
        };
        let Some(host) = self.host() else {
            return Output::default();
        };
        let Some(rules) = host.firewall().map(|netfilter| &netfilter.rules) else {
            return Output::default();
        };
        let names = |iface: IfId| {
            host.iface(iface)
                .map_or_else(|| format!("if{}", iface.0), |iface| iface.name.clone())
        };
        let family = if program.starts_with("ip6") {
            Family::V6
        } else {
            Family::V4
        };
        if program.ends_with("-save") {
            let tables = asked.table.map_or_else(
                || vec![Table::Raw, Table::Nat, Table::Filter],
                |table| vec![table],
            );
            let lines: Vec<String> = tables
                .into_iter()
                .flat_map(|table| rules.save(family, table, &names))
                .collect();
            return Output::out(lines.join("\n") + "\n");
        }
        let text = rules.list(
            family,
            asked.table.unwrap_or(Table::Filter),
            asked.verbose,
            &names,
        );
        match asked.chain {
            None => Output::out(text),
            Some(chain) => match only(&text, chain) {
                Some(part) => Output::out(part),
                None => Output::err(
                    format!("{program}: No chain/target/match by that name.\n"),
                    1,
                ),
            },
        }
    }

    fn conntrack(&self, words: &[&str]) -> Output {
        let known = |word: &&str| matches!(*word, "-L" | "--dump" | "conntrack" | "-n");
        if let Some(word) = words.iter().find(|word| !known(word)) {
            return Output::err(format!("conntrack: {word} is not known here\n"), 2);
        }
        let now = self.lab.now();
        let Some(netfilter) = self.host().and_then(Netns::firewall) else {
            return Output::default();
        };
        let conns = netfilter.conntrack.list(now);
        let mut text = String::new();
        for conn in &conns {
            text.push_str(&format!("{}\n", conn.line(now)));
        }
        let mut output = Output::out(text);
        let count = conns.len();
        let title =
            format!("conntrack v1.4.7 (conntrack-tools): {count} flow entries have been shown.\n");
        output.push(crate::output::Stream::Err, title);
        output
    }
}
