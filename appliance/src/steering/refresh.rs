//! What the control thread renews while the program runs: the clock, keys, and what it knows of this machine and its neighbours.

use synward_core::layout::{cookies, handoff, key_slot};

use super::error::{SteeringError, map_failed};
use super::fill;
use super::handle::Steering;
use crate::kernel;
use crate::maps::{Plain, Times};

/// Nanoseconds of drift from the wall clock below which the clock is not written.
const DRIFT: u64 = 10_000_000;

impl Steering {
    /// Updates the clock and the keys of the program. Call it several times per epoch (32 s). It is cheap if nothing is due.
    ///
    /// # Errors
    /// The kernel refuses the write.
    pub fn refresh(&mut self, now: &Times) -> Result<(), SteeringError> {
        let keys = &mut self.object.keys;
        self.keys
            .fill(now.epoch(), |service, slot| {
                keys.set(key_slot(service, slot.epoch), Plain(slot), 0)
            })
            .map_err(map_failed("KEYS"))?;
        self.expire_keys(now.epoch())?;
        self.endpoints.offer_pending(now.epoch() + 1)?;

        let clock = now.clock();
        let drift = clock.epoch_start.wrapping_sub(self.clock.epoch_start) as i64;
        if clock.epoch != self.clock.epoch || drift.unsigned_abs() > DRIFT {
            // A reader may see one field changed and the other not. Its epoch is then off by one, which every cookie
            // check tolerates.
            self.object
                .clock
                .set(0, Plain(clock), 0)
                .map_err(map_failed("CLOCK"))?;
            self.clock = clock;
        }
        Ok(())
    }

    /// Reads whether the kernel's cookies can carry options (`net.ipv4.tcp_timestamps`), and writes changes to the services.
    /// It is cheap if nothing has changed.
    ///
    /// # Errors
    /// The kernel refuses the write.
    pub fn refresh_kernel_clock(&mut self) -> Result<(), SteeringError> {
        let times = if kernel::has_bare_clock() {
            cookies::TIMES
        } else {
            0
        };
        for index in 0..self.services.len() {
            let mut service = self.services[index];
            if service.handoff == handoff::LOCAL && service.cookies & cookies::TIMES != times {
                service.cookies ^= cookies::TIMES;
                self.write_service(index as u32, service)?;
            }
        }
        Ok(())
    }

    /// Follows the MTUs of links and routes towards clients: SYN-ACKs promise no larger MSS than fits through them. It is cheap if
    /// they are the same as before.
    ///
    /// # Errors
    /// The kernel cannot list its interfaces or refuses a write.
    pub fn follow_client_mtus(&mut self) -> Result<(), SteeringError> {
        let links = kernel::links().map_err(SteeringError::Netlink)?;
        self.client_ways.renew(self.interfaces.iter(), &links);
        let (bound, object) = (self.client_ways.bound(), &mut self.object);
        let is_new = self
            .endpoints
            .bound_mss(bound, |ports| fill::add_ports(object, ports))?;
        if is_new {
            tracing::info!(%bound, "largest MSS that SYN-ACKs promise");
        }
        Ok(())
    }

    /// Leaves the addresses that this machine has now out of the services whose prefixes hold them, and refuses them as
    /// sources. It is cheap if they are the same as before.
    ///
    /// # Errors
    /// The kernel cannot list the addresses or refuses a write.
    pub fn renew_own_addresses(&mut self) -> Result<(), SteeringError> {
        let own = kernel::own_addresses().map_err(SteeringError::Netlink)?;
        let object = &mut self.object;
        self.own_sources
            .renew(&own, &mut object.own_sources, &mut object.source_filter)?;
        self.endpoints
            .leave_out(own, |changes| fill::change_prefixes(object, changes))
    }

    /// Has the kernel resolve and confirm the neighbours that the XDP program sends to. Call it several times a second. It is
    /// cheap if nothing is due.
    ///
    /// # Errors
    /// The kernel cannot list neighbours, or the process may not have them resolved. It is not tried again then.
    pub fn keep_next_hops(&mut self) -> Result<(), SteeringError> {
        let mut services = self.services.iter();
        if services.all(|one| one.handoff == handoff::LOCAL) {
            return Ok(());
        }
        let interfaces = &self.interfaces;
        let is_steered = |index| interfaces.iter().any(|one| one.index == index);
        self.next_hops.keep(&mut self.object.unresolved, is_steered)
    }
}
