//! How many BPF instructions a flood and traffic take. What a change costs there is in its diff of this table: times are too
//! noisy to show it.

use std::net::IpAddr;

use synward_core::layout::mode;

use crate::frame_builder::{ACK, PSH, Segment, padded_timestamps, stack};
use crate::spliced_flows::{flow, in_flow};
use crate::steer::{Side, Steer, in_namespace};
use crate::{DROP, PASS, REDIRECT, TX, needs_root};

/// Frames before those that are counted: more than a jiffy has without being in a flood.
const BEFORE: u16 = 160;
/// Frames that are counted: a multiple of 16, because one reply in 16 is counted (`reply_budget::SAMPLE`).
const COUNTED: u16 = 160;
/// A path that takes so many percent less than the table allows has become cheaper: the table is to be corrected.
const SLACK_PERCENT: u64 = 3;

/// The mean instructions of a frame from many clients, rounded up.
fn count(steer: &Steer, side: Side, segment: &Segment, verdict: u32) -> u64 {
    let mut machine = steer.machine(match side {
        Side::Outside => Side::Inside,
        _ => Side::Outside,
    });
    let mut instructions = 0;
    for number in 0..BEFORE + COUNTED {
        let mut segment = segment.clone();
        if segment.payload.is_empty() {
            let [a, b] = number.wrapping_mul(40_503).to_be_bytes();
            segment.source.set_ip(match segment.source.ip() {
                IpAddr::V4(_) => IpAddr::from([10, a, b, 1]),
                IpAddr::V6(_) => IpAddr::from([0x2001, 0xdb8, 0xd, number, 0, 0, 0, 2]),
            });
            segment.source.set_port(20_000 + number);
        }
        let run = machine.run(steer.interface(side), &segment.bytes());
        assert_eq!(run.verdict, verdict, "frame {number}");
        if number >= BEFORE {
            instructions += run.instructions;
        }
    }
    instructions.div_ceil(COUNTED.into())
}

#[test]
fn paths_take_no_more_instructions_than_before() {
    needs_root!();
    let wrong_ack = |family| Segment {
        acknowledgement: 77,
        options: padded_timestamps(1, 2),
        ..Segment::from_client(family, ACK)
    };
    let data = |side| in_flow(side, ACK | PSH, 0, &[7; 1000]);
    let flooded = [
        ("SYN, IPv4, Linux", Segment::linux_syn(0), TX, 920),
        (
            "SYN, IPv4, Windows",
            Segment::syn(0, stack::windows()),
            TX,
            1820,
        ),
        ("SYN, IPv6, Linux", Segment::linux_syn(1), TX, 1880),
        ("wrong ACK, IPv4", wrong_ack(0), DROP, 1690),
        ("wrong ACK, IPv6", wrong_ack(1), DROP, 2180),
    ];
    let carried = [
        ("spliced segment of the client, IPv4", Side::Outside, 800),
        ("spliced segment of the server, IPv4", Side::Inside, 830),
    ];
    // As with mode `auto` while there is no attack.
    let unchallenged = [
        (
            "unchallenged segment of the client, IPv4",
            Side::Outside,
            625,
        ),
        (
            "unchallenged segment of the server, IPv4",
            Side::Inside,
            635,
        ),
    ];
    in_namespace(|steer| {
        let mut found = vec![];
        for (what, side, most) in unchallenged {
            steer.policy(|service| service.mode = mode::OFF);
            found.push((what, count(steer, side, &data(side), PASS), most));
        }
        steer.policy(|service| service.replies = 1000);
        for (what, side, most) in carried {
            steer.place(flow(0));
            found.push((what, count(steer, side, &data(side), REDIRECT), most));
        }
        for line in 0..steer.hint_lines() {
            steer.set("OCCUPANCY", line, [0u64; 8]);
        }
        for (what, segment, verdict, most) in flooded {
            found.push((what, count(steer, Side::Outside, &segment, verdict), most));
        }
        for (what, instructions, most) in &found {
            println!("{what}: {instructions}, at most {most}");
        }
        for (what, instructions, most) in found {
            let least = most - most * SLACK_PERCENT / 100;
            assert!(
                (least..=most).contains(&instructions),
                "{what} takes {instructions} instructions, and {least} to {most} are expected"
            );
        }
    });
}
