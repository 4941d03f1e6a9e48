//! The tables of `benches/README.md`, from the `report.json` of one run or several.

use std::fmt::Write as _;
use std::process::ExitCode;

use serde_json::Value;

use super::row::times;
use super::{Spread, si};

/// The rows of the files named, in their order; a row that comes again takes the place of the first.
fn rows(files: &[&str]) -> Result<Vec<Value>, String> {
    let mut rows: Vec<Value> = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(file).map_err(|why| format!("{file}: {why}"))?;
        let report: Value = serde_json::from_str(&text).map_err(|why| format!("{file}: {why}"))?;
        let list = report["rows"].as_array();
        for row in list.ok_or_else(|| format!("{file}: there are no rows in it"))? {
            match rows.iter_mut().find(|had| had["name"] == row["name"]) {
                Some(had) => *had = row.clone(),
                None => rows.push(row.clone()),
            }
        }
    }
    Ok(rows)
}

fn word<'a>(row: &'a Value, key: &str) -> &'a str {
    row[key].as_str().unwrap_or_default()
}

/// A figure with its unit, if there is one.
fn figure(row: &Value, key: &str) -> Option<String> {
    Some(format!("{}{}", si(row[key].as_f64()?), word(row, "unit")))
}

fn ratio(row: &Value) -> Option<String> {
    let spread = row["ratio_spread"].as_array()?;
    Some(times(Spread {
        median: row["ratio"].as_f64()?,
        least: spread.first()?.as_f64()?,
        most: spread.get(1)?.as_f64()?,
    }))
}

fn line(row: &Value) -> String {
    let anchor = figure(row, "anchor_value");
    let anchor = anchor.map(|figure| format!("{}: {figure}", word(row, "anchor")));
    let verdict = match row["met"].as_bool() {
        Some(true) => "met",
        Some(false) => "**missed**",
        None => "",
    };
    let cells = [
        word(row, "name").to_owned(),
        figure(row, "value").unwrap_or_default(),
        anchor.unwrap_or_default(),
        ratio(row).unwrap_or_default(),
        word(row, "target").to_owned(),
        verdict.to_owned(),
    ];
    format!(
        "| {} |\n",
        cells.map(|cell| cell.replace('|', "\\|")).join(" | ")
    )
}

fn text(rows: &[Value]) -> String {
    const HEAD: &str = "| row | ours | anchor | ratio | target | |\n|---|---|---|---|---|---|\n";
    let met = |verdict| rows.iter().filter(|row| row["met"] == verdict).count();
    let mut text = String::new();
    let _infallible = write!(
        text,
        "Targets: **{} met, {} missed.**\n\n{HEAD}",
        met(Value::Bool(true)),
        met(Value::Bool(false)),
    );
    let (with, without): (Vec<&Value>, Vec<&Value>) =
        rows.iter().partition(|row| row["met"].is_boolean());
    text.extend(with.into_iter().map(line));
    text.push_str("\nRows without a target that explain those:\n\n");
    text.push_str(HEAD);
    text.extend(without.into_iter().map(line));
    text
}

/// Prints the tables.
pub(crate) fn print(files: &[&str]) -> ExitCode {
    match rows(files) {
        Ok(rows) => {
            print!("{}", text(&rows));
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}
