//! What the command line asks of the engine: the verbs, and programs to run.
//!
//! Models the calls of Docker's client to its daemon. The Lab implements it; tests implement it with
//! a recorder. Whatever takes time takes virtual time: a call returns when it is over.

use core::time::Duration;
use std::collections::BTreeMap;

use vethlab::core::docker::Error;
use vethlab::core::docker::spec::{
    ContainerSpec, EndpointSpec, Engine, NetworkSpec, Port, PortBinding, Proto,
};

use crate::format::Value;
use crate::output::Output;

/// `--filter`: each name with its values in the order given.
pub type Filters = BTreeMap<String, Vec<String>>;

/// What `create` answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Created {
    /// The full id, 64 hexadecimal digits.
    pub id: String,
    /// Warnings, without `WARNING: `.
    pub warnings: Vec<String>,
}

/// The parts of `docker run` that are about its first process and not about its network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Process {
    /// `--entrypoint`; `Some("")` resets the image's own.
    pub entrypoint: Option<String>,
    /// `-i`: standard input stays open, so a shell without a script stays up.
    pub interactive: bool,
    /// `-t`.
    pub tty: bool,
}

/// The state of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Made, never started, or its start failed.
    Created,
    /// Ended with this code.
    Exited(u8),
    /// Running, but frozen.
    Paused,
    /// Running.
    Running,
}

/// A port of a container as `docker ps` lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortRow {
    /// The host's address; `None` if the port is exposed and not published.
    pub host: Option<(core::net::IpAddr, u16)>,
    /// The container's port.
    pub port: Port,
}

/// A container as `docker ps` lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The full id.
    pub id: String,
    /// The name, without a slash.
    pub name: String,
    /// The image.
    pub image: String,
    /// The first process with its arguments, on one line.
    pub command: String,
    /// How long ago it was made.
    pub age: Duration,
    /// When it was made, as `CreatedAt` prints it.
    pub created_at: String,
    /// Its state.
    pub state: State,
    /// How long it has been in that state.
    pub since: Duration,
    /// Its ports.
    pub ports: Vec<PortRow>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The names of its networks.
    pub networks: Vec<String>,
}

/// Where a host line of a transcript runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// The Docker host.
    #[default]
    Host,
    /// The other machine on the uplink's segment.
    Lan,
    /// A machine behind the gateways.
    Internet,
}

impl Place {
    /// The place by the word before a transcript's `$`.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "" | "host" => Some(Self::Host),
            "lan" => Some(Self::Lan),
            "internet" => Some(Self::Internet),
            _ => None,
        }
    }
}

/// The engine. Errors are what Docker prints after `Error response from daemon: `.
#[allow(
    clippy::missing_errors_doc,
    reason = "every verb fails in Docker's words"
)]
pub trait Daemon {
    /// Which engine it models; the client is of the same version.
    fn engine(&self) -> Engine;

    /// `docker network create`.
    fn network_create(&mut self, spec: NetworkSpec) -> Result<Created, Error>;
    /// The networks that pass the filters, each as `inspect` shows it, in any order.
    fn network_list(&mut self, filters: &Filters) -> Result<Vec<Value>, Error>;
    /// One network by name, id or the start of its id.
    fn network_inspect(&mut self, network: &str, verbose: bool) -> Result<Value, Error>;
    /// `docker network connect`.
    fn network_connect(
        &mut self,
        network: &str,
        container: &str,
        endpoint: EndpointSpec,
    ) -> Result<(), Error>;
    /// `docker network disconnect`.
    fn network_disconnect(
        &mut self,
        network: &str,
        container: &str,
        force: bool,
    ) -> Result<(), Error>;
    /// `docker network rm` of one network.
    fn network_remove(&mut self, network: &str) -> Result<(), Error>;
    /// `docker network prune`: the names of those removed.
    fn network_prune(&mut self, filters: &Filters) -> Result<Vec<String>, Error>;

    /// Reads a `-p` in its short form.
    fn publish_spec(&self, text: &str) -> Result<Vec<PortBinding>, Error>;
    /// Reads an `--expose`.
    fn expose_spec(&self, text: &str) -> Result<Vec<Port>, Error>;

    /// `docker create`.
    fn create(&mut self, spec: ContainerSpec, process: &Process) -> Result<Created, Error>;
    /// `docker start` of one container.
    fn start(&mut self, container: &str) -> Result<(), Error>;
    /// `docker stop`; `timeout` in seconds if it was given.
    fn stop(&mut self, container: &str, timeout: Option<i64>) -> Result<(), Error>;
    /// `docker restart`.
    fn restart(&mut self, container: &str, timeout: Option<i64>) -> Result<(), Error>;
    /// `docker kill`; `signal` is `KILL` if none was given.
    fn kill(&mut self, container: &str, signal: &str) -> Result<(), Error>;
    /// `docker pause`.
    fn pause(&mut self, container: &str) -> Result<(), Error>;
    /// `docker unpause`.
    fn unpause(&mut self, container: &str) -> Result<(), Error>;
    /// `docker rename`.
    fn rename(&mut self, container: &str, name: &str) -> Result<(), Error>;
    /// `docker rm` of one container.
    fn remove(&mut self, container: &str, force: bool) -> Result<(), Error>;
    /// The containers that pass the filters, the newest first; stopped ones too if `all`.
    fn list(&mut self, all: bool, filters: &Filters) -> Result<Vec<Summary>, Error>;
    /// One container by name, id or the start of its id.
    fn inspect(&mut self, container: &str) -> Result<Value, Error>;

    /// The first process of a container with its arguments: entrypoint and command, the image's own
    /// where none were given.
    fn first_process(&mut self, container: &str) -> Result<(Vec<String>, Process), Error>;
    /// Waits until the first process has ended: what it wrote since its start, and its code.
    fn wait(&mut self, container: &str) -> Result<Output, Error>;
    /// Ends the first process with `code`: a shell that was left, or a script that is over.
    /// `--rm` takes effect.
    fn exit(&mut self, container: &str, code: u8) -> Result<(), Error>;
    /// What the first process has written so far.
    fn logs(&mut self, container: &str) -> Result<Output, Error>;
    /// Runs a program in a running container until it ends. A program that is not there answers
    /// with code 127.
    fn exec(&mut self, container: &str, argv: &[String], stdin: &str) -> Result<Output, Error>;
    /// Starts a program in a running container and leaves it running.
    fn spawn(&mut self, container: &str, argv: &[String]) -> Result<(), Error>;

    /// Runs a program on the Docker host or another machine until it ends: `ip`, `bridge`, `brctl`,
    /// `iptables`, `iptables-save`, `conntrack`, `ss`, `ping`, `curl`, `wget`, `nc`, `cat`, `hostname`, ….
    fn host(&mut self, place: Place, argv: &[String], stdin: &str) -> Output;
    /// Starts a program there and leaves it running.
    fn host_spawn(&mut self, place: Place, argv: &[String]);
    /// Lets virtual time pass.
    fn advance(&mut self, time: Duration);
}

/// Reads `80`, `80/udp` as `docker port` takes it.
#[must_use]
pub fn parse_port(text: &str) -> Option<Port> {
    let (number, proto) = text.split_once('/').unwrap_or((text, "tcp"));
    let proto = match proto.to_ascii_lowercase().as_str() {
        "" | "tcp" => Proto::Tcp,
        "udp" => Proto::Udp,
        "sctp" => Proto::Sctp,
        _ => return None,
    };
    let digits = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    let number = digits.then(|| number.parse().ok()).flatten()?;
    Some(Port { number, proto })
}
