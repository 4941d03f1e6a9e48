//! A report as SARIF 2.1.0, which code scanners and editors read.

use std::collections::BTreeMap;

use serde::Serialize;

use super::finding::{Level, Report, Spot};
use super::page::explain;
use super::rule::RULES;

const SCHEMA: &str =
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";
const REPOSITORY: &str = env!("CARGO_PKG_REPOSITORY");

/// A SARIF log, to be serialized.
#[derive(Clone, Debug, Serialize)]
pub struct Sarif {
    #[serde(rename = "$schema")]
    schema: &'static str,
    version: &'static str,
    runs: [Run; 1],
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Run {
    tool: Tool,
    /// Columns count characters.
    column_kind: &'static str,
    results: Vec<Outcome>,
}

#[derive(Clone, Debug, Serialize)]
struct Tool {
    driver: Driver,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Driver {
    name: &'static str,
    version: &'static str,
    semantic_version: &'static str,
    rules: Vec<Descriptor>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    id: &'static str,
    short_description: Text,
    help: Help,
    #[serde(skip_serializing_if = "Option::is_none")]
    help_uri: Option<String>,
    default_configuration: Configuration,
    properties: Properties,
}

#[derive(Clone, Debug, Serialize)]
struct Text {
    text: String,
}

#[derive(Clone, Debug, Serialize)]
struct Help {
    text: String,
    markdown: String,
}

#[derive(Clone, Debug, Serialize)]
struct Configuration {
    level: Level,
}

#[derive(Clone, Debug, Serialize)]
struct Properties {
    tags: [&'static str; 2],
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Outcome {
    rule_id: &'static str,
    rule_index: usize,
    level: Level,
    message: Text,
    locations: Vec<Location>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    related_locations: Vec<Location>,
    partial_fingerprints: BTreeMap<&'static str, String>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Location {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<usize>,
    physical_location: Physical,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<Text>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Physical {
    artifact_location: Artifact,
    region: Region,
}

#[derive(Clone, Debug, Serialize)]
struct Artifact {
    uri: String,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Region {
    start_line: u32,
    start_column: u32,
    end_column: u32,
    snippet: Text,
}

/// A report as SARIF, with what every rule is about.
#[must_use]
pub fn sarif(report: &Report) -> Sarif {
    let results = report.findings.iter().map(|finding| {
        let fix = finding.fix.as_ref().map(|fix| format!("\nFix: {fix}"));
        let mut locations = finding.places.iter().enumerate();
        Outcome {
            rule_id: finding.rule,
            rule_index: RULES
                .iter()
                .position(|rule| rule.id == finding.rule)
                .unwrap_or_default(),
            level: finding.level,
            message: Text {
                text: format!("{}{}", finding.message, fix.unwrap_or_default()),
            },
            locations: locations
                .next()
                .map(|(_, spot)| location(None, spot))
                .into_iter()
                .collect(),
            related_locations: locations
                .map(|(index, spot)| location(Some(index), spot))
                .collect(),
            partial_fingerprints: BTreeMap::from([("vethlab/v1", finding.fingerprint.clone())]),
        }
    });
    let version = env!("CARGO_PKG_VERSION");
    Sarif {
        schema: SCHEMA,
        version: "2.1.0",
        runs: [Run {
            tool: Tool {
                driver: Driver {
                    name: "vethlab",
                    version,
                    semantic_version: version,
                    rules: descriptors(),
                },
            },
            column_kind: "unicodeCodePoints",
            results: results.collect(),
        }],
    }
}

fn descriptors() -> Vec<Descriptor> {
    let rules = RULES.iter().map(|rule| {
        let section = explain(rule.id).unwrap_or(rule.summary);
        Descriptor {
            id: rule.id,
            short_description: Text {
                text: rule.summary.to_owned(),
            },
            help: Help {
                text: section.to_owned(),
                markdown: section.to_owned(),
            },
            help_uri: help_uri(rule.id),
            default_configuration: Configuration { level: rule.level },
            properties: Properties {
                tags: ["docker-compose", "network"],
            },
        }
    });
    rules.collect()
}

/// Where a rule's section stands on the web; `help` has its text. No address is better than one that leads
/// nowhere: there is none while the package names no repository.
fn help_uri(id: &str) -> Option<String> {
    (!REPOSITORY.is_empty()).then(|| format!("{REPOSITORY}/blob/main/docs/rules.md#{id}"))
}

fn location(id: Option<usize>, spot: &Spot) -> Location {
    let note = (!spot.note.is_empty()).then(|| Text {
        text: spot.note.clone(),
    });
    Location {
        id,
        physical_location: Physical {
            artifact_location: Artifact {
                uri: uri(&spot.file),
            },
            region: Region {
                start_line: spot.line,
                start_column: spot.column,
                end_column: spot.column + spot.length,
                snippet: Text {
                    text: spot.source_line.clone(),
                },
            },
        },
        message: note,
    }
}

/// A path as a reference: relative ones stay so.
fn uri(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    if path.starts_with('/') {
        out.push_str("file://");
    }
    for byte in path.bytes() {
        let plain = byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte);
        match plain {
            true => out.push(char::from(byte)),
            false => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_as_references() {
        assert_eq!(uri("a b/ü.yml"), "a%20b/%C3%BC.yml");
        assert_eq!(uri("/srv/x.yml"), "file:///srv/x.yml");
    }
}
