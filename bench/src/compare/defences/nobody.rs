//! Nobody: what arrives is dropped in XDP. What that costs, the others cost too.

use anyhow::Result;

use crate::compare::defence::{Defence, Started};
use crate::compare::netns_lab::{Lab, PATIENCE};

/// The empty program that drops everything.
pub(super) struct Nobody;

impl<'a> Defence<'a> for Nobody {
    fn start(&mut self, lab: &Lab<'a>) -> Result<Started> {
        let (role, interface) = lab.front();
        let drop_all = ["pass", "--interface", interface, "--drop"];
        lab.run(role, lab.bench(), drop_all, PATIENCE)?;
        Ok(Started::Running)
    }

    fn carried(&self, _: &Lab<'a>) -> Result<Option<u64>> {
        Ok(None)
    }
}
