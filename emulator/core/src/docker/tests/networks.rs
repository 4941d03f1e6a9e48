//! Making and removing networks.

use crate::docker::config::DaemonConfig;
use crate::docker::ipam::AddressPool;
use crate::docker::spec::Engine;
use crate::docker::testing::{HOST, Host};
use crate::docker::verbs::list::NetworkFilters;

const V29: Engine = Engine::V29;
const OLD: Engine = Engine::V20_10;

#[test]
fn subnets_by_themselves_cases_1_to_3() {
    let mut host = Host::new(V29);
    assert_eq!(host.subnet("bridge"), "172.17.0.0/16");
    for (name, subnet) in [
        ("n1", "172.18.0.0/16"),
        ("n2", "172.19.0.0/16"),
        ("n3", "172.20.0.0/16"),
    ] {
        host.net(name, "").unwrap();
        assert_eq!(host.subnet(name), subnet, "case 1");
        let gateway = host.docker.network(name).unwrap().gateway(false).unwrap();
        assert_eq!(
            gateway.to_string(),
            subnet.replace("0.0/16", "0.1"),
            "case 1"
        );
    }
    host.net_rm("n1").unwrap();
    host.net("n4", "").unwrap();
    assert_eq!(host.subnet("n4"), "172.18.0.0/16", "case 3");

    let mut host = Host::new(V29);
    for i in 0..30 {
        host.net(&format!("n{i}"), "").unwrap();
    }
    assert_eq!(
        host.net("more", "").unwrap_err(),
        "all predefined address pools have been fully subnetted",
        "case 2"
    );
    let mut host = Host::new(OLD);
    for i in 0..30 {
        host.net(&format!("n{i}"), "").unwrap();
    }
    assert_eq!(
        host.net("more", "").unwrap_err(),
        "could not find an available, non-overlapping IPv4 address pool among the defaults to assign to the network",
        "record h44"
    );
}

#[test]
fn pools_of_the_daemon() {
    let pool = |base: &str, size| AddressPool {
        base: base.parse().unwrap(),
        size,
    };
    for engine in [V29, OLD] {
        let mut config = DaemonConfig::new(engine, HOST);
        config.default_address_pools = vec![pool("175.30.0.0/16", 16), pool("175.33.0.0/16", 24)];
        let mut host = Host::with(config.clone());
        assert_eq!(host.subnet("bridge"), "175.30.0.0/16", "case 7");
        host.net("a", "").unwrap();
        host.net("b", "").unwrap();
        assert_eq!(
            (host.subnet("a"), host.subnet("b")),
            ("175.33.0.0/24".into(), "175.33.1.0/24".into()),
            "case 7"
        );

        config.bip = Some("172.60.0.1/16".parse().unwrap());
        assert_eq!(
            Host::with(config).subnet("bridge"),
            "172.60.0.0/16",
            "case 8"
        );
    }
}

#[test]
fn bip_names_the_bridges_address() {
    for engine in [V29, OLD] {
        let mut config = DaemonConfig::new(engine, HOST);
        config.bip = Some("10.71.0.9/24".parse().unwrap());
        let mut host = Host::with(config);
        host.run("c1", "").unwrap();
        assert_eq!(host.ip("c1", "bridge"), "10.71.0.1", "record h45");
        assert_eq!(host.ways("c1").0, "10.71.0.9", "record h45");
        host.net("n", "").unwrap();
        assert_eq!(host.subnet("n"), "172.17.0.0/16", "record h45");
    }
}

#[test]
fn stays_away_from_the_hosts_routes_and_resolvers() {
    let mut config = DaemonConfig::new(V29, HOST);
    config.resolv_conf = "nameserver 172.19.5.5\n".to_owned();
    let mut host = Host::with(config);
    host.kernel.host_routes = vec!["172.18.3.0/24".parse().unwrap()];
    host.net("n", "").unwrap();
    assert_eq!(host.subnet("n"), "172.20.0.0/16");
    // What is asked for is given all the same.
    host.net("m", "subnet=172.18.0.0/16").unwrap();
}

