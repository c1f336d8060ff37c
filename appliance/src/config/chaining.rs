//! What `attach` and `next` of an interface need of other sections.

use super::config_report::ConfigReport;
use super::{Appliance, Attach, Interface};

/// Requires a pin folder where another program calls ours, and forbids to call ours again.
pub(super) fn check(appliance: &Appliance, interfaces: &[Interface], report: &ConfigReport) {
    for interface in interfaces {
        let name = &interface.name;
        match (&appliance.pin, &interface.next) {
            (None, _) if interface.attach == Attach::None => report.problem(
                interface.line,
                format!(
                    "{name} has attach = \"none\", so another program calls synward's, which must be pinned; set pin in \
                     [appliance]"
                ),
            ),
            (Some(pin), Some(next)) if next.starts_with(pin) => report.problem(
                interface.line,
                format!(
                    "`next` of {name} is {}, which is synward's own; name another program",
                    next.display()
                ),
            ),
            _ => {}
        }
    }
}
