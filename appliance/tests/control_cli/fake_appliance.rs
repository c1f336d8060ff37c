//! A fake appliance.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use synward::config::{self, Config, Mode};
use synward::lists::{ListAnswer, ListRequest, RunTimeLists};
use synward::observe::control_protocol::{
    CaptureTarget, ReloadReport, RunningConfiguration, no_service,
};
use synward::observe::flow_query::FlowQuery;
use synward::observe::{ApplianceHandle, DrainCommand, DrainPhase, DrainView, FlowList, Snapshot};

use crate::sample_snapshot;

/// Returns the snapshot that a test sets. Its lists are real ones, of services without a
/// configuration.
pub(crate) struct FakeAppliance {
    snapshot: Mutex<Snapshot>,
    lists: Mutex<RunTimeLists>,
    services: Vec<config::Service>,
    report: Mutex<Result<ReloadReport, String>>,
    running: Mutex<RunningConfiguration>,
    unreadable: Mutex<Option<String>>,
}

impl FakeAppliance {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            snapshot: Mutex::new(sample_snapshot::snapshot()),
            lists: Mutex::default(),
            // Here: the thread that answers may not read files.
            services: services(),
            report: Mutex::new(Ok(ReloadReport::refused(vec![]))),
            running: Mutex::default(),
            unreadable: Mutex::default(),
        })
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut Snapshot)) {
        change(&mut self.snapshot.lock().unwrap());
    }

    /// What the next reload reports.
    pub(crate) fn will_report(&self, done: bool, lines: &[&str]) {
        let lines = lines.iter().map(ToString::to_string).collect();
        *self.report.lock().unwrap() = Ok(ReloadReport { done, lines });
    }

    /// The next reload has no report, because of this.
    pub(crate) fn will_not_report(&self, why: &str) {
        *self.report.lock().unwrap() = Err(why.into());
    }

    /// Its control thread hangs, or goes on.
    pub(crate) fn hangs(&self, why: Option<&str>) {
        *self.unreadable.lock().unwrap() = why.map(str::to_owned);
    }

    /// What is in force.
    pub(crate) fn runs(&self, running: RunningConfiguration) {
        *self.running.lock().unwrap() = running;
    }
}

impl ApplianceHandle for FakeAppliance {
    fn why_unreadable(&self) -> Option<String> {
        self.unreadable.lock().unwrap().clone()
    }

    fn snapshot(&self) -> Snapshot {
        self.snapshot.lock().unwrap().clone()
    }

    /// The sample's flows that are asked for. Beyond a limit of 20,000 it has a second page, which repeats them.
    fn flows(&self, query: &FlowQuery) -> Result<FlowList, String> {
        if let Some(service) = query.service.as_deref().filter(|name| *name != "web") {
            return Err(no_service(service, &["web", "mail"]));
        }
        let mut list = sample_snapshot::flows(query.limit);
        list.flows
            .retain(|flow| query.includes(flow.client.ip(), flow.state));
        list.next = (query.from.is_none() && query.limit > 20_000).then_some(7);
        Ok(list)
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

    fn lists(&self, request: &ListRequest) -> Result<ListAnswer, String> {
        let mut lists = self.lists.lock().unwrap();
        request.apply(&self.services, &mut lists, Instant::now())
    }

    /// Its program is none.
    fn capture_target(&self, service: &str) -> Result<CaptureTarget, String> {
        match service {
            "web" => Ok(CaptureTarget::default()),
            _ => Err(no_service(service, &["web", "mail"])),
        }
    }

    fn drain(&self, command: DrainCommand) -> Result<DrainView, String> {
        let view = match command {
            DrainCommand::Begin(timeout) => Some(DrainView {
                phase: DrainPhase::Draining,
                seconds: 4.0,
                remaining_seconds: timeout.map(|timeout| timeout.as_secs_f64()),
                flows: 2,
                openings: 1,
            }),
            DrainCommand::End => None,
        };
        self.change(|snapshot| snapshot.drain.clone_from(&view));
        Ok(view.unwrap_or_default())
    }

    fn drained(&self) -> DrainView {
        self.snapshot().drain.unwrap_or_default()
    }

    fn reload(&self) -> Result<ReloadReport, String> {
        self.report.lock().unwrap().clone()
    }

    fn configuration(&self) -> RunningConfiguration {
        self.running.lock().unwrap().clone()
    }
}

/// The services of the lists: web, and mail, which denies a prefix.
fn services() -> Vec<config::Service> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("f.toml");
    let text = "[[interface]]\nname = \"eth0\"\nside = \"both\"\n\
                [[service]]\nname = \"web\"\naddresses = [\"192.0.2.10\"]\nports = [80]\n\
                [[service]]\nname = \"mail\"\naddresses = [\"192.0.2.10\"]\nports = [25]\ndeny = [\"198.51.0.0/16\"]\n";
    std::fs::write(&file, text).unwrap();
    Config::load(&file).unwrap().services
}
