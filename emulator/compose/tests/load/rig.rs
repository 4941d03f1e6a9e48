//! Projects from texts.

pub(crate) use std::collections::BTreeMap;

pub(crate) use emulator_compose::{
    Error, ErrorKind, Naming, NetworkMode, Options, Place, Project, Published, Service, load,
    load_str,
};

pub(crate) fn project(text: &str) -> Project {
    load_str(text).unwrap_or_else(|errors| panic!("{errors}"))
}

/// The first error: its kind, place and message.
pub(crate) fn refused(text: &str) -> (ErrorKind, u32, u32, String) {
    let Error {
        kind,
        line,
        column,
        message,
        ..
    } = load_str(text).expect_err("an error").0.remove(0);
    (kind, line, column, message)
}

pub(crate) fn files(texts: &[(&str, &str)]) -> BTreeMap<String, String> {
    let pair = |(name, text): &(&str, &str)| ((*name).to_owned(), (*text).to_owned());
    texts.iter().map(pair).collect()
}

pub(crate) fn load_files(
    texts: &[(&str, &str)],
    options: Options,
) -> Result<Project, emulator_compose::Errors> {
    let options = Options {
        files: if options.files.is_empty() {
            vec!["shop/compose.yaml".to_owned()]
        } else {
            options.files
        },
        ..options
    };
    load(&mut files(texts), &options)
}

pub(crate) fn shop(texts: &[(&str, &str)]) -> Project {
    load_files(texts, Options::default()).unwrap_or_else(|errors| panic!("{errors}"))
}

/// A variable's value.
pub(crate) fn value<'s>(service: &'s Service, key: &str) -> Option<&'s str> {
    service.environment[key]
        .as_ref()
        .map(|value| value.as_str())
}

pub(crate) fn network_keys(project: &Project, service: &str) -> Vec<String> {
    let service = project.service(service).expect("the service");
    service.networks.iter().map(|n| n.key.clone()).collect()
}
