//! A world in which some expectations are tried: the projects up, and what had to happen first.

use std::collections::BTreeSet;

use emulator_compose::{Claim, Event, Expectation, Joined, Project};
use emulator_core::docker::Error;
use emulator_model::{Engine, Model};

use super::judge::Kept;
use super::oracle::{Oracle, Packets, Rules};
use super::scene::{Goal, INTERNET_NAME, Scene, asked_for};
use crate::assigned;
use crate::why::Frames;
use crate::world::{Options, World};

/// What is tried together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a, 'p> {
    /// The projects of the machine.
    pub(crate) projects: &'a [&'p Project],
    /// The one that the expectations are about.
    pub(crate) about: &'p Project,
    /// Which of the projects that one is made of, if it is those of a host.
    pub(crate) joined: Option<&'p Joined>,
    /// What happens first.
    pub(crate) when: &'a [Event],
    /// The expectations.
    pub(crate) expectations: &'a [&'a Expectation],
}

impl<'p> Wanted<'_, 'p> {
    /// Whose service that is, and what it is called there.
    fn service<'s>(&'s self, name: &'s str) -> Option<(&'p Project, &'s str)> {
        let Some(joined) = self.joined else {
            return Some((self.about, name));
        };
        let (project, service) = joined.split(name)?;
        let mut projects = self.projects.iter();
        let own = projects.find(|own| own.name == project)?;
        Some((own, service))
    }
}

/// A world that is ready to be asked.
#[derive(Debug)]
pub(crate) struct Stage<'p> {
    pub(crate) world: World<'p>,
    pub(crate) frames: Option<Frames>,
    /// What clients got before the events, of packets and of the model.
    pub(crate) kept: [Kept; 2],
}

impl<'p> Stage<'p> {
    /// Starts the projects and lets happen what is to happen.
    pub(crate) fn new(
        wanted: &Wanted<'_, 'p>,
        options: &Options,
        capture: bool,
    ) -> Result<Self, Error> {
        let mut world = World::empty(options)?;
        let frames = capture.then(|| Frames::start(&mut world.lab));
        let about = wanted.about;
        let away: BTreeSet<&str> = wanted
            .when
            .iter()
            .filter(|event| matches!(event, Event::BeforeUp(_)))
            .map(Event::service)
            .collect();
        let away = dependents(about, away);
        world.start_but(wanted.projects, |project, service| match wanted.joined {
            Some(joined) => joined
                .label(&project.name, &service.name)
                .is_some_and(|label| away.contains(label.as_str())),
            None => core::ptr::eq(project, about) && away.contains(service.name.as_str()),
        })?;
        // Which rule decided is told from here on.
        if capture {
            world.lab.explain(true);
        }
        let mut stage = Self {
            world,
            frames,
            kept: [Kept::new(), Kept::new()],
        };
        if wanted.expectations.iter().any(|e| e.resolve_once) {
            stage.ask_first(wanted);
        }
        for event in wanted.when {
            let Some((project, service)) = wanted.service(event.service()) else {
                continue;
            };
            match event {
                Event::BeforeUp(_) => {}
                Event::Down(_) => stage.world.down(project, service),
                Event::Recreate(_) => stage.world.recreate(project, service, false),
                Event::RecreateMoved(_) => stage.world.recreate(project, service, true),
            }
        }
        Ok(stage)
    }

    /// What the names of the expectations give before anything happens.
    fn ask_first(&mut self, wanted: &Wanted<'_, 'p>) {
        let scene = Scene::of(&self.world, wanted.about, wanted.joined);
        let engine = self.engine();
        let model = Model::new(wanted.projects, &scene.assigned, engine, &scene.machine);
        let mut packets = Packets::new(&mut self.world.lab, self.frames.as_ref());
        for expectation in wanted.expectations.iter().filter(|e| e.resolve_once) {
            for (end, name) in names(expectation, &scene) {
                let got = packets.lookup(&end, &name).unwrap_or_default();
                let own = Rules(&model).lookup(&end, &name);
                let own = own.unwrap_or_else(|| got.clone());
                let key = (end, name);
                self.kept[0].insert(key.clone(), got);
                self.kept[1].insert(key, own);
            }
        }
    }

    /// The engine, as the model calls it.
    pub(crate) const fn engine(&self) -> Engine {
        assigned::engine(&self.world.lab)
    }
}

/// The services that wait for one of these, and these.
fn dependents<'p>(project: &'p Project, mut away: BTreeSet<&'p str>) -> BTreeSet<&'p str> {
    loop {
        let more = project.services.iter().find(|service| {
            !away.contains(service.name.as_str())
                && service
                    .depends_on
                    .iter()
                    .any(|on| away.contains(on.service.as_str()))
        });
        match more {
            Some(service) => away.insert(&service.name),
            None => return away,
        };
    }
}

/// The names that an expectation looks up, with who does.
fn names(expectation: &Expectation, scene: &Scene<'_>) -> Vec<(emulator_model::End, String)> {
    let (from, names): (_, Vec<String>) = match &expectation.claim {
        Claim::Reach { from, to, .. } | Claim::Only { from, to } => {
            let goals = to.iter().flat_map(|target| scene.goals(target));
            let name = |goal| match goal {
                Goal::Service(name, ..) => Some(asked_for(&name).to_owned()),
                Goal::Name(name, ..) => Some(name),
                Goal::Place(..) => Some(INTERNET_NAME.to_owned()),
                Goal::Address(..) | Goal::Unknown(_) => None,
            };
            (from, goals.filter_map(name).collect())
        }
        Claim::Resolves { from, name, .. } => (from, vec![name.clone()]),
    };
    let ends = from
        .iter()
        .flat_map(|party| scene.askers(party))
        .map(|asker| asker.end);
    ends.flat_map(|end| names.iter().map(move |name| (end.clone(), name.clone())))
        .collect()
}
