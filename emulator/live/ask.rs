//! Questions that are answered in a world of their own, beside the one that runs: `why` and `matrix`.
//!
//! They are about the project as it was loaded when it came up, with the same seed and engine, in virtual time. A
//! thread works them out; the lab goes on.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use emulator_compose::Project;
use emulator_host::control::ClientId;
use emulator_host::reactor::Waker;
use serde_json::Value;

use crate::matrix::{self, Depth, csv, fill, graphviz, json, markdown, mermaid, svg, table};
use crate::why::{self, Question, why};
use crate::world::{Options, World};

/// Questions that are worked out at a time.
const ASKS: usize = 2;

/// An answer: the text and the exit code, or why there is none.
pub(super) type Answered = Result<(String, u8), String>;

/// The questions that are being worked out.
#[derive(Debug)]
pub(super) struct Asks {
    project: &'static Project,
    options: Options,
    running: usize,
    sender: SyncSender<(ClientId, Answered)>,
    answers: Receiver<(ClientId, Answered)>,
}

impl Asks {
    pub(super) fn new(project: &'static Project, options: Options) -> Self {
        let (sender, answers) = sync_channel(ASKS);
        Self {
            project,
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
        let (project, options, sender) = (self.project, self.options.clone(), self.sender.clone());
        let work = move || {
            let answered = catch_unwind(AssertUnwindSafe(|| job(project, &options)));
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

type Job = Box<dyn FnOnce(&Project, &Options) -> Answered + Send>;

fn job(request: &Value) -> Result<Job, String> {
    let format = request["format"].as_str().unwrap_or("text").to_owned();
    if request["verb"] == "matrix" {
        let render = renderer(&format)?;
        return Ok(Box::new(move |project, options| {
            let mut world = World::with(project, options).map_err(|error| error.to_string())?;
            let up = world.first().map(|(_, up)| up.clone()).unwrap_or_default();
            let images = world.images().clone();
            let (depth, seed) = (Depth::Every, options.seed);
            let filled = fill(
                &mut world.lab,
                project,
                &up,
                &images,
                depth,
                seed,
                |_, _, _| Ok(()),
            );
            let filled = filled.map_err(|error| error.to_string())?;
            Ok((render(&filled), 0))
        }));
    }
    let word = |key: &str| request[key].as_str().unwrap_or_default();
    let question = Question::parse(word("from"), word("to"))?;
    Ok(Box::new(move |project, options| {
        let why = why(project, options, &question).map_err(|error| error.to_string())?;
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

fn renderer(format: &str) -> Result<fn(&matrix::Matrix) -> String, String> {
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
