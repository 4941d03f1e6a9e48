//! Everything of vethlab that has a file descriptor, a thread or a clock.
//!
//! The core is pure; this is the shell around it. [`pcap_file`] writes captures on a thread of its own. Real time
//! is the [`runtime`]: one thread that owns a lab and every descriptor of the things that are attached to it. It
//! needs Linux 5.11 or later; the rest runs anywhere. What only the kernel's raw interfaces offer is in one module,
//! `attach/sys.rs`; nothing else here may be unsafe.
#![deny(unsafe_code)]

pub mod clock;
pub mod pcap_file;
pub mod pcap_ring;

#[cfg(target_os = "linux")]
pub mod attach;
#[cfg(target_os = "linux")]
pub mod control;
#[cfg(target_os = "linux")]
pub mod detach;
#[cfg(target_os = "linux")]
pub mod egress;
#[cfg(target_os = "linux")]
pub mod front;
#[cfg(target_os = "linux")]
mod held;
#[cfg(target_os = "linux")]
pub mod interrupts;
#[cfg(target_os = "linux")]
pub mod limits;
#[cfg(target_os = "linux")]
pub mod means;
#[cfg(target_os = "linux")]
mod places;
#[cfg(target_os = "linux")]
pub mod proxy;
#[cfg(target_os = "linux")]
pub mod publish;
#[cfg(target_os = "linux")]
pub mod reactor;
#[cfg(target_os = "linux")]
pub mod runtime;
#[cfg(target_os = "linux")]
pub mod signals;
#[cfg(target_os = "linux")]
mod splice;
#[cfg(target_os = "linux")]
pub mod trials;
