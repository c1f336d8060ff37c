//! Many random operations: compared with a hash map, and by several threads at once.

use std::collections::HashMap;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

/// Random insertions, removals and sweeps, compared with a hash map, in a table that overflows and fills up.
#[test]
fn behaves_like_a_hash_map() {
    let table = table(4);
    let mut oracle = HashMap::new();
    let mut random = 1u64;
    let mut full = 0;
    for step in 0..200_000u32 {
        random = random
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        let number = (random >> 40) as u32 % 80;
        let key = key(number);
        match (random >> 33) % 5 {
            0..3 => match table.insert(&opening(key)) {
                Ok(opened) => assert_eq!(oracle.insert(key, opened.entry), None, "{step}"),
                Err(InsertError::Exists(entry)) => {
                    assert_eq!(oracle.get(&key), Some(&entry), "{step}")
                }
                Err(InsertError::Full) => full += 1,
            },
            3 => match oracle.remove(&key) {
                Some(entry) => assert!(table.remove_entry(entry), "{step}"),
                None => assert_eq!(table.find(&key), None, "{step}"),
            },
            _ => {
                // A sweep more than two units ahead frees what was removed, and nothing is old enough to expire.
                let swept = table.sweep(limits(flow_now().wrapping_add(3)), 0, 4);
                assert_eq!(
                    (swept.expired, swept.live[5] as usize),
                    (0, oracle.len()),
                    "{step}"
                );
            }
        }
        assert_eq!(
            found_by_program(&table, &key),
            oracle.get(&key).copied(),
            "{step}"
        );
    }
    assert!(full > 1000, "the table was full at times: {full}");
    oracle
        .values()
        .for_each(|entry| assert!(table.remove_entry(*entry)));
    for bucket in 0..4 {
        assert_eq!(table.bucket(bucket)[OVERFLOW].load(SeqCst), 0);
    }
}

/// Threads insert and remove the same few keys while one sweeps: no way is lost.
#[test]
fn concurrent_insertions_removals_and_sweeps_lose_no_way() {
    const THREADS: usize = 4;
    const INSERTIONS: u64 = 20_000;
    let table = table(4);
    let (inserted, removed) = (AtomicU64::new(0), AtomicU64::new(0));
    let start = Barrier::new(THREADS + 1);
    let running = AtomicU64::new(THREADS as u64);
    thread::scope(|scope| {
        for thread in 0..THREADS as u64 {
            let (table, start, running) = (&table, &start, &running);
            let (inserted, removed) = (&inserted, &removed);
            scope.spawn(move || {
                let mut random = thread + 1;
                start.wait();
                while inserted.load(Ordering::Relaxed) < INSERTIONS {
                    random = random
                        .wrapping_mul(6364136223846793005)
                        .wrapping_add(1442695040888963407);
                    let key = key((random >> 40) as u32 % 24);
                    match table.insert(&opening(key)) {
                        Ok(opened) => {
                            inserted.fetch_add(1, Ordering::Relaxed);
                            assert_eq!(table.read(opened.entry).key, key);
                            if table.remove(&opened) {
                                removed.fetch_add(1, Ordering::Relaxed);
                            }
                        }
                        Err(InsertError::Exists(_)) => {}
                        Err(InsertError::Full) => thread::yield_now(),
                    }
                }
                running.fetch_sub(1, Ordering::Relaxed);
            });
        }
        start.wait();
        while running.load(Ordering::Relaxed) > 0 {
            table.sweep(limits(flow_now().wrapping_add(3)), 0, 4);
        }
    });
    let (inserted, removed) = (inserted.into_inner(), removed.into_inner());
    assert_eq!(inserted, removed);
    table.sweep(limits(flow_now().wrapping_add(3)), 0, 4);
    assert!(
        table.tags.iter().all(|tag| tag.load(SeqCst) == 0),
        "all ways are free again"
    );
}

/// Several threads insert each of many keys concurrently: one succeeds, the others get an error.
#[test]
fn one_of_several_concurrent_insertions_succeeds() {
    const THREADS: usize = 4;
    // A withdrawn entry keeps its way for the time of QUARANTINE: there is room for some.
    let table = table(1 << 11);
    let start = Barrier::new(THREADS);
    let wins: u32 = thread::scope(|scope| {
        let insert = || {
            start.wait();
            (0..8000)
                .filter(|number| table.insert(&opening(key(*number))).is_ok())
                .count() as u32
        };
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(insert)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum()
    });
    assert_eq!((wins, table.occupied()[5]), (8000, 8000));
}
