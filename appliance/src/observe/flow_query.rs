//! Which flows a client of the control socket asks for, and how a page of them is collected.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::flow_view::{FlowList, FlowState, FlowView};

/// Flows of one answer at most. A client gets further pages with further requests, so that the answers to others come in
/// between. An answer of this length has 2 MB.
pub const PAGE: usize = 10_000;

/// A request for flows. Every condition must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowQuery {
    /// At most this many.
    pub limit: usize,
    /// Only those of the service of this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Only those of clients in this prefix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<IpNet>,
    /// Only those in this state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<FlowState>,
    /// Continue here: `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<u32>,
}

impl FlowQuery {
    /// Whether a flow with this client and state is asked for. Whoever asks has compared the service.
    pub fn includes(&self, client: IpAddr, state: FlowState) -> bool {
        self.client.is_none_or(|prefix| prefix.contains(&client))
            && self.state.is_none_or(|wanted| wanted == state)
    }
}

/// A page while it is collected: openings first, because they are few and tell of trouble.
#[derive(Debug)]
pub struct FlowPage {
    room: usize,
    is_first: bool,
    total: u64,
    openings: Vec<FlowView>,
    others: Vec<FlowView>,
    next: Option<u32>,
}

impl FlowPage {
    /// An empty page.
    pub fn new(query: &FlowQuery) -> Self {
        Self {
            room: query.limit.min(PAGE),
            is_first: query.from.is_none(),
            total: 0,
            openings: Vec::new(),
            others: Vec::new(),
            next: None,
        }
    }

    /// Whether nothing more is to be collected, asked before the flows of the bucket at `bucket`. The first page counts all
    /// flows and collects all openings.
    pub fn is_complete(&mut self, bucket: u32) -> bool {
        if self.next.is_none() && self.others.len() >= self.room {
            self.next = Some(bucket);
        }
        self.next.is_some() && !self.is_first
    }

    /// Takes a flow that is asked for.
    pub fn take(&mut self, state: FlowState, view: impl FnOnce() -> FlowView) {
        self.total += 1;
        match state {
            FlowState::Opening if self.is_first && self.openings.len() < self.room => {
                self.openings.push(view());
            }
            // There is no room, or they were on the first page.
            FlowState::Opening => {}
            _ if self.next.is_none() => self.others.push(view()),
            _ => {}
        }
    }

    /// The answer. Its `total` is that of the first page.
    pub fn finish(mut self) -> FlowList {
        let mut flows = self.openings;
        flows.append(&mut self.others);
        FlowList {
            total: self.total,
            flows,
            next: self.next,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const BUCKETS: u32 = 4_000;

    /// Bucket `at` holds an opening and ten flows. Collects pages as server and client do.
    fn collect(query: &FlowQuery) -> FlowList {
        let flow = |bucket: u32, way: u16, state| FlowView {
            client: (IpAddr::from(bucket.to_be_bytes()), way).into(),
            server: ([192, 0, 2, 1], 80).into(),
            service: "web".into(),
            state,
            idle_seconds: 0.0,
            worker: None,
        };
        let mut page = FlowPage::new(query);
        for bucket in query.from.unwrap_or(0)..BUCKETS {
            if page.is_complete(bucket) {
                break;
            }
            page.take(FlowState::Opening, || flow(bucket, 0, FlowState::Opening));
            for way in 1..=10 {
                let state = FlowState::Established;
                page.take(state, || flow(bucket, way, state));
            }
        }
        page.finish()
    }

    #[test]
    fn pages_have_every_flow_once() {
        let mut query = FlowQuery {
            limit: usize::MAX,
            ..FlowQuery::default()
        };
        let first = collect(&query);
        assert_eq!(first.total, 44_000);
        let openings = first.flows.iter().take(4_000);
        assert!(
            openings
                .clone()
                .all(|flow| flow.state == FlowState::Opening)
        );
        let mut all = first.flows;
        query.from = first.next;
        let mut pages = 1;
        while query.from.is_some() {
            let page = collect(&query);
            assert!(page.flows.len() <= PAGE + 10);
            all.extend(page.flows);
            query.from = page.next;
            pages += 1;
        }
        // The fourth was full at the end of the table; whether there is more is not known then.
        assert_eq!(pages, 4);
        let mut clients: Vec<_> = all.iter().map(|flow| flow.client).collect();
        clients.sort_unstable();
        clients.dedup();
        assert_eq!((all.len(), clients.len()), (44_000, 44_000));
    }

    #[test]
    fn a_small_limit_is_one_page() {
        let query = FlowQuery {
            limit: 5,
            ..FlowQuery::default()
        };
        let page = collect(&query);
        assert_eq!(page.total, 44_000);
        assert_eq!(page.flows[..5].len(), 5);
        assert!(
            page.flows[..5]
                .iter()
                .all(|flow| flow.state == FlowState::Opening)
        );
        assert!(page.flows.len() < 30);
    }

    #[test]
    fn conditions_are_prefix_and_state() {
        let query = FlowQuery {
            client: Some("198.51.100.0/24".parse().unwrap()),
            state: Some(FlowState::Closing),
            ..FlowQuery::default()
        };
        let inside: IpAddr = "198.51.100.7".parse().unwrap();
        assert!(query.includes(inside, FlowState::Closing));
        assert!(!query.includes(inside, FlowState::Opening));
        assert!(!query.includes("198.51.101.7".parse().unwrap(), FlowState::Closing));
        assert!(!query.includes("2001:db8::1".parse().unwrap(), FlowState::Closing));
        assert!(FlowQuery::default().includes(inside, FlowState::Opening));
    }
}
