//! What is dialled, and by which proxy.

use super::{lines, loaded, look, of};
use crate::lint::loaded::Loaded;
use crate::lint::run::{Options, lint};

/// `web` with a variable and more, `db` with a body, and the rest of the file.
fn two(variable: &str, web: &str, db: &str, rest: &str) -> Vec<String> {
    let text = format!(
        "services:\n  web: {{image: acme/web, environment: {{{variable}}}{web}}}\n  db: {{image: postgres{db}}}\n{rest}"
    );
    let found = lines(&look(&text));
    let own = found.into_iter().filter(|line| line.contains(" dial-"));
    own.map(|line| line[2..].to_owned()).collect()
}

const NONE: [&str; 0] = [];
const APART: &str = "networks: {front: {}, back: {}}\n";

#[test]
fn names_that_somebody_has() {
    for host in [
        "db",
        "DB",
        "default-db-1",
        "db.default_default",
        "pg",
        "main",
        "store",
    ] {
        let url = format!("DATABASE_URL: 'postgres://{host}/x'");
        let db = ", container_name: main, hostname: store, networks: {default: {aliases: [pg]}}";
        let db = match host.starts_with("default-") {
            true => "",
            false => db,
        };
        assert_eq!(two(&url, "", db, ""), NONE, "{host}");
    }
    let url = "DATABASE_URL: 'postgres://data/x'";
    assert_eq!(two(url, "", "", ""), ["dial-unknown warning"]);
    assert_eq!(two(url, ", links: ['db:data']", "", ""), NONE);
    assert_eq!(two(url, ", external_links: ['x:data']", "", ""), NONE);
    assert_eq!(two(url, ", extra_hosts: ['data=192.0.2.9']", "", ""), NONE);
    let shared = "networks: {default: {external: true}}\n";
    assert_eq!(two(url, "", "", shared), ["dial-unknown note"]);
    assert_eq!(two("URL_A: 'http://example.com'", "", "", ""), NONE);
}

#[test]
fn names_of_services_elsewhere() {
    let url = "DATABASE_URL: 'postgres://db/x'";
    let error = ["dial-no-network error"];
    assert_eq!(
        two(url, ", networks: [front]", ", networks: [back]", APART),
        error
    );
    assert_eq!(
        two(
            url,
            ", networks: [front]",
            ", networks: [front, back]",
            APART
        ),
        NONE
    );
    assert_eq!(two(url, ", network_mode: host", "", ""), error);
    assert_eq!(two(url, ", network_mode: none", "", ""), error);
    assert_eq!(two(url, ", network_mode: 'service:db'", "", ""), NONE);
    // A link gives the name and no way.
    let linked = ", networks: [front], links: ['db:data']";
    let url = "DATABASE_URL: 'postgres://data/x'";
    assert_eq!(two(url, linked, ", networks: [back]", APART), error);
    // Who waits for a service need not talk to it.
    let waits = ", networks: [front], depends_on: [db]";
    assert_eq!(two("A: b", waits, ", networks: [back]", APART), NONE);
}

#[test]
fn the_default_bridge_has_links_only() {
    let url = "DATABASE_URL: 'postgres://db/x'";
    let bridge = ", network_mode: bridge";
    let error = ["dial-default-bridge error"];
    assert_eq!(two(url, bridge, bridge, ""), error);
    assert_eq!(two(url, bridge, "", ""), error);
    assert_eq!(two(url, "", bridge, ""), error);
    assert_eq!(
        two(url, ", network_mode: bridge, links: [db]", bridge, ""),
        NONE
    );
}

#[test]
fn the_container_itself() {
    let warning = ["dial-localhost warning"];
    for url in [
        "DATABASE_URL: 'postgres://localhost:5432/x'",
        "DATABASE_URL: 'postgres://127.0.0.1/x'",
    ] {
        assert_eq!(two(url, "", "", ""), warning, "{url}");
        // Published or not: for a container it is the wrong place.
        assert_eq!(
            two(url, "", ", ports: ['127.0.0.1:5432:5432']", ""),
            warning
        );
        assert_eq!(two(url, ", network_mode: 'service:db'", "", ""), NONE);
        assert_eq!(two(url, ", network_mode: host", "", ""), NONE);
        assert_eq!(two(url, ", expose: [5432]", "", ""), NONE);
    }
    assert_eq!(
        two("DATABASE_URL: 'postgres://localhost:5433/x'", "", "", ""),
        NONE
    );
    let page = ", expose: [9000], ports: ['127.0.0.1:9000:9000']";
    assert_eq!(two("API_URL: 'http://localhost:9000'", "", page, ""), NONE);
    assert_eq!(
        two(
            "API_URL: 'http://localhost:9000'",
            "",
            ", expose: [9000]",
            ""
        ),
        warning
    );
    assert_eq!(
        two(
            "VITE_API_URL: 'http://localhost:9000'",
            "",
            ", expose: [9000]",
            ""
        ),
        NONE
    );
}

