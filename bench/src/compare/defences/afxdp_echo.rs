//! The least AF_XDP program, on the server.

use anyhow::Result;

use crate::compare::defence::{Defence, Started};
use crate::compare::netns_lab::{Lab, PATIENCE, Role};
use crate::compare::process::Process;

/// `bench echo`, running while this lives.
#[derive(Default)]
pub(super) struct Echo<'a> {
    process: Option<Process<'a>>,
}

impl<'a> Defence<'a> for Echo<'a> {
    fn start(&mut self, lab: &Lab<'a>) -> Result<Started> {
        // It asks nobody, and its answers arrive where a program is.
        lab.pass_through_edge()?;
        let queues = lab.queues().to_string();
        let arguments = ["echo", "--interface", "server0", "--queues", &queues];
        let mut process = lab.begin(Role::Server, lab.bench(), arguments)?;
        process.until("the echo is ready", PATIENCE, |process| {
            Ok(process.printed().contains("ready"))
        })?;
        self.process = Some(process);
        Ok(Started::Running)
    }

    fn carried(&self, _: &Lab<'a>) -> Result<Option<u64>> {
        Ok(None)
    }
}
