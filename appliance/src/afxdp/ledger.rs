//! Who holds each frame.
//!
//! Between two states a frame is moved by exactly one call, and the call checks that it was where
//! it should have been. So a descriptor that the kernel or a driver reports twice, or never got, is
//! refused instead of becoming a second [`Frame`](super::Frame) for the same bytes, and
//! [`FrameAccount`] can show at any moment that no frame is lost.

/// Where one frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Holder {
    /// At home: nobody uses it.
    Nobody,
    /// Given to the kernel to receive into: fill ring, driver, or RX ring.
    Receiver,
    /// A [`Frame`](super::Frame) token exists for it.
    Engine,
    /// To be sent: local batch, TX ring, driver, or completion ring.
    Transmitter,
}

/// How many frames are where. The sum is always the number of frames in the UMEM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FrameAccount {
    /// At home, ready to be filled or allocated.
    pub free: u32,
    /// Given to the kernel to receive into.
    pub fill: u32,
    /// Held by the engine as [`Frame`](super::Frame)s.
    pub held: u32,
    /// On their way out.
    pub transmit: u32,
}

impl FrameAccount {
    /// The sum, which must be the number of frames in the UMEM.
    pub fn total(&self) -> u32 {
        self.free + self.fill + self.held + self.transmit
    }
}

/// One byte a frame.
#[derive(Debug)]
pub(super) struct Ledger {
    holders: Box<[Holder]>,
}

impl Ledger {
    /// Every frame at home.
    pub(super) fn new(frames: u32) -> Self {
        Ledger {
            holders: vec![Holder::Nobody; frames as usize].into(),
        }
    }

    /// Moves frame `index` from one holder to another; false, and nothing moved, if it was not
    /// there.
    #[inline]
    pub(super) fn pass(&mut self, index: usize, from: Holder, to: Holder) -> bool {
        match self.holders.get_mut(index) {
            Some(holder) if *holder == from => {
                *holder = to;
                true
            }
            _ => false,
        }
    }

    /// Counts all frames, one by one.
    pub(super) fn account(&self) -> FrameAccount {
        let mut account = FrameAccount::default();
        for holder in &self.holders {
            *match holder {
                Holder::Nobody => &mut account.free,
                Holder::Receiver => &mut account.fill,
                Holder::Engine => &mut account.held,
                Holder::Transmitter => &mut account.transmit,
            } += 1;
        }
        account
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_moves_only_from_where_it_is() {
        let mut ledger = Ledger::new(4);
        assert!(ledger.pass(2, Holder::Nobody, Holder::Receiver));
        assert!(
            !ledger.pass(2, Holder::Nobody, Holder::Receiver),
            "given to the kernel twice"
        );
        assert!(ledger.pass(2, Holder::Receiver, Holder::Engine));
        assert!(
            !ledger.pass(2, Holder::Receiver, Holder::Engine),
            "delivered twice"
        );
        assert!(
            !ledger.pass(1, Holder::Transmitter, Holder::Nobody),
            "completed, but never sent"
        );
        assert!(
            !ledger.pass(4, Holder::Nobody, Holder::Receiver),
            "outside the UMEM"
        );
        let account = ledger.account();
        assert_eq!(
            account,
            FrameAccount {
                free: 3,
                fill: 0,
                held: 1,
                transmit: 0
            }
        );
        assert_eq!(account.total(), 4);
    }
}
