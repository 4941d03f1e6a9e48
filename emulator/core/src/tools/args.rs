//! Arguments as `getopt_long` reads them, with its complaints and busybox's usage text.
//!
//! Options may stand behind operands; `--` ends them. Left out: abbreviations of long options.

use super::Libc;

/// What a program prints to standard error, and its exit code, when it does not start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) text: String,
    pub(super) code: u8,
}

impl Failure {
    /// `program: text`, exit code 1.
    pub(super) fn new(program: &str, text: impl AsRef<str>) -> Self {
        Self {
            text: format!("{program}: {}\n", text.as_ref()),
            code: 1,
        }
    }
}

/// Which options a program knows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grammar {
    pub(super) program: &'static str,
    /// As in `getopt(3)`: `c:q` is `-c ARG` and `-q`.
    pub(super) short: &'static str,
    /// Long names, each with the letter that it stands for and whether it takes an argument.
    pub(super) long: &'static [(&'static str, char, bool)],
    /// What stands behind `Usage: PROGRAM`.
    pub(super) usage: &'static str,
}

/// Arguments that were read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Args {
    program: &'static str,
    options: Vec<(char, String)>,
    pub(super) operands: Vec<String>,
}

impl Grammar {
    /// Busybox's usage, with exit code 1.
    pub(super) fn usage(&self, complaint: Option<&str>) -> Failure {
        let head = complaint.map_or_else(String::new, |text| format!("{}: {text}\n", self.program));
        Failure {
            text: format!(
                "{head}BusyBox v1.36.1 multi-call binary.\n\nUsage: {} {}\n",
                self.program, self.usage
            ),
            code: 1,
        }
    }

    /// Whether the option is known, and if so whether it takes an argument.
    fn takes_argument(&self, option: char) -> Option<bool> {
        let at = self.short.find(option).filter(|_| option != ':')?;
        Some(self.short[at + option.len_utf8()..].starts_with(':'))
    }

    /// Reads the arguments behind the program's name.
    pub(super) fn parse(&self, argv: &[String], libc: Libc) -> Result<Args, Failure> {
        let mut args = Args {
            program: self.program,
            ..Args::default()
        };
        let mut rest = argv.iter();
        while let Some(word) = rest.next() {
            if word == "--" {
                args.operands.extend(rest.cloned());
                break;
            }
            if let Some(long) = word.strip_prefix("--") {
                self.long(long, &mut rest, &mut args, libc)?;
            } else if word.len() > 1 && word.starts_with('-') {
                self.letters(&word[1..], &mut rest, &mut args, libc)?;
            } else {
                args.operands.push(word.clone());
            }
        }
        Ok(args)
    }

    fn long<'a>(
        &self,
        word: &str,
        rest: &mut impl Iterator<Item = &'a String>,
        args: &mut Args,
        libc: Libc,
    ) -> Result<(), Failure> {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (word, None),
        };
        let known = self.long.iter().find(|(own, ..)| *own == name);
        let Some(&(_, letter, takes)) = known else {
            let text = match libc {
                Libc::Glibc => format!("unrecognized option '--{name}'"),
                Libc::Musl => format!("unrecognized option: {name}"),
            };
            return Err(self.usage(Some(&text)));
        };
        let value = match (takes, value) {
            (true, Some(value)) => value,
            (true, None) => rest.next().cloned().ok_or_else(|| {
                self.usage(Some(&match libc {
                    Libc::Glibc => format!("option '--{name}' requires an argument"),
                    Libc::Musl => format!("option requires an argument: {name}"),
                }))
            })?,
            (false, _) => String::new(),
        };
        args.options.push((letter, value));
        Ok(())
    }

    fn letters<'a>(
        &self,
        word: &str,
        rest: &mut impl Iterator<Item = &'a String>,
        args: &mut Args,
        libc: Libc,
    ) -> Result<(), Failure> {
        let mut letters = word.chars();
        while let Some(letter) = letters.next() {
            let complain = |glibc: &str, musl: &str| match libc {
                Libc::Glibc => self.usage(Some(&format!("{glibc} -- '{letter}'"))),
                Libc::Musl => self.usage(Some(&format!("{musl}: {letter}"))),
            };
            match self.takes_argument(letter) {
                None => return Err(complain("invalid option", "unrecognized option")),
                Some(false) => args.options.push((letter, String::new())),
                Some(true) => {
                    let inline = letters.as_str();
                    let text = "option requires an argument";
                    let value = if inline.is_empty() {
                        rest.next().cloned().ok_or_else(|| complain(text, text))?
                    } else {
                        inline.to_owned()
                    };
                    args.options.push((letter, value));
                    break;
                }
            }
        }
        Ok(())
    }
}

