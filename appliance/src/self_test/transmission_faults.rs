//! Faults of transmission while the appliance serves: frames that XDP keeps losing, and sockets whose driver completes nothing.
//!
//! A full queue loses frames too, so one loss is no fault. It is one if frames are lost in three rounds one after another, with
//! an error that no full queue gives or with half of all frames lost.

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

use synward_core::queue_set::QueueSet;
use synward_core::transmit_failure::{FailureKey, cause, way};

/// Rounds with losses that make a fault.
const ROUNDS: u32 = 3;
/// An interface that is down is a fault of its own (`steering::interface_watch`).
const DOWN: u32 = libc::ENETDOWN as u32;
/// How long a driver may take to complete a frame.
const COMPLETION: Duration = Duration::from_secs(1);

/// A loss, by interface, way and errno.
type Loss = (u32, u32, u32);

/// What a socket has transmitted at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketState {
    /// Index of the interface.
    pub interface: u32,
    /// The queue.
    pub queue: u32,
    /// Frames completed since the start.
    pub transmitted: u64,
    /// Frames that the driver has not completed.
    pub outstanding: u32,
    /// Whether it is in zero-copy mode.
    pub zero_copy: bool,
    /// When its worker looked.
    pub at: Instant,
}

impl SocketState {
    /// What is wrong if nothing is completed, with the cure. `name` is that of the interface.
    fn fault(&self, name: &str) -> String {
        let cure = if self.zero_copy {
            format!("set zero_copy of {name} to \"off\"")
        } else {
            // In copy mode a frame is complete when the kernel has freed its packet.
            format!("look for what holds its packets (`ethtool -S {name}`, `tc -s qdisc`)")
        };
        format!(
            "the driver of {name} does not complete the frames that the socket of queue {} sent, so XDP answers the SYNs there, \
             and the socket is opened again, at most once a minute: if it happens again, {cure}",
            self.queue
        )
    }
}

/// A socket with frames outstanding, as its worker has seen it. The control thread's own clock does not matter: if the machine or
/// the worker stops, the worker's last report stays as it is.
#[derive(Clone, Copy, Debug)]
struct Stall {
    transmitted: u64,
    since: Instant,
    latest: Instant,
}

impl Stall {
    fn is_fault(&self) -> bool {
        self.latest.duration_since(self.since) > COMPLETION
    }
}

/// Keeps what was seen in the rounds before.
#[derive(Debug, Default)]
pub struct TransmissionFaults {
    lost: BTreeMap<Loss, u64>,
    /// Rounds with losses, one after another.
    rounds: BTreeMap<Loss, u32>,
    /// By interface and queue: since when the count of completed frames has been the same with frames outstanding.
    stalled: BTreeMap<(u32, u32), Stall>,
    sent: u64,
}

impl TransmissionFaults {
    /// One round: `lost` are the frames lost since the start, `sent` the frames that the XDP program has sent since then.
    /// Returns the faults, with their cures. `name` gives an interface its name, `can_send` tells whether its link is up.
    pub fn renew(
        &mut self,
        lost: &BTreeMap<FailureKey, u64>,
        sent: u64,
        sockets: &[SocketState],
        name: impl Fn(u32) -> String,
        can_send: impl Fn(u32) -> bool,
    ) -> Vec<String> {
        let mut faults = self.lost(lost, sent, &name);
        faults.extend(self.stalled(sockets, &name, can_send));
        faults
    }

    /// Forgets what was seen of a socket that is closed.
    pub fn forget(&mut self, interface: u32, queue: u32) {
        self.stalled.remove(&(interface, queue));
    }

    fn lost(
        &mut self,
        lost: &BTreeMap<FailureKey, u64>,
        sent: u64,
        name: &impl Fn(u32) -> String,
    ) -> Vec<String> {
        let sent_now = sent.wrapping_sub(self.sent);
        self.sent = sent;
        let mut faults = Vec::new();
        for (key, count) in lost {
            // Full rings of sockets have counters of their own.
            if !matches!(key.way, way::REDIRECT | way::TRANSMIT) || key.errno == DOWN {
                continue;
            }
            let loss = (key.interface, key.way, key.errno);
            let lost_now = count - self.lost.insert(loss, *count).unwrap_or(0);
            let rounds = self.rounds.entry(loss).or_default();
            if lost_now > 0 && (!is_sporadic(key.errno) || lost_now >= sent_now / 2) {
                *rounds += 1;
            } else if sent_now > 0 {
                *rounds = 0;
            }
            if *rounds >= ROUNDS {
                let name = name(key.interface);
                faults.push(format!(
                    "{name} does not transmit frames of XDP ({}): restart synward, whose self-test finds a mode that works",
                    errno_text(key.errno)
                ));
            }
        }
        faults.dedup();
        faults
    }

