//! The vethlab command.
