//! The lab's side of a program or machine outside: a raw interface of the lab whose frames are those of a descriptor.

use std::cell::Cell;
use std::io;
use std::net::{TcpListener, UdpSocket};
use std::rc::Rc;
use std::time::Duration;

use emulator_core::id::{IfId, NsId, SockId};
use emulator_core::joining::Heard;
use emulator_core::net::Offload;

use super::dns::Dns;
use super::frames::{Frames, Got};
use super::joined::Joined;
use crate::reactor::{Events, Interest, Watch};
use crate::runtime::{Attachment, Cx};

/// The key of the frames; the DNS has those from 1 on.
const FRAMES: u64 = 0;
/// The key of interfaces whose frames nobody needs.
const SINK: u64 = u64::MAX;
/// Frames that are taken in one call.
const BURST: usize = 64;

/// What became of the frames of a guest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Taken from the descriptor and sent in the lab.
    pub sent: u64,
    /// Given to the descriptor.
    pub received: u64,
    /// Not carried: a header that says what the lab does not know.
    pub odd: u64,
    /// Not sent: the lab had no buffer.
    pub no_buffer: u64,
    /// Answered here: DHCP, solicitations of routers.
    pub answered: u64,
}

/// The counts, for who shows them.
pub type Tally = Rc<Cell<Counts>>;

/// Who tells the other side what it has to know of the network.
#[derive(Debug)]
pub enum Front {
    /// It was told when it was made, and has these sockets of the embedded DNS, if any.
    Told(Option<(UdpSocket, TcpListener)>),
    /// It asks.
    Asks(Box<Joined>),
}

/// A program or machine outside, on an interface of the lab.
#[derive(Debug)]
pub struct Guest {
    frames: Frames,
    watch: Option<Watch>,
    iface: IfId,
    dns: Option<Dns>,
    joined: Option<Box<Joined>>,
    /// A frame that found no room at the descriptor; the others wait in the lab.
    held: Option<(Vec<u8>, Offload)>,
    counts: Counts,
    tally: Tally,
}

impl Guest {
    /// Takes an interface of a namespace away from its stack and gives it to a descriptor.
    ///
    /// # Errors
    /// If the process has no descriptors left, or one of them is something else.
    pub fn new(
        cx: &mut Cx<'_>,
        (ns, iface): (NsId, IfId),
        frames: Frames,
        front: Front,
        tally: Tally,
    ) -> io::Result<Self> {
        let watch = cx.watch(&frames, FRAMES, Interest::READ)?;
        let (dns, joined) = match front {
            Front::Told(sockets) => {
                let dns = sockets.map(|(udp, tcp)| Dns::new(cx, ns, udp, tcp));
                (dns.transpose()?, None)
            }
            Front::Asks(joined) => (None, Some(joined)),
        };
        cx.lab.net_mut().raw(iface, true);
        cx.own_iface(iface, FRAMES);
        let mut guest = Self {
            frames,
            watch: Some(watch),
            iface,
            dns,
            joined,
            held: None,
            counts: Counts::default(),
            tally,
        };
        if let Some(joined) = &mut guest.joined {
            // The machine has a MAC of its own.
            cx.lab.net_mut().announce(iface, 0, Duration::ZERO);
            joined.open(cx, FRAMES);
        }
        Ok(guest)
    }

    fn take(&mut self, cx: &mut Cx<'_>) {
        for _ in 0..BURST {
            match self.frames.read() {
                Got::Frame(frame, offload) => {
                    let heard = match &mut self.joined {
                        Some(joined) if offload.gso_size == 0 => joined.hear(cx, frame, SINK),
                        _ => Heard::Other,
                    };
                    if heard != Heard::Other {
                        self.counts.answered += 1;
                        if let Heard::Answer(answer) = heard {
                            // One that finds no room is lost: who asked asks again.
                            let _lost = self.frames.write(&answer, Offload::default());
                        }
                        continue;
                    }
                    let sent = cx
                        .lab
                        .net_mut()
                        .raw_send_offload(self.iface, frame, offload);
                    match sent {
                        Ok(()) => self.counts.sent += 1,
                        Err(_) => self.counts.no_buffer += 1,
                    }
                }
                Got::Odd => self.counts.odd += 1,
                Got::Nothing => return,
                Got::Gone => return self.leave(cx),
            }
        }
    }

    /// Gives the descriptor what waits in the lab, while it takes it.
    fn give(&mut self, cx: &mut Cx<'_>) {
        if let Some((frame, offload)) = self.held.take()
            && !self.frames.write(&frame, offload)
        {
            self.held = Some((frame, offload));
            return;
        }
        let (frames, held) = (&self.frames, &mut self.held);
        while held.is_none() {
            let given = cx
                .lab
                .net_mut()
                .raw_recv_offload(self.iface, |frame, offload| {
                    if !frames.write(frame, offload) {
                        *held = Some((frame.to_vec(), offload));
                    }
                });
            if given.is_none() {
                break;
            }
            self.counts.received += 1;
        }
        if let Some(watch) = self.watch {
            let interest = Interest::of(true, held.is_some());
            // The watch is there as long as the descriptor is.
            let _there = cx.rewatch(watch, frames, interest);
        }
    }

    /// The other side is gone: nothing is told of the descriptor any more.
    fn leave(&mut self, cx: &mut Cx<'_>) {
        if let Some(watch) = self.watch.take() {
            cx.unwatch(watch, &self.frames);
        }
    }
}

impl Attachment for Guest {
    fn ready(&mut self, cx: &mut Cx<'_>, key: u64, events: Events) {
        if key != FRAMES {
            if let Some(dns) = &mut self.dns {
                dns.ready(cx, key, events);
            }
            return;
        }
        if events.hup {
            return self.leave(cx);
        }
        if events.write && self.held.is_some() {
            self.give(cx);
        }
        if events.read || events.error {
            self.take(cx);
        }
        self.tally.set(self.counts);
    }

    fn frames(&mut self, cx: &mut Cx<'_>, key: u64, iface: IfId) {
        if key == SINK {
            Joined::sink(cx, iface);
        } else if self.held.is_none() {
            self.give(cx);
            self.tally.set(self.counts);
        }
    }

    fn lab_ready(&mut self, cx: &mut Cx<'_>, key: u64, sock: SockId) {
        if let Some(dns) = &mut self.dns {
            dns.lab_ready(cx, key, sock);
        }
        if let Some(joined) = &mut self.joined {
            joined.lab_ready(cx, sock);
        }
    }

    fn alarm(&mut self, cx: &mut Cx<'_>) {
        if let Some(advert) = self.joined.as_ref().and_then(|joined| joined.due(cx)) {
            // The next one is due soon enough.
            let _lost = self.frames.write(&advert, Offload::default());
        }
    }

    fn end(&mut self, cx: &mut Cx<'_>) {
        self.leave(cx);
        if let Some(joined) = &mut self.joined {
            joined.end(cx);
        }
        cx.lab.net_mut().raw(self.iface, false);
    }
}
