//! What services listen on and what they dial, out of whole files.

use std::collections::BTreeMap;

use emulator_compose::{
    Dial, DialIn, DialTo, Images, Known, Options, Project, dials, listens, load, load_str,
};

fn project(text: &str) -> Project {
    load_str(text).unwrap_or_else(|errors| panic!("{errors}"))
}

/// `PORT/PROTOCOL[@ADDRESS] HOW` of a service that consists of `lines`.
fn listening(lines: &str) -> Vec<String> {
    let project = project(&format!("services:\n  a: {{{lines}}}\n"));
    let found = listens(&project.services[0], &Images::builtin());
    let show = |listen: &emulator_compose::Listen| {
        let address = listen.address.map_or(String::new(), |a| format!("@{a}"));
        let how = listen.known.word();
        format!("{}/{}{address} {how}", listen.port, listen.protocol)
    };
    found.iter().map(show).collect()
}

#[test]
fn best_known_first_and_each_port_once() {
    assert_eq!(
        listening(
            "image: nginx, ports: ['8080:80', '53:53/udp'], expose: [80, 81], healthcheck: {test: curl localhost:82}"
        ),
        [
            "80/tcp published",
            "53/udp published",
            "81/tcp exposed",
            "82/tcp healthcheck"
        ]
    );
    assert_eq!(listening("image: nginx:1.27-alpine"), ["80/tcp image"]);
    assert_eq!(listening("image: mine"), Vec::<String>::new());
}

#[test]
fn what_is_stated_counts_alone() {
    let ports = "ports: ['8080:80']";
    assert_eq!(
        listening(&format!(
            "image: nginx, {ports}, x-vethlab: {{listen: [3000, '127.0.0.1:9000', 53/udp, '[::1]:1', '[::]:2', 5-6]}}"
        )),
        [
            "3000/tcp stated",
            "9000/tcp@127.0.0.1 stated",
            "53/udp stated",
            "1/tcp@::1 stated",
            "2/tcp stated",
            "5/tcp stated",
            "6/tcp stated",
        ]
    );
    assert_eq!(
        listening(&format!("image: nginx, {ports}, x-vethlab: {{listen: []}}")),
        Vec::<String>::new()
    );
    for bad in [
        "x",
        "0",
        "65536",
        "host:80",
        "80/icmp",
        "[80]",
        "127.0.0.1:",
        "1-65535",
    ] {
        let text = format!("services: {{a: {{image: i, x-vethlab: {{listen: ['{bad}']}}}}}}\n");
        let error = load_str(&text).expect_err(bad).0.remove(0);
        assert_eq!(error.message, format!("listen: `{bad}` is no port"));
        assert!(error.hint.is_some());
    }
}

#[test]
fn images_say_their_addresses() {
    assert_eq!(
        listening("image: 'eclipse-mosquitto:2'"),
        ["1883/tcp@127.0.0.1 image"]
    );
    assert_eq!(
        listening("image: 'eclipse-mosquitto:1.6'"),
        ["1883/tcp image"]
    );
    assert!(listening("image: 'rabbitmq:3-management'").contains(&"15672/tcp image".to_owned()));
    assert!(!listening("image: 'rabbitmq:3'").contains(&"15672/tcp image".to_owned()));
    assert_eq!(listening("image: 'php:8-fpm'"), ["9000/tcp image"]);
    assert_eq!(listening("image: 'php:8-cli'"), Vec::<String>::new());
    let project = project("services: {a: {image: postgres}}\n");
    let listens = listens(&project.services[0], &Images::builtin());
    assert_eq!(listens[0].known, Known::Image("postgres".into()));
}

