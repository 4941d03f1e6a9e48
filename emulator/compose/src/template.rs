//! Variable substitution in one text, as compose does it: `$V`, `${V}`, `${V:-d}`, `${V-d}`,
//! `${V:?e}`, `${V?e}`, `${V:+r}`, `${V+r}`, nested, and `$$` for a dollar.
//!
//! A `$` that starts none of these stays as it is; a `${` that does not is an error. What is not
//! used is not looked at: `${A:+${B}}` does not miss B when A is unset.

/// How deep `${…}` may stand in one another.
const MAX_NESTING: usize = 64;
/// How long a substituted text may get, in bytes.
const MAX_TEXT: usize = 1 << 20;

/// Why a text cannot be substituted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TemplateError {
    /// A `${` that is not one of the forms.
    Invalid,
    /// `${V?reason}` without a value.
    Required { name: String, reason: String },
    /// A bound was passed.
    TooLarge,
}

/// Substitutes `text`. `lookup` gives the value of a variable; `unset` hears of each variable that
/// has none and becomes a blank string.
pub(crate) fn substitute(
    text: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
    unset: &mut dyn FnMut(&str),
) -> Result<String, TemplateError> {
    let mut template = Template { lookup, unset };
    template.text(text, 0)
}

struct Template<'a> {
    lookup: &'a dyn Fn(&str) -> Option<String>,
    unset: &'a mut dyn FnMut(&str),
}

impl Template<'_> {
    fn text(&mut self, text: &str, depth: usize) -> Result<String, TemplateError> {
        if depth > MAX_NESTING {
            return Err(TemplateError::TooLarge);
        }
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            out.push_str(&rest[..at]);
            let tail = &rest[at + 1..];
            rest = match tail.as_bytes().first() {
                Some(b'$') => {
                    out.push('$');
                    &tail[1..]
                }
                Some(b'{') => self.braced(&tail[1..], depth, &mut out)?,
                _ => self.named(tail, &mut out),
            };
            if out.len() > MAX_TEXT {
                return Err(TemplateError::TooLarge);
            }
        }
        out.push_str(rest);
        Ok(out)
    }

    /// `$V`, or a dollar that stays.
    fn named<'t>(&mut self, tail: &'t str, out: &mut String) -> &'t str {
        let name = &tail[..name_length(tail)];
        if name.is_empty() {
            out.push('$');
        } else {
            out.push_str(&self.plain(name));
        }
        &tail[name.len()..]
    }

    fn plain(&mut self, name: &str) -> String {
        let value = (self.lookup)(name);
        if value.is_none() {
            (self.unset)(name);
        }
        value.unwrap_or_default()
    }

    /// What follows `${`; returns what follows its brace.
    fn braced<'t>(
        &mut self,
        tail: &'t str,
        depth: usize,
        out: &mut String,
    ) -> Result<&'t str, TemplateError> {
        let name = &tail[..name_length(tail)];
        if name.is_empty() {
            return Err(TemplateError::Invalid);
        }
        let after = &tail[name.len()..];
        if let Some(rest) = after.strip_prefix('}') {
            out.push_str(&self.plain(name));
            return Ok(rest);
        }
        let (also_empty, after) = match after.strip_prefix(':') {
            Some(after) => (true, after),
            None => (false, after),
        };
        let operator = after.bytes().next().unwrap_or(b' ');
        if !matches!(operator, b'-' | b'+' | b'?') {
            return Err(TemplateError::Invalid);
        }
        let body = &after[1..];
        let end = closing_brace(body).ok_or(TemplateError::Invalid)?;
        let argument = &body[..end];
        let value = (self.lookup)(name).filter(|value| !(also_empty && value.is_empty()));
        match (operator, value) {
            (b'+', Some(_)) | (b'-', None) => out.push_str(&self.text(argument, depth + 1)?),
            (b'+', None) => {}
            (b'?', None) => {
                let reason = self.text(argument, depth + 1)?;
                let name = name.to_owned();
                return Err(TemplateError::Required { name, reason });
            }
            (_, Some(value)) => out.push_str(&value),
            (_, None) => return Err(TemplateError::Invalid),
        }
        Ok(&body[end + 1..])
    }
}

fn name_length(text: &str) -> usize {
    let starts = text
        .bytes()
        .next()
        .is_some_and(|c| c == b'_' || c.is_ascii_alphabetic());
    if !starts {
        return 0;
    }
    text.bytes()
        .position(|c| c != b'_' && !c.is_ascii_alphanumeric())
        .unwrap_or(text.len())
}

