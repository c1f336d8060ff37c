//! An appliance that is not one.

use std::sync::{Arc, Mutex};

use synward::config::Mode;
use synward::observe::{FlowList, Snapshot, Source};

use crate::sample;

/// Tells what a test wants it to.
pub(crate) struct Fake(Mutex<Snapshot>);

impl Fake {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(sample::snapshot())))
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut Snapshot)) {
        change(&mut self.0.lock().unwrap());
    }
}

impl Source for Fake {
    fn snapshot(&self) -> Snapshot {
        self.0.lock().unwrap().clone()
    }

    fn flows(&self, limit: usize) -> FlowList {
        sample::flows(limit)
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
