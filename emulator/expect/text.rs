//! A failure as text: the expectation's line, what was seen, the lines that cause it, a fix.

use core::fmt::Write;
use std::collections::BTreeMap;

use emulator_compose::{Expectation, Picture, Place, Project, Source};

use super::explain::Explained;
use super::judge::{Judged, Trial};
use super::run::FIXES_TRIED;
use super::scene::Scene;
use crate::why::text;

/// How many further findings are shown.
const MORE_SHOWN: usize = 8;

/// The lines of a project's files, read when they are needed.
pub(crate) struct Lines<'s> {
    source: &'s mut dyn Source,
    files: BTreeMap<String, Vec<String>>,
}

impl<'s> Lines<'s> {
    pub(crate) fn new(source: &'s mut dyn Source) -> Self {
        Self {
            source,
            files: BTreeMap::new(),
        }
    }

    /// The line at a place; empty if the file cannot be read any more.
    fn at(&mut self, file: &str, line: u32) -> String {
        let source = &mut *self.source;
        let lines = self.files.entry(file.to_owned()).or_insert_with(|| {
            let text = source.read(file).unwrap_or_default();
            text.lines().map(str::to_owned).collect()
        });
        let line = (line as usize).checked_sub(1).and_then(|at| lines.get(at));
        line.cloned().unwrap_or_default()
    }

    /// A whole file.
    pub(crate) fn whole(&mut self, file: &str) -> String {
        self.source.read(file).unwrap_or_default()
    }

    /// A place as a picture.
    fn picture(&mut self, project: &Project, at: Place) -> String {
        let file = project
            .files
            .get(at.file as usize)
            .map_or("", String::as_str);
        let source_line = self.at(file, at.line);
        Picture {
            file,
            line: at.line,
            column: at.column,
            length: at.length,
            source_line: &source_line,
        }
        .to_string()
    }
}

/// What there is to say of an expectation that does not pass.
pub(crate) struct Failure<'a> {
    pub(crate) expectation: &'a Expectation,
    pub(crate) project: &'a Project,
    /// What was found, the first one first.
    pub(crate) explained: &'a [Explained],
    /// The capture that the frames are of.
    pub(crate) capture: Option<&'a str>,
}

impl Failure<'_> {
    /// Writes it: the expectation, what was seen, the lines that cause it, what would change it.
    pub(crate) fn write(&self, lines: &mut Lines<'_>) -> String {
        let Some((first, more)) = self.explained.split_first() else {
            return String::new();
        };
        let mut out = format!("{}\n", first.summary);
        if self.expectation.at.line > 0 {
            let picture = lines.picture(self.project, self.expectation.at);
            let _fine = writeln!(out, "{picture}");
        }
        let told = &first.told;
        if !told.steps.is_empty() {
            out.push_str("seen:\n");
            text::steps(&told.steps, &mut out);
        }
        if let Some(call) = &first.call {
            text::ways(&call.cell, call.way, &mut out);
        }
        if !first
            .summary
            .ends_with(told.reason.get(1..).unwrap_or_default())
        {
            let _fine = writeln!(out, "\n{}.", told.reason);
        }
        text::causes(
            &told.causes,
            &mut |file, line| lines.at(file, line),
            &mut out,
        );
        out.push('\n');
        for change in &told.changes {
            let _fine = writeln!(out, "fix (tried): {}\n  {}", change.what, change.at);
        }
        if told.untried {
            let _fine = writeln!(
                out,
                "no fix was tried: {FIXES_TRIED} failures of the same run had theirs; mend those first, or ask `vethlab why`"
            );
        }
        if let Some(advice) = &told.advice {
            let _fine = writeln!(out, "fix: {advice}");
        }
        for explained in more.iter().take(MORE_SHOWN) {
            let _fine = writeln!(out, "also: {}", explained.summary);
        }
        if more.len() > MORE_SHOWN {
            let _fine = writeln!(out, "also: {} more", more.len() - MORE_SHOWN);
        }
        if let Some(capture) = self.capture.filter(|_| first.has_frames()) {
            let _fine = writeln!(out, "frames are those of {capture}");
        }
        out
    }
}

impl Explained {
    fn has_frames(&self) -> bool {
        let ways = self.call.iter().flat_map(|call| &call.cell.ways);
        ways.clone().any(|way| way.frames.is_some())
            || self.told.steps.iter().any(|step| !step.frames.is_empty())
    }
}

/// Where packets and model differ, line by line.
pub(crate) fn differences(packets: &Judged, model: &Judged, scene: &Scene<'_>) -> Vec<String> {
    let mut out = Vec::new();
    let show = |got: &[core::net::IpAddr]| {
        let got: Vec<String> = got.iter().map(ToString::to_string).collect();
        if got.is_empty() {
            "nothing".to_owned()
        } else {
            got.join(", ")
        }
    };
    for (one, other) in packets.lookups.iter().zip(&model.lookups) {
        if one.got != other.got {
            let (from, name) = (scene.word(&one.from), &one.name);
            out.push(format!(
                "{from} looks {name} up: packets {}, model {}",
                show(&one.got),
                show(&other.got)
            ));
        }
    }
    let key = |trial: &Trial| (trial.from.clone(), trial.way.to, trial.transport as u8);
    let computed: BTreeMap<_, &Trial> = model.trials.iter().map(|t| (key(t), t)).collect();
    for one in &packets.trials {
        let Some(other) = computed.get(&key(one)) else {
            continue;
        };
        let (a, b) = (&one.seen, &other.seen);
        let sources = a.source.zip(b.source).is_some_and(|(a, b)| a != b);
        if a.reach != b.reach || sources {
            let (from, to) = (scene.word(&one.from), one.way.to);
            out.push(format!(
                "{from} -> {to} ({:?}): packets {}, model {}",
                one.transport,
                came(one),
                came(other)
            ));
        }
    }
    if out.is_empty() && packets.status() != model.status() {
        out.push(format!(
            "packets say {}, the model says {}",
            packets.status(),
            model.status()
        ));
    }
    out
}

fn came(trial: &Trial) -> String {
    let mut text = format!("{:?}", trial.seen.reach).to_lowercase();
    if let Some(source) = trial.seen.source {
        let _fine = write!(text, ", source {source}");
    }
    if let Some(why) = &trial.seen.why {
        let _fine = write!(text, " ({why})");
    }
    text
}
