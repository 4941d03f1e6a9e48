//! vethlab: Docker's network inside one process.
//!
//! Real Ethernet frames between simulated namespaces, Docker's addressing, names, NAT and isolation on
//! top, TCP by smoltcp, virtual time, captures that Wireshark reads; no root, no user namespace, no
//! `/dev/net/tun`.
//!
//! ```
//! use vethlab::core::docker::spec::{ContainerSpec, NetworkSpec};
//! use vethlab::core::lab::{Lab, LabConfig};
//!
//! let mut lab = Lab::new(LabConfig::default())?;
//! lab.network_create(NetworkSpec { name: "front".into(), ..NetworkSpec::default() })?;
//! for name in ["web", "db"] {
//!     lab.create(ContainerSpec {
//!         name: Some(name.into()),
//!         image: "busybox".into(),
//!         network_mode: "front".into(),
//!         ..ContainerSpec::default()
//!     })?;
//!     lab.start(name)?;
//! }
//! let web = lab.namespace("web").unwrap();
//! assert_eq!(lab.lookup(web, "db"), ["172.18.0.3".parse::<std::net::IpAddr>().unwrap()]);
//! # Ok::<(), vethlab::core::docker::Error>(())
//! ```
#![forbid(unsafe_code)]

pub mod assigned;
pub mod capture;
pub mod check;
pub mod dials;
pub mod diff;
pub mod expect;
pub mod files;
pub mod lint;
#[cfg(target_os = "linux")]
pub mod live;
mod machine;
pub mod matrix;
pub mod project;
pub mod report;
pub mod revision;
pub mod together;
pub mod why;
pub mod world;

pub use emulator_compose as compose;
pub use emulator_core as core;
pub use emulator_host as host;
pub use emulator_model as model;
