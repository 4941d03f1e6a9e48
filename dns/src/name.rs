//! Domain names: dotted text and wire labels (RFC 1035 §3.1, §4.1.4), and the names of addresses
//! below `in-addr.arpa` (§3.5) and `ip6.arpa` (RFC 3596 §2.5).
//!
//! Text has no dot at its end; the root is the empty text. A dot or backslash inside a label is
//! written `\.` and `\\`, a byte that does not print `\DDD` (RFC 1035 §5.1), so that every wire name has
//! one text and comes back from it. Comparison folds the case of ASCII letters only.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Longest label, in bytes.
pub const LABEL_MAX: usize = 63;
/// Longest name on the wire, in bytes, lengths and the root included.
pub const NAME_MAX: usize = 255;

/// Why a name cannot be read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameError {
    /// An empty label in the middle.
    EmptyLabel,
    /// A broken `\` escape in a text.
    Escape,
    /// A label of more than 63 bytes.
    LabelTooLong,
    /// A name of more than 255 bytes.
    NameTooLong,
    /// A compression pointer that does not go backwards, or a reserved label type.
    Pointer,
    /// The bytes end inside the name.
    Truncated,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EmptyLabel => "a label of the name is empty",
            Self::Escape => "an escape in the name is broken",
            Self::LabelTooLong => "a label of the name is longer than 63 bytes",
            Self::NameTooLong => "the name is longer than 255 bytes",
            Self::Pointer => "a compression pointer of the name is wrong",
            Self::Truncated => "the message ends inside a name",
        })
    }
}

impl core::error::Error for NameError {}

fn push_label(text: &mut String, label: &[u8]) {
    if !text.is_empty() {
        text.push('.');
    }
    for &byte in label {
        match byte {
            b'.' | b'\\' => {
                text.push('\\');
                text.push(char::from(byte));
            }
            0x21..=0x7e => text.push(char::from(byte)),
            _ => {
                text.push('\\');
                for digit in [byte / 100, byte / 10 % 10, byte % 10] {
                    text.push(char::from(b'0' + digit));
                }
            }
        }
    }
}

/// Reads the name that starts at `at` in `message`: its text, and where what follows it starts.
///
/// # Errors
/// Any [`NameError`] but [`NameError::EmptyLabel`] and [`NameError::Escape`]. A pointer has to go
/// backwards, so that reading ends.
pub fn read(message: &[u8], at: usize) -> Result<(String, usize), NameError> {
    let mut text = String::with_capacity(32);
    let mut at = at;
    let mut end = None;
    let mut floor = at;
    let mut length = 1;
    loop {
        let first = usize::from(*message.get(at).ok_or(NameError::Truncated)?);
        match first {
            0 => return Ok((text, end.unwrap_or(at + 1))),
            1..=LABEL_MAX => {
                let label = message
                    .get(at + 1..at + 1 + first)
                    .ok_or(NameError::Truncated)?;
                length += 1 + first;
                if length > NAME_MAX {
                    return Err(NameError::NameTooLong);
                }
                push_label(&mut text, label);
                at += 1 + first;
            }
            0xc0.. => {
                let low = *message.get(at + 1).ok_or(NameError::Truncated)?;
                let target = (first & 0x3f) << 8 | usize::from(low);
                end = end.or(Some(at + 2));
                if target >= floor {
                    return Err(NameError::Pointer);
                }
                floor = target;
                at = target;
            }
            _ => return Err(NameError::Pointer),
        }
    }
}

/// Where what follows the name at `at` starts. Pointers are not followed.
///
/// # Errors
/// [`NameError::Truncated`], [`NameError::Pointer`] for a reserved label type.
pub fn skip(message: &[u8], at: usize) -> Result<usize, NameError> {
    let mut at = at;
    loop {
        let first = usize::from(*message.get(at).ok_or(NameError::Truncated)?);
        match first {
            0 => return Ok(at + 1),
            1..=LABEL_MAX => at += 1 + first,
            0xc0.. if at + 2 <= message.len() => return Ok(at + 2),
            0xc0.. => return Err(NameError::Truncated),
            _ => return Err(NameError::Pointer),
        }
    }
}

