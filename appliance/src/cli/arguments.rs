//! The arguments of each command, and their help texts.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use ipnet::IpNet;

use super::value_parsers::{client, interval, modes, prefix, reasons, service_name, states};
use crate::capture::{Capture, Reason};
use crate::config::{DEFAULT_SECRET, Mode};
use crate::duration_text::parse_duration;
use crate::lists::{List, ListRequest, ListVerb};
use crate::observe::FlowState;
use crate::observe::log::LogFormat;
use crate::tune::DEFAULT_RECORD;

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
    /// Configuration file; with --against-running, that of the running process unless named
    #[arg(long, value_name = "FILE", required_unless_present_any = ["example", "against_running"])]
    pub config: Option<PathBuf>,
    /// Print a valid file that shows every key with its default and description
    #[arg(long, conflicts_with = "config")]
    pub example: bool,
    /// Compare the file with the running process
    #[arg(long, conflicts_with = "example")]
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

/// Arguments of `capture`.
#[derive(Args, Clone, Debug)]
pub struct CaptureArgs {
    /// Frames of this service
    #[arg(long, value_name = "NAME", value_parser = service_name)]
    pub service: String,
    /// Only frames with this reason; may be repeated [default: challenged, proven and dropped]
    #[arg(long, value_delimiter = ',', value_parser = reasons())]
    pub reason: Vec<Reason>,
    /// End after this many frames, at most 100000
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub count: u64,
    /// End after this many seconds, at most a day
    #[arg(long, value_name = "S", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub seconds: u64,
    /// The file; - is stdout, if that is no terminal
    #[arg(long, value_name = "FILE", default_value = "-")]
    pub out: PathBuf,
}

impl CaptureArgs {
    /// What is to be captured.
    pub fn capture(&self) -> Capture {
        let reasons = match self.reason.is_empty() {
            true => Reason::usual(),
            false => self.reason.clone(),
        };
        Capture {
            service: self.service.clone(),
            reasons,
            count: self.count,
            time: Duration::from_secs(self.seconds),
            out: (self.out != Path::new("-")).then(|| self.out.clone()),
        }
    }
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
    /// Configuration file; --undo reads none
    #[arg(long, value_name = "FILE", required_unless_present = "undo")]
    pub config: Option<PathBuf>,
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
    /// Create the secret file of this configuration if it is absent and the first start would create it
    #[arg(long, value_name = "FILE", conflicts_with_all = ["service", "secret"])]
    pub config: Option<PathBuf>,
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
