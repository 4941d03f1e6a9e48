//! A project with the texts of its files, which comments and underlined lines need.

use std::collections::BTreeMap;

use emulator_compose::{Errors, Options, Place, Project, ReadError, Source, load};

use super::finding::Spot;

/// A project and the texts that it was read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// The project.
    pub project: Project,
    /// The texts of its files, by [`Place::file`].
    pub texts: Vec<String>,
    /// The hosts that it runs on, by name: projects of one host share its ports, its pools and external
    /// networks. None is a host of its own.
    pub hosts: Vec<String>,
}

impl Loaded {
    /// Loads a project and keeps the texts.
    ///
    /// Where no profile is asked for all are active, so that every service is looked at; if the files
    /// cannot be loaded so, as compose would load them.
    ///
    /// # Errors
    /// As [`load`].
    pub fn load(source: &mut dyn Source, options: &Options) -> Result<Self, Errors> {
        let mut keeping = Keeping {
            source,
            texts: BTreeMap::new(),
        };
        if options.profiles.is_empty() {
            let all = Options {
                profiles: vec!["*".to_owned()],
                ..options.clone()
            };
            if let Ok(project) = load(&mut keeping, &all) {
                return Ok(keeping.loaded(project));
            }
        }
        let project = load(&mut keeping, options)?;
        Ok(keeping.loaded(project))
    }

    /// One text, as [`emulator_compose::load_str`] reads it.
    ///
    /// # Errors
    /// As [`load`].
    pub fn from_text(text: &str) -> Result<Self, Errors> {
        Self::from_texts(&[("compose.yaml", text)])
    }

    /// Several texts with their names, later ones laid over earlier ones, of a project named `default`.
    ///
    /// # Errors
    /// As [`load`].
    pub fn from_texts(texts: &[(&str, &str)]) -> Result<Self, Errors> {
        let named = texts
            .iter()
            .map(|&(name, text)| (name.to_owned(), text.to_owned()));
        let mut source: BTreeMap<String, String> = named.collect();
        let options = Options {
            files: texts.iter().map(|&(name, _)| name.to_owned()).collect(),
            project_name: Some("default".to_owned()),
            ..Options::default()
        };
        Self::load(&mut source, &options)
    }

    /// Names the files below `folder` from there on.
    pub fn below(&mut self, folder: &str) {
        for file in &mut self.project.files {
            let rest = file
                .strip_prefix(folder)
                .and_then(|rest| rest.strip_prefix('/'));
            if let Some(rest) = rest.map(str::to_owned) {
                *file = rest;
            }
        }
    }

    /// A place as it is printed.
    #[must_use]
    pub fn spot(&self, at: Place, note: &str) -> Spot {
        let file = at.file as usize;
        let line = self.texts.get(file).and_then(|text| {
            let index = at.line.saturating_sub(1) as usize;
            text.lines().nth(index)
        });
        Spot {
            file: self.project.files.get(file).cloned().unwrap_or_default(),
            line: at.line.max(1),
            column: at.column.max(1),
            length: at.length.max(1),
            source_line: line.unwrap_or_default().to_owned(),
            note: note.to_owned(),
        }
    }
}

/// A source that remembers what it gave out.
struct Keeping<'a> {
    source: &'a mut dyn Source,
    texts: BTreeMap<String, String>,
}

impl Keeping<'_> {
    fn loaded(mut self, project: Project) -> Loaded {
        let files = project.files.iter();
        let texts = files.map(|file| self.texts.remove(file).unwrap_or_default());
        Loaded {
            texts: texts.collect(),
            hosts: Vec::new(),
            project,
        }
    }
}

impl Source for Keeping<'_> {
    fn read(&mut self, path: &str) -> Result<String, ReadError> {
        if let Some(text) = self.texts.get(path) {
            return Ok(text.clone());
        }
        let text = self.source.read(path)?;
        self.texts.insert(path.to_owned(), text.clone());
        Ok(text)
    }

    fn outside(&mut self, folder: &str, path: &str) -> Option<String> {
        self.source.outside(folder, path)
    }
}
