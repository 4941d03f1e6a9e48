//! The matrix as comma-separated values (RFC 4180, lines ended by `\n`): a line for each cell.

use super::facts::ways;
use super::{Cell, Matrix};

/// The matrix as CSV, with a line of names first.
#[must_use]
pub fn render(matrix: &Matrix) -> String {
    let mut text = "from,to,port,protocol,known,verdict,ways,reason,name,resolved\n".to_owned();
    for cell in &matrix.cells {
        let fields = row(matrix, cell).map(|field| quoted(&field));
        text.push_str(&fields.join(","));
        text.push('\n');
    }
    text
}

fn row(matrix: &Matrix, cell: &Cell) -> [String; 10] {
    let known = matrix.end(&cell.to).and_then(|end| {
        let ports = end.ports.iter();
        let mut same =
            ports.filter(|port| Some(port.port) == cell.port && port.protocol == cell.protocol);
        same.next().map(|port| port.known.clone())
    });
    let resolved: Vec<String> = cell.resolved.iter().map(ToString::to_string).collect();
    let ways: Vec<String> = ways(cell).into_iter().collect();
    [
        cell.from.clone(),
        cell.to.clone(),
        cell.port.map(|port| port.to_string()).unwrap_or_default(),
        cell.protocol.clone(),
        known.unwrap_or_default(),
        cell.verdict.word().to_owned(),
        ways.join("; "),
        cell.reason.clone().unwrap_or_default(),
        cell.name.clone().unwrap_or_default(),
        resolved.join(" "),
    ]
}

/// A field in quotes if it has to be; one that a spreadsheet would take for a formula is made a text.
fn quoted(field: &str) -> String {
    let formula = field.starts_with(['=', '+', '-', '@', '\t']);
    let field = if formula {
        format!("'{field}")
    } else {
        field.to_owned()
    };
    if field.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_that_would_end_early_or_calculate() {
        for (field, text) in [
            ("plain", "plain"),
            ("a,b", "\"a,b\""),
            ("say \"so\"", "\"say \"\"so\"\"\""),
            ("=1+1", "'=1+1"),
            ("-a,b", "\"'-a,b\""),
            ("", ""),
        ] {
            assert_eq!(quoted(field), text);
        }
    }
}
