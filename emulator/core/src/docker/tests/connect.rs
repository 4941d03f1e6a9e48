//! `network connect` and `network disconnect`, and which network is the way out.

use crate::docker::spec::Engine;
use crate::docker::testing::{Host, text};

const V29: Engine = Engine::V29;
const OLD: Engine = Engine::V20_10;

fn with_nets(engine: Engine, nets: &[(&str, &str)]) -> Host {
    let mut host = Host::new(engine);
    for (name, flags) in nets {
        host.net(name, flags).unwrap();
    }
    host
}

#[test]
fn priority_of_the_way_out() {
    let mut host = with_nets(V29, &[("n1", "ipv6"), ("n2", "ipv6")]);
    host.run("cc", "net=n1,prio=10 net=n2,prio=100").unwrap();
    let of = |host: &Host, net: &str| {
        let n = host.docker.network(net).unwrap();
        (
            n.gateway(false).unwrap().to_string(),
            n.gateway(true).unwrap().to_string(),
        )
    };
    assert_eq!(host.ways("cc"), of(&host, "n2"), "case 25");

    let mut host = with_nets(V29, &[("n1", ""), ("n2", ""), ("n3", ""), ("n4", "")]);
    host.run("cc", "net=n1").unwrap();
    host.connect("n2", "cc", "prio=-100").unwrap();
    assert_eq!(host.ways("cc").0, "172.18.0.1", "case 26");
    host.connect("n3", "cc", "prio=100").unwrap();
    assert_eq!(host.ways("cc").0, "172.20.0.1", "case 26");
    assert_eq!(host.ifaces("cc"), "eth0=n1 eth1=n2 eth2=n3", "case 26");
    host.connect("n4", "cc", "prio=100").unwrap();
    assert_eq!(host.ways("cc").0, "172.20.0.1", "n3 is before n4");
    host.disconnect("n3", "cc").unwrap();
    assert_eq!(host.ways("cc").0, "172.21.0.1", "case 26");
    for net in ["n4", "n1", "n2"] {
        host.disconnect(net, "cc").unwrap();
    }
    assert_eq!(host.ways("cc"), ("-".to_owned(), "-".to_owned()));
}

#[test]
fn each_family_has_its_own_way_out_case_27() {
    let mut host = with_nets(V29, &[("dual", "ipv6"), ("four", "")]);
    host.run("cc", "net=dual net=four,prio=1000").unwrap();
    let six = host
        .docker
        .network("dual")
        .unwrap()
        .gateway(true)
        .unwrap()
        .to_string();
    assert_eq!(host.ways("cc"), ("172.19.0.1".to_owned(), six));
}

#[test]
fn eth_numbers_follow_the_way_out_at_the_start() {
    for engine in [V29, OLD] {
        let mut host = with_nets(engine, &[("zeta", ""), ("alpha", ""), ("mid", "internal")]);
        host.run("cc", "net=mid net=zeta net=alpha").unwrap();
        assert_eq!(
            host.ifaces("cc"),
            "eth0=alpha eth1=zeta eth2=mid",
            "records h02, h04"
        );
        assert_eq!(host.ways("cc").0, "172.19.0.1");
    }
    // An internal network alone: 20.10 gives it a default route.
    for (engine, way) in [(V29, "-"), (OLD, "172.18.0.1")] {
        let mut host = with_nets(engine, &[("i", "internal")]);
        host.run("cc", "net=i").unwrap();
        assert_eq!(host.ways("cc").0, way);
        let seen = host.docker.inspect("cc").unwrap();
        let shown = if engine == V29 { "" } else { way };
        assert_eq!(seen.network_settings.networks["i"].gateway, shown);
    }
}

#[test]
fn interface_names_cases_29_and_30() {
    let mut host = with_nets(V29, &[("testnet0", ""), ("testnet1", ""), ("testnet2", "")]);
    host.run("cc", "net=testnet0,ifname=eth1 net=testnet1")
        .unwrap();
    assert_eq!(host.ifaces("cc"), "eth0=testnet1 eth1=testnet0");
    host.connect("testnet2", "cc", "").unwrap();
    assert_eq!(
        host.ifaces("cc"),
        "eth0=testnet1 eth1=testnet0 eth2=testnet2"
    );
    host.disconnect("testnet1", "cc").unwrap();
    host.disconnect("testnet2", "cc").unwrap();
    host.connect("testnet2", "cc", "").unwrap();
    assert_eq!(host.ifaces("cc"), "eth0=testnet2 eth1=testnet0");
    let error = host.connect("testnet1", "cc", "ifname=eth0").unwrap_err();
    assert!(
        error.starts_with("error renaming interface") && error.ends_with("file exists"),
        "{error}"
    );
    assert_eq!(
        host.ifaces("cc"),
        "eth0=testnet2 eth1=testnet0",
        "rolled back"
    );
    host.net("own", "com.docker.network.container_iface_prefix=lan")
        .unwrap();
    host.connect("own", "cc", "").unwrap();
    assert_eq!(host.ifaces("cc"), "eth0=testnet2 eth1=testnet0 lan0=own");
}