/// One byte of a text with its escape resolved; `None` for the dot between two labels.
fn unescape(bytes: &mut core::slice::Iter<'_, u8>, byte: u8) -> Result<Option<u8>, NameError> {
    match byte {
        b'.' => Ok(None),
        b'\\' => {
            let &next = bytes.next().ok_or(NameError::Escape)?;
            if !next.is_ascii_digit() {
                return Ok(Some(next));
            }
            let mut value = u16::from(next - b'0');
            for _ in 0..2 {
                let &digit = bytes.next().ok_or(NameError::Escape)?;
                if !digit.is_ascii_digit() {
                    return Err(NameError::Escape);
                }
                value = value * 10 + u16::from(digit - b'0');
            }
            u8::try_from(value).map(Some).map_err(|_| NameError::Escape)
        }
        other => Ok(Some(other)),
    }
}

/// Appends `text` to `out` as labels, uncompressed. One dot at the end is allowed.
///
/// # Errors
/// [`NameError::EmptyLabel`], [`NameError::Escape`], [`NameError::LabelTooLong`],
/// [`NameError::NameTooLong`]; `out` is as it was then.
pub fn write(text: &str, out: &mut Vec<u8>) -> Result<(), NameError> {
    let start = out.len();
    let result = write_labels(text, out, start);
    if result.is_err() {
        out.truncate(start);
    }
    result
}

fn write_labels(text: &str, out: &mut Vec<u8>, start: usize) -> Result<(), NameError> {
    if text.is_empty() || text == "." {
        out.push(0);
        return Ok(());
    }
    let mut head = out.len();
    out.push(0);
    let mut bytes = text.as_bytes().iter();
    while let Some(&byte) = bytes.next() {
        if let Some(byte) = unescape(&mut bytes, byte)? {
            out.push(byte);
            continue;
        }
        close_label(out, head)?;
        head = out.len();
        out.push(0);
    }
    // The last label; it is empty, and its length the root's, if the text ends in a dot.
    if out.len() > head + 1 {
        close_label(out, head)?;
        out.push(0);
    }
    if out.len() - start > NAME_MAX {
        return Err(NameError::NameTooLong);
    }
    Ok(())
}

fn close_label(out: &mut [u8], head: usize) -> Result<(), NameError> {
    match out.len() - head - 1 {
        0 => Err(NameError::EmptyLabel),
        length @ 1..=LABEL_MAX => {
            out[head] = length as u8;
            Ok(())
        }
        _ => Err(NameError::LabelTooLong),
    }
}

/// `name` without the dot at its end.
#[must_use]
pub fn trim(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

/// The same name: case and a dot at the end do not count.
#[must_use]
pub fn same(a: &str, b: &str) -> bool {
    trim(a).eq_ignore_ascii_case(trim(b))
}

/// The name below which the PTR record of `address` is kept.
#[must_use]
pub fn reverse(address: IpAddr) -> String {
    use core::fmt::Write as _;
    let mut text = String::with_capacity(72);
    match address {
        IpAddr::V4(v4) => {
            for octet in v4.octets().iter().rev() {
                // Writing into a String cannot fail.
                let _ = write!(text, "{octet}.");
            }
            text.push_str("in-addr.arpa");
        }
        IpAddr::V6(v6) => {
            for octet in v6.octets().iter().rev() {
                let _ = write!(text, "{:x}.{:x}.", octet & 0xf, octet >> 4);
            }
            text.push_str("ip6.arpa");
        }
    }
    text
}

/// The address that a name below `in-addr.arpa` or `ip6.arpa` stands for; `None` for every other name,
/// and for names of whole zones.
#[must_use]
pub fn address_of(name: &str) -> Option<IpAddr> {
    let name = trim(name);
    if let Some(head) = strip_suffix_ignore_case(name, ".in-addr.arpa") {
        let mut octets = [0; 4];
        let mut labels = head.split('.');
        for slot in octets.iter_mut().rev() {
            let label = labels.next()?;
            let plain = label.len() == 1 || !label.starts_with(['0', '+']);
            *slot = label.parse().ok().filter(|_| plain)?;
        }
        return labels
            .next()
            .is_none()
            .then(|| Ipv4Addr::from(octets).into());
    }
    let head = strip_suffix_ignore_case(name, ".ip6.arpa")?;
    let mut octets = [0_u8; 16];
    let mut labels = head.split('.');
    for slot in octets.iter_mut().rev() {
        let low = nibble(labels.next()?)?;
        *slot = nibble(labels.next()?)? << 4 | low;
    }
    labels
        .next()
        .is_none()
        .then(|| Ipv6Addr::from(octets).into())
}

fn strip_suffix_ignore_case<'a>(name: &'a str, suffix: &str) -> Option<&'a str> {
    let at = name.len().checked_sub(suffix.len())?;
    let tail = name.get(at..)?;
    tail.eq_ignore_ascii_case(suffix).then(|| &name[..at])
}

