//! The text tools at the ends of pipes: `cut`, `head`, `sort`, `tail`, `tr`, `uniq`, `wc`, `xargs` and, in
//! their own files, `awk`, `grep` and `sed`.
//!
//! Models their POSIX options that transcripts use. A tool that is given files has them read by the
//! `cat` of the place where it runs.

use super::run::Programs;
use super::{awk, grep, sed};
use crate::format::text::natural;
use crate::output::Output;

/// Runs a text tool; `None` if `argv` is not one.
pub fn run(argv: &[String], stdin: &str, programs: &mut dyn Programs) -> Option<Output> {
    let (name, arguments) = argv.split_first()?;
    let name = name
        .strip_prefix("/bin/")
        .or_else(|| name.strip_prefix("/usr/bin/"))
        .unwrap_or(name);
    let tool: Tool = match name {
        "awk" => run_awk,
        "cut" => cut,
        "egrep" | "fgrep" | "grep" => grep::grep,
        "head" | "tail" => ends,
        "sed" => run_sed,
        "sort" => sort,
        "tr" => tr,
        "uniq" => uniq,
        "wc" => wc,
        "xargs" => return Some(xargs(arguments, stdin, programs)),
        "cat" if arguments.is_empty() => return Some(Output::out(stdin)),
        _ => return None,
    };
    let mut call = Call {
        name,
        stdin,
        programs,
    };
    Some(match tool(&mut call, arguments) {
        Ok(output) => output,
        Err(message) => Output::err(message + "\n", 2),
    })
}

pub(super) struct Call<'a> {
    pub(super) name: &'a str,
    stdin: &'a str,
    programs: &'a mut dyn Programs,
}

type Tool = fn(&mut Call<'_>, &[String]) -> Result<Output, String>;

impl Call<'_> {
    /// Standard input, or the text of the files.
    pub(super) fn input(&mut self, files: &[String]) -> Result<String, String> {
        if files.is_empty() {
            return Ok(self.stdin.to_owned());
        }
        let mut text = String::new();
        for file in files {
            let argv = ["cat".to_owned(), file.clone()];
            let output = if file == "-" {
                Output::out(self.stdin)
            } else {
                self.programs.run(&argv, "")
            };
            if output.code != 0 {
                return Err(format!("{}: {file}: No such file or directory", self.name));
            }
            text.push_str(&output.stdout());
        }
        Ok(text)
    }

    fn unsupported(&self, option: &str) -> String {
        format!(
            "{}: option {option} is not supported in transcripts",
            self.name
        )
    }
}

/// Options in the order given, each with its value, empty if it takes none.
pub(super) type Options = Vec<(char, String)>;

/// Single-letter options and the operands after them. Letters in `values` take a value.
pub(super) fn options(
    call: &Call<'_>,
    arguments: &[String],
    known: &str,
    values: &str,
) -> Result<(Options, Vec<String>), String> {
    let (mut options, mut operands) = (Vec::new(), Vec::new());
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        if argument == "--" {
            operands.extend(rest.cloned());
            break;
        }
        let letters = match argument.strip_prefix('-') {
            Some(letters) if !letters.is_empty() => letters,
            _ => {
                operands.push(argument.clone());
                continue;
            }
        };
        let mut chars = letters.chars();
        while let Some(letter) = chars.next() {
            if values.contains(letter) {
                let inline = chars.as_str().to_owned();
                let value = if inline.is_empty() {
                    rest.next().cloned()
                } else {
                    Some(inline)
                };
                let missing =
                    || format!("{}: option requires an argument -- '{letter}'", call.name);
                options.push((letter, value.ok_or_else(missing)?));
                break;
            }
            if !known.contains(letter) {
                return Err(call.unsupported(argument));
            }
            options.push((letter, String::new()));
        }
    }
    Ok((options, operands))
}

pub(super) fn has(options: &[(char, String)], letter: char) -> bool {
    options.iter().any(|(c, _)| *c == letter)
}

pub(super) fn value(options: &[(char, String)], letter: char) -> Option<&str> {
    options
        .iter()
        .rev()
        .find(|(c, _)| *c == letter)
        .map(|(_, v)| v.as_str())
}

