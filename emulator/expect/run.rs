//! A run: the expectations of the projects of one machine, put to packets and model, and what came of them.

use std::collections::BTreeMap;

use emulator_compose::{Event, Expectation, Images, Joined, Place, Project, Source};
use emulator_core::docker::Error;
use emulator_core::docker::spec::Engine;
use emulator_model::Model;

use super::dials;
use super::explain::{Evidence, Explain, Explained};
use super::judge::{Judged, What, judge, judge_until};
use super::oracle::{Packets, Rules};
use super::scene::Scene;
use super::stage::{Stage, Wanted};
use super::text::{Failure, Lines, differences};
use crate::report::{self, At, Entry, Note, Status};
use crate::why::{self, Account};
use crate::world::Options;

/// How many failures of a world get changes that were tried; each costs a few worlds. The others say that it was not
/// done.
pub(super) const FIXES_TRIED: usize = 16;

/// How a run is made.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The machine.
    pub world: Options,
    /// Captures of what fails are handed over, not only counted.
    pub keep: bool,
    /// How that is asked for, as people are told who have not.
    pub kept_by: &'static str,
}

impl Settings {
    /// The settings for a project: `engine` if one is given, else what the project says, else the newest.
    ///
    /// # Errors
    /// An engine that is not known.
    pub fn of(
        project: &Project,
        seed: u64,
        engine: Option<Engine>,
        images: Images,
    ) -> Result<Self, String> {
        let stated = project.vethlab.engine.as_ref();
        let stated = match stated.map(|engine| engine.value.as_str()) {
            None => Engine::default(),
            Some("20.10") => Engine::V20_10,
            Some("29") => Engine::V29,
            Some(other) => return Err(format!("engine {other:?} is not known")),
        };
        let mut world = Options::new(seed, engine.unwrap_or(stated));
        world.images = images;
        Ok(Self {
            world,
            keep: false,
            kept_by: "`--keep DIR` writes",
        })
    }
}

/// A capture of what failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capture {
    /// The name that it should get.
    pub name: String,
    /// The pcapng bytes.
    pub bytes: Vec<u8>,
}

/// What to attach to a report of a disagreement between packets and model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    /// The name that its folder should get.
    pub name: String,
    /// The files, by name.
    pub files: Vec<(String, Vec<u8>)>,
}

/// What came of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// One part for each project, in the order given.
    pub projects: Vec<report::Project>,
    /// Captures, if they were asked for.
    pub captures: Vec<Capture>,
    /// One for each disagreement.
    pub bundles: Vec<Bundle>,
}

/// Runs the expectations of projects that share one machine; each comes with its label. Lines of files that have to
/// be shown are read from `source`.
#[must_use]
pub fn run(
    projects: &[(String, &Project)],
    settings: &Settings,
    source: &mut dyn Source,
) -> Outcome {
    run_host(projects, None, settings, source)
}

/// The same, and after that what is expected of all of them together, which has a label of its own.
#[must_use]
pub fn run_host(
    projects: &[(String, &Project)],
    joined: Option<(&str, &Joined)>,
    settings: &Settings,
    source: &mut dyn Source,
) -> Outcome {
    let all: Vec<&Project> = projects.iter().map(|(_, project)| *project).collect();
    let each = projects
        .iter()
        .map(|(label, own)| (label.as_str(), *own, None));
    let together = joined.map(|(label, joined)| (label, &joined.project, Some(joined)));
    run_parts(&all, each.chain(together), settings, source)
}

/// What is expected of the projects of a machine together, and nothing else.
pub(crate) fn run_joined(
    projects: &[&Project],
    label: &str,
    joined: &Joined,
    settings: &Settings,
    source: &mut dyn Source,
) -> Outcome {
    let part = (label, &joined.project, Some(joined));
    run_parts(projects, core::iter::once(part), settings, source)
}

