//! Makes the changes, and undoes them.

use std::collections::BTreeSet;
use std::io::{self, Write};

use super::record::{Entry, Record};
use super::system::System;
use crate::doctor::{Change, Setting};

/// A change, and the id of the finding that it mends.
pub(super) type Wanted = (&'static str, Change);

/// Where a run prints its commands and stores its record.
pub(super) struct Output<'a> {
    /// Commands, and comments with a `#`.
    pub lines: &'a mut dyn Write,
    /// Stores the record.
    pub save: &'a mut dyn FnMut(&Record) -> anyhow::Result<()>,
}

impl Output<'_> {
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
    let interfaces: BTreeSet<_> = wanted
        .iter()
        .filter_map(|(_, change)| change.setting.interface())
        .collect();
    let before: Vec<_> = interfaces
        .iter()
        .map(|interface| (*interface, system.features(interface)))
        .collect();
    let mut failed = 0;
    for (id, change) in wanted {
        failed += usize::from(!make(id, change, record, system, output)?);
    }
    for (interface, features) in before {
        record_side_effects(interface, &features, record, system);
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
            output.line(&format!(
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
    });
    (output.save)(record)?;
    output.line(&change.to_string())?;
    if let Err(cause) = system.run(&setting.command(to)) {
        output.line(&format!("# {id}: that failed: {cause}"))?;
        return Ok(false);
    }
    match system.read(setting) {
        Ok(now) if now == *to => Ok(true),
        Ok(now) => {
            output.line(&format!("# {id}: it is {now} now, not {to}"))?;
            let mut entries = record.entries.iter_mut();
            if let Some(entry) = entries.find(|entry| entry.setting == *setting) {
                entry.after = now;
            }
            Ok(false)
        }
        Err(error) => {
            output.line(&format!("# {id}: what is set now cannot be read: {error}"))?;
            Ok(false)
        }
    }
}

/// Records the features that the kernel changed together with those that were changed.
fn record_side_effects(
    interface: &str,
    before: &[(String, bool)],
    record: &mut Record,
    system: &impl System,
) {
    let now = system.features(interface);
    let word = |on: bool| if on { "on" } else { "off" }.to_owned();
    for (feature, was) in before {
        let is = now.iter().find(|(name, _)| name == feature);
        let setting = Setting::Offload {
            interface: interface.to_owned(),
            feature: feature.clone(),
        };
        let is_recorded = record.entries.iter().any(|entry| entry.setting == setting);
        if let Some((_, is)) = is
            && is != was
            && !is_recorded
        {
            record.remember(Entry {
                id: "side effect".into(),
                place: system.place(&setting),
                setting,
                before: word(*was),
                after: word(*is),
                side_effect: true,
            });
        }
    }
}

/// Undoes every change of this boot, network namespace and device, the last one first. Returns how many were not restored;
/// these stay recorded.
///
/// # Errors
/// As for [`apply`].
pub(super) fn undo(
    record: &mut Record,
    system: &mut impl System,
    output: &mut Output<'_>,
) -> anyhow::Result<usize> {
    let mut order = record.entries.clone();
    order.reverse();
    // Most side effects go with what caused them.
    order.sort_by_key(|entry| entry.side_effect);
    let mut failed = 0;
    for entry in order {
        match restore(&entry, system, output)? {
            Restored::Yes => record.entries.retain(|other| *other != entry),
            Restored::No => failed += 1,
            Restored::Elsewhere => {}
        }
        (output.save)(record)?;
    }
    Ok(failed)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Restored {
    /// It is as before, or gone.
    Yes,
    No,
    /// It belongs to another network namespace.
    Elsewhere,
}

fn restore(
    entry: &Entry,
    system: &mut impl System,
    output: &mut Output<'_>,
) -> anyhow::Result<Restored> {
    let Entry {
        id,
        setting,
        before,
        after,
        ..
    } = entry;
    let command = setting.command(before);
    let here = system.place(setting);
    if here.boot != entry.place.boot {
        output.line(&format!(
            "# {id}: the machine was started since, which undid it: {command}"
        ))?;
        return Ok(Restored::Yes);
    }
    if here.namespace != entry.place.namespace {
        output.line(&format!(
            "# {id}: made in another network namespace, left alone: {command}"
        ))?;
        return Ok(Restored::Elsewhere);
    }
    if here.device != entry.place.device {
        output.line(&format!(
            "# {id}: that interface is gone or another one since, so nothing is left to undo: {command}"
        ))?;
        return Ok(Restored::Yes);
    }
    let cannot = |output: &mut Output<'_>, why: &str| {
        output.line(&format!("# {id}: not restored: {why}: {command}"))?;
        Ok(Restored::No)
    };
    match system.read(setting) {
        Ok(now) if now == *before => return Ok(Restored::Yes),
        Ok(now) if now != *after => {
            let why =
                format!("it was {after} after `tune` and is {now} now, so somebody changed it");
            return cannot(output, &why);
        }
        Ok(_) => {}
        Err(error) => return cannot(output, &format!("it cannot be read ({error})")),
    }
    if let Some(why) = system.obstacle(setting) {
        return cannot(output, &why);
    }
    output.line(&command.to_string())?;
    if let Err(cause) = system.run(&command) {
        return cannot(output, &cause);
    }
    match system.read(setting) {
        Ok(now) if now == *before => {
            if before.starts_with("weight") {
                output.line(&format!(
                    "# {id}: each queue has its weight again; the order of the table may differ"
                ))?;
            }
            Ok(Restored::Yes)
        }
        Ok(now) => cannot(output, &format!("it is {now} now")),
        Err(error) => cannot(output, &format!("it cannot be read ({error})")),
    }
}
