//! `vethlab capture`: what a project that is up does, for Wireshark or into a file.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use vethlab::host::control::{Answer, Client, Part};
use vethlab::host::interrupts::{interrupts, wait_unread};
use vethlab::host::pcap_file::PcapFile;
use vethlab_cli::args::CapturingArgs;

use super::desk::{ended, name, place};
use super::project;

/// How far apart signals are at least that mean two things.
const ONE: Duration = Duration::from_secs(1);

/// Captures.
pub(crate) fn run(args: &CapturingArgs) -> ExitCode {
    ended(capture(args).map(|()| 0))
}

fn capture(args: &CapturingArgs) -> Result<(), String> {
    let (project, words) = project(args)?;
    let client = place().connect(&project)?;
    if args.list_interfaces {
        return list(client);
    }
    let request = json!({
        "verb": "capture",
        "interfaces": args.interfaces,
        "filter": words.join(" "),
        "snaplen": args.bounds.snaplen,
        "count": args.bounds.count,
    });
    let to = args.write.as_deref();
    let taker: Box<dyn Taker> = match (to.filter(|to| to.as_os_str() != "-"), args.bounds.ring()?) {
        (Some(path), ring) => {
            let file = match ring {
                Some(ring) => PcapFile::ring(path, ring),
                None => PcapFile::create(path),
            };
            let file = file.map_err(|error| format!("{}: {error}", path.display()))?;
            Box::new(ToFile(file, path.to_owned()))
        }
        (None, Some(_)) => return Err("--ring needs -w FILE".to_owned()),
        (None, None) if to.is_none() && io::stdout().is_terminal() => {
            return Err(
                "a capture is not for a terminal: -w FILE, or a pipe, as in `vethlab capture -w - | tshark -r - -l`"
                    .to_owned(),
            );
        }
        (None, None) => Box::new(ToPipe::stdout()),
    };
    let counted = stream(client, &project, &request, taker)?;
    eprintln!("{counted}");
    Ok(())
}

/// The project and the words of the filter.
fn project(args: &CapturingArgs) -> Result<(String, &[String]), String> {
    let words = &args.words[..];
    if let Some(given) = &args.project_name {
        return Ok((given.clone(), words));
    }
    let up = place().projects();
    if let Some((first, rest)) = words.split_first()
        && up.contains(first)
    {
        return Ok((first.clone(), rest));
    }
    match (name(None, &[], None), &up[..]) {
        (Ok(name), _) if up.contains(&name) => Ok((name, words)),
        (_, [only]) => Ok((only.clone(), words)),
        (found, _) => Ok((found?, words)),
    }
}

fn list(mut client: Client) -> Result<(), String> {
    let text: String = interfaces(&mut client)?
        .iter()
        .map(|interface| format!("{interface}\n"))
        .collect();
    project::print(&format!("any\n{text}"))
}

/// The names of what can be captured at.
pub(crate) fn interfaces(client: &mut Client) -> Result<Vec<String>, String> {
    let request = json!({"verb": "interfaces"});
    client.ask(&request).map_err(|error| error.to_string())?;
    let mut names = Vec::new();
    loop {
        match client.next().map_err(|error| error.to_string())? {
            Answer::Value(Value::Array(all)) => {
                names = all
                    .iter()
                    .filter_map(|interface| Some(interface["name"].as_str()?.to_owned()))
                    .collect();
            }
            Answer::Error(sentence) => return Err(sentence),
            Answer::Exit(_) => return Ok(names),
            _ => {}
        }
    }
}

/// Who takes the bytes of a capture.
pub(crate) trait Taker {
    /// Takes the next ones; false: no more are wanted.
    fn take(&mut self, bytes: Vec<u8>) -> Result<bool, String>;
    /// There are no more.
    fn finish(self: Box<Self>) -> Result<(), String>;
    /// Ends the process when nobody reads any more.
    fn watch(&self) {}
}

struct ToFile(PcapFile, PathBuf);

impl Taker for ToFile {
    fn take(&mut self, mut bytes: Vec<u8>) -> Result<bool, String> {
        self.0.chunks().push(&mut bytes);
        Ok(!self.0.has_failed())
    }

