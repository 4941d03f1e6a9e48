//! What a project looks like.

use super::rig::*;

#[test]
fn networks_by_default() {
    let project = project(
        "services:
  a: {image: i}
  b: {image: i, networks: {}}
  c: {image: i, networks: [front, back]}
  d: {image: i, networks: {back: {aliases: [db, db2], ipv4_address: 10.0.0.9, priority: 5}, front: }}
  e: {image: i, network_mode: host}
networks:
  front:
  back: {internal: true, driver: bridge, driver_opts: {com.docker.network.driver.mtu: 1400}}
  unused: {name: verbatim}
  outer: {external: true}
  named: {external: true, name: other}
",
    );
    assert_eq!(network_keys(&project, "a"), ["default"]);
    assert_eq!(network_keys(&project, "b"), ["default"]);
    assert_eq!(network_keys(&project, "c"), ["front", "back"]);
    assert_eq!(network_keys(&project, "d"), ["back", "front"]);
    assert_eq!(network_keys(&project, "e"), Vec::<String>::new());
    let names: Vec<(&str, &str, bool, bool)> = project
        .networks
        .iter()
        .map(|n| (n.key.as_str(), n.name.as_str(), n.external, n.used))
        .collect();
    assert_eq!(
        names,
        [
            ("front", "default_front", false, true),
            ("back", "default_back", false, true),
            ("unused", "verbatim", false, false),
            ("outer", "outer", true, false),
            ("named", "other", true, false),
            ("default", "default_default", false, true),
        ]
    );
    let back = project.network("back").unwrap();
    assert!(back.internal);
    assert_eq!(
        back.driver_opts["com.docker.network.driver.mtu"].value,
        "1400"
    );
    let d = project.service("d").unwrap();
    assert_eq!(d.primary_network().unwrap().key, "back");
    assert_eq!(d.networks[0].aliases.len(), 2);
    assert_eq!(
        d.networks[0].ipv4_address.as_ref().unwrap().value,
        "10.0.0.9"
    );
}

#[test]
fn no_default_network_without_a_user() {
    let project = project("services: {a: {image: i, network_mode: none}}\n");
    assert!(project.networks.is_empty());
}

#[test]
fn ipam_as_written() {
    let project = project(
        "services: {a: {image: i, networks: [n]}}
networks:
  n:
    enable_ipv6: true
    ipam:
      driver: default
      options: {a: b}
      config:
        - {subnet: 10.1.0.0/16, ip_range: 10.1.5.0/24, gateway: 10.1.0.1, aux_addresses: {r: 10.1.0.2}}
        - subnet: fd00::/64
",
    );
    let network = project.network("n").unwrap();
    assert_eq!(network.enable_ipv6, Some(true));
    assert_eq!(network.ipam.len(), 2);
    assert_eq!(
        network.ipam[0].ip_range.as_ref().unwrap().value,
        "10.1.5.0/24"
    );
    assert_eq!(network.ipam[0].aux_addresses["r"].value, "10.1.0.2");
    assert_eq!(network.ipam_options["a"].value, "b");
    assert_eq!(
        network.ipam[1].at,
        Place {
            file: 0,
            line: 10,
            column: 11,
            length: 1
        }
    );
}

#[test]
fn modes() {
    let project = project(
        "services:
  a: {image: i, network_mode: bridge}
  b: {image: i, network_mode: 'service:a'}
  c: {image: i, network_mode: 'container:x'}
  d: {image: i, network_mode: some-net}
  e: {image: i, network_mode: ''}
  f: {image: i, network_mode: none}
  g: {image: i, network_mode: 'pasta:-T'}
",
    );
    let mode = |name: &str| project.service(name).unwrap().network_mode.clone();
    assert_eq!(mode("a"), NetworkMode::Bridge);
    assert_eq!(mode("b"), NetworkMode::Service("a".into()));
    assert_eq!(mode("c"), NetworkMode::Container("x".into()));
    assert_eq!(mode("d"), NetworkMode::Named("some-net".into()));
    // No network in the whole project: compose starts it on none.
    assert_eq!(mode("e"), NetworkMode::None);
    assert_eq!(mode("f"), NetworkMode::None);
    assert_eq!(project.service("b").unwrap().depends_on[0].service, "a");
}

