//! The machine that is tuned: reads settings and runs commands.

use std::cell::RefCell;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::rc::Rc;

use super::record::Place;
use crate::doctor::{SetCommand, Setting};
use crate::kernel::{self, Link, Offload};

/// What is tuned. Tests have one of their own.
pub(super) trait System {
    /// The value of a setting, in the words of [`Setting`].
    fn read(&self, setting: &Setting) -> io::Result<String>;
    /// Runs a command. The error is a sentence.
    fn run(&mut self, command: &SetCommand) -> Result<(), String>;
    /// Whose setting it is now.
    fn place(&self, setting: &Setting) -> Place;
    /// What the kernel may change together with a setting, with the present values.
    fn changed_with(&self, setting: &Setting) -> Vec<(Setting, String)>;
    /// Why a change must not be undone now.
    fn obstacle(&self, setting: &Setting) -> Option<String>;
}

/// This machine.
#[derive(Debug, Default)]
pub(super) struct ThisMachine {
    /// What a command holds until it has ended, also if this process is killed meanwhile.
    lock: Option<File>,
    /// Its interfaces; `None`: they were not listed since the last command.
    links: RefCell<Option<Rc<[Link]>>>,
}

impl ThisMachine {
    /// This machine, whose commands hold `lock`.
    pub(super) fn new(lock: File) -> Self {
        Self {
            lock: Some(lock),
            ..Self::default()
        }
    }

    /// All interfaces. They are listed once after each command: thousands may be on top of the one that is changed.
    fn links(&self) -> io::Result<Rc<[Link]>> {
        let known = self.links.borrow().clone();
        if let Some(links) = known {
            return Ok(links);
        }
        let links: Rc<[Link]> = kernel::links()?.into();
        *self.links.borrow_mut() = Some(Rc::clone(&links));
        Ok(links)
    }
}

impl System for ThisMachine {
    fn read(&self, setting: &Setting) -> io::Result<String> {
        let file = |path: String| fs::read_to_string(path).map(|text| text.trim().to_owned());
        match setting {
            Setting::Offload { interface, feature } => {
                let offloads = kernel::offloads(interface)?;
                let mut offloads = offloads.iter();
                let offload = offloads.find(|offload| offload.name == *feature);
                Ok(on_or_off(offload.ok_or(io::ErrorKind::NotFound)?.on))
            }
            Setting::Channels { interface } => {
                let counts = kernel::channel_counts(interface)?;
                Ok(counts.words_in_use().to_string())
            }
            Setting::Ring { interface } => {
                Ok(format!("rx {}", kernel::receive_ring(interface)?.used))
            }
            Setting::Mtu { interface } => {
                let links = self.links()?;
                let link = links.iter().find(|link| link.name == *interface);
                Ok(link.ok_or(io::ErrorKind::NotFound)?.mtu.to_string())
            }
            Setting::Rss { interface } => Ok(rss_words(&kernel::rss_table(interface)?)),
            Setting::Irq { number, .. } => file(format!("/proc/irq/{number}/smp_affinity_list")),
            Setting::Sysctl { key } => file(format!("/proc/sys/{}", key.replace('.', "/"))),
            Setting::Mount { at } => {
                let mounts = fs::read_to_string("/proc/self/mounts")?;
                Ok(if is_bpf(&mounts, at) {
                    "bpf"
                } else {
                    "nothing"
                }
                .into())
            }
        }
    }

    fn run(&mut self, command: &SetCommand) -> Result<(), String> {
        *self.links.get_mut() = None;
        match command {
            SetCommand::Write { text, file } => {
                fs::write(file, text).map_err(|error| format!("{file}: {error}"))
            }
            SetCommand::Run(words) => {
                let Some((program, arguments)) = words.split_first() else {
                    return Err("nothing to run".into());
                };
                let hold = self.lock.as_ref().map(File::try_clone).transpose();
                let hold = hold.map_err(|error| format!("{program}: {error}"))?;
                run(program, arguments, hold)
            }
        }
    }