/// A label, the project that the expectations are about, and which ones it is made of, if it is those of a host.
type Part<'a, 'p> = (&'a str, &'p Project, Option<&'p Joined>);

fn run_parts<'a, 'p>(
    all: &[&'p Project],
    parts: impl Iterator<Item = Part<'a, 'p>>,
    settings: &Settings,
    source: &mut dyn Source,
) -> Outcome {
    let mut outcome = Outcome::default();
    for (label, project, joined) in parts {
        let mut run = Run {
            all,
            project,
            joined,
            label,
            settings,
            lines: Lines::new(source),
            outcome: &mut outcome,
            notes: Vec::new(),
        };
        let ran = run.project();
        let notes = core::mem::take(&mut run.notes);
        let mut part = report::Project {
            label: label.to_owned(),
            name: project.name.clone(),
            engine: match settings.world.daemon.engine {
                Engine::V20_10 => "20.10".to_owned(),
                Engine::V29 => "29".to_owned(),
            },
            seed: settings.world.seed,
            notes,
            ..report::Project::default()
        };
        match ran {
            Ok(entries) => part.entries = entries,
            Err(error) => part.error = Some(error),
        }
        part.fingerprint();
        outcome.projects.push(part);
    }
    outcome
}

struct Run<'a, 'p, 's> {
    all: &'a [&'p Project],
    project: &'p Project,
    joined: Option<&'p Joined>,
    label: &'a str,
    settings: &'a Settings,
    lines: Lines<'s>,
    outcome: &'a mut Outcome,
    notes: Vec<Note>,
}

/// An expectation as both saw it.
struct Verdicts {
    packets: Judged,
    model: Judged,
}

impl Verdicts {
    fn agree(&self) -> bool {
        let seen = |judged: &Judged| judged.status();
        let trials = self.packets.trials.iter().zip(&self.model.trials);
        let mut trials = trials.map(|(one, other)| {
            let sources = one.seen.source.zip(other.seen.source);
            (&one.from, &one.way) == (&other.from, &other.way)
                && one.seen.reach == other.seen.reach
                && sources.is_none_or(|(one, other)| one == other)
        });
        self.packets.lookups == self.model.lookups
            && self.packets.trials.len() == self.model.trials.len()
            && trials.all(|same| same)
            && seen(&self.packets) == seen(&self.model)
    }
}

impl<'p> Run<'_, 'p, '_> {
    fn place(&self, at: Place) -> At {
        let file = self.project.files.get(at.file as usize);
        At {
            file: file.cloned().unwrap_or_default(),
            line: at.line,
            column: at.column,
        }
    }

    fn project(&mut self) -> Result<Vec<Entry>, String> {
        let expectations = &self.project.vethlab.expect;
        let mut groups: Vec<(&[Event], Vec<usize>)> = vec![(&[], Vec::new())];
        for (at, expectation) in expectations.iter().enumerate() {
            let when = expectation.when.as_slice();
            match groups.iter_mut().find(|(other, _)| *other == when) {
                Some((_, group)) => group.push(at),
                None => groups.push((when, vec![at])),
            }
        }
        let mut entries: BTreeMap<usize, Entry> = BTreeMap::new();
        for (number, (when, group)) in groups.iter().enumerate() {
            let done = self.group(number, when, group);
            let done = done.map_err(|error| format!("vethlab: {error}"))??;
            entries.extend(group.iter().copied().zip(done));
        }
        Ok(entries.into_values().collect())
    }

