//! Tests the table in private memory, and compares it with a hash map.

use std::collections::HashMap;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use synward_core::flow::FREE;
use synward_core::layout::owner::NO_WORKER;
use synward_core::layout::{flow_flags, state};

use super::state_word::CLAIMED;
use super::*;
use crate::maps::Limits;
use crate::maps::clock::flow_now;

pub(super) fn table(buckets: u32) -> FlowTable {
    FlowTable::new(
        Memory::anonymous(buckets as usize * WORDS).unwrap(),
        Memory::anonymous(entries_of(buckets) as usize * WORDS).unwrap(),
        Memory::anonymous(occupancy::line_count(buckets) as usize * OCCUPANCY_WORDS).unwrap(),
        multilinear::PI,
        buckets,
    )
}

pub(super) fn key(number: u32) -> FlowKey {
    let client = Address::v4((0x0a00_0000 | number >> 12).to_be());
    FlowKey::new(
        client,
        1024 + (number & 0xfff) as u16,
        Address::v4(0xc000_0201u32.to_be()),
        443,
    )
}

pub(super) fn opening(key: FlowKey) -> Flow {
    Flow {
        key,
        sequence_delta: 17,
        client_sequence: key.ports,
        server_sequence: !key.ports,
        last_seen: flow_now(),
        state: state::OPENING,
        owner: 3,
        service: 5,
        ..Flow::default()
    }
}

/// The flow as it is in the table while it is the opening of a generation.
fn of_generation(flow: Flow, generation: u8) -> Flow {
    Flow {
        window_shift: generation as i8,
        generation,
        ..flow
    }
}

/// The look-up of the XDP program (ebpf/xdp/src/flow_lookup.rs), reimplemented.
fn found_by_program(table: &FlowTable, key: &FlowKey) -> Option<u32> {
    let place = Place::of(key.table_hash(&table.key), table.mask);
    if !is_occupied(table, place.bucket) {
        return None;
    }
    let look = |bucket: u32| {
        (0..15).find_map(|way| {
            let entry = bucket * 16 + way;
            let hit = table.tags[entry as usize].load(SeqCst) == place.tag;
            (hit && table.read(entry).key == *key).then_some(entry)
        })
    };
    look(place.bucket).or_else(
        || match table.tags[place.bucket as usize * 16 + 15].load(SeqCst) {
            0 => None,
            _ => look(place.overflow),
        },
    )
}

fn is_occupied(table: &FlowTable, bucket: u32) -> bool {
    let (line, at) = (bucket as usize / 256, bucket as usize % 256);
    table.occupancy[line * 8 + at / 64].load(SeqCst) >> (at % 64) & 1 != 0
}

pub(super) fn limits(now: FlowTime) -> Limits {
    Limits {
        now,
        idle: 100,
        closing: 10,
    }
}

#[test]
fn a_flow_lives_from_opening_to_removal() {
    let table = table(4);
    let flow = opening(key(1));
    let opened = table.insert(&flow).unwrap();
    let entry = opened.entry;
    assert_eq!(table.read(entry), of_generation(flow, 1));
    assert_eq!(table.find(&flow.key), Some(entry));
    assert_eq!(found_by_program(&table, &flow.key), Some(entry));
    assert_eq!(table.insert(&flow), Err(InsertError::Exists(entry)));
    assert_eq!(table.occupied()[5], 1);

    let found = Established {
        sequence_delta: 1,
        timestamp_delta: 2,
        client_sequence: 3,
        server_sequence: 4,
        window_shift: -3,
        client_shift: 5,
        flags: flow_flags::TIMESTAMPS,
    };
    assert!(table.establish(&opened, &found, FlowTime::from_word(77)));
    assert!(!table.establish(&opened, &found, FlowTime::from_word(78)));
    let expected = Flow {
        sequence_delta: 1,
        timestamp_delta: 2,
        client_sequence: 3,
        server_sequence: 4,
        window_shift: -3,
        flags: flow_flags::TIMESTAMPS,
        last_seen: FlowTime::from_word(77),
        state: state::ESTABLISHED,
        owner: NO_WORKER | 5,
        generation: 1,
        ..flow
    };
    assert_eq!(table.read(entry), expected);

    assert!(!table.remove(&opened), "it is no opening any more");
    assert!(table.remove_entry(entry));
    assert!(!table.remove_entry(entry), "only once");
    assert_eq!(table.find(&flow.key), None);
    assert_eq!(table.occupied(), [0; MAX_SERVICES as usize]);
}

