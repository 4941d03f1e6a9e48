//! The recorded command lines of a real 20.10 engine: every one is read, and what the client says of
//! the engine's answers is byte for byte what was recorded.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::{env, fs};

use vethlab::core::docker::error::{Error, Kind};
use vethlab::core::docker::spec::Engine;
use vethlab_cli::docker::{Command, Failure, Parsed, execute, parse};
use vethlab_cli::format::Value;
use vethlab_cli::output::Output;
use vethlab_cli::shell::{self, Programs, Shell};

use crate::fake::Fake;
use crate::json;

struct Record {
    line: usize,
    command: String,
    code: u8,
    stdout: String,
    stderr: String,
}

/// The records, from the first place that has them.
fn records() -> Option<Vec<Record>> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let places = [
        Some(root.join("tests/data/engine")),
        env::var_os("VETHLAB_CORPUS").map(|corpus| PathBuf::from(corpus).join("engine")),
        Some(root.join("../shared/corpus/engine")),
        Some(root.join("../../shared/corpus/engine")),
    ];
    let text = places
        .into_iter()
        .flatten()
        .find_map(|p| fs::read_to_string(p.join("cli1.jsonl")).ok());
    let Some(text) = text else {
        eprintln!("SKIPPED: no recorded answers (set VETHLAB_CORPUS)");
        return None;
    };
    let records = text.lines().enumerate().map(|(i, line)| {
        let value = json::read(line);
        let Some(Value::Number(code)) = value.field("rc") else {
            panic!("no rc")
        };
        Record {
            line: i + 1,
            command: value.text_at(&["cmd"]).to_owned(),
            code: u8::try_from(*code).unwrap(),
            stdout: value.text_at(&["stdout"]).to_owned(),
            stderr: value.text_at(&["stderr"]).to_owned(),
        }
    });
    Some(records.collect())
}

/// Reads docker's lines and does nothing else.
#[derive(Default)]
struct Reading {
    parsed: Vec<Result<Parsed, Failure>>,
}

impl Programs for Reading {
    fn run(&mut self, argv: &[String], _: &str) -> Output {
        assert_eq!(argv[0], "docker");
        self.parsed.push(parse(argv, Engine::V20_10));
        Output::default()
    }

    fn spawn(&mut self, argv: &[String]) -> Output {
        panic!("{argv:?}")
    }
}

#[test]
fn every_line_is_read_or_refused_in_the_clients_words() {
    let Some(records) = records() else { return };
    let mut refused = 0;
    assert_eq!(records.len(), 102);
    for record in records {
        let script = shell::parse(&record.command).unwrap();
        let mut reading = Reading::default();
        Shell::default().run(&script, &mut reading, "");
        let [result] = reading.parsed.as_slice() else {
            panic!("{}: not one docker line", record.command);
        };
        // What neither the engine nor a program in a container has said is the client's own word.
        let by_engine = record.stderr.contains("rror response from daemon")
            || record.stderr.starts_with("Error: No such")
            || record.command.starts_with("docker exec");
        let by_client = record.code != 0 && !by_engine;
        match result {
            Ok(_) => assert!(
                !by_client,
                "{}: {}: {}",
                record.line, record.command, record.stderr
            ),
            Err(failure) => {
                assert!(
                    by_client,
                    "{}: {}: {}",
                    record.line, record.command, failure.message
                );
                assert_eq!(
                    format!("{}\n", failure.message),
                    record.stderr,
                    "{}",
                    record.command
                );
                assert_eq!(failure.code, record.code, "{}", record.command);
                refused += 1;
            }
        }
    }
    assert_eq!(refused, 6);
}

/// An engine that answers what was recorded.
struct Replay {
    fake: Fake,
}

impl Programs for Replay {
    fn run(&mut self, argv: &[String], stdin: &str) -> Output {
        match parse(argv, Engine::V20_10) {
            Ok(parsed) => execute(&mut self.fake, parsed.command, stdin).output,
            Err(failure) => Output::err(failure.message + "\n", failure.code),
        }
    }

    fn spawn(&mut self, argv: &[String]) -> Output {
        panic!("{argv:?}")
    }
}

