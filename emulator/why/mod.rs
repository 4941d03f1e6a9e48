//! Why one end reaches another, or does not: the steps of its packets, the one reason, the other ways in, and
//! what would change it.
//!
//! The question is asked with real packets in a world that captures everything. The way that is explained is
//! the first that answered, else the first that was tried. Changes are tried before they are told.

mod change;
mod reason;
mod record;
mod steps;
pub mod text;

use core::fmt;
use core::str::FromStr;

use emulator_compose::{Images, Place, Project, Protocol, Service};
use emulator_core::docker::Error as DockerError;
use emulator_core::docker::spec::{Port, Proto};
use emulator_core::net::CaptureAt;
use serde::Serialize;

pub use change::{Change, Effect};
pub use steps::{Kind, Step};

use crate::matrix::{self, Cell, PLACES, Verdict, Way};
use crate::world::{Options, World};
use change::{Asked, Edit};
use record::{Seen, Tape};
use steps::Trip;

/// Changes that are told at most.
const CHANGES: usize = 4;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// A service, `host`, `lan` or `internet`.
    pub from: String,
    /// The same.
    pub to: String,
    /// The port of a service; without one the first that it is known to listen on, and a ping if none is.
    pub port: Option<Port>,
    /// A ping, whatever it listens on.
    pub ping: bool,
}

impl Question {
    /// Reads the two words of a command line: `FROM`, and `TO`, `TO:PORT`, `TO:PORT/udp` or `TO/icmp`.
    ///
    /// # Errors
    /// One line for people.
    pub fn parse(from: &str, to: &str) -> Result<Self, String> {
        let question = |to: &str, port, ping| Self {
            from: from.to_owned(),
            to: to.to_owned(),
            port,
            ping,
        };
        if let Some(to) = to.strip_suffix("/icmp") {
            return Ok(question(to, None, true));
        }
        let Some((whom, port)) = to.rsplit_once(':') else {
            return Ok(question(to, None, false));
        };
        let (number, proto) = match port.split_once('/') {
            None | Some((_, "tcp")) => (port.trim_end_matches("/tcp"), Proto::Tcp),
            Some((number, "udp")) => (number, Proto::Udp),
            Some((_, other)) => {
                return Err(format!(
                    "{to}: {other:?} is no protocol; there are tcp, udp and icmp"
                ));
            }
        };
        let number = u16::from_str(number).ok().filter(|&number| number > 0);
        let number = number.ok_or_else(|| format!("{to}: a port is a number from 1 to 65535"))?;
        Ok(question(whom, Some(Port { number, proto }), false))
    }
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Why {
    /// The project.
    pub project: String,
    /// Which engine.
    pub engine: String,
    /// Everything that was tried, and the verdict.
    pub cell: Cell,
    /// The way that is explained, by its place in the cell's ways; none if there is no way to try.
    pub way: Option<usize>,
    /// Its steps.
    pub steps: Vec<Step>,
    /// The one reason, a sentence.
    pub reason: String,
    /// The lines of the compose files that it comes from: place and what stands there.
    pub causes: Vec<Cause>,
    /// What would close it if it is open, open it if not; both if a published port alone lets a service in. Each was
    /// tried.
    pub changes: Vec<Change>,
    /// The capture that the steps' frame numbers are of: pcapng, at every interface.
    #[serde(skip)]
    pub capture: Vec<u8>,
}

/// A line of a compose file that has a part in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cause {
    /// What it says.
    pub text: String,
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
    /// How many characters it takes.
    pub length: u32,
}

impl Why {
    /// Whether what was asked for works: a service dials a name, a place a published port.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.way.is_some_and(|way| self.cell.ways[way].open)
    }
}

