//! Offsets of the socket fields that the programs read (ebpf/xdp/src/kernel_socket.rs). aya does not relocate field
//! accesses of programs written in Rust.
#![forbid(unsafe_code)]

use super::btf::KernelTypes;

/// The fields that the programs read: the global that holds the offset, the structure, its member.
pub const SOCKET_FIELDS: [(&str, &str, &str); 6] = [
    ("SK_ACK_BACKLOG", "sock", "sk_ack_backlog"),
    ("SK_MAX_ACK_BACKLOG", "sock", "sk_max_ack_backlog"),
    ("TCP_SND_UNA", "tcp_sock", "snd_una"),
    ("TCP_SND_NXT", "tcp_sock", "snd_nxt"),
    ("TCP_RCV_NXT", "tcp_sock", "rcv_nxt"),
    ("TW_RCV_NXT", "sock_common", "skc_tw_rcv_nxt"),
];

/// The offsets of [`SOCKET_FIELDS`] in a kernel, bytes; `None`: a field is missing.
pub fn socket_fields(types: &KernelTypes) -> Option<[(&'static str, u32); SOCKET_FIELDS.len()]> {
    let mut found = SOCKET_FIELDS.map(|(name, ..)| (name, 0));
    for (found, (_, structure, member)) in found.iter_mut().zip(SOCKET_FIELDS) {
        found.1 = types.offset(structure, member)?;
    }
    Some(found)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_of_this_kernel_do_not_overlap() {
        let Ok(types) = KernelTypes::of_kernel() else {
            return;
        };
        let mut offsets = socket_fields(&types).unwrap().map(|(_, offset)| offset);
        offsets.sort_unstable();
        assert!(offsets[0] > 0 && offsets.windows(2).all(|pair| pair[0] + 4 <= pair[1]));
    }
}