#[test]
fn ports_of_health_checks() {
    for (test, ports) in [
        ("curl -f http://localhost:8080/health", "8080"),
        ("curl --fail localhost || exit 1", "80"),
        ("wget -q --spider http://127.0.0.1:3000/", "3000"),
        ("[CMD, pg_isready, -U, postgres]", "5432"),
        ("[CMD-SHELL, 'pg_isready -p 5433']", "5433"),
        ("[CMD, redis-cli, --raw, incr, ping]", "6379"),
        ("[CMD, mysqladmin, ping, -h, localhost]", "3306"),
        ("nc -z localhost 9092", "9092"),
        ("bash -c '</dev/tcp/127.0.0.1/11800'", "11800"),
        ("curl http://a:81", "81"),
        ("curl http://other:81", ""),
        ("[NONE]", ""),
        ("curl http://localhost:$$PORT/", ""),
        ("pg_isready -h other", ""),
    ] {
        let test = match test.starts_with('[') {
            true => test.to_owned(),
            false => format!("\"{test}\""),
        };
        let seen = listening(&format!("image: i, healthcheck: {{test: {test}}}"));
        let seen = seen.iter().filter_map(|listen| listen.split('/').next());
        let seen = seen.collect::<Vec<_>>().join(" ");
        assert_eq!(seen, ports, "{test}");
    }
}

/// `HOST:PORT` of every dial of service `a`, whose lines these are, beside `db`, `redis` and `web`.
fn dialled(lines: &str) -> Vec<String> {
    let text = format!(
        "services:\n  a: {{image: i, {lines}}}\n  db: {{image: postgres}}\n  redis: {{image: redis}}\n  web: {{image: i, expose: [8080], networks: {{default: {{aliases: [www]}}}}}}\n"
    );
    let project = project(&text);
    let dials = dials(&project, &Images::builtin());
    let show = |dial: &Dial| {
        let port = dial
            .port
            .map_or_else(|| "-".to_owned(), |port| port.to_string());
        format!("{}:{port}", dial.host)
    };
    dials
        .iter()
        .filter(|dial| dial.service == "a")
        .map(show)
        .collect()
}

#[test]
fn dials_of_variables() {
    for (variables, wanted) in [
        ("DATABASE_URL: 'postgres://u:p@db/x'", "db:5432"),
        ("DB_HOST: db, DB_PORT: 5433", "db:5433"),
        ("DB_HOST: db", "db:-"),
        ("DB_HOST: 'db:5432'", "db:5432"),
        ("REDIS: 'redis:6379'", "redis:6379"),
        ("KAFKA_BROKERS: 'k1:9092,k2:9092'", "k1:9092 k2:9092"),
        (
            "SMTP_HOST: smtp.example.com, SMTP_PORT: '587'",
            "smtp.example.com:587",
        ),
        (
            "ConnectionStrings__X: 'Server=db;Port=5432;Database=x'",
            "db:5432",
        ),
        (
            "SPRING_DATASOURCE_URL: 'jdbc:postgresql://db:5432/x'",
            "db:5432",
        ),
        ("BACKEND: 'www:8080'", "www:8080"),
        // What is no dial.
        ("DB_USER: db, DB_NAME: redis, CACHE_DRIVER: redis", ""),
        (
            "APP_URL: 'http://example.com', CORS_ORIGINS: 'http://web:80'",
            "",
        ),
        (
            "LISTEN_ADDR: '0.0.0.0:80', BIND: 'web:80', VIRTUAL_HOST: web.example.com",
            "",
        ),
        ("HOST: 0.0.0.0, PORT: 80, HOSTNAME: db", ""),
        ("LEVEL: 'debug:1', TIME: '12:30', RATIO: 'a:3'", ""),
        ("SELF_URL: 'http://a:80', X_URL: 'http://a:80'", ""),
        ("NO_PROXY: 'db,redis', IMAGE: 'redis:7'", ""),
        ("FEATURE_HOST: 'true', USE_SERVER: auto", ""),
    ] {
        let seen = dialled(&format!("environment: {{{variables}}}")).join(" ");
        assert_eq!(seen, wanted, "{variables}");
    }
}

