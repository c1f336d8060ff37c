//! Makes the changes, and undoes them.
//!
//! A run may be killed at any moment. What a command changes is therefore recorded before it runs ([`Entry::under_way`]), and
//! what it has changed is looked up afterwards, by the next run if need be ([`settle`]).

use std::io::{self, Write};

use anyhow::Context as _;

use super::record::{Entry, Record};
use super::system::System;
use crate::doctor::{Change, Setting};

/// A change, and the id of the finding that it mends.
pub(super) type Wanted = (&'static str, Change);

/// Of output that is closed or full.
pub(super) const CANNOT_PRINT: &str = "cannot write to stdout";

/// Where a run prints its commands and stores its record.
pub(super) struct Output<'a> {
    /// Commands, and comments with a `#`.
    pub lines: &'a mut dyn Write,
    /// Stores the record.
    pub save: &'a mut dyn FnMut(&Record) -> anyhow::Result<()>,
}

impl Output<'_> {
    /// Prints a line, or says what cannot be written.
    fn tell(&mut self, text: &str) -> anyhow::Result<()> {
        self.line(text).context(CANNOT_PRINT)
    }

    fn line(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.lines, "{text}")?;
        self.lines.flush()
    }
}

/// Makes each change. A command that fails is reported, and the next one runs. Returns how many failed.
///
/// # Errors
/// The record cannot be stored, so nothing more is changed; or the output is closed.
pub(super) fn apply(
    wanted: &[Wanted],
    record: &mut Record,
    system: &mut impl System,
    output: &mut Output<'_>,
) -> anyhow::Result<usize> {
    settle(record, system);
    let mut failed = 0;
    for (id, change) in wanted {
        failed += usize::from(!make(id, change, record, system, output)?);
    }
    (output.save)(record)?;
    Ok(failed)
}

/// Makes a change: records what is there, prints the command, runs it, and reads what is there then.
fn make(
    id: &str,
    change: &Change,
    record: &mut Record,
    system: &mut impl System,
    output: &mut Output<'_>,
) -> anyhow::Result<bool> {
    let Change { setting, to } = change;
    let before = match system.read(setting) {
        Ok(before) if before == *to => return Ok(true),
        Ok(before) => before,
        Err(error) => {
            output.tell(&format!(
                "# {id}: what is set now cannot be read, so it is left alone ({error}): {change}"
            ))?;
            return Ok(false);
        }
    };
    record.remember(Entry {
        id: id.to_owned(),
        setting: setting.clone(),
        place: system.place(setting),
        before,
        after: to.clone(),
        side_effect: false,
        under_way: Some(system.changed_with(setting)),
    });
    (output.save)(record)?;
    output.tell(&change.to_string())?;
    let ran = system.run(&setting.command(to));
    settle(record, system);
    if let Err(cause) = ran {
        output.tell(&format!("# {id}: that failed: {cause}"))?;
        return Ok(false);
    }
    match system.read(setting) {
        Ok(now) if now == *to => Ok(true),
        Ok(now) => {
            output.tell(&format!("# {id}: it is {now} now, not {to}"))?;
            Ok(false)
        }
        Err(error) => {
            output.tell(&format!("# {id}: what is set now cannot be read: {error}"))?;
            Ok(false)
        }
    }
}

/// Completes the record of commands whose result is not recorded: that of this run, or of one that was killed. What is there now
/// is their result. A setting that did not change is no change to undo.
pub(super) fn settle(record: &mut Record, system: &impl System) {
    let under_way = |entry: &&Entry| entry.under_way.is_some();
    let under_way: Vec<_> = record.entries.iter().filter(under_way).cloned().collect();
    let is_here = |entry: &Entry| system.place(&entry.setting) == entry.place;
    for entry in under_way.into_iter().filter(is_here) {
        let others = entry.under_way.iter().flatten();
        settle_value(&entry.setting, record, system);
        for (setting, before) in others {
            if system.read(setting).is_ok_and(|now| now != *before) {
                record_side_effect(setting, before, record, system);
            }
        }
    }
}

fn settle_value(setting: &Setting, record: &mut Record, system: &impl System) {
    let now = system.read(setting);
    let Some(entry) = record.of(setting, &system.place(setting)) else {
        return;
    };
    entry.under_way = None;
    let Ok(now) = now else {
        return;
    };
    if entry.before == now {
        let place = entry.place.clone();
        record
            .entries
            .retain(|entry| entry.setting != *setting || entry.place != place);
    } else {
        entry.after = now;
    }
}

