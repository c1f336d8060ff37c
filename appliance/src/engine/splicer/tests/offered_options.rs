//! What was promised in a server's name, and what it does.

use super::*;

#[test]
fn a_server_that_breaks_a_promise_costs_one_connection_and_is_learned() {
    // Silence about servers that are down is not silence about promises.
    let policy = Policy {
        reset_when_down: false,
        ..POLICY
    };
    for refused in ["sack", "timestamps", "scale"] {
        both_with(policy, |mut lab| {
            lab.opens(&data(0, b"hello"));
            lab.only();
            let options = HandshakeOptions {
                mss: 1200,
                sack: refused != "sack",
                times: (refused != "timestamps").then_some((SERVER_CLOCK, CLIENT_CLOCK)),
                scale: (refused != "scale").then_some(7),
            };
            lab.server(&Says {
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
            let does = |bit| profile.flags & bit != 0;
            assert_eq!(does(profile_flags::SACK), refused != "sack");
            assert_eq!(does(profile_flags::TIMESTAMPS), refused != "timestamps");
            assert_eq!(
                profile.window_scale == synward_core::client_options::NO_SCALE,
                refused == "scale"
            );
            lab.is_at_rest();
        });
    }
}

#[test]
fn another_window_scale_is_translated_and_learned() {
    for (scale, shift) in [(9, 2), (0, -7), (14, 7)] {
        both(|mut lab| {
            lab.opens(&ack());
            lab.only();
            lab.server(&scaled_syn_ack(scale));
            assert_eq!(lab.only().numbers(), THIRD_ACK);
            assert_eq!(lab.flow().window_shift, shift);
            let learned = lab.shared.learned.pop().unwrap();
            assert_eq!(
                (learned.profile.window_scale, learned.broken),
                (scale, false)
            );
            lab.is_at_rest();
        });
    }
}
