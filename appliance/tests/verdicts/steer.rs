//! The program under test: runs it on frames. `loading` loads it, `configuration` does what the appliance does before frames
//! come, `connections` has it know flows and handshakes, and `map_access` reads and writes maps.

mod configuration;
mod connections;
mod loading;
mod map_access;

use std::time::{Duration, Instant};

use aya::Ebpf;
use aya::maps::XskMap;
use aya::programs::xdp::XdpMode;
use aya::programs::{ProgramFd, TestRun as _, TestRunOptions, Xdp};
use synward::afxdp::{Port, PortOptions, ZeroCopy};
use synward::kernel;
use synward_core::client_options::NO_SCALE;
use synward_core::cookie::EPOCH_NANOSECONDS;
use synward_core::counters::Counter;
use synward_core::layout::{Clock, Interface, KeySlot, NO_PORT, Profile, key_slot, side};
use synward_core::queue_set::QueueSet;
use synward_core::worker_request::{META_BYTES, META_WORDS, Meta};

use self::map_access::object_length;
use crate::bpf_machine::Machine;
use crate::frame_builder::{self, Segment};
use crate::frame_reader;
use crate::test_network;

pub(crate) use self::loading::{
    Helper, in_namespace, in_namespace_with_frags, in_namespace_without, object,
};
pub(crate) use self::map_access::{Shared, assert_moved};

/// The epoch of the tests.
pub(crate) const EPOCH: u64 = 1000;
/// Index of the service under test: not 0, so that no test passes by accident.
pub(crate) const SERVICE: u32 = 3;
/// What its server does.
pub(crate) const PROFILE: Profile = Profile {
    mss: 1460,
    window: 14600,
    window_scale: 9,
    flags: 7,
    reserved: [0; 2],
};
/// A server that does not know any option but the MSS.
pub(crate) const SPARSE: Profile = Profile {
    mss: 536,
    window: 4000,
    window_scale: NO_SCALE,
    flags: 0,
    reserved: [0; 2],
};

/// Where a frame arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Outside,
    Inside,
    /// An interface that is not steered.
    Elsewhere,
}

/// What the program did with one frame.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) verdict: u32,
    /// The frame as it came out, without metadata.
    pub(crate) frame: Vec<u8>,
    /// The request to a worker, in front of the frame.
    pub(crate) meta: Option<[u32; META_WORDS]>,
    /// The mean time of a run.
    pub(crate) duration: Duration,
}

impl Seen {
    /// The request to a worker.
    pub(crate) fn request(&self, v4: bool) -> Meta {
        Meta::decode(&self.meta.expect("metadata in front of the frame"), v4)
            .expect("metadata that decodes")
    }
}

pub(crate) struct Steer {
    object: Ebpf,
    mask: u32,
    generation: u32,
    interfaces: [u32; 3],
    /// The queue at which frames arrive.
    pub(crate) queue: u32,
    /// The coarse clock when a map was changed: until the next jiffy, prepared answers may not know of it.
    changed: Option<u64>,
}

