//! Words → an expectation.

use core::net::IpAddr;
use core::ops::Range;
use std::collections::BTreeSet;

use indexmap::IndexSet;

use super::lex::{Word, words};
use super::names::{Names, place};
use super::{Claim, Event, Expectation, Party, Probe, Sees, Target, Verdict, Whom, Wrong};
use crate::error::ErrorKind;
use crate::naming;
use crate::near;
use crate::node::Place;

type Read<T> = Result<T, Wrong>;

/// Reads one sentence.
pub(crate) fn sentence(text: &str, names: &Names<'_>) -> Read<Expectation> {
    let mut parser = Parser::new(text, names)?;
    let claim = parser.claim()?;
    let mut expectation = Expectation {
        at: Place::default(),
        text: text.to_owned(),
        claim,
        when: Vec::new(),
        resolve_once: false,
    };
    while let Some(word) = parser.next() {
        parser.tail(&word, &mut expectation)?;
    }
    match check(&expectation) {
        Ok(()) => Ok(expectation),
        Err(message) => Err(wrong(0..text.trim_end().len(), message)),
    }
}

/// A list of parties that stands alone, as in a map.
pub(crate) fn parties(text: &str, names: &Names<'_>) -> Read<Vec<Party>> {
    alone(text, names, Parser::parties)
}

/// A list of targets that stands alone.
pub(crate) fn targets(text: &str, names: &Names<'_>) -> Read<Vec<Target>> {
    alone(text, names, Parser::targets)
}

/// What follows `after`, alone.
pub(crate) fn after(text: &str, names: &Names<'_>) -> Read<Vec<Event>> {
    alone(text, names, Parser::after)
}

/// What follows `before`, alone.
pub(crate) fn before(text: &str, names: &Names<'_>) -> Read<Vec<Event>> {
    alone(text, names, Parser::before)
}

/// The key of a network, alone.
pub(crate) fn network(text: &str, names: &Names<'_>) -> Read<String> {
    alone(text, names, Parser::network)
}

/// `client`, `gateway` or an address, alone.
pub(crate) fn sees(text: &str, names: &Names<'_>) -> Read<Sees> {
    alone(text, names, Parser::sees)
}

/// A name to look up, alone.
pub(crate) fn name(text: &str, names: &Names<'_>) -> Read<String> {
    alone(text, names, Parser::name)
}

/// `allow` or `deny`, alone.
pub(crate) fn verdict(text: &str, names: &Names<'_>) -> Read<Verdict> {
    alone(text, names, |parser| {
        let word = parser.need("`allow` or `deny`")?;
        match word.text.as_str() {
            "allow" => Ok(Verdict::Allow),
            "deny" => Ok(Verdict::Deny),
            text => Err(wrong(
                word.range,
                format!("a verdict is `allow` or `deny`, not `{text}`"),
            )),
        }
    })
}

fn alone<'n, T>(
    text: &str,
    names: &'n Names<'n>,
    read: impl Fn(&mut Parser<'n>) -> Read<T>,
) -> Read<T> {
    let mut parser = Parser::new(text, names)?;
    let value = read(&mut parser)?;
    match parser.next() {
        None => Ok(value),
        Some(word) => Err(wrong(
            word.range,
            format!("`{}` is not understood here", word.text),
        )),
    }
}

/// What can only be told once the whole expectation is read.
pub(crate) fn check(expectation: &Expectation) -> Result<(), String> {
    match &expectation.claim {
        Claim::Resolves { from, .. } => {
            let place = |party: &&Party| matches!(party, Party::Lan | Party::Internet);
            match from.iter().find(place) {
                Some(party) => Err(format!("{party} does not ask Docker for names")),
                None => Ok(()),
            }
        }
        Claim::Reach {
            verdict: Verdict::Deny,
            via,
            sees,
            ..
        } if via.is_some() || sees.is_some() => {
            let word = if via.is_some() { "via" } else { "sees" };
            Err(format!("`{word}` does not go with `deny`"))
        }
        _ => Ok(()),
    }
}

pub(super) fn wrong(range: Range<usize>, message: impl Into<String>) -> Wrong {
    Wrong {
        kind: ErrorKind::Invalid,
        range,
        message: message.into(),
        hint: None,
    }
}

