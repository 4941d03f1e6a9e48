//! Words that look like other words: "did you mean".

/// Longer words are not compared: the work is quadratic.
const MAX_WORD: usize = 40;
/// Of more names only the first are compared.
const MAX_NAMES: usize = 2000;
/// How many letters a word may be off.
const MAX_OFF: usize = 2;

/// The name that `word` was probably meant to be: at most two letters off, and less than half of
/// the name. Of several the nearest, then the first by alphabet.
#[must_use]
pub fn near<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > MAX_WORD {
        return None;
    }
    let like = |name: &&str| name.len().abs_diff(word.len()) <= 4 * MAX_OFF;
    let short = names.into_iter().take(MAX_NAMES).filter(like);
    let short = short.filter(|name| name.len() <= MAX_WORD);
    let (distance, name) = short.map(|name| (distance(word, name), name)).min()?;
    let close = (1..=MAX_OFF).contains(&distance) && distance * 2 < name.len();
    close.then_some(name)
}

/// The same as a hint.
pub(crate) fn hint<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Option<String> {
    near(word, names).map(|name| format!("did you mean `{name}`?"))
}

/// How many letters must be changed, added or taken away, or neighbours swapped.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<usize>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let cost = usize::from(a[i - 1] != b[j - 1]);
            let mut best = (rows[i - 1][j] + 1).min(row[j - 1] + 1);
            best = best.min(rows[i - 1][j - 1] + cost);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name() {
        let names = ["redis", "db", "worker"];
        for (word, wanted) in [
            ("reddis", Some("redis")),
            ("erdis", Some("redis")),
            ("wroker", Some("worker")),
            ("dd", None),
            ("web", None),
            ("db", None),
        ] {
            assert_eq!(near(word, names), wanted, "{word}");
        }
        assert_eq!(near(&"x".repeat(100_000), names), None);
    }
}
