//! An engine without a network: it remembers what it was asked and answers from a list.

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use vethlab::core::docker::error::{Error, Kind};
use vethlab::core::docker::spec::{
    ContainerSpec, EndpointSpec, Engine, HostPort, NetworkSpec, Port, PortBinding,
};
use vethlab_cli::docker::daemon::parse_port;
use vethlab_cli::docker::{Created, Daemon, Filters, Place, Process, State, Summary};
use vethlab_cli::format::Value;
use vethlab_cli::output::Output;

/// A container that it remembers.
#[derive(Clone, Debug)]
pub(crate) struct Container {
    pub(crate) id: String,
    pub(crate) spec: ContainerSpec,
    pub(crate) process: Process,
    pub(crate) state: State,
}

/// The engine.
#[derive(Debug, Default)]
pub(crate) struct Fake {
    pub(crate) engine: Engine,
    /// What was asked, one line each.
    pub(crate) asked: Vec<String>,
    /// The error of the next verb, if it fails.
    pub(crate) fails: Option<Error>,
    /// The error of the next start, if it fails.
    pub(crate) start_fails: Option<Error>,
    /// The id that the next thing gets.
    pub(crate) next_id: Option<String>,
    /// What programs answer, in order; then nothing.
    pub(crate) answers: VecDeque<Output>,
    pub(crate) networks: Vec<Value>,
    pub(crate) containers: BTreeMap<String, Container>,
    /// What `inspect` answers, before containers are looked at.
    pub(crate) inspected: BTreeMap<String, Value>,
    pub(crate) pruned: Vec<String>,
    pub(crate) passed: Duration,
    count: usize,
}

impl Fake {
    pub(crate) fn new(engine: Engine) -> Self {
        let network = |name: &str, driver: &str| {
            Value::object([
                ("Name", Value::from(name)),
                ("Id", format!("<nid64:{name}>").into()),
                ("Scope", "local".into()),
                ("Driver", driver.into()),
                ("Labels", Value::Object(Vec::new())),
            ])
        };
        let networks = vec![
            network("host", "host"),
            network("bridge", "bridge"),
            network("none", "null"),
        ];
        Self {
            engine,
            networks,
            ..Self::default()
        }
    }

    fn fail(&mut self) -> Result<(), Error> {
        self.fails.take().map_or(Ok(()), Err)
    }

    fn id(&mut self) -> String {
        self.count += 1;
        self.next_id
            .take()
            .unwrap_or_else(|| format!("{:064x}", self.count))
    }

    fn find(&mut self, name: &str) -> Result<&mut Container, Error> {
        self.containers
            .values_mut()
            .find(|c| c.spec.name.as_deref() == Some(name) || c.id == name)
            .ok_or_else(|| Error::new(Kind::NotFound, format!("No such container: {name}")))
    }

    fn set(&mut self, name: &str, state: State) -> Result<(), Error> {
        self.fail()?;
        self.find(name)?.state = state;
        Ok(())
    }

    fn answer(&mut self) -> Output {
        self.answers.pop_front().unwrap_or_default()
    }
}

impl Daemon for Fake {
    fn engine(&self) -> Engine {
        self.engine
    }

    fn network_create(&mut self, spec: NetworkSpec) -> Result<Created, Error> {
        self.fail()?;
        let id = self.id();
        let labels = spec
            .labels
            .iter()
            .map(|(k, v)| (k.clone(), Value::from(v.as_str())));
        self.networks.push(Value::object([
            ("Name", Value::from(spec.name)),
            ("Id", id.clone().into()),
            ("Scope", "local".into()),
            ("Driver", spec.driver.into()),
            ("Labels", Value::object(labels)),
        ]));
        Ok(Created {
            id,
            warnings: Vec::new(),
        })
    }

