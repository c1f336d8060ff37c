//! The splicer's stories, over IPv4 and IPv6.

mod again;
mod elsewhere;
mod joining;
mod lab;
mod measuring;
mod promises;
mod refusals;

use std::sync::atomic::Ordering::Relaxed;

use synward_core::flow::FlowKey;
use synward_core::layout::profile_flags;
use synward_core::segment::{HandshakeOptions, padded_timestamps};

use super::*;
use crate::steering::FlowTable;
use lab::*;
