//! The command line: the commands of `synward` and their help texts. Their arguments are in `arguments.rs`.

#![forbid(unsafe_code)]

mod arguments;
mod value_parsers;

use std::path::{Path, PathBuf};

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

pub use self::arguments::{
    CaptureArgs, Check, Doctor, Drain, Flows, ListAction, Lists, Output, Run, SecretArgs, SetMode,
    Top, Tune, Unload,
};
use crate::config::DEFAULT_CONTROL;

/// One line of the help texts; a macro for `concat!`.
macro_rules! exit_codes {
    () => {
        "Exit codes: 0 success, 1 failure, 2 wrong use; `status`, `top` and `capture` also 3 degraded, 4 not running; \
         `doctor` also 3 warnings."
    };
}

/// Protects TCP services from SYN floods: servers see only clients whose SYN cookie was valid
#[derive(Clone, Debug, Parser)]
#[command(
    name = "synward",
    version,
    propagate_version = true,
    disable_help_subcommand = true,
    after_help = exit_codes!(),
    after_long_help = concat!(
        "\
Examples:
  synward check --example > /etc/synward/synward.toml    write a file with every key and its default
  synward check --config /etc/synward/synward.toml       list its problems, line by line
  synward run --config /etc/synward/synward.toml         serve
  synward status                                         show the state of the running process

",
        exit_codes!()
    )
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
    /// Exit 0 serving, 3 degraded (with the reasons; also if the process does not answer, or its answer cannot be read), 4 not
    /// running, 2 if you may not ask it. docs/status.schema.json describes the JSON document.
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
    /// Write a sample of what is dropped, challenged or proven to a pcapng file
    ///
    /// Each frame has the decision of the XDP program as its comment, with the reason of a drop as metrics name it. Frames are
    /// shown as they arrived, at most 256 bytes of each. Ends after --count frames, after --seconds, or by Ctrl-C, and the
    /// file is complete then. Costs nothing while nobody captures. Needs root. docs/where-did-my-packet-go.md says what it
    /// can see. If the process cannot be asked, the exit codes are those of `status`.
    #[command(after_long_help = "\
Examples:
  synward capture --service web --out web.pcapng
  synward capture --service web --reason invalid_cookie --count 20 | tshark -r - -T fields -e ip.src -e frame.comment")]
    Capture(CaptureArgs),
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
    /// The longest prefix that contains a source decides. Entries added here end with the process, or after --for.
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
    /// The longest prefix that contains a source decides. Entries added here end with the process, or after --for.
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
    /// `/readyz` and `status` say so at once; then SYNs are dropped, and clients try again elsewhere. Cookies that were
    /// issued stay valid. Returns when no spliced connection is left or the timeout is over; the process exits with 0 then. If this
    /// command is interrupted, the drain goes on. Exit 1 if `synward undrain` has cancelled it, or the process has ended
    /// before.
    #[command(after_long_help = "Example:\n  synward drain --timeout 5m")]
    Drain(Drain),
    /// Cancel `drain`: accept new connections again
    Undrain,
    /// Print a new secret, or the key of one service
    ///
    /// Without an option: prints 32 random bytes as 64 hex digits, a line of a secret file. With --service: prints
    /// service:NAME:KEY, one line for each secret in the secret file, for a machine that serves only that service. With
    /// --config: prints no secret; creates the secret file as the first start would, so that `run` needs no right to write
    /// beside its configuration.
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
        assert_eq!(pages.len(), 1 + commands.get_subcommands().count());
        for (name, roff) in pages {
            let text = String::from_utf8(roff).unwrap();
            assert!(text.contains(".SH SYNOPSIS"), "{name}");
        }
    }
}
