//! `bench delay`.
use anyhow::Result;
/// Command line of `bench delay`.
#[derive(clap::Args)]
pub(crate) struct Options {}
pub(crate) fn run(_: &Options) -> Result<()> {
    Ok(())
}
