//! Whole loads: what a project looks like, what is refused and where, several files, bounds.

use std::collections::BTreeMap;

use emulator_compose::{
    Error, ErrorKind, Naming, NetworkMode, Options, Place, Project, Published, Service, load,
    load_str,
};

fn project(text: &str) -> Project {
    load_str(text).unwrap_or_else(|errors| panic!("{errors}"))
}

/// The first error: its kind, place and message.
fn refused(text: &str) -> (ErrorKind, u32, u32, String) {
    let Error {
        kind,
        line,
        column,
        message,
        ..
    } = load_str(text).expect_err("an error").0.remove(0);
    (kind, line, column, message)
}

fn files(texts: &[(&str, &str)]) -> BTreeMap<String, String> {
    let pair = |(name, text): &(&str, &str)| ((*name).to_owned(), (*text).to_owned());
    texts.iter().map(pair).collect()
}

fn load_files(
    texts: &[(&str, &str)],
    options: Options,
) -> Result<Project, emulator_compose::Errors> {
    let options = Options {
        files: if options.files.is_empty() {
            vec!["shop/compose.yaml".to_owned()]
        } else {
            options.files
        },
        ..options
    };
    load(&mut files(texts), &options)
}

fn shop(texts: &[(&str, &str)]) -> Project {
    load_files(texts, Options::default()).unwrap_or_else(|errors| panic!("{errors}"))
}

/// A variable's value.
fn value<'s>(service: &'s Service, key: &str) -> Option<&'s str> {
    service.environment[key]
        .as_ref()
        .map(|value| value.as_str())
}

