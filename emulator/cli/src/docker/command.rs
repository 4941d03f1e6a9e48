//! From words to a command.
//!
//! Models how docker/cli finds the command (`docker ps`, `docker container ls`, `docker network list`),
//! reads its flags and checks what can be checked without the engine.

use vethlab::core::docker::spec::{EndpointSpec, Engine, NetworkSpec};

use super::daemon::{Filters, Process};
use super::flags::{self, Flag, Kind, Values};
use super::usage::{COMMANDS, Usage, group_help};
use super::{network, run};

/// Why a line is refused before the engine is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What goes to standard error, without the last newline.
    pub message: String,
    /// The exit code.
    pub code: u8,
}

impl Failure {
    /// A failure with exit code 1.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            code: 1,
        }
    }
}

/// A command and what was ignored in its line.
#[derive(Clone, Debug, PartialEq)]
pub struct Parsed {
    /// The command.
    pub command: Command,
    /// Flags that do not touch the network.
    pub ignored: Vec<String>,
}

/// A verb that is done to each container named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// `kill`.
    Kill,
    /// `pause`.
    Pause,
    /// `restart`.
    Restart,
    /// `stop`.
    Stop,
    /// `unpause`.
    Unpause,
    /// `wait`.
    Wait,
}

/// What `inspect` looks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kinds {
    /// Containers first, then networks: `docker inspect`.
    Any,
    /// Containers: `docker inspect --type container`, `docker container inspect`.
    Container,
    /// Networks: `docker network inspect`.
    Network,
}

/// What `docker run` and `docker create` were asked for, as far as the client reads it. Ports are
/// still text: the engine's part reads them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Run {
    /// `run` or `create`, for messages.
    pub verb: &'static str,
    /// What the engine is asked for, but for ports.
    pub spec: vethlab::core::docker::spec::ContainerSpec,
    /// What runs in it.
    pub process: Process,
    /// `-d`.
    pub detach: bool,
    /// `-p`, each in its short form.
    pub publish: Vec<String>,
    /// `--expose`.
    pub expose: Vec<String>,
}

/// A command.
#[derive(Clone, Debug, PartialEq)]
#[allow(
    missing_docs,
    reason = "the fields are the arguments of Docker's command of that name"
)]
pub enum Command {
    Attach {
        container: String,
    },
    Create(Box<Run>),
    /// `kill`, `pause`, `restart`, `stop`, `unpause`, `wait`.
    Each {
        verb: Verb,
        containers: Vec<String>,
        signal: String,
        timeout: Option<i64>,
    },
    Exec {
        container: String,
        argv: Vec<String>,
        interactive: bool,
        tty: bool,
        detach: bool,
    },
    /// Text to print, and the exit code.
    Help(String),
    Info {
        format: String,
    },
    Inspect {
        names: Vec<String>,
        format: String,
        kinds: Kinds,
        verbose: bool,
    },
    Logs {
        container: String,
        tail: Option<usize>,
    },
    NetworkConnect {
        network: String,
        container: String,
        endpoint: EndpointSpec,
    },
    NetworkCreate(Box<NetworkSpec>),
    NetworkDisconnect {
        network: String,
        container: String,
        force: bool,
    },
    NetworkLs {
        filters: Filters,
        format: String,
        quiet: bool,
        no_trunc: bool,
    },
    NetworkPrune {
        filters: Filters,
        force: bool,
    },
    NetworkRm {
        networks: Vec<String>,
        force: bool,
    },
    Port {
        container: String,
        port: Option<String>,
    },
    Ps {
        all: bool,
        filters: Filters,
        format: String,
        quiet: bool,
        no_trunc: bool,
        last: Option<usize>,
    },
    /// Images are always there.
    Pull,
    Rename {
        container: String,
        name: String,
    },
    Rm {
        containers: Vec<String>,
        force: bool,
    },
    Run(Box<Run>),
    Start {
        containers: Vec<String>,
        attach: bool,
        interactive: bool,
    },
    Version {
        format: String,
    },
}

/// Names of `docker container X` and `docker network X` that mean the same.
fn alias(group: &str, name: &str) -> String {
    match (group, name) {
        ("network", "list") => "network ls".to_owned(),
        ("network", "remove") => "network rm".to_owned(),
        ("network", other) => format!("network {other}"),
        (_, "ls" | "list" | "ps") => "ps".to_owned(),
        (_, "remove") => "rm".to_owned(),
        (_, "inspect") => "inspect".to_owned(),
        (_, other) => other.to_owned(),
    }
}

