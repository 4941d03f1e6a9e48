//! A lab's captures: what they record, as people say it, and where that goes.

mod known;
mod wish;

use std::io;
use std::path::Path;

use emulator_core::id::CaptureId;
use emulator_core::lab::Lab;
use emulator_host::pcap_file::{Chunks, PcapFile};

/// Where a capture looks, and what it records.
pub use emulator_core::net::{CaptureAt, CaptureSink, CaptureSpec};
pub use emulator_host::pcap_ring::Ring;
pub use known::Known;
pub use wish::{Wish, ring_of};

/// A capture of a lab that is being written to a file, or to several.
#[derive(Debug)]
pub struct CaptureTo {
    file: PcapFile,
    capture: CaptureId,
}

impl CaptureTo {
    /// Starts capturing in `lab`.
    ///
    /// # Errors
    /// What the file system says, or that there are too many captures.
    pub fn start(
        lab: &mut Lab,
        path: &Path,
        spec: CaptureSpec,
        ring: Option<Ring>,
    ) -> io::Result<Self> {
        let file = match ring {
            Some(ring) => PcapFile::ring(path, ring)?,
            None => PcapFile::create(path)?,
        };
        let net = lab.net_mut();
        let capture = net.capture_open(spec).map_err(io::Error::other)?;
        net.capture_to(Box::new(FileSink(file.chunks())));
        Ok(Self { file, capture })
    }

    /// Hands over what the lab captured so far.
    ///
    /// # Errors
    /// If the file cannot be written; [`CaptureTo::finish`] says why.
    pub fn drain(&self, lab: &mut Lab) -> io::Result<()> {
        lab.capture_flush();
        if self.file.has_failed() {
            return Err(io::Error::other("the capture's writer has stopped"));
        }
        Ok(())
    }

    /// Ends the capture and puts the file in its place.
    ///
    /// # Errors
    /// If the file cannot be written; what stood in its place is then still there.
    pub fn finish(self, lab: &mut Lab) -> io::Result<()> {
        // The sink has all of it.
        let _nothing = lab.net_mut().capture_close(self.capture);
        self.file.finish()
    }
}

/// The lab's side of the file.
#[derive(Debug)]
struct FileSink(Chunks);

impl CaptureSink for FileSink {
    fn take(&mut self, bytes: &mut Vec<u8>) {
        self.0.push(bytes);
    }
}
