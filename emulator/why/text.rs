//! A `why` for people.

use emulator_compose::Picture;

use super::{Effect, Why};
use crate::matrix::{How, Verdict};

/// The answer as text. `line` gives a line of a file, counted from 1; what it does not know is left out.
#[must_use]
pub fn render(why: &Why, mut line: impl FnMut(&str, u32) -> Option<String>) -> String {
    let cell = &why.cell;
    let verdict = match cell.verdict {
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
    for (number, step) in why.steps.iter().enumerate() {
        let frames = frames(&step.frames);
        text.push_str(&format!(
            "{:>2} {:<10}{}{frames}\n",
            number + 1,
            step.kind.word(),
            step.text
        ));
    }
    text.push_str(&format!("\n{}.\n", why.reason));
    for cause in &why.causes {
        let source_line = line(&cause.file, cause.line).unwrap_or_default();
        let picture = Picture {
            file: &cause.file,
            line: cause.line,
            column: cause.column,
            length: cause.length,
            source_line: &source_line,
        };
        text.push_str(&format!("\n{picture} {}\n", cause.text));
    }
    ways(why, &mut text);
    let closes = if why.is_open() {
        "This would close it (tried):"
    } else {
        "This would close the published port to it (tried):"
    };
    for (effect, title) in [
        (Effect::Opens, "This would open it (tried):"),
        (Effect::Closes, closes),
    ] {
        let told: Vec<_> = why
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

/// Every other way that was tried.
fn ways(why: &Why, text: &mut String) {
    let others: Vec<_> = why
        .cell
        .ways
        .iter()
        .enumerate()
        .filter(|&(index, _)| Some(index) != why.way)
        .collect();
    if others.is_empty() {
        return;
    }
    text.push_str("\nOther ways:\n");
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
        let answer = match (way.open, &way.sees, &way.reason) {
            (true, Some(seen), _) => format!("open, sees {} ({})", seen.address, seen.who),
            (true, None, _) => "open".to_owned(),
            (false, _, reason) => reason.clone().unwrap_or_default(),
        };
        text.push_str(&format!("- {at} ({how}): {answer}\n"));
    }
}

/// ` [frame 82]`, ` [frames 82-86]`, ` [frames 66, 76]`.
fn frames(numbers: &[usize]) -> String {
    let (Some(first), Some(last)) = (numbers.first(), numbers.last()) else {
        return String::new();
    };
    if numbers.len() == 1 {
        return format!("  [frame {first}]");
    }
    if last - first + 1 == numbers.len() {
        return format!("  [frames {first}-{last}]");
    }
    let numbers: Vec<String> = numbers.iter().map(usize::to_string).collect();
    format!("  [frames {}]", numbers.join(", "))
}
