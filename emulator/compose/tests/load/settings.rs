//! Profiles, variables, env files, names.

use super::rig::*;

#[test]
fn profiles_leave_services_out() {
    let text = "services:
  a: {image: i}
  b: {image: i, profiles: [debug, test]}
  c: {image: i, profiles: [debug], networks: [n]}
networks: {n: }
";
    let texts = [("shop/compose.yaml", text)];
    let names = |project: &Project| -> Vec<String> {
        project.services.iter().map(|s| s.name.clone()).collect()
    };
    let bare = shop(&texts);
    assert_eq!(names(&bare), ["a"]);
    assert_eq!(bare.inactive, ["b", "c"]);
    assert!(!bare.network("n").unwrap().used);
    let with = |profiles: &[&str], env: &[(&str, &str)]| {
        let options = Options {
            profiles: profiles.iter().map(|&p| p.to_owned()).collect(),
            env: files(env),
            ..Options::default()
        };
        names(&load_files(&texts, options).unwrap())
    };
    assert_eq!(with(&["test"], &[]), ["a", "b"]);
    assert_eq!(with(&["*"], &[]), ["a", "b", "c"]);
    assert_eq!(
        with(&[], &[("COMPOSE_PROFILES", "debug, x")]),
        ["a", "b", "c"]
    );
}

#[test]
fn a_service_that_is_left_out_may_be_needed_or_not() {
    let text = |required: bool| {
        format!(
            "services:
  a: {{image: i, depends_on: {{b: {{condition: service_started, required: {required}}}}}}}
  b: {{image: i, profiles: [x]}}
"
        )
    };
    assert!(load_str(&text(false)).is_ok());
    assert_eq!(refused(&text(true)).0, ErrorKind::Undefined);
}

#[test]
fn variables_and_env_files() {
    let project = shop(&[
        (
            "shop/compose.yaml",
            "name: ${NAME:-x}-1
services:
  a:
    image: i:${TAG}
    ports: ['${PORT:-80}:80', ':81']
    env_file: [a.env, {path: none.env, required: false}]
    environment: {B: over, C: , COMPOSE_PROJECT_NAME: }
",
        ),
        ("shop/.env", "TAG=1\nNAME=My Shop\n"),
        ("shop/a.env", "A=$TAG\nB=under\n"),
    ]);
    assert_eq!(project.name, "myshop-1");
    let a = project.service("a").unwrap();
    assert_eq!(a.image.as_ref().unwrap().value, "i:1");
    assert_eq!(a.ports[0].published, Published::Exact(80));
    assert_eq!(a.ports[1].published, Published::Ephemeral);
    assert_eq!(value(a, "A"), Some("1"));
    assert_eq!(value(a, "B"), Some("over"));
    assert_eq!(value(a, "C"), None);
    assert_eq!(value(a, "COMPOSE_PROJECT_NAME"), Some("myshop-1"));
    assert!(project.warnings.is_empty(), "{:?}", project.warnings);
}

#[test]
fn an_env_file_that_is_missing_is_refused() {
    let text = "services:\n  a:\n    image: i\n    env_file: gone.env\n";
    let errors = load_files(&[("shop/compose.yaml", text)], Options::default()).unwrap_err();
    let first = &errors.0[0];
    assert_eq!((first.line, first.column), (4, 15));
    assert_eq!(
        first.message,
        "env file shop/gone.env not found: stat shop/gone.env: no such file or directory"
    );
}

#[test]
fn the_environment_goes_before_the_env_file_and_unset_ones_are_told() {
    let texts = [
        (
            "shop/compose.yaml",
            "services: {a: {image: '$TAG$NOPE$NOPE'}}\n",
        ),
        ("shop/.env", "TAG=1\n"),
    ];
    let options = Options {
        env: files(&[("TAG", "2")]),
        ..Options::default()
    };
    let project = load_files(&texts, options).unwrap();
    assert_eq!(project.services[0].image.as_ref().unwrap().value, "2");
    assert_eq!(project.warnings.len(), 1);
    assert_eq!(
        project.warnings[0].message,
        "The \"NOPE\" variable is not set. Defaulting to a blank string."
    );
}

#[test]
fn names_of_projects() {
    let text = [("My Shop/compose.yaml", "services: {a: {image: i}}\n")];
    let name = |options: Options| {
        let options = Options {
            files: vec!["My Shop/compose.yaml".to_owned()],
            ..options
        };
        load(&mut files(&text), &options).map(|project| project.name)
    };
    assert_eq!(name(Options::default()).unwrap(), "myshop");
    let env = files(&[("COMPOSE_PROJECT_NAME", "fromenv")]);
    assert_eq!(
        name(Options {
            env: env.clone(),
            ..Options::default()
        })
        .unwrap(),
        "fromenv"
    );
    let given = Some("given".to_owned());
    assert_eq!(
        name(Options {
            project_name: given,
            env,
            ..Options::default()
        })
        .unwrap(),
        "given"
    );
    let bad = Options {
        project_name: Some("Bad".to_owned()),
        ..Options::default()
    };
    assert!(
        name(bad).unwrap_err().0[0]
            .message
            .starts_with("invalid project name \"Bad\"")
    );
}

#[test]
fn every_place_where_a_variable_has_no_value_is_kept() {
    let text = "services:\n  a:\n    image: x\n    ports: ['${P}:80', '$P:${Q-81}']\n  b:\n    image: 'x$P'\nnetworks:\n  n:\n    ipam: {config: [{subnet: '${NET}10.0.0.0/24'}]}\n";
    let project = load_str(text).unwrap();
    let seen: Vec<String> = project
        .unset
        .iter()
        .map(|unset| {
            format!(
                "{}:{} {} {}",
                unset.at.line,
                unset.at.column,
                unset.name,
                unset.path.join(".")
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            "4:13 P services.a.ports.[]",
            "4:24 P services.a.ports.[]",
            "6:12 P services.b.image",
            "9:30 NET networks.n.ipam.config.[].subnet"
        ]
    );
}
