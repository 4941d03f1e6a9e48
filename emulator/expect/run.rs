//! A run: the expectations of the projects of one machine, put to packets and model, and what came of them.

use std::collections::BTreeMap;

use emulator_compose::{Event, Expectation, Images, Place, Project, Source};
use emulator_core::docker::Error;
use emulator_core::docker::spec::Engine;
use emulator_model::Model;

use super::dials;
use super::explain::{Explained, explain};
use super::judge::{Judged, judge};
use super::oracle::{Packets, Rules};
use super::scene::Scene;
use super::stage::{Stage, Wanted};
use super::text::{Failure, Lines, differences};
use crate::report::{self, At, Entry, Note, Status};
use crate::world::Options;

/// How a run is made.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The machine.
    pub world: Options,
    /// Captures of what fails are handed over, not only counted.
    pub keep: bool,
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
        Ok(Self { world, keep: false })
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
    let all: Vec<&Project> = projects.iter().map(|(_, project)| *project).collect();
    let mut outcome = Outcome::default();
    for (label, project) in projects {
        let mut run = Run {
            all: &all,
            project,
            label,
            settings,
            lines: Lines::new(source),
            outcome: &mut outcome,
            notes: Vec::new(),
        };
        let ran = run.project();
        let notes = core::mem::take(&mut run.notes);
        let mut part = report::Project {
            label: label.clone(),
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
            when,
            expectations: &expectations,
        };
        let mut stage = Stage::new(&wanted, &self.settings.world, false)?;
        if let Some(error) = self.networks(&stage) {
            return Ok(Err(error));
        }
        let scene = Scene::of(&stage.world, self.project);
        if number == 0 {
            self.started(&stage);
        }
        let verdicts = self.both(&wanted, &mut stage, &scene, number == 0);
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
            .map(|c| c.judged.iter())
            .into_iter()
            .flatten();
        let mut entries = Vec::new();
        for (expectation, verdicts) in expectations.iter().zip(&verdicts) {
            let fails = !verdicts.agree() || verdicts.packets.status().fails();
            let judged = if fails { again.next() } else { None };
            let judged = judged.unwrap_or(&verdicts.packets);
            let capture = captured.as_ref().filter(|_| fails);
            entries.push(self.entry(expectation, verdicts, judged, &scene, capture));
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
        let scene = Scene::of(&stage.world, self.project);
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
        let name = file_name(self.label, number);
        Ok(Captured {
            judged,
            capture: Capture {
                name,
                bytes: bytes.unwrap_or_default(),
            },
        })
    }

    fn entry(
        &mut self,
        expectation: &Expectation,
        verdicts: &Verdicts,
        judged: &Judged,
        scene: &Scene<'p>,
        captured: Option<&Captured>,
    ) -> Entry {
        let mut entry = Entry {
            at: self.place(expectation.at),
            text: expectation.text.clone(),
            status: verdicts.packets.status(),
            summary: String::new(),
            details: String::new(),
            fingerprint: String::new(),
            known: false,
        };
        let shown = captured.map(|captured| {
            let name = &captured.capture.name;
            match self.settings.keep {
                true => name.clone(),
                false => format!("{name}, which `--keep DIR` writes"),
            }
        });
        if !verdicts.agree() {
            entry.status = Status::Bug;
            let differ = differences(&verdicts.packets, &verdicts.model, scene);
            let first = differ.first().cloned().unwrap_or_default();
            let explained = Explained {
                summary: format!("packets and model do not agree, a bug of vethlab: {first}"),
                causes: Vec::new(),
                fix: Some("please report it, with the bundle beside this report".to_owned()),
            };
            let mut all = vec![explained];
            all.extend(differ.iter().skip(1).map(|text| Explained {
                summary: text.clone(),
                ..Explained::default()
            }));
            self.write(&mut entry, expectation, judged, scene, &all, shown);
            self.bundle(&entry, verdicts, captured);
            return entry;
        }
        let Some(worst) = judged.worst() else {
            return entry;
        };
        let others = judged.findings.iter().filter(|finding| *finding != worst);
        let all: Vec<Explained> = core::iter::once(worst)
            .chain(others)
            .map(|finding| explain(&finding.what, judged, scene))
            .collect();
        self.write(&mut entry, expectation, judged, scene, &all, shown);
        entry
    }

    fn write(
        &mut self,
        entry: &mut Entry,
        expectation: &Expectation,
        judged: &Judged,
        scene: &Scene<'p>,
        explained: &[Explained],
        capture: Option<String>,
    ) {
        let first = explained.first();
        entry.summary = first.map(|first| first.summary.clone()).unwrap_or_default();
        let what = judged.worst().map(|finding| &finding.what);
        let failure = Failure {
            expectation,
            scene,
            judged,
            explained,
            focus: (
                what.and_then(|what| what.trial()),
                what.and_then(|what| what.asker(judged)),
            ),
            capture: capture.as_deref(),
        };
        entry.details = failure.write(&mut self.lines);
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

/// What failed, judged once more, and its capture.
struct Captured {
    judged: Vec<Judged>,
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
