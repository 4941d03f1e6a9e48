//! `iptables -t TABLE -nL [CHAIN]`, `iptables-save`, `conntrack -L` on the host.

use super::LabEngine;
use crate::output::Output;

impl LabEngine {
    pub(super) fn firewall_line(&self, program: &str, words: &[&str]) -> Output {
        match program {
            "conntrack" => self.conntrack(words),
            _ => self.iptables(program, words),
        }
    }
}
