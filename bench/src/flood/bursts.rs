//! Sends SYNs in bursts a millisecond apart, and sleeps in between.
//!
//! The generator in XDP is many times faster, but at a low rate it takes a whole core to wait for the next segment, and all
//! frames begin on one core. These come from packet sockets, one on each core, so that a system under test on the same machine
//! has most of every core.

use std::io;
use std::panic::resume_unwind;
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::flood_options::Kind;
use super::frame_fields;
use super::frame_template::Segment;
use super::generator::{Plan, Sent};
use super::prefix::Prefix;
use crate::cores::pin_to_core;
use crate::delay::packet_socket::PacketSocket;
use crate::device::Device;
use crate::interrupt::Interrupt;
use crate::order::Order;

/// Time between two bursts.
const NAP: Duration = Duration::from_millis(1);
/// After a longer pause, what was due before is sent later, not at once.
const CATCH_UP: Duration = Duration::from_millis(8);

/// A sender on each core.
pub(super) struct Bursts<'a> {
    senders: Vec<Sender<'a>>,
}

struct Sender<'a> {
    core: usize,
    socket: PacketSocket,
    template: &'a Segment,
    sources: Prefix,
    random: Order,
    pace: Pace,
}

impl<'a> Bursts<'a> {
    /// Opens the sockets.
    ///
    /// # Errors
    /// Something other than SYNs, no rate, or the kernel's refusal.
    pub(super) fn new(plan: &'a Plan, device: &Device, cores: &[usize]) -> Result<Self> {
        ensure!(
            matches!(plan.kind, Kind::Syn | Kind::Handshake),
            "--bursts-from sends SYNs only: --kind syn or handshake"
        );
        let rate = plan
            .rate
            .context("--bursts-from needs a --rate other than max")?;
        let seed = std::time::SystemTime::UNIX_EPOCH
            .elapsed()
            .unwrap_or_default()
            .as_nanos() as u64;
        let open = |(index, &core): (usize, &usize)| {
            Ok(Sender {
                core,
                socket: PacketSocket::sender(device)
                    .context("opening a packet socket failed (bench needs root)")?,
                template: &plan.syn,
                sources: plan.sources,
                // Seeds far apart: the numbers of one are not those of another a little later.
                random: Order::new(seed ^ (index as u64) << 56),
                pace: Pace::new(rate, plan.count, index as u64, cores.len() as u64),
            })
        };
        let senders = cores.iter().enumerate().map(open);
        Ok(Self {
            senders: senders.collect::<Result<_>>()?,
        })
    }

    /// Sends until the count or the time is reached, or a signal arrives.
    ///
    /// # Errors
    /// No such core, or the interface is gone.
    pub(super) fn send(self, time: Duration) -> Result<Sent> {
        let interrupt = Interrupt::new().context("handling signals failed")?;
        let start = Instant::now();
        let over = || interrupt.requested() || start.elapsed() >= time;
        let sent = thread::scope(|scope| {
            let start_one = |sender: Sender<'a>| {
                let over = &over;
                scope.spawn(move || sender.send(start, over))
            };
            let threads: Vec<_> = self.senders.into_iter().map(start_one).collect();
            let ended = threads.into_iter().map(|thread| thread.join());
            ended
                .map(|sent| sent.unwrap_or_else(|panic| resume_unwind(panic)))
                .sum::<Result<u64>>()
        })?;
        Ok(Sent {
            syns: sent,
            acks: 0,
            seconds: start.elapsed().as_secs_f64(),
        })
    }
}

impl Sender<'_> {
    fn send(mut self, start: Instant, over: &impl Fn() -> bool) -> Result<u64> {
        pin_to_core(self.core)?;
        let mut frame = self.template.bytes.clone();
        let mut sent = 0;
        while self.pace.left > 0 && !over() {
            for _ in 0..self.pace.due(start.elapsed()) {
                frame_fields::vary(&mut frame, self.template, &self.sources, &mut self.random);
                match self.socket.send(&frame) {
                    Ok(()) => sent += 1,
                    // The veth's ring is full: this one is lost, as on any link.
                    Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {}
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error).context("sending a frame failed"),
                }
            }
            sleep(NAP);
        }
        Ok(sent)
    }
}

/// When the segments of one of several senders are due.
struct Pace {
    /// Between two segments, in 1/1024 ns.
    interval: u64,
    /// When the next is due, in 1/1024 ns since the start.
    next: u64,
    /// Segments that are not yet due.
    left: u64,
}

impl Pace {
    /// Sender `index` of `senders` that together send `count` segments at `rate` per second, in turn.
    fn new(rate: u64, count: u64, index: u64, senders: u64) -> Self {
        let interval = 1024 * 1_000_000_000 * senders / rate;
        Self {
            interval: interval.max(1),
            next: interval / senders * index,
            left: count / senders + u64::from(index < count % senders),
        }
    }

    /// How many are due `now`, since the start; they count as sent.
    fn due(&mut self, now: Duration) -> u64 {
        let units = |time: Duration| time.as_nanos() as u64 * 1024;
        self.next = self.next.max(units(now.saturating_sub(CATCH_UP)));
        let Some(past) = units(now).checked_sub(self.next) else {
            return 0;
        };
        let due = (past / self.interval + 1).min(self.left);
        self.next += due * self.interval;
        self.left -= due;
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn senders_share_a_rate_and_a_count() {
        let mut senders = [0, 1, 2].map(|index| Pace::new(20_000, 30_001, index, 3));
        let mut second = |from: u64| -> u64 {
            let times = from..from + 1000;
            times
                .flat_map(|ms| {
                    senders
                        .iter_mut()
                        .map(move |sender| sender.due(MS(ms)))
                        .collect::<Vec<_>>()
                })
                .sum()
        };
        assert!((19_900..=20_000).contains(&second(0)));
        second(1000);
        assert_eq!(senders.iter().map(|sender| sender.left).sum::<u64>(), 0);
    }

    #[test]
    fn a_pause_is_not_made_up_for_at_once() {
        let mut pace = Pace::new(10_000, u64::MAX, 0, 1);
        assert_eq!(pace.due(MS(0)), 1);
        assert_eq!(pace.due(MS(1)), 10);
        assert_eq!(pace.due(MS(1)), 0);
        let burst = pace.due(MS(500));
        assert!((80..=81).contains(&burst), "{burst}");
        assert!((9..=10).contains(&pace.due(MS(501))));
    }

    #[test]
    fn the_count_ends_it() {
        let mut pace = Pace::new(1_000_000, 5, 0, 1);
        assert_eq!(pace.due(MS(3)), 5);
        assert_eq!((pace.left, pace.due(MS(9))), (0, 0));
    }
}
