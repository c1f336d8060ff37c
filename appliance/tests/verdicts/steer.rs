//! The steering program, loaded into a network namespace of its own, and access to its maps.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use aya::maps::lpm_trie::{Key as Prefix, LpmTrie};
use aya::maps::{Array, HashMap, Map, MapData, PerCpuArray, XskMap};
use aya::programs::xdp::XdpMode;
use aya::programs::{ProgramFd, TestRun as _, TestRunOptions, Xdp};
use aya::{Ebpf, EbpfLoader, Pod};
use synward::afxdp::{Port, PortOptions, ZeroCopy};
use synward::kernel::{self, KernelTypes};
use synward_core::client_options::NO_SCALE;
use synward_core::cookie::EPOCH_NANOSECONDS;
use synward_core::counters::{Counter, NAMES, SLOTS, ServiceCounters};
use synward_core::flow::{FlowKey, Place, WAYS, entry_index};
use synward_core::layout::{
    Clock, Endpoint, EndpointKey, Flow, Globals, Interface, Interfaces, KeySlot, NO_PORT, NextHop,
    Passed, Profile, Service, VlanTags, key_slot, mode, plain_cookies, policy_slot, push_vlan_tag,
    side, state,
};
use synward_core::queue_set::QueueSet;
use synward_core::replay_cache::{ENTRIES_PER_SET, Event, Handshake};
use synward_core::wire::Address;
use synward_core::worker_request::{META_BYTES, META_WORDS, Meta};

use crate::frame_builder::{self, Segment};
use crate::test_network;

static OBJECT: &[u8] = aya::include_bytes_aligned!("../../../ebpf/xdp/objects/steer.o");

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

/// A type of the shared library as aya takes it.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub(crate) struct Shared<T>(pub(crate) T);

// SAFETY: all of these are `repr(C)` structs of integers with explicit padding, which `layout` promises
// for what maps hold.
unsafe impl Pod for Shared<Globals> {}
// SAFETY: as above.
unsafe impl Pod for Shared<synward_core::capture::Capture> {}
// SAFETY: as above.
unsafe impl Pod for Shared<synward_core::source_sample::Bucket> {}
// SAFETY: as above.
unsafe impl Pod for Shared<synward_core::address_counts::AddressCounts> {}
// SAFETY: as above.
unsafe impl Pod for Shared<Clock> {}
// SAFETY: as above.
unsafe impl Pod for Shared<Interfaces> {}
// SAFETY: as above.
unsafe impl Pod for Shared<EndpointKey> {}
// SAFETY: as above.
unsafe impl Pod for Shared<Endpoint> {}
// SAFETY: as above.
unsafe impl Pod for Shared<synward_core::layout::PrefixPort> {}
// SAFETY: as above.
unsafe impl Pod for Shared<Service> {}
// SAFETY: as above.
unsafe impl Pod for Shared<KeySlot> {}
// SAFETY: as above.
unsafe impl Pod for Shared<Flow> {}
// SAFETY: as above.
unsafe impl Pod for Shared<ServiceCounters> {}
// SAFETY: as above.
unsafe impl Pod for Shared<FlowKey> {}
// SAFETY: as above.
unsafe impl Pod for Shared<Passed> {}
// SAFETY: as above.
unsafe impl Pod for Shared<NextHop> {}
// SAFETY: as above.
unsafe impl Pod for Shared<VlanTags> {}

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

/// A helper function of the kernel, by its number (`__BPF_FUNC_MAPPER` of include/uapi/linux/bpf.h).
#[derive(Clone, Copy)]
pub(crate) enum Helper {
    AdjustHead = 44,
    AdjustMeta = 54,
}

/// The object, its maps made, its programs not verified yet.
pub(crate) fn object() -> Ebpf {
    object_without(&[], false)
}

/// The same for frames in several buffers or in one, and for a driver that does not have these helpers: each call of them is replaced by EOPNOTSUPP as its result.
fn object_without(helpers: &[Helper], frags: bool) -> Ebpf {
    let types = KernelTypes::of_kernel().expect("the kernel's types");
    let fields = kernel::socket_fields(&types).expect("the fields of sockets");
    let mut loader = EbpfLoader::new();
    for (name, offset) in &fields {
        loader.override_global(name, offset, true);
    }
    let is_mptcp = types.offset("tcp_sock", "is_mptcp").unwrap_or(0);
    loader.override_global("TCP_IS_MPTCP", &is_mptcp, true);
    let has_frags = u32::from(frags);
    loader.override_global("HAS_FRAGS", &has_frags, true);
    let mut bytes = kernel::choose_frags(OBJECT, frags).into_owned();
    for helper in helpers {
        let call = instruction(0x85, *helper as i32);
        let result = instruction(0xb7, -libc::EOPNOTSUPP);
        let calls = bytes.chunks_exact_mut(8).filter(|code| **code == call);
        assert!(calls.map(|code| code.copy_from_slice(&result)).count() > 0);
    }
    loader.load(&bytes).expect("maps")
}

