//! `--format`: the part of Go's `text/template` that Docker's users write, over ordered values.
//!
//! Models Docker's client: fields, `range`, `if`, `with`, variables, pipelines, the built-in
//! functions and Docker's own, and the errors in Go's words. Leaves out `define`, `template` and
//! `block`, method calls with arguments and fractions.

pub mod gostring;
pub mod json;
pub mod printf;
pub mod table;
pub mod text;
pub mod value;

mod eval;
mod funcs;
mod lex;
mod parse;

use core::fmt;

pub use eval::Data;
pub use value::Value;

/// The longest template that is read, in bytes.
pub const MAX_TEMPLATE: usize = 64 << 10;

/// A template that could be read.
#[derive(Clone, Debug)]
pub struct Template {
    source: String,
    nodes: Vec<parse::Node>,
}

/// Why a template cannot be read or carried out, in Go's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error(pub String);

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl core::error::Error for Error {}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// As Go words them: `template: :1: unclosed action`, `template: :1: function "x" not defined`.
    pub fn parse(source: &str) -> Result<Self, Error> {
        if source.len() > MAX_TEMPLATE {
            return Err(Error("template: :1: template is too long".to_owned()));
        }
        let nodes = parse::parse(source)?;
        Ok(Self {
            source: source.to_owned(),
            nodes,
        })
    }

    /// Carries it out over `data`.
    ///
    /// # Errors
    /// As Go words them: `template: :1:2: executing "" at <.Foo>: …`.
    pub fn execute(&self, data: Data<'_>) -> Result<String, Error> {
        eval::execute(&self.source, &self.nodes, data)
    }
}

#[cfg(test)]
mod tests;
