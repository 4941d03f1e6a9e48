//! Questions that are answered in a world of their own, beside the one that runs: `why` and `matrix`.
//!
//! They are about the project as it was loaded when it came up, with the same seed and engine, in virtual time. A
//! thread works them out; the lab goes on.

use core::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use emulator_compose::Project;
use emulator_core::lab::Lab;
use emulator_host::control::ClientId;
use emulator_host::reactor::Waker;
use serde_json::Value;

use crate::matrix::{
    Depth, Matrix, Member, csv, fill_together, graphviz, json, markdown, mermaid, svg, table,
};
use crate::together::Together;
use crate::why::{self, Question, why, why_together};
use crate::world::{Options, World};

/// Questions that are worked out at a time.
const ASKS: usize = 2;

/// An answer: the text and the exit code, or why there is none.
pub(super) type Answered = Result<(String, u8), String>;

/// The questions that are being worked out.
#[derive(Debug)]
pub(super) struct Asks {
    together: &'static Together,
    options: Options,
    running: usize,
    sender: SyncSender<(ClientId, Answered)>,
    answers: Receiver<(ClientId, Answered)>,
}

impl Asks {
    pub(super) fn new(together: &'static Together, options: Options) -> Self {
        let (sender, answers) = sync_channel(ASKS);
        Self {
            together,
            options,
            running: 0,
            sender,
            answers,
        }
    }

    /// Begins to work out a request; the waker rings when [`Asks::take`] has the answer.
    ///
    /// # Errors
    /// A sentence, if the request makes no sense or enough are being worked out.
    pub(super) fn begin(
        &mut self,
        waker: Waker,
        client: ClientId,
        request: &Value,
    ) -> Result<(), String> {
        if self.running >= ASKS {
            return Err(format!(
                "{ASKS} questions are being worked out already; ask again in a moment"
            ));
        }
        let job = job(request)?;
        let (together, options) = (self.together, self.options.clone());
        let sender = self.sender.clone();
        let work = move || {
            let answered = catch_unwind(AssertUnwindSafe(|| job(together, &options)));
            let answered = answered
                .unwrap_or_else(|_| Err("a bug of vethlab: it could not be worked out".to_owned()));
            // There is room for as many as are worked out; the desk may be gone.
            let _gone = sender.send((client, answered));
            waker.wake();
        };
        std::thread::Builder::new()
            .spawn(work)
            .map_err(|error| format!("no thread for it: {error}"))?;
        self.running += 1;
        Ok(())
    }

    /// The next answer.
    pub(super) fn take(&mut self) -> Option<(ClientId, Answered)> {
        let next = self.answers.try_recv().ok()?;
        self.running -= 1;
        Some(next)
    }
}

type Job = Box<dyn FnOnce(&Together, &Options) -> Answered + Send>;

fn job(request: &Value) -> Result<Job, String> {
    let format = request["format"].as_str().unwrap_or("text").to_owned();
    if request["verb"] == "matrix" {
        let render = renderer(&format)?;
        return Ok(Box::new(move |together, options| {
            Ok((render(&filled(together, options)?), 0))
        }));
    }
    let word = |key: &str| request[key].as_str().unwrap_or_default();
    let question = Question::parse(word("from"), word("to"))?;
    Ok(Box::new(move |together, options| {
        let projects: Vec<&Project> = together.projects.iter().map(|(_, own)| own).collect();
        let why = match together.joined() {
            Some(joined) => why_together(&joined, &projects, options, &question),
            None => why(projects[0], options, &question),
        };
        let why = why.map_err(|error| error.to_string())?;
        let code = u8::from(!why.is_open());
        let text = if format == "json" {
            serde_json::to_string_pretty(&why).map_err(|error| error.to_string())? + "\n"
        } else {
            why::text::render(&why, |file, line| {
                let text = std::fs::read_to_string(file).ok()?;
                let line = text.lines().nth((line as usize).checked_sub(1)?)?;
                Some(line.to_owned())
            })
        };
        Ok((text, code))
    }))
}

/// The matrix of the projects in a world of their own.
fn filled(together: &Together, options: &Options) -> Result<Matrix, String> {
    let words = |error: &dyn Display| error.to_string();
    let all: Vec<&Project> = together.projects.iter().map(|(_, own)| own).collect();
    let mut world = World::empty(options).map_err(|error| words(&error))?;
    world.start(&all).map_err(|error| words(&error))?;
    let images = world.images().clone();
    let World { mut lab, up, .. } = world;
    let members = together.members().into_iter().filter_map(|(key, project)| {
        let (_, up) = up.iter().find(|(own, _)| core::ptr::eq(*own, project))?;
        Some(Member { key, project, up })
    });
    let members: Vec<Member<'_>> = members.collect();
    let (name, seed) = (&together.name, options.seed);
    let quiet = |_: &mut Lab, _, _| Ok(());
    let filled = fill_together(&mut lab, name, &members, &images, Depth::Every, seed, quiet);
    filled.map_err(|error| words(&error))
}

fn renderer(format: &str) -> Result<fn(&Matrix) -> String, String> {
    Ok(match format {
        "text" => table::render,
        "json" => json::render,
        "csv" => csv::render,
        "markdown" => markdown::render,
        "mermaid" => mermaid::render,
        "graphviz" => graphviz::render,
        "svg" => svg::render,
        other => return Err(format!("{other:?} is no format of a matrix")),
    })
}
