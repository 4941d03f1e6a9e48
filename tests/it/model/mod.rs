//! Whether the model is true: against a real engine, against packets, and whether a test notices when
//! a rule is missing.

mod machines;
mod mutations;
mod packets;
mod plan;
mod records;
mod routes;
