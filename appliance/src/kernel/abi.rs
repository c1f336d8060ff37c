//! The numbers of the running kernel that the programs for local services need.
#![forbid(unsafe_code)]

use super::btf::KernelTypes;
use super::error::KernelError;
use super::kfunc;
use super::socket_fields::{SOCKET_FIELDS, socket_fields};

/// The ids and offsets of this kernel that the programs for local services need.
#[derive(Debug)]
pub struct KernelAbi {
    /// BTF id of `bpf_sk_assign_tcp_reqsk`; `None`: this kernel cannot create connections from our cookies.
    pub assign: Option<u32>,
    /// Offsets of socket fields, by the names of the globals that the programs read.
    pub fields: [(&'static str, u32); SOCKET_FIELDS.len()],
    /// Offset of `is_mptcp` in `tcp_sock`; 0 in kernels without Multipath TCP.
    pub is_mptcp: u32,
}

impl KernelAbi {
    /// Reads the types of the running kernel.
    ///
    /// # Errors
    /// The kernel has no BTF, or its sockets lack a field.
    pub fn read() -> Result<Self, KernelError> {
        let types = KernelTypes::of_kernel().map_err(|_| KernelError::NoBtf)?;
        Ok(Self {
            assign: kfunc::find_assign(&types),
            fields: socket_fields(&types).ok_or(KernelError::NoFields)?,
            is_mptcp: types.offset("tcp_sock", "is_mptcp").unwrap_or(0),
        })
    }

    /// Whether the kernel can create connections from our cookies.
    pub fn takes_connections(&self) -> bool {
        self.assign.is_some()
    }
}
