//! What Linux hides in the timestamps of its own SYN cookies (`cookie_init_timestamp`, net/ipv4/syncookies.c).
//!
//! Its ISN holds no option but the MSS. The rest is in the low six bits of TSval, and comes back as TSecr. With
//! `net.ipv4.tcp_timestamps=2` the kernel's clock is bare milliseconds since the machine has started; with 1 there is an
//! offset for each pair of addresses that only the kernel knows, and nobody else can hide anything there.

/// The client's window shift, in the low four bits.
const NO_SCALE: u32 = 15;
const SACK: u32 = 1 << 4;
const ECN: u32 = 1 << 5;
const HIDDEN: u32 = 0x3f;

/// TSval of a SYN-ACK whose ISN is the kernel's cookie: the latest time, not after `milliseconds`, that ends in what was
/// agreed on. `scale` is the client's window shift.
#[inline(always)]
pub const fn cookie_tsval(milliseconds: u32, scale: Option<u8>, sack: bool, ecn: bool) -> u32 {
    let scale = match scale {
        Some(scale) => scale as u32 & NO_SCALE,
        None => NO_SCALE,
    };
    let hidden = scale | if sack { SACK } else { 0 } | if ecn { ECN } else { 0 };
    let tsval = milliseconds & !HIDDEN | hidden;
    if tsval.wrapping_sub(milliseconds) as i32 > 0 {
        tsval.wrapping_sub(HIDDEN + 1)
    } else {
        tsval
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_never_ahead_and_never_far_behind() {
        for now in [0u32, 1, 63, 64, 1_000_000, u32::MAX - 1, u32::MAX] {
            for (scale, sack, ecn, hidden) in [
                (Some(7), true, false, 0b01_0111),
                (Some(0), false, true, 0b10_0000),
                (Some(14), true, true, 0b11_1110),
                (None, false, false, 0b00_1111),
            ] {
                let made = cookie_tsval(now, scale, sack, ecn);
                assert_eq!(made & HIDDEN, hidden);
                assert!(now.wrapping_sub(made) < 64, "{made} at {now}");
            }
        }
    }
}
