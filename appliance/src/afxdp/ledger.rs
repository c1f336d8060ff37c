//! The owner of each frame.
//!
//! Exactly one call moves a frame from one owner to another, and it checks the previous owner. So a
//! descriptor that the kernel or a driver reports twice, or was never given, is rejected instead of
//! becoming a second [`Frame`](super::Frame) for the same bytes. [`FrameAccount`] can show at any time
//! that no frame is lost.

/// The owner of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Holder {
    /// Free.
    Free,
    /// Given to the kernel for reception: in the fill ring, the driver, or the RX ring.
    Receiver,
    /// The engine: a [`Frame`](super::Frame) token exists for it.
    Engine,
    /// Being sent: in the backlog, the TX ring, the driver, or the completion ring.
    Transmitter,
}

/// Number of frames per owner. The sum is always the number of frames in the UMEM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FrameAccount {
    /// Free, ready to be given to the fill ring or allocated.
    pub free: u32,
    /// Given to the kernel for reception.
    pub fill: u32,
    /// Held by the engine as [`Frame`](super::Frame)s.
    pub held: u32,
    /// Being sent.
    pub transmit: u32,
}

impl FrameAccount {
    /// The sum, which must equal the number of frames in the UMEM.
    pub fn total(&self) -> u32 {
        self.free + self.fill + self.held + self.transmit
    }
}

/// One byte per frame.
#[derive(Debug)]
pub(super) struct Ledger {
    holders: Box<[Holder]>,
}

impl Ledger {
    /// Creates a ledger in which every frame is free.
    pub(super) fn new(frames: u32) -> Self {
        Ledger {
            holders: vec![Holder::Free; frames as usize].into(),
        }
    }

    /// Moves frame `index` from owner `from` to owner `to`. Returns false, and moves nothing, if `from` does not
    /// own it.
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
                Holder::Free => &mut account.free,
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
    fn a_frame_moves_only_from_its_current_owner() {
        let mut ledger = Ledger::new(4);
        assert!(ledger.pass(2, Holder::Free, Holder::Receiver));
        assert!(
            !ledger.pass(2, Holder::Free, Holder::Receiver),
            "given to the kernel twice"
        );
        assert!(ledger.pass(2, Holder::Receiver, Holder::Engine));
        assert!(
            !ledger.pass(2, Holder::Receiver, Holder::Engine),
            "delivered twice"
        );
        assert!(
            !ledger.pass(1, Holder::Transmitter, Holder::Free),
            "completed, but never sent"
        );
        assert!(
            !ledger.pass(4, Holder::Free, Holder::Receiver),
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