/// Reads a docker command line; `words[0]` is `docker`.
///
/// # Errors
/// In the words of the client of `engine`.
pub fn parse(words: &[String], engine: Engine) -> Result<Parsed, Failure> {
    let words = words.get(1..).unwrap_or_default();
    let Some((first, rest)) = words.split_first() else {
        return Ok(help("Usage:  docker [OPTIONS] COMMAND\n".to_owned()));
    };
    match first.as_str() {
        "-v" | "--version" => {
            let version = super::verbs::version(engine);
            return Ok(help(format!("Docker version {version}, build vethlab\n")));
        }
        "container" => return group("container", "Manage containers", rest, engine),
        "network" => return group("network", "Manage networks", rest, engine),
        "system" if rest.first().is_some_and(|w| w == "info") => {
            return command("info", "system info", &rest[1..], engine);
        }
        _ => {}
    }
    if first.starts_with('-') {
        let message = format!("vethlab: docker's global option {first} is not modelled");
        return Err(Failure { message, code: 125 });
    }
    if !is_known(first) {
        return Err(unknown(first, engine));
    }
    command(first, first, rest, engine)
}

fn is_known(path: &str) -> bool {
    COMMANDS.iter().any(|usage| usage.path == path)
}

fn help(text: String) -> Parsed {
    Parsed {
        command: Command::Help(text),
        ignored: Vec::new(),
    }
}

fn group(name: &str, short: &str, rest: &[String], engine: Engine) -> Result<Parsed, Failure> {
    let usage = || group_help(name, short);
    let Some((first, rest)) = rest.split_first() else {
        return Ok(help(format!("\n{}\n", usage())));
    };
    if first == "--help" {
        return Ok(help(format!("\n{}\n", usage())));
    }
    let path = alias(name, first);
    if is_known(&path) && (name == "network" || is_container_command(&path)) {
        return command(&path, &format!("{name} {first}"), rest, engine);
    }
    Err(Failure::new(if engine == Engine::V20_10 {
        format!("\n{}", usage())
    } else {
        format!(
            "docker: unknown command: docker {name} {first}\n\nUsage:  docker {name}\n\n\
             Run 'docker {name} --help' for more information"
        )
    }))
}

fn is_container_command(path: &str) -> bool {
    !path.starts_with("network ") && !matches!(path, "info" | "pull" | "version")
}

/// Commands of Docker that have nothing to do with networks.
const OTHERS: &[&str] = &[
    "build", "builder", "buildx", "commit", "compose", "config", "context", "cp", "diff", "events",
    "export", "history", "image", "images", "import", "init", "load", "login", "logout",
    "manifest", "node", "plugin", "push", "rmi", "save", "scout", "search", "secret", "service",
    "stack", "stats", "swarm", "system", "tag", "top", "trust", "update", "volume",
];

fn unknown(name: &str, engine: Engine) -> Failure {
    if OTHERS.contains(&name) {
        let message = format!("vethlab: 'docker {name}' is not modelled");
        return Failure { message, code: 125 };
    }
    Failure::new(if engine == Engine::V20_10 {
        format!("docker: '{name}' is not a docker command.\nSee 'docker --help'")
    } else {
        format!(
            "docker: unknown command: docker {name}\n\nRun 'docker --help' for more information"
        )
    })
}

fn command(path: &str, typed: &str, rest: &[String], engine: Engine) -> Result<Parsed, Failure> {
    const HELP: Flag = Flag::new("help", Kind::Bool);
    let Some(usage) = COMMANDS.iter().find(|usage| usage.path == path) else {
        return Err(unknown(path, engine));
    };
    let mut known = usage.flags.to_vec();
    known.push(HELP);
    let values = flags::parse(rest, &known, usage.interspersed, engine)
        .map_err(|error| usage.flag_error(typed, &error, engine))?;
    if values.is("help") {
        return Ok(help(usage.help(typed, engine)));
    }
    usage.check(typed, values.arguments.len(), engine)?;
    let ignored = values.ignored.clone();
    let command = build(usage, typed, values, engine)?;
    Ok(Parsed { command, ignored })
}

