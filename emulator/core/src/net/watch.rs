//! Capturing: which interfaces are recorded, and under which names.
//!
//! At crossings (the default) a frame stands once for each bridge or segment that it crosses, so that a
//! run without losses shows nothing to Wireshark that looks like a retransmission. A frame that dies
//! there stands once more or instead, with the reason. Behind the gateway a frame is the one that crossed
//! the uplink, so that segment is left out. Everywhere, a frame stands at each end of each veth pair as
//! well, and is known by its number.
//!
//! Several captures may run at a time, each with its own places, filter and bounds; none knows of another.
//!
//! Names of addresses are written when the addresses are given out, so that a reader knows them before
//! the first packet, and those of containers that are gone as well. Left out: `lo`, which is no wire.

use core::fmt;
use core::net::IpAddr;
use core::time::Duration;

use switch::capture::{Capture, Limits};
use switch::pcap_filter::PcapFilter;

use super::{Net, Plug};
use crate::id::{BridgeId, CaptureId, IfId, NsId};

/// Captures that run at a time, at most.
pub const CAPTURES: usize = 16;

/// Where a capture looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CaptureAt {
    /// Once per bridge crossing.
    #[default]
    Crossing,
    /// At every interface.
    All,
}

/// Which interfaces a capture looks at, those that come later included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Places {
    /// As it says.
    At(CaptureAt),
    /// These alone.
    Only(Vec<Place>),
}

/// An interface by its name: `web:eth0` of a namespace, a bridge of the host, or a network by its own name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The namespace's name; none for a bridge, a network or a segment outside.
    pub namespace: Option<String>,
    /// The interface's, bridge's, network's or segment's name.
    pub name: String,
}

impl Place {
    /// Every interface of a namespace.
    pub const ANY: &str = "any";
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(namespace) = &self.namespace {
            write!(f, "{namespace}:")?;
        }
        f.write_str(&self.name)
    }
}

/// A place that a capture may look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watchable {
    /// What it is called.
    pub place: Place,
    /// The network of a bridge.
    pub network: Option<String>,
    /// Something for people.
    pub description: String,
}

impl Watchable {
    /// Whether it is meant by `place`.
    #[must_use]
    pub fn is(&self, place: &Place) -> bool {
        let any = place.name == Place::ANY;
        if self.place.namespace.is_some() && self.place.namespace == place.namespace {
            return any || self.place.name == place.name;
        }
        let host = place.namespace.as_deref().is_none_or(|name| name == "host");
        let by_name = self.place.namespace.is_none() && self.place.name == place.name;
        let by_network = self.network.as_ref() == Some(&place.name) && place.namespace.is_none();
        (host && by_name) || by_network
    }
}

/// What a capture records, and where.
#[derive(Clone, Debug)]
pub struct CaptureSpec {
    /// The interfaces.
    pub places: Places,
    /// Only frames that pass.
    pub filter: Option<PcapFilter>,
    /// Bytes that are kept of a frame; 0 keeps all.
    pub snaplen: u32,
    /// The bounds, and how frames stand there.
    pub limits: Limits,
}

impl Default for CaptureSpec {
    fn default() -> Self {
        Self {
            places: Places::At(CaptureAt::Crossing),
            filter: None,
            snaplen: 0,
            limits: Limits::default(),
        }
    }
}

/// Bytes that wait before they are handed to a sink: they stay in the second-level cache.
const CHUNK: usize = 256 << 10;

/// Bytes that wait before somebody is told of them in the middle of work.
const WORTH: usize = 64 << 10;

/// Where a capture's bytes go as they come.
pub trait CaptureSink: fmt::Debug + Send {
    /// Takes `bytes`, the next of the capture; virtual time waits until it returns. What it leaves in
    /// their place is memory for the next ones.
    fn take(&mut self, bytes: &mut Vec<u8>);
}

/// What the lab knows of a capture besides its bytes.
#[derive(Debug)]
pub(crate) struct Tap {
    id: CaptureId,
    places: Places,
    snaplen: u32,
    sink: Option<Box<dyn CaptureSink>>,
    tell: Tell,
}

/// Whether somebody wants to know that bytes wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tell {
    /// Nobody does.
    Off,
    /// Of the next ones.
    On,
    /// Of some that have been told and not been taken.
    Told,
}

/// The captures of a lab: the one at a place here is the one at that place in
/// [`Trace::captures`](switch::trace::Trace::captures).
#[derive(Debug, Default)]
pub(crate) struct Taps {
    taps: Vec<Tap>,
    opened: u32,
}

/// There are [`CAPTURES`] already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyCaptures;

impl fmt::Display for TooManyCaptures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{CAPTURES} captures run already")
    }
}

impl core::error::Error for TooManyCaptures {}