fn undefined(range: Range<usize>, message: impl Into<String>, hint: Option<String>) -> Wrong {
    Wrong {
        kind: ErrorKind::Undefined,
        hint,
        ..wrong(range, message)
    }
}

impl Wrong {
    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

fn last_letter(text: &str) -> Range<usize> {
    let text = text.trim_end();
    let last = text.char_indices().next_back();
    last.map_or(0, |(at, _)| at)..text.len()
}

struct Parser<'n> {
    words: Vec<Word>,
    at: usize,
    /// Where the last letter of the sentence stands, in bytes.
    last: Range<usize>,
    names: &'n Names<'n>,
}

impl<'n> Parser<'n> {
    fn new(text: &str, names: &'n Names<'n>) -> Read<Self> {
        Ok(Self {
            words: words(text)?,
            at: 0,
            last: last_letter(text),
            names,
        })
    }

    fn peek(&self) -> Option<&Word> {
        self.words.get(self.at)
    }

    fn next(&mut self) -> Option<Word> {
        let word = self.peek().cloned();
        self.at += usize::from(word.is_some());
        word
    }

    /// Takes the next word if it is this one.
    fn take(&mut self, keyword: &str) -> bool {
        let there = self.peek().is_some_and(|word| word.is(keyword));
        self.at += usize::from(there);
        there
    }

    /// The next word, or the complaint that `what` is missing.
    fn need(&mut self, what: &str) -> Read<Word> {
        let last = self.last.clone();
        self.next()
            .ok_or_else(|| wrong(last, format!("expected {what} after this")))
    }

    fn keyword(&mut self, keyword: &str) -> Read<()> {
        let word = self.need(&format!("`{keyword}`"))?;
        if word.is(keyword) {
            return Ok(());
        }
        let message = format!("expected `{keyword}`, not `{}`", word.text);
        Err(wrong(word.range, message))
    }

    fn claim(&mut self) -> Read<Claim> {
        if self.words.is_empty() {
            return Err(
                wrong(0..0, "an expectation is empty").hint("write one as `web -> db:5432 allow`")
            );
        }
        let only = self.peek().is_some_and(|word| word.is("only"))
            && self
                .words
                .get(1)
                .is_some_and(|word| !word.is("->") && !word.is(","));
        self.at += usize::from(only);
        let from = self.parties()?;
        let verb = self.need("`->`, `resolves` or `does not resolve`")?;
        match verb.text.as_str() {
            "->" if only => Ok(Claim::Only {
                from,
                to: self.targets()?,
            }),
            "->" => self.reach(from),
            "resolves" if !only => self.resolves(from, false),
            "does" if !only => {
                self.keyword("not")?;
                self.keyword("resolve")?;
                self.resolves(from, true)
            }
            text => {
                let message = format!("expected `->` or `resolves`, not `{text}`");
                let wrong = wrong(verb.range, message);
                Err(match text {
                    "=>" | "-->" | "→" | "to" | ">" | "reaches" => wrong.hint("write `->`"),
                    _ => wrong.hint("several names are separated by commas"),
                })
            }
        }
    }

    fn reach(&mut self, from: Vec<Party>) -> Read<Claim> {
        let to = self.targets()?;
        let (mut verdict, mut via, mut sees) = (None, None, None);
        let twice =
            |word: &Word| wrong(word.range.clone(), format!("`{}` stands twice", word.text));
        while let Some(word) = self.peek().cloned() {
            match word.text.as_str() {
                "allow" | "deny" if verdict.is_some() => {
                    return Err(wrong(word.range, "the verdict stands twice"));
                }
                "allow" => verdict = Some(Verdict::Allow),
                "deny" => verdict = Some(Verdict::Deny),
                "via" | "sees" => {
                    self.at += 1;
                    if (word.is("via") && via.is_some()) || (word.is("sees") && sees.is_some()) {
                        return Err(twice(&word));
                    }
                    match word.is("via") {
                        true => via = Some(self.network()?),
                        false => sees = Some(self.sees()?),
                    }
                    continue;
                }
                _ => break,
            }
            self.at += 1;
        }
        let Some(verdict) = verdict else {
            let range = self
                .peek()
                .map_or(self.last.end..self.last.end, |w| w.range.clone());
            return Err(wrong(range, "says neither `allow` nor `deny`")
                .hint("write `web -> db:5432 allow` or `web -> db:5432 deny`"));
        };
        Ok(Claim::Reach {
            from,
            to,
            verdict,
            via,
            sees,
        })
    }

