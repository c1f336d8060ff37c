//! What a flood did, as text and as JSON.

use serde::Serialize;

use super::flood_options::Kind;

/// What a flood did.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) kind: Kind,
    pub(super) sent: u64,
    pub(super) syns: u64,
    pub(super) acks: u64,
    pub(super) seconds: f64,
    pub(super) pps: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) answers: Option<Answers>,
}

/// Frames that came back to the flood's sources.
#[derive(Debug, Default, PartialEq, Serialize)]
pub(super) struct Answers {
    pub(super) syn_ack: u64,
    pub(super) rst: u64,
    pub(super) ack: u64,
    pub(super) other: u64,
    /// SYN-ACKs that were acknowledged.
    pub(super) acknowledged: u64,
}

/// Prints the report as text.
pub(super) fn print(report: &Report) {
    println!(
        "sent {} segments ({} SYN, {} ACK) in {:.2} s: {:.3} Mpps",
        report.sent,
        report.syns,
        report.acks,
        report.seconds,
        report.pps / 1e6
    );
    if let Some(answers) = &report.answers {
        let Answers {
            syn_ack,
            rst,
            ack,
            other,
            acknowledged,
        } = answers;
        println!(
            "answers: {syn_ack} SYN-ACK ({acknowledged} acknowledged), {rst} RST, {ack} ACK, {other} other"
        );
    }
}
