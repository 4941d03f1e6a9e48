//! `vethlab check`: who reaches whom in a compose project.

use core::fmt::Write as _;
use std::process::ExitCode;

use vethlab::check::{Cell, Summary, summary};
use vethlab::compose::Images;
use vethlab::core::lab::Lab;
use vethlab::dials::{Dialled, dial};
use vethlab::matrix::{Depth, Member, json};
use vethlab_cli::args::{CheckArgs, Format};
use vethlab_cli::format::table::align;

use super::BAD_INPUT;
use super::project;

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
    let asked = project::together(
        &args.compose.files(),
        &args.compose.load,
        args.project_name.as_deref(),
        args.on.as_deref(),
    )?;
    let options = project::options(&asked, args.lab.seed, args.lab.engine, args.host.as_deref())?;
    let also = |lab: &mut Lab, members: &[Member<'_>], images: &Images| {
        let each = members.iter().map(|member| {
            let mut dials = dial(lab, member.project, member.up, images);
            for dial in &mut dials {
                dial.service = member.label(&dial.service);
            }
            dials
        });
        each.collect::<Vec<_>>().concat()
    };
    let projects = asked.members();
    let (matrix, dials) = project::tried_with(
        &asked.name,
        &projects,
        &options,
        &args.lab.capture,
        Depth::First,
        also,
    )?;
    let summary = summary(matrix, dials);
    project::print(&match args.format {
        Format::Json => json::render(&summary),
        Format::Text => table(&summary),
    })
}

fn table(matrix: &Summary) -> String {
    let mut rows = "FROM\tTO\tRESOLVED\tCONNECTED\tVIA\tWHY NOT\n".to_owned();
    let mut last = "";
    for cell in &matrix.cells {
        if last != cell.from && !last.is_empty() {
            rows.push_str("\t\t\t\t\t\n");
        }
        last = &cell.from;
        push_cell(&mut rows, cell);
    }
    let mut text = format!("project {}, seed {}\n\n", matrix.project, matrix.seed);
    push_columns(&mut text, &rows);
    let failed: Vec<Vec<String>> = matrix
        .dials
        .iter()
        .filter(|dial| dial.connected == Some(false))
        .map(dialled)
        .collect();
    if !failed.is_empty() {
        let head = ["DIALS", "AT", "RESOLVED", "WHY NOT", "WHERE"].map(str::to_owned);
        let mut rows = String::new();
        push_line(&mut rows, &head);
        for row in &failed {
            push_line(&mut rows, row);
        }
        text.push('\n');
        push_columns(&mut text, &rows);
    }
    for (name, error) in &matrix.failed {
        text.push_str(&format!("\n{name} does not run: {error}\n"));
    }
    text
}

/// A dial that does not get through.
fn dialled(dial: &Dialled) -> Vec<String> {
    let port = match (dial.port, dial.protocol.as_str()) {
        (None, _) => String::new(),
        (Some(port), "tcp") => format!(":{port}"),
        (Some(port), protocol) => format!(":{port}/{protocol}"),
    };
    let resolved: Vec<String> = dial.resolved.iter().map(ToString::to_string).collect();
    vec![
        dial.service.clone(),
        format!("{}{port}", dial.host),
        if resolved.is_empty() {
            "no".to_owned()
        } else {
            resolved.join(" ")
        },
        dial.reason.clone().unwrap_or_default(),
        format!("{} {}", dial.within, dial.at),
    ]
}

/// The row of a cell.
fn push_cell(rows: &mut String, cell: &Cell) {
    let to = &cell.to;
    // Writing into a String cannot fail.
    let _ = write!(rows, "{}\t{to}", cell.from);
    let _ = match (&cell.port, cell.protocol.as_deref()) {
        (Some(port), Some("tcp") | None) => write!(rows, ":{port}"),
        (Some(port), Some(protocol)) => write!(rows, ":{port}/{protocol}"),
        (None, Some(protocol)) => write!(rows, " {protocol}"),
        (None, None) => Ok(()),
    };
    rows.push('\t');
    match &cell.name {
        None => rows.push('-'),
        Some(_) if cell.resolved.is_empty() => rows.push_str("no"),
        Some(_) => {
            for (at, address) in cell.resolved.iter().enumerate() {
                let _ = write!(rows, "{}{address}", if at > 0 { " " } else { "" });
            }
        }
    }
    rows.push_str(match cell.connected {
        Some(true) => "\tyes\t",
        Some(false) => "\tno\t",
        None => "\t?\t",
    });
    rows.push_str(cell.via.as_deref().unwrap_or("-"));
    rows.push('\t');
    rows.push_str(cell.reason.as_deref().unwrap_or_default());
    rows.push('\n');
}

/// One more row of cells.
fn push_line(rows: &mut String, row: &[String]) {
    rows.push_str(&row.join("\t"));
    rows.push('\n');
}

/// The rows in columns, without blanks at the end of a line.
fn push_columns(text: &mut String, rows: &str) {
    let aligned = align(rows);
    text.reserve(aligned.len());
    for line in aligned.lines() {
        text.push_str(line.trim_end());
        text.push('\n');
    }
}
