//! Progress lines on stderr; results go to stdout.

use std::io::{Write as _, stderr};

/// Prints one line.
pub(super) fn print_progress(line: &str) {
    // A closed stderr is no reason to stop measuring.
    let _ = writeln!(stderr(), "{line}");
}
