//! Lines for a terminal that may be slow: they are written by a thread, so that a screen that stands still
//! (Ctrl-S, a full pipe) stops nothing.

use std::io::{self, Write};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};

/// Lines that may wait.
const LINES: usize = 1024;

/// Where the lines of the programs are shown.
#[derive(Debug)]
pub struct Screen {
    lines: SyncSender<String>,
    /// Lines that found no room, and have not been told of.
    lost: u64,
}

impl Screen {
    /// The standard output.
    #[must_use]
    pub fn stdout() -> Self {
        let (lines, inbox) = sync_channel::<String>(LINES);
        std::thread::spawn(move || {
            for line in inbox {
                // Whoever stops reading has seen enough; the project goes on.
                if io::stdout().lock().write_all(line.as_bytes()).is_err() {
                    return;
                }
            }
        });
        Self { lines, lost: 0 }
    }

    /// Shows a line, its end included, or counts it as lost.
    pub(super) fn show(&mut self, line: &str) {
        if self.lost > 0 {
            let told = format!("[{} lines lost: nobody read them]\n", self.lost);
            if self.lines.try_send(told).is_ok() {
                self.lost = 0;
            }
        }
        if let Err(TrySendError::Full(_)) = self.lines.try_send(line.to_owned()) {
            self.lost += 1;
        }
    }
}