fn network_keys(project: &Project, service: &str) -> Vec<String> {
    let service = project.service(service).expect("the service");
    service.networks.iter().map(|n| n.key.clone()).collect()
}

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
fn what_is_refused_and_where() {
    use ErrorKind::{Cycle, Interpolation, Invalid, NotUnderstood, Undefined, Yaml};
    let cases: &[(&str, ErrorKind, u32, u32, &str)] = &[
        (
            "services:\n  a:\n    prots: []\n",
            Invalid,
            3,
            5,
            "services.a additional properties 'prots' not allowed",
        ),
        (
            "servces: {}\n",
            Invalid,
            1,
            1,
            "additional properties 'servces' not allowed",
        ),
        ("[]", Invalid, 1, 1, "top-level object must be a mapping"),
        ("a: [", Yaml, 1, 4, "yaml: unclosed bracket '['"),
        (
            "a: 1\na: 2\n",
            Yaml,
            2,
            1,
            "line 2: mapping key \"a\" already defined at line 1",
        ),
        (
            "services:\n  a:\n    image: ${X\n",
            Interpolation,
            3,
            12,
            "invalid interpolation format for services.a.image",
        ),
        (
            "services:\n  a:\n    image: ${X:?why}\n",
            Interpolation,
            3,
            12,
            "error while interpolating services.a.image: required variable X is missing a value: why",
        ),
        (
            "services:\n  a: {image: i, scale: '${X}'}\n",
            Interpolation,
            2,
            24,
            "error while interpolating services.a.scale: failed to cast to expected type: strconv.Atoi: parsing \"\": invalid syntax",
        ),
        (
            "services:\n  a:\n    image: i\n    ports:\n      - ${P}\n",
            Invalid,
            5,
            9,
            "no port specified: <empty>",
        ),
        (
            "services:\n  a:\n    image: i\n    ports: ['x:80']\n",
            Invalid,
            4,
            13,
            "invalid hostPort: x",
        ),
        (
            "services:\n  a: {image: i, networks: [b]}\n",
            Undefined,
            2,
            28,
            "service \"a\" refers to undefined network b: invalid compose project",
        ),
        (
            "services:\n  a: {image: i, network_mode: host, networks: [b]}\nnetworks: {b: }\n",
            Invalid,
            2,
            31,
            "service a declares mutually exclusive `network_mode` and `networks`: invalid compose project",
        ),
        (
            "services:\n  a: {image: i, network_mode: 'service:x'}\n",
            Undefined,
            2,
            31,
            "service \"x\" not found for network_mode 'service:x'",
        ),
        (
            "services:\n  a: {image: i, depends_on: [x]}\n",
            Undefined,
            2,
            30,
            "service \"a\" depends on undefined service \"x\": invalid compose project",
        ),
        (
            "services:\n  a: {image: i, links: [x]}\n",
            Undefined,
            2,
            25,
            "service \"a\" depends on undefined service \"x\": invalid compose project",
        ),
        (
            "services:\n  a: {image: i, depends_on: [b]}\n  b: {image: i, depends_on: [a]}\n",
            Cycle,
            2,
            30,
            "dependency cycle detected: a -> b -> a",
        ),
        (
            "services:\n  a: {image: i, container_name: xx, scale: 2}\n",
            Invalid,
            2,
            44,
            "services.a: can't set container_name and scale as container name must be unique: invalid compose project",
        ),
        (
            "services:\n  a: {image: i, scale: -1}\n",
            Invalid,
            2,
            24,
            "services.a.scale: must be greater than or equal to 0",
        ),
        (
            "services:\n  a: {}\n",
            Invalid,
            2,
            3,
            "service \"a\" has neither an image nor a build context specified: invalid compose project",
        ),
        (
            "services:\n  a: {image: i, networks: {default: {ipv4_address: 10.0.0}}}\n",
            Invalid,
            2,
            52,
            "invalid IPv4 address: 10.0.0",
        ),
        (
            "networks:\n  n: {ipam: {config: [{subnet: 10.0.0.0}]}}\n",
            Invalid,
            2,
            32,
            "invalid subnet 10.0.0.0: invalid CIDR block notation",
        ),
        (
            "services:\n  a: {image: i, mac_address: '02:42:ac:11:00:01', networks: {default: {mac_address: '02:42:ac:11:00:02'}}}\n",
            Invalid,
            2,
            85,
            "the service-level mac_address should have the same value as network default",
        ),
        (
            "services:\n  a: {image: i, dns: [ns.example]}\n",
            Invalid,
            2,
            23,
            "bad nameserver address: ns.example",
        ),
        (
            "services:\n  a: {image: i, extra_hosts: [alone]}\n",
            Invalid,
            2,
            31,
            "invalid additional host, missing IP: alone",
        ),
        (
            "services:\n  a: {provider: {type: x}}\n",
            NotUnderstood,
            2,
            7,
            "services.a.provider is not understood",
        ),
        (
            "services:\n  a: {image: i, volumes: ['./hosts:/etc/hosts:ro']}\n",
            NotUnderstood,
            2,
            27,
            "services.a.volumes: a mount over /etc/hosts is not understood",
        ),
        (
            "services:\n  a: {image: i, extends: b}\n",
            Undefined,
            2,
            26,
            "cannot extend service \"a\" in compose.yaml: service \"b\" not found",
        ),
        (
            "include: [https://x/y.yml]\n",
            NotUnderstood,
            1,
            11,
            "include: https://x/y.yml is remote and not fetched",
        ),
    ];
    for (text, kind, line, column, message) in cases {
        let seen = refused(text);
        assert_eq!(
            (seen.0, seen.1, seen.2),
            (*kind, *line, *column),
            "{text}\n{}",
            seen.3
        );
        assert!(seen.3 == *message, "{}", seen.3);
    }
    let empty = refused("");
    assert_eq!((empty.1, empty.2), (1, 1));
    assert_eq!(empty.3, "empty compose file");
}

#[test]
fn several_errors_at_once() {
    let errors =
        load_str("services:\n  a: {image: i, ports: ['x:1']}\n  b: {image: i, dns: [y]}\n")
            .unwrap_err();
    let lines: Vec<u32> = errors.0.iter().map(|error| error.line).collect();
    assert_eq!(lines, [2, 3]);
}

#[test]
fn profiles_leave_services_out() {
    let text = "services:
  a: {image: i}
  b: {image: i, profiles: [debug, test]}
  c: {image: i, profiles: [debug], networks: [n]}
networks: {n: }
";
    let texts = [("shop/compose.yaml", text)];
    let names = |project: &Project| -> Vec<String> {
        project.services.iter().map(|s| s.name.clone()).collect()
    };
    let bare = shop(&texts);
    assert_eq!(names(&bare), ["a"]);
    assert_eq!(bare.inactive, ["b", "c"]);
    assert!(!bare.network("n").unwrap().used);
    let with = |profiles: &[&str], env: &[(&str, &str)]| {
        let options = Options {
            profiles: profiles.iter().map(|&p| p.to_owned()).collect(),
            env: files(env),
            ..Options::default()
        };
        names(&load_files(&texts, options).unwrap())
    };
    assert_eq!(with(&["test"], &[]), ["a", "b"]);
    assert_eq!(with(&["*"], &[]), ["a", "b", "c"]);
    assert_eq!(
        with(&[], &[("COMPOSE_PROFILES", "debug, x")]),
        ["a", "b", "c"]
    );
}

