//! `{{printf}}`: Go's `fmt.Sprintf` for texts, whole numbers and truth values.
//!
//! Models the verbs `%v %s %q %d %x %X %o %b %c %t %T %%` with the flags `-`, `0`, `+`, `#`, space,
//! a width and a precision, and Go's marks for mistakes (`%!d(string=x)`). Leaves out fractions and
//! argument indexes.

use super::{Value, gostring, text};

/// The widest field; larger widths are cut to it.
const MAX_WIDTH: usize = 1000;

#[derive(Clone, Copy, Debug, Default)]
struct Flags {
    minus: bool,
    zero: bool,
    plus: bool,
    sharp: bool,
    space: bool,
    width: usize,
    precision: Option<usize>,
}

/// `format` with its verbs replaced by `arguments`.
#[must_use]
pub fn sprintf(format: &str, arguments: &[Value]) -> String {
    let mut out = String::new();
    let mut used = 0;
    let mut chars = format.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let flags = flags(&mut chars);
        let Some(verb) = chars.next() else {
            out.push_str("%!(NOVERB)");
            break;
        };
        if verb == '%' {
            out.push('%');
            continue;
        }
        match arguments.get(used) {
            Some(value) => out.push_str(&pad(&one(verb, value, flags), flags)),
            None => out.push_str(&format!("%!{verb}(MISSING)")),
        }
        used += 1;
    }
    if let Some(extra) = arguments.get(used..)
        && !extra.is_empty()
    {
        let extra: Vec<_> = extra
            .iter()
            .map(|value| format!("{}={}", value.go_type(), gostring::print(value)))
            .collect();
        out.push_str(&format!("%!(EXTRA {})", extra.join(", ")));
    }
    out
}

fn flags(chars: &mut core::iter::Peekable<core::str::Chars<'_>>) -> Flags {
    let mut flags = Flags::default();
    while let Some(c) = chars.peek() {
        match c {
            '-' => flags.minus = true,
            '0' => flags.zero = true,
            '+' => flags.plus = true,
            '#' => flags.sharp = true,
            ' ' => flags.space = true,
            _ => break,
        }
        chars.next();
    }
    flags.width = number(chars).unwrap_or(0);
    if chars.peek() == Some(&'.') {
        chars.next();
        flags.precision = Some(number(chars).unwrap_or(0));
    }
    flags
}

fn number(chars: &mut core::iter::Peekable<core::str::Chars<'_>>) -> Option<usize> {
    let mut value = None;
    while let Some(digit) = chars.peek().and_then(|c| c.to_digit(10)) {
        let sum = value.unwrap_or(0_usize) * 10 + digit as usize;
        value = Some(sum.min(MAX_WIDTH));
        chars.next();
    }
    value
}

fn one(verb: char, value: &Value, flags: Flags) -> String {
    match (verb, value) {
        ('v', Value::Number(n)) | ('d', Value::Number(n)) => {
            signed(*n, &n.unsigned_abs().to_string(), flags)
        }
        ('v', _) if !flags.sharp => gostring::print(value),
        ('v', Value::String(text)) => text::go_quote(text),
        ('v', _) => gostring::print(value),
        ('T', _) => value.go_type().to_owned(),
        ('t', Value::Bool(yes)) => yes.to_string(),
        ('s', Value::String(text)) => cut(text, flags),
        ('s', Value::Array(_) | Value::Object(_)) => gostring::print(value),
        ('q', Value::String(text)) => text::go_quote(&cut(text, flags)),
        ('q', Value::Array(items)) => {
            let items: Vec<_> = items.iter().map(|item| one('q', item, flags)).collect();
            format!("[{}]", items.join(" "))
        }
        ('x', Value::Number(n)) => signed(*n, &format!("{:x}", n.unsigned_abs()), flags),
        ('X', Value::Number(n)) => signed(*n, &format!("{:X}", n.unsigned_abs()), flags),
        ('o', Value::Number(n)) => signed(*n, &format!("{:o}", n.unsigned_abs()), flags),
        ('b', Value::Number(n)) => signed(*n, &format!("{:b}", n.unsigned_abs()), flags),
        ('c', Value::Number(n)) => {
            let c = u32::try_from(*n).ok().and_then(char::from_u32);
            c.unwrap_or(char::REPLACEMENT_CHARACTER).to_string()
        }
        ('x', Value::String(text)) => text.bytes().map(|b| format!("{b:02x}")).collect(),
        ('X', Value::String(text)) => text.bytes().map(|b| format!("{b:02X}")).collect(),
        (verb, Value::Null) => format!("%!{verb}(<nil>)"),
        (verb, value) => format!("%!{verb}({}={})", short_type(value), gostring::print(value)),
    }
}

const fn short_type(value: &Value) -> &'static str {
    match value {
        Value::Number(_) => "int",
        other => other.go_type(),
    }
}

fn signed(n: i64, digits: &str, flags: Flags) -> String {
    let sign = match () {
        () if n < 0 => "-",
        () if flags.plus => "+",
        () if flags.space => " ",
        () => "",
    };
    let mut digits = digits.to_owned();
    let mut least = flags.precision.unwrap_or(0);
    if flags.zero && !flags.minus && flags.precision.is_none() {
        least = flags.width.saturating_sub(sign.len());
    }
    while digits.len() < least {
        digits.insert(0, '0');
    }
    format!("{sign}{digits}")
}

fn cut(text: &str, flags: Flags) -> String {
    match flags.precision {
        Some(limit) => text.chars().take(limit).collect(),
        None => text.to_owned(),
    }
}

fn pad(text: &str, flags: Flags) -> String {
    let missing = flags.width.saturating_sub(text.chars().count());
    let fill = if flags.zero && !flags.minus { "0" } else { " " };
    if flags.minus {
        format!("{text}{}", fill.repeat(missing))
    } else {
        format!("{}{text}", fill.repeat(missing))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_go_prints() {
        let s = |text: &str| Value::from(text);
        let n = Value::Number;
        for (format, arguments, expected) in [
            ("%s-%d", vec![s("a"), n(7)], "a-7"),
            ("%-6s|%6s|", vec![s("ab"), s("cd")], "ab    |    cd|"),
            ("%05d|%+d|%x", vec![n(-42), n(42), n(255)], "-0042|+42|ff"),
            ("%.2s", vec![s("abcdef")], "ab"),
            ("%q", vec![s("a\"b")], "\"a\\\"b\""),
            (
                "%v %v",
                vec![Value::Bool(true), Value::list(["x"])],
                "true [x]",
            ),
            ("%d", vec![s("x")], "%!d(string=x)"),
            ("%s", vec![n(3)], "%!s(int=3)"),
            ("%d%%", vec![n(3)], "3%"),
            ("%s %s", vec![s("a")], "a %!s(MISSING)"),
            ("a", vec![s("b")], "a%!(EXTRA string=b)"),
            ("%", vec![], "%!(NOVERB)"),
        ] {
            assert_eq!(sprintf(format, &arguments), expected, "{format}");
        }
    }

    #[test]
    fn widths_are_bounded() {
        assert_eq!(
            sprintf("%99999999999999999999s", &[Value::from("x")]).len(),
            MAX_WIDTH
        );
    }
}
