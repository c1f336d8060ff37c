use super::super::archive::tests::run;
use super::*;

#[test]
fn nothing_measured_nothing_drawn() {
    assert!(draw_plots(&Archive::default()).unwrap().is_empty());
}

#[test]
fn what_is_measured_is_drawn_and_named() {
    let columns = [
        "flood",
        "goodput",
        "succeeded",
        "answered p50",
        "p99",
        "p99.9",
    ];
    let figures: &[f64] = &[1.0, 500.0, 100.0, 0.3, 0.6, 5.0];
    let archive = Archive {
        sweep: Some(run(
            &columns,
            &[
                (Contender::Local, IDLE, figures),
                (Contender::Local, LATENCY_FLOOD, figures),
                (Contender::Synproxy, IDLE, figures),
            ],
        )),
        answer: Some(run(
            &["lab's tasks, an answer"],
            &[(Contender::Bare, figures::SYNS, &[57.0])],
        )),
        ..Archive::default()
    };
    let plots = draw_plots(&archive).unwrap();
    let names: Vec<_> = plots.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["floods.svg", "latency.svg", "cost.svg"]);
    for (name, svg) in &plots[..2] {
        assert!(
            svg.contains("synproxy") && svg.contains("local"),
            "{name}: {svg}"
        );
    }
    assert!(plots[0].1.contains("100k"));
    assert!(plots[2].1.contains("bare") && plots[2].1.contains("bad ACK"));
}
