//! Interfaces that another XDP program occupies: the refusal says what it is, who holds it, and a cure that works.

use std::fs;
use std::process::{Command, Stdio};

use super::foreign_program::{attach, load, pin};
use super::steering_lab::{HERE, Lab, inside};

/// How each refusal ends: every program can be kept.
const CHAIN: &str =
    "; or keep it and chain the two: attach = \"none\" or `next` (docs/chaining.md)";

/// Why the lab's interface is refused, without [`CHAIN`]. The other program stays.
fn refused(lab: &Lab) -> String {
    let before = lab.xdp(HERE).unwrap();
    let line = lab.steer(&[]).unwrap_err().to_string();
    assert!(!line.contains('\n'), "{line}");
    assert_eq!(lab.xdp(HERE), Some(before), "the other program stays");
    let id = before.0.to_string();
    let line = line.strip_suffix(CHAIN).expect("the way out at the end");
    line.replacen(&format!("(id {id})"), "(id N)", 1)
}

/// Asserts how the interface is refused while this process holds the link. A child that a sibling test has just forked holds a
/// copy of the descriptor until it executes its program, so a second and a third try are allowed.
fn assert_refused(lab: &Lab, expected: &str) {
    let line = || without_link_number(&refused(lab));
    let matches = |line: &String| line.starts_with(expected);
    let lines: Vec<_> = (0..3)
        .map(|_| line())
        .take_while(|line| !matches(line))
        .collect();
    assert!(lines.len() < 3, "{lines:#?} are not {expected}");
}

/// Replaces the number of the link, which differs in each run.
fn without_link_number(line: &str) -> String {
    let (head, rest) = line.split_once(", link ").unwrap();
    let rest = rest.trim_start_matches(|c: char| c.is_ascii_digit());
    format!("{head}, link N{rest}")
}

#[test]
fn a_program_that_only_the_interface_holds_is_taken_off_as_advised() {
    let lab = Lab::new();
    let path = lab.pin().with_file_name("foreign");
    pin(&load("drop_all"), &path);
    lab.ip(&["link", "set", HERE, "xdp", "pinned", path.to_str().unwrap()]);
    let pinned = format!(
        "sw-here runs XDP program drop_all (id N), pinned as {}: it is pinned, so somebody uses it: ask whose it is before \
         you detach it",
        path.display()
    );
    assert_eq!(refused(&lab), pinned);

    fs::remove_file(&path).unwrap();
    assert_eq!(
        refused(&lab),
        "sw-here runs XDP program drop_all (id N): nothing holds it any more; take it off with `ip link set sw-here xdp off`"
    );
    lab.ip(&["link", "set", HERE, "xdp", "off"]);
    lab.steer(&[]).unwrap().stop(false).unwrap();
}

#[test]
fn a_generic_program_is_taken_off_as_advised() {
    let lab = Lab::new();
    let path = lab.pin().with_file_name("foreign");
    pin(&load("drop_all"), &path);
    let attach = ["link", "set", HERE, "xdpgeneric", "pinned"];
    lab.ip(&[&attach[..], &[path.to_str().unwrap()]].concat());
    fs::remove_file(&path).unwrap();
    let line = refused(&lab);
    assert!(
        line.ends_with("take it off with `ip link set sw-here xdpgeneric off`"),
        "{line}"
    );
    lab.ip(&["link", "set", HERE, "xdpgeneric", "off"]);
    lab.steer(&[]).unwrap().stop(false).unwrap();
}

#[test]
fn a_program_on_a_link_names_its_pin_and_its_process() {
    let lab = Lab::new();
    let index = lab.index();
    let link = inside(&lab.here(), || attach(&load("guard"), index));
    assert_refused(
        &lab,
        "sw-here runs XDP program guard (id N), link N: a link holds it",
    );

    let mut holder = Command::new("sleep")
        .arg("60")
        .stdin(Stdio::from(link.try_clone().unwrap()))
        .spawn()
        .unwrap();
    let pid = holder.id();
    assert_refused(
        &lab,
        &format!(
            "sw-here runs XDP program guard (id N), link N, held by process {pid} (sleep): stop process {pid} (sleep), \
             which holds it"
        ),
    );
    holder.kill().unwrap();
    holder.wait().unwrap();

    let path = lab.pin().with_file_name("guard-link");
    pin(&link, &path);
    drop(link);
    assert_eq!(
        without_link_number(&refused(&lab)),
        format!(
            "sw-here runs XDP program guard (id N), link N, pinned as {path}: ask whose it is; removing the pinned link \
             detaches it: `rm {path}`",
            path = path.display()
        )
    );
    fs::remove_file(&path).unwrap();
    super::steering_lab::until("the link is gone", || lab.xdp(HERE).is_none());
    lab.steer(&[]).unwrap().stop(false).unwrap();
}

#[test]
fn the_dispatcher_of_libxdp_is_left_alone() {
    let lab = Lab::new();
    let path = lab.pin().with_file_name("foreign");
    pin(&load("xdp_dispatcher"), &path);
    lab.ip(&["link", "set", HERE, "xdp", "pinned", path.to_str().unwrap()]);
    fs::remove_file(&path).unwrap();
    let line = refused(&lab);
    assert!(
        line.contains("it is the dispatcher of libxdp: do not detach it"),
        "{line}"
    );
    assert!(!line.contains("off`"), "{line}");
}