#[test]
fn dials_of_commands_and_the_rest() {
    for (lines, wanted) in [
        ("command: ./wait-for-it.sh db:5432 -- run", "db:5432"),
        (
            "command: [app, --redis-host, redis, --level, db]",
            "redis:-",
        ),
        ("command: ['--upstream=http://web:8080/x']", "web:8080"),
        (
            "command: sh -c 'until nc -z db 5432; do sleep 1; done'",
            "db:5432",
        ),
        ("command: psql -h db -U db", "db:5432"),
        (
            "command: ['--listen=0.0.0.0:80', '--bind-address', 'web:80']",
            "",
        ),
        (
            "healthcheck: {test: curl http://localhost:80}",
            "localhost:80",
        ),
        ("depends_on: [db, web]", "db:5432 web:8080"),
        ("links: ['db:database']", "database:5432"),
        ("depends_on: [db], environment: {DB_HOST: db}", "db:5432"),
    ] {
        assert_eq!(dialled(lines).join(" "), wanted, "{lines}");
    }
}

#[test]
fn a_proxy_dials_those_that_its_labels_stand_at() {
    let project = project(
        "services:
  proxy: {image: 'traefik:v3'}
  web: {image: i, labels: [traefik.enable=true, 'traefik.http.services.w.loadbalancer.server.port=8080']}
  off: {image: nginx, labels: {traefik.enable: 'false'}}
  task: {image: i, deploy: {labels: {traefik.http.services.t.loadbalancer.server.port: 9000}}}
  quiet: {image: nginx, deploy: {labels: [traefik.enable=true]}}
  caddy: {image: 'lucaslorentz/caddy-docker-proxy:ci'}
  api: {image: i, labels: {caddy: api.example.com, caddy.reverse_proxy: '{{upstreams 3000}}'}}
  nginx: {image: nginxproxy/nginx-proxy}
  site: {image: httpd, environment: {VIRTUAL_HOST: site.example.com}}
",
    );
    let dials = dials(&project, &Images::builtin());
    let seen: Vec<String> = dials
        .iter()
        .map(|dial| format!("{} {}:{}", dial.service, dial.host, dial.port.unwrap_or(0)))
        .collect();
    let wanted = [
        "proxy web:8080",
        "proxy task:9000",
        "caddy api:3000",
        "nginx site:80",
    ];
    assert_eq!(seen, wanted);
    assert!(matches!(dials[0].how, DialIn::Label(_)));
}

/// What a variable that the file only names has inherited stands where it is named.
#[test]
fn a_variable_without_a_value_has_its_own_place() {
    let env = [("A_URL", "http://nobody"), ("B_URL", "http://noone")];
    let env = env.map(|(name, value)| (name.to_owned(), value.to_owned()));
    for text in [
        "name: p\nservices:\n  a:\n    image: i\n    environment:\n      - A_URL\n      - B_URL\n",
        "name: p\nservices:\n  a:\n    image: i\n    environment:\n      A_URL:\n      B_URL:\n",
    ] {
        let options = Options {
            env: env.clone().into(),
            files: vec!["compose.yaml".to_owned()],
            ..Options::default()
        };
        let mut source = BTreeMap::from([("compose.yaml".to_owned(), text.to_owned())]);
        let project = load(&mut source, &options).unwrap();
        let dials = dials(&project, &Images::builtin());
        let places = dials.iter().map(|dial| project.locate(dial.at));
        let wanted: Vec<String> = match text.contains('-') {
            true => vec!["compose.yaml:6:9".to_owned(), "compose.yaml:7:9".to_owned()],
            false => vec!["compose.yaml:6:7".to_owned(), "compose.yaml:7:7".to_owned()],
        };
        assert_eq!(places.collect::<Vec<_>>(), wanted);
    }
}

#[test]
fn whom_a_dial_means_and_where_it_stands() {
    let project = project(
        "services:
  a:
    image: i
    environment:
      A_URL: http://db
      B_URL: http://example.com
      C_URL: http://nobody
      D_URL: http://10.0.0.1
      E_URL: http://localhost
  db: {image: postgres}
",
    );
    let dials = dials(&project, &Images::builtin());
    let to: Vec<DialTo> = dials.iter().map(|dial| dial.to).collect();
    assert_eq!(
        to,
        [
            DialTo::Project,
            DialTo::Outside,
            DialTo::Unknown,
            DialTo::Address,
            DialTo::Loopback
        ]
    );
    assert_eq!(dials[0].how, DialIn::Environment("A_URL".into()));
    assert_eq!(dials[0].text, "http://db");
    assert_eq!((dials[1].at.line, dials[1].at.column), (6, 14));
}

