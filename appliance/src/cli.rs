//! The command line: every command of `synward`, its arguments and its help.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use crate::config::{Choice, DEFAULT_CONTROL, DEFAULT_SECRET, Mode, is_name};

/// Answers SYN floods in front of TCP services, so that their servers meet only clients that are real
#[derive(Clone, Debug, Parser)]
#[command(
    name = "synward",
    version,
    propagate_version = true,
    disable_help_subcommand = true,
    after_help = "Exit codes: 0 fine, 1 failed, 2 wrong use; `status` also 3 degraded, 4 not running.",
    after_long_help = "\
Examples:
  synward check --example > /etc/synward/synward.toml    begin with every key and its meaning
  synward check --config /etc/synward/synward.toml       what is wrong with it, line by line
  synward run --config /etc/synward/synward.toml         serve
  synward status                                         how it is doing

Exit codes: 0 fine, 1 failed, 2 wrong use; `status` also 3 degraded, 4 not running."
)]
pub struct Cli {
    /// Control socket of the running process [default: /run/synward/control.sock; for `run`: as configured]
    #[arg(long, global = true, value_name = "PATH")]
    pub control: Option<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// The control socket to talk to.
    pub fn control(&self) -> &Path {
        self.control
            .as_deref()
            .unwrap_or(Path::new(DEFAULT_CONTROL))
    }

    /// The manual pages that clap makes of this, as (file name, roff): `synward.1` and one for each command.
    pub fn manual() -> Vec<(String, Vec<u8>)> {
        let mut command = Self::command();
        // Names the subcommands `synward-run` and so on.
        command.build();
        let subcommands = command.get_subcommands().cloned().collect::<Vec<_>>();
        std::iter::once(command)
            .chain(subcommands)
            .map(page)
            .collect()
    }

    /// The completion script of a shell.
    pub fn completions(shell: Shell) -> Vec<u8> {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Self::command(), "synward", &mut script);
        script
    }
}

fn page(command: clap::Command) -> (String, Vec<u8>) {
    let manual = clap_mangen::Man::new(command);
    let mut roff = Vec::new();
    // Writing to a Vec does not fail.
    let _ = manual.render(&mut roff);
    (manual.get_filename(), roff)
}

/// A command.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Serve in the foreground until SIGTERM or SIGINT
    ///
    /// Logs go to stderr. One line with `ready` follows once every interface is steered and every socket bound
    /// (READY=1 to systemd). SIGHUP changes nothing yet.
    #[command(after_long_help = "Example:\n  synward run --config /etc/synward/synward.toml")]
    Run(Run),
    /// Say what is wrong with a configuration file, line by line
    ///
    /// Prints every problem as FILE:LINE: what, and what would be right. Exit 0 if the file is valid, 1 if not. What is
    /// allowed but hardly meant goes to stderr as a warning.
    #[command(after_long_help = "\
Examples:
  synward check --config /etc/synward/synward.toml
  synward check --example > /etc/synward/synward.toml")]
    Check(Check),
    /// Show how the running process is doing
    ///
    /// Exit 0 serving, 3 degraded (and why), 4 not running.
    #[command(
        after_long_help = "Examples:\n  synward status\n  synward status --json | jq .services"
    )]
    Status(Output),
    /// Watch services, flows and workers live (not available yet)
    Top,
    /// List spliced flows and openings
    ///
    /// Openings come first. With --json: a list of objects.
    #[command(after_long_help = "Example:\n  synward flows --json | jq length")]
    Flows(Flows),
    /// Tell what fits on this machine and what does not, with the command that mends it (not available yet)
    #[command(after_long_help = "Example:\n  synward doctor --config /etc/synward/synward.toml")]
    Doctor(Doctor),
    /// Apply what `doctor` recommends, printing each command (not available yet)
    #[command(after_long_help = "\
Examples:
  synward tune --config /etc/synward/synward.toml --dry-run
  synward tune --config /etc/synward/synward.toml --undo")]
    Tune(Tune),
    /// Have the running process read its configuration again (not available yet)
    Reload,
    /// Set the mode of a service until the next reload or start
    #[command(after_long_help = "Examples:\n  synward mode web monitor\n  synward mode web always")]
    Mode(SetMode),
    /// Take no new connections; those that exist go on (not available yet)
    Drain,
    /// Take new connections again (not available yet)
    Undrain,
    /// Print a new secret, or the key of one service
    ///
    /// Without --service: 32 random bytes as 64 hex digits, a line of a secret file. With --service: the line
    /// service:NAME:KEY, derived from the secret file (one line for each secret in it), for the secret file of a machine
    /// that serves only that service.
    #[command(after_long_help = "\
