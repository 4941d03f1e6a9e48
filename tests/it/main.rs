//! One binary with all integration tests: a file a feature.

mod conformance;
mod engine;
mod kernel;
mod rig;
mod walls;
