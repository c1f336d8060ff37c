//! The command line: the commands of `synward`, their arguments and help texts.

#![forbid(unsafe_code)]

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use ipnet::IpNet;

use crate::config::{Choice, DEFAULT_CONTROL, DEFAULT_SECRET, Mode, parse_listed_prefix};
use crate::duration_text::parse_duration;
use crate::events::command_link::RUNNER;
use crate::lists::{List, ListRequest, ListVerb};
use crate::observe::FlowState;
use crate::observe::log::LogFormat;
use crate::secret::is_service_name;
use crate::tune::DEFAULT_RECORD;

/// Protects TCP services from SYN floods: servers see only clients whose SYN cookie was valid
#[derive(Clone, Debug, Parser)]
#[command(
    name = "synward",
    version,
    propagate_version = true,
    disable_help_subcommand = true,
    after_help = "Exit codes: 0 success, 1 failure, 2 wrong use; `status` and `top` also 3 degraded, 4 not running; `doctor` also 3 warnings.",
    after_long_help = "\
Examples:
  synward check --example > /etc/synward/synward.toml    write a file with every key and its default
  synward check --config /etc/synward/synward.toml       list its problems, line by line
  synward run --config /etc/synward/synward.toml         serve
  synward status                                         show the state of the running process

Exit codes: 0 success, 1 failure, 2 wrong use; `status` and `top` also 3 degraded, 4 not running; `doctor` also 3 warnings."
)]
pub struct Cli {
    /// Control socket of the running process [default: /run/synward/control.sock; for `run`: as configured]
    #[arg(long, global = true, value_name = "PATH")]
    pub control: Option<PathBuf>,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// Path of the control socket.
    pub fn control(&self) -> &Path {
        self.control
            .as_deref()
            .unwrap_or(Path::new(DEFAULT_CONTROL))
    }

    /// The manual pages, as (file name, roff): `synward.1` and one for each command.
    pub fn manual() -> Vec<(String, Vec<u8>)> {
        let mut command = Self::command();
        // Names the subcommands `synward-run` and so on.
        command.build();
        let shown = command.get_subcommands().filter(|one| !one.is_hide_set());
        let subcommands = shown.cloned().collect::<Vec<_>>();
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
    // Writing to a Vec cannot fail.
    let _ = manual.render(&mut roff);
    (manual.get_filename(), roff)
}

/// A command.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Serve in the foreground until SIGTERM or SIGINT
    ///
    /// Logs to stderr. A line with `ready` reports that every interface is steered and every socket bound (READY=1 to
    /// systemd). SIGHUP reloads the configuration, as `synward reload` does.
    #[command(after_long_help = "Example:\n  synward run --config /etc/synward/synward.toml")]
    Run(Run),
    /// List the problems of a configuration file, line by line
    ///
    /// Prints each problem as FILE:LINE: what is wrong, and what would be right. Exit 0 if the file is valid, 1 if not.
    /// Settings that are valid but probably not intended are printed on stderr as warnings. With --against-running: prints
    /// what a reload would change, and what needs a restart; changes nothing; exit 1 if a reload would be refused.
    #[command(after_long_help = "\
Examples:
  synward check --config /etc/synward/synward.toml
  synward check --example > /etc/synward/synward.toml")]
    Check(Check),
    /// Show the state of the running process
    ///
    /// Exit 0 serving, 3 degraded (with the reasons), 4 not running. docs/status.schema.json describes the JSON document.
    #[command(
        after_long_help = "Examples:\n  synward status\n  synward status --json | jq .services"
    )]
    Status(Output),
    /// Show services, their rates, workers and handoffs live
    ///
    /// Shows what `status --json` contains, and rates between two samples. Keys: q, Esc or Ctrl-C ends; s changes the order
    /// of services, r reverses it; up and down pick the service whose drops and handoffs are shown. With NO_COLOR set, or on
    /// a monochrome terminal (TERM=vt100), no colours are used. Without a process it waits for one.
    ///
    /// With --once: prints one picture as text after two samples; exit codes as `status`.
    #[command(after_long_help = "Examples:\n  synward top\n  synward top --once --interval 5")]
    Top(Top),
    /// List spliced flows and openings
    ///
    /// Lists openings first. With --json: a list of objects. Conditions are combined: every one must hold.
    #[command(after_long_help = "\
