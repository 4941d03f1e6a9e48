//! Rows of `docker-networking.md` §9 and of the recorded engine, over a kernel that writes down.

mod connect;
mod containers;
mod networks;
mod ports;
mod properties;
mod recorded;
mod sandboxes;