impl Net {
    /// Starts the one capture of everything that is there and of what comes later; others end.
    pub fn capture_start(&mut self, at: CaptureAt, limits: Limits) {
        self.taps.taps.clear();
        self.trace.captures.clear();
        let spec = CaptureSpec {
            places: Places::At(at),
            limits,
            ..CaptureSpec::default()
        };
        // There is room now.
        let _opened = self.capture_open(spec);
    }

    /// Starts one more capture.
    ///
    /// # Errors
    /// If there are too many.
    pub fn capture_open(&mut self, spec: CaptureSpec) -> Result<CaptureId, TooManyCaptures> {
        if self.taps.taps.len() >= CAPTURES {
            return Err(TooManyCaptures);
        }
        self.taps.opened += 1;
        let id = CaptureId(self.taps.opened);
        let mut capture = Capture::new(spec.limits);
        capture.names(&self.names());
        if let Some(filter) = spec.filter {
            capture.only(filter);
        }
        self.trace.captures.push(capture);
        self.taps.taps.push(Tap {
            id,
            places: spec.places,
            snaplen: spec.snaplen,
            sink: None,
            tell: Tell::Off,
        });
        for number in 2..self.sockets.len() as u32 {
            self.watch_in(self.taps.taps.len() - 1, IfId(number));
        }
        Ok(id)
    }

    /// Ends a capture; its last bytes, if no sink has them.
    pub fn capture_close(&mut self, id: CaptureId) -> Vec<u8> {
        let Some(place) = self.capture_place(id) else {
            return Vec::new();
        };
        self.finish(place);
        let _tap = self.taps.taps.remove(place);
        self.trace.captures.remove(place).take()
    }

    /// Ends every capture; sinks have everything then.
    pub fn capture_close_all(&mut self) {
        while let Some(last) = self.taps.taps.last() {
            // Where there is no sink, nobody wants them.
            let _bytes = self.capture_close(last.id);
        }
    }

    fn capture_place(&self, id: CaptureId) -> Option<usize> {
        self.taps.taps.iter().position(|tap| tap.id == id)
    }

    /// A capture, to look at.
    #[must_use]
    pub fn capture(&self, id: CaptureId) -> Option<&Capture> {
        self.trace.captures.get(self.capture_place(id)?)
    }

    /// Everything that a capture may look at, in the order in which it was made.
    #[must_use]
    pub fn watchable(&self) -> Vec<Watchable> {
        (2..self.sockets.len() as u32)
            .filter_map(|number| self.labels(IfId(number)))
            .collect()
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
        if address.is_loopback() || self.trace.captures.is_empty() {
            return;
        }
        let Some(name) = self.ns(ns).map(|netns| netns.name().to_owned()) else {
            return;
        };
        let names = [(address, name)];
        for capture in &mut self.trace.captures {
            capture.names(&names);
        }
    }

    /// Adds an interface to the captures that look there.
    pub(super) fn watch(&mut self, iface: IfId) {
        for place in 0..self.taps.taps.len() {
            self.watch_in(place, iface);
        }
    }

    fn watch_in(&mut self, place: usize, iface: IfId) {
        let Some(found) = self.labels(iface) else {
            return;
        };
        let tap = &self.taps.taps[place];
        let looks = match &tap.places {
            Places::At(CaptureAt::All) => true,
            Places::At(CaptureAt::Crossing) => self.is_crossing(iface),
            Places::Only(places) => places.iter().any(|place| found.is(place)),
        };
        let (name, snaplen) = (found.place.to_string(), tap.snaplen);
        if looks {
            self.trace.captures[place].interface(iface, &name, &found.description, snaplen);
        }
    }

    /// A bridge, or a segment whose frames have not crossed a nearer one.
    fn is_crossing(&self, iface: IfId) -> bool {
        match self.sockets[iface.0 as usize].plug {
            Plug::Bridge(_) => true,
            Plug::Segment(bridge) => {
                let slot = self.bridges.get(bridge.0 as usize);
                slot.and_then(Option::as_ref).is_some_and(|slot| !slot.far)
            }
            Plug::Veth { .. } | Plug::Child { .. } | Plug::Nothing => false,
        }
    }

    /// What captures call an interface.
    fn labels(&self, iface: IfId) -> Option<Watchable> {
        match self.sockets[iface.0 as usize].plug {
            Plug::Bridge(bridge) => self.bridge_labels(bridge, iface),
            Plug::Segment(bridge) => self.segment_labels(bridge),
            Plug::Veth { .. } | Plug::Child { .. } => self.iface_labels(iface),
            Plug::Nothing => None,
        }
    }

    fn bridge_labels(&self, bridge: BridgeId, iface: IfId) -> Option<Watchable> {
        let slot = self.bridges.get(bridge.0 as usize)?.as_ref()?;
        let name = self.ns(slot.owner?)?.iface(iface)?.name.clone();
        Some(Watchable {
            place: Place {
                namespace: None,
                name,
            },
            network: Some(slot.about.clone()),
            description: format!("network {}", slot.about),
        })
    }

