//! Capturing: which interfaces are recorded, and under which names.
//!
//! At crossings (the default) a frame stands once for each bridge or segment that it crosses, so that a
//! run without losses shows nothing to Wireshark that looks like a retransmission. A frame that dies
//! there stands once more or instead, with the reason. Behind the gateway a frame is the one that crossed
//! the uplink, so that segment is left out. Everywhere, a frame stands at each end of each veth pair as
//! well, and is known by its number.
//!
//! Names of addresses are written when the addresses are given out, so that a reader knows them before
//! the first packet, and those of containers that are gone as well. Left out: `lo`, which is no wire.

use core::fmt;
use core::net::IpAddr;

use switch::capture::{Capture, Limits};

use super::{Net, Plug};
use crate::id::{BridgeId, IfId, NsId};

/// Where a capture looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CaptureAt {
    /// Once per bridge crossing.
    #[default]
    Crossing,
    /// At every interface.
    All,
}

/// Bytes that wait before they are handed to a sink: they stay in the second-level cache.
const CHUNK: usize = 256 << 10;

/// Where a capture's bytes go as they come.
pub trait CaptureSink: fmt::Debug + Send {
    /// Takes `bytes`, the next of the capture; virtual time waits until it returns. What it leaves in
    /// their place is memory for the next ones.
    fn take(&mut self, bytes: &mut Vec<u8>);
}

impl Net {
    /// Starts a capture of everything that is there and of what comes later.
    pub fn capture_start(&mut self, at: CaptureAt, limits: Limits) {
        let mut capture = Capture::new(limits);
        capture.names(&self.names());
        self.trace.capture = Some(Box::new(capture));
        self.capture_at = Some(at);
        for number in 2..self.sockets.len() as u32 {
            self.watch(IfId(number));
        }
    }

    /// Every address of the lab and whose it is.
    fn names(&self) -> Vec<(IpAddr, String)> {
        self.all_ns()
            .flat_map(|netns| netns.ifaces().map(move |iface| (netns, iface)))
            .flat_map(|(netns, iface)| {
                let addresses = iface.addrs.iter().map(|address| address.net.addr());
                addresses.map(move |address| (address, netns.name().to_owned()))
            })
            .filter(|(address, _)| !address.is_loopback())
            .collect()
    }

    /// Tells a capture whose a new address is.
    pub(super) fn capture_name(&mut self, ns: NsId, address: IpAddr) {
        if address.is_loopback() || self.trace.capture.is_none() {
            return;
        }
        let Some(name) = self.ns(ns).map(|netns| netns.name().to_owned()) else {
            return;
        };
        if let Some(capture) = self.trace.capture.as_mut() {
            capture.names(&[(address, name)]);
        }
    }

    /// Adds an interface to the capture, if there is one and it looks there.
    pub(super) fn watch(&mut self, iface: IfId) {
        let Some(at) = self.capture_at else { return };
        let everywhere = at == CaptureAt::All;
        let labels = match self.sockets[iface.0 as usize].plug {
            Plug::Bridge(bridge) => self.bridge_labels(bridge, iface),
            Plug::Segment(bridge) => self.segment_labels(bridge, everywhere),
            Plug::Veth { .. } | Plug::Child { .. } if everywhere => self.iface_labels(iface),
            Plug::Veth { .. } | Plug::Child { .. } | Plug::Nothing => None,
        };
        if let (Some((name, description)), Some(capture)) = (labels, self.trace.capture.as_mut()) {
            capture.interface(iface, &name, &description, 0);
        }
    }

    fn bridge_labels(&self, bridge: BridgeId, iface: IfId) -> Option<(String, String)> {
        let slot = self.bridges.get(bridge.0 as usize)?.as_ref()?;
        let name = &self.ns(slot.owner?)?.iface(iface)?.name;
        Some((name.clone(), format!("network {}", slot.about)))
    }

    fn segment_labels(&self, bridge: BridgeId, everywhere: bool) -> Option<(String, String)> {
        let slot = self.bridges.get(bridge.0 as usize)?.as_ref()?;
        let shown = everywhere || !slot.far;
        shown.then(|| (slot.about.clone(), "outside the host".to_owned()))
    }

    fn iface_labels(&self, iface: IfId) -> Option<(String, String)> {
        let netns = self.ns(self.sockets[iface.0 as usize].ns)?;
        let name = &netns.iface(iface)?.name;
        Some((
            format!("{}:{name}", netns.name()),
            format!("{name} of {}", netns.name()),
        ))
    }

    /// Hands what is captured to `sink` from now on, so that nothing is lost however long a run is. Without
    /// a sink, the bytes wait for [`Net::capture_take`].
    pub fn capture_to(&mut self, sink: Box<dyn CaptureSink>) {
        self.capture_sink = Some(sink);
    }

    /// Hands over what waits, if it is worth it.
    #[inline]
    pub(crate) fn capture_step(&mut self) {
        if self.trace.is_capturing()
            && let Some(capture) = &self.trace.capture
            && capture.is_over(CHUNK)
        {
            self.capture_flush();
        }
    }

    /// Hands everything that waits to the sink, if there is one.
    pub fn capture_flush(&mut self) {
        if let (Some(capture), Some(sink)) = (&mut self.trace.capture, &mut self.capture_sink)
            && capture.pending_len() > 0
        {
            capture.drain(|bytes| sink.take(bytes));
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

    /// Ends the capture: each interface's statistics are its last blocks. A sink has everything then and
    /// is gone.
    pub fn capture_finish(&mut self) {
        let now = self.now;
        let received: Vec<(IfId, u64)> = (2..self.sockets.len() as u32)
            .map(IfId)
            .filter_map(|id| {
                let netns = self.ns(self.sockets[id.0 as usize].ns)?;
                Some((id, netns.iface(id)?.rx.packets))
            })
            .collect();
        if let Some(capture) = self.trace.capture.as_mut() {
            for (id, received) in received {
                if capture.watches(id) {
                    capture.statistics(now, id, received, capture.dropped(id));
                }
            }
            capture.finish(now);
        }
        self.capture_flush();
        self.capture_sink = None;
    }
}
