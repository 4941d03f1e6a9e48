//! Flags: which a command has, what they take, and how they stand on the line.
//!
//! Models spf13/pflag: `--name value`, `--name=value`, `-n value`, `-nvalue`, clusters such as `-it`,
//! `--` as the end; and its errors.

use vethlab::core::docker::spec::Engine;

use super::validate as check;

/// What a flag takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing, or `=true`, `=false`.
    Bool,
    /// A text; the last one counts.
    Text,
    /// A whole number.
    Int,
    /// An address; any text before 28.
    Ip,
    /// Texts, several in one with commas.
    Slice,
    /// Addresses, several in one with commas; any texts before 28.
    IpSlice,
    /// Subnets, several in one with commas; any texts before 28.
    NetSlice,
    /// A text each time, accepted as it is.
    List,
    /// `key=value` each time.
    Map,
    /// `name=value` of `--filter`.
    Filter,
    /// `--dns`.
    DnsAddress,
    /// `--dns-search`.
    DnsSearch,
    /// `--env`.
    Env,
    /// `--add-host`.
    ExtraHost,
    /// `--label`.
    Label,
    /// `--link`.
    Link,
    /// `--network`.
    Network,
    /// `--sysctl`.
    Sysctl,
    /// `--attach` of `run`.
    Stream,
}

/// A flag.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flag {
    pub(super) long: &'static str,
    pub(super) short: Option<char>,
    pub(super) kind: Kind,
    /// The flag whose other name this is.
    pub(super) means: &'static str,
    /// The older engine's client does not know it.
    pub(super) newer: bool,
    /// It has nothing to do with the network: accepted, noted, ignored.
    pub(super) ignored: bool,
}

impl Flag {
    pub(super) const fn new(long: &'static str, kind: Kind) -> Self {
        Self {
            long,
            short: None,
            kind,
            means: long,
            newer: false,
            ignored: false,
        }
    }

    pub(super) const fn short(mut self, c: char) -> Self {
        self.short = Some(c);
        self
    }

    pub(super) const fn means(mut self, long: &'static str) -> Self {
        self.means = long;
        self
    }

    pub(super) const fn newer(mut self) -> Self {
        self.newer = true;
        self
    }

    pub(super) const fn ignored(mut self) -> Self {
        self.ignored = true;
        self
    }

    fn shown(&self) -> String {
        match self.short {
            Some(c) => format!("-{c}, --{}", self.long),
            None => format!("--{}", self.long),
        }
    }
}

/// The flags and arguments of a line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Values {
    set: Vec<(&'static str, String)>,
    /// What is not a flag.
    pub(super) arguments: Vec<String>,
    /// Flags that were accepted and ignored.
    pub(super) ignored: Vec<String>,
}

impl Values {
    /// Every value of a flag, in the order given.
    pub(super) fn all(&self, long: &str) -> Vec<String> {
        let set = self.set.iter().filter(|(name, _)| *name == long);
        set.map(|(_, value)| value.clone()).collect()
    }

    /// The last value of a flag.
    pub(super) fn last(&self, long: &str) -> Option<&str> {
        let mut set = self.set.iter().rev().filter(|(name, _)| *name == long);
        set.next().map(|(_, value)| value.as_str())
    }

    /// The last value of a flag, empty if it was not given.
    pub(super) fn text(&self, long: &str) -> String {
        self.last(long).unwrap_or_default().to_owned()
    }

    /// Whether a flag without a value is on.
    pub(super) fn is(&self, long: &str) -> bool {
        self.last(long) == Some("true")
    }

    /// The number of a flag.
    pub(super) fn int(&self, long: &str) -> Option<i64> {
        self.last(long).and_then(check::go_int)
    }
}

