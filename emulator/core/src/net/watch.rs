//! Capturing: which interfaces are recorded, and under which names.
//!
//! At crossings (the default) a frame stands once for each bridge that it crosses, under the bridge's
//! name, so that a run without losses shows nothing to Wireshark that looks like a retransmission.
//! Everywhere, it stands at each end of each veth pair as well.

use switch::capture::{Capture, Limits};

use super::{Net, Plug};
use crate::id::IfId;
use crate::netns::LO;

/// Where a capture looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CaptureAt {
    /// Once per bridge crossing.
    #[default]
    Crossing,
    /// At every interface.
    All,
}

impl Net {
    /// Starts a capture of everything that is there and of what comes later.
    pub fn capture_start(&mut self, at: CaptureAt, limits: Limits) {
        self.trace.capture = Some(Box::new(Capture::new(limits)));
        self.capture_at = Some(at);
        for number in 2..self.sockets.len() as u32 {
            self.watch(IfId(number));
        }
    }

    /// Adds an interface to the capture, if there is one and it looks there.
    pub(super) fn watch(&mut self, iface: IfId) {
        let Some(at) = self.capture_at else { return };
        let bridge = matches!(
            self.sockets[iface.0 as usize].plug,
            Plug::Bridge(_) | Plug::Segment
        );
        if at == CaptureAt::Crossing && !bridge {
            return;
        }
        let ns = self.sockets[iface.0 as usize].ns;
        let Some(netns) = self.ns(ns) else { return };
        let (name, description) = match netns.iface(iface) {
            Some(found) if bridge => (
                found.name.clone(),
                format!("bridge {} of {}", found.name, netns.name()),
            ),
            Some(found) => (
                format!("{}:{}", netns.name(), found.name),
                format!("{} of {}", found.name, netns.name()),
            ),
            None => (
                format!("segment{}", iface.0),
                "a segment outside the host".to_owned(),
            ),
        };
        if let Some(capture) = self.trace.capture.as_mut() {
            capture.interface(iface, &name, &description, 0);
        }
    }

    /// The bytes captured since the last call.
    pub fn capture_take(&mut self) -> Vec<u8> {
        self.trace
            .capture
            .as_mut()
            .map(|capture| capture.take())
            .unwrap_or_default()
    }

    /// Ends the capture: the names of addresses and each interface's statistics are its last blocks.
    pub fn capture_finish(&mut self, names: &[(core::net::IpAddr, String)]) {
        let now = self.now;
        let ids: Vec<IfId> = (2..self.sockets.len() as u32).map(IfId).collect();
        let counters: Vec<(IfId, u64)> = ids
            .into_iter()
            .filter_map(|id| {
                let netns = self.ns(self.sockets[id.0 as usize].ns)?;
                Some((id, netns.iface(id)?.rx.packets))
            })
            .filter(|(id, _)| *id != LO)
            .collect();
        let Some(capture) = self.trace.capture.as_mut() else {
            return;
        };
        capture.names(names);
        for (id, received) in counters {
            if capture.watches(id) {
                capture.statistics(now, id, received, 0);
            }
        }
        capture.finish(now);
    }
}
