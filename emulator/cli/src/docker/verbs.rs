//! The verbs that print little: networks made and removed, containers started and stopped, ports, logs.

use vethlab::core::docker::Error;
use vethlab::core::docker::error::Kind;
use vethlab::core::docker::spec::Engine;

use super::command::{Command, Verb};
use super::daemon::{Daemon, Filters, State, parse_port};
use super::exec::{daemon_error, lookup_error};
use super::ps;
use crate::format::text::natural;
use crate::format::{Data, Template, Value};
use crate::output::{Output, Stream};

/// The version that an engine calls itself.
pub(super) const fn version(engine: Engine) -> &'static str {
    match engine {
        Engine::V20_10 => "20.10.24",
        Engine::V29 => "29.7.2",
    }
}

const fn api_version(engine: Engine) -> &'static str {
    match engine {
        Engine::V20_10 => "1.41",
        Engine::V29 => "1.56",
    }
}

/// Carries out one of these verbs.
pub(super) fn execute(daemon: &mut dyn Daemon, command: Command, stdin: &str) -> Output {
    let result = match command {
        Command::Each {
            verb,
            containers,
            signal,
            timeout,
        } => each(daemon, verb, &containers, &signal, timeout),
        Command::Info { format } => Ok(info(daemon, &format)),
        Command::Logs { container, tail } => logs(daemon, &container, tail),
        Command::NetworkConnect {
            network,
            container,
            endpoint,
        } => daemon
            .network_connect(&network, &container, endpoint)
            .map(|()| Output::default()),
        Command::NetworkCreate(spec) => daemon.network_create(*spec).map(|created| {
            let mut output = Output::default();
            for warning in created.warnings {
                output.push(Stream::Err, format!("WARNING: {warning}\n"));
            }
            output.push(Stream::Out, created.id + "\n");
            output
        }),
        Command::NetworkDisconnect {
            network,
            container,
            force,
        } => daemon
            .network_disconnect(&network, &container, force)
            .map(|()| Output::default()),
        Command::NetworkPrune { filters, force } => prune(daemon, &filters, force, stdin),
        Command::NetworkRm { networks, force } => Ok(network_rm(daemon, &networks, force)),
        Command::Port { container, port } => Ok(port_list(daemon, &container, port.as_deref())),
        Command::Rename { container, name } => Ok(rename(daemon, &container, &name)),
        Command::Rm { containers, force } => Ok(rm(daemon, &containers, force)),
        Command::Start { containers, .. } => Ok(start(daemon, &containers)),
        Command::Version { format } => Ok(show_version(daemon.engine(), &format)),
        // Images are always there, and the rest is carried out elsewhere.
        _ => Ok(Output::default()),
    };
    result.unwrap_or_else(|error| Output::err(daemon_error(&error) + "\n", 1))
}

/// Does something to each name; prints the names that went well, then the errors.
fn for_each(
    names: &[String],
    mut act: impl FnMut(&String) -> Result<Option<String>, String>,
) -> Output {
    let (mut output, mut errors) = (Output::default(), Vec::new());
    for name in names {
        match act(name) {
            Ok(Some(line)) => output.push(Stream::Out, line + "\n"),
            Ok(None) => {}
            Err(error) => errors.push(error),
        }
    }
    if !errors.is_empty() {
        output.push(Stream::Err, errors.join("\n") + "\n");
        output.code = 1;
    }
    output
}

fn each(
    daemon: &mut dyn Daemon,
    verb: Verb,
    containers: &[String],
    signal: &str,
    timeout: Option<i64>,
) -> Result<Output, Error> {
    Ok(for_each(containers, |name| {
        let result = match verb {
            Verb::Kill => daemon.kill(name, signal),
            Verb::Pause => daemon.pause(name),
            Verb::Restart => daemon.restart(name, timeout),
            Verb::Stop => daemon.stop(name, timeout),
            Verb::Unpause => daemon.unpause(name),
            Verb::Wait => {
                let ended = daemon.wait(name).map_err(|error| daemon_error(&error))?;
                return Ok(Some(ended.code.to_string()));
            }
        };
        result
            .map(|()| Some(name.clone()))
            .map_err(|error| daemon_error(&error))
    }))
}

