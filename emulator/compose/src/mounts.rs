//! Volumes, secrets and configs, as far as compose refuses files for them: they do not touch the
//! network, but a file that compose does not take is not ours to take.

use std::collections::BTreeMap;

use indexmap::IndexMap;

use crate::error::{ErrorKind, Fault};
use crate::node::{Entry, Node, Place, Value};

/// Checks the top-level `secrets` and `configs`: each must say where its content comes from.
pub(crate) fn check_sources(root: &Node) -> Result<(), Fault> {
    for Entry { key, node, .. } in root.get("volumes").map_or(&[][..], Node::entries) {
        if node.get("external").map(|node| &node.value) != Some(&Value::Bool(true)) {
            continue;
        }
        let fits = |key: &str| matches!(key, "name" | "external") || key.starts_with("x-");
        if let Some(other) = node.entries().iter().find(|entry| !fits(&entry.key)) {
            let other_key = &other.key;
            let message = format!(
                "volumes.{key}: conflicting parameters \"external\" and {other_key:?} specified"
            );
            return Err(Fault::invalid(other.key_at, message));
        }
    }
    for (section, keys) in [
        ("configs", &["file", "environment", "content"][..]),
        ("secrets", &["file", "environment"]),
    ] {
        let entries = root.get(section).map_or(&[][..], Node::entries);
        for Entry { key, key_at, node } in entries {
            let has = |key: &&str| node.entry(key).is_some();
            let path = format!("{section}.{key}");
            let stated = keys.iter().filter(|key| has(key)).count();
            let message = match stated {
                0 if has(&"driver") || has(&"external") => continue,
                0 => format!("{path}: one of {} must be set", keys.join("|")),
                1 => continue,
                _ => format!(
                    "{path}: {} attributes are mutually exclusive",
                    keys.join("|")
                ),
            };
            return Err(Fault::invalid(*key_at, message));
        }
    }
    Ok(())
}

/// Checks what a service mounts.
pub(crate) fn check_service(root: &Node, service: &Entry) -> Result<(), Fault> {
    let name = &service.key;
    let node = &service.node;
    let items = |key: &str| node.get(key).map_or(&[][..], Node::items);
    let mut mounts: IndexMap<String, (Mount, Place)> = IndexMap::new();
    for (i, item) in items("volumes").iter().enumerate() {
        let mount = read(item).map_err(|message| Fault::invalid(item.at, message))?;
        if mount.target.is_empty() {
            let message =
                format!("service volume services.{name}.volumes.[{i}] is missing a mount target");
            return Err(Fault::invalid(item.at, message));
        }
        // Of two at the same place the later one counts.
        mounts.insert(mount.target.clone(), (mount, item.at));
    }
    for (mount, at) in mounts.values() {
        let missing = |source: &&String| declared(root, "volumes", source).is_none();
        if let Some(source) = mount.volume.as_ref().filter(missing) {
            return Err(undefined(name, "volume", source, *at));
        }
    }
    for (section, what) in [("configs", "config"), ("secrets", "secret")] {
        for item in items(section) {
            let source = item.text().or_else(|| item.get("source")?.text());
            let source = source.unwrap_or_default();
            if declared(root, section, &source).is_none() {
                return Err(undefined(name, what, &source, item.at));
            }
        }
    }
    check_tmpfs(name, node, &mounts)
}

/// A `tmpfs` must not lie where something is mounted.
fn check_tmpfs(
    name: &str,
    node: &Node,
    mounts: &IndexMap<String, (Mount, Place)>,
) -> Result<(), Fault> {
    let Some(tmpfs) = node.get("tmpfs") else {
        return Ok(());
    };
    let single = core::slice::from_ref(tmpfs);
    let items = match tmpfs.as_str() {
        Some(_) => single,
        None => tmpfs.items(),
    };
    let path = |item: &Node| {
        let text = item.text().unwrap_or_default();
        text.split(':').next().unwrap_or_default().to_owned()
    };
    let places: BTreeMap<String, usize> = items
        .iter()
        .enumerate()
        .map(|(i, item)| (path(item), i))
        .collect();
    for (i, (target, (_, at))) in mounts.iter().enumerate() {
        if let Some(tmpfs) = places.get(target) {
            let message = format!(
                "services.{name}.volumes[{i}]: target {target} already mounted as services.{name}.tmpfs[{tmpfs}]"
            );
            return Err(Fault::invalid(*at, message));
        }
    }
    Ok(())
}

