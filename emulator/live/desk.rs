//! What answers for a project that is up: `ps`, `logs`, `exec`, `attach`, `why`, `matrix`, `down`.

use std::collections::BTreeMap;

use emulator_compose::Project;
use emulator_core::id::{AppId, CaptureId, NsId};
use emulator_core::lab::Lab;
use emulator_core::tools::{self, Context};
use emulator_host::attach::Tally;
use emulator_host::control::{ClientId, Clients, Part, Service};
use emulator_host::runtime::{Cx, Stop};
use serde_json::{Value, json};

use super::Bound;
use super::ask::Asks;
use super::capture::{self, Tapes};
use super::egress::Left;
use super::guests::Guests;
use super::logs::{Line, Logs, NOTICE};
use super::notices::Notices;
use super::row;
use super::screen::Screen;
use crate::capture::Known;
use crate::project::Up;

/// Marks the keys of the services' programs; the others are clients'.
const PROGRAM: u64 = 1 << 63;
/// Programs that clients may have started and that have not ended.
const EXECS: usize = 32;
/// Bytes of a program's standard input.
const STDIN: usize = 48 << 10;

/// Who wants to see which lines.
#[derive(Debug)]
struct Reader {
    /// Of these containers, by their places; of all if empty.
    containers: Vec<usize>,
    json: bool,
    prefix: bool,
    /// Lines that found no room.
    lost: u64,
}

/// The desk of a project that is up.
#[derive(Debug)]
pub(super) struct Desk {
    project: &'static Project,
    up: Up,
    bound: Vec<Bound>,
    logs: Logs,
    screen: Option<Screen>,
    /// Those that follow the logs.
    readers: BTreeMap<ClientId, Reader>,
    /// What clients run.
    execs: BTreeMap<ClientId, AppId>,
    /// The main program of each container that has one.
    mains: BTreeMap<AppId, usize>,
    /// Those that wait for the end.
    waiting: Vec<ClientId>,
    asks: Asks,
    tapes: Tapes,
    /// Programs outside, by whose connection they last.
    guests: Guests,
    notices: Notices,
    /// What left the lab, where anything may.
    left: Option<Left>,
}

