//! What the program costs a packet while no service challenges its clients, beside a program that does nothing. It measures, and
//! asserts only that every packet passes; docs/attacks.md has the result. As root, on a machine that does nothing else:
//!
//!     cargo test -p synward --test verdicts inactive_cost -- --ignored --nocapture

use std::time::Duration;

use aya::EbpfLoader;
use aya::programs::Xdp;
use synward_core::layout::mode;

use crate::frame_builder::{ACK, PSH, SYN, Segment, stack};
use crate::steer::{Side, in_namespace};
use crate::{PASS, needs_root};

static FLOOD: &[u8] = aya::include_bytes_aligned!("../../../bench/ebpf/objects/flood.o");

/// Runs of the program whose mean is one measurement, and measurements of which the least counts: others have run meanwhile.
const RUNS: u32 = 100_000;
const ROUNDS: usize = 15;

#[test]
#[ignore = "measures, for docs/attacks.md"]
fn a_packet_while_inactive() {
    needs_root!();
    in_namespace(|steer| {
        let mut object = EbpfLoader::new().load(FLOOD).unwrap();
        let pass: &mut Xdp = object.program_mut("pass").unwrap().try_into().unwrap();
        pass.load().unwrap();
        let data = |segment: Segment| Segment {
            payload: vec![7; 1000],
            ..segment
        };
        let syn = Segment {
            options: stack::linux(),
            ..Segment::from_client(0, SYN)
        };
        let from_client = data(Segment::from_client(0, ACK | PSH));
        let from_server = data(Segment::from_server(0, ACK | PSH));
        let mut elsewhere = from_client.clone();
        elsewhere.destination.set_port(9);
        let frames = [
            ("to a port that is not protected", Side::Outside, elsewhere),
            ("SYN", Side::Outside, syn),
            ("data from the client", Side::Outside, from_client),
            ("data from the server", Side::Inside, from_server),
        ];
        for (what, side, segment) in &frames {
            let frame = segment.bytes();
            let mut least = [Duration::MAX; 3];
            for _ in 0..ROUNDS {
                for (at, mode) in [(1, mode::OFF), (2, mode::MONITOR)] {
                    steer.policy(|service| service.mode = mode);
                    // The next jiffy, and a connection that is learned.
                    assert_eq!(steer.run(*side, &frame).verdict, PASS);
                    let seen = steer.run_program(steer.program(), *side, &frame, RUNS);
                    least[at] = least[at].min(seen.duration);
                }
                let pass: &Xdp = object.program("pass").unwrap().try_into().unwrap();
                let seen = steer.run_program(pass, *side, &frame, RUNS);
                least[0] = least[0].min(seen.duration);
            }
            let [pass, auto, monitor] = least.map(|time| time.as_nanos());
            println!("| {what} | {pass} | {auto} | {monitor} |");
        }
    });
}
