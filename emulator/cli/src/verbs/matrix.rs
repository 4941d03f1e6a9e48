//! `vethlab matrix`: every way between services and places, and the lock file.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use vethlab::diff::{self, Side};
use vethlab::matrix::facts::Facts;
use vethlab::matrix::{Depth, Matrix, csv, graphviz, json, lock, markdown, mermaid, svg, table};
use vethlab_cli::args::{MatrixArgs, MatrixFormat};

use super::BAD_INPUT;
use super::project;

/// Runs the verb.
pub(crate) fn run(args: &MatrixArgs) -> ExitCode {
    #[cfg(target_os = "linux")]
    if let ([only], []) = (
        args.compose.named.as_slice(),
        args.compose.flagged.as_slice(),
    ) && args.check.is_none()
        && args.update.is_none()
        && let Some(mut client) = super::desk::named(only)
    {
        let request = serde_json::json!({"verb": "matrix", "format": args.format.word()});
        return super::desk::answer(&mut client, &request);
    }
    match matrix(args) {
        Ok(code) => code,
        Err(message) => {
            eprintln!("{}", message.trim_end());
            ExitCode::from(BAD_INPUT)
        }
    }
}

fn matrix(args: &MatrixArgs) -> Result<ExitCode, String> {
    let locked = locked(args)?;
    let on = args.on.as_deref();
    let files = project::files(&args.compose.files(), on)?;
    let asked = project::together(&files, &args.compose.load, args.project_name.as_deref(), on)?;
    let options = project::options(&asked, args.lab.seed, args.lab.engine, args.host.as_deref())?;
    let projects = asked.members();
    let (filled, ()) = project::tried_with(
        &asked.name,
        &projects,
        &options,
        &args.lab.capture,
        Depth::Every,
        |_, _, _| (),
    )?;
    match (&args.check, &args.update, locked) {
        (Some(path), _, Some(locked)) => {
            let title = files.first().map_or_else(String::new, |file| shown(file));
            if !locked.routes {
                let path = shown(path);
                eprintln!(
                    "{}",
                    lock::without_routes(&path, &format!("`--update {path}`"))
                );
            }
            let old = Side::locked(shown(path), locked);
            let diff = diff::compare(&old, &Side::of(title, filled));
            if diff.is_empty() && diff.engines.is_none() {
                return Ok(ExitCode::SUCCESS);
            }
            project::print(&diff::text::render(&diff, diff::text::SINCE))?;
            Ok(ExitCode::from(u8::from(!diff.is_empty())))
        }
        (_, Some(path), _) => {
            update(path, &lock::write(&Facts::of(&filled)))?;
            Ok(ExitCode::SUCCESS)
        }
        _ => {
            project::print(&text(args.format, &filled))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// The lock file that the arguments name: read before anything is tried, so that one that cannot be read
/// is told at once, and is never written over.
fn locked(args: &MatrixArgs) -> Result<Option<Facts>, String> {
    let (path, hint) = match (&args.check, &args.update) {
        (Some(path), _) => (path, "`--update FILE` writes one"),
        (None, Some(path)) if path.symlink_metadata().is_err() => return Ok(None),
        (None, Some(path)) => (
            path,
            "it is left as it is; remove it to have it written anew",
        ),
        (None, None) => return Ok(None),
    };
    let error = |message: String| format!("{message}\nhint: {hint}");
    let text = super::read(path, lock::MAX_BYTES).map_err(error)?;
    let facts = lock::read(&text);
    let facts = facts.map_err(|wrong| error(format!("{}:{wrong}", path.display())))?;
    Ok(Some(facts))
}

/// Puts a lock file in its place, whole or not at all.
fn update(path: &Path, text: &str) -> Result<(), String> {
    // What a symbolic link names is written, not the link.
    let place = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let mut name = place.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let fresh = place.with_file_name(name);
    fs::write(&fresh, text)
        .and_then(|()| fs::rename(&fresh, &place))
        .map_err(|error| {
            // What was begun is of no use to anybody.
            let _gone = fs::remove_file(&fresh);
            format!("vethlab: {}: {error}", path.display())
        })
}

fn text(format: MatrixFormat, matrix: &Matrix) -> String {
    match format {
        MatrixFormat::Text => table::render(matrix),
        MatrixFormat::Json => json::render(matrix),
        MatrixFormat::Csv => csv::render(matrix),
        MatrixFormat::Markdown => markdown::render(matrix),
        MatrixFormat::Mermaid => mermaid::render(matrix),
        MatrixFormat::Graphviz => graphviz::render(matrix),
        MatrixFormat::Svg => svg::render(matrix),
    }
}
