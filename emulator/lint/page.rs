//! `docs/rules.md`: a section a rule, which `--explain` prints and SARIF carries.

/// The page.
pub const PAGE: &str = include_str!("../../docs/rules.md");

/// The section of a rule, with its heading.
#[must_use]
pub fn explain(id: &str) -> Option<&'static str> {
    sections().find(|section| heading(section) == id)
}

/// The text of every section that begins with `## `.
pub(super) fn sections() -> impl Iterator<Item = &'static str> {
    let mut starts: Vec<usize> = PAGE.match_indices("\n## ").map(|(at, _)| at + 1).collect();
    starts.push(PAGE.len());
    let pairs: Vec<(usize, usize)> = starts.windows(2).map(|pair| (pair[0], pair[1])).collect();
    pairs
        .into_iter()
        .map(|(start, end)| PAGE[start..end].trim_end())
}

/// The heading of a section, without its mark.
pub(super) fn heading(section: &str) -> &str {
    let line = section.lines().next().unwrap_or_default();
    line.trim_start_matches("## ").trim()
}
