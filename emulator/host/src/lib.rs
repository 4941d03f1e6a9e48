//! Everything of vethlab that has a file descriptor, a thread or a clock.
//!
//! The core is pure; this is the shell around it. For now that is one attachment, the capture file.
#![forbid(unsafe_code)]

pub mod pcap_file;
