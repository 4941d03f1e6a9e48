//! Whole loads: what a project looks like, what is refused and where, several files, bounds.

mod bounds;
mod files;
mod project;
mod refused;
mod rig;
mod settings;