#[test]
fn a_removed_way_is_free_after_a_whole_time_unit() {
    let table = table(1);
    let ways: Vec<_> = (0..15)
        .map(|number| table.insert(&opening(key(number))).unwrap().entry)
        .collect();
    assert_eq!(table.insert(&opening(key(99))), Err(InsertError::Full));
    table.remove_entry(ways[4]);
    let removed = table.read(ways[4]).last_seen;
    // A run of the XDP program that had found it before writes the state once more.
    table.set_state(ways[4], state::CLOSING);
    assert_eq!(table.insert(&opening(key(99))), Err(InsertError::Full));
    table.sweep(limits(removed.wrapping_add(1)), 0, 1);
    assert_eq!(table.insert(&opening(key(99))), Err(InsertError::Full));
    table.sweep(limits(removed.wrapping_add(2)), 0, 1);
    let again = table.insert(&opening(key(99))).unwrap();
    assert_eq!((again.entry, again.generation), (ways[4], 2));
}

#[test]
fn a_sweep_clears_the_occupancy_of_empty_buckets_only() {
    let table = table(512);
    let occupancy = || {
        (0..512)
            .filter(|bucket| is_occupied(&table, *bucket))
            .count()
    };
    assert_eq!(occupancy(), 0);
    let entries: Vec<_> = (0..100)
        .map(|number| table.insert(&opening(key(number))).unwrap().entry)
        .collect();
    let set = occupancy();
    assert!((50..=100).contains(&set), "{set}");
    let now = flow_now();
    table.sweep(limits(now), 0, 512);
    assert_eq!(occupancy(), set, "nothing is empty");
    for entry in &entries[1..] {
        assert!(table.remove_entry(*entry));
    }
    // The sweep frees the ways of a bucket, and then checks whether it is empty.
    table.sweep(limits(now.wrapping_add(3)), 0, 512);
    assert_eq!(occupancy(), 1);
    assert!(found_by_program(&table, &key(0)).is_some());
}

#[test]
fn only_a_closing_flow_is_reopened_and_only_once() {
    let table = table(4);
    let flow = opening(key(1));
    let first = table.insert(&flow).unwrap();
    let entry = first.entry;
    let again = Flow {
        client_sequence: 1000,
        server_sequence: 2000,
        owner: 9,
        ..flow
    };
    assert_eq!(table.reopen(entry, &again), None, "an opening");
    table.establish(&first, &Established::default(), flow.last_seen);
    assert_eq!(table.reopen(entry, &again), None, "established");
    table.set_state(entry, state::CLOSING);
    let other = opening(key(2));
    assert_eq!(table.reopen(entry, &other), None, "another flow");
    for no_entry in [u32::MAX, 15] {
        assert_eq!(table.reopen(no_entry, &again), None);
    }

    let winners: Vec<_> = thread::scope(|scope| {
        let open = || table.reopen(entry, &again);
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(open)).collect();
        let joined = threads.into_iter().map(|thread| thread.join().unwrap());
        joined.flatten().collect()
    });
    let expected = OpeningEntry {
        entry,
        worker: 9,
        generation: 2,
    };
    assert_eq!(winners, [expected]);
    assert_eq!(table.read(entry), of_generation(again, 2));

    // The XDP program was translating a segment of the old connection.
    table.set_state(entry, state::ESTABLISHED);
    assert!(!table.ensure_opening(&first), "an older opening");
    assert_eq!(table.read(entry).state, state::ESTABLISHED);
    assert!(table.ensure_opening(&expected));
    assert_eq!(table.read(entry), of_generation(again, 2));
}

/// The state word has only the low bits of a worker's number.
#[test]
fn openings_of_256_workers_are_told_apart() {
    let table = table(4);
    for worker in [0, 63, 64, 255] {
        let flow = opening(key(u32::from(worker))).owned_by(worker);
        let opened = table.insert(&flow).unwrap();
        assert_eq!(table.read(opened.entry).worker(), worker);
        for other in (0..256).filter(|other| *other != worker) {
            let stranger = OpeningEntry {
                worker: other,
                ..opened
            };
            assert!(!table.ensure_opening(&stranger) && !table.remove(&stranger));
        }
        assert!(table.remove(&opened));
    }
}