#[test]
fn a_failed_connect_leaves_no_trace_case_31() {
    let mut host = with_nets(V29, &[("n1", ""), ("n2", "")]);
    host.run("cc", "net=n1 p=8080:80").unwrap();
    host.kernel.refuse_attach = true;
    let error = host.connect("n2", "cc", "").unwrap_err();
    assert!(
        error.contains(" to bridge br-") && error.ends_with(" failed: exchange full"),
        "{error}"
    );
    host.kernel.refuse_attach = false;
    assert_eq!(host.ifaces("cc"), "eth0=n1");
    assert!(
        !host
            .docker
            .container("cc")
            .unwrap()
            .networks
            .contains_key("n2")
    );
    assert_eq!(
        host.docker.network_inspect("n2").unwrap().status[0].in_use,
        3
    );
    host.run("dd", "net=n2").unwrap();
    assert_eq!(host.ip("dd", "n2"), "172.19.0.2");

    // The port is gone when the mapping has to move: the old network keeps it.
    host.net("a", "com.docker.network.bridge.host_binding_ipv4=127.0.0.1")
        .unwrap();
    host.kernel.busy = vec!["127.0.0.1:8080".parse().unwrap()];
    let error = host.connect("a", "cc", "").unwrap_err();
    assert!(
        error.contains("failed to bind host port 127.0.0.1:8080/tcp: address already in use"),
        "{error}"
    );
    host.kernel.busy.clear();
    assert_eq!(host.ifaces("cc"), "eth0=n1");
    assert_eq!(host.ways("cc").0, "172.18.0.1");
    let text = host.docker.hosts_file("cc").unwrap();
    assert_eq!(text.matches("172.").count(), 1, "{text}");
    assert_eq!(host.zones.endpoints.len(), 2);
}

#[test]
fn refusals() {
    // engine 29, engine 20.10 (the same if empty)
    let rows: &[(&str, &str, &str, &str, &str)] = &[
        (
            "back",
            "ww",
            "",
            "endpoint with name ww already exists in network back",
            "",
        ),
        (
            "none",
            "c1",
            "",
            "container cannot be connected to multiple networks with one of the networks in private (none) mode",
            "",
        ),
        (
            "host",
            "c1",
            "",
            "cannot connect container to host network - container must be created in host network mode",
            "container cannot be disconnected from host network or connected to host network",
        ),
        ("nosuch", "c1", "", "network nosuch not found", ""),
        ("back", "nosuch", "", "No such container: nosuch", ""),
        (
            "back",
            "jj",
            "",
            "container sharing network namespace with another container or host cannot be connected to any other network",
            "",
        ),
        (
            "back",
            "hosted",
            "",
            "container sharing network namespace with another container or host cannot be connected to any other network",
            "",
        ),
        (
            "back",
            "alone",
            "",
            "container cannot be connected to multiple networks with one of the networks in private (none) mode",
            "",
        ), // case 69
        (
            "bridge",
            "ww",
            "alias=x",
            "invalid endpoint settings:\nnetwork-scoped aliases are only supported for user-defined networks",
            "network-scoped alias is supported only for containers in user defined networks",
        ), // case 69
        (
            "bridge",
            "ww",
            "ip=172.17.0.99",
            "invalid endpoint settings:\nuser-specified IP address is supported on user-defined networks only",
            "user specified IP address is supported on user defined networks only",
        ),
        (
            "auto",
            "ww",
            "ip=172.99.0.9",
            "invalid endpoint settings:\nno configured subnet contains IP address 172.99.0.9",
            "user specified IP address is supported only when connecting to networks with user configured subnets",
        ), // cli1 75
        (
            "back",
            "c1",
            "ip=10.99.0.5",
            "invalid endpoint settings:\nno configured subnet contains IP address 10.99.0.5",
            "Invalid address 10.99.0.5: It does not belong to any of this network's subnets",
        ), // cli1 77
        ("back", "c1", "ip=10.77.0.2", "Address already in use", ""), // cli1 76
        (
            "back",
            "c1",
            "ll=57.123.22.11",
            "invalid link local IP address: 57.123.22.11",
            "",
        ),
        ("back", "c1", "mac=zz", "invalid MAC address zz", ""),
    ];
    for engine in [V29, OLD] {
        let mut host = with_nets(engine, &[("back", "subnet=10.77.0.0/24"), ("auto", "")]);
        host.run("ww", "net=back").unwrap();
        host.run("c1", "").unwrap();
        host.run("jj", "net=container:ww").unwrap();
        host.run("hosted", "net=host").unwrap();
        host.run("alone", "net=none").unwrap();
        for (net, name, flags, new, old) in rows {
            let expected = if engine == OLD && !old.is_empty() {
                old
            } else {
                new
            };
            assert_eq!(
                host.connect(net, name, flags).unwrap_err(),
                *expected,
                "{engine:?} {net} {name} {flags}"
            );
        }
        // Nothing came of it.
        assert_eq!(host.ifaces("c1"), "eth0=bridge");
        host.connect("back", "c1", "").unwrap();
        assert_eq!(host.ip("c1", "back"), "10.77.0.3", "{engine:?}");
    }
}

