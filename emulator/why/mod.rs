//! Why one end reaches another, or does not: the steps of its packets, the one reason, the other ways in, and
//! what would change it.
//!
//! The question is asked with real packets in a world that captures everything. The way that is explained is
//! the first that answered, else the first that was tried. Changes are tried before they are told.

mod change;
mod reason;
mod record;
mod steps;
mod tape;
pub mod text;
mod travel;

use core::fmt;
use core::str::FromStr;

use emulator_compose::{Images, Joined, Place, Project, Protocol, Service, near};
use emulator_core::docker::Error as DockerError;
use emulator_core::docker::spec::{Port, Proto};
use serde::Serialize;

pub use change::{Change, Effect};
pub(crate) use record::{Record, read};
pub(crate) use steps::Trip;
pub use steps::{Kind, Rule, Step};
pub(crate) use tape::Frames;

use crate::matrix::{self, Cell, Member, PLACES, Verdict, Way};
use crate::world::{Options, World};
pub(crate) use change::Asked;
use change::Edit;

/// Changes that are told at most.
const CHANGES: usize = 4;
/// Changes that are tried for an effect at most.
const TRIED: usize = 24;
/// Of so many each two are tried together, if none does it alone.
const PAIRED: usize = 6;

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
    /// What there is to say of it.
    #[serde(flatten)]
    pub told: Told,
    /// The capture that the steps' frame numbers are of: pcapng, at every interface.
    #[serde(skip)]
    pub capture: Vec<u8>,
}

/// What there is to say of an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Told {
    /// The steps of the way.
    pub steps: Vec<Step>,
    /// The one reason, a sentence without its full stop.
    pub reason: String,
    /// The lines of the compose files that it comes from: place and what stands there.
    pub causes: Vec<Cause>,
    /// What would close it if it is open, open it if not; both if a published port alone lets a service in. Each was
    /// tried.
    pub changes: Vec<Change>,
    /// What to do about the question itself, if there is something.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
    /// No changes were tried: enough others that fail in the same run had theirs.
    #[serde(skip_serializing_if = "core::ops::Not::not")]
    pub untried: bool,
}

/// A question and its ways, and the one that is explained.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Call {
    /// Everything that was tried.
    pub cell: Cell,
    /// The way that is explained, by its place among the cell's ways; none if there is no way to try.
    pub way: Option<usize>,
}

/// An explanation: the question, if one was asked, and what there is to say of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Account {
    /// The question.
    #[serde(flatten)]
    pub call: Option<Call>,
    /// What there is to say.
    #[serde(flatten)]
    pub told: Told,
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
    pub(crate) fn new(project: &Project, text: String, at: Place) -> Option<Self> {
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
                write!(f, "no service {name:?}; there are {}", known.join(", "))?;
                match near(name, known.iter().map(String::as_str)) {
                    Some(near) => write!(f, "\nhint: did you mean `{near}`?"),
                    None => Ok(()),
                }
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
    let subject = Subject {
        project,
        joined: None,
        members: &[project],
    };
    subject.why(options, question)
}

/// The same of the projects of a host, `members`: services are called `KEY/SERVICE`.
///
/// # Errors
/// See [`Error`].
pub fn why_together(
    joined: &Joined,
    members: &[&Project],
    options: &Options,
    question: &Question,
) -> Result<Why, Error> {
    let subject = Subject {
        project: &joined.project,
        joined: Some(joined),
        members,
    };
    subject.why(options, question)
}

/// Who is asked about: a project, or those of a host as one.
#[derive(Clone, Copy)]
struct Subject<'p> {
    project: &'p Project,
    joined: Option<&'p Joined>,
    /// Those that run.
    members: &'p [&'p Project],
}