#[test]
fn refusals() {
    let rows: &[(&str, &str, &str, &str, &str)] = &[
        // engine, before, name, flags, text
        (
            "9",
            "subnet=192.168.0.0/16",
            "x",
            "subnet=192.168.128.0/17",
            "invalid pool request: Pool overlaps with other one on this address space",
        ),
        (
            "two",
            "",
            "x",
            "subnet=10.61.0.0/24 subnet=10.62.0.0/24",
            "bridge driver doesn't support multiple subnets",
        ),
        ("off", "", "x", "no-ipv4", "IPv4 or IPv6 must be enabled"),
        ("name", "", " ", "", "invalid name: name is empty"),
        (
            "71",
            "",
            "bridge",
            "",
            "operation is not permitted on predefined bridge network ",
        ),
        (
            "71",
            "",
            "none",
            "",
            "operation is not permitted on predefined none network ",
        ),
        (
            "71",
            "internal subnet=10.200.0.0/24",
            "before",
            "",
            "network with name before already exists",
        ),
        (
            "driver",
            "",
            "x",
            "driver=nosuch",
            "plugin \"nosuch\" not found",
        ),
        (
            "driver",
            "",
            "x",
            "driver=host",
            "only one instance of \"host\" network is allowed",
        ),
        (
            "driver",
            "",
            "x",
            "driver=null",
            "only one instance of \"null\" network is allowed",
        ),
        (
            "overlay",
            "",
            "x",
            "driver=overlay",
            "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to swarm and try again.",
        ),
        (
            "gateway",
            "",
            "x",
            "subnet=10.0.0.0/24 aux=a@10.0.0.7 gateway=10.0.0.255",
            "failed to allocate gateway (10.0.0.255): Address already in use",
        ),
        (
            "mode",
            "",
            "x",
            "com.docker.network.bridge.gateway_mode_ipv4=isolated",
            "gateway mode 'isolated' can only be used for an internal network",
        ),
        (
            "ll",
            "",
            "x",
            "ipv6 subnet=fe80::/80",
            "'fe80::/80' clashes with the Link-Local prefix 'fe80::/64'",
        ),
        (
            "aux",
            "",
            "x",
            "internal subnet=10.0.0.0/24 aux=DefaultGatewayIPv4@10.0.0.5",
            "no gateway can be set on an internal bridge network",
        ),
        (
            "macvlan",
            "",
            "x",
            "driver=macvlan parent=nosuch0",
            "invalid subinterface vlan name nosuch0, example formatting is eth0.10",
        ),
        (
            "macvlan",
            "",
            "x",
            "driver=macvlan macvlan_mode=odd",
            "requested macvlan mode 'odd' is not valid, 'bridge' mode is the macvlan driver default",
        ),
        (
            "config",
            "",
            "x",
            "config-from=nosuch",
            "configuration network \"nosuch\" does not exist",
        ),
    ];
    for (case, before, name, flags, text) in rows {
        let mut host = Host::new(V29);
        if !before.is_empty() {
            host.net("before", before).unwrap();
        }
        let bridges = host.kernel.bridges.len();
        assert_eq!(host.net(name, flags).unwrap_err(), *text, "case {case}");
        assert_eq!(
            host.kernel.bridges.len(),
            bridges,
            "case {case}: a bridge is left"
        );
        // What was taken has been given back.
        host.net("after", "").unwrap();
        assert_eq!(host.subnet("after"), "172.18.0.0/16", "case {case}");
    }
}

#[test]
fn the_bridge_driver_finds_what_a_range_hid() {
    let mut host = Host::new(V29);
    let a = host.net("a", "subnet=10.0.0.0/16").unwrap();
    let text = host
        .net("b", "subnet=10.0.4.0/24 range=10.0.4.0/25")
        .unwrap_err();
    assert!(text.starts_with("cannot create network "), "{text}");
    let tail = format!(
        ": conflicts with network {a} (br-{}): networks have overlapping IPv4",
        &a[..12]
    );
    assert!(text.ends_with(&tail), "{text}");
    host.net_rm("a").unwrap();
    host.net("b", "subnet=10.0.4.0/24").unwrap();

    host.net("n1", "com.docker.network.bridge.name=br-x")
        .unwrap();
    let text = host
        .net("n2", "com.docker.network.bridge.name=br-x")
        .unwrap_err();
    assert!(
        text.ends_with("(br-x): networks have same bridge name"),
        "{text}"
    );
}

