//! The files of a sandbox, and what the embedded DNS is told about it.

use crate::docker::config::DaemonConfig;
use crate::docker::spec::Engine;
use crate::docker::testing::{HOST, Host};

const V29: Engine = Engine::V29;
const OLD: Engine = Engine::V20_10;

#[test]
fn hosts_files() {
    let mut host = Host::new(V29);
    host.net("a", "ipv6 subnet=10.1.0.0/24 subnet=fd00:1::/64")
        .unwrap();
    host.net("b", "subnet=10.2.0.0/24").unwrap();
    host.run(
        "cc",
        "net=a h=somehost.example.com host=one:10.1.2.3 host=hg:host-gateway host=six=[fd00::5]",
    )
    .unwrap();
    let tail = |host: &Host| {
        let text = host.docker.hosts_file("cc").unwrap();
        text.lines().skip(6).collect::<Vec<_>>().join("|")
    };
    let own = "somehost.example.com somehost";
    let extra = "10.1.2.3\tone|172.17.0.1\thg|fd00::5\tsix";
    let a = format!("{extra}|10.1.0.2\t{own}|fd00:1::2\t{own}");
    assert_eq!(tail(&host), a, "case 33");
    host.connect("b", "cc", "").unwrap();
    assert_eq!(tail(&host), format!("{a}|10.2.0.2\t{own}"), "case 32");
    host.disconnect("a", "cc").unwrap();
    assert_eq!(tail(&host), format!("{extra}|10.2.0.2\t{own}"), "case 32");

    host.run("off", "net=a sysctl=net.ipv6.conf.all.disable_ipv6@1 h=off")
        .unwrap();
    assert_eq!(
        host.docker.hosts_file("off").unwrap(),
        "127.0.0.1\tlocalhost\n10.1.0.2\toff\n",
        "case 34"
    );
    let ns = host.docker.namespace_of("off").unwrap();
    assert!(host.kernel.no_loopback_v6.contains(&ns.0));
}

#[test]
fn host_gateway_of_a_dual_stack_docker0_case_50() {
    let mut config = DaemonConfig::new(V29, HOST);
    config.ipv6 = true;
    config.fixed_cidr_v6 = Some("fd00:17::/64".parse().unwrap());
    let mut host = Host::with(config);
    host.run("cc", "host=hg:host-gateway").unwrap();
    let text = host.docker.hosts_file("cc").unwrap();
    assert!(text.contains("172.17.0.1\thg\nfd00:17::1\thg\n"), "{text}");
}

#[test]
fn loopback_of_20_10_has_ipv6_only_with_an_address() {
    let mut host = Host::new(OLD);
    host.net("n", "").unwrap();
    host.net("six", "ipv6 subnet=fd00:6::/64").unwrap();
    host.run("cc", "net=n").unwrap();
    let ns = host.docker.namespace_of("cc").unwrap();
    assert!(host.kernel.no_loopback_v6.contains(&ns.0));
    host.connect("six", "cc", "").unwrap();
    assert!(!host.kernel.no_loopback_v6.contains(&ns.0));
}

#[test]
fn the_resolver_comes_with_the_first_user_defined_network_and_stays() {
    for engine in [V29, OLD] {
        let mut host = Host::new(engine);
        host.net("n", "").unwrap();
        host.run("cc", "").unwrap();
        let config = host.docker.dns_config("cc").unwrap();
        assert!(!config.resolver);
        assert!(
            host.docker
                .resolv_conf("cc")
                .unwrap()
                .contains("nameserver 192.0.2.1\n")
        );
        host.connect("n", "cc", "").unwrap();
        let config = host.docker.dns_config("cc").unwrap();
        assert!(config.resolver && config.external_access && !config.ndots_set);
        assert_eq!(config.upstreams.len(), 1);
        assert_eq!(config.upstreams[0].from_host, engine == V29);
        let text = host.docker.resolv_conf("cc").unwrap().to_owned();
        assert!(text.contains("nameserver 127.0.0.11\n"), "{text}");
        host.disconnect("n", "cc").unwrap();
        assert_eq!(host.docker.resolv_conf("cc").unwrap(), text, "never undone");
        assert!(host.docker.dns_config("cc").unwrap().resolver);
        host.stop("cc");
        assert!(host.docker.dns_config("cc").is_err());
        host.start("cc").unwrap();
        assert!(
            !host.docker.dns_config("cc").unwrap().resolver,
            "a new start, a new file"
        );
    }
}

#[test]
fn access_to_the_outside_is_worked_out_anew() {
    let mut host = Host::new(V29);
    host.net("i", "internal").unwrap();
    host.net("x", "").unwrap();
    host.run("cc", "net=i").unwrap();
    let access = |host: &Host| host.docker.dns_config("cc").unwrap().external_access;
    assert!(!access(&host));
    host.connect("x", "cc", "").unwrap();
    assert!(access(&host), "case 42");
    host.disconnect("x", "cc").unwrap();
    assert!(!access(&host), "case 42");
    let mut old = Host::new(OLD);
    old.net("i", "internal").unwrap();
    old.run("cc", "net=i").unwrap();
    assert!(access(&old), "record h56");
}