    /// The expectations of one world; the first group is that of what happens to nothing.
    fn group(
        &mut self,
        number: usize,
        when: &[Event],
        group: &[usize],
    ) -> Result<Result<Vec<Entry>, String>, Error> {
        let expect = &self.project.vethlab.expect;
        let expectations: Vec<&Expectation> = group.iter().map(|&at| &expect[at]).collect();
        let wanted = Wanted {
            projects: self.all,
            about: self.project,
            joined: self.joined,
            when,
            expectations: &expectations,
        };
        let mut stage = Stage::new(&wanted, &self.settings.world, false)?;
        if let Some(error) = self.networks(&stage) {
            return Ok(Err(error));
        }
        let scene = Scene::of(&stage.world, self.project, self.joined);
        if number == 0 {
            self.started(&stage);
        }
        // What each project dials was told with it.
        let dialed = number == 0 && self.joined.is_none();
        let verdicts = self.both(&wanted, &mut stage, &scene, dialed);
        drop(stage);
        let failed: Vec<&Expectation> = expectations
            .iter()
            .zip(&verdicts)
            .filter(|(_, verdicts)| !verdicts.agree() || verdicts.packets.status().fails())
            .map(|(expectation, _)| *expectation)
            .collect();
        let captured = if failed.is_empty() {
            None
        } else {
            let wanted = Wanted {
                expectations: &failed,
                ..wanted
            };
            Some(self.again(&wanted, number)?)
        };
        let mut again = captured
            .as_ref()
            .map(|c| c.explained.iter())
            .into_iter()
            .flatten();
        let mut entries = Vec::new();
        for (expectation, verdicts) in expectations.iter().zip(&verdicts) {
            let fails = !verdicts.agree() || verdicts.packets.status().fails();
            let explained = if fails { again.next() } else { None };
            let explained = match explained {
                Some(explained) => explained.clone(),
                None => self.explained(&verdicts.packets, &scene, None),
            };
            let capture = captured.as_ref().filter(|_| fails);
            entries.push(self.entry(expectation, verdicts, explained, &scene, capture));
        }
        if let Some(captured) = captured.filter(|_| self.settings.keep) {
            self.outcome.captures.push(captured.capture);
        }
        Ok(Ok(entries))
    }

    /// Networks that could not be made: nothing of the project runs then.
    fn networks(&self, stage: &Stage<'p>) -> Option<String> {
        let up = stage.world.up_of(self.project)?;
        let (key, error) = up.networks.first()?;
        let network = self.project.network(key);
        let subnet = network.and_then(|network| network.ipam.first());
        let at = subnet.map(|s| s.at).or_else(|| network.map(|n| n.at));
        let place = at.map_or_else(String::new, |at| format!("{}: ", self.project.locate(at)));
        Some(format!("{place}networks.{key}: {error}"))
    }

    /// Notes services that do not start.
    fn started(&mut self, stage: &Stage<'p>) {
        let Some(up) = stage.world.up_of(self.project) else {
            return;
        };
        for started in &up.containers {
            if let (Some(error), Some(service)) =
                (&started.error, self.project.service(&started.service))
            {
                let at = self.place(service.at);
                let text = format!("{} does not start: {error}", started.container);
                self.notes.push(Note { at, text });
            }
        }
    }

    fn both(
        &mut self,
        wanted: &Wanted<'_, 'p>,
        stage: &mut Stage<'p>,
        scene: &Scene<'p>,
        dialed: bool,
    ) -> Vec<Verdicts> {
        let engine = stage.engine();
        let model = Model::new(wanted.projects, &scene.assigned, engine, &scene.machine);
        let [kept, own] = &stage.kept;
        let mut packets = Packets::new(&mut stage.world.lab, None);
        let mut verdicts = Vec::new();
        for &expectation in wanted.expectations {
            let seen = judge(expectation, scene, &mut packets, kept, &BTreeMap::new());
            let mut rules = Rules(&model);
            let computed = judge(expectation, scene, &mut rules, own, packets.known());
            verdicts.push(Verdicts {
                packets: seen,
                model: computed,
            });
        }
        if dialed {
            let dials = emulator_compose::dials(self.project, &self.settings.world.images);
            for lost in dials::lost(&dials, scene, &mut packets) {
                let at = self.place(lost.dial.at);
                let text = dials::words(&lost);
                self.notes.push(Note { at, text });
            }
        }
        verdicts
    }

