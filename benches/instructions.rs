//! How many instructions a few kernels of the emulator take, counted by callgrind: repeatable where time is not.
//!
//! `cargo bench -p vethlab -- instructions` runs each in a copy of this binary under valgrind, once with N units of
//! work and once with 2 N, so that setting up cancels out, and fails if one takes over 10 % more than
//! `benches/instructions.json` says. `-- instructions --bless` writes that file anew. Another compiler counts
//! differently: with one, more instructions are a warning. Skipped aloud without valgrind.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use serde_json::{Map, Value, json};
use switch::link::Mode;
use vethlab::core::lab::{Input, LabConfig, Output};

use crate::calls::{Calls, End, Way};
use crate::common::lab::on_docker0;
use crate::common::machine::rustc;
use crate::dns::Names;
use crate::forward::{self, Entry, Wire};
use crate::tcp::{EXCHANGE, Ours, Stream};
use crate::udp::Flow;

/// Does so many turns; the units of work that these were.
type Kernel = fn(u64) -> u64;

/// Name, work, and turns of the short run.
const KERNELS: [(&str, Kernel, u64); 9] = [
    ("bridge forward, 64 B frame", bridged, 100),
    ("NAT translate, masqueraded datagram", translate, 100),
    (
        "TCP segment out and in, 1 B request and response",
        segments,
        2_000,
    ),
    ("DNS answer", answers, 2_000),
    ("poll of an idle lab of 100 containers", idle, 10_000),
    ("short connection, reset", resets, 3_000),
    ("short connection, FIN", fins, 3_000),
    (
        "short connection through a published port, reset",
        published,
        3_000,
    ),
    ("TCP 200 B asked, 10 kB answered", exchanges, 2_000),
];

/// Work that is not counted here, to be looked at by `-- callgrind`, from number [`OTHER`] on.
const OTHERS: [Kernel; 15] = [
    |turns| {
        let mut wire = Wire::new(Mode::Move, 64, 1, Entry::Burst);
        (0..turns).map(|_| wire.burst()).sum()
    },
    |turns| forward::crowd(Mode::Copy, Entry::Burst, turns),
    |turns| forward::crowd(Mode::Move, Entry::Burst, turns),
    |turns| forward::crowd(Mode::Move, Entry::Single, turns),
    |turns| streamed(Mode::Copy, false, turns),
    |turns| streamed(Mode::Move, false, turns),
    |turns| streamed(Mode::Copy, true, turns),
    |turns| (0..turns).map(|_| crate::start::small()).count() as u64,
    |turns| asked(Ours::new(false), turns),
    |turns| asked(Ours::over_v6(Mode::Copy, true), turns),
    |turns| asked(Ours::over_v6(Mode::Copy, false), turns),
    |turns| short(Way::NeighbourV6, End::Reset, turns),
    |turns| short(Way::NeighbourV6, End::Fin, turns),
    |turns| read(Ours::over_v6(Mode::Copy, true), turns),
    |turns| read(Ours::over_v6(Mode::Move, false), turns),
];

const OTHER: usize = 100;

/// A tenth more is a regression.
const ALLOWED: f64 = 1.1;

fn bridged(turns: u64) -> u64 {
    let mut wire = Wire::new(Mode::Copy, 64, 1, Entry::Burst);
    (0..turns).map(|_| wire.burst()).sum()
}

fn translate(turns: u64) -> u64 {
    let mut flow = Flow::masqueraded();
    (0..turns).map(|_| flow.there()).sum()
}

fn segments(turns: u64) -> u64 {
    asked(Ours::new(true), turns)
}

fn asked(mut ours: Ours, turns: u64) -> u64 {
    (0..turns).map(|_| ours.request(7)).sum()
}

fn exchanges(turns: u64) -> u64 {
    let (mut ours, stream) = (Ours::in_mode(Mode::Move, false), Stream::new());
    (0..turns).map(|_| ours.exchange(&stream, EXCHANGE)).sum()
}

fn streamed(mode: Mode, full: bool, turns: u64) -> u64 {
    read(Ours::in_mode(mode, full), turns)
}

fn read(mut ours: Ours, turns: u64) -> u64 {
    let stream = Stream::new();
    (0..turns).map(|_| ours.bulk(&stream)).sum()
}

fn answers(turns: u64) -> u64 {
    let mut names = Names::new();
    (0..turns).map(|_| names.resolve()).sum()
}

