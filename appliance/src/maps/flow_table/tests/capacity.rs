//! How many flows fit, and which are removed when a bucket is crowded.

use super::*;

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

/// A hundred thousand connections a second for an hour, in a table of the default capacity, scaled to fewer buckets. Each
/// ends at once, and would stay for `closing_seconds`.
#[test]
fn new_flows_replace_closing_ones() {
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

/// A flow that is open, half-closed, or just closed is not removed.
#[test]
fn open_flows_are_never_replaced() {
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
    assert_eq!(table.insert(&later(2)), Err(InsertError::Full), "removed");
    assert_eq!(
        table.insert(&later(3)),
        Err(InsertError::Full),
        "may be read"
    );
    let entry = table.insert(&later(4)).unwrap().entry;
    assert_eq!(entry, entry_index(0, 7));
}
