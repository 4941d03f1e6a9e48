//! A process in the background, without `fork`: the program starts itself again, in a session of its own, and
//! waits until the new process says that it is up.
//!
//! The new process has one end of a socket pair as its standard input; its outputs are those of the first until it is
//! up, so that what goes wrong is told where it was asked for. If the first one is gone before that, the new one
//! ends as well.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};

use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout, stdin};

use crate::attach::sys;

/// What is said by who is up.
const UP: &[u8] = b"up\n";

/// A process that was started and is not up yet.
#[derive(Debug)]
pub struct Started {
    child: Child,
    link: UnixStream,
}

impl Started {
    /// Starts a process in the background.
    ///
    /// # Errors
    /// What the system says.
    pub fn start(mut command: Command) -> io::Result<Self> {
        let (link, theirs) = UnixStream::pair()?;
        // It outlives whoever asks, and what that has open.
        sys::close_rest(&mut command);
        let child = command.stdin(Stdio::from(OwnedFd::from(theirs))).spawn()?;
        // With it goes our copy of their end, so that theirs is the last.
        drop(command);
        Ok(Self { child, link })
    }

    /// Its number.
    #[must_use]
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it is up (`None`), or has ended with this exit code (255 by a signal).
    ///
    /// # Errors
    /// What the system says.
    pub fn wait(mut self) -> io::Result<Option<u8>> {
        let mut said = Vec::new();
        self.link.read_to_end(&mut said)?;
        if said == UP {
            return Ok(None);
        }
        let code = self.child.wait()?.code();
        Ok(Some(
            code.and_then(|code| u8::try_from(code).ok()).unwrap_or(255),
        ))
    }
}

/// Leaves the session of the terminal: what is typed there does not concern this process any more. The first
/// thing that a process in the background does.
///
/// # Errors
/// If it leads a process group, as no started process does.
pub fn leave_session() -> io::Result<()> {
    rustix::process::setsid()?;
    Ok(())
}

/// Says that this process is up, and lets go of the standard streams.
///
/// # Errors
/// If the process that started this one is gone.
pub fn tell_up() -> io::Result<()> {
    rustix::io::write(stdin(), UP)?;
    let null = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/null")?;
    dup2_stdin(&null)?;
    dup2_stdout(&null)?;
    dup2_stderr(&null)?;
    Ok(())
}
