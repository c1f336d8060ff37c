//! What this process or this kernel lacks, and what to do about it.
#![forbid(unsafe_code)]

/// What keeps this process or this kernel from steering at all. Every message is one line that names the thing and the
/// cure.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the messages say it
pub enum KernelError {
    #[error(
        "no permission to steer, missing {missing}: run as root, or give the process these capabilities (systemd: \
         AmbientCapabilities=, container: --cap-add)"
    )]
    Capabilities { missing: String },

    #[error("this kernel is older than Linux 5.11, which steering needs: install a newer one")]
    Version,

    #[error(
        "this kernel does not describe its types (no /sys/kernel/btf/vmlinux): use one with CONFIG_DEBUG_INFO_BTF, as \
         current distributions have, and see that sysfs is mounted on /sys"
    )]
    NoBtf,

    #[error(
        "this kernel's sockets are not as synward knows them (BTF without some fields of tcp_sock): set handoff = \"splice\""
    )]
    NoFields,
}
