//! What a socket call fails with: the names and texts of Linux (`errno(3)`, `strerror(3)`).

use core::fmt;

macro_rules! errnos {
    ($($(#[$doc:meta])* $name:ident = $code:literal $text:literal,)*) => {
        /// Why a socket call failed. As wide as a count of bytes: a result that is either of them stays in two registers.
        #[repr(usize)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Errno { $($(#[$doc])* $name,)* }

        impl Errno {
            /// The name in C, such as `ECONNREFUSED`.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// The text that `strerror` gives.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

errnos! {
    /// No permission, such as broadcast without the option.
    Access = "EACCES" "Permission denied",
    /// The address is taken.
    AddrInUse = "EADDRINUSE" "Address already in use",
    /// The address is not one of this namespace.
    AddrNotAvail = "EADDRNOTAVAIL" "Cannot assign requested address",
    /// The call is already under way.
    Already = "EALREADY" "Operation already in progress",
    /// No such socket.
    BadFd = "EBADF" "Bad file descriptor",
    /// The other side reset the connection.
    ConnReset = "ECONNRESET" "Connection reset by peer",
    /// Nobody listens there.
    ConnRefused = "ECONNREFUSED" "Connection refused",
    /// A destination is needed.
    DestAddrReq = "EDESTADDRREQ" "Destination address required",
    /// It is there already.
    Exist = "EEXIST" "File exists",
    /// The host cannot be reached.
    HostUnreach = "EHOSTUNREACH" "No route to host",
    /// The host is known to be down.
    HostDown = "EHOSTDOWN" "Host is down",
    /// The connection is being made.
    InProgress = "EINPROGRESS" "Operation now in progress",
    /// The call makes no sense on this socket.
    Invalid = "EINVAL" "Invalid argument",
    /// The socket is connected already.
    IsConn = "EISCONN" "Transport endpoint is already connected",
    /// Too long for the path or the protocol.
    MsgSize = "EMSGSIZE" "Message too long",
    /// The machine is not on the network.
    NoNet = "ENONET" "Machine is not on the network",
    /// No route.
    NetUnreach = "ENETUNREACH" "Network is unreachable",
    /// No such interface.
    NoDev = "ENODEV" "No such device",
    /// No buffers.
    NoBufs = "ENOBUFS" "No buffer space available",
    /// No such route.
    NoProcess = "ESRCH" "No such process",
    /// The protocol is not available at the other end.
    NoProtoOpt = "ENOPROTOOPT" "Protocol not available",
    /// The socket is not connected.
    NotConn = "ENOTCONN" "Transport endpoint is not connected",
    /// Not supported by this kind of socket.
    NotSupported = "EOPNOTSUPP" "Operation not supported",
    /// Not allowed.
    Perm = "EPERM" "Operation not permitted",
    /// The write half is closed.
    Pipe = "EPIPE" "Broken pipe",
    /// A header that the other end did not understand.
    Proto = "EPROTO" "Protocol error",
    /// Nobody answered.
    TimedOut = "ETIMEDOUT" "Connection timed out",
    /// Nothing to do now.
    WouldBlock = "EAGAIN" "Resource temporarily unavailable",
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl core::error::Error for Errno {}
