//! A project for tests: load it once, claim things of it.

use std::collections::BTreeMap;
use std::path::Path;

use emulator_compose::{Expectation, Images, Options as Load, Project};

use super::run::{Settings, run};
use crate::files::{self, Disk};
use crate::report::{Entry, Status};

/// A project that expectations are tried on. Each is tried in a world of its own.
#[derive(Clone, Debug)]
pub struct Tested {
    project: Project,
    label: String,
    settings: Settings,
}

impl Tested {
    /// Loads a compose file with the environment of no one: what its variables are the file and its `.env` say.
    ///
    /// # Errors
    /// Everything that is wrong with it, with file, line and column.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, String> {
        let path = path.as_ref();
        let file = path
            .to_str()
            .ok_or_else(|| format!("{}: not UTF-8", path.display()))?;
        let project = files::load(&[file.to_owned()], None, BTreeMap::new())
            .map_err(|errors| errors.to_string())?;
        Self::new(project, file)
    }

    /// Loads files as `options` say.
    ///
    /// # Errors
    /// As [`Tested::load`].
    pub fn load_with(options: &Load) -> Result<Self, String> {
        let label = options.files.first().cloned().unwrap_or_default();
        let project = files::load_with(options.clone()).map_err(|errors| errors.to_string())?;
        Self::new(project, &label)
    }

    fn new(project: Project, label: &str) -> Result<Self, String> {
        let settings = Settings::of(&project, 0, None, Images::builtin())?;
        Ok(Self {
            project,
            label: label.to_owned(),
            settings,
        })
    }

    /// The project.
    #[must_use]
    pub const fn project(&self) -> &Project {
        &self.project
    }

    /// The settings of the runs, to be changed: the seed, the engine, the daemon's configuration.
    pub const fn settings_mut(&mut self) -> &mut Settings {
        &mut self.settings
    }

    /// Tries one expectation.
    ///
    /// # Errors
    /// The failure text, if it does not hold or says nothing; what is wrong with the sentence.
    pub fn check(&self, expectation: &str) -> Result<(), String> {
        let read =
            Expectation::parse(expectation, &self.project).map_err(|error| error.to_string())?;
        let mut project = self.project.clone();
        project.vethlab.expect = vec![read];
        Self::verdict(&self.entries(&project))
    }

    /// Tries the expectations that stand in the files.
    ///
    /// # Errors
    /// The failure texts of all that do not hold.
    pub fn check_all(&self) -> Result<(), String> {
        Self::verdict(&self.entries(&self.project))
    }

    fn entries(&self, project: &Project) -> Vec<Entry> {
        let ran = run(&[(self.label.clone(), project)], &self.settings, &mut Disk);
        let mut entries = Vec::new();
        for project in ran.projects {
            if let Some(error) = project.error {
                entries.push(Entry {
                    at: crate::report::At::default(),
                    text: String::new(),
                    status: Status::Fail,
                    summary: error.clone(),
                    details: error,
                    why: None,
                    fingerprint: String::new(),
                    known: false,
                });
            }
            entries.extend(project.entries);
        }
        entries
    }

    fn verdict(entries: &[Entry]) -> Result<(), String> {
        let failed = entries.iter().filter(|entry| entry.status != Status::Pass);
        let texts: Vec<String> = failed
            .map(|entry| format!("{}: {}\n{}", entry.status, entry.text, entry.details))
            .collect();
        if texts.is_empty() {
            Ok(())
        } else {
            Err(texts.join("\n"))
        }
    }

    /// Claims that an expectation holds.
    ///
    /// # Panics
    /// If it does not, with the failure text: the steps of the call as `vethlab why` tells them, the lines that cause
    /// it, and what would change it.
    #[track_caller]
    pub fn assert(&self, expectation: &str) {
        if let Err(text) = self.check(expectation) {
            panic!("{text}");
        }
    }

    /// Claims that the expectations in the files hold.
    ///
    /// # Panics
    /// If one does not, with the failure texts.
    #[track_caller]
    pub fn assert_all(&self) {
        if let Err(text) = self.check_all() {
            panic!("{text}");
        }
    }
}
