//! The layout's types, as aya takes them for keys and values of maps.
#![allow(unsafe_code)] // aya::Pod

use aya::Pod;
use aya::maps::{HashMap, MapData};
use synward_core::counters::ServiceCounters;
use synward_core::flow::FlowKey;
use synward_core::layout::{
    Clock, Endpoint, EndpointKey, Globals, Interfaces, KeySlot, Passed, PrefixPort, Service,
};

/// A type of [`synward_core::layout`] by value; [`Pod`] cannot be implemented for the type itself, which like the
/// trait belongs to another crate.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plain<T>(pub(crate) T);

/// The map of what SYN-ACKs promise for each address and port.
pub(crate) type EndpointMap = HashMap<MapData, Plain<EndpointKey>, Plain<Endpoint>>;

macro_rules! plain {
    ($($type:ty = $bytes:expr,)+) => {
        $(
            const _: () = assert!(size_of::<$type>() == $bytes, "bytes that no field names");
            // SAFETY: `Plain` is transparent, and the type is `repr(C)` and made of unsigned integers (and arrays
            // and structures of them), so every pattern of bits is a value; the assertion above says that the
            // fields' sizes add up to the whole, so no byte is padding and all that the kernel reads is initialised.
            unsafe impl Pod for Plain<$type> {}
        )+
    };
}

plain! {
    Clock = 8 + 8,
    Endpoint = 4 + 4 + 2 * 8,
    EndpointKey = 16 + 4,
    FlowKey = 16 + 16 + 4,
    Globals = 10 * 8 + 2 * 8 + 4 * 4,
    Interfaces = 16 * 4 + 16 * 16,
    KeySlot = 8 + 4 * 16,
    Passed = 4 + 4,
    PrefixPort = 4 + 4,
    Service = 4 + 2 + 2 + 8,
    ServiceCounters = 32 * 8,
}
