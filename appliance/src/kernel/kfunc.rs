//! Relocates calls of kernel functions, which aya 0.14 does not. Delete this file when aya does.
//!
//! The program calls a placeholder number ([`ASSIGN_KFUNC`]). The compiler emits the instruction that calls a helper, with
//! this number as immediate. The call of a kernel function is the same instruction with another source register and
//! the BTF id of the function as immediate (`check_kfunc_call`, kernel/bpf/verifier.c). This file rewrites the
//! instructions in the object before aya reads it.
#![forbid(unsafe_code)]

use synward_core::layout::ASSIGN_KFUNC;

use super::btf::KernelTypes;

/// `BPF_JMP | BPF_CALL` of include/uapi/linux/bpf.h.
const CALL: u8 = 0x85;
/// `BPF_PSEUDO_KFUNC_CALL`, as source register.
const KERNEL_FUNCTION: u8 = 2 << 4;
/// The kernel function that creates a connection from a cookie of ours, since Linux 6.9.
const ASSIGN: &str = "bpf_sk_assign_tcp_reqsk";

/// The BTF id of `bpf_sk_assign_tcp_reqsk`, if this kernel has it.
pub(super) fn find_assign(types: &KernelTypes) -> Option<u32> {
    types.function(ASSIGN)
}

/// Returns `object` with each call of [`ASSIGN_KFUNC`] rewritten to a call of the kernel function with BTF id `function`;
/// `None`: the object has no such call.
///
/// An instruction is an opcode, registers, an offset of 16 bits and an immediate of 32 bits: 8 bytes, to which code
/// sections are aligned.
pub fn patch_calls(object: &[u8], function: u32) -> Option<Vec<u8>> {
    let mut call = [CALL, 0, 0, 0, 0, 0, 0, 0];
    call[4..].copy_from_slice(&ASSIGN_KFUNC.to_le_bytes());
    let mut object = object.to_vec();
    let mut found = false;
    for instruction in object.chunks_exact_mut(8).filter(|bytes| **bytes == call) {
        instruction[1] = KERNEL_FUNCTION;
        instruction[4..].copy_from_slice(&function.to_le_bytes());
        found = true;
    }
    found.then_some(object)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rewrites_the_call_and_nothing_else() {
        let mut call = [CALL, 0, 0, 0, 0, 0, 0, 0];
        call[4..].copy_from_slice(&ASSIGN_KFUNC.to_le_bytes());
        let helper = [CALL, 0, 0, 0, 99, 0, 0, 0];
        let object = [helper, call, helper].concat();
        let expected = [helper, [CALL, 0x20, 0, 0, 7, 0, 1, 0], helper].concat();
        assert_eq!(patch_calls(&object, 0x1_0007), Some(expected));
        assert_eq!(patch_calls(&helper, 7), None);
    }
}
