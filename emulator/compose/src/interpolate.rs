//! Variable substitution over a whole tree: every string value (never a key), then the cast to the
//! type that its place in the file needs.
//!
//! Places stay those of the text as written. The casts are compose's: `"yes"` is a boolean where a
//! boolean is needed, with a warning.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::{ErrorKind, Fault, Warning};
use crate::model::Unset;
use crate::node::{Node, Place, Value};
use crate::template::{self, TemplateError};

/// How many bytes all substituted texts of a load may have.
const MAX_TOTAL: usize = 64 << 20;

/// How many places of variables without a value are kept.
pub const MAX_UNSET: usize = 4096;

/// What substitution needs to know and what it finds.
pub(crate) struct Interpolation<'a> {
    pub(crate) env: &'a BTreeMap<String, String>,
    pub(crate) warnings: &'a mut Vec<Warning>,
    /// Variables that were warned of: compose says it once each time, we once.
    pub(crate) warned: &'a mut BTreeSet<String>,
    /// Where a variable had no value.
    pub(crate) unset: &'a mut Vec<Unset>,
    /// Bytes made so far.
    pub(crate) spent: &'a mut usize,
}

impl Interpolation<'_> {
    /// Substitutes everything below `root`.
    pub(crate) fn run(&mut self, root: &mut Node) -> Result<(), Fault> {
        self.walk(root, &mut Vec::new())
    }

    fn walk(&mut self, node: &mut Node, path: &mut Vec<String>) -> Result<(), Fault> {
        let at = node.at;
        match &mut node.value {
            Value::Str(text) => {
                let text = self.text(text, at, path)?;
                node.value = cast(text, path, at, self.warnings)?;
            }
            Value::List(items) => {
                path.push("[]".to_owned());
                for item in items {
                    self.walk(item, path)?;
                }
                path.pop();
            }
            Value::Map(entries) => {
                for entry in entries {
                    path.push(entry.key.clone());
                    self.walk(&mut entry.node, path)?;
                    path.pop();
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Substitutes one text that stands at `path`.
    pub(crate) fn text(&mut self, text: &str, at: Place, path: &[String]) -> Result<String, Fault> {
        if !text.contains('$') {
            return Ok(text.to_owned());
        }
        let mut missed = Vec::new();
        let lookup = |name: &str| self.env.get(name).cloned();
        let out = template::substitute(text, &lookup, &mut |name| missed.push(name.to_owned()));
        for name in missed {
            self.miss(name, at, path);
        }
        let out = out.map_err(|error| template_fault(&error, at, path))?;
        *self.spent = self.spent.saturating_add(out.len());
        if *self.spent > MAX_TOTAL {
            return Err(template_fault(&TemplateError::TooLarge, at, path));
        }
        Ok(out)
    }

    fn miss(&mut self, name: String, at: Place, path: &[String]) {
        let message = format!("The {name:?} variable is not set. Defaulting to a blank string.");
        let unset = Unset {
            name: name.clone(),
            path: path.to_vec(),
            at,
        };
        if self.unset.len() < MAX_UNSET {
            self.unset.push(unset);
        }
        if self.warned.insert(name) {
            let at = Some(at);
            self.warnings.push(Warning { message, at });
        }
    }
}

fn template_fault(error: &TemplateError, at: Place, path: &[String]) -> Fault {
    let path = path.join(".");
    match error {
        TemplateError::Invalid => Fault::new(
            ErrorKind::Interpolation,
            at,
            format!("invalid interpolation format for {path}"),
        )
        .hint("You may need to escape any $ with another $"),
        TemplateError::Required { name, reason } => {
            let reason = if reason.is_empty() {
                String::new()
            } else {
                format!(": {reason}")
            };
            let text = format!(
                "error while interpolating {path}: required variable {name} is missing a value{reason}"
            );
            Fault::new(ErrorKind::Interpolation, at, text)
        }
        TemplateError::TooLarge => {
            let text = format!("error while interpolating {path}: the text grows too large");
            Fault::new(ErrorKind::TooLarge, at, text)
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Cast {
    Bool,
    Int,
}

/// The type that compose casts a string to at this place.
fn wanted(path: &[String]) -> Option<Cast> {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    match path.as_slice() {
        ["services", _, rest @ ..] => wanted_in_service(rest),
        [
            "networks",
            _,
            "external" | "internal" | "attachable" | "enable_ipv4" | "enable_ipv6",
        ]
        | ["volumes" | "secrets" | "configs", _, "external"] => Some(Cast::Bool),
        _ => None,
    }
}

fn wanted_in_service(path: &[&str]) -> Option<Cast> {
    match path {
        ["init" | "oom_kill_disable" | "privileged" | "read_only" | "stdin_open" | "tty"]
        | ["depends_on", _, "required" | "restart"]
        | ["healthcheck", "disable"] => Some(Cast::Bool),
        ["scale" | "cpu_count" | "cpu_period" | "cpu_quota" | "cpu_shares" | "pids_limit"]
        | ["oom_score_adj"]
        | ["deploy", "replicas"]
        | ["healthcheck", "retries"]
        | ["ports", "[]", "target"] => Some(Cast::Int),
        _ => None,
    }
}

fn cast(
    text: String,
    path: &[String],
    at: Place,
    warnings: &mut Vec<Warning>,
) -> Result<Value, Fault> {
    match wanted(path) {
        None => Ok(Value::Str(text)),
        Some(Cast::Int) => text.parse().map(Value::Int).map_err(|_| {
            let why = format!("strconv.Atoi: parsing {text:?}: invalid syntax");
            cast_fault(path, at, &why)
        }),
        Some(Cast::Bool) => match text.to_lowercase().as_str() {
            "true" => Ok(Value::Bool(true)),
            "false" => Ok(Value::Bool(false)),
            "y" | "yes" | "on" => Ok(loose_bool(&text, true, at, warnings)),
            "n" | "no" | "off" => Ok(loose_bool(&text, false, at, warnings)),
            _ => Err(cast_fault(path, at, &format!("invalid boolean: {text}"))),
        },
    }
}

fn loose_bool(text: &str, value: bool, at: Place, warnings: &mut Vec<Warning>) -> Value {
    let message =
        format!("{text:?} for boolean is not supported by YAML 1.2, please use `{value}`");
    let at = Some(at);
    warnings.push(Warning { message, at });
    Value::Bool(value)
}

fn cast_fault(path: &[String], at: Place, why: &str) -> Fault {
    let path = path.join(".");
    let text = format!("error while interpolating {path}: failed to cast to expected type: {why}");
    Fault::new(ErrorKind::Interpolation, at, text)
}
