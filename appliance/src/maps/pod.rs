//! Implements `aya::Pod` for the layout types that are keys and values of maps.
#![allow(unsafe_code)] // aya::Pod

use aya::Pod;
use aya::maps::{HashMap, MapData};
use synward_core::address_counts::AddressCounts;
use synward_core::capture::Capture;
use synward_core::counters::ServiceCounters;
use synward_core::flow::FlowKey;
use synward_core::handed_over::HandedOver;
use synward_core::layout::{
    Clock, Endpoint, EndpointKey, Globals, Interfaces, KeySlot, NextHop, Passed, PrefixPort,
    Service, VlanTags,
};
use synward_core::source_filter::SourceFilter;
use synward_core::source_sample::Bucket;
use synward_core::transmit_failure::{FailureKey, Probe};
use synward_core::waiting_client::WaitingClient;
use synward_core::wire::Address;

/// Wraps a type of [`synward_core::layout`]. [`Pod`] cannot be implemented for the type itself because both belong to
/// other crates.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plain<T>(pub(crate) T);

/// The map of the profiles that SYN-ACKs offer for each address and port.
pub(crate) type EndpointMap = HashMap<MapData, Plain<EndpointKey>, Plain<Endpoint>>;

macro_rules! plain {
    ($($type:ty = $bytes:expr,)+) => {
        $(
            const _: () = assert!(size_of::<$type>() == $bytes, "padding bytes");
            // SAFETY: `Plain` is transparent, and the type is `repr(C)` and consists of unsigned integers (and arrays and
            // structures of them), so every bit pattern is valid. The assertion above checks that the sizes of the fields
            // add up to the size of the type, so it has no padding and all bytes that the kernel reads are initialised.
            unsafe impl Pod for Plain<$type> {}
        )+
    };
}

plain! {
    Address = 4 * 4,
    AddressCounts = 4 * 8,
    Bucket = 8 + 4 + 4 + 8,
    Capture = 5 * 8 + 2 * 4,
    Clock = 8 + 8,
    Endpoint = 3 * 4 + 2 * 8,
    EndpointKey = 16 + 4,
    FailureKey = 4 * 4,
    FlowKey = 16 + 16 + 4,
    Globals = 10 * 8 + 2 * 8 + 4 * 4,
    HandedOver = 36 + 4 + 64,
    Interfaces = 32 * 4 + 32 * (4 + 4 + 32),
    KeySlot = 8 + 4 * 16,
    NextHop = 16 + 4,
    Passed = 4 + 4,
    PrefixPort = 4 + 4,
    Probe = 3 * 4,
    Service = 8 + 4 * 8 + 4 + 4,
    ServiceCounters = 64 * 8,
    SourceFilter = 3 * 8,
    VlanTags = 8 + 4 + 4,
    WaitingClient = 8 + 8 * 4 + 4 * 4 + 2 + 1 + 1 + 4,
}
