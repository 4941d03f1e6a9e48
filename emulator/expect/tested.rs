//! A project for tests, or the projects of a host: loaded once, to claim things of them.

use core::fmt;
use std::path::Path;

use emulator_compose::{Expectation, Joined, Options as Load, Project};

use super::run::{Outcome, Settings, run, run_joined};
use crate::files::{self, Disk};
use crate::report::{Entry, Status};
use crate::together::{Reading, Together};

/// Projects that expectations are tried on: one, or those of a host. Each is tried in a world of its own.
#[derive(Clone, Debug)]
pub struct Tested {
    together: Together,
    /// The projects of the host as one, with what is expected of them together.
    joined: Option<Joined>,
    label: String,
    settings: Settings,
}

/// What is wrong with the files: each fault with its file, line and column. Where a test unwraps it, it is printed as it
/// is for people.
#[derive(Clone, PartialEq, Eq)]
pub struct LoadError(String);

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.trim_end())
    }
}

impl fmt::Debug for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl core::error::Error for LoadError {}

impl From<LoadError> for String {
    fn from(error: LoadError) -> Self {
        error.0
    }
}

impl Tested {
    /// Loads a compose file, or a `vethlab.yaml` with one project or host, with the environment of no one: what its
    /// variables are the file and its `.env` say.
    ///
    /// # Errors
    /// Everything that is wrong with it, with file, line and column.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, LoadError> {
        let path = path.as_ref();
        let file = utf8(path)?;
        if path
            .file_name()
            .is_some_and(|name| name == emulator_compose::CONFIG_NAME)
        {
            return Self::configured(file, None).map_err(LoadError);
        }
        Self::load_with(&Load {
            files: vec![file.to_owned()],
            ..Load::default()
        })
    }

    /// Loads the projects of `host` in a `vethlab.yaml`, or a project of it that is on none, likewise. Services of a
    /// host's projects are called `PROJECT/SERVICE`.
    ///
    /// ```no_run
    /// use vethlab::expect::Tested;
    ///
    /// let server = Tested::load_host("vethlab.yaml", "server")?;
    /// server.assert("edge/proxy -> blog/ghost:2368 allow via web");
    /// server.assert_all();
    /// # Ok::<(), String>(())
    /// ```
    ///
    /// # Errors
    /// As [`Tested::load`].
    pub fn load_host(path: impl AsRef<Path>, host: &str) -> Result<Self, LoadError> {
        Self::configured(utf8(path.as_ref())?, Some(host)).map_err(LoadError)
    }

    /// Loads files as `options` say.
    ///
    /// # Errors
    /// As [`Tested::load`].
    pub fn load_with(options: &Load) -> Result<Self, LoadError> {
        let label = options.files.first().cloned().unwrap_or_default();
        let project = files::load_with(options.clone());
        let project = project.map_err(|errors| LoadError(errors.to_string()))?;
        Self::new(Together::alone(project), label).map_err(LoadError)
    }

    fn configured(file: &str, on: Option<&str>) -> Result<Self, String> {
        let together = Together::configured(&mut Disk, file, on, &Reading::default())?;
        Self::new(together, file.to_owned())
    }

    fn new(together: Together, label: String) -> Result<Self, String> {
        let joined = together
            .expected(&mut Disk)
            .map_err(|errors| errors.to_string())?;
        let settings = Settings {
            world: together.options(0, None, None)?,
            keep: false,
        };
        Ok(Self {
            together,
            joined,
            label,
            settings,
        })
    }

    /// The project; those of a host as one, with services called `PROJECT/SERVICE`.
    #[must_use]
    pub fn project(&self) -> &Project {
        match &self.joined {
            Some(joined) => &joined.project,
            None => &self.together.projects[0].1,
        }
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
            Expectation::parse(expectation, self.project()).map_err(|error| error.to_string())?;
        let label = &self.label;
        Self::verdict(&entries(match &self.joined {
            Some(joined) => {
                let mut joined = joined.clone();
                joined.project.vethlab.expect = vec![read];
                let all = self.all();
                run_joined(&all, label, &joined, &self.settings, &mut Disk)
            }
            None => {
                let mut project = self.project().clone();
                project.vethlab.expect = vec![read];
                run(&[(label.clone(), &project)], &self.settings, &mut Disk)
            }
        }))
    }

    /// Tries the expectations that stand in the files: of each project, and of a host's together.
    ///
    /// # Errors
    /// The failure texts of all that do not hold.
    pub fn check_all(&self) -> Result<(), String> {
        let projects: Vec<(String, &Project)> = self
            .together
            .projects
            .iter()
            .map(|(key, project)| (key.as_ref().unwrap_or(&self.label).clone(), project))
            .collect();
        let mut all = entries(run(&projects, &self.settings, &mut Disk));
        if let Some(joined) = &self.joined {
            let own = self.all();
            let ran = run_joined(&own, &self.label, joined, &self.settings, &mut Disk);
            all.extend(entries(ran));
        }
        Self::verdict(&all)
    }

    fn all(&self) -> Vec<&Project> {
        let projects = self.together.projects.iter();
        projects.map(|(_, project)| project).collect()
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

fn utf8(path: &Path) -> Result<&str, LoadError> {
    path.to_str()
        .ok_or_else(|| LoadError(format!("{}: not UTF-8", path.display())))
}

/// The entries of a run, with one more for each project that could not be run.
fn entries(ran: Outcome) -> Vec<Entry> {
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
