//! Runs the table's operations in random orders of their accesses. Each access is atomic and sequentially consistent here; what
//! weaker orders allow beyond that is not modelled.

use std::sync::Arc;

use synward_core::flow::{FREE, OVERFLOW, RETIRED};
use synward_core::flow_time::FlowTime;
use synward_core::layout::state;

use super::tests::{key, limits, opening, table};
use super::*;
use crate::maps::atomics::run_models;
use crate::maps::clock::flow_now;

/// Orders in which each model is tried.
const ITERATIONS: usize = 200;

/// Runs the functions concurrently, and returns their results in this order.
fn concurrently<T: Send + 'static>(
    functions: impl IntoIterator<Item = Box<dyn FnOnce() -> T + Send>>,
) -> Vec<T> {
    let threads: Vec<_> = functions.into_iter().map(shuttle::thread::spawn).collect();
    threads
        .into_iter()
        .map(|thread| thread.join().unwrap())
        .collect()
}

fn inserter(
    table: &Arc<FlowTable>,
    flow: Flow,
) -> Box<dyn FnOnce() -> Result<OpeningEntry, InsertError> + Send> {
    let table = Arc::clone(table);
    Box::new(move || table.insert(&flow))
}

/// After everything was removed and swept, nothing is left.
fn assert_empty(table: &FlowTable) {
    table.sweep(limits(flow_now().wrapping_add(3)), 0, table.buckets());
    for bucket in 0..table.buckets() {
        assert_eq!(table.bucket(bucket)[OVERFLOW].load(SeqCst), 0);
        for entry in (0..WAYS as u32).map(|way| entry_index(bucket, way)) {
            assert_eq!(table.tag(entry).load(SeqCst), FREE);
            assert_eq!(table.words(entry).unwrap()[STATE].load(SeqCst), 0);
        }
    }
}

#[test]
fn one_of_the_concurrent_insertions_of_a_key_succeeds() {
    run_models(ITERATIONS, || {
        let table = Arc::new(table(2));
        let results = concurrently((0..3).map(|_| inserter(&table, opening(key(1)))));
        let opened: Vec<_> = results.iter().flatten().collect();
        assert_eq!(opened.len(), 1, "{results:?}");
        assert!(
            results
                .iter()
                .flat_map(|result| result.err())
                .all(|error| matches!(error, InsertError::Exists(_)))
        );
        assert_eq!(table.find(&key(1)), Some(opened[0].entry));
        assert_eq!(table.occupied()[5], 1);
        assert!(table.remove(opened[0]));
        assert_empty(&table);
    });
}

/// Workers insert and remove in a bucket that has one way left, while the control thread sweeps it.
#[test]
fn an_opening_stays_its_owners_until_that_removes_it() {
    run_models(ITERATIONS, || {
        let table = Arc::new(table(1));
        let others: Vec<_> = (10..24)
            .map(|number| table.insert(&opening(key(number))).unwrap())
            .collect();
        let worker = |number| {
            let table = Arc::clone(&table);
            Box::new(move || {
                // What is removed now may be used again from now + 2 on.
                let flow = Flow {
                    last_seen: flow_now().wrapping_add(3),
                    ..opening(key(number))
                };
                for _ in 0..2 {
                    if let Ok(opened) = table.insert(&flow) {
                        assert_eq!(table.read(opened.entry).key, flow.key);
                        assert!(table.ensure_opening(&opened));
                        assert_eq!(table.read(opened.entry).key, flow.key);
                        assert!(table.remove(&opened));
                    }
                }
            }) as Box<dyn FnOnce() + Send>
        };
        let control = Arc::clone(&table);
        let sweep: Box<dyn FnOnce() + Send> = Box::new(move || {
            control.sweep(limits(flow_now().wrapping_add(3)), 0, 1);
        });
        concurrently([worker(1), worker(2), sweep]);
        others
            .iter()
            .for_each(|opened| assert!(table.remove(opened)));
        assert_empty(&table);
    });
}

