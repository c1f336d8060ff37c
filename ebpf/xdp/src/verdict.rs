//! What a stage decides: an action for the kernel, or a decision that the caller acts on.
//!
//! A stage that is a subprogram of its own returns one number, and cannot send the reply itself: all frames of a call
//! chain share 512 bytes of stack. Its caller compares the number with the constants below.

/// `XDP_*` of include/uapi/linux/bpf.h, or one of the internal verdicts below.
pub type Verdict = u32;

/// The internal verdicts. One enumeration numbers them all, so no two are equal; none is an `XDP_*` action (0 to 4).
#[repr(u32)]
enum Internal {
    ExpiredCookie = 100,
    InvalidCookie,
    NeedsCookie,
    BehindAck,
    ReplayedCookie,
    SendReply,
    UncheckedCookie,
    RefusedCookie,
    ValidCookie,
    GeneralPath,
    Forwarded,
    FromServer,
    NoWorker,
    OverShare,
    NoService,
}

/// The cookie is valid, but older than a cookie may be.
pub const EXPIRED_COOKIE: Verdict = Internal::ExpiredCookie as Verdict;
/// The ACK carries no cookie of ours.
pub const INVALID_COOKIE: Verdict = Internal::InvalidCookie as Verdict;
/// No socket owns the segment: the client has to show a valid cookie before a listener gets it.
pub const NEEDS_COOKIE: Verdict = Internal::NeedsCookie as Verdict;
/// The segment carries no cookie, and came right behind the ACK that completed its handshake: it follows that ACK.
pub const BEHIND_ACK: Verdict = Internal::BehindAck as Verdict;
/// The cookie is valid, and its handshake has had its connection.
pub const REPLAYED_COOKIE: Verdict = Internal::ReplayedCookie as Verdict;
/// The reply is made and the caller has to send it.
pub const SEND_REPLY: Verdict = Internal::SendReply as Verdict;
/// The cookie was not checked, because too many wrong ones came before.
pub const UNCHECKED_COOKIE: Verdict = Internal::UncheckedCookie as Verdict;
/// The service refuses cookies without timestamps.
pub const REFUSED_COOKIE: Verdict = Internal::RefusedCookie as Verdict;
/// The cookie is valid, and a worker has to open the connection.
pub const VALID_COOKIE: Verdict = Internal::ValidCookie as Verdict;
/// The packet is counted as forwarded, and the caller has to forward it.
pub const FORWARDED: Verdict = Internal::Forwarded as Verdict;
/// The fast path does not decide about this frame: the general path does.
pub const GENERAL_PATH: Verdict = Internal::GeneralPath as Verdict;
/// The segment is of a flow whose server is the sender, although its receiver is protected too.
pub const FROM_SERVER: Verdict = Internal::FromServer as Verdict;

/// No worker serves the queue. The frame may have metadata or a front by now.
pub const NO_WORKER: Verdict = Internal::NoWorker as Verdict;
/// The client has used up its share of what a worker takes.
pub const OVER_SHARE: Verdict = Internal::OverShare as Verdict;
/// The frame belongs to no service: the program behind decides, if there is one ([`next`](crate::next)).
pub const NO_SERVICE: Verdict = Internal::NoService as Verdict;

/// What became of an ACK at TC that may carry a cookie. The kernel's own answer is 0 or a negative error number, so
/// these are positive.
#[repr(i32)]
enum Unassigned {
    NoCookie = 1,
    Replayed,
    Overtaking,
    StaleConnection,
}

/// The segment carries no valid cookie, or no listener takes it.
pub const NO_COOKIE: i32 = Unassigned::NoCookie as i32;
/// The handshake has had its connection, which is over.
pub const REPLAYED: i32 = Unassigned::Replayed as i32;
/// The handshake was assigned a moment ago, and TCP may not have seen that yet.
pub const OVERTAKING: i32 = Unassigned::Overtaking as i32;
/// An older connection has these addresses and ports.
pub const STALE_CONNECTION: i32 = Unassigned::StaleConnection as i32;
