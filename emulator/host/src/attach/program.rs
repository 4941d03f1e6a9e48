//! What runs in a space: the first process of its PID namespace, and the program below it.
//!
//! ```text
//!   run      outside: told of signals, waits, ends it when the lab is gone
//!   inside   process 1 there: starts the program, passes signals on, reaps what nobody waits for
//!   program
//! ```
//!
//! When process 1 ends, the kernel ends everything else in there, however far it has gone from its parents; and process
//! 1 ends with whoever runs it, killed or not: it holds one end of a socket pair of which it sees the other go.

use std::env;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, kill_process, pidfd_open, waitpid};
use rustix::thread::{
    CapabilitySet, capabilities, configure_capability_in_ambient_set, set_capabilities,
};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::low_level::pipe;

use super::sys;

/// How long a program may take to end when the lab is gone.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long its connections may take to say that they are closed.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// Where process 1 finds the number of its end of the socket pair.
const LIFELINE: &str = "VETHLAB_LIFELINE";
/// The signals that are passed on.
const SIGNALS: [i32; 6] = [SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2];

/// Starts process 1 of the PID namespace, a command that calls [`inside`], and waits until it ends; ends it when `lab`
/// can be read: then the lab is gone. Returns its exit code, 128 and the signal's number if one ended it.
///
/// # Errors
/// If it cannot be started.
pub fn run(mut first: Command, lab: impl AsFd) -> io::Result<u8> {
    keep_capabilities();
    let (mut ours, theirs) = UnixStream::pair()?;
    first.env(LIFELINE, theirs.as_raw_fd().to_string());
    let signals = heard(&SIGNALS)?;
    sys::as_first(&mut first, &theirs);
    let child = first.spawn()?;
    drop(theirs);
    // Before it hears signals they would be lost on it; if it ends before that, that is seen next.
    let _ready = io::Read::read(&mut ours, &mut [0]);
    wait(child, &signals, lab)
}