#[test]
fn a_service_that_is_left_out_may_be_needed_or_not() {
    let text = |required: bool| {
        format!(
            "services:
  a: {{image: i, depends_on: {{b: {{condition: service_started, required: {required}}}}}}}
  b: {{image: i, profiles: [x]}}
"
        )
    };
    assert!(load_str(&text(false)).is_ok());
    assert_eq!(refused(&text(true)).0, ErrorKind::Undefined);
}

#[test]
fn variables_and_env_files() {
    let project = shop(&[
        (
            "shop/compose.yaml",
            "name: ${NAME:-x}-1
services:
  a:
    image: i:${TAG}
    ports: ['${PORT:-80}:80', ':81']
    env_file: [a.env, {path: none.env, required: false}]
    environment: {B: over, C: , COMPOSE_PROJECT_NAME: }
",
        ),
        ("shop/.env", "TAG=1\nNAME=My Shop\n"),
        ("shop/a.env", "A=$TAG\nB=under\n"),
    ]);
    assert_eq!(project.name, "myshop-1");
    let a = project.service("a").unwrap();
    assert_eq!(a.image.as_ref().unwrap().value, "i:1");
    assert_eq!(a.ports[0].published, Published::Exact(80));
    assert_eq!(a.ports[1].published, Published::Ephemeral);
    assert_eq!(value(a, "A"), Some("1"));
    assert_eq!(value(a, "B"), Some("over"));
    assert_eq!(value(a, "C"), None);
    assert_eq!(value(a, "COMPOSE_PROJECT_NAME"), Some("myshop-1"));
    assert!(project.warnings.is_empty(), "{:?}", project.warnings);
}

#[test]
fn an_env_file_that_is_missing_is_refused() {
    let text = "services:\n  a:\n    image: i\n    env_file: gone.env\n";
    let errors = load_files(&[("shop/compose.yaml", text)], Options::default()).unwrap_err();
    let first = &errors.0[0];
    assert_eq!((first.line, first.column), (4, 15));
    assert_eq!(
        first.message,
        "env file shop/gone.env not found: stat shop/gone.env: no such file or directory"
    );
}

#[test]
fn volumes_secrets_and_configs_that_compose_refuses() {
    let cases = [
        (
            "volumes: ['data:/data']",
            "service \"a\" refers to undefined volume data: invalid compose project",
        ),
        (
            "volumes: [{type: volume, source: data, target: /d}]",
            "service \"a\" refers to undefined volume data: invalid compose project",
        ),
        (
            "volumes: [{type: '', source: x, target: /d}]",
            "services.a.volumes.0.type value must be one of 'bind', 'volume', 'tmpfs', 'cluster', 'npipe', 'image'",
        ),
        (
            "volumes: [{source: x, target: /d}]",
            "services.a.volumes.0 missing property 'type'",
        ),
        (
            "volumes: [':/www:ro']",
            "invalid spec: :/www:ro: empty section between colons",
        ),
        (
            "secrets: [s]",
            "service \"a\" refers to undefined secret s: invalid compose project",
        ),
        (
            "configs: [{source: c}]",
            "service \"a\" refers to undefined config c: invalid compose project",
        ),
        (
            "volumes: ['/a:/b'], tmpfs: /b",
            "services.a.volumes[0]: target /b already mounted as services.a.tmpfs[0]",
        ),
    ];
    for (line, message) in cases {
        let text = format!("services:\n  a: {{image: i, {line}}}\n");
        assert_eq!(refused(&text).3, message, "{line}");
    }
    for (top, message) in [
        (
            "secrets: {s: {}}",
            "secrets.s: one of file|environment must be set",
        ),
        (
            "configs: {c: {file: x, content: y}}",
            "configs.c: file|environment|content attributes are mutually exclusive",
        ),
    ] {
        let text = format!("services: {{a: {{image: i}}}}\n{top}\n");
        assert_eq!(refused(&text).3, message, "{top}");
    }
    project(
        "services: {a: {image: i, volumes: ['data:/d', './x:/y', /z, '/a:/z'], secrets: [s, t], configs: [c]}}
volumes: {data: }
secrets: {s: {file: f}, t: {external: true}}
configs: {c: {content: x}}
",
    );
}

