//! What metrics there are: their names, labels and help texts.

use super::super::prometheus_text::{Kind, Metric};

/// Declares the metrics and their list.
macro_rules! metrics {
    ($($id:ident = $kind:ident $name:literal [$($label:literal),*] $help:literal;)+) => {
        $(pub(super) const $id: Metric = Metric {
            name: concat!("synward_", $name),
            kind: Kind::$kind,
            labels: &[$($label),*],
            help: $help,
        };)+

        /// Every metric, in the order in which they are written.
        pub const METRICS: &[Metric] = &[$($id),+];
    };
}

metrics! {
    BUILD_INFO = Gauge "build_info" ["version"] "Always 1; the label is the version.";
    UPTIME = Gauge "uptime_seconds" [] "Seconds since the process started.";
    DRAINING = Gauge "draining" [] "1 while the appliance drains: no new connections, and it ends when there are none left.";
    SERVING = Gauge "serving" [] "1 while packets are steered.";
    DEGRADED_REASONS = Gauge "complaints" [] "Number of reasons why the appliance is degraded; `synward status` lists them.";
    RELOADED = Gauge "config_last_reload_successful" [] "0 if the last reload was refused; the previous configuration is then \
        still in force.";
    RELOADED_AT = Gauge "config_last_reload_success_timestamp_seconds" [] "When a reload last took effect, or the process \
        started: seconds since 1970.";

    SYNS = Counter "syns_total" ["service"] "SYNs from clients.";
    ANSWERS = Counter "answers_total" ["service", "by"] "SYN-ACKs sent, by the XDP program or by workers over AF_XDP.";
    COOKIES = Counter "cookies_total" ["service", "result"] "Cookies sent, and cookies in ACKs that match no flow: valid, \
        invalid (not issued by synward) or expired.";
    HANDOFFS = Counter "handoffs_total" ["service", "handoff", "result"] "Validated clients by the result of their handoff.";
    HANDOFF_SECONDS = Histogram "handoff_seconds" [] "Seconds from a valid cookie to the server's answer.";
    DROPS = Counter "drops_total" ["service", "reason"] "Segments dropped by the eBPF programs.";
    SEGMENTS = Counter "segments_total" ["service", "fate"] "Segments by what else the XDP program did with them: translated \
        to_server or to_client, passed to the kernel, forwarded to or from another machine's kernel, given_to_worker, waiting \
        for a worker, a share of it, or the next process (ACKs with a valid cookie), learned from, icmp_translated, SYNs with \
        small_mss that were answered with a larger one, answered with reset.";
    ACTIVE = Gauge "service_active" ["service"] "1 while SYNs are challenged.";
    ATTACK = Gauge "attack_active" ["service"] "1 while the service or one of its addresses is under attack; with mode auto it \
        challenges the clients there then.";
    ATTACKS = Counter "attacks_total" ["service"] "Attacks since the start.";
    SYN_RATE = Gauge "syns_per_second" ["service"] "SYNs a second, over the last half second.";
    ATTACK_RATE = Gauge "attack_syns_per_second" ["service"] "SYNs a second from which on the service is under attack: \
        activate_syn_rate, or what follows from its normal rate.";
    UNANSWERED = Counter "attack_syns_passed_total" ["service"] "SYNs of attacks during which the service challenged nobody \
        (mode monitor): mode auto would have answered them.";
    WOULD_ANSWER = Counter "would_answer_total" ["service"] "SYNs that mode monitor let pass and mode always would have answered.";
    WOULD_DROP = Counter "would_drop_total" ["service", "reason"] "Segments that mode monitor let pass and mode always would \
        have dropped, by reason (as of synward_drops_total).";
    FLOWS = Gauge "flows" ["service"] "Spliced flows, including closing ones and openings; counted every few seconds.";
    OPENINGS = Gauge "openings" ["service"] "Validated clients whose server has not answered yet.";
    LISTED = Gauge "list_prefixes" ["service", "list"] "Prefixes on the allow-list and the deny-list: of the configuration, its \
        files and the run time.";
    HELD = Gauge "held_bytes" ["service"] "Bytes of client data buffered until the server answers.";

    TABLE_CAPACITY = Gauge "flow_table_capacity" [] "Number of entries of the flow table.";
    TABLE_USED = Gauge "flow_table_used" [] "Entries in use, openings included.";
    TABLE_EXPIRED = Counter "flow_table_expired_total" [] "Flows removed after the timeout of closed or idle flows.";
    TABLE_FULL = Counter "flow_table_full_total" [] "Handoffs refused because the flow table was full.";

    WORKER_BUSY = Gauge "worker_busy_ratio" ["core"] "Share of a core's time that its workers were not waiting; core \"any\": \
        not pinned.";
    WORKER_ALIVE = Gauge "worker_alive" ["queue"] "1 if the heartbeat of this queue's worker is recent.";
    WORKER_UNREADABLE = Counter "worker_unreadable_total" ["queue"] "Frames that the worker received without a request that it \
        can parse; always 0.";
    WORKER_UNSENT = Counter "worker_unsent_total" ["queue"] "Packets of the worker that neither a socket nor the kernel accepted.";

    NATIVE = Gauge "interface_native" ["interface"] "1 if the XDP program runs in the driver, 0 in the kernel's generic path.";
    NIC_DROPPED = Counter "nic_dropped_total" ["interface", "counter"] "Frames that the driver lost, by its counter: those of ip \
        -s link, and those of ethtool -S that are not 0. With some drivers they contain what XDP dropped.";
    REDIRECT_FAILED = Counter "redirect_failed_total" ["interface", "errno"] "Frames of XDP that the interface did not transmit, \
        by errno; none: the driver gave no errno; exception: dropped after the verdict, by the driver or another XDP program.";
    RESPONDER = Gauge "queue_afxdp" ["interface", "queue"] "1 if a worker answers SYNs on this queue, 0 if the XDP program does.";
    ZERO_COPY = Gauge "xsk_zero_copy" ["interface", "queue"] "1 if the AF_XDP socket of this queue has zero-copy.";
    FRAMES = Gauge "xsk_frames" ["interface", "queue", "place"] "Frames of the socket's UMEM by place: free, fill (fill ring), \
        held (by the worker), transmit.";
    RX_DROPPED = Counter "xsk_rx_dropped_total" ["interface", "queue"] "Packets that the kernel dropped, mostly because they \
        exceed a frame.";
    RX_INVALID = Counter "xsk_rx_invalid_descs_total" ["interface", "queue"] "Descriptors in the fill ring that the kernel \
        refused; always 0.";
    TX_INVALID = Counter "xsk_tx_invalid_descs_total" ["interface", "queue"] "Descriptors in the TX ring that the kernel \
        refused; always 0.";
    RX_FULL = Counter "xsk_rx_ring_full_total" ["interface", "queue"] "Packets dropped because the RX ring was full.";
    FILL_EMPTY = Counter "xsk_rx_fill_ring_empty_descs_total" ["interface", "queue"] "Packets that arrived while the fill ring \
        was empty.";
    TX_EMPTY = Counter "xsk_tx_ring_empty_descs_total" ["interface", "queue"] "Times that the kernel found the TX ring empty; \
        harmless.";
    RECEIVED = Counter "xsk_received_total" ["interface", "queue"] "Frames that the worker received.";
    TRANSMITTED = Counter "xsk_transmitted_total" ["interface", "queue"] "Frames that the kernel reported as sent.";
    DROPPED_FULL = Counter "xsk_dropped_full_total" ["interface", "queue"] "Frames that the worker dropped because the TX ring \
        was full.";
    DROPPED_LENGTH = Counter "xsk_dropped_length_total" ["interface", "queue"] "Frames that the worker dropped because of their \
        length; always 0.";
    REFUSED = Counter "xsk_refused_total" ["interface", "queue"] "Descriptors from the kernel for frames that it did not own; if \
        not 0, the driver is broken.";
    WAKEUPS = Counter "xsk_wakeups_total" ["interface", "queue"] "System calls that woke the kernel.";
    FAILED_WAKEUPS = Counter "xsk_failed_wakeups_total" ["interface", "queue"] "Wakeups that failed permanently.";
}
