//! Programs that only print: `cat`, `echo`, `hostname`, `sleep`, `true`, `false`.

use core::time::Duration;

use dns::hosts::Hosts;
use switch::Time;

use super::Context;
use super::args::{Failure, parse_seconds};
use crate::app::{App, Step, Sys};

/// A program that did not start: it says why and exits.
#[derive(Debug)]
struct Failed(Failure);

impl App for Failed {
    fn run(&mut self, sys: &mut dyn Sys) -> Step {
        sys.eprint(&self.0.text);
        Step::Exit(self.0.code)
    }

    fn name(&self) -> &str {
        "sh"
    }
}

/// The program that prints why another one did not start.
pub(super) fn failed(failure: Failure) -> Box<dyn App> {
    Box::new(Failed(failure))
}

#[derive(Debug)]
struct Print {
    name: &'static str,
    text: String,
    code: u8,
}

impl App for Print {
    fn run(&mut self, sys: &mut dyn Sys) -> Step {
        if !self.text.is_empty() {
            sys.print(&self.text);
        }
        Step::Exit(self.code)
    }

    fn name(&self) -> &str {
        self.name
    }
}

fn print(name: &'static str, text: String, code: u8) -> Result<Box<dyn App>, Failure> {
    Ok(Box::new(Print { name, text, code }))
}

pub(super) fn truth(_: &[String], _: &Context) -> Result<Box<dyn App>, Failure> {
    print("true", String::new(), 0)
}

pub(super) fn falsehood(_: &[String], _: &Context) -> Result<Box<dyn App>, Failure> {
    print("false", String::new(), 1)
}

/// `echo`: `-n` leaves the line open, `-e` reads escapes, `-E` does not.
pub(super) fn echo(argv: &[String], _: &Context) -> Result<Box<dyn App>, Failure> {
    let is_option = |word: &String| {
        word.len() > 1 && word.starts_with('-') && word[1..].chars().all(|c| "neE".contains(c))
    };
    let options: String = argv
        .iter()
        .take_while(|word| is_option(word))
        .map(|word| &word[1..])
        .collect();
    let words = argv.iter().skip_while(|word| is_option(word));
    let mut text = words.map(String::as_str).collect::<Vec<_>>().join(" ");
    if options.rfind('e') > options.rfind('E') {
        text = unescape(&text);
    }
    if !options.contains('n') {
        text.push('\n');
    }
    print("echo", text, 0)
}

fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('t') => out.push('\t'),
            Some('\\') | None => out.push('\\'),
            Some(other) => out.extend(['\\', other]),
        }
    }
    out
}

#[derive(Debug)]
struct Cat {
    paths: Vec<String>,
    stdin: Vec<u8>,
}

/// `cat`: the files that a sandbox has; `-` and nothing are standard input.
pub(super) fn cat(argv: &[String], context: &Context) -> Result<Box<dyn App>, Failure> {
    let mut paths: Vec<_> = argv.to_vec();
    if paths.is_empty() {
        paths.push("-".to_owned());
    }
    let stdin = context.stdin.clone();
    Ok(Box::new(Cat { paths, stdin }))
}

impl App for Cat {
    fn run(&mut self, sys: &mut dyn Sys) -> Step {
        let mut code = 0;
        for path in &self.paths {
            if path == "-" {
                sys.print_bytes(&self.stdin);
            } else if let Some(text) = sys.file(path) {
                sys.print(&text);
            } else {
                sys.eprint(&format!(
                    "cat: can't open '{path}': No such file or directory\n"
                ));
                code = 1;
            }
        }
        Step::Exit(code)
    }

    fn name(&self) -> &str {
        "cat"
    }
}

#[derive(Debug)]
enum Hostname {
    Name,
    Short,
    Addresses,
}

/// `hostname`, `-f`, `-s` and `-i` (from the hosts file). Setting it is not permitted in a container.
pub(super) fn hostname(argv: &[String], _: &Context) -> Result<Box<dyn App>, Failure> {
    let what = match argv.first().map(String::as_str) {
        None | Some("-f") => Hostname::Name,
        Some("-s") => Hostname::Short,
        Some("-i") => Hostname::Addresses,
        Some(_) => {
            let text = "sethostname: Operation not permitted";
            return Err(Failure::new("hostname", text));
        }
    };
    Ok(Box::new(what))
}

