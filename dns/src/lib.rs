//! Docker's DNS, sans-IO: the embedded server at 127.0.0.11, what it knows, and the stub resolver that
//! asks it.
//!
//! Pure: no clock, thread, file or socket. Time is a [`core::time::Duration`] since the start of the
//! lab; chance is a closure of the caller's.
//!
//! ```text
//!   stub resolver            embedded server                     outside
//!   search, hosts, lookup ── 127.0.0.11:53 ── resolver ─ miss ── upstream
//!                                               │
//!                                             zone: names and addresses of each network
//! ```
//!
//! There is no cache: Docker's embedded server has none, and a miss is asked again each time.
#![forbid(unsafe_code)]

pub mod hosts;
pub mod lookup;
pub mod message;
pub mod name;
pub mod resolver;
pub mod search;
pub mod upstream;
pub mod zone;

pub use lookup::{Families, Lookup};
pub use message::{Malformed, Message, Query, Rcode};
pub use resolver::{
    Action, Config, ForwardId, Resolver, Transmit, Transport, Upstream, UpstreamFrom,
};
pub use search::{Flavour, ResolvConf};
pub use zone::{EndpointKey, Family, NetKey, SandboxKey, View, Zones};

/// Which engine is modelled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Profile {
    /// Docker 20.10: no answer at all where 29 says SERVFAIL.
    V20_10,
    /// Docker 29.
    #[default]
    V29,
}