#[test]
fn a_first_config_expects_what_is_dialled() {
    let text = "services:
  web:
    image: i
    environment:
      DB_URL: postgres://db/x
      MAIL_HOST: smtp.example.com
      CACHE_HOST: cache
    networks: [n]
  host: {image: i, depends_on: [db], networks: [n]}
  db: {image: postgres, networks: {n: {aliases: [cache]}}}
networks: {n: }
";
    let first = project(text);
    let config = emulator_compose::proposal(&first, &Images::builtin(), &["compose.yaml".into()]);
    assert_eq!(
        config,
        "files: [compose.yaml]
expect:
  - web -> db:5432 allow     # compose.yaml:5 DB_URL
  - web -> cache allow       # compose.yaml:7 CACHE_HOST
  - '\"host\" -> db:5432 allow'  # compose.yaml:9 depends_on
# What nothing in the project has the name of:
#   web -> smtp.example.com, compose.yaml:6 MAIL_HOST
"
    );
    let mut files = BTreeMap::from([
        ("vethlab.yaml".to_owned(), config),
        ("compose.yaml".to_owned(), format!("name: x\n{text}")),
    ]);
    let config = emulator_compose::Config::load(&mut files, "vethlab.yaml").unwrap();
    let run = config.runs(&mut files).remove(0);
    let loaded = load(&mut files, &run.options);
    let loaded = loaded.unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(loaded.vethlab.expect.len(), 3);
}

#[test]
fn projects_of_a_host_expect_what_they_dial_of_each_other() {
    let edge = "name: edge
services:
  proxy: {image: i, environment: {UP: 'http://Blog:2368', OWN: 'http://proxy2:80', APP: 'http://blog:2368'}, networks: [web]}
  proxy2: {image: nginx, networks: [web]}
  lone: {image: i, environment: {APP: 'http://blog:2368'}}
networks: {web: {name: web}}
";
    let blog = "name: blog
services:
  ghost: {image: ghost, networks: {web: {aliases: [blog]}, default: }}
  db: {image: mysql}
networks: {web: {external: true}}
";
    let mut files = BTreeMap::from([
        ("edge.yaml".to_owned(), edge.to_owned()),
        ("blog.yaml".to_owned(), blog.to_owned()),
    ]);
    let [edge, blog] = ["edge", "blog"].map(|name| {
        let options = Options {
            files: vec![format!("{name}.yaml")],
            ..Options::default()
        };
        let project = load(&mut files, &options);
        project.unwrap_or_else(|errors| panic!("{errors}"))
    });
    let named = |name: &str| vec![format!("{name}.yaml")];
    let (edge_files, blog_files) = (named("edge"), named("blog"));
    let config = emulator_compose::proposal_together(
        "server",
        &[("edge", &edge, &edge_files), ("blog", &blog, &blog_files)],
        &Images::builtin(),
    );
    assert_eq!(
        config,
        "projects:
  edge:
    files: [edge.yaml]
    expect:
      - proxy -> proxy2:80 allow  # edge.yaml:3 OWN
    # What nothing in the project has the name of:
    #   lone -> blog:2368, edge.yaml:5 APP
    #   proxy -> Blog:2368, edge.yaml:3 UP
  blog:
    files: [blog.yaml]
    expect: []
hosts:
  server:
    projects: [edge, blog]
    expect:
      - edge/proxy -> blog/ghost:2368 allow  # edge: edge.yaml:3 APP
"
    );
    files.insert("vethlab.yaml".to_owned(), config);
    let config = emulator_compose::Config::load(&mut files, "vethlab.yaml").unwrap();
    let members = [("edge", &edge), ("blog", &blog)];
    let joined = emulator_compose::Joined::load(&mut files, &config, "server", &members);
    let joined = joined.unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(joined.project.vethlab.expect.len(), 1);
}
