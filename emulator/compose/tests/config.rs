//! `vethlab.yaml` and files of machines.

use std::collections::BTreeMap;

use emulator_compose::{
    Claim, Config, Expectation, Joined, MachineFile, Options, Party, Probe, Whom, is_engines, load,
};

fn files(texts: &[(&str, &str)]) -> BTreeMap<String, String> {
    let pair = |(name, text): &(&str, &str)| ((*name).to_owned(), (*text).to_owned());
    texts.iter().map(pair).collect()
}

const SHOP: &str = "services: {web: {image: i}, db: {image: postgres}}\n";

#[test]
fn one_project_and_its_variants() {
    let config = "
engine: '29'
groups: {data: [db]}
expect: [web -> data allow]
variants:
  old: {engine: '20.10', expect: [data -> internet deny], files: [compose.yaml, old.yaml], profiles: [p]}
";
    let mut source = files(&[
        ("shop/vethlab.yaml", config),
        ("shop/compose.yaml", SHOP),
        (
            "shop/compose.override.yaml",
            "services: {web: {ports: ['80:80']}}\n",
        ),
        ("shop/old.yaml", "services: {web: {ports: ['81:80']}}\n"),
    ]);
    let config = Config::load(&mut source, "shop/vethlab.yaml").unwrap();
    let runs = config.runs(&mut source);
    let labels: Vec<&str> = runs.iter().map(|run| run.label.as_str()).collect();
    assert_eq!(labels, ["", "old"]);
    assert_eq!(
        runs[0].options.files,
        ["shop/compose.yaml", "shop/compose.override.yaml"]
    );
    assert_eq!(
        runs[1].options.files,
        ["shop/compose.yaml", "shop/old.yaml"]
    );
    assert_eq!(runs[1].options.profiles, ["p"]);
    let projects: Vec<_> = runs
        .iter()
        .map(|run| load(&mut source, &run.options).unwrap_or_else(|errors| panic!("{errors}")))
        .collect();
    let said: Vec<Vec<&str>> = projects
        .iter()
        .map(|project| {
            project
                .vethlab
                .expect
                .iter()
                .map(|e| e.text.as_str())
                .collect()
        })
        .collect();
    assert_eq!(said[0], ["web -> data allow"]);
    assert_eq!(said[1], ["web -> data allow", "data -> internet deny"]);
    let engines = projects
        .iter()
        .map(|project| project.vethlab.engine.as_ref().unwrap().as_str());
    assert_eq!(engines.collect::<Vec<_>>(), ["29", "20.10"]);
    let at = projects[0].vethlab.expect[0].at;
    assert_eq!(projects[0].locate(at), "shop/vethlab.yaml:4:10");
}

#[test]
fn several_projects_and_hosts() {
    let config = "
images: [more/images.yaml]
host: machine.json
projects:
  shop: {files: shop/compose.yaml, env_file: shop/ci.env, name: boutique, expect: [web -> db allow]}
  blog: {files: [blog/compose.yaml]}
hosts:
  edge: {projects: [shop, blog], host: edge.json}
";
    let mut source = files(&[
        ("x/vethlab.yaml", config),
        ("x/shop/compose.yaml", SHOP),
        ("x/shop/ci.env", "A=1\n"),
        ("x/blog/compose.yaml", "services: {blog: {image: i}}\n"),
    ]);
    let config = Config::load(&mut source, "x/vethlab.yaml").unwrap();
    assert_eq!(config.images[0].value, "x/more/images.yaml");
    assert_eq!(config.host.as_ref().unwrap().value, "x/machine.json");
    assert_eq!(config.hosts[0].host.as_ref().unwrap().value, "x/edge.json");
    assert_eq!(config.hosts[0].projects.len(), 2);
    let runs = config.runs(&mut source);
    assert_eq!(
        runs[0].options.env_files.as_deref(),
        Some(&["x/shop/ci.env".to_owned()][..])
    );
    let shop = load(&mut source, &runs[0].options).unwrap();
    assert_eq!(
        (shop.name.as_str(), shop.vethlab.expect.len()),
        ("boutique", 1)
    );
    let blog = load(&mut source, &runs[1].options).unwrap();
    assert_eq!((blog.name.as_str(), blog.vethlab.expect.len()), ("blog", 0));
}

