//! Whether lines are as expected, and which line stands for which.
//!
//! `[..]` in an expected line stands for anything, also nothing; a line `...` stands for any lines, also
//! none. White space at the ends of lines is not compared.

/// The most pairs of lines that are looked at; beyond it everything counts as changed.
const MAX_CELLS: usize = 4 << 20;

/// What becomes of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edit {
    /// Expected line `.0` stands for the seen line `.1`.
    Same(usize, usize),
    /// Expected line `.0`, a `...`, stands for the seen lines from `.1` up to `.2`.
    Any(usize, usize, usize),
    /// Expected line `.0` was not seen.
    Missing(usize),
    /// The seen line `.0` was not expected.
    Extra(usize),
}

/// Whether an expected line is `...`.
#[must_use]
pub fn is_any(line: &str) -> bool {
    line.trim() == "..."
}

/// Whether an expected line stands for a seen one.
#[must_use]
pub fn line_matches(expected: &str, seen: &str) -> bool {
    let (expected, mut rest) = (expected.trim_end(), seen.trim_end());
    let mut parts = expected.split("[..]").peekable();
    let Some(first) = parts.next() else {
        return rest.is_empty();
    };
    if parts.peek().is_none() {
        return first == rest;
    }
    match rest.strip_prefix(first) {
        Some(after) => rest = after,
        None => return false,
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}

/// Whether everything is as expected.
#[must_use]
pub fn matches(expected: &[String], seen: &[String]) -> bool {
    let same = |edit: &Edit| matches!(edit, Edit::Same(..) | Edit::Any(..));
    align(expected, seen).iter().all(same)
}

/// The fewest changes that lead from the expected lines to those seen.
#[must_use]
pub fn align(expected: &[String], seen: &[String]) -> Vec<Edit> {
    let plain = |(e, s): &(&String, &String)| !is_any(e) && line_matches(e, s);
    let head = expected.iter().zip(seen).take_while(plain).count();
    let (e, s) = (&expected[head..], &seen[head..]);
    let tail = e.iter().rev().zip(s.iter().rev()).take_while(plain).count();
    let (e, s) = (&e[..e.len() - tail], &s[..s.len() - tail]);
    let mut edits: Vec<Edit> = (0..head).map(|i| Edit::Same(i, i)).collect();
    middle(e, s, head, &mut edits);
    let (e, s) = (expected.len() - tail, seen.len() - tail);
    edits.extend((0..tail).map(|i| Edit::Same(e + i, s + i)));
    edits
}

/// Aligns what is left when equal lines at both ends are gone; `base` is where it begins.
fn middle(expected: &[String], seen: &[String], base: usize, edits: &mut Vec<Edit>) {
    let (rows, columns) = (expected.len() + 1, seen.len() + 1);
    if rows.saturating_mul(columns) > MAX_CELLS {
        edits.extend((0..expected.len()).map(|i| Edit::Missing(base + i)));
        edits.extend((0..seen.len()).map(|j| Edit::Extra(base + j)));
        return;
    }
    // cost[i][j]: changes from expected[i..] to seen[j..].
    let mut cost = vec![0_u32; rows * columns];
    let at = |i: usize, j: usize| i * columns + j;
    let same = |i: usize, j: usize| line_matches(&expected[i], &seen[j]);
    for i in (0..rows).rev() {
        for j in (0..columns).rev() {
            cost[at(i, j)] = match (i < expected.len(), j < seen.len()) {
                (false, _) => u32::try_from(seen.len() - j).unwrap_or(u32::MAX),
                (true, more) if is_any(&expected[i]) => {
                    let none = cost[at(i + 1, j)];
                    if more {
                        none.min(cost[at(i, j + 1)])
                    } else {
                        none
                    }
                }
                (true, false) => cost[at(i + 1, j)] + 1,
                (true, true) if same(i, j) => cost[at(i + 1, j + 1)],
                (true, true) => cost[at(i + 1, j)].min(cost[at(i, j + 1)]) + 1,
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    while i < expected.len() || j < seen.len() {
        let (more_expected, more_seen) = (i < expected.len(), j < seen.len());
        if more_expected && is_any(&expected[i]) {
            let start = j;
            while j < seen.len() && cost[at(i, j)] != cost[at(i + 1, j)] {
                j += 1;
            }
            edits.push(Edit::Any(base + i, base + start, base + j));
            i += 1;
        } else if more_expected && more_seen && same(i, j) {
            edits.push(Edit::Same(base + i, base + j));
            (i, j) = (i + 1, j + 1);
        } else if more_expected && (!more_seen || cost[at(i + 1, j)] <= cost[at(i, j + 1)]) {
            edits.push(Edit::Missing(base + i));
            i += 1;
        } else {
            edits.push(Edit::Extra(base + j));
            j += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn within_a_line() {
        for (expected, seen, same) in [
            ("abc", "abc", true),
            ("abc", "abc  ", true),
            ("abc", "abcd", false),
            ("[..]", "", true),
            ("[..]", "anything", true),
            ("a[..]c", "abbbc", true),
            ("a[..]c", "ac", true),
            ("a[..]c", "ab", false),
            ("a[..]b[..]c", "a1b2c", true),
            ("a[..]b[..]c", "a1c2b", false),
            ("[..]ab", "abab", true),
            ("aa[..]aa", "aaa", false),
            ("time=[..] ms", "time=0.123 ms", true),
        ] {
            assert_eq!(line_matches(expected, seen), same, "{expected} {seen}");
        }
    }

    #[test]
    fn any_lines() {
        for (expected, seen, same) in [
            ("a ... d", "a b c d", true),
            ("a ... d", "a d", true),
            ("...", "", true),
            ("... a ... b", "x a y a b", true),
            ("a ...", "b", false),
            ("a ... d", "a b", false),
            ("... ...", "a b", true),
        ] {
            assert_eq!(
                matches(&lines(expected), &lines(seen)),
                same,
                "{expected} {seen}"
            );
        }
    }

    #[test]
    fn the_fewest_changes() {
        assert_eq!(
            align(&lines("a b c d"), &lines("a x c d e")),
            [
                Edit::Same(0, 0),
                Edit::Missing(1),
                Edit::Extra(1),
                Edit::Same(2, 2),
                Edit::Same(3, 3),
                Edit::Extra(4),
            ]
        );
        assert_eq!(
            align(&lines("a ... z"), &lines("b c z")),
            [Edit::Missing(0), Edit::Any(1, 0, 2), Edit::Same(2, 2)]
        );
    }

    proptest::proptest! {
        #[test]
        fn every_line_is_accounted_for(
            expected in proptest::collection::vec("a|b|c|\\.\\.\\.|\\[\\.\\.\\]", 0..12),
            seen in proptest::collection::vec("a|b|c|d", 0..12),
        ) {
            let (mut i, mut j) = (0, 0);
            for edit in align(&expected, &seen) {
                match edit {
                    Edit::Same(e, s) => {
                        assert_eq!((e, s), (i, j));
                        assert!(line_matches(&expected[e], &seen[s]));
                        (i, j) = (i + 1, j + 1);
                    }
                    Edit::Any(e, from, to) => {
                        assert!(e == i && from == j && to >= from && is_any(&expected[e]));
                        (i, j) = (i + 1, to);
                    }
                    Edit::Missing(e) => {
                        assert_eq!(e, i);
                        i += 1;
                    }
                    Edit::Extra(s) => {
                        assert_eq!(s, j);
                        j += 1;
                    }
                }
            }
            assert_eq!((i, j), (expected.len(), seen.len()));
        }
    }
}
