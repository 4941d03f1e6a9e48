//! Capture filters in the language of tcpdump (pcap-filter(7)): which frames a capture records.
//!
//! Not to be confused with [`filter`](crate::filter), the firewall, which decides about packets and can be
//! seen by them; a capture filter only says what is written down.
//!
//! The meaning is that of libpcap's compiler for Ethernet frames, which the tests ask about the same
//! expressions and frames: a port is looked for in first fragments and not behind IPv6 extension headers,
//! `vlan` moves what is behind it, and a test that reads behind the end of a frame ends in no, `not`
//! included. An expression becomes a list of tests (`program`) that runs without allocation.
//!
//! ```text
//!   text ─ lex ─ words ─ parse ┬─ generate ─ tests
//!                              └─ relation ─ arithmetic
//! ```
//!
//! Left out, with an error that says so: `gateway`, `protochain`, `byte`, `mpls`, `pppoes`, `geneve`, `llc`, ISO and
//! ATM, `inbound` and `outbound`.

mod error;
mod generate;
mod lex;
mod names;
mod parse;
mod program;
mod relation;
mod value;

use core::fmt;

pub use self::error::FilterError;
pub use self::names::Names;
use self::parse::Parser;
use self::program::Program;

/// Bytes of an expression, at most.
pub const TEXT_MAX: usize = 16 * 1024;

/// A compiled capture filter.
///
/// # Examples
/// ```
/// use switch::pcap_filter::PcapFilter;
///
/// let filter = PcapFilter::compile("arp or len < 20", &()).unwrap();
/// let mut frame = [0; 60];
/// frame[12..14].copy_from_slice(&[0x08, 0x06]);
/// assert!(filter.passes(&frame, 60));
/// assert_eq!(
///     PcapFilter::compile("port 80 or", &()).unwrap_err().to_string(),
///     "column 11: syntax error; expected a port",
/// );
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PcapFilter {
    text: String,
    program: Program,
}

impl PcapFilter {
    /// Compiles an expression; an empty one lets everything pass. `names` knows what else host and network
    /// names mean; their addresses are those of now.
    ///
    /// # Errors
    /// Where the expression is wrong, and why.
    pub fn compile(text: &str, names: &dyn Names) -> Result<Self, FilterError> {
        if text.len() > TEXT_MAX {
            let message = format!("an expression of more than {TEXT_MAX} bytes");
            return Err(FilterError::new(TEXT_MAX + 1, message));
        }
        let words = lex::words(text)?;
        let end = text.trim_end().chars().count() + 1;
        let program = Parser::new(&words, end, names).program()?;
        Ok(Self {
            text: text.trim().to_owned(),
            program,
        })
    }

    /// Whether `frame`, of which `length` bytes were on the wire, passes.
    #[must_use]
    pub fn passes(&self, frame: &[u8], length: u32) -> bool {
        self.program.run(frame, length)
    }
}

/// As it was written.
impl fmt::Display for PcapFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests;
