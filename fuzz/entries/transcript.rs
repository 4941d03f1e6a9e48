//! Text as a transcript, and each line of it as a command of the shell, of `docker`, as a template of
//! `--format` and as a pattern of `grep`.
//!
//! Promises: reading ends, with an error that has words or with a result; twice the same; the steps of a
//! transcript are in order and their places lie in the text; a page without differences keeps its lines.

use emulator_core::docker::spec::Engine;
use vethlab_cli::docker::command;
use vethlab_cli::format::Template;
use vethlab_cli::output::Output;
use vethlab_cli::play::{self, compare};
use vethlab_cli::shell::regex::{Regex, Syntax};
use vethlab_cli::shell::{self, Programs, Shell};

/// Lines that are looked at one by one; more would only be slow.
const LINES: usize = 64;

/// Runs one input. What is not UTF-8 the caller refuses before it gets here.
pub fn transcript(data: &[u8]) {
    let Ok(text) = core::str::from_utf8(data) else {
        return;
    };
    let read = play::parse(text);
    assert_eq!(read, play::parse(text));
    let lines = text.lines().count();
    match &read {
        Ok(transcript) => {
            let mut last = 0;
            for step in transcript.blocks.iter().flat_map(|block| &block.steps) {
                assert!(step.line > last && step.line <= lines);
                assert!(step.place.start <= step.place.end && step.place.end <= lines);
                assert!(step.place.start >= step.line);
                last = step.line;
            }
            let blessed = play::bless(text, &[]);
            let words = |line: &str| line.trim_end_matches('\r').to_owned();
            assert!(blessed.lines().map(words).eq(text.lines().map(words)));
        }
        Err(error) => {
            assert!((1..=lines.max(1)).contains(&error.line));
            assert!(!error.message.is_empty());
        }
    }
    let mut before = "";
    for line in text.lines().take(LINES) {
        look(line, before);
        before = line;
    }
}

/// One line as everything that a line may be.
fn look(line: &str, before: &str) {
    match shell::parse(line) {
        Ok(script) => {
            if let Some(words) = script.plain_words() {
                docker(&words);
            }
            let mut shell = Shell::default();
            shell.set("HOME", "/root");
            let output = shell.run(&script, &mut Echo(0), before);
            assert!(output.len() >= output.stdout().len());
        }
        Err(message) => assert!(!message.is_empty()),
    }
    if let Err(error) = Template::parse(line) {
        assert!(error.0.starts_with("template: "), "{error}");
    }
    for syntax in [Syntax::Basic, Syntax::Extended, Syntax::Fixed] {
        if let Ok(regex) = Regex::new(line, syntax, false) {
            let found = regex.is_match(before);
            assert!(syntax != Syntax::Fixed || found == before.contains(line));
        }
    }
    assert!(compare::line_matches("[..]", line));
    let _: bool = compare::line_matches(line, before);
}

fn docker(words: &[String]) {
    for engine in [Engine::V29, Engine::V20_10] {
        if let Err(failure) = command::parse(words, engine) {
            assert!(!failure.message.is_empty() && failure.code != 0);
        }
    }
}

/// Programs that print their words; after some, they print nothing.
struct Echo(u32);

impl Programs for Echo {
    fn run(&mut self, argv: &[String], stdin: &str) -> Output {
        self.0 += 1;
        if self.0 > 16 {
            return Output::default();
        }
        Output::out(format!("{}\n{}", argv.join(" "), stdin.len()))
    }

    fn spawn(&mut self, argv: &[String]) -> Output {
        self.run(argv, "")
    }
}
