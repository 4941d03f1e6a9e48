//! What a compose file may say: the keys that there are and the types of their values.
//!
//! The tables follow the Compose Specification's schema: all top-level sections, all keys of a
//! service and of a network to their depth where they touch the network; sections that do not are
//! checked by key and by the type of the value, not below that. Extensions (`x-…`) are allowed
//! everywhere and not looked into. The messages are compose's.

use std::collections::BTreeMap;

use crate::error::{Fault, MAX_ERRORS};
use crate::naming;
use crate::near;
use crate::node::{Node, Place, Value};

/// A type of JSON, in the words of compose's messages.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Array,
    Boolean,
    Integer,
    Mapping,
    Null,
    Number,
    Text,
}

impl Kind {
    const fn word(self) -> &'static str {
        match self {
            Self::Array => "array",
            Self::Boolean => "boolean",
            Self::Integer => "integer",
            Self::Mapping => "mapping",
            Self::Null => "null",
            Self::Number => "number",
            Self::Text => "string",
        }
    }

    fn fits(self, value: &Value) -> bool {
        match (self, value) {
            (Self::Array, Value::List(_))
            | (Self::Boolean, Value::Bool(_))
            | (Self::Integer | Self::Number, Value::Int(_))
            | (Self::Mapping, Value::Map(_))
            | (Self::Null, Value::Null)
            | (Self::Number, Value::Float(_))
            | (Self::Text, Value::Str(_)) => true,
            (Self::Integer, Value::Float(value)) => value.fract() == 0.0,
            _ => false,
        }
    }
}

