//! `tune` on a machine of a test.
#![allow(clippy::unwrap_used)]

mod killed_runs;

use std::cell::Cell;
use std::io;
use std::panic::resume_unwind;
use std::rc::Rc;

use super::apply::{Output, Wanted, apply, undo};
use super::record::{Place, Record};
use super::system::System;
use crate::doctor::{Change, SetCommand, Setting};

/// Ends the run if it has no steps left.
fn step(left: &Cell<u32>) {
    match left.get().checked_sub(1) {
        Some(less) => left.set(less),
        None => resume_unwind(Box::new(())),
    }
}

/// Settings with their values. Some commands fail, turning `rx-checksum` off turns `rx-lro` off, and the MTU is even.
#[derive(Default)]
struct Machine {
    values: Vec<(Setting, String)>,
    refused: Vec<String>,
    namespace: u64,
    device: u32,
    ran: Vec<String>,
    /// After how many steps the run is killed.
    steps: Option<Rc<Cell<u32>>>,
}

fn offload(feature: &str) -> Setting {
    Setting::Offload {
        interface: "eth0".into(),
        feature: feature.into(),
    }
}

fn mtu() -> Setting {
    Setting::Mtu {
        interface: "eth0".into(),
    }
}

impl Machine {
    fn new() -> Self {
        let values = [
            (offload("rx-checksum"), "on"),
            (offload("rx-lro"), "on"),
            (mtu(), "9000"),
        ];
        Self {
            values: values
                .map(|(setting, value)| (setting, value.to_owned()))
                .into(),
            ..Self::default()
        }
    }

    fn set(&mut self, setting: &Setting, to: &str) {
        for (other, value) in &mut self.values {
            if other == setting {
                *value = to.to_owned();
            }
        }
    }

    fn value(&self, setting: &Setting) -> &str {
        let found = self.values.iter().find(|(other, _)| other == setting);
        &found.unwrap().1
    }
}

impl System for Machine {
    fn read(&self, setting: &Setting) -> io::Result<String> {
        let found = self.values.iter().find(|(other, _)| other == setting);
        Ok(found.ok_or(io::ErrorKind::NotFound)?.1.clone())
    }

    fn run(&mut self, command: &SetCommand) -> Result<(), String> {
        if let Some(steps) = &self.steps {
            step(steps);
        }
        let text = command.to_string();
        self.ran.push(text.clone());
        if self.refused.contains(&text) {
            return Err("Operation not supported".into());
        }
        let mut to = text.rsplit(' ').next().unwrap().to_owned();
        let settings: Vec<_> = self
            .values
            .iter()
            .map(|(setting, _)| setting.clone())
            .collect();
        let changed = settings
            .into_iter()
            .find(|setting| setting.command(&to).to_string() == text)
            .unwrap();
        if changed == mtu() {
            to = (to.parse::<u32>().unwrap().next_multiple_of(2)).to_string();
        }
        self.set(&changed, &to);
        if changed == offload("rx-checksum") && to == "off" {
            self.set(&offload("rx-lro"), "off");
        }
        if let Some(steps) = &self.steps {
            step(steps);
        }
        Ok(())
    }

    fn place(&self, _: &Setting) -> Place {
        Place {
            boot: "b".into(),
            namespace: self.namespace,
            device: Some((self.device, [0; 6])),
        }
    }

    fn changed_with(&self, setting: &Setting) -> Vec<(Setting, String)> {
        let others = self.values.iter().filter(|(other, _)| other != setting);
        others.cloned().collect()
    }

    fn obstacle(&self, _: &Setting) -> Option<String> {
        None
    }
}

fn wanted(changes: &[(Setting, &str)]) -> Vec<Wanted> {
    let one = |(setting, to): &(Setting, &str)| {
        let change = Change {
            setting: setting.clone(),
            to: (*to).to_owned(),
        };
        ("nic.test", change)
    };
    changes.iter().map(one).collect()
}

