//! Files that mean harm are refused, or read, within a bound of work. Work is counted in allocations and
//! in bytes asked of the allocator, which depend on no clock.
//!
//! A binary of its own, because it counts every allocation of its threads.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::BTreeMap;

use emulator_compose::{
    Config, ErrorKind, Images, MachineFile, Options, Project, ReadError, Source, dials, listens,
    load,
};

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
    static BYTES: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

fn count(bytes: usize) {
    // A thread that is ending has no counters any more.
    let _ended = COUNT.try_with(|count| count.set(count.get() + 1));
    let _ended = BYTES.try_with(|sum| sum.set(sum.get() + bytes as u64));
}

// SAFETY: every call goes to the system's allocator as it came; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How many allocations any of these may make.
const MAX_COUNT: u64 = 8_000_000;
/// How many bytes they may ask for, all in all.
const MAX_BYTES: u64 = 1 << 30;

/// Runs `work` and checks what it cost.
fn bounded<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let before = (COUNT.get(), BYTES.get());
    let done = work();
    let (count, bytes) = (COUNT.get() - before.0, BYTES.get() - before.1);
    println!("{what}: {count} allocations, {bytes} bytes");
    assert!(count <= MAX_COUNT, "{what}: {count} allocations");
    assert!(bytes <= MAX_BYTES, "{what}: {bytes} bytes");
    done
}

/// Files, and how often one was asked for.
struct Counted {
    files: BTreeMap<String, String>,
    reads: usize,
}

impl Source for Counted {
    fn read(&mut self, path: &str) -> Result<String, ReadError> {
        self.reads += 1;
        self.files.read(path)
    }
}

/// Loads `files`, of which the first is the project's; the kind of the first error, if there is one.
fn kind(what: &str, files: &[(&str, String)]) -> Option<ErrorKind> {
    let mut source = Counted {
        files: files
            .iter()
            .map(|(name, text)| (format!("p/{name}"), text.clone()))
            .collect(),
        reads: 0,
    };
    let options = Options {
        files: vec![format!("p/{}", files[0].0)],
        ..Options::default()
    };
    let loaded = bounded(what, || load(&mut source, &options));
    assert!(source.reads <= 600, "{what}: {} reads", source.reads);
    loaded.err().map(|errors| errors.0[0].kind)
}

fn one(what: &str, text: String) -> Option<ErrorKind> {
    kind(what, &[("compose.yaml", text)])
}

const TOO_LARGE: Option<ErrorKind> = Some(ErrorKind::TooLarge);

#[test]
fn aliases_that_multiply() {
    let bomb = |open: &str, item: &dyn Fn(usize) -> String, close: &str| {
        let mut text = String::from("x-0: &a0 {k: v}\n");
        for level in 1..40 {
            let items: Vec<String> = (0..9)
                .map(|i| item(i).replace('@', &format!("*a{}", level - 1)))
                .collect();
            text.push_str(&format!(
                "x-{level}: &a{level} {open}{}{close}\n",
                items.join(", ")
            ));
        }
        text + "services: {a: {image: i}}\n"
    };
    assert_eq!(one("lists", bomb("[", &|_| "@".to_owned(), "]")), TOO_LARGE);
    assert_eq!(
        one("maps", bomb("{", &|i| format!("k{i}: @"), "}")),
        TOO_LARGE
    );
    let merges = bomb("{<<: [", &|_| "@".to_owned(), "]}");
    assert_eq!(one("merge keys", merges), None);
    let long = format!(
        "x-a: &a {}\nx-b: [{}]\n",
        "y".repeat(1 << 20),
        "*a, ".repeat(200)
    );
    assert_eq!(one("a long scalar", long), TOO_LARGE);
    assert_eq!(
        one("itself", "x-a: &a [*a]\n".to_owned()),
        Some(ErrorKind::Yaml)
    );
}

#[test]
fn nesting() {
    for (what, open) in [("[", "["), ("{", "{a: "), ("-", "- ")] {
        assert_eq!(one(what, open.repeat(200_000)), TOO_LARGE);
    }
    let variables = format!(
        "x-a: \"{}{}\"\n",
        "${A:-".repeat(50_000),
        "}".repeat(50_000)
    );
    assert_eq!(one("variables", variables), TOO_LARGE);
}

