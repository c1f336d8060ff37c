//! Files that a thread can reach (landlock(7)). Files that are open stay usable.

use landlock::{
    ABI, Access as _, AccessFs, Ruleset, RulesetAttr as _, RulesetCreatedAttr as _, RulesetError,
    RulesetStatus, path_beneath_rules,
};

use super::{Directories, ThreadKind};

/// The newest set of rights that is handled; an older kernel handles what it knows (ABI 3: Linux 6.2).
const HANDLED: ABI = ABI::V3;
/// What the kernel says of interfaces, routes and listeners.
const KERNEL: [&str; 2] = ["/proc", "/sys"];

/// Takes all files from the calling thread but those that its kind needs. A kernel without Landlock takes none.
pub(super) fn restrict(kind: ThreadKind, directories: &Directories) -> Result<(), RulesetError> {
    let (all, read) = (AccessFs::from_all(HANDLED), AccessFs::from_read(HANDLED));
    let mut rules = Ruleset::default().handle_access(all)?.create()?;
    if matches!(kind, ThreadKind::Server | ThreadKind::Control) {
        rules = rules.add_rules(path_beneath_rules(KERNEL, read))?;
    }
    if kind == ThreadKind::Control {
        rules = rules
            .add_rules(path_beneath_rules(&directories.read, read))?
            .add_rules(path_beneath_rules(&directories.change, all))?;
    }
    if rules.restrict_self()?.ruleset == RulesetStatus::NotEnforced && kind == ThreadKind::Control {
        tracing::info!(
            "this kernel has no Landlock: the process can reach every file that its user can"
        );
    }
    Ok(())
}
