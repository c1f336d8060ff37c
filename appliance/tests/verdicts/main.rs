//! What the XDP program decides, frame by frame: each table lists frames, the state of the maps, the verdict, the
//! bytes that come out and the counter that gives the reason. The kernel runs the program by BPF_PROG_TEST_RUN, on
//! interfaces of a network namespace that each test creates. Needs root.
//!
//! | file | what it shows |
//! |---|---|
//! | [`other_traffic`] | frames that concern no service pass to the kernel unchanged |
//! | [`syns`] | SYNs of every stack, and the SYN-ACKs that answer them |
//! | [`encapsulations`] | ... behind tags, with padding, payload and odd options |
//! | [`both_paths`] | the fast path and the general path decide the same |
//! | [`prepared_answers`] | the prepared answers of the fast path |
//! | [`acks`] | cookies: valid, altered, expired |
//! | [`plain_acks`] | wrong cookies without timestamps, and their limit |
//! | [`exchange`] | policies and keys that change while the program runs |
//! | [`unreadable`] | fragments and malformed headers |
//! | [`spliced_flows`] | spliced flows: their state, and how they are found |
//! | [`translation`] | how the numbers of their segments are translated |
//! | [`next_hop`] | where those segments go |
//! | [`icmp_errors`] | ICMP errors that quote them |
//! | [`local_services`] | services of this machine: its sockets decide |
//! | [`local_handshakes`] | ... what follows the ACK that completes a handshake |
//! | [`kernel_cookies`] | ... whose clients get the kernel's own cookies |
//! | [`reply_budgets`] | budgets of replies to one client prefix |
//! | [`requests`] | requests to workers on drivers that carry no metadata |
//! | [`same_isn`] | clients that begin again with the same ISN |
//! | [`vlans`] | frames of VLANs with and without a device |
//! | [`chained`] | programs before ours and behind it |
//! | [`absence`] | SYNs while no worker is there |
//! | [`waiting_clients`] | validated clients while no worker is there |
//! | [`capture`] | the frames that `synward capture` gets |
//! | [`sources`] | the sources of SYNs that are sampled in an attack |
//! | [`monitor`] | what mode `always` would have done, in mode `monitor` |
//! | [`draining`] | SYNs, cookies and flows while the appliance drains |
//! | [`instructions`] | how many instructions a flood and traffic take |
//! | [`inactive_cost`] | measures what a packet costs while no service challenges |
//! | [`judged`] | connections that were quiet while others were adopted |
//! | [`kernel_handshake`] | SYNs that only the server's kernel can answer |
//! | [`listener_queue`] | ... and how much of its SYN queue they fill |
//! | [`hostile_sources`] | sources that no client has |
//! | [`blind_segments`] | what a blind sender sends into a spliced flow |
//! | [`signals`] | signals while the kernel verifies the program |
//! | [`addresses`] | addresses of a service that challenge separately, and what is counted for them |
//! | [`policy`] | modes, lists, prefixes and ports |
//! | [`unknown_segments`] | segments that match no flow, and adopted connections |
//!
//! [`frame_builder`] builds frames with etherparse, [`frame_reader`] reads them, [`steer`] runs them, [`bpf_machine`] counts their
//! instructions, and [`test_network`] makes the interfaces.
#![allow(clippy::unwrap_used)]

mod absence;
mod acks;
mod addresses;
mod behind_ack;
mod blind_segments;
mod both_paths;
mod bpf_instruction;
mod bpf_machine;
mod capture;
mod chained;
mod draining;
mod encapsulations;
mod exchange;
mod frame_builder;
mod frame_reader;
mod hostile_sources;
mod icmp_errors;
mod inactive_cost;
mod instructions;
mod judged;
mod jumbo;
mod kernel_cookies;
mod kernel_handshake;
mod listener_queue;
mod local_handshakes;
mod local_services;
mod many_queues;
mod monitor;
mod next_hop;
mod other_traffic;
mod own_sources;
mod plain_acks;
mod policy;
mod prepared_answers;
mod reply_budgets;
mod requests;
mod same_isn;
mod signals;
mod sources;
mod spliced_flows;
mod steer;
mod syns;
mod test_network;
mod translation;
mod unknown_segments;
mod unreadable;
mod vlans;
mod waiting_clients;

