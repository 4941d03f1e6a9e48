//! Engines of connections that are over, for the next ones: their buffers need not be made anew.
//!
//! An engine's buffers are most of what a short connection would cost: asked of the allocator, cleared and
//! given back. The last one left is the first one taken, while the processor's caches still have what
//! was touched of it. A lab has one such store for all of its namespaces.

use super::engine::{Setup, TcpEngine};
use super::smol::Smol;

/// Bytes of buffers that a lab keeps of connections that are over: sixteen engines of default size.
pub const SPARE_BYTES: usize = 2 * 1024 * 1024;

/// The engines, the last one left at the end.
#[derive(Debug, Default)]
pub struct Spares {
    engines: Vec<Smol>,
    bytes: usize,
}

impl Spares {
    /// Bytes of the buffers that wait here, at most [`SPARE_BYTES`].
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// An engine with buffers as asked for.
    pub(super) fn engine(&mut self, setup: &Setup) -> Smol {
        let fitting = self.engines.iter().rposition(|engine| engine.fits(setup));
        let Some(at) = fitting else {
            return Smol::new(setup);
        };
        let mut engine = self.engines.remove(at);
        self.bytes -= engine.buffer_bytes();
        engine.renew(setup);
        engine
    }

    /// Keeps an engine; the one that has been here longest goes when there are too many.
    pub(super) fn keep(&mut self, engine: Option<Smol>) {
        let Some(engine) = engine else { return };
        let bytes = engine.buffer_bytes();
        if bytes > SPARE_BYTES || engine.is_worn() {
            return;
        }
        while self.bytes + bytes > SPARE_BYTES {
            self.bytes -= self.engines.remove(0).buffer_bytes();
        }
        self.bytes += bytes;
        self.engines.push(engine);
    }
}