    fn place(&self, setting: &Setting) -> Place {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let namespace = fs::metadata("/proc/thread-self/ns/net").map_or(0, |file| file.ino());
        let device = setting.interface().and_then(|interface| {
            let links = self.links().ok()?;
            let link = links.iter().find(|link| link.name == interface)?;
            Some((link.index, link.mac))
        });
        Place {
            boot: boot.trim().to_owned(),
            namespace,
            device,
        }
    }

    fn changed_with(&self, setting: &Setting) -> Vec<(Setting, String)> {
        let (Setting::Offload { interface, .. }
        | Setting::Channels { interface }
        | Setting::Ring { interface }
        | Setting::Mtu { interface }) = setting
        else {
            return Vec::new();
        };
        let offloads = kernel::offloads(interface).unwrap_or_default();
        let offload = |one: Offload| {
            let interface = interface.clone();
            let feature = one.name;
            (Setting::Offload { interface, feature }, on_or_off(one.on))
        };
        let mut others: Vec<_> = offloads.into_iter().map(offload).collect();
        let more = match setting {
            Setting::Mtu { .. } => {
                let links = self.links();
                let links = links.as_deref().unwrap_or_default();
                let stacked = stacked_on(interface, links).into_iter();
                stacked
                    .map(|interface| Setting::Mtu { interface })
                    .collect()
            }
            Setting::Channels { .. } => vec![Setting::Rss {
                interface: interface.clone(),
            }],
            _ => Vec::new(),
        };
        let value = |other: Setting| Some((other.clone(), self.read(&other).ok()?));
        others.extend(more.into_iter().filter_map(value));
        others.retain(|(other, _)| other != setting);
        others
    }

    fn obstacle(&self, setting: &Setting) -> Option<String> {
        /// What the kernel itself puts there (`bpf_preload`, kernel/bpf/preload).
        const KERNELS: [&str; 2] = ["maps.debug", "progs.debug"];
        let Setting::Mount { at } = setting else {
            return None;
        };
        let mut entries = fs::read_dir(at).into_iter().flatten().flatten();
        let is_pinned = |entry: fs::DirEntry| {
            let name = entry.file_name();
            KERNELS.iter().all(|own| name != *own)
        };
        entries.any(is_pinned).then(|| {
            format!("{at} holds what is pinned there: stop synward and run `synward unload` first")
        })
    }
}

fn on_or_off(on: bool) -> String {
    if on { "on" } else { "off" }.to_owned()
}

/// Runs a program, which gets `hold` as its standard input: it reads none.
fn run(program: &str, arguments: &[String], hold: Option<File>) -> Result<(), String> {
    let ran = Command::new(program)
        .args(arguments)
        .stdin(hold.map_or_else(Stdio::null, Stdio::from))
        .output();
    let output = match ran {
        Ok(output) => output,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(format!(
                "{program} is not installed (Debian: `apt install {}`)",
                package(program)
            ));
        }
        Err(error) => return Err(format!("{program}: {error}")),
    };
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said: Vec<_> = said.lines().map(str::trim).collect();
    Err(format!("{} ({})", said.join("; "), output.status))
}

/// The VLANs, macvlans and the like on an interface, and the bridge or bond that it is a port of, on any level. Their MTU follows
/// that of what is below them (`NETDEV_CHANGEMTU` in net/8021q/vlan.c, drivers/net/macvlan.c, net/bridge/br.c).
fn stacked_on(interface: &str, links: &[Link]) -> Vec<String> {
    let mut below: Vec<_> = links.iter().filter(|link| link.name == interface).collect();
    let mut stacked: Vec<&Link> = Vec::new();
    while let Some(lower) = below.pop() {
        // The other end of a veth is not on top of it.
        let is_upper = |link: &&Link| {
            link.kind != "veth" && link.lower == Some(lower.index)
                || lower.master == Some(link.index)
        };
        let is_known = |link: &Link| stacked.iter().any(|one| one.index == link.index);
        let upper = links.iter().filter(is_upper);
        let new: Vec<_> = upper.filter(|link| !is_known(link)).collect();
        below.extend(&new);
        stacked.extend(new);
    }
    stacked.into_iter().map(|link| link.name.clone()).collect()
}

fn package(program: &str) -> &str {
    match program {
        "ip" => "iproute2",
        "sysctl" => "procps",
        other => other,
    }
}

