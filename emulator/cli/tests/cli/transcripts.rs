//! The transcripts of this repository: each is read, and each of its docker lines is one that the
//! command line knows.

use std::fs;
use std::path::PathBuf;

use vethlab::core::docker::spec::Engine;
use vethlab_cli::docker::parse as parse_docker;
use vethlab_cli::output::Output;
use vethlab_cli::play::{Prompt, parse};
use vethlab_cli::shell::{self, Programs, Shell};

/// Takes docker's lines apart and remembers the names of other programs.
#[derive(Default)]
struct Reading {
    docker: usize,
    others: Vec<String>,
}

impl Programs for Reading {
    fn run(&mut self, argv: &[String], _: &str) -> Output {
        if argv[0] == "docker" {
            self.docker += 1;
            for engine in [Engine::V20_10, Engine::V29] {
                parse_docker(argv, engine).unwrap_or_else(|f| panic!("{argv:?}: {}", f.message));
            }
        } else {
            self.others.push(argv[0].clone());
        }
        Output::default()
    }

    fn spawn(&mut self, argv: &[String]) -> Output {
        self.run(argv, "")
    }
}

#[test]
fn every_line_is_one_that_the_lab_knows() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/transcripts");
    let mut pages = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "md") {
            continue;
        }
        pages += 1;
        let text = fs::read_to_string(&path).unwrap();
        let transcript = parse(&text).unwrap_or_else(|error| panic!("{}:{error}", path.display()));
        let mut reading = Reading::default();
        for step in transcript.blocks.iter().flat_map(|block| &block.steps) {
            if step.command.starts_with('^') {
                continue;
            }
            let script = shell::parse(&step.command)
                .unwrap_or_else(|message| panic!("{}:{}: {message}", path.display(), step.line));
            Shell::default().run(&script, &mut reading, "");
            if step.prompt == Prompt::Inside {
                assert!(
                    !step.command.starts_with("docker"),
                    "{}:{}",
                    path.display(),
                    step.line
                );
            }
        }
        assert!(reading.docker > 10, "{}", path.display());
        for program in reading.others {
            const KNOWN: &[&str] = &[
                "brctl",
                "bridge",
                "conntrack",
                "curl",
                "ip",
                "iptables",
                "nc",
                "ping",
                "ss",
            ];
            assert!(
                KNOWN.contains(&program.as_str()),
                "{}: {program}",
                path.display()
            );
        }
    }
    assert!(pages >= 2);
}