/// What the engine said, from what the client printed.
fn engine_error(record: &Record) -> Option<Error> {
    let line = record.stderr.lines().next().unwrap_or_default();
    let run = record.command.starts_with("docker run");
    let line = if run {
        line.strip_prefix("docker: ")?
    } else {
        line
    };
    if let Some(message) = line.strip_prefix("Error response from daemon: ") {
        let kind = if message.contains("No such") {
            Kind::NotFound
        } else {
            Kind::Conflict
        };
        return Some(Error::new(kind, message));
    }
    None
}

#[test]
fn what_the_client_prints_is_what_was_recorded() {
    let Some(records) = records() else { return };
    let mut replay = Replay {
        fake: Fake::new(Engine::V20_10),
    };
    let (mut compared, mut left_out) = (0, Vec::new());
    for record in records {
        let fake = &mut replay.fake;
        fake.fails = engine_error(&record);
        fake.inspected.clear();
        fake.answers = VecDeque::new();
        let command = &record.command;
        if command.starts_with("docker network create") || command.starts_with("docker run") {
            fake.next_id = Some(record.stdout.trim().to_owned());
        } else if command.starts_with("docker exec") {
            let mut output = Output::out(record.stdout.clone());
            output.append(Output::err(record.stderr.clone(), record.code));
            fake.answers.push_back(output);
        } else if command.starts_with("docker network prune") {
            fake.pruned = record
                .stdout
                .lines()
                .skip(1)
                .filter(|l| !l.is_empty())
                .map(str::to_owned)
                .collect();
        } else if command.contains("inspect") {
            let Some(Value::Array(values)) = record
                .stdout
                .starts_with("[\n")
                .then(|| json::read(&record.stdout))
            else {
                // Templates over what is not in the record.
                left_out.push(record.line);
                continue;
            };
            for value in values {
                fake.inspected
                    .insert(value.text_at(&["Name"]).to_owned(), value);
            }
        }
        let script = shell::parse(command).unwrap();
        let output = Shell::default().run(&script, &mut replay, "");
        // The records have words in angle brackets for ids, which JSON escapes.
        let shown = output
            .stdout()
            .replace("\\u003c", "<")
            .replace("\\u003e", ">");
        if command == "docker network ls" {
            assert_eq!(words(&shown).len(), words(&record.stdout).len());
        } else {
            assert_eq!(shown, record.stdout, "{}: {command}", record.line);
        }
        assert_eq!(output.stderr(), record.stderr, "{}: {command}", record.line);
        assert_eq!(output.code, record.code, "{}: {command}", record.line);
        replay.fake.fails = None;
        compared += 1;
    }
    println!(
        "recorded command lines: {compared} equal, left out (templates over unknown values): {left_out:?}"
    );
    assert_eq!(compared, 90);
}

fn words(text: &str) -> Vec<&str> {
    text.split_whitespace().collect()
}

/// The recorded values through the recorded templates.
#[test]
fn templates_over_recorded_values() {
    let Some(records) = records() else { return };
    let template = |format: &str| {
        let line = format!("docker network inspect x --format {format}");
        let script = shell::parse(&line).unwrap();
        let Parsed {
            command: Command::Inspect { format, .. },
            ..
        } = parse(&script.plain_words().unwrap(), Engine::V20_10).unwrap()
        else {
            panic!();
        };
        format
    };
    let mut checked = 0;
    for record in &records {
        let Some((head, path)) = record.command.split_once(" --format '{{json .") else {
            continue;
        };
        let path = path.trim_end_matches("}}'");
        if path.contains([' ', '}']) || !head.contains("inspect") {
            continue;
        }
        // Builds the object around the recorded value and asks for it again.
        let mut value = json::read(&record.stdout);
        for name in path.split('.').rev() {
            value = Value::object([(name, value)]);
        }
        let mut fake = Fake::new(Engine::V20_10);
        fake.inspected.insert("x".to_owned(), value);
        let command = Command::Inspect {
            names: vec!["x".to_owned()],
            format: template(&format!("'{{{{json .{path}}}}}'")),
            kinds: vethlab_cli::docker::command::Kinds::Any,
            verbose: false,
        };
        let output = execute(&mut fake, command, "").output;
        assert_eq!(output.stdout(), record.stdout, "{}", record.command);
        checked += 1;
    }
    assert!(checked >= 4, "{checked}");
}
