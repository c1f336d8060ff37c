//! What a reload changes for a worker while it runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crossbeam::queue::ArrayQueue;

use crate::engine::worker_shared::Policy;
use crate::secret::ServiceKey;

/// The settings of all services, by index.
#[derive(Clone, Debug)]
pub struct WorkerSettings {
    /// How openings behave.
    pub policies: Arc<[Policy]>,
    /// The keys that issue cookies; `None`: the service has none.
    pub issuing: Vec<Option<ServiceKey>>,
}

/// Hands settings to a worker. The worker looks for them once in each round of its loop.
#[derive(Debug)]
pub struct SettingsBox {
    latest: ArrayQueue<WorkerSettings>,
    posted: AtomicU64,
    taken: AtomicU64,
}

impl Default for SettingsBox {
    fn default() -> Self {
        Self {
            latest: ArrayQueue::new(1),
            posted: AtomicU64::new(0),
            taken: AtomicU64::new(0),
        }
    }
}

impl SettingsBox {
    /// Replaces the settings that the worker works with, at its next round. Only the control thread posts.
    pub fn post(&self, settings: WorkerSettings) {
        self.posted.fetch_add(1, Relaxed);
        self.latest.force_push(settings);
    }

    /// New settings, for the worker.
    pub fn take(&self) -> Option<WorkerSettings> {
        let settings = self.latest.pop()?;
        self.taken.store(self.posted.load(Relaxed), Relaxed);
        Some(settings)
    }

    /// Whether the worker has taken what was posted last.
    pub fn is_taken(&self) -> bool {
        self.taken.load(Relaxed) == self.posted.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_latest_settings_are_taken() {
        let settings = |services| WorkerSettings {
            policies: Arc::new([]),
            issuing: vec![None; services],
        };
        let latest = SettingsBox::default();
        assert!(latest.is_taken() && latest.take().is_none());
        latest.post(settings(1));
        latest.post(settings(2));
        assert!(!latest.is_taken());
        assert_eq!(latest.take().map(|taken| taken.issuing.len()), Some(2));
        assert!(latest.is_taken() && latest.take().is_none());
    }
}