/// Joined and taken apart again, projects are what they were; what was changed in between is changed in its project.
#[test]
fn projects_that_are_joined_come_apart() {
    let infra = "
name: base
services:
  db: {image: i, networks: [data, default], depends_on: [cache]}
  cache: {image: i, container_name: cache0}
  probe: {image: i, network_mode: 'service:db', scale: 2}
networks: {data: {internal: true}}
";
    let app = "
name: app
services:
  web: {image: i, networks: {back: {aliases: [w]}}}
networks: {back: {name: base_data, external: true}}
";
    let project = |text| emulator_compose::load_str(text).unwrap();
    let (infra, app) = (project(infra), project(app));
    let joined = Joined::new("one", &[("infra", &infra), ("app", &app)]);
    let members = [&infra, &app];
    assert_eq!(
        joined.apart(&joined.project, &members),
        [infra.clone(), app.clone()]
    );
    let mut edited = joined.project.clone();
    let of = |name: &str| joined.project.services.iter().position(|s| s.name == name);
    let web = of("app/web").unwrap();
    let mut onto = edited.services[web].networks[0].clone();
    onto.key = "base_default".to_owned();
    edited.services[web].networks.push(onto);
    let data = edited.networks.iter_mut().find(|n| n.name == "base_data");
    data.unwrap().internal = false;
    let apart = joined.apart(&edited, &members);
    assert!(!apart[0].network("data").unwrap().internal);
    let web = apart[1].service("web").unwrap();
    let keys: Vec<&str> = web.networks.iter().map(|n| n.key.as_str()).collect();
    assert_eq!(keys, ["back", "base_default"]);
    let network = apart[1].network("base_default").unwrap();
    assert!(network.external && network.used);
}

/// What the projects of a host do together is expected of the host: names carry the project's key, networks are the
/// engine's, and every place is one of one file.
#[test]
fn a_host_expects_what_spans_its_projects() {
    let read = |host: &str| {
        let config = format!(
            "projects: {{infra: {{files: i.yaml, name: base}}, app: {{files: a.yaml, name: app}}}}\nhosts:\n  one:\n    projects: [infra, app]\n{host}"
        );
        let mut source = files(&[
            ("vethlab.yaml", &config),
            (
                "i.yaml",
                "services:\n  db: {image: i, networks: [data]}\n  icmp: {image: i, network_mode: 'service:db'}\nnetworks: {data: {}}\n",
            ),
            (
                "a.yaml",
                "services:\n  web: {image: i, networks: [back]}\nnetworks: {back: {name: base_data, external: true}}\n",
            ),
        ]);
        let config = Config::load(&mut source, "vethlab.yaml").unwrap();
        let runs = config.runs(&mut source);
        let infra = load(&mut source, &runs[0].options).unwrap();
        let after = infra.files.clone();
        let app = load(
            &mut source,
            &Options {
                after,
                ..runs[1].options.clone()
            },
        );
        let members = [("infra", &infra), ("app", &app.unwrap())];
        Joined::load(&mut source, &config, "one", &members)
    };
    let joined = read(
        "    groups: {stores: [infra/db]}\n    expect:\n      - app/web -> infra/db:5432, infra/icmp:53/udp, stores/icmp allow via base_data\n      - {from: app/web, to: infra/db/icmp, verdict: allow, after: recreate infra/db}\n      - app/web resolves db on base_data\n",
    )
    .unwrap();
    let project = &joined.project;
    let located = |name: &str| project.locate(project.service(name).unwrap().at);
    assert_eq!(located("infra/db"), "i.yaml:2:3");
    assert_eq!(located("app/web"), "a.yaml:2:3");
    assert_eq!(
        project.locate(project.vethlab.expect[0].at),
        "vethlab.yaml:7:9"
    );
    assert_eq!(joined.label("base", "db").as_deref(), Some("infra/db"));
    assert_eq!(joined.split("infra/db"), Some(("base", "db")));
    assert_eq!(joined.split("base/db"), None);
    let networks: Vec<_> = project
        .networks
        .iter()
        .map(|n| (n.key.as_str(), n.external))
        .collect();
    assert_eq!(networks, [("base_data", false)]);
    let service = |name: &str| Whom::Party(Party::Service(name.to_owned()));
    let Claim::Reach { to, via, .. } = &project.vethlab.expect[0].claim else {
        panic!("{:?}", project.vethlab.expect[0]);
    };
    let seen: Vec<_> = to
        .iter()
        .map(|target| (target.whom.clone(), target.probe))
        .collect();
    assert_eq!(
        seen,
        [
            (service("infra/db"), Probe::Tcp(5432)),
            (service("infra/icmp"), Probe::Udp(53)),
            (service("infra/db"), Probe::Icmp),
        ]
    );
    assert_eq!(via.as_deref(), Some("base_data"));
    let again = Expectation::parse(&project.vethlab.expect[1].to_string(), project).unwrap();
    assert_eq!(again.claim, project.vethlab.expect[1].claim);
    for (sentence, column, message, hint) in [
        (
            "web -> infra/db:1 allow",
            9,
            "`web` does not say of which project it is",
            "`app/web`",
        ),
        (
            "app/web -> db:1 allow",
            20,
            "`db` does not say",
            "`infra/db`",
        ),
        (
            "app/web -> infra/dd:1 allow",
            20,
            "no project of the host has a service or group `infra",
            "infra/db",
        ),
        (
            "app/web -> infra/db:1 allow via back",
            41,
            "no network `back`",
            "base_data",
        ),
        (
            "app/web -> infra/db/sctp deny",
            20,
            "`/sctp` is none of",
            "",
        ),
    ] {
        let errors = read(&format!("    expect:\n      - {sentence}\n")).unwrap_err();
        let error = &errors.0[0];
        let place = (error.file.as_str(), error.line, error.column);
        assert_eq!(place, ("vethlab.yaml", 6, column), "{error}");
        assert!(error.message.contains(message), "{error}");
        let said = error.hint.clone().unwrap_or_default();
        assert!(said.contains(hint), "{error}");
    }
}

