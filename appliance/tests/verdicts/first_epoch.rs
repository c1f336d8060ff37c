//! Cookies that may be older than a process which has no marks of used ones: the one before was stopped and left nothing.

use synward_core::cookie::EPOCH_NANOSECONDS;
use synward_core::counters::Counter;
use synward_core::layout::Clock;

use crate::acks::dropped;
use crate::frame_builder::{ACK, PSH, Segment, TAGS, stack};
use crate::needs_root;
use crate::steer::{EPOCH, Shared, Side, Steer, in_namespace, now};

const VALID: &[Counter] = &[Counter::CookieValid, Counter::Waiting];
const REPLAYED: &[Counter] = &[Counter::CookieValid, Counter::DropReplayedCookie];
/// SYNs at once, some in one jiffy, and how often they are sent if the machine is busy.
const FLOOD: u32 = 500;
const ROUNDS: u32 = 100;

/// The process began in the epoch of the tests and has found nothing; now it is `later` epochs later.
fn begin(steer: &mut Steer, later: u64) {
    steer.set(
        "CLOCK",
        0,
        Shared(Clock {
            epoch: EPOCH + later,
            epoch_start: now() - EPOCH_NANOSECONDS / 2,
            first_epoch: EPOCH,
        }),
    );
}

fn syn(family: usize, options: &[u8], tags: &[(u16, u16)], port: u16) -> Segment {
    let mut syn = Segment {
        tags: tags.to_vec(),
        ..Segment::syn(family, options.to_vec())
    };
    syn.source.set_port(port);
    syn
}

#[test]
fn cookies_of_a_process_that_left_nothing_are_refused() {
    needs_root!();
    for family in [0, 1] {
        for (options, tags) in [stack::linux(), stack::windows(), stack::linux()]
            .iter()
            .zip(TAGS)
        {
            in_namespace(|steer| {
                let captured = steer.shake_hands(&syn(family, options, tags, 41_000));
                begin(steer, 0);
                let with_data = Segment {
                    flags: ACK | PSH,
                    payload: b"POST /".to_vec(),
                    ..captured.clone()
                };
                let own = steer.shake_hands(&syn(family, options, tags, 41_001));
                let again = syn(family, options, tags, 41_002);
                let first = steer.shake_hands(&again);
                steer.remember(&first, &[EPOCH]);
                let second = steer.shake_hands(&again);
                for later in [0, 1] {
                    begin(steer, later);
                    steer.check(vec![
                        dropped("captured before", &captured, REPLAYED),
                        dropped("... with data", &with_data, REPLAYED),
                        dropped("of a client since then", &own, VALID),
                        dropped("of one that began again", &second, VALID),
                    ]);
                }
                let later = steer.shake_hands(&syn(family, options, tags, 41_003));
                steer.check(vec![dropped("of a later client", &later, VALID)]);
            });
        }
    }
}

/// Its SYNs are not recorded: its real clients are served, whatever else is.
#[test]
fn a_flood_in_the_first_epoch_has_all_cookies_accepted() {
    needs_root!();
    for family in [0, 1] {
        in_namespace(|steer| {
            begin(steer, 0);
            let one = syn(family, &stack::linux(), &[], 41_001);
            let flood = syn(family, &stack::linux(), &[], 41_002).bytes();
            let has_flooded = (0..ROUNDS).any(|_| {
                (0..FLOOD).for_each(|_| drop(steer.run(Side::Outside, &flood)));
                steer.elements::<u64>("UNRECORDED") == [EPOCH]
            });
            assert!(has_flooded);
            let ack = steer.shake_hands(&one);
            steer.forget_answer(&one);
            steer.check(vec![dropped("in a flood", &ack, VALID)]);
        });
    }
}
