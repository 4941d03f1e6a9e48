//! The recorded 20.10 engine's answers to a list of commands (`cli1`), as far as they are the daemon's.
//! The numbers are the commands' places in the record.

use crate::docker::spec::Engine;
use crate::docker::testing::{Host, text};
use crate::docker::verbs::list::NetworkFilters;

fn fails(got: Result<String, String>, place: u32, expected: &str) {
    assert_eq!(got.unwrap_err(), expected, "cli1 {place}");
}

fn ipam(host: &Host, name: &str) -> String {
    let value = host.docker.network_inspect(name).unwrap().to_value();
    value
        .field("IPAM")
        .unwrap()
        .field("Config")
        .unwrap()
        .to_string()
}

#[test]
fn cli1() {
    let mut host = Host::new(Engine::V20_10);
    networks(&mut host);
    containers(&mut host);
    connects(&mut host);
    disconnects(&mut host);
}

fn networks(host: &mut Host) {
    let web = host.net("web", "").unwrap();
    fails(
        host.net("web", ""),
        10,
        "network with name web already exists",
    );
    host.net(
        "back",
        "internal subnet=10.77.0.0/24 range=10.77.0.128/25 gateway=10.77.0.254 label=tier",
    )
    .unwrap();
    let opts = host
        .net(
            "opts",
            "com.docker.network.bridge.name=br-x com.docker.network.driver.mtu=1400",
        )
        .unwrap();
    let inspect = host
        .docker
        .network_inspect("web")
        .unwrap()
        .to_value()
        .pretty();
    let expected = format!(
        "{{\n    \"Name\": \"web\",\n    \"Id\": \"{web}\",\n    \"Created\": \"2000-01-01T00:00:00Z\",\n    \"Scope\": \"local\",\n    \"Driver\": \"bridge\",\n    \"EnableIPv6\": false,\n    \"IPAM\": {{\n        \"Driver\": \"default\",\n        \"Options\": {{}},\n        \"Config\": [\n            {{\n                \"Subnet\": \"172.18.0.0/16\",\n                \"Gateway\": \"172.18.0.1\"\n            }}\n        ]\n    }},\n    \"Internal\": false,\n    \"Attachable\": false,\n    \"Ingress\": false,\n    \"ConfigFrom\": {{\n        \"Network\": \"\"\n    }},\n    \"ConfigOnly\": false,\n    \"Containers\": {{}},\n    \"Options\": {{}},\n    \"Labels\": {{}}\n}}"
    );
    assert_eq!(inspect, expected, "cli1 13");
    assert_eq!(
        ipam(host, "back"),
        "[{\"Subnet\":\"10.77.0.0/24\",\"IPRange\":\"10.77.0.128/25\",\"Gateway\":\"10.77.0.254\"}]",
        "cli1 14"
    );
    assert_eq!(
        ipam(host, "opts"),
        "[{\"Subnet\":\"172.19.0.0/16\",\"Gateway\":\"172.19.0.1\"}]",
        "cli1 15"
    );
    fails(
        host.net("ov", "subnet=10.77.0.0/25"),
        21,
        "Pool overlaps with other one on this address space",
    );
    fails(
        host.net("clash", "subnet=172.17.0.0/16"),
        22,
        "Pool overlaps with other one on this address space",
    );
    fails(
        host.net("bad", "subnet=10.50.0.1"),
        23,
        "Invalid subnet 10.50.0.1 : invalid CIDR address: 10.50.0.1",
    );
    host.net("hostbits", "subnet=10.50.0.1/24").unwrap();
    assert_eq!(
        ipam(host, "hostbits"),
        "[{\"Subnet\":\"10.50.0.1/24\"}]",
        "cli1 25"
    );
    fails(
        host.net("bad6", "driver=nosuch"),
        30,
        "plugin \"nosuch\" not found",
    );
    fails(
        host.net("bad7", "driver=host"),
        31,
        "only one instance of \"host\" network is allowed",
    );
    fails(
        host.net("bad8", "driver=null"),
        32,
        "only one instance of \"null\" network is allowed",
    );
    fails(
        host.net("host", ""),
        33,
        "operation is not permitted on predefined host network ",
    );
    host.net("we b", "").unwrap();
    fails(host.net("", ""), 35, "network with name  already exists");
    fails(
        host.net("two", "subnet=10.61.0.0/24 subnet=10.62.0.0/24"),
        37,
        "bridge driver doesn't support multiple subnets",
    );
    host.net("v6noflag", "subnet=fd00:7::/64").unwrap();
    assert_eq!(
        ipam(host, "v6noflag"),
        "[{\"Subnet\":\"172.21.0.0/16\",\"Gateway\":\"172.21.0.1\"},{\"Subnet\":\"fd00:7::/64\"}]",
        "cli1 39"
    );
    fails(
        host.net("v6auto", "ipv6"),
        40,
        "could not find an available, non-overlapping IPv6 address pool among the defaults to assign to the network",
    );
    host.net("v6", "ipv6 subnet=fd00:8::/64").unwrap();
    assert_eq!(
        ipam(host, "v6"),
        "[{\"Subnet\":\"172.23.0.0/16\",\"Gateway\":\"172.23.0.1\"},{\"Subnet\":\"fd00:8::/64\"}]",
        "cli1 42"
    );
    let got = host
        .net("dupname", "com.docker.network.bridge.name=br-x")
        .unwrap_err();
    assert!(
        got.ends_with(&format!(
            "(br-x): conflicts with network {opts} (br-x): networks have same bridge name"
        )),
        "cli1 43: {got}"
    );
    fails(
        host.net("ovl", "driver=overlay"),
        44,
        "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to swarm and try again.",
    );
    fails(
        host.net("mv", "driver=macvlan parent=nosuch0"),
        45,
        "invalid subinterface vlan name nosuch0, example formatting is eth0.10",
    );
    host.net("conf", "config-only subnet=10.63.0.0/24").unwrap();
    host.net("fromconf", "config-from=conf").unwrap();
    assert_eq!(
        ipam(host, "fromconf"),
        "[{\"Subnet\":\"10.63.0.0/24\"}]",
        "cli1 49"
    );
}

