//! What a fuzzer throws at vethlab: one function a target, from any bytes to a run that checks itself.
//!
//! No entry knows the fuzzer. The targets in `fuzz_targets/` and the replay of the committed corpora in
//! `tests/it/fuzz.rs` call the same functions; a broken promise is a panic.
//!
//! Entries of parsers read their input as it is. Entries of state machines read it as a list of steps
//! ([`Script`]); an input that ends early ends the run early, and no input is refused.

mod bridge;
mod capture;
mod compose;
mod compose_files;
#[cfg(target_os = "linux")]
mod control;
mod divert;
mod dns_message;
mod dns_upstream_reply;
mod expect;
mod joining;
mod link;
mod namespace;
mod nat;
mod pcap_filter;
#[cfg(target_os = "linux")]
mod proxy;
mod resolv_conf;
mod settings;
mod tcp;
mod transcript;

pub use bridge::bridge;
pub use capture::capture;
pub use compose::compose;
pub use compose_files::compose_files;
#[cfg(target_os = "linux")]
pub use control::control;
pub use divert::divert;
pub use dns_message::dns_message;
pub use dns_upstream_reply::dns_upstream_reply;
pub use expect::expect;
pub use joining::joining;
pub use link::link;
pub use namespace::namespace;
pub use nat::nat;
pub use pcap_filter::pcap_filter;
#[cfg(target_os = "linux")]
pub use proxy::proxy;
pub use resolv_conf::resolv_conf;
pub use settings::settings;
pub use tcp::tcp;
pub use transcript::transcript;

/// What a target calls with each input.
pub type Entry = fn(&[u8]);

/// Every target by its name, which is also the name of its corpus.
pub const TARGETS: &[(&str, Entry)] = &[
    ("bridge", bridge),
    ("capture", capture),
    ("compose", compose),
    ("compose_files", compose_files),
    #[cfg(target_os = "linux")]
    ("control", control),
    ("divert", divert),
    ("dns_message", dns_message),
    ("dns_upstream_reply", dns_upstream_reply),
    ("expect", expect),
    ("joining", joining),
    ("link", link),
    ("namespace", namespace),
    ("nat", nat),
    ("pcap_filter", pcap_filter),
    #[cfg(target_os = "linux")]
    ("proxy", proxy),
    ("resolv_conf", resolv_conf),
    ("settings", settings),
    ("tcp", tcp),
    ("transcript", transcript),
];

/// An input read as a list of steps, from the front. Numbers are big-endian.
#[derive(Clone, Copy, Debug)]
struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    /// The next byte; none at the end.
    fn next(&mut self) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    /// The next byte, or 0.
    fn u8(&mut self) -> u8 {
        self.next().unwrap_or(0)
    }

    /// The next two bytes, missing ones as 0.
    fn u16(&mut self) -> u16 {
        u16::from_be_bytes([self.u8(), self.u8()])
    }

    /// The next four bytes, missing ones as 0.
    fn u32(&mut self) -> u32 {
        u32::from(self.u16()) << 16 | u32::from(self.u16())
    }

    /// A number below `bound`.
    fn below(&mut self, bound: u8) -> u8 {
        self.u8() % bound.max(1)
    }

    /// The lowest bit of the next byte.
    fn flag(&mut self) -> bool {
        self.u8() & 1 == 1
    }

    /// At most `len` bytes.
    fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// Bytes behind two bytes of length.
    fn block(&mut self) -> &'a [u8] {
        let len = usize::from(self.u16());
        self.take(len)
    }

    /// Text behind one byte of length.
    fn text(&mut self) -> String {
        let len = usize::from(self.u8());
        String::from_utf8_lossy(self.take(len)).into_owned()
    }
}
