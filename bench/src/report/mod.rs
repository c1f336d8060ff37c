//! `bench report`: one page of all comparisons: a table, three plots, and which claims the figures support.
//!
//! | file | idea |
//! |---|---|
//! | [`comparisons`] | the command lines of a whole report |
//! | [`archive`] | their results, read back from JSON |
//! | [`figures`] | the figures of each contender on the page |
//! | [`claims`] | claims, checked against the figures |
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

/// Runs the comparisons if requested, and writes the page.
///
/// # Errors
/// A failed comparison (the page still has its results), or a folder that cannot be written.
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
                failed = Err(error.context("not all comparisons succeeded"));
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

/// Writes page and plots from the results that exist.
fn write(options: &Options) -> Result<()> {
    let archive = Archive::open(&options.folder)?;
    let mut plots = Vec::new();
    for (name, svg) in plots::draw_plots(&archive)? {
        save(options, name, &svg)?;
        plots.push(name);
    }
    save(options, "README.md", &page::markdown(&archive, &plots))
}

fn save(options: &Options, name: &str, text: &str) -> Result<()> {
    let path = options.folder.join(name);
    fs::write(&path, text).with_context(|| format!("{} cannot be written", path.display()))
}