fn idle(turns: u64) -> u64 {
    let (mut lab, _) = on_docker0(LabConfig::default(), 100);
    for _ in 0..turns {
        let now = lab.now() + core::time::Duration::from_nanos(1);
        lab.handle(now, Input::Tick);
        assert!(matches!(lab.poll(), Output::Idle(_)), "there was work");
    }
    turns
}

fn short(way: Way, end: End, turns: u64) -> u64 {
    let mut calls = Calls::new(way, end);
    (0..turns).map(|_| calls.call()).sum()
}

fn resets(turns: u64) -> u64 {
    short(Way::Neighbour, End::Reset, turns)
}

fn fins(turns: u64) -> u64 {
    short(Way::Neighbour, End::Fin, turns)
}

fn published(turns: u64) -> u64 {
    short(Way::Published, End::Reset, turns)
}

/// The copy under valgrind: which kernel, and how many turns.
pub(crate) fn work(number: &str, turns: &str) {
    let number: usize = number.parse().expect("the number of a kernel");
    let turns = turns.parse().expect("a count of turns");
    let others = OTHERS.get(number.wrapping_sub(OTHER));
    let kernel = others.copied().unwrap_or_else(|| KERNELS[number].1);
    println!("{}", kernel(turns));
}

/// Instructions and units of a run.
fn run(number: usize, turns: u64) -> Result<(u64, u64), String> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let ran = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(own)
        .args(["callgrind", &number.to_string(), &turns.to_string()])
        .output()
        .map_err(|error| error.to_string())?;
    let (said, told) = (
        String::from_utf8_lossy(&ran.stdout).into_owned(),
        String::from_utf8_lossy(&ran.stderr).into_owned(),
    );
    let collected = told
        .lines()
        .find_map(|line| line.split_once("Collected : "))
        .and_then(|(_, count)| count.trim().parse().ok());
    match (collected, said.trim().parse()) {
        (Some(instructions), Ok(units)) => Ok((instructions, units)),
        _ => Err(format!("valgrind said: {told}")),
    }
}

/// Instructions of one unit of work.
fn count(number: usize) -> Result<f64, String> {
    let turns = KERNELS[number].2;
    let (short, few) = run(number, turns)?;
    let (long, many) = run(number, 2 * turns)?;
    Ok((long - short) as f64 / (many - few) as f64)
}

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/instructions.json")
}

fn baseline() -> Value {
    let text = std::fs::read_to_string(file()).expect("the baseline is committed");
    serde_json::from_str(&text).expect("it is JSON")
}

/// Counts and compares, or writes the counts down.
pub(crate) fn check() -> ExitCode {
    if Command::new("valgrind").arg("--version").output().is_err() {
        println!("instructions: SKIPPED: valgrind is not here");
        return ExitCode::SUCCESS;
    }
    let mut counts = Map::new();
    for (number, (name, ..)) in KERNELS.iter().enumerate() {
        match count(number) {
            Ok(count) => counts.insert((*name).to_owned(), json!(count.round())),
            Err(why) => {
                println!("instructions: {name}: {why}");
                return ExitCode::FAILURE;
            }
        };
    }
    if std::env::args().any(|arg| arg == "--bless") {
        let text = json!({"rustc": rustc(), "instructions": counts});
        let text = serde_json::to_string_pretty(&text).expect("it is JSON") + "\n";
        std::fs::write(file(), text).expect("the baseline can be written");
        println!("{}: written", file().display());
        return ExitCode::SUCCESS;
    }
    compare(&counts, &baseline())
}

fn compare(counts: &Map<String, Value>, baseline: &Value) -> ExitCode {
    let mut regressed = false;
    for (name, count) in counts {
        let now = count.as_f64().expect("a number");
        let then = baseline["instructions"][name].as_f64();
        let then = then.unwrap_or_else(|| panic!("no baseline for {name}: --bless"));
        let ratio = now / then;
        let word = if ratio > ALLOWED {
            regressed = true;
            ": MORE THAN ALLOWED"
        } else if ratio < 1.0 / ALLOWED {
            ": less; --bless, so that it stays so"
        } else {
            ""
        };
        println!("{name}\n  {now:.0} instructions, {then:.0} before, {ratio:.3}{word}");
    }
    let (then, now) = (baseline["rustc"].as_str().unwrap_or_default(), rustc());
    if then != now {
        println!("WARNING: the baseline is of {then}, this is {now}: nothing fails, --bless anew");
        return ExitCode::SUCCESS;
    }
    if regressed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}
