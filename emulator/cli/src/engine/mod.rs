//! The engine behind the command line: a Lab that answers as Docker's daemon does.
//!
//! The verbs are the Lab's; here are the values that the client formats, the first processes of
//! containers, and the lines of the host that are not Docker's. A program runs in virtual time until it
//! ends, at most for [`LIMIT`].

mod bridges;
mod host;

use core::time::Duration;
use std::collections::BTreeMap;
use std::io;

use vethlab::capture::CaptureTo;
use vethlab::core::app::App;
use vethlab::core::docker::Error;
use vethlab::core::docker::container::{self, Container};
use vethlab::core::docker::error::Kind;
use vethlab::core::docker::inspect::rfc3339;
use vethlab::core::docker::json;
use vethlab::core::docker::ports;
use vethlab::core::docker::spec::{
    ContainerSpec, EndpointSpec, Engine, NetworkSpec, Port, PortBinding,
};
use vethlab::core::docker::verbs::list::NetworkFilters;
use vethlab::core::id::{AppId, NsId};
use vethlab::core::lab::Lab;
use vethlab::core::tools::{self, Context};

use crate::docker::daemon::{Created, Daemon, Filters, Place, PortRow, Process, State, Summary};
use crate::format::Value;
use crate::output::{Output, Stream};

/// How long a program may run, in virtual time.
pub const LIMIT: Duration = Duration::from_secs(24 * 3600);

/// A Lab with what the client needs besides it.
#[derive(Debug)]
pub struct LabEngine {
    /// The machine.
    pub lab: Lab,
    processes: BTreeMap<String, Process>,
    /// What the first processes wrote, of those that have been heard.
    written: BTreeMap<String, Output>,
    capture: Option<CaptureTo>,
    /// Why the capture could not be written, if it could not.
    lost: Option<io::Error>,
}

/// A model's value as the client's.
fn value(value: json::Value) -> Value {
    match value {
        json::Value::Null => Value::Null,
        json::Value::Bool(bool) => Value::Bool(bool),
        json::Value::Number(number) => Value::Number(number),
        json::Value::String(text) => Value::String(text),
        json::Value::Array(items) => Value::Array(items.into_iter().map(self::value).collect()),
        json::Value::Object(fields) => Value::Object(
            fields
                .into_iter()
                .map(|(name, field)| (name, self::value(field)))
                .collect(),
        ),
    }
}

/// The filters one by one.
fn pairs(filters: &Filters) -> Vec<(String, String)> {
    filters
        .iter()
        .flat_map(|(key, values)| values.iter().map(move |value| (key.clone(), value.clone())))
        .collect()
}

/// What a program of an image starts with.
fn context(image: &str, stdin: &str) -> Context {
    Context::of_image(image, stdin.as_bytes().to_vec())
}

impl LabEngine {
    /// An engine on this machine, whose capture goes to this file.
    #[must_use]
    pub const fn new(lab: Lab, capture: Option<CaptureTo>) -> Self {
        Self {
            lab,
            processes: BTreeMap::new(),
            written: BTreeMap::new(),
            capture,
            lost: None,
        }
    }

    /// Ends the capture, if there is one.
    ///
    /// # Errors
    /// If it could not be written.
    pub fn finish(mut self) -> io::Result<()> {
        match (self.lost.take(), self.capture.take()) {
            (Some(error), _) => Err(error),
            (None, Some(capture)) => capture.finish(&mut self.lab),
            (None, None) => Ok(()),
        }
    }

    /// Hands over what was captured so far.
    fn drain(&mut self) {
        if let Some(Err(error)) = self
            .capture
            .as_ref()
            .map(|capture| capture.drain(&mut self.lab))
        {
            self.lost.get_or_insert(error);
        }
    }

    fn container(&self, text: &str) -> Result<&Container, Error> {
        self.lab.docker().container(text)
    }

    fn running(&self, text: &str) -> Result<NsId, Error> {
        self.lab.docker().namespace_of(text)
    }

    /// Runs a program in a namespace until it ends.
    fn run(&mut self, ns: NsId, argv: &[String], context: &Context) -> Output {
        match tools::spawn_in(argv, context) {
            Ok(app) if tools::detaches(argv) => {
                self.lab.spawn(ns, app);
                self.lab.settle();
                Output::default()
            }
            Ok(app) => self.run_app(ns, app),
            Err(error) => Output::err(format!("{error}\n"), 127),
        }
    }