#[test]
fn the_environment_goes_before_the_env_file_and_unset_ones_are_told() {
    let texts = [
        (
            "shop/compose.yaml",
            "services: {a: {image: '$TAG$NOPE$NOPE'}}\n",
        ),
        ("shop/.env", "TAG=1\n"),
    ];
    let options = Options {
        env: files(&[("TAG", "2")]),
        ..Options::default()
    };
    let project = load_files(&texts, options).unwrap();
    assert_eq!(project.services[0].image.as_ref().unwrap().value, "2");
    assert_eq!(project.warnings.len(), 1);
    assert_eq!(
        project.warnings[0].message,
        "The \"NOPE\" variable is not set. Defaulting to a blank string."
    );
}

#[test]
fn names_of_projects() {
    let text = [("My Shop/compose.yaml", "services: {a: {image: i}}\n")];
    let name = |options: Options| {
        let options = Options {
            files: vec!["My Shop/compose.yaml".to_owned()],
            ..options
        };
        load(&mut files(&text), &options).map(|project| project.name)
    };
    assert_eq!(name(Options::default()).unwrap(), "myshop");
    let env = files(&[("COMPOSE_PROJECT_NAME", "fromenv")]);
    assert_eq!(
        name(Options {
            env: env.clone(),
            ..Options::default()
        })
        .unwrap(),
        "fromenv"
    );
    let given = Some("given".to_owned());
    assert_eq!(
        name(Options {
            project_name: given,
            env,
            ..Options::default()
        })
        .unwrap(),
        "given"
    );
    let bad = Options {
        project_name: Some("Bad".to_owned()),
        ..Options::default()
    };
    assert!(
        name(bad).unwrap_err().0[0]
            .message
            .starts_with("invalid project name \"Bad\"")
    );
}

#[test]
fn files_over_files() {
    let options = Options {
        files: vec!["shop/compose.yaml".into(), "shop/over.yaml".into()],
        ..Options::default()
    };
    let project = load_files(
        &[
            (
                "shop/compose.yaml",
                "services:
  a: {image: i, ports: ['80:80', '81:81'], networks: [x], environment: {A: 1}, dns: 1.1.1.1}
  b: {image: i, ports: ['90:90']}
networks: {x: {driver: bridge}}
",
            ),
            (
                "shop/over.yaml",
                "services:
  a: {image: j, ports: ['82:82', '80:80'], networks: {y: }, environment: [A=2], dns: [8.8.8.8]}
  b: {ports: !override ['91:91']}
networks: {x: {internal: true}, y: }
",
            ),
        ],
        options,
    )
    .unwrap();
    let a = project.service("a").unwrap();
    assert_eq!(a.image.as_ref().unwrap().value, "j");
    let targets: Vec<u16> = a.ports.iter().map(|port| port.target).collect();
    assert_eq!(targets, [80, 81, 82]);
    assert_eq!(network_keys(&project, "a"), ["x", "y"]);
    assert_eq!(value(a, "A"), Some("2"));
    assert_eq!(a.dns.len(), 2);
    assert_eq!(project.service("b").unwrap().ports[0].target, 91);
    let x = project.network("x").unwrap();
    assert!(x.internal && x.driver.is_some());
    assert_eq!(project.locate(a.ports[2].at), "shop/over.yaml:2:25");
}

#[test]
fn services_extend_services() {
    let project = shop(&[
        (
            "shop/compose.yaml",
            "services:
  a:
    extends: {file: ../base/common.yml, service: web}
    ports: ['81:81']
  b: {extends: a, ports: !reset [], hostname: b}
",
        ),
        (
            "base/common.yml",
            "services:
  web: {extends: root, ports: ['80:80'], env_file: web.env}
  root: {image: i, expose: [1], hostname: r}
",
        ),
        ("base/web.env", "A=1\n"),
    ]);
    let a = project.service("a").unwrap();
    assert_eq!(a.image.as_ref().unwrap().value, "i");
    assert_eq!(a.ports.len(), 2);
    assert_eq!(a.expose.len(), 1);
    assert_eq!(value(a, "A"), Some("1"));
    assert_eq!(project.locate(a.ports[0].at), "base/common.yml:2:32");
    let b = project.service("b").unwrap();
    assert!(b.ports.is_empty());
    assert_eq!(b.hostname.as_ref().unwrap().value, "b");
}