impl Cause {
    fn new(project: &Project, text: String, at: Place) -> Option<Self> {
        let file = project.files.get(at.file as usize)?;
        (at.line > 0).then(|| Self {
            text,
            file: file.clone(),
            line: at.line,
            column: at.column,
            length: at.length,
        })
    }
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// No service and no place has this name.
    Unknown {
        /// The name.
        name: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// The service does not run, in Docker's words.
    NotRunning {
        /// The service.
        service: String,
        /// Why.
        why: String,
    },
    /// A network cannot be made, or the daemon's configuration makes no sense, in Docker's words.
    Docker(DockerError),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { name, known } => {
                write!(f, "no service {name:?}; there are {}", known.join(", "))
            }
            Self::NotRunning { service, why } => write!(f, "{service} does not run: {why}"),
            Self::Docker(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for Error {}

/// Asks `question` of `project` and explains the answer.
///
/// # Errors
/// See [`Error`].
pub fn why(project: &Project, options: &Options, question: &Question) -> Result<Why, Error> {
    let question = &known(project, question, &options.images)?;
    let asked = asked(project, question);
    let mut world = World::empty(options).map_err(Error::Docker)?;
    let tape = Tape::default();
    world.lab.capture_start(CaptureAt::All);
    world.lab.capture_to(Box::new(tape.clone()));
    start(&mut world, project, question)?;
    let mut marks = Vec::new();
    let answered = ask(&mut world, project, question, &mut |lab| {
        lab.capture_flush();
        marks.push(tape.len());
    });
    let Some((cell, ns)) = answered else {
        return Err(not_running(&world, project, question));
    };
    world.lab.capture_finish();
    let capture = tape.bytes();
    let way = decisive(&cell, asked.from.is_some());
    let mut steps: Vec<Step> = reason::name_step(asked, &cell).into_iter().collect();
    if let Some((index, way)) = way {
        let packets = record::read(&capture);
        let range = marks[index]..marks[index + 1];
        let packets: Vec<Seen> = record::between(&packets, &range);
        let trip = Trip {
            lab: &world.lab,
            ns,
            way,
            packets: &packets,
        };
        steps.extend(trip.steps());
        steps.extend(reason::socket_step(
            project,
            asked,
            &options.images,
            &cell,
            way,
        ));
    }
    let way = way.map(|(index, _)| index);
    let answer = way.map(|index| &cell.ways[index]);
    Ok(Why {
        project: project.name.clone(),
        engine: matrix::engine(options.daemon.engine).to_owned(),
        reason: reason::sentence(project, asked, &options.images, &cell, answer),
        causes: reason::causes(project, asked, &options.images, &cell, answer),
        changes: changes(project, options, question, asked, &cell),
        way,
        steps,
        cell,
        capture,
    })
}

/// The question with the names as a matrix has them and the port that is meant.
fn known(project: &Project, question: &Question, images: &Images) -> Result<Question, Error> {
    let mut question = question.clone();
    for name in [&question.from, &question.to] {
        if !PLACES.contains(&name.as_str()) && service(project, name).is_none() {
            let services = project.services.iter().map(|service| service.name.clone());
            let places = PLACES.iter().map(|&place| place.to_owned());
            return Err(Error::Unknown {
                name: name.clone(),
                known: services.chain(places).collect(),
            });
        }
    }
    if question.port.is_none()
        && !question.ping
        && let Some(service) = service(project, &question.to)
    {
        let listening = crate::world::listening(service, images);
        question.port = listening.first().map(|listening| listening.port);
    }
    Ok(question)
}

/// The services at both ends.
fn asked<'p>(project: &'p Project, question: &Question) -> Asked<'p> {
    Asked {
        from: service(project, &question.from),
        to: service(project, &question.to),
        port: question.port.map(|port| {
            let protocol = match port.proto {
                Proto::Tcp => Protocol::Tcp,
                Proto::Udp => Protocol::Udp,
                Proto::Sctp => Protocol::Sctp,
            };
            (port.number, protocol)
        }),
    }
}

/// The service that a name means: a place's name means the place, and `service/NAME` a service that is
/// called like one.
fn service<'p>(project: &'p Project, name: &str) -> Option<&'p Service> {
    if PLACES.contains(&name) {
        return None;
    }
    project.service(name.strip_prefix("service/").unwrap_or(name))
}