    fn run_app(&mut self, ns: NsId, app: Box<dyn App>) -> Output {
        let id = self.lab.spawn(ns, app);
        let code = self.lab.run_app_for(id, LIMIT);
        let mut output = self.take_output(id);
        output.code = code.unwrap_or(124);
        self.lab.end_app(id);
        self.drain();
        output
    }

    fn take_output(&mut self, app: AppId) -> Output {
        let mut output = Output::default();
        for (error, text) in self.lab.take_output(app) {
            output.push(if error { Stream::Err } else { Stream::Out }, text);
        }
        output
    }

    /// What a container's first process wrote since it was last heard, kept for `logs`.
    fn hear(&mut self, id: &str) -> Output {
        let Some(app) = self.lab.main_program(id) else {
            return Output::default();
        };
        let new = self.take_output(app);
        let kept = self.written.entry(id.to_owned()).or_default();
        for (stream, text) in &new.parts {
            kept.push(*stream, text.clone());
        }
        new
    }

    fn age(&self, since: Option<vethlab::core::switch::Time>) -> Duration {
        since.map_or(Duration::ZERO, |at| self.lab.now().since(at))
    }

    fn summary(&self, container: &Container) -> Summary {
        let (state, since) = match container.state {
            container::State::Created => (State::Created, self.age(Some(container.created))),
            container::State::Exited(code) => (
                State::Exited(u8::try_from(code).unwrap_or(255)),
                self.age(container.finished),
            ),
            container::State::Paused => (State::Paused, self.age(container.started)),
            container::State::Running => (State::Running, self.age(container.started)),
        };
        let published = self.lab.published(&container.id);
        let mut ports: Vec<PortRow> = published
            .iter()
            .map(|published| PortRow {
                host: Some((published.host_ip, published.host_port)),
                port: published.port,
            })
            .collect();
        if state == State::Running {
            let bare = container
                .exposed()
                .into_iter()
                .filter(|port| !ports.iter().any(|row| row.port == *port));
            let bare: Vec<PortRow> = bare.map(|port| PortRow { host: None, port }).collect();
            ports.extend(bare);
        }
        let (argv, _) = self.process_of(container);
        Summary {
            id: container.id.as_ref().to_owned(),
            name: container.name.clone(),
            image: container.spec.image.clone(),
            command: argv.join(" "),
            age: self.age(Some(container.created)),
            created_at: rfc3339(container.created),
            state,
            since,
            ports,
            labels: container.spec.labels.clone(),
            networks: container.networks.keys().cloned().collect(),
        }
    }

    fn process_of(&self, container: &Container) -> (Vec<String>, Process) {
        let process = self
            .processes
            .get(&*container.id)
            .cloned()
            .unwrap_or_default();
        let mut argv: Vec<String> = process
            .entrypoint
            .iter()
            .filter(|text| !text.is_empty())
            .cloned()
            .collect();
        argv.extend(container.spec.command.iter().cloned());
        if argv.is_empty() {
            argv = vethlab::core::lab::verbs::default_command(&container.spec.image);
        }
        (argv, process)
    }
}

impl Daemon for LabEngine {
    fn engine(&self) -> Engine {
        self.lab.docker().engine()
    }

    fn network_create(&mut self, spec: NetworkSpec) -> Result<Created, Error> {
        let made = self.lab.network_create(spec)?;
        Ok(Created {
            id: made.id,
            warnings: made.warnings,
        })
    }

    fn network_list(&mut self, filters: &Filters) -> Result<Vec<Value>, Error> {
        let docker = self.lab.docker();
        let networks = docker.network_list(&NetworkFilters(pairs(filters)))?;
        networks
            .into_iter()
            .map(|network| {
                docker
                    .network_inspect(&network.id)
                    .map(|inspect| value(inspect.to_value()))
            })
            .collect()
    }

    fn network_inspect(&mut self, network: &str, _verbose: bool) -> Result<Value, Error> {
        Ok(value(
            self.lab.docker().network_inspect(network)?.to_value(),
        ))
    }

    fn network_connect(
        &mut self,
        network: &str,
        container: &str,
        endpoint: EndpointSpec,
    ) -> Result<(), Error> {
        self.lab.network_connect(network, container, endpoint)
    }

    fn network_disconnect(
        &mut self,
        network: &str,
        container: &str,
        force: bool,
    ) -> Result<(), Error> {
        self.lab.network_disconnect(network, container, force)
    }

    fn network_remove(&mut self, network: &str) -> Result<(), Error> {
        self.lab.network_remove(network)
    }

    fn network_prune(&mut self, filters: &Filters) -> Result<Vec<String>, Error> {
        self.lab.network_prune(&NetworkFilters(pairs(filters)))
    }

