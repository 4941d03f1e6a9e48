//! A lab's capture, drained into a file.

use std::io;
use std::path::Path;

use emulator_core::lab::Lab;
use emulator_host::pcap_file::PcapFile;

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
        Ok(Self { file })
    }

    /// Takes what the lab captured so far.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn drain(&self, lab: &mut Lab) -> io::Result<()> {
        let bytes = lab.capture_take();
        if bytes.is_empty() {
            Ok(())
        } else {
            self.file.write(bytes)
        }
    }

    /// Ends the capture and puts the file in its place.
    ///
    /// # Errors
    /// If the file cannot be written; what stood in its place is then still there.
    pub fn finish(self, lab: &mut Lab) -> io::Result<()> {
        lab.capture_finish();
        self.drain(lab)?;
        self.file.finish()
    }
}
