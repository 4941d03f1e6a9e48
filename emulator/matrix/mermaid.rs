//! The matrix as a Mermaid flowchart, which GitHub and GitLab draw: see [`super::graph`].

use super::Matrix;
use super::graph::{Graph, graph};

/// Mermaid's `maxEdges`: it draws no flowchart with more lines. The setting is one of those that a flowchart
/// cannot change itself (`secure`), and GitHub and GitLab leave it as it is.
const LINES_MAX: usize = 500;

/// The matrix as a flowchart. If it has more lines than are drawn, those of side doors are left out, and
/// it says so.
#[must_use]
pub fn render(matrix: &Matrix) -> String {
    let mut graph = graph(matrix);
    let left_out = graph.lines() > LINES_MAX;
    if left_out {
        for opening in &mut graph.openings {
            opening.networks.clear();
            opening.services.clear();
        }
    }
    let ids = Ids(&graph);
    let mut text = "flowchart LR\n".to_owned();
    if graph.lines() > LINES_MAX {
        text.push_str("  note[\"too many lines for Mermaid: graphviz and svg draw them\"]\n");
    } else if left_out {
        text.push_str("  note[\"side doors are left out: too many lines\"]\n");
    }
    for place in &graph.places {
        text.push_str(&format!("  {}([{}])\n", ids.of(place), quoted(place)));
    }
    for service in &graph.services {
        text.push_str(&format!("  {}[{}]\n", ids.of(service), quoted(service)));
    }
    for (at, (network, internal)) in graph.networks.iter().enumerate() {
        let internal = if *internal { " (internal)" } else { "" };
        text.push_str(&format!(
            "  n{at}(({}))\n",
            quoted(&format!("{network}{internal}"))
        ));
    }
    for (at, opening) in graph.openings.iter().enumerate() {
        text.push_str(&format!("  o{at}{{{{{}}}}}\n", quoted(&opening.ports)));
    }
    for member in &graph.members {
        let line = if member.cut_off { "-.-" } else { "---" };
        text.push_str(&format!(
            "  {} {line}{} {}\n",
            ids.of(&member.service),
            label(&member.ports),
            ids.network(&member.network)
        ));
    }
    for (from, to, ports) in &graph.arrows {
        text.push_str(&format!(
            "  {} -->{} {}\n",
            ids.of(from),
            label(ports),
            ids.of(to)
        ));
    }
    for (at, opening) in graph.openings.iter().enumerate() {
        for place in &opening.places {
            text.push_str(&format!("  {} ==> o{at}\n", ids.of(place)));
        }
        for network in &opening.networks {
            text.push_str(&format!("  {} -.-> o{at}\n", ids.network(network)));
        }
        for service in &opening.services {
            text.push_str(&format!("  {} -.-> o{at}\n", ids.of(service)));
        }
        text.push_str(&format!("  o{at} --> {}\n", ids.of(&opening.to)));
    }
    text
}

/// Names as numbers: what a service may be called, an identifier may not.
#[derive(Debug)]
struct Ids<'a>(&'a Graph);

impl Ids<'_> {
    fn of(&self, end: &str) -> String {
        let at = |list: &[String], letter: char| {
            let at = list.iter().position(|name| name == end)?;
            Some(format!("{letter}{at}"))
        };
        let service = at(&self.0.services, 's').or_else(|| at(&self.0.places, 'p'));
        service.unwrap_or_else(|| unreachable!("{end} is no end of the graph"))
    }

    fn network(&self, key: &str) -> String {
        let at = self.0.networks.iter().position(|(name, _)| name == key);
        at.map_or_else(
            || unreachable!("{key} is no network of the graph"),
            |at| format!("n{at}"),
        )
    }
}

fn label(text: &str) -> String {
    if text.is_empty() {
        String::new()
    } else {
        format!("|{}|", quoted(text))
    }
}

/// A text in quotes, its own quotes and what is markup as entities.
fn quoted(text: &str) -> String {
    let mut out = "\"".to_owned();
    for c in text.chars() {
        match c {
            '"' | '<' | '>' | '&' | '#' | '`' | '|' => out.push_str(&format!("#{};", u32::from(c))),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
