//! `grep`, `egrep` and `fgrep`.
//!
//! Models the options `-A -B -C -E -F -c -e -i -m -n -o -q -v -w -x` of GNU grep over one text. Leaves out
//! names of files in front of lines.

use super::filter::{Call, has, options, value};
use super::regex::{Regex, Syntax};
use crate::output::Output;

/// Prints the lines that match; the code is 1 if there is none.
pub(super) fn grep(call: &mut Call<'_>, arguments: &[String]) -> Result<Output, String> {
    let (options, mut operands) = options(call, arguments, "vciEFGwxqnosh", "emABC")?;
    let mut patterns: Vec<String> = options
        .iter()
        .filter(|(c, _)| *c == 'e')
        .map(|(_, v)| v.clone())
        .collect();
    if patterns.is_empty() {
        if operands.is_empty() {
            return Err("grep: no pattern".to_owned());
        }
        patterns = operands.remove(0).split('\n').map(str::to_owned).collect();
    }
    let syntax = match () {
        () if has(&options, 'F') || call.name == "fgrep" => Syntax::Fixed,
        () if has(&options, 'E') || call.name == "egrep" => Syntax::Extended,
        () => Syntax::Basic,
    };
    let mut regexes = Vec::new();
    for pattern in patterns {
        let regex = Regex::new(&pattern, syntax, has(&options, 'i'));
        regexes.push(regex.map_err(|message| format!("grep: {message}"))?);
    }
    let text = call.input(&operands)?;
    let all: Vec<&str> = text.lines().collect();
    let most = match value(&options, 'm') {
        Some(count) => count
            .parse()
            .map_err(|_| format!("grep: invalid max count '{count}'"))?,
        None => usize::MAX,
    };
    let hits: Vec<usize> = (0..all.len())
        .filter(|i| matches(&regexes, all[*i], &options).is_some() != has(&options, 'v'))
        .take(most)
        .collect();
    let mut output = if has(&options, 'q') {
        Output::default()
    } else if has(&options, 'c') {
        Output::out(format!("{}\n", hits.len()))
    } else if has(&options, 'o') && !has(&options, 'v') {
        only_matches(&regexes, &all, &hits, &options)
    } else {
        with_context(&all, &hits, &options)?
    };
    output.code = u8::from(hits.is_empty());
    Ok(output)
}

/// The first match of a line that the options `-w` and `-x` allow, in characters.
fn matches(regexes: &[Regex], line: &str, options: &[(char, String)]) -> Option<(usize, usize)> {
    let chars: Vec<char> = line.chars().collect();
    regexes.iter().find_map(|regex| {
        let mut from = 0;
        loop {
            let (start, end) = regex.find(&chars, from)?[0]?;
            if fits(&chars, start, end, options) {
                return Some((start, end));
            }
            from = start + 1;
            if from > chars.len() {
                return None;
            }
        }
    })
}

fn fits(chars: &[char], start: usize, end: usize, options: &[(char, String)]) -> bool {
    let word = |c: Option<&char>| c.is_some_and(|c| *c == '_' || c.is_alphanumeric());
    if has(options, 'x') && (start, end) != (0, chars.len()) {
        return false;
    }
    let before = start.checked_sub(1).and_then(|i| chars.get(i));
    !has(options, 'w') || !word(before) && !word(chars.get(end))
}

fn only_matches(
    regexes: &[Regex],
    all: &[&str],
    hits: &[usize],
    options: &[(char, String)],
) -> Output {
    let mut out = String::new();
    for hit in hits {
        let chars: Vec<char> = all[*hit].chars().collect();
        let mut from = 0;
        while from <= chars.len() {
            let found = regexes
                .iter()
                .filter_map(|r| r.find(&chars, from)?[0])
                .min();
            let Some((start, end)) = found else { break };
            if end > start && fits(&chars, start, end, options) {
                out.extend(&chars[start..end]);
                out.push('\n');
            }
            from = end.max(start + 1);
        }
    }
    Output::out(out)
}

fn with_context(
    all: &[&str],
    hits: &[usize],
    options: &[(char, String)],
) -> Result<Output, String> {
    let count = |letter: char| -> Result<usize, String> {
        match value(options, letter).or_else(|| value(options, 'C')) {
            Some(count) => count
                .parse()
                .map_err(|_| format!("grep: invalid context length '{count}'")),
            None => Ok(0),
        }
    };
    let (before, after) = (count('B')?, count('A')?);
    let mut out = String::new();
    let mut next = 0;
    for hit in hits {
        let start = hit.saturating_sub(before).max(next);
        let end = hit.saturating_add(after).saturating_add(1).min(all.len());
        if before + after > 0 && next > 0 && start > next {
            out.push_str("--\n");
        }
        for (i, line) in all.iter().enumerate().take(end).skip(start) {
            if has(options, 'n') {
                let mark = if hits.binary_search(&i).is_ok() {
                    ':'
                } else {
                    '-'
                };
                out.push_str(&format!("{}{mark}", i + 1));
            }
            out.push_str(line);
            out.push('\n');
        }
        next = end.max(next);
    }
    Ok(Output::out(out))
}
