//! How many descriptors the process may have.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The limit of descriptors, as it was and as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptors {
    /// The soft limit before, `None` for no limit. A program that is started later may be given this one back:
    /// some go through every number up to it.
    pub before: Option<u64>,
    /// The soft limit now.
    pub now: Option<u64>,
}

/// Raises the soft limit of descriptors to the hard one, as far as that is allowed.
pub fn raise_descriptors() -> Descriptors {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // What is refused is left as it is, and told.
    let raised = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: maximum,
            maximum,
        },
    );
    Descriptors {
        before: current,
        now: if raised.is_ok() { maximum } else { current },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        let hard = getrlimit(Resource::Nofile).maximum;
        let raised = raise_descriptors();
        assert_eq!(raised.now, hard);
        assert_eq!(getrlimit(Resource::Nofile).current, hard);
        assert_eq!(raise_descriptors().before, hard);
    }
}