use synward_core::counters::{Counter, SLOTS};

use crate::frame_builder::{Segment, hex};
use crate::steer::{Side, Steer, in_a_moment};

/// `XDP_*` of include/uapi/linux/bpf.h.
pub(crate) const DROP: u32 = 1;
pub(crate) const PASS: u32 = 2;
pub(crate) const TX: u32 = 3;
pub(crate) const REDIRECT: u32 = 4;

/// One line of a table: a frame, and what the program does with it.
pub(crate) struct Case {
    pub(crate) what: &'static str,
    pub(crate) frame: Vec<u8>,
    pub(crate) side: Side,
    pub(crate) verdict: u32,
    /// The service's counters that move, each by one; all others must not move.
    pub(crate) counted: &'static [Counter],
}

/// A frame from outside.
pub(crate) fn outside_frame(
    what: &'static str,
    frame: Vec<u8>,
    verdict: u32,
    counted: &'static [Counter],
) -> Case {
    Case {
        what,
        frame,
        side: Side::Outside,
        verdict,
        counted,
    }
}

/// A segment from outside.
pub(crate) fn outside(
    what: &'static str,
    segment: &Segment,
    verdict: u32,
    counted: &'static [Counter],
) -> Case {
    outside_frame(what, segment.bytes(), verdict, counted)
}

impl Steer {
    /// Runs a table whose frames must come out unchanged.
    pub(crate) fn check(&mut self, cases: Vec<Case>) {
        for case in cases {
            let before = self.counters();
            let seen = self.run(case.side, &case.frame);
            case.assert_seen(&seen, &before, &self.counters());
        }
    }

    /// The same with all frames within a moment of `prepare`, however long this machine stops: again until it was one.
    pub(crate) fn check_in_a_moment(&mut self, prepare: impl Fn(&mut Steer), cases: &[Case]) {
        let seen = in_a_moment(|| {
            prepare(self);
            self.observe(cases)
        });
        assert_observed(cases, &seen);
    }

    /// Runs a table without an assertion: what was seen of each frame, and the counters before and after it.
    pub(crate) fn observe(&mut self, cases: &[Case]) -> Vec<Observed> {
        let run = |case: &Case| {
            let before = self.counters();
            let seen = self.run(case.side, &case.frame);
            (before, seen, self.counters())
        };
        cases.iter().map(run).collect()
    }
}

type Observed = ([u64; SLOTS], steer::Seen, [u64; SLOTS]);

fn assert_observed(cases: &[Case], observed: &[Observed]) {
    for (case, (before, seen, after)) in cases.iter().zip(observed) {
        case.assert_seen(seen, before, after);
    }
}

impl Case {
    fn assert_seen(&self, seen: &steer::Seen, before: &[u64; SLOTS], after: &[u64; SLOTS]) {
        let what = self.what;
        assert_eq!(seen.verdict, self.verdict, "verdict: {what}");
        assert_eq!(
            hex(&seen.frame),
            hex(&self.frame),
            "the frame was changed: {what}"
        );
        steer::assert_moved(before, after, self.counted, what);
    }
}

/// Fails a test that does not run as root, or leaves it early if SYNWARD_SKIP_ROOT_TESTS is set.
macro_rules! needs_root {
    () => {
        // SAFETY: geteuid only returns a number.
        if unsafe { libc::geteuid() } != 0 {
            assert!(
                std::env::var_os("SYNWARD_SKIP_ROOT_TESTS").is_some(),
                "this test needs root, because it loads XDP programs and makes a network namespace; \
                 SYNWARD_SKIP_ROOT_TESTS=1 skips it"
            );
            // The harness captures what the macros print, and shows it for failures only.
            let _ = std::io::Write::write_all(&mut std::io::stderr(), b"SKIPPED: a test that needs root\n");
            return;
        }
    };
}
use needs_root;
