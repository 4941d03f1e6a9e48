//! Real compose files, where they lie: which of them load and which are refused, and why.
//!
//! The folder is `$VETHLAB_CORPUS`, or `../shared/corpus` beside the workspace; without it the
//! tests say so and pass. The refused files are pinned in `corpus-refused.txt`;
//! `VETHLAB_BLESS=1` writes it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use emulator_compose::{Naming, Options, Published, ReadError, Service, Source, load};

struct Folder;

impl Source for Folder {
    #[allow(clippy::disallowed_methods)]
    fn read(&mut self, path: &str) -> Result<String, ReadError> {
        let bytes = std::fs::read(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => ReadError::NotFound,
            _ => ReadError::Other(error.to_string()),
        })?;
        String::from_utf8(bytes).map_err(|_| ReadError::NotUtf8)
    }

    /// Each repository of the corpus is a folder, as its work tree would be: nothing is named beyond.
    #[allow(clippy::disallowed_methods)]
    fn outside(&mut self, folder: &str, path: &str) -> Option<String> {
        let path = std::fs::canonicalize(path).ok()?;
        let (corpus, inside) = folder.split_once("/corpus/compose/")?;
        let repository = inside.split('/').next()?;
        let root = format!("{corpus}/corpus/compose/{repository}");
        (!path.starts_with(&root)).then_some(root)
    }
}

#[allow(clippy::disallowed_methods)]
fn corpus() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus");
    let dir = std::env::var("VETHLAB_CORPUS").map_or(beside, PathBuf::from);
    if dir.join("compose/index.csv").is_file() {
        // Messages name paths: one form, whatever way leads there.
        return std::fs::canonicalize(&dir).ok();
    }
    eprintln!("skipped: no corpus in {}", dir.display());
    None
}

fn text_of(path: &Path) -> String {
    Folder.read(&path.to_string_lossy()).unwrap_or_default()
}

fn options(path: &Path) -> Options {
    Options {
        files: vec![path.to_string_lossy().into_owned()],
        ..Options::default()
    }
}

/// The main files of the corpus, in the order of the index.
fn main_files(dir: &Path) -> Vec<String> {
    let index = text_of(&dir.join("compose/index.csv"));
    let rows = index
        .lines()
        .map(|line| line.split(',').collect::<Vec<_>>());
    rows.filter(|row| row.get(1) == Some(&"main"))
        .map(|row| row[0].to_owned())
        .collect()
}

#[test]
#[allow(clippy::disallowed_methods)]
fn every_file_is_loaded_or_refused_by_name() {
    let Some(dir) = corpus() else { return };
    let files = main_files(&dir);
    let mut refused = String::new();
    let mut loaded = 0;
    for file in &files {
        let path = dir.join("compose").join(file);
        match load(&mut Folder, &options(&path)) {
            Ok(_) => loaded += 1,
            Err(errors) => {
                let first = errors.first().expect("an error");
                let place = format!("{}:{}", first.line, first.column);
                let message = first.message.replace('\n', " ");
                let message = message.replace(&format!("{}/", dir.join("compose").display()), "");
                refused.push_str(&format!(
                    "{file}\n    {place} {}: {message}\n",
                    first.kind.word()
                ));
            }
        }
    }
    println!("{loaded} of {} files load", files.len());
    let pinned = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus-refused.txt");
    if std::env::var("VETHLAB_BLESS").is_ok() {
        std::fs::write(&pinned, &refused).expect("written");
    }
    assert_eq!(files.len(), 199);
    assert!(loaded >= 160, "only {loaded} load");
    assert_eq!(refused, text_of(&pinned));
}

/// The projects of the engine records: they load, and their containers start in the order that
/// was recorded, under the recorded names.
#[test]
fn engine_records_load_and_start_in_the_recorded_order() {
    let Some(dir) = corpus() else { return };
    let mut checked = 0;
    for (name, record) in records(&dir) {
        let path = dir.join(format!("engine/{name}.yml"));
        let options = Options {
            project_name: Some(name.clone()),
            naming: Naming::V1,
            ..options(&path)
        };
        let recorded: Vec<(String, u64)> = record["start"]
            .as_array()
            .map_or(&[][..], Vec::as_slice)
            .iter()
            .map(|start| {
                let service = start["service"].as_str().unwrap_or_default();
                (service.to_owned(), start["number"].as_u64().unwrap_or(0))
            })
            .collect();
        let project = match load(&mut Folder, &options) {
            Ok(project) => project,
            Err(errors) => {
                // The one file that compose itself refused.
                assert_eq!(name, "h50-unused-and-undefined", "{errors}");
                assert!(recorded.is_empty());
                checked += 1;
                continue;
            }
        };
        let order: Vec<(String, u64)> = project
            .start_order()
            .into_iter()
            .map(|(service, number)| (service.name.clone(), u64::from(number)))
            .collect();
        if !recorded.is_empty() {
            assert_eq!(order, recorded, "{name}");
        }
        let names: Vec<String> = project
            .start_order()
            .into_iter()
            .map(|(service, number)| project.container_name(service, number))
            .collect();
        for container in record["containers"].as_array().into_iter().flatten() {
            let container = container["name"].as_str().unwrap_or_default();
            // Commands that the record ran afterwards start and rename some.
            if record["post"].to_string().contains(container) {
                continue;
            }
            assert!(
                names.iter().any(|name| name == container),
                "{name}: {container}"
            );
        }
        checked += 1;
    }
    println!("{checked} records");
    assert!(checked >= 70, "only {checked} records");
}

