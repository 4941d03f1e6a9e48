//! `docker inspect`, `docker network inspect`: look up, then print whole or through a template.
//!
//! Models the client's inspector: what was found is printed even if something was not.

use vethlab::core::docker::error::Kind;
use vethlab::core::docker::spec::Engine;

use super::command::Kinds;
use super::daemon::Daemon;
use super::exec::lookup_error;
use crate::format::json::{self, Html};
use crate::format::{Data, Template, Value};
use crate::output::{Output, Stream};

/// Prints every object by name.
pub(super) fn inspect(
    daemon: &mut dyn Daemon,
    names: &[String],
    format: &str,
    kinds: Kinds,
    verbose: bool,
) -> Output {
    let engine = daemon.engine();
    let as_json = format == "json" && engine != Engine::V20_10;
    let template = match Template::parse(format) {
        Ok(template) => template,
        Err(error) => return Output::err(format!("template parsing error: {error}\n"), 64),
    };
    let (mut found, mut lines, mut errors) = (Vec::new(), String::new(), Vec::new());
    for name in names {
        match look_up(daemon, name, kinds, verbose) {
            Err(error) => errors.push(error),
            Ok(value) if format.is_empty() || as_json => found.push(value),
            Ok(value) => match template.execute(Data::Inspected(&value)) {
                Ok(text) => {
                    lines.push_str(&text);
                    lines.push('\n');
                }
                Err(error) => errors.push(format!("template parsing error: {error}")),
            },
        }
    }
    let mut output = Output::default();
    let text = match () {
        () if as_json => json::compact(&Value::Array(found), Html::Escaped) + "\n",
        () if format.is_empty() => json::pretty(&Value::Array(found)) + "\n",
        () if lines.is_empty() => "\n".to_owned(),
        () => lines,
    };
    output.push(Stream::Out, text);
    if !errors.is_empty() {
        output.push(Stream::Err, errors.join("\n") + "\n");
        output.code = 1;
    }
    output
}

fn look_up(
    daemon: &mut dyn Daemon,
    name: &str,
    kinds: Kinds,
    verbose: bool,
) -> Result<Value, String> {
    let engine = daemon.engine();
    if kinds != Kinds::Network {
        match daemon.inspect(name) {
            Ok(value) => return Ok(value),
            Err(error) if kinds == Kinds::Any && error.kind == Kind::NotFound => {}
            Err(error) => return Err(lookup_error(&error, "container", name, engine)),
        }
    }
    match daemon.network_inspect(name, verbose) {
        Ok(value) => Ok(value),
        Err(error) if kinds == Kinds::Any && error.kind == Kind::NotFound => {
            Err(if engine == Engine::V20_10 {
                format!("Error: No such object: {name}")
            } else {
                format!("error: no such object: {name}")
            })
        }
        Err(error) => Err(lookup_error(&error, "network", name, engine)),
    }
}
