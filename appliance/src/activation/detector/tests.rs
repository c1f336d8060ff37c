//! Rates in, attacks out.

use super::*;

/// A phase of constant rates, each a second.
#[derive(Clone, Copy, Default)]
struct Phase {
    seconds: f64,
    syns: u64,
    proven: u64,
    bad_acks: u64,
    pressed: bool,
}

const fn phase(seconds: f64, syns: u64, proven: u64) -> Phase {
    Phase {
        seconds,
        syns,
        proven,
        bad_acks: 0,
        pressed: false,
    }
}

/// The times at which attacks begin and end, in tenths of a second, when an `auto` service sees these phases.
fn changes(settings: Activation, phases: &[Phase]) -> Vec<(char, u64)> {
    let mut detector = Detector::new(settings, true);
    run(&mut detector, phases, |attacked| attacked)
}

fn run(
    detector: &mut Detector,
    phases: &[Phase],
    challenges: impl Fn(bool) -> bool,
) -> Vec<(char, u64)> {
    let mut totals = Totals::default();
    let mut found = Vec::new();
    let mut tenths = 0;
    for phase in phases {
        for _ in 0..(phase.seconds * 10.0) as u64 {
            tenths += 1;
            totals.syns += phase.syns / 10;
            totals.proven += phase.proven / 10;
            totals.bad_acks += phase.bad_acks / 10;
            let seen = Seen {
                totals,
                challenges: challenges(detector.attack().is_some()),
                pressed: phase.pressed,
            };
            match detector.round(Duration::from_millis(100 * tenths), &seen) {
                Some(Change::Began(_)) => found.push(('+', tenths)),
                Some(Change::Ended(_)) => found.push(('-', tenths)),
                Some(Change::Unwatched(_)) | None => {}
            }
        }
    }
    found
}

fn set(activate: u32, hold: u64) -> Activation {
    Activation {
        activate_syn_rate: Some(activate),
        deactivate_syn_rate: None,
        hold: Duration::from_secs(hold),
    }
}

/// What happens, the settings, the phases, and the changes that are expected.
type Row<'a> = (&'a str, Activation, &'a [Phase], &'a [(char, u64)]);

