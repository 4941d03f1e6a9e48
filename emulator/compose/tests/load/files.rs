//! Several files: over each other, extended, included.

use super::rig::*;

#[test]
fn files_over_files() {
    let options = Options {
        files: vec!["shop/compose.yaml".into(), "shop/over.yaml".into()],
        ..Options::default()
    };
    let project = load_files(
        &[
            (
                "shop/compose.yaml",
                "services:
  a: {image: i, ports: ['80:80', '81:81'], networks: [x], environment: {A: 1}, dns: 1.1.1.1}
  b: {image: i, ports: ['90:90']}
networks: {x: {driver: bridge}}
",
            ),
            (
                "shop/over.yaml",
                "services:
  a: {image: j, ports: ['82:82', '80:80'], networks: {y: }, environment: [A=2], dns: [8.8.8.8]}
  b: {ports: !override ['91:91']}
networks: {x: {internal: true}, y: }
",
            ),
        ],
        options,
    )
    .unwrap();
    let a = project.service("a").unwrap();
    assert_eq!(a.image.as_ref().unwrap().value, "j");
    let targets: Vec<u16> = a.ports.iter().map(|port| port.target).collect();
    assert_eq!(targets, [80, 81, 82]);
    assert_eq!(network_keys(&project, "a"), ["x", "y"]);
    assert_eq!(value(a, "A"), Some("2"));
    assert_eq!(a.dns.len(), 2);
    assert_eq!(project.service("b").unwrap().ports[0].target, 91);
    let x = project.network("x").unwrap();
    assert!(x.internal && x.driver.is_some());
    assert_eq!(project.locate(a.ports[2].at), "shop/over.yaml:2:25");
}

#[test]
fn services_extend_services() {
    let project = shop(&[
        (
            "shop/compose.yaml",
            "services:
  a:
    extends: {file: ../base/common.yml, service: web}
    ports: ['81:81']
  b: {extends: a, ports: !reset [], hostname: b}
",
        ),
        (
            "base/common.yml",
            "services:
  web: {extends: root, ports: ['80:80'], env_file: web.env}
  root: {image: i, expose: [1], hostname: r}
",
        ),
        ("base/web.env", "A=1\n"),
    ]);
    let a = project.service("a").unwrap();
    assert_eq!(a.image.as_ref().unwrap().value, "i");
    assert_eq!(a.ports.len(), 2);
    assert_eq!(a.expose.len(), 1);
    assert_eq!(value(a, "A"), Some("1"));
    assert_eq!(project.locate(a.ports[0].at), "base/common.yml:2:32");
    let b = project.service("b").unwrap();
    assert!(b.ports.is_empty());
    assert_eq!(b.hostname.as_ref().unwrap().value, "b");
}

#[test]
fn circles_of_extends_and_includes() {
    let (kind, line, _, message) =
        refused("services:\n  a: {extends: b}\n  b: {extends: {service: a}}\n");
    assert_eq!((kind, line), (ErrorKind::Cycle, 3));
    assert_eq!(
        message,
        "Circular reference:\n  a in compose.yaml\n  extends b in compose.yaml\n  extends a in compose.yaml"
    );
    let errors = load_files(
        &[
            ("shop/compose.yaml", "include: [b.yaml]\n"),
            ("shop/b.yaml", "include: [compose.yaml]\n"),
        ],
        Options::default(),
    )
    .unwrap_err();
    let first = &errors.0[0];
    assert_eq!(
        (first.kind, first.file.as_str()),
        (ErrorKind::Cycle, "shop/b.yaml")
    );
    assert_eq!(
        first.message,
        "include cycle detected:\nshop/compose.yaml\n include shop/b.yaml\n include shop/compose.yaml"
    );
}

#[test]
fn projects_include_projects() {
    let project = shop(&[
        (
            "shop/compose.yaml",
            "include:
  - db/compose.yaml
  - {path: [more.yaml, more.over.yaml], project_directory: other, env_file: more.env}
services:
  web: {image: i, depends_on: [db], networks: [data]}
  m: {hostname: ours}
",
        ),
        (
            "shop/db/compose.yaml",
            "services: {db: {image: 'db:$V', env_file: db.env, networks: [data]}}\nnetworks: {data: }\n",
        ),
        ("shop/db/.env", "V=7\n"),
        ("shop/db/db.env", "X=1\n"),
        (
            "shop/more.yaml",
            "services: {m: {image: '$M', hostname: theirs}}\n",
        ),
        ("shop/more.over.yaml", "services: {m: {ports: [80]}}\n"),
        ("shop/more.env", "M=mm\n"),
    ]);
    let names: Vec<&str> = project.services.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(names, ["web", "m", "db"]);
    let db = project.service("db").unwrap();
    assert_eq!(db.image.as_ref().unwrap().value, "db:7");
    assert_eq!(value(db, "X"), Some("1"));
    assert_eq!(project.network("data").unwrap().name, "shop_data");
    let m = project.service("m").unwrap();
    assert_eq!(m.hostname.as_ref().unwrap().value, "ours");
    assert_eq!(m.image.as_ref().unwrap().value, "mm");
    assert_eq!(m.ports.len(), 1);
}
