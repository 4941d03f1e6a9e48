//! Cases of the rules beyond the page's examples.

use super::{lines, loaded, look, machine, of};
use crate::lint::loaded::Loaded;
use crate::lint::run::{Options, lint};

/// Services from their bodies, in flow style.
pub(super) fn services(bodies: &[(&str, &str)], rest: &str) -> String {
    let services: String = bodies
        .iter()
        .map(|(name, body)| format!("  {name}: {{image: acme/{name}, {body}}}\n"))
        .collect();
    format!("services:\n{services}{rest}")
}

fn count(text: &str, rule: &str) -> usize {
    of(&look(text), rule).len()
}

fn with_machine(text: &str, file: &str) -> Vec<String> {
    let options = Options {
        machine: machine(file),
        ..Options::default()
    };
    lines(&lint(&[loaded(text)], &options))
}

#[test]
fn what_is_bound_elsewhere_is_not_open_to_all() {
    let text = services(&[("web", "ports: ['80:80']")], "");
    assert_eq!(count(&text, "publish-all"), 1);
    let daemon = r#"{"daemon": {"ip": "127.0.0.1"}}"#;
    assert_eq!(with_machine(&text, daemon), Vec::<String>::new());
    let options = r#"{"daemon": {"default-network-opts": {"bridge": {"com.docker.network.bridge.host_binding_ipv4": "127.0.0.1"}}}}"#;
    assert_eq!(with_machine(&text, options), Vec::<String>::new());
    let network = "networks: {default: {driver_opts: {com.docker.network.bridge.host_binding_ipv4: 127.0.0.1}}}\n";
    assert_eq!(
        lines(&look(&format!("{text}{network}"))),
        Vec::<String>::new()
    );
    // A range is one entry, and an ephemeral port is as open as another.
    let text = services(
        &[(
            "web",
            "ports: ['8000-8009:8000-8009', 90, '192.0.2.2:91:91']",
        )],
        "",
    );
    assert_eq!(count(&text, "publish-all"), 2);
}

#[test]
fn a_data_store_is_known_by_its_image_or_its_port() {
    let store = |image: &str, port: &str| {
        let text = format!("services:\n  a:\n    image: {image}\n    ports: ['{port}']\n");
        let report = look(&text);
        (
            of(&report, "publish-data-store").len(),
            of(&report, "publish-all").len(),
        )
    };
    assert_eq!(store("postgres", "5432:5432"), (1, 0));
    assert_eq!(store("bitnami/postgresql:16", "0.0.0.0:5432:5432"), (1, 0));
    assert_eq!(store("acme/pg", "15432:5432"), (1, 0));
    assert_eq!(store("elasticsearch:9", "9200:9200"), (1, 0));
    assert_eq!(store("rabbitmq", "5672:5672"), (0, 1));
    assert_eq!(store("postgres", "192.0.2.2:5432:5432"), (0, 0));
    assert_eq!(store("redis", "6379:6379/udp"), (0, 1));
    assert_eq!(store("memcached", "11211:11211/udp"), (1, 0));
}

#[test]
fn one_port_for_two() {
    let two = |a: &str, b: &str| {
        let text = services(&[("a", a), ("b", b)], "");
        count(&text, "publish-duplicate")
    };
    assert_eq!(two("ports: ['80:80']", "ports: ['0.0.0.0:80:8080']"), 1);
    assert_eq!(two("ports: ['80:80']", "ports: ['80:80/udp']"), 0);
    assert_eq!(
        two("ports: ['127.0.0.1:80:80']", "ports: ['192.0.2.2:80:80']"),
        0
    );
    assert_eq!(two("ports: ['[::1]:80:80']", "ports: ['0.0.0.0:80:80']"), 0);
    assert_eq!(two("ports: ['80-82:80-82']", "ports: ['82:80']"), 1);
    assert_eq!(two("ports: ['80-82:80']", "ports: ['82:80']"), 0);
    let profiles = "ports: ['80:80'], profiles: [x]";
    assert_eq!(two(profiles, "ports: ['80:80'], profiles: [y]"), 0);
    assert_eq!(two(profiles, "ports: ['80:80'], profiles: [y, x]"), 1);
    assert_eq!(two(profiles, "ports: ['80:80']"), 1);
    assert_eq!(
        two("network_mode: host, ports: ['80:80']", "ports: ['80:80']"),
        0
    );
}