    /// What failed once more, by itself and with a capture.
    fn again(&self, wanted: &Wanted<'_, 'p>, number: usize) -> Result<Captured, Error> {
        let mut stage = Stage::new(wanted, &self.settings.world, true)?;
        let scene = Scene::of(&stage.world, self.project, self.joined);
        let mut packets = Packets::new(&mut stage.world.lab, stage.frames.as_ref());
        let mut judged = Vec::new();
        for expectation in wanted.expectations {
            packets.forget();
            let kept = &stage.kept[0];
            judged.push(judge(
                expectation,
                &scene,
                &mut packets,
                kept,
                &BTreeMap::new(),
            ));
        }
        let frames = stage.frames.take();
        let bytes = frames.map(|frames| frames.finish(&mut stage.world.lab));
        let bytes = bytes.unwrap_or_default();
        let (record, events) = (why::read(&bytes), stage.world.lab.events());
        let evidence = Evidence {
            lab: &stage.world.lab,
            record: &record,
            events: &events,
        };
        let mut explained = Vec::new();
        for (at, (expectation, judged)) in wanted.expectations.iter().zip(&judged).enumerate() {
            let mut all = self.explained(judged, &scene, Some(evidence));
            if let (Some(first), Some(worst)) = (all.first_mut(), judged.worst()) {
                let explain = self.explain(judged, &scene);
                let mut turns = |edited: &Project| {
                    let gone = self.is_gone(wanted, expectation, judged, &worst.what, edited);
                    gone.unwrap_or(false)
                };
                if at < FIXES_TRIED {
                    first.told.changes = explain.changes(&worst.what, &mut turns);
                } else {
                    first.told.untried = worst.what.call().is_some();
                }
            }
            explained.push(all);
        }
        let name = file_name(self.label, number);
        Ok(Captured {
            explained,
            capture: Capture { name, bytes },
        })
    }

