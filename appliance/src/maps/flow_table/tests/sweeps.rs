//! What a sweep removes and counts, and what is left of a process that was killed.

use synward_core::flow::FREE;

use super::*;
use crate::maps::flow_table::state_word::CLAIMED;

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

/// Its receiver may have ignored the RST, and both ends may be silent for long.
#[test]
fn a_flow_that_a_reset_may_not_have_ended_stays_like_an_open_one() {
    use flow_flags::{CLIENT_FIN, RESET, SERVER_FIN, UNSURE};
    let table = table(8);
    let now = flow_now();
    let every = [
        RESET,
        RESET | UNSURE,
        RESET | UNSURE | CLIENT_FIN | SERVER_FIN,
    ];
    for (number, flags) in every.into_iter().enumerate() {
        let flow = Flow {
            state: state::CLOSING,
            flags,
            last_seen: now,
            ..opening(key(number as u32))
        };
        table.insert_established(&flow).unwrap();
    }
    for (age, live) in [(10, 3), (11, 1), (100, 1), (101, 0)] {
        let limits = limits(now.wrapping_add(age));
        assert_eq!(table.sweep(limits, 0, 8).live[5], live, "{age}");
    }
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