/// A worker was stopped while its opening expired, and others got its way, with the same or another flow.
#[test]
fn a_worker_that_was_stopped_changes_nothing_that_is_not_its_own() {
    for (number, owner) in [(1, 3), (1, 4), (2, 3), (2, 4)] {
        let table = table(1);
        let stopped = table.insert(&opening(key(1))).unwrap();
        (100..114).for_each(|other| assert!(table.insert(&opening(key(other))).is_ok()));
        let long_after = flow_now().wrapping_add(100);
        assert_eq!(table.sweep(limits(long_after), 0, 1).expired, 15);
        let later = Flow {
            owner,
            last_seen: long_after.wrapping_add(3),
            ..opening(key(number))
        };
        let found = Established::default();
        assert!(!table.establish(&stopped, &found, flow_now()), "retired");
        let new = loop {
            let new = table.insert(&later).unwrap();
            if new.entry == stopped.entry {
                break new;
            }
            assert!(table.remove(&new));
            table.sweep(limits(later.last_seen.wrapping_add(3)), 0, 1);
        };
        for is_established in [false, true] {
            let before = table.read(new.entry);
            assert!(!table.establish(&stopped, &found, flow_now()));
            assert!(!table.ensure_opening(&stopped));
            assert!(!table.remove(&stopped));
            assert_eq!(table.read(new.entry), before, "{number} {owner}");
            if !is_established {
                assert!(table.establish(&new, &found, later.last_seen));
            }
        }
    }
}

/// A sweep was stopped between its judgement and the removal, and the XDP program carried a segment meanwhile.
#[test]
fn a_flow_that_goes_on_is_not_removed() {
    let table = table(1);
    let flow = Flow {
        state: state::ESTABLISHED,
        ..opening(key(1))
    };
    let entry = table.insert_established(&flow).unwrap();
    let words = table.words(entry).unwrap();
    let judged = words[STATE].load(SeqCst);
    let (seen, now) = (flow.last_seen, flow.last_seen.wrapping_add(1000));
    words[LAST_SEEN].store(now.to_word(), SeqCst);
    let before = table.read(entry);
    assert!(!table.remove_judged(entry, judged, seen, now));
    assert_eq!(table.read(entry), before);
    table.set_state(entry, state::CLOSING);
    assert!(
        !table.remove_judged(entry, judged, now, now),
        "another state"
    );
    assert!(table.remove_judged(entry, words[STATE].load(SeqCst), now, now));
}

/// A hundred thousand connections a second for an hour, in a table of the default capacity, scaled to fewer buckets. Each
/// ends at once, and would stay for `closing_seconds`.
#[test]
fn closing_flows_give_way_to_new_ones() {
    const BUCKETS: u32 = 128;
    let default = buckets_for(1 << 20);
    let a_unit = 107_400 * BUCKETS / default;
    assert!(a_unit > 100, "flows in a unit of 1.07 s: {a_unit}");
    let table = table(BUCKETS);
    let start = flow_now();
    let mut number = 0;
    for unit in 0..3600 {
        let now = start.wrapping_add(unit);
        for _ in 0..a_unit {
            number += 1;
            let flow = Flow {
                state: state::CLOSING,
                last_seen: now,
                ..opening(key(number))
            };
            table.insert_established(&flow).unwrap();
        }
    }
    assert_eq!(
        table
            .insert(&Flow {
                last_seen: start.wrapping_add(3600),
                ..opening(key(0))
            })
            .map(|_| ()),
        Ok(())
    );
}

/// What is open, half-closed, or just closed does not give way.
#[test]
fn open_flows_never_give_way() {
    let table = table(1);
    let now = flow_now();
    for number in 0..15 {
        let state = [state::OPENING, state::ESTABLISHED][number as usize % 2];
        let opened = table.insert(&opening(key(number))).unwrap();
        if state == state::ESTABLISHED {
            table.establish(&opened, &Established::default(), now);
        }
    }
    let later = |units| Flow {
        last_seen: now.wrapping_add(units),
        ..opening(key(99))
    };
    for units in 0..10 {
        assert_eq!(table.insert(&later(units)), Err(InsertError::Full));
    }
    table.set_state(entry_index(0, 7), state::CLOSING);
    assert_eq!(
        table.insert(&later(1)),
        Err(InsertError::Full),
        "just closed"
    );
    assert_eq!(table.insert(&later(2)), Err(InsertError::Full), "gives way");
    assert_eq!(
        table.insert(&later(3)),
        Err(InsertError::Full),
        "may be read"
    );
    let entry = table.insert(&later(4)).unwrap().entry;
    assert_eq!(entry, entry_index(0, 7));
}

