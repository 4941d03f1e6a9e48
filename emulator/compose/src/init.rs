//! A first `vethlab.yaml` of a project: every dial of its files as an expectation.
//!
//! A dial whose host nothing in the project has is no expectation; it stands as a comment, so that somebody
//! looks at it. Of projects that run together, one that another project of them answers is expected of the host.

use std::collections::BTreeSet;

use crate::dial::{Dial, DialIn, DialTo, dials};
use crate::expect::{Claim, Expectation, Party, Probe, Target, Verdict, Whom};
use crate::listen::Images;
use crate::model::{NetworkMode, Project, Protocol, Service, ServiceNetwork};
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
        claim(self, Party::Service(self.service.clone()), whom)
    }
}

/// That it works, claimed of these two. `None` if it is of a protocol that is not tried.
fn claim(dial: &Dial, from: Party, whom: Whom) -> Option<Expectation> {
    let probe = match (dial.port, dial.protocol) {
        (None, _) => Probe::Known,
        (Some(port), Protocol::Tcp) => Probe::Tcp(port),
        (Some(port), Protocol::Udp) => Probe::Udp(port),
        (Some(_), Protocol::Sctp) => return None,
    };
    let mut expectation = Expectation {
        at: dial.at,
        text: String::new(),
        claim: Claim::Reach {
            from: vec![from],
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

/// The text of a `vethlab.yaml` for `project`, whose compose files are `files`: each dial as an expectation
/// with where it stands, those that leave the project as comments.
#[must_use]
pub fn proposal(project: &Project, images: &Images, files: &[String]) -> String {
    let told = Told::of(project, images, |_| false);
    let mut out = format!("files: {}\n", list(files));
    told.write("", &mut out);
    out
}

/// The text of a `vethlab.yaml` for projects that run together on a machine that is called `host`, each with its key
/// and its compose files: what each dials within itself, and what they dial of each other over a network that both
/// are on. Services of all of them are called `KEY/SERVICE`.
#[must_use]
pub fn proposal_together(
    host: &str,
    members: &[(&str, &Project, &[String])],
    images: &Images,
) -> String {
    let mut out = String::from("projects:\n");
    let projects: Vec<(&str, &Project)> = members
        .iter()
        .map(|(key, project, _)| (*key, *project))
        .collect();
    for (key, project, files) in members {
        let spans = |dial: &Dial| held(&projects, project, dial).is_some();
        let told = Told::of(project, images, spans);
        out.push_str(&format!("  {}:\n    files: {}\n", quoted(key), list(files)));
        told.write("    ", &mut out);
    }
    out.push_str(&proposal_of_host(host, &projects, images));
    out
}

/// The part of that which is about the host alone.
#[must_use]
pub fn proposal_of_host(host: &str, members: &[(&str, &Project)], images: &Images) -> String {
    let mut told = Told::default();
    for (key, project) in members {
        for dial in dials(project, images) {
            let Some(holder) = held(members, project, &dial) else {
                continue;
            };
            let from = Party::Service(format!("{key}/{}", dial.service));
            if let Some(expectation) = claim(&dial, from, Whom::Party(Party::Service(holder))) {
                let place = format!("{key}: {}", reason(project, &dial, dial.at));
                told.lines.push((expectation.text, place));
            }
        }
    }
    let keys: Vec<String> = members.iter().map(|(key, _)| (*key).to_owned()).collect();
    let mut out = format!(
        "hosts:\n  {}:\n    projects: {}\n",
        quoted(host),
        list(&keys)
    );
    told.write("    ", &mut out);
    out
}

/// Whom of another project a dial means, as `KEY/SERVICE`: the one service that has that name on a network that the
/// dialler is on too.
fn held(members: &[(&str, &Project)], own: &Project, dial: &Dial) -> Option<String> {
    if !matches!(dial.to, DialTo::Outside | DialTo::Unknown) {
        return None;
    }
    let near = networks(own, own.service(&dial.service)?);
    let mut found = members
        .iter()
        .filter(|(_, other)| !core::ptr::eq(*other, own))
        .flat_map(|(key, other)| {
            let services = other.services.iter();
            let known = services.filter(|service| {
                let mut members = service.networks.iter();
                members.any(|member| {
                    let network = other.network(&member.key);
                    let name = network.map(|network| network.name.as_str());
                    let is_near = name.is_some_and(|name| near.contains(name));
                    is_near && names(other, service, member).contains(&dial.host)
                })
            });
            known.map(move |service| format!("{key}/{}", service.name))
        });
    found.next().filter(|_| found.next().is_none())
}

/// The networks by their names in the engine, of the namespace that a service lives in.
fn networks<'p>(project: &'p Project, service: &'p Service) -> BTreeSet<&'p str> {
    let mut home = service;
    // Who joins in a circle is refused by the loader.
    for _ in 0..project.services.len() {
        let NetworkMode::Service(name) = &home.network_mode else {
            break;
        };
        let Some(next) = project.service(name) else {
            break;
        };
        home = next;
    }
    let members = home.networks.iter();
    let networks = members.filter_map(|member| project.network(&member.key));
    networks.map(|network| network.name.as_str()).collect()
}

/// What the embedded DNS calls a service there.
fn names(project: &Project, service: &Service, member: &ServiceNetwork) -> BTreeSet<String> {
    let aliases = member.aliases.iter().map(|alias| alias.value.clone());
    // Many replicas have many names; the first few are enough to be recognised.
    let containers = (1..=service.replicas.min(64)).map(|n| project.container_name(service, n));
    let own = core::iter::once(service.name.clone());
    own.chain(aliases).chain(containers).collect()
}

/// What there is to say of a project: expectations, each with where it stands, and what leaves it.
#[derive(Debug, Default)]
struct Told {
    lines: Vec<(String, String)>,
    beyond: BTreeSet<String>,
}

impl Told {
    /// Of a project by itself; what `spans` projects is told elsewhere.
    fn of(project: &Project, images: &Images, spans: impl Fn(&Dial) -> bool) -> Self {
        let mut told = Self::default();
        for dial in dials(project, images) {
            let place = reason(project, &dial, dial.at);
            match dial.expectation(project) {
                Some(expectation) => told.lines.push((expectation.text, place)),
                None if spans(&dial) => {}
                None if matches!(dial.to, DialTo::Outside | DialTo::Unknown | DialTo::Address) => {
                    let port = dial
                        .port
                        .map_or_else(String::new, |port| format!(":{port}"));
                    told.beyond
                        .insert(format!("{} -> {}{port}, {place}", dial.service, dial.host));
                }
                None => {}
            }
        }
        told
    }

    fn write(&self, indent: &str, out: &mut String) {
        let lengths = self.lines.iter().map(|(text, _)| text.chars().count());
        let wide = lengths.max().unwrap_or(0).min(60);
        let list = if self.lines.is_empty() { " []" } else { "" };
        out.push_str(&format!("{indent}expect:{list}\n"));
        for (text, place) in &self.lines {
            let text = scalar(text);
            out.push_str(&format!("{indent}  - {text:wide$}  # {place}\n"));
        }
        if !self.beyond.is_empty() {
            out.push_str(&format!(
                "{indent}# What nothing in the project has the name of:\n"
            ));
        }
        for line in &self.beyond {
            out.push_str(&format!("{indent}#   {line}\n"));
        }
    }
}

fn list(texts: &[String]) -> String {
    let texts: Vec<String> = texts.iter().map(|text| quoted(text)).collect();
    format!("[{}]", texts.join(", "))
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
