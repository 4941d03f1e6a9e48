//! One binary with all integration tests: a file a feature.

mod captures;
mod conformance;
mod determinism;
mod engine;
mod kernel;
mod properties;
mod rig;
mod scenes;
mod transcripts;
mod walls;