/// Where the brace closes that is open before `text`: the matching one on the same line, or the
/// line's last one if none matches.
fn closing_brace(text: &str) -> Option<usize> {
    let line = text.split('\n').next().unwrap_or(text);
    let mut open = 1;
    for (at, c) in line.bytes().enumerate() {
        match c {
            b'{' => open += 1,
            b'}' => {
                open -= 1;
                if open == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
    line.rfind('}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(text: &str) -> (Result<String, TemplateError>, Vec<String>) {
        let lookup = |name: &str| match name {
            "FOO" => Some("first".to_owned()),
            "BAR" => Some(String::new()),
            "JSON" => Some("{\"json\":2}".to_owned()),
            _ => None,
        };
        let mut missed = Vec::new();
        let out = substitute(text, &lookup, &mut |name| missed.push(name.to_owned()));
        (out, missed)
    }

    #[test]
    fn every_form() {
        let cases = [
            // Escapes and dollars that stay.
            ("foo", "foo"),
            ("$${foo}", "${foo}"),
            ("$$$$", "$$"),
            ("$$FOO", "$FOO"),
            ("a $ string", "a $ string"),
            ("^REGEX$", "^REGEX$"),
            ("$}", "$}"),
            ("$", "$"),
            ("$5 $-", "$5 $-"),
            // Plain.
            ("This $FOO var", "This first var"),
            ("This ${FOO} var", "This first var"),
            ("$FOO-bar", "first-bar"),
            ("${FOO}${FOO}", "firstfirst"),
            ("This ${missing} var", "This  var"),
            ("This ${BAR} var", "This  var"),
            ("${JSON}", "{\"json\":2}"),
            // Default if unset, or if empty too.
            ("ok ${missing:-def}", "ok def"),
            ("ok ${missing-def}", "ok def"),
            ("ok ${BAR:-def}", "ok def"),
            ("ok ${BAR-def}", "ok "),
            ("ok ${FOO:-def}", "ok first"),
            ("ok ${BAR:-/non:-alphanumeric}", "ok /non:-alphanumeric"),
            ("${UNSET:-}", ""),
            ("${UNSET:-a?b+c}", "a?b+c"),
            // Replacement if set, or if not empty.
            ("ok ${UNSET:+there}", "ok "),
            ("ok ${UNSET+there}", "ok "),
            ("ok ${FOO:+there}", "ok there"),
            ("ok ${FOO+there}", "ok there"),
            ("ok ${BAR+there}", "ok there"),
            ("ok ${BAR:+there}", "ok "),
            // Required.
            ("ok ${FOO:?err}", "ok first"),
            ("ok ${FOO?err}", "ok first"),
            ("ok ${BAR?err}", "ok "),
            // Text around that looks like an operator.
            (":?ok ${BAR-defaultValue}", ":?ok "),
            ("+ok ${UNSET:-${BAR-defaultValue}}", "+ok "),
            ("?ok ${BAR:-defaultValue}", "?ok defaultValue"),
            // Nested.
            ("ok ${UNSET-$FOO}", "ok first"),
            ("ok ${UNSET-${FOO}}", "ok first"),
            ("ok ${UNSET-${FOO} ${FOO}}", "ok first first"),
            ("ok ${BAR:-${FOO} ${FOO}}", "ok first first"),
            ("ok ${BAR+$FOO ${FOO:+second}}", "ok first second"),
            ("${A:-${B:-${C:-deep}}} tail ${FOO}", "deep tail first"),
            // Braces in a default.
            ("${UNSET:-{}}", "{}"),
            ("${UNSET:-{\"a\":1}} $FOO", "{\"a\":1} first"),
            ("${UNSET:-{}", "{"),
        ];
        for (text, wanted) in cases {
            assert_eq!(run(text).0.as_deref(), Ok(wanted), "{text}");
        }
    }

    #[test]
    fn what_is_invalid() {
        for text in [
            "${",
            "${}",
            "${ }",
            "${ foo}",
            "${foo }",
            "${foo!}",
            "${foo",
            "${foo:}",
            "${foo:x}",
            "${1}",
            "${foo:-a",
            "${foo:-a\nb}",
        ] {
            assert_eq!(run(text).0, Err(TemplateError::Invalid), "{text}");
        }
    }

    #[test]
    fn required_and_missing() {
        let cases = [
            ("${U:?Unset}", "U", "Unset"),
            ("${BAR:?Empty}", "BAR", "Empty"),
            ("${U:?}", "U", ""),
            ("${U?Unset}", "U", "Unset"),
            ("${U:?Unset ${FOO}}", "U", "Unset first"),
        ];
        for (text, name, reason) in cases {
            let (name, reason) = (name.to_owned(), reason.to_owned());
            assert_eq!(run(text).0, Err(TemplateError::Required { name, reason }));
        }
    }

    #[test]
    fn only_what_is_used_is_missed() {
        assert_eq!(run("${A:+${A},}B").1, Vec::<String>::new());
        assert_eq!(run("${A:-${B}}").1, ["B"]);
        assert_eq!(run("${FOO?${B}}").1, Vec::<String>::new());
        assert_eq!(run("$A ${B}").1, ["A", "B"]);
    }

    #[test]
    fn bounds() {
        let deep = format!("{}{}", "${A:-".repeat(5000), "}".repeat(5000));
        assert_eq!(run(&deep).0, Err(TemplateError::TooLarge));
        let long = "${JSON}".repeat(200_000);
        assert_eq!(run(&long).0, Err(TemplateError::TooLarge));
    }
}