#[test]
fn circles_of_files() {
    let cycle = Some(ErrorKind::Cycle);
    let include = |path: &str| format!("include: [{path}]\nservices: {{a: {{image: i}}}}\n");
    assert_eq!(one("include itself", include("compose.yaml")), cycle);
    let two = [("a.yaml", include("b.yaml")), ("b.yaml", include("a.yaml"))];
    assert_eq!(kind("include in a circle", &two), cycle);
    let extends = |file: &str| {
        format!("services: {{a: {{image: i, extends: {{file: {file}, service: a}}}}}}\n")
    };
    assert_eq!(one("extends itself", extends("compose.yaml")), cycle);
    let two = [("a.yaml", extends("b.yaml")), ("b.yaml", extends("a.yaml"))];
    assert_eq!(kind("extends in a circle", &two), cycle);
    let up = format!("include: [{}x.yaml]\n", "./".repeat(100_000));
    assert_eq!(one("a path that goes nowhere", up), Some(ErrorKind::Read));
}

/// A folder, and nothing beyond it.
struct Fenced(BTreeMap<String, String>);

impl Source for Fenced {
    fn read(&mut self, path: &str) -> Result<String, ReadError> {
        match path.starts_with("p/") {
            true => self.0.read(path),
            false => Err(ReadError::Other("outside the folder".to_owned())),
        }
    }
}

#[test]
fn paths_out_of_the_project_are_the_sources_to_refuse() {
    for line in [
        "include: [../base.yaml]",
        "services: {a: {extends: {file: ../base.yaml, service: a}}}",
        "include: [{path: x.yaml, env_file: ../x.env}]",
        "services: {a: {image: i, env_file: /x.env}}",
        "include: [a/../../base.yaml]",
    ] {
        let mut files = BTreeMap::from([
            ("p/compose.yaml".to_owned(), line.to_owned()),
            (
                "p/x.yaml".to_owned(),
                "services: {b: {image: i}}\n".to_owned(),
            ),
            (
                "base.yaml".to_owned(),
                "services: {a: {image: i}}\n".to_owned(),
            ),
            ("x.env".to_owned(), "A=1\n".to_owned()),
            ("/x.env".to_owned(), "A=1\n".to_owned()),
        ]);
        let options = Options {
            files: vec!["p/compose.yaml".to_owned()],
            ..Options::default()
        };
        let loaded = load(&mut files, &options);
        assert!(loaded.is_ok(), "{line}: {loaded:?}");
        let errors = load(&mut Fenced(files), &options).expect_err(line);
        let first = &errors.0[0];
        assert_eq!(first.kind, ErrorKind::Read, "{line}");
        assert!(
            first.message.contains("outside the folder"),
            "{line}: {first}"
        );
    }
}

#[test]
fn trees_of_files() {
    // Each includes the next one twice: 2^30 documents if nobody counted.
    let names: Vec<String> = (0..31).map(|i| format!("f{i}.yaml")).collect();
    let mut files: Vec<(&str, String)> = Vec::new();
    for pair in names.windows(2) {
        let text = format!("include: [{0}, {0}]\nservices: {{}}\n", pair[1]);
        files.push((&pair[0], text));
    }
    files.push((&names[30], "services: {a: {image: i}}\n".to_owned()));
    assert_eq!(kind("includes that double", &files), TOO_LARGE);
    let many: Vec<String> = (0..400).map(|i| format!("i{i}.yaml")).collect();
    let mut files = vec![("compose.yaml", format!("include: [{}]\n", many.join(", ")))];
    for name in &many {
        files.push((name, "services: {a: {image: i}}\n".to_owned()));
    }
    assert_eq!(kind("many includes", &files), TOO_LARGE);
}

#[test]
fn variables_that_double() {
    let mut env = String::from("A0=xxxxxxxxxxxxxxxx\n");
    for i in 1..64 {
        env.push_str(&format!("A{i}=${{A{0}}}${{A{0}}}\n", i - 1));
    }
    let files = [
        ("compose.yaml", "services: {a: {image: i}}\n".to_owned()),
        (".env", env),
    ];
    let found = kind("an env file", &files);
    assert!(found.is_some(), "{found:?}");
    let big = format!("A={}\n", "y".repeat(1 << 20));
    let uses = "'${A}', ".repeat(5000);
    let files = [("compose.yaml", format!("x-a: [{uses}]\n")), (".env", big)];
    assert_eq!(kind("one that is long", &files), TOO_LARGE);
}

#[test]
fn large_files() {
    assert_eq!(one("blanks", " ".repeat(17 << 20)), TOO_LARGE);
    assert_eq!(
        one("items", format!("x-a: [{}]", "1,".repeat(4 << 20))),
        TOO_LARGE
    );
    let keys: String = (0..50_000).map(|i| format!("k{i}: 1\n")).collect();
    assert_eq!(one("keys", keys), Some(ErrorKind::Invalid));
    assert_eq!(one("documents", "--- {}\n".repeat(100_000)), TOO_LARGE);
    let ports = "'1-65535', ".repeat(20_000);
    let text = format!("services: {{a: {{image: i, ports: [{ports}]}}}}\n");
    assert_eq!(one("ports", text), TOO_LARGE);
}