impl App for Hostname {
    fn run(&mut self, sys: &mut dyn Sys) -> Step {
        let name = sys.hostname();
        match self {
            Self::Name => sys.print(&format!("{name}\n")),
            Self::Short => {
                let short = name.split('.').next().unwrap_or(&name);
                sys.print(&format!("{short}\n"));
            }
            Self::Addresses => {
                let file = sys.file("/etc/hosts").unwrap_or_default();
                let list = Hosts::of(&file).addresses(&name, dns::Family::V4);
                if list.is_empty() {
                    sys.eprint(&format!("hostname: {name}: Unknown host\n"));
                    return Step::Exit(1);
                }
                let words: Vec<_> = list.iter().map(ToString::to_string).collect();
                sys.print(&format!("{} \n", words.join(" ")));
            }
        }
        Step::Exit(0)
    }

    fn name(&self) -> &str {
        "hostname"
    }
}

#[derive(Debug)]
struct Sleep {
    /// `None` is for ever.
    span: Option<Duration>,
    until: Option<Time>,
}

/// `sleep N[smhd]…`, the sum of them; `infinity`.
pub(super) fn sleep(argv: &[String], _: &Context) -> Result<Box<dyn App>, Failure> {
    if argv.is_empty() {
        let text = "BusyBox v1.36.1 multi-call binary.\n\nUsage: sleep [N]...\n".to_owned();
        return Err(Failure { text, code: 1 });
    }
    let mut span = Some(Duration::ZERO);
    for word in argv {
        if word == "infinity" || word == "inf" {
            span = None;
            continue;
        }
        let (digits, unit) = match word.chars().next_back() {
            Some('s') => (&word[..word.len() - 1], 1),
            Some('m') => (&word[..word.len() - 1], 60),
            Some('h') => (&word[..word.len() - 1], 3600),
            Some('d') => (&word[..word.len() - 1], 86400),
            _ => (word.as_str(), 1),
        };
        let part = parse_seconds(digits)
            .ok_or_else(|| Failure::new("sleep", format!("invalid number '{word}'")))?;
        span = span.map(|sum| sum.saturating_add(part.saturating_mul(unit)));
    }
    Ok(Box::new(Sleep { span, until: None }))
}

impl App for Sleep {
    fn run(&mut self, sys: &mut dyn Sys) -> Step {
        let Some(span) = self.span else {
            return Step::Wait;
        };
        let now = sys.now();
        let until = *self.until.get_or_insert(now + span);
        if until <= now {
            return Step::Exit(0);
        }
        sys.wake_at(until);
        Step::Wait
    }

    fn name(&self) -> &str {
        "sleep"
    }
}

#[cfg(test)]
mod tests {
    use super::super::fake::Fake;

    #[test]
    fn words() {
        for (line, stdout, stderr, code) in [
            ("echo a  b", "a b\n", "", 0),
            ("echo -n a", "a", "", 0),
            ("echo -en a\\tb", "a\tb", "", 0),
            ("echo -e -x", "-x\n", "", 0),
            ("echo a\\tb", "a\\tb\n", "", 0),
            ("true", "", "", 0),
            ("false", "", "", 1),
            ("hostname", "box1\n", "", 0),
            ("hostname -i", "172.18.0.2 \n", "", 0),
            ("cat /etc/hostname", "box1\n", "", 0),
            (
                "cat /x",
                "",
                "cat: can't open '/x': No such file or directory\n",
                1,
            ),
            ("sleep 1x", "", "sleep: invalid number '1x'\n", 1),
        ] {
            let mut fake = Fake::default();
            assert_eq!(fake.run(line), code, "{line}");
            assert_eq!(
                (fake.stdout.as_str(), fake.stderr.as_str()),
                (stdout, stderr),
                "{line}"
            );
        }
    }

    #[test]
    fn sleep_takes_its_time() {
        let mut fake = Fake::default();
        assert_eq!(fake.run("sleep 1m 0.5"), 0);
        assert_eq!(fake.now.as_millis(), 60_500);
    }
}
