//! What `docker compose config` of version 2 makes of the corpus, beside what is loaded here: who accepts a file, and
//! the network part of the result.
//!
//! `VETHLAB_COMPOSE` names the program (Debian 13 has it as `docker-compose`,
//! `/usr/libexec/docker/cli-plugins/docker-compose`), `VETHLAB_CORPUS` the corpus; without one of them the test says so
//! and passes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use emulator_compose::{
    NetworkMode, Options, Port, Project, Published, ReadError, Service, Source, load,
};
use serde_json::{Map, Value, json};

/// Files that one of them refuses for a reason that is known. 2.26 is older than what is followed here.
const KNOWN: [(&str, &str); 5] = [
    (
        "Mailu+Mailu/docs/compose/",
        "an IPv6 address without brackets before a port",
    ),
    (
        "lucaslorentz+caddy-docker-proxy/",
        "the types of a volume are a list since",
    ),
    ("TestInterfaceName", "`interface_name` came later"),
    ("TestPreStartHook", "`pre_start` came later"),
    ("TestLocalComposeConfigNoConsistency", "`models` came later"),
];

struct Folder;

impl Source for Folder {
    #[allow(clippy::disallowed_methods)]
    fn read(&mut self, path: &str) -> Result<String, ReadError> {
        let bytes = std::fs::read(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => ReadError::NotFound,
            _ => ReadError::Other(error.to_string()),
        })?;
        String::from_utf8(bytes).map_err(|_| ReadError::NotUtf8)
    }
}

fn files(corpus: &Path) -> Vec<String> {
    let index = Folder.read(&corpus.join("index.csv").to_string_lossy());
    let index = index.unwrap_or_default();
    let rows = index.lines().map(|row| row.split(',').collect::<Vec<_>>());
    rows.filter(|row| row.get(1) == Some(&"main"))
        .map(|row| row[0].to_owned())
        .collect()
}