/// Many services in one file.
fn many(count: usize, lines: &dyn Fn(usize) -> String) -> String {
    let services: String = (0..count)
        .map(|i| format!("  s{i}: {{image: i, {}}}\n", lines(i)))
        .collect();
    format!("services:\n{services}")
}

fn project(text: String) -> Project {
    let mut files = BTreeMap::from([("p/compose.yaml".to_owned(), text)]);
    let options = Options {
        files: vec!["p/compose.yaml".to_owned()],
        ..Options::default()
    };
    bounded("loading", || load(&mut files, &options)).unwrap_or_else(|errors| panic!("{errors}"))
}

#[test]
fn expectations_that_name_everybody() {
    let names: Vec<String> = (0..5000).map(|i| format!("s{i}")).collect();
    let services = many(5000, &|_| "tty: true".to_owned());
    let group = format!("  groups: {{all: [{}]}}\n", names.join(", "));
    let expect = "  - all -> all deny\n".repeat(5000);
    let text = format!("x-vethlab:\n{group}  expect:\n{expect}{services}");
    assert_eq!(one("groups", text), TOO_LARGE);
    let expect = "  - nobody0 -> nobody1 deny\n".repeat(9000);
    let text = format!("x-vethlab:\n  expect:\n{expect}{services}");
    assert_eq!(one("unknown names", text), Some(ErrorKind::Undefined));
    let sentence = format!("  - {} -> s1 deny\n", "all, ".repeat(500) + "all");
    let text = format!("x-vethlab:\n{group}  expect:\n{sentence}{services}");
    assert_eq!(one("a group many times", text), None);
    let text = format!(
        "x-vethlab:\n  expect: ['{}']\n{services}",
        "s1, ".repeat(100_000)
    );
    assert_eq!(one("a long sentence", text), TOO_LARGE);
}

#[test]
fn dials_and_ports_without_end() {
    let images = Images::builtin();
    let all = |what: &str, text: String| {
        let project = project(text);
        bounded(what, || {
            let found = dials(&project, &images).len();
            let ports: usize = project
                .services
                .iter()
                .map(|s| listens(s, &images).len())
                .sum();
            assert!(
                found <= 1024 * project.services.len() && ports <= 200_000,
                "{found} {ports}"
            );
        });
    };
    let wide = many(2000, &|i| match i {
        0 => "expose: ['1-65535']".to_owned(),
        _ => "depends_on: [s0]".to_owned(),
    });
    all("who depends on all ports", wide);
    let variables: String = (0..50_000).map(|i| format!("A{i}_HOST: h{i}, ")).collect();
    all(
        "variables",
        format!("services: {{a: {{image: i, environment: {{{variables}}}}}}}\n"),
    );
    let text = "http://a:1,".repeat(1 << 20);
    all(
        "a long variable",
        format!("services: {{a: {{image: i, environment: {{A: '{text}'}}}}}}\n"),
    );
    let text = "nc db 80 ".repeat(1 << 20);
    all(
        "a long command",
        format!("services: {{a: {{image: i, command: {text}}}, db: {{image: i}}}}\n"),
    );
    let proxies = many(4000, &|i| match i {
        0..100 => "container_name: c".to_owned() + &i.to_string(),
        _ => "labels: {traefik.enable: 'true'}".to_owned(),
    });
    all(
        "proxies",
        proxies.replace("image: i, container", "image: traefik, container"),
    );
}

#[test]
fn files_of_vethlab_itself() {
    let projects: String = (0..5000)
        .map(|i| format!("  p{i}: {{files: x}}\n"))
        .collect();
    let errors = bounded("projects", || {
        Config::parse("v.yaml", &format!("projects:\n{projects}"))
    });
    assert_eq!(errors.unwrap_err().0[0].kind, ErrorKind::TooLarge);
    let routes = "{\"dst\": \"10.0.0.0/8\"},".repeat(80_000);
    let errors = bounded("routes", || {
        MachineFile::parse("m.json", &format!("{{\"routes\": [{routes}]}}"))
    });
    assert_eq!(errors.unwrap_err().0[0].kind, ErrorKind::TooLarge);
    let mut images = Images::builtin();
    let entries = "- {image: '*a*a*a*a*a*a*a*b', listen: '1-4000'}\n".repeat(200);
    let text = "a".repeat(10_000);
    bounded("images", || {
        images
            .extend("i.yaml", &entries)
            .unwrap_or_else(|errors| panic!("{errors}"));
        assert!(images.find(&text).is_none());
    });
}
