//! Whole namespaces back to back, as a program and a wire see them.

mod change;
mod cost;
mod destinations;
mod diverted;
mod early;
mod errors;
mod flows;
mod fragments;
mod hooks;
mod links;
mod random;
mod rig;
mod routed;
mod sides;
mod strained;
mod streams;
mod turns;
mod whole;
