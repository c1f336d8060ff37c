//! The programs that steer the traffic of protected services: at XDP, and behind it at TC for the kernel's own sockets.
//!
//! | file | what it does |
//! |---|---|
//! | `fast_path`, `prepare`, `prepared` | answers most SYNs at once, with what is prepared once a jiffy |
//! | `steered_interface` | how the interface of a frame is steered |
//! | `packet`, `frame_view` | Ethernet to TCP: where the headers are and what they say |
//! | `deep_tags` | frames with more tags than are parsed |
//! | `cpu_scratch`, `cpu_memory` | what a program works with, and what a CPU remembers between frames |
//! | `verified_once`, `verified_functions` | functions that the verifier checks once: their callers' side, and what they do |
//! | `packet_context`, `verdict` | what the stages share, and what they return |
//! | `service_lookup` | the service that a packet is for or from |
//! | `impossible_source` | sources that no client has |
//! | `flow_lookup` | the flow that it belongs to |
//! | `splice` | a segment of a spliced flow: translate, forward |
//! | `syn` | a SYN: answer it here or hand it to a worker |
//! | `ack` | an ACK without a flow: does it carry a valid cookie? |
//! | `plain_acks` | ... without timestamps: how many wrong cookies are checked |
//! | `local_service`, `kernel_socket` | services of this machine: what its sockets say about a segment |
//! | `kernel_handshake` | SYNs that only the server's kernel can answer |
//! | `assign` | at TC: the ACK of a validated client becomes a connection of the kernel |
//! | `assignments` | when that was, which tells its data from a replay |
//! | `kernel_cookie_listener` | a listener that takes only the kernel's own cookie |
//! | `cookie_headers` | the headers that the kernel's cookies are made from |
//! | `test_inject` | at start: a frame that tests the firewall |
//! | `replay_check` | which handshakes have had their connection |
//! | `requeue` | at TC: a segment that TCP must not see yet |
//! | `stale_connection` | at TC: resets the old connection on the ports of a validated client |
//! | `time_wait` | a client without timestamps comes back while its server is in TIME_WAIT |
//! | `forward` | to the next hop |
//! | `edge` | SYNs that an edge has answered before |
//! | `fragment` | the first fragment of a spliced flow's segment |
//! | `unknown` | segments that match no flow, and connections older than the appliance |
//! | `next` | what belongs to no service: to the program behind |
//! | `icmp_error` | errors that quote a translated segment |
//! | `sources` | samples where SYNs come from |
//! | `address_counts` | counts for an address that is watched separately |
//! | `monitor` | what mode `always` would have done, in mode `monitor` |
//! | `capture` | shows frames to `synward capture` |
//! | `reply_budget` | bounds the replies to one client prefix |
//! | `absence` | queues without a worker for long: SYNs are not answered |
//! | `waiting_clients` | validated clients that wait for a worker, for their share of one, or for a process |
//! | `route`, `reply`, `worker` | where a frame goes: next hop, back to the sender, user space |
#![no_std]
#![cfg(target_arch = "bpf")]
#![allow(
    missing_docs,
    unreachable_pub,
    reason = "read by the programs of this workspace alone"
)]

pub mod absence;
pub mod ack;
pub mod address_counts;
pub mod assign;
pub mod assignments;
pub mod behind_ack;
pub mod between_servers;
pub mod capture;
pub mod cookie_headers;
pub mod cpu_memory;
pub mod cpu_scratch;
pub mod deep_tags;
pub mod edge;
pub mod fast_path;
pub mod flow_lookup;
pub mod forward;
pub mod fragment;
pub mod frame_view;
pub mod icmp_error;
pub mod impossible_source;
pub mod judged;
pub mod kernel_cookie_listener;
pub mod kernel_handshake;
pub mod kernel_socket;
pub mod local_service;
pub mod maps;
pub mod monitor;
pub mod next;
pub mod packet;
pub mod packet_context;
pub mod plain_acks;
pub mod prepare;
pub mod prepared;
pub mod replay_check;
pub mod reply;
pub mod reply_budget;
pub mod requeue;
pub mod route;
pub mod server_side;
pub mod service_lookup;
pub mod sources;
pub mod splice;
pub mod stale_connection;
pub mod steered_interface;
pub mod syn;
pub mod test_inject;
pub mod time_wait;
pub mod unknown;
pub mod verdict;
pub mod verified_functions;
pub mod verified_once;
pub mod vlan;
pub mod waiting_clients;
pub mod worker;
