//! Finds the figures of each contender for the page in the results.
//!
//! Names of cases and columns are those of bench/src/compare.

use super::archive::{Archive, Run};
use crate::compare::Contender;
use crate::spread::Spread;

pub(super) const SYNS: &str = "SYNs at full speed";
pub(super) const ACKS: &str = "ACKs of no connection at full speed";
pub(super) const ACKS_MANY: &str =
    "ACKs of no connection at full speed, a million connections open";
pub(super) const IDLE: &str = "no flood";
const FULL: &str = "flood at full speed";
pub(super) const BY_RST: &str = "each closed by a RST";
pub(super) const BY_FIN: &str = "each closed by FINs";
pub(super) const BEST: &str = "bulk, each at its best";
pub(super) const EQUAL: &str = "bulk, offloads equalised";
const PACKETS: &str = "one connection's packets at full speed";

/// CPU time of an answered SYN, ns.
pub(super) fn answered(archive: &Archive, contender: Contender) -> Option<Spread> {
    let run = archive.answer.as_ref()?;
    run.figure(SYNS, contender, &["lab's tasks, an answer"])
}

/// Thousand SYNs answered per second, with the CPU time that the generator leaves.
pub(super) fn answers(archive: &Archive, contender: Contender) -> Option<Spread> {
    archive
        .answer
        .as_ref()?
        .figure(SYNS, contender, &["SYN-ACKs"])
}

/// CPU time of a segment in a case of `answer`, ns.
pub(super) fn segment(archive: &Archive, contender: Contender, case: &str) -> Option<Spread> {
    let run = archive.answer.as_ref()?;
    run.figure(case, contender, &["lab's tasks, a segment"])
}

/// CPU time of a forwarded packet of an established connection, ns.
pub(super) fn packet(archive: &Archive, contender: Contender) -> Option<Spread> {
    let run = archive.carry.as_ref()?;
    run.figure(PACKETS, contender, &["lab's tasks, a packet"])
}

/// Gbit/s of a bulk transfer: "down" or "up".
pub(super) fn bulk(
    archive: &Archive,
    contender: Contender,
    case: &str,
    way: &str,
) -> Option<Spread> {
    archive.carry.as_ref()?.figure(case, contender, &[way])
}

/// Connections per second.
pub(super) fn rate(archive: &Archive, contender: Contender, case: &str) -> Option<Spread> {
    archive
        .rate
        .as_ref()?
        .figure(case, contender, &["connections"])
}

/// MiB of the program and its maps under a flood of SYNs.
pub(super) fn memory(archive: &Archive, contender: Contender) -> Option<f64> {
    let run = archive.answer.as_ref()?;
    let of = |column| Some(run.figure(SYNS, contender, &[column])?.median);
    Some(of("program")? + of("its maps")?)
}

/// The greatest flood under which no connection needed a second SYN.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct LossFree {
    /// Thousand SYNs of the flood that arrived per second.
    pub(super) rate: f64,
    /// No greater flood was tried: the limit was not reached.
    pub(super) unlimited: bool,
}

/// The floods of a sweep, ascending.
pub(super) fn floods(run: &Run) -> Vec<&str> {
    let mut cases = run.cases();
    cases.sort_by(|a, b| nominal(a).total_cmp(&nominal(b)));
    cases
}

/// The rate in a case's name.
fn nominal(case: &str) -> f64 {
    match case {
        IDLE => 0.0,
        FULL => f64::INFINITY,
        _ => {
            let mut words = case.split_whitespace();
            words.find_map(|word| word.parse().ok()).unwrap_or(f64::NAN)
        }
    }
}

/// A flood's name on an axis.
pub(super) fn short(case: &str) -> String {
    match nominal(case) {
        0.0 => "none".into(),
        rate if rate.is_infinite() => "full speed".into(),
        rate => format!("{}k", rate / 1e3),
    }
}

/// `None` if it was not measured; rate 0 if connections needed a second SYN without any flood.
pub(super) fn loss_free(archive: &Archive, contender: Contender) -> Option<LossFree> {
    let run = archive.sweep.as_ref()?;
    let of = |case: &str, column| Some(run.figure(case, contender, &[column])?.median);
    let mut found = LossFree {
        rate: 0.0,
        unlimited: false,
    };
    of(IDLE, "succeeded")?;
    for case in floods(run) {
        // A request that stalls later, as with SYNPROXY, is not caused by the flood.
        if of(case, "SYNs sent again").is_none_or(|again| again > 0.0) {
            return Some(found);
        }
        // Less than was sent if the receive queue overflows.
        found.rate = found.rate.max(of(case, "arrived").unwrap_or(0.0));
    }
    found.unlimited = true;
    Some(found)
}

/// Percentile ("p50", "p99", "p99.9") of the time until "connected" or "answered", ms.
pub(super) fn latency(
    run: &Run,
    case: &str,
    contender: Contender,
    until: &str,
    percentile: &str,
) -> Option<Spread> {
    let first = format!("{until} p50");
    match percentile {
        "p50" => run.figure(case, contender, &[&first]),
        _ => run.figure(case, contender, &[&first, percentile]),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::archive::tests::run;
    use super::*;

    #[test]
    fn the_loss_free_rate_is_below_the_first_loss() {
        let columns = ["arrived", "succeeded", "SYNs sent again"];
        let flood = "flood of 100000 SYN/s";
        let archive = |again: f64| Archive {
            sweep: Some(run(
                &columns,
                &[
                    (Contender::Local, FULL, &[900.0, 100.0, again]),
                    (Contender::Local, flood, &[99.0, 100.0, 0.0]),
                    (Contender::Local, IDLE, &[0.0, 100.0, 0.0]),
                ],
            )),
            ..Archive::default()
        };
        let found = loss_free(&archive(1.0), Contender::Local).unwrap();
        assert_eq!((found.rate, found.unlimited), (99.0, false));
        let found = loss_free(&archive(0.0), Contender::Local).unwrap();
        assert_eq!((found.rate, found.unlimited), (900.0, true));
        assert_eq!(loss_free(&archive(0.0), Contender::Kernel), None);
    }

    #[test]
    fn floods_rise() {
        let run = run(
            &["arrived"],
            &[
                (Contender::Local, FULL, &[1.0]),
                (Contender::Local, "flood of 100000 SYN/s", &[1.0]),
                (Contender::Local, IDLE, &[1.0]),
                (Contender::Local, "flood of 25000 SYN/s", &[1.0]),
            ],
        );
        let floods: Vec<_> = floods(&run).into_iter().map(short).collect();
        assert_eq!(floods, ["none", "25k", "100k", "full speed"]);
    }
}