fn lines<'a>(all: impl IntoIterator<Item = &'a str>) -> Output {
    let mut text = String::new();
    for line in all {
        text.push_str(line);
        text.push('\n');
    }
    Output::out(text)
}

fn ends(call: &mut Call<'_>, arguments: &[String]) -> Result<Output, String> {
    // `-2` is an old way to write `-n 2`.
    let mut arguments = arguments.to_vec();
    if let Some(first) = arguments.first_mut()
        && let Some(count) = first.strip_prefix('-')
        && !count.is_empty()
        && count.bytes().all(|b| b.is_ascii_digit())
    {
        *first = format!("-n{count}");
    }
    let (options, files) = options(call, &arguments, "q", "nc")?;
    let text = call.input(&files)?;
    let is_head = call.name == "head";
    let bad = |count: &str| format!("{}: invalid number '{count}'", call.name);
    if let Some(count) = value(&options, 'c') {
        let n: usize = count.parse().map_err(|_| bad(count))?;
        let bytes = text.as_bytes();
        let n = n.min(bytes.len());
        let part = if is_head {
            &bytes[..n]
        } else {
            &bytes[bytes.len() - n..]
        };
        return Ok(Output::out(String::from_utf8_lossy(part)));
    }
    let count = value(&options, 'n').unwrap_or("10");
    let all: Vec<&str> = text.lines().collect();
    let n: usize = count
        .trim_start_matches(['-', '+'])
        .parse()
        .map_err(|_| bad(count))?;
    let range = match (is_head, count.chars().next()) {
        (true, Some('-')) => 0..all.len().saturating_sub(n),
        (true, _) => 0..n.min(all.len()),
        (false, Some('+')) => n.saturating_sub(1).min(all.len())..all.len(),
        (false, _) => all.len().saturating_sub(n)..all.len(),
    };
    Ok(lines(all[range].iter().copied()))
}

fn wc(call: &mut Call<'_>, arguments: &[String]) -> Result<Output, String> {
    let (options, files) = options(call, arguments, "lwcm", "")?;
    let text = call.input(&files)?;
    let counts = [
        ('l', text.matches('\n').count()),
        ('w', text.split_whitespace().count()),
        ('c', text.len()),
        ('m', text.chars().count()),
    ];
    let all = options.is_empty();
    let wanted: Vec<_> = counts
        .iter()
        .filter(|(letter, _)| has(&options, *letter) || all && *letter != 'm')
        .collect();
    let mut line = match wanted.as_slice() {
        [(_, one)] => one.to_string(),
        many => many
            .iter()
            .map(|(_, count)| format!("{count:>9}"))
            .collect::<Vec<_>>()
            .join(" "),
    };
    if let [file] = files.as_slice() {
        line = format!("{line} {file}");
    }
    Ok(Output::out(line + "\n"))
}

fn run_sed(call: &mut Call<'_>, arguments: &[String]) -> Result<Output, String> {
    let (options, mut operands) = options(call, arguments, "nEr", "e")?;
    let mut scripts: Vec<String> = options
        .iter()
        .filter(|(c, _)| *c == 'e')
        .map(|(_, v)| v.clone())
        .collect();
    if scripts.is_empty() {
        if operands.is_empty() {
            return Err("sed: no script".to_owned());
        }
        scripts.push(operands.remove(0));
    }
    let text = call.input(&operands)?;
    let extended = has(&options, 'E') || has(&options, 'r');
    sed::run(&scripts, has(&options, 'n'), extended, &text).map(Output::out)
}

fn run_awk(call: &mut Call<'_>, arguments: &[String]) -> Result<Output, String> {
    let (options, mut operands) = options(call, arguments, "", "F")?;
    if operands.is_empty() {
        return Err("awk: no program".to_owned());
    }
    let program = operands.remove(0);
    let text = call.input(&operands)?;
    awk::run(&program, value(&options, 'F'), &text).map(Output::out)
}

