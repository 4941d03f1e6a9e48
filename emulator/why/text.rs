//! A `why` for people.

use emulator_compose::Picture;

use super::{Cause, Effect, Rule, Step, Why};
use crate::matrix::{Cell, How, Verdict};

/// The answer as text. `line` gives a line of a file, counted from 1; what it does not know is left out.
#[must_use]
pub fn render(why: &Why, mut line: impl FnMut(&str, u32) -> Option<String>) -> String {
    let cell = &why.cell;
    let verdict = match cell.verdict {
        Verdict::Open | Verdict::Door if why.is_open() && is_nameless(cell) => {
            "yes, but not by its name"
        }
        Verdict::Open => "yes",
        Verdict::Door if why.is_open() => "yes, by a published port",
        Verdict::Door => "no, but a published port lets it in",
        Verdict::Route => "no, but an added route lets it in",
        Verdict::Closed => "no",
        Verdict::Unknown => "unknown",
    };
    let protocol = if cell.port.is_none() { " (ping)" } else { "" };
    let mut text = format!(
        "{} → {}{}{protocol}: {verdict}\n\n",
        cell.from,
        cell.to,
        cell.suffix()
    );
    steps(&why.told.steps, &mut text);
    text.push_str(&format!("\n{}.\n", why.told.reason));
    causes(
        &why.told.causes,
        &mut |file, at| line(file, at).unwrap_or_default(),
        &mut text,
    );
    ways(cell, why.way, &mut text);
    let closes = if why.is_open() {
        "This would close it (tried):"
    } else {
        "This would close the published port to it (tried):"
    };
    let opens = match cell.verdict {
        Verdict::Open | Verdict::Door if why.is_open() => "This would open it by name (tried):",
        _ => "This would open it (tried):",
    };
    for (effect, title) in [(Effect::Opens, opens), (Effect::Closes, closes)] {
        let told: Vec<_> = why
            .told
            .changes
            .iter()
            .filter(|change| change.effect == effect)
            .collect();
        if told.is_empty() {
            continue;
        }
        text.push_str(&format!("\n{title}\n"));
        for change in told {
            text.push_str(&format!("- {}\n  {}\n", change.what, change.at));
        }
    }
    text
}

/// The lines that cause it, each with what stands there.
pub(crate) fn causes(
    causes: &[Cause],
    line: &mut dyn FnMut(&str, u32) -> String,
    text: &mut String,
) {
    for cause in causes {
        let source_line = line(&cause.file, cause.line);
        let picture = Picture {
            file: &cause.file,
            line: cause.line,
            column: cause.column,
            length: cause.length,
            source_line: &source_line,
        };
        text.push_str(&format!("\n{picture} {}\n", cause.text));
    }
}

/// The asker looks names up, and this one gives nothing.
fn is_nameless(cell: &Cell) -> bool {
    cell.name.is_some() && cell.resolved.is_empty()
}

/// The steps, each with the rule that decided it below.
pub(crate) fn steps(steps: &[Step], text: &mut String) {
    for (number, step) in steps.iter().enumerate() {
        let (number, kind, frames) = (number + 1, step.kind.word(), frames(&step.frames));
        text.push_str(&format!("{number:>2} {kind:<10}{}{frames}\n", step.text));
        if let Some(Rule { hook, line }) = &step.rule {
            text.push_str(&format!("   {:<10}{hook}: {line}\n", ""));
        }
    }
}

/// Every other way that was tried: those that are open, then the others by what became of them.
pub(crate) fn ways(cell: &Cell, told: Option<usize>, text: &mut String) {
    let others = cell.ways.iter().enumerate();
    let others: Vec<_> = others.filter(|&(at, _)| Some(at) != told).collect();
    if others.is_empty() {
        return;
    }
    text.push_str("\nOther ways:\n");
    let mut closed: Vec<(&str, Vec<String>)> = Vec::new();
    for (_, way) in others {
        let how = match (way.how, &way.network) {
            (How::Name, Some(network)) => format!("by name, on {network}"),
            (How::Name, None) => "by name".to_owned(),
            (How::Address, Some(network)) => format!("by address, on {network}"),
            (How::Address, None) => "by address".to_owned(),
            (How::Route, _) => "by an added route".to_owned(),
            (How::Shared, _) => "loopback of the shared namespace".to_owned(),
            (How::Loopback, _) => "published, at the host's loopback".to_owned(),
            (How::Host, _) => "published, at the host's address".to_owned(),
            (How::Gateway, network) => format!(
                "published, at the gateway of {}",
                network.as_deref().unwrap_or("a network")
            ),
        };
        let at = if way.at.port() == 0 {
            way.at.ip().to_string()
        } else {
            way.at.to_string()
        };
        let seen = way.frames.map(|[first, last]| match last - first {
            0 => format!("  [frame {first}]"),
            _ => format!("  [frames {first}-{last}]"),
        });
        let (at, seen) = (format!("{at} ({how})"), seen.unwrap_or_default());
        match (way.open, &way.sees) {
            (true, Some(who)) => {
                let (address, who) = (who.address, &who.who);
                text.push_str(&format!("- {at}: open, sees {address} ({who}){seen}\n"));
            }
            (true, None) => text.push_str(&format!("- {at}: open{seen}\n")),
            (false, _) => {
                let (reason, at) = (way.reason.as_deref().unwrap_or_default(), at + &seen);
                match closed.iter_mut().find(|(other, _)| *other == reason) {
                    Some((_, all)) => all.push(at),
                    None => closed.push((reason, vec![at])),
                }
            }
        }
    }
    for (reason, all) in closed {
        text.push_str(&format!("- {reason}: {}\n", all.join(", ")));
    }
}

/// ` [frame 82]`, ` [frames 82-86]`, ` [frames 66, 76-78]`.
fn frames(numbers: &[usize]) -> String {
    match numbers {
        [] => return String::new(),
        [one] => return format!("  [frame {one}]"),
        _ => {}
    }
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for &number in numbers {
        match runs.last_mut() {
            Some((_, end)) if *end + 1 == number => *end = number,
            _ => runs.push((number, number)),
        }
    }
    let runs = runs.into_iter().map(|(first, last)| match last - first {
        0 => first.to_string(),
        _ => format!("{first}-{last}"),
    });
    let runs: Vec<String> = runs.collect();
    format!("  [frames {}]", runs.join(", "))
}