fn containers(host: &mut Host) {
    let c1 = host.run("c1", "").unwrap();
    fails(
        host.make("c1", ""),
        51,
        &format!(
            "Conflict. The container name \"/c1\" is already in use by container \"{c1}\". You have to remove (or rename) that container to be able to reuse that name."
        ),
    );
    let w1 = host.run("w1", "net=web,alias=www").unwrap();
    host.run("w2", "net=web,alias=www h=whost domain=ex.lab")
        .unwrap();
    host.run("b1", "net=back").unwrap();
    let seen = host.docker.inspect("w1").unwrap().network_settings;
    let web = host.docker.network("web").unwrap().id.clone();
    let endpoint = &seen.networks["web"].endpoint_id;
    assert_eq!(
        seen.networks["web"].to_value(Engine::V20_10).to_string(),
        format!(
            "{{\"IPAMConfig\":null,\"Links\":null,\"Aliases\":[\"www\",\"{}\"],\"NetworkID\":\"{web}\",\"EndpointID\":\"{endpoint}\",\"Gateway\":\"172.18.0.1\",\"IPAddress\":\"172.18.0.2\",\"IPPrefixLen\":16,\"IPv6Gateway\":\"\",\"GlobalIPv6Address\":\"\",\"GlobalIPv6PrefixLen\":0,\"MacAddress\":\"02:42:ac:12:00:02\",\"DriverOpts\":null}}",
            &w1[..12]
        ),
        "cli1 55"
    );
    let all = host
        .docker
        .inspect("c1")
        .unwrap()
        .network_settings
        .to_value(Engine::V20_10)
        .to_string();
    assert!(
        all.starts_with("{\"Bridge\":\"\",\"SandboxID\":\""),
        "cli1 56"
    );
    assert!(all.contains("\"Gateway\":\"172.17.0.1\",\"GlobalIPv6Address\":\"\",\"GlobalIPv6PrefixLen\":0,\"IPAddress\":\"172.17.0.2\",\"IPPrefixLen\":16,\"IPv6Gateway\":\"\",\"MacAddress\":\"02:42:ac:11:00:02\",\"Networks\":{\"bridge\":{\"IPAMConfig\":null,\"Links\":null,\"Aliases\":null,"), "cli1 56: {all}");
    assert_eq!(
        host.docker.hosts_file("w2").unwrap(),
        "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\nff00::0\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n172.18.0.3\twhost.ex.lab whost\n",
        "cli1 58"
    );
    assert_eq!(host.ways("b1").0, "10.77.0.254", "cli1 64");
    assert_eq!(host.ip("b1", "back"), "10.77.0.128", "cli1 64");
}

