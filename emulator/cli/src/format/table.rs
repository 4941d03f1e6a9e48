//! Columns as Go's `text/tabwriter` aligns them for `docker ps` and `docker network ls`.
//!
//! A column is a run of adjacent lines that have a cell there; a cell ends with a tab, so the last
//! word of a line belongs to no column. Least width 10, three spaces between.

const LEAST: usize = 10;
const PADDING: usize = 3;

/// Aligns the tab-separated cells of every line.
#[must_use]
pub fn align(text: &str) -> String {
    let mut lines: Vec<Vec<&str>> = text.split('\n').map(|l| l.split('\t').collect()).collect();
    let ends_with_newline = lines
        .last()
        .is_some_and(|l| l.len() == 1 && l[0].is_empty());
    if ends_with_newline {
        lines.pop();
    }
    let mut widths: Vec<Vec<usize>> = lines.iter().map(|l| vec![0; l.len()]).collect();
    let columns = lines.iter().map(|l| l.len().saturating_sub(1)).max();
    for column in 0..columns.unwrap_or(0) {
        measure(&lines, &mut widths, column);
    }
    let mut out = String::new();
    for (i, line) in lines.iter().enumerate() {
        for (cell, width) in line.iter().zip(&widths[i]) {
            out.push_str(cell);
            let used = cell.chars().count();
            out.extend(core::iter::repeat_n(' ', width.saturating_sub(used)));
        }
        if i + 1 < lines.len() || ends_with_newline {
            out.push('\n');
        }
    }
    out
}

/// Sets the width of `column` in every run of lines that have it.
fn measure(lines: &[Vec<&str>], widths: &mut [Vec<usize>], column: usize) {
    let mut start = 0;
    while start < lines.len() {
        let has = |line: &Vec<&str>| line.len() > column + 1;
        if !has(&lines[start]) {
            start += 1;
            continue;
        }
        let run = lines[start..].iter().take_while(|line| has(line)).count();
        let cells = lines[start..start + run].iter().map(|line| line[column]);
        let widest = cells.map(|cell| cell.chars().count()).max().unwrap_or(0);
        let width = (widest + PADDING).max(LEAST);
        for row in &mut widths[start..start + run] {
            row[column] = width;
        }
        start += run;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_ls() {
        let text = "NETWORK ID\tNAME\tDRIVER\tSCOPE\n\
                    0123456789ab\tbridge\tbridge\tlocal\n\
                    0123456789ab\ta-long-network-name\tnull\tlocal\n";
        assert_eq!(
            align(text),
            "NETWORK ID     NAME                  DRIVER    SCOPE\n\
             0123456789ab   bridge                bridge    local\n\
             0123456789ab   a-long-network-name   null      local\n"
        );
    }

    #[test]
    fn a_line_without_the_column_ends_it() {
        assert_eq!(
            align("aaaaaaaaaaaa\tb\nplain\nc\td"),
            "aaaaaaaaaaaa   b\nplain\nc         d"
        );
    }
}