fn nibble(label: &str) -> Option<u8> {
    let mut chars = label.chars();
    let digit = chars.next()?.to_digit(16)?;
    chars.next().is_none().then_some(digit as u8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn text_and_wire() {
        let mut wire = Vec::new();
        write("Db.My_net", &mut wire).expect("a name");
        assert_eq!(wire, b"\x02Db\x06My_net\0");
        assert_eq!(read(&wire, 0), Ok(("Db.My_net".to_owned(), wire.len())));
        wire.clear();
        write(r"a\.b\\\001.c.", &mut wire).expect("a name");
        assert_eq!(wire, b"\x05a.b\\\x01\x01c\0");
        assert_eq!(
            read(&wire, 0).map(|(text, _)| text),
            Ok(r"a\.b\\\001.c".to_owned())
        );
    }

    #[test]
    fn limits_of_rfc_1035() {
        let mut wire = vec![7];
        let label63 = "a".repeat(63);
        assert_eq!(
            write(&format!("{label63}a"), &mut wire),
            Err(NameError::LabelTooLong)
        );
        assert_eq!(write("a..b", &mut wire), Err(NameError::EmptyLabel));
        assert_eq!(write(".a", &mut wire), Err(NameError::EmptyLabel));
        assert_eq!(write(r"a\25", &mut wire), Err(NameError::Escape));
        assert_eq!(write(r"a\256", &mut wire), Err(NameError::Escape));
        // Three labels of 63 and one of 61: 3 * 64 + 62 + 1 = 255.
        let longest = format!("{label63}.{label63}.{label63}.{}", "a".repeat(61));
        assert_eq!(write(&longest, &mut wire), Ok(()));
        assert_eq!(wire.len(), 1 + NAME_MAX);
        wire.truncate(1);
        assert_eq!(
            write(&format!("{longest}a"), &mut wire),
            Err(NameError::NameTooLong)
        );
        assert_eq!(wire, [7]);
    }

    #[test]
    fn pointers_go_backwards_only() {
        let message = b"\x01a\0\x01b\xc0\x00\xc0\x03\xc0\x09\x40";
        assert_eq!(read(message, 7), Ok(("b.a".to_owned(), 9)));
        assert_eq!(read(message, 9), Err(NameError::Pointer));
        assert_eq!(read(message, 11), Err(NameError::Pointer));
        assert_eq!(read(message, 12), Err(NameError::Truncated));
        assert_eq!(skip(message, 3), Ok(7));
    }

    #[test]
    fn names_of_addresses() {
        let cases = [
            ("172.18.0.3", "3.0.18.172.in-addr.arpa"),
            (
                "fd00::1:2",
                "2.0.0.0.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa",
            ),
        ];
        for (address, name) in cases {
            let address: IpAddr = address.parse().expect("an address");
            assert_eq!(reverse(address), name);
            assert_eq!(address_of(name), Some(address));
            assert_eq!(
                address_of(&format!("{}.", name.to_uppercase())),
                Some(address)
            );
        }
        for name in [
            "0.18.172.in-addr.arpa",
            "1.3.0.18.172.in-addr.arpa",
            "03.0.18.172.in-addr.arpa",
            "256.0.18.172.in-addr.arpa",
            "in-addr.arpa",
            "0.ip6.arpa",
            "ü.in-addr.arpa",
            "",
        ] {
            assert_eq!(address_of(name), None, "{name}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_read_or_fail(bytes in proptest::collection::vec(any::<u8>(), 0..300), at in 0_usize..310) {
            let _ = skip(&bytes, at);
            if let Ok((text, _)) = read(&bytes, at) {
                let mut wire = Vec::new();
                write(&text, &mut wire).expect("what was read can be written");
                prop_assert_eq!(read(&wire, 0).map(|(again, _)| again), Ok(text));
            }
        }

        #[test]
        fn any_text_writes_or_fails(text in ".{0,80}") {
            let mut wire = Vec::new();
            if write(&text, &mut wire).is_ok() {
                prop_assert_eq!(skip(&wire, 0), Ok(wire.len()));
            }
            let _ = address_of(&text);
        }
    }
}