#[test]
fn a_later_file_adds_a_port() {
    let base = services(&[("web", "ports: ['8080:80']")], "");
    let later = "services: {web: {ports: ['8081:80', '9090:90']}}\n";
    let project = Loaded::from_texts(&[("a.yaml", &base), ("b.yaml", later)]).unwrap();
    let report = lint(&[project], &Options::default());
    let lines = lines(&report);
    let own: Vec<&String> = lines
        .iter()
        .filter(|line| line.contains("publish-duplicate"))
        .collect();
    assert_eq!(own, ["1 publish-duplicate warning"]);
    // Within a file two ports of the host for one of the container are meant.
    let text = services(&[("web", "ports: ['8080:80', '8081:80']")], "");
    assert_eq!(count(&text, "publish-duplicate"), 0);
}

#[test]
fn the_projects_of_a_host_meet() {
    let project = |name: &str, text: &str| {
        let file = format!("{name}.yaml");
        let mut loaded = Loaded::from_texts(&[(&file, text)]).unwrap();
        loaded.project.name = name.to_owned();
        for network in &mut loaded.project.networks {
            if !network.external {
                network.name = format!("{name}_{}", network.key);
            }
        }
        loaded
    };
    let rest = "networks:\n  own: {ipam: {config: [{subnet: 10.89.0.0/24}]}}\n  shared: {external: true}\n";
    let text = services(
        &[("db", "ports: ['127.0.0.1:80:80'], networks: [own, shared]")],
        rest,
    );
    let mut projects = [project("shop", &text), project("blog", &text)];
    let options = Options::default();
    assert_eq!(lines(&lint(&projects, &options)), Vec::<String>::new());
    for project in &mut projects {
        project.hosts.push("edge".to_owned());
    }
    let report = lint(&projects, &options);
    assert_eq!(
        lines(&report),
        [
            "2 alias-shared warning",
            "2 publish-duplicate error",
            "4 pool-overlap error"
        ]
    );
    assert_eq!(
        of(&report, "alias-shared"),
        [
            "`db` is both db of shop and db of blog on network shared: who asks gets the addresses of both"
        ]
    );
}

#[test]
fn names_that_are_shared_on_purpose_or_never_at_once() {
    let two = |a: &str, b: &str| {
        let text = services(&[("a", a), ("b", b)], "");
        lines(&look(&text))
    };
    let alias = "networks: {default: {aliases: [web]}}";
    assert_eq!(two(alias, alias), ["3 alias-shared note"]);
    assert_eq!(two("hostname: web", alias), ["3 alias-shared warning"]);
    assert_eq!(two("hostname: WEB", alias), ["3 alias-shared warning"]);
    assert_eq!(
        two("container_name: same", "hostname: same"),
        ["3 alias-shared warning"]
    );
    let none = Vec::<String>::new();
    assert_eq!(
        two(
            "hostname: web, profiles: [x]",
            "hostname: web, profiles: [y]"
        ),
        none
    );
    assert_eq!(
        two("hostname: web", "hostname: web, network_mode: bridge"),
        none
    );
}