    fn network_list(&mut self, filters: &Filters) -> Result<Vec<Value>, Error> {
        self.fail()?;
        let passes = |network: &Value| {
            let name = network.text_at(&["Name"]);
            filters.iter().all(|(key, values)| {
                values.iter().any(|value| match key.as_str() {
                    "driver" => network.text_at(&["Driver"]) == value,
                    "name" => name.contains(value.as_str()),
                    "type" => (value == "builtin") == matches!(name, "bridge" | "host" | "none"),
                    "label" => value
                        .split_once('=')
                        .is_some_and(|(key, value)| network.text_at(&["Labels", key]) == value),
                    _ => false,
                })
            })
        };
        Ok(self
            .networks
            .iter()
            .filter(|n| passes(n))
            .cloned()
            .collect())
    }

    fn network_inspect(&mut self, network: &str, _: bool) -> Result<Value, Error> {
        self.fail()?;
        if let Some(value) = self.inspected.get(network) {
            return Ok(value.clone());
        }
        let found = self
            .networks
            .iter()
            .find(|n| n.text_at(&["Name"]) == network);
        found
            .cloned()
            .ok_or_else(|| Error::new(Kind::NotFound, format!("network {network} not found")))
    }

    fn network_connect(
        &mut self,
        net: &str,
        container: &str,
        spec: EndpointSpec,
    ) -> Result<(), Error> {
        self.fail()?;
        self.asked.push(format!(
            "connect {net} {container} {}",
            spec.aliases.join(",")
        ));
        Ok(())
    }

    fn network_disconnect(&mut self, net: &str, container: &str, force: bool) -> Result<(), Error> {
        self.fail()?;
        self.asked
            .push(format!("disconnect {net} {container} {force}"));
        Ok(())
    }

    fn network_remove(&mut self, network: &str) -> Result<(), Error> {
        self.fail()?;
        let at = self
            .networks
            .iter()
            .position(|n| n.text_at(&["Name"]) == network);
        let at =
            at.ok_or_else(|| Error::new(Kind::NotFound, format!("network {network} not found")))?;
        self.networks.remove(at);
        Ok(())
    }

    fn network_prune(&mut self, _: &Filters) -> Result<Vec<String>, Error> {
        self.networks
            .retain(|n| !self.pruned.iter().any(|name| name == n.text_at(&["Name"])));
        Ok(core::mem::take(&mut self.pruned))
    }

    fn publish_spec(&self, text: &str) -> Result<Vec<PortBinding>, Error> {
        let (host, port) = text.rsplit_once(':').unwrap_or(("", text));
        let port = self.expose_spec(port)?.remove(0);
        let host_port = host.parse().map_or(HostPort::Ephemeral, HostPort::Exact);
        Ok(vec![PortBinding {
            port,
            host_ip: None,
            host_port,
        }])
    }

    fn expose_spec(&self, text: &str) -> Result<Vec<Port>, Error> {
        let port = parse_port(text);
        let bad = || Error::new(Kind::Invalid, format!("invalid containerPort: {text}"));
        port.map(|port| vec![port]).ok_or_else(bad)
    }

    fn create(&mut self, spec: ContainerSpec, process: &Process) -> Result<Created, Error> {
        self.fail()?;
        let id = self.id();
        self.asked
            .push(format!("create {} {}", spec.image, spec.command.join(" ")));
        self.containers.insert(
            id.clone(),
            Container {
                id: id.clone(),
                spec,
                process: process.clone(),
                state: State::Created,
            },
        );
        Ok(Created {
            id,
            warnings: Vec::new(),
        })
    }

    fn start(&mut self, container: &str) -> Result<(), Error> {
        self.start_fails.take().map_or(Ok(()), Err)?;
        self.set(container, State::Running)
    }

    fn stop(&mut self, container: &str, _: Option<i64>) -> Result<(), Error> {
        self.set(container, State::Exited(137))
    }

    fn restart(&mut self, container: &str, _: Option<i64>) -> Result<(), Error> {
        self.set(container, State::Running)
    }

    fn kill(&mut self, container: &str, _: &str) -> Result<(), Error> {
        self.set(container, State::Exited(137))
    }

    fn pause(&mut self, container: &str) -> Result<(), Error> {
        self.set(container, State::Paused)
    }

