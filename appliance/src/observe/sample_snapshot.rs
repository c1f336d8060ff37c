//! A sample snapshot for tests. Every field differs from its default.

use std::path::PathBuf;
use std::time::Duration;

use synward_core::counters::Counter;

use super::{
    AttackView, Counters, Event, EventKind, FlowList, FlowState, FlowView, FlowsView, Frames,
    Histogram, InterfaceView, KernelStatistics, ListSizes, PortCounters, ProfileView, QueueView,
    Responder, ServiceView, Snapshot, SourceView, WorkerView, XskCounters,
};

/// Two services and two interfaces during a flood.
pub(crate) fn snapshot() -> Snapshot {
    let mut handoff_seconds = Histogram::default();
    for microseconds in [80, 240, 700, 700] {
        handoff_seconds.observe(Duration::from_micros(microseconds));
    }
    Snapshot {
        schema_version: 1,
        version: "0.1.0".into(),
        pid: 4711,
        time: 1_800_000_000.0,
        uptime_seconds: 273_600.5,
        config_file: PathBuf::from("/etc/synward/synward.toml"),
        config_last_reload_successful: true,
        config_last_reload_success_timestamp_seconds: 1_764_000_000.5,
        config_last_reload: vec!["[[service]] web: mode monitor -> always".into()],
        serving: true,
        degraded: Vec::new(),
        notes: Vec::new(),
        drain: None,
        interfaces: vec![
            interface("eth0", "outside", true),
            interface("eth1", "inside", false),
        ],
        services: vec![service("web", 1_000_000), service("mail", 10)],
        workers: vec![worker(0, Some(2), 0.873), worker(1, None, 0.0)],
        flows: FlowsView {
            capacity: 1 << 20,
            used: 1_203,
            expired_total: 77_000,
            full_total: 2,
        },
        handoff_seconds,
        events: vec![Event {
            time: 1_799_999_988.0,
            ..Event::new(EventKind::AttackBegin, Some("web"), "attack begins")
        }],
    }
}

/// An opening and two flows, of a total of 100.
pub(crate) fn flows(limit: usize) -> FlowList {
    let flow = |client: &str, server: &str, state, idle_seconds| FlowView {
        client: client.parse().expect("an address"),
        server: server.parse().expect("an address"),
        service: "web".into(),
        state,
        idle_seconds,
        worker: (state == FlowState::Opening).then_some(1),
    };
    let mut flows = vec![
        flow(
            "198.51.100.7:40001",
            "192.0.2.10:443",
            FlowState::Opening,
            0.2,
        ),
        flow(
            "203.0.113.200:61234",
            "192.0.2.10:80",
            FlowState::Established,
            3_725.0,
        ),
        flow(
            "[2001:db8:1::7]:50000",
            "[2001:db8::10]:443",
            FlowState::Closing,
            75.0,
        ),
    ];
    flows.truncate(limit);
    FlowList {
        total: 100,
        flows,
        next: None,
    }
}

fn service(name: &str, scale: u64) -> ServiceView {
    let mut counters = Counters::default();
    counters.set(Counter::Syn, 12 * scale);
    counters.set(Counter::AnsweredXdp, 10 * scale);
    counters.set(Counter::CookieValid, 1_204);
    counters.set(Counter::CookieInvalid, 3 * scale);
    counters.set(Counter::CookieExpired, 7);
    counters.set(Counter::ToServer, 51_000);
    counters.set(Counter::DropInvalidCookie, 3 * scale);
    counters.set(Counter::DropFragment, 12);
    let results = [
        ("ok", 1_200),
        ("refused", 1),
        ("timed_out", 3),
        ("table_full", 0),
    ];
    ServiceView {
        name: name.into(),
        handoff: "splice".into(),
        mode: "always".into(),
        active: true,
        attack: AttackView {
            active: true,
            total: 3,
            syn_rate: 9_000,
            activate_syn_rate: 4_000,
            deactivate_syn_rate: 2_000,
            since_seconds: Some(12.0),
            peak_syn_rate: Some(9_500),
            unanswered_syns: 0,
            everywhere: true,
            addresses: Vec::new(),
            sources: vec![SourceView {
                prefix: "198.51.100.0/24".into(),
                share: 0.25,
            }],
        },
        flows: 1_200,
        openings: 3,
        held_bytes: 4_380,
        listed: ListSizes { allow: 3, deny: 70 },
        answered_afxdp: 2 * scale,
        counters: Some(counters),
        handoffs: results.map(|(result, count)| (result.into(), count)).into(),
        profiles: vec![ProfileView {
            address: [192, 0, 2, 10].into(),
            port: 443,
            learned: true,
            mss: 1460,
            window: 14_600,
            window_scale: Some(7),
            sack: true,
            timestamps: true,
            ecn: false,
        }],
    }
}

fn interface(name: &str, side: &str, native: bool) -> InterfaceView {
    let with_socket = QueueView {
        queue: 0,
        responder: Responder::Afxdp,
        zero_copy: Some(native),
        counters: XskCounters {
            kernel: KernelStatistics {
                rx_dropped: 1,
                rx_invalid_descs: 2,
                tx_invalid_descs: 3,
                rx_ring_full: 4,
                rx_fill_ring_empty_descs: 5,
                tx_ring_empty_descs: 6,
            },
            port: PortCounters {
                received: 2_000_000,
                transmitted: 1_999_000,
                dropped_full: 9,
                dropped_length: 10,
                refused: 11,
                wakeups: 12,
                failed_wakeups: 13,
            },
        },
        frames: Frames {
            free: 1_000,
            fill: 2_048,
            held: 24,
            transmit: 1_024,
        },
    };
    let without = QueueView {
        queue: 1,
        ..QueueView::default()
    };
    InterfaceView {
        name: name.into(),
        index: 3,
        side: side.into(),
        native,
        nic_dropped: [("rx_dropped".into(), 7)].into(),
        redirect_failed: [("95".into(), 3)].into(),
        queues: vec![with_socket, without],
    }
}

fn worker(queue: u32, core: Option<usize>, busy_ratio: f64) -> WorkerView {
    WorkerView {
        queue,
        core,
        alive: queue == 0,
        busy_ratio,
        loops: 1_000_000,
        sleeps: 40,
        unreadable_total: 0,
        unsent_total: 0,
    }
}
