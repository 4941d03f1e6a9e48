//! The matrix as a graph for Graphviz (`dot`, `fdp`, `neato`): see [`super::graph`].

use super::Matrix;
use super::graph::graph;

/// The matrix in the DOT language.
#[must_use]
pub fn render(matrix: &Matrix) -> String {
    let graph = graph(matrix);
    let mut text = format!(
        "digraph {} {{\n  rankdir=LR; node [fontname=\"Helvetica\", fontsize=11]; \
         edge [fontname=\"Helvetica\", fontsize=9];\n",
        quoted(&matrix.project)
    );
    for place in &graph.places {
        text.push_str(&format!("  {} [shape=oval, style=bold];\n", quoted(place)));
    }
    for service in &graph.services {
        text.push_str(&format!("  {} [shape=box];\n", quoted(service)));
    }
    for (network, internal) in &graph.networks {
        let style = if *internal { "dashed" } else { "solid" };
        text.push_str(&format!(
            "  {} [label={}, shape=ellipse, style={style}, color=steelblue];\n",
            net(network),
            quoted(network)
        ));
    }
    for (at, opening) in graph.openings.iter().enumerate() {
        let ports = quoted(&opening.ports);
        text.push_str(&format!(
            "  \"o {at}\" [label={ports}, shape=hexagon, color=firebrick];\n"
        ));
    }
    for member in &graph.members {
        let style = if member.cut_off { ", style=dotted" } else { "" };
        text.push_str(&format!(
            "  {} -> {} [dir=none, color=steelblue, label={}{style}];\n",
            quoted(&member.service),
            net(&member.network),
            quoted(&member.ports)
        ));
    }
    for (from, to, ports) in &graph.arrows {
        let (from, to, ports) = (quoted(from), quoted(to), quoted(ports));
        text.push_str(&format!("  {from} -> {to} [label={ports}];\n"));
    }
    for (at, opening) in graph.openings.iter().enumerate() {
        for place in &opening.places {
            let place = quoted(place);
            text.push_str(&format!(
                "  {place} -> \"o {at}\" [style=bold, color=firebrick];\n"
            ));
        }
        let networks = opening.networks.iter().map(|network| net(network));
        for from in networks.chain(opening.services.iter().map(|service| quoted(service))) {
            text.push_str(&format!(
                "  {from} -> \"o {at}\" [style=dashed, color=darkorange];\n"
            ));
        }
        text.push_str(&format!(
            "  \"o {at}\" -> {} [color=firebrick];\n",
            quoted(&opening.to)
        ));
    }
    text.push_str("}\n");
    text
}

/// A network's node: a service may have the same name.
fn net(key: &str) -> String {
    quoted(&format!("n {key}"))
}

/// A text in quotes; what would end or escape in them is escaped.
fn quoted(text: &str) -> String {
    let mut out = "\"".to_owned();
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