Examples:
  synward flows --service web --state opening
  synward flows --client 198.51.100.0/24
  synward flows --json --limit 1000000 | jq length")]
    Flows(Flows),
    /// Check kernel, driver and settings of this machine, with the command that fixes each problem
    ///
    /// Changes nothing. Without --config, checks every interface that leads to a network. Runs without root, and reports what
    /// it could not see. With --json: a list of objects with id, interface, service, status (ok, warn, fail), what, why,
    /// command and tune (whether `synward tune` runs the command). docs/doctor.md lists the ids.
    ///
    /// Exit 0 if all is ok, 1 if something fails, 3 if there are only warnings.
    #[command(after_long_help = "\
Examples:
  synward doctor --config /etc/synward/synward.toml
  synward doctor --json | jq -r '.[] | select(.status != \"ok\") | .command // empty'")]
    Doctor(Doctor),
    /// Run the commands that `doctor` recommends for the interfaces of a configuration
    ///
    /// Prints each command before it runs, and continues if one fails. Records first what it finds, so that --undo restores
    /// it. Changes only what can be restored; prints the rest as comments. Needs root, except with --dry-run.
    ///
    /// Exit 0 if every command succeeded, 1 if not.
    #[command(after_long_help = "\
Examples:
  synward tune --config /etc/synward/synward.toml --dry-run
  synward tune --config /etc/synward/synward.toml --undo")]
    Tune(Tune),
    /// Make the running process read its configuration again
    ///
    /// Prints what changes, one line for each difference. If the file has a problem, or a difference needs a restart, prints
    /// these and changes nothing. Exit 0 done, 1 refused. No connection ends and no socket is bound again: a service that
    /// is removed keeps its spliced connections until they end. The secret file is read, too.
    #[command(
        after_long_help = "Examples:\n  synward check --config /etc/synward/synward.toml --against-running\n  synward reload"
    )]
    Reload,
    /// Set the mode of a service until the next reload or start
    ///
    /// No mode ends a connection. Connections from before a change to always, or from before an attack, continue.
    #[command(after_long_help = "Examples:\n  synward mode web auto\n  synward mode web monitor")]
    Mode(SetMode),
    /// List or change the sources that are never challenged
    ///
    /// Of all prefixes that hold a source, the longest decides. Entries added here end with the process, or after --for.
    #[command(
        disable_help_subcommand = true,
        after_long_help = "\
Examples:
  synward allow add 203.0.113.0/24 --for 1h
  synward allow list
  synward allow remove 203.0.113.0/24"
    )]
    Allow(Lists),
    /// List or change the sources whose segments are dropped
    ///
    /// Of all prefixes that hold a source, the longest decides. Entries added here end with the process, or after --for.
    #[command(
        disable_help_subcommand = true,
        after_long_help = "\
Examples:
  synward deny add 198.51.100.0/24 --for 1h --service web
  synward deny list 198.51.100.7
  synward deny remove 198.51.100.0/24 --service web"
    )]
    Deny(Lists),
    /// Accept no new connections, wait for existing ones to end, and stop the process
    ///
    /// `/readyz` and `status` say so at once; then SYNs are dropped, and clients try again elsewhere. Cookies that are out stay
    /// good. Returns when no spliced connection is left or the timeout is over; the process exits with 0 then. If this
    /// command is interrupted, the drain goes on. Exit 1 if `synward undrain` has cancelled it.
    #[command(after_long_help = "Example:\n  synward drain --timeout 5m")]
    Drain(Drain),
    /// Cancel `drain`: accept new connections again
    Undrain,
    /// Print a new secret, or the key of one service
    ///
    /// Without --service: prints 32 random bytes as 64 hex digits, a line of a secret file. With --service: prints
    /// service:NAME:KEY, one line for each secret in the secret file, for a machine that serves only that service.
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
        /// The shell
        shell: Shell,
    },
    /// Run the programs of `on_event`: `run` starts this for itself
    #[command(name = RUNNER, hide = true)]
    EventCommands,
    /// Print the manual page, or write all pages to a directory
    #[command(
        after_long_help = "Examples:\n  synward man | man -l -\n  synward man --folder /usr/share/man/man1"
    )]
    Man {
        /// Write synward.1 and a page for each command to this directory
        #[arg(long, value_name = "DIR")]
        folder: Option<PathBuf>,
    },
}

