//! What the server's kernel offers in its own SYN-ACKs: a responder that answers for it has to offer the same.

use anyhow::{Context as _, Result};

use crate::compare::netns_lab::{Lab, PATIENCE, Role};

/// The window scale that the server's kernel offers: tcp_select_initial_window() of net/ipv4/tcp_output.c.
pub(super) fn window_scale(lab: &Lab<'_>) -> Result<u32> {
    let parameters = ["-n", "net.ipv4.tcp_rmem", "net.core.rmem_max"];
    let printed = lab.run(Role::Server, "sysctl", parameters, PATIENCE)?;
    window_scale_of(&printed)
        .with_context(|| format!("sysctl printed something unexpected: {printed}"))
}

/// From tcp_rmem's three numbers and rmem_max: the greater of the last two decides.
fn window_scale_of(parameters: &str) -> Option<u32> {
    let mut numbers = parameters.split_whitespace().skip(2);
    let mut next = || numbers.next()?.parse::<u64>().ok();
    let space = next()?.max(next()?);
    Some(space.max(1).ilog2().saturating_sub(15).min(14))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_scale_is_the_kernels() {
        assert_eq!(
            window_scale_of("4096\t131072\t33554432\n4194304\n"),
            Some(10)
        );
        assert_eq!(window_scale_of("4096\t131072\t6291456\n212992\n"), Some(7));
        assert_eq!(window_scale_of("4096 131072 32768 65535"), Some(0));
        assert_eq!(window_scale_of("4096 131072 6291456"), None);
    }
}
