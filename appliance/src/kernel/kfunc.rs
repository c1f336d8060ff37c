//! Calls of kernel functions, which aya 0.14 does not relocate. To be deleted when it does.
//!
//! The program calls a number that stands for the function ([`ASSIGN_KFUNC`]). That compiles to the instruction that
//! calls a helper, with the number in it; a kernel function is called by the same instruction with another source
//! register and the function's number in the kernel's BTF (`check_kfunc_call`, kernel/bpf/verifier.c). So the object's
//! bytes are changed before aya reads them.
#![forbid(unsafe_code)]

use synward_core::layout::ASSIGN_KFUNC;

use super::btf::KernelTypes;

/// `BPF_JMP | BPF_CALL` of include/uapi/linux/bpf.h.
const CALL: u8 = 0x85;
/// `BPF_PSEUDO_KFUNC_CALL`, as source register.
const KERNEL_FUNCTION: u8 = 2 << 4;
/// Since Linux 6.9.
const ASSIGN: &str = "bpf_sk_assign_tcp_reqsk";

/// The number of the function that takes over connections; nothing if this kernel has none.
pub(super) fn find_assign(types: &KernelTypes) -> Option<u32> {
    types.function(ASSIGN)
}

/// The object with its calls of [`ASSIGN_KFUNC`] made calls of the kernel's `function`; nothing if it has none.
///
/// An instruction: code, registers, offset of 16 bits, immediate of 32 bits. Sections of code are aligned to it.
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
    fn the_call_and_nothing_else_is_replaced() {
        let mut call = [CALL, 0, 0, 0, 0, 0, 0, 0];
        call[4..].copy_from_slice(&ASSIGN_KFUNC.to_le_bytes());
        let helper = [CALL, 0, 0, 0, 99, 0, 0, 0];
        let object = [helper, call, helper].concat();
        let expected = [helper, [CALL, 0x20, 0, 0, 7, 0, 1, 0], helper].concat();
        assert_eq!(patch_calls(&object, 0x1_0007), Some(expected));
        assert_eq!(patch_calls(&helper, 7), None);
    }
}
