//! The engine: what a worker does with the frames that the XDP program hands to it.
//!
//! Pure decisions: frames come in as bytes, segments go out through [`Out`], time is passed in. No
//! socket, no clock and no allocation after the start, so that every path runs in a unit test.
//!
//! | file | idea |
//! |---|---|
//! | [`segment`] | a received segment: its numbers and its payload |
//! | [`answer`] | SYN → SYN-ACK, in place, one by one |
//! | [`answers`] | the same for a batch: cookies in vector lanes |
//! | [`proofs`] | ACKs with cookies, a batch at a time: measured, but used by no worker (XDP verifies them) |
//! | `words` | headers as the words of a cookie's message |
//! | `recipe` | what of an answer does not depend on who asks |
//! | [`opening`] | a connection whose server has not answered yet |
//! | [`splicer`] | opens connections, holds the client's data, joins both sides |
//! | [`shared`] | what all workers share |
//! | `overtaken` | segments that come when their flow is joined already |
//! | [`hold`] | the client's data meanwhile, bounded |
//! | [`learn`] | what a server's SYN-ACK says about it |
//! | [`message`] | what workers tell each other |
//! | [`link`] | how a segment leaves: the frame header and the interface |
//! | [`tally`] | what is counted |
#![forbid(unsafe_code)]

pub mod answer;
pub mod answers;
pub mod hold;
pub mod learn;
pub mod link;
pub mod message;
pub mod opening;
mod overtaken;
pub mod proofs;
mod recipe;
pub mod segment;
pub mod shared;
pub mod splicer;
pub mod tally;
mod words;

pub use answers::Answers;
pub use link::{Link, Out};
pub use segment::Received;
pub use shared::Policy;
pub use splicer::Splicer;
pub use tally::{Outcome, Tally};
