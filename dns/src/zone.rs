//! What the embedded server knows: the names and addresses of each network, and which networks a
//! sandbox asks in which order (libnetwork's service records, `Sandbox.ResolveName`).
//!
//! `a.b.c` is tried as `a.b.c` in any network of the sandbox, then as `a.b` in the network `b`…`c`
//! that is called `c`, then as `a` in the one called `b.c`. Each try looks at the sandbox's own link
//! aliases first (case counts), then at the records (case does not). The first network that knows the name
//! answers; answers of several networks are never merged.
//!
//! Ordered maps only: a look-up in a network of 100,000 endpoints compares about 17 names, and nothing here
//! depends on hash order. Left out: swarm services and their SRV records.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use crate::Profile;
use crate::name;

/// A network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NetKey(pub u32);

/// An endpoint of a network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointKey(pub u32);

/// A sandbox: whoever asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SandboxKey(pub u32);

/// The family of the addresses asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// A records.
    V4,
    /// AAAA records.
    V6,
}

/// What a sandbox sees.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// Its networks in gateway order (`docker-networking` §3), each with the link aliases of the sandbox's
    /// endpoint there: alias → the name that it stands for.
    pub networks: Vec<(NetKey, BTreeMap<String, String>)>,
    /// Whose rules: 20.10 goes on to the next network when one has the name in the other family only,
    /// and asks upstream for an A record that only IPv6 could answer.
    pub profile: Profile,
}

/// What the zones say of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// Its addresses, each once, in the order of the endpoints' keys.
    Addresses(Vec<IpAddr>),
    /// The name is known, but not with an address of this family.
    NoData,
    /// The name is not known here.
    Unknown,
}

/// Endpoints that share a name or an address: mostly one.
#[derive(Clone, Debug)]
enum Holders {
    One(EndpointKey),
    Many(Vec<EndpointKey>),
}

impl Holders {
    fn as_slice(&self) -> &[EndpointKey] {
        match self {
            Self::One(key) => core::slice::from_ref(key),
            Self::Many(keys) => keys,
        }
    }

    /// Puts `key` at this place, unless that is beyond the end: then behind the last.
    fn insert(&mut self, at: usize, key: EndpointKey) {
        if let Self::One(only) = *self {
            *self = Self::Many(vec![only]);
        }
        if let Self::Many(keys) = self {
            keys.insert(at.min(keys.len()), key);
        }
    }

    /// Takes `key` out; false if nobody is left.
    fn remove(&mut self, key: EndpointKey) -> bool {
        match self {
            Self::One(only) => *only != key,
            Self::Many(keys) => {
                keys.retain(|&other| other != key);
                !keys.is_empty()
            }
        }
    }
}

#[derive(Clone, Debug)]
struct Endpoint {
    names: Vec<String>,
    v4: Option<Ipv4Addr>,
    v6: Option<Ipv6Addr>,
}

impl Endpoint {
    fn addresses(&self) -> impl Iterator<Item = IpAddr> + use<> {
        let (v4, v6) = (self.v4.map(IpAddr::V4), self.v6.map(IpAddr::V6));
        v4.into_iter().chain(v6)
    }
}

#[derive(Clone, Debug, Default)]
struct Network {
    name: String,
    endpoints: BTreeMap<EndpointKey, Endpoint>,
    /// Lower-cased name → who has it, sorted.
    names: BTreeMap<Box<str>, Holders>,
    /// Address → who has or had it, oldest first.
    addresses: BTreeMap<IpAddr, Holders>,
}

/// The names and addresses of all networks.
#[derive(Clone, Debug, Default)]
pub struct Zones {
    networks: BTreeMap<NetKey, Network>,
    views: BTreeMap<SandboxKey, View>,
}

impl Zones {
    /// Makes a network known under its name (case counts in `container.network`). Again: renames it.
    pub fn add_network(&mut self, net: NetKey, name: &str) {
        name.clone_into(&mut self.networks.entry(net).or_default().name);
    }

    /// Forgets a network and its endpoints.
    pub fn remove_network(&mut self, net: NetKey) {
        self.networks.remove(&net);
    }

    /// Adds an endpoint: its names (the first one is the PTR name) and addresses. Again: replaces it.
    /// Nothing happens if the network is not known.
    pub fn add_endpoint(
        &mut self,
        net: NetKey,
        endpoint: EndpointKey,
        names: Vec<String>,
        v4: Option<Ipv4Addr>,
        v6: Option<Ipv6Addr>,
    ) {
        let mut names = names;
        names.shrink_to_fit();
        if let Some(network) = self.networks.get_mut(&net) {
            network.remove(endpoint);
            network.add(endpoint, Endpoint { names, v4, v6 });
        }
    }

