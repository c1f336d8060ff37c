//! Capabilities that a thread keeps (capabilities(7)).

use caps::errors::CapsError;
use caps::{CapSet, Capability, CapsHashSet};

use super::ThreadKind;

/// For a socket that must be bound again, a program that must be attached again, neighbours and probes.
const CONTROL: [Capability; 4] = [
    Capability::CAP_NET_ADMIN,
    Capability::CAP_NET_RAW,
    Capability::CAP_BPF,
    Capability::CAP_IPC_LOCK,
];

/// Gives up all capabilities that a thread of this kind does not need. It never gains one that it has not.
pub(super) fn give_up(kind: ThreadKind) -> Result<(), CapsError> {
    let wanted: CapsHashSet = match kind {
        ThreadKind::Control => CONTROL.into(),
        ThreadKind::Worker | ThreadKind::Server | ThreadKind::Log => CapsHashSet::new(),
    };
    let kept = &caps::read(None, CapSet::Permitted)? & &wanted;
    // The bounding set limits what a program gains that is started; none can be started. Without CAP_SETPCAP it stays.
    if caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP)? {
        for one in &caps::read(None, CapSet::Bounding)? - &kept {
            caps::drop(None, CapSet::Bounding, one)?;
        }
    }
    caps::clear(None, CapSet::Ambient)?;
    caps::set(None, CapSet::Effective, &kept)?;
    caps::set(None, CapSet::Permitted, &kept)?;
    caps::set(None, CapSet::Inheritable, &CapsHashSet::new())
}
