//! One binary with all integration tests: a file a feature.

mod bursts;
mod captures;
mod conformance;
mod determinism;
mod engine;
mod expect;
mod fuzz;
mod hand;
mod joining;
mod kernel;
mod lab;
mod matrix;
mod model;
mod overheard;
mod pcap_filter;
mod properties;
#[cfg(target_os = "linux")]
mod real;
mod rig;
mod scenes;
mod taps;
mod told;
mod transcripts;
mod walls;
mod why;
mod world;