#[test]
fn what_a_config_may_not_say() {
    let cases = [
        (
            "expct: []",
            (1, 1),
            "vethlab.yaml has no key \"expct\"",
            "`expect`",
        ),
        ("files: []", (1, 8), "files is empty", ""),
        ("files: 5", (1, 8), "files must be a path", ""),
        (
            "projects: {a: {}}",
            (1, 12),
            "project \"a\" names no files",
            "",
        ),
        (
            "projects: {a: {files: x, image: y}}",
            (1, 26),
            "a project has no key \"image\"",
            "",
        ),
        (
            "projects: {a: {files: x}}\nexpect: []",
            (2, 1),
            "\"expect\" belongs to one of the projects",
            "projects",
        ),
        (
            "projects: {shop: {files: x}}\nhosts: {h: {projects: [shpo]}}",
            (2, 24),
            "no project \"shpo\"",
            "`shop`",
        ),
        (
            "projects: {a: {files: x}}\nhosts: {h: {}}",
            (2, 9),
            "has no projects",
            "",
        ),
        (
            "variants: {v: {variants: {}}}",
            (1, 16),
            "a variant has no key \"variants\"",
            "",
        ),
        ("engine: 28", (1, 9), "engine \"28\" is not known", "29"),
        ("- a", (1, 1), "vethlab.yaml must be a mapping", ""),
        ("a: 1\n---\nb: 2", (3, 1), "one document is enough", ""),
        ("a: [", (1, 4), "yaml:", ""),
    ];
    for (text, at, message, hint) in cases {
        let error = Config::parse("vethlab.yaml", text)
            .expect_err(text)
            .0
            .remove(0);
        assert!(error.message.contains(message), "{text}: {}", error.message);
        assert_eq!((error.line, error.column), at, "{text}: {error}");
        assert!(error.hint.unwrap_or_default().contains(hint), "{text}");
    }
    let mut none = BTreeMap::new();
    let errors = Config::load(&mut none, "vethlab.yaml").unwrap_err();
    assert_eq!(
        errors.0[0].message,
        "open vethlab.yaml: no such file or directory"
    );
    assert_eq!(Config::parse("v.yaml", "").unwrap().projects.len(), 1);
}

#[test]
fn wrong_expectations_are_told_with_their_file() {
    let mut source = files(&[
        (
            "vethlab.yaml",
            "files: compose.yaml\nname: x\nexpect:\n  - web -> bd allow\n",
        ),
        ("compose.yaml", SHOP),
    ]);
    let config = Config::load(&mut source, "vethlab.yaml").unwrap();
    let run = config.runs(&mut source).remove(0);
    let error = load(&mut source, &run.options).unwrap_err().0.remove(0);
    assert_eq!(
        error.to_string(),
        "error: the project has no service or group `bd`
 --> vethlab.yaml:4:12
  |
4 |   - web -> bd allow
  |            ^^
  = hint: its services are: db, web"
    );
}

