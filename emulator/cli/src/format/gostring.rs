//! How Go's `fmt` prints a value with `%v`: `[a b]`, `map[k:v]`, `{v v}`, `<no value>`.
//!
//! Docker's client first walks over its own Go structs, which print as `{…}` with their values only;
//! what it knows as a map prints as `map[…]`. JSON does not tell the two apart, so the structs that
//! the network verbs answer with are listed here by their fields.

use super::Value;

/// The structs that templates print whole: their fields in order; the first tells them apart.
const STRUCTS: &[&[&str]] = &[
    &["Subnet", "IPRange", "Gateway", "AuxiliaryAddresses"],
    &["HostIp", "HostPort"],
    &["Network"],
    &["Driver", "Options", "Config"],
    &[
        "Name",
        "EndpointID",
        "MacAddress",
        "IPv4Address",
        "IPv6Address",
    ],
    &["IPv4Address", "IPv6Address", "LinkLocalIPs"],
];

/// Fields that are Go maps: a key that is not there is no error.
const MAPS: &[&str] = &[
    "AuxiliaryAddresses",
    "Containers",
    "DriverOpts",
    "ExposedPorts",
    "Labels",
    "Networks",
    "Options",
    "PortBindings",
    "Ports",
    "Sysctls",
    "Volumes",
];

/// Fields that are Go slices: without any they print as `[]`.
const SLICES: &[&str] = &[
    "Aliases",
    "Cmd",
    "Config",
    "DNSNames",
    "Dns",
    "DnsOptions",
    "DnsSearch",
    "Entrypoint",
    "Env",
    "ExtraHosts",
    "LinkLocalIPs",
    "Links",
    "SecondaryIPAddresses",
    "SecondaryIPv6Addresses",
];

/// Whether a field of this name is a Go map.
#[must_use]
pub fn is_map(field: &str) -> bool {
    MAPS.contains(&field)
}

/// Whether a field of this name is a Go map of texts: indexing what is not there gives an empty one.
#[must_use]
pub fn is_text_map(field: &str) -> bool {
    matches!(field, "DriverOpts" | "Labels" | "Options" | "Sysctls")
}

/// The value as `{{…}}` prints it. `field` is the name under which it was found, if any: it says
/// which kind of nothing a null is.
#[must_use]
pub fn show(value: &Value, field: Option<&str>) -> String {
    match value {
        Value::Null => match field {
            Some(name) if SLICES.contains(&name) => "[]".to_owned(),
            Some(name) if is_map(name) => "map[]".to_owned(),
            Some("IPAMConfig") => "<nil>".to_owned(),
            _ => "<no value>".to_owned(),
        },
        other => print(other),
    }
}

/// The value as `%v` prints it inside another.
#[must_use]
pub fn print(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::Bool(yes) => yes.to_string(),
        Value::Number(n) => n.to_string(),
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(print).collect();
            format!("[{}]", items.join(" "))
        }
        Value::Object(fields) => match shape(fields) {
            Some(names) => {
                let values: Vec<_> = names.iter().map(|name| member(value, name)).collect();
                format!("{{{}}}", values.join(" "))
            }
            None => {
                let mut fields: Vec<_> = fields.iter().collect();
                fields.sort_by(|a, b| a.0.cmp(&b.0));
                let fields: Vec<_> = fields
                    .iter()
                    .map(|(key, value)| format!("{key}:{}", print(value)))
                    .collect();
                format!("map[{}]", fields.join(" "))
            }
        },
    }
}

/// A field of a struct; one that the JSON leaves out has Go's zero value.
fn member(value: &Value, name: &str) -> String {
    match value.field(name) {
        None | Some(Value::Null) if is_map(name) => "map[]".to_owned(),
        None | Some(Value::Null) if SLICES.contains(&name) => "[]".to_owned(),
        None => String::new(),
        Some(value) => print(value),
    }
}

fn shape(fields: &[(String, Value)]) -> Option<&'static [&'static str]> {
    let first = fields.first()?;
    STRUCTS.iter().copied().find(|names| {
        names[0] == first.0 && fields.iter().all(|(key, _)| names.contains(&key.as_str()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structs_and_maps() {
        let config = Value::Array(vec![Value::object([
            ("Subnet", Value::from("172.18.0.0/16")),
            ("Gateway", Value::from("172.18.0.1")),
        ])]);
        assert_eq!(print(&config), "[{172.18.0.0/16  172.18.0.1 map[]}]");
        let labels = Value::object([("b", Value::from("2")), ("a", Value::from("1"))]);
        assert_eq!(print(&labels), "map[a:1 b:2]");
        assert_eq!(print(&Value::Object(Vec::new())), "map[]");
        assert_eq!(print(&Value::list(["x", "y"])), "[x y]");
    }

    #[test]
    fn kinds_of_nothing() {
        assert_eq!(show(&Value::Null, Some("Aliases")), "[]");
        assert_eq!(show(&Value::Null, Some("DriverOpts")), "map[]");
        assert_eq!(show(&Value::Null, Some("IPAMConfig")), "<nil>");
        assert_eq!(show(&Value::Null, None), "<no value>");
    }
}