    fn stalled(
        &mut self,
        sockets: &[SocketState],
        name: &impl Fn(u32) -> String,
        can_send: impl Fn(u32) -> bool,
    ) -> Vec<String> {
        let mut faults = Vec::new();
        self.stalled.retain(|place, _| {
            let mut known = sockets.iter();
            known.any(|one| (one.interface, one.queue) == *place)
        });
        for socket in sockets {
            let place = (socket.interface, socket.queue);
            if socket.outstanding == 0 {
                self.stalled.remove(&place);
                continue;
            }
            let anew = Stall {
                transmitted: socket.transmitted,
                since: socket.at,
                latest: socket.at,
            };
            let stall = self.stalled.entry(place).or_insert(anew);
            stall.latest = socket.at;
            if stall.transmitted != socket.transmitted {
                *stall = anew;
            } else if stall.is_fault() {
                if !can_send(socket.interface) {
                    // That is a fault of its own, and the driver gets its time when the link is up again.
                    *stall = anew;
                    continue;
                }
                faults.push(socket.fault(&name(socket.interface)));
            }
        }
        faults
    }

    /// The queues that are stalled, by index of the interface.
    pub fn stalled_queues(&self) -> BTreeMap<u32, QueueSet> {
        let mut stalled = BTreeMap::<u32, QueueSet>::new();
        for ((interface, queue), stall) in &self.stalled {
            if stall.is_fault() {
                stalled.entry(*interface).or_default().insert(*queue);
            }
        }
        stalled
    }
}

/// Whether an interface that works gives this errno now and then: its queue is full, or a frame is too long for it.
fn is_sporadic(errno: u32) -> bool {
    const SPORADIC: [i32; 6] = [
        libc::EMSGSIZE,
        libc::ENOSPC,
        libc::EBUSY,
        libc::ENOBUFS,
        libc::EAGAIN,
        libc::ENOMEM,
    ];
    matches!(errno, cause::DROPPED_BY_DRIVER | cause::EXCEPTION)
        || SPORADIC.contains(&(errno as i32))
}

/// An errno of a lost frame, for people.
pub(super) fn errno_text(errno: u32) -> String {
    match errno {
        cause::DROPPED_BY_DRIVER => "its driver drops them".to_owned(),
        cause::EXCEPTION => {
            "its driver or another XDP program drops them after the verdict".to_owned()
        }
        errno => io::Error::from_raw_os_error(errno as i32).to_string(),
    }
}

