//! `synward capture`: a sample of the frames of a service, with what the XDP program decided about each.
//!
//! The process that serves only says which program and which index the service has. This command writes what it wants into a map
//! of the running program, and reads the frames from its ring (`ebpf/xdp/src/capture.rs`).
//!
//! | file | what it does |
//! |---|---|
//! | `reason` | the words of `--reason`, and the counters that they stand for |
//! | `tap` | the maps: what is wanted, and the ring of frames |
//! | `pcapng_file` | writes frames and their verdicts as pcapng |
//! | `summary` | counts what was captured, for people |
#![forbid(unsafe_code)]

mod pcapng_file;
mod reason;
mod summary;
mod tap;

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, BufWriter, ErrorKind, IsTerminal as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::OFlags;
use rustix::io::Errno;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::observe::control_client::{ClientError, query_capture_target};
use pcapng_file::PcapngFile;
pub use reason::Reason;
pub use summary::Summary;
use tap::Tap;
pub use tap::TapError;

/// How long a look at the ring waits for frames. A signal ends the capture within this time.
const WAIT: Duration = Duration::from_millis(100);

/// What is to be captured, and where it goes.
#[derive(Clone, Debug)]
pub struct Capture {
    /// The service's name.
    pub service: String,
    /// Frames with one of these reasons.
    pub reasons: Vec<Reason>,
    /// Ends after so many frames.
    pub count: u64,
    /// Ends after this time.
    pub time: Duration,
    /// The file; `None`: stdout.
    pub out: Option<PathBuf>,
}

/// Why nothing can be captured.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the messages say it
pub enum CaptureError {
    #[error(
        "a capture is binary, and stdout is a terminal; name a file with `--out F.pcapng`, or pipe it: `synward capture … | \
        tshark -r -`"
    )]
    Terminal,

    #[error(transparent)]
    Client(#[from] ClientError),

    #[error(transparent)]
    Tap(#[from] TapError),

    #[error("cannot write {0}: {1}")]
    Output(String, io::Error),

    #[error("cannot write {0}: it is a FIFO that nobody reads; start its reader first")]
    NoReader(String),

    #[error("the reader of the capture ended before a frame arrived")]
    ReaderEnded,

    #[error("cannot wait for signals: {0}")]
    Signals(io::Error),
}

impl Capture {
    /// Captures until there are enough frames, the time is over, or SIGINT, SIGTERM or SIGHUP arrives. Calls `began` when frames
    /// are captured from now on.
    ///
    /// # Errors
    /// Stdout is a terminal, no process runs or it has no such service, another capture runs, the file cannot be written, or
    /// its reader has ended before a frame arrived.
    pub fn run(&self, control: &Path, began: impl FnOnce(&str)) -> Result<Summary, CaptureError> {
        if self.out.is_none() && io::stdout().is_terminal() {
            return Err(CaptureError::Terminal);
        }
        let stop = stop_flag().map_err(CaptureError::Signals)?;
        let target = query_capture_target(control, &self.service)?;
        let counters = reason::counters_of(&self.reasons);
        let mut tap = Tap::open(&target, counters, self.count, self.time)?;
        let mut summary = Summary::new(&self.reasons);
        let written = self.open().and_then(|output| {
            let reader = output.try_clone()?;
            let mut file = PcapngFile::new(BufWriter::new(output), &target)?;
            began(&format!(
                "capturing {} of service \"{}\"",
                reason::words(&self.reasons),
                self.service
            ));
            let until = Instant::now() + self.time;
            loop {
                let left = until.saturating_duration_since(Instant::now());
                // What arrived before the end is read after it is known.
                let ends = left.is_zero() || stop.load(Ordering::Relaxed);
                let wait = if ends { Duration::ZERO } else { WAIT.min(left) };
                let mut records = tap.wait(wait, reader.as_fd())?;
                records.truncate((self.count - summary.frames()) as usize);
                for record in &records {
                    file.write(&self.service, record)?;
                }
                file.flush()?;
                records.iter().for_each(|one| summary.add(one.counted));
                if ends || summary.frames() == self.count {
                    return Ok(());
                }
            }
        });
        summary.set_lost(tap.lost());
        // A process that is gone has left its program in place.
        if query_capture_target(control, &self.service)
            .is_ok_and(|now| now.program != target.program)
        {
            summary.set_replaced();
        }
        match written {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                if summary.frames() == 0 {
                    return Err(CaptureError::ReaderEnded);
                }
                summary.set_reader_ended();
            }
            Err(error) if error.raw_os_error() == Some(Errno::NXIO.raw_os_error()) => {
                return Err(CaptureError::NoReader(self.place()));
            }
            Err(error) => return Err(CaptureError::Output(self.place(), error)),
            Ok(()) => {}
        }
        Ok(summary)
    }

    /// Where the capture goes, for messages.
    fn place(&self) -> String {
        match &self.out {
            Some(path) => path.display().to_string(),
            None => "to stdout".into(),
        }
    }

    /// Opens the file. It holds what clients sent, so only its owner may read it.
    fn open(&self) -> io::Result<File> {
        let Some(path) = &self.out else {
            return Ok(io::stdout().as_fd().try_clone_to_owned()?.into());
        };
        let mut options = OpenOptions::new();
        let options = options.write(true).create(true).truncate(true).mode(0o600);
        // A FIFO without a reader is refused; otherwise it would block, and no signal would end that.
        let nonblocking = OFlags::NONBLOCK.bits() as i32;
        let file = options.custom_flags(nonblocking).open(path)?;
        rustix::fs::fcntl_setfl(&file, OFlags::empty())?;
        if file.metadata()?.is_file() {
            // Also one that was there before.
            file.set_permissions(Permissions::from_mode(0o600))?;
        }
        Ok(file)
    }
}

/// A flag that SIGINT, SIGTERM and SIGHUP set. The second one ends the process, which may be waiting for a reader.
fn stop_flag() -> io::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register_conditional_default(signal, Arc::clone(&stop))?;
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    Ok(stop)
}
