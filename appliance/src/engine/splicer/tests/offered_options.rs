//! Options that we offered in a server's name, and the server's SYN-ACK.

use super::*;
use crate::engine::server_syn_ack::OptionSet;
use synward_core::layout::owner;

/// The server's SYN-ACK without these options.
fn syn_ack_without(refused: OptionSet) -> TestSegment<'static> {
    let options = HandshakeOptions {
        mss: 1200,
        sack: !refused.sack,
        times: (!refused.timestamps).then_some((SERVER_CLOCK, CLIENT_CLOCK)),
        scale: (!refused.window_scale).then_some(7),
    };
    TestSegment {
        options: options.words(),
        ..syn_ack()
    }
}

/// A client cannot do without timestamps that it was promised (RFC 7323 §3.2).
#[test]
fn refused_timestamps_reset_the_connection_and_are_reported() {
    // `reset_when_down` does not apply to refused options.
    let policy = Policy {
        reset_when_down: false,
        ..POLICY
    };
    both_with(policy, |mut lab| {
        lab.open(&data(0, b"hello"));
        lab.only();
        let refused = OptionSet {
            timestamps: true,
            ..OptionSet::default()
        };
        lab.server(&syn_ack_without(refused));
        let sent = lab.sent();
        let numbers: Vec<_> = sent.iter().map(Sent::numbers).collect();
        assert_eq!(numbers, [RST_TO_SERVER, RST_TO_CLIENT]);
        assert!(sent[0].is_to_server() && !sent[1].is_to_server());
        assert_eq!((lab.entry(), lab.counted(Outcome::Mismatch)), (None, 1));

        let seen = lab.shared.observations.pop().unwrap();
        assert_eq!((seen.address, seen.port), (lab.key.server, 80));
        assert_eq!(seen.refused, refused);
        assert_eq!(
            seen.profile,
            Profile {
                mss: 1200,
                window: WINDOW,
                ..Profile::default()
            },
            "values are learned, options are left to the control thread"
        );
        lab.assert_idle();
    });
}

/// Neither SACK nor window scaling is needed on both sides: without scaling the windows of both are shifted.
#[test]
fn a_client_is_served_without_sack_and_scaling() {
    let refused = OptionSet {
        sack: true,
        window_scale: true,
        ..OptionSet::default()
    };
    both(|mut lab| {
        lab.open(&data(0, b"hello"));
        lab.only();
        lab.server(&syn_ack_without(refused));
        let request = lab.only();
        assert_eq!(request.payload, b"hello");
        // The client shifts by 6, the server not at all.
        assert_eq!(request.segment.tcp.window, WINDOW << 6);
        let flow = lab.flow();
        assert_eq!(
            (flow.state, flow.window_shift, flow.owner & owner::SHIFT),
            (state::ESTABLISHED, -7, 6)
        );
        let seen = lab.shared.observations.pop().unwrap();
        assert_eq!(seen.refused, refused);
        assert_eq!(seen.profile.window_scale, 7, "what was offered stays");
        lab.assert_idle();

        // A segment that was on its way is translated alike.
        lab.client(&data(5, b"more"));
        let packet = lab.wire.by_kernel.pop().unwrap();
        let window = if lab.key.client.is_v4() { 34 } else { 54 };
        let seen = u16::from_be_bytes([packet[window], packet[window + 1]]);
        assert_eq!(seen, WINDOW << 6);
    });
}

#[test]
fn a_client_is_served_without_ecn() {
    both(|mut lab| {
        lab.valid_ack.options.ecn = true;
        lab.open(&ack());
        let syn = lab.only();
        assert_eq!(syn.segment.tcp.flags, flags::SYN | flags::ECE | flags::CWR);
        lab.server(&syn_ack());
        assert_eq!(lab.only().numbers(), THIRD_ACK);
        assert!(lab.shared.observations.pop().unwrap().refused.ecn);
        lab.assert_idle();
    });
}

#[test]
fn another_window_scale_is_translated_and_learned() {
    for (scale, shift) in [(9, 2), (0, -7), (14, 7)] {
        both(|mut lab| {
            lab.open(&ack());
            lab.only();
            lab.server(&scaled_syn_ack(scale));
            assert_eq!(lab.only().numbers(), THIRD_ACK);
            assert_eq!(
                (lab.flow().window_shift, lab.flow().owner & owner::SHIFT),
                (shift, 0)
            );
            let seen = lab.shared.observations.pop().unwrap();
            assert_eq!(
                (seen.profile.window_scale, seen.refused),
                (scale, OptionSet::default())
            );
            lab.assert_idle();
        });
    }
}

/// What contradicts a refusal is reported too.
#[test]
fn agreeing_syn_acks_are_reported_once_a_second() {
    both(|mut lab| {
        let own = lab.key;
        // As the server's SYN-ACKs say.
        lab.valid_ack.offered.window = WINDOW;
        let mut seen = 0;
        for port in 0..200 {
            lab.key = FlowKey::new(own.client, 30_000 + port, own.server, 80);
            lab.open(&ack());
            lab.server(&syn_ack());
            lab.now += 10 * MILLISECOND;
            while lab.shared.observations.pop().is_some() {
                seen += 1;
            }
        }
        assert!((2..=3).contains(&seen), "{seen} reports in two seconds");
    });
}

/// A server that has come back with other options: the first client that shows it may come right behind others, or behind one
/// whose server says other values than before.
#[test]
fn a_refusal_right_behind_other_reports_is_reported() {
    both(|mut lab| {
        let own = lab.key;
        let refused = OptionSet {
            timestamps: true,
            ..OptionSet::default()
        };
        let mut seen = vec![];
        for (port, answer) in [syn_ack(), syn_ack_without(refused)].iter().enumerate() {
            lab.key = FlowKey::new(own.client, 30_000 + port as u16, own.server, 80);
            lab.open(&ack());
            lab.server(answer);
            lab.now += MILLISECOND;
            while let Some(report) = lab.shared.observations.pop() {
                seen.push(report.refused);
            }
        }
        assert_eq!(seen, [OptionSet::default(), refused]);
    });
}
