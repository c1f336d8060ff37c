//! Fields of the kernel's sockets that the programs read (ebpf/xdp/src/kernel_socket.rs): aya does not relocate them in
//! programs written in Rust.

use super::btf::Types;

/// Where the kernel's sockets have what the programs read: the programs' name, the structure, its member.
pub const FIELDS: [(&str, &str, &str); 6] = [
    ("SK_ACK_BACKLOG", "sock", "sk_ack_backlog"),
    ("SK_MAX_ACK_BACKLOG", "sock", "sk_max_ack_backlog"),
    ("TCP_SND_UNA", "tcp_sock", "snd_una"),
    ("TCP_SND_NXT", "tcp_sock", "snd_nxt"),
    ("TCP_RCV_NXT", "tcp_sock", "rcv_nxt"),
    ("TW_RCV_NXT", "sock_common", "skc_tw_rcv_nxt"),
];

/// The offsets of [`FIELDS`] in a kernel, bytes; nothing if it lacks one.
pub fn fields(types: &Types) -> Option<[(&'static str, u32); FIELDS.len()]> {
    let mut found = FIELDS.map(|(name, ..)| (name, 0));
    for (found, (_, structure, member)) in found.iter_mut().zip(FIELDS) {
        found.1 = types.offset(structure, member)?;
    }
    Some(found)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn this_kernel_has_them_apart() {
        let Ok(types) = Types::of_kernel() else {
            return;
        };
        let mut offsets = fields(&types).unwrap().map(|(_, offset)| offset);
        offsets.sort_unstable();
        assert!(offsets[0] > 0 && offsets.windows(2).all(|pair| pair[0] + 4 <= pair[1]));
    }
}