fn start(daemon: &mut dyn Daemon, containers: &[String]) -> Output {
    let (mut output, mut failed) = (Output::default(), Vec::new());
    for name in containers {
        match daemon.start(name) {
            Ok(()) => output.push(Stream::Out, format!("{name}\n")),
            Err(error) => {
                output.push(Stream::Err, daemon_error(&error) + "\n");
                failed.push(name.as_str());
            }
        }
    }
    if !failed.is_empty() {
        let prefix = if daemon.engine() == Engine::V20_10 {
            "Error: "
        } else {
            ""
        };
        let names = failed.join(", ");
        output.push(
            Stream::Err,
            format!("{prefix}failed to start containers: {names}\n"),
        );
        output.code = 1;
    }
    output
}

fn rm(daemon: &mut dyn Daemon, containers: &[String], force: bool) -> Output {
    let engine = daemon.engine();
    for_each(containers, |name| {
        let bare = name.trim_matches('/');
        if bare.is_empty() {
            let word = if engine == Engine::V20_10 {
                "Container"
            } else {
                "container"
            };
            return Err(format!("{word} name cannot be empty"));
        }
        match daemon.remove(bare, force) {
            Ok(()) => Ok(Some(name.clone())),
            Err(error) if force && error.kind == Kind::NotFound && engine != Engine::V20_10 => {
                Ok(None)
            }
            Err(error) => Err(lookup_error(&error, "container", name, engine)),
        }
    })
}

fn rename(daemon: &mut dyn Daemon, container: &str, name: &str) -> Output {
    let old = daemon.engine() == Engine::V20_10;
    match daemon.rename(container, name) {
        Ok(()) => Output::default(),
        Err(error) if old => {
            let error = daemon_error(&error);
            let text = format!("{error}\nError: failed to rename container named {container}\n");
            Output::err(text, 1)
        }
        Err(error) => Output::err(
            format!("failed to rename container: {}\n", daemon_error(&error)),
            1,
        ),
    }
}

fn network_rm(daemon: &mut dyn Daemon, networks: &[String], force: bool) -> Output {
    let engine = daemon.engine();
    let mut output = Output::default();
    let mut failed = false;
    for name in networks {
        match daemon.network_remove(name) {
            Ok(()) => output.push(Stream::Out, format!("{name}\n")),
            Err(error) if force && error.kind == Kind::NotFound => {}
            Err(error) => {
                let error = lookup_error(&error, "network", name, engine);
                output.push(Stream::Err, error + "\n");
                failed = true;
            }
        }
    }
    if failed {
        if engine != Engine::V20_10 {
            output.push(Stream::Err, "exit status 1\n");
        }
        output.code = 1;
    }
    output
}

fn prune(
    daemon: &mut dyn Daemon,
    filters: &Filters,
    force: bool,
    stdin: &str,
) -> Result<Output, Error> {
    let mut output = Output::default();
    if !force {
        let question = "WARNING! This will remove all custom networks not used by at least one container.\n\
             Are you sure you want to continue? [y/N] ";
        output.push(Stream::Out, question);
        if !matches!(stdin.lines().next().map(str::trim), Some("y" | "Y")) {
            return Ok(output);
        }
    }
    let names = daemon.network_prune(filters)?;
    if !names.is_empty() {
        output.push(
            Stream::Out,
            format!("Deleted Networks:\n{}\n\n", names.join("\n")),
        );
    }
    Ok(output)
}

fn logs(daemon: &mut dyn Daemon, container: &str, tail: Option<usize>) -> Result<Output, Error> {
    let engine = daemon.engine();
    let logs = match daemon.logs(container) {
        Ok(logs) => logs,
        Err(error) => {
            return Ok(Output::err(
                lookup_error(&error, "container", container, engine) + "\n",
                1,
            ));
        }
    };
    let Some(tail) = tail else {
        return Ok(Output { code: 0, ..logs });
    };
    let mut lines: Vec<(Stream, String)> = Vec::new();
    for (stream, text) in logs.parts {
        lines.extend(
            text.split_inclusive('\n')
                .map(|line| (stream, line.to_owned())),
        );
    }
    let mut output = Output::default();
    for (stream, line) in lines.split_off(lines.len().saturating_sub(tail)) {
        output.push(stream, line);
    }
    Ok(output)
}

