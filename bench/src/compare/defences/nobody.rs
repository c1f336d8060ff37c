//! No responder: every frame is dropped in XDP. This cost is part of all other contenders' cost.

use anyhow::Result;

use crate::compare::defence::{Defence, Started};
use crate::compare::netns_lab::{Lab, PATIENCE};

/// A program that drops everything.
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