impl Desk {
    /// A desk that hears every program of the project.
    pub(super) fn new(
        cx: &mut Cx<'_>,
        (project, up, bound): (&'static Project, Up, Vec<Bound>),
        asks: Asks,
        taps: Vec<(String, Tally)>,
        screen: Option<Screen>,
        (notices, left): (Notices, Option<Left>),
    ) -> Self {
        let mut mains = BTreeMap::new();
        for (place, started) in up.containers.iter().enumerate() {
            for app in cx.lab.programs(&started.container).to_vec() {
                cx.own_app(app, PROGRAM | place as u64);
            }
            if let Some(app) = cx.lab.main_program(&started.container) {
                mains.insert(app, place);
            }
        }
        Self {
            project,
            up,
            bound,
            logs: Logs::default(),
            screen,
            readers: BTreeMap::new(),
            execs: BTreeMap::new(),
            mains,
            waiting: Vec::new(),
            asks,
            tapes: Tapes::default(),
            guests: Guests::new(taps),
            notices,
            left,
        }
    }

    fn name(&self, place: usize) -> &str {
        if place == NOTICE {
            return "vethlab";
        }
        let started = self.up.containers.get(place);
        started.map_or("", |started| &started.container)
    }

    /// A line as it is shown.
    fn shown(&self, line: &Line, prefix: bool) -> String {
        if prefix {
            format!("{}  | {}\n", self.name(line.container), line.text)
        } else {
            format!("{}\n", line.text)
        }
    }

    fn tell_line(
        &self,
        cx: &mut Cx<'_>,
        clients: &mut Clients,
        to: ClientId,
        line: &Line,
        as_json: bool,
        prefix: bool,
    ) {
        if as_json {
            let stream = if line.error { "stderr" } else { "stdout" };
            let value = json!({
                "container": self.name(line.container),
                "stream": stream,
                "at": line.at.to_string(),
                "line": line.text,
            });
            clients.value(cx, to, &value);
        } else {
            let part = if line.error { Part::Err } else { Part::Out };
            clients.part(cx, to, part, self.shown(line, prefix).as_bytes());
        }
    }

    /// Shows the last `new` lines to everybody who follows.
    fn spread(&mut self, cx: &mut Cx<'_>, clients: &mut Clients, new: usize) {
        if new == 0 {
            return;
        }
        if let Some(mut screen) = self.screen.take() {
            for line in self.logs.last(new) {
                screen.show(&self.shown(line, true));
            }
            self.screen = Some(screen);
        }
        self.tell_readers(cx, clients, new);
    }

    /// Shows the last `new` lines to the clients that follow.
    fn tell_readers(&mut self, cx: &mut Cx<'_>, clients: &mut Clients, new: usize) {
        let mut readers = core::mem::take(&mut self.readers);
        for (client, reader) in &mut readers {
            for line in self.logs.last(new) {
                if !reader.wants(line) {
                    continue;
                }
                if clients.has_room(*client) {
                    self.tell_line(cx, clients, *client, line, reader.json, reader.prefix);
                } else {
                    reader.lost += 1;
                }
            }
        }
        self.readers = readers;
    }

    fn logged(&mut self, cx: &mut Cx<'_>, clients: &mut Clients, place: usize, app: AppId) {
        let mut new = 0;
        for (error, text) in cx.lab.take_output(app) {
            new += self.logs.push(place, cx.now(), error, &text);
        }
        self.spread(cx, clients, new);
    }

    fn ps(&self, cx: &mut Cx<'_>, clients: &mut Clients, from: ClientId) {
        let rows = row::rows(cx.lab, &self.up, &self.bound);
        let mut value = json!({
            "project": self.project.name,
            "process": std::process::id(),
            "files": self.project.files,
            "at": cx.now().to_string(),
            "containers": rows,
            "drops": drops(cx.lab),
            "attached": self.guests.counts(),
        });
        if let Some(left) = &self.left {
            value["egress"] = left.value();
        }
        clients.value(cx, from, &value);
        clients.exit(cx, from, 0);
    }

    /// The containers that a list of services and container names means.
    fn places(&self, names: &Value) -> Result<Vec<usize>, String> {
        let names = names.as_array().map_or(&[][..], Vec::as_slice);
        let mut places = Vec::new();
        for name in names.iter().filter_map(Value::as_str) {
            let all = self.up.containers.iter().enumerate();
            let before = places.len();
            places.extend(
                all.filter(|(_, started)| started.service == name || started.container == name)
                    .map(|(place, _)| place),
            );
            if places.len() == before {
                return Err(self.nobody(name));
            }
        }
        Ok(places)
    }

    fn nobody(&self, name: &str) -> String {
        let mut services: Vec<&str> = Vec::new();
        for started in &self.up.containers {
            if !services.contains(&started.service.as_str()) {
                services.push(&started.service);
            }
        }
        format!(
            "{} has no service or container {name}; its services are {}",
            self.project.name,
            services.join(", ")
        )
    }

    fn show_logs(
        &mut self,
        cx: &mut Cx<'_>,
        clients: &mut Clients,
        from: ClientId,
        request: &Value,
    ) {
        let containers = match self.places(&request["services"]) {
            Ok(places) => places,
            Err(sentence) => return clients.error(cx, from, &sentence),
        };
        let reader = Reader {
            containers,
            json: request["format"] == "json",
            prefix: request["prefix"].as_bool().unwrap_or(true),
            lost: 0,
        };
        let tail = request["tail"].as_u64();
        let tail = tail.map_or(usize::MAX, |tail| {
            usize::try_from(tail).unwrap_or(usize::MAX)
        });
        let all = self.logs.last(usize::MAX);
        let wanted: Vec<&Line> = all.filter(|line| reader.wants(line)).collect();
        for line in &wanted[wanted.len().saturating_sub(tail)..] {
            self.tell_line(cx, clients, from, line, reader.json, reader.prefix);
        }
        if request["follow"] == true {
            self.readers.insert(from, reader);
        } else {
            clients.exit(cx, from, 0);
        }
    }

    /// Where a program of a client runs: a service (its first container that runs), a container, or a place.
    fn place_of(&self, lab: &Lab, name: &str) -> Result<(NsId, String), String> {
        let image = |container: &str| {
            let found = lab.docker().container(container).ok();
            found.map_or_else(String::new, |found| found.spec.image.clone())
        };
        let mut known = None;
        for started in &self.up.containers {
            if started.service == name || started.container == name {
                known = Some(&started.container);
                if self.guests.has(&started.container) {
                    return Err(format!(
                        "{name} is a program outside: its network is in the namespace in which it runs"
                    ));
                }
                if let Some(ns) = lab.namespace(&started.container) {
                    return Ok((ns, image(&started.container)));
                }
            }
        }
        let places = lab.places();
        match (known, name) {
            (Some(container), _) => Err(format!("container {container} is not running")),
            (None, "host") => Ok((places.host, "ubuntu".to_owned())),
            (None, "lan") => Ok((places.lan, "ubuntu".to_owned())),
            (None, "internet") => Ok((places.internet, "ubuntu".to_owned())),
            (None, _) => Err(self.nobody(name)),
        }
    }

    fn exec(&mut self, cx: &mut Cx<'_>, clients: &mut Clients, from: ClientId, request: &Value) {
        let words = request["argv"].as_array().map_or(&[][..], Vec::as_slice);
        let argv: Vec<String> = words
            .iter()
            .filter_map(|word| word.as_str().map(str::to_owned))
            .collect();
        let stdin = stdin(request);
        let name = request["box"].as_str().unwrap_or_default();
        if argv.is_empty() || stdin.len() > STDIN || self.execs.len() >= EXECS {
            let sentence = if argv.is_empty() {
                "exec needs a program, as in `vethlab exec web -- ping db`".to_owned()
            } else if stdin.len() > STDIN {
                format!("a program's input is at most {STDIN} bytes long")
            } else {
                format!("{EXECS} programs of clients run already")
            };
            return clients.error(cx, from, &sentence);
        }
        let (ns, image) = match self.place_of(cx.lab, name) {
            Ok(place) => place,
            Err(sentence) => return clients.error(cx, from, &sentence),
        };
        let context = Context {
            firewall: ns == cx.lab.places().host,
            ..Context::of_image(&image, stdin)
        };
        match tools::spawn_in(&argv, &context) {
            Ok(program) => {
                let app = cx.lab.spawn(ns, program);
                cx.own_app(app, from.key());
                // It may be a ping.
                cx.time(true);
                self.execs.insert(from, app);
            }
            Err(_) => {
                let text = format!(
                    "{}: not found; the tools of the lab run here, a shell or another program does not\n",
                    argv[0]
                );
                clients.part(cx, from, Part::Err, text.as_bytes());
                clients.exit(cx, from, 127);
            }
        }
    }

    /// Forgets what a client runs.
    fn end_exec(&mut self, cx: &mut Cx<'_>, client: ClientId) {
        if let Some(app) = self.execs.remove(&client) {
            cx.time(false);
            cx.end_app(app);
        }
    }

    /// Attaches a client's interface. The request lasts as long as the client does.
    fn attach(&mut self, cx: &mut Cx<'_>, clients: &mut Clients, from: ClientId, request: &Value) {
        let descriptors = clients.take_descriptors(from);
        let place = (self.project, &mut self.up);
        match self.guests.attach(cx, place, (from, descriptors), request) {
            Ok(value) => clients.value(cx, from, &value),
            Err(sentence) => clients.error(cx, from, &sentence),
        }
    }

    /// Hands on what a client's program printed, while the client takes it.
    fn pass(&self, cx: &mut Cx<'_>, clients: &mut Clients, to: ClientId, app: AppId) {
        if clients.has_room(to) {
            for (error, bytes) in cx.lab.take_bytes(app) {
                let part = if error { Part::Err } else { Part::Out };
                clients.part(cx, to, part, &bytes);
            }
        }
    }
}

/// What a program reads: text, or bytes as hexadecimal digits.
fn stdin(request: &Value) -> Vec<u8> {
    let Some(digits) = request["stdin_hex"].as_str() else {
        return request["stdin"].as_str().unwrap_or_default().into();
    };
    let pairs = digits.as_bytes().chunks(2);
    let byte = |pair| u8::from_str_radix(core::str::from_utf8(pair).ok()?, 16).ok();
    pairs.filter_map(byte).collect()
}

/// How many frames died so far, by reason.
fn drops(lab: &Lab) -> Value {
    let drops = lab.net().trace.drops.iter();
    drops
        .map(|(reason, count)| (reason.text().to_owned(), Value::from(count)))
        .collect()
}

impl Reader {
    fn wants(&self, line: &Line) -> bool {
        self.containers.is_empty() || self.containers.contains(&line.container)
    }
}

impl Service for Desk {
    fn request(&mut self, cx: &mut Cx<'_>, clients: &mut Clients, from: ClientId, request: &Value) {
        match request["verb"].as_str().unwrap_or_default() {
            "ps" => self.ps(cx, clients, from),
            "logs" => self.show_logs(cx, clients, from, request),
            "exec" => self.exec(cx, clients, from, request),
            "attach" => self.attach(cx, clients, from, request),
            "why" | "matrix" => {
                if let Err(sentence) = self.asks.begin(cx.waker(), from, request) {
                    clients.error(cx, from, &sentence);
                }
            }
            "capture" => {
                let known = Known::of(cx.lab, &[(self.project, &self.up)]);
                self.tapes.begin(cx, clients, from, request, &known);
            }
            "capture-end" => self.tapes.end_one(cx, clients, from, request),
            "interfaces" => {
                let known = Known::of(cx.lab, &[(self.project, &self.up)]);
                clients.value(cx, from, &capture::interfaces(&known));
                clients.exit(cx, from, 0);
            }
            "down" => {
                // Answered at the end.
                self.waiting.push(from);
                cx.stop(Stop::Asked);
            }
            other => clients.error(
                cx,
                from,
                &format!("{other:?} is nothing that a project that is up answers"),
            ),
        }
    }

