//! Messages about unknown keys and sections, with the one that was probably meant.

use super::known_keys::{SECTIONS, Section};

/// The problem of an unknown section, with the section that was probably meant.
pub(super) fn unknown_section(name: &str) -> String {
    if let Some(near) = nearest(name, SECTIONS.iter().map(|section| section.name)) {
        let title = SECTIONS
            .iter()
            .find(|section| section.name == near)
            .map(|section| section.title());
        return format!(
            "unknown section `{}`; did you mean {}?",
            plain(name),
            title.unwrap_or_default()
        );
    }
    let homes = homes(name);
    if !homes.is_empty() {
        return format!(
            "key `{}` is outside of any section; it belongs in {homes}",
            plain(name)
        );
    }
    let all: Vec<_> = SECTIONS.iter().map(|section| section.title()).collect();
    format!(
        "unknown section `{}`; the sections are {}",
        plain(name),
        all.join(", ")
    )
}

/// The problem of an unknown key in `section`, with the key or section that was probably meant.
pub(super) fn unknown_key(section: &Section, name: &str) -> String {
    let title = section.title();
    let lead = format!("unknown key `{}` in {title}", plain(name));
    let available = || section.keys.iter().map(|key| key.name);
    if let Some(near) = nearest(name, available()) {
        return format!("{lead}; did you mean `{near}`?");
    }
    let homes = homes(name);
    if !homes.is_empty() {
        return format!("{lead}; it belongs in {homes}");
    }
    format!(
        "{lead}; its keys are {}",
        available().collect::<Vec<_>>().join(", ")
    )
}

/// The sections that have a key of this name; empty if none has.
fn homes(name: &str) -> String {
    let homes: Vec<_> = SECTIONS
        .iter()
        .filter(|home| knows(home, name))
        .map(|home| home.title())
        .collect();
    homes.join(" or ")
}

fn knows(section: &Section, name: &str) -> bool {
    section.keys.iter().any(|key| key.name == name)
}

/// The candidate that differs from `name` by at most a third of its letters.
fn nearest<'k>(name: &str, candidates: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let name: String = name
        .chars()
        .take(64)
        .flat_map(char::to_lowercase)
        .map(|c| if c == '-' { '_' } else { c })
        .collect();
    candidates
        .map(|candidate| (strsim::osa_distance(&name, candidate), candidate))
        .filter(|(distance, candidate)| distance * 3 <= candidate.len().max(3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Escapes a key so that it fits between backticks on one line.
fn plain(name: &str) -> String {
    name.chars().take(60).flat_map(char::escape_debug).collect()
}
