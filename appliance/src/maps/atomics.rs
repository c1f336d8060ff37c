//! The atomics of the flow table.
//!
//! In tests, a model may run threads one access at a time, in an order that shuttle chooses ([`run_models`]): then each access
//! of an atomic is a point at which another thread may go on. shuttle's own atomics cannot lie in mapped memory.
#![forbid(unsafe_code)]

#[cfg(not(test))]
pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64, fence};

#[cfg(test)]
pub(crate) use scheduled::{AtomicU32, AtomicU64, fence, run_models};

#[cfg(test)]
mod scheduled {
    use std::cell::Cell;
    use std::sync::atomic::Ordering;

    thread_local! {
        /// Whether this thread runs a model. All threads of a model are coroutines of one thread.
        static IN_MODEL: Cell<bool> = const { Cell::new(false) };
    }

    /// Runs a model in `iterations` orders of accesses in which threads alternate often, and in as many in which each thread
    /// runs for long and stops at a few random points.
    pub(crate) fn run_models(iterations: usize, model: impl Fn() + Send + Sync + Copy + 'static) {
        const STOPS: usize = 3;
        IN_MODEL.set(true);
        shuttle::check_random(model, iterations);
        shuttle::check_pct(model, iterations, STOPS);
        IN_MODEL.set(false);
    }

    fn let_others_run() {
        if IN_MODEL.get() {
            // An access of an atomic of shuttle's own.
            shuttle::sync::atomic::AtomicBool::new(false).load(Ordering::SeqCst);
        }
    }

    pub(crate) fn fence(order: Ordering) {
        std::sync::atomic::fence(order);
    }

    macro_rules! scheduled {
        ($name:ident, $integer:ty) => {
            #[derive(Debug, Default)]
            #[repr(transparent)]
            pub(crate) struct $name(std::sync::atomic::$name);

            #[allow(dead_code)]
            impl $name {
                pub(crate) fn load(&self, order: Ordering) -> $integer {
                    let_others_run();
                    self.0.load(order)
                }

                pub(crate) fn store(&self, value: $integer, order: Ordering) {
                    let_others_run();
                    self.0.store(value, order);
                }

                pub(crate) fn compare_exchange(
                    &self,
                    old: $integer,
                    new: $integer,
                    success: Ordering,
                    failure: Ordering,
                ) -> Result<$integer, $integer> {
                    let_others_run();
                    self.0.compare_exchange(old, new, success, failure)
                }

                pub(crate) fn compare_exchange_weak(
                    &self,
                    old: $integer,
                    new: $integer,
                    success: Ordering,
                    failure: Ordering,
                ) -> Result<$integer, $integer> {
                    let_others_run();
                    self.0.compare_exchange_weak(old, new, success, failure)
                }

                pub(crate) fn fetch_add(&self, value: $integer, order: Ordering) -> $integer {
                    let_others_run();
                    self.0.fetch_add(value, order)
                }

                pub(crate) fn fetch_sub(&self, value: $integer, order: Ordering) -> $integer {
                    let_others_run();
                    self.0.fetch_sub(value, order)
                }

                pub(crate) fn fetch_or(&self, value: $integer, order: Ordering) -> $integer {
                    let_others_run();
                    self.0.fetch_or(value, order)
                }

                pub(crate) fn fetch_and(&self, value: $integer, order: Ordering) -> $integer {
                    let_others_run();
                    self.0.fetch_and(value, order)
                }
            }
        };
    }

    scheduled!(AtomicU32, u32);
    scheduled!(AtomicU64, u64);
}
