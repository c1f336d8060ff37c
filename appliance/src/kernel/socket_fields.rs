//! Offsets of the socket fields that the programs read (ebpf/xdp/src/kernel_socket.rs). aya does not relocate field
//! accesses of programs written in Rust.
#![forbid(unsafe_code)]

use super::btf::KernelTypes;

/// The fields that the programs read: the global that holds the offset, the structure, its member. A member of a member follows
/// behind a dot, with the structure that it is in.
pub const SOCKET_FIELDS: [(&str, &str, &str); 7] = [
    ("SK_ACK_BACKLOG", "sock", "sk_ack_backlog"),
    ("SK_MAX_ACK_BACKLOG", "sock", "sk_max_ack_backlog"),
    ("TCP_SND_UNA", "tcp_sock", "snd_una"),
    ("TCP_SND_NXT", "tcp_sock", "snd_nxt"),
    ("TCP_RCV_NXT", "tcp_sock", "rcv_nxt"),
    ("TW_RCV_NXT", "sock_common", "skc_tw_rcv_nxt"),
    (
        "ICSK_QLEN",
        "inet_connection_sock",
        "icsk_accept_queue.request_sock_queue.qlen",
    ),
];

/// The offsets of [`SOCKET_FIELDS`] in a kernel, bytes; `None`: a field is missing.
pub fn socket_fields(types: &KernelTypes) -> Option<[(&'static str, u32); SOCKET_FIELDS.len()]> {
    let mut found = SOCKET_FIELDS.map(|(name, ..)| (name, 0));
    for (found, (_, structure, member)) in found.iter_mut().zip(SOCKET_FIELDS) {
        found.1 = offset(types, structure, member)?;
    }
    Some(found)
}

fn offset(types: &KernelTypes, structure: &str, member: &str) -> Option<u32> {
    let Some((outer, inner)) = member.split_once('.') else {
        return types.offset(structure, member);
    };
    let (structure_of_inner, inner) = inner.split_once('.')?;
    Some(types.offset(structure, outer)? + offset(types, structure_of_inner, inner)?)
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
