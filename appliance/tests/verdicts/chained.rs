//! Programs before ours and behind it: another one calls `entry`, and what belongs to no service goes to `next`.

use aya::Ebpf;
use aya::maps::{MapData, PerCpuHashMap, PerCpuValues, ProgramArray};
use aya::programs::{ProgramFd, Xdp};
use aya::util::nr_cpus;
use synward::kernel;
use synward_core::counters::Counter;
use synward_core::layout::mode;

use crate::frame_builder::{SYN, Segment, syns_of_both_paths};
use crate::steer::{Side, Steer, in_namespace};
use crate::{DROP, PASS, TX, needs_root};

static ENTRY: &[u8] = aya::include_bytes_aligned!("../../../ebpf/xdp/objects/entry.o");

/// An instance of `entry`, which counts frames, calls what is behind it, and passes every frame if nothing is.
struct Entry {
    object: Ebpf,
    interface: u32,
}

impl Entry {
    /// One that counts what arrives on an interface.
    fn on(interface: u32) -> Self {
        let mut object = Ebpf::load(&kernel::choose_frags(ENTRY, false)).unwrap();
        let program: &mut Xdp = object.program_mut("entry").unwrap().try_into().unwrap();
        kernel::load_verified(|| program.load()).unwrap();
        let mut entry = Self { object, interface };
        let zeros = PerCpuValues::try_from(vec![0; nr_cpus().unwrap()]).unwrap();
        entry.arrived().insert(interface, zeros, 0).unwrap();
        entry
    }

    fn program(&self) -> &Xdp {
        self.object.program("entry").unwrap().try_into().unwrap()
    }

    fn fd(&self) -> ProgramFd {
        self.program().fd().unwrap().try_clone().unwrap()
    }

    fn arrived(&mut self) -> PerCpuHashMap<&mut MapData, u32, u64> {
        self.object.map_mut("ARRIVED").unwrap().try_into().unwrap()
    }

    fn count(&mut self) -> u64 {
        let interface = self.interface;
        self.arrived().get(&interface, 0).unwrap().iter().sum()
    }

    fn put_behind(&mut self, program: &ProgramFd) {
        let steer = self.object.map_mut("STEER").unwrap();
        let mut steer: ProgramArray<&mut MapData> = steer.try_into().unwrap();
        steer.set(0, program, 0).unwrap();
    }
}

fn to_other_port() -> Segment {
    let mut other = Segment::from_client(0, SYN);
    other.destination.set_port(22);
    other
}

fn udp(segment: &Segment) -> Vec<u8> {
    let datagram = [&[0, 80, 0, 80, 0, 12, 0, 0][..], b"word"].concat();
    segment.frame(&segment.packet(17, &datagram))
}

/// A last fragment, which may belong to a service only by its address.
fn fragment(to: &str) -> Vec<u8> {
    let mut segment = Segment::from_client(0, SYN);
    segment.destination = to.parse().unwrap();
    let mut frame = segment.bytes();
    frame[20..22].copy_from_slice(&[0, 100]);
    frame
}

#[test]
fn what_belongs_to_no_service_goes_to_the_program_behind() {
    needs_root!();
    in_namespace(|steer| {
        let mut next = Entry::on(steer.interface(Side::Outside));
        steer.program_behind(Side::Outside, &next.fd());
        let foreign = [
            ("UDP", udp(&Segment::from_client(0, SYN))),
            ("UDP over IPv6", udp(&Segment::from_client(1, SYN))),
            ("another port", to_other_port().bytes()),
            ("a fragment to another address", fragment("192.0.2.11:80")),
            (
                "too short for anything",
                vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0],
            ),
        ];
        for (count, (what, frame)) in (1..).zip(&foreign) {
            let seen = steer.run(Side::Outside, frame);
            assert_eq!((seen.verdict, next.count()), (PASS, count), "{what}");
            assert_eq!(&seen.frame, frame, "{what}");
        }
        let before = next.count();
        for syn in syns_of_both_paths() {
            assert_eq!(steer.run(Side::Outside, &syn.bytes()).verdict, TX);
        }
        let service = Segment::from_client(0, SYN).destination.to_string();
        assert_eq!(steer.run(Side::Outside, &fragment(&service)).verdict, DROP);
        for foreign in [udp(&Segment::from_client(0, SYN)), to_other_port().bytes()] {
            assert_eq!(
                steer.run(Side::Inside, &foreign).verdict,
                PASS,
                "no program there"
            );
        }
        steer.policy(|service| service.mode = mode::OFF);
        for syn in syns_of_both_paths() {
            assert_eq!(steer.run(Side::Outside, &syn.bytes()).verdict, PASS);
        }
        assert_eq!(
            next.count(),
            before,
            "what a service has is not for the program behind"
        );
    });
}

#[test]
fn a_called_program_decides_as_an_attached_one() {
    needs_root!();
    in_namespace(|steer| {
        let mut entry = Entry::on(steer.interface(Side::Outside));
        let syns = syns_of_both_paths();
        for syn in &syns {
            let seen = steer.run_program(entry.program(), Side::Outside, &syn.bytes(), 1);
            assert_eq!(seen.verdict, PASS, "nothing is behind");
        }
        entry.put_behind(&steer.fd());
        let before = steer.counters();
        for syn in &syns {
            let seen = steer.run_program(entry.program(), Side::Outside, &syn.bytes(), 1);
            assert_eq!(seen.verdict, TX);
        }
        let after = steer.counters();
        let answered = Counter::AnsweredXdp as usize;
        assert_eq!(after[answered] - before[answered], syns.len() as u64);
        assert_eq!(entry.count(), 2 * syns.len() as u64);
    });
}

/// What the tests of chains need of the program.
impl Steer {
    fn program_behind(&mut self, side: Side, next: &ProgramFd) {
        let slots = self.map("NEXT");
        let mut slots: ProgramArray<&mut MapData> = slots.try_into().unwrap();
        slots.set(side as u32, next, 0).unwrap();
    }
}