fn cut(call: &mut Call<'_>, arguments: &[String]) -> Result<Output, String> {
    let (options, files) = options(call, arguments, "s", "dfc")?;
    let list = value(&options, 'f').or_else(|| value(&options, 'c'));
    let list = list.ok_or("cut: expected a list of bytes, characters, or fields")?;
    let ranges = ranges(list).ok_or_else(|| format!("cut: invalid list '{list}'"))?;
    let wanted = |n: usize| ranges.iter().any(|(a, b)| (*a..=*b).contains(&n));
    let text = call.input(&files)?;
    let mut out = String::new();
    for line in text.lines() {
        if value(&options, 'c').is_some() {
            out.extend(
                line.chars()
                    .enumerate()
                    .filter(|(i, _)| wanted(i + 1))
                    .map(|(_, c)| c),
            );
        } else {
            let delimiter = value(&options, 'd').unwrap_or("\t");
            if delimiter.is_empty() || !line.contains(delimiter) {
                if has(&options, 's') {
                    continue;
                }
                out.push_str(line);
            } else {
                let fields = line
                    .split(delimiter)
                    .enumerate()
                    .filter(|(i, _)| wanted(i + 1));
                out.push_str(&fields.map(|(_, f)| f).collect::<Vec<_>>().join(delimiter));
            }
        }
        out.push('\n');
    }
    Ok(Output::out(out))
}

/// `1,3-4,6-`
fn ranges(list: &str) -> Option<Vec<(usize, usize)>> {
    list.split(',')
        .map(|part| match part.split_once('-') {
            None => part.parse().ok().map(|n| (n, n)),
            Some((from, to)) => {
                let from = if from.is_empty() {
                    1
                } else {
                    from.parse().ok()?
                };
                let to = if to.is_empty() {
                    usize::MAX
                } else {
                    to.parse().ok()?
                };
                Some((from, to))
            }
        })
        .collect()
}

fn sort(call: &mut Call<'_>, arguments: &[String]) -> Result<Output, String> {
    let (options, files) = options(call, arguments, "rnuVf", "kt")?;
    let text = call.input(&files)?;
    let mut all: Vec<&str> = text.lines().collect();
    let column = match value(&options, 'k') {
        Some(key) => {
            let digits: String = key.chars().take_while(char::is_ascii_digit).collect();
            let column: usize = digits
                .parse()
                .map_err(|_| format!("sort: bad key '{key}'"))?;
            column.checked_sub(1)
        }
        None => None,
    };
    let numeric = has(&options, 'n') || value(&options, 'k').is_some_and(|k| k.ends_with('n'));
    let key = |line: &'_ str| -> String {
        let Some(column) = column else {
            return line.to_owned();
        };
        match value(&options, 't') {
            Some(separator) if !separator.is_empty() => line.split(separator).nth(column),
            _ => line.split_whitespace().nth(column),
        }
        .unwrap_or_default()
        .to_owned()
    };
    all.sort_by(|a, b| {
        let (x, y) = (key(a), key(b));
        let order = match () {
            () if numeric => number(&x).cmp(&number(&y)),
            () if has(&options, 'V') => natural(&x, &y),
            () if has(&options, 'f') => x.to_lowercase().cmp(&y.to_lowercase()),
            () => x.cmp(&y),
        };
        let order = order.then_with(|| a.cmp(b));
        if has(&options, 'r') {
            order.reverse()
        } else {
            order
        }
    });
    if has(&options, 'u') {
        all.dedup();
    }
    Ok(lines(all))
}

/// The number at the head of a text, 0 if there is none.
fn number(text: &str) -> i128 {
    let text = text.trim_start();
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    let end = digits
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(digits.len());
    sign * digits[..end.min(30)].parse::<i128>().unwrap_or(0)
}

