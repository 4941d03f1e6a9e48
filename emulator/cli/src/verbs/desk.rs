//! The verbs that ask a project that is up: `down`, `ps`, `logs`, `exec`, and `why` and `matrix` by its name.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::{Value, json};
use vethlab::host::control::{Answer, Client, Part, Place, folder};
use vethlab::live::{Address, PublishedPort, Row};
use vethlab_cli::args::{DownArgs, ExecArgs, Format, LoadArgs, LogsArgs, PsArgs, WhichArgs};

use super::{BAD_INPUT, project, up};

/// Bytes of standard input that a program may be given.
const STDIN: u64 = 48 << 10;

pub(crate) fn ended(done: Result<u8, String>) -> ExitCode {
    match done {
        Ok(code) => ExitCode::from(code),
        Err(message) => {
            eprintln!("vethlab: {}", message.trim_end());
            ExitCode::from(BAD_INPUT)
        }
    }
}

pub(crate) fn place() -> Place {
    Place::new(folder())
}

/// The project's name: the one that is given, or that of the compose files.
pub(crate) fn name(
    given: Option<&str>,
    files: &[PathBuf],
    on: Option<&str>,
) -> Result<String, String> {
    if let Some(name) = given {
        return Ok(name.to_owned());
    }
    let up = place().projects();
    let hint = if up.is_empty() {
        "no project is up".to_owned()
    } else {
        format!(
            "`-p NAME` names one of those that are up: {}",
            up.join(", ")
        )
    };
    let files = project::files(files, on)
        .map_err(|error| format!("{}; {hint}", error.trim_start_matches("vethlab: ")))?;
    let together = project::quietly(&files, &LoadArgs::default(), None, on);
    let name = together.map(|together| together.name);
    name.map_err(|error| {
        format!(
            "{}\n{hint}",
            error.trim_start_matches("vethlab: ").trim_end()
        )
    })
}

fn connect(given: Option<&str>, files: &[PathBuf], on: Option<&str>) -> Result<Client, String> {
    place().connect(&name(given, files, on)?)
}

pub(super) fn which(which: &WhichArgs) -> Result<Client, String> {
    connect(
        which.project_name.as_deref(),
        &which.files,
        which.on.as_deref(),
    )
}

fn words(error: io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::ConnectionReset => "the project went down".to_owned(),
        _ => error.to_string(),
    }
}

/// Asks, and shows what comes until the end.
fn ask(
    client: &mut Client,
    request: &Value,
    mut value: impl FnMut(Value) -> Result<(), String>,
) -> Result<u8, String> {
    client.ask(request).map_err(words)?;
    loop {
        match client.next().map_err(words)? {
            Answer::Part(Part::Err, bytes) => {
                // Whoever stops reading has seen enough.
                let _closed = io::stderr().write_all(&bytes);
            }
            Answer::Part(Part::Out | Part::Data, bytes) => {
                let mut out = io::stdout().lock();
                if out.write_all(&bytes).and_then(|()| out.flush()).is_err() {
                    return Ok(0);
                }
            }
            Answer::Value(it) => value(it)?,
            Answer::Error(sentence) => return Err(sentence),
            Answer::Exit(code) => return Ok(code),
        }
    }
}

fn silent(_: Value) -> Result<(), String> {
    Ok(())
}

/// `vethlab down`.
pub(crate) fn down(args: &DownArgs) -> ExitCode {
    let done = which(&args.which).and_then(|client| {
        match client.ask_last(&json!({"verb": "down"})).map_err(words)? {
            Answer::Exit(code) => Ok(code),
            other => Err(format!("an odd answer: {other:?}")),
        }
    });
    ended(done)
}

/// `vethlab ps`.
pub(crate) fn ps(args: &PsArgs) -> ExitCode {
    if args.all {
        return ended(all(args.format).map(|()| 0));
    }
    let done = which(&args.which).and_then(|mut client| {
        ask(&mut client, &json!({"verb": "ps"}), |value| {
            match args.format {
                Format::Json => project::print(&format!("{value}\n")),
                Format::Text => {
                    let table = up::table(&rows(&value["containers"]));
                    project::print(&(table + &left(&value["egress"])))
                }
            }
        })
    });
    ended(done)
}

/// What left the lab, if anything may.
fn left(value: &Value) -> String {
    if !value.is_object() {
        return String::new();
    }
    let count = |key: &str| value[key].as_u64().unwrap_or_default();
    format!(
        "egress: {} connections, {} flows of datagrams, {} pings, {} questions; {} denied\n",
        count("connections"),
        count("datagrams"),
        count("pings"),
        count("questions"),
        count("denied")
    )
}

fn all(format: Format) -> Result<(), String> {
    let names = place().projects();
    project::print(&match format {
        Format::Json => format!("{}\n", json!(names)),
        Format::Text => names.iter().map(|name| format!("{name}\n")).collect(),
    })
}

/// The containers of an answer; what is missing there is empty here.
fn rows(value: &Value) -> Vec<Row> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let rows = list(value).into_iter().map(|row| {
        let addresses = list(&row["addresses"]).into_iter().filter_map(|it| {
            Some(Address {
                network: text(&it["network"]),
                address: it["address"].as_str()?.parse().ok()?,
            })
        });
        let ports = list(&row["ports"]).into_iter().filter_map(|it| {
            Some(PublishedPort {
                host: it["host"].as_str()?.parse().ok()?,
                port: text(&it["port"]),
                real: it["real"].as_str().and_then(|at| at.parse().ok()),
            })
        });
        Row {
            name: text(&row["name"]),
            service: text(&row["service"]),
            state: text(&row["state"]),
            exit: row["exit"]
                .as_i64()
                .and_then(|code| i32::try_from(code).ok()),
            error: row["error"].as_str().map(str::to_owned),
            addresses: addresses.collect(),
            ports: ports.collect(),
        }
    });
    rows.collect()
}

/// `vethlab logs`.
pub(crate) fn logs(args: &LogsArgs) -> ExitCode {
    let request = json!({
        "verb": "logs",
        "services": args.services,
        "follow": args.follow,
        "tail": args.tail,
        "prefix": !args.no_log_prefix,
        "format": if args.format == Format::Json { "json" } else { "text" },
    });
    let done = connect(
        args.which.project_name.as_deref(),
        &args.which.files,
        args.which.on.as_deref(),
    )
    .and_then(|mut client| {
        ask(&mut client, &request, |line| {
            project::print(&format!("{line}\n"))
        })
    });
    ended(done)
}

/// Bytes as a request carries them, which is text.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `vethlab exec`.
pub(crate) fn exec(args: &ExecArgs) -> ExitCode {
    let done = which(&args.which).and_then(|mut client| {
        let mut stdin = Vec::new();
        if args.interactive {
            let read = io::stdin().take(STDIN + 1).read_to_end(&mut stdin);
            read.map_err(|error| format!("standard input: {error}"))?;
        }
        let request = json!({
            "verb": "exec",
            "box": args.target,
            "argv": args.argv,
            "stdin_hex": hex(&stdin),
        });
        ask(&mut client, &request, silent)
    });
    ended(done)
}

/// The project that is up under the name that stands where a compose file is expected: there is no such file.
pub(crate) fn named(file: &Path) -> Option<Client> {
    let name = file.to_str().filter(|_| !file.exists())?;
    place().find(name).ok().flatten()
}

/// Asks a project that is up what `why` or `matrix` asks of a file.
pub(crate) fn answer(client: &mut Client, request: &Value) -> ExitCode {
    ended(ask(client, request, silent))
}