Examples:
  synward secret > /etc/synward/secret; chmod 600 /etc/synward/secret
  synward secret --service web --secret /etc/synward/secret")]
    Secret(SecretArgs),
    /// Remove the pinned programs and maps of a stopped appliance
    #[command(after_long_help = "Examples:\n  synward unload\n  synward unload --interface eth0")]
    Unload(Unload),
    /// Print the completion script of a shell
    #[command(after_long_help = "\
Example:
  synward completions bash > /usr/share/bash-completion/completions/synward")]
    Completions {
        /// Which shell
        shell: Shell,
    },
    /// Print the manual page, or write all of them to a folder
    #[command(
        after_long_help = "Examples:\n  synward man | man -l -\n  synward man --folder /usr/share/man/man1"
    )]
    Man {
        /// Write synward.1 and a page for each command here
        #[arg(long, value_name = "DIR")]
        folder: Option<PathBuf>,
    },
}

impl Command {
    /// The name of a command that this version parses, but does not do.
    pub fn not_available(&self) -> Option<&'static str> {
        match self {
            Self::Top => Some("top"),
            Self::Doctor(_) => Some("doctor"),
            Self::Tune(_) => Some("tune"),
            Self::Reload => Some("reload"),
            Self::Drain => Some("drain"),
            Self::Undrain => Some("undrain"),
            _ => None,
        }
    }
}

/// Arguments of `run`.
#[derive(Args, Clone, Debug)]
pub struct Run {
    /// Configuration file
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// On stop, leave the pinned program in place: it goes on carrying flows and answering SYNs
    #[arg(long)]
    pub keep_steering: bool,
}

/// Arguments of `check`.
#[derive(Args, Clone, Debug)]
#[group(required = true, multiple = false)]
pub struct Check {
    /// Configuration file
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print a valid file that shows every key with its default and its meaning
    #[arg(long)]
    pub example: bool,
}

/// How to print.
#[derive(Args, Clone, Copy, Debug)]
pub struct Output {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `flows`.
#[derive(Args, Clone, Copy, Debug)]
pub struct Flows {
    /// How to print.
    #[command(flatten)]
    pub output: Output,
    /// Show at most this many
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub limit: usize,
}

/// Arguments of `doctor`.
#[derive(Args, Clone, Debug)]
pub struct Doctor {
    /// Configuration file; without it, every interface is looked at
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// How to print.
    #[command(flatten)]
    pub output: Output,
}

/// Arguments of `tune`.
#[derive(Args, Clone, Debug)]
pub struct Tune {
    /// Configuration file
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Print the commands and change nothing
    #[arg(long, conflicts_with = "undo")]
    pub dry_run: bool,
    /// Take back what an earlier `tune` changed
    #[arg(long)]
    pub undo: bool,
}

/// Arguments of `mode`.
#[derive(Args, Clone, Debug)]
pub struct SetMode {
    /// Name of the service
    #[arg(value_parser = service_name)]
    pub service: String,
    /// always: challenge every client; monitor, off: challenge nobody, connections that synward has made go on
    #[arg(value_parser = modes())]
    pub mode: Mode,
}

/// Arguments of `secret`.
#[derive(Args, Clone, Debug)]
pub struct SecretArgs {
    /// Derive the key of this service
    #[arg(long, value_name = "NAME", value_parser = service_name)]
    pub service: Option<String>,
    /// The secret file to derive it from
    #[arg(long, value_name = "FILE", requires = "service", default_value = DEFAULT_SECRET)]
    pub secret: PathBuf,
}

/// Arguments of `unload`.
#[derive(Args, Clone, Debug)]
pub struct Unload {
    /// Only from this interface; with the last one, everything
    #[arg(long, value_name = "IF")]
    pub interface: Option<String>,
    /// Folder in which the appliance pinned its program, as `pin` in its configuration
    #[arg(long, value_name = "FOLDER", default_value = "/sys/fs/bpf/synward")]
    pub pin: PathBuf,
}

fn service_name(text: &str) -> Result<String, String> {
    if is_name(text) {
        Ok(text.to_owned())
    } else {
        Err("a service's name has 1 to 32 characters of a-z, 0-9, _ and -".into())
    }
}

/// Completes to what works, and says by name what does not work yet.
fn modes() -> impl TypedValueParser<Value = Mode> {
    let later = Mode::NOT_YET
        .iter()
        .map(|word| PossibleValue::new(word).hide(true));
    let words = Mode::WORDS.iter().map(|(word, _)| PossibleValue::new(word));
    PossibleValuesParser::new(words.chain(later)).try_map(|word| Mode::parse("mode", &word))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn clap_finds_nothing_wrong() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_has_a_manual_page() {
        let pages = Cli::manual();
        assert_eq!(pages.len(), 1 + Cli::command().get_subcommands().count());
        for (name, roff) in pages {
            let text = String::from_utf8(roff).unwrap();
            assert!(text.contains(".SH SYNOPSIS"), "{name}");
        }
    }
}
