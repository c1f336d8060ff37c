//! What the XDP program says of a segment with a valid cookie.

use synward_core::client_options::ClientOptions;
use synward_core::layout::Profile;
use synward_core::worker_request::Hop;

/// The XDP program's request for a segment with a valid cookie.
#[derive(Clone, Copy, Debug)]
pub struct ValidAck {
    /// Index of the service.
    pub service: u16,
    /// The options that the client requested.
    pub options: ClientOptions,
    /// The profile of our SYN-ACK.
    pub offered: Profile,
    /// The path to the server.
    pub hop: Hop,
    /// The current epoch.
    pub epoch: u64,
}