#[test]
fn a_sweep_expires_what_is_idle_and_counts_the_rest() {
    let table = table(8);
    let numbers = 0..40u32;
    let entries: Vec<_> = numbers
        .clone()
        .map(|number| table.insert(&opening(key(number))).unwrap().entry)
        .collect();
    let now = table.read(entries[0]).last_seen.wrapping_add(1000);
    for (number, entry) in numbers.zip(&entries) {
        let words = table.words(*entry).unwrap();
        table.set_state(
            *entry,
            if number % 2 == 0 {
                state::ESTABLISHED
            } else {
                state::CLOSING
            },
        );
        // 0 to 39 units over or under either limit.
        words[LAST_SEEN].store(
            now.to_word() - if number % 2 == 0 { 81 + number } else { number },
            SeqCst,
        );
    }
    let mut from = 0;
    let (mut expired, mut live) = (0, 0);
    loop {
        let swept = table.sweep(limits(now), from, 3);
        (expired, live) = (expired + swept.expired, live + swept.live[5]);
        from = swept.next;
        if from == 0 {
            break;
        }
    }
    // Idle: 101 to 119 over 100; closing: 11 to 39 over 10.
    assert_eq!(expired, 10 + 15);
    assert_eq!(live, 40 - 25);
    assert_eq!(table.occupied()[5], 15);
    // An opening stays as long as its worker may need.
    table.set_state(entries[1], state::OPENING);
    for (age, live) in [(64, 15), (65, 14)] {
        table.words(entries[1]).unwrap()[LAST_SEEN].store(now.to_word() - age, SeqCst);
        assert_eq!(table.sweep(limits(now), 0, 8).live[5], live, "{age}");
    }
    let entry = table.insert(&opening(key(99))).unwrap().entry;
    table.words(entry).unwrap()[LAST_SEEN].store(now.to_word(), SeqCst);
    // A CPU whose clock is one unit ahead of ours wrote this time.
    table.words(entries[0]).unwrap()[LAST_SEEN].store(now.to_word() + 1, SeqCst);
    assert_eq!(table.sweep(limits(now), 0, 8).live[5], 15);
}

/// The default capacity: every flow up to the capacity is inserted and found.
#[test]
fn a_million_flows_fit_into_a_capacity_of_a_million() {
    let capacity = 1 << 20;
    let table = table(buckets_for(capacity));
    for number in 0..capacity {
        table.insert(&opening(key(number))).unwrap();
    }
    for number in 0..capacity {
        assert_eq!(
            found_by_program(&table, &key(number)),
            table.find(&key(number)),
            "{number}"
        );
        assert!(table.find(&key(number)).is_some(), "{number}");
    }
    assert!((capacity..2 * capacity).all(|number| table.find(&key(number)).is_none()));
    let second_looks = (0..table.buckets())
        .filter(|bucket| table.bucket(*bucket)[OVERFLOW].load(Relaxed) > 0)
        .count();
    eprintln!(
        "{:.1} % of the buckets ask for a second look",
        second_looks as f64 * 100.0 / f64::from(table.buckets())
    );
}

/// The highest load: ten flows per bucket of fifteen ways.
#[test]
fn a_table_at_the_highest_load_holds_its_capacity() {
    let capacity = 10 << 14;
    assert_eq!(buckets_for(capacity), 1 << 14);
    let table = table(1 << 14);
    let refused = (0..capacity)
        .filter(|number| table.insert(&opening(key(*number))).is_err())
        .count();
    let second_looks = (0..table.buckets())
        .filter(|bucket| table.bucket(*bucket)[OVERFLOW].load(Relaxed) > 0)
        .count();
    eprintln!(
        "refused {refused} of {capacity}; {:.1} % second looks",
        second_looks as f64 * 100.0 / f64::from(table.buckets())
    );
    assert_eq!(refused, 0);
}

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

#[test]
fn recovers_the_table_of_a_killed_process() {
    let table = table(4);
    let entries: Vec<_> = (0..50)
        .map(|number| table.insert(&opening(key(number))).unwrap().entry)
        .collect();
    entries[..20]
        .iter()
        .for_each(|entry| table.set_state(*entry, state::ESTABLISHED));
    entries[20..30]
        .iter()
        .for_each(|entry| table.set_state(*entry, state::CLOSING));
    // Killed between claim and publication, and between the count and the publication of an overflow.
    let claimed = (0..60)
        .map(|way| entry_index(way / 15, way % 15))
        .find(|entry| table.tag(*entry).load(SeqCst) == FREE);
    table.words(claimed.unwrap()).unwrap()[STATE].store(CLAIMED, SeqCst);
    table.bucket(2)[OVERFLOW].fetch_add(1, SeqCst);

    assert_eq!(table.recover(), 30);
    assert_eq!(table.occupied()[5], 30);
    assert!((0..30).all(|number| table.find(&key(number)) == Some(entries[number as usize])));
    assert!((30..50).all(|number| table.find(&key(number)).is_none()));
    table.sweep(limits(flow_now().wrapping_add(3)), 0, 4);
    entries[..30]
        .iter()
        .for_each(|entry| assert!(table.remove_entry(*entry)));
    assert!((0..4).all(|bucket| table.bucket(bucket)[OVERFLOW].load(SeqCst) == 0));
    table.sweep(limits(flow_now().wrapping_add(3)), 0, 4);
    assert!(
        table
            .flows
            .as_chunks::<WORDS>()
            .0
            .iter()
            .all(|words| words[STATE].load(SeqCst) == 0)
    );
}
