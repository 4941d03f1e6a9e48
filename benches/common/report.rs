//! All rows of a run, and the files that are made of them: `report.md`, `report.json` and the plots.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::machine::{Machine, load};
use super::plot::{Lines, PLOTS, Plot};
use super::row::{Measured, shown, times};
use super::{Spread, rounds};

/// The rows of this run.
#[derive(Debug)]
pub(crate) struct Report {
    machine: Machine,
    question: &'static str,
    /// What each question said of itself.
    about: Vec<(&'static str, String)>,
    rows: Vec<Measured>,
    skipped: Vec<(&'static str, String, String)>,
    points: Vec<(Plot, Lines)>,
    /// Not every question was asked.
    partial: bool,
}

/// `target/bench`, beside the build that this is.
fn folder() -> PathBuf {
    let tmp = Path::new(env!("CARGO_TARGET_TMPDIR"));
    tmp.parent().expect("it is in target").join("bench")
}

fn pair(figures: Spread) -> Value {
    json!([figures.least, figures.most])
}

/// A cell of a table cannot hold a bar.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

impl Report {
    pub(crate) fn new(partial: bool) -> Self {
        Self {
            machine: Machine::here(),
            question: "",
            about: Vec::new(),
            rows: Vec::new(),
            skipped: Vec::new(),
            points: Vec::new(),
            partial,
        }
    }

    /// The rows that follow belong to this question.
    pub(crate) fn ask(&mut self, question: &'static str) {
        self.question = question;
    }

    pub(crate) fn question(&self) -> &'static str {
        self.question
    }

    /// Says what the rows that follow have in common: the API, what is on.
    pub(crate) fn about(&mut self, text: &str) {
        println!("{}: {text}", self.question);
        self.about.push((self.question, text.to_owned()));
    }

    pub(crate) fn push(&mut self, row: Measured) {
        let same = |had: &Measured| had.question == row.question && had.name == row.name;
        assert!(!self.rows.iter().any(same), "{} is there twice", row.name);
        let is_about = |(question, _): &(&str, String)| *question == row.question;
        assert!(self.about.iter().any(is_about), "rows of what?");
        self.rows.push(row);
    }

    /// Says aloud that a row cannot be measured here.
    pub(crate) fn skip(&mut self, name: &str, why: &str) {
        println!("{name}\n  SKIPPED: {why}");
        self.skipped
            .push((self.question, name.to_owned(), why.to_owned()));
    }

    /// One more point of a line of a plot.
    pub(crate) fn point(&mut self, plot: Plot, line: &str, x: f64, y: Spread) {
        let at = self.points.iter().position(|(known, _)| *known == plot);
        let at = at.unwrap_or_else(|| {
            self.points.push((plot, Lines::default()));
            self.points.len() - 1
        });
        self.points[at].1.add(line, x, y);
    }

    fn json(&self, load_after: &str) -> Value {
        let rows: Vec<Value> = self.rows.iter().map(row_json).collect();
        let skipped: Vec<Value> = self
            .skipped
            .iter()
            .map(|(question, name, why)| json!({"question": question, "name": name, "why": why}))
            .collect();
        let Machine {
            processor,
            cores,
            kernel,
            rustc,
            date,
            load_before,
        } = &self.machine;
        json!({
            "machine": {
                "processor": processor,
                "cores": cores,
                "kernel": kernel,
                "rustc": rustc,
                "load_before": load_before,
                "load_after": load_after,
            },
            "date": date,
            "partial": self.partial,
            "rows": rows,
            "skipped": skipped,
        })
    }

    fn markdown(&self, load_after: &str) -> String {
        let machine = &self.machine;
        let mut text = String::from("# Bench report\n\n");
        let rounds = rounds();
        let _infallible = writeln!(
            text,
            "{}; {}, {} cores; Linux {}; {}; load average {} before, {load_after} after. \
             {} rounds of {} ms, ours and anchor in turn; median (least..most).\n",
            machine.date,
            machine.processor,
            machine.cores,
            machine.kernel,
            machine.rustc,
            machine.load_before,
            rounds.count,
            rounds.at_least.as_millis(),
        );
        if self.partial {
            text.push_str("Only some questions were asked; the others are not here.\n\n");
        }
        let met = |verdict| self.rows.iter().filter(|row| row.met == verdict).count();
        let _infallible = writeln!(
            text,
            "Targets: {} met, {} missed. {} rows without a target, {} skipped.\n",
            met(Some(true)),
            met(Some(false)),
            met(None),
            self.skipped.len()
        );
        for (question, about) in &self.about {
            let _infallible = writeln!(text, "## {question}\n\n{about}\n");
            self.table(question, &mut text);
        }
        for (plot, _) in &self.points {
            let _infallible = writeln!(text, "![{}]({})\n", plot.title(), plot.file());
        }
        text
    }

    fn table(&self, question: &str, text: &mut String) {
        text.push_str("| row | ours | anchor | ratio | target | |\n|---|---|---|---|---|---|\n");
        for row in self.rows.iter().filter(|row| row.question == question) {
            let mut name = row.name.clone();
            if !row.with.is_empty() {
                let _infallible = write!(name, " (with {})", row.with);
            }
            let anchor = row.anchor.as_ref().map_or_else(String::new, |anchor| {
                format!("{}: {}", anchor.0, shown(anchor.1, row.unit))
            });
            let cells = [
                name,
                shown(row.ours.1, row.unit),
                anchor,
                row.ratio.map_or_else(String::new, times),
                row.target.clone(),
                row.verdict().to_owned(),
            ];
            let cells = cells.map(|text| cell(&text)).join(" | ");
            let _infallible = writeln!(text, "| {cells} |");
        }
        for (_, name, why) in self.skipped.iter().filter(|(at, ..)| *at == question) {
            let _infallible = writeln!(text, "| {} | skipped: {} | | | | |", cell(name), cell(why));
        }
        text.push('\n');
    }

    /// The files: name and content.
    pub(crate) fn files(&self) -> Vec<(String, String)> {
        let load_after = load();
        let json = serde_json::to_string_pretty(&self.json(&load_after)).expect("it is JSON");
        let mut files = vec![
            ("report.md".to_owned(), self.markdown(&load_after)),
            ("report.json".to_owned(), json + "\n"),
        ];
        for plot in PLOTS {
            let lines = self.points.iter().find(|(known, _)| *known == plot);
            if let Some((plot, lines)) = lines {
                files.push((plot.file().to_owned(), plot.svg(lines)));
            }
        }
        files
    }

    /// Writes the files to `target/bench`.
    pub(crate) fn write(&self) -> std::io::Result<()> {
        let folder = folder();
        std::fs::create_dir_all(&folder)?;
        for (name, content) in self.files() {
            std::fs::write(folder.join(name), content)?;
        }
        let what = if self.partial {
            "only the rows above"
        } else {
            "all rows"
        };
        println!("{}: {what}", folder.join("report.md").display());
        Ok(())
    }
}

fn row_json(row: &Measured) -> Value {
    let mut value = json!({
        "name": format!("{}: {}", row.question, row.name),
        "value": row.ours.1.median,
        "unit": row.unit,
        "anchor": Value::Null,
        "anchor_value": Value::Null,
        "ratio": Value::Null,
        "target": Value::Null,
        "met": row.met,
        "spread": pair(row.ours.1),
    });
    if let (Some((name, figures)), Some(ratio)) = (&row.anchor, row.ratio) {
        value["anchor"] = json!(name);
        value["anchor_value"] = json!(figures.median);
        value["anchor_spread"] = pair(*figures);
        value["ratio"] = json!(ratio.median);
        value["ratio_spread"] = pair(ratio);
    }
    if !row.target.is_empty() {
        value["target"] = json!(row.target);
    }
    if !row.with.is_empty() {
        value["with"] = json!(row.with);
    }
    value
}
