//! A world in which some expectations are tried: the projects up, and what had to happen first.

use std::collections::BTreeSet;

use emulator_compose::{Claim, Event, Expectation, Project};
use emulator_core::docker::Error;
use emulator_model::{Engine, Model};

use super::judge::Kept;
use super::oracle::{Oracle, Packets, Rules};
use super::scene::{Goal, INTERNET_NAME, Scene};
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
    /// What happens first.
    pub(crate) when: &'a [Event],
    /// The expectations.
    pub(crate) expectations: &'a [&'a Expectation],
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
        world.start_but(wanted.projects, |project, service| {
            core::ptr::eq(project, about) && away.contains(service.name.as_str())
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
            match event {
                Event::BeforeUp(_) => {}
                Event::Down(service) => stage.world.down(about, service),
                Event::Recreate(service) => stage.world.recreate(about, service, false),
                Event::RecreateMoved(service) => stage.world.recreate(about, service, true),
            }
        }
        Ok(stage)
    }

    /// What the names of the expectations give before anything happens.
    fn ask_first(&mut self, wanted: &Wanted<'_, 'p>) {
        let scene = Scene::of(&self.world, wanted.about);
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
                Goal::Service(name, ..) | Goal::Name(name, ..) => Some(name),
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
