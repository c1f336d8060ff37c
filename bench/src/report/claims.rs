//! Claims about synward, checked against the figures.

use super::archive::Archive;
use super::figures::{self, BY_FIN, BY_RST, IDLE, latency, loss_free};
use crate::compare::Contender::{self, *};

/// A claim, and whether the figures support it.
pub(super) struct Claim {
    pub(super) text: String,
    pub(super) verdict: Verdict,
    /// The figures.
    pub(super) because: String,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Verdict {
    Met,
    NotMet,
    /// Not measured.
    Open,
}

impl Verdict {
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Met => "met",
            Self::NotMet => "**not met**",
            Self::Open => "not measured",
        }
    }
}

/// Checks all claims against the medians.
pub(super) fn check_claims(archive: &Archive) -> Vec<Claim> {
    let cost = |contender| Some(figures::answered(archive, contender)?.median);
    let refusal = |contender, case| Some(figures::segment(archive, contender, case)?.median);
    let packet = |contender| Some(figures::packet(archive, contender)?.median);
    let rate = |contender, case| Some(figures::rate(archive, contender, case)?.median);
    let mut claims = Vec::new();
    let mut add = |text: String, judged: Option<(bool, String)>| {
        let (verdict, because) = match judged {
            Some((true, because)) => (Verdict::Met, because),
            Some((false, because)) => (Verdict::NotMet, because),
            None => (Verdict::Open, String::new()),
        };
        claims.push(Claim {
            text,
            verdict,
            because,
        });
    };
    // Compared with the baseline without a socket look-up: splice has none, and local has none for each SYN of a flood.
    let in_xdp = XdpKernelCookieBlind;
    for synward in [SpliceXdp, Local] {
        for (baseline, name) in [(Synproxy, "SYNPROXY"), (Syncookies, "the kernel's cookies")] {
            add(
                format!(
                    "{synward}: an answered SYN costs at most a tenth of one answered by {name}"
                ),
                at_most(cost(synward), 0.1, cost(baseline), "ns"),
            );
        }
        add(
            format!(
                "{synward}: … at most as much as one answered in XDP with the kernel's cookie ({in_xdp})"
            ),
            at_most(cost(synward), 1.0, cost(in_xdp), "ns"),
        );
        add(
            format!("{synward}: … at most 1.5 times that of a bare program without a look-up"),
            at_most(cost(synward), 1.5, cost(Bare), "ns"),
        );
    }
    for (baseline, name) in [(Synproxy, "SYNPROXY"), (Syncookies, "the kernel's cookies")] {
        add(
            format!("{SpliceAfxdp}: an answered SYN costs less than one answered by {name}"),
            at_most(cost(SpliceAfxdp), 1.0, cost(baseline), "ns"),
        );
    }
    let answers = |contender| Some(figures::answers(archive, contender)?.median);
    add(
        format!("{SpliceAfxdp}: answers as many SYNs per second as the least AF_XDP program"),
        at_least(answers(SpliceAfxdp), 1.0, answers(AfxdpEcho), "k/s"),
    );
    for synward in [SpliceXdp, Local] {
        add(
            format!("{synward}: a bad ACK costs at most 1.5 answered SYNs"),
            at_most(refusal(synward, figures::ACKS), 1.5, cost(synward), "ns"),
        );
    }
    add(
        format!(
            "{SpliceXdp}: a bad ACK costs at most 3 answered SYNs with a million connections open"
        ),
        at_most(
            refusal(SpliceXdp, figures::ACKS_MANY),
            3.0,
            cost(SpliceXdp),
            "ns",
        ),
    );
    for synward in [SpliceXdp, Local] {
        for (baseline, name) in [(Synproxy, "SYNPROXY"), (Syncookies, "the kernel's cookies")] {
            add(
                format!(
                    "{synward}: no connection needs a second SYN under a flood five times that tolerated \
                     by {name}"
                ),
                five_times(archive, synward, baseline),
            );
        }
        add(
            format!(
                "{synward}: under such floods, the p99 until connected is at most twice that without a flood"
            ),
            stays_quick(archive, synward),
        );
        add(
            format!("{synward}: under every flood every request succeeds"),
            all_succeed(archive, synward),
        );
    }
    for case in [BY_RST, BY_FIN] {
        add(
            format!(
                "{SpliceXdp}: at least 60 % of plain forwarding's connections per second, {case}"
            ),
            at_least(rate(SpliceXdp, case), 0.6, rate(Kernel, case), "/s"),
        );
        add(
            format!("{Local}: as many connections per second as the plain kernel, {case}"),
            at_least(rate(Local, case), 1.0, rate(Kernel, case), "/s"),
        );
        add(
            format!(
                "{Local}: … as the kernel behind XDP programs that let everything pass, {case}"
            ),
            at_least(rate(Local, case), 1.0, rate(KernelPass, case), "/s"),
        );
    }
    add(
        format!(
            "{SpliceXdp}: a packet of an established connection costs at most as much as one forwarded by the kernel"
        ),
        at_most(packet(SpliceXdp), 1.0, packet(Kernel), "ns"),
    );
    claims
}

