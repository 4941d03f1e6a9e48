//! What ends a command that waits for something else: a signal, or nobody who reads what it writes.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use rustix::event::{PollFd, PollFlags, poll};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::low_level::pipe;

/// A stream on which a byte comes with each `SIGINT` and `SIGTERM`; they end the process no longer.
///
/// # Errors
/// If the process has no descriptors left.
pub fn interrupts() -> io::Result<UnixStream> {
    let (ours, theirs) = UnixStream::pair()?;
    pipe::register(SIGINT, theirs.try_clone()?)?;
    pipe::register(SIGTERM, theirs)?;
    Ok(ours)
}

/// Waits until nobody reads any more what is written to `fd`, a pipe or a socket. It waits for ever where that
/// cannot be: on a file.
///
/// # Errors
/// What `poll` says.
pub fn wait_unread(fd: impl AsFd) -> io::Result<()> {
    loop {
        let mut fds = [PollFd::new(&fd, PollFlags::empty())];
        match poll(&mut fds, None) {
            Ok(_) if fds[0].revents().intersects(PollFlags::ERR | PollFlags::HUP) => return Ok(()),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_that_nobody_reads() {
        let (reader, writer) = io::pipe().unwrap();
        let waiting = std::thread::spawn(move || wait_unread(&writer));
        drop(reader);
        waiting.join().unwrap().unwrap();
    }
}
