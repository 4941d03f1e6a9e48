//! A difference as Markdown, for a comment on a pull request.

use super::text::{joined, signed};
use super::{Changes, Diff};
use crate::matrix::markdown::escaped;

/// The difference as Markdown.
#[must_use]
pub fn render(diff: &Diff) -> String {
    let mut text = format!(
        "### What changes in the network: {} → {}\n\n",
        escaped(&diff.old),
        escaped(&diff.new)
    );
    if let Some((old, new)) = &diff.engines {
        text.push_str(&format!("Engine {} → {}.\n\n", escaped(old), escaped(new)));
    }
    if diff.is_empty() {
        text.push_str("Nothing opens, closes or moves.\n");
    }
    part(&mut text, "Exposure", &diff.exposure);
    part(&mut text, "Inside", &diff.inside);
    if !diff.addresses.is_empty() {
        text.push_str("\n**Addresses**\n\n");
        for moved in &diff.addresses {
            let [old, new] = [&moved.old, &moved.new].map(|addresses| {
                let texts: Vec<String> = addresses.iter().map(ToString::to_string).collect();
                texts.join(" ")
            });
            let line = format!("{} on {}: {old} → {new}", moved.service, moved.network);
            text.push_str(&format!("- {}\n", escaped(&line)));
        }
    }
    text
}

fn part(text: &mut String, title: &str, changes: &Changes) {
    if changes.is_empty() {
        return;
    }
    text.push_str(&format!(
        "\n**{title}**\n\n| | fact | by | |\n| --- | --- | --- | --- |\n"
    ));
    let mut line = |sign: &str, fact: &str, by: &str, why: String| {
        text.push_str(&format!(
            "| {sign} | {} | {} | {} |\n",
            escaped(fact),
            escaped(by),
            escaped(&why)
        ));
    };
    for gained in &changes.gained {
        let before = gained.before.as_ref().map(|why| format!("before: {why}"));
        let fact = gained.fact.to_string();
        line(
            "gained",
            &fact,
            &joined(&gained.ways),
            before.unwrap_or_default(),
        );
    }
    for lost in &changes.lost {
        let now = lost.now.as_ref().map(|why| format!("now: {why}"));
        let fact = lost.fact.to_string();
        line("lost", &fact, &joined(&lost.ways), now.unwrap_or_default());
    }
    for moved in &changes.moved {
        let fact = moved.fact.to_string();
        line(
            "moved",
            &fact,
            &signed(&moved.gone, &moved.came),
            String::new(),
        );
    }
}
