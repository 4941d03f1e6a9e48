//! Whether the model is true: against a real engine, against packets, and whether a test notices when
//! a rule is missing.

mod doors;
mod links;
mod machines;
mod mutations;
mod records;
mod scene;
