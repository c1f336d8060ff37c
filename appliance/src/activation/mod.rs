//! Whether a service is under attack: a pure decision, ten times a second, from the totals of its counters.
//!
//! The control thread feeds each service's [`Detector`] (`run::attack_watch`). A service with mode `auto` challenges its
//! clients while it is under attack. With `always` and `monitor` the decision is only reported.
//!
//! | file | idea |
//! |---|---|
//! | [`detector`] | the state machine: when an attack begins and ends |
//! | [`address_detectors`] | which of a service's addresses are under attack, or all |
//! | [`listener_pressure`] | whether listeners of this machine had no room, and no attack explains it |
//! | [`thresholds`] | the rates at which it does, configured or in proportion to what is normal |
//! | `normal_rate` | what a service normally sees |
//! | `rate_window` | rates over the last half second |

#![forbid(unsafe_code)]

pub mod address_detectors;
pub mod detector;
pub mod listener_pressure;
mod normal_rate;
mod rate_window;
pub mod thresholds;

pub use address_detectors::{AddressDetectors, Changed};
pub use detector::{Attack, Change, Detector, KeptAttack, Seen};
pub use listener_pressure::ListenerPressure;
pub use rate_window::{Rates, Totals};