    /// Takes an endpoint away.
    pub fn remove_endpoint(&mut self, net: NetKey, endpoint: EndpointKey) {
        if let Some(network) = self.networks.get_mut(&net) {
            network.remove(endpoint);
        }
    }

    /// Gives an endpoint other names; its addresses stay.
    pub fn rename_endpoint(&mut self, net: NetKey, endpoint: EndpointKey, names: Vec<String>) {
        if let Some(network) = self.networks.get_mut(&net)
            && let Some(old) = network.remove(endpoint)
        {
            network.add(endpoint, Endpoint { names, ..old });
        }
    }

    /// Sets what a sandbox sees.
    pub fn set_view(&mut self, sandbox: SandboxKey, view: View) {
        self.views.insert(sandbox, view);
    }

    /// Forgets a sandbox.
    pub fn remove_view(&mut self, sandbox: SandboxKey) {
        self.views.remove(&sandbox);
    }

    /// What `sandbox` gets for `name`; one dot at its end does not count.
    #[must_use]
    pub fn lookup(&self, sandbox: SandboxKey, name: &str, family: Family) -> Lookup {
        let Some(view) = self.views.get(&sandbox) else {
            return Lookup::Unknown;
        };
        let name = name::trim(name);
        let mut head = name;
        loop {
            // What is cut off names the network; at first nothing is.
            let network = name.get(head.len() + 1..);
            for by_alias in [true, false] {
                match self.pass(view, head, network, by_alias, family) {
                    Lookup::Unknown => {}
                    known => return known,
                }
            }
            match head.rfind('.') {
                Some(dot) => head = &head[..dot],
                None => return Lookup::Unknown,
            }
        }
    }

    /// One pass over the sandbox's networks, by link alias or by record.
    fn pass(
        &self,
        view: &View,
        name: &str,
        only: Option<&str>,
        by_alias: bool,
        family: Family,
    ) -> Lookup {
        let mut missed = false;
        for (net, links) in &view.networks {
            let Some(network) = self.networks.get(net) else {
                continue;
            };
            if only.is_some_and(|only| only != network.name) {
                continue;
            }
            // A name that is an alias here is never looked up as a record here.
            let target = match (by_alias, links.get(name)) {
                (true, Some(target)) => target.as_str(),
                (false, None) => name,
                _ => continue,
            };
            match (network.lookup(target, family), view.profile) {
                (Lookup::Unknown, _) => {}
                (Lookup::NoData, Profile::V20_10) => missed |= family == Family::V6,
                (known, _) => return known,
            }
        }
        if missed {
            Lookup::NoData
        } else {
            Lookup::Unknown
        }
    }

    /// The name that `sandbox` gets for `address`: `container.network`, without a dot at its end. The
    /// first network of the sandbox that knows the address answers.
    #[must_use]
    pub fn reverse(&self, sandbox: SandboxKey, address: IpAddr) -> Option<String> {
        let view = self.views.get(&sandbox)?;
        view.networks.iter().find_map(|(net, _)| {
            let network = self.networks.get(net)?;
            let name = network.name_of(address)?;
            Some(format!("{name}.{}", network.name))
        })
    }
}

impl Network {
    fn add(&mut self, key: EndpointKey, endpoint: Endpoint) {
        for name in &endpoint.names {
            match self.names.entry(name.to_lowercase().into_boxed_str()) {
                Entry::Vacant(place) => drop(place.insert(Holders::One(key))),
                Entry::Occupied(mut holders) => {
                    let holders = holders.get_mut();
                    if let Err(at) = holders.as_slice().binary_search(&key) {
                        holders.insert(at, key);
                    }
                }
            }
        }
        for address in endpoint.addresses() {
            match self.addresses.entry(address) {
                Entry::Vacant(place) => drop(place.insert(Holders::One(key))),
                Entry::Occupied(mut holders) => holders.get_mut().insert(usize::MAX, key),
            }
        }
        self.endpoints.insert(key, endpoint);
    }

    fn remove(&mut self, key: EndpointKey) -> Option<Endpoint> {
        let endpoint = self.endpoints.remove(&key)?;
        for name in &endpoint.names {
            let name = name.to_lowercase();
            if let Some(holders) = self.names.get_mut(name.as_str())
                && !holders.remove(key)
            {
                self.names.remove(name.as_str());
            }
        }
        for address in endpoint.addresses() {
            if let Some(holders) = self.addresses.get_mut(&address)
                && !holders.remove(key)
            {
                self.addresses.remove(&address);
            }
        }
        Some(endpoint)
    }