/// `struct bpf_insn` with register 0 and without an offset.
fn instruction(code: u8, immediate: i32) -> [u8; 8] {
    let [a, b, c, d] = immediate.to_ne_bytes();
    [code, 0, 0, 0, a, b, c, d]
}

/// Runs a test on a thread of its own in a new network namespace, which ends with it.
pub(crate) fn in_namespace(test: impl FnOnce(&mut Steer) + Send) {
    in_namespace_without(&[], test);
}

/// The same with a driver that does not have these helpers.
pub(crate) fn in_namespace_without(helpers: &[Helper], test: impl FnOnce(&mut Steer) + Send) {
    in_namespace_of(helpers, false, test);
}

/// The same with a program for frames in several buffers.
pub(crate) fn in_namespace_with_frags(test: impl FnOnce(&mut Steer) + Send) {
    in_namespace_of(&[], true, test);
}

fn in_namespace_of(helpers: &[Helper], frags: bool, test: impl FnOnce(&mut Steer) + Send) {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            // SAFETY: unshare takes a number; it changes only this thread, which ends with the test.
            assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNET) }, 0);
            test(&mut Steer::new(object_without(helpers, frags)));
        });
        if let Err(panic) = thread.join() {
            std::panic::resume_unwind(panic);
        }
    });
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

    /// A map of the object.
    pub(crate) fn map(&mut self, name: &str) -> &mut Map {
        self.object.map_mut(name).unwrap()
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
        let seen = self.run(Side::Outside, &syn.bytes());
        assert_eq!(seen.verdict, crate::TX, "the SYN is answered");
        let answer = frame_builder::read(&seen.frame);
        let times = frame_builder::timestamps(&answer.tcp)
            .filter(|_| frame_builder::timestamps_of(&syn.options).is_some());
        Segment {
            flags: frame_builder::ACK,
            sequence: syn.sequence.wrapping_add(1),
            acknowledgement: answer.tcp.sequence_number.wrapping_add(1),
            options: times.map_or(vec![], |(tsval, tsecr)| {
                frame_builder::padded_timestamps(tsecr + 1, tsval)
            }),
            payload: vec![],
            padding: 0,
            ..syn.clone()
        }
    }

    pub(crate) fn globals(&self) -> Globals {
        Globals {
            table_key: [7, 8, 9, 10, 11, 12, 13, 14, 15, 16],
            replay_key: [7, 8],
            bucket_mask: self.mask,
            passed_idle: 60,
            prefixes: 0,
            generation: self.generation,
        }
    }

    /// Changes the service's policy from what most tests have: `always`, drop what is unknown, no limits.
    pub(crate) fn policy(&mut self, change: impl FnOnce(&mut Service)) {
        let mut service = Service {
            mode: mode::ALWAYS,
            keys: 0b11,
            plain_cookies: plain_cookies::ACCEPT,
            ..Service::default()
        };
        change(&mut service);
        self.put_policy(SERVICE, service);
    }

    /// Puts a policy in force.
    pub(crate) fn put_policy(&mut self, policy: u32, service: Service) {
        for generation in 0..2 {
            let slot = policy_slot(policy, generation);
            self.set("SERVICES", slot, Shared(service));
        }
    }

    /// Makes a VLAN device on every interface, as far as the program is concerned: (protocol, id), the outer tag first.
    pub(crate) fn vlan_device(&mut self, tags: &[(u16, u16)]) {
        let push = |before, (protocol, id): &(u16, u16)| push_vlan_tag(before, *protocol, *id);
        let tags = tags.iter().fold(0, push);
        for interface in self.interfaces {
            let key = VlanTags {
                tags,
                interface,
                reserved: 0,
            };
            let mut map = self.hash_map::<Shared<VlanTags>, u32>("VLANS");
            map.insert(Shared(key), 0, 0).unwrap();
        }
    }

    /// Protects an address and port.
    pub(crate) fn endpoint(&mut self, at: SocketAddr, profile: Profile) {
        self.protect(at.ip(), at.port().into(), profile);
    }

    pub(crate) fn protect(&mut self, address: IpAddr, port: u32, profile: Profile) {
        self.protect_by(SERVICE, address, port, profile);
    }

    /// The same by another policy than the service's.
    pub(crate) fn protect_by(&mut self, policy: u32, address: IpAddr, port: u32, profile: Profile) {
        let key = EndpointKey {
            address: address.into(),
            port,
        };
        let endpoint = Endpoint {
            service: SERVICE,
            policy,
            since: 1,
            now: profile,
            before: profile,
        };
        self.hash_map("ENDPOINTS")
            .insert(Shared(key), Shared(endpoint), 0)
            .unwrap();
        self.generation += 1;
        self.set("GLOBALS", 0, Shared(self.globals()));
    }

    /// Puts the bank of policies in force that `generation` names.
    pub(crate) fn in_generation(&mut self, generation: u32) {
        self.generation = generation;
        self.set("GLOBALS", 0, Shared(self.globals()));
    }

    pub(crate) fn hash_map<K: Pod, V: Pod>(&mut self, name: &str) -> HashMap<&mut MapData, K, V> {
        HashMap::try_from(self.object.map_mut(name).unwrap()).unwrap()
    }

    /// Says how the interface in a slot is steered.
    pub(crate) fn steered(&mut self, slot: usize, interface: Interface) {
        let Shared(mut all) = self
            .array::<Shared<Interfaces>>("INTERFACES")
            .get(&0, 0)
            .unwrap();
        all.index[slot] = self.interfaces[slot];
        all.interface[slot] = interface;
        self.set("INTERFACES", 0, Shared(all));
    }

    /// Has a worker answer SYNs of queue 0 outside.
    pub(crate) fn answer_by_worker(&mut self) {
        self.answer_by_workers([0]);
    }

    /// Has workers answer SYNs of these queues outside.
    pub(crate) fn answer_by_workers(&mut self, queues: impl IntoIterator<Item = u32>) {
        let interface = Interface {
            side: side::OUTSIDE,
            slot: 0,
            afxdp: queues.into_iter().collect(),
        };
        self.steered(0, interface);
    }

    pub(crate) fn trie<const N: usize>(
        &mut self,
        name: &str,
    ) -> LpmTrie<&mut MapData, [u32; N], u32> {
        LpmTrie::try_from(self.object.map_mut(name).unwrap()).unwrap()
    }

    /// Puts a source prefix on a list of the service: 1 allowed, 2 denied.
    pub(crate) fn list(&mut self, prefix: &str, verdict: u32) {
        let (address, length) = prefix.split_once('/').unwrap();
        let ip: IpAddr = address.parse().unwrap();
        let length: u32 = length.parse::<u32>().unwrap() + if ip.is_ipv4() { 96 } else { 0 };
        let [a, b, c, d] = Address::from(ip).0;
        self.trie("LISTS")
            .insert(&Prefix::new(32 + length, [SERVICE, a, b, c, d]), verdict, 0)
            .unwrap();
    }

    pub(crate) fn set<T: Pod>(&mut self, array: &str, index: u32, value: T) {
        Array::try_from(self.object.map_mut(array).unwrap())
            .unwrap()
            .set(index, value, 0)
            .unwrap();
        self.changed = Some(now());
    }

    /// Marks the worker of the queue as alive.
    pub(crate) fn beat(&mut self) {
        self.set("HEARTBEATS", self.queue, now());
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

    /// Inserts a flow; returns its entry's index.
    pub(crate) fn place(&mut self, flow: Flow) -> u32 {
        let place = self.place_of(&flow.key);
        let mut tags: [u32; WAYS + 1] = self.array("TAGS").get(&place.bucket, 0).unwrap();
        let way = tags
            .iter()
            .position(|tag| *tag == 0 || *tag == place.tag)
            .unwrap();
        let entry = entry_index(place.bucket, way as u32);
        self.set("FLOWS", entry, Shared(flow));
        tags[way] = place.tag;
        self.set("TAGS", place.bucket, tags);
        entry
    }

    /// Removes a flow.
    pub(crate) fn clear(&mut self, entry: u32) {
        let Shared(flow) = self.array::<Shared<Flow>>("FLOWS").get(&entry, 0).unwrap();
        let flow = Flow {
            state: state::EMPTY,
            ..flow
        };
        self.set("FLOWS", entry, Shared(flow));
    }

    /// Records that the handshakes with the addresses and the ISN of a segment's had their connections, by cookies of these
    /// epochs.
    pub(crate) fn remember(&mut self, ack: &Segment, epochs: &[u64]) {
        let handshake = self.handshake_of(ack);
        let mut set = [0; ENTRIES_PER_SET];
        for (entry, epoch) in set.iter_mut().zip(epochs) {
            *entry = handshake.entry(*epoch);
        }
        self.set("REPLAY_CACHE", handshake.set, set);
    }

    fn handshake_of(&self, ack: &Segment) -> Handshake {
        let (client, server) = (ack.source, ack.destination);
        let flow = FlowKey::new(
            client.ip().into(),
            client.port(),
            server.ip().into(),
            server.port(),
        );
        let isn = ack.sequence.wrapping_sub(1);
        Handshake::new(&self.globals().replay_key, &flow, isn, Event::Connected)
    }

    /// Notes that the handshake of a segment was assigned at a time, ns.
    pub(crate) fn note_assignment(&mut self, ack: &Segment, at: u64) {
        let handshake = self.handshake_of(ack);
        let word = u64::from(handshake.entry(EPOCH)) << 32 | (at >> 20) & u64::from(u32::MAX);
        let notes = object_length(&self.object, "ASSIGNMENTS");
        self.set("ASSIGNMENTS", handshake.set & (notes - 1), word);
    }

    /// Has the edge forget that it has answered such SYNs.
    pub(crate) fn forget_answer(&mut self, syn: &Segment) {
        let (client, server) = (syn.source, syn.destination);
        let flow = FlowKey::new(
            client.ip().into(),
            client.port(),
            server.ip().into(),
            server.port(),
        );
        for isn in [syn.sequence, 0] {
            let key = self.globals().replay_key;
            let handshake = Handshake::new(&key, &flow, isn, Event::AnsweredByEdge);
            self.set("REPLAY_CACHE", handshake.set, [0u32; ENTRIES_PER_SET]);
        }
    }

    pub(crate) fn hint_lines(&self) -> u32 {
        object_length(&self.object, "OCCUPANCY")
    }

    pub(crate) fn place_of(&self, key: &FlowKey) -> Place {
        Place::of(key.table_hash(&self.globals().table_key), self.mask)
    }

    /// A flow as the program left it.
    pub(crate) fn flow(&self, entry: u32) -> Flow {
        let flow: Shared<Flow> = self.array("FLOWS").get(&entry, 0).unwrap();
        flow.0
    }

    fn array<T: Pod>(&self, name: &str) -> Array<&MapData, T> {
        Array::try_from(self.object.map(name).unwrap()).unwrap()
    }

    /// All elements of an array.
    pub(crate) fn elements<T: Pod>(&self, name: &str) -> Vec<T> {
        self.array(name).iter().collect::<Result<_, _>>().unwrap()
    }

    /// The service's counters, all CPUs together.
    pub(crate) fn counters(&self) -> [u64; SLOTS] {
        let counters: PerCpuArray<_, Shared<ServiceCounters>> =
            PerCpuArray::try_from(self.object.map("COUNTERS").unwrap()).unwrap();
        let mut sum = [0; SLOTS];
        for Shared(cpu) in counters.get(&SERVICE, 0).unwrap().iter() {
            sum.iter_mut()
                .zip(cpu.0)
                .for_each(|(sum, value)| *sum += value);
        }
        sum
    }

    /// Checks that these counters moved by one since `before`, and no other.
    pub(crate) fn assert_counted(&self, before: &[u64; SLOTS], counted: &[Counter], what: &str) {
        let now = self.counters();
        let moved = |index: usize| now[index] - before[index];
        let names = |indices: &mut dyn Iterator<Item = usize>| -> Vec<_> {
            indices.map(|index| (NAMES[index], moved(index))).collect()
        };
        let seen = names(&mut (0..NAMES.len()).filter(|index| moved(*index) != 0));
        let mut wanted: Vec<_> = counted
            .iter()
            .map(|counter| (NAMES[*counter as usize], 1))
            .collect();
        wanted.sort_by_key(|(name, _)| NAMES.iter().position(|other| other == name));
        assert_eq!(seen, wanted, "counters: {what}");
    }
}

/// A key of the service under test.
pub(crate) fn key(epoch: u64, secret: u64) -> [u64; 2] {
    [epoch.wrapping_mul(0x9e37_79b9_7f4a_7c15), secret]
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

fn object_length(object: &Ebpf, name: &str) -> u32 {
    match object.map(name) {
        Some(Map::Array(map)) => map.info().unwrap().max_entries(),
        other => panic!("no array {name}: {other:?}"),
    }
}
