//! The command lines of a whole report: with five rounds, about an hour.

use clap::ValueEnum as _;

use super::report_options::{Options, ReportWork};
use crate::compare::Contender;

impl ReportWork {
    fn name(self) -> &'static str {
        match self {
            Self::Answer => "answer",
            Self::Sweep => "sweep",
            Self::Rate => "rate",
            Self::Carry => "carry",
            Self::Engine => "engine",
        }
    }

    /// Options for times and floods, full or quick.
    fn extent(self, quick: bool) -> &'static [&'static str] {
        match (self, quick) {
            (Self::Answer, false) => &["--seconds", "1"],
            (Self::Answer, true) => &["--seconds", "0.2"],
            (Self::Sweep, false) => &[
                "--seconds",
                "3",
                // Three SYN retries of Linux, after 1, 3 and 7 s, and time for what is lost behind them.
                "--patience",
                "20",
                "--flood",
                "0,100k,200k,500k,1000k,max",
            ],
            (Self::Sweep, true) => &["--seconds", "0.4", "--rate", "100", "--flood", "0,5k"],
            (Self::Rate, false) => &["--seconds", "2"],
            (Self::Rate, true) => &["--seconds", "0.4", "--closed", "8", "--close", "fin"],
            (Self::Carry, false) => &["--seconds", "1.5"],
            (Self::Carry, true) => &["--seconds", "0.4"],
            (Self::Engine, false) => &["--rounds", "101"],
            (Self::Engine, true) => &["--rounds", "1", "--batches", "1"],
        }
    }
}

/// The words after `bench`, if the options select the engine.
pub(super) fn engine(options: &Options) -> Option<Vec<String>> {
    let wanted = options.works.is_empty() || options.works.contains(&ReportWork::Engine);
    wanted.then(|| {
        let mut words = vec![ReportWork::Engine.name().to_string()];
        let extent = ReportWork::Engine.extent(options.quick);
        words.extend(extent.iter().map(ToString::to_string));
        let output = options.folder.join("engine.json");
        words.extend(["--output".to_string(), output.display().to_string()]);
        words
    })
}

/// The words after `bench compare`, for each selected comparison.
pub(super) fn lines(options: &Options) -> Vec<Vec<String>> {
    let works = match options.works.as_slice() {
        [] => ReportWork::value_variants(),
        some => some,
    };
    works
        .iter()
        .filter(|work| **work != ReportWork::Engine)
        .filter_map(|work| line(*work, options))
        .collect()
}

/// `None` if no selected contender takes part in this comparison.
fn line(work: ReportWork, options: &Options) -> Option<Vec<String>> {
    let path = |path: &std::path::Path| path.display().to_string();
    let mut words = vec![work.name().to_string()];
    words.extend(work.extent(options.quick).iter().map(ToString::to_string));
    let mut add = |name: &str, value: String| words.extend([name.to_string(), value]);
    add("--rounds", options.rounds.to_string());
    add("--lab", path(&options.lab));
    add("--lab-name", options.lab_name.clone());
    let output = options.folder.join(format!("{}.json", work.name()));
    add("--output", path(&output));
    if let Some(synward) = &options.synward {
        add("--synward", path(synward));
    }
    if !options.contenders.is_empty() {
        let suited: Vec<_> = options
            .contenders
            .iter()
            .filter(|contender| work == ReportWork::Answer || contender.carries())
            .map(Contender::to_string)
            .collect();
        if suited.is_empty() {
            return None;
        }
        add("--contenders", suited.join(","));
    }
    Some(words)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    #[test]
    fn contenders_stay_out_of_what_they_cannot_do() {
        let line = ["report", "--run", "--contenders", "bare,kernel"];
        let lines = lines(&Line::try_parse_from(line).unwrap().options);
        assert_eq!(lines.len(), 4, "the engine is no comparison");
        assert!(lines[0].contains(&"bare,kernel".to_string()), "{lines:?}");
        assert!(lines[1].contains(&"kernel".to_string()), "{lines:?}");
        let line = ["report", "--run", "--contenders", "bare"];
        assert_eq!(super::lines(&Line::parse_from(line).options).len(), 1);
    }
}