    fn resolves(&mut self, from: Vec<Party>, not: bool) -> Read<Claim> {
        let name = self.name()?;
        let mut count = not.then_some(0);
        if !not && self.take("to") {
            count = Some(self.count()?);
        }
        let on = match self.take("on") {
            true => Some(self.network()?),
            false => None,
        };
        Ok(Claim::Resolves {
            from,
            name,
            count,
            on,
        })
    }

    fn name(&mut self) -> Read<String> {
        let word = self.need("a name")?;
        let name = word.text.trim_end_matches('.').to_owned();
        if is_host_name(&name) && word.rest.is_empty() {
            return Ok(name);
        }
        let message = format!("`{}` is no name that can be looked up", word.text);
        Err(wrong(word.range, message))
    }

    fn count(&mut self) -> Read<u32> {
        let word = self.need("a number of addresses")?;
        let count = word.text.parse().ok().filter(|_| is_digits(&word.text));
        let Some(count) = count else {
            let message = format!("`{}` is no number of addresses", word.text);
            return Err(wrong(word.range, message));
        };
        let unit = self.need("`address` or `addresses`")?;
        match unit.is("address") || unit.is("addresses") {
            true => Ok(count),
            false => Err(wrong(unit.range, "expected `address` or `addresses`")),
        }
    }

    fn sees(&mut self) -> Read<Sees> {
        let word = self.need("`client`, `gateway` or an address")?;
        match word.text.as_str() {
            "client" => Ok(Sees::Client),
            "gateway" => Ok(Sees::Gateway),
            text => match address(text) {
                Some(address) => Ok(Sees::Address(address)),
                None => {
                    let message =
                        format!("a server sees `client`, `gateway` or an address, not `{text}`");
                    let hint = near::hint(text, ["client", "gateway"]);
                    let wrong = wrong(word.range, message);
                    Err(Wrong { hint, ..wrong })
                }
            },
        }
    }

    fn network(&mut self) -> Read<String> {
        let word = self.need("a network")?;
        if self.names.networks.contains(word.text.as_str()) && word.rest.is_empty() {
            return Ok(word.text);
        }
        let hint = near::hint(&word.text, self.names.networks.iter().copied()).or_else(|| {
            let keys: Vec<&str> = self.names.networks.iter().copied().take(8).collect();
            (!keys.is_empty()).then(|| format!("its networks are: {}", keys.join(", ")))
        });
        let message = format!("the project has no network `{}`", word.text);
        Err(undefined(word.range, message, hint))
    }

    /// An event or `resolve once`, of which `word` is the first word.
    fn tail(&mut self, word: &Word, expectation: &mut Expectation) -> Read<()> {
        match word.text.as_str() {
            "after" => expectation.when.extend(self.after()?),
            "before" => expectation.when.extend(self.before()?),
            "resolve" | "resolve:" => {
                self.keyword("once")?;
                expectation.resolve_once = true;
            }
            text => {
                let known = ["after", "before", "resolve", "allow", "deny", "via", "sees"];
                let message = format!("`{text}` is not understood here");
                let hint = match (&expectation.claim, text) {
                    (Claim::Only { .. }, "allow" | "deny") => {
                        Some("`only` says it: these are allowed, nobody else is".to_owned())
                    }
                    _ => near::hint(text, known),
                };
                let wrong = wrong(word.range.clone(), message);
                return Err(Wrong { hint, ..wrong });
            }
        }
        Ok(())
    }

