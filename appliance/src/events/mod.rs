//! Events that an operator wants to know of: attacks, and commands of other operators.
//!
//! The control thread records an [`Event`] in the [`EventLog`], which logs it, keeps the last ones for `status`, and passes
//! it to the programs of `on_event`.
//!
//! | file | idea |
//! |---|---|
//! | [`event`] | an event, in JSON the same for `status` and for programs |
//! | [`event_log`] | the last events |
//! | `event_lines` | their log lines: at most one of a kind in a second |
//! | [`command_runner`], [`command_link`] | the process that runs the programs of `on_event`, and the way to it |
//! | `command_run` | one run of a program: bounded in time and in what it prints |
//! | `program_warnings` | programs of `on_event` that cannot be started |

#![forbid(unsafe_code)]

pub mod command_link;
mod command_run;
pub mod command_runner;
pub mod event;
mod event_lines;
pub mod event_log;
mod program_warnings;

pub use command_link::CommandLink;
pub use command_runner::run_event_commands;
pub use event::{AttackNumbers, Event, EventKind, unix_seconds};
pub use event_log::EventLog;
pub use program_warnings::program_warnings;
