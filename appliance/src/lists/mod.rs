//! Allow and deny lists: which sources a service never challenges, and which it drops.
//!
//! The longest prefix that contains a source decides. The same prefix is never allowed and denied at a time.
//!
//! | file | idea |
//! |---|---|
//! | [`mod@configured`] | the two lists, and what the configuration says about them |
//! | [`contents`] | what the map of lists holds, as pure data, and the changes from one state to another |
//! | [`run_time`] | the entries that `synward allow` and `synward deny` made |
//! | [`request`] | requests of these commands, and the answers |
//! | [`listing`] | the lists as people read them, with the origin of each entry |

#![forbid(unsafe_code)]

pub mod configured;
pub mod contents;
pub mod listing;
pub mod request;
pub mod run_time;

pub use configured::{List, Origin, configured};
pub use contents::{Change, Contents, Verdict};
pub use listing::ListedPrefix;
pub use request::{ListAnswer, ListRequest, ListVerb};
pub use run_time::{RunTimeLists, Scope};
