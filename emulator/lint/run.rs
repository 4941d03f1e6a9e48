//! Runs the rules over projects and takes back what comments allow.

use std::collections::{BTreeMap, BTreeSet};

use emulator_compose::{Images, MachineFile};

use super::allowed;
use super::finding::{Finding, Level, Report};
use super::fingerprint;
use super::loaded::Loaded;
use super::rule::{Check, RULES, Rule, UNUSED_ALLOW, rule};
use super::view::{Draft, Host};

/// What is looked for, and on which machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Only these rules, by id; empty is every one.
    pub only: Vec<String>,
    /// Not these rules.
    pub without: Vec<String>,
    /// Other levels than the rules' own, by id.
    pub levels: BTreeMap<String, Level>,
    /// What is milder is not reported.
    pub least: Option<Level>,
    /// The machine that the projects run on.
    pub machine: MachineFile,
    /// Other machines, by the names of hosts.
    pub machines: BTreeMap<String, MachineFile>,
    /// What images listen on.
    pub images: Images,
}

impl Default for Options {
    /// Every rule, on a machine of which nothing is known.
    fn default() -> Self {
        Self {
            only: Vec::new(),
            without: Vec::new(),
            levels: BTreeMap::new(),
            least: None,
            machine: MachineFile::default(),
            machines: BTreeMap::new(),
            images: Images::builtin(),
        }
    }
}

impl Options {
    fn wants(&self, rule: &Rule) -> bool {
        let named = |ids: &[String]| ids.iter().any(|id| id == rule.id);
        (self.only.is_empty() || named(&self.only)) && !named(&self.without)
    }

    fn level(&self, rule: &Rule, own: Option<Level>) -> Level {
        let set = self.levels.get(rule.id).copied();
        set.or(own).unwrap_or(rule.level)
    }
}

/// Looks for what the rules know.
#[must_use]
pub fn lint(projects: &[Loaded], options: &Options) -> Report {
    let hosts = Host::of_all(projects, options);
    let mut found: Vec<(usize, Finding)> = Vec::new();
    for rule in RULES.iter().filter(|rule| options.wants(rule)) {
        let mut drafts = Vec::new();
        for host in &hosts {
            match rule.check {
                Check::Project(check) => {
                    host.views.iter().for_each(|view| check(view, &mut drafts))
                }
                Check::Host(check) => check(host, &mut drafts),
                Check::Allows => {}
            }
        }
        let drafts = drafts.into_iter();
        found.extend(drafts.filter_map(|draft| finding(projects, options, rule, draft)));
    }
    let mut allows = allowed::allows(projects);
    let before = found.len();
    found.retain(|(project, finding)| !allowed::takes_back(&mut allows, *project, finding));
    let allowed = before - found.len();
    let mut found: Vec<Finding> = found.into_iter().map(|(_, finding)| finding).collect();
    if let Some(rule) = rule(UNUSED_ALLOW).filter(|rule| options.wants(rule)) {
        let level = options.level(rule, None);
        found.extend(allowed::unused(&allows, level, |rule| options.wants(rule)));
    }
    found.retain(|finding| options.least.is_none_or(|least| finding.level >= least));
    order(&mut found);
    fingerprint::stamp(&mut found);
    Report {
        findings: found,
        allowed,
    }
}

/// The finding of a draft, with the project that its first place is in.
fn finding(
    projects: &[Loaded],
    options: &Options,
    rule: &Rule,
    draft: Draft,
) -> Option<(usize, Finding)> {
    let project = draft.places.first()?.0;
    let places = draft.places.iter();
    let spots =
        places.filter_map(|(project, at, note)| Some(projects.get(*project)?.spot(*at, note)));
    let finding = Finding {
        rule: rule.id,
        level: options.level(rule, draft.level),
        message: draft.message,
        places: spots.collect(),
        fix: draft.fix,
        subject: draft.subject,
        fingerprint: String::new(),
    };
    Some((project, finding))
}

/// By file, line, column and rule. What a file that two projects share says in both is said once, and so
/// is what a line says twice.
fn order(found: &mut Vec<Finding>) {
    let mut seen = BTreeSet::new();
    found.retain(|finding| {
        let at = finding.places.first();
        let at = at.map(|spot| (spot.file.clone(), spot.line));
        seen.insert((at, finding.rule, finding.message.clone()))
    });
    found.sort_by_cached_key(|finding| {
        let at = finding.places.first();
        let at = at.map(|spot| (spot.file.clone(), spot.line, spot.column));
        (at, finding.rule)
    });
}
