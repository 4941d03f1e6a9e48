//! One binary with all integration tests: a file a feature.

mod rig;
mod walls;