    fn lookup(&self, name: &str, family: Family) -> Lookup {
        let folded;
        let key = if name
            .bytes()
            .any(|byte| byte.is_ascii_uppercase() || !byte.is_ascii())
        {
            folded = name.to_lowercase();
            folded.as_str()
        } else {
            name
        };
        let Some(holders) = self.names.get(key) else {
            return Lookup::Unknown;
        };
        let holders = holders.as_slice();
        let mut found = Vec::with_capacity(holders.len());
        for endpoint in holders.iter().filter_map(|key| self.endpoints.get(key)) {
            found.extend(match family {
                Family::V4 => endpoint.v4.map(IpAddr::V4),
                Family::V6 => endpoint.v6.map(IpAddr::V6),
            });
        }
        if found.is_empty() {
            return Lookup::NoData;
        }
        if found.len() > 1 {
            found.sort_unstable();
            found.dedup();
        }
        Lookup::Addresses(found)
    }

    fn name_of(&self, address: IpAddr) -> Option<&str> {
        let first = self.addresses.get(&address)?.as_slice().first()?;
        let endpoint = self.endpoints.get(first)?;
        endpoint.names.first().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NET1: NetKey = NetKey(1);
    const NET2: NetKey = NetKey(2);
    const ME: SandboxKey = SandboxKey(1);

    fn v4(text: &str) -> Option<Ipv4Addr> {
        text.parse().ok()
    }

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|&name| name.to_owned()).collect()
    }

    fn links(list: &[(&str, &str)]) -> BTreeMap<String, String> {
        list.iter()
            .map(|&(alias, name)| (alias.to_owned(), name.to_owned()))
            .collect()
    }

    fn view(networks: Vec<(NetKey, BTreeMap<String, String>)>) -> View {
        View {
            networks,
            profile: Profile::V29,
        }
    }

    fn found(zones: &Zones, name: &str) -> Vec<String> {
        match zones.lookup(ME, name, Family::V4) {
            Lookup::Addresses(list) => list.iter().map(ToString::to_string).collect(),
            Lookup::NoData => vec!["nodata".to_owned()],
            Lookup::Unknown => Vec::new(),
        }
    }

    /// Case 45: `c1.net1` on the network `br.net1`.
    #[test]
    fn case_45_dots_in_names_of_containers_and_networks() {
        let mut zones = Zones::default();
        zones.add_network(NET1, "br.net1");
        zones.add_endpoint(
            NET1,
            EndpointKey(1),
            names(&["c1.net1", "0123456789ab"]),
            v4("172.18.0.2"),
            None,
        );
        zones.set_view(ME, view(vec![(NET1, BTreeMap::new())]));
        for name in [
            "c1.net1",
            "c1.net1.br.net1",
            "C1.NET1.br.net1.",
            "0123456789ab.br.net1",
        ] {
            assert_eq!(found(&zones, name), ["172.18.0.2"], "{name}");
        }
        // The network's name keeps its case.
        for name in [
            "c1.net1.google.com",
            "c1.net1.BR.net1",
            "c1",
            "net1",
            ".br.net1",
            "",
            ".",
        ] {
            assert!(found(&zones, name).is_empty(), "{name}");
        }
    }

    /// Case 46: an alias lives and dies with its endpoint; the short ID resolves.
    #[test]
    fn case_46_aliases_of_one_network_only() {
        let mut zones = Zones::default();
        zones.add_network(NET1, "net1");
        zones.add_network(NET2, "net2");
        zones.add_endpoint(
            NET1,
            EndpointKey(1),
            names(&["first", "foo", "0123456789ab"]),
            v4("172.18.0.2"),
            None,
        );
        zones.add_endpoint(
            NET2,
            EndpointKey(2),
            names(&["first", "0123456789ab"]),
            v4("172.19.0.2"),
            None,
        );
        zones.set_view(
            ME,
            view(vec![(NET1, BTreeMap::new()), (NET2, BTreeMap::new())]),
        );
        assert_eq!(found(&zones, "foo"), ["172.18.0.2"]);
        // The first network that knows the name answers, and only that one.
        assert_eq!(found(&zones, "first"), ["172.18.0.2"]);
        assert_eq!(found(&zones, "first.net2"), ["172.19.0.2"]);
        zones.remove_endpoint(NET1, EndpointKey(1));
        assert!(found(&zones, "foo").is_empty());
        assert_eq!(found(&zones, "first"), ["172.19.0.2"]);
        assert_eq!(found(&zones, "0123456789ab"), ["172.19.0.2"]);
        assert_eq!(
            zones.reverse(ME, "172.19.0.2".parse().expect("v4")),
            Some("first.net2".to_owned())
        );
        assert_eq!(zones.reverse(ME, "172.18.0.2".parse().expect("v4")), None);
    }

    /// Case 47: a link's alias is the linking sandbox's own, case counts, and it hides a record.
    #[test]
    fn case_47_links() {
        let mut zones = Zones::default();
        zones.add_network(NET1, "foo1");
        zones.add_endpoint(
            NET1,
            EndpointKey(1),
            names(&["first"]),
            v4("172.18.0.2"),
            None,
        );
        let mine = links(&[("FirstInFoo1", "first"), ("bar", "third"), ("db", "first")]);
        zones.set_view(ME, view(vec![(NET1, mine)]));
        zones.set_view(SandboxKey(2), view(vec![(NET1, BTreeMap::new())]));
        assert_eq!(found(&zones, "FirstInFoo1"), ["172.18.0.2"]);
        assert_eq!(found(&zones, "FirstInFoo1.foo1"), ["172.18.0.2"]);
        assert!(found(&zones, "firstinfoo1").is_empty());
        assert!(found(&zones, "bar").is_empty());
        assert_eq!(
            zones.lookup(SandboxKey(2), "FirstInFoo1", Family::V4),
            Lookup::Unknown
        );
        // A record called like the alias is not looked at.
        zones.add_endpoint(
            NET1,
            EndpointKey(2),
            names(&["db", "third"]),
            v4("172.18.0.3"),
            None,
        );
        assert_eq!(found(&zones, "db"), ["172.18.0.2"]);
        assert_eq!(found(&zones, "bar"), ["172.18.0.3"]);
        // The alias is gone with the network.
        zones.set_view(ME, view(vec![]));
        assert!(found(&zones, "FirstInFoo1").is_empty());
    }

    /// Case 48: a stopped container's name stops resolving; a rename takes effect at once.
    #[test]
    fn case_48_stop_and_rename() {
        let mut zones = Zones::default();
        zones.add_network(NET1, "n");
        zones.set_view(ME, view(vec![(NET1, BTreeMap::new())]));
        zones.add_endpoint(
            NET1,
            EndpointKey(1),
            names(&["one"]),
            v4("172.18.0.2"),
            None,
        );
        zones.rename_endpoint(NET1, EndpointKey(1), names(&["uno", "Uno"]));
        assert!(found(&zones, "one").is_empty());
        assert_eq!(found(&zones, "uno"), ["172.18.0.2"]);
        zones.remove_endpoint(NET1, EndpointKey(1));
        assert!(found(&zones, "uno").is_empty());
        zones.add_endpoint(
            NET1,
            EndpointKey(1),
            names(&["uno"]),
            v4("172.18.0.2"),
            None,
        );
        zones.remove_network(NET1);
        assert!(found(&zones, "uno").is_empty());
        // An endpoint of an unknown network is nobody's.
        zones.add_endpoint(
            NET1,
            EndpointKey(1),
            names(&["uno"]),
            v4("172.18.0.2"),
            None,
        );
        assert!(found(&zones, "uno").is_empty());
    }

    #[test]
    fn every_holder_of_a_name_answers_once() {
        let mut zones = Zones::default();
        zones.add_network(NET1, "n");
        zones.set_view(ME, view(vec![(NET1, BTreeMap::new())]));
        zones.add_endpoint(
            NET1,
            EndpointKey(1),
            names(&["x", "api"]),
            v4("172.18.0.2"),
            None,
        );
        zones.add_endpoint(
            NET1,
            EndpointKey(2),
            names(&["y", "API", "api"]),
            v4("172.18.0.3"),
            None,
        );
        assert_eq!(found(&zones, "Api"), ["172.18.0.2", "172.18.0.3"]);
        zones.remove_endpoint(NET1, EndpointKey(2));
        assert_eq!(found(&zones, "api"), ["172.18.0.2"]);
    }

    /// The two engines differ where the first network has the name in the other family only.
    #[test]
    fn the_other_family() {
        let mut zones = Zones::default();
        zones.add_network(NET1, "a");
        zones.add_network(NET2, "b");
        let six: Ipv6Addr = "fd00::2".parse().expect("v6");
        zones.add_endpoint(
            NET1,
            EndpointKey(1),
            names(&["web"]),
            v4("172.18.0.2"),
            None,
        );
        zones.add_endpoint(
            NET2,
            EndpointKey(2),
            names(&["web", "six"]),
            None,
            Some(six),
        );
        let mut both = view(vec![(NET1, BTreeMap::new()), (NET2, BTreeMap::new())]);
        zones.set_view(ME, both.clone());
        assert_eq!(zones.lookup(ME, "web", Family::V6), Lookup::NoData);
        assert_eq!(zones.lookup(ME, "six", Family::V4), Lookup::NoData);
        both.profile = Profile::V20_10;
        zones.set_view(ME, both);
        assert_eq!(
            zones.lookup(ME, "web", Family::V6),
            Lookup::Addresses(vec![six.into()])
        );
        assert_eq!(zones.lookup(ME, "six", Family::V4), Lookup::Unknown);
        assert_eq!(zones.lookup(ME, "web.a", Family::V6), Lookup::NoData);
    }
}