impl<'p> Subject<'p> {
    fn why(&self, options: &Options, question: &Question) -> Result<Why, Error> {
        let project = self.project;
        let question = &known(project, question, &options.images)?;
        let asked = asked(project, question);
        let mut world = World::empty(options).map_err(Error::Docker)?;
        let tape = Frames::start(&mut world.lab);
        self.start(&mut world, question)?;
        world.lab.explain(true);
        let (mut marks, mut events) = (Vec::new(), Vec::new());
        let answered = self.ask(&mut world, question, &mut |lab| {
            marks.push(tape.count(lab) + 1);
            events.push(lab.events());
        });
        let Some((mut cell, ns)) = answered else {
            return Err(self.not_running(&world, question));
        };
        for (way, range) in cell.ways.iter_mut().zip(marks.windows(2)) {
            way.frames = (range[0] < range[1]).then_some([range[0], range[1] - 1]);
        }
        let capture = tape.finish(&mut world.lab);
        let record = read(&capture);
        let way = decisive(&cell, asked.from.is_some());
        let trip = way.and_then(|index| {
            let range = *marks.get(index)?..*marks.get(index + 1)?;
            Some(Trip {
                lab: &world.lab,
                project,
                ns,
                way: &cell.ways[index],
                record: &record,
                packets: record.between(&range),
                events: events.get(index + 1)?,
            })
        });
        let about = About {
            project,
            images: &options.images,
            asked,
            cell: &cell,
            way: way.map(|index| &cell.ways[index]),
        };
        let mut told = about.explained(trip.as_ref());
        let wanted = about.wanted();
        told.changes = about.changes(&mut |edited, effect| {
            let verdict = self.edited(edited, options, question);
            verdict.is_some_and(|verdict| wanted(effect, verdict))
        });
        Ok(Why {
            project: project.name.clone(),
            engine: matrix::engine(options.daemon.engine).to_owned(),
            way,
            told,
            cell,
            capture,
        })
    }

    fn start(&self, world: &mut World<'p>, question: &Question) -> Result<(), Error> {
        world.start(self.members).map_err(Error::Docker)?;
        let mut networks = world.up.iter().flat_map(|(_, up)| &up.networks);
        match networks.next() {
            Some((key, error)) => Err(Error::NotRunning {
                service: question.to.clone(),
                why: format!("networks.{key}: {error}"),
            }),
            None => Ok(()),
        }
    }

    fn ask(
        &self,
        world: &mut World<'_>,
        question: &Question,
        tried: &mut dyn FnMut(&mut emulator_core::lab::Lab),
    ) -> Answered {
        let World {
            lab, up, images, ..
        } = world;
        let members = up.iter().map(|(project, up)| Member {
            key: self.joined.and_then(|joined| joined.key(&project.name)),
            project,
            up,
        });
        let members: Vec<Member<'_>> = members.collect();
        let one = matrix::One {
            from: &question.from,
            to: &question.to,
            port: question.port,
        };
        matrix::one(lab, &members, images, one, tried)
    }

    fn not_running(&self, world: &World<'_>, question: &Question) -> Error {
        let started = world.up.iter().flat_map(|(project, up)| {
            let containers = up.containers.iter();
            containers.map(move |started| {
                let label = match self.joined {
                    Some(joined) => joined.label(&project.name, &started.service),
                    None => Some(started.service.clone()),
                };
                (label.unwrap_or_default(), started.error.as_ref())
            })
        });
        let started: Vec<(String, Option<&DockerError>)> = started.collect();
        let ends = [&question.from, &question.to];
        let services = ends
            .into_iter()
            .filter_map(|name| service(self.project, name));
        let runs = |name: &str| {
            let mut all = started.iter();
            all.any(|(label, error)| label == name && error.is_none())
        };
        let mut down = services.filter(|service| !runs(&service.name));
        let service = down.next().map_or(&question.to, |service| &service.name);
        let mut all = started.iter().filter(|(label, _)| label == service);
        let error = all.find_map(|(_, error)| *error);
        let why = error.map_or_else(|| "it has no containers".to_owned(), ToString::to_string);
        let service = service.clone();
        Error::NotRunning { service, why }
    }

    /// The verdict once the project is edited.
    fn edited(&self, edited: &Project, options: &Options, question: &Question) -> Option<Verdict> {
        let apart = self.joined.map(|joined| joined.apart(edited, self.members));
        let members: Vec<&Project> = match &apart {
            Some(apart) => apart.iter().collect(),
            None => vec![edited],
        };
        let subject = Subject {
            project: edited,
            joined: self.joined,
            members: &members,
        };
        let mut world = World::empty(options).ok()?;
        subject.start(&mut world, question).ok()?;
        let (cell, _) = subject.ask(&mut world, question, &mut |_| {})?;
        Some(cell.verdict)
    }
}

/// What an explanation is of: a question and its answer, in a project.
#[derive(Clone, Copy, Debug)]
pub(crate) struct About<'a> {
    pub(crate) project: &'a Project,
    pub(crate) images: &'a Images,
    pub(crate) asked: Asked<'a>,
    pub(crate) cell: &'a Cell,
    /// The way that is explained.
    pub(crate) way: Option<&'a Way>,
}

