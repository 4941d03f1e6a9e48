//! The lab's side of a program outside: a raw interface of the lab whose frames are those of a descriptor.

use std::io;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::OwnedFd;

use emulator_core::id::{IfId, NsId, SockId};
use emulator_core::net::Offload;

use super::dns::Dns;
use super::frames::{Frames, Got};
use crate::reactor::{Events, Interest, Watch};
use crate::runtime::{Attachment, Cx};

/// The key of the frames; the DNS has the others.
const FRAMES: u64 = 0;
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
}

/// A program outside, on an interface of the lab.
#[derive(Debug)]
pub struct Guest {
    frames: Frames,
    watch: Option<Watch>,
    iface: IfId,
    dns: Option<Dns>,
    /// A frame that found no room at the descriptor; the others wait in the lab.
    held: Option<(Vec<u8>, Offload)>,
    counts: Counts,
}

impl Guest {
    /// Takes an interface of a namespace away from its stack and gives it to a descriptor, and the sockets of the
    /// embedded DNS to that of the namespace.
    ///
    /// # Errors
    /// If the process has no descriptors left, or one of them is something else.
    pub fn new(
        cx: &mut Cx<'_>,
        (ns, iface): (NsId, IfId),
        frames: OwnedFd,
        dns: Option<(UdpSocket, TcpListener)>,
    ) -> io::Result<Self> {
        let frames = Frames::new(frames, true)?;
        let watch = cx.watch(&frames, FRAMES, Interest::READ)?;
        let dns = dns
            .map(|(udp, tcp)| Dns::new(cx, ns, udp, tcp))
            .transpose()?;
        cx.lab.net_mut().raw(iface, true);
        cx.own_iface(iface, FRAMES);
        Ok(Self {
            frames,
            watch: Some(watch),
            iface,
            dns,
            held: None,
            counts: Counts::default(),
        })
    }

    fn take(&mut self, cx: &mut Cx<'_>) {
        for _ in 0..BURST {
            match self.frames.read() {
                Got::Frame(frame, offload) => {
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
    }

    fn frames(&mut self, cx: &mut Cx<'_>, _key: u64, _iface: IfId) {
        if self.held.is_none() {
            self.give(cx);
        }
    }

    fn lab_ready(&mut self, cx: &mut Cx<'_>, key: u64, sock: SockId) {
        if let Some(dns) = &mut self.dns {
            dns.lab_ready(cx, key, sock);
        }
    }

    fn end(&mut self, cx: &mut Cx<'_>) {
        self.leave(cx);
        cx.lab.net_mut().raw(self.iface, false);
    }
}