fn build(
    usage: &Usage,
    typed: &str,
    mut values: Values,
    engine: Engine,
) -> Result<Command, Failure> {
    let arguments = core::mem::take(&mut values.arguments);
    let at = |i: usize| arguments.get(i).cloned().unwrap_or_default();
    let each = |verb: Verb| Command::Each {
        verb,
        containers: arguments.clone(),
        signal: values
            .last("signal")
            .filter(|s| !s.is_empty())
            .unwrap_or("KILL")
            .to_owned(),
        timeout: values.int("time"),
    };
    Ok(match usage.path {
        "attach" => Command::Attach { container: at(0) },
        "create" => Command::Create(Box::new(run::read("create", &values, &arguments, engine)?)),
        "exec" => Command::Exec {
            container: at(0),
            argv: arguments.get(1..).unwrap_or_default().to_vec(),
            interactive: values.is("interactive"),
            tty: values.is("tty"),
            detach: values.is("detach"),
        },
        "info" => Command::Info {
            format: values.text("format"),
        },
        "inspect" => Command::Inspect {
            kinds: kinds(typed, values.last("type"), engine)?,
            format: values.text("format"),
            verbose: false,
            names: arguments,
        },
        "kill" => each(Verb::Kill),
        "logs" => Command::Logs {
            container: at(0),
            tail: values.last("tail").and_then(|n| n.parse().ok()),
        },
        "network connect" => Command::NetworkConnect {
            network: at(0),
            container: at(1),
            endpoint: network::endpoint(&values)?,
        },
        "network create" => {
            Command::NetworkCreate(Box::new(network::create(at(0), &values, engine)?))
        }
        "network disconnect" => Command::NetworkDisconnect {
            network: at(0),
            container: at(1),
            force: values.is("force"),
        },
        "network inspect" => Command::Inspect {
            kinds: Kinds::Network,
            format: values.text("format"),
            verbose: values.is("verbose"),
            names: arguments,
        },
        "network ls" => Command::NetworkLs {
            filters: filters(&values),
            format: values.text("format"),
            quiet: values.is("quiet"),
            no_trunc: values.is("no-trunc"),
        },
        "network prune" => Command::NetworkPrune {
            filters: filters(&values),
            force: values.is("force"),
        },
        "network rm" => Command::NetworkRm {
            networks: arguments,
            force: values.is("force"),
        },
        "pause" => each(Verb::Pause),
        "port" => Command::Port {
            container: at(0),
            port: arguments.get(1).cloned(),
        },
        "ps" => ps(&values),
        "pull" => Command::Pull,
        "rename" => Command::Rename {
            container: at(0),
            name: at(1),
        },
        "restart" => each(Verb::Restart),
        "rm" => Command::Rm {
            containers: arguments,
            force: values.is("force"),
        },
        "run" => Command::Run(Box::new(run::read("run", &values, &arguments, engine)?)),
        "start" => Command::Start {
            containers: arguments,
            attach: values.is("attach"),
            interactive: values.is("interactive"),
        },
        "stop" => each(Verb::Stop),
        "unpause" => each(Verb::Unpause),
        "version" => Command::Version {
            format: values.text("format"),
        },
        "wait" => each(Verb::Wait),
        other => return Err(unknown(other, engine)),
    })
}

fn ps(values: &Values) -> Command {
    let last = values
        .int("last")
        .filter(|n| *n > 0)
        .and_then(|n| usize::try_from(n).ok());
    let last = last.or_else(|| values.is("latest").then_some(1));
    Command::Ps {
        all: values.is("all") || last.is_some(),
        filters: filters(values),
        format: values.text("format"),
        quiet: values.is("quiet"),
        no_trunc: values.is("no-trunc"),
        last,
    }
}

fn filters(values: &Values) -> Filters {
    let mut filters = Filters::new();
    for filter in values.all("filter") {
        let (name, value) = filter.split_once('=').unwrap_or((&filter, ""));
        filters
            .entry(name.to_owned())
            .or_default()
            .push(value.to_owned());
    }
    filters
}

fn kinds(typed: &str, kind: Option<&str>, engine: Engine) -> Result<Kinds, Failure> {
    if typed == "container inspect" {
        return Ok(Kinds::Container);
    }
    match kind.unwrap_or_default() {
        "" => Ok(Kinds::Any),
        "container" => Ok(Kinds::Container),
        "network" => Ok(Kinds::Network),
        known @ ("config" | "image" | "node" | "plugin" | "secret" | "service" | "task"
        | "volume") => {
            let message = format!("vethlab: 'docker inspect --type {known}' is not modelled");
            Err(Failure { message, code: 125 })
        }
        other if engine == Engine::V20_10 => Err(Failure::new(format!(
            "\"{other}\" is not a valid value for --type"
        ))),
        other => Err(Failure::new(format!(
            "unknown type: \"{other}\": must be one of \"config\", \"container\", \"image\", \"network\", \
             \"node\", \"plugin\", \"secret\", \"service\", \"task\", \"volume\""
        ))),
    }
}
