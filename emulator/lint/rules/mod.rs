//! A file a rule, or a small family of rules.

pub(super) mod address_refused;
pub(super) mod addresses;
pub(super) mod alias_shared;
pub(super) mod dial;
pub(super) mod health;
pub(super) mod mtu;
pub(super) mod names;
pub(super) mod netns;
pub(super) mod networks;
pub(super) mod overlap;
pub(super) mod proxy;
pub(super) mod publish;
pub(super) mod publish_duplicate;
pub(super) mod publish_mode;
pub(super) mod publish_udp;
pub(super) mod side_door;
pub(super) mod subnet_invalid;
pub(super) mod variables;
