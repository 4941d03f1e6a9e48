//! Carries out a template.
//!
//! Models `text/template/exec.go` with `missingkey=error`, which Docker's `inspect` ends up with:
//! an unknown field is an error, a missing key of what Docker knows as a map is not. Work and output
//! are bounded.

use super::parse::{Command, Node, Operand, Pipeline, Term};
use super::{Error, Value, funcs, gostring};

/// The most text that a template may write, in bytes.
const MAX_OUTPUT: usize = 16 << 20;
/// The most nodes that may be carried out.
const MAX_STEPS: usize = 4 << 20;

/// What a template walks over.
#[derive(Clone, Copy, Debug)]
pub enum Data<'a> {
    /// An object as `inspect` gets it.
    Inspected(&'a Value),
    /// A line of `ps` or `network ls`.
    Row {
        /// The Go type that errors name, such as `*formatter.ContainerContext`.
        go_type: &'static str,
        /// Its columns.
        columns: &'a Value,
        /// What `{{.Label "key"}}` looks up.
        labels: &'a Value,
    },
    /// The heads of the columns: functions leave them as they are.
    Header(&'a Value),
}

struct Exec<'a> {
    source: &'a str,
    data: Data<'a>,
    out: String,
    variables: Vec<(String, Value)>,
    steps: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    Next,
    Break,
    Continue,
}

/// Carries out `nodes`, which were read from `source`.
pub(super) fn execute(source: &str, nodes: &[Node], data: Data<'_>) -> Result<String, Error> {
    let (Data::Inspected(root) | Data::Row { columns: root, .. } | Data::Header(root)) = data;
    let mut exec = Exec {
        source,
        data,
        out: String::new(),
        variables: vec![(String::new(), root.clone())],
        steps: 0,
    };
    exec.nodes(nodes, root, true)?;
    Ok(exec.out)
}

