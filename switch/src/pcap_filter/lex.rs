//! The words of a filter expression.
//!
//! As libpcap's scanner reads them: the longest word wins, so that `80-90` is a name, `1:2:3:4:5:6` an
//! Ethernet address and `tcp-syn` a number; `\` makes a name of a keyword.

use core::net::Ipv6Addr;

use super::error::FilterError;

/// A protocol that qualifies, or is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Link,
    Ip,
    Ip6,
    Arp,
    Rarp,
    Tcp,
    Udp,
    Sctp,
    Icmp,
    Icmp6,
    Igmp,
    Igrp,
    Pim,
    Vrrp,
    Carp,
    Ah,
    Esp,
}

impl Protocol {
    /// As it is written.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Link => "ether",
            Self::Ip => "ip",
            Self::Ip6 => "ip6",
            Self::Arp => "arp",
            Self::Rarp => "rarp",
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
            Self::Icmp => "icmp",
            Self::Icmp6 => "icmp6",
            Self::Igmp => "igmp",
            Self::Igrp => "igrp",
            Self::Pim => "pim",
            Self::Vrrp => "vrrp",
            Self::Carp => "carp",
            Self::Ah => "ah",
            Self::Esp => "esp",
        }
    }
}

/// A word with a meaning of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    And,
    Broadcast,
    Dst,
    Greater,
    Host,
    Len,
    Less,
    Mask,
    Multicast,
    Net,
    Not,
    Or,
    Port,
    PortRange,
    Proto,
    Src,
    Vlan,
}

/// One word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Key(Key),
    Protocol(Protocol),
    Number(u32),
    /// Two to four numbers with dots in between.
    Dotted(String),
    Ip6(Ipv6Addr),
    Mac([u8; 6]),
    Name(String),
    /// An operator, a parenthesis, a bracket, a colon.
    Sign(&'static str),
}

/// A word and where it begins, in characters from the start, counted from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) token: Token,
    pub(super) column: usize,
    /// As it is written.
    pub(super) text: String,
}

const SIGNS: &[&str] = &[
    ">=", "<=", "!=", "==", "<<", ">>", "&&", "||", "+", "-", "*", "/", "%", ":", "[", "]", "!",
    "<", ">", "(", ")", "&", "|", "^", "=",
];

/// Words of libpcap that mean something to it and nothing here.
const ELSEWHERE: &[&str] = &[
    "aarp",
    "action",
    "addr1",
    "addr2",
    "addr3",
    "addr4",
    "address1",
    "address2",
    "address3",
    "address4",
    "atalk",
    "bcc",
    "byte",
    "clnp",
    "connectmsg",
    "csnp",
    "decnet",
    "dir",
    "direction",
    "dpc",
    "es-is",
    "esis",
    "fisu",
    "gateway",
    "geneve",
    "hdpc",
    "hfisu",
    "hlssu",
    "hmsu",
    "hopc",
    "hsio",
    "hsls",
    "ifindex",
    "ifname",
    "iih",
    "ilmic",
    "inbound",
    "ipx",
    "is-is",
    "isis",
    "iso",
    "l1",
    "l2",
    "lane",
    "lat",
    "llc",
    "lsp",
    "lssu",
    "lsu",
    "metac",
    "metaconnect",
    "mopdl",
    "moprc",
    "mpls",
    "msu",
    "netbeui",
    "oam",
    "oamf4",
    "oamf4ec",
    "oamf4sc",
    "on",
    "opc",
    "outbound",
    "pppoed",
    "pppoes",
    "protochain",
    "psnp",
    "ra",
    "radio",
    "reason",
    "rnr",
    "rset",
    "rulenum",
    "ruleset",
    "sc",
    "sca",
    "sio",
    "sls",
    "snp",
    "srnr",
    "stp",
    "subrulenum",
    "subtype",
    "ta",
    "type",
    "vci",
    "vpi",
];

