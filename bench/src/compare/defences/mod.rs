//! The defences behind [`Contender`], a file each.

mod echo_responder;
mod filling;
mod nobody;
mod offers;
mod server_kernel;
mod synproxy;
mod synward;
mod xdp_baseline;

use self::echo_responder::Echo;
use self::nobody::Nobody;
use self::server_kernel::Kernel;
use self::synproxy::Synproxy;
use self::synward::{Place, Synward};
use self::xdp_baseline::Baseline;
use super::contender::Contender;
use super::defence::Defence;

/// The defence of a contender, not started yet.
pub(super) fn build<'a>(contender: Contender) -> Box<dyn Defence<'a> + 'a> {
    match contender {
        Contender::Nobody => Box::new(Nobody),
        Contender::Kernel => Box::new(Kernel::default()),
        Contender::KernelPass => Box::new(Kernel {
            passes: true,
            ..Kernel::default()
        }),
        Contender::Syncookies => Box::new(Kernel {
            syncookies: true,
            ..Kernel::default()
        }),
        Contender::Synproxy => Box::new(Synproxy { timestamps: false }),
        Contender::SynproxyTs => Box::new(Synproxy { timestamps: true }),
        Contender::XdpKernelCookie => Box::new(Baseline::KernelCookie { asks: true }),
        Contender::XdpKernelCookieBlind => Box::new(Baseline::KernelCookie { asks: false }),
        Contender::Bare => Box::new(Baseline::Bare),
        Contender::AfxdpEcho => Box::new(Echo::default()),
        Contender::SpliceXdp => Box::new(Synward::new(Place::Edge { responder: "xdp" })),
        Contender::SpliceAfxdp => Box::new(Synward::new(Place::Edge { responder: "afxdp" })),
        Contender::SpliceInactive => Box::new(Synward::new(Place::Inactive)),
        Contender::Local => Box::new(Synward::new(Place::Server)),
    }
}