/// An errno of a lost frame, as a label of metrics.
pub fn errno_label(errno: u32) -> String {
    match errno {
        cause::DROPPED_BY_DRIVER => "none".to_owned(),
        cause::EXCEPTION => "exception".to_owned(),
        errno => errno.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rounds of a second, with the totals of lost and sent frames in each. Returns whether there was a fault in each.
    fn rounds(errno: i32, totals: &[(u64, u64)]) -> Vec<bool> {
        let mut watched = TransmissionFaults::default();
        let key = FailureKey {
            interface: 3,
            errno: errno as u32,
            way: way::REDIRECT,
            ..FailureKey::default()
        };
        let fault = |(lost, sent): &(u64, u64)| {
            let lost = BTreeMap::from([(key, *lost)]);
            let name = |_| "in0".to_owned();
            let faults = watched.renew(&lost, *sent, &[], name, |_| true);
            !faults.is_empty()
        };
        totals.iter().map(fault).collect()
    }

    #[test]
    fn errors_in_three_rounds_are_a_fault_until_frames_leave_again() {
        let totals = [(1, 1000), (2, 2000), (3, 3000), (3, 3000), (3, 3001)];
        assert_eq!(
            rounds(libc::EOPNOTSUPP, &totals),
            [false, false, true, true, false]
        );
        let with_gaps = [(1, 10), (1, 20), (2, 30), (3, 40), (3, 50)];
        assert_eq!(rounds(libc::ENXIO, &with_gaps), [false; 5]);
    }

    #[test]
    fn a_full_queue_is_a_fault_only_if_half_of_all_frames_are_lost() {
        let few = [(100, 1000), (200, 2000), (300, 3000), (400, 4000)];
        assert_eq!(rounds(libc::ENOSPC, &few), [false; 4]);
        let many = [(600, 1000), (1200, 2000), (1800, 3000), (1900, 4000)];
        assert_eq!(rounds(0, &many), [false, false, true, false]);
    }

    #[test]
    fn self_tests_and_full_sockets_are_no_faults() {
        let mut watched = TransmissionFaults::default();
        for count in 1..10 {
            let lost = [way::SELF_TEST, way::SOCKET].map(|way| {
                let key = FailureKey {
                    way,
                    errno: libc::ENXIO as u32,
                    ..FailureKey::default()
                };
                (key, count)
            });
            let (name, can_send) = (|_| String::new(), |_| true);
            let faults = watched.renew(&lost.into(), 0, &[], name, can_send);
            assert_eq!(faults, [""; 0]);
        }
    }

    /// A socket, and what is seen of it after milliseconds.
    struct Watched {
        faults: TransmissionFaults,
        began: Instant,
        socket: SocketState,
        link: bool,
    }

    impl Watched {
        fn new() -> Self {
            Self {
                faults: TransmissionFaults::default(),
                began: Instant::now(),
                socket: SocketState {
                    interface: 2,
                    queue: 201,
                    transmitted: 0,
                    outstanding: 0,
                    zero_copy: true,
                    at: Instant::now(),
                },
                link: true,
            }
        }

        /// The faults, and the queues that are stalled.
        fn round(
            &mut self,
            milliseconds: u64,
            transmitted: u64,
            outstanding: u32,
        ) -> (String, BTreeMap<u32, QueueSet>) {
            self.round_with(&[SocketState {
                transmitted,
                outstanding,
                at: self.began + Duration::from_millis(milliseconds),
                ..self.socket
            }])
        }

        fn round_with(&mut self, sockets: &[SocketState]) -> (String, BTreeMap<u32, QueueSet>) {
            let name = |_| "out0".to_owned();
            let link = self.link;
            let none = BTreeMap::new();
            let faults = self.faults.renew(&none, 0, sockets, name, |_| link);
            (faults.join("; "), self.faults.stalled_queues())
        }
    }

    fn nothing() -> (String, BTreeMap<u32, QueueSet>) {
        (String::new(), BTreeMap::new())
    }

    #[test]
    fn a_socket_that_completes_nothing_for_a_second_is_a_fault_and_bypassed() {
        let mut watched = Watched::new();
        assert_eq!(watched.round(0, 10, 5), nothing());
        assert_eq!(watched.round(900, 10, 6), nothing());
        let (fault, stalled) = watched.round(1100, 10, 7);
        assert_eq!(
            fault,
            "the driver of out0 does not complete the frames that the socket of queue 201 sent, so XDP answers the SYNs there, \
             and the socket is opened again, at most once a minute: if it happens again, set zero_copy of out0 to \"off\""
        );
        assert_eq!(stalled, BTreeMap::from([(2, QueueSet::from_iter([201]))]));
        assert_eq!(watched.round(1200, 11, 7), nothing(), "one was completed");
        assert_eq!(watched.round(2100, 11, 0), nothing());
    }

    #[test]
    fn in_copy_mode_the_cure_is_another_one() {
        let mut watched = Watched::new();
        watched.socket.zero_copy = false;
        watched.round(0, 10, 5);
        let (fault, _) = watched.round(1100, 10, 5);
        assert!(fault.ends_with(
            "if it happens again, look for what holds its packets (`ethtool -S out0`, `tc -s qdisc`)"
        ));
    }

    #[test]
    fn a_driver_has_a_second_from_when_the_link_is_up_again() {
        let mut watched = Watched::new();
        watched.link = false;
        watched.round(0, 10, 5);
        assert_eq!(watched.round(5000, 10, 5), nothing());
        watched.link = true;
        assert_eq!(watched.round(5900, 10, 5), nothing());
        assert_ne!(watched.round(6100, 10, 5), nothing());
    }

    /// The rounds go on, and the report is the same: the machine or the worker had stopped, and the worker has not looked since.
    #[test]
    fn an_old_report_does_not_show_what_the_driver_does_now() {
        let mut watched = Watched::new();
        for _ in 0..9 {
            assert_eq!(watched.round(0, 10, 5), nothing());
        }
        assert_eq!(watched.round(1500, 15, 0), nothing());
    }

    #[test]
    fn a_socket_that_is_gone_or_closed_is_forgotten() {
        let mut watched = Watched::new();
        watched.round(0, 10, 5);
        assert_eq!(watched.round_with(&[]), nothing());
        assert_eq!(watched.round(1200, 10, 5), nothing(), "another socket");
        assert_ne!(watched.round(2300, 10, 5), nothing());
        watched.faults.forget(2, 201);
        assert_eq!(watched.round(2400, 10, 5), nothing());
    }
}
