//! What must be reachable in projects: computed from their description and the addresses that were
//! assigned, by Docker's documented rules, without packets.
//!
//! It is a second, independent statement of what the Lab does with frames, tables and filter rules:
//! it knows neither. Questions are those that a program asks: which addresses does a name give
//! ([`Model::lookup`]), and what comes of a call to an address ([`Model::reach`]): an answer, from
//! whom, and the caller's address as the server sees it; or why there is none.
//!
//! ```
//! use emulator_model::{Assigned, Container, End, Endpoint, Engine, Machine, Model, Network, Reach, Transport};
//!
//! let text = "services: {web: {image: nginx}, db: {image: redis, networks: [back]}}\nnetworks: {back: {}}\n";
//! let project = emulator_compose::load_str(text).map_err(|errors| errors.to_string())?;
//! let on = |name: &str, service: &str, network: &str, v4: [u8; 4]| Container {
//!     name: name.into(),
//!     project: Some("default".into()),
//!     service: Some(service.into()),
//!     number: 1,
//!     running: true,
//!     endpoints: vec![Endpoint { network: network.into(), v4: Some(v4.into()), ..Endpoint::default() }],
//!     ..Container::default()
//! };
//! let bridge = |name: &str, second: u8| Network {
//!     name: name.into(),
//!     subnets: vec![format!("172.{second}.0.0/16").parse().unwrap()],
//!     gateways: vec![[172, second, 0, 1].into()],
//!     interface: Some(format!("br-{name}")),
//! };
//! let assigned = Assigned {
//!     networks: vec![bridge("default_default", 18), bridge("default_back", 19)],
//!     containers: vec![
//!         on("default-web-1", "web", "default_default", [172, 18, 0, 2]),
//!         on("default-db-1", "db", "default_back", [172, 19, 0, 2]),
//!     ],
//!     ..Assigned::default()
//! };
//! let machine = Machine::new(Engine::V29);
//! let model = Model::new(&[&project], &assigned, Engine::V29, &machine);
//! let web = End::Container("default-web-1".into());
//! assert!(model.resolve(&web, "db").is_empty());
//! let outcome = model.reach(&web, ([172, 19, 0, 2], 6379).into(), Transport::Tcp);
//! assert_eq!(outcome.reach, Reach::Timeout);
//! assert_eq!(outcome.reason.unwrap().as_str(), "isolated");
//! # Ok::<(), String>(())
//! ```

#![forbid(unsafe_code)]

mod assigned;
mod call;
mod engine;
mod gateway;
mod host;
mod hosts;
mod machine;
mod names;
mod outcome;
mod resolve;
mod route;
mod rules;
mod world;

pub use assigned::{Assigned, Container, Endpoint, Network, Publication, Socket};
pub use engine::Model;
pub use machine::{Engine, Machine};
pub use outcome::{End, Outcome, Reach, Reason, Transport, Via};
pub use resolve::{Kind, Reply};
pub use rules::{Rule, Rules};
