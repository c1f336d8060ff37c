//! The limit of open files: each queue of an interface takes about five descriptors, and shells start with a limit of 1,024.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the limit of this process to the highest that it may have. Nothing here uses `select`, which would not stand that.
///
/// # Errors
/// The kernel refuses.
pub(super) fn allow_most() -> rustix::io::Result<()> {
    let most = getrlimit(Resource::Nofile).maximum;
    let limit = Rlimit {
        current: most,
        maximum: most,
    };
    setrlimit(Resource::Nofile, limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_the_highest_afterwards() {
        assert_eq!(allow_most(), Ok(()));
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
    }
}