    fn after(&mut self) -> Read<Vec<Event>> {
        let word = self.need("`recreate` or `down`")?;
        match word.text.as_str() {
            "recreate" => {
                let services = self.services()?;
                let event = match self.take("moved") {
                    true => Event::RecreateMoved,
                    false => Event::Recreate,
                };
                Ok(services.into_iter().map(event).collect())
            }
            "down" => Ok(self.services()?.into_iter().map(Event::Down).collect()),
            text => {
                let hint = near::hint(text, ["recreate", "down"]);
                let message = format!("`after` needs `recreate` or `down`, not `{text}`");
                let wrong = wrong(word.range, message);
                Err(Wrong { hint, ..wrong })
            }
        }
    }

    fn before(&mut self) -> Read<Vec<Event>> {
        let services = self.services()?;
        self.keyword("is")?;
        self.keyword("up")?;
        Ok(services.into_iter().map(Event::BeforeUp).collect())
    }

    /// A service, or those of a group.
    fn services(&mut self) -> Read<Vec<String>> {
        let word = self.need("a service")?;
        let range = word.range.clone();
        let service = |party| match party {
            Party::Service(name) => Some(name),
            _ => None,
        };
        let services: Option<Vec<String>> = self.party(word)?.into_iter().map(service).collect();
        services.ok_or_else(|| wrong(range, "this happens to services only"))
    }

    fn parties(&mut self) -> Read<Vec<Party>> {
        let mut parties: IndexSet<Party> = IndexSet::new();
        let mut seen = BTreeSet::new();
        loop {
            let word = self.need("a service, a group or a place")?;
            if seen.insert(word.text.clone()) || word.quoted {
                parties.extend(self.party(word)?);
            }
            if !self.take(",") {
                return Ok(parties.into_iter().collect());
            }
        }
    }

    fn party(&self, word: Word) -> Read<Vec<Party>> {
        if !word.rest.is_empty() {
            return Err(wrong(word.range, "a port does not belong here"));
        }
        match self.known(&word.text, word.quoted) {
            Some(parties) => Ok(parties),
            None => Err(self.unknown(&word.text, word.range)),
        }
    }

    /// Those that a name stands for.
    fn known(&self, name: &str, quoted: bool) -> Option<Vec<Party>> {
        if let Some(parties) = place(name).filter(|_| !quoted) {
            return Some(parties.to_vec());
        }
        if self.names.services.contains(name) {
            return Some(vec![Party::Service(name.to_owned())]);
        }
        let group = self.names.groups.get(name)?;
        let services = group.services.iter().cloned();
        Some(services.map(Party::Service).collect())
    }

    fn unknown(&self, name: &str, range: Range<usize>) -> Wrong {
        if self.names.inactive.contains(name) {
            let message = format!("service `{name}` is left out: none of its profiles is active");
            return undefined(range, message, Some("name one of its profiles".to_owned()));
        }
        let bare = name.split([':', '/']).next().unwrap_or_default();
        if bare != name && self.known(bare, false).is_some() {
            return wrong(range, "a port does not belong on this side");
        }
        let mut services = self.names.services.iter();
        // The projects of a host have more than one service of a name.
        let ends = |label: &str| label.rsplit_once('/').is_some_and(|(_, own)| own == bare);
        if let Some(label) = services.find(|label| ends(label)) {
            let message = format!("`{name}` does not say of which project it is");
            return undefined(range, message, Some(format!("did you mean `{label}`?")));
        }
        let what = match self.spans() {
            true => "no project of the host has a",
            false => "the project has no",
        };
        let message = format!("{what} service or group `{name}`");
        let hint = near::hint(name, self.names.parties()).or_else(|| {
            let services = &self.names.services;
            let few: Vec<&str> = services.iter().copied().take(8).collect();
            let more = if services.len() > few.len() {
                ", …"
            } else {
                ""
            };
            (!few.is_empty()).then(|| format!("its services are: {}{more}", few.join(", ")))
        });
        undefined(range, message, hint)
    }

    fn targets(&mut self) -> Read<Vec<Target>> {
        let mut targets: IndexSet<Target> = IndexSet::new();
        let mut seen = BTreeSet::new();
        loop {
            let word = self.need("a target such as `db:5432`")?;
            if seen.insert(word.text.clone()) || word.quoted {
                targets.extend(self.target(&word)?);
            }
            if !self.take(",") {
                return Ok(targets.into_iter().collect());
            }
        }
    }