#[test]
fn a_service_in_full() {
    let project = project(
        "services:
  a:
    image: nginx
    command: nginx -g 'daemon off;'
    container_name: front.1
    hostname: h
    domainname: d.example
    mac_address: 02:42:ac:11:00:09
    ports: [80, '8080:81/udp', {target: 82, published: 8082, host_ip: 127.0.0.1}]
    expose: [3000, '3001-3002/udp']
    links: [b, 'b:db']
    external_links: ['old:o']
    extra_hosts: ['x=1.2.3.4', 'y:::1', 'x=[::2]', 'g:host-gateway']
    dns: 9.9.9.9
    dns_search: [one.example, two.example]
    dns_opt: ['ndots:3']
    sysctls: {net.ipv4.ip_forward: 1}
    environment: [A=1, B]
    healthcheck: {test: curl localhost}
    labels: {anything: true}
  b: {image: i, deploy: {replicas: 2}}
",
    );
    let a = project.service("a").unwrap();
    assert_eq!(
        a.command.as_ref().unwrap().value,
        ["nginx", "-g", "daemon off;"]
    );
    assert_eq!(project.container_name(a, 1), "front.1");
    assert_eq!(a.ports.len(), 3);
    assert_eq!(a.ports[2].published, Published::Exact(8082));
    assert_eq!((a.ports[2].at.line, a.ports[2].at.column), (9, 32));
    assert_eq!((a.expose[1].first, a.expose[1].last), (3001, 3002));
    let links: Vec<_> = a
        .links
        .iter()
        .map(|l| (l.target.as_str(), l.alias.as_str()))
        .collect();
    assert_eq!(links, [("b", "b"), ("b", "db")]);
    assert_eq!(a.external_links[0].alias, "o");
    let hosts: Vec<_> = a
        .extra_hosts
        .iter()
        .map(|h| (h.host.as_str(), h.addresses.join(" ")))
        .collect();
    assert_eq!(
        hosts,
        [
            ("x", "1.2.3.4 ::2".to_owned()),
            ("y", "::1".to_owned()),
            ("g", "host-gateway".to_owned()),
        ]
    );
    assert_eq!(a.dns[0].value, "9.9.9.9");
    assert_eq!(a.dns_search.len(), 2);
    assert_eq!(a.sysctls["net.ipv4.ip_forward"].value, "1");
    assert_eq!(value(a, "A"), Some("1"));
    assert_eq!(value(a, "B"), None);
    assert_eq!(
        a.healthcheck.as_ref().unwrap().test,
        ["CMD-SHELL", "curl localhost"]
    );
    let b = project.service("b").unwrap();
    assert_eq!(b.replicas, 2);
    assert_eq!(project.container_name(b, 2), "default-b-2");
    let order: Vec<_> = project
        .start_order()
        .iter()
        .map(|(s, n)| (s.name.as_str(), *n))
        .collect();
    assert_eq!(order, [("b", 1), ("b", 2), ("a", 1)]);
}

#[test]
fn the_two_composes() {
    let texts = [(
        "shop/compose.yaml",
        "services: {a: {image: i, ports: ['80', '80-81', '9:9', 9:9]}}\n",
    )];
    let with = |naming: Naming| {
        let options = Options {
            naming,
            ..Options::default()
        };
        let project = load_files(&texts, options).unwrap();
        let a = project.service("a").unwrap();
        (project.container_name(a, 3), a.ports.len())
    };
    assert_eq!(with(Naming::V1), ("shop_a_3".to_owned(), 5));
    assert_eq!(with(Naming::V2), ("shop-a-3".to_owned(), 3));
}

#[test]
fn an_external_network_that_is_described() {
    let text = |networks: &str| {
        format!("services: {{a: {{image: i, networks: [n]}}}}\nnetworks: {{n: {networks}}}\n")
    };
    let project = project(&text(
        "{external: true, name: far, x-vethlab: {driver: macvlan, internal: true, driver_opts: {parent: eth0}, \
         ipam: {config: [{subnet: 10.5.0.0/24}]}}}",
    ));
    let network = project.network("n").unwrap();
    assert!(network.external && network.described && network.internal);
    assert_eq!(network.name, "far");
    assert_eq!(network.driver.as_ref().unwrap().value, "macvlan");
    assert_eq!(network.driver_opts["parent"].value, "eth0");
    assert_eq!(
        network.ipam[0].subnet.as_ref().unwrap().value,
        "10.5.0.0/24"
    );
    let (_, _, _, message) = refused(&text("{x-vethlab: {internal: true}}"));
    assert_eq!(
        message,
        "x-vethlab of a network says what an external one is"
    );
    let (_, line, column, _) = refused(&text("{external: true, x-vethlab: {internal: 3}}"));
    assert_eq!((line, column), (2, 54));
    let (_, _, _, message) = refused(&text("{external: true, x-vethlab: {name: x}}"));
    assert!(message.contains("name"), "{message}");
}
