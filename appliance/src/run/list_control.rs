//! Allow and deny lists at run time: changes the map as requests and time demand.

use std::time::Instant;

use crate::config::Config;
use crate::lists::{Contents, ListAnswer, ListRequest, ListVerb, RunTimeLists, Verdict};
use crate::observe::ServiceView;
use crate::steering::Steering;

/// Carries out a request. A refused one changes nothing.
pub(super) fn answer(
    request: &ListRequest,
    lists: &mut RunTimeLists,
    config: &Config,
    steering: &mut Steering,
) -> Result<ListAnswer, String> {
    let now = Instant::now();
    let mut changed = lists.clone();
    let answer = request.apply(&config.services, &mut changed, now)?;
    if request.verb == ListVerb::List {
        return Ok(answer);
    }
    let wanted = Contents::new(&config.services, &changed, now);
    if let Err(error) = steering.set_lists(&wanted) {
        let before = Contents::new(&config.services, lists, now);
        let _ = steering.set_lists(&before);
        return Err(error.to_string());
    }
    *lists = changed;
    tracing::info!(list = request.list.word(), "{}", answer.done);
    Ok(answer)
}

/// Removes the expired entries.
pub(super) fn expire(lists: &mut RunTimeLists, config: &Config, steering: &mut Steering) {
    let now = Instant::now();
    let expired = lists.expire(now);
    if expired == 0 {
        return;
    }
    let wanted = Contents::new(&config.services, lists, now);
    match steering.set_lists(&wanted) {
        Ok(()) => tracing::info!(expired, "entries of allow and deny lists have expired"),
        Err(error) => {
            tracing::error!(%error, "expired entries of allow and deny lists cannot be removed");
        }
    }
}

/// Adds the sizes of the lists to the services of a snapshot.
pub(super) fn add_sizes(services: &mut [ServiceView], lists: &Contents) {
    for ((service, _), verdict) in lists.iter() {
        let Some(view) = services.get_mut(*service as usize) else {
            continue;
        };
        match verdict {
            Verdict::Allowed => view.listed.allow += 1,
            Verdict::Denied => view.listed.deny += 1,
            Verdict::Neither => {}
        }
    }
}
