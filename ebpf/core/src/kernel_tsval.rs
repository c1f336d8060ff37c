//! The options that Linux encodes in TSval of its own SYN cookies (`cookie_init_timestamp`, net/ipv4/syncookies.c).
//!
//! The ISN of such a cookie holds no option but the MSS. The low six bits of TSval hold the others and come back as TSecr.
//! With `net.ipv4.tcp_timestamps=2` the kernel's timestamp clock is the milliseconds since boot. With 1 the kernel adds an
//! offset for each pair of addresses that only it knows, so nobody else can encode options there.

/// Mask of the client's window shift, and its value for no window scaling.
const NO_SCALE: u32 = 15;
const SACK: u32 = 1 << 4;
const ECN: u32 = 1 << 5;
/// Mask of the bits that hold options.
const OPTION_BITS: u32 = 0x3f;

/// TSval of a SYN-ACK whose ISN is the kernel's cookie: the latest time, not after `milliseconds`, whose low six bits are
/// the negotiated options. `scale` is the client's window shift.
#[inline(always)]
pub const fn cookie_tsval(milliseconds: u32, scale: Option<u8>, sack: bool, ecn: bool) -> u32 {
    let scale = match scale {
        Some(scale) => scale as u32 & NO_SCALE,
        None => NO_SCALE,
    };
    let options = scale | if sack { SACK } else { 0 } | if ecn { ECN } else { 0 };
    let tsval = milliseconds & !OPTION_BITS | options;
    if tsval.wrapping_sub(milliseconds) as i32 > 0 {
        tsval.wrapping_sub(OPTION_BITS + 1)
    } else {
        tsval
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tsval_is_at_most_63_ms_behind_and_never_ahead() {
        for now in [0u32, 1, 63, 64, 1_000_000, u32::MAX - 1, u32::MAX] {
            for (scale, sack, ecn, options) in [
                (Some(7), true, false, 0b01_0111),
                (Some(0), false, true, 0b10_0000),
                (Some(14), true, true, 0b11_1110),
                (None, false, false, 0b00_1111),
            ] {
                let made = cookie_tsval(now, scale, sack, ecn);
                assert_eq!(made & OPTION_BITS, options);
                assert!(now.wrapping_sub(made) < 64, "{made} at {now}");
            }
        }
    }
}
