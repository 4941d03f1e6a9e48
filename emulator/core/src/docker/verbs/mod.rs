//! The verbs: what the command line, compose files and the HTTP API are made of. They are the only ways
//! to change the model; they return data, not text.

pub mod connect;
pub mod container;
pub mod create;
pub mod list;
pub mod network;
