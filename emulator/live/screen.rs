//! Lines for a terminal that may be slow: they are written by a thread, so that a screen that stands still
//! (Ctrl-S, a full pipe) stops nothing.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

/// Lines that may wait.
const LINES: usize = 1024;
/// How long the end waits for the last lines.
const LAST: Duration = Duration::from_millis(500);

/// Where the lines of the programs are shown.
#[derive(Debug)]
pub struct Screen {
    /// Gone when the screen is.
    lines: Option<SyncSender<String>>,
    /// Ends when the last line has been written.
    written: Receiver<()>,
    /// Lines that found no room, and have not been told of.
    lost: u64,
}

impl Screen {
    /// The standard output.
    #[must_use]
    pub fn stdout() -> Self {
        Self::with(|line| io::stdout().lock().write_all(line))
    }

    /// The standard error.
    #[must_use]
    pub fn stderr() -> Self {
        Self::with(|line| io::stderr().lock().write_all(line))
    }

    fn with(write: impl Fn(&[u8]) -> io::Result<()> + Send + 'static) -> Self {
        let (lines, inbox) = sync_channel::<String>(LINES);
        let (end, written) = sync_channel::<()>(0);
        std::thread::spawn(move || {
            let _end = end;
            for line in inbox {
                // Whoever stops reading has seen enough; the project goes on.
                if write(line.as_bytes()).is_err() {
                    return;
                }
            }
        });
        Self {
            lines: Some(lines),
            written,
            lost: 0,
        }
    }

    /// Shows a line for which it does not matter if it is lost.
    pub(super) fn tell(&self, line: &str) {
        if let Some(lines) = &self.lines {
            let _lost = lines.try_send(line.to_owned());
        }
    }

    /// Shows a line, its end included, or counts it as lost.
    pub(super) fn show(&mut self, line: &str) {
        let Some(lines) = &self.lines else { return };
        if self.lost > 0 {
            let told = format!("[{} lines lost: nobody read them]\n", self.lost);
            if lines.try_send(told).is_ok() {
                self.lost = 0;
            }
        }
        if let Err(TrySendError::Full(_)) = lines.try_send(line.to_owned()) {
            self.lost += 1;
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.lines = None;
        // A screen that stands still does not keep the process.
        let _written = self.written.recv_timeout(LAST);
    }
}
