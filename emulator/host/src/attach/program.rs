//! What runs in a space: started, told of signals, waited for, and all that it left behind ended.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, kill_process, pidfd_open, set_child_subreaper, waitpid,
};
use rustix::thread::{
    CapabilitySet, capabilities, configure_capability_in_ambient_set, set_capabilities,
};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::low_level::pipe;

use super::sys;

/// How long a program may take to end when the lab is gone.
const PATIENCE: Duration = Duration::from_secs(2);

/// Runs a program until it ends, or until `lab` can be read: then the lab is gone. Returns its exit code, 128 and the
/// signal's number if one ended it.
///
/// # Errors
/// If it cannot be started.
pub fn run(mut command: Command, lab: impl AsFd) -> io::Result<u8> {
    // What it leaves behind becomes ours, to be ended with it.
    set_child_subreaper(Some(rustix::process::getpid()))?;
    keep_capabilities();
    sys::end_with_us(&mut command);
    let mut signals = Vec::new();
    for signal in [SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2] {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        theirs.set_nonblocking(true)?;
        pipe::register(signal, theirs)?;
        signals.push((signal, ours));
    }
    let child = command.spawn()?;
    let code = wait(child, &signals, lab);
    end_rest();
    code
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
    // The terminal has told its whole foreground already what is typed there.
    let typed = rustix::termios::isatty(io::stdin());
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
        for ((signal, pipe), _) in signals
            .iter()
            .zip(&ready[first..])
            .filter(|(_, told)| **told)
        {
            // The byte says no more than that it came.
            let _byte = io::Read::read(&mut &*pipe, &mut [0; 64]);
            let passed = !(typed && matches!(*signal, SIGINT | SIGQUIT));
            if let Some(signal) = Signal::from_named_raw(*signal).filter(|_| passed) {
                let _ended = kill_process(process, signal);
            }
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

/// Ends what the program left behind, and what that left, until nothing is.
fn end_rest() {
    let path = format!(
        "/proc/self/task/{}/children",
        rustix::thread::gettid().as_raw_nonzero()
    );
    loop {
        let text = fs::read_to_string(&path).unwrap_or_default();
        let mut any = false;
        for child in text.split_whitespace().filter_map(|word| word.parse().ok()) {
            if let Some(child) = Pid::from_raw(child) {
                any = true;
                let _ended = kill_process(child, Signal::KILL);
                let _reaped = waitpid(Some(child), WaitOptions::empty());
            }
        }
        if !any {
            return;
        }
    }
}
