//! What the daemon asks of the kernel: the seam between Docker's model and the wires.
//!
//! The Lab implements it on real frames; the model's own tests implement it with a recorder.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::time::Duration;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::spec::{Engine, Port};
use crate::id::{BridgeId, IfId, NsId};
use crate::net::ChildKind;

/// A MAC address.
pub type Mac = [u8; 6];

/// A bridge of the host, with its own interface and addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BridgePlan {
    /// `docker0`, `br-0123456789ab`, or as the network's options say.
    pub name: String,
    /// The name of the network that it carries, or of the link that networks share.
    pub network: String,
    /// Its MAC.
    pub mac: Mac,
    /// Its MTU, and that of its ports.
    pub mtu: u32,
    /// Its addresses; none on an isolated network.
    pub addresses: Vec<IpNet>,
    /// The host's firewall sees what it forwards, as `br_netfilter` shows it. Not what macvlan and ipvlan
    /// carry.
    pub filtered: bool,
}

/// One end of a container's attachment to a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttachPlan {
    /// Where the other end goes.
    pub to: AttachTo,
    /// The host's end, such as `veth0a1b2c3` (unused for macvlan and ipvlan).
    pub host_name: String,
    /// The container's end, such as `eth0`.
    pub name: String,
    /// The container's MAC.
    pub mac: Mac,
    /// The MTU of both ends.
    pub mtu: u32,
    /// The container's addresses with the subnet's length; link-local extras included.
    pub addresses: Vec<IpNet>,
    /// How many gratuitous ARPs or unsolicited NAs are sent, and how far apart.
    pub announce: (u32, Duration),
}

/// What an endpoint is attached to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttachTo {
    /// A port of this bridge, by a veth pair.
    Bridge(BridgeId),
    /// The host's uplink, which is shared.
    Uplink(ChildKind),
    /// The interface of a dummy, which is shared in a way that a bridge does not do.
    Alone(BridgeId, IfId, ChildKind),
    /// Nothing: a macvlan or ipvlan network without a parent has a dummy one; its members reach each
    /// other only. The bridge stands for the dummy.
    Dummy(BridgeId),
}

/// The firewall's view of one bridge network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkRules {
    /// Whose rules they are.
    pub engine: Engine,
    /// The bridge's interface in the host.
    pub bridge: IfId,
    /// The IPv4 subnet.
    pub subnet_v4: Option<Ipv4Net>,
    /// The IPv6 subnet.
    pub subnet_v6: Option<Ipv6Net>,
    /// Members may talk to each other.
    pub icc: bool,
    /// `--internal`.
    pub internal: bool,
    /// What happens to IPv4 traffic between the network and other places.
    pub gateway_mode_v4: GatewayMode,
    /// The same for IPv6.
    pub gateway_mode_v6: GatewayMode,
    /// Masquerade what leaves.
    pub masquerade: bool,
    /// Translate to this address instead of masquerading (`com.docker.network.host_ipv4`).
    pub host_ipv4: Option<Ipv4Addr>,
    /// The same for IPv6.
    pub host_ipv6: Option<Ipv6Addr>,
    /// The userland proxy is on, so the hairpin rules are left out.
    pub userland_proxy: bool,
    /// A container's own address may be called from outside the bridge as far as ports are published
    /// (`allow-direct-routing`).
    pub allow_direct_routing: bool,
    /// Interfaces that count as the bridge itself where packets to containers' own addresses are dropped
    /// (`trusted_host_interfaces`).
    pub trusted: Vec<IfId>,
    /// Other interfaces have addresses of its subnets too: no rule speaks of a whole subnet, each endpoint is guarded
    /// by itself ([`Plumb::guard`]).
    pub crowded: bool,
    /// The daemon filters IPv6 (`ip6tables`; off in the recorded 20.10 engine).
    pub filter_v6: bool,
}

/// `com.docker.network.bridge.gateway_mode_ipv4` and `…_ipv6`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GatewayMode {
    /// Masquerade out, publish in.
    #[default]
    Nat,
    /// The same, but nothing is dropped on the way in.
    NatUnprotected,
    /// No translation; published ports are open on the container's address.
    Routed,
    /// The bridge has no address (internal networks only).
    Isolated,
}