/// Whether a BPF file system is mounted exactly there (proc_mounts(5)).
fn is_bpf(mounts: &str, at: &str) -> bool {
    let at = Path::new(at);
    mounts.lines().any(|line| {
        let mut fields = line.split(' ').skip(1);
        // A space in a path is written as \040.
        let place = fields.next().unwrap_or_default().replace("\\040", " ");
        Path::new(&place) == at && fields.next() == Some("bpf")
    })
}

/// An RSS table in the words of `ethtool -X`. A table that `equal` does not make is given by its weights.
fn rss_words(table: &[u32]) -> String {
    let (Some(first), Some(last)) = (table.iter().min(), table.iter().max()) else {
        return "default".into();
    };
    let count = last - first + 1;
    let is_equal = (0..)
        .zip(table)
        .all(|(at, queue)| *queue == first + at % count);
    match (is_equal, first) {
        (true, 0) => format!("equal {count}"),
        (true, first) => format!("start {first} equal {count}"),
        (false, _) => {
            let weight = |queue: u32| table.iter().filter(|one| **one == queue).count();
            let weights = (0..=*last).map(|queue| weight(queue).to_string());
            format!("weight {}", weights.collect::<Vec<_>>().join(" "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_are_listed_once_after_each_command() {
        let mut machine = ThisMachine::default();
        let first = machine.links().unwrap();
        assert!(Rc::ptr_eq(&first, &machine.links().unwrap()));
        let nothing = SetCommand::Run(vec!["true".into()]);
        assert_eq!(machine.run(&nothing), Ok(()));
        assert!(!Rc::ptr_eq(&first, &machine.links().unwrap()));
    }

    #[test]
    fn an_rss_table_is_told_in_the_words_that_make_it() {
        assert_eq!(rss_words(&[0, 1, 2, 3, 0, 1, 2, 3]), "equal 4");
        assert_eq!(rss_words(&[0, 0, 0]), "equal 1");
        assert_eq!(rss_words(&[2, 3, 2, 3]), "start 2 equal 2");
        assert_eq!(rss_words(&[0, 0, 0, 2]), "weight 3 0 1");
        assert_eq!(rss_words(&[]), "default");
    }

    #[test]
    fn a_mount_is_that_of_the_directory_itself() {
        let mounts =
            "sysfs /sys sysfs rw 0 0\nbpf /sys/fs/bpf bpf rw 0 0\nnone /a\\040b bpf rw 0 0\n";
        assert!(is_bpf(mounts, "/sys/fs/bpf") && is_bpf(mounts, "/sys/fs/bpf/"));
        assert!(is_bpf(mounts, "/a b"));
        assert!(!is_bpf(mounts, "/sys") && !is_bpf(mounts, "/sys/fs/bpf/x"));
    }

    #[test]
    fn what_is_stacked_on_an_interface_has_its_mtu_too() {
        let link = |index, kind: &str, lower, master| Link {
            index,
            name: format!("i{index}"),
            kind: kind.into(),
            lower,
            master,
            ..Link::default()
        };
        let links = [
            link(1, "veth", Some(9), None),
            link(2, "vlan", Some(1), Some(5)),
            link(3, "vlan", Some(2), None),
            link(4, "veth", Some(1), None),
            link(5, "bridge", None, None),
            link(6, "vlan", Some(7), None),
        ];
        let mut stacked = stacked_on("i1", &links);
        stacked.sort();
        assert_eq!(stacked, ["i2", "i3", "i5"]);
        assert!(stacked_on("none", &links).is_empty());
    }

    #[test]
    fn a_program_that_is_not_there_or_fails_is_named() {
        let mut machine = ThisMachine::default();
        let mut run = |words: &[&str]| {
            let words = words.iter().map(|word| (*word).to_owned());
            machine.run(&SetCommand::Run(words.collect()))
        };
        let absent = run(&["sw-no-such-program"]).err().unwrap_or_default();
        assert!(absent.contains("not installed"), "{absent}");
        let failed = run(&["ls", "/sw-nowhere"]).err().unwrap_or_default();
        assert!(failed.contains("/sw-nowhere"), "{failed}");
        assert_eq!(run(&["true"]), Ok(()));
    }
}
