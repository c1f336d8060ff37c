//! A thread that asks the process for a snapshot again and again, so that a silent process delays no key.

use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::Duration;

use crate::observe::Snapshot;
use crate::observe::control_client::{ClientError, query_status};

/// What the process answered.
pub(super) type Sample = Result<Box<Snapshot>, ClientError>;

/// Starts the thread. It ends when the receiver is dropped.
///
/// # Errors
/// The kernel refuses the thread.
pub(super) fn start_sampler(control: PathBuf, interval: Duration) -> io::Result<Receiver<Sample>> {
    let (samples, received) = sync_channel(1);
    thread::Builder::new()
        .name("sampler".into())
        .spawn(move || {
            while samples.send(query_status(&control).map(Box::new)).is_ok() {
                thread::sleep(interval);
            }
        })?;
    Ok(received)
}
