//! A project for tests, or the projects of a host: loaded once, to claim things of them.

use core::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use emulator_compose::{Expectation, Joined, Options as Load, Project};

use super::run::{Capture, Outcome, Settings, run, run_joined};
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
    /// Where captures of what fails are written.
    captures: Option<PathBuf>,
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
            kept_by: "is written after `Tested::keep_in`",
        };
        Ok(Self {
            together,
            joined,
            label,
            settings,
            captures: None,
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

    /// From now on a capture of each expectation that fails is written into this folder, which is made if it is not there;
    /// the failure text names the file.
    pub fn keep_in(&mut self, folder: impl Into<PathBuf>) {
        self.captures = Some(folder.into());
        self.settings.keep = true;
    }

    /// Tries one expectation.
    ///
    /// # Errors
    /// The failure text, if it does not hold or says nothing; what is wrong with the sentence.
    pub fn check(&self, expectation: &str) -> Result<(), String> {
        let read =
            Expectation::parse(expectation, self.project()).map_err(|error| error.to_string())?;
        let label = &self.label;
        self.verdict(match &self.joined {
            Some(joined) => {
                let mut joined = joined.clone();
                joined.project.vethlab.expect = vec![read];
                let all = self.all();
                [run_joined(&all, label, &joined, &self.settings, &mut Disk)]
            }
            None => {
                let mut project = self.project().clone();
                project.vethlab.expect = vec![read];
                [run(&[(label.clone(), &project)], &self.settings, &mut Disk)]
            }
        })
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
        let each = run(&projects, &self.settings, &mut Disk);
        let together = self
            .joined
            .as_ref()
            .map(|joined| run_joined(&self.all(), &self.label, joined, &self.settings, &mut Disk));
        self.verdict([each].into_iter().chain(together))
    }

    fn all(&self) -> Vec<&Project> {
        let projects = self.together.projects.iter();
        projects.map(|(_, project)| project).collect()
    }

    fn verdict(&self, outcomes: impl IntoIterator<Item = Outcome>) -> Result<(), String> {
        let mut texts = Vec::new();
        for outcome in outcomes {
            let unwritten = self.write(&outcome.captures);
            let entries = entries(outcome).into_iter();
            let failed = entries.filter(|entry| entry.status != Status::Pass);
            texts.extend(
                failed.map(|entry| format!("{}: {}\n{}", entry.status, entry.text, entry.details)),
            );
            texts.extend(unwritten.err());
        }
        if texts.is_empty() {
            Ok(())
        } else {
            Err(texts.join("\n"))
        }
    }

    fn write(&self, captures: &[Capture]) -> Result<(), String> {
        let Some(folder) = self.captures.as_ref().filter(|_| !captures.is_empty()) else {
            return Ok(());
        };
        let write = |capture: &Capture| fs::write(folder.join(&capture.name), &capture.bytes);
        let written = fs::create_dir_all(folder).and_then(|()| captures.iter().try_for_each(write));
        written.map_err(|error| format!("{}: {error}", folder.display()))
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