/// Reads a line.
///
/// # Errors
/// In pflag's words: `unknown flag: --x`, `flag needs an argument: --x`, `invalid argument …`.
pub(super) fn parse(
    line: &[String],
    flags: &[Flag],
    interspersed: bool,
    engine: Engine,
) -> Result<Values, String> {
    let mut values = Values::default();
    let mut words = line.iter();
    while let Some(word) = words.next() {
        if word == "--" {
            values.arguments.extend(words.cloned());
            break;
        }
        if let Some(long) = word.strip_prefix("--") {
            long_flag(&mut values, word, long, flags, engine, &mut words)?;
        } else if word.len() > 1 && word.starts_with('-') {
            short_flags(&mut values, &word[1..], flags, engine, &mut words)?;
        } else {
            values.arguments.push(word.clone());
            if !interspersed {
                values.arguments.extend(words.cloned());
                break;
            }
        }
    }
    Ok(values)
}

type Words<'a> = core::slice::Iter<'a, String>;

fn known(flags: &[Flag], engine: Engine, is: impl Fn(&Flag) -> bool) -> Option<&Flag> {
    let mut known = flags
        .iter()
        .filter(|flag| !flag.newer || engine != Engine::V20_10);
    known.find(|flag| is(flag))
}

fn long_flag(
    values: &mut Values,
    word: &str,
    long: &str,
    flags: &[Flag],
    engine: Engine,
    words: &mut Words<'_>,
) -> Result<(), String> {
    let (name, inline) = match long.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (long, None),
    };
    if name.is_empty() || name.starts_with('-') {
        return Err(format!("bad flag syntax: {word}"));
    }
    let Some(flag) = known(flags, engine, |flag| flag.long == name) else {
        return Err(format!("unknown flag: --{name}"));
    };
    let value = match inline {
        Some(value) => value,
        None if flag.kind == Kind::Bool => "true".to_owned(),
        None => match words.next() {
            Some(value) => value.clone(),
            None => return Err(format!("flag needs an argument: --{name}")),
        },
    };
    set(values, flag, &value, engine)
}

fn short_flags(
    values: &mut Values,
    cluster: &str,
    flags: &[Flag],
    engine: Engine,
    words: &mut Words<'_>,
) -> Result<(), String> {
    let mut rest = cluster;
    while let Some(c) = rest.chars().next() {
        let shown = rest;
        rest = &rest[c.len_utf8()..];
        let Some(flag) = known(flags, engine, |flag| flag.short == Some(c)) else {
            return Err(format!("unknown shorthand flag: '{c}' in -{shown}"));
        };
        let value = if let Some(value) = rest.strip_prefix('=') {
            let value = value.to_owned();
            rest = "";
            value
        } else if flag.kind == Kind::Bool {
            "true".to_owned()
        } else if !rest.is_empty() {
            core::mem::take(&mut rest).to_owned()
        } else {
            match words.next() {
                Some(value) => value.clone(),
                None => return Err(format!("flag needs an argument: '{c}' in -{shown}")),
            }
        };
        set(values, flag, &value, engine)?;
    }
    Ok(())
}

fn set(values: &mut Values, flag: &Flag, value: &str, engine: Engine) -> Result<(), String> {
    let taken = accept(flag.kind, value, engine).map_err(|error| {
        let value = crate::format::text::go_quote(value);
        format!(
            "invalid argument {value} for \"{}\" flag: {error}",
            flag.shown()
        )
    })?;
    if flag.ignored {
        values.ignored.push(format!("--{}", flag.long));
    }
    values
        .set
        .extend(taken.into_iter().map(|value| (flag.means, value)));
    Ok(())
}