#[test]
fn circles_of_extends_and_includes() {
    let (kind, line, _, message) =
        refused("services:\n  a: {extends: b}\n  b: {extends: {service: a}}\n");
    assert_eq!((kind, line), (ErrorKind::Cycle, 3));
    assert_eq!(
        message,
        "Circular reference:\n  a in compose.yaml\n  extends b in compose.yaml\n  extends a in compose.yaml"
    );
    let errors = load_files(
        &[
            ("shop/compose.yaml", "include: [b.yaml]\n"),
            ("shop/b.yaml", "include: [compose.yaml]\n"),
        ],
        Options::default(),
    )
    .unwrap_err();
    let first = &errors.0[0];
    assert_eq!(
        (first.kind, first.file.as_str()),
        (ErrorKind::Cycle, "shop/b.yaml")
    );
    assert_eq!(
        first.message,
        "include cycle detected:\nshop/compose.yaml\n include shop/b.yaml\n include shop/compose.yaml"
    );
}

#[test]
fn projects_include_projects() {
    let project = shop(&[
        (
            "shop/compose.yaml",
            "include:
  - db/compose.yaml
  - {path: [more.yaml, more.over.yaml], project_directory: other, env_file: more.env}
services:
  web: {image: i, depends_on: [db], networks: [data]}
  m: {hostname: ours}
",
        ),
        (
            "shop/db/compose.yaml",
            "services: {db: {image: 'db:$V', env_file: db.env, networks: [data]}}\nnetworks: {data: }\n",
        ),
        ("shop/db/.env", "V=7\n"),
        ("shop/db/db.env", "X=1\n"),
        (
            "shop/more.yaml",
            "services: {m: {image: '$M', hostname: theirs}}\n",
        ),
        ("shop/more.over.yaml", "services: {m: {ports: [80]}}\n"),
        ("shop/more.env", "M=mm\n"),
    ]);
    let names: Vec<&str> = project.services.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(names, ["web", "m", "db"]);
    let db = project.service("db").unwrap();
    assert_eq!(db.image.as_ref().unwrap().value, "db:7");
    assert_eq!(value(db, "X"), Some("1"));
    assert_eq!(project.network("data").unwrap().name, "shop_data");
    let m = project.service("m").unwrap();
    assert_eq!(m.hostname.as_ref().unwrap().value, "ours");
    assert_eq!(m.image.as_ref().unwrap().value, "mm");
    assert_eq!(m.ports.len(), 1);
}

#[test]
fn files_that_cannot_be_read() {
    let missing = load_files(&[], Options::default()).unwrap_err();
    assert_eq!(
        missing.to_string(),
        "error: open shop/compose.yaml: no such file or directory"
    );
    let named = load_files(
        &[("shop/compose.yaml", "include:\n  - gone.yaml\n")],
        Options::default(),
    )
    .unwrap_err();
    assert_eq!(
        named.to_string(),
        "error: open shop/gone.yaml: no such file or directory
 --> shop/compose.yaml:2:5
  |
2 |   - gone.yaml
  |     ^^^^^^^^^"
    );
}

#[test]
fn bounds() {
    use emulator_compose::{MAX_CONTAINERS, MAX_FILE_BYTES};
    let too_large = |text: &str| {
        let seen = refused(text);
        assert_eq!(seen.0, ErrorKind::TooLarge, "{}", seen.3);
    };
    too_large(&" ".repeat(MAX_FILE_BYTES + 1));
    too_large(&format!("x-a: {}", "[".repeat(100_000)));
    too_large(&format!("x-a: [{}]", "1,".repeat(300_000)));
    too_large(&format!(
        "services: {{a: {{image: i, scale: {}}}}}",
        MAX_CONTAINERS + 1
    ));
    too_large("services: {a: {image: i, ports: ['1-65535', '1-65535/udp', '1-9:1-9']}}");
    let chain: String = (0..500)
        .map(|i| format!("  s{i}: {{extends: s{}}}\n", i + 1))
        .collect();
    too_large(&format!("services:\n{chain}  s500: {{image: i}}\n"));
    too_large(&"services: {a: {image: i}}\n---\n".repeat(1000));
    let keys: String = (0..2000).map(|i| format!("    k{i}: 1\n")).collect();
    let errors = load_str(&format!("services:\n  a:\n{keys}")).unwrap_err();
    assert_eq!(errors.0.len(), emulator_compose::MAX_ERRORS);
    let nest = "${A:-".repeat(1000);
    too_large(&format!(
        "services: {{a: {{image: '{nest}{}'}}}}",
        "}".repeat(1000)
    ));
}

