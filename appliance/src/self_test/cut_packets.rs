//! Packets that arrive cut short while the appliance serves. A driver whose receive buffers are too small delivers them: small
//! requests are answered then, and large answers never arrive.

/// Of what was counted, a sixteenth is forgotten in each round of a second.
const FORGET: u64 = 16;
/// So many cut packets are a fault, unless as many times this number of whole ones are forwarded meanwhile.
const MANY: u64 = 8;

/// What arrived in the last rounds.
#[derive(Debug, Default)]
pub struct CutPackets {
    /// The totals of the last round: cut packets, and packets that the XDP program has sent.
    totals: Option<(u64, u64)>,
    cut: u64,
    sent: u64,
}

impl CutPackets {
    /// One round, with the totals since the start. Returns whether so many packets are cut that it is a fault.
    pub fn renew(&mut self, cut: u64, sent: u64) -> bool {
        let (cut_before, sent_before) = self.totals.replace((cut, sent)).unwrap_or((cut, sent));
        let add = |sum: u64, now: u64, before: u64| {
            sum - sum.div_ceil(FORGET) + now.saturating_sub(before)
        };
        self.cut = add(self.cut, cut, cut_before);
        self.sent = add(self.sent, sent, sent_before);
        self.cut >= MANY && self.cut * MANY >= self.sent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounds(totals: &[(u64, u64)]) -> Vec<bool> {
        let mut packets = CutPackets::default();
        let round = |(cut, sent): &(u64, u64)| packets.renew(*cut, *sent);
        totals.iter().map(round).collect()
    }

    #[test]
    fn a_connection_that_sends_cut_packets_again_and_again_is_a_fault() {
        // One large answer: the first window, then retransmissions that become rarer.
        let totals = [(5, 100), (16, 130), (17, 131), (18, 131), (18, 131)];
        assert_eq!(rounds(&totals), [false, true, true, true, true]);
    }

    #[test]
    fn a_few_among_many_are_none_and_a_fault_ends() {
        assert_eq!(
            rounds(&[(0, 0), (10, 1000), (20, 2000), (30, 3000)]),
            [false; 4]
        );
        let mut packets = CutPackets::default();
        packets.renew(0, 0);
        assert!(packets.renew(20, 0));
        let rounds = (0..60).position(|_| !packets.renew(20, 0));
        assert!(rounds.is_some_and(|rounds| rounds > 3), "{rounds:?}");
    }
}
