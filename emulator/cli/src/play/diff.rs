//! A difference as a unified diff, with line numbers of the transcript.

use super::compare::{Edit, align};

/// Unchanged lines that are shown around a change.
const CONTEXT: usize = 3;

/// The hunks that lead from the expected lines, which begin at `line` of the file (from 1), to those
/// seen.
#[must_use]
pub fn hunks(expected: &[String], seen: &[String], line: usize) -> String {
    let edits = align(expected, seen);
    let changed = |edit: &Edit| matches!(edit, Edit::Missing(_) | Edit::Extra(_));
    let mut out = String::new();
    let mut at = 0;
    // Where the next edit stands on both sides.
    let (mut left, mut right) = (0, 0);
    while let Some(next) = edits[at..].iter().position(changed) {
        let start = (at + next).saturating_sub(CONTEXT).max(at);
        for edit in &edits[at..start] {
            (left, right) = after(*edit, left, right);
        }
        let mut end = start;
        let mut quiet = 0;
        for (i, edit) in edits.iter().enumerate().skip(start) {
            if changed(edit) {
                (end, quiet) = (i + 1, 0);
            } else if end > start || i >= at + next {
                quiet += 1;
                if quiet > 2 * CONTEXT {
                    break;
                }
            }
        }
        let end = (end + CONTEXT).min(edits.len());
        let (first_left, first_right) = (left, right);
        let mut body = String::new();
        for edit in &edits[start..end] {
            show(*edit, expected, seen, &mut body);
            (left, right) = after(*edit, left, right);
        }
        let shown = |from: usize, to: usize| format!("{},{}", line + from, to - from);
        out.push_str(&format!(
            "@@ -{} +{} @@\n",
            shown(first_left, left),
            shown(first_right, right)
        ));
        out.push_str(&body);
        at = end;
    }
    out
}

const fn after(edit: Edit, left: usize, right: usize) -> (usize, usize) {
    match edit {
        Edit::Same(..) => (left + 1, right + 1),
        Edit::Any(_, _, to) => (left + 1, to),
        Edit::Missing(_) => (left + 1, right),
        Edit::Extra(_) => (left, right + 1),
    }
}

fn show(edit: Edit, expected: &[String], seen: &[String], out: &mut String) {
    let (mark, text) = match edit {
        Edit::Same(i, _) | Edit::Any(i, ..) => (' ', &expected[i]),
        Edit::Missing(i) => ('-', &expected[i]),
        Edit::Extra(j) => ('+', &seen[j]),
    };
    out.push(mark);
    out.push_str(text);
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn hunks_with_context() {
        let expected = lines("a b c d e f g h i j k l m n o p q");
        let seen = lines("a B c d e f g h i j k l m n o p q r");
        assert_eq!(
            hunks(&expected, &seen, 10),
            "@@ -10,5 +10,5 @@\n a\n-b\n+B\n c\n d\n e\n@@ -24,3 +24,4 @@\n o\n p\n q\n+r\n"
        );
        assert_eq!(hunks(&expected, &expected, 1), "");
    }

    #[test]
    fn any_lines_count_as_one_expected() {
        assert_eq!(
            hunks(&lines("a ... z"), &lines("a b c y"), 1),
            "@@ -1,3 +1,4 @@\n a\n ...\n-z\n"
        );
    }

    proptest::proptest! {
        #[test]
        fn never_panics(
            expected in proptest::collection::vec("a|b|c|\\.\\.\\.", 0..30),
            seen in proptest::collection::vec("a|b|c|d", 0..30),
        ) {
            let text = hunks(&expected, &seen, 1);
            assert_eq!(text.is_empty(), super::super::compare::matches(&expected, &seen));
        }
    }
}
