//! Results as tables in Markdown: a table for each case, a row for each contender.

use std::fmt::Write as _;

use super::contender::Contender;
use super::result::Results;
use super::work::Work;
use crate::spread::spread_cell;

/// All results of a run.
pub(super) fn markdown(results: &Results, work: &dyn Work) -> String {
    let mut text = format!("## {}\n\n", results.work);
    let rounds = match results.rounds {
        1 => "one round".to_string(),
        rounds => format!("median of {rounds} rounds (least to greatest)"),
    };
    line(&mut text, &format!("- {}", results.machine));
    line(
        &mut text,
        &format!(
            "- {rounds}; {}, in random order (seed {})",
            match work.shares_lab() {
                true => "every contender in a lab of its own",
                false => "every turn in a lab of its own",
            },
            results.seed
        ),
    );
    for condition in &results.conditions {
        line(&mut text, &format!("- {condition}"));
    }
    for case in work.cases() {
        table(&mut text, results, work, case);
    }
    line(&mut text, "");
    for contender in Contender::all() {
        match results.skipped.get(&contender) {
            Some(reason) => line(&mut text, &format!("- {contender}: not measured: {reason}")),
            None if work
                .cases()
                .iter()
                .any(|case| results.contenders(case).contains(&contender)) =>
            {
                line(&mut text, &format!("- {contender}: {}", contender.about()));
            }
            None => (),
        }
        for (case, errors, first) in results.errors(contender) {
            line(
                &mut text,
                &format!("  - {errors} failed with {case}, the first: {first}"),
            );
        }
    }
    text
}

fn table(text: &mut String, results: &Results, work: &dyn Work, case: &str) {
    let heads: Vec<_> = work
        .columns()
        .iter()
        .map(|column| match column.unit {
            "" => column.name.to_string(),
            unit => format!("{}, {unit}", column.name),
        })
        .collect();
    line(text, &format!("\n### {case}\n"));
    line(text, &format!("| contender | {} |", heads.join(" | ")));
    line(text, &format!("|---|{}", "---:|".repeat(heads.len())));
    for contender in results.contenders(case) {
        let cells: Vec<_> = (0..heads.len())
            .map(|column| spread_cell(&results.figures(case, contender, column)))
            .collect();
        line(text, &format!("| {contender} | {} |", cells.join(" | ")));
    }
}

fn line(text: &mut String, line: &str) {
    // Writing to a String does not fail.
    let _ = writeln!(text, "{line}");
}

#[cfg(test)]
mod tests {
    use anyhow::{Result, bail};

    use super::super::result::Turn;
    use super::super::work::{Column, Measured, TestBed};
    use super::*;
    use crate::machine::Machine;

    struct Nothing([String; 2]);

    impl Work for Nothing {
        fn name(&self) -> &'static str {
            "nothing"
        }
        fn title(&self) -> String {
            "Nothing".into()
        }
        fn conditions(&self) -> Vec<String> {
            vec!["in a void".into()]
        }
        fn cases(&self) -> &[String] {
            &self.0
        }
        fn columns(&self) -> &[Column] {
            &[
                Column {
                    name: "time",
                    unit: "ms",
                },
                Column {
                    name: "failed",
                    unit: "",
                },
            ]
        }
        fn measure(&self, _: usize, _: &TestBed<'_, '_>) -> Result<Measured> {
            bail!("there is nothing to measure")
        }
    }

    #[test]
    fn medians_and_spread_of_each_case() {
        let work = Nothing(["idle".into(), "busy".into()]);
        let mut results = Results::new(
            Machine::here(std::path::Path::new("deploy/lab")),
            &work,
            7,
            3,
        );
        for (round, time) in [0.5, 12.34, 2.0].into_iter().enumerate() {
            let turn = Turn::Measured(vec![Some(time), Some(0.0)]);
            results.add(round as u16, Contender::SpliceXdp, 0, Ok(turn));
        }
        results.add(
            0,
            Contender::Kernel,
            0,
            Ok(Turn::Measured(vec![None, Some(250.0)])),
        );
        results.add(0, Contender::Synproxy, 1, Err(anyhow::anyhow!("it broke")));
        results.add(
            0,
            Contender::Local,
            1,
            Ok(Turn::Skipped("not available yet".into())),
        );
        let text = markdown(&results, &work);
        let idle = "### idle\n\n| contender | time, ms | failed |\n|---|---:|---:|
| kernel | – | 250 |\n| splice-xdp | 2.00 (0.50 to 12.3) | 0 |\n";
        let busy = "### busy\n\n| contender | time, ms | failed |\n|---|---:|---:|
| synproxy | – | – |\n";
        assert!(text.contains(idle) && text.contains(busy), "{text}");
        assert!(
            text.contains("- local: not measured: not available yet\n"),
            "{text}"
        );
        assert!(!text.contains("- splice-afxdp"), "it had no turn: {text}");
        assert!(
            text.contains("  - 1 failed with busy, the first: it broke\n"),
            "{text}"
        );
        assert_eq!(results.failed(), 1);
        assert!(results.is_skipped(Contender::Local));
    }
}