/// A worker is stopped until its opening has expired, and another one has its way.
#[test]
fn a_late_worker_changes_nothing_of_the_next_flow() {
    run_models(ITERATIONS, || {
        let table = Arc::new(table(1));
        let start = flow_now();
        let late = table.insert(&opening(key(1))).unwrap();
        for number in 10..24 {
            table.insert(&opening(key(number))).unwrap();
        }
        let expiry = start.wrapping_add(200);
        let control = Arc::clone(&table);
        let sweep: Box<dyn FnOnce() -> bool + Send> =
            Box::new(move || control.sweep(limits(expiry), 0, 1).expired > 0);
        let next = Arc::clone(&table);
        let insert: Box<dyn FnOnce() -> bool + Send> = Box::new(move || {
            let flow = Flow {
                last_seen: expiry.wrapping_add(QUARANTINE),
                owner: 4,
                ..opening(key(2))
            };
            let Ok(opened) = next.insert(&flow) else {
                return false;
            };
            let found = next.read(opened.entry);
            assert_eq!((found.key, found.state), (flow.key, state::OPENING));
            assert!(next.ensure_opening(&opened), "it is still its owner's");
            true
        });
        let worker = Arc::clone(&table);
        let establish: Box<dyn FnOnce() -> bool + Send> = Box::new(move || {
            let found = Established {
                sequence_delta: 99,
                ..Established::default()
            };
            worker.establish(&late, &found, expiry)
        });
        let results = concurrently([sweep, insert, establish]);
        let owner_of_key = |number| table.find(&key(number)).map(|entry| table.read(entry));
        if results[2] {
            assert_eq!(
                owner_of_key(1).map(|flow| (flow.state, flow.sequence_delta)),
                Some((state::ESTABLISHED, 99))
            );
        }
        if results[1] {
            assert_eq!(owner_of_key(2).map(|flow| flow.sequence_delta), Some(17));
        }
        assert!(!(results[1] && late.entry == table.find(&key(2)).unwrap() && results[2]));
    });
}

/// Two workers reopen a closing flow, while the control thread expires it.
#[test]
fn one_of_reopening_and_expiry_gets_a_closing_flow() {
    run_models(ITERATIONS, || {
        let table = Arc::new(table(1));
        let closing = Flow {
            state: state::CLOSING,
            ..opening(key(1))
        };
        let entry = table.insert_established(&closing).unwrap();
        let reopen = |owner| {
            let table = Arc::clone(&table);
            Box::new(move || {
                let flow = Flow {
                    owner,
                    ..opening(key(1))
                };
                let opened = table.reopen(entry, &flow);
                opened.is_some_and(|opened| {
                    assert!(table.ensure_opening(&opened));
                    true
                })
            }) as Box<dyn FnOnce() -> bool + Send>
        };
        let control = Arc::clone(&table);
        let sweep: Box<dyn FnOnce() -> bool + Send> = Box::new(move || {
            // Older than a closing flow may be, not older than an opening.
            control
                .sweep(limits(flow_now().wrapping_add(20)), 0, 1)
                .expired
                > 0
        });
        let results = concurrently([reopen(3), reopen(4), sweep]);
        assert_eq!(results.iter().filter(|won| **won).count(), 1, "{results:?}");
        assert_eq!(table.find(&key(1)).is_some(), !results[2]);
    });
}

/// A way that was removed a moment ago is not freed by a sweep that began when its previous flow had been removed long ago.
#[test]
fn a_sweep_frees_no_way_before_its_time() {
    run_models(ITERATIONS, || {
        let table = Arc::new(table(1));
        let now = flow_now();
        let old = table.insert(&opening(key(1))).unwrap();
        for number in 10..24 {
            table.insert(&opening(key(number))).unwrap();
        }
        assert!(table.remove(&old));
        let long_ago = FlowTime::from_word(now.to_word().wrapping_sub(10));
        table.words(old.entry).unwrap()[LAST_SEEN].store(long_ago.to_word(), SeqCst);
        let worker = Arc::clone(&table);
        let insert_and_remove: Box<dyn FnOnce() -> bool + Send> = Box::new(move || {
            let opened = worker.insert(&opening(key(2)));
            opened.is_ok_and(|opened| worker.remove(&opened))
        });
        let control = Arc::clone(&table);
        let sweep: Box<dyn FnOnce() -> bool + Send> = Box::new(move || {
            control.sweep(limits(now), 0, 1);
            false
        });
        let removed_now = concurrently([insert_and_remove, sweep])[0];
        if removed_now {
            assert_eq!(table.tag(old.entry).load(SeqCst), RETIRED);
        }
    });
}