/// Arguments of `run`.
#[derive(Args, Clone, Debug)]
pub struct Run {
    /// Configuration file
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// On stop, leave the pinned program attached: it continues to forward flows and to answer SYNs, and the next process takes
    /// it over; without this, a stop ends spliced connections
    #[arg(long)]
    pub keep_steering: bool,
    /// How the log is written to stderr [default: journal if that is where stderr leads, otherwise text]
    #[arg(long, value_name = "FORMAT")]
    pub log: Option<LogFormat>,
}

/// Arguments of `check`.
#[derive(Args, Clone, Debug)]
pub struct Check {
    /// Configuration file
    #[arg(long, value_name = "FILE", required_unless_present = "example")]
    pub config: Option<PathBuf>,
    /// Print a valid file that shows every key with its default and description
    #[arg(long, conflicts_with = "config")]
    pub example: bool,
    /// Compare the file with the running process
    #[arg(long, requires = "config")]
    pub against_running: bool,
}

/// The output format.
#[derive(Args, Clone, Copy, Debug)]
pub struct Output {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `top`.
#[derive(Args, Clone, Copy, Debug)]
pub struct Top {
    /// Print one picture as text, and end
    #[arg(long)]
    pub once: bool,
    /// Time between two samples
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = interval)]
    pub interval: Duration,
}

/// Arguments of `flows`.
#[derive(Args, Clone, Debug)]
pub struct Flows {
    /// How to print.
    #[command(flatten)]
    pub output: Output,
    /// Only flows of this service
    #[arg(long, value_name = "NAME", value_parser = service_name)]
    pub service: Option<String>,
    /// Only flows of this client, or of the clients in this prefix
    #[arg(long, value_name = "ADDRESS", value_parser = client)]
    pub client: Option<IpNet>,
    /// Only flows in this state
    #[arg(long, value_parser = states())]
    pub state: Option<FlowState>,
    /// Show at most this many
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub limit: usize,
}

/// Arguments of `doctor`.
#[derive(Args, Clone, Debug)]
pub struct Doctor {
    /// Configuration file; without it, every interface that leads to a network is checked
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
    /// Restore what earlier runs of `tune` found
    #[arg(long)]
    pub undo: bool,
    /// The file that records what was found
    #[arg(long, value_name = "FILE", default_value = DEFAULT_RECORD)]
    pub state: PathBuf,
}

/// Arguments of `mode`.
#[derive(Args, Clone, Debug)]
pub struct SetMode {
    /// Name of the service
    #[arg(value_parser = service_name)]
    pub service: String,
    /// always: challenge every client; auto: while the service is under attack; monitor, off: no client
    #[arg(value_parser = modes())]
    pub mode: Mode,
}

/// Arguments of `allow` and `deny`.
#[derive(Args, Clone, Debug)]
pub struct Lists {
    /// What to do.
    #[command(subcommand)]
    pub action: ListAction,
}

/// What to do with a list.
#[derive(Clone, Debug, Subcommand)]
pub enum ListAction {
    /// Add a prefix; if it was added before, it gets the new time
    Add {
        /// An address or a prefix
        #[arg(value_parser = prefix)]
        prefix: String,
        /// How long: 90s, 15m, 1h, 2d; without it, as long as the process runs
        #[arg(long = "for", value_name = "TIME", value_parser = parse_duration)]
        lasting: Option<Duration>,
        /// Only for this service
        #[arg(long, value_name = "NAME", value_parser = service_name)]
        service: Option<String>,
    },
    /// Remove a prefix that was added at run time
    Remove {
        /// The same address or prefix
        #[arg(value_parser = prefix)]
        prefix: String,
        /// Only for this service
        #[arg(long, value_name = "NAME", value_parser = service_name)]
        service: Option<String>,
    },
    /// List the entries, those of the run time first
    List {
        /// Only those that hold this address or prefix, or lie in it
        #[arg(value_parser = prefix)]
        prefix: Option<String>,
        /// Only those that are for this service
        #[arg(long, value_name = "NAME", value_parser = service_name)]
        service: Option<String>,
        /// How to print.
        #[command(flatten)]
        output: Output,
    },
}

