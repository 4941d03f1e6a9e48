//! `vethlab check`: who reaches whom in a compose project.

use std::io::{self, IsTerminal};
use std::process::ExitCode;

use vethlab::capture::CaptureTo;
use vethlab::check::{Cell, Matrix, matrix};
use vethlab::world::{Options, World};
use vethlab_cli::args::{CheckArgs, Format};
use vethlab_cli::format::table::align;

use super::{BAD_INPUT, project};

/// Checks a project.
pub(crate) fn run(args: &CheckArgs) -> ExitCode {
    match check(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{}", message.trim_end());
            ExitCode::from(BAD_INPUT)
        }
    }
}

fn check(args: &CheckArgs) -> Result<(), String> {
    let project = project::load(&args.files, args.project_name.as_deref())?;
    let words = |error: &dyn std::fmt::Display| format!("vethlab: {error}");
    let options = Options::new(args.lab.seed, args.lab.engine.into());
    let mut world = World::empty(&options).map_err(|error| words(&error))?;
    let capture = match &args.lab.capture {
        Some(path) => {
            let started = CaptureTo::start(&mut world.lab, path, args.lab.capture_at.into());
            Some(started.map_err(|error| format!("vethlab: {}: {error}", path.display()))?)
        }
        None => None,
    };
    project::start(&mut world, &project)?;
    let World { mut lab, up, .. } = world;
    let running = up.into_iter().next().map(|(_, up)| up).unwrap_or_default();
    let terminal = io::stderr().is_terminal();
    let filled = matrix(
        &mut lab,
        &project,
        &running,
        args.lab.seed,
        |lab, done, all| {
            if terminal {
                eprint!("\r\x1b[K{done}/{all} rows");
            }
            capture
                .as_ref()
                .map_or(Ok(()), |capture| capture.drain(lab))
        },
    );
    if terminal {
        eprint!("\r\x1b[K");
    }
    let filled = filled.map_err(|error| words(&error))?;
    if let Some(capture) = capture {
        capture.finish(&mut lab).map_err(|error| words(&error))?;
    }
    print(args.format, &filled)
}

fn print(format: Format, matrix: &Matrix) -> Result<(), String> {
    let text = match format {
        Format::Json => {
            serde_json::to_string_pretty(matrix).map_err(|error| format!("vethlab: {error}"))?
                + "\n"
        }
        Format::Text => table(matrix),
    };
    project::print(&text)
}

fn table(matrix: &Matrix) -> String {
    let mut rows = vec![
        ["FROM", "TO", "RESOLVED", "CONNECTED", "VIA", "WHY NOT"]
            .map(str::to_owned)
            .to_vec(),
    ];
    let mut last = "";
    for cell in &matrix.cells {
        if last != cell.from && !last.is_empty() {
            rows.push(vec![String::new(); 6]);
        }
        last = &cell.from;
        rows.push(row(cell));
    }
    let mut text = format!(
        "project {}, seed {}\n\n{}",
        matrix.project,
        matrix.seed,
        columns(&rows)
    );
    for (name, error) in &matrix.failed {
        text.push_str(&format!("\n{name} does not run: {error}\n"));
    }
    text
}

fn row(cell: &Cell) -> Vec<String> {
    let to = match (&cell.port, cell.protocol.as_deref()) {
        (Some(port), Some("tcp") | None) => format!("{}:{port}", cell.to),
        (Some(port), Some(protocol)) => format!("{}:{port}/{protocol}", cell.to),
        (None, Some(protocol)) => format!("{} {protocol}", cell.to),
        (None, None) => cell.to.clone(),
    };
    let resolved: Vec<String> = cell.resolved.iter().map(ToString::to_string).collect();
    let resolved = match (&cell.name, resolved.is_empty()) {
        (None, _) => "-".to_owned(),
        (Some(_), true) => "no".to_owned(),
        (Some(_), false) => resolved.join(" "),
    };
    let connected = match cell.connected {
        Some(true) => "yes",
        Some(false) => "no",
        None => "?",
    };
    vec![
        cell.from.clone(),
        to,
        resolved,
        connected.to_owned(),
        cell.via.clone().unwrap_or_else(|| "-".to_owned()),
        cell.reason.clone().unwrap_or_default(),
    ]
}

/// The rows in columns, without blanks at the end of a line.
fn columns(rows: &[Vec<String>]) -> String {
    let cells: String = rows.iter().map(|row| row.join("\t") + "\n").collect();
    align(&cells)
        .lines()
        .map(|line| line.trim_end().to_owned() + "\n")
        .collect()
}