impl About<'_> {
    /// Steps, reason and causes. `trip`: what was seen on the way, if somebody looked.
    pub(crate) fn explained(&self, trip: Option<&Trip<'_>>) -> Told {
        let mut steps: Vec<Step> = reason::name_step(self).into_iter().collect();
        steps.extend(reason::address_step(self));
        if let Some(trip) = trip {
            steps.extend(trip.steps());
            if let Some(mut socket) = reason::socket_step(self) {
                // What the stack refused is the program's refusal.
                let refused = steps.pop_if(|last| last.kind == Kind::Socket);
                socket.frames = refused.map(|step| step.frames).unwrap_or_default();
                steps.push(socket);
            }
        }
        Told {
            steps,
            reason: reason::sentence(self, trip),
            causes: reason::causes(self),
            changes: Vec::new(),
            advice: None,
            untried: false,
        }
    }

    /// The edits that turn the answer: those that `turns` says do. Where a published port alone lets a service in,
    /// those that open it by name, and those that close the port to it.
    pub(crate) fn changes(&self, turns: &mut dyn FnMut(&Project, Effect) -> bool) -> Vec<Change> {
        let effects: &[Effect] = match self.cell.verdict {
            Verdict::Door if self.asked.from.is_some() => &[Effect::Opens, Effect::Closes],
            Verdict::Open | Verdict::Door | Verdict::Route => &[Effect::Closes],
            Verdict::Closed => &[Effect::Opens],
            Verdict::Unknown => &[],
        };
        let each = effects.iter().flat_map(|&effect| self.tried(effect, turns));
        each.collect()
    }

    /// The edits for one effect that `turns` says have it.
    pub(crate) fn tried(
        &self,
        effect: Effect,
        turns: &mut dyn FnMut(&Project, Effect) -> bool,
    ) -> Vec<Change> {
        let edits = match effect {
            Effect::Opens => change::openers(self.project, self.asked, self.images),
            Effect::Closes => change::closers(self.project, self.asked),
            Effect::Shows => change::showers(self.project, self.asked),
        };
        let what = |edit: &Edit| edit.what(self.project);
        let at = |edit: &Edit| Some(self.project.locate(edit.at(self.project)?));
        let mut changes = Vec::new();
        for edit in edits.iter().take(TRIED) {
            if changes.len() < CHANGES && turns(&edit.apply(self.project, self.images), effect) {
                changes.extend(at(edit).map(|at| Change {
                    effect,
                    what: what(edit),
                    at,
                }));
            }
        }
        if !changes.is_empty() {
            return changes;
        }
        // Two ways in need two changes.
        for (number, one) in edits.iter().enumerate().take(PAIRED) {
            for other in edits.iter().take(PAIRED).skip(number + 1) {
                let edited = one.apply(self.project, self.images);
                if turns(&other.apply(&edited, self.images), effect) {
                    let change = at(one).zip(at(other)).map(|(one_at, other_at)| Change {
                        effect,
                        what: format!("{}, and {}", what(one), what(other)),
                        at: format!("{one_at}, {other_at}"),
                    });
                    return change.into_iter().collect();
                }
            }
        }
        changes
    }

    /// Whether an effect of a change shows in the verdict.
    fn wanted(&self) -> impl Fn(Effect, Verdict) -> bool + use<> {
        let side_door = self.cell.verdict == Verdict::Door && self.asked.from.is_some();
        move |effect, verdict| match effect {
            Effect::Opens if side_door => verdict == Verdict::Open,
            Effect::Opens => matches!(verdict, Verdict::Open | Verdict::Door),
            Effect::Closes => verdict == Verdict::Closed,
            // A question asks for no address.
            Effect::Shows => false,
        }
    }
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
    let port = question.port.map(|port| {
        let protocol = match port.proto {
            Proto::Tcp => Protocol::Tcp,
            Proto::Udp => Protocol::Udp,
            Proto::Sctp => Protocol::Sctp,
        };
        (port.number, protocol)
    });
    Asked::new(
        project,
        service(project, &question.from),
        service(project, &question.to),
        port,
    )
}

/// The service that a name means: a place's name means the place, and `service/NAME` a service that is
/// called like one.
fn service<'p>(project: &'p Project, name: &str) -> Option<&'p Service> {
    if PLACES.contains(&name) {
        return None;
    }
    let bare = name.strip_prefix("service/").unwrap_or(name);
    project.service(name).or_else(|| project.service(bare))
}

type Answered = Option<(Cell, emulator_core::id::NsId)>;

/// The way to explain: the first that answered, else the first. A service dials names: that a published port lets
/// it in all the same is not what it asked for.
fn decisive(cell: &Cell, service: bool) -> Option<usize> {
    let side_door = service && cell.verdict == Verdict::Door;
    let open = cell.ways.iter().position(|way| way.open);
    let index = open.filter(|_| !side_door).unwrap_or(0);
    (index < cell.ways.len()).then_some(index)
}