#[test]
fn a_fixed_address_is_at_risk_exactly_where_others_reach_it() {
    let with = |address: &str, scale: u32, pool: &str| {
        let fixed = format!("networks: {{n: {{ipv4_address: {address}}}}}");
        let free = format!("networks: [n], scale: {scale}");
        let rest = format!("networks: {{n: {{ipam: {{config: [{pool}]}}}}}}\n");
        let text = services(&[("fixed", fixed.as_str()), ("free", free.as_str())], &rest);
        count(&text, "static-in-dynamic")
    };
    let pool = "{subnet: 10.89.0.0/24}";
    assert_eq!(with("10.89.0.2", 1, pool), 1);
    assert_eq!(with("10.89.0.3", 1, pool), 0);
    assert_eq!(with("10.89.0.3", 2, pool), 1);
    assert_eq!(
        with("10.89.0.2", 1, "{subnet: 10.89.0.0/24, gateway: 10.89.0.9}"),
        0
    );
    assert_eq!(
        with("10.89.0.1", 1, "{subnet: 10.89.0.0/24, gateway: 10.89.0.9}"),
        1
    );
    let aux = "{subnet: 10.89.0.0/24, aux_addresses: {x: 10.89.0.2}}";
    assert_eq!(with("10.89.0.3", 1, aux), 1);
    let range = "{subnet: 10.89.0.0/24, ip_range: 10.89.0.64/26, gateway: 10.89.0.1}";
    assert_eq!(with("10.89.0.2", 9, range), 0);
    assert_eq!(with("10.89.0.64", 1, range), 1);
    // Two fixed ones push the free one up.
    let text = services(
        &[
            ("a", "networks: {n: {ipv4_address: 10.89.0.2}}"),
            ("b", "networks: {n: {ipv4_address: 10.89.0.3}}"),
            ("free", "networks: [n]"),
        ],
        "networks: {n: {ipam: {config: [{subnet: 10.89.0.0/24}]}}}\n",
    );
    assert_eq!(count(&text, "static-in-dynamic"), 2);
}

#[test]
fn subnets_and_pools_that_are_too_small() {
    let with = |scale: u32, pool: &str| {
        let body = format!("networks: [n], scale: {scale}");
        let rest = format!("networks: {{n: {{ipam: {{config: [{pool}]}}}}}}\n");
        count(&services(&[("a", body.as_str())], &rest), "pool-exhausted")
    };
    assert_eq!(with(5, "{subnet: 10.89.0.0/29}"), 0);
    assert_eq!(with(6, "{subnet: 10.89.0.0/29}"), 1);
    assert_eq!(
        with(5, "{subnet: 10.89.0.0/29, aux_addresses: {x: 10.89.0.5}}"),
        1
    );
    // The gateway is not in the range: all of its four addresses are for containers.
    let range = "{subnet: 10.89.0.0/24, ip_range: 10.89.0.8/30, gateway: 10.89.0.1}";
    assert_eq!((with(4, range), with(5, range)), (0, 1));
    let networks = |count: usize| {
        let keys: Vec<String> = (0..count).map(|index| format!("n{index}")).collect();
        let body = format!("networks: [{}]", keys.join(", "));
        let rest: String = keys.iter().map(|key| format!("  {key}: {{}}\n")).collect();
        services(&[("a", body.as_str())], &format!("networks:\n{rest}"))
    };
    assert_eq!(count(&networks(30), "pool-exhausted"), 0);
    assert_eq!(count(&networks(31), "pool-exhausted"), 1);
    let pool = r#"{"daemon": {"default-address-pools": [{"base": "10.9.0.0/22", "size": 24}]}}"#;
    assert_eq!(with_machine(&networks(3), pool), Vec::<String>::new());
    let four = with_machine(&networks(4), pool);
    assert!(four[0].ends_with("pool-exhausted error"), "{four:?}");
}

#[test]
fn subnets_that_meet_each_other_docker0_or_the_first_pools() {
    let with = |subnets: &[&str], file: &str| {
        let keys: Vec<String> = (0..subnets.len())
            .map(|index| format!("n{index}"))
            .collect();
        let body = format!("networks: [{}]", keys.join(", "));
        let rest: String = keys
            .iter()
            .zip(subnets)
            .map(|(key, subnet)| format!("  {key}: {{ipam: {{config: [{{subnet: {subnet}}}]}}}}\n"))
            .collect();
        let text = services(&[("a", body.as_str())], &format!("networks:\n{rest}"));
        with_machine(&text, file)
    };
    assert_eq!(
        with(&["10.8.0.0/16", "10.9.0.0/16"], "{}"),
        Vec::<String>::new()
    );
    assert_eq!(
        with(&["10.8.0.0/15", "10.9.0.0/16"], "{}"),
        ["5 pool-overlap error"]
    );
    assert_eq!(with(&["172.17.5.0/24"], "{}"), ["4 pool-overlap error"]);
    assert_eq!(with(&["172.20.0.0/24"], "{}"), ["4 pool-overlap note"]);
    assert_eq!(with(&["192.168.240.0/24"], "{}"), Vec::<String>::new());
    let bip = r#"{"daemon": {"bip": "10.8.0.1/24"}}"#;
    assert_eq!(with(&["10.8.0.0/16"], bip), ["4 pool-overlap error"]);
    // The engine's own routes are not the host's, and a default route is no subnet.
    let own = r#"{"routes": [{"dst": "default", "gateway": "192.0.2.1", "dev": "eth0"}, {"dst": "10.8.0.0/16", "dev": "br-0123456789ab"}]}"#;
    assert_eq!(with(&["10.8.0.0/16"], own), Vec::<String>::new());
}