/// What the engine was asked for in the records is what the files say: port bindings, exposed
/// ports, host names, networks by name with their aliases.
#[test]
fn engine_records_were_asked_for_what_the_files_say() {
    let Some(dir) = corpus() else { return };
    let mut checked = 0;
    for (name, record) in records(&dir) {
        let options = Options {
            project_name: Some(name.clone()),
            naming: Naming::V1,
            ..options(&dir.join(format!("engine/{name}.yml")))
        };
        let Ok(project) = load(&mut Folder, &options) else {
            continue;
        };
        // Commands that the record ran afterwards change networks.
        if record["post"]
            .as_array()
            .is_some_and(|post| !post.is_empty())
        {
            continue;
        }
        for container in record["containers"].as_array().into_iter().flatten() {
            let service = container["service"].as_str();
            let Some(service) = service.and_then(|service| project.service(service)) else {
                continue;
            };
            let who = format!("{name}: {}", service.name);
            assert_eq!(
                asked(&container["port_bindings"]),
                bindings(service),
                "{who}"
            );
            let exposed = container["exposed"].to_string();
            for expose in service.expose.iter().filter(|e| e.first == e.last) {
                let port = format!("\"{}/{}\"", expose.first, expose.protocol);
                assert!(exposed.contains(&port), "{who}: {port} in {exposed}");
            }
            if let Some(hostname) = &service.hostname {
                let recorded = container["hostname"].as_str().unwrap_or_default();
                let short = recorded.split('.').next().unwrap_or_default();
                assert!(
                    [recorded, short].contains(&hostname.as_str()),
                    "{who}: {recorded}"
                );
            }
            for member in &service.networks {
                let network = project.network(&member.key).expect("a network of the file");
                let recorded = &container["networks"][&network.name];
                assert!(recorded.is_object(), "{who}: {}", network.name);
                for alias in &member.aliases {
                    let aliases = recorded["aliases"].to_string();
                    assert!(
                        aliases.contains(&format!("\"{}\"", alias.value)),
                        "{who}: {aliases}"
                    );
                }
            }
            checked += 1;
        }
    }
    println!("{checked} containers");
    assert!(checked >= 200, "only {checked} containers");
}

/// `PORT/PROTOCOL IP HOSTPORT` of every binding that the engine was asked for.
fn asked(bindings: &serde_json::Value) -> Vec<String> {
    let mut out = Vec::new();
    for (port, bindings) in bindings.as_object().into_iter().flatten() {
        for binding in bindings.as_array().into_iter().flatten() {
            let text = |key: &str| binding[key].as_str().unwrap_or_default();
            out.push(format!("{port} {} {}", text("HostIp"), text("HostPort")));
        }
    }
    out.sort();
    out
}

fn bindings(service: &Service) -> Vec<String> {
    let mut out: Vec<String> = service
        .ports
        .iter()
        .map(|port| {
            let host = match port.published {
                Published::Ephemeral => String::new(),
                Published::Exact(port) => port.to_string(),
                Published::Range(first, last) => format!("{first}-{last}"),
            };
            let ip = port.host_ip.as_deref().unwrap_or_default();
            format!("{}/{} {ip} {host}", port.target, port.protocol)
        })
        .collect();
    out.sort();
    out
}

fn records(dir: &Path) -> BTreeMap<String, serde_json::Value> {
    let entries = std::fs::read_dir(dir.join("engine")).into_iter().flatten();
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let paths = paths.filter(|path| path.extension().is_some_and(|end| end == "json"));
    paths
        .filter_map(|path| {
            let name = path.file_stem()?.to_str()?.to_owned();
            let record = serde_json::from_str(&text_of(&path)).ok()?;
            Some((name, record))
        })
        .collect()
}