impl ListAction {
    /// The request to the process.
    pub fn request(&self, list: List) -> ListRequest {
        let (verb, prefix, service, seconds) = match self {
            Self::Add {
                prefix,
                lasting,
                service,
            } => {
                let seconds = lasting.map(|time| time.as_secs());
                (ListVerb::Add, Some(prefix), service, seconds)
            }
            Self::Remove { prefix, service } => (ListVerb::Remove, Some(prefix), service, None),
            Self::List {
                prefix, service, ..
            } => (ListVerb::List, prefix.as_ref(), service, None),
        };
        ListRequest {
            list,
            verb,
            prefix: prefix.cloned(),
            service: service.clone(),
            seconds,
        }
    }
}

/// Arguments of `drain`.
#[derive(Args, Clone, Copy, Debug)]
pub struct Drain {
    /// When to stop with connections left: seconds, or 90s, 15m, 1h; without it, never
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub timeout: Option<Duration>,
}

/// Arguments of `secret`.
#[derive(Args, Clone, Debug)]
pub struct SecretArgs {
    /// Derive the key of this service
    #[arg(long, value_name = "NAME", value_parser = service_name)]
    pub service: Option<String>,
    /// The secret file from which the key is derived
    #[arg(long, value_name = "FILE", requires = "service", default_value = DEFAULT_SECRET)]
    pub secret: PathBuf,
}

/// Arguments of `unload`.
#[derive(Args, Clone, Debug)]
pub struct Unload {
    /// Only what another version pinned that this version cannot take over; before a start after an upgrade
    #[arg(long, conflicts_with = "interface")]
    pub incompatible: bool,
    /// Only this interface; removing the last one removes everything
    #[arg(long, value_name = "IF")]
    pub interface: Option<String>,
    /// Directory in which the appliance pinned its program: `pin` in its configuration
    #[arg(long, value_name = "DIR", default_value = "/sys/fs/bpf/synward")]
    pub pin: PathBuf,
}

fn prefix(text: &str) -> Result<String, String> {
    parse_listed_prefix(text).map(|net| net.to_string())
}

fn client(text: &str) -> Result<IpNet, String> {
    let address = || text.parse::<IpAddr>().map(IpNet::from);
    let prefix = text.parse::<IpNet>().map(|prefix| prefix.trunc());
    prefix.or_else(|_| address()).map_err(|_| {
        "use an address (198.51.100.7, 2001:db8::7) or a prefix (198.51.100.0/24, 2001:db8::/32)".into()
    })
}

fn states() -> impl TypedValueParser<Value = FlowState> {
    let words = FlowState::ALL.map(|state| PossibleValue::new(state.word()));
    PossibleValuesParser::new(words).try_map(|word| {
        let state = FlowState::ALL
            .into_iter()
            .find(|state| state.word() == word);
        state.ok_or("this is no state of a flow")
    })
}

fn interval(text: &str) -> Result<Duration, String> {
    let seconds = text
        .parse()
        .ok()
        .filter(|seconds| (0.1..=60.0).contains(seconds));
    seconds
        .map(Duration::from_secs_f64)
        .ok_or_else(|| "use a number of seconds from 0.1 to 60".into())
}

fn service_name(text: &str) -> Result<String, String> {
    if is_service_name(text) {
        Ok(text.to_owned())
    } else {
        Err("a service's name has 1 to 32 characters of a-z, 0-9, _ and -".into())
    }
}

/// Parses a mode.
fn modes() -> impl TypedValueParser<Value = Mode> {
    let words = Mode::WORDS.iter().map(|(word, _)| PossibleValue::new(word));
    PossibleValuesParser::new(words).try_map(|word| Mode::parse("mode", &word))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_passes_claps_assertions() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_has_a_manual_page() {
        let pages = Cli::manual();
        let commands = Cli::command();
        let shown = commands.get_subcommands().filter(|one| !one.is_hide_set());
        assert_eq!(pages.len(), 1 + shown.count());
        for (name, roff) in pages {
            let text = String::from_utf8(roff).unwrap();
            assert!(text.contains(".SH SYNOPSIS"), "{name}");
        }
    }
}
