//! What only the running kernel can say about itself, for services that it serves itself.
#![forbid(unsafe_code)]

use super::btf::KernelTypes;
use super::error::KernelError;
use super::kfunc;
use super::socket_fields::{SOCKET_FIELDS, socket_fields};

/// The numbers of this kernel that the programs for local services need.
#[derive(Debug)]
pub struct KernelAbi {
    /// The number by which programs call `bpf_sk_assign_tcp_reqsk`; none in a kernel that takes no connection from us.
    pub assign: Option<u32>,
    /// Offsets that the program asks for, by the names under which it does.
    pub fields: [(&'static str, u32); SOCKET_FIELDS.len()],
    /// Where `tcp_sock` has `is_mptcp`; 0 in kernels without Multipath TCP.
    pub is_mptcp: u32,
}

impl KernelAbi {
    /// Reads the types of the running kernel.
    ///
    /// # Errors
    /// The kernel does not describe its types, or its sockets lack a field.
    pub fn read() -> Result<Self, KernelError> {
        let types = KernelTypes::of_kernel().map_err(|_| KernelError::NoBtf)?;
        Ok(Self {
            assign: kfunc::find_assign(&types),
            fields: socket_fields(&types).ok_or(KernelError::NoFields)?,
            is_mptcp: types.offset("tcp_sock", "is_mptcp").unwrap_or(0),
        })
    }

    /// Whether the kernel takes connections whose cookies are ours.
    pub fn takes_connections(&self) -> bool {
        self.assign.is_some()
    }
}
