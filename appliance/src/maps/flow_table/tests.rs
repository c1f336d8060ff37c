//! Tests the table in private memory: here, the life of one entry.

mod capacity;
mod many_operations;
mod sweeps;

use std::thread;

use synward_core::layout::owner::NO_WORKER;
use synward_core::layout::{flow_flags, state};

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