impl Steer {
    /// Interfaces, routes and neighbours; the program on all interfaces; one service in mode `always`.
    fn new(mut object: Ebpf) -> Self {
        let interfaces = test_network::build();
        let program: &mut Xdp = object.program_mut("steer").unwrap().try_into().unwrap();
        kernel::load_verified(|| program.load()).expect("the verifier takes the program");
        for name in ["sw-out", "sw-in", "sw-else"] {
            // Test runs need a receive queue that XDP knows.
            program.attach(name, XdpMode::Driver).unwrap();
        }
        let mask = object_length(&object, "TAGS") - 1;
        let mut steer = Self {
            object,
            mask,
            generation: 0,
            interfaces,
            queue: 0,
            changed: None,
        };
        // All that is looked for may be there.
        for line in 0..steer.hint_lines() {
            steer.set("OCCUPANCY", line, [u64::MAX; 8]);
        }
        steer.set("GLOBALS", 0, Shared(steer.globals()));
        steer.set(
            "CLOCK",
            0,
            Shared(Clock {
                epoch: EPOCH,
                epoch_start: now() - EPOCH_NANOSECONDS / 2,
            }),
        );
        for (slot, side) in [side::OUTSIDE, side::INSIDE].into_iter().enumerate() {
            steer.steered(
                slot,
                Interface {
                    side,
                    slot: slot as u32,
                    afxdp: QueueSet::default(),
                },
            );
        }
        for epoch in EPOCH - 3..EPOCH + 4 {
            let keys = [key(epoch, 0), key(epoch, 1), [0; 2], [0; 2]];
            steer.set(
                "KEYS",
                key_slot(SERVICE, epoch),
                Shared(KeySlot { epoch, keys }),
            );
        }
        steer.policy(|_| {});
        for tags in [
            &[(0x8100, 7)][..],
            &[(0x8100, 7), (0x8100, 7)],
            &[(0x88a8, 100), (0x8100, 7)],
        ] {
            steer.vlan_device(tags);
        }
        for server in frame_builder::SERVERS {
            for port in [server.port().into(), 443, NO_PORT] {
                steer.protect(server.ip(), port, PROFILE);
            }
        }
        steer
    }

    /// Runs the program on a frame from outside `times` times, each time on what the run before left of it. Returns by how
    /// much a counter has moved.
    pub(crate) fn run_often(
        &mut self,
        frame: &[u8],
        times: u32,
    ) -> impl Fn(Counter) -> u64 + use<> {
        let before = self.counters();
        self.run_repeatedly(Side::Outside, frame, times);
        let after = self.counters();
        move |counter| after[counter as usize] - before[counter as usize]
    }

    /// A machine that counts the instructions of the program. All routes lead to an interface of `next_hop`.
    pub(crate) fn machine(&self, next_hop: Side) -> Machine {
        Machine::new(
            loading::OBJECT,
            &self.object,
            now(),
            self.interface(next_hop),
        )
    }

    /// Runs the program on a frame.
    pub(crate) fn run(&mut self, side: Side, frame: &[u8]) -> Seen {
        self.run_repeatedly(side, frame, 1)
    }

    fn run_repeatedly(&mut self, side: Side, frame: &[u8], repeat: u32) -> Seen {
        if let Some(changed) = self.changed.take() {
            while now() == changed {
                std::thread::yield_now();
            }
        }
        self.run_program(self.program(), side, frame, repeat)
    }

    pub(crate) fn program(&self) -> &Xdp {
        self.object.program("steer").unwrap().try_into().unwrap()
    }

    /// The program, for those that call it.
    pub(crate) fn fd(&self) -> ProgramFd {
        self.program().fd().unwrap().try_clone().unwrap()
    }

    /// Binds an AF_XDP socket to queue 0 of the outside interface and enters it in the map, until the result is dropped.
    pub(crate) fn bind_socket(&mut self) -> Port {
        let options = PortOptions {
            zero_copy: ZeroCopy::Off,
            ..PortOptions::default()
        };
        let port = Port::open("sw-out", 0, &options).unwrap();
        let mut sockets = XskMap::try_from(self.map("SOCKETS")).unwrap();
        sockets.set(0, port.fd(), 0).unwrap();
        port
    }

    /// The index of an interface.
    pub(crate) fn interface(&self, side: Side) -> u32 {
        self.interfaces[side as usize]
    }

