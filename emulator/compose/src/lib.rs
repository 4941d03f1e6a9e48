//! Compose files, read as far as they touch the network: [`load`] makes of files and variables a
//! passive [`Project`], or says what is wrong and where.
//!
//! Pure: file texts come through [`Source`], the environment is an argument. Everything that
//! touches the network is understood or refuses the file by name and line; what does not (images,
//! builds, volumes, resources, secrets) is accepted and ignored; what compose refuses is refused in
//! compose's words. Modelled after the Compose Specification and the way that compose v2 reads it.
//!
//! ```
//! let text = "services:\n  web:\n    image: nginx\n    ports: ['8080:80']\n";
//! let project = emulator_compose::load_str(text).map_err(|errors| errors.to_string())?;
//! assert_eq!(project.services[0].ports[0].target, 80);
//! assert_eq!(project.networks[0].name, "default_default");
//!
//! let errors = emulator_compose::load_str("services:\n  web:\n    prots: []\n").unwrap_err();
//! let first = &errors.0[0];
//! assert_eq!((first.line, first.column), (3, 5));
//! assert_eq!(first.hint.as_deref(), Some("did you mean `ports`?"));
//! # Ok::<(), String>(())
//! ```

#![forbid(unsafe_code)]

mod config;
mod dial;
mod dotenv;
mod error;
mod expect;
mod extends;
mod include;
mod init;
mod interpolate;
mod joined;
mod listen;
mod load;
mod machine;
mod merge;
mod model;
mod mounts;
mod naming;
mod near;
mod network;
mod node;
mod order;
mod picture;
mod ports;
mod project;
mod read;
mod scalar;
mod schema;
mod service;
mod source;
mod template;
mod vethlab;
mod yaml;

pub use config::{CONFIG_NAME, Config, ConfigHost, ConfigLoad, ConfigPart, ConfigProject, Run};
pub use dial::{Dial, DialIn, DialTo, dials};
pub use error::{Error, ErrorKind, Errors, MAX_ERRORS, Warning};
pub use expect::{Claim, Event, Expectation, Party, Probe, Sees, Target, Verdict, Whom};
pub use init::{proposal, proposal_of_host, proposal_together};
pub use interpolate::MAX_UNSET;
pub use joined::Joined;
pub use listen::{Image, Images, Known, Listen, listens};
pub use load::{FILE_NAMES, MAX_DOCUMENTS, MAX_FILES, OVERRIDE_NAMES, Options, load, load_str};
pub use machine::{DaemonFile, HostInterface, HostPool, HostRoute, MachineFile, is_engines};
pub use model::{
    Condition, Dependency, Expose, ExtraHost, Healthcheck, Link, Naming, Network, NetworkMode,
    Port, Project, Protocol, Published, Service, ServiceNetwork, Subnet, Unset,
};
pub use near::near;
pub use node::{At, Place};
pub use picture::Picture;
pub use project::MAX_CONTAINERS;
pub use service::MAX_PORTS;
pub use source::{MAX_FILE_BYTES, ReadError, Source};
pub use vethlab::{ENGINES, Group, ServiceVethlab, Upstream, Vethlab};
pub use yaml::{MAX_BYTES, MAX_DEPTH, MAX_NODES};
