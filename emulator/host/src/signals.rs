//! `SIGINT`, `SIGTERM` and `SIGHUP` end the runtime in order; nothing else in the process is touched.

use std::io;
use std::os::unix::net::UnixStream;

use signal_hook::SigId;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::low_level::{pipe, unregister};

use crate::reactor::{Events, Interest};
use crate::runtime::{Attachment, Cx, Stop};

/// Ends the runtime when a signal comes.
#[derive(Debug)]
pub struct Signals {
    caught: Vec<(i32, UnixStream, SigId)>,
}

impl Signals {
    /// Catches the signals from now on. Attach it first, so that it is there until the end.
    ///
    /// # Errors
    /// If the process has no descriptors left.
    pub fn new(cx: &mut Cx<'_>) -> io::Result<Self> {
        let mut signals = Self { caught: Vec::new() };
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            let (ours, theirs) = UnixStream::pair()?;
            ours.set_nonblocking(true)?;
            theirs.set_nonblocking(true)?;
            cx.watch(&ours, signal as u64, Interest::READ)?;
            let id = pipe::register(signal, theirs)?;
            signals.caught.push((signal, ours, id));
        }
        Ok(signals)
    }
}

impl Attachment for Signals {
    fn ready(&mut self, cx: &mut Cx<'_>, key: u64, _events: Events) {
        let mut caught = self.caught.iter_mut();
        if let Some((signal, pipe, _)) = caught.find(|(signal, ..)| *signal as u64 == key) {
            // The byte says no more than that it came.
            let _byte = io::Read::read(pipe, &mut [0; 64]);
            cx.stop(Stop::Signal(*signal));
        }
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        for (.., id) in &self.caught {
            unregister(*id);
        }
    }
}