#[test]
fn a_table_of_rates() {
    let scaled = Activation::default();
    let table: &[Row] = &[
        ("nothing", scaled, &[phase(60.0, 0, 0)], &[]),
        (
            "a flood far above the threshold is seen at once, and over after the hold",
            set(1_000, 5),
            &[
                phase(2.0, 10, 0),
                phase(3.0, 100_000, 0),
                phase(20.0, 10, 0),
            ],
            &[('+', 21), ('-', 104)],
        ),
        (
            "a flood just above it is seen within a second",
            set(1_000, 5),
            &[phase(2.0, 0, 0), phase(3.0, 1_100, 0)],
            &[('+', 25)],
        ),
        (
            "a rate that hovers at the threshold does not flap",
            set(1_000, 2),
            &[
                phase(2.0, 0, 0),
                phase(1.0, 1_050, 0),
                phase(5.0, 900, 0),
                phase(5.0, 1_050, 0),
                phase(5.0, 600, 0),
                phase(5.0, 1_050, 0),
            ],
            &[('+', 25)],
        ),
        (
            "pauses shorter than the hold do not end it",
            set(1_000, 3),
            &[
                phase(1.0, 0, 0),
                phase(1.0, 5_000, 0),
                phase(2.5, 0, 0),
                phase(1.0, 5_000, 0),
                phase(9.0, 0, 0),
            ],
            &[('+', 11), ('-', 89)],
        ),
        (
            "a short burst below five times the threshold is none",
            set(1_000, 3),
            &[phase(2.0, 100, 0), phase(0.1, 4_000, 0), phase(9.0, 100, 0)],
            &[],
        ),
        (
            "by default a thousand SYNs a second without handshakes, where little is normal",
            scaled,
            &[phase(30.0, 20, 20), phase(2.0, 1_200, 20)],
            &[('+', 305)],
        ),
        (
            "and four times what is normal where that is more",
            scaled,
            &[
                phase(30.0, 2_000, 0),
                phase(5.0, 6_000, 0),
                phase(1.0, 90_000, 0),
            ],
            &[('+', 351)],
        ),
        (
            "a crowd whose handshakes complete is no attack",
            scaled,
            &[phase(30.0, 100, 100), phase(30.0, 20_000, 20_000)],
            &[],
        ),
        (
            "unless a rate is set",
            set(1_000, 60),
            &[phase(30.0, 100, 100), phase(30.0, 20_000, 20_000)],
            &[('+', 301)],
        ),
        (
            "a flood at the start",
            scaled,
            &[phase(5.0, 100_000, 0)],
            &[('+', 2)],
        ),
        (
            "ACKs with bad cookies keep an attack up",
            set(1_000, 2),
            &[
                phase(1.0, 5_000, 0),
                Phase {
                    bad_acks: 2_000,
                    ..phase(6.0, 0, 0)
                },
                phase(9.0, 0, 0),
            ],
            &[('+', 2), ('-', 93)],
        ),
        (
            "a listener whose queue is full is under attack, however slow it is",
            Activation {
                hold: Duration::from_secs(2),
                ..scaled
            },
            &[
                phase(9.0, 10, 0),
                phase(1.0, 100, 0),
                Phase {
                    pressed: true,
                    ..phase(0.1, 100, 0)
                },
                // Below the usual threshold, and above half of the rate with which it began.
                phase(9.0, 80, 0),
                phase(9.0, 10, 0),
            ],
            &[('+', 101), ('-', 213)],
        ),
        (
            "a full queue with hardly any SYN is a slow application",
            scaled,
            &[Phase {
                pressed: true,
                ..phase(9.0, 10, 0)
            }],
            &[],
        ),
    ];
    let mut wrong = Vec::new();
    for (what, settings, phases, expected) in table {
        let found = changes(*settings, phases);
        if found != *expected {
            wrong.push(format!("{what}: {found:?}, not {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A service that is busy from the first moment is challenged, and left alone once its clients have proven themselves.
#[test]
fn a_busy_service_teaches_what_is_normal() {
    let found = changes(Activation::default(), &[phase(1.5, 5_000, 0)]);
    assert_eq!(
        found,
        [('+', 11)],
        "handshakes that complete are not seen yet"
    );
    let mut detector = Detector::new(Activation::default(), true);
    let found = run(&mut detector, &[phase(100.0, 5_000, 5_000)], |_| true);
    assert_eq!(found, []);
    // The first half second is measured as less.
    let activate = detector.thresholds().activate;
    assert!((19_900.0..=20_000.0).contains(&activate), "{activate}");
}

#[test]
fn an_attack_has_its_numbers() {
    let mut detector = Detector::new(set(1_000, 2), true);
    let mut totals = Totals {
        syns: 77,
        proven: 7,
        bad_acks: 0,
    };
    let mut last = None;
    for tenth in 0..100 {
        totals.syns += match tenth {
            10..20 => 1_000,
            20..30 => 3_000,
            _ => 1,
        };
        totals.proven += u64::from(tenth == 25);
        let seen = Seen {
            totals,
            ..Seen::default()
        };
        last = detector
            .round(Duration::from_millis(100 * tenth), &seen)
            .or(last);
    }
    let Some(Change::Ended(attack)) = last else {
        panic!("{last:?}");
    };
    assert_eq!(attack.began, Duration::from_millis(1_000));
    assert_eq!(attack.threshold, 1_000.0);
    assert_eq!((attack.rate, attack.peak), (2_008.0, 30_000.0));
    assert_eq!(attack.proven, 1);
    assert!((39_000..39_100).contains(&attack.syns), "{}", attack.syns);
    assert_eq!(attack.last, Duration::from_millis(3_300));
    assert!(detector.attack().is_none());
}

/// With mode `off` the end of an attack in progress is reported, and none begins. With another mode one begins at once.
#[test]
fn mode_off_looks_for_no_attacks() {
    let mut detector = Detector::new(set(1_000, 5), true);
    let flood = |tenths: u64| Seen {
        totals: Totals {
            syns: 500 * tenths,
            ..Totals::default()
        },
        ..Seen::default()
    };
    let at = |tenths: u64| Duration::from_millis(100 * tenths);
    let began = (1..20).filter_map(|now| detector.round(at(now), &flood(now)));
    assert!(matches!(began.last(), Some(Change::Began(_))));
    let unwatched = detector.unwatched_round(at(20), &flood(20));
    assert!(matches!(unwatched, Some(Change::Unwatched(_))));
    let more = (21..40).find_map(|now| detector.unwatched_round(at(now), &flood(now)));
    assert_eq!(more, None);
    let again = detector.round(at(40), &flood(40));
    assert!(matches!(again, Some(Change::Began(_))));
}
