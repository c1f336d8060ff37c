//! The true round trip: a probe to the client comes first.

use super::*;

const TRUE_RTT: Policy = Policy {
    true_rtt: true,
    ..POLICY
};

#[test]
fn with_the_true_round_trip_a_probe_comes_first() {
    both_with(TRUE_RTT, |mut lab| {
        lab.opens(&ack());
        lab.only();
        lab.server(&syn_ack());
        let probe = lab.only();
        assert_eq!(
            (probe.numbers(), probe.is_to_server()),
            ((K, C.wrapping_add(1), flags::ACK), false)
        );
        assert_eq!(probe.options(), padded_timestamps(OUR_CLOCK, CLIENT_CLOCK));
        assert_eq!(probe.segment.tcp.window, Profile::default().window >> 7);
        // Data was on its way before the probe; the server repeats itself.
        lab.client(&data(0, b"hello"));
        lab.server(&syn_ack());
        assert_eq!((lab.sent().len(), lab.flow().state), (0, state::OPENING));
        lab.client(&data(5, b""));
        let third = lab.only();
        assert_eq!(
            (third.numbers(), &third.payload[..]),
            (THIRD_ACK, &b"hello"[..])
        );
        assert_eq!(
            third.options(),
            padded_timestamps(CLIENT_CLOCK, SERVER_CLOCK)
        );
        assert_eq!(lab.flow().state, state::ESTABLISHED);
        lab.is_at_rest();
    });
}

#[test]
fn a_lost_probe_is_sent_again_and_then_done_without() {
    both_with(TRUE_RTT, |mut lab| {
        lab.opens(&data(0, b"hello"));
        lab.only();
        lab.server(&syn_ack());
        lab.only();
        lab.wait(980);
        assert_eq!(lab.sent().len(), 0);
        lab.wait(60);
        assert_eq!(lab.only().numbers(), (K, C.wrapping_add(1), flags::ACK));
        lab.wait(1040);
        assert_eq!(lab.only().payload, b"hello");
        assert_eq!(lab.counted(Outcome::Established), 1);
        lab.is_at_rest();
    });
}

#[test]
fn a_server_that_resets_while_the_client_is_measured_is_believed() {
    both_with(TRUE_RTT, |mut lab| {
        lab.opens(&data(0, b"hello"));
        lab.server(&syn_ack());
        lab.sent();
        lab.server(&Says {
            sequence: S + 1,
            flags: flags::RST,
            options: NO_OPTIONS,
            ..syn_ack()
        });
        assert_eq!(lab.only().numbers(), RST_TO_CLIENT);
        assert_eq!((lab.entry(), lab.counted(Outcome::Refused)), (None, 1));
        lab.is_at_rest();
    });
}
