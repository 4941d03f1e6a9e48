//! Names of the things in a lab: small typed numbers, never references.

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u32);
    )*};
}

ids! {
    /// An application that runs in a namespace.
    AppId
    /// A bridge: of the Docker host, or the segment of its uplink.
    BridgeId
    /// A capture. Never reused in a lab.
    CaptureId
    /// A veth pair.
    LinkId
    /// A namespace. Never reused in a lab.
    NsId
}

pub use switch::verdict::IfId;

/// A socket of a namespace. A closed socket's number comes back with another generation, so an old
/// id never names a new socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SockId {
    /// The namespace that it lives in.
    pub ns: NsId,
    /// Its slot.
    pub slot: u32,
    /// Which tenant of the slot.
    pub generation: u32,
}
