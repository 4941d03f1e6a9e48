//! A network namespace: interfaces, neighbours, routes, hooks, and the sockets above them.

pub mod errno;
pub mod tcp;

pub use errno::Errno;

/// A namespace.
#[derive(Debug, Default)]
pub struct Netns {}
