//! Lines of the host in a transcript that are not Docker's: the programs of a container, those that show the
//! firewall, and those that show bridges.

use vethlab::core::id::NsId;
use vethlab::core::tools::Context;

use super::{LabEngine, context};
use crate::docker::daemon::Place;
use crate::output::Output;

impl LabEngine {
    pub(super) const fn place(&self, place: Place) -> NsId {
        let places = self.lab.places();
        match place {
            Place::Host => places.host,
            Place::Lan => places.lan,
            Place::Internet => places.internet,
        }
    }

    pub(super) fn host_line(&mut self, place: Place, argv: &[String], stdin: &str) -> Output {
        let words: Vec<&str> = argv.iter().map(String::as_str).collect();
        match words.split_first() {
            Some((&"sudo", rest)) => {
                let rest: Vec<String> = rest.iter().map(|&word| word.to_owned()).collect();
                self.host_line(place, &rest, stdin)
            }
            Some((&("bridge" | "brctl"), rest)) if place == Place::Host => {
                self.bridge_line(words[0], rest)
            }
            _ => {
                let ns = self.place(place);
                let context = Context {
                    firewall: place == Place::Host,
                    ..context("ubuntu", stdin)
                };
                self.run(ns, argv, &context)
            }
        }
    }
}