    /// Something that can be asked for.
    fn is_whom(&self, text: &str) -> bool {
        let name = || text.contains('.') || self.names.hosts.contains(text);
        self.known(text, false).is_some() || address(text).is_some() || name()
    }

    /// It is about the projects of a host: services are called `KEY/SERVICE`.
    fn spans(&self) -> bool {
        self.names.services.iter().any(|label| label.contains('/'))
    }

    /// A target's name or address, and what is tried there. A service of a host's has a `/` in its name.
    fn cut<'t>(&self, text: &'t str) -> (&'t str, Result<Probe, String>) {
        let ends = text.match_indices([':', '/']).map(|(end, _)| end);
        let mut ends = ends
            .chain([text.len()])
            .filter(|&end| text[..end].contains('/'));
        match ends.find(|&end| self.names.services.contains(&text[..end])) {
            Some(end) => (&text[..end], probe(&text[end..])),
            // Misspelt it is no ping of a project.
            None if self.spans() && !self.is_whom(split(text).0) => {
                let end = text.find(':').unwrap_or(text.len());
                (&text[..end], probe(&text[end..]))
            }
            None => split(text),
        }
    }

    fn target(&self, word: &Word) -> Read<Vec<Target>> {
        let (whom, probe) = match word.quoted {
            true => (word.text.as_str(), probe(&word.rest)),
            false => self.cut(&word.text),
        };
        let probe = probe.map_err(|message| wrong(word.range.clone(), message))?;
        let whom: Vec<Whom> = if let Some(parties) = self.known(whom, word.quoted) {
            parties.into_iter().map(Whom::Party).collect()
        } else if let Some(address) = address(whom) {
            vec![Whom::Address(address)]
        } else if is_host_name(whom) && (whom.contains('.') || self.names.hosts.contains(whom)) {
            vec![Whom::Name(whom.to_owned())]
        } else {
            return Err(self.unknown(whom, word.range.clone()));
        };
        Ok(whom
            .into_iter()
            .map(|whom| Target { whom, probe })
            .collect())
    }
}

/// A target's name or address, and what is tried there.
fn split(text: &str) -> (&str, Result<Probe, String>) {
    let bare = text.split('/').next().unwrap_or_default();
    if bare.parse::<IpAddr>().is_ok() {
        return (bare, probe(&text[bare.len()..]));
    }
    let end = match text.find(']') {
        Some(close) if text.starts_with('[') => close + 1,
        _ => text.find([':', '/']).unwrap_or(text.len()),
    };
    (&text[..end], probe(&text[end..]))
}

/// `:PORT`, `/PROTOCOL`, both or neither.
fn probe(text: &str) -> Result<Probe, String> {
    let (port, protocol) = text.split_once('/').unwrap_or((text, ""));
    let number = match port.strip_prefix(':') {
        None if port.is_empty() => None,
        Some(digits) if is_digits(digits) => digits.parse().ok().filter(|&port: &u16| port > 0),
        _ => None,
    };
    match (port.is_empty(), number, protocol) {
        (false, None, _) => Err(format!("`{}` is no port", port.trim_start_matches(':'))),
        (true, _, "") if !text.contains('/') => Ok(Probe::Known),
        (true, _, "icmp") => Ok(Probe::Icmp),
        (false, Some(_), "icmp") => Err("a ping has no port".to_owned()),
        (false, Some(port), "udp") => Ok(Probe::Udp(port)),
        (false, Some(port), "tcp") => Ok(Probe::Tcp(port)),
        (false, Some(port), "") if !text.contains('/') => Ok(Probe::Tcp(port)),
        (true, _, "tcp" | "udp") => Err(format!("`/{protocol}` needs a port")),
        _ => Err(format!("`/{protocol}` is none of /tcp, /udp and /icmp")),
    }
}

fn address(text: &str) -> Option<IpAddr> {
    let inner = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'));
    inner.unwrap_or(text).parse().ok()
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.len() <= 9 && text.bytes().all(|c| c.is_ascii_digit())
}

/// Letters, digits, `_`, `-` and dots, none of them first.
fn is_host_name(text: &str) -> bool {
    naming::is_key(text) && text.len() <= 253 && !text.starts_with(['.', '-'])
}