/// What the tools print, shortened.
const MACHINE: &str = r#"{
\t"daemon": {
\t\t"default-address-pools": [{"base": "10.10.0.0/16", "size": 24}],
\t\t"bip": "10.9.0.1/16", "icc": false, "userland-proxy": false, "ip": "127.0.0.1",
\t\t"dns": ["10.0.0.53"], "mtu": 1400, "log-driver": "journald", "ipv6": true,
\t\t"fixed-cidr-v6": "fd00:1::/64", "default-network-opts": {"bridge": {"com.docker.network.driver.mtu": "1450"}},
\t\t"host-gateway-ips": ["192.0.2.9", "fd00::9"]
\t},
\t"routes": [
\t\t{"dst":"default","gateway":"192.168.1.1","dev":"wlan0","metric":600,"flags":[]},
\t\t{"dst":"default","gateway":"10.0.0.1","dev":"eth0","protocol":"dhcp","metric":100,"flags":[]},
\t\t{"dst":"10.0.0.0/24","dev":"eth0","scope":"link","prefsrc":"10.0.0.5","flags":[]},
\t\t{"type":"blackhole","dst":"10.99.0.0/16","flags":[]},
\t\t{"dst":"10.8.0.1","dev":"tun0","flags":[]}
\t],
\t"addresses": [
\t\t{"ifname":"lo","mtu":65536,"addr_info":[{"family":"inet","local":"127.0.0.1","prefixlen":8}]},
\t\t{},
\t\t{"ifname":"eth0","mtu":1450,"addr_info":[{"family":"inet","local":"10.0.0.5","prefixlen":24},{"family":"inet6","local":"fe80::1","prefixlen":64}]}
\t]
}"#;

#[test]
fn a_machine_as_its_tools_print_it() {
    let text = MACHINE.replace("\\t", "\t");
    let machine = MachineFile::parse("m.json", &text).unwrap_or_else(|errors| panic!("{errors}"));
    let daemon = &machine.daemon;
    assert_eq!(daemon.default_address_pools[0].size, 24);
    assert_eq!(daemon.bip.unwrap().to_string(), "10.9.0.1/16");
    assert_eq!(
        (daemon.icc, daemon.userland_proxy, daemon.ip_masq),
        (Some(false), Some(false), None)
    );
    assert_eq!(daemon.ip.unwrap().to_string(), "127.0.0.1");
    assert_eq!(daemon.host_gateway_ips.len(), 2);
    assert_eq!(
        daemon.default_network_opts["bridge"]["com.docker.network.driver.mtu"],
        "1450"
    );
    assert_eq!(machine.routes.len(), 4);
    assert_eq!(
        machine.routes[3].destination.unwrap().to_string(),
        "10.8.0.1/32"
    );
    assert_eq!(machine.uplink(), Some("eth0"));
    assert_eq!(machine.uplink_mtu(), Some(1450));
    assert_eq!(
        machine.interfaces[1].addresses[0].to_string(),
        "10.0.0.5/24"
    );
    let named = text.replacen('{', "{\"uplink\": \"lo\", \"mtu\": 9000,", 1);
    let machine = MachineFile::parse("m.json", &named).unwrap();
    assert_eq!(
        (machine.uplink(), machine.uplink_mtu()),
        (Some("lo"), Some(9000))
    );
    assert_eq!(
        MachineFile::parse("m.yaml", "").unwrap(),
        MachineFile::default()
    );
    for (text, drop, no_drop) in [
        ("forward: ACCEPT", Some(false), None),
        ("forward: DROP", Some(true), None),
        ("daemon: {ip-forward-no-drop: true}", None, Some(true)),
    ] {
        let machine = MachineFile::parse("m.yaml", text).unwrap();
        let said = (machine.forward_drop, machine.daemon.ip_forward_no_drop);
        assert_eq!(said, (drop, no_drop), "{text}");
    }
}

