//! A lab's capture, drained into a file.

use std::io;
use std::path::Path;

use emulator_core::lab::Lab;
use emulator_core::net::CaptureSink;
use emulator_host::pcap_file::{Chunks, PcapFile};

/// Where a capture looks.
pub use emulator_core::net::CaptureAt;

/// A capture of a lab that is being written to a file.
#[derive(Debug)]
pub struct CaptureTo {
    file: PcapFile,
}

impl CaptureTo {
    /// Starts capturing in `lab`.
    ///
    /// # Errors
    /// What the file system says.
    pub fn start(lab: &mut Lab, path: &Path, at: CaptureAt) -> io::Result<Self> {
        let file = PcapFile::create(path)?;
        lab.capture_start(at);
        lab.capture_to(Box::new(FileSink(file.chunks())));
        Ok(Self { file })
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
        lab.capture_finish();
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
