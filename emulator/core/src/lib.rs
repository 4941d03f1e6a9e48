//! The Lab: Docker's network inside one process, sans-IO.
//!
//! Pure: no clock, thread, file, socket or global. One contract: `Lab::handle` an input at a time, drain
//! `Lab::poll` until it is idle; verbs are the only other mutators.
#![forbid(unsafe_code)]

pub mod app;
pub mod docker;
pub mod id;
pub mod netns;
pub mod tools;
