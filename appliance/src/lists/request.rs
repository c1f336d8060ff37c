//! Requests of `synward allow` and `synward deny` to the running process, and its answers.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::configured::List;
use super::listing::{self, ListedPrefix};
use super::run_time::{self, RunTimeLists, Scope};
use crate::config::{self, parse_listed_prefix};
use crate::observe::number_format::format_span;

/// A request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListRequest {
    /// The list.
    pub list: List,
    /// What to do.
    pub verb: ListVerb,
    /// The prefix. Only [`ListVerb::List`] works without.
    pub prefix: Option<String>,
    /// The service; `None` = all services.
    pub service: Scope,
    /// How long an added entry stays; `None` = as long as the process.
    pub seconds: Option<u64>,
}

/// What to do with a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ListVerb {
    /// Add the prefix.
    Add,
    /// Remove it.
    Remove,
    /// List the entries.
    List,
}

/// The answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ListAnswer {
    /// What was done, one sentence for people; empty for [`ListVerb::List`].
    pub done: String,
    /// The entries, for [`ListVerb::List`].
    pub entries: Vec<ListedPrefix>,
}

impl ListRequest {
    /// Carries out the request on the lists of the run time. Whether they have changed is up to the caller to see.
    ///
    /// # Errors
    /// Why it is refused, one sentence for people. Nothing was changed.
    pub fn apply(
        &self,
        services: &[config::Service],
        run_time: &mut RunTimeLists,
        now: Instant,
    ) -> Result<ListAnswer, String> {
        // Entries of a service that a reload has removed stay, and can be listed and removed.
        let is_known = |wanted: &String| {
            services.iter().any(|service| service.name == *wanted)
                || self.verb != ListVerb::Add && run_time.names(wanted)
        };
        if let Some(wanted) = &self.service
            && !is_known(wanted)
        {
            let services = services.iter().filter(|one| one.is_configured());
            let names: Vec<_> = services.map(|one| one.name.as_str()).collect();
            let names = names.join(", ");
            return Err(format!("there is no service {wanted:?}; there is {names}"));
        }
        let net = self
            .prefix
            .as_deref()
            .map(parse_listed_prefix)
            .transpose()?;
        let scope = self.service.clone();
        let net = match (self.verb, net) {
            (ListVerb::List, of) => {
                let wanted = (self.list, scope.as_deref(), of);
                return Ok(ListAnswer {
                    done: String::new(),
                    entries: listing::entries(wanted, services, run_time, now),
                });
            }
            (_, Some(net)) => net,
            (_, None) => return Err("the request names no prefix; add one".into()),
        };
        let services_shown = run_time::shown(&scope);
        let (list, key) = (self.list, (self.list, net, scope));
        let done = if self.verb == ListVerb::Add {
            let lasting = self.seconds.map(Duration::from_secs);
            run_time
                .add(key, lasting, services, now)
                .map_err(|error| error.to_string())?;
            let until = match self.seconds {
                Some(seconds) => format!("for {}", format_span(seconds as f64)),
                None => "until the process ends".into(),
            };
            format!("{net}: {} for {services_shown}, {until}", list.participle())
        } else {
            run_time
                .remove(key, services, now)
                .map_err(|error| error.to_string())?;
            format!(
                "{net}: removed from the {} list of {services_shown}",
                list.word()
            )
        };
        Ok(ListAnswer {
            done,
            entries: Vec::new(),
        })
    }
}
