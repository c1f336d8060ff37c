//! Runs that are killed at each of their steps.

use std::cell::Cell;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use super::{Machine, mtu, offload, step, wanted};
use crate::tune::apply::{Output, apply, undo};
use crate::tune::record::Record;

/// Runs `work` with the stored record, which it loads and stores as a run does, and kills it after this number of steps: a record
/// is about to be stored or was, a line is printed, a command is about to run or has run.
fn killed_after(
    steps: u32,
    machine: &mut Machine,
    stored: &mut Record,
    work: impl FnOnce(&mut Record, &mut Machine, &mut Output<'_>) -> anyhow::Result<usize>,
) -> Ended {
    let left = Rc::new(Cell::new(steps));
    machine.steps = Some(Rc::clone(&left));
    let mut lines = Steps(Rc::clone(&left));
    let mut record = stored.clone();
    let mut save = |new: &Record| {
        step(&left);
        *stored = new.clone();
        step(&left);
        Ok(())
    };
    let mut output = Output {
        lines: &mut lines,
        save: &mut save,
    };
    let run = || work(&mut record, machine, &mut output);
    let ended = catch_unwind(AssertUnwindSafe(run));
    machine.steps = None;
    match ended {
        Ok(failed) => Ended::Itself(failed.unwrap()),
        Err(_) => Ended::Killed,
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Ended {
    Itself(usize),
    Killed,
}

/// A pipe whose reader counts.
struct Steps(Rc<Cell<u32>>);

impl io::Write for Steps {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        step(&self.0);
        Ok(())
    }
}

#[test]
fn a_run_that_is_killed_at_any_moment_is_undone() {
    let changes = wanted(&[(offload("rx-checksum"), "off"), (mtu(), "1499")]);
    let others = wanted(&[(mtu(), "1400"), (offload("rx-lro"), "off")]);
    let mut kills = 0;
    for first in 0.. {
        let (mut machine, mut stored) = (Machine::new(), Record::default());
        let ended = killed_after(
            first,
            &mut machine,
            &mut stored,
            |record, machine, output| apply(&changes, record, machine, output),
        );
        let first_run = (machine.values.clone(), stored.clone());
        // Another run, which may find other faults, and an undo; each may be killed, too.
        for second in 0.. {
            machine.values.clone_from(&first_run.0);
            stored.clone_from(&first_run.1);
            let again = killed_after(
                second,
                &mut machine,
                &mut stored,
                |record, machine, output| apply(&others, record, machine, output),
            );
            let second_run = (machine.values.clone(), stored.clone());
            for third in 0.. {
                machine.values.clone_from(&second_run.0);
                stored.clone_from(&second_run.1);
                let undone = killed_after(third, &mut machine, &mut stored, undo);
                let at = format!("killed at {first}, {second} and {third}");
                let is_fine = matches!(undone, Ended::Killed | Ended::Itself(0));
                assert!(is_fine, "{at}: {stored:#?}");
                kills += 1;
                let last = killed_after(99, &mut machine, &mut stored, undo);
                assert_eq!(last, Ended::Itself(0), "{at}: {:#?}", machine.values);
                assert_eq!(machine.values, Machine::new().values, "{at}");
                assert!(stored.entries.is_empty(), "{at}");
                if undone != Ended::Killed {
                    break;
                }
            }
            if again != Ended::Killed {
                break;
            }
        }
        if ended != Ended::Killed {
            break;
        }
    }
    assert!(kills > 200, "{kills}");
}
