//! `getent ahosts NAME`, an address a line: what `getaddrinfo` gives. Exit code 2 if there is none, as glibc's.

use dns::Families;

use super::resolve::Resolve;
use super::{Context, Libc};
use crate::app::{App, Step, Sys};

use super::args::Failure;

/// A name that is being looked up.
#[derive(Debug)]
pub struct Getent {
    name: String,
    libc: Libc,
    resolve: Option<Resolve>,
}

impl Getent {
    /// Looks `name` up.
    #[must_use]
    pub const fn new(name: String, libc: Libc) -> Self {
        Self {
            name,
            libc,
            resolve: None,
        }
    }
}

pub(super) fn start(argv: &[String], context: &Context) -> Result<Box<dyn App>, Failure> {
    match argv {
        [database, name] if matches!(database.as_str(), "ahosts" | "hosts") => {
            Ok(Box::new(Getent::new(name.clone(), context.libc)))
        }
        _ => Err(Failure::new("getent", "usage: getent ahosts NAME")),
    }
}

impl App for Getent {
    fn run(&mut self, sys: &mut dyn Sys) -> Step {
        if self.resolve.is_none() {
            self.resolve = Some(Resolve::new(sys, &self.name, Families::Both, self.libc));
        }
        match self.resolve.as_mut().and_then(|resolve| resolve.run(sys)) {
            None => Step::Wait,
            Some(Ok(addresses)) => {
                for address in addresses {
                    sys.print(&format!("{address}\n"));
                }
                Step::Exit(0)
            }
            Some(Err(_)) => Step::Exit(2),
        }
    }

    fn name(&self) -> &str {
        "getent"
    }
}
