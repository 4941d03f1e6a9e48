//! Comments that allow what a rule finds: `# vethlab: allow RULE[,RULE…] reason`, at the end of the
//! line that is found, or alone on a line above it.

/// A comment that allows something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Allow {
    /// Where the comment stands.
    pub(super) line: u32,
    /// The column of its `#`.
    pub(super) column: u32,
    /// How many characters it has.
    pub(super) length: u32,
    /// The line that it is about.
    pub(super) about: u32,
    /// The rules that it names.
    pub(super) rules: Vec<String>,
}

/// The comments of a text that allow something, in order.
pub(super) fn allows(text: &str) -> Vec<Allow> {
    let lines: Vec<&str> = text.lines().collect();
    let mut out = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let Some(start) = comment(line) else { continue };
        let Some(rules) = named(&line[start + 1..]) else {
            continue;
        };
        let alone = line[..start].trim().is_empty();
        let about = match alone {
            false => index,
            true => next(&lines, index),
        };
        let number = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
        out.push(Allow {
            line: number(index + 1),
            column: number(line[..start].chars().count() + 1),
            length: number(line[start..].trim_end().chars().count()),
            about: number(about + 1),
            rules,
        });
    }
    out
}

/// The line after `index` that is neither blank nor a comment.
fn next(lines: &[&str], index: usize) -> usize {
    let follows = lines.iter().enumerate().skip(index + 1).find(|(_, line)| {
        let line = line.trim_start();
        !line.is_empty() && !line.starts_with('#')
    });
    follows.map_or(index, |(at, _)| at)
}

/// The rules that a comment names, if it is one that allows.
fn named(comment: &str) -> Option<Vec<String>> {
    let rest = comment.trim_start().strip_prefix("vethlab:")?;
    let rest = rest.trim_start().strip_prefix("allow")?;
    if !rest.starts_with(char::is_whitespace) {
        return None;
    }
    let words = rest.split_whitespace().next()?;
    let rules = words.split(',').map(str::trim);
    let rules: Vec<String> = rules
        .filter(|rule| !rule.is_empty())
        .map(str::to_owned)
        .collect();
    (!rules.is_empty()).then_some(rules)
}

/// Where the comment of a line begins: a `#` at its start or after a blank, outside quotes. A quote
/// opens only where a scalar may begin, as in YAML. Quotes over several lines are not followed.
fn comment(line: &str) -> Option<usize> {
    let mut quote: Option<u8> = None;
    let mut before = b' ';
    let bytes = line.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let byte = bytes[at];
        match quote {
            Some(b'"') if byte == b'\\' => at += 1,
            // Two quotes in a row stand for one.
            Some(b'\'') if byte == b'\'' && bytes.get(at + 1) == Some(&b'\'') => at += 1,
            Some(open) if byte == open => quote = None,
            Some(_) => {}
            None if byte == b'#' && before.is_ascii_whitespace() => return Some(at),
            None if matches!(byte, b'\'' | b'"')
                && matches!(before, b' ' | b'\t' | b'[' | b'{' | b',') =>
            {
                quote = Some(byte);
            }
            None => {}
        }
        before = byte;
        at += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beside_and_above() {
        let text = "\
a:
  # vethlab: allow publish-all it is meant
  # a comment between

  - '80:80'
  - '81:81' # vethlab: allow publish-all,links
";
        let seen: Vec<(u32, u32, u32, Vec<String>)> = allows(text)
            .into_iter()
            .map(|allow| (allow.line, allow.column, allow.about, allow.rules))
            .collect();
        assert_eq!(
            seen,
            [
                (2, 3, 5, vec!["publish-all".to_owned()]),
                (6, 13, 6, vec!["publish-all".to_owned(), "links".to_owned()])
            ]
        );
    }

    #[test]
    fn what_is_none() {
        for text in [
            "a: '# vethlab: allow links'",
            "a: \"x\\\" # vethlab: allow links\"",
            "a: 'it''s # vethlab: allow links'",
            "a: b# vethlab: allow links",
            "a: b # vethlab: allowed links",
            "a: b # vethlab: allow",
            "a: b # vethlab allow links",
        ] {
            assert_eq!(allows(text), [], "{text}");
        }
        for text in [
            "a: it's # vethlab: allow links",
            "a: 'it''s' # vethlab:allow links",
            "# vethlab: allow links",
        ] {
            assert_eq!(allows(text).len(), 1, "{text}");
        }
    }
}