#[test]
fn nonsense_about_a_machine_is_refused_kindly() {
    let cases = [
        ("deamon: {}", "a machine has no key \"deamon\"", "`daemon`"),
        (
            "{\"icc\": false}",
            "a machine has no key \"icc\"",
            "under the key `daemon`",
        ),
        (
            "[{\"dst\": \"default\"}]",
            "a machine must be a mapping",
            "under the key `routes`",
        ),
        (
            "[{\"ifname\": \"lo\"}]",
            "a machine must be a mapping",
            "under the key `addresses`",
        ),
        (
            "daemon: {iccc: true}",
            "the following directives don't match any configuration option: iccc",
            "`icc`",
        ),
        ("daemon: {icc: 1}", "icc must be true or false", ""),
        ("daemon: {bip: 10.0.0.1}", "is no IPv4 prefix", ""),
        ("daemon: {bip: 'fd00::1/64'}", "is not IPv4", ""),
        (
            "daemon: {default-address-pools: [{base: 10.0.0.0/24, size: 16}]}",
            "invalid pool size 16",
            "",
        ),
        (
            "daemon: {default-address-pools: [{base: 10.0.0.0/24}]}",
            "needs \"size\"",
            "10.10.0.0/16",
        ),
        (
            "daemon: {iptables: false}",
            "iptables: false is not understood",
            "",
        ),
        (
            "daemon: {bridge: none}",
            "bridge: none is not understood",
            "",
        ),
        ("routes: default", "routes must be a list", "`ip -j route`"),
        ("routes: [{dst: here}]", "is no address", ""),
        ("addresses: [{mtu: 5}]", "needs \"ifname\"", "`ip -j addr`"),
        (
            "{uplink: eth9, addresses: [{ifname: eth0}]}",
            "there is no interface \"eth9\"",
            "eth0",
        ),
        ("uplink: [eth0]", "must be the name of an interface", ""),
        (
            "addresses: [{ifname: eth0, addr_info: [{local: 198.51.100.4, prefixlen: 24}]}]",
            "198.51.100.4 is in 198.51.100.0/24",
            "documentation",
        ),
        (
            "addresses: [{ifname: eth0, addr_info: [{local: 203.0.113.10, prefixlen: 24}]}]",
            "the link of 203.0.113.10/24 has 203.0.113.0/30 in it",
            "documentation",
        ),
        ("mtu: 20", "is no MTU", ""),
        ("mtu: big", "is no MTU", ""),
        (
            "forward: maybe",
            "must be DROP or ACCEPT",
            "iptables -S FORWARD",
        ),
    ];
    for (text, message, hint) in cases {
        let error = MachineFile::parse("m.yaml", text)
            .expect_err(text)
            .0
            .remove(0);
        assert!(error.message.contains(message), "{text}: {}", error.message);
        assert!(error.line > 0 && error.file == "m.yaml", "{text}");
        assert!(error.hint.unwrap_or_default().contains(hint), "{text}");
    }
}

#[test]
fn interfaces_have_a_bound() {
    let many = |count: u8| {
        let each = (0..count).map(|n| {
            format!("{{ifname: e{n}, addr_info: [{{local: 10.0.{n}.1, prefixlen: 24}}]}}")
        });
        let list: Vec<String> = each.collect();
        MachineFile::parse("m.yaml", &format!("addresses: [{}]", list.join(", ")))
    };
    assert!(many(64).is_ok());
    let error = many(65).unwrap_err().0.remove(0);
    assert!(
        error.message.contains("more than 64 interfaces"),
        "{}",
        error.message
    );
}

#[test]
fn an_uplink_that_nobody_names() {
    let uplink = |text: &str| MachineFile::parse("m.yaml", text).unwrap();
    let first = "addresses: [{ifname: lo, addr_info: [{local: 127.0.0.1}]}, {ifname: docker0, addr_info: [{local: 172.17.0.1}]}, {ifname: ens5, mtu: 1300, addr_info: [{local: 10.0.0.5}]}]";
    assert_eq!(uplink(first).uplink_mtu(), Some(1300));
    assert_eq!(uplink("addresses: [{ifname: lo}]").uplink(), None);
}

#[test]
fn interfaces_of_the_engine() {
    for name in [
        "docker0",
        "br-0123456789ab",
        "veth0a1b2c3",
        "docker_gwbridge",
    ] {
        assert!(is_engines(name), "{name}");
    }
    for name in ["eth0", "br0", "br-lan", "vethernet", "br-0123456789abc"] {
        assert!(!is_engines(name), "{name}");
    }
}
