//! The report in Markdown.

use std::fmt::Write as _;

use super::archive::{Archive, EngineRow, Run};
use super::claims::{self, Verdict};
use super::figures::{self, ACKS, ACKS_MANY, BEST, BY_FIN, BY_RST, EQUAL, IDLE, latency};
use crate::compare::Contender;
use crate::spread::{Spread, three_digits};

const PLOTS: [(&str, &str); 3] = [
    (
        "floods.svg",
        "Goodput and p99 of legitimate connections against the flood",
    ),
    (
        "latency.svg",
        "Percentiles until the first byte, without a flood and under one",
    ),
    ("cost.svg", "CPU time of a packet"),
];

/// A figure of the table: its heading, and how to find it.
type Cell = (&'static str, fn(&Archive, Contender) -> Option<String>);

const CELLS: [Cell; 9] = [
    ("answered SYN, ns", |archive, one| {
        let cost = figures::answered(archive, one)?;
        let than = figures::answered(archive, Contender::Synproxy);
        Some(format!("{}{}", spread(cost), times(cost, than)))
    }),
    ("answered, k/s", |archive, one| {
        let rate = figures::answers(archive, one)?;
        (rate.median > 0.0).then(|| three_digits(rate.median))
    }),
    ("bad ACK, ns", |archive, one| {
        Some(spread(figures::segment(archive, one, ACKS)?))
    }),
    ("with 1 M connections", |archive, one| {
        Some(spread(figures::segment(archive, one, ACKS_MANY)?))
    }),
    ("flood without a SYN retry, k/s arriving", |archive, one| {
        let found = figures::loss_free(archive, one)?;
        let more = if found.unlimited { "≥ " } else { "" };
        Some(format!("{more}{}", three_digits(found.rate)))
    }),
    ("connected p99 idle, ms", |archive, one| {
        let run = archive.sweep.as_ref()?;
        Some(spread(latency(run, IDLE, one, "connected", "p99")?))
    }),
    ("connections/s (RST, FIN)", |archive, one| {
        let of = |case| {
            let rate = figures::rate(archive, one, case)?;
            let than = figures::rate(archive, Contender::Kernel, case);
            Some(format!(
                "{}{}",
                three_digits(rate.median),
                times(rate, than)
            ))
        };
        let dash = || "–".to_string();
        match (of(BY_RST), of(BY_FIN)) {
            (None, None) => None,
            (rst, fin) => Some(format!(
                "{}, {}",
                rst.unwrap_or_else(dash),
                fin.unwrap_or_else(dash)
            )),
        }
    }),
    ("forwarded packet, ns", |archive, one| {
        let cost = figures::packet(archive, one)?;
        let than = figures::packet(archive, Contender::Kernel);
        Some(format!("{}{}", spread(cost), times(cost, than)))
    }),
    ("memory, MiB", |archive, one| {
        Some(three_digits(figures::memory(archive, one)?))
    }),
];

/// All of it; `plots` are those that were made.
pub(super) fn markdown(archive: &Archive, plots: &[&str]) -> String {
    let mut page = Page(String::from("# What synward costs, beside others\n\n"));
    page.line(
        "SYNs, ACKs, connections and established flows, the same for every defence, in labs of network namespaces on one \
         machine. Made by `bench report`; nothing here was written by hand.\n",
    );
    let runs = archive.runs();
    if runs.is_empty() {
        page.line("Nothing was measured yet: `target/release/bench report --run`.");
        return page.0;
    }
    page.machines(&runs);
    page.table(archive);
    for (name, meaning) in PLOTS {
        if plots.contains(&name) {
            page.line(&format!("\n![{meaning}]({name})"));
        }
    }
    page.bulk(archive);
    page.engine(archive);
    page.claims(archive);
    page.missing(archive, &runs);
    page.line("\n## Again, in one command\n");
    page.line(
        "As root, from the repository, on a machine that does nothing else (about an hour; `--quick --rounds 1` for a look):\n",
    );
    page.line("    cargo build --release && target/release/bench report --run\n");
    page.line(
        "Each comparison by itself: `bench compare answer|sweep|rate|carry --help`. Every turn of every round is in the JSON \
         files here. What each comparison did:",
    );
    for run in runs {
        page.line(&format!("\n**{}**\n", run.work));
        for condition in &run.conditions {
            page.line(&format!("- {condition}"));
        }
    }
    page.0
}

struct Page(String);

impl Page {
    fn line(&mut self, line: &str) {
        // Writing to a String does not fail.
        let _ = writeln!(self.0, "{line}");
    }

    fn machines(&mut self, runs: &[&Run]) {
        let mut told = Vec::new();
        for run in runs {
            let machine = &run.machine;
            let words = format!(
                "{}, {} cores; Linux {}; commit {}; median of {} round{}",
                machine.cpu,
                machine.cores,
                machine.release,
                machine.commit,
                run.rounds,
                if run.rounds == 1 { "" } else { "s" }
            );
            if !told.contains(&words) {
                told.push(words);
            }
        }
        for words in told {
            self.line(&format!("- {words}"));
        }
        let loads: Vec<_> = runs
            .iter()
            .map(|run| run.machine.load.to_string())
            .collect();
        self.line(&format!(
            "- load of the machine before each comparison: {}",
            loads.join(", ")
        ));
        self.line(
            "- generator on core 0, client on the last; what else there is (edge, server, interrupts) shares all cores. Links \
             are veths: figures of physical interfaces, and of AF_XDP without copies, are others\n",
        );
    }

    fn table(&mut self, archive: &Archive) {
        let heads: Vec<_> = CELLS.iter().map(|(head, _)| *head).collect();
        self.line(&format!("| | {} |", heads.join(" | ")));
        self.line(&format!("|---|{}", "---:|".repeat(CELLS.len())));
        let mut told = Vec::new();
        for contender in Contender::all() {
            let cells: Vec<_> = CELLS
                .iter()
                .map(|(_, cell)| cell(archive, contender))
                .collect();
            if cells.iter().all(Option::is_none) {
                continue;
            }
            let cells: Vec<_> = cells
                .into_iter()
                .map(|cell| cell.unwrap_or_else(|| "–".into()))
                .collect();
            self.line(&format!("| {contender} | {} |", cells.join(" | ")));
            told.push(contender);
        }
        self.line(
            "\nMedians (least to greatest); in italics, times SYNPROXY's for an answered SYN, times plain forwarding's (kernel) \
             for connections and packets. –: not measured, or nothing to measure. CPU times are of all cores, softirqs \
             included, without the generator's.\n",
        );
        for contender in &told {
            self.line(&format!("- {contender}: {}", contender.about()));
        }
        if told.contains(&Contender::Synproxy) || told.contains(&Contender::SynproxyTs) {
            self.line(
                "\nSYNPROXY's connections a second are those of one client address whose ports come round: one that comes back on a \
                 port does not get through as long as conntrack has an entry of its last connection (10 s after a RST, 120 s \
                 after FINs). From many addresses it serves more.",
            );
        }
    }

    fn bulk(&mut self, archive: &Archive) {
        let rows: Vec<_> = Contender::all()
            .into_iter()
            .filter_map(|contender| {
                let figure = |case, way| {
                    figures::bulk(archive, contender, case, way)
                        .map_or_else(|| "–".to_string(), spread)
                };
                let cells = [
                    figure(BEST, "down"),
                    figure(BEST, "up"),
                    figure(EQUAL, "down"),
                    figure(EQUAL, "up"),
                ];
                (!cells.iter().all(|cell| cell == "–"))
                    .then(|| format!("| {contender} | {} |", cells.join(" | ")))
            })
            .collect();
        if rows.is_empty() {
            return;
        }
        self.line("\n## Bulk transfers, Gbit/s\n");
        self.line("| | at its best: down | up | offloads equalised: down | up |");
        self.line("|---|---:|---:|---:|---:|");
        for row in rows {
            self.line(&row);
        }
        self.line(
            "\nBetween namespaces of one machine segmentation offload hands over 64 kB at a time, which no wire does; a defence \
             that forwards in XDP sees every packet.",
        );
    }

    fn engine(&mut self, archive: &Archive) {
        let Some(engine) = &archive.engine else {
            return;
        };
        self.line("\n## A worker's decisions, ns a frame\n");
        self.line("| | by | median | least | greatest |\n|---|---|---:|---:|---:|");
        for row in &engine.rows {
            if let Some(cost) = row.cost() {
                let [median, least, greatest] =
                    [cost.median, cost.least, cost.greatest].map(three_digits);
                let EngineRow { work, by, .. } = row;
                self.line(&format!(
                    "| {work} | {by} | {median} | {least} | {greatest} |"
                ));
            }
        }
    }

    fn claims(&mut self, archive: &Archive) {
        let claims = claims::all(archive);
        let met = |verdict| {
            claims
                .iter()
                .filter(|claim| claim.verdict == verdict)
                .count()
        };
        self.line(&format!(
            "\n## What is claimed, and what the medians say\n\n{} met, {} not met, {} not measured.\n",
            met(Verdict::Met),
            met(Verdict::NotMet),
            met(Verdict::Open)
        ));
        self.line("| claim | | figures |\n|---|---|---|");
        for claim in &claims {
            self.line(&format!(
                "| {} | {} | {} |",
                claim.text,
                claim.verdict.words(),
                claim.because
            ));
        }
    }

    fn missing(&mut self, archive: &Archive, runs: &[&Run]) {
        self.line("\n## What is missing\n");
        for (name, run) in [
            ("answer", &archive.answer),
            ("sweep", &archive.sweep),
            ("rate", &archive.rate),
            ("carry", &archive.carry),
        ] {
            if run.is_none() {
                self.line(&format!("- `bench compare {name}` was not run."));
            }
        }
        for run in runs {
            for (contender, reason) in &run.skipped {
                self.line(&format!(
                    "- {}: {contender} was not to be had: {reason}",
                    run.work
                ));
            }
            if let Some((count, contender, error)) = run.errors() {
                self.line(&format!(
                    "- {}: {count} turns failed, the first of {contender}: {}",
                    run.work,
                    error.replace('\n', " ")
                ));
            }
        }
        self.line(
            "- A million open connections in front of the kernel and of SYNPROXY: they would need the connections themselves.",
        );
        self.line(
            "- The cost of a packet where nothing forwards it on an edge: local, and the programs on the server.",
        );
    }
}

/// The median, and how far the rounds lie apart.
fn spread(spread: Spread) -> String {
    match spread.least == spread.greatest {
        true => three_digits(spread.median),
        false => format!(
            "{} ({}–{})",
            three_digits(spread.median),
            three_digits(spread.least),
            three_digits(spread.greatest)
        ),
    }
}

/// How many times another's median.
fn times(ours: Spread, theirs: Option<Spread>) -> String {
    match theirs {
        Some(theirs) if theirs.median > 0.0 => {
            format!(" *×{}*", three_digits(ours.median / theirs.median))
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::archive::tests::run;
    use super::*;

    #[test]
    fn a_page_of_nothing_says_so() {
        let page = markdown(&Archive::default(), &[]);
        assert!(page.contains("Nothing was measured yet"), "{page}");
    }

    #[test]
    fn a_page_of_little_has_its_row_and_says_what_is_missing() {
        let archive = Archive {
            answer: Some(run(
                &["lab's tasks, an answer"],
                &[
                    (Contender::SpliceXdp, figures::SYNS, &[90.0]),
                    (Contender::SpliceXdp, figures::SYNS, &[110.0]),
                    (Contender::Synproxy, figures::SYNS, &[1000.0]),
                ],
            )),
            ..Archive::default()
        };
        let page = markdown(&archive, &["cost.svg"]);
        for expected in [
            "| splice-xdp | 100 (90.0–110) *×0.10* | – |",
            "](cost.svg)",
            "`bench compare sweep` was not run",
            "A CPU, 2 cores; Linux 6.18; commit abc",
        ] {
            assert!(page.contains(expected), "no {expected} in {page}");
        }
        assert!(!page.contains("floods.svg") && !page.contains("| local |"));
    }
}
