//! What the Docker daemon itself runs in namespaces: its DNS server and its port proxies.

pub mod dns;
pub mod proxy;
pub mod resolver;