/// The words of `text`, in order.
///
/// # Errors
/// The first that is none.
pub(super) fn words(text: &str) -> Result<Vec<Word>, FilterError> {
    let mut words = Vec::new();
    let (mut rest, mut column) = (text, 1);
    loop {
        let trimmed = rest.trim_start_matches([' ', '\t', '\r', '\n']);
        column += rest.len() - trimmed.len();
        if trimmed.is_empty() {
            return Ok(words);
        }
        let (token, length) = next(trimmed, column)?;
        let (word, after) = trimmed.split_at(length);
        words.push(Word {
            token,
            column,
            text: word.to_owned(),
        });
        column += word.chars().count();
        rest = after;
    }
}

/// The first word and its bytes.
fn next(text: &str, column: usize) -> Result<(Token, usize), FilterError> {
    if let Some(escaped) = text.strip_prefix('\\') {
        let end = escaped.find([' ', '!', '(', ')', '\n', '\t']);
        let name = &escaped[..end.unwrap_or(escaped.len())];
        if name.is_empty() {
            return Err(FilterError::syntax(column, "a name after \\"));
        }
        return Ok((Token::Name(name.to_owned()), name.len() + 1));
    }
    let name = name_length(text);
    let mac = mac(text);
    let ip6 = ip6(text);
    let number = number_length(text);
    let dotted = dotted_length(text);
    let longest = [
        name,
        mac.map_or(0, |(_, length)| length),
        ip6.map_or(0, |(_, length)| length),
        number,
        dotted,
    ]
    .into_iter()
    .max()
    .unwrap_or(0);
    if longest == 0 {
        return sign(text, column);
    }
    let bogus = bogus_mac_length(text);
    if bogus > longest {
        let message = format!("bogus ethernet address {}", &text[..bogus]);
        return Err(FilterError::new(column, message));
    }
    let word = &text[..longest];
    let token = if name == longest
        && let Some(known) = known(word, column)?
    {
        known
    } else if let Some((address, _)) = mac.filter(|&(_, length)| length == longest) {
        Token::Mac(address)
    } else if number == longest {
        Token::Number(value(word, column)?)
    } else if dotted == longest {
        Token::Dotted(word.to_owned())
    } else if let Some((address, _)) = ip6.filter(|&(_, length)| length == longest) {
        Token::Ip6(address)
    } else {
        Token::Name(word.to_owned())
    };
    Ok((token, longest))
}

fn sign(text: &str, column: usize) -> Result<(Token, usize), FilterError> {
    let sign = SIGNS.iter().find(|sign| text.starts_with(**sign));
    let Some(&sign) = sign else {
        return Err(FilterError::syntax(column, "a word, a number or a sign"));
    };
    let token = match sign {
        "&&" => Token::Key(Key::And),
        "||" => Token::Key(Key::Or),
        "!" => Token::Key(Key::Not),
        "==" => Token::Sign("="),
        sign => Token::Sign(sign),
    };
    Ok((token, sign.len()))
}

/// Bytes of the name at the start: letters and digits, and in between `-`, `_` and `.`.
fn name_length(text: &str) -> usize {
    let bytes = text.as_bytes();
    if !bytes.first().is_some_and(u8::is_ascii_alphanumeric) {
        return 0;
    }
    let part = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    let run = bytes.iter().take_while(|byte| part(byte)).count();
    let last = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'.';
    bytes[..run].iter().rposition(last).map_or(1, |at| at + 1)
}

/// Bytes of the number at the start, decimal, octal or hexadecimal.
fn number_length(text: &str) -> usize {
    let bytes = text.as_bytes();
    if let [b'0', b'x' | b'X', rest @ ..] = bytes {
        let digits = rest
            .iter()
            .take_while(|byte| byte.is_ascii_hexdigit())
            .count();
        if digits > 0 {
            return 2 + digits;
        }
    }
    bytes
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count()
}

fn value(word: &str, column: usize) -> Result<u32, FilterError> {
    let hexadecimal = word.strip_prefix("0x").or_else(|| word.strip_prefix("0X"));
    let (digits, base) = match hexadecimal {
        Some(digits) => (digits, 16),
        None if word.len() > 1 && word.starts_with('0') => (&word[1..], 8),
        None => (word, 10),
    };
    if base == 8 && digits.contains(['8', '9']) {
        let message = format!("number {word} contains non-octal digit");
        return Err(FilterError::new(column, message));
    }
    u32::from_str_radix(digits, base)
        .map_err(|_| FilterError::new(column, format!("number {word} overflows 32 bits")))
}

