//! A queue between the threads that log and the file that the log is written to.
//!
//! Logging must not block and must not fail: the reader of stderr may be slow, stopped or gone, or the disk full, and some
//! lines are logged with a lock held. A thread writes the lines. Lines that do not fit into the queue or cannot be written
//! are dropped and counted; the count is logged with the next line that can be written.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use tracing_subscriber::fmt::MakeWriter;

use crate::confinement::{Directories, ThreadKind, confine_thread};

/// Lines that wait for the writer at most.
const CAPACITY: usize = 1024;
/// How long the end of the program waits for lines that are not written yet.
const PATIENCE: Duration = Duration::from_millis(500);

/// The sending side: one write is one line.
#[derive(Clone, Debug)]
pub(super) struct LogQueue {
    lines: SyncSender<Vec<u8>>,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Lines in the queue or being written.
    waiting: AtomicUsize,
    lost: AtomicU64,
}

/// Waits for the lines in the queue when it is dropped, half a second at most.
#[derive(Debug)]
#[must_use = "lines that are logged last may be lost without it"]
pub struct LogGuard(Arc<State>);

impl Drop for LogGuard {
    fn drop(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while self.0.waiting.load(Relaxed) > 0 && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Starts the thread that writes to `file`.
///
/// # Errors
/// The kernel refuses the thread.
pub(super) fn start_log_queue(
    file: impl Write + Send + 'static,
) -> io::Result<(LogQueue, LogGuard)> {
    let (lines, received) = sync_channel(CAPACITY);
    let state = Arc::new(State::default());
    let of_thread = Arc::clone(&state);
    thread::Builder::new().name("log".into()).spawn(move || {
        confine_thread(ThreadKind::Log, &Directories::default());
        write_lines(&received, file, &of_thread);
    })?;
    let guard = LogGuard(Arc::clone(&state));
    Ok((LogQueue { lines, state }, guard))
}

fn write_lines(lines: &Receiver<Vec<u8>>, mut file: impl Write, state: &State) {
    while let Ok(line) = lines.recv() {
        let lost = state.lost.swap(0, Relaxed);
        let written = if lost > 0 {
            let notice =
                format!("{lost} log lines were lost: who reads the log was slow or gone\n");
            file.write_all(notice.as_bytes())
        } else {
            Ok(())
        };
        // After a failure the file may work again: a full disk, a pipe with a new reader.
        if written.and_then(|()| file.write_all(&line)).is_err() {
            state.lost.fetch_add(lost + 1, Relaxed);
        }
        state.waiting.fetch_sub(1, Relaxed);
    }
}

impl Write for LogQueue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.state.waiting.fetch_add(1, Relaxed);
        if self.lines.try_send(line.to_vec()).is_err() {
            self.state.waiting.fetch_sub(1, Relaxed);
            self.state.lost.fetch_add(1, Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LogQueue {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    /// A file that a test can stall and break.
    #[derive(Clone, Default)]
    struct TestFile {
        text: Arc<Mutex<String>>,
        broken: Arc<Mutex<bool>>,
        /// Writes that began.
        begun: Arc<AtomicUsize>,
    }

    impl Write for TestFile {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.begun.fetch_add(1, Relaxed);
            if *self.broken.lock().unwrap() {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            let mut text = self.text.lock().unwrap();
            text.push_str(std::str::from_utf8(bytes).unwrap());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// However long the thread takes, which has to start first.
    fn wait_for_thread(queue: &LogQueue) {
        while queue.state.waiting.load(Relaxed) > 0 {
            thread::yield_now();
        }
    }

    #[test]
    fn the_guard_waits_for_lines() {
        let file = TestFile::default();
        let (mut queue, guard) = start_log_queue(file.clone()).unwrap();
        queue.write_all(b"the first\n").unwrap();
        wait_for_thread(&queue);
        for number in 0..100 {
            writeln!(&mut queue, "{number}").unwrap();
        }
        drop(guard);
        assert_eq!(file.text.lock().unwrap().lines().last(), Some("99"));
    }

    #[test]
    fn a_file_that_fails_costs_lines_and_nothing_else() {
        let file = TestFile::default();
        let (mut queue, _guard) = start_log_queue(file.clone()).unwrap();
        *file.broken.lock().unwrap() = true;
        for _ in 0..3 {
            queue.write_all(b"unread\n").unwrap();
        }
        wait_for_thread(&queue);
        *file.broken.lock().unwrap() = false;
        queue.write_all(b"read\n").unwrap();
        wait_for_thread(&queue);
        assert_eq!(
            *file.text.lock().unwrap(),
            "3 log lines were lost: who reads the log was slow or gone\nread\n"
        );
    }

    #[test]
    fn a_file_that_stalls_blocks_nobody() {
        let file = TestFile::default();
        let (mut queue, _guard) = start_log_queue(file.clone()).unwrap();
        let stalled = file.text.lock().unwrap();
        queue.write_all(b"line\n").unwrap();
        while file.begun.load(Relaxed) == 0 {
            thread::yield_now();
        }
        for _ in 0..3 * CAPACITY {
            queue.write_all(b"line\n").unwrap();
        }
        // The queue is full, and the thread holds a line.
        let lost = queue.state.lost.load(Relaxed) as usize;
        assert_eq!(lost, 2 * CAPACITY);
        drop(stalled);
        wait_for_thread(&queue);
        let text = file.text.lock().unwrap();
        assert_eq!(text.matches("line\n").count(), CAPACITY + 1);
    }
}
