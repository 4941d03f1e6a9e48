//! Ids, MACs, interface names and the names of containers that were given none.
//!
//! Docker draws them from the kernel's generator; here each comes from a stream that is named after the
//! thing and counts how often it was made, so that one more container reshuffles nobody and a thing
//! made again gets another id.

use core::fmt;
use std::collections::BTreeSet;

use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashSet};
use switch::Rng;
use switch::rng::Label;

use super::plumb::Mac;

const FIRST: [&str; 32] = [
    "amber", "bold", "brisk", "calm", "clear", "crisp", "deep", "eager", "early", "fair", "fast",
    "fresh", "gentle", "grand", "happy", "keen", "kind", "light", "lively", "lucid", "mellow",
    "neat", "noble", "patient", "plain", "proud", "quick", "quiet", "ready", "sharp", "sturdy",
    "warm",
];

const SECOND: [&str; 32] = [
    "abbate",
    "baran",
    "berners",
    "boggs",
    "carr",
    "cerf",
    "clark",
    "cohen",
    "crocker",
    "davies",
    "deering",
    "dijkstra",
    "engelbart",
    "feinler",
    "floyd",
    "heart",
    "jacobson",
    "kahn",
    "kleinrock",
    "lamport",
    "licklider",
    "metcalfe",
    "mockapetris",
    "nagle",
    "perlman",
    "postel",
    "pouzin",
    "reynolds",
    "roberts",
    "saltzer",
    "taylor",
    "walden",
];

/// Draws what Docker leaves to chance.
#[derive(Clone, Debug)]
pub struct Ids {
    rng: Rng,
    /// The streams that were drawn from.
    drawn: HashSet<Label, FixedState>,
    /// How often, if more than once.
    often: HashMap<Label, u32, FixedState>,
    veths: BTreeSet<u32>,
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    let text = digits.map(|digit| DIGITS[usize::from(digit)]).collect();
    String::from_utf8(text).unwrap_or_default()
}

/// An id that is kept as it was drawn: half as long as its 64 digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Id([u8; 32]);

impl Id {
    /// Its short form would be a number.
    fn is_number(&self) -> bool {
        self.0
            .iter()
            .take(6)
            .all(|byte| byte >> 4 < 10 && byte & 15 < 10)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&hex(&self.0))
    }
}

/// The first twelve digits of an id.
#[must_use]
pub fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

impl Ids {
    /// Draws from `rng`.
    #[must_use]
    pub fn new(rng: Rng) -> Self {
        Self {
            rng,
            drawn: HashSet::default(),
            often: HashMap::default(),
            veths: BTreeSet::new(),
        }
    }

    fn stream(&mut self, label: Label) -> Rng {
        if self.drawn.insert(label) {
            return self.rng.stream_by(label);
        }
        let before = self.often.entry(label).or_insert(1);
        let again = label.and("#").and(&before.to_string());
        *before += 1;
        self.rng.stream_by(again)
    }

    /// 64 hexadecimal digits for the `kind` of thing called `name`. As Docker does, none that would be
    /// a number in its short form.
    pub fn id(&mut self, kind: &str, name: &str) -> String {
        hex(&self.draw(kind, &[name]).0)
    }

    /// The same, as it is kept where nobody looks for it. The name is these parts, one behind the other.
    pub fn draw(&mut self, kind: &str, name: &[&str]) -> Id {
        let label = Label::of(&["id:", kind, ":"]);
        let mut rng = self.stream(label.and_all(name));
        loop {
            let mut id = Id([0; 32]);
            rng.fill(&mut id.0);
            if !id.is_number() {
                return id;
            }
        }
    }

    /// A locally administered unicast MAC for what has these parts, one behind the other, as its name.
    pub fn mac(&mut self, name: &[&str]) -> Mac {
        let mut mac = [0; 6];
        let label = Label::of(&["mac:"]);
        let mut rng = self.stream(label.and_all(name));
        rng.fill(&mut mac);
        mac[0] = (mac[0] & 0xfe) | 0x02;
        mac
    }

    /// `veth` and seven digits, the host's end of the attachment called `name`.
    pub fn veth(&mut self, name: &[&str]) -> String {
        let label = Label::of(&["veth:"]);
        let mut rng = self.stream(label.and_all(name));
        loop {
            let digits = rng.next_u32() >> 4;
            if self.veths.insert(digits) {
                return format!("veth{digits:07x}");
            }
        }
    }

    /// Gives an interface name back.
    pub fn free_veth(&mut self, name: &str) {
        if let Some(digits) = name.strip_prefix("veth")
            && let Ok(digits) = u32::from_str_radix(digits, 16)
        {
            self.veths.remove(&digits);
        }
    }

    /// A name for a container that was given none; `taken` says which are in use.
    pub fn container_name(&mut self, taken: impl Fn(&str) -> bool) -> String {
        let mut rng = self.stream(Label::of(&["name"]));
        let mut draw = || {
            let first = FIRST[rng.below(FIRST.len() as u32) as usize];
            let second = SECOND[rng.below(SECOND.len() as u32) as usize];
            format!("{first}_{second}")
        };
        // As Docker: a few tries, then with a number behind.
        for _ in 0..6 {
            let name = draw();
            if !taken(&name) {
                return name;
            }
        }
        let base = draw();
        let mut number = 0u64;
        loop {
            let name = format!("{base}{number}");
            if !taken(&name) {
                return name;
            }
            number += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixed_by_the_seed_and_fresh_each_time() {
        let mut a = Ids::new(Rng::new(1));
        let mut b = Ids::new(Rng::new(1));
        let first = a.id("net", "web");
        b.id("net", "other");
        assert_eq!(b.id("net", "web"), first, "others do not matter");
        assert_ne!(a.id("net", "web"), first, "made again: another id");
        assert_eq!(first.len(), 64);
        assert!(
            first
                .bytes()
                .all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'))
        );
        assert_ne!(a.mac(&["web"]), a.mac(&["web"]));
        assert_eq!(a.mac(&["x"])[0] & 3, 2);
    }

    #[test]
    fn veths_are_unique_and_come_back() {
        let mut ids = Ids::new(Rng::new(1));
        let name = ids.veth(&["c"]);
        assert!(name.len() == 11 && name.starts_with("veth"));
        assert_eq!(ids.veths.len(), 1);
        ids.free_veth(&name);
        assert!(ids.veths.is_empty());
    }

    #[test]
    fn generated_names() {
        let mut ids = Ids::new(Rng::new(1));
        let name = ids.container_name(|_| false);
        assert!(name.contains('_'));
        let second = ids.container_name(|n| n.ends_with(|c: char| c.is_alphabetic()));
        assert!(second.ends_with('0'));
    }
}
