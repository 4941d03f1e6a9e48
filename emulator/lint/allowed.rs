//! What allows findings, comments and `x-vethlab: {allow: [...]}`, and what of it allows nothing.

use std::collections::BTreeSet;

use emulator_compose::{At, near};

use super::allow::allows as comments;
use super::finding::{Finding, Level, Spot};
use super::loaded::Loaded;
use super::rule::{RULES, Rule, UNUSED_ALLOW, rule};

/// Something that allows what some rules find.
pub(super) struct Allow {
    /// Where it stands.
    spot: Spot,
    about: About,
    rules: Vec<String>,
    /// The rules of which it has taken something back.
    used: BTreeSet<&'static str>,
}

/// What it is about.
enum About {
    /// A line of its file.
    Line(u32),
    /// A project.
    Project(usize),
    /// A subject in a project.
    Subject(usize, String),
}

impl Allow {
    fn new(spot: Spot, about: About, rules: Vec<String>) -> Self {
        Self {
            spot,
            about,
            rules,
            used: BTreeSet::new(),
        }
    }

    fn covers(&self, project: usize, finding: &Finding) -> bool {
        match &self.about {
            About::Line(line) => finding
                .places
                .iter()
                .any(|spot| spot.line == *line && spot.file == self.spot.file),
            About::Project(index) => *index == project,
            About::Subject(index, subject) => *index == project && *subject == finding.subject,
        }
    }
}

/// Everything in the projects that allows something.
pub(super) fn allows(projects: &[Loaded]) -> Vec<Allow> {
    let mut seen = BTreeSet::new();
    let mut out = Vec::new();
    for (index, loaded) in projects.iter().enumerate() {
        let project = &loaded.project;
        for (file, text) in project.files.iter().zip(&loaded.texts) {
            // A file that several projects include is read once.
            if !text.contains("vethlab:") || !seen.insert(file) {
                continue;
            }
            for comment in comments(text) {
                let line = text.lines().nth(comment.line as usize - 1);
                let spot = Spot {
                    file: file.clone(),
                    line: comment.line,
                    column: comment.column,
                    length: comment.length,
                    source_line: line.unwrap_or_default().to_owned(),
                    note: String::new(),
                };
                out.push(Allow::new(spot, About::Line(comment.about), comment.rules));
            }
        }
        let mut said = |allow: &At<String>, about: About| {
            let spot = loaded.spot(allow.at, "");
            out.push(Allow::new(spot, about, vec![allow.value.clone()]));
        };
        for allow in &project.vethlab.allow {
            said(allow, About::Project(index));
        }
        for service in &project.services {
            for allow in &service.vethlab.allow {
                said(
                    allow,
                    About::Subject(index, format!("services.{}", service.name)),
                );
            }
        }
    }
    out
}

/// Whether something allows a finding. All that does counts as used.
pub(super) fn takes_back(allows: &mut [Allow], project: usize, finding: &Finding) -> bool {
    let mut taken = false;
    for allow in allows {
        let named = allow.rules.iter().any(|id| id == finding.rule);
        if named && allow.covers(project, finding) {
            allow.used.insert(finding.rule);
            taken = true;
        }
    }
    taken
}

/// What allows findings of rules that were looked for and found nothing, and names that are no rule's.
pub(super) fn unused(
    allows: &[Allow],
    level: Level,
    wanted: impl Fn(&Rule) -> bool,
) -> Vec<Finding> {
    let mut out = Vec::new();
    for allow in allows {
        for id in &allow.rules {
            let (message, fix) = match rule(id) {
                None => {
                    let ids = RULES.iter().map(|rule| rule.id);
                    let fix = near(id, ids).map_or_else(
                        || "`vethlab lint --list` names the rules".to_owned(),
                        |id| format!("did you mean {id}?"),
                    );
                    (format!("{id:?} is no rule of vethlab"), fix)
                }
                Some(rule) if wanted(rule) && !allow.used.contains(rule.id) => (
                    format!("{id} is allowed here and not found"),
                    "take it away".to_owned(),
                ),
                Some(_) => continue,
            };
            out.push(Finding {
                rule: UNUSED_ALLOW,
                level,
                message,
                places: vec![allow.spot.clone()],
                fix: Some(fix),
                subject: String::new(),
                fingerprint: String::new(),
            });
        }
    }
    out
}
