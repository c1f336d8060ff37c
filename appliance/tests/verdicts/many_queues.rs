//! An interface with as many queues as can be steered.

use synward_core::counters::Counter;
use synward_core::layout::MAX_QUEUES;

use crate::frame_builder::Segment;
use crate::steer::{Side, in_namespace};
use crate::test_network::add_wide;
use crate::{DROP, TX, needs_root};

#[test]
fn each_queue_has_its_own_responder_and_its_own_worker() {
    needs_root!();
    in_namespace(|steer| {
        let index = add_wide("sw-wide", MAX_QUEUES);
        steer.replace_outside("sw-wide", index);
        // 191 and 255 have the same bit in two words.
        let workers = [0, 63, 64, 191, MAX_QUEUES - 1];
        steer.answer_by_workers(workers);
        for queue in [0, 1, 63, 64, 127, 128, 191, 192, 254, MAX_QUEUES - 1] {
            steer.queue = queue;
            let frame = Segment::linux_syn(0).bytes();
            let seen = steer.run(Side::Outside, &frame);
            assert_eq!(seen.verdict, TX, "queue {queue}: no worker was ever alive");
            steer.beat();
            let before = steer.counters();
            let seen = steer.run(Side::Outside, &frame);
            if workers.contains(&queue) {
                assert_eq!(seen.verdict, DROP, "queue {queue} has no socket");
                let counted = [Counter::Syn, Counter::GivenToWorker, Counter::DropNoWorker];
                steer.assert_counted(&before, &counted, "given to the worker");
            } else {
                assert_eq!(seen.verdict, TX, "queue {queue}");
            }
        }
    });
}