#[test]
fn the_host() {
    let url = "API_URL: 'http://host.docker.internal:9000'";
    let extra = ", extra_hosts: ['host.docker.internal:host-gateway']";
    let loopback = ", ports: ['127.0.0.1:9000:9000']";
    let error = ["dial-host-loopback error"];
    assert_eq!(two(url, "", "", ""), ["dial-unknown warning"]);
    assert_eq!(two(url, extra, "", ""), NONE);
    assert_eq!(two(url, extra, loopback, ""), error);
    assert_eq!(two(url, extra, ", ports: ['9000:9000']", ""), NONE);
    assert_eq!(
        two("API_URL: 'http://172.17.0.1:9000'", "", loopback, ""),
        error
    );
    assert_eq!(
        two("API_URL: 'http://192.0.2.9:9000'", "", loopback, ""),
        NONE
    );
}

/// What is said of `shop` behind a Traefik with a body.
fn traefik(proxy: &str, shop: &str, rest: &str) -> Vec<String> {
    let text = format!(
        "services:\n  proxy: {{image: 'traefik:v3'{proxy}}}\n  shop: {{image: acme/shop{shop}}}\n{rest}"
    );
    let report = look(&text);
    let own = report.findings.iter();
    own.filter(|finding| finding.rule == "proxy-network")
        .map(|finding| format!("{} {}", finding.level, finding.message))
        .collect()
}

#[test]
fn what_a_proxy_reaches() {
    let on = ", labels: ['traefik.enable=true']";
    assert_eq!(traefik("", on, ""), NONE);
    let shop = format!("{on}, networks: [back]");
    assert_eq!(
        traefik(", networks: [front]", &shop, APART),
        ["error shop is to be served by proxy and shares no network with it"]
    );
    let off = ", labels: ['traefik.enable=false'], networks: [back]";
    assert_eq!(traefik(", networks: [front]", off, APART), NONE);
    assert_eq!(traefik(", network_mode: host", &shop, APART), NONE);
    let both = format!("{on}, networks: [front, back]");
    assert_eq!(
        traefik(", networks: [front]", &both, APART),
        ["warning shop is on 2 networks, and Traefik is not told which one to take"]
    );
    assert_eq!(traefik(", networks: [front, back]", &both, APART), NONE);
    let told = ", networks: [front], command: [--providers.docker.network=default_front]";
    assert_eq!(traefik(told, &both, APART), NONE);
    let label = |name: &str| {
        format!(
            ", networks: [front, back], labels: ['traefik.enable=true', 'traefik.docker.network={name}']"
        )
    };
    assert_eq!(
        traefik(", networks: [front]", &label("default_front"), APART),
        NONE
    );
    assert_eq!(
        traefik(", networks: [front]", &label("front"), APART),
        [
            "warning shop is on no network that the engine calls front: Traefik takes any of its addresses"
        ]
    );
    let text = format!("services:\n  shop: {{image: acme/shop{both}}}\n{APART}");
    let alone = lint(&[loaded(&text)], &Options::default());
    assert_eq!(of(&alone, "proxy-network").len(), 1);
    assert_eq!(lines(&alone), ["2 proxy-network note"]);
}

#[test]
fn services_that_their_profiles_leave_out_are_somebody() {
    let text = "services:\n  web: {image: a, environment: {DATABASE_URL: 'postgres://db/x'}}\n  db: {image: postgres, profiles: [x]}\n";
    let mut project = loaded(text);
    assert_eq!(lines(&lint(&[project.clone()], &Options::default())), NONE);
    // As where not all profiles can be active at once.
    let db = project.project.services.pop().unwrap();
    project.project.inactive.push(db.name);
    assert_eq!(lines(&lint(&[project], &Options::default())), NONE);
}

/// What one project dials is a name of another project of the same host, where both are on its network.
#[test]
fn a_name_of_another_project_of_the_host() {
    let project = |name: &str, text: &str| {
        let file = format!("{name}.yaml");
        let mut loaded = Loaded::from_texts(&[(&file, text)]).unwrap();
        loaded.project.name = name.to_owned();
        loaded
    };
    let app = "services:\n  app:\n    image: x\n    environment: {API_URL: 'http://Api:80', DB_URL: 'http://db:80'}\n    networks: [shared]\nnetworks: {shared: {external: true}}\n";
    let api = "services:\n  api: {image: x, networks: [shared]}\n  db: {image: x, networks: [own]}\nnetworks: {own: {}, shared: {name: shared}}\n";
    let mut projects = [project("app", app), project("api", api)];
    let unknown = |projects: &[Loaded]| of(&lint(projects, &Options::default()), "dial-unknown");
    assert_eq!(unknown(&projects).len(), 2);
    for project in &mut projects {
        project.hosts.push("edge".to_owned());
    }
    let left = unknown(&projects);
    assert_eq!(left.len(), 1, "{left:?}");
    assert!(left[0].contains("db:80"), "{left:?}");
}
