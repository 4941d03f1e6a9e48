//! What is refused, and where.

use super::rig::*;

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
            "a:\n\tb: 1\n",
            Yaml,
            2,
            2,
            "yaml: tabs disallowed within this context (block indentation)",
        ),
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
    let tab = load_str("a:\n\tb: 1\n").unwrap_err().0.remove(0);
    assert_eq!(tab.hint.as_deref(), Some("YAML indents with spaces"));
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

/// What is not there may be there under a like name, or without its profile; a file is told where it is named.
#[test]
fn what_is_not_there_was_perhaps_meant_so() {
    let hint = |text: &str| load_str(text).unwrap_err().0.remove(0).hint;
    let services = "services:\n  db: {image: i, profiles: [debug]}\n  cache: {image: i}\n";
    let depends = |on: &str| {
        hint(&format!(
            "{services}  a: {{image: i, depends_on: [{on}]}}\n"
        ))
    };
    assert_eq!(depends("cahce").as_deref(), Some("did you mean `cache`?"));
    let profile =
        "none of the profiles of db is active: `--profile NAME`, or COMPOSE_PROFILES, has them so";
    assert_eq!(depends("db").as_deref(), Some(profile));
    assert_eq!(depends("mailer"), None);
    let lodger = hint(&format!(
        "{services}  a: {{image: i, network_mode: 'service:db'}}\n"
    ));
    assert_eq!(lodger.as_deref(), Some(profile));
    let network =
        hint("services:\n  a: {image: i, networks: [fornt]}\nnetworks: {front: {}, back: {}}\n");
    assert_eq!(network.as_deref(), Some("did you mean `front`?"));
    let seen = refused("services:\n  a: {extends: {file: nope.yaml, service: x}}\n");
    assert_eq!((seen.1, seen.2), (2, 23), "{}", seen.3);
}
