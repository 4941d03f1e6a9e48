//! What is said beside packets: what the hooks rewrote, and why a frame died.

use core::fmt::{self, Write as _};
use std::collections::BTreeMap;

use crate::verdict::{DropReason, Rewrite, What};

/// Frames whose rewrite waits to be written beside them, at most; the oldest is forgotten.
const REWRITES: usize = 4096;

/// What waits to be said, by frame.
#[derive(Debug, Default)]
pub(super) struct Notes {
    rewrites: BTreeMap<u64, Rewrite>,
    /// The comment that is being made.
    words: String,
}

impl Notes {
    /// Keeps what was rewritten until the frame is recorded.
    pub(super) fn add(&mut self, frame: u64, rewrite: Rewrite) {
        if self.rewrites.len() >= REWRITES && !self.rewrites.contains_key(&frame) {
            self.rewrites.pop_first();
        }
        // Two translations on one way are told as one: from what it was first to what it is last.
        self.rewrites
            .entry(frame)
            .and_modify(|known| {
                known.to_source = rewrite.to_source;
                known.to_destination = rewrite.to_destination;
            })
            .or_insert(rewrite);
    }

    /// The comment of a frame that crosses an interface, if there is something to say.
    pub(super) fn crossing(&mut self, frame: u64) -> Option<&str> {
        let rewrite = *self.rewrites.get(&frame)?;
        Some(self.written(&What::Rewritten(rewrite)))
    }

    /// The comment of a frame that dies.
    pub(super) fn death(&mut self, frame: u64, reason: DropReason) -> &str {
        let rewrite = self.rewrites.get(&frame).copied();
        self.written(&Death { reason, rewrite })
    }

    /// It has been said.
    pub(super) fn told(&mut self, frame: u64) {
        self.rewrites.remove(&frame);
    }

    /// `text`, written into memory that is used again.
    fn written(&mut self, text: &dyn fmt::Display) -> &str {
        self.words.clear();
        let _: fmt::Result = write!(self.words, "{text}");
        &self.words
    }
}

struct Death {
    reason: DropReason,
    rewrite: Option<Rewrite>,
}

impl fmt::Display for Death {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", What::Dropped(self.reason))?;
        match self.rewrite {
            Some(rewrite) => write!(f, "; {}", What::Rewritten(rewrite)),
            None => Ok(()),
        }
    }
}