/// One published port as it was allocated, to one address of the container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// The host's address; unspecified is every address of the family.
    pub host_ip: IpAddr,
    /// The host's port; 0 in routed mode, where no host port is bound.
    pub host_port: u16,
    /// The container's address. Of the other family than `host_ip` when only the proxy carries it.
    pub container_ip: IpAddr,
    /// The container's port.
    pub port: Port,
}

/// Traffic that a legacy link of the default bridge opens although ICC is off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkRule {
    /// Who asks.
    pub client: Ipv4Addr,
    /// Who answers.
    pub server: Ipv4Addr,
    /// On which port.
    pub port: Port,
}

/// An interface, and the gateway behind it if there is one.
pub type DefaultRoute = (IfId, Option<IpAddr>);

/// What the daemon asks of the kernel. Nothing here fails for Docker's reasons: those were checked
/// before; what fails is a limit of the lab or of Linux, in the words of the tool that meets it.
pub trait Plumb {
    /// Makes a bridge in the host's namespace; returns it and its interface.
    fn bridge_add(&mut self, plan: &BridgePlan) -> (BridgeId, IfId);
    /// Takes a bridge away; its ports are gone already.
    fn bridge_remove(&mut self, bridge: BridgeId);
    /// Sets the firewall rules of a network (again: replaces them).
    fn rules_set(&mut self, network: u32, rules: &NetworkRules);
    /// Takes a network's firewall rules away.
    fn rules_remove(&mut self, network: u32);

    /// Makes a namespace with a loopback interface for a container.
    fn ns_add(&mut self, name: &str) -> NsId;
    /// Takes a namespace away with all its interfaces, sockets and applications.
    fn ns_remove(&mut self, ns: NsId);
    /// Gives the loopback interface of a namespace `::1`, or takes it away (a new one has it). Docker
    /// 20.10 leaves it out until the container has an IPv6 address.
    fn loopback_v6(&mut self, ns: NsId, on: bool);
    /// Attaches a namespace to a network.
    ///
    /// # Errors
    /// `exchange full` when a bridge has 1,023 ports, `file exists` when the name is taken.
    fn attach(&mut self, ns: NsId, plan: &AttachPlan) -> Result<IfId, String>;
    /// Takes an attachment away.
    fn detach(&mut self, ns: NsId, iface: IfId);
    /// Puts the default route `new` of one family in the place of `old`, which was set here before: through
    /// an address on an interface, or straight out of the interface. Default routes that somebody else
    /// made stay. If `new` cannot be set, `old` is kept.
    ///
    /// # Errors
    /// `file exists` when there is a default route besides.
    fn default_route(
        &mut self,
        ns: NsId,
        v6: bool,
        old: Option<DefaultRoute>,
        new: Option<DefaultRoute>,
    ) -> Result<(), String>;

    /// Drops what comes to these addresses of an endpoint by another interface than its bridge, wherever they lead.
    fn guard(&mut self, network: u32, iface: IfId, addresses: &[IpAddr]);
    /// Undoes [`Plumb::guard`].
    fn unguard(&mut self, network: u32, iface: IfId);
    /// Opens published ports of an endpoint: firewall rules, and a docker-proxy each if the daemon
    /// runs it.
    ///
    /// # Errors
    /// `address already in use` when a socket of the host holds a port, `cannot assign requested
    /// address` when the host has no such address; nothing is open then.
    fn publish(
        &mut self,
        network: u32,
        iface: IfId,
        ports: &[Published],
    ) -> Result<(), (Published, String)>;
    /// Closes what [`Plumb::publish`] opened for this endpoint, and forgets its connections.
    fn unpublish(&mut self, network: u32, iface: IfId);
    /// Sets the legacy links of the default bridge that ICC off would drop.
    fn links_set(&mut self, network: u32, links: &[LinkRule]);

    /// Whether `addr` is an address of the host's namespace (or unspecified).
    fn host_has(&self, addr: IpAddr) -> bool;
    /// The host's interface of that name.
    fn host_iface(&self, name: &str) -> Option<IfId>;
    /// The networks that the host has routes to (scope link, the default route left out): dynamic
    /// pools stay away from them. In no meaningful order.
    fn host_routes(&self) -> Vec<IpNet>;
    /// Whether a namespace has an interface of this name.
    fn has_iface(&self, ns: NsId, name: &str) -> bool;
    /// The interface names of a namespace in use.
    fn iface_names(&self, ns: NsId) -> Vec<String>;
}