    const fn explain<'a>(&'a self, judged: &'a Judged, scene: &'a Scene<'p>) -> Explain<'a, 'p> {
        Explain {
            judged,
            scene,
            images: &self.settings.world.images,
        }
    }

    /// What was found, the worst first; its steps if there is evidence.
    fn explained(
        &self,
        judged: &Judged,
        scene: &Scene<'p>,
        evidence: Option<Evidence<'_>>,
    ) -> Vec<Explained> {
        let Some(worst) = judged.worst() else {
            return Vec::new();
        };
        let explain = self.explain(judged, scene);
        let first = core::iter::once(explain.of(&worst.what, evidence));
        let others = judged.findings.iter().filter(|finding| *finding != worst);
        let others = others.map(|finding| explain.of(&finding.what, None));
        first.chain(others).collect()
    }

    /// Whether a finding of `before` is gone in the edited project, and the expectation says something there and has
    /// no other one instead. `None` if it cannot be tried.
    fn is_gone(
        &self,
        wanted: &Wanted<'_, 'p>,
        expectation: &Expectation,
        before: &Judged,
        what: &What,
        edited: &Project,
    ) -> Option<bool> {
        let apart = match self.joined {
            Some(joined) => joined.apart(edited, wanted.projects),
            None => Vec::new(),
        };
        let swapped = |&project: &&'p Project| -> &Project {
            match core::ptr::eq(project, wanted.about) {
                true => edited,
                false => project,
            }
        };
        let projects: Vec<&Project> = match self.joined {
            Some(_) => apart.iter().collect(),
            None => wanted.projects.iter().map(swapped).collect(),
        };
        let again = Wanted {
            projects: &projects,
            about: edited,
            joined: self.joined,
            when: wanted.when,
            expectations: &[expectation],
        };
        let mut stage = Stage::new(&again, &self.settings.world, false).ok()?;
        let mut started = stage.world.up.iter();
        let broken = started.any(|(own, up)| {
            let about = self.joined.is_some() || core::ptr::eq(*own, edited);
            about && !up.networks.is_empty()
        });
        if broken {
            return Some(false);
        }
        let scene = Scene::of(&stage.world, edited, self.joined);
        let kept = stage.kept[0].clone();
        let mut packets = Packets::new(&mut stage.world.lab, None);
        let mut is_still = |other: &What| {
            let missing = matches!(other, What::NotListening { .. } | What::NotRunning { .. });
            let mut known = before.findings.iter();
            missing || other.is_like(what) || !known.any(|own| own.what.is_like(other))
        };
        // Most edits do not help, and the first call shows it.
        let answers = [&kept, &BTreeMap::new()];
        let (_, still) = judge_until(expectation, &scene, &mut packets, answers, &mut is_still);
        Some(!still)
    }

    fn entry(
        &mut self,
        expectation: &Expectation,
        verdicts: &Verdicts,
        explained: Vec<Explained>,
        scene: &Scene<'p>,
        captured: Option<&Captured>,
    ) -> Entry {
        let mut entry = Entry {
            at: self.place(expectation.at),
            text: expectation.text.clone(),
            status: verdicts.packets.status(),
            summary: String::new(),
            details: String::new(),
            why: None,
            fingerprint: String::new(),
            known: false,
        };
        let shown = captured.map(|captured| {
            let name = &captured.capture.name;
            match self.settings.keep {
                true => name.clone(),
                false => format!("{name}, which {}", self.settings.kept_by),
            }
        });
        if !verdicts.agree() {
            entry.status = Status::Bug;
            let differ = differences(&verdicts.packets, &verdicts.model, scene);
            let first = differ.first().cloned().unwrap_or_default();
            let bug = format!("packets and model do not agree, a bug of vethlab: {first}");
            let bug =
                Explained::new(bug).advice("please report it, with the bundle beside this report");
            let mut all = vec![bug];
            all.extend(differ.iter().skip(1).map(Explained::new));
            all.extend(explained);
            self.write(&mut entry, expectation, all, shown);
            self.bundle(&entry, verdicts, captured);
            return entry;
        }
        if !explained.is_empty() {
            self.write(&mut entry, expectation, explained, shown);
        }
        entry
    }

    fn write(
        &mut self,
        entry: &mut Entry,
        expectation: &Expectation,
        explained: Vec<Explained>,
        capture: Option<String>,
    ) {
        let failure = Failure {
            expectation,
            project: self.project,
            explained: &explained,
            capture: capture.as_deref(),
        };
        entry.details = failure.write(&mut self.lines);
        if let Some(first) = explained.into_iter().next() {
            entry.summary = first.summary;
            entry.why = Some(Box::new(Account {
                call: first.call,
                told: first.told,
            }));
        }
    }

    /// Everything that is needed to see a disagreement again.
    fn bundle(&mut self, entry: &Entry, verdicts: &Verdicts, captured: Option<&Captured>) {
        let world = &self.settings.world;
        let mut about = format!(
            "vethlab {}\nproject: {}\nengine: {:?}\nseed: {}\nexpectation: {}\n\nfiles:\n",
            env!("CARGO_PKG_VERSION"),
            self.project.name,
            world.daemon.engine,
            world.seed,
            entry.text,
        );
        for file in &self.project.files {
            about.push_str(&format!("  {file}\n"));
        }
        about.push_str(&format!(
            "\n{}\npackets: {:#?}\n\nmodel: {:#?}\n",
            entry.details, verdicts.packets, verdicts.model
        ));
        let mut files = vec![("about.txt".to_owned(), about.into_bytes())];
        for (number, file) in self.project.files.iter().enumerate() {
            let text = self.lines.whole(file);
            let base = file.rsplit('/').next().unwrap_or(file);
            files.push((format!("{number}-{base}"), text.into_bytes()));
        }
        if let Some(captured) = captured {
            files.push(("frames.pcapng".to_owned(), captured.capture.bytes.clone()));
        }
        let number = self.outcome.bundles.len() + 1;
        self.outcome.bundles.push(Bundle {
            name: format!("vethlab-bug-{}-{number}", self.project.name),
            files,
        });
    }
}

/// What failed, tried once more and explained, and the capture of that.
struct Captured {
    explained: Vec<Vec<Explained>>,
    capture: Capture,
}

/// A file name for the captures of a project's `number`th world.
fn file_name(label: &str, number: usize) -> String {
    let plain: String = label
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '-' || c == '_' {
                c
            } else {
                '-'
            }
        })
        .collect();
    let plain = plain.trim_matches('-');
    match number {
        0 => format!("{plain}.pcapng"),
        number => format!("{plain}-{number}.pcapng"),
    }
}
