//! A capture in memory, with its frames counted as Wireshark numbers them.

use std::sync::{Arc, Mutex, PoisonError};

use emulator_core::lab::Lab;
use emulator_core::net::{CaptureAt, CaptureSink};

/// The type of a pcapng block that holds a frame.
const ENHANCED_PACKET: u32 = 6;
/// How many bytes are kept of a capture; what comes later is counted, and left out.
pub(super) const KEPT_MAX: usize = 256 << 20;

#[derive(Debug, Default)]
struct Bytes {
    bytes: Vec<u8>,
    /// The bytes before this are whole blocks.
    read: usize,
    frames: u64,
    full: bool,
}

impl Bytes {
    /// Counts the blocks that have come.
    fn count(&mut self) {
        let word = |at: usize| {
            let four = self.bytes.get(at..at + 4)?;
            Some(u32::from_le_bytes(four.try_into().ok()?))
        };
        while let (Some(kind), Some(length)) = (word(self.read), word(self.read + 4)) {
            let end = self.read + (length as usize).max(12);
            if end > self.bytes.len() {
                break;
            }
            self.frames += u64::from(kind == ENHANCED_PACKET);
            self.read = end;
        }
        self.full |= self.read > KEPT_MAX;
    }
}

/// A capture of a lab that is counted while it grows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Frames(Arc<Mutex<Bytes>>);

#[derive(Debug)]
struct Sink(Arc<Mutex<Bytes>>);

impl CaptureSink for Sink {
    fn take(&mut self, bytes: &mut Vec<u8>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !all.full {
            all.bytes.append(bytes);
            all.count();
        }
        bytes.clear();
    }
}

impl Frames {
    /// Starts capturing, at every interface.
    pub(crate) fn start(lab: &mut Lab) -> Self {
        let frames = Self::default();
        lab.capture_start(CaptureAt::All);
        lab.capture_to(Box::new(Sink(Arc::clone(&frames.0))));
        frames
    }

    /// How many frames there are by now.
    pub(crate) fn count(&self, lab: &mut Lab) -> u64 {
        lab.capture_flush();
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.frames
    }

    /// Ends the capture; its bytes.
    pub(crate) fn finish(self, lab: &mut Lab) -> Vec<u8> {
        lab.capture_finish();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        core::mem::take(&mut all.bytes)
    }
}