#[test]
fn disconnects() {
    for engine in [V29, OLD] {
        let mut host = with_nets(engine, &[("n", ""), ("m", "")]);
        let id = host.run("cc", "net=n").unwrap();
        assert_eq!(
            host.disconnect("m", "cc").unwrap_err(),
            format!("container {id} is not connected to network m")
        );
        assert_eq!(
            host.disconnect("x", "cc").unwrap_err(),
            "network x not found"
        );
        assert_eq!(
            host.disconnect("n", "xx").unwrap_err(),
            "No such container: xx"
        );
        let forced = |host: &mut Host, net: &str, name: &str| {
            text(host.act(|d, w| d.network_disconnect(w, net, name, true)))
        };
        assert_eq!(
            forced(&mut host, "n", "xx").unwrap_err(),
            "endpoint xx not found",
            "cli1 92"
        );
        host.disconnect("n", "cc").unwrap();
        assert_eq!(host.ifaces("cc"), "");
        assert_eq!(host.docker.container("cc").unwrap().state.word(), "running");
        host.stop("cc");
        assert_eq!(
            host.disconnect("n", "cc").unwrap_err(),
            format!("container {id} is not connected to the network n")
        );
        // While it is stopped only the settings change.
        host.connect("m", "cc", "alias=x").unwrap();
        host.connect("m", "cc", "").unwrap();
        host.connect("later", "cc", "").unwrap();
        forced(&mut host, "later", "cc").unwrap();
        host.connect("later", "cc", "").unwrap();
        host.net("later", "").unwrap();
        host.start("cc").unwrap();
        assert_eq!(host.ifaces("cc"), "eth0=later eth1=m");
        host.run("h1", "net=host").unwrap();
        let text = host.disconnect("host", "h1").unwrap_err();
        assert!(text.contains("host network"), "{text}");
    }
}

#[test]
fn the_way_out_moves_at_connect_and_disconnect() {
    for engine in [V29, OLD] {
        let mut host = with_nets(
            engine,
            &[("mid", ""), ("other", ""), ("aaa", ""), ("zzz", "")],
        );
        host.run("aa", "net=mid p=8080:80").unwrap();
        host.connect("aaa", "aa", "").unwrap();
        host.connect("zzz", "aa", "alias=late").unwrap();
        assert_eq!(host.ways("aa").0, "172.20.0.1", "record h37");
        assert_eq!(
            host.ports("aa"),
            "0.0.0.0:8080>172.20.0.2:80/tcp [::]:8080>172.20.0.2:80/tcp",
            "record h37"
        );
        host.disconnect("aaa", "aa").unwrap();
        assert_eq!(
            host.ports("aa"),
            "0.0.0.0:8080>172.18.0.2:80/tcp [::]:8080>172.18.0.2:80/tcp",
            "record h38"
        );
        let view = host.zones.views.values().next().unwrap();
        let names: Vec<_> = view
            .networks
            .iter()
            .map(|(key, _)| host.zones.networks[key].as_str())
            .collect();
        assert_eq!(names, ["mid", "zzz"]);
    }
}

#[test]
fn overlapping_subnets_are_refused_by_the_sandbox() {
    let mut host = with_nets(V29, &[("a", "subnet=10.3.0.0/24")]);
    host.net(
        "b",
        "driver=macvlan parent=eth0 subnet=10.3.0.0/24 range=10.3.0.128/25",
    )
    .unwrap();
    host.run("cc", "net=a").unwrap();
    let text = host.connect("b", "cc", "").unwrap_err();
    assert!(text.starts_with("cannot program address 10.3.0.128/24 in sandbox interface because it conflicts with existing route {"), "{text}");
    assert_eq!(host.ifaces("cc"), "eth0=a");
}
