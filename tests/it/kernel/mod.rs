//! The same scenario over two of our namespaces and over two of the kernel's, joined by a veth pair.
//!
//! A scenario is a list of socket calls on host A (10.9.0.1, fd09::1) and host B (10.9.0.2, fd09::2), each
//! with its outcome as a word: `ok`, `eof`, bytes, or the name of an errno. The outcomes have to be the
//! same. The kernel's side needs user namespaces and iproute2; where they are not to be had only our
//! side runs, and says so.

mod agent;
mod host;
mod ours;
mod scenarios;
mod theirs;

use std::sync::Mutex;
use std::thread;

use crate::rig::skip;

/// How many scenarios run at once.
const AT_ONCE: usize = 4;

/// Which host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Host {
    A,
    B,
}

/// A socket call. Sockets have names, chosen by the scenario.
#[derive(Clone, Debug)]
pub(crate) enum Call {
    /// `listen NAME ADDR BACKLOG`: a TCP listener.
    Listen(&'static str, &'static str, u32),
    /// `accept LISTENER NAME`.
    Accept(&'static str, &'static str),
    /// `connect NAME ADDR`: a TCP connection, waited for at most two seconds.
    Connect(&'static str, &'static str),
    /// `udp NAME ADDR`: a bound UDP socket.
    Udp(&'static str, &'static str),
    /// `peer NAME ADDR`: connects a UDP socket.
    Peer(&'static str, &'static str),
    /// `send NAME COUNT`: that many bytes, as one call.
    Send(&'static str, usize),
    /// `sendto NAME ADDR COUNT`.
    SendTo(&'static str, &'static str, usize),
    /// `recv NAME`: what there is within a second: `N bytes`, `eof`, an errno, or `nothing`.
    Recv(&'static str),
    /// `recvall NAME COUNT`: until that many bytes came.
    RecvAll(&'static str, usize),
    /// `shutdown NAME`: the write half.
    Shutdown(&'static str),
    /// `keepalive NAME IDLE INTERVAL COUNT`: on, in seconds.
    KeepAlive(&'static str, u64, u64, u32),
    /// `close NAME`.
    Close(&'static str),
    /// `wait MILLIS`.
    Wait(u64),
}

/// One step: who calls what.
pub(crate) type Step = (Host, Call);

/// Something that can run a scenario.
pub(crate) trait Machine {
    /// The outcome of one call.
    fn call(&mut self, host: Host, call: &Call) -> String;
}

fn play(machine: &mut dyn Machine, steps: &[Step]) -> Vec<String> {
    steps
        .iter()
        .map(|(host, call)| machine.call(*host, call))
        .collect()
}

fn compare(name: &str, steps: &[Step]) {
    let ours = play(&mut ours::Ours::new(), steps);
    let Some(mut kernel) = theirs::Theirs::new() else {
        return skip(&format!(
            "no user namespace or no iproute2: {name} is not compared with the kernel"
        ));
    };
    let theirs = play(&mut kernel, steps);
    let mut wrong = Vec::new();
    for (((host, call), ours), theirs) in steps.iter().zip(&ours).zip(&theirs) {
        if ours != theirs {
            wrong.push(format!("  {host:?} {call:?}: kernel {theirs}, ours {ours}"));
        }
    }
    assert!(
        wrong.is_empty(),
        "{name} differs from the kernel:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn the_kernel_agrees() {
    // Each has namespaces of its own, and waits most of its time: in the kernel it passes for real.
    let left = Mutex::new(scenarios::all().into_iter());
    let next = || left.lock().unwrap().next();
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some((name, steps)) = next() {
                    compare(name, &steps);
                }
            });
        }
    });
}

/// Not a test of anything by itself: what the kernel's side runs inside its namespaces.
#[test]
fn agent_in_a_namespace() {
    if std::env::var_os(theirs::AGENT).is_some() {
        agent::serve();
    }
}
