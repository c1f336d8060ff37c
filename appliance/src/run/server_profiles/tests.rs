use super::*;

#[test]
fn options_follow_the_evidence_and_unknown_ones_stay() {
    let known = Profile::default();
    let mut evidence = ServerEvidence::default();
    assert_eq!(with_options(&known, &evidence), known);
    let all = EVERYTHING.set();
    let lacks = OptionSet {
        sack: true,
        window_scale: true,
        ..OptionSet::default()
    };
    evidence.add(Instant::now(), Asked::ByProbe, all, lacks);
    let poor = with_options(&known, &evidence);
    assert_eq!(
        (poor.flags, poor.window_scale),
        (profile_flags::TIMESTAMPS | profile_flags::ECN, NO_SCALE)
    );
    for _ in 0..2 {
        evidence.add(Instant::now(), Asked::ByProbe, all, OptionSet::default());
    }
    let rich = with_options(&poor, &evidence);
    assert_eq!(
        (rich.flags, rich.window_scale),
        (
            profile_flags::SACK | profile_flags::TIMESTAMPS | profile_flags::ECN,
            USUAL_SCALE
        )
    );
}
