//! The engine: what a worker does with the frames that the XDP program hands to it.
//!
//! Pure decisions: frames come in as bytes, segments go out through [`Out`], time is passed in. No
//! socket, no clock and no allocation after the start, so that every path runs in a unit test.
//!
//! | file | idea |
//! |---|---|
//! | [`received`] | a received segment: its numbers and its payload |
//! | [`single_answer`] | SYN → SYN-ACK, in place, one by one |
//! | [`batch_answers`] | the same for a batch: cookies in vector lanes |
//! | [`proofs`] | ACKs with cookies, a batch at a time: measured, but used by no worker (XDP verifies them) |
//! | `cookie_message` | headers as the words of a cookie's message |
//! | `template` | what of an answer does not depend on who asks |
//! | [`opening`] | a connection whose server has not answered yet |
//! | [`splicer`] | opens connections, holds the client's data, joins both sides |
//! | [`worker_shared`] | what all workers share |
//! | `late_segments` | segments that come when their flow is joined already |
//! | [`pending_data`] | the client's data meanwhile, bounded |
//! | [`server_syn_ack`] | what a server's SYN-ACK says about it |
//! | [`mailbox`] | what workers tell each other |
//! | [`link`] | how a segment leaves: the frame header and the interface |
//! | [`stats`] | what is counted |
#![forbid(unsafe_code)]

pub mod batch_answers;
mod cookie_message;
mod late_segments;
pub mod link;
pub mod mailbox;
pub mod opening;
pub mod pending_data;
pub mod proofs;
pub mod received;
pub mod server_syn_ack;
pub mod single_answer;
pub mod splicer;
pub mod stats;
mod template;
pub mod worker_shared;

pub use batch_answers::BatchAnswers;
pub use link::{Link, Out};
pub use received::Received;
pub use splicer::Splicer;
pub use stats::{Outcome, ServiceStats};
pub use worker_shared::Policy;
