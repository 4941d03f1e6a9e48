//! A failure as text: the expectation's line, what was seen, the lines that cause it, a fix.

use core::fmt::Write;
use std::collections::BTreeMap;

use emulator_compose::{Expectation, Picture, Place, Project, Source};
use emulator_model::{End, Reach, Transport};

use super::explain::Explained;
use super::judge::{Judged, Trial};
use super::scene::{Door, Scene};

/// How many calls are shown.
const TRIALS_SHOWN: usize = 12;
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
pub(crate) struct Failure<'a, 'p> {
    pub(crate) expectation: &'a Expectation,
    pub(crate) scene: &'a Scene<'p>,
    pub(crate) judged: &'a Judged,
    /// What was found, the first one first.
    pub(crate) explained: &'a [Explained],
    /// The call that the first of them is about, and who asks there.
    pub(crate) focus: (Option<usize>, Option<&'a End>),
    /// The capture that the frames are of.
    pub(crate) capture: Option<&'a str>,
}

impl Failure<'_, '_> {
    /// Writes it.
    pub(crate) fn write(&self, lines: &mut Lines<'_>) -> String {
        let project = self.scene.project;
        let Some((first, more)) = self.explained.split_first() else {
            return String::new();
        };
        let mut out = format!("{}\n", first.summary);
        if self.expectation.at.line > 0 {
            let picture = lines.picture(project, self.expectation.at);
            let _fine = writeln!(out, "{picture}");
        }
        for (at, text) in &first.causes {
            let picture = lines.picture(project, *at);
            let _fine = writeln!(
                out,
                "{picture}\n{:gutter$} = {text}",
                "",
                gutter = gutter(*at)
            );
        }
        if let Some(fix) = &first.fix {
            let _fine = writeln!(out, "fix: {fix}");
        }
        self.trials(&mut out);
        for explained in more.iter().take(MORE_SHOWN) {
            let _fine = writeln!(out, "also: {}", explained.summary);
        }
        if more.len() > MORE_SHOWN {
            let _fine = writeln!(out, "also: {} more", more.len() - MORE_SHOWN);
        }
        out
    }

    fn trials(&self, out: &mut String) {
        let (lookups, trials) = (&self.judged.lookups, &self.judged.trials);
        if lookups.is_empty() && trials.is_empty() {
            return;
        }
        out.push_str("tried:\n");
        let (focus, asker) = self.focus;
        let near = |from: &End| u8::from(asker.is_none_or(|asker| asker != from));
        let mut ranked: Vec<(u8, [String; 3])> = Vec::new();
        for lookup in lookups {
            let from = self.scene.word(&lookup.from);
            let got: Vec<String> = lookup.got.iter().map(ToString::to_string).collect();
            let got = if got.is_empty() {
                "nothing".to_owned()
            } else {
                got.join(", ")
            };
            let row = [
                format!("{from} looks {} up", lookup.name),
                got,
                String::new(),
            ];
            ranked.push((1 + near(&lookup.from), row));
        }
        ranked.extend(trials.iter().enumerate().map(|(at, trial)| {
            let rank = if focus == Some(at) {
                0
            } else {
                1 + near(&trial.from)
            };
            (rank, self.row(trial))
        }));
        // What the first finding is about, then its asker's other calls, then those of others.
        ranked.sort_by_key(|(rank, _)| *rank);
        let mut rows: Vec<[String; 3]> = ranked.into_iter().map(|(_, row)| row).collect();
        rows.dedup();
        let left = rows.len().saturating_sub(TRIALS_SHOWN);
        rows.truncate(TRIALS_SHOWN);
        let width = |at: usize| {
            rows.iter()
                .map(|row| row[at].chars().count())
                .max()
                .unwrap_or(0)
        };
        let (first, second) = (width(0), width(1));
        for [what, came, frames] in &rows {
            let row = format!("  {what:first$}  {came:second$}  {frames}");
            let _fine = writeln!(out, "{}", row.trim_end());
        }
        if left > 0 {
            let _fine = writeln!(out, "  and {left} more");
        }
        if let Some(capture) = self.capture {
            let _fine = writeln!(out, "frames are those of {capture}");
        }
    }

    fn row(&self, trial: &Trial) -> [String; 3] {
        let from = self.scene.word(&trial.from);
        let to = match trial.transport {
            Transport::Icmp => format!("{} (ping)", trial.way.to.ip()),
            Transport::Udp => format!("{}/udp", trial.way.to),
            Transport::Tcp => trial.way.to.to_string(),
        };
        let door = match &trial.way.door {
            Door::Direct(network) => format!(" on {}", self.scene.key_of(network)),
            Door::Published(_) => " (published)".to_owned(),
            Door::Host => " (host)".to_owned(),
            Door::Named(_) | Door::Loopback | Door::Written => String::new(),
        };
        let came = match (trial.seen.reach, trial.seen.source) {
            (Reach::Open, Some(source)) => format!("open, the server sees {source}"),
            (Reach::Open, None) => "open".to_owned(),
            _ => trial
                .seen
                .why
                .clone()
                .unwrap_or_else(|| "silence".to_owned()),
        };
        let frames = trial.seen.frames.as_ref();
        let frames = frames.map_or_else(String::new, |range| {
            match range.end.saturating_sub(range.start) {
                0 => "no frame".to_owned(),
                1 => format!("frame {}", range.start),
                _ => format!("frames {}-{}", range.start, range.end - 1),
            }
        });
        [format!("{from} -> {to}{door}"), came, frames]
    }
}

fn gutter(at: Place) -> usize {
    at.line.to_string().len()
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
