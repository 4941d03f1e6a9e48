//! The vethlab binary.
fn main() {}
