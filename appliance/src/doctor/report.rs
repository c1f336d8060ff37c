//! Findings as text and as JSON.

use super::finding::{Finding, Status};

/// A line for each finding, and what to do where it is not ok. The last line counts them.
pub fn text(findings: &[Finding]) -> String {
    let id = findings.iter().map(|finding| finding.id.len()).max();
    let about = findings.iter().map(|finding| subject(finding).len()).max();
    let (id, about) = (id.unwrap_or(0), about.unwrap_or(0));
    let mut text = String::new();
    for finding in findings {
        let line = format!(
            "{:4}  {:id$}  {:about$}  {}",
            finding.status.word(),
            finding.id,
            subject(finding),
            finding.what
        );
        text += line.trim_end();
        text.push('\n');
        if finding.status != Status::Ok {
            text += &format!("      why: {}\n", finding.why);
            if let Some(command) = &finding.command {
                text += &format!("      do:  {command}\n");
            }
        }
    }
    let count = |status| {
        findings
            .iter()
            .filter(|finding| finding.status == status)
            .count()
    };
    text += &format!(
        "{} ok, {} warn, {} fail\n",
        count(Status::Ok),
        count(Status::Warn),
        count(Status::Fail)
    );
    text
}

fn subject(finding: &Finding) -> &str {
    let subject = finding.interface.as_deref().or(finding.service.as_deref());
    subject.unwrap_or("-")
}

/// A list of objects.
pub fn json(findings: &[Finding]) -> serde_json::Result<String> {
    Ok(serde_json::to_string_pretty(findings)? + "\n")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn examples() -> [Finding; 2] {
        [
            Finding::new("kernel.btf", Status::Ok, "it is there", "types"),
            Finding::new("nic.lro", Status::Warn, "LRO is on", "it merges")
                .on("eth0")
                .advise("ethtool -K eth0 lro off"),
        ]
    }

    #[test]
    fn only_what_is_not_ok_is_explained() {
        assert_eq!(
            text(&examples()),
            "ok    kernel.btf  -     it is there\n\
             warn  nic.lro     eth0  LRO is on\n      why: it merges\n      do:  ethtool -K eth0 lro off\n\
             1 ok, 1 warn, 0 fail\n"
        );
    }

    #[test]
    fn json_has_the_documented_fields() {
        let parsed: serde_json::Value = serde_json::from_str(&json(&examples()).unwrap()).unwrap();
        assert_eq!(
            parsed[1],
            serde_json::json!({
                "id": "nic.lro", "interface": "eth0", "service": null, "status": "warn", "what": "LRO is on",
                "why": "it merges", "command": "ethtool -K eth0 lro off", "tune": false
            })
        );
    }
}
