//! `synward top`: a live picture of the running process, and the same picture once as text.
//!
//! It reads what `synward status --json` reads, over the control socket, and computes rates from two samples.
//!
//! | file | idea |
//! |---|---|
//! | `rates` | what changed between two snapshots, per second |
//! | `columns` | the columns of the table of services; they are also what it can be sorted by |
//! | `choice` | what the user chose: order and service; what each key does |
//! | `picture` | the picture as lines of text |
//! | `sampler` | a thread that asks the process for a snapshot again and again |
//! | `terminal` | whether there is a terminal, and whether it has colours |
//! | `live` | the loop: samples and keys in, pictures out |
#![forbid(unsafe_code)]

mod choice;
mod columns;
mod live;
mod picture;
mod rates;
mod sampler;
mod terminal;

use std::path::Path;
use std::thread;
use std::time::Duration;

pub use live::{LiveError, live};

use crate::observe::control_client::{Outcome, query_status};
use choice::Choice;
use picture::{Picture, Size};
use rates::Rates;
use terminal::Palette;

/// `synward top --once`: two samples, `interval` apart, and the picture as text. Exit codes are those of `status`.
pub fn once(control: &Path, interval: Duration) -> Outcome {
    let sample = || {
        query_status(control).map(|first| {
            thread::sleep(interval);
            (first, query_status(control))
        })
    };
    let (first, second) = match sample() {
        Ok((first, Ok(second))) => (first, second),
        Ok((_, Err(error))) | Err(error) => return Outcome::unreachable(&error),
    };
    let rates = Rates::between(&first, &second);
    let picture = Picture {
        snapshot: Some(&second),
        rates: rates.as_ref(),
        trouble: None,
        choice: &Choice::default(),
        palette: Palette::MONOCHROME,
    };
    let lines = picture.lines(Size::of_text());
    let text = lines.iter().map(|line| {
        let line = line.to_string();
        format!("{}\n", line.trim_end())
    });
    Outcome::of_state(text.collect(), &second)
}