#[test]
fn bridges_as_asked() {
    let mut host = Host::new(V29);
    host.net(
        "n",
        "com.docker.network.driver.mtu=1234 com.docker.network.bridge.enable_icc=false",
    )
    .unwrap();
    host.run("cc", "net=n").unwrap();
    let endpoint = host
        .docker
        .container("cc")
        .unwrap()
        .endpoints()
        .next()
        .unwrap()
        .clone();
    assert_eq!(
        host.kernel.plan(endpoint.iface.unwrap()).mtu,
        1234,
        "case 74"
    );
    let network = host.docker.network("n").unwrap();
    let (key, id) = (network.key, network.id.clone());
    let bridge = host
        .kernel
        .bridges
        .values()
        .find(|b| b.mtu == 1234)
        .unwrap();
    assert_eq!(bridge.name, format!("br-{}", &id[..12]));
    assert_eq!(bridge.addresses, ["172.18.0.1/16".parse().unwrap()]);
    let rules = &host.kernel.rules[&key];
    assert!(!rules.icc && rules.masquerade && !rules.internal && rules.filter_v6);

    // No bridge address and no gateway to keep: a /31 holds two containers.
    host.net(
        "pair",
        "internal subnet=10.9.0.0/31 com.docker.network.bridge.gateway_mode_ipv4=isolated",
    )
    .unwrap();
    host.run("p1", "net=pair").unwrap();
    host.run("p2", "net=pair").unwrap();
    assert_eq!(host.ip("p1", "pair"), "10.9.0.0", "case 16");
    assert_eq!(host.ip("p2", "pair"), "10.9.0.1", "case 16");
    assert_eq!(host.ways("p1").0, "-");

    // ULA.
    host.net("six", "ipv6").unwrap();
    host.run("ss", "net=six").unwrap();
    let seen = host.docker.inspect("ss").unwrap();
    assert!(
        seen.network_settings.networks["six"]
            .global_ipv6_address
            .starts_with("fd"),
        "case 17"
    );
    assert_eq!(
        Host::new(OLD).net("six", "ipv6").unwrap_err(),
        "could not find an available, non-overlapping IPv6 address pool among the defaults to assign to the network",
        "cli1 40"
    );
}

#[test]
fn ranges_and_gateways() {
    let rows: &[(&str, &str, &str, &str)] = &[
        // flags, gateway, first container, second container
        (
            "subnet=172.28.0.0/16 range=172.28.5.0/24",
            "172.28.5.0",
            "172.28.5.1",
            "172.28.5.2",
        ),
        (
            "subnet=10.61.0.0/16 range=10.61.0.0/24",
            "10.61.0.1",
            "10.61.0.2",
            "10.61.0.3",
        ),
        (
            "subnet=10.77.0.0/24 range=10.77.0.128/25 gateway=10.77.0.254",
            "10.77.0.254",
            "10.77.0.128",
            "10.77.0.129",
        ),
        (
            "subnet=10.62.0.0/24 aux=a@10.62.0.2 aux=b@10.62.0.3",
            "10.62.0.1",
            "10.62.0.4",
            "10.62.0.5",
        ),
        (
            "subnet=10.63.0.0/24 gateway=10.63.0.1 aux=DefaultGatewayIPv4@10.63.0.9",
            "10.63.0.9",
            "10.63.0.2",
            "10.63.0.3",
        ),
    ];
    for engine in [V29, OLD] {
        for (flags, gateway, first, second) in rows {
            let mut host = Host::new(engine);
            host.net("n", flags).unwrap();
            host.run("c1", "net=n").unwrap();
            host.run("c2", "net=n").unwrap();
            assert_eq!(host.ways("c1").0, *gateway, "{engine:?} {flags}");
            assert_eq!(host.ip("c1", "n"), *first, "{engine:?} {flags}");
            assert_eq!(host.ip("c2", "n"), *second, "{engine:?} {flags}");
        }
    }
}

#[test]
fn status_counts_case_15() {
    let mut host = Host::new(V29);
    host.net(
        "n",
        "subnet=10.9.0.0/24 gateway=10.9.0.1 range=10.9.0.64/31 aux=a@10.9.0.65 aux=b@10.9.0.128",
    )
    .unwrap();
    let status = |host: &Host| {
        let seen = host.docker.network_inspect("n").unwrap();
        (seen.status[0].in_use, seen.status[0].available)
    };
    assert_eq!(status(&host), (5, 1));
    host.run("c1", "net=n").unwrap();
    assert_eq!(status(&host), (6, 0));
    host.run("c2", "net=n,ip=10.9.0.129").unwrap();
    assert_eq!(status(&host), (7, 0));
}