fn uniq(call: &mut Call<'_>, arguments: &[String]) -> Result<Output, String> {
    let (options, files) = options(call, arguments, "cdu", "")?;
    let text = call.input(&files)?;
    let mut runs: Vec<(usize, &str)> = Vec::new();
    for line in text.lines() {
        match runs.last_mut() {
            Some((count, last)) if *last == line => *count += 1,
            _ => runs.push((1, line)),
        }
    }
    let mut out = String::new();
    for (count, line) in runs {
        if has(&options, 'd') && count < 2 || has(&options, 'u') && count > 1 {
            continue;
        }
        if has(&options, 'c') {
            out.push_str(&format!("{count:>7} "));
        }
        out.push_str(line);
        out.push('\n');
    }
    Ok(Output::out(out))
}

fn tr(call: &mut Call<'_>, arguments: &[String]) -> Result<Output, String> {
    let (options, sets) = options(call, arguments, "ds", "")?;
    let from: Vec<char> = sets.first().map(|set| characters(set)).unwrap_or_default();
    let to: Vec<char> = sets.get(1).map(|set| characters(set)).unwrap_or_default();
    if from.is_empty() || !has(&options, 'd') && !has(&options, 's') && to.is_empty() {
        return Err("tr: missing operand".to_owned());
    }
    let squeezed = if to.is_empty() { &from } else { &to };
    let mut out = String::new();
    let mut last = None;
    for c in call.stdin.chars() {
        let place = from.iter().position(|known| *known == c);
        let mapped = match place {
            Some(_) if has(&options, 'd') => continue,
            Some(i) => to.get(i).or_else(|| to.last()).copied().unwrap_or(c),
            None => c,
        };
        if has(&options, 's') && last == Some(mapped) && squeezed.contains(&mapped) {
            continue;
        }
        out.push(mapped);
        last = Some(mapped);
    }
    Ok(Output::out(out))
}

/// The characters of a `tr` set: ranges, escapes and the classes in use.
fn characters(set: &str) -> Vec<char> {
    match set {
        "[:lower:]" => return ('a'..='z').collect(),
        "[:upper:]" => return ('A'..='Z').collect(),
        "[:digit:]" => return ('0'..='9').collect(),
        "[:space:]" => return vec![' ', '\t', '\n', '\u{b}', '\u{c}', '\r'],
        _ => {}
    }
    let set = set
        .replace("\\n", "\n")
        .replace("\\t", "\t")
        .replace("\\r", "\r");
    let chars: Vec<char> = set.chars().collect();
    let mut out = Vec::new();
    let mut i = 0;
    while let Some(c) = chars.get(i) {
        match (chars.get(i + 1), chars.get(i + 2)) {
            (Some('-'), Some(end)) if end >= c && (*end as u32) - (*c as u32) < 256 => {
                out.extend(*c..=*end);
                i += 3;
            }
            _ => {
                out.push(*c);
                i += 1;
            }
        }
    }
    out
}

fn xargs(arguments: &[String], stdin: &str, programs: &mut dyn Programs) -> Output {
    let mut rest = arguments;
    let (mut each, mut skip_empty) = (usize::MAX, false);
    while let [first, tail @ ..] = rest {
        match (first.as_str(), tail) {
            ("-r", _) => (skip_empty, rest) = (true, tail),
            ("-n", [count, tail @ ..]) => {
                each = count.parse().unwrap_or(1).max(1);
                rest = tail;
            }
            (option, _) if option.starts_with("-n") => {
                each = option[2..].parse().unwrap_or(1).max(1);
                rest = tail;
            }
            (option, _) if option.starts_with('-') => {
                return Output::err(
                    format!("xargs: option {option} is not supported in transcripts\n"),
                    2,
                );
            }
            _ => break,
        }
    }
    let command = if rest.is_empty() {
        vec!["echo".to_owned()]
    } else {
        rest.to_vec()
    };
    let words: Vec<String> = stdin.split_whitespace().map(str::to_owned).collect();
    let mut output = Output::default();
    let mut failed = false;
    if words.is_empty() && !skip_empty {
        output.append(programs.run(&command, ""));
        failed = output.code != 0;
    }
    for part in words.chunks(each.min(4096)) {
        let argv: Vec<String> = command.iter().chain(part).cloned().collect();
        let result = programs.run(&argv, "");
        failed |= result.code != 0;
        output.append(result);
    }
    output.code = if failed { 123 } else { 0 };
    output
}