/// Bytes of the two to four numbers with dots in between at the start.
fn dotted_length(text: &str) -> usize {
    let (mut length, mut parts) = (0, 0);
    while parts < 4 {
        let skipped = usize::from(parts > 0);
        let Some(rest) = text.get(length + skipped..) else {
            break;
        };
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        if digits == 0 || (parts > 0 && text.as_bytes()[length] != b'.') {
            break;
        }
        length += skipped + digits;
        parts += 1;
    }
    if parts < 2 { 0 } else { length }
}

/// The Ethernet address at the start and its bytes.
fn mac(text: &str) -> Option<([u8; 6], usize)> {
    let groups = |separator: u8, count: usize, digits: core::ops::RangeInclusive<usize>| {
        let (bytes, mut at, mut all) = (text.as_bytes(), 0, Vec::new());
        for group in 0..count {
            if group > 0 {
                if bytes.get(at) != Some(&separator) {
                    return None;
                }
                at += 1;
            }
            let run = bytes[at..]
                .iter()
                .take(*digits.end())
                .take_while(|byte| byte.is_ascii_hexdigit())
                .count();
            if !digits.contains(&run) {
                return None;
            }
            all.push(u64::from_str_radix(&text[at..at + run], 16).ok()?);
            at += run;
        }
        let bits = 48 / count;
        let value = all
            .into_iter()
            .fold(0, |value, group| value << bits | group);
        let address: [u8; 6] = *value.to_be_bytes().last_chunk()?;
        Some((address, at))
    };
    [
        groups(b':', 6, 1..=2),
        groups(b'-', 6, 1..=2),
        groups(b'.', 6, 1..=2),
        groups(b'.', 3, 4..=4),
        groups(b' ', 1, 12..=12),
    ]
    .into_iter()
    .flatten()
    .max_by_key(|&(_, length)| length)
}

/// Bytes of two or more groups at the start that each end in colons: neither kind of address.
fn bogus_mac_length(text: &str) -> usize {
    let (bytes, mut at, mut groups) = (text.as_bytes(), 0, 0);
    loop {
        let digits = bytes[at..]
            .iter()
            .take_while(|byte| byte.is_ascii_hexdigit());
        let digits = digits.count();
        let colons = bytes[at + digits..]
            .iter()
            .take_while(|&&byte| byte == b':');
        let colons = colons.count();
        if !(1..=2).contains(&digits) || colons == 0 {
            return if groups < 2 { 0 } else { at };
        }
        at += digits + colons;
        groups += 1;
    }
}

/// The IPv6 address at the start and its bytes.
fn ip6(text: &str) -> Option<(Ipv6Addr, usize)> {
    let part = |byte: &u8| byte.is_ascii_hexdigit() || b":.".contains(byte);
    let run = text.bytes().take(46).take_while(part).count();
    if !text[..run].contains(':') {
        return None;
    }
    (2..=run)
        .rev()
        .find_map(|length| Some((text[..length].parse().ok()?, length)))
}

