//! Which command lines open a shell in a container, judged by their text alone.
//!
//! A transcript is read before it runs, and inside a shell `# ` begins a command while elsewhere it may
//! begin a line of output.

use vethlab::core::docker::spec::Engine;

use crate::docker::exec::{ShellCall, shell_of};
use crate::docker::{Command, Run, parse};
use crate::shell;

/// Whether a host line opens a shell.
pub(super) fn opens_shell(line: &str) -> bool {
    let Ok(script) = shell::parse(line) else {
        return false;
    };
    let mut words = script.rough_words();
    if words.first().is_some_and(|word| word == "sudo") {
        words.remove(0);
    }
    if words.first().is_none_or(|word| word != "docker") {
        return false;
    }
    let is_shell = |argv: &[String]| shell_of(argv) == Some(ShellCall::Interactive);
    match parse(&words, Engine::V29).map(|parsed| parsed.command) {
        Ok(Command::Attach { .. }) => true,
        Ok(Command::Exec {
            argv,
            interactive,
            tty,
            detach,
            ..
        }) => interactive && tty && !detach && is_shell(&argv),
        Ok(Command::Run(run)) => {
            run.process.interactive && run.process.tty && !run.detach && runs_shell(&run)
        }
        Ok(Command::Start { interactive, .. }) => interactive,
        _ => false,
    }
}

fn runs_shell(run: &Run) -> bool {
    let command = &run.spec.command;
    match run.process.entrypoint.as_deref() {
        Some(entrypoint) if !entrypoint.is_empty() => {
            let argv: Vec<String> = core::iter::once(entrypoint.to_owned())
                .chain(command.iter().cloned())
                .collect();
            shell_of(&argv) == Some(ShellCall::Interactive)
        }
        // An image's own command is a shell in the images that are made for one; others are believed.
        _ => command.is_empty() || shell_of(command) == Some(ShellCall::Interactive),
    }
}

/// A key that is typed into a shell, as transcripts write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// `^P^Q`: leave the shell running.
    Detach,
    /// `^D`: leave the shell.
    End,
}

/// The key that a line stands for.
pub(super) fn key(line: &str) -> Option<Key> {
    let bare: String = line.chars().filter(|c| !c.is_whitespace()).collect();
    match bare.to_ascii_uppercase().as_str() {
        "^P^Q" => Some(Key::Detach),
        "^D" => Some(Key::End),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_open_a_shell() {
        for line in [
            "docker run -it alpine",
            "docker run --rm -it --network web busybox sh",
            "docker run -i -t --entrypoint /bin/sh nginx",
            "docker exec -it box1 ash",
            "docker exec -ti $(docker ps -q) sh",
            "docker attach alpine1",
            "docker container attach alpine1",
            "docker start -ai box",
            "sudo docker run -it alpine",
        ] {
            assert!(opens_shell(line), "{line}");
        }
        for line in [
            "docker run -dit alpine ash",
            "docker run -it alpine ping -c1 x",
            "docker exec box1 sh",
            "docker exec -it box1 sh -c 'ip addr'",
            "docker exec -it box1 ip addr",
            "docker run alpine",
            "ip addr",
            "docker network ls",
            "docker run -it '",
        ] {
            assert!(!opens_shell(line), "{line}");
        }
    }

    #[test]
    fn keys() {
        assert_eq!(key("^P^Q"), Some(Key::Detach));
        assert_eq!(key("^p ^q"), Some(Key::Detach));
        assert_eq!(key("^D"), Some(Key::End));
        assert_eq!(key("exit"), None);
    }
}
