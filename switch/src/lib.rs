//! What may happen to a frame between two network stacks.
//!
//! Pure: time and chance are arguments; no thread, file, socket or global is known here.
//!
//! ```text
//!   stack A ─ ring ─ Link (veth) ─ ring ─ Bridge (learning switch) ─ ring ─ Link ─ ring ─ stack B
//!                      │                     │
//!                      └── Capture ──────────┴── hooks: Conntrack, Nat, Filter
//! ```
//!
//! Every frame has a fate: it is delivered, or it dies with a [`verdict::DropReason`].
#![forbid(unsafe_code)]

pub mod agenda;
pub mod bridge;
pub mod capture;
pub mod conntrack;
mod copy;
pub mod fdb;
pub mod filter;
pub mod frame;
pub mod hook;
pub mod link;
pub mod nat;
pub mod pcap_filter;
pub mod ring;
pub mod rng;
pub mod segment;
mod sum;
pub mod time;
pub mod trace;
pub mod verdict;
pub mod wire;

pub use copy::copy;
pub use frame::{Frame, Pool};
pub use rng::Rng;
pub use time::Time;
pub use verdict::{DropReason, IfId, Verdict};