impl Exec<'_> {
    /// `template: :LINE:COLUMN: executing "" at <TEXT>: message`; the column counts bytes from 0.
    fn error(&self, offset: usize, span: (usize, usize), message: &str) -> Error {
        let before = &self.source[..offset];
        let line = 1 + before.matches('\n').count();
        let column = before
            .rfind('\n')
            .map_or(offset, |newline| offset - newline - 1);
        let text = self.source[span.0..span.1].trim();
        Error(format!(
            "template: :{line}:{column}: executing \"\" at <{text}>: {message}"
        ))
    }

    fn nodes(&mut self, nodes: &[Node], dot: &Value, root: bool) -> Result<Flow, Error> {
        for node in nodes {
            self.steps += 1;
            if self.steps > MAX_STEPS || self.out.len() > MAX_OUTPUT {
                return Err(Error("template: : too much output".to_owned()));
            }
            match self.node(node, dot, root)? {
                Flow::Next => {}
                flow => return Ok(flow),
            }
        }
        Ok(Flow::Next)
    }

    fn node(&mut self, node: &Node, dot: &Value, root: bool) -> Result<Flow, Error> {
        match node {
            Node::Text(text) => self.out.push_str(text),
            Node::Print(pipeline) => {
                let value = self.pipeline(pipeline, dot, root)?;
                if pipeline.variables.is_empty() {
                    let text = gostring::show(&value, last_field(pipeline));
                    self.out.push_str(&text);
                }
            }
            Node::If(pipeline, yes, no) => {
                let scope = self.variables.len();
                let taken = self.pipeline(pipeline, dot, root)?.truth();
                let flow = self.nodes(if taken { yes } else { no }, dot, root)?;
                self.variables.truncate(scope);
                return Ok(flow);
            }
            Node::With(pipeline, yes, no) => {
                let scope = self.variables.len();
                let value = self.pipeline(pipeline, dot, root)?;
                let flow = if value.truth() {
                    self.nodes(yes, &value, false)?
                } else {
                    self.nodes(no, dot, root)?
                };
                self.variables.truncate(scope);
                return Ok(flow);
            }
            Node::Range(pipeline, body, otherwise) => {
                return self.range(pipeline, (body, otherwise), dot, root);
            }
            Node::Break => return Ok(Flow::Break),
            Node::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::Next)
    }

    fn range(
        &mut self,
        pipeline: &Pipeline,
        (body, otherwise): (&[Node], &[Node]),
        dot: &Value,
        root: bool,
    ) -> Result<Flow, Error> {
        let scope = self.variables.len();
        let value = self.commands(pipeline, dot, root)?;
        let items: Vec<(Value, Value)> = match value {
            Value::Null => Vec::new(),
            Value::Array(items) => (0..).map(Value::Number).zip(items).collect(),
            Value::Object(mut fields) => {
                // Go walks over a map in the order of its keys.
                fields.sort_by(|a, b| a.0.cmp(&b.0));
                fields
                    .into_iter()
                    .map(|(k, v)| (Value::String(k), v))
                    .collect()
            }
            Value::Number(n) if n >= 0 => {
                let limit = i64::try_from(MAX_STEPS).unwrap_or(i64::MAX);
                (0..n.min(limit))
                    .map(|i| (Value::Number(i), Value::Number(i)))
                    .collect()
            }
            other => {
                let span = pipeline_span(pipeline);
                let message = format!("range can't iterate over {}", gostring::print(&other));
                return Err(self.error(span.0, span, &message));
            }
        };
        if items.is_empty() {
            let flow = self.nodes(otherwise, dot, root)?;
            self.variables.truncate(scope);
            return Ok(flow);
        }
        for (key, item) in items {
            match pipeline.variables.as_slice() {
                [] => {}
                [value] => self.set(value, pipeline.declares, item.clone()),
                [first, second, ..] => {
                    self.set(first, pipeline.declares, key);
                    self.set(second, pipeline.declares, item.clone());
                }
            }
            let flow = self.nodes(body, &item, false)?;
            self.variables.truncate(scope);
            if flow == Flow::Break {
                break;
            }
        }
        Ok(Flow::Next)
    }

    fn set(&mut self, name: &str, declares: bool, value: Value) {
        let old = self
            .variables
            .iter_mut()
            .rev()
            .find(|(known, _)| known == name);
        match old {
            Some((_, slot)) if !declares => *slot = value,
            _ => self.variables.push((name.to_owned(), value)),
        }
    }

    fn pipeline(&mut self, pipeline: &Pipeline, dot: &Value, root: bool) -> Result<Value, Error> {
        let value = self.commands(pipeline, dot, root)?;
        for name in &pipeline.variables {
            self.set(name, pipeline.declares, value.clone());
        }
        Ok(value)
    }

    fn commands(&mut self, pipeline: &Pipeline, dot: &Value, root: bool) -> Result<Value, Error> {
        let mut value = None;
        for command in &pipeline.commands {
            value = Some(self.command(command, value, dot, root)?);
        }
        Ok(value.unwrap_or_default())
    }

    fn command(
        &mut self,
        command: &Command,
        piped: Option<Value>,
        dot: &Value,
        root: bool,
    ) -> Result<Value, Error> {
        let Some((first, rest)) = command.operands.split_first() else {
            return Ok(Value::Null);
        };
        let span = (
            first.span.0,
            rest.last().map_or(first.span.1, |last| last.span.1),
        );
        if let (Term::Function(name), []) = (&first.term, first.fields.as_slice()) {
            return self.function(name, rest, piped, span, dot, root);
        }
        if rest.is_empty() && piped.is_none() {
            return self.operand(first, dot, root);
        }
        if let (Data::Row { labels, .. }, true, Term::Dot, [(_, method)]) =
            (self.data, root, &first.term, first.fields.as_slice())
            && method == "Label"
        {
            let key = match (rest, piped) {
                ([key], None) => self.operand(key, dot, root)?,
                ([], Some(key)) => key,
                _ => {
                    return Err(self.error(
                        first.span.0,
                        span,
                        "wrong number of args for Label: want 1",
                    ));
                }
            };
            let label = labels.field(key.as_str().unwrap_or_default());
            return Ok(label.cloned().unwrap_or_else(|| "".into()));
        }
        let message = match first.fields.last() {
            Some((_, name)) => format!("{name} is not a method but has arguments"),
            None => format!("can't give argument to non-function {}", self.text(span)),
        };
        Err(self.error(first.span.0, first.span, &message))
    }

    fn text(&self, span: (usize, usize)) -> &str {
        self.source[span.0..span.1].trim()
    }

    fn function(
        &mut self,
        name: &str,
        arguments: &[Operand],
        piped: Option<Value>,
        span: (usize, usize),
        dot: &Value,
        root: bool,
    ) -> Result<Value, Error> {
        let count = arguments.len() + usize::from(piped.is_some());
        let (least, most) = funcs::arity(name);
        if count < least || count > most {
            let want = if least == most {
                least.to_string()
            } else {
                format!("at least {least}")
            };
            let message = format!("wrong number of args for {name}: want {want} got {count}");
            return Err(self.error(span.0, (span.0, span.0 + name.len()), &message));
        }
        let mut values = Vec::with_capacity(count);
        for argument in arguments {
            let value = self.operand(argument, dot, root)?;
            // These two stop at the first value that decides.
            if name == "and" && !value.truth() || name == "or" && value.truth() {
                return Ok(value);
            }
            values.push(value);
        }
        values.extend(piped);
        if matches!(name, "and" | "or") {
            return Ok(values.pop().unwrap_or_default());
        }
        if let (Data::Header(_), Some(head @ Value::String(_))) = (self.data, values.first())
            && matches!(
                name,
                "json" | "split" | "join" | "title" | "lower" | "upper" | "truncate"
            )
        {
            return Ok(head.clone());
        }
        let texts = arguments.first().and_then(|first| first.fields.last());
        if let ("index", [Value::Object(_), Value::String(key)]) = (name, values.as_slice())
            && texts.is_some_and(|(_, field)| gostring::is_text_map(field))
            && values[0].field(key).is_none()
        {
            return Ok("".into());
        }
        funcs::call(name, &values).map_err(|message| {
            self.error(span.0, span, &format!("error calling {name}: {message}"))
        })
    }

    fn operand(&mut self, operand: &Operand, dot: &Value, root: bool) -> Result<Value, Error> {
        let mut value = match &operand.term {
            Term::Dot => dot.clone(),
            Term::Nil if operand.fields.is_empty() => {
                return Err(self.error(operand.span.0, operand.span, "nil is not a command"));
            }
            Term::Nil => Value::Null,
            Term::Bool(yes) => Value::Bool(*yes),
            Term::Number(n) => Value::Number(*n),
            Term::Text(text) => Value::String(text.clone()),
            Term::Variable(name) => {
                let variable = self.variables.iter().rev().find(|(known, _)| known == name);
                variable.map(|(_, value)| value.clone()).unwrap_or_default()
            }
            Term::Function(name) => {
                return self.function(name, &[], None, operand.span, dot, root);
            }
            Term::Pipeline(pipeline) => self.commands(pipeline, dot, root)?,
        };
        let top = root && operand.term == Term::Dot
            || matches!(&operand.term, Term::Variable(name) if name.is_empty());
        // Go counts the place of a chain of fields from its second one.
        let place = match (&operand.term, operand.fields.as_slice()) {
            (Term::Dot, [_, (second, _), ..]) => *second,
            (_, [(first, _), ..]) => *first,
            _ => operand.span.0,
        };
        let mut parent: Option<&str> = None;
        for (i, (_, name)) in operand.fields.iter().enumerate() {
            let missing = match value.field(name) {
                Some(found) => {
                    value = found.clone();
                    None
                }
                None => Some(self.missing(&value, name, parent, top && i == 0)),
            };
            match missing {
                None => parent = Some(name),
                Some(None) => return Ok(Value::Null),
                Some(Some(message)) => return Err(self.error(place, operand.span, &message)),
            }
        }
        Ok(value)
    }

    /// What an unknown field means: nothing (a key that a map has not), or an error.
    fn missing(
        &self,
        value: &Value,
        name: &str,
        parent: Option<&str>,
        top: bool,
    ) -> Option<String> {
        match (value, self.data) {
            (Value::Object(_), Data::Row { go_type, .. }) if top => {
                Some(format!("can't evaluate field {name} in type {go_type}"))
            }
            // The head of an unknown column is an unknown column's: nothing.
            (Value::Object(_), Data::Header(_)) => None,
            (Value::Object(_), _) if parent.is_some_and(gostring::is_map) => None,
            (Value::Object(_), _) => Some(format!("map has no entry for key {name:?}")),
            (Value::Null, _) => Some(format!("nil pointer evaluating interface {{}}.{name}")),
            _ => Some(format!(
                "can't evaluate field {name} in type interface {{}}"
            )),
        }
    }
}

/// The name under which the value of a pipeline was found, if it is a plain field.
fn last_field(pipeline: &Pipeline) -> Option<&str> {
    let [command] = pipeline.commands.as_slice() else {
        return None;
    };
    let [operand] = command.operands.as_slice() else {
        return None;
    };
    operand.fields.last().map(|(_, name)| name.as_str())
}

fn pipeline_span(pipeline: &Pipeline) -> (usize, usize) {
    let mut operands = pipeline.commands.iter().flat_map(|c| &c.operands);
    let start = operands.next().map_or((0, 0), |first| first.span);
    let end = operands.next_back().map_or(start.1, |last| last.span.1);
    (start.0, end)
}
