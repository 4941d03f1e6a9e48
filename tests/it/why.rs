//! Any question to any file of the corpus has an answer, soon: no panic, no endless way.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use emulator_compose::{Options as Load, Project};
use vethlab::core::docker::spec::{Engine, Port, Proto};
use vethlab::files;
use vethlab::matrix::PLACES;
use vethlab::why::{Question, text, why};
use vethlab::world::Options;

use crate::rig::{corpus, skip};

/// Questions to each file.
const QUESTIONS: u64 = 1;
/// What one may take, in a slow build on a busy machine; bounds on what is tried keep it far below.
const LIMIT: Duration = Duration::from_secs(60);

/// Draws from a fixed sequence (xorshift).
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound.max(1) as u64) as usize
    }

    fn question(&mut self, project: &Project) -> Question {
        let services = project.services.iter().map(|service| service.name.as_str());
        let hostile = [
            "",
            "nobody",
            "service/",
            "service/host",
            "host:",
            "\u{1F980}",
        ];
        let ends: Vec<&str> = services.chain(PLACES).collect();
        let end = |draw: &mut Self| {
            let among = if draw.below(12) == 0 {
                &hostile[..]
            } else {
                &ends
            };
            among[draw.below(among.len())].to_owned()
        };
        let (from, to) = (end(self), end(self));
        let proto = [Proto::Tcp, Proto::Tcp, Proto::Udp, Proto::Sctp][self.below(4)];
        let number = [80, 53, 5432, 1 + self.below(65_535) as u16][self.below(4)];
        Question {
            from,
            to,
            port: (self.below(2) == 0).then_some(Port { number, proto }),
            ping: self.below(5) == 0,
        }
    }
}

fn ask(project: &Project, question: &Question, engine: Engine, name: &str) -> bool {
    let begun = Instant::now();
    let answer = why(project, &Options::new(0, engine), question);
    let took = begun.elapsed();
    assert!(took < LIMIT, "{name}: {question:?} took {took:?}");
    let Ok(why) = answer else { return false };
    let shown = text::render(&why, |_, _| None);
    assert!(!why.told.reason.is_empty(), "{name}: {question:?}\n{shown}");
    let last = why.told.steps.iter().flat_map(|step| &step.frames).max();
    let packets = why.capture.windows(4).filter(|four| *four == [6, 0, 0, 0]);
    let packets = packets.count();
    assert!(
        last.is_none_or(|&last| last >= 1 && last <= packets),
        "{name}: {question:?}: a frame that is not there\n{shown}"
    );
    true
}

#[test]
fn questions_to_the_corpus() {
    let Some(corpus) = corpus() else {
        return skip("the corpus is not here: why is not asked of other people's files");
    };
    let mut files = Vec::new();
    let mut folders = vec![corpus.join("compose")];
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(&folder).unwrap();
        let mut entries: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        entries.sort();
        for path in entries {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let yaml = name.ends_with(".yml") || name.ends_with(".yaml");
            match (path.is_dir(), yaml) {
                (true, _) => folders.push(path),
                (false, true) => files.push(path),
                _ => {}
            }
        }
    }
    let mut draw = Draw(0x5eed_1e55_0f57);
    let (mut loaded, mut answered) = (0, 0);
    for path in &files {
        let options = Load {
            files: vec![path.display().to_string()],
            env: BTreeMap::new(),
            ..Load::default()
        };
        let Ok(project) = files::load_with(options) else {
            continue;
        };
        loaded += 1;
        for at in 0..QUESTIONS {
            let question = draw.question(&project);
            let engine = [Engine::V29, Engine::V20_10][(loaded + at as usize) % 2];
            let name = path.display().to_string();
            answered += usize::from(ask(&project, &question, engine, &name));
        }
    }
    assert!(loaded > 100, "only {loaded} of {} files load", files.len());
    assert!(2 * answered > loaded, "only {answered} answers");
}