#[test]
fn removing() {
    let mut host = Host::new(V29);
    let id = host.net("n", "").unwrap();
    host.run("c1", "net=n").unwrap();
    let endpoint = host
        .docker
        .container("c1")
        .unwrap()
        .endpoints()
        .next()
        .unwrap()
        .id
        .to_string();
    assert_eq!(
        host.net_rm("n").unwrap_err(),
        format!(
            "error while removing network: network n has active endpoints (name:\"c1\" id:\"{}\")",
            &endpoint[..12]
        )
    );
    assert_eq!(
        host.net_rm("bridge").unwrap_err(),
        "bridge is a pre-defined network and cannot be removed",
        "case 71"
    );
    assert_eq!(host.net_rm("x").unwrap_err(), "network x not found");
    // A network whose containers are all stopped goes; their start fails later, by its id.
    host.stop("c1");
    host.net_rm("n").unwrap();
    host.net("n", "").unwrap();
    assert_eq!(
        host.start("c1").unwrap_err(),
        format!("failed to set up container networking: network {id} not found")
    );
    assert_eq!(host.docker.container("c1").unwrap().exit_code(), 137);
}

#[test]
fn by_prefix_and_by_name_of_another_case_71() {
    let mut host = Host::new(V29);
    let first = host.net("first", "").unwrap();
    host.net(&first, "").unwrap();
    assert_eq!(
        host.docker.network(&first).unwrap().name(),
        "first",
        "the id wins"
    );
    assert_eq!(host.docker.network(&first[..12]).unwrap().name(), "first");
    host.net_rm(&first).unwrap();
    assert_eq!(
        host.docker.network(&first).unwrap().name(),
        first,
        "now the name"
    );
}

#[test]
fn configuration_networks() {
    let mut host = Host::new(OLD);
    host.net("conf", "config-only subnet=10.63.0.0/24").unwrap();
    assert_eq!(host.docker.network("conf").unwrap().driver.name(), "null");
    host.net("real", "config-from=conf").unwrap();
    assert_eq!(host.subnet("real"), "10.63.0.0/24");
    assert_eq!(
        host.net_rm("conf").unwrap_err(),
        "configuration network \"conf\" is in use"
    );
    host.make("cc", "net=conf").unwrap();
    assert!(host.start("cc").is_err());
    assert_eq!(
        host.net("x", "config-from=conf subnet=10.1.0.0/24")
            .unwrap_err(),
        "user specified configurations are not supported if the network depends on a configuration network"
    );
    host.net_rm("real").unwrap();
    host.net_rm("conf").unwrap();
}

#[test]
fn lists_and_prune() {
    let mut host = Host::new(V29);
    host.net("web", "label=tier").unwrap();
    host.net("back", "internal").unwrap();
    host.run("cc", "net=web").unwrap();
    let names = |host: &Host, key: &str, value: &str| {
        let filters = NetworkFilters(vec![(key.to_owned(), value.to_owned())]);
        host.docker.network_list(&filters).map_or_else(
            |e| e.message,
            |list| {
                list.iter()
                    .map(|n| n.name().to_owned())
                    .collect::<Vec<_>>()
                    .join(" ")
            },
        )
    };
    assert_eq!(names(&host, "driver", "host"), "host");
    assert_eq!(names(&host, "type", "builtin"), "none host bridge");
    assert_eq!(names(&host, "type", "custom"), "web back");
    assert_eq!(names(&host, "name", "we"), "web");
    assert_eq!(names(&host, "label", "tier"), "web");
    assert_eq!(names(&host, "dangling", "true"), "back");
    assert_eq!(names(&host, "scope", "swarm"), "");
    assert_eq!(names(&host, "nosuch", "1"), "Invalid filter 'nosuch'");
    let gone = host
        .act(|d, w| d.network_prune(w, &NetworkFilters::default()))
        .unwrap();
    assert_eq!(gone, ["back"]);
}