fn declared<'n>(root: &'n Node, section: &str, name: &str) -> Option<&'n Entry> {
    root.get(section)?.entry(name)
}

fn undefined(service: &str, what: &str, name: &str, at: Place) -> Fault {
    let message =
        format!("service {service:?} refers to undefined {what} {name}: invalid compose project");
    Fault::new(ErrorKind::Undefined, at, message)
}

/// A mount: where, and which named volume if it is one.
struct Mount {
    target: String,
    volume: Option<String>,
}

fn read(item: &Node) -> Result<Mount, String> {
    if let Some(text) = item.as_str() {
        return short(text);
    }
    let field = |key: &str| item.get(key).and_then(Node::text).unwrap_or_default();
    let named = field("type") == "volume";
    Ok(Mount {
        target: field("target"),
        volume: Some(field("source")).filter(|source| named && !source.is_empty()),
    })
}

/// `[source:]target[:options]`.
fn short(spec: &str) -> Result<Mount, String> {
    if spec.is_empty() {
        return Err("invalid empty volume spec".to_owned());
    }
    if spec.len() <= 2 {
        let target = spec.to_owned();
        return Ok(Mount {
            target,
            volume: None,
        });
    }
    let parts = sections(spec);
    if parts.iter().any(|part| part.is_empty()) {
        return Err(format!(
            "invalid spec: {spec}: empty section between colons"
        ));
    }
    let (source, target) = match parts.as_slice() {
        [target] => (None, target),
        [source, target] | [source, target, _] => (Some(source), target),
        _ => return Err(format!("invalid spec: {spec}: too many colons")),
    };
    Ok(Mount {
        target: target.clone(),
        volume: source.filter(|source| !is_path(source)).cloned(),
    })
}

/// The parts between colons; that behind the letter of a Windows drive is none.
fn sections(spec: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    for c in spec.chars() {
        let Some(last) = parts.last_mut() else { break };
        if c == ':' && !is_drive(last) {
            parts.push(String::new());
        } else {
            last.push(c);
        }
    }
    parts
}

fn is_drive(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(char::is_alphabetic) && chars.next().is_none()
}

fn is_path(source: &str) -> bool {
    let mut start = source.chars();
    let drive = start.next().is_some_and(char::is_alphabetic) && start.next() == Some(':');
    source.starts_with(['.', '/', '~']) || source.starts_with("\\\\") || drive
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_form() {
        for (spec, target, volume) in [
            ("/data", "/data", None),
            ("x", "x", None),
            ("data:/data", "/data", Some("data")),
            ("data:/data:ro,z", "/data", Some("data")),
            ("./data:/data", "/data", None),
            ("~/x:/y", "/y", None),
            ("C:\\x:/y:rw", "/y", None),
            ("\\\\.\\pipe\\docker:/p", "/p", None),
        ] {
            let mount = short(spec).unwrap();
            assert_eq!(
                (mount.target.as_str(), mount.volume.as_deref()),
                (target, volume),
                "{spec}"
            );
        }
        for (spec, message) in [
            ("", "invalid empty volume spec"),
            (
                ":/www:ro",
                "invalid spec: :/www:ro: empty section between colons",
            ),
            ("a:/b:", "invalid spec: a:/b:: empty section between colons"),
            ("aa:/b:ro:x", "invalid spec: aa:/b:ro:x: too many colons"),
        ] {
            assert_eq!(short(spec).err().as_deref(), Some(message));
        }
    }
}
