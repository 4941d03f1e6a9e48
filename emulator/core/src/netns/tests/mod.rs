//! Whole namespaces back to back, as a program and a wire see them.

mod errors;
mod flows;
mod fragments;
mod links;
mod random;
mod rig;
