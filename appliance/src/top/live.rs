//! The loop of the live picture: samples and keys in, pictures out.

use std::io;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, TryRecvError};
use std::thread;
use std::time::{Duration, Instant};

use crossterm::event::{self, Event, KeyEvent};
use ratatui::DefaultTerminal;
use ratatui::text::Text;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use signal_hook::consts::{SIGHUP, SIGTERM};

use super::choice::{Action, Choice};
use super::picture::{Picture, Size};
use super::rates::Rates;
use super::sampler::{Sample, start_sampler};
use super::terminal::{Palette, is_interactive};
use crate::observe::Snapshot;
use crate::observe::control_client::ClientError;
use crate::observe::number_format::format_span;

/// Longest time between a sample and its picture.
const LOOK: Duration = Duration::from_millis(100);

/// The exit code when the terminal is gone: that of a program that SIGHUP ends, as shells show it.
const HUNG_UP: i32 = 129;

/// Why there is no live picture.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    /// Input or output is a file or a pipe, or the terminal is unknown.
    #[error(
        "`top` needs a terminal for input and output, and TERM must name one that can place its cursor (not \"dumb\"); `synward \
        top --once` prints one picture as text, `synward status --json` everything"
    )]
    NoTerminal,
    /// The process cannot be asked, and waiting would not help.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The terminal does not work.
    #[error("the terminal cannot be used")]
    Terminal(#[from] io::Error),
}

/// `synward top`: runs until the user ends it. Without a process it waits for one.
///
/// The terminal is restored at the end, after a panic, and on SIGTERM and SIGHUP.
///
/// # Errors
/// There is no terminal, or the process refuses to be asked.
pub fn live(control: &Path, interval: Duration) -> Result<(), LiveError> {
    if !is_interactive() {
        return Err(LiveError::NoTerminal);
    }
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    thread::Builder::new()
        .name("hang-up".into())
        .spawn(end_with_terminal)?;
    let palette = Palette::of_environment();
    if palette == Palette::MONOCHROME {
        // crossterm sends the default colours too otherwise.
        crossterm::style::force_color_output(false);
    }
    let samples = start_sampler(control.to_owned(), interval)?;
    // Also restores the terminal after a panic.
    let mut terminal = ratatui::try_init()?;
    let ended = Screen::new(palette).run(&mut terminal, &samples, &stop);
    ratatui::try_restore()?;
    ended
}

/// Ends the process when its terminal is gone: a lost connection, a closed window. crossterm would then read the end of the input
/// for ever without a pause, and look at no flag.
fn end_with_terminal() {
    let stdin = io::stdin();
    let terminal = stdin.as_fd();
    loop {
        let mut watched = [PollFd::new(&terminal, PollFlags::empty())];
        match poll(&mut watched, None) {
            Ok(_) if !watched[0].revents().is_empty() => std::process::exit(HUNG_UP),
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => return,
        }
    }
}

/// What is known and chosen.
struct Screen {
    snapshot: Option<Box<Snapshot>>,
    rates: Option<Rates>,
    /// Why there is no newer snapshot, and since when.
    trouble: Option<(String, Instant)>,
    choice: Choice,
    palette: Palette,
}

impl Screen {
    fn new(palette: Palette) -> Self {
        Self {
            snapshot: None,
            rates: None,
            trouble: None,
            choice: Choice::default(),
            palette,
        }
    }

    fn run(
        &mut self,
        terminal: &mut DefaultTerminal,
        samples: &Receiver<Sample>,
        stop: &AtomicBool,
    ) -> Result<(), LiveError> {
        while !stop.load(Relaxed) {
            let mut changed = false;
            match samples.try_recv() {
                Ok(sample) => {
                    self.take(sample)?;
                    changed = true;
                }
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => return Ok(()),
            }
            while event::poll(if changed { Duration::ZERO } else { LOOK })? {
                match event::read()? {
                    Event::Key(key) => match self.press(key) {
                        Action::Quit => return Ok(()),
                        Action::Redraw => changed = true,
                        Action::Nothing => {}
                    },
                    Event::Resize(..) => changed = true,
                    _ => {}
                }
            }
            if changed {
                self.draw(terminal)?;
            }
        }
        Ok(())
    }