#[test]
fn inspect_shows_what_was_stated_and_what_was_chosen() {
    let mut host = Host::new(V29);
    host.net("a", "subnet=10.0.0.0/24").unwrap();
    let config = |host: &Host, name: &str| {
        host.docker
            .network_inspect(name)
            .unwrap()
            .to_value()
            .field("IPAM")
            .unwrap()
            .field("Config")
            .unwrap()
            .to_string()
    };
    assert_eq!(config(&host, "a"), "[{\"Subnet\":\"10.0.0.0/24\"}]");
    assert_eq!(config(&host, "none"), "null", "case 73");
    assert_eq!(config(&host, "host"), "null", "case 73");
    assert_eq!(
        config(&host, "bridge"),
        "[{\"Subnet\":\"172.17.0.0/16\",\"Gateway\":\"172.17.0.1\"}]",
        "case 73"
    );
    assert_eq!(
        config(&Host::new(OLD), "bridge"),
        "[{\"Subnet\":\"172.17.0.0/16\"}]",
        "cli1 7"
    );
    assert_eq!(config(&Host::new(OLD), "host"), "[]", "cli1 8");
}

#[test]
fn macvlan_and_ipvlan() {
    use crate::docker::plumb::AttachTo;
    use crate::net::{ChildKind, MacvlanMode};
    let mut host = Host::new(V29);
    host.net(
        "mv",
        "driver=macvlan subnet=192.0.2.0/24 gateway=192.0.2.1 parent=eth0",
    )
    .unwrap();
    host.run("mm", "net=mv,ip=192.0.2.50").unwrap();
    assert_eq!(host.ways("mm").0, "192.0.2.1");
    let iface = host
        .docker
        .container("mm")
        .unwrap()
        .endpoints()
        .next()
        .unwrap()
        .iface
        .unwrap();
    let shared = ChildKind::Macvlan(MacvlanMode::Bridge);
    assert_eq!(host.kernel.plan(iface).to, AttachTo::Uplink(shared));
    // Without a parent nobody is outside; without a gateway there is no route.
    host.net("dummy", "driver=ipvlan subnet=10.5.0.0/24 gateway=10.5.0.1")
        .unwrap();
    host.run("dd", "net=dummy").unwrap();
    assert_eq!(host.ways("dd").0, "-");
    // Only its driver takes it for internal: among a container's networks it is not.
    assert!(!host.docker.network("dummy").unwrap().internal);
    host.net(
        "l3",
        "driver=ipvlan subnet=10.6.0.0/24 parent=eth0.6 ipvlan_mode=l3",
    )
    .unwrap();
    host.run("ll", "net=l3").unwrap();
    assert_eq!(host.ip("ll", "l3"), "10.6.0.1", "no gateway is taken");
    assert_eq!(host.ways("ll").0, "direct");
    host.net("vlan", "driver=macvlan subnet=10.7.0.0/24 parent=eth0.10")
        .unwrap();
    host.run("vv", "net=vlan").unwrap();
    let iface = host
        .docker
        .container("vv")
        .unwrap()
        .endpoints()
        .next()
        .unwrap()
        .iface
        .unwrap();
    assert!(matches!(host.kernel.plan(iface).to, AttachTo::Dummy(_)));
    // It counts as a way out although nobody said through which gateway.
    host.net("zz", "").unwrap();
    host.connect("zz", "vv", "").unwrap();
    assert_eq!(host.ways("vv").0, "-");
    host.connect("zz", "dd", "").unwrap();
    assert_eq!(host.ways("dd").0, "172.18.0.1", "no way out at all");
}

/// A tagged sub-interface is one link, which goes with the last network that has it.
#[test]
fn networks_with_one_tag_share_the_link() {
    for (one, other) in [
        ("bridge", "bridge"),
        ("private", "vepa"),
        ("vepa", "private"),
    ] {
        let mut host = Host::new(V29);
        let links = |host: &Host| {
            let links = host.kernel.bridges.values();
            links.filter(|link| link.name == "eth0.10").count()
        };
        for (number, mode) in [(1, one), (2, other)] {
            let name = format!("mv{number}");
            let words = format!(
                "driver=macvlan subnet=10.8.{number}.0/24 parent=eth0.10 macvlan_mode={mode}"
            );
            host.net(&name, &words).unwrap();
            host.run(&format!("c{number}"), &format!("net={name}"))
                .unwrap();
            assert_eq!(links(&host), 1, "{mode}");
        }
        host.rm("c1");
        host.net_rm("mv1").unwrap();
        assert_eq!(links(&host), 1);
        host.rm("c2");
        host.net_rm("mv2").unwrap();
        assert_eq!(links(&host), 0);
    }
}

