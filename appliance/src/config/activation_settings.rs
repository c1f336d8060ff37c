//! Reads when a service counts as under attack, and which program gets its events.

use std::time::Duration;

use super::limits;
use super::section_reader::Table;
use super::service_settings::Activation;

/// Reads `activate_syn_rate`, `deactivate_syn_rate` and `hold_seconds`.
pub(super) fn activation(table: &Table<'_>) -> Activation {
    let rate = |key| {
        let value = table.value(key)?;
        let rate = u32::try_from(value.number(limits::SYN_RATE)?).ok()?;
        Some((value, rate))
    };
    let (activate, deactivate) = (rate("activate_syn_rate"), rate("deactivate_syn_rate"));
    if let (Some((_, activate)), Some((value, deactivate))) = (&activate, &deactivate)
        && deactivate >= activate
    {
        value.wrong(&format!(
            "use a number below `activate_syn_rate`, which is {activate}"
        ));
    }
    let default = Activation::default();
    Activation {
        activate_syn_rate: activate.map(|(_, rate)| rate),
        deactivate_syn_rate: deactivate.map(|(_, rate)| rate),
        hold: Duration::from_secs(table.number_or(
            "hold_seconds",
            limits::HOLD_SECONDS,
            default.hold.as_secs(),
        )),
    }
}

/// Reads `on_event`: the path of a program and its arguments. No shell reads them.
pub(super) fn on_event(table: &Table<'_>) -> Vec<String> {
    let cure = r#"use a list of a program's path and its arguments, such as ["/usr/local/bin/notify", "web"]"#;
    let Some(value) = table.value("on_event") else {
        return Vec::new();
    };
    let elements = value.list(limits::COMMAND_WORDS, cure).unwrap_or_default();
    let mut words = Vec::new();
    for element in elements {
        match element.text(cure) {
            Some(word) if word.len() <= limits::COMMAND_WORD && !word.contains('\0') => {
                words.push(word.to_owned());
            }
            Some(_) => element.problem(format!(
                "`on_event` holds a word with a NUL or with more than {} bytes; {cure}",
                limits::COMMAND_WORD
            )),
            None => {}
        }
    }
    if words
        .first()
        .is_some_and(|program| !program.starts_with('/'))
    {
        value.wrong("its first element must be the absolute path of a program");
    }
    words
}
