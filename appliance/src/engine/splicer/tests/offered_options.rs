//! Options that we offered in a server's name, and the server's SYN-ACK.

use super::*;

#[test]
fn a_declined_option_resets_one_connection_and_is_learned() {
    // `reset_when_down` does not apply to declined options.
    let policy = Policy {
        reset_when_down: false,
        ..POLICY
    };
    for declined in ["sack", "timestamps", "scale"] {
        both_with(policy, |mut lab| {
            lab.open(&data(0, b"hello"));
            lab.only();
            let options = HandshakeOptions {
                mss: 1200,
                sack: declined != "sack",
                times: (declined != "timestamps").then_some((SERVER_CLOCK, CLIENT_CLOCK)),
                scale: (declined != "scale").then_some(7),
            };
            lab.server(&TestSegment {
                options: options.words(),
                ..syn_ack()
            });
            let sent = lab.sent();
            let numbers: Vec<_> = sent.iter().map(Sent::numbers).collect();
            assert_eq!(numbers, [RST_TO_SERVER, RST_TO_CLIENT]);
            assert!(sent[0].is_to_server() && !sent[1].is_to_server());
            assert_eq!((lab.entry(), lab.counted(Outcome::Mismatch)), (None, 1));

            let learned = lab.shared.learned.pop().unwrap();
            assert!(learned.broken);
            assert_eq!((learned.address, learned.port), (lab.key.server, 80));
            let profile = learned.profile;
            assert_eq!(profile.mss, 1200);
            let supports = |bit| profile.flags & bit != 0;
            assert_eq!(supports(profile_flags::SACK), declined != "sack");
            assert_eq!(
                supports(profile_flags::TIMESTAMPS),
                declined != "timestamps"
            );
            assert_eq!(
                profile.window_scale == synward_core::client_options::NO_SCALE,
                declined == "scale"
            );
            lab.assert_idle();
        });
    }
}

#[test]
fn another_window_scale_is_translated_and_learned() {
    for (scale, shift) in [(9, 2), (0, -7), (14, 7)] {
        both(|mut lab| {
            lab.open(&ack());
            lab.only();
            lab.server(&scaled_syn_ack(scale));
            assert_eq!(lab.only().numbers(), THIRD_ACK);
            assert_eq!(lab.flow().window_shift, shift);
            let learned = lab.shared.learned.pop().unwrap();
            assert_eq!(
                (learned.profile.window_scale, learned.broken),
                (scale, false)
            );
            lab.assert_idle();
        });
    }
}
