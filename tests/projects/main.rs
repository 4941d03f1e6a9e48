//! The model against packets: random projects, every question asked both ways.
//!
//! A project follows from its number alone. `VETHLAB_PROJECTS` says how many are tried, `VETHLAB_FIRST` with
//! which number they begin; else as many as do not hold a test run up, from 1.

mod overlap;
mod plan;
mod routes;
mod run;
#[path = "../it/model/scene.rs"]
mod scene;
mod shared;
mod text;
mod trusted;
