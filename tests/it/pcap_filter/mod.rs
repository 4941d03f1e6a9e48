//! Capture filters mean what they mean to tcpdump: the same expressions over the same frames, by both.
//!
//! tcpdump reads a file of the golden captures and of frames that are made here, and writes those that pass; a
//! frame's time is its number. Where tcpdump is not installed the comparison is skipped, aloud.

mod expressions;
mod frames;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use switch::Rng;
use switch::pcap_filter::PcapFilter;

use self::frames::Frame;
use crate::rig::{say, skip};

/// Expressions drawn, besides those that are listed.
const DRAWN: usize = 400;
/// Rows of words drawn, most of them no expressions.
const SOUP: usize = 300;

/// tcpdump and a file of frames.
struct Tcpdump {
    file: PathBuf,
    frames: Vec<Frame>,
    /// Its words for what is wrong are those of the version that the words here are from.
    same_words: bool,
    /// Without the optimizer, which drops tests whose outcome it knows, and with them that they read behind
    /// the end of a frame.
    plain: bool,
}

impl Tcpdump {
    /// All frames, as they are written; `name` tells the files of tests apart.
    fn plain(name: &str) -> Option<Self> {
        Self::new(name, frames::all(), true)
    }

    /// `None`, said aloud, where it is not installed.
    fn new(name: &str, frames: Vec<Frame>, plain: bool) -> Option<Self> {
        let Ok(version) = Command::new("tcpdump").arg("--version").output() else {
            skip("tcpdump is not here: capture filters are not compared with its compiler");
            return None;
        };
        let version = String::from_utf8_lossy(&version.stdout).into_owned()
            + &String::from_utf8_lossy(&version.stderr);
        let folder = std::env::temp_dir();
        let file = folder.join(format!("vethlab-filter-{name}-{}.pcap", std::process::id()));
        fs::write(&file, frames::pcap(&frames)).expect("a file of frames");
        let tcpdump = Self {
            file,
            frames,
            same_words: version.contains("libpcap version 1.10."),
            plain,
        };
        // Root in a user namespace cannot become the user that it wants to be.
        if let Err(why) = tcpdump.asked("")
            && why.starts_with("Couldn't change to")
        {
            skip("tcpdump does not run as who is here: filters are not compared with its compiler");
            return None;
        }
        Some(tcpdump)
    }

    /// The numbers of the frames that pass, or what it says is wrong.
    fn asked(&self, expression: &str) -> Result<Vec<usize>, String> {
        let output = Command::new("tcpdump")
            .args(self.plain.then_some("-O"))
            .args(["-n", "-r", "-", "-w", "-", "--", expression])
            .stdin(File::open(&self.file).expect("the file of frames"))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .output()
            .expect("tcpdump runs");
        if output.status.success() {
            return Ok(frames::numbers(&output.stdout));
        }
        let errors = String::from_utf8_lossy(&output.stderr);
        let error = errors.lines().last().unwrap_or_default();
        let error = error.strip_prefix("tcpdump: ").unwrap_or(error);
        let parse = "can't parse filter expression: ";
        let error = error.strip_prefix(parse).unwrap_or(error);
        let error = error.strip_suffix(" in filter expression").unwrap_or(error);
        if error == "expression rejects all packets" {
            return Ok(Vec::new());
        }
        Err(error.to_owned())
    }

    /// Both say the same of an expression; how many frames pass, if any may.
    fn compare(&self, expression: &str) -> Result<Option<usize>, String> {
        let theirs = self.asked(expression);
        let filter = match (PcapFilter::compile(expression, &()), theirs) {
            (Ok(filter), Ok(theirs)) => (filter, theirs),
            (Err(error), Err(theirs)) => {
                let known = !self.same_words || error.message.contains("not supported here");
                if !known && error.message != theirs {
                    return Err(format!("{expression}\n  here: {error}\n  there: {theirs}"));
                }
                return Ok(None);
            }
            (Err(error), Ok(_)) => {
                if error.message.contains("not supported here") {
                    return Ok(None);
                }
                return Err(format!("{expression}\n  only here refused: {error}"));
            }
            // It takes the names of ports and protocols from the machine's files.
            (Ok(_), Err(error))
                if error.starts_with("unknown port") || error.starts_with("unknown ip proto") =>
            {
                assert!(
                    !Path::new("/etc/services").exists(),
                    "{expression}: {error}"
                );
                return Ok(None);
            }
            (Ok(_), Err(error)) => {
                return Err(format!("{expression}\n  only there refused: {error}"));
            }
        };
        let (filter, theirs) = filter;
        let passes = |frame: &Frame| filter.passes(&frame.bytes, frame.length);
        let ours: Vec<usize> = (0..self.frames.len())
            .filter(|&number| passes(&self.frames[number]))
            .collect();
        if ours == theirs {
            return Ok(Some(ours.len()));
        }
        let first = (0..self.frames.len())
            .find(|number| ours.contains(number) != theirs.contains(number))
            .unwrap_or_default();
        Err(format!(
            "{expression}\n  {} frames pass here, {} there; the first other: {} {:02x?}",
            ours.len(),
            theirs.len(),
            ours.contains(&first),
            self.frames[first],
        ))
    }