/// What process 1 does: runs a program, which gets no other descriptors than the standard ones, until it ends. Returns its exit code,
/// 128 and the signal's number if one ended it.
///
/// # Errors
/// If the program cannot be started.
pub fn inside(mut program: Command) -> io::Result<u8> {
    let lifeline = env::var(LIFELINE).ok().and_then(|text| text.parse().ok());
    let lifeline: Option<OwnedFd> = lifeline.map(sys::inherited).transpose()?;
    program.env_remove(LIFELINE);
    sys::close_rest(&mut program);
    let signals = heard(&SIGNALS)?;
    let ended = heard(&[SIGCHLD])?;
    if let Some(lifeline) = &lifeline {
        rustix::io::write(lifeline, &[1])?;
    }
    let child = Pid::from_child(&program.spawn()?);
    loop {
        // All that ended, also what lost its parents: nobody else waits for those.
        while let Ok(Some((process, status))) = waitpid(None, WaitOptions::NOHANG) {
            if process == child {
                let code = status
                    .exit_status()
                    .or_else(|| Some(128 + status.terminating_signal()?));
                last_words();
                return Ok(code.unwrap_or(255) as u8);
            }
        }
        let told = signals.iter().chain(&ended);
        let mut fds: Vec<PollFd<'_>> = told
            .map(|(_, pipe)| PollFd::new(pipe, PollFlags::IN))
            .collect();
        fds.extend(lifeline.as_ref().map(|fd| PollFd::new(fd, PollFlags::IN)));
        match poll(&mut fds, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        if ready.get(signals.len() + ended.len()) == Some(&true) {
            return Ok(128 + Signal::KILL.as_raw() as u8);
        }
        for (_, pipe) in &ended {
            let _bytes = io::Read::read(&mut &*pipe, &mut [0; 64]);
        }
        pass(&signals, &ready, child);
    }
}

/// Waits a moment while connections that are closed have something to say: it would be lost with the namespace, and
/// the other sides would wait for it.
fn last_words() {
    let begun = Instant::now();
    let pending = || {
        ["/proc/net/tcp", "/proc/net/tcp6"].iter().any(|table| {
            let text = fs::read_to_string(table).unwrap_or_default();
            text.lines().any(|line| {
                let state = line.split_whitespace().nth(3);
                // FIN_WAIT1, LAST_ACK, CLOSING: their FIN is not acknowledged.
                matches!(state, Some("04" | "09" | "0B"))
            })
        })
    };
    while begun.elapsed() < LAST_WORDS && pending() {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Signals as something to read.
fn heard(signals: &[i32]) -> io::Result<Vec<(i32, UnixStream)>> {
    signals
        .iter()
        .map(|&signal| {
            let (ours, theirs) = UnixStream::pair()?;
            ours.set_nonblocking(true)?;
            theirs.set_nonblocking(true)?;
            pipe::register(signal, theirs)?;
            Ok((signal, ours))
        })
        .collect()
}

/// A user that is not root inside keeps what a container's programs may on their network.
fn keep_capabilities() {
    let wanted = CapabilitySet::NET_BIND_SERVICE | CapabilitySet::NET_RAW;
    let Ok(mut sets) = capabilities(None) else {
        return;
    };
    if rustix::process::geteuid().is_root() || !sets.permitted.contains(wanted) {
        return;
    }
    sets.inheritable |= wanted;
    if set_capabilities(None, sets).is_ok() {
        // Without them it does as well as a user does.
        let _without = configure_capability_in_ambient_set(CapabilitySet::NET_BIND_SERVICE, true);
        let _without = configure_capability_in_ambient_set(CapabilitySet::NET_RAW, true);
    }
}

fn wait(mut child: Child, signals: &[(i32, UnixStream)], lab: impl AsFd) -> io::Result<u8> {
    let process = Pid::from_child(&child);
    let ended = pidfd_open(process, PidfdFlags::empty())?;
    let mut gone: Option<Instant> = None;
    loop {
        let mut fds = vec![PollFd::new(&ended, PollFlags::IN)];
        if gone.is_none() {
            fds.push(PollFd::new(&lab, PollFlags::IN));
        }
        let first = fds.len();
        fds.extend(
            signals
                .iter()
                .map(|(_, pipe)| PollFd::new(pipe, PollFlags::IN)),
        );
        let timeout = gone.map(left);
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        if let Some(status) = child.try_wait()? {
            let code = status
                .code()
                .unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
            return Ok(code as u8);
        }
        match gone {
            None if ready[1] => {
                eprintln!("vethlab: the project went down");
                gone = Some(Instant::now());
                let _ended = kill_process(process, Signal::TERM);
            }
            Some(at) if at.elapsed() >= PATIENCE => {
                let _ended = kill_process(process, Signal::KILL);
            }
            _ => {}
        }
        pass(signals, &ready[first..], process);
    }
}

/// Passes signals on that have come.
fn pass(signals: &[(i32, UnixStream)], ready: &[bool], to: Pid) {
    // The terminal has told its whole foreground already what is typed there.
    let typed = rustix::termios::isatty(io::stdin());
    for ((signal, pipe), _) in signals.iter().zip(ready).filter(|(_, told)| **told) {
        // The byte says no more than that it came.
        let _byte = io::Read::read(&mut &*pipe, &mut [0; 64]);
        let passed = !(typed && matches!(*signal, SIGINT | SIGQUIT));
        if let Some(signal) = Signal::from_named_raw(*signal).filter(|_| passed) {
            let _ended = kill_process(to, signal);
        }
    }
}

fn left(gone: Instant) -> Timespec {
    let left = PATIENCE.saturating_sub(gone.elapsed());
    Timespec {
        tv_sec: left.as_secs() as i64,
        tv_nsec: (left.subsec_nanos() + 1_000_000).min(999_999_999).into(),
    }
}