/// What a value may look like.
enum Shape {
    /// Anything.
    Any,
    /// One of these types, alphabetical.
    Is(&'static [Kind]),
    /// A text of this list.
    Word(&'static [&'static str]),
    /// A list of these.
    ListOf(&'static Self),
    /// A list of this shape, no two items of it the same text.
    Different(&'static Self),
    /// A map with any keys to these.
    MapOf(&'static Self),
    /// A map whose keys are names of services, networks and the like.
    Named(&'static Self),
    /// A map with these keys.
    Fields(&'static [(&'static str, Self)]),
    /// The same, and these keys must be there.
    Needs(&'static Self, &'static [&'static str]),
    /// The first whose type fits; if none does, the first one's message.
    Either(&'static [Self]),
}

use Shape::{Any, Different, Either, Fields, Is, ListOf, MapOf, Named, Needs, Word};

const TEXT: Shape = Is(&[Kind::Text]);
const BOOL: Shape = Is(&[Kind::Boolean]);
const NULL: Shape = Is(&[Kind::Null]);
const MAP: Shape = Is(&[Kind::Mapping]);
const LIST: Shape = Is(&[Kind::Array]);
const NUMBER: Shape = Is(&[Kind::Number]);
const BOOL_OR_TEXT: Shape = Is(&[Kind::Boolean, Kind::Text]);
const INT_OR_TEXT: Shape = Is(&[Kind::Integer, Kind::Text]);
const NUMBER_OR_TEXT: Shape = Is(&[Kind::Number, Kind::Text]);
const SCALAR: Shape = Is(&[Kind::Boolean, Kind::Null, Kind::Number, Kind::Text]);
const TEXTS: Shape = ListOf(&TEXT);
const TEXT_OR_TEXTS: Shape = Either(&[TEXT, TEXTS]);
const LIST_OR_DICT: Shape = Either(&[MapOf(&SCALAR), TEXTS]);
const COMMAND: Shape = Either(&[NULL, TEXT, TEXTS]);
const OPTIONS: Shape = MapOf(&NUMBER_OR_TEXT);

const ROOT: Shape = Fields(&[
    ("configs", MAP),
    ("models", MAP),
    ("name", TEXT),
    ("networks", MapOf(&NETWORK)),
    ("secrets", MAP),
    ("services", Named(&SERVICE)),
    ("volumes", MAP),
]);

const NETWORK: Shape = Either(&[
    NULL,
    Fields(&[
        ("attachable", BOOL_OR_TEXT),
        ("driver", TEXT),
        ("driver_opts", OPTIONS),
        ("enable_ipv4", BOOL_OR_TEXT),
        ("enable_ipv6", BOOL_OR_TEXT),
        ("external", EXTERNAL),
        ("internal", BOOL_OR_TEXT),
        ("ipam", IPAM),
        ("labels", LIST_OR_DICT),
        ("name", TEXT),
        ("x-vethlab", DESCRIBED),
    ]),
]);

/// What an external network is.
const DESCRIBED: Shape = Either(&[
    NULL,
    Fields(&[
        ("driver", TEXT),
        ("driver_opts", OPTIONS),
        ("enable_ipv4", BOOL_OR_TEXT),
        ("enable_ipv6", BOOL_OR_TEXT),
        ("internal", BOOL_OR_TEXT),
        ("ipam", IPAM),
    ]),
]);

const EXTERNAL: Shape = Either(&[BOOL_OR_TEXT, Fields(&[("name", TEXT)])]);

const IPAM: Shape = Fields(&[
    (
        "config",
        ListOf(&Fields(&[
            ("aux_addresses", MapOf(&TEXT)),
            ("gateway", TEXT),
            ("ip_range", TEXT),
            ("subnet", TEXT),
        ])),
    ),
    ("driver", TEXT),
    ("options", MapOf(&TEXT)),
]);

const SERVICE_NETWORK: Shape = Either(&[
    Fields(&[
        ("aliases", TEXTS),
        ("driver_opts", OPTIONS),
        ("gw_priority", NUMBER),
        ("interface_name", TEXT),
        ("ipv4_address", TEXT),
        ("ipv6_address", TEXT),
        ("link_local_ips", TEXTS),
        ("mac_address", TEXT),
        ("priority", NUMBER),
    ]),
    NULL,
]);

const PORT: Shape = Either(&[
    NUMBER,
    TEXT,
    Fields(&[
        ("app_protocol", TEXT),
        ("host_ip", TEXT),
        ("mode", TEXT),
        ("name", TEXT),
        ("protocol", TEXT),
        ("published", INT_OR_TEXT),
        ("target", INT_OR_TEXT),
    ]),
]);

const MOUNT: Shape = Either(&[
    TEXT,
    Needs(
        &Fields(&[
            ("bind", MAP),
            ("consistency", TEXT),
            ("image", MAP),
            ("read_only", BOOL_OR_TEXT),
            ("source", TEXT),
            ("target", TEXT),
            ("tmpfs", MAP),
            (
                "type",
                Word(&["bind", "volume", "tmpfs", "cluster", "npipe", "image"]),
            ),
            ("volume", MAP),
        ]),
        &["type"],
    ),
]);

const DEPENDS_ON: Shape = Either(&[
    TEXTS,
    Named(&Needs(
        &Fields(&[
            (
                "condition",
                Word(&[
                    "service_started",
                    "service_healthy",
                    "service_completed_successfully",
                ]),
            ),
            ("required", BOOL),
            ("restart", BOOL_OR_TEXT),
        ]),
        &["condition"],
    )),
]);

const EXTRA_HOSTS: Shape = Either(&[MapOf(&Either(&[TEXT, TEXTS])), TEXTS]);

const HEALTHCHECK: Shape = Fields(&[
    ("disable", BOOL_OR_TEXT),
    ("interval", TEXT),
    ("retries", NUMBER_OR_TEXT),
    ("start_interval", TEXT),
    ("start_period", TEXT),
    ("test", TEXT_OR_TEXTS),
    ("timeout", TEXT),
]);

const DEPLOY: Shape = Either(&[
    NULL,
    Fields(&[
        ("endpoint_mode", TEXT),
        ("labels", LIST_OR_DICT),
        ("mode", TEXT),
        ("placement", MAP),
        ("replicas", INT_OR_TEXT),
        ("resources", MAP),
        ("restart_policy", MAP),
        ("rollback_config", MAP),
        ("update_config", MAP),
    ]),
]);

const ENV_FILE: Shape = Either(&[
    TEXT,
    ListOf(&Either(&[
        TEXT,
        Needs(
            &Fields(&[("format", TEXT), ("path", TEXT), ("required", BOOL_OR_TEXT)]),
            &["path"],
        ),
    ])),
]);

const SERVICE: Shape = Fields(&[
    ("annotations", LIST_OR_DICT),
    ("attach", BOOL_OR_TEXT),
    ("blkio_config", MAP),
    ("build", Either(&[TEXT, MAP])),
    ("cap_add", TEXTS),
    ("cap_drop", TEXTS),
    ("cgroup", TEXT),
    ("cgroup_parent", TEXT),
    ("command", COMMAND),
    ("configs", LIST),
    ("container_name", TEXT),
    ("cpu_count", INT_OR_TEXT),
    ("cpu_percent", NUMBER_OR_TEXT),
    ("cpu_period", NUMBER_OR_TEXT),
    ("cpu_quota", NUMBER_OR_TEXT),
    ("cpu_rt_period", NUMBER_OR_TEXT),
    ("cpu_rt_runtime", NUMBER_OR_TEXT),
    ("cpu_shares", NUMBER_OR_TEXT),
    ("cpus", NUMBER_OR_TEXT),
    ("cpuset", TEXT),
    ("credential_spec", MAP),
    ("depends_on", DEPENDS_ON),
    ("deploy", DEPLOY),
    ("develop", Either(&[NULL, MAP])),
    ("device_cgroup_rules", TEXTS),
    ("devices", LIST),
    ("dns", TEXT_OR_TEXTS),
    ("dns_opt", TEXTS),
    ("dns_search", TEXT_OR_TEXTS),
    ("domainname", TEXT),
    ("entrypoint", COMMAND),
    ("env_file", ENV_FILE),
    ("environment", LIST_OR_DICT),
    ("expose", ListOf(&NUMBER_OR_TEXT)),
    ("extends", Any),
    ("external_links", TEXTS),
    ("extra_hosts", EXTRA_HOSTS),
    ("gpus", Either(&[TEXT, LIST])),
    ("group_add", ListOf(&NUMBER_OR_TEXT)),
    ("healthcheck", HEALTHCHECK),
    ("hostname", TEXT),
    ("image", TEXT),
    ("init", BOOL_OR_TEXT),
    ("ipc", TEXT),
    ("isolation", TEXT),
    ("label_file", TEXT_OR_TEXTS),
    ("labels", LIST_OR_DICT),
    ("links", TEXTS),
    ("logging", MAP),
    ("mac_address", TEXT),
    ("mem_limit", NUMBER_OR_TEXT),
    ("mem_reservation", INT_OR_TEXT),
    ("mem_swappiness", INT_OR_TEXT),
    ("memswap_limit", NUMBER_OR_TEXT),
    ("models", Either(&[TEXTS, MAP])),
    ("network_mode", TEXT),
    (
        "networks",
        Either(&[Different(&TEXTS), MapOf(&SERVICE_NETWORK)]),
    ),
    ("oom_kill_disable", BOOL_OR_TEXT),
    ("oom_score_adj", INT_OR_TEXT),
    ("pid", Is(&[Kind::Null, Kind::Text])),
    ("pids_limit", NUMBER_OR_TEXT),
    ("platform", TEXT),
    ("ports", ListOf(&PORT)),
    ("post_start", LIST),
    ("pre_start", LIST),
    ("pre_stop", LIST),
    ("privileged", BOOL_OR_TEXT),
    ("profiles", TEXTS),
    ("provider", MAP),
    ("pull_policy", TEXT),
    ("pull_refresh_after", TEXT),
    ("read_only", BOOL_OR_TEXT),
    ("restart", TEXT),
    ("runtime", TEXT),
    ("scale", INT_OR_TEXT),
    ("secrets", LIST),
    ("security_opt", TEXTS),
    ("shm_size", NUMBER_OR_TEXT),
    ("stdin_open", BOOL_OR_TEXT),
    ("stop_grace_period", TEXT),
    ("stop_signal", TEXT),
    ("storage_opt", MAP),
    ("sysctls", LIST_OR_DICT),
    ("tmpfs", TEXT_OR_TEXTS),
    ("tty", BOOL_OR_TEXT),
    ("ulimits", MAP),
    ("use_api_socket", BOOL),
    ("user", TEXT),
    ("userns_mode", TEXT),
    ("uts", TEXT),
    ("volumes", ListOf(&MOUNT)),
    ("volumes_from", TEXTS),
    ("working_dir", TEXT),
]);

/// Everything in a merged tree that compose's schema refuses.
pub(crate) fn validate(root: &Node) -> Vec<Fault> {
    let mut check = Check {
        path: Vec::new(),
        faults: Vec::new(),
    };
    check.node(root, &ROOT);
    check.faults
}

struct Check {
    path: Vec<String>,
    faults: Vec<Fault>,
}

impl Check {
    fn fault(&mut self, at: Place, text: &str) -> &mut Option<String> {
        let path = self.path.join(".");
        let space = if path.is_empty() { "" } else { " " };
        let fault = Fault::invalid(at, format!("{path}{space}{text}"));
        self.faults.push(fault);
        // The fault was pushed just now, so there is a last one.
        let last = self.faults.len() - 1;
        &mut self.faults[last].hint
    }

    /// Enough has been found.
    const fn full(&self) -> bool {
        self.faults.len() >= MAX_ERRORS
    }

    fn node(&mut self, node: &Node, shape: &Shape) {
        if self.full() {
            return;
        }
        match shape {
            Any => {}
            Is(kinds) => self.is(node, kinds),
            Word(words) => self.word(node, words),
            ListOf(item) => self.list(node, item),
            Different(list) => self.different(node, list),
            MapOf(value) | Named(value) => self.map(node, value, matches!(shape, Named(_))),
            Fields(fields) => self.fields(node, fields),
            Needs(shape, keys) => self.needs(node, shape, keys),
            Either(shapes) => self.either(node, shapes),
        }
    }

    fn is(&mut self, node: &Node, kinds: &[Kind]) {
        if kinds.iter().any(|kind| kind.fits(&node.value)) {
            return;
        }
        let words: Vec<&str> = kinds.iter().map(|kind| kind.word()).collect();
        let text = match words.split_last() {
            Some((last, rest)) if !rest.is_empty() => {
                format!("must be a {} or {last}", rest.join(", "))
            }
            _ => format!("must be a {}", words.concat()),
        };
        self.fault(node.at, &text);
    }

    fn word(&mut self, node: &Node, words: &[&str]) {
        match node.as_str() {
            None => self.is(node, &[Kind::Text]),
            Some(text) if words.contains(&text) => {}
            Some(_) => {
                let text = format!("value must be one of '{}'", words.join("', '"));
                self.fault(node.at, &text);
            }
        }
    }

    fn list(&mut self, node: &Node, item: &Shape) {
        self.is(node, &[Kind::Array]);
        for (i, child) in node.items().iter().enumerate() {
            self.below(&i.to_string(), child, item);
        }
    }

    fn different(&mut self, node: &Node, list: &Shape) {
        let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
        for (i, item) in node.items().iter().enumerate() {
            let before = item.as_str().and_then(|text| seen.insert(text, i));
            if let Some(first) = before {
                self.fault(item.at, &format!("items at {first} and {i} are equal"));
                return;
            }
        }
        self.node(node, list);
    }

    fn map(&mut self, node: &Node, value: &Shape, named: bool) {
        self.is(node, &[Kind::Mapping]);
        for entry in node.entries() {
            if self.full() {
                return;
            }
            if named && !naming::is_key(&entry.key) {
                let text = format!("additional properties '{}' not allowed", entry.key);
                *self.fault(entry.key_at, &text) =
                    Some("names are made of letters, digits, `.`, `_` and `-`".to_owned());
                continue;
            }
            self.below(&entry.key, &entry.node, value);
        }
    }

    fn fields(&mut self, node: &Node, fields: &'static [(&'static str, Shape)]) {
        self.is(node, &[Kind::Mapping]);
        for entry in node.entries() {
            let field = fields.iter().find(|(key, _)| *key == entry.key);
            if field.is_none() && entry.key.starts_with("x-") {
                continue;
            }
            if self.full() {
                return;
            }
            match field {
                Some((key, shape)) => self.below(key, &entry.node, shape),
                None => {
                    let text = format!("additional properties '{}' not allowed", entry.key);
                    let hint = like(&entry.key, fields);
                    *self.fault(entry.key_at, &text) = hint;
                }
            }
        }
    }

    fn needs(&mut self, node: &Node, shape: &Shape, keys: &[&str]) {
        self.node(node, shape);
        for key in keys {
            if matches!(node.value, Value::Map(_)) && node.entry(key).is_none() {
                self.fault(node.at, &format!("missing property '{key}'"));
            }
        }
    }

    fn either(&mut self, node: &Node, shapes: &'static [Shape]) {
        let fits = shapes.iter().find(|shape| shape.takes(&node.value));
        if let Some(shape) = fits.or_else(|| shapes.first()) {
            self.node(node, shape);
        }
    }

    fn below(&mut self, key: &str, node: &Node, shape: &Shape) {
        self.path.push(key.to_owned());
        self.node(node, shape);
        self.path.pop();
    }
}

impl Shape {
    /// Whether a value's own type fits, whatever is below it.
    fn takes(&self, value: &Value) -> bool {
        match self {
            Any => true,
            Is(kinds) => kinds.iter().any(|kind| kind.fits(value)),
            Word(_) => Kind::Text.fits(value),
            ListOf(_) => Kind::Array.fits(value),
            MapOf(_) | Named(_) | Fields(_) => Kind::Mapping.fits(value),
            Different(shape) | Needs(shape, _) => shape.takes(value),
            Either(shapes) => shapes.iter().any(|shape| shape.takes(value)),
        }
    }
}

/// A hint if the key looks like one of those that there are.
fn like(key: &str, fields: &[(&str, Shape)]) -> Option<String> {
    near::hint(key, fields.iter().map(|(name, _)| *name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::parse;

    fn messages(text: &str) -> Vec<String> {
        let root = parse(text, 0).unwrap().remove(0);
        validate(&root)
            .into_iter()
            .map(|fault| fault.message)
            .collect()
    }

    #[test]
    fn what_compose_refuses() {
        let cases = [
            ("foo: 1", "additional properties 'foo' not allowed"),
            ("services: []", "services must be a mapping"),
            ("services: {a: }", "services.a must be a mapping"),
            (
                "services: {a b: {}}",
                "services additional properties 'a b' not allowed",
            ),
            (
                "services: {a: {prots: []}}",
                "services.a additional properties 'prots' not allowed",
            ),
            (
                "services: {a: {ports: }}",
                "services.a.ports must be a array",
            ),
            (
                "services: {a: {ports: [[]]}}",
                "services.a.ports.0 must be a number",
            ),
            (
                "services: {a: {image: 5}}",
                "services.a.image must be a string",
            ),
            (
                "services: {a: {tty: 5}}",
                "services.a.tty must be a boolean or string",
            ),
            ("services: {a: {dns: 5}}", "services.a.dns must be a string"),
            (
                "services: {a: {networks: x}}",
                "services.a.networks must be a array",
            ),
            (
                "services: {a: {networks: {n: {ip: 1}}}}",
                "services.a.networks.n additional properties 'ip' not allowed",
            ),
            (
                "services: {a: {depends_on: {b: {required: true}}}}",
                "services.a.depends_on.b missing property 'condition'",
            ),
            (
                "services: {a: {depends_on: {b: {condition: up}}}}",
                "services.a.depends_on.b.condition value must be one of 'service_started', 'service_healthy', 'service_completed_successfully'",
            ),
            (
                "networks: {n: {ipam: {config: [{subnets: x}]}}}",
                "networks.n.ipam.config.0 additional properties 'subnets' not allowed",
            ),
            (
                "services: {a: {environment: {A: []}}}",
                "services.a.environment.A must be a boolean, null, number or string",
            ),
        ];
        for (text, message) in cases {
            assert_eq!(messages(text), [message], "{text}");
        }
    }

    #[test]
    fn what_compose_takes() {
        for text in [
            "x-a: 1\nservices: {a: {x-b: 1, image: i}}",
            "services: {a: {ports: [80, '80', 80.0, {target: 80, published: '1-2', x-c: 1}]}}",
            "networks: {n: , m: {external: true}, o: {external: {name: p}}}",
            "services: {a: {command: , networks: {n: }, depends_on: [b], expose: [1, '2']}}",
            "services: {a: {build: {context: ., anything: 1}, deploy: {resources: {}}}}",
        ] {
            assert_eq!(messages(text), Vec::<String>::new(), "{text}");
        }
    }

    #[test]
    fn several_at_once_with_places_and_hints() {
        let text = "services:\n  a:\n    prots: []\n    imgae: x\n";
        let root = parse(text, 0).unwrap().remove(0);
        let faults = validate(&root);
        let seen: Vec<_> = faults
            .iter()
            .map(|fault| {
                let at = fault.at.unwrap();
                (at.line, at.column, at.length, fault.hint.as_deref())
            })
            .collect();
        assert_eq!(
            seen,
            [
                (3, 5, 5, Some("did you mean `ports`?")),
                (4, 5, 5, Some("did you mean `image`?")),
            ]
        );
    }

    #[test]
    fn tables_have_no_key_twice() {
        for shape in [&ROOT, &SERVICE] {
            let Fields(fields) = shape else { panic!() };
            assert!(fields.windows(2).all(|pair| pair[0].0 < pair[1].0));
        }
    }
}
