//! The lab in real time, with real sockets on loopback.

mod proxy;
mod published_tcp;
mod published_udp;
mod rig;