impl Args {
    /// The option was given.
    pub(super) fn has(&self, option: char) -> bool {
        self.options.iter().any(|(own, _)| *own == option)
    }

    /// The argument of the option, of its last mention.
    pub(super) fn value(&self, option: char) -> Option<&str> {
        let mut all = self.options.iter().rev();
        all.find(|(own, _)| *own == option)
            .map(|(_, value)| value.as_str())
    }

    /// The arguments of all mentions.
    pub(super) fn values(&self, option: char) -> impl Iterator<Item = &str> {
        let all = self.options.iter();
        all.filter(move |(own, _)| *own == option)
            .map(|(_, value)| value.as_str())
    }

    /// The option's argument as a number in a range.
    pub(super) fn number<T>(
        &self,
        option: char,
        range: core::ops::RangeInclusive<T>,
    ) -> Result<Option<T>, Failure>
    where
        T: core::str::FromStr + PartialOrd + core::fmt::Display,
    {
        let Some(text) = self.value(option) else {
            return Ok(None);
        };
        let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|_| plain);
        match number.filter(|number| range.contains(number)) {
            Some(number) => Ok(Some(number)),
            None if plain => Err(Failure::new(
                self.program,
                format!(
                    "number {text} is not in {}..{} range",
                    range.start(),
                    range.end()
                ),
            )),
            None => Err(Failure::new(
                self.program,
                format!("invalid number '{text}'"),
            )),
        }
    }

    /// The option's argument as seconds, with a fraction.
    pub(super) fn seconds(&self, option: char) -> Result<Option<core::time::Duration>, Failure> {
        let Some(text) = self.value(option) else {
            return Ok(None);
        };
        parse_seconds(text)
            .map(Some)
            .ok_or_else(|| Failure::new(self.program, format!("invalid number '{text}'")))
    }
}

/// Seconds with a fraction of up to nine digits: `0.2`, `1`, `.5`.
pub(super) fn parse_seconds(text: &str) -> Option<core::time::Duration> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.len() + fraction.len() == 0 || !digits(whole) || !digits(fraction) {
        return None;
    }
    let seconds: u32 = if whole.is_empty() {
        0
    } else {
        whole.parse().ok()?
    };
    let mut nanos = 0;
    for at in 0..9 {
        let digit = fraction.as_bytes().get(at).map_or(0, |digit| digit - b'0');
        nanos = nanos * 10 + u32::from(digit);
    }
    Some(core::time::Duration::new(u64::from(seconds), nanos))
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;

    const GRAMMAR: Grammar = Grammar {
        program: "tool",
        short: "c:qW:",
        long: &[("quiet", 'q', false), ("count", 'c', true)],
        usage: "[-q] [-c N] HOST",
    };

    fn parse(line: &str) -> Result<Args, Failure> {
        let argv: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
        GRAMMAR.parse(&argv, Libc::Glibc)
    }

    #[test]
    fn options_stand_anywhere() {
        for line in [
            "-q -c 3 db",
            "-qc3 db",
            "db -c3 -q",
            "--quiet --count=3 db",
            "--count 3 -q -- db",
        ] {
            let args = parse(line).expect(line);
            assert!(args.has('q') && !args.has('W'), "{line}");
            assert_eq!(args.number('c', 1..=9), Ok(Some(3)), "{line}");
            assert_eq!(args.operands, ["db"], "{line}");
        }
        assert_eq!(parse("- -- -q").expect("operands").operands, ["-", "-q"]);
    }

    #[test]
    fn complaints() {
        for (line, text) in [
            ("-x", "tool: invalid option -- 'x'\n"),
            ("-c", "tool: option requires an argument -- 'c'\n"),
            ("--nope", "tool: unrecognized option '--nope'\n"),
        ] {
            let failure = parse(line).expect_err(line);
            assert!(failure.text.starts_with(text), "{}", failure.text);
            assert!(failure.text.ends_with("Usage: tool [-q] [-c N] HOST\n"));
            assert_eq!(failure.code, 1);
        }
        let args = parse("-c 10 -c -1").expect("read");
        assert_eq!(
            args.number('c', 1..=9),
            Err(Failure::new("tool", "invalid number '-1'"))
        );
        let args = parse("-c 10").expect("read");
        let failure = Failure::new("tool", "number 10 is not in 1..9 range");
        assert_eq!(args.number('c', 1..=9), Err(failure));
    }

    #[test]
    fn fractions_of_seconds() {
        assert_eq!(parse_seconds("0.2"), Some(Duration::from_millis(200)));
        assert_eq!(parse_seconds(".5"), Some(Duration::from_millis(500)));
        assert_eq!(parse_seconds("3"), Some(Duration::from_secs(3)));
        for text in ["", ".", "-1", "1s", "1.2.3"] {
            assert_eq!(parse_seconds(text), None, "{text}");
        }
    }
}