    fn unpause(&mut self, container: &str) -> Result<(), Error> {
        self.set(container, State::Running)
    }

    fn rename(&mut self, container: &str, name: &str) -> Result<(), Error> {
        self.find(container)?.spec.name = Some(name.to_owned());
        Ok(())
    }

    fn remove(&mut self, container: &str, _: bool) -> Result<(), Error> {
        self.fail()?;
        let id = self.find(container)?.id.clone();
        self.containers.remove(&id);
        Ok(())
    }

    fn list(&mut self, all: bool, _: &Filters) -> Result<Vec<Summary>, Error> {
        let summary = |c: &Container| Summary {
            id: c.id.clone(),
            name: c.spec.name.clone().unwrap_or_default(),
            image: c.spec.image.clone(),
            command: c.spec.command.join(" "),
            age: self.passed,
            created_at: String::new(),
            state: c.state,
            since: self.passed,
            ports: Vec::new(),
            labels: c.spec.labels.clone(),
            networks: vec![c.spec.network_mode.clone()],
        };
        let shown = |c: &&Container| all || matches!(c.state, State::Running | State::Paused);
        Ok(self
            .containers
            .values()
            .rev()
            .filter(shown)
            .map(summary)
            .collect())
    }

    fn inspect(&mut self, container: &str) -> Result<Value, Error> {
        if let Some(value) = self.inspected.get(container) {
            return Ok(value.clone());
        }
        let found = self.find(container)?;
        let running = matches!(found.state, State::Running | State::Paused);
        Ok(Value::object([
            ("Id", Value::from(found.id.as_str())),
            (
                "State",
                Value::object([
                    ("Running", Value::Bool(running)),
                    ("Paused", Value::Bool(found.state == State::Paused)),
                ]),
            ),
        ]))
    }

    fn first_process(&mut self, container: &str) -> Result<(Vec<String>, Process), Error> {
        let found = self.find(container)?;
        let argv = match found.spec.command.as_slice() {
            [] => vec!["/bin/sh".to_owned()],
            argv => argv.to_vec(),
        };
        Ok((argv, found.process.clone()))
    }

    fn wait(&mut self, container: &str) -> Result<Output, Error> {
        let output = self.answer();
        self.set(container, State::Exited(output.code))?;
        Ok(output)
    }

    fn exit(&mut self, container: &str, code: u8) -> Result<(), Error> {
        let found = self.find(container)?;
        found.state = State::Exited(code);
        let id = found.id.clone();
        if found.spec.auto_remove {
            self.containers.remove(&id);
        }
        self.asked.push(format!("exit {code}"));
        Ok(())
    }

    fn logs(&mut self, container: &str) -> Result<Output, Error> {
        self.find(container)?;
        Ok(self.answer())
    }

    fn exec(&mut self, container: &str, argv: &[String], stdin: &str) -> Result<Output, Error> {
        self.asked.push(format!(
            "exec {} {}{stdin}",
            self.short(container),
            argv.join(" ")
        ));
        Ok(self.answer())
    }

    fn spawn(&mut self, container: &str, argv: &[String]) -> Result<(), Error> {
        self.asked.push(format!(
            "spawn {} {}",
            self.short(container),
            argv.join(" ")
        ));
        Ok(())
    }

    fn host(&mut self, place: Place, argv: &[String], stdin: &str) -> Output {
        self.asked
            .push(format!("{place:?} {}{stdin}", argv.join(" ")));
        self.answer()
    }

    fn host_spawn(&mut self, place: Place, argv: &[String]) {
        self.asked.push(format!("{place:?} {} &", argv.join(" ")));
    }

    fn advance(&mut self, time: Duration) {
        self.passed += time;
    }
}

impl Fake {
    /// The name of a container, or its id.
    fn short(&self, id: &str) -> String {
        let found = self.containers.get(id).and_then(|c| c.spec.name.clone());
        found.unwrap_or_else(|| id.to_owned())
    }
}