    /// Takes a sample. A process that is not there may come; a refusal stays one.
    fn take(&mut self, sample: Sample) -> Result<(), ClientError> {
        match sample {
            Ok(new) => {
                let old = self.snapshot.take();
                self.rates = old.and_then(|old| Rates::between(&old, &new));
                self.snapshot = Some(new);
                self.trouble = None;
            }
            Err(
                error @ (ClientError::NotRunning(_)
                | ClientError::Silent(..)
                | ClientError::Unreadable(_)),
            ) => {
                let since = self.trouble.take().map_or(Instant::now(), |(_, at)| at);
                self.trouble = Some((error.to_string(), since));
                self.rates = None;
            }
            // It stopped, or was replaced, while it answered.
            Err(error) if self.snapshot.is_some() => {
                self.trouble = Some((error.to_string(), Instant::now()));
                self.rates = None;
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn press(&mut self, key: KeyEvent) -> Action {
        let mut choice = self.choice.clone();
        let rows = self.picture(None).rows();
        let names: Vec<_> = rows
            .iter()
            .map(|(service, _)| service.name.as_str())
            .collect();
        let action = choice.press(key, &names);
        self.choice = choice;
        action
    }

    fn draw(&self, terminal: &mut DefaultTerminal) -> io::Result<()> {
        let trouble = self.trouble.as_ref().map(|(why, since)| {
            let span = format_span(since.elapsed().as_secs_f64());
            format!("NO ANSWER for {span}, asking again: {why}")
        });
        terminal.draw(|frame| {
            let area = frame.area();
            let size = Size::of_terminal(area.width, area.height);
            let lines = self.picture(trouble.as_deref()).lines(size);
            frame.render_widget(Text::from(lines), area);
        })?;
        Ok(())
    }

    fn picture<'a>(&'a self, trouble: Option<&'a str>) -> Picture<'a> {
        Picture {
            snapshot: self.snapshot.as_deref(),
            rates: self.rates.as_ref(),
            trouble,
            choice: &self.choice,
            palette: self.palette,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::observe::sample_snapshot;

    fn screen() -> Screen {
        Screen::new(Palette::MONOCHROME)
    }

    fn sample(uptime_seconds: f64) -> Sample {
        Ok(Box::new(Snapshot {
            uptime_seconds,
            ..sample_snapshot::snapshot()
        }))
    }

    #[test]
    fn two_samples_make_rates_and_a_process_that_ends_is_waited_for() {
        let mut screen = screen();
        screen.take(sample(1.0)).unwrap();
        assert!(screen.rates.is_none());
        screen.take(sample(2.0)).unwrap();
        assert!(screen.rates.is_some());
        let gone = || Err(ClientError::NotRunning("/run/c".into()));
        screen.take(gone()).unwrap();
        let since = screen.trouble.as_ref().unwrap().1;
        screen.take(gone()).unwrap();
        assert_eq!(screen.trouble.as_ref().unwrap().1, since);
        assert!(screen.rates.is_none() && screen.snapshot.is_some());
        let strange = Err(ClientError::Strange("/run/c".into()));
        screen.take(strange).unwrap();
        screen.take(sample(0.5)).unwrap();
        assert!(screen.trouble.is_none() && screen.rates.is_none());
    }

    #[test]
    fn a_first_refusal_ends_it() {
        let not_allowed = || Err(ClientError::NotAllowed("/run/c".into()));
        assert!(screen().take(not_allowed()).is_err());
        let mut waiting = screen();
        waiting
            .take(Err(ClientError::NotRunning("/run/c".into())))
            .unwrap();
        assert!(waiting.take(not_allowed()).is_err());
    }
}
