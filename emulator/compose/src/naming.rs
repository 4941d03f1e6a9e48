//! Names: of projects, and what compose makes of a folder's name.

/// The variable that names the project.
pub(crate) const PROJECT_VARIABLE: &str = "COMPOSE_PROJECT_NAME";

/// A text as a project name: lower case, only letters, digits, `_` and `-`, starting with a letter
/// or digit. May be empty.
pub(crate) fn normalised(text: &str) -> String {
    let lower = text.to_lowercase();
    let kept = lower
        .chars()
        .filter(|c| matches!(c, 'a'..='z' | '0'..='9' | '_' | '-'));
    let name: String = kept.collect();
    name.trim_start_matches(['_', '-']).to_owned()
}

/// A name that was given as such must be right already.
pub(crate) fn checked(name: &str) -> Result<String, String> {
    if !name.is_empty() && normalised(name) == name {
        return Ok(name.to_owned());
    }
    Err(format!(
        "invalid project name {name:?}: must consist only of lowercase alphanumeric characters, hyphens, and underscores as well as start with a letter or number"
    ))
}

/// Whether a key of `services`, `networks` or the like is one: letters, digits, `.`, `_`, `-`.
pub(crate) fn is_key(text: &str) -> bool {
    let fits = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-');
    !text.is_empty() && text.bytes().all(fits)
}

/// Whether the engine takes the text as a name of a container or network: a letter or digit, then
/// at least one letter, digit, `_`, `.` or `-`.
pub(crate) fn is_engine_name(text: &str) -> bool {
    let first = text
        .bytes()
        .next()
        .is_some_and(|c| c.is_ascii_alphanumeric());
    first && text.len() > 1 && is_key(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn project_names() {
        let cases = [
            ("My Shop", "myshop"),
            ("_a-B_1", "a-b_1"),
            ("--", ""),
            ("caddyfile+config", "caddyfileconfig"),
            ("Ünï", "n"),
        ];
        for (folder, name) in cases {
            assert_eq!(normalised(folder), name);
        }
        assert!(checked("shop-1").is_ok());
        for name in ["Shop", "", "_shop", "a b"] {
            assert!(checked(name).is_err(), "{name}");
        }
    }

    #[test]
    fn engine_names() {
        for name in ["web", "a.b-c_d", "0x"] {
            assert!(is_engine_name(name));
        }
        for name in ["", "a", "-a", "a b", "pasta:-T"] {
            assert!(!is_engine_name(name));
        }
    }
}
