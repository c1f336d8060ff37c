//! Living together with other XDP programs on an interface (docs/chaining.md).
//!
//! With `attach = "none"` another program runs first and calls ours by a tail call. What it calls is the small program
//! `entry`, which is pinned and outlives processes: each puts its own `steer` behind it. With `next`, `steer` calls another
//! program for what belongs to no service.
//!
//! | file | idea |
//! |---|---|
//! | `entry` | the program that others call, and how many frames arrived through it |
//! | `arrivals` | whether frames arrive, and when they should |
//! | `watch` | the same for the interfaces that are steered |
//! | `next` | the program that gets what belongs to no service |

mod arrivals;
mod entry;
mod next;
mod watch;

pub(super) use arrivals::Arrivals;
pub(super) use entry::Entry;
pub use next::chain_problems;
pub(super) use next::put_behind;
pub(super) use watch::{enter, nothing_attached};
