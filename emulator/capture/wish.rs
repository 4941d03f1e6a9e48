//! What a capture is to record, as people say it.

use emulator_core::net::{CaptureAt, CaptureSpec, Place, Places};
use emulator_host::pcap_ring::Ring;
use switch::capture::Limits;
use switch::pcap_filter::{FilterError, PcapFilter};

use super::Known;

/// Files of a ring, at most.
const FILES: u32 = 9999;
/// Bytes of a file of a ring, at least.
const FILE: u64 = 4096;

/// What a capture is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// Interfaces: `web:eth0`, `web`, a network, a bridge, `any`. None: [`Wish::at`] says where.
    pub interfaces: Vec<String>,
    /// Where to look if no interface is named.
    pub at: CaptureAt,
    /// An expression in tcpdump's language; empty lets all pass.
    pub filter: String,
    /// Bytes of a frame that are kept; 0 keeps all.
    pub snaplen: u32,
    /// Packets, at most.
    pub packets: Option<u64>,
}

impl Wish {
    /// Whether the names in it have to be looked up.
    #[must_use]
    pub fn has_names(&self) -> bool {
        !self.interfaces.is_empty() || PcapFilter::compile(&self.filter, &()).is_err()
    }

    /// The capture. Without `known` names mean nothing, and an interface is watched when one of that name comes.
    ///
    /// # Errors
    /// For people: which name or word is wrong, and what there is instead.
    pub fn spec(&self, known: Option<&Known>) -> Result<CaptureSpec, String> {
        let filter = match known {
            Some(known) => PcapFilter::compile(&self.filter, known),
            None => PcapFilter::compile(&self.filter, &()),
        };
        let filter = filter.map_err(|error| pointed(&self.filter, &error))?;
        Ok(CaptureSpec {
            places: self.places(known)?,
            filter: (!self.filter.trim().is_empty()).then_some(filter),
            snaplen: self.snaplen,
            limits: Limits {
                packets: self.packets.unwrap_or(u64::MAX),
                ..Limits::default()
            },
        })
    }

    fn places(&self, known: Option<&Known>) -> Result<Places, String> {
        if self.interfaces.is_empty() {
            return Ok(Places::At(self.at));
        }
        if self.interfaces.iter().any(|name| name == Place::ANY) {
            return Ok(Places::At(CaptureAt::All));
        }
        let mut places = Vec::new();
        for name in &self.interfaces {
            match known {
                Some(known) => places.extend(known.places(name)?),
                None => places.extend(named(name)),
            }
        }
        Ok(Places::Only(places))
    }
}

/// What a name may mean once it is there.
fn named(name: &str) -> Vec<Place> {
    let of = |namespace: &str, interface: &str| Place {
        namespace: Some(namespace.to_owned()),
        name: interface.to_owned(),
    };
    match name.split_once(':') {
        Some((namespace, interface)) => vec![of(namespace, interface)],
        None => {
            let network = Place {
                namespace: None,
                name: name.to_owned(),
            };
            vec![of(name, Place::ANY), network]
        }
    }
}

/// The error with the expression and a mark below the place.
fn pointed(filter: &str, error: &FilterError) -> String {
    // The mark stands where it should whatever white space is.
    let shown: String = filter
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let indent = " ".repeat(error.column.saturating_sub(1));
    format!("capture filter, {error}\n  {shown}\n  {indent}^")
}

/// `10MB:5`: bytes of a file and how many are kept; `seconds` is how long a file lasts at most.
///
/// # Errors
/// One sentence.
pub fn ring_of(text: &str, seconds: Option<u64>) -> Result<Ring, String> {
    let wrong = || format!("{text}: not SIZE:FILES, such as 10MB:5");
    let (size, files) = text.split_once(':').ok_or_else(wrong)?;
    let files = files.parse().map_err(|_| wrong())?;
    let digits = size.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = size.split_at(digits);
    let unit: u64 = match unit {
        "" | "B" => 1,
        "k" | "kB" | "K" | "KB" => 1000,
        "M" | "MB" => 1_000_000,
        "G" | "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let bytes = number.saturating_mul(unit);
    if bytes < FILE {
        return Err(format!("{text}: a file is at least {FILE} bytes"));
    }
    if !(1..=FILES).contains(&files) {
        return Err(format!("{text}: from 1 to {FILES} files are kept"));
    }
    if seconds == Some(0) {
        return Err("a file lasts at least a second".to_owned());
    }
    Ok(Ring {
        bytes,
        span: seconds.map(|seconds| seconds.saturating_mul(1_000_000_000)),
        files,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rings() {
        let ring = ring_of("10MB:5", Some(60)).unwrap();
        assert_eq!((ring.bytes, ring.files), (10_000_000, 5));
        assert_eq!(ring.span, Some(60_000_000_000));
        assert_eq!(ring_of("64KiB:1", None).unwrap().bytes, 65_536);
        for wrong in [
            "", "10MB", "10MB:", "10XB:5", "10MB:0", "1kB:5", ":5", "-1MB:5",
        ] {
            assert!(ring_of(wrong, None).is_err(), "{wrong}");
        }
        assert!(ring_of("10MB:5", Some(0)).is_err());
    }

    #[test]
    fn a_wrong_filter_is_shown_with_its_place() {
        let wish = Wish {
            filter: "host web and\tporr 80".to_owned(),
            ..Wish::default()
        };
        assert_eq!(
            wish.spec(None).unwrap_err(),
            "capture filter, column 6: unknown host 'web'\n  host web and porr 80\n       ^"
        );
    }
}