    fn segment_labels(&self, bridge: BridgeId) -> Option<Watchable> {
        let slot = self.bridges.get(bridge.0 as usize)?.as_ref()?;
        Some(Watchable {
            place: Place {
                namespace: None,
                name: slot.about.clone(),
            },
            network: None,
            description: "outside the host".to_owned(),
        })
    }

    fn iface_labels(&self, iface: IfId) -> Option<Watchable> {
        let netns = self.ns(self.sockets[iface.0 as usize].ns)?;
        let name = netns.iface(iface)?.name.clone();
        Some(Watchable {
            description: format!("{name} of {}", netns.name()),
            place: Place {
                namespace: Some(netns.name().to_owned()),
                name,
            },
            network: None,
        })
    }

    /// Hands what the last capture records to `sink` from now on, so that nothing is lost however long a run is.
    /// Without a sink, the bytes wait for [`Net::capture_take`].
    pub fn capture_to(&mut self, sink: Box<dyn CaptureSink>) {
        if let Some(tap) = self.taps.taps.last_mut() {
            tap.sink = Some(sink);
        }
    }

    /// Hands over what waits, if it is worth it.
    #[inline]
    pub(crate) fn capture_step(&mut self) {
        if self.trace.is_capturing() {
            self.hand_over(CHUNK);
        }
    }

    fn hand_over(&mut self, more_than: usize) {
        for (tap, capture) in self.taps.taps.iter_mut().zip(&mut self.trace.captures) {
            if let Some(sink) = &mut tap.sink
                && capture.is_over(more_than)
            {
                capture.drain(|bytes| sink.take(bytes));
            }
        }
    }

    /// Hands everything that waits to the sinks that there are.
    pub fn capture_flush(&mut self) {
        self.hand_over(0);
    }

    /// The bytes that the last capture recorded since the last call.
    pub fn capture_take(&mut self) -> Vec<u8> {
        let last = self.trace.captures.last_mut();
        last.map(Capture::take).unwrap_or_default()
    }

    /// Takes the bytes that a capture recorded since the last call into `drained`, whose memory is used for the
    /// next ones. What `drained` held is gone.
    pub fn capture_drain(&mut self, id: CaptureId, drained: &mut Vec<u8>) {
        drained.clear();
        if let Some(place) = self.capture_place(id) {
            self.trace.captures[place].swap(drained);
            let tell = &mut self.taps.taps[place].tell;
            if *tell == Tell::Told {
                *tell = Tell::On;
            }
        }
    }

    /// What the wall clock says at the lab's zero, for a capture from now on.
    pub fn capture_epoch(&mut self, id: CaptureId, epoch: Duration) {
        if let Some(place) = self.capture_place(id) {
            self.trace.captures[place].set_epoch(epoch);
        }
    }

    /// Has it told when bytes of a capture wait: once, until they are drained. In the middle of work it is told of many
    /// bytes only.
    pub fn capture_tell(&mut self, id: CaptureId, on: bool) {
        if let Some(place) = self.capture_place(id) {
            self.taps.taps[place].tell = if on { Tell::On } else { Tell::Off };
        }
    }

    /// A capture whose bytes wait and whose user has not been told.
    pub(crate) fn take_captured(&mut self) -> Option<CaptureId> {
        if !self.trace.is_capturing() {
            return None;
        }
        // While there is more to do, it is told of when it is worth it.
        let enough = if self.has_work() { WORTH } else { 0 };
        let mut taps = self.taps.taps.iter_mut().zip(&self.trace.captures);
        let (tap, _) =
            taps.find(|(tap, capture)| tap.tell == Tell::On && capture.is_over(enough))?;
        tap.tell = Tell::Told;
        Some(tap.id)
    }

    /// Ends the last capture: each interface's statistics are its last blocks. A sink has everything then and
    /// is gone.
    pub fn capture_finish(&mut self) {
        if let Some(last) = self.taps.taps.len().checked_sub(1) {
            self.finish(last);
        }
    }

    fn finish(&mut self, place: usize) {
        let now = self.now;
        let received: Vec<(IfId, u64)> = (2..self.sockets.len() as u32)
            .map(IfId)
            .filter_map(|id| {
                let netns = self.ns(self.sockets[id.0 as usize].ns)?;
                Some((id, netns.iface(id)?.rx.packets))
            })
            .collect();
        let capture = &mut self.trace.captures[place];
        for (id, received) in received {
            if capture.watches(id) {
                capture.statistics(now, id, received, capture.dropped(id));
            }
        }
        capture.finish(now);
        if let Some(mut sink) = self.taps.taps[place].sink.take()
            && capture.pending_len() > 0
        {
            capture.drain(|bytes| sink.take(bytes));
        }
    }
}