#[test]
fn what_the_engine_chooses_meets_a_vpn() {
    let text = services(&[("a", "scale: 1")], "");
    let by = |route: &str| with_machine(&text, &format!(r#"{{"routes": [{route}]}}"#));
    let vpn = r#"{"dst": "172.16.0.0/12", "gateway": "10.7.0.1", "dev": "tun0"}"#;
    assert_eq!(by(vpn), ["2 pool-overlap warning"]);
    // The engine keeps away from what is on the link.
    let link = r#"{"dst": "172.18.0.0/16", "dev": "eth1"}"#;
    assert_eq!(by(link), Vec::<String>::new());
}

#[test]
fn udp_that_is_published_as_tcp() {
    let ports = |ports: &str| {
        let text = services(&[("a", &format!("ports: [{ports}]") as &str)], "");
        count(&text, "publish-udp")
    };
    assert_eq!(ports("'53:53'"), 1);
    assert_eq!(ports("'53:53', '53:53/udp'"), 0);
    assert_eq!(ports("'51820:51820/udp'"), 0);
    assert_eq!(ports("'5000:51820'"), 1);
    assert_eq!(ports("'53:80'"), 0);
}

#[test]
fn blanks_that_change_the_network() {
    let text = "\
services:
  web:
    image: a${X}
    ports: ['${P}:80', '${Q:-81}:81']
    environment: {A: '${X}'}
networks:
  default: {name: '${N}net'}
";
    assert_eq!(
        of(&look(text), "unset-variable"),
        [
            "P has no value in `ports`: the host's port is any free one, or the address every one",
            "N has no value in a network's name: the network is another one"
        ]
    );
}

#[test]
fn ipv6_by_halves() {
    let with = |network: &str, body: &str| {
        let text = services(&[("a", body)], &format!("networks: {{n: {{{network}}}}}\n"));
        lines(&look(&text))
    };
    let subnet = "ipam: {config: [{subnet: 'fd00:89::/64'}]}";
    let fixed = "networks: {n: {ipv6_address: 'fd00:89::5'}}";
    assert_eq!(
        with(subnet, fixed),
        ["2 half-ipv6 error", "3 half-ipv6 warning"]
    );
    assert_eq!(
        with(&format!("{subnet}, enable_ipv6: true"), fixed),
        Vec::<String>::new()
    );
    assert_eq!(with("external: true", fixed), Vec::<String>::new());
}

/// What is advised opens something where there is no IPv4.
#[test]
fn an_address_is_of_a_family_that_the_networks_have() {
    let fixes = |v4: bool| {
        let networks = format!("networks: {{n: {{enable_ipv6: true, enable_ipv4: {v4}}}}}\n");
        let web = ("web", "ports: ['80:80'], networks: [n]");
        let db = ("db", "ports: ['5432:5432'], networks: [n]");
        let text = services(&[web, db], &networks);
        let findings = look(&text).findings;
        let fixes = findings.into_iter().filter_map(|finding| finding.fix);
        fixes.collect::<Vec<_>>().join("\n")
    };
    for fix in ["`[::1]:80:80`", "`[::]:80:80`", "`[::1]:5432:5432`"] {
        assert!(fixes(false).contains(fix), "{}", fixes(false));
        assert!(!fixes(true).contains(fix), "{}", fixes(true));
    }
}