/// Records what the kernel changed together with what was asked for.
fn record_side_effect(setting: &Setting, before: &str, record: &mut Record, system: &impl System) {
    if record.of(setting, &system.place(setting)).is_none() {
        record.remember(Entry {
            id: "side effect".into(),
            setting: setting.clone(),
            place: system.place(setting),
            before: before.to_owned(),
            after: String::new(),
            side_effect: true,
            under_way: None,
        });
    }
    settle_value(setting, record, system);
}

/// Undoes every change of this boot, network namespace and device, the last one first. Returns how many were not restored;
/// these stay recorded. Goes on to the end even if nothing can be printed or recorded.
///
/// # Errors
/// The record cannot be stored, or the output is full.
pub(super) fn undo(
    record: &mut Record,
    system: &mut impl System,
    output: &mut Output<'_>,
) -> anyhow::Result<usize> {
    settle(record, system);
    let mut order = record.entries.clone();
    order.reverse();
    // Most side effects go with what caused them.
    order.sort_by_key(|entry| entry.side_effect);
    let mut failed = 0;
    // What was settled may be all that there was.
    let mut saved = (output.save)(record);
    let mut printed = Ok(());
    for entry in order {
        let (restored, said) = restore(&entry, system, |command| {
            let line = output.line(command);
            keep_first(&mut printed, line);
        });
        if let Some(said) = said {
            keep_first(&mut printed, output.line(&said));
        }
        match restored {
            Restored::Yes => record.entries.retain(|other| *other != entry),
            Restored::No => failed += 1,
            Restored::Elsewhere => {}
        }
        saved = (output.save)(record);
    }
    saved.context("what could be restored is restored, but not removed from the record: undo again once it can be written")?;
    // A closed pipe wants no more lines.
    let is_full = |error: &io::Error| error.kind() != io::ErrorKind::BrokenPipe;
    if let Err(error) = printed
        && is_full(&error)
    {
        return Err(error)
            .context("everything was undone that could be, but not all of it could be printed");
    }
    Ok(failed)
}

fn keep_first(first: &mut io::Result<()>, result: io::Result<()>) {
    if first.is_ok() {
        *first = result;
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Restored {
    /// It is as before, or gone.
    Yes,
    No,
    /// It belongs to another network namespace.
    Elsewhere,
}

/// Restores a setting. Returns what there is to say, too; the command is printed before it runs.
fn restore(
    entry: &Entry,
    system: &mut impl System,
    print: impl FnOnce(&str),
) -> (Restored, Option<String>) {
    let Entry {
        id,
        setting,
        before,
        after,
        ..
    } = entry;
    let command = setting.command(before);
    let here = system.place(setting);
    let saying = |restored, what: &str| (restored, Some(format!("# {id}: {what}: {command}")));
    if here.boot != entry.place.boot {
        let what = "the machine was started since, which undid it";
        return saying(Restored::Yes, what);
    }
    if here.namespace != entry.place.namespace {
        let what = "made in another network namespace, left alone";
        return saying(Restored::Elsewhere, what);
    }
    if here.device != entry.place.device {
        let what = "that interface is gone or another one since, so nothing is left to undo";
        return saying(Restored::Yes, what);
    }
    let cannot = |why: &str| saying(Restored::No, &format!("not restored: {why}"));
    match system.read(setting) {
        Ok(now) if now == *before => return (Restored::Yes, None),
        Ok(now) if now != *after => {
            return cannot(&format!(
                "it was {after} after `tune` and is {now} now, so somebody changed it"
            ));
        }
        Ok(_) => {}
        Err(error) => return cannot(&format!("it cannot be read ({error})")),
    }
    if let Some(why) = system.obstacle(setting) {
        return cannot(&why);
    }
    print(&command.to_string());
    if let Err(cause) = system.run(&command) {
        return cannot(&cause);
    }
    match system.read(setting) {
        Ok(now) if now == *before => {
            let note = "each queue has its weight again; the order of the table may differ";
            let is_weighted = before.starts_with("weight");
            let said = is_weighted.then(|| format!("# {id}: {note}"));
            (Restored::Yes, said)
        }
        Ok(now) => cannot(&format!("it is {now} now")),
        Err(error) => cannot(&format!("it cannot be read ({error})")),
    }
}
