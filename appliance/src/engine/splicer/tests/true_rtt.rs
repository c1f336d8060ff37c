//! With `rtt = "true"` a probe to the client precedes the third ACK.

use super::*;

const TRUE_RTT: Policy = Policy {
    true_rtt: true,
    ..POLICY
};

#[test]
fn a_probe_precedes_the_third_ack() {
    both_with(TRUE_RTT, |mut lab| {
        lab.open(&ack());
        lab.only();
        lab.server(&syn_ack());
        let probe = lab.only();
        assert_eq!(
            (probe.numbers(), probe.is_to_server()),
            ((K, C.wrapping_add(1), flags::ACK), false)
        );
        assert_eq!(probe.options(), padded_timestamps(OUR_CLOCK, CLIENT_CLOCK));
        assert_eq!(probe.segment.tcp.window, Profile::default().window >> 7);
        // Data was on its way before the probe; the server retransmits its SYN-ACK.
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
        lab.assert_idle();
    });
}

#[test]
fn a_lost_probe_is_retransmitted_once_and_then_skipped() {
    both_with(TRUE_RTT, |mut lab| {
        lab.open(&data(0, b"hello"));
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
        lab.assert_idle();
    });
}

#[test]
fn a_server_reset_during_the_probe_ends_the_opening() {
    both_with(TRUE_RTT, |mut lab| {
        lab.open(&data(0, b"hello"));
        lab.server(&syn_ack());
        lab.sent();
        lab.server(&TestSegment {
            sequence: S + 1,
            flags: flags::RST,
            options: NO_OPTIONS,
            ..syn_ack()
        });
        assert_eq!(lab.only().numbers(), RST_TO_CLIENT);
        assert_eq!((lab.entry(), lab.counted(Outcome::Refused)), (None, 1));
        lab.assert_idle();
    });
}

/// Clients that never answer probes keep connections half-open at the server, which others need.
#[test]
fn probes_under_way_are_bounded() {
    both_with(TRUE_RTT, |mut lab| {
        lab.shared.table = Arc::new(FlowTable::in_memory(1000).unwrap());
        lab.splicer = Splicer::new(1, lab.shared.clone(), Arc::clone(&lab.stats));
        let own = lab.key;
        let mut probed = 0;
        for port in 0..100 {
            lab.key = FlowKey::new(own.client, 30_000 + port, own.server, 80);
            lab.open(&ack());
            lab.server(&syn_ack());
            probed += u32::from(lab.flow().state == state::OPENING);
        }
        assert_eq!(probed, 32);
        lab.wait(2200);
        assert_eq!(lab.counted(Outcome::Established), 100);
    });
}
