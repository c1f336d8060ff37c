//! The engine: how a worker processes the frames that the XDP program redirects to it.
//!
//! The engine is pure: frames come in as bytes, segments go out through [`Out`], and the caller passes the
//! time. It has no socket, no clock and no allocation after the start, so every path runs in a unit test.
//!
//! | file | idea |
//! |---|---|
//! | [`received`] | parses a received segment |
//! | [`single_answer`] | answers one SYN in place |
//! | [`batch_answers`] | answers a batch of SYNs, with cookies from SIMD SipHash |
//! | [`cut_segment`] | segments whose data was cut off because they were too long |
//! | [`cookie_message`] | reads headers as the words of a cookie's message |
//! | `template` | the parts of a SYN-ACK that do not depend on the client |
//! | [`opening`] | a connection of a validated client whose server has not answered yet |
//! | [`opening_shares`] | who holds how much of a worker's room for openings, and who is displaced |
//! | [`splicer`] | opens connections to servers and establishes flows |
//! | `undelivered` | reads ICMP errors about the SYN of an opening |
//! | [`worker_shared`] | state shared by all workers |
//! | `late_segments` | segments for an opening whose flow is already established |
//! | [`pending_data`] | buffers the client's data until the server answers, bounded |
//! | [`server_syn_ack`] | reads a server's SYN-ACK and learns its profile |
//! | [`mailbox`] | messages between workers |
//! | [`link`] | the path of an outgoing segment: interface and frame header |
//! | [`valid_ack`] | what the XDP program says of a segment with a valid cookie |
//! | [`waiting_ack`] | the ACK of a client that waited for a worker |
//! | `syn_pace` | how many SYNs may be on their way to one server |
//! | [`stats`] | counters of one service at one worker |
//! | [`histogram`] | a histogram of handoff durations |
#![forbid(unsafe_code)]

pub mod batch_answers;
pub mod cookie_message;
pub mod cut_segment;
pub mod histogram;
mod late_segments;
pub mod link;
pub mod mailbox;
pub mod opening;
pub mod opening_shares;
pub mod pending_data;
pub mod received;
pub mod server_syn_ack;
pub mod single_answer;
pub mod splicer;
pub mod stats;
mod syn_pace;
mod template;
mod undelivered;
pub mod valid_ack;
pub mod waiting_ack;
pub mod worker_shared;

pub use batch_answers::BatchAnswers;
pub use link::{Link, Out};
pub use received::Received;
pub use splicer::Splicer;
pub use stats::{Outcome, ServiceStats};
pub use worker_shared::Policy;
