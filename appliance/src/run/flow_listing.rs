//! Lists the flows of the table that a client of the control socket asks for.

use std::net::{IpAddr, SocketAddr};

use synward_core::flow_time::FlowTime;
use synward_core::layout::{Flow, state};
use synward_core::wire::Address;

use crate::config::Config;
use crate::maps::{FlowTable, flow_now};
use crate::observe::control_protocol::no_service;
use crate::observe::flow_query::{FlowPage, FlowQuery};
use crate::observe::{FlowList, FlowState, FlowView};

/// A page of flows. Other threads go on changing the table meanwhile: a flow that is inserted or removed during the walk may
/// be missing or listed.
///
/// # Errors
/// There is no service of the name that is asked for.
pub(super) fn list(
    table: &FlowTable,
    config: &Config,
    query: &FlowQuery,
) -> Result<FlowList, String> {
    let names: Vec<_> = config
        .services
        .iter()
        .map(|one| one.name.as_str())
        .collect();
    let service = match &query.service {
        None => None,
        Some(wanted) => match names.iter().position(|name| name == wanted) {
            Some(index) => Some(index),
            None => {
                let services = config.services.iter().filter(|one| one.is_configured());
                let names: Vec<_> = services.map(|one| one.name.as_str()).collect();
                return Err(no_service(wanted, &names));
            }
        },
    };
    let now = flow_now();
    let mut page = FlowPage::new(query);
    for bucket in query.from.unwrap_or(0)..table.buckets() {
        if page.is_complete(bucket) {
            break;
        }
        table.for_each_of_bucket(bucket, |_, flow| {
            let state = state_of(&flow);
            let client = IpAddr::from(flow.key.client);
            if service.is_none_or(|wanted| wanted == usize::from(flow.service))
                && query.includes(client, state)
            {
                page.take(state, || view(&names, &flow, now));
            }
        });
    }
    Ok(page.finish())
}

fn state_of(flow: &Flow) -> FlowState {
    match flow.state {
        state::OPENING => FlowState::Opening,
        state::ESTABLISHED => FlowState::Established,
        _ => FlowState::Closing,
    }
}

fn view(names: &[&str], flow: &Flow, now: FlowTime) -> FlowView {
    let key = &flow.key;
    let end = |address: Address, port| SocketAddr::new(IpAddr::from(address), port);
    let name = names.get(usize::from(flow.service));
    FlowView {
        client: end(key.client, key.client_port()),
        server: end(key.server, key.server_port()),
        service: name.copied().unwrap_or_default().to_owned(),
        state: state_of(flow),
        idle_seconds: f64::from(now.elapsed_since(flow.last_seen)) * FlowTime::UNIT_NS as f64 / 1e9,
        worker: (flow.state == state::OPENING).then_some(u32::from(flow.worker())),
    }
}
