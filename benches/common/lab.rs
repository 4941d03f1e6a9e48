//! A lab to measure in: containers, docker0 or a network of one's own, events drained as they come.

use core::net::{IpAddr, Ipv6Addr, SocketAddr};

use vethlab::core::app::{Family, SockKind, SockOpt, Sys};
use vethlab::core::docker::Error;
use vethlab::core::docker::spec::{ContainerSpec, IpamConfig, NetworkSpec};
use vethlab::core::id::{IfId, NsId, SockId};
use vethlab::core::lab::{Input, Lab, LabConfig, Output};
use vethlab::core::netns::Errno;

/// A container as the benches see it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Host {
    pub(crate) ns: NsId,
    pub(crate) eth0: IfId,
    pub(crate) mac: [u8; 6],
    pub(crate) v4: [u8; 4],
}

/// What a container runs as.
pub(crate) fn container(name: &str, image: &str, network: &str) -> ContainerSpec {
    ContainerSpec {
        name: Some(name.to_owned()),
        image: image.to_owned(),
        network_mode: network.to_owned(),
        ..ContainerSpec::default()
    }
}

/// A network with this subnet.
pub(crate) fn network(name: &str, subnet: &str) -> NetworkSpec {
    NetworkSpec {
        name: name.to_owned(),
        ipam: vec![IpamConfig {
            subnet: subnet.to_owned(),
            ..IpamConfig::default()
        }],
        ..NetworkSpec::default()
    }
}

/// A lab with events on.
pub(crate) fn lab(config: LabConfig) -> Lab {
    let mut lab = Lab::new(config).expect("a lab");
    lab.net_mut().trace.listen(true);
    lab
}

/// Creates and starts a container.
pub(crate) fn start(lab: &mut Lab, spec: ContainerSpec) -> Result<(), Error> {
    let name = spec.name.clone().unwrap_or_default();
    lab.create(spec)?;
    lab.start(&name)
}

/// A running container.
pub(crate) fn host(lab: &Lab, name: &str) -> Host {
    let ns = lab.namespace(name).expect("it runs");
    let netns = lab.net().ns(ns).expect("it has a namespace");
    let eth0 = netns.iface_named("eth0").expect("it has an eth0");
    let v4 = eth0.addrs.iter().find_map(|at| match at.net.addr() {
        IpAddr::V4(v4) => Some(v4.octets()),
        IpAddr::V6(_) => None,
    });
    Host {
        ns,
        eth0: eth0.id,
        mac: eth0.mac,
        v4: v4.expect("an IPv4 address"),
    }
}

/// A lab with `count` containers on docker0 whose announcements are over, and the containers.
pub(crate) fn on_docker0(config: LabConfig, count: usize) -> (Lab, Vec<Host>) {
    let mut lab = lab(config);
    let names: Vec<String> = (0..count).map(|number| format!("c{number}")).collect();
    for name in &names {
        start(&mut lab, container(name, "busybox", "")).expect("it starts");
    }
    lab.run_for(core::time::Duration::from_secs(5));
    quiet(&mut lab);
    let hosts = names.iter().map(|name| host(&lab, name)).collect();
    (lab, hosts)
}

/// A lab with two containers, `web` and `db`, on a network with IPv6, whose announcements are over.
pub(crate) fn on_six(config: LabConfig) -> Lab {
    let mut lab = lab(config);
    let six = NetworkSpec {
        ipv6: Some(true),
        ..network("six", "10.6.0.0/24")
    };
    lab.network_create(six).expect("a network");
    for name in ["web", "db"] {
        start(&mut lab, container(name, "busybox", "six")).expect("it starts");
    }
    lab.run_for(core::time::Duration::from_secs(5));
    quiet(&mut lab);
    lab
}

/// The address of a container of such a network.
pub(crate) fn v6_of(lab: &Lab, host: Host) -> Ipv6Addr {
    let netns = lab.net().ns(host.ns).expect("it has a namespace");
    let eth0 = netns.iface(host.eth0).expect("it has an eth0");
    let v6 = eth0.addrs.iter().find_map(|at| match at.net.addr() {
        IpAddr::V6(v6) if !v6.is_unicast_link_local() => Some(v6),
        _ => None,
    });
    v6.expect("an IPv6 address")
}