fn start<'p>(
    world: &mut World<'p>,
    project: &'p Project,
    question: &Question,
) -> Result<(), Error> {
    world.start(&[project]).map_err(Error::Docker)?;
    let failed = world.first().and_then(|(_, up)| up.networks.first());
    match failed {
        Some((key, error)) => Err(Error::NotRunning {
            service: question.to.clone(),
            why: format!("networks.{key}: {error}"),
        }),
        None => Ok(()),
    }
}

type Answered = Option<(Cell, emulator_core::id::NsId)>;

fn ask(
    world: &mut World<'_>,
    project: &Project,
    question: &Question,
    tried: &mut dyn FnMut(&mut emulator_core::lab::Lab),
) -> Answered {
    let World {
        lab, up, images, ..
    } = world;
    let (_, up) = up.first()?;
    let one = matrix::One {
        from: &question.from,
        to: &question.to,
        port: question.port,
    };
    matrix::one(lab, project, up, images, one, tried)
}

fn not_running(world: &World<'_>, project: &Project, question: &Question) -> Error {
    let ends = [&question.from, &question.to];
    let services = ends.into_iter().filter_map(|name| service(project, name));
    let up = world.first().map(|(_, up)| up);
    let mut down =
        services.filter(|service| up.is_none_or(|up| up.running(&service.name).next().is_none()));
    let service = down
        .next()
        .map_or_else(|| question.to.clone(), |service| service.name.clone());
    let error = up.and_then(|up| {
        let mut all = up
            .containers
            .iter()
            .filter(|started| started.service == service);
        all.find_map(|started| started.error.as_ref())
    });
    let why = error.map_or_else(|| "it has no containers".to_owned(), ToString::to_string);
    Error::NotRunning { service, why }
}

/// The way to explain: the first that answered, else the first. A service dials names: that a published port lets
/// it in all the same is not what it asked for.
fn decisive(cell: &Cell, service: bool) -> Option<(usize, &Way)> {
    let side_door = service && cell.verdict == Verdict::Door;
    let open = cell.ways.iter().position(|way| way.open);
    let index = open.filter(|_| !side_door).unwrap_or(0);
    cell.ways.get(index).map(|way| (index, way))
}

/// The edits that turn the verdict, each tried. Where a published port alone lets a service in, those that open it
/// by name, and those that close the port to it.
fn changes(
    project: &Project,
    options: &Options,
    question: &Question,
    asked: Asked<'_>,
    cell: &Cell,
) -> Vec<Change> {
    let told = |effect: Effect, edits: Vec<Edit>, wanted: &[Verdict]| -> Vec<Change> {
        let turns = |edit: &&Edit| {
            let verdict = verdict(&edit.apply(project, &options.images), options, question);
            verdict.is_some_and(|verdict| wanted.contains(&verdict))
        };
        let edits = edits.iter().filter(turns).take(CHANGES);
        edits
            .filter_map(|edit| {
                Some(Change {
                    effect,
                    what: edit.what(project),
                    at: project.locate(edit.at(project)?),
                })
            })
            .collect()
    };
    let openers = || change::openers(project, asked, &options.images);
    let closers = || change::closers(project, asked);
    match cell.verdict {
        Verdict::Door if asked.from.is_some() => {
            let mut changes = told(Effect::Opens, openers(), &[Verdict::Open]);
            changes.extend(told(Effect::Closes, closers(), &[Verdict::Closed]));
            changes
        }
        Verdict::Open | Verdict::Door | Verdict::Route => {
            told(Effect::Closes, closers(), &[Verdict::Closed])
        }
        Verdict::Closed => told(Effect::Opens, openers(), &[Verdict::Open, Verdict::Door]),
        Verdict::Unknown => Vec::new(),
    }
}

fn verdict(project: &Project, options: &Options, question: &Question) -> Option<Verdict> {
    let mut world = World::empty(options).ok()?;
    start(&mut world, project, question).ok()?;
    let (cell, _) = ask(&mut world, project, question, &mut |_| {})?;
    Some(cell.verdict)
}