/// `libnetwork/drivers/{macvlan,ipvlan}`: `createNetwork`, and what the kernel says when the second kind comes.
#[test]
fn who_shares_an_interface_with_whom() {
    let mut host = Host::new(V29);
    let mv = |n: u8, more: &str| format!("driver=macvlan subnet=10.8.{n}.0/24 parent={more}");
    let iv = |n: u8, more: &str| format!("driver=ipvlan subnet=10.9.{n}.0/24 parent={more}");
    host.net("mv1", &mv(1, "eth0")).unwrap();
    host.net("mv2", &mv(2, "eth0")).unwrap();
    let id = host.docker.network("mv1").unwrap().id.clone();
    let refused = host.net("mv3", &mv(3, "eth0 macvlan_mode=passthru"));
    assert_eq!(
        refused.unwrap_err(),
        format!(
            "cannot use mode passthru, macvlan network {id} is already using parent interface eth0"
        )
    );
    host.net("pt", &mv(4, "eth0.4 macvlan_mode=passthru"))
        .unwrap();
    let id = host.docker.network("pt").unwrap().id.clone();
    let refused = host.net("mv3", &mv(3, "eth0.4"));
    assert_eq!(
        refused.unwrap_err(),
        format!("macvlan network {id} is already using parent interface eth0.4 in mode passthru")
    );
    // The other driver's networks are none of its own.
    host.net("iv1", &iv(1, "eth0")).unwrap();
    let id = host.docker.network("iv1").unwrap().id.clone();
    let refused = host.net("iv2", &iv(2, "eth0 ipvlan_mode=l3"));
    assert_eq!(
        refused.unwrap_err(),
        format!(
            "network di-{} is already using parent interface eth0",
            &id[..12]
        )
    );
    host.run("aa", "net=mv1").unwrap();
    host.run("bb", "net=mv2").unwrap();
    let busy = |driver| {
        format!(
            "failed to set up container networking: failed to create the {driver} port: device or resource busy"
        )
    };
    assert_eq!(host.run("cc", "net=iv1").unwrap_err(), busy("ipvlan"));
    host.run("dd", "net=pt").unwrap();
}

#[test]
fn parents_that_are_none() {
    let mut host = Host::new(V29);
    for (driver, parent, text) in [
        (
            "ipvlan",
            "lo",
            "loopback interface is not a valid ipvlan parent link",
        ),
        (
            "macvlan",
            "eth9.1",
            "-o parent interface was not found on the host: eth9",
        ),
        (
            "macvlan",
            "eth0.x",
            "unable to parse a valid vlan id from: x (ex. eth0.10 for vlan 10)",
        ),
        (
            "ipvlan",
            "eth0.4095",
            "vlan id must be between 1-4094, received: 4095",
        ),
        (
            "ipvlan",
            "eth0.1.2",
            "required interface name format is: name.vlan_id, ex. eth0.10 for vlan 10, instead received eth0.1.2",
        ),
    ] {
        let refused = host.net("x", &format!("driver={driver} parent={parent}"));
        assert_eq!(refused.unwrap_err(), text);
    }
}

/// 20.10 takes an address for the gateway of every network, and no network for internal that was not asked
/// to be.
#[test]
fn macvlan_of_20_10_has_a_gateway() {
    let mut host = Host::new(OLD);
    host.net("alone", "driver=macvlan subnet=10.5.0.0/24")
        .unwrap();
    host.net("shared", "driver=macvlan subnet=192.0.2.0/24 parent=eth0")
        .unwrap();
    host.net("zz", "").unwrap();
    host.run("aa", "net=alone").unwrap();
    assert_eq!(
        (host.ip("aa", "alone"), host.ways("aa").0),
        ("10.5.0.2".into(), "10.5.0.1".into())
    );
    host.connect("zz", "aa", "").unwrap();
    assert_eq!(host.ways("aa").0, "10.5.0.1");
    host.run("bb", "net=shared").unwrap();
    assert_eq!(host.ways("bb").0, "192.0.2.1");
}
