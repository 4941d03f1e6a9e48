//! The Lab: Docker's network inside one process, sans-IO.
//!
//! Pure: no clock, thread, file, socket or global. One contract: [`Lab::handle`](lab::Lab::handle) an
//! input at a time, drain [`Lab::poll`](lab::Lab::poll) until it is idle; verbs are the only other
//! mutators.
//!
//! ```text
//!   lab      one machine: verbs, socket calls, applications, the world around the host
//!   docker   the model: networks, addresses, ports, names; asks for wires through Plumb
//!   net      the data plane: namespaces, links, bridges, and the worklist between them
//!   netns    a namespace: L2 to L4, sockets
//!   joining  what tells a machine from outside its addresses: DHCP, router advertisements
//!   service  what the daemon runs: the embedded DNS, docker-proxy
//!   tools    what containers run: ping, wget, nslookup, servers
//! ```
#![forbid(unsafe_code)]

pub mod app;
pub mod docker;
pub mod id;
pub mod joining;
pub mod lab;
pub mod net;
pub mod netns;
pub mod service;
pub mod tools;

pub use dns;
pub use switch;
