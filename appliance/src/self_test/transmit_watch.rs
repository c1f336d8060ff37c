//! Counts the frames that XDP could not transmit or redirect, by programs at the kernel's tracepoints: drivers report these
//! failures nowhere else. The programs need no tracefs.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;

use aya::maps::{Array, PerCpuHashMap};
use aya::programs::{RawTracePoint, TestRun as _, TestRunAttrs, TestRunOptions, Xdp};
use aya::{Ebpf, EbpfLoader};
use synward_core::transmit_failure::{FailureKey, Probe, way};

use crate::kernel::{KernelTypes, load_verified};
use crate::maps::Plain;
use crate::steering::cause;

static OBJECT: &[u8] = aya::include_bytes_aligned!("../../../ebpf/xdp/objects/transmit_watch.o");

/// The programs and their tracepoints (include/trace/events/xdp.h).
const TRACEPOINTS: [(&str, &str); 4] = [
    ("devmap_xmit", "xdp_devmap_xmit"),
    ("bulk_tx", "xdp_bulk_tx"),
    ("redirect_err", "xdp_redirect_err"),
    ("exception", "xdp_exception"),
];

/// The globals of the object, each with the field whose offset it holds.
const FIELDS: [(&str, &str, &str); 3] = [
    ("DEVICE_INDEX", "net_device", "ifindex"),
    ("DEVICE_NAMESPACE", "net_device", "nd_net"),
    ("NAMESPACE_NUMBER", "net", "ns"),
];

/// Why failed transmissions cannot be seen.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the messages say it
pub enum WatchError {
    #[error("the kernel's type information (/sys/kernel/btf/vmlinux) has no {0}")]
    Type(&'static str),

    #[error(
        "the kernel refuses the programs at its XDP tracepoints ({0}): they need CAP_BPF and CAP_PERFMON, and no lockdown"
    )]
    Refused(String),

    #[error("the kernel does not send frames of an XDP program ({0}): this needs Linux 5.18")]
    Probe(String),

    #[error("the counters of lost frames cannot be read ({0})")]
    Counters(String),

    #[error(
        "the eBPF object has no {0}: it is not the one that this program was built with; build again"
    )]
    Object(&'static str),
}

/// The programs at the tracepoints. They run until this is dropped.
#[derive(Debug)]
pub struct TransmitWatch {
    ebpf: Ebpf,
    /// Inode number of this network namespace.
    namespace: u32,
}

impl TransmitWatch {
    /// Loads the programs and attaches them to the tracepoints.
    ///
    /// # Errors
    /// The kernel has no such tracepoints or types, or does not permit it.
    pub fn start() -> Result<Self, WatchError> {
        let refused = |error: &dyn std::error::Error| WatchError::Refused(cause(error));
        let namespace =
            std::fs::metadata("/proc/thread-self/ns/net").map_err(|error| refused(&error))?;
        let types = KernelTypes::of_kernel().map_err(|_| WatchError::Type("types"))?;
        let mut offsets = FIELDS.map(|(global, ..)| (global, 0));
        for ((_, offset), (_, structure, member)) in offsets.iter_mut().zip(FIELDS) {
            let found = types.offset(structure, member);
            *offset = found.ok_or(WatchError::Type(member))?;
        }
        let number = types.offset("ns_common", "inum");
        offsets[2].1 += number.ok_or(WatchError::Type("inum"))?;
        let mut loader = EbpfLoader::new();
        for (global, offset) in &offsets {
            loader.override_global(global, offset, true);
        }
        let mut ebpf = loader.load(OBJECT).map_err(|error| refused(&error))?;
        for (name, tracepoint) in TRACEPOINTS {
            let program = ebpf.program_mut(name).ok_or(WatchError::Object(name))?;
            let program: &mut RawTracePoint =
                program.try_into().map_err(|_| WatchError::Object(name))?;
            load_verified(|| program.load()).map_err(|error| refused(&error))?;
            program
                .attach(tracepoint)
                .map_err(|error| refused(&error))?;
        }
        let program = ebpf
            .program_mut("probe")
            .ok_or(WatchError::Object("probe"))?;
        let program: &mut Xdp = program
            .try_into()
            .map_err(|_| WatchError::Object("probe"))?;
        load_verified(|| program.load()).map_err(|error| refused(&error))?;
        Ok(Self {
            ebpf,
            namespace: namespace.ino() as u32,
        })
    }

    /// The frames lost in this network namespace since the start, by where and why.
    ///
    /// # Errors
    /// The kernel refuses to read the map.
    pub fn lost_frames(&self) -> Result<BTreeMap<FailureKey, u64>, WatchError> {
        let unread = |error| WatchError::Counters(cause(&error));
        let map = self
            .ebpf
            .map("FAILURES")
            .ok_or(WatchError::Object("FAILURES"))?;
        let map = PerCpuHashMap::<_, Plain<FailureKey>, u64>::try_from(map).map_err(unread)?;
        let mut lost = BTreeMap::new();
        for entry in map.iter() {
            let (Plain(key), counts) = entry.map_err(unread)?;
            if key.namespace == self.namespace {
                lost.insert(key, counts.iter().sum());
            }
        }
        Ok(lost)
    }

    /// Redirects a frame on this CPU. Returns the errno with which it was lost; 0: without one; `None`: it was not lost, or the
    /// driver leaves no room to try.
    ///
    /// # Errors
    /// The kernel does not run the program.
    pub(super) fn lost_probe(
        &mut self,
        probe: Probe,
        frame: &[u8],
    ) -> Result<Option<u32>, WatchError> {
        let failed = |error: &dyn std::error::Error| WatchError::Probe(cause(error));
        let map = self
            .ebpf
            .map_mut("PROBE")
            .ok_or(WatchError::Object("PROBE"))?;
        let mut map = Array::<_, Plain<Probe>>::try_from(map).map_err(|error| failed(&error))?;
        map.set(0, Plain(probe), 0)
            .map_err(|error| failed(&error))?;
        let before = self.lost_probes(probe.interface)?;
        let program = self
            .ebpf
            .program("probe")
            .ok_or(WatchError::Object("probe"))?;
        let program: &Xdp = program
            .try_into()
            .map_err(|_| WatchError::Object("probe"))?;
        program
            .test_run(TestRunOptions {
                data_in: Some(frame),
                attrs: TestRunAttrs::new().xdp_live_frames(1),
                ..TestRunOptions::new()
            })
            .map_err(|error| failed(&error))?;
        let after = self.lost_probes(probe.interface)?;
        let is_new = |errno: &&u32| before.get(*errno) != after.get(*errno);
        Ok(after.keys().find(is_new).copied())
    }

    /// The frames of the self-test that an interface did not transmit, by errno.
    fn lost_probes(&self, interface: u32) -> Result<BTreeMap<u32, u64>, WatchError> {
        let lost = self.lost_frames()?.into_iter();
        let ours = lost.filter(|(key, _)| key.interface == interface && key.way == way::SELF_TEST);
        Ok(ours.map(|(key, count)| (key.errno, count)).collect())
    }
}
