//! `vethlab why`: step by step, why one end reaches another, or why not.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use vethlab::compose::Project;
use vethlab::host::pcap_file::PcapFile;
use vethlab::why::{Question, Why, text, why, why_together};
use vethlab_cli::args::{Format, WhyArgs};

use super::BAD_INPUT;
use super::project;

/// Runs the verb.
pub(crate) fn run(args: &WhyArgs) -> ExitCode {
    #[cfg(target_os = "linux")]
    if let Some(mut client) = args.compose().and_then(super::desk::named) {
        let format = if args.format == Format::Json {
            "json"
        } else {
            "text"
        };
        let (from, to) = args.ends();
        let request = serde_json::json!({"verb": "why", "from": from, "to": to, "format": format});
        return super::desk::answer(&mut client, &request);
    }
    match answer(args) {
        Ok(code) => code,
        Err(message) => {
            eprintln!("{}", message.trim_end());
            ExitCode::from(BAD_INPUT)
        }
    }
}

fn answer(args: &WhyArgs) -> Result<ExitCode, String> {
    if args.words.len() < 2 {
        return Err(
            "vethlab: who asks, and who is asked?\nhint: `vethlab why web db:5432`, or `vethlab why compose.yaml web db:5432`"
                .to_owned(),
        );
    }
    let (from, to) = args.ends();
    if args.compose().is_none() && Path::new(from).is_file() {
        return Err(format!(
            "vethlab: {from} is a file: who asks, and who is asked?\nhint: `vethlab why {from} FROM TO`"
        ));
    }
    let question = Question::parse(from, to).map_err(|error| format!("vethlab: {error}"))?;
    let mut files: Vec<PathBuf> = args.compose().map(Path::to_owned).into_iter().collect();
    if files.is_empty() && !args.files.is_empty() {
        files = project::files(&files, None)?;
    }
    files.extend(args.files.iter().cloned());
    let asked = project::together(
        &files,
        &args.load,
        args.project_name.as_deref(),
        args.on.as_deref(),
    )?;
    let projects: Vec<&Project> = asked.projects.iter().map(|(_, project)| project).collect();
    let options = project::options(&asked, args.seed, args.engine, args.host.as_deref())?;
    let why = match asked.joined() {
        Some(joined) => why_together(&joined, &projects, &options, &question),
        None => why(projects[0], &options, &question),
    };
    let why = why.map_err(|error| format!("vethlab: {error}"))?;
    if let Some(path) = &args.capture {
        write(path, &why.capture)
            .map_err(|error| format!("vethlab: {}: {error}", path.display()))?;
    }
    project::print(&shown(args, &why)?)?;
    Ok(if why.is_open() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn write(path: &Path, capture: &[u8]) -> std::io::Result<()> {
    let file = PcapFile::create(path)?;
    file.chunks().push(&mut capture.to_vec());
    file.finish()
}

fn shown(args: &WhyArgs, why: &Why) -> Result<String, String> {
    match args.format {
        Format::Json => serde_json::to_string_pretty(why)
            .map(|text| text + "\n")
            .map_err(|error| format!("vethlab: {error}")),
        Format::Text => {
            let mut read: BTreeMap<String, Vec<String>> = BTreeMap::new();
            let mut text = text::render(why, |file, line| {
                let lines = read
                    .entry(file.to_owned())
                    .or_insert_with(|| lines(Path::new(file)));
                lines.get((line as usize).checked_sub(1)?).cloned()
            });
            if why.told.steps.iter().any(|step| !step.frames.is_empty()) {
                text.push_str(&format!("\n{}\n", frames(args.capture.as_ref())));
            }
            Ok(text)
        }
    }
}

fn frames(capture: Option<&PathBuf>) -> String {
    match capture {
        Some(path) => format!("The frames are in {}.", path.display()),
        None => "The frames are those that `--capture FILE` writes.".to_owned(),
    }
}

/// The lines of a file; none if it cannot be read any more.
fn lines(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}