fn accept(kind: Kind, value: &str, engine: Engine) -> Result<Vec<String>, String> {
    let old = engine == Engine::V20_10;
    let one = |value: String| Ok(vec![value]);
    match kind {
        Kind::Bool => check::go_bool(value).map(|yes| vec![yes.to_string()]),
        Kind::Int => match check::go_int(value) {
            Some(n) => one(n.to_string()),
            None => Err(format!(
                "strconv.ParseInt: parsing {}: invalid syntax",
                crate::format::text::go_quote(value)
            )),
        },
        Kind::Ip if old || value.is_empty() => one(value.to_owned()),
        Kind::Ip => check::pflag_ip(value).and_then(one),
        Kind::Slice => check::csv(value),
        Kind::IpSlice | Kind::NetSlice if old => check::csv(value),
        Kind::IpSlice => check::csv(value)?
            .iter()
            .map(|v| check::pflag_ip_item(v))
            .collect(),
        Kind::NetSlice => check::csv(value)?
            .iter()
            .map(|v| check::pflag_net_item(v))
            .collect(),
        Kind::Text | Kind::List | Kind::Map => one(value.to_owned()),
        Kind::Filter => check::filter(value).map(|taken| taken.into_iter().collect()),
        Kind::DnsAddress => check::dns_address(value, engine).and_then(one),
        Kind::DnsSearch => check::dns_search(value).and_then(one),
        Kind::Env => check::env(value).and_then(one),
        Kind::ExtraHost => check::extra_host(value, engine).and_then(one),
        Kind::Label => check::label(value).and_then(one),
        Kind::Link => check::link(value).and_then(one),
        Kind::Network => check::network(value, engine).map(|()| vec![value.to_owned()]),
        Kind::Sysctl => check::sysctl(value, engine).and_then(one),
        Kind::Stream => check::stream(value).and_then(one),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLAGS: &[Flag] = &[
        Flag::new("driver", Kind::Text).short('d'),
        Flag::new("interactive", Kind::Bool).short('i'),
        Flag::new("tty", Kind::Bool).short('t'),
        Flag::new("alias", Kind::Slice),
        Flag::new("env", Kind::Env).short('e'),
        Flag::new("gw-priority", Kind::Int).newer(),
        Flag::new("net", Kind::Text).means("network"),
        Flag::new("network", Kind::Text),
    ];

    fn run(line: &str, interspersed: bool, engine: Engine) -> Result<Values, String> {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        parse(&words, FLAGS, interspersed, engine)
    }

    #[test]
    fn forms() {
        let values = run(
            "-it --driver=x a -dy --alias a,b --alias c b -e K=V --net n",
            true,
            Engine::V29,
        );
        let values = values.unwrap();
        assert!(values.is("interactive") && values.is("tty"));
        assert_eq!(values.text("driver"), "y");
        assert_eq!(values.all("alias"), ["a", "b", "c"]);
        assert_eq!(values.arguments, ["a", "b"]);
        assert_eq!(values.text("network"), "n");
        let values = run("-i=false -- -x", true, Engine::V29).unwrap();
        assert!(!values.is("interactive"));
        assert_eq!(values.arguments, ["-x"]);
        let values = run("-i alpine ping -c1", false, Engine::V29).unwrap();
        assert_eq!(values.arguments, ["alpine", "ping", "-c1"]);
    }

    #[test]
    fn errors() {
        for (line, message) in [
            ("--nosuch", "unknown flag: --nosuch"),
            ("-ix", "unknown shorthand flag: 'x' in -x"),
            ("-x", "unknown shorthand flag: 'x' in -x"),
            ("--driver", "flag needs an argument: --driver"),
            ("-id", "flag needs an argument: 'd' in -d"),
            ("--=x", "bad flag syntax: --=x"),
            (
                "--tty=maybe",
                "invalid argument \"maybe\" for \"-t, --tty\" flag: strconv.ParseBool: parsing \"maybe\": invalid syntax",
            ),
            (
                "-e =x",
                "invalid argument \"=x\" for \"-e, --env\" flag: invalid environment variable: =x",
            ),
            (
                "--gw-priority x",
                "invalid argument \"x\" for \"--gw-priority\" flag: strconv.ParseInt: parsing \"x\": invalid syntax",
            ),
        ] {
            assert_eq!(
                run(line, true, Engine::V29),
                Err(message.to_owned()),
                "{line}"
            );
        }
        assert_eq!(
            run("--gw-priority 1", true, Engine::V20_10),
            Err("unknown flag: --gw-priority".to_owned())
        );
    }
}