    /// All of them, and what was found in a line.
    fn compare_all(&self, what: &str, expressions: impl Iterator<Item = String>) {
        let (mut failed, mut refused, mut some, mut all) = (Vec::new(), 0, 0, 0);
        for expression in expressions {
            all += 1;
            match self.compare(&expression) {
                Ok(None) => refused += 1,
                Ok(Some(passed)) => {
                    some += usize::from(passed > 0 && passed < self.frames.len());
                }
                Err(message) => failed.push(message),
            }
        }
        say(&format!(
            "{what}: {all} expressions over {} frames as tcpdump has it; {refused} refused, {some} pass a part",
            self.frames.len()
        ));
        assert!(
            failed.is_empty(),
            "{} of {all} differ:\n{}",
            failed.len(),
            failed.join("\n")
        );
    }
}

impl Drop for Tcpdump {
    fn drop(&mut self) {
        let _gone = fs::remove_file(&self.file);
    }
}

#[test]
fn listed_expressions_mean_what_they_mean_to_tcpdump() {
    for expression in expressions::LISTED {
        let compiled = PcapFilter::compile(expression, &());
        assert!(compiled.is_ok(), "{expression}: {compiled:?}");
    }
    if let Some(tcpdump) = Tcpdump::plain("listed") {
        let listed = expressions::LISTED.iter().map(|&text| text.to_owned());
        tcpdump.compare_all("listed", listed);
    }
}

#[test]
fn golden_captures_are_read_as_tcpdump_reads_them() {
    if let Some(tcpdump) = Tcpdump::new("golden", frames::golden(), false) {
        let listed = expressions::LISTED.iter().map(|&text| text.to_owned());
        tcpdump.compare_all("golden captures", listed);
    }
}

#[test]
fn wrong_expressions_are_refused_in_the_words_of_tcpdump() {
    if let Some(tcpdump) = Tcpdump::plain("wrong") {
        for expression in expressions::WRONG {
            assert!(
                PcapFilter::compile(expression, &()).is_err(),
                "{expression}"
            );
        }
        let wrong = expressions::WRONG.iter().map(|&text| text.to_owned());
        tcpdump.compare_all("wrong", wrong);
    }
}

#[test]
fn drawn_expressions_mean_what_they_mean_to_tcpdump() {
    if let Some(tcpdump) = Tcpdump::plain("drawn") {
        let mut rng = Rng::new(seed());
        let mut draw = expressions::Draw::new(&mut rng, &tcpdump.frames);
        let drawn = (0..count(DRAWN)).map(|_| draw.expression(3));
        tcpdump.compare_all("drawn", drawn);
    }
}

#[test]
fn rows_of_words_are_refused_alike() {
    if let Some(mut tcpdump) = Tcpdump::plain("soup") {
        // Where two things are wrong, which one is told is nobody's promise.
        tcpdump.same_words = false;
        let mut rng = Rng::new(seed() + 1);
        let mut draw = expressions::Draw::new(&mut rng, &tcpdump.frames);
        let soup = (0..count(SOUP)).map(|_| draw.soup());
        tcpdump.compare_all("rows of words", soup);
    }
}

fn seed() -> u64 {
    let seed = std::env::var("VETHLAB_FILTER_SEED").ok();
    seed.and_then(|seed| seed.parse().ok()).unwrap_or(7)
}

/// How many are drawn: more if asked for.
fn count(usual: usize) -> usize {
    let count = std::env::var("VETHLAB_FILTERS").ok();
    count.and_then(|count| count.parse().ok()).unwrap_or(usual)
}
