//! stub
use super::plumb::{LinkRule, NetworkRules, Published};
use super::spec::Engine;
use crate::id::IfId;
use switch::hook::Netfilter;
/// rules
#[derive(Debug, Default)]
pub struct DockerRules {}
impl DockerRules {
    /// a
    pub fn new(_e: Engine) -> Self {
        Self {}
    }
    /// a
    pub fn network_set(&mut self, _n: &mut Netfilter, _k: u32, _r: &NetworkRules) {}
    /// a
    pub fn network_remove(&mut self, _n: &mut Netfilter, _k: u32) {}
    /// a
    pub fn publish(&mut self, _n: &mut Netfilter, _k: u32, _i: IfId, _p: &[Published]) {}
    /// a
    pub fn unpublish(&mut self, _n: &mut Netfilter, _k: u32, _i: IfId) {}
    /// a
    pub fn links_set(&mut self, _n: &mut Netfilter, _k: u32, _l: &[LinkRule]) {}
}