    fn finish(self: Box<Self>) -> Result<(), String> {
        let finished = self.0.finish();
        finished.map_err(|error| format!("{}: {error}", self.1.display()))
    }
}

/// Standard output, or a pipe by its name.
pub(crate) struct ToPipe(Option<File>);

impl ToPipe {
    const fn stdout() -> Self {
        Self(None)
    }

    /// A pipe that somebody reads or will read.
    ///
    /// # Errors
    /// What the file system says.
    pub(crate) fn open(path: &Path) -> Result<Self, String> {
        let pipe = OpenOptions::new().write(true).open(path);
        pipe.map(|pipe| Self(Some(pipe)))
            .map_err(|error| format!("{}: {error}", path.display()))
    }
}

impl Taker for ToPipe {
    fn take(&mut self, bytes: Vec<u8>) -> Result<bool, String> {
        let written = match &mut self.0 {
            Some(pipe) => pipe.write_all(&bytes),
            None => {
                let mut out = io::stdout().lock();
                out.write_all(&bytes).and_then(|()| out.flush())
            }
        };
        match written {
            Ok(()) => Ok(true),
            // Whoever stops reading has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            Err(error) => Err(error.to_string()),
        }
    }

    fn finish(self: Box<Self>) -> Result<(), String> {
        Ok(())
    }

    fn watch(&self) {
        let pipe = self.0.as_ref().map(File::try_clone);
        thread::spawn(move || {
            let closed = match pipe {
                Some(Ok(pipe)) => wait_unread(&pipe),
                Some(Err(_)) => return,
                None => wait_unread(io::stdout()),
            };
            // Nothing is left to be done: the other side of the connection sees that this one is gone.
            if closed.is_ok() {
                std::process::exit(0);
            }
        });
    }
}

/// Runs a capture to its end: what was captured and lost, in a sentence.
pub(crate) fn stream(
    mut client: Client,
    project: &str,
    request: &Value,
    mut taker: Box<dyn Taker>,
) -> Result<String, String> {
    let words = |error: io::Error| match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => {
            "the project went down".to_owned()
        }
        _ => error.to_string(),
    };
    client.ask(request).map_err(words)?;
    let (mut counted, mut begun) = (String::new(), false);
    loop {
        let answer = match client.next() {
            Ok(answer) => answer,
            Err(error) => {
                if begun {
                    // What came until then is worth keeping.
                    taker.finish()?;
                }
                return Err(words(error));
            }
        };
        match answer {
            Answer::Part(Part::Data, bytes) => {
                begun = true;
                if !taker.take(bytes)? {
                    break;
                }
            }
            Answer::Value(value) if value["capture"].is_u64() => {
                taker.watch();
                end_on_signal(project.to_owned(), value["capture"].clone())?;
            }
            Answer::Value(value) => counted = sentence(&value),
            Answer::Error(sentence) => return Err(sentence),
            Answer::Exit(_) => break,
            Answer::Part(..) => {}
        }
    }
    taker.finish()?;
    Ok(counted)
}

/// Has the capture ended by the first signal, so that its last blocks still come; a second ends the process. Those that come
/// within [`ONE`] are one: `timeout` sends two, one to the process and one to its group.
fn end_on_signal(project: String, capture: Value) -> Result<(), String> {
    let mut signals = interrupts().map_err(|error| error.to_string())?;
    thread::spawn(move || {
        let mut byte = [0];
        if signals.read_exact(&mut byte).is_err() {
            return;
        }
        let first = Instant::now();
        let asked = place().connect(&project).and_then(|mut client| {
            let request = json!({"verb": "capture-end", "capture": capture});
            client.ask(&request).map_err(|error| error.to_string())?;
            client.next().map_err(|error| error.to_string())
        });
        let mut again = asked.is_err();
        while !again {
            if signals.read_exact(&mut byte).is_err() {
                return;
            }
            again = first.elapsed() > ONE;
        }
        std::process::exit(130);
    });
    Ok(())
}

fn sentence(counts: &Value) -> String {
    let captured = counts["captured"].as_u64().unwrap_or_default();
    match counts["lost"].as_u64().unwrap_or_default() {
        0 => format!("{captured} packets captured"),
        lost => format!(
            "{captured} packets captured, {lost} lost: they were not read in time (the capture says where)"
        ),
    }
}
