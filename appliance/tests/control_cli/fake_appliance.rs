//! A fake appliance.

use std::sync::{Arc, Mutex};

use synward::config::Mode;
use synward::observe::{ApplianceHandle, FlowList, Snapshot};

use crate::sample_snapshot;

/// Returns the snapshot that a test sets.
pub(crate) struct FakeAppliance(Mutex<Snapshot>);

impl FakeAppliance {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(sample_snapshot::snapshot())))
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut Snapshot)) {
        change(&mut self.0.lock().unwrap());
    }
}

impl ApplianceHandle for FakeAppliance {
    fn snapshot(&self) -> Snapshot {
        self.0.lock().unwrap().clone()
    }

    fn flows(&self, limit: usize) -> FlowList {
        sample_snapshot::flows(limit)
    }

    fn set_mode(&self, service: &str, mode: Mode) -> Result<(), String> {
        if service == "mail" {
            return Err("mail cannot change its mode today; try tomorrow".into());
        }
        self.change(|snapshot| {
            let services = snapshot.services.iter_mut();
            services
                .filter(|known| known.name == service)
                .for_each(|known| known.mode = mode.to_string());
        });
        Ok(())
    }
}