fn connects(host: &mut Host) {
    host.connect("back", "w1", "").unwrap();
    let fails = |got: Result<(), String>, place, expected: &str| {
        fails(got.map(|()| String::new()), place, expected)
    };
    fails(
        host.connect("back", "w1", ""),
        68,
        "endpoint with name w1 already exists in network back",
    );
    host.connect("back", "w2", "ip=10.77.0.5 alias=db alias=db2")
        .unwrap();
    assert_eq!(host.ifaces("w2"), "eth0=web eth1=back", "cli1 71");
    assert_eq!(host.ways("w2").0, "172.18.0.1", "cli1 72");
    let place = host.docker.inspect("w2").unwrap().network_settings.networks["back"].clone();
    let w2 = host.docker.container("w2").unwrap().id.clone();
    assert_eq!(place.aliases, ["db", "db2", &w2[..12], "whost"], "cli1 73");
    let shown = place.to_value(Engine::V20_10).to_string();
    assert!(
        shown.starts_with("{\"IPAMConfig\":{\"IPv4Address\":\"10.77.0.5\"},\"Links\":null,"),
        "cli1 73: {shown}"
    );
    assert!(
        shown.ends_with("\"MacAddress\":\"02:42:0a:4d:00:05\",\"DriverOpts\":{}}"),
        "cli1 73: {shown}"
    );
    let seen = host.docker.network_inspect("back").unwrap();
    let mut members: Vec<_> = seen
        .containers
        .iter()
        .map(|m| format!("{} {}", m.name, m.ipv4))
        .collect();
    members.sort();
    assert_eq!(
        members,
        ["b1 10.77.0.128/24", "w1 10.77.0.129/24", "w2 10.77.0.5/24"],
        "cli1 74"
    );
    fails(
        host.connect("web", "b1", "ip=172.18.0.50"),
        75,
        "user specified IP address is supported only when connecting to networks with user configured subnets",
    );
    fails(
        host.connect("back", "c1", "ip=10.77.0.5"),
        76,
        "Address already in use",
    );
    fails(
        host.connect("back", "c1", "ip=10.99.0.5"),
        77,
        "Invalid address 10.99.0.5: It does not belong to any of this network's subnets",
    );
    host.connect("web", "c1", "link=w1:ww").unwrap();
    assert_eq!(
        host.docker.resolv_conf("c1").unwrap(),
        "nameserver 127.0.0.11\noptions ndots:0\n",
        "cli1 79"
    );
    fails(
        host.connect("host", "c1", ""),
        81,
        "container cannot be disconnected from host network or connected to host network",
    );
    fails(
        host.connect("none", "c1", ""),
        82,
        "container cannot be connected to multiple networks with one of the networks in private (none) mode",
    );
    fails(
        host.connect("nosuch", "c1", ""),
        83,
        "network nosuch not found",
    );
    fails(
        host.connect("web", "nosuch", ""),
        84,
        "No such container: nosuch",
    );
    fails(
        host.connect("bridge", "w1", "alias=x"),
        85,
        "network-scoped alias is supported only for containers in user defined networks",
    );
    host.connect("bridge", "w1", "").unwrap();
    assert_eq!(host.ways("w1").0, "172.17.0.1", "cli1 87");
    assert_eq!(
        host.ifaces("w1"),
        "eth0=web eth1=back eth2=bridge",
        "cli1 87"
    );
    assert_eq!(host.ip("w1", "bridge"), "172.17.0.3", "cli1 87");
}

fn disconnects(host: &mut Host) {
    let fails = |got: Result<(), String>, place, expected: &str| {
        fails(got.map(|()| String::new()), place, expected)
    };
    host.disconnect("bridge", "w1").unwrap();
    let w1 = host.docker.container("w1").unwrap().id.clone();
    fails(
        host.disconnect("bridge", "w1"),
        89,
        &format!("container {w1} is not connected to network bridge"),
    );
    fails(
        host.disconnect("nosuch", "w1"),
        90,
        "network nosuch not found",
    );
    fails(
        host.disconnect("web", "nosuch"),
        91,
        "No such container: nosuch",
    );
    let forced = text(host.act(|d, w| d.network_disconnect(w, "web", "nosuch", true)));
    fails(forced, 92, "endpoint nosuch not found");
    host.disconnect("web", "w2").unwrap();
    assert_eq!(host.ways("w2").0, "10.77.0.254", "cli1 94");
    assert_eq!(host.ifaces("w2"), "eth1=back", "cli1 94");
    let web = host.docker.network("web").unwrap().id.clone();
    fails(
        host.net_rm("web"),
        95,
        &format!("error while removing network: network web id {web} has active endpoints"),
    );
    fails(
        host.net_rm("bridge"),
        96,
        "bridge is a pre-defined network and cannot be removed",
    );
    for name in ["opts", "hostbits", "fromconf", "conf"] {
        host.net_rm(name).unwrap();
    }
    let gone = host
        .act(|d, w| d.network_prune(w, &NetworkFilters::default()))
        .unwrap();
    assert_eq!(gone, ["we b", "v6noflag", "v6"], "cli1 100");
    let mut left: Vec<_> = host
        .docker
        .networks()
        .map(|n| n.name().to_owned())
        .collect();
    left.sort();
    assert_eq!(left, ["back", "bridge", "host", "none", "web"], "cli1 101");
}