/// What the program prints of a file, or why it refuses it.
fn config(program: &str, path: &Path) -> Result<Value, String> {
    let output = Command::new(program)
        .args(["-f", &path.to_string_lossy(), "config", "--format", "json"])
        .env_clear()
        .env("HOME", "/tmp")
        .env("PATH", "/usr/bin:/bin")
        .output()
        .expect("VETHLAB_COMPOSE runs");
    match output.status.success() {
        true => Ok(serde_json::from_slice(&output.stdout).expect("JSON")),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

#[test]
#[allow(clippy::disallowed_methods)]
fn the_network_part_is_what_compose_says() {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus");
    let corpus = std::env::var("VETHLAB_CORPUS").map_or(beside, PathBuf::from);
    let corpus = std::fs::canonicalize(corpus.join("compose"));
    let (Ok(corpus), Ok(program)) = (corpus, std::env::var("VETHLAB_COMPOSE")) else {
        eprintln!("skipped: VETHLAB_COMPOSE names no docker compose, or there is no corpus");
        return;
    };
    let (mut same, mut wrong) = (0, Vec::new());
    for file in files(&corpus) {
        let path = corpus.join(&file);
        let options = Options {
            files: vec![path.to_string_lossy().into_owned()],
            allow_outside: true,
            ..Options::default()
        };
        let known = KNOWN.iter().any(|(part, _)| file.contains(part));
        match (load(&mut Folder, &options), config(&program, &path)) {
            (Ok(project), Ok(theirs)) => {
                let (ours, theirs) = (shown(&project), cut(&theirs));
                if ours == theirs {
                    same += 1;
                } else {
                    wrong.push(format!("{file}\n{}", apart("", &ours, &theirs)));
                }
            }
            (Err(_), Err(_)) => same += 1,
            _ if known => {}
            (Ok(_), Err(error)) => wrong.push(format!("{file}: refused by compose: {error}")),
            (Err(errors), Ok(_)) => wrong.push(format!("{file}: refused here: {errors}")),
        }
    }
    println!("{same} files are the same");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The lines in which two values differ.
fn apart(at: &str, ours: &Value, theirs: &Value) -> String {
    if let (Value::Object(a), Value::Object(b)) = (ours, theirs) {
        let keys: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
        let each = keys.into_iter().map(|key| {
            let of = |map: &Map<String, Value>| map.get(key).cloned().unwrap_or(Value::Null);
            match of(a) == of(b) {
                true => String::new(),
                false => apart(&format!("{at}.{key}"), &of(a), &of(b)),
            }
        });
        return each.collect();
    }
    format!("  {at}: here {ours}, compose {theirs}\n")
}

/// The part that both have, with nothing where a value is the default.
fn put(map: &mut Map<String, Value>, key: &str, value: Value) {
    let empty = match &value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Number(number) => number.as_i64() == Some(0),
        Value::Bool(true) => false,
    };
    if !empty {
        map.insert(key.to_owned(), value);
    }
}

fn shown(project: &Project) -> Value {
    let services = project.services.iter();
    let services: Map<String, Value> = services
        .map(|service| (service.name.clone(), service_shown(service)))
        .collect();
    let networks = project.networks.iter().filter(|network| network.used);
    let networks: Map<String, Value> = networks
        .map(|network| {
            let mut map = Map::new();
            put(&mut map, "name", json!(network.name));
            put(&mut map, "external", json!(network.external));
            put(&mut map, "internal", json!(network.internal));
            put(&mut map, "attachable", json!(network.attachable));
            put(&mut map, "enable_ipv6", json!(network.enable_ipv6));
            let text =
                |at: &Option<emulator_compose::At<String>>| at.as_ref().map(|at| at.value.clone());
            put(&mut map, "driver", json!(text(&network.driver)));
            let texts = |map: &indexmap::IndexMap<String, emulator_compose::At<String>>| {
                let all = map.iter().map(|(key, at)| (key.clone(), at.value.clone()));
                all.collect::<BTreeMap<_, _>>()
            };
            put(&mut map, "driver_opts", json!(texts(&network.driver_opts)));
            let subnets = network.ipam.iter().map(|subnet| {
                let mut map = Map::new();
                put(&mut map, "subnet", json!(text(&subnet.subnet)));
                put(&mut map, "ip_range", json!(text(&subnet.ip_range)));
                put(&mut map, "gateway", json!(text(&subnet.gateway)));
                put(
                    &mut map,
                    "aux_addresses",
                    json!(texts(&subnet.aux_addresses)),
                );
                Value::Object(map)
            });
            put(&mut map, "config", subnets.collect());
            (network.key.clone(), Value::Object(map))
        })
        .collect();
    json!({"name": project.name, "services": services, "networks": networks})
}

fn service_shown(service: &Service) -> Value {
    let mut map = Map::new();
    let mode = match &service.network_mode {
        NetworkMode::Networks => String::new(),
        NetworkMode::Bridge => "bridge".to_owned(),
        NetworkMode::Host => "host".to_owned(),
        NetworkMode::None => "none".to_owned(),
        NetworkMode::Service(name) => format!("service:{name}"),
        NetworkMode::Container(name) => format!("container:{name}"),
        NetworkMode::Named(name) => name.clone(),
    };
    put(&mut map, "network_mode", json!(mode));
    let text = |at: &Option<emulator_compose::At<String>>| at.as_ref().map(|at| at.value.clone());
    let list = |all: &[emulator_compose::At<String>]| {
        let all = all.iter().map(|at| at.value.clone());
        all.collect::<Vec<_>>()
    };
    put(&mut map, "hostname", json!(text(&service.hostname)));
    put(&mut map, "domainname", json!(text(&service.domainname)));
    put(
        &mut map,
        "container_name",
        json!(text(&service.container_name)),
    );
    put(&mut map, "image", json!(text(&service.image)));
    put(&mut map, "dns", json!(list(&service.dns)));
    put(&mut map, "dns_search", json!(list(&service.dns_search)));
    put(&mut map, "dns_opt", json!(list(&service.dns_opt)));
    let networks = service.networks.iter().map(|member| {
        let mut map = Map::new();
        put(&mut map, "aliases", json!(list(&member.aliases)));
        put(&mut map, "ipv4_address", json!(text(&member.ipv4_address)));
        put(&mut map, "ipv6_address", json!(text(&member.ipv6_address)));
        put(&mut map, "mac_address", json!(text(&member.mac_address)));
        put(&mut map, "priority", json!(member.priority));
        put(
            &mut map,
            "link_local_ips",
            json!(list(&member.link_local_ips)),
        );
        (member.key.clone(), Value::Object(map))
    });
    let networks: Map<String, Value> = networks.collect();
    put(&mut map, "networks", Value::Object(networks));
    let mut ports: Vec<String> = service.ports.iter().map(port_shown).collect();
    ports.sort();
    put(&mut map, "ports", json!(ports));
    let exposed = service.expose.iter().map(|expose| {
        let range = match expose.first == expose.last {
            true => expose.first.to_string(),
            false => format!("{}-{}", expose.first, expose.last),
        };
        format!("{range}/{}", expose.protocol)
    });
    let mut exposed: Vec<String> = exposed.collect();
    exposed.sort();
    put(&mut map, "expose", json!(exposed));
    let links = service
        .links
        .iter()
        .map(|link| match link.target == link.alias {
            true => link.target.clone(),
            false => format!("{}:{}", link.target, link.alias),
        });
    put(&mut map, "links", links.collect());
    let mut hosts: Vec<String> = service
        .extra_hosts
        .iter()
        .flat_map(|extra| {
            let each = extra.addresses.iter();
            each.map(|address| format!("{}={address}", extra.host))
        })
        .collect();
    hosts.sort();
    put(&mut map, "extra_hosts", json!(hosts));
    let environment: BTreeMap<&String, Option<&String>> = service
        .environment
        .iter()
        .map(|(name, value)| (name, value.as_ref().map(|at| &at.value)))
        .collect();
    put(&mut map, "environment", json!(environment));
    put(&mut map, "replicas", json!(i64::from(service.replicas) - 1));
    Value::Object(map)
}

fn port_shown(port: &Port) -> String {
    let published = match port.published {
        Published::Ephemeral => String::new(),
        Published::Exact(port) => port.to_string(),
        Published::Range(first, last) => format!("{first}-{last}"),
    };
    let ip = port.host_ip.as_deref().unwrap_or_default();
    format!(
        "{ip} {published} {}/{} {}",
        port.target, port.protocol, port.mode
    )
}

/// The same part of what compose prints, which writes `$$` for a `$`.
fn cut(theirs: &Value) -> Value {
    let plain = theirs.to_string().replace("$$", "$");
    let theirs: &Value = &serde_json::from_str(&plain).expect("JSON");
    let object = |value: &Value| value.as_object().cloned().unwrap_or_default();
    let services: Map<String, Value> = object(&theirs["services"])
        .into_iter()
        .map(|(name, service)| (name, service_cut(&service)))
        .collect();
    let networks: Map<String, Value> = object(&theirs["networks"])
        .into_iter()
        .map(|(key, network)| {
            let mut map = Map::new();
            for part in [
                "name",
                "external",
                "internal",
                "attachable",
                "enable_ipv6",
                "driver",
            ] {
                put(&mut map, part, network[part].clone());
            }
            put(&mut map, "driver_opts", network["driver_opts"].clone());
            put(&mut map, "config", network["ipam"]["config"].clone());
            (key, Value::Object(map))
        })
        .collect();
    json!({"name": theirs["name"], "services": services, "networks": networks})
}

fn service_cut(service: &Value) -> Value {
    let mut map = Map::new();
    for part in [
        "network_mode",
        "hostname",
        "domainname",
        "container_name",
        "image",
        "dns",
        "dns_opt",
        "links",
        "environment",
    ] {
        put(&mut map, part, service[part].clone());
    }
    // `dns_search: ""` is none: the lab's host has no search domains to be hidden.
    let mut search = service["dns_search"].clone();
    if let Value::Array(list) = &mut search {
        list.retain(|domain| domain != "");
    }
    put(&mut map, "dns_search", search);
    let networks = service["networks"].as_object().cloned().unwrap_or_default();
    let networks = networks.into_iter().map(|(key, member)| {
        let mut map = Map::new();
        for part in [
            "aliases",
            "ipv4_address",
            "ipv6_address",
            "mac_address",
            "priority",
            "link_local_ips",
        ] {
            put(&mut map, part, member[part].clone());
        }
        (key, Value::Object(map))
    });
    put(&mut map, "networks", Value::Object(networks.collect()));
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    };
    let ports = list(&service["ports"]).into_iter().map(|port| {
        let parts = ["host_ip", "published", "target", "protocol", "mode"];
        let [ip, published, target, protocol, mode] = parts.map(|part| text(&port[part]));
        format!("{ip} {published} {target}/{protocol} {mode}")
    });
    let mut ports: Vec<String> = ports.collect();
    ports.sort();
    put(&mut map, "ports", json!(ports));
    let exposed = list(&service["expose"]).into_iter().map(|expose| {
        let plain = text(&expose);
        match plain.contains('/') {
            true => plain,
            false => format!("{plain}/tcp"),
        }
    });
    let mut exposed: Vec<String> = exposed.collect();
    exposed.sort();
    put(&mut map, "expose", json!(exposed));
    let mut hosts: Vec<String> = list(&service["extra_hosts"]).iter().map(text).collect();
    hosts.sort();
    put(&mut map, "extra_hosts", json!(hosts));
    let replicas = service["deploy"]["replicas"].as_i64();
    let replicas = service["scale"].as_i64().or(replicas).unwrap_or(1);
    put(&mut map, "replicas", json!(replicas - 1));
    Value::Object(map)
}
