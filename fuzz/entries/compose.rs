//! Text as a compose file.
//!
//! Promises: loading ends with a project whose names are there and whose parts refer to each other, or with
//! errors that say where; twice the same; every error can be printed.

use emulator_compose::{
    Errors, Images, MAX_CONTAINERS, MAX_ERRORS, Place, Project, dials, listens, load_str,
};

/// Runs one input. What is not UTF-8 the caller refuses before it gets here.
pub fn compose(data: &[u8]) {
    let Ok(text) = core::str::from_utf8(data) else {
        return;
    };
    let loaded = load_str(text);
    match &loaded {
        Ok(project) => check_project(project),
        Err(errors) => check_errors(errors),
    }
    assert_eq!(loaded, load_str(text));
}

/// Names are there, and what is referred to exists.
pub(super) fn check_project(project: &Project) {
    assert!(!project.name.is_empty() && !project.files.is_empty());
    let known = |at: Place| (at.file as usize) < project.files.len();
    let mut containers = 0;
    for service in &project.services {
        assert!(!service.name.is_empty() && known(service.at));
        assert_eq!(project.service(&service.name), Some(service));
        containers += u64::from(service.replicas);
        for number in 1..=service.replicas.min(2) {
            assert!(!project.container_name(service, number).is_empty());
        }
        for network in &service.networks {
            assert!(project.network(&network.key).is_some(), "{}", network.key);
        }
        for dependency in service.depends_on.iter().filter(|on| on.required) {
            let name = &dependency.service;
            assert!(project.service(name).is_some(), "{name}");
        }
        assert!(service.ports.iter().all(|port| port.target > 0));
        assert!(service.primary_network().is_some() || service.networks.is_empty());
    }
    assert!(containers <= MAX_CONTAINERS as u64);
    for network in &project.networks {
        assert!(!network.key.is_empty() && !network.name.is_empty());
        assert_eq!(project.network(&network.key), Some(network));
    }
    for expectation in &project.vethlab.expect {
        assert!(known(expectation.at) && !expectation.text.is_empty());
    }
    let images = Images::builtin();
    for dial in dials(project, &images) {
        assert!(!dial.host.is_empty() && known(dial.at) && dial.port != Some(0));
        assert!(project.service(&dial.service).is_some());
    }
    for service in &project.services {
        assert!(
            listens(service, &images)
                .iter()
                .all(|listen| listen.port > 0)
        );
    }
    let inactive = &project.inactive;
    assert!(inactive.iter().all(|name| project.service(name).is_none()));
}

/// Each error has words, and a place in its file or none.
pub(super) fn check_errors(errors: &Errors) {
    assert!((1..=MAX_ERRORS).contains(&errors.0.len()));
    for error in &errors.0 {
        assert!(!error.message.is_empty() && error.length > 0);
        assert_eq!(error.line == 0, error.column == 0, "{error:?}");
        assert!(error.line == 0 || !error.file.is_empty());
        assert!(error.one_line().contains(&error.message));
        assert!(error.hint.as_ref().is_none_or(|hint| !hint.is_empty()));
    }
    assert!(errors.to_string().starts_with("error: "));
}
