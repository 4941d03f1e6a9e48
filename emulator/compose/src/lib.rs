//! Compose files, read as far as they touch the network.
mod dotenv;
mod error;
mod interpolate;
mod node;
mod scalar;
mod source;
mod template;
mod yaml;