/// Docker's rules stand in the host's namespace, and at least so many connections are tracked there.
pub(crate) fn assert_tracked(lab: &Lab, connections: usize) {
    let host = lab.net().ns(lab.places().host).expect("the host");
    let firewall = host.firewall().expect("the host has a firewall");
    assert!(!firewall.rules.is_empty(), "docker0's rules are on");
    let tracked = firewall.conntrack.len();
    assert!(
        tracked >= connections,
        "{tracked} of {connections} are tracked"
    );
}

/// Works off what waits now and throws the events away; their number.
pub(crate) fn quiet(lab: &mut Lab) -> u64 {
    while !matches!(lab.poll(), Output::Idle(_)) {}
    events(lab)
}

/// Takes the events and counts them.
pub(crate) fn events(lab: &mut Lab) -> u64 {
    let trace = &mut lab.net_mut().trace;
    assert_eq!(trace.lost_events(), 0);
    trace.drain().count() as u64
}

/// Moves time to what happens next.
pub(crate) fn wait(lab: &mut Lab) {
    let next = lab.deadline().expect("something will happen");
    lab.handle(next, Input::Tick);
}

/// Both ends of a TCP connection from `a` to port 80 of `b`, with these buffers at both.
pub(crate) fn connection(lab: &mut Lab, a: Host, b: Host, buffer: usize) -> (SockId, SockId) {
    let listener = listener(lab, b, 80, buffer);
    connection_to(lab, a, (b, 80), listener, buffer)
}

/// A listening socket.
pub(crate) fn listener(lab: &mut Lab, on: Host, port: u16, buffer: usize) -> SockId {
    listener_at(lab, on.ns, SocketAddr::from((on.v4, port)), buffer)
}

/// The same at an address of either family.
pub(crate) fn listener_at(lab: &mut Lab, ns: NsId, at: SocketAddr, buffer: usize) -> SockId {
    let mut sys = lab.sys(ns);
    let sock = sys.socket(SockKind::Tcp, family(at)).expect("a socket");
    sized(&mut sys, sock, buffer);
    sys.bind(sock, at).expect("it binds");
    sys.listen(sock, 1024).expect("it listens");
    sock
}

/// That of an address.
pub(crate) const fn family(of: SocketAddr) -> Family {
    match of {
        SocketAddr::V4(_) => Family::V4,
        SocketAddr::V6(_) => Family::V6,
    }
}

fn sized(sys: &mut impl Sys, sock: SockId, buffer: usize) {
    for option in [
        SockOpt::RecvBuffer(buffer),
        SockOpt::SendBuffer(buffer),
        SockOpt::NoDelay(true),
    ] {
        sys.set(sock, option).expect("an option");
    }
}

/// A connection to a listener.
pub(crate) fn connection_to(
    lab: &mut Lab,
    a: Host,
    (b, port): (Host, u16),
    listener: SockId,
    buffer: usize,
) -> (SockId, SockId) {
    let sock = dial(lab, a.ns, SocketAddr::from((b.v4, port)), buffer);
    let (peer, _) = lab.sys(b.ns).accept(listener).expect("a connection");
    (sock, peer)
}

/// The calling end of a connection that is open.
pub(crate) fn dial(lab: &mut Lab, from: NsId, to: SocketAddr, buffer: usize) -> SockId {
    let mut sys = lab.sys(from);
    let sock = sys.socket(SockKind::Tcp, family(to)).expect("a socket");
    sized(&mut sys, sock, buffer);
    assert_eq!(sys.connect(sock, to), Err(Errno::InProgress));
    quiet(lab);
    assert_eq!(lab.sys(from).take_error(sock), None);
    sock
}

/// Checksums are filled in and checked, as on a real wire; else they stay partial, as veth leaves them.
pub(crate) fn checksums(lab: &mut Lab, hosts: &[Host], on: bool) {
    for host in hosts {
        lab.net_mut()
            .with_ns(host.ns, |netns, _| netns.offload = !on);
    }
}