#[test]
fn own_resolvers_and_those_of_the_daemon() {
    let mut config = DaemonConfig::new(V29, HOST);
    config.dns = vec!["10.9.9.9".to_owned()];
    config.dns_search = vec!["corp.example".to_owned()];
    let mut host = Host::with(config);
    host.net("n", "").unwrap();
    host.run("cc", "net=n").unwrap();
    let dns = host.docker.dns_config("cc").unwrap();
    assert_eq!(dns.upstreams[0].addr.to_string(), "10.9.9.9");
    assert!(!dns.upstreams[0].from_host);
    assert!(
        host.docker
            .resolv_conf("cc")
            .unwrap()
            .contains("search corp.example\n")
    );
    host.run("dd", "net=n dns=10.8.8.8 search=. opt=ndots:5")
        .unwrap();
    let dns = host.docker.dns_config("dd").unwrap();
    assert_eq!(dns.upstreams[0].addr.to_string(), "10.8.8.8");
    assert!(dns.ndots_set);
    assert!(!host.docker.resolv_conf("dd").unwrap().contains("\nsearch"));
    assert_eq!(
        host.make("bad", "dns=nowhere").unwrap_err(),
        "bad nameserver address: \"nowhere\""
    );
}

#[test]
fn systemds_stub_is_looked_behind_on_docker0_only() {
    let mut config = DaemonConfig::new(V29, HOST);
    config.resolv_conf = "nameserver 127.0.0.53\n".to_owned();
    config.resolv_conf_systemd = Some("nameserver 192.0.2.77\n".to_owned());
    let mut host = Host::with(config);
    host.net("n", "").unwrap();
    host.run("cc", "").unwrap();
    let text = host.docker.resolv_conf("cc").unwrap();
    assert!(text.contains("nameserver 192.0.2.77\n"), "{text}");
    assert!(
        text.contains("# Based on host file: '/run/systemd/resolve/resolv.conf' (legacy)"),
        "{text}"
    );
    host.run("dd", "net=n").unwrap();
    assert!(
        host.docker
            .resolv_conf("dd")
            .unwrap()
            .contains("# ExtServers: [host(127.0.0.53)]")
    );
}

#[test]
fn twenty_ten_disconnects_by_name() {
    let mut host = Host::new(OLD);
    host.net("n1", "").unwrap();
    host.net("n2", "").unwrap();
    host.run("aa", "net=n1 net=n2").unwrap();
    host.run("bb", "net=n1 net=n2 h=long domain=lab.example")
        .unwrap();
    let own = |host: &Host, name: &str| {
        let text = host.docker.hosts_file(name).unwrap();
        text.lines().skip(6).collect::<Vec<_>>().join("|")
    };
    assert_eq!(own(&host, "aa").lines().count(), 1);
    host.disconnect("n1", "aa").unwrap();
    assert_eq!(
        own(&host, "aa"),
        "",
        "record h38: the line of n2 is gone too"
    );
    host.disconnect("n1", "bb").unwrap();
    let names = "long.lab.example long";
    assert_eq!(
        own(&host, "bb"),
        format!("172.18.0.3\t{names}|172.19.0.3\t{names}"),
        "a line with two names fits none"
    );
    assert!(!own(&host, "bb").is_empty());
}

#[test]
fn files_after_a_start_that_failed() {
    let mut host = Host::new(OLD);
    host.net("n", "subnet=10.0.0.0/29").unwrap();
    host.run("aa", "net=n,ip=10.0.0.5 p=80:80").unwrap();
    host.make("taken", "net=n,ip=10.0.0.5").unwrap();
    host.start("taken").unwrap_err();
    assert_eq!(host.docker.hosts_file("taken").unwrap(), "", "record h10");
    host.make("busy", "net=n p=80:80 h=busy").unwrap();
    host.start("busy").unwrap_err();
    let hosts = host.docker.hosts_file("busy").unwrap();
    assert!(hosts.ends_with("10.0.0.2\tbusy\n"), "record h34: {hosts}");
    assert_eq!(
        host.docker.resolv_conf("busy").unwrap(),
        "nameserver 192.0.2.1\n",
        "record h34"
    );
}

#[test]
fn a_bridge_is_full() {
    let mut config = DaemonConfig::new(V29, HOST);
    config.bridge_ports = Some(2);
    let mut host = Host::with(config);
    host.run("c1", "").unwrap();
    host.run("c2", "").unwrap();
    let error = host.run("c3", "").unwrap_err();
    assert!(error.starts_with("failed to set up container networking: failed to create endpoint c3 on network bridge: adding interface veth"), "{error}");
    assert!(
        error.ends_with(" to bridge docker0 failed: exchange full"),
        "{error}"
    );
    host.rm("c1");
    host.start("c3").unwrap();
    assert_eq!(host.ip("c3", "bridge"), "172.17.0.2");
}
