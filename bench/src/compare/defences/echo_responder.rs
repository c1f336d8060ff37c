//! The minimal AF_XDP responder, on the server.

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
        // Its answers reach a veth only if that has an XDP program.
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
