//! What the embedded DNS is told: networks, the names of endpoints, and what each sandbox sees.
//!
//! A seam like [`super::plumb::Plumb`]: the zones of crate `dns` take these calls, the tests record
//! them. Only user-defined networks have names.

use core::net::{Ipv4Addr, Ipv6Addr};
use std::collections::BTreeMap;

/// A network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NetKey(pub u32);

/// A container's place in a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointKey(pub u32);

/// A container's network namespace with its files, as far as names go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SandboxKey(pub u32);

/// What a sandbox looks names up in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// Its networks, the way out first, each with the links that hold there: alias → name.
    pub networks: Vec<(NetKey, BTreeMap<String, String>)>,
}

/// Keeps the names.
pub trait Names {
    /// A network that has names begins.
    fn add_network(&mut self, net: NetKey, name: &str);
    /// A network ends; its endpoints are gone already.
    fn remove_network(&mut self, net: NetKey);
    /// An endpoint's names; the first one is what its address is called in reverse. Again: replaces.
    fn add_endpoint(
        &mut self,
        net: NetKey,
        endpoint: EndpointKey,
        names: Vec<String>,
        v4: Option<Ipv4Addr>,
        v6: Option<Ipv6Addr>,
    );
    /// An endpoint's names end.
    fn remove_endpoint(&mut self, net: NetKey, endpoint: EndpointKey);
    /// What a sandbox sees. Again: replaces.
    fn set_view(&mut self, sandbox: SandboxKey, view: View);
    /// A sandbox ends.
    fn remove_view(&mut self, sandbox: SandboxKey);
}