/// The meaning of a keyword or of the name of a number; `None` for any other name.
fn known(word: &str, column: usize) -> Result<Option<Token>, FilterError> {
    let token = match word {
        "and" => Token::Key(Key::And),
        "broadcast" => Token::Key(Key::Broadcast),
        "dst" => Token::Key(Key::Dst),
        "greater" => Token::Key(Key::Greater),
        "host" => Token::Key(Key::Host),
        "len" | "length" => Token::Key(Key::Len),
        "less" => Token::Key(Key::Less),
        "mask" => Token::Key(Key::Mask),
        "multicast" => Token::Key(Key::Multicast),
        "net" => Token::Key(Key::Net),
        "not" => Token::Key(Key::Not),
        "or" => Token::Key(Key::Or),
        "port" => Token::Key(Key::Port),
        "portrange" => Token::Key(Key::PortRange),
        "proto" => Token::Key(Key::Proto),
        "src" => Token::Key(Key::Src),
        "vlan" => Token::Key(Key::Vlan),
        "ether" | "link" | "ppp" | "slip" | "fddi" | "tr" | "wlan" => {
            Token::Protocol(Protocol::Link)
        }
        "ip" => Token::Protocol(Protocol::Ip),
        "ip6" => Token::Protocol(Protocol::Ip6),
        "arp" => Token::Protocol(Protocol::Arp),
        "rarp" => Token::Protocol(Protocol::Rarp),
        "tcp" => Token::Protocol(Protocol::Tcp),
        "udp" => Token::Protocol(Protocol::Udp),
        "sctp" => Token::Protocol(Protocol::Sctp),
        "icmp" => Token::Protocol(Protocol::Icmp),
        "icmp6" => Token::Protocol(Protocol::Icmp6),
        "igmp" => Token::Protocol(Protocol::Igmp),
        "igrp" => Token::Protocol(Protocol::Igrp),
        "pim" => Token::Protocol(Protocol::Pim),
        "vrrp" => Token::Protocol(Protocol::Vrrp),
        "carp" => Token::Protocol(Protocol::Carp),
        "ah" => Token::Protocol(Protocol::Ah),
        "esp" => Token::Protocol(Protocol::Esp),
        _ => return constant_or_elsewhere(word, column),
    };
    Ok(Some(token))
}

fn constant_or_elsewhere(word: &str, column: usize) -> Result<Option<Token>, FilterError> {
    if let Some(value) = constant(word) {
        return Ok(Some(Token::Number(value)));
    }
    if ELSEWHERE.contains(&word) {
        let message = format!("'{word}' is not supported here");
        return Err(FilterError::new(column, message));
    }
    Ok(None)
}

/// Numbers that have names: fields, and values of fields.
fn constant(word: &str) -> Option<u32> {
    Some(match word {
        "icmptype" | "icmp6type" | "icmp-echoreply" => 0,
        "icmpcode" | "icmp6code" | "tcp-fin" | "icmp6-destinationunreach" => 1,
        "tcp-syn" | "icmp6-packettoobig" => 2,
        "icmp-unreach" | "icmp6-timeexceeded" => 3,
        "tcp-rst" | "icmp-sourcequench" | "icmp6-parameterproblem" => 4,
        "icmp-redirect" => 5,
        "tcp-push" | "icmp-echo" => 8,
        "icmp-routeradvert" => 9,
        "icmp-routersolicit" => 10,
        "icmp-timxceed" => 11,
        "icmp-paramprob" => 12,
        "tcpflags" | "icmp-tstamp" => 13,
        "icmp-tstampreply" => 14,
        "icmp-ireq" => 15,
        "tcp-ack" | "icmp-ireqreply" => 16,
        "icmp-maskreq" => 17,
        "icmp-maskreply" => 18,
        "tcp-urg" => 0x20,
        "tcp-ece" => 0x40,
        "tcp-cwr" => 0x80,
        _ => return icmp6(word),
    })
}

fn icmp6(word: &str) -> Option<u32> {
    Some(match word.strip_prefix("icmp6-")? {
        "echo" => 128,
        "echoreply" => 129,
        "multicastlistenerquery" => 130,
        "multicastlistenerreportv1" => 131,
        "multicastlistenerdone" => 132,
        "routersolicit" => 133,
        "routeradvert" => 134,
        "neighborsolicit" => 135,
        "neighboradvert" => 136,
        "redirect" => 137,
        "routerrenum" => 138,
        "nodeinformationquery" => 139,
        "nodeinformationresponse" => 140,
        "ineighbordiscoverysolicit" => 141,
        "ineighbordiscoveryadvert" => 142,
        "multicastlistenerreportv2" => 143,
        "homeagentdiscoveryrequest" => 144,
        "homeagentdiscoveryreply" => 145,
        "mobileprefixsolicit" => 146,
        "mobileprefixadvert" => 147,
        "certpathsolicit" => 148,
        "certpathadvert" => 149,
        "multicastrouteradvert" => 151,
        "multicastroutersolicit" => 152,
        "multicastrouterterm" => 153,
        _ => return None,
    })
}
