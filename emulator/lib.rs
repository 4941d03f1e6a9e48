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
//!
//! | you want to | see |
//! |---|---|
//! | test what a compose file allows | [`expect::Tested`] |
//! | build a network by Docker's verbs | [`core::lab::Lab`] |
//! | speak from inside of a container | below |
//! | have the answers of `check`, `matrix`, `why`, `diff`, `lint` | the modules of these names, over a [`world::World`] |
//! | load a compose file | [`files::load_with`] |
//! | record frames | [`capture::CaptureTo`] |
//! | run a project in real time | [`live`] |
//!
//! # A client and a server in containers
//!
//! [`Lab::sys`](core::lab::Lab::sys) has the system calls of a namespace ([`core::app::Sys`]). None of them waits: time passes while
//! the lab runs, and it is virtual. What the lab has as tools is a program ([`core::tools::spawn`]), and so is everything
//! that is an [`App`](core::app::App). Here both are recorded into a file for Wireshark.
//!
//! ```
//! use std::time::Duration;
//!
//! use vethlab::capture::{CaptureSpec, CaptureTo};
//! use vethlab::core::app::{Family, SockKind, Sys};
//! use vethlab::core::docker::spec::{ContainerSpec, NetworkSpec};
//! use vethlab::core::lab::{Lab, LabConfig};
//! use vethlab::core::netns::Errno;
//! use vethlab::core::tools;
//!
//! # let mut lab = Lab::new(LabConfig::default())?;
//! # lab.network_create(NetworkSpec { name: "front".into(), ..NetworkSpec::default() })?;
//! # for name in ["web", "db"] {
//! #     lab.create(ContainerSpec {
//! #         name: Some(name.into()),
//! #         image: "busybox".into(),
//! #         network_mode: "front".into(),
//! #         ..ContainerSpec::default()
//! #     })?;
//! #     lab.start(name)?;
//! # }
//! # let folder = std::env::temp_dir().join(format!("vethlab-front-{}", std::process::id()));
//! # std::fs::create_dir_all(&folder)?;
//! # let file = folder.join("lab.pcapng");
//! // The lab of above, and `file`, a path.
//! let capture = CaptureTo::start(&mut lab, &file, CaptureSpec::default(), None)?;
//! let (web, db) = (lab.namespace("web").unwrap(), lab.namespace("db").unwrap());
//!
//! let mut sys = lab.sys(db);
//! let listener = sys.socket(SockKind::Tcp, Family::V4)?;
//! sys.bind(listener, "0.0.0.0:5432".parse()?)?;
//! sys.listen(listener, 16)?;
//!
//! let address = lab.lookup(web, "db")[0];
//! let mut sys = lab.sys(web);
//! let client = sys.socket(SockKind::Tcp, Family::V4)?;
//! assert_eq!(sys.connect(client, (address, 5432).into()), Err(Errno::InProgress));
//! lab.run_for(Duration::from_millis(10));
//! assert_eq!(lab.sys(web).send(client, b"hello")?, 5);
//! lab.run_for(Duration::from_millis(10));
//!
//! let mut buffer = [0; 16];
//! let (server, from) = lab.sys(db).accept(listener)?;
//! assert_eq!(lab.sys(db).recv(server, &mut buffer)?, 5);
//! assert_eq!(from.ip().to_string(), "172.18.0.2");
//!
//! let ping = tools::spawn(&["ping", "-c1", "db"].map(String::from))?;
//! let ping = lab.spawn(web, ping);
//! assert_eq!(lab.run_app_for(ping, Duration::from_secs(5)), Some(0));
//! let (_is_error, text) = lab.take_output(ping).remove(0);
//! assert!(text.starts_with("PING db (172.18.0.3): 56 data bytes\n"));
//!
//! capture.finish(&mut lab)?;
//! # assert!(std::fs::metadata(&file)?.len() > 500);
//! # std::fs::remove_dir_all(&folder)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
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
