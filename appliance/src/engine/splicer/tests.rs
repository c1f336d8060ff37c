//! Tests of the splicer, over IPv4 and IPv6.

mod duplicate_cookies;
mod failed_openings;
mod handoff;
mod offered_options;
mod other_workers;
mod shares;
mod splicer_lab;
mod true_rtt;
mod undelivered;
mod waiting_clients;

use std::sync::atomic::Ordering::Relaxed;

use synward_core::client_options::ClientOptions;
use synward_core::flow::FlowKey;
use synward_core::generated_segment::{HandshakeOptions, padded_timestamps};
use synward_core::layout::{Profile, flow_flags};
use synward_core::worker_request::Hop;

use super::*;
use crate::maps::FlowTable;
use splicer_lab::*;
