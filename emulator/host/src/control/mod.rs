//! The control socket: how other processes of the same user find a project that is up, and ask it things.
//!
//! A project that is up holds two files in a folder of its user ([`folder`]): `PROJECT.lock`, which it keeps locked
//! as long as it lives, and `PROJECT.sock`, a Unix stream socket. The lock decides: whoever gets it may take away a
//! socket that stands there, for nobody answers on it; whoever does not is told who has it.
//!
//! The protocol, of which every number is bounded:
//!
//! - A request is one line of JSON, an object with `"verb"`, at most [`REQUEST`] bytes. `attach`
//!   brings descriptors along, at most [`DESCRIPTORS`].
//! - An answer is any number of pieces and then an end, each a line of JSON. `{"part":"out","bytes":5}` is followed
//!   by that many raw bytes; the parts are `out`, `err` and `data`. `{"value":…}` is for machines. The end is
//!   `{"exit":0}`, or `{"error":"a sentence"}` if the request could not be answered.
//! - The next request is read when the last one has been answered. A client that goes away takes back what it asked for; one
//!   that only ends its half (`printf '{"verb":"ps"}\n' | nc -U …`) still gets its answer.
//!
//! [`Server`] is the attachment that listens, [`Service`] is what answers, [`Client`] asks.

mod answer;
mod client;
mod clients;
pub mod lines;
mod place;
mod server;

pub use answer::{Answer, Head, Part};
pub use client::Client;
pub use clients::{ClientId, Clients};
pub use place::{Claim, Claimed, Place, folder};
pub use server::{Server, Service};

/// Bytes of a request, its end of line included.
pub const REQUEST: usize = 128 << 10;
/// Descriptors that may come with a request (`SCM_RIGHTS`).
pub const DESCRIPTORS: usize = 4;
/// Clients at a time; the next one is told so and sent away.
pub const CLIENTS: usize = 64;
/// Bytes that may wait for a client before nothing more is made for it ([`Clients::has_room`]).
pub const BACKLOG: usize = 256 << 10;
