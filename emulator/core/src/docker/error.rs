//! Errors of the verbs, in Docker's own words.

use core::fmt;

/// What kind of failure it is: Docker's HTTP status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// 400: the request makes no sense.
    Invalid,
    /// 403: the request is refused.
    Forbidden,
    /// 404: no such thing.
    NotFound,
    /// 409: in conflict with what is there.
    Conflict,
    /// 500: everything else that fails in the daemon.
    System,
    /// 501: the engine cannot do it.
    NotImplemented,
    /// 503: not now (such as swarm calls outside a swarm).
    Unavailable,
}

impl Kind {
    /// The HTTP status.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::Invalid => 400,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::Conflict => 409,
            Self::System => 500,
            Self::NotImplemented => 501,
            Self::Unavailable => 503,
        }
    }
}

/// A verb's failure. The message is what Docker prints after `Error response from daemon: `.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// What kind.
    pub kind: Kind,
    /// In Docker's words.
    pub message: String,
}

impl Error {
    /// An error of `kind` that says `message`.
    #[must_use]
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl core::error::Error for Error {}