    fn gone(&mut self, cx: &mut Cx<'_>, client: ClientId) {
        self.readers.remove(&client);
        self.tapes.gone(cx, client);
        self.guests.gone(cx, &mut self.up, client);
        self.end_exec(cx, client);
    }

    fn drained(&mut self, cx: &mut Cx<'_>, clients: &mut Clients, client: ClientId) {
        if let Some(app) = self.execs.get(&client) {
            self.pass(cx, clients, client, *app);
        }
        self.tapes.drained(cx, clients, client);
        if let Some(reader) = self.readers.get_mut(&client)
            && reader.lost > 0
        {
            let text = format!("[{} lines lost: they were not read in time]\n", reader.lost);
            reader.lost = 0;
            clients.part(cx, client, Part::Err, text.as_bytes());
        }
    }

    fn captured(&mut self, cx: &mut Cx<'_>, clients: &mut Clients, key: u64, _capture: CaptureId) {
        self.tapes.drained(cx, clients, ClientId::of(key));
    }

    fn printed(&mut self, cx: &mut Cx<'_>, clients: &mut Clients, key: u64, app: AppId) {
        if key & PROGRAM != 0 {
            self.logged(cx, clients, (key & !PROGRAM) as usize, app);
        } else {
            self.pass(cx, clients, ClientId::of(key), app);
        }
    }

