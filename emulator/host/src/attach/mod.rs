//! Real programs on the emulated network: a kernel namespace whose `eth0` is a port of an emulated bridge.
//!
//! ```text
//!   vethlab attach                                     vethlab up
//!   Space: namespaces, a TAP or a veth pair    ──►     Guest: a container of the model whose eth0 is raw
//!   eth0 127.0.0.11:53        descriptors by SCM_RIGHTS     frames ◄──► bridge, queries ◄──► its embedded DNS
//!   Program: what runs there
//! ```
//!
//! [`Space`] is the side that asks: it leaves its namespaces (as root; else into a user namespace of its own), makes `eth0`
//! and the sockets of the embedded DNS there, and hands their descriptors over. [`Guest`] is the side that has the
//! lab. Frames keep partial checksums and super-segments in both directions. When either side goes, the
//! descriptors go, and with them the interface.
//!
//! A bare TAP ([`open`]) has no side that asks: whatever joins it, a machine behind a bridge of the kernel or a kernel
//! namespace that the TAP was moved into, gets its addresses from [`Joined`] by DHCP and router advertisements.

mod datagrams;
mod dns;
mod frames;
mod gateway;
mod guest;
mod joined;
mod netlink;
mod program;
mod space;
pub(crate) mod sys;
mod tap;
pub mod trial;
mod vnet;

pub use frames::{Frames, Got};
pub use guest::{Counts, Front, Guest, Tally};
pub use joined::{IMAGE, Joined, Place};
pub use program::{inside, run};
pub use space::{Eth0, Files, Means, Space};
pub use tap::{Opener, open};
