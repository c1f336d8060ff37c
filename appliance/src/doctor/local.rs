//! Findings about services with `handoff = "local"`: kernel, listeners, firewall.

use super::facts::{Facts, Unread};
use super::finding::{Finding, Status};
use super::setting::{Change, Setting};

pub(super) fn findings(facts: &Facts) -> Vec<Finding> {
    if !facts.plan.local {
        return Vec::new();
    }
    let mut found = vec![kernel(facts), firewall(facts)];
    found.extend(listeners(facts));
    found
}

fn kernel(facts: &Facts) -> Finding {
    const ID: &str = "local.kernel";
    const WHY: &str = "the kernel turns the ACK of a validated client into a connection";
    match &facts.local.kernel {
        Some(error) => Finding::new(ID, Status::Fail, error, WHY),
        None => Finding::new(ID, Status::Ok, "this kernel takes validated clients", WHY),
    }
}

fn listeners(facts: &Facts) -> Vec<Finding> {
    const ID: &str = "local.listener";
    const WHY: &str = "clients of a local service are accepted by the program that listens there";
    let listeners = &facts.local.listeners;
    if listeners.is_empty() {
        let what =
            "every address and port of a local service has a listener that takes synward's clients";
        return vec![Finding::new(ID, Status::Ok, what, WHY)];
    }
    let about = |(service, what): &(String, String)| Finding {
        service: Some(service.clone()),
        ..Finding::new(ID, Status::Warn, what, WHY)
    };
    listeners.iter().map(about).collect()
}

/// Connection tracking sees no SYN of a client of a local service. With `tcp_loose` an ACK begins a connection for it, without
/// it the ACK is invalid. `synward run` tries with a segment; this only reads.
fn firewall(facts: &Facts) -> Finding {
    const ID: &str = "local.firewall";
    const LOOSE: &str = "net.netfilter.nf_conntrack_tcp_loose";
    const WHY: &str = "a firewall that drops an ACK whose SYN it has not seen drops the first segment of every validated client";
    let finding = |status, what| Finding::new(ID, status, what, WHY);
    let is_strict = facts.local.conntrack_loose == Some(0);
    let loosen = || Change {
        setting: Setting::Sysctl { key: LOOSE.into() },
        to: "1".into(),
    };
    let rules = match &facts.local.rules {
        Some(Ok(rules)) => rules.as_slice(),
        Some(Err(Unread::Failed(cause))) if is_strict => {
            let what = format!("{LOOSE} is 0, and the rules could not be read ({cause})");
            return finding(Status::Warn, what).mend(loosen());
        }
        Some(Err(Unread::Failed(cause))) => {
            let what = format!(
                "the rules could not be read ({cause}); `synward run` tries with a segment whether they let clients in"
            );
            return finding(Status::Ok, what);
        }
        Some(Err(Unread::Absent)) | None => &[],
    };
    if let Some(rule) = rules.iter().find(|rule| rule.contains("new")) {
        let what = format!(
            "a rule drops what begins a connection without a SYN (`{rule}`): accept the addresses and ports of local services \
             before it"
        );
        return finding(Status::Warn, what);
    }
    match rules.iter().find(|rule| rule.contains("invalid")) {
        Some(rule) if is_strict => {
            let what = format!("{LOOSE} is 0, and a rule drops what is invalid (`{rule}`)");
            finding(Status::Fail, what).mend(loosen())
        }
        None if is_strict => {
            let what = format!("{LOOSE} is 0, and no rule of nftables drops what is invalid");
            finding(Status::Ok, what)
        }
        _ => finding(
            Status::Ok,
            "the firewall lets such segments in, as far as its rules show".into(),
        ),
    }
}
