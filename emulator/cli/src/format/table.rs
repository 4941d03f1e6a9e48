//! Columns as Go's `text/tabwriter` aligns them for `docker ps` and `docker network ls`.
//!
//! A column is a run of adjacent lines that have a cell there; a cell ends with a tab, so the last
//! word of a line belongs to no column. Least width 10, three spaces between.

const LEAST: usize = 10;
const PADDING: usize = 3;

/// A column, read from line to line.
#[derive(Default)]
struct Column {
    /// How wide it is in each run of lines that have it.
    widths: Vec<usize>,
    /// How many of these runs have begun.
    begun: usize,
    /// The last line has it.
    open: bool,
}

impl Column {
    /// The next line has it: its width there.
    fn width(&mut self) -> &mut usize {
        if !self.open {
            self.open = true;
            self.begun += 1;
            self.widths.resize(self.widths.len().max(self.begun), LEAST);
        }
        &mut self.widths[self.begun - 1]
    }
}

/// Aligns the tab-separated cells of every line.
#[must_use]
pub fn align(text: &str) -> String {
    let (body, end) = match text.strip_suffix('\n') {
        Some(body) => (body, "\n"),
        None => (text, ""),
    };
    let mut columns: Vec<Column> = Vec::new();
    for line in body.split('\n') {
        cells(&mut columns, line, |cell, width| {
            *width = (*width).max(cell.chars().count() + PADDING);
        });
    }
    for column in &mut columns {
        (column.begun, column.open) = (0, false);
    }
    let mut out = String::with_capacity(2 * text.len());
    for (at, line) in body.split('\n').enumerate() {
        if at > 0 {
            out.push('\n');
        }
        let last = cells(&mut columns, line, |cell, width| {
            out.push_str(cell);
            push_blanks(&mut out, *width - cell.chars().count());
        });
        out.push_str(last);
    }
    out.push_str(end);
    out
}

/// Shows the cells of a line that are in a column, with its width; gives the last one, which is in none.
fn cells<'t>(
    columns: &mut Vec<Column>,
    line: &'t str,
    mut see: impl FnMut(&str, &mut usize),
) -> &'t str {
    let (inner, last) = match line.rsplit_once('\t') {
        Some((inner, last)) => (Some(inner), last),
        None => (None, line),
    };
    let mut count = 0;
    for cell in inner.into_iter().flat_map(|inner| inner.split('\t')) {
        if count == columns.len() {
            columns.push(Column::default());
        }
        see(cell, columns[count].width());
        count += 1;
    }
    for column in &mut columns[count..] {
        column.open = false;
    }
    last
}

fn push_blanks(out: &mut String, mut count: usize) {
    const BLANKS: &str = "                                ";
    while count > 0 {
        let some = count.min(BLANKS.len());
        out.push_str(&BLANKS[..some]);
        count -= some;
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
    fn empty_lines_and_cells_stay() {
        for text in ["", "\n", "\n\n", "a\n\n"] {
            assert_eq!(align(text), text);
        }
        assert_eq!(align("é\tb\n\t\n"), "é         b\n          \n");
    }

    #[test]
    fn each_run_of_lines_has_its_own_widths() {
        let text = "a\tb\tc\nlonger than ten\tb\nplain\na\tb\tc\n";
        assert_eq!(
            align(text),
            "a                 b         c\nlonger than ten   b\nplain\na         b         c\n"
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