    fn publish_spec(&self, text: &str) -> Result<Vec<PortBinding>, Error> {
        ports::parse_port_spec(text)
    }

    fn expose_spec(&self, text: &str) -> Result<Vec<Port>, Error> {
        ports::parse_expose(text)
    }

    fn create(&mut self, spec: ContainerSpec, process: &Process) -> Result<Created, Error> {
        let made = self.lab.create(spec)?;
        self.processes.insert(made.id.clone(), process.clone());
        Ok(Created {
            id: made.id,
            warnings: made.warnings,
        })
    }

    fn start(&mut self, container: &str) -> Result<(), Error> {
        self.lab.start(container)?;
        self.lab.settle();
        Ok(())
    }

    fn stop(&mut self, container: &str, _timeout: Option<i64>) -> Result<(), Error> {
        let id = self.container(container)?.id.clone();
        self.hear(&id);
        self.lab.stop(container)
    }

    fn restart(&mut self, container: &str, _timeout: Option<i64>) -> Result<(), Error> {
        self.lab.restart(container)
    }

    fn kill(&mut self, container: &str, _signal: &str) -> Result<(), Error> {
        let id = self.container(container)?.id.clone();
        self.hear(&id);
        self.lab.kill(container)
    }

    fn pause(&mut self, container: &str) -> Result<(), Error> {
        self.lab.pause(container)
    }

    fn unpause(&mut self, container: &str) -> Result<(), Error> {
        self.lab.unpause(container)
    }

    fn rename(&mut self, container: &str, name: &str) -> Result<(), Error> {
        self.lab.rename(container, name)
    }

    fn remove(&mut self, container: &str, force: bool) -> Result<(), Error> {
        let id = self.container(container)?.id.clone();
        self.lab.remove(container, force)?;
        self.processes.remove(&*id);
        self.written.remove(&*id);
        Ok(())
    }

    fn list(&mut self, all: bool, filters: &Filters) -> Result<Vec<Summary>, Error> {
        let docker = self.lab.docker();
        let found = docker.list(all, &pairs(filters))?;
        Ok(found
            .into_iter()
            .map(|container| self.summary(container))
            .collect())
    }

    fn inspect(&mut self, container: &str) -> Result<Value, Error> {
        Ok(value(self.lab.docker().inspect(container)?.to_value()))
    }

    fn first_process(&mut self, container: &str) -> Result<(Vec<String>, Process), Error> {
        Ok(self.process_of(self.container(container)?))
    }

    fn wait(&mut self, container: &str) -> Result<Output, Error> {
        let id = self.container(container)?.id.clone();
        let Some(app) = self.lab.main_program(&id) else {
            return Ok(Output::default());
        };
        let code = self.lab.run_app_for(app, LIMIT).unwrap_or(124);
        let mut output = self.hear(&id);
        output.code = code;
        self.lab.ended(&id, code)?;
        Ok(output)
    }

    fn exit(&mut self, container: &str, code: u8) -> Result<(), Error> {
        let id = self.container(container)?.id.clone();
        self.lab.ended(&id, code)
    }

    fn logs(&mut self, container: &str) -> Result<Output, Error> {
        let id = self.container(container)?.id.clone();
        self.hear(&id);
        Ok(self.written.get(&*id).cloned().unwrap_or_default())
    }

    fn exec(&mut self, container: &str, argv: &[String], stdin: &str) -> Result<Output, Error> {
        let image = self.container(container)?.spec.image.clone();
        let ns = self.running(container)?;
        Ok(self.run(ns, argv, &context(&image, stdin)))
    }

    fn spawn(&mut self, container: &str, argv: &[String]) -> Result<(), Error> {
        let image = self.container(container)?.spec.image.clone();
        let ns = self.running(container)?;
        let app = tools::spawn_in(argv, &context(&image, ""))
            .map_err(|words| Error::new(Kind::Invalid, words))?;
        self.lab.spawn(ns, app);
        self.lab.settle();
        Ok(())
    }

    fn host(&mut self, place: Place, argv: &[String], stdin: &str) -> Output {
        self.host_line(place, argv, stdin)
    }

    fn host_spawn(&mut self, place: Place, argv: &[String]) {
        let ns = self.place(place);
        if let Ok(app) = tools::spawn_in(argv, &context("ubuntu", "")) {
            self.lab.spawn(ns, app);
            self.lab.settle();
        }
    }

    fn advance(&mut self, time: Duration) {
        self.lab.run_for(time);
    }
}
