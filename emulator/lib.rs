//! vethlab: Docker's network inside one process.
pub use emulator_core as core;