    /// Runs another program, which may call ours, on a frame.
    pub(crate) fn run_program(&self, program: &Xdp, side: Side, frame: &[u8], repeat: u32) -> Seen {
        // struct xdp_md: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex.
        let words = [
            0,
            frame.len() as u32,
            0,
            self.interfaces[side as usize],
            self.queue,
            0,
        ];
        let context: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let mut context_out = [0; 24];
        let mut out = vec![0; frame.len() + META_BYTES + 256];
        let result = program
            .test_run(TestRunOptions {
                data_in: Some(frame),
                data_out: Some(&mut out),
                ctx_in: Some(&context),
                ctx_out: Some(&mut context_out),
                repeat,
                ..TestRunOptions::new()
            })
            .expect("the kernel runs the program");
        out.truncate(result.data_size_out as usize);
        // Metadata ends where the packet starts.
        let data = u32::from_ne_bytes([
            context_out[0],
            context_out[1],
            context_out[2],
            context_out[3],
        ]) as usize;
        let packet = out.split_off(data);
        let meta = (data == META_BYTES).then(|| {
            let mut words = [0; META_WORDS];
            for (word, bytes) in words.iter_mut().zip(out.chunks_exact(4)) {
                *word = u32::from_ne_bytes(bytes.try_into().unwrap());
            }
            words
        });
        Seen {
            verdict: result.return_value,
            frame: packet,
            meta,
            duration: result.duration,
        }
    }

    /// Sends a SYN and returns the ACK that its sender would answer the SYN-ACK with.
    pub(crate) fn shake_hands(&mut self, syn: &Segment) -> Segment {
        self.answered(syn).expect("the SYN is answered")
    }

    /// The same, or `None` if the SYN is not answered.
    pub(crate) fn answered(&mut self, syn: &Segment) -> Option<Segment> {
        let seen = self.run(Side::Outside, &syn.bytes());
        if seen.verdict != crate::TX {
            return None;
        }
        let answer = frame_reader::read(&seen.frame);
        let times = frame_reader::timestamps(&answer.tcp)
            .filter(|_| frame_reader::timestamps_of(&syn.options).is_some());
        Some(Segment {
            flags: frame_builder::ACK,
            sequence: syn.sequence.wrapping_add(1),
            acknowledgement: answer.tcp.sequence_number.wrapping_add(1),
            options: times.map_or(vec![], |(tsval, tsecr)| {
                frame_builder::padded_timestamps(tsecr + 1, tsval)
            }),
            payload: vec![],
            padding: 0,
            ..syn.clone()
        })
    }

    /// Marks the worker of the queue as alive, for a minute: longer than this machine may stop in a test.
    pub(crate) fn beat(&mut self) {
        self.set("HEARTBEATS", self.queue, now() + 60_000_000_000);
    }

    /// Puts another interface in the place of the one outside.
    pub(crate) fn replace_outside(&mut self, name: &str, index: u32) {
        let program: &mut Xdp = self
            .object
            .program_mut("steer")
            .unwrap()
            .try_into()
            .unwrap();
        program.attach(name, XdpMode::Driver).unwrap();
        self.interfaces[Side::Outside as usize] = index;
        self.answer_by_workers([]);
    }
}

/// A key of the service under test.
pub(crate) fn key(epoch: u64, secret: u64) -> [u64; 2] {
    [epoch.wrapping_mul(0x9e37_79b9_7f4a_7c15), secret]
}

/// What the program remembers for "a moment" it remembers longer than this.
const MOMENT: Duration = Duration::from_millis(15);

/// So often is tried what a machine that stops may spoil. One that is always too slow, by emulation for instance, fails the test.
pub(crate) const ATTEMPTS: u32 = 1000;

/// The result of an attempt that took no longer than a moment. One during which this machine stopped shows nothing.
pub(crate) fn in_a_moment<T>(mut attempt: impl FnMut() -> T) -> T {
    for _ in 0..ATTEMPTS {
        let began = Instant::now();
        let seen = attempt();
        if began.elapsed() < MOMENT {
            return seen;
        }
    }
    panic!("this machine never does that within {MOMENT:?}");
}

/// The clock of the program, ns.
pub(crate) fn now() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the pointer is to a live timespec of ours.
    let done = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC_COARSE, &mut time) };
    assert_eq!(done, 0);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