#[test]
fn a_long_chain_of_dependencies_is_no_trouble() {
    let chain: String = (0..5000)
        .map(|i| format!("  s{i}: {{image: i, depends_on: [s{}]}}\n", i + 1))
        .collect();
    let project = project(&format!("services:\n{chain}  s5000: {{image: i}}\n"));
    assert_eq!(project.start_order()[0].0.name, "s5000");
}

#[test]
fn the_same_text_gives_the_same_project() {
    let text = "services: {b: {image: i}, a: {image: '$X', links: [b]}}\n";
    assert_eq!(load_str(text), load_str(text));
}

mod properties {
    use super::*;
    use proptest::prelude::*;

    /// Pieces that compose files are made of, to get further in than arbitrary text does.
    const PIECES: &[&str] = &[
        "services:\n",
        "  a:\n",
        "  b:\n",
        "    image: i\n",
        "    ports:\n",
        "      - ",
        "80:80",
        "${X",
        "}",
        ":-",
        "$",
        "networks:\n",
        "  n:\n",
        "    networks: [n]\n",
        "&x ",
        "*x",
        "<<: ",
        "    extends: a\n",
        "    depends_on: [a]\n",
        "include: [compose.yaml]\n",
        "!reset ",
        "!override ",
        "[",
        "]",
        "{",
        "}",
        "\n",
        "    ",
        "- ",
        ": ",
        "'",
        "\"",
        "|\n",
        "#",
        "---\n",
        "\u{0}",
        "\u{feff}",
        "é",
        "\t",
        "null",
        "1-65535",
        "::1",
        "    env_file: compose.yaml\n",
        "    network_mode: service:a\n",
        "    ipam: {config: [{subnet: 10.0.0.0/8}]}\n",
        "%",
        "? ",
    ];

    fn pieces() -> impl Strategy<Value = String> {
        let piece = prop::sample::select(PIECES).prop_map(str::to_owned);
        prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
    }

    /// Nothing panics; an error has a place inside the text and can be shown.
    fn survives(text: &str) {
        match load_str(text) {
            Ok(project) => {
                let _ = project.start_order();
            }
            Err(errors) => {
                assert!(!errors.0.is_empty());
                assert!(!errors.to_string().is_empty());
                let lines = text.split('\n').count();
                for error in &errors.0 {
                    assert!(error.line as usize <= lines + 1, "{error:?}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in any::<String>()) {
            survives(&text);
        }

        #[test]
        fn arbitrary_pieces_never_panic(text in pieces()) {
            survives(&text);
        }

        #[test]
        fn arbitrary_values_never_panic(
            key in "(ports|expose|networks|links|extra_hosts|dns|network_mode|scale|depends_on|env_file|sysctls|extends|healthcheck)",
            value in "[ -~]{0,40}",
        ) {
            survives(&format!("services:\n  a:\n    image: i\n    {key}: {value}\n"));
            survives(&format!("services:\n  a:\n    image: i\n    {key}: ['{value}']\n"));
        }
    }
}

#[test]
fn every_place_where_a_variable_has_no_value_is_kept() {
    let text = "services:\n  a:\n    image: x\n    ports: ['${P}:80', '$P:${Q-81}']\n  b:\n    image: 'x$P'\nnetworks:\n  n:\n    ipam: {config: [{subnet: '${NET}10.0.0.0/24'}]}\n";
    let project = load_str(text).unwrap();
    let seen: Vec<String> = project
        .unset
        .iter()
        .map(|unset| {
            format!(
                "{}:{} {} {}",
                unset.at.line,
                unset.at.column,
                unset.name,
                unset.path.join(".")
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            "4:13 P services.a.ports.[]",
            "4:24 P services.a.ports.[]",
            "6:12 P services.b.image",
            "9:30 NET networks.n.ipam.config.[].subnet"
        ]
    );
}