fn at_most(
    ours: Option<f64>,
    factor: f64,
    theirs: Option<f64>,
    unit: &str,
) -> Option<(bool, String)> {
    let (ours, theirs) = (ours?, theirs?);
    Some((ours <= factor * theirs, ratio(ours, theirs, unit)))
}

fn at_least(
    ours: Option<f64>,
    factor: f64,
    theirs: Option<f64>,
    unit: &str,
) -> Option<(bool, String)> {
    let (ours, theirs) = (ours?, theirs?);
    Some((ours >= factor * theirs, ratio(ours, theirs, unit)))
}

fn ratio(ours: f64, theirs: f64, unit: &str) -> String {
    format!(
        "{ours:.0} {unit} to {theirs:.0} {unit}: {:.2} times",
        ours / theirs
    )
}

fn five_times(archive: &Archive, ours: Contender, theirs: Contender) -> Option<(bool, String)> {
    let (ours, theirs) = (loss_free(archive, ours)?, loss_free(archive, theirs)?);
    let words = format!(
        "{:.0}k/s{} to {:.0}k/s{}",
        ours.rate,
        if ours.unlimited {
            " and perhaps more"
        } else {
            ""
        },
        theirs.rate,
        if theirs.unlimited {
            " and perhaps more"
        } else {
            ""
        }
    );
    let met = ours.rate > 0.0 && ours.rate >= 5.0 * theirs.rate && !theirs.unlimited;
    Some((met, words))
}

fn stays_quick(archive: &Archive, contender: Contender) -> Option<(bool, String)> {
    let run = archive.sweep.as_ref()?;
    let limit = loss_free(archive, contender)?.rate;
    let p99 = |case: &str| Some(latency(run, case, contender, "connected", "p99")?.median);
    let idle = p99(IDLE)?;
    let worst = figures::floods(run)
        .into_iter()
        .filter(|case| {
            let flood = run.figure(case, contender, &["arrived"]);
            flood.is_some_and(|flood| flood.median <= limit)
        })
        .filter_map(p99)
        .fold(idle, f64::max);
    let words = format!("{idle:.2} ms idle, at most {worst:.2} ms up to {limit:.0}k/s");
    Some((worst <= 2.0 * idle, words))
}

fn all_succeed(archive: &Archive, contender: Contender) -> Option<(bool, String)> {
    let run = archive.sweep.as_ref()?;
    let shares: Vec<_> = figures::floods(run)
        .into_iter()
        .filter_map(|case| Some(run.figure(case, contender, &["succeeded"])?.least))
        .collect();
    let least = shares.into_iter().reduce(f64::min)?;
    Some((
        least >= 100.0,
        format!("at least {least:.2} % in every round"),
    ))
}

#[cfg(test)]
mod tests {
    use super::super::archive::tests::run;
    use super::super::figures::SYNS;
    use super::*;

    #[test]
    fn a_claim_is_judged_by_figures_alone() {
        let archive = Archive {
            answer: Some(run(
                &["lab's tasks, an answer"],
                &[
                    (SpliceXdp, SYNS, &[100.0]),
                    (Synproxy, SYNS, &[1000.0]),
                    (Bare, SYNS, &[60.0]),
                ],
            )),
            ..Archive::default()
        };
        let claims = check_claims(&archive);
        let verdicts: Vec<_> = claims[..4].iter().map(|claim| claim.verdict).collect();
        // SYNPROXY, the kernel's cookies, in XDP with them, the bare program.
        let expected = [Verdict::Met, Verdict::Open, Verdict::Open, Verdict::NotMet];
        assert_eq!(verdicts, expected);
        assert!(claims[0].because.contains("0.10 times"));
        let claims = check_claims(&Archive::default());
        assert!(claims.iter().all(|claim| claim.verdict == Verdict::Open));
    }
}