/// Runs `work` and returns its result and what it printed.
fn printed<T>(work: impl FnOnce(&mut Output<'_>) -> anyhow::Result<T>) -> (T, String) {
    let mut lines = Vec::new();
    let mut save = |_: &Record| Ok(());
    let result = work(&mut Output {
        lines: &mut lines,
        save: &mut save,
    });
    (result.unwrap(), String::from_utf8(lines).unwrap())
}

#[test]
fn undo_restores_what_was_changed_and_what_changed_with_it() {
    let (mut machine, mut record) = (Machine::new(), Record::default());
    let changes = wanted(&[(offload("rx-checksum"), "off"), (mtu(), "1500")]);
    let (failed, text) = printed(|output| apply(&changes, &mut record, &mut machine, output));
    assert_eq!(failed, 0);
    assert_eq!(
        text,
        "ethtool -K eth0 rx-checksum off\nip link set eth0 mtu 1500\n"
    );
    assert_eq!(machine.value(&offload("rx-lro")), "off");

    let (failed, text) = printed(|output| undo(&mut record, &mut machine, output));
    assert_eq!(failed, 0);
    assert_eq!(
        text,
        "ip link set eth0 mtu 9000\nethtool -K eth0 rx-checksum on\nethtool -K eth0 lro on\n"
    );
    assert_eq!(machine.values, Machine::new().values);
    assert!(record.entries.is_empty());
}

#[test]
fn a_second_run_keeps_what_the_first_one_found() {
    let (mut machine, mut record) = (Machine::new(), Record::default());
    let once = wanted(&[(mtu(), "3506")]);
    printed(|output| apply(&once, &mut record, &mut machine, output));
    printed(|output| apply(&once, &mut record, &mut machine, output));
    assert_eq!(machine.ran.len(), 1, "it is already so");
    let again = wanted(&[(mtu(), "1500")]);
    printed(|output| apply(&again, &mut record, &mut machine, output));
    printed(|output| undo(&mut record, &mut machine, output));
    assert_eq!(machine.value(&mtu()), "9000");
}

#[test]
fn a_command_that_fails_is_named_and_the_others_run() {
    let (mut machine, mut record) = (Machine::new(), Record::default());
    machine.refused = vec!["ethtool -K eth0 lro off".into()];
    let changes = wanted(&[(offload("rx-lro"), "off"), (mtu(), "1500")]);
    let (failed, text) = printed(|output| apply(&changes, &mut record, &mut machine, output));
    assert_eq!(failed, 1);
    assert!(
        text.contains("# nic.test: that failed: Operation not supported"),
        "{text}"
    );
    assert_eq!(machine.value(&mtu()), "1500");
    let (failed, _) = printed(|output| undo(&mut record, &mut machine, output));
    assert_eq!(failed, 0, "what was not changed needs no undoing");
    assert_eq!(machine.values, Machine::new().values);
}

#[test]
fn undo_says_what_it_could_not_restore_and_keeps_its_record() {
    let (mut machine, mut record) = (Machine::new(), Record::default());
    let changes = wanted(&[(offload("rx-lro"), "off"), (mtu(), "1500")]);
    printed(|output| apply(&changes, &mut record, &mut machine, output));
    machine.set(&mtu(), "4000");
    machine.refused = vec!["ethtool -K eth0 lro on".into()];
    let (failed, text) = printed(|output| undo(&mut record, &mut machine, output));
    assert_eq!((failed, record.entries.len()), (2, 2));
    assert!(text.contains("somebody changed it"), "{text}");
    assert!(
        text.contains("not restored: Operation not supported"),
        "{text}"
    );
    assert_eq!(machine.value(&mtu()), "4000");

    machine.refused.clear();
    machine.set(&mtu(), "9000");
    let (failed, _) = printed(|output| undo(&mut record, &mut machine, output));
    assert_eq!(failed, 0);
    assert!(record.entries.is_empty());
}

#[test]
fn another_device_of_that_name_is_left_alone() {
    let (mut machine, mut record) = (Machine::new(), Record::default());
    let changes = wanted(&[(mtu(), "1500")]);
    printed(|output| apply(&changes, &mut record, &mut machine, output));
    machine.device = 7;
    let (failed, text) = printed(|output| undo(&mut record, &mut machine, output));
    assert_eq!(failed, 0);
    assert!(text.contains("another one since"), "{text}");
    assert_eq!(machine.value(&mtu()), "1500");
}

#[test]
fn nothing_is_changed_whose_value_is_not_recorded() {
    let (mut machine, mut record) = (Machine::new(), Record::default());
    let changes = wanted(&[(offload("rx-unknown"), "off")]);
    let (failed, text) = printed(|output| apply(&changes, &mut record, &mut machine, output));
    assert_eq!(failed, 1);
    assert!(text.contains("left alone"), "{text}");
    assert!(machine.ran.is_empty());

    let mut lines = Vec::new();
    let mut save = |_: &Record| anyhow::bail!("disk full");
    let changes = wanted(&[(mtu(), "1500")]);
    let mut output = Output {
        lines: &mut lines,
        save: &mut save,
    };
    assert!(apply(&changes, &mut record, &mut machine, &mut output).is_err());
    assert!(
        machine.ran.is_empty(),
        "without a record nothing is changed"
    );
}

#[test]
fn an_undo_without_a_record_leaves_nothing_behind() {
    if !rustix::process::geteuid().is_root() {
        let _ = io::Write::write_all(&mut io::stderr(), b"SKIPPED: a test that needs root\n");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for path in ["tune.json", "new/tune.json"] {
        let file = folder.path().join(path);
        let mut lines = Vec::new();
        let succeeded = super::undo_all(&file, &mut lines);
        assert!(succeeded.unwrap());
        let expected = format!("# nothing to undo: {} records no change\n", file.display());
        assert_eq!(String::from_utf8(lines).unwrap(), expected);
        let left = std::fs::read_dir(folder.path()).unwrap();
        assert_eq!(left.count(), 0, "{path}");
    }
}

#[test]
fn an_undo_goes_on_without_output_and_without_room_for_its_record() {
    let (mut machine, mut record) = (Machine::new(), Record::default());
    let changes = wanted(&[(offload("rx-checksum"), "off"), (mtu(), "1500")]);
    printed(|output| apply(&changes, &mut record, &mut machine, output));
    let mut full = std::fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let mut save = |_: &Record| anyhow::bail!("disk full");
    let mut output = Output {
        lines: &mut full,
        save: &mut save,
    };
    let error = undo(&mut record, &mut machine, &mut output).unwrap_err();
    assert!(format!("{error:#}").contains("undo again"), "{error:#}");
    assert_eq!(machine.values, Machine::new().values);
}

#[test]
fn the_record_of_another_network_namespace_is_left_alone() {
    let (mut machine, mut record) = (Machine::new(), Record::default());
    let changes = wanted(&[(mtu(), "1499")]);
    printed(|output| apply(&changes, &mut record, &mut machine, output));
    let there = record.entries[0].clone();
    machine.set(&mtu(), "4000");
    machine.namespace = 2;
    printed(|output| apply(&changes, &mut record, &mut machine, output));
    assert_eq!(record.entries.len(), 2);
    assert_eq!(record.entries[0], there);
    assert_eq!(record.entries[1].after, "1500", "what it became");
    let (failed, _) = printed(|output| undo(&mut record, &mut machine, output));
    assert_eq!((failed, record.entries), (0, vec![there]));
    assert_eq!(machine.value(&mtu()), "4000");
}