fn port_list(daemon: &mut dyn Daemon, container: &str, port: Option<&str>) -> Output {
    let engine = daemon.engine();
    let value = match daemon.inspect(container) {
        Ok(value) => value,
        Err(error) => {
            return Output::err(
                lookup_error(&error, "container", container, engine) + "\n",
                1,
            );
        }
    };
    let mut lines = Vec::new();
    let ports = match value.at(&["NetworkSettings", "Ports"]) {
        Some(Value::Object(ports)) => ports.as_slice(),
        _ => &[],
    };
    let wanted = match port.map(|text| (text, parse_port(text))) {
        Some((text, None)) => {
            let text = if engine == Engine::V20_10 {
                format!("Invalid port: {text}")
            } else {
                format!("invalid port '{text}': invalid syntax")
            };
            return Output::err(text + "\n", 1);
        }
        Some((_, Some(port))) => Some(port.to_string()),
        None => None,
    };
    for (name, bindings) in ports {
        let Value::Array(bindings) = bindings else {
            continue;
        };
        for binding in bindings {
            let host = binding.text_at(&["HostIp"]);
            let number = binding.text_at(&["HostPort"]);
            let host = match host.parse() {
                Ok(ip) => ps::join(ip, number, engine),
                Err(_) => format!("{host}:{number}"),
            };
            match &wanted {
                Some(wanted) if wanted == name => lines.push(host),
                Some(_) => {}
                None => lines.push(format!("{name} -> {host}")),
            }
        }
    }
    if let Some(wanted) = wanted
        && lines.is_empty()
    {
        return Output::err(
            if engine == Engine::V20_10 {
                format!("Error: No public port '{wanted}' published for {container}\n")
            } else {
                let port = port.unwrap_or_default();
                format!("no public port '{port}' published for {container}\n")
            },
            1,
        );
    }
    lines.sort_by(|a, b| natural(a, b));
    Output::out(
        lines
            .iter()
            .map(|line| format!("{line}\n"))
            .collect::<String>(),
    )
}

/// Prints `value` through a template, or as JSON.
fn formatted(value: &Value, format: &str, engine: Engine) -> Output {
    let format = if format == "json" && engine != Engine::V20_10 {
        "{{json .}}"
    } else {
        format
    };
    let template = match Template::parse(format) {
        Ok(template) => template,
        Err(error) => return Output::err(format!("template parsing error: {error}\n"), 64),
    };
    match template.execute(Data::Inspected(value)) {
        Ok(text) => Output::out(text + "\n"),
        Err(error) => Output::err(format!("{error}\n"), 1),
    }
}

fn show_version(engine: Engine, format: &str) -> Output {
    let (version, api) = (version(engine), api_version(engine));
    if !format.is_empty() {
        let part = || {
            Value::object([
                ("Version", Value::from(version)),
                ("ApiVersion", api.into()),
                ("APIVersion", api.into()),
                ("Os", "linux".into()),
                ("Arch", "amd64".into()),
            ])
        };
        let value = Value::object([("Client", part()), ("Server", part())]);
        return formatted(&value, format, engine);
    }
    Output::out(format!(
        "Client:\n Version:           {version}\n API version:       {api}\n OS/Arch:           linux/amd64\n\n\
         Server: vethlab\n Engine:\n  Version:          {version}\n  API version:      {api}\n  OS/Arch:          linux/amd64\n"
    ))
}

fn info(daemon: &mut dyn Daemon, format: &str) -> Output {
    let engine = daemon.engine();
    let all = match daemon.list(true, &Filters::new()) {
        Ok(all) => all,
        Err(error) => return Output::err(daemon_error(&error) + "\n", 1),
    };
    let count = |wanted: fn(State) -> bool| -> i64 {
        i64::try_from(all.iter().filter(|c| wanted(c.state)).count()).unwrap_or(i64::MAX)
    };
    let running = count(|state| state == State::Running);
    let paused = count(|state| state == State::Paused);
    let total = count(|_| true);
    let stopped = total - running - paused;
    let version = version(engine);
    if !format.is_empty() {
        let value = Value::object([
            ("Containers", Value::Number(total)),
            ("ContainersRunning", Value::Number(running)),
            ("ContainersPaused", Value::Number(paused)),
            ("ContainersStopped", Value::Number(stopped)),
            ("Name", "host".into()),
            ("OSType", "linux".into()),
            ("Architecture", "x86_64".into()),
            ("ServerVersion", version.into()),
            (
                "Swarm",
                Value::object([("LocalNodeState", Value::from("inactive"))]),
            ),
        ]);
        return formatted(&value, format, engine);
    }
    Output::out(format!(
        "Client:\n Version:    {version}\n\nServer:\n Containers: {total}\n  Running: {running}\n  \
         Paused: {paused}\n  Stopped: {stopped}\n Server Version: {version}\n Swarm: inactive\n \
         OSType: linux\n Architecture: x86_64\n Name: host\n"
    ))
}