    fn exited(&mut self, cx: &mut Cx<'_>, clients: &mut Clients, key: u64, app: AppId, code: u8) {
        if key & PROGRAM == 0 {
            let client = ClientId::of(key);
            for (error, bytes) in cx.lab.take_bytes(app) {
                let part = if error { Part::Err } else { Part::Out };
                clients.part(cx, client, part, &bytes);
            }
            clients.exit(cx, client, code);
            self.end_exec(cx, client);
            return;
        }
        let place = (key & !PROGRAM) as usize;
        self.logged(cx, clients, place, app);
        if self.mains.remove(&app).is_none() {
            return;
        }
        let mut new = self.logs.close(place, cx.now());
        let name = self.name(place).to_owned();
        // It runs, as its main program has just ended.
        let _stopped = cx.lab.ended(&name, code);
        new += self
            .logs
            .push(place, cx.now(), true, &format!("exited with code {code}\n"));
        self.spread(cx, clients, new);
    }

    fn alarm(&mut self, cx: &mut Cx<'_>, _clients: &mut Clients) {
        let now = cx.now();
        self.guests.leave(cx, now);
    }

    fn woken(&mut self, cx: &mut Cx<'_>, clients: &mut Clients) {
        while let Some(sentence) = self.notices.take() {
            // The screen has shown it.
            self.logs.notice(cx.now(), sentence);
            self.tell_readers(cx, clients, 1);
        }
        while let Some((client, answered)) = self.asks.take() {
            match answered {
                Ok((text, code)) => {
                    clients.part(cx, client, Part::Out, text.as_bytes());
                    clients.exit(cx, client, code);
                }
                Err(sentence) => clients.error(cx, client, &sentence),
            }
        }
    }

    fn end(&mut self, cx: &mut Cx<'_>, clients: &mut Clients) {
        self.tapes.end_all(cx, clients);
        for client in core::mem::take(&mut self.waiting) {
            clients.exit(cx, client, 0);
        }
    }
}
