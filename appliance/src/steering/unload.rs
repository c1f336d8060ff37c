//! Detaches and removes what a stopped or killed appliance left.

use std::path::Path;

use super::bpffs::missing_bpffs;
use super::chain::Entry;
use super::error::SteeringError;
use super::pins::Pins;

/// Removes what is pinned in `pin`: the links of `interface`, or everything if `interface` is `None` or was the last
/// steered one. Returns one line per removed thing; none if nothing was pinned.
///
/// # Errors
/// A running appliance uses the folder, or a file cannot be removed.
pub fn unload(pin: &Path, interface: Option<&str>) -> Result<Vec<String>, SteeringError> {
    let Some(pins) = open(pin)? else {
        return Ok(Vec::new());
    };
    let mut removed = Vec::new();
    if let Some(interface) = interface {
        if pins.detach(interface)? {
            removed.push(xdp_line(interface));
        }
        if pins.detach_tcx(interface)? {
            removed.push(format!("the program at TC of {interface}"));
        }
        if removed.is_empty() || !pins.links().is_empty() {
            return Ok(removed);
        }
    }
    let has_entry = pins.remove_entry()?;
    let (links, maps) = pins.clear()?;
    removed.extend(links.iter().map(|interface| xdp_line(interface)));
    if maps > 0 {
        removed.push(format!("{maps} maps in {}", pin.display()));
    }
    if has_entry {
        removed.push(format!(
            "{}, which its callers keep until they let go of it: it passes every frame",
            pin.join("entry").display()
        ));
    }
    Ok(removed)
}

/// As [`unload`] of everything, if a synward with another schema of its maps pinned it: this one cannot take it over.
///
/// # Errors
/// As [`unload`].
pub fn unload_incompatible(pin: &Path) -> Result<Vec<String>, SteeringError> {
    match open(pin)? {
        Some(pins) if !pins.is_compatible()? => {}
        _ => return Ok(Vec::new()),
    }
    unload(pin, None)
}

/// Removes what an earlier process left, as the end of a process that leaves nothing does: the program that others call stays
/// pinned, and passes every frame.
///
/// # Errors
/// As [`unload`].
pub fn remove_left(pin: &Path) -> Result<(), SteeringError> {
    let Some(pins) = open(pin)? else {
        return Ok(());
    };
    if let Some(mut entry) = Entry::of_pins(&pins) {
        entry.clear();
    }
    pins.clear().map(drop)
}

/// What is said where nothing is pinned, or nothing of `interface`.
pub fn nothing_is_pinned(pin: &Path, interface: Option<&str>) -> String {
    let of = interface.map_or_else(String::new, |interface| format!(" of {interface}"));
    let nothing = format!("nothing{of} is pinned in {}", pin.display());
    match missing_bpffs(pin) {
        None => nothing,
        Some(_) => format!(
            "{nothing}: it is not on a BPF file system; pins of another mount are not seen here"
        ),
    }
}

fn open(pin: &Path) -> Result<Option<Pins>, SteeringError> {
    Pins::open_existing(pin).map_err(|error| match error {
        SteeringError::Held { pin, holder } => SteeringError::Runs { pin, holder },
        error => error,
    })
}

fn xdp_line(interface: &str) -> String {
    format!("the XDP program of {interface}")
}
