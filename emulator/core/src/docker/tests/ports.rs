//! Published ports over the whole model.

use crate::docker::config::DaemonConfig;
use crate::docker::container::State;
use crate::docker::spec::Engine;
use crate::docker::testing::{HOST, Host};

const V29: Engine = Engine::V29;
const OLD: Engine = Engine::V20_10;

fn endpoint_text(host: &Host, name: &str, error: &str) -> String {
    // The endpoint is gone again, so its id is read from the error.
    let start = error.find('(').unwrap();
    let id = &error[start + 1..start + 65];
    assert_eq!(host.ports(name), "");
    format!("driver failed programming external connectivity on endpoint {name} ({id}): ")
}

#[test]
fn conflicts_case_57() {
    for engine in [V29, OLD] {
        let mut host = Host::new(engine);
        host.run("first", "p=8080:80").unwrap();
        host.make("second", "p=8080:80").unwrap();
        let error = host.start("second").unwrap_err();
        let prefix = if engine == V29 {
            "failed to set up container networking: "
        } else {
            ""
        };
        let at = endpoint_text(&host, "second", &error);
        assert_eq!(
            error,
            format!("{prefix}{at}Bind for 0.0.0.0:8080 failed: port is already allocated")
        );
        let second = host.docker.container("second").unwrap();
        assert_eq!((second.state, second.exit_code()), (State::Created, 128));
        assert_eq!(host.kernel.spaces.len(), 1, "its namespace is gone");
        host.rm("first");
        host.start("second").unwrap();
    }
}

#[test]
fn a_socket_of_the_host_is_in_the_way() {
    let rows = [
        (
            V29,
            "8080:80",
            "failed to bind host port 0.0.0.0:8080/tcp: address already in use",
        ),
        (
            OLD,
            "8080:80",
            "Error starting userland proxy: listen tcp4 0.0.0.0:8080: bind: address already in use",
        ),
        (
            V29,
            "203.0.113.9:8001:80",
            "failed to bind host port 203.0.113.9:8001/tcp: cannot assign requested address",
        ),
        (
            OLD,
            "203.0.113.9:8001:80",
            "Error starting userland proxy: listen tcp4 203.0.113.9:8001: bind: cannot assign requested address",
        ), // record h34
    ];
    for (engine, spec, expected) in rows {
        let mut host = Host::new(engine);
        host.kernel.busy = vec!["192.0.2.2:8080".parse().unwrap()];
        host.make("c1", &format!("p={spec}")).unwrap();
        let error = host.start("c1").unwrap_err();
        assert!(error.ends_with(expected), "{error}");
        host.kernel.busy.clear();
        if spec.starts_with('8') {
            host.start("c1").unwrap();
        }
    }
}

#[test]
fn ranges_pass_over_what_is_busy_case_62() {
    let mut host = Host::new(V29);
    host.kernel.busy = vec!["0.0.0.0:8082".parse().unwrap()];
    host.run("cc", "p=8080-8083:80 p=8080-8083:81 p=8080-8083:82")
        .unwrap();
    let got: Vec<_> = host
        .docker
        .port("cc")
        .unwrap()
        .iter()
        .filter(|p| p.host_ip.is_ipv4())
        .map(|p| (p.port.number, p.host_port))
        .collect();
    assert_eq!(got, [(80, 8080), (81, 8081), (82, 8083)]);
}

#[test]
fn ranges_over_containers_case_58() {
    for engine in [V29, OLD] {
        let mut host = Host::new(engine);
        for (name, port) in [("c1", 9090), ("c2", 9091), ("c3", 9092)] {
            host.run(name, "p=9090-9092:80").unwrap();
            assert_eq!(host.docker.port(name).unwrap()[0].host_port, port);
        }
        host.make("c4", "p=9090-9092:80").unwrap();
        let error = host.start("c4").unwrap_err();
        assert!(
            error.ends_with("): all ports are allocated"),
            "record h28: {error}"
        );
        host.rm("c2");
        host.start("c4").unwrap();
        assert_eq!(host.docker.port("c4").unwrap()[0].host_port, 9091);
    }
}

#[test]
fn ephemeral_ports_are_picked_anew_case_66() {
    for engine in [V29, OLD] {
        let mut host = Host::new(engine);
        host.net("aaa", "").unwrap();
        host.net("ccc", "").unwrap();
        host.run("cc", "p=70 p=9000:90").unwrap();
        let ports = |host: &Host| {
            let list = host.docker.port("cc").unwrap();
            let of = |n| list.iter().find(|p| p.port.number == n).unwrap().host_port;
            (of(70), of(90))
        };
        assert_eq!(ports(&host), (32768, 9000));
        host.connect("aaa", "cc", "").unwrap();
        assert_eq!(ports(&host), (32769, 9000), "case 66");
        host.connect("ccc", "cc", "").unwrap();
        assert_eq!(ports(&host), (32769, 9000), "case 66");
    }
}

