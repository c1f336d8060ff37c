//! `bench report`: what was compared, on one page: a table, three plots, and which claims the figures bear out.
//!
//! | file | idea |
//! |---|---|
//! | [`comparisons`] | which comparisons make a whole report |
//! | [`archive`] | their results, read back from JSON |
//! | [`figures`] | the figures of each contender that the page tells |
//! | [`claims`] | what is claimed, and what the figures say to it |
//! | [`plots`] | the SVGs |
//! | [`page`] | the Markdown |

mod archive;
mod claims;
mod comparisons;
mod figures;
mod page;
mod plots;
mod report_options;

use std::fs;

use anyhow::{Context as _, Result};

use self::archive::Archive;
pub(crate) use self::report_options::Options;
use crate::compare;
use crate::engine;

/// Makes the comparisons if asked to, and writes the page.
///
/// # Errors
/// A comparison that failed (what it gave is on the page all the same), or a folder that cannot be written.
pub(crate) fn run(options: &Options) -> Result<()> {
    fs::create_dir_all(&options.folder)
        .with_context(|| format!("{} cannot be made", options.folder.display()))?;
    let mut failed = Ok(());
    if options.run {
        if let Some(line) = comparisons::engine(options) {
            eprintln!("bench {}", line.join(" "));
            engine::run_line(&line)?;
        }
        for line in comparisons::lines(options) {
            eprintln!("bench compare {}", line.join(" "));
            if let Err(error) = compare::run_line(&line) {
                eprintln!("bench: {error:#}");
                failed = Err(error.context("not all that was to be compared was compared"));
                // Ctrl-C ends more than one comparison.
                if failed.as_ref().is_err_and(was_interrupted) {
                    break;
                }
            }
        }
    }
    write(options)?;
    failed
}

fn was_interrupted(error: &anyhow::Error) -> bool {
    error
        .chain()
        .any(|cause| cause.to_string() == "interrupted")
}

/// Makes page and plots of what is there.
fn write(options: &Options) -> Result<()> {
    let archive = Archive::open(&options.folder)?;
    let mut plots = Vec::new();
    for (name, svg) in plots::all(&archive)? {
        save(options, name, &svg)?;
        plots.push(name);
    }
    save(options, "README.md", &page::markdown(&archive, &plots))
}

fn save(options: &Options, name: &str, text: &str) -> Result<()> {
    let path = options.folder.join(name);
    fs::write(&path, text).with_context(|| format!("{} cannot be written", path.display()))
}
