//! A first `vethlab.yaml` of a project: every dial of its files as an expectation.
//!
//! A dial whose host nothing in the project has is no expectation; it stands as a comment, so that somebody
//! looks at it.

use core::fmt::Write;
use std::collections::BTreeSet;

use crate::dial::{Dial, DialIn, DialTo, dials};
use crate::expect::{Claim, Expectation, Party, Probe, Target, Verdict, Whom};
use crate::listen::Images;
use crate::model::{Project, Protocol};
use crate::node::Place;

impl Dial {
    /// The expectation that it works: `web -> db:5432 allow`. `None` if it leaves the project, means the
    /// dialler itself, or is of a protocol that is not tried.
    #[must_use]
    pub fn expectation(&self, project: &Project) -> Option<Expectation> {
        if self.to != DialTo::Project {
            return None;
        }
        let whom = match project.service(&self.host) {
            Some(service) => Whom::Party(Party::Service(service.name.clone())),
            None if project.inactive.contains(&self.host) => return None,
            None => Whom::Name(self.host.clone()),
        };
        let probe = match (self.port, self.protocol) {
            (None, _) => Probe::Known,
            (Some(port), Protocol::Tcp) => Probe::Tcp(port),
            (Some(port), Protocol::Udp) => Probe::Udp(port),
            (Some(_), Protocol::Sctp) => return None,
        };
        let mut expectation = Expectation {
            at: self.at,
            text: String::new(),
            claim: Claim::Reach {
                from: vec![Party::Service(self.service.clone())],
                to: vec![Target { whom, probe }],
                verdict: Verdict::Allow,
                via: None,
                sees: None,
            },
            when: Vec::new(),
            resolve_once: false,
        };
        expectation.text = expectation.to_string();
        Some(expectation)
    }
}

/// The text of a `vethlab.yaml` for `project`, whose compose files are `files`: each dial as an expectation
/// with where it stands, those that leave the project as comments.
#[must_use]
pub fn proposal(project: &Project, images: &Images, files: &[String]) -> String {
    let mut lines: Vec<(String, String)> = Vec::new();
    let mut beyond = BTreeSet::new();
    for dial in dials(project, images) {
        let place = reason(project, &dial, dial.at);
        match dial.expectation(project) {
            Some(expectation) => lines.push((expectation.text, place)),
            None if matches!(dial.to, DialTo::Outside | DialTo::Unknown | DialTo::Address) => {
                let port = dial
                    .port
                    .map_or_else(String::new, |port| format!(":{port}"));
                beyond.insert(format!("{} -> {}{port}, {place}", dial.service, dial.host));
            }
            None => {}
        }
    }
    let files: Vec<String> = files.iter().map(|file| quoted(file)).collect();
    let mut out = format!("files: [{}]\n", files.join(", "));
    let wide = lines.iter().map(|(text, _)| text.chars().count()).max();
    let wide = wide.unwrap_or(0).min(60);
    out.push_str(if lines.is_empty() {
        "expect: []\n"
    } else {
        "expect:\n"
    });
    for (text, place) in &lines {
        let text = scalar(text);
        // Writing to a string does not fail.
        let _written = writeln!(out, "  - {text:wide$}  # {place}");
    }
    if !beyond.is_empty() {
        out.push_str("# What nothing in the project has the name of:\n");
    }
    for line in beyond {
        let _written = writeln!(out, "#   {line}");
    }
    out
}

/// Where a dial stands, for a comment: one line.
fn reason(project: &Project, dial: &Dial, at: Place) -> String {
    let file = project
        .files
        .get(at.file as usize)
        .map_or("", String::as_str);
    let file = file.rsplit('/').next().unwrap_or_default();
    let how = match &dial.how {
        DialIn::Command => "command",
        DialIn::DependsOn => "depends_on",
        DialIn::Entrypoint => "entrypoint",
        DialIn::Environment(name) | DialIn::Label(name) => name,
        DialIn::Healthcheck => "healthcheck",
        DialIn::Link => "links",
    };
    let plain: String = how.chars().filter(|c| !c.is_control()).take(60).collect();
    format!("{file}:{} {plain}", at.line)
}

/// A sentence as a YAML scalar. Of what stands in sentences only these would be read as something else.
fn scalar(text: &str) -> String {
    let plain = !text.starts_with(['"', '[', '-', '.', '@']) && !text.contains(" #");
    match plain && !text.contains(": ") {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', "''")),
    }
}

fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
    let safe = text.chars().all(plain) && text.starts_with(|c: char| c.is_ascii_alphabetic());
    match safe {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', "''")),
    }
}