#[test]
fn the_other_family_moves_case_65() {
    let mut host = Host::new(V29);
    host.net("four", "").unwrap();
    host.net("six", "ipv6 no-ipv4 subnet=fd00:6::/64").unwrap();
    host.run("cc", "net=four p=8080:80 p=80").unwrap();
    let alone = "0.0.0.0:8080>172.18.0.2:80/tcp [::]:8080>172.18.0.2:80/tcp 0.0.0.0:32768>172.18.0.2:80/tcp [::]:32768>172.18.0.2:80/tcp";
    assert_eq!(host.ports("cc"), alone);
    host.connect("six", "cc", "").unwrap();
    let ports = host.ports("cc");
    assert!(ports.contains("0.0.0.0:8080>172.18.0.2:80/tcp"), "{ports}");
    assert!(ports.contains("[::]:8080>fd00:6::2:80/tcp"), "{ports}");
    assert!(!ports.contains("[::]:8080>172"), "{ports}");
    assert!(
        ports.contains("0.0.0.0:32768>"),
        "IPv4 keeps its port: {ports}"
    );
    host.disconnect("six", "cc").unwrap();
    assert_eq!(host.ports("cc"), alone, "back");
}

#[test]
fn internal_networks_publish_nothing_case_67() {
    for engine in [V29, OLD] {
        let mut host = Host::new(engine);
        host.net("i", "internal").unwrap();
        host.net("foo-net", "").unwrap();
        host.run("cc", "net=i p=8080:80 expose=9").unwrap();
        assert_eq!(host.ports("cc"), "");
        assert!(
            host.docker
                .inspect("cc")
                .unwrap()
                .network_settings
                .ports
                .is_empty(),
            "record h32"
        );
        // Nothing is held either.
        host.run("dd", "p=8080:80").unwrap();
        host.rm("dd");
        host.connect("foo-net", "cc", "").unwrap();
        assert_eq!(
            host.ports("cc"),
            "0.0.0.0:8080>172.19.0.2:80/tcp [::]:8080>172.19.0.2:80/tcp"
        );
        let ports = host.docker.inspect("cc").unwrap().network_settings.ports;
        assert_eq!(ports["9/tcp"], None);
        assert_eq!(ports["80/tcp"].as_ref().unwrap().len(), 2);
    }
}

#[test]
fn defaults_of_network_and_daemon() {
    let mut config = DaemonConfig::new(V29, HOST);
    config.ip = Some("192.0.2.2".parse().unwrap());
    let mut host = Host::with(config);
    host.net(
        "lo",
        "com.docker.network.bridge.host_binding_ipv4=127.0.0.1",
    )
    .unwrap();
    host.net("n", "").unwrap();
    host.run("aa", "net=n p=80").unwrap();
    assert_eq!(host.ports("aa"), "192.0.2.2:32768>172.19.0.2:80/tcp");
    host.run("bb", "net=lo p=81:80").unwrap();
    assert_eq!(
        host.ports("bb"),
        "127.0.0.1:81>172.18.0.2:80/tcp",
        "case 64"
    );
    host.run("cc", "p=82:80 p=[::1]:83:80").unwrap();
    assert_eq!(
        host.ports("cc"),
        "192.0.2.2:82>172.17.0.2:80/tcp [::1]:83>172.17.0.2:80/tcp"
    );
    host.run("dd", "net=n P expose=7/udp expose=8").unwrap();
    assert_eq!(host.docker.port("dd").unwrap().len(), 2);
    // SCTP is modelled like the others.
    host.run("ee", "net=n p=84:80/sctp").unwrap();
    assert_eq!(host.ports("ee"), "192.0.2.2:84>172.19.0.4:80/sctp");
}

#[test]
fn routed_networks_bind_nothing() {
    let mut host = Host::new(V29);
    host.net("r", "com.docker.network.bridge.gateway_mode_ipv4=routed")
        .unwrap();
    host.run("cc", "net=r p=8080:80").unwrap();
    assert_eq!(host.ports("cc"), "0.0.0.0:0>172.18.0.2:80/tcp");
    let ports = host.docker.inspect("cc").unwrap().network_settings.ports;
    assert_eq!(
        ports["80/tcp"],
        Some(vec![("0.0.0.0".to_owned(), String::new())])
    );
    host.run("dd", "p=8080:80").unwrap();
}
