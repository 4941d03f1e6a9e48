//! What arrives at an interface goes to its reader: a stack, or a bridge.

use switch::{DropReason, Frame};

use super::{Net, Plug, QUANTUM, Reader, Socket, run};
use crate::id::{IfId, NsId};
use crate::netns::Cx;

impl Net {
    /// Takes up to a quantum of frames from an interface's receive ring.
    pub(super) fn receive(&mut self, iface: IfId) {
        let socket = &mut self.sockets[iface.0 as usize];
        socket.marked = false;
        let Socket {
            ns, plug, reader, ..
        } = *socket;
        match (reader, plug) {
            (Reader::Raw, _) => {}
            (Reader::Told, _) => self.raw_arrived(iface),
            (Reader::Port { bridge, port }, Plug::Veth { link, side, .. }) => {
                self.receive_at_ports(run::Inlet {
                    bridge,
                    port,
                    iface,
                    link,
                    side,
                });
            }
            _ => self.receive_each(ns, iface, plug, reader),
        }
    }

    #[inline(never)]
    fn receive_each(&mut self, ns: NsId, iface: IfId, plug: Plug, reader: Reader) {
        let mut left = QUANTUM;
        while left > 0 {
            let Some(frame) = self.take_received(iface, plug) else {
                return;
            };
            left -= 1;
            match reader {
                Reader::Port { bridge, port } => self.bridge_input(bridge, port, iface, frame),
                Reader::Stack | Reader::Raw | Reader::Told => {
                    self.stack_input(ns, iface, frame);
                    left -= self.receive_train(ns, iface, plug, left);
                }
            }
        }
        self.mark(iface);
    }

    /// Takes frames that carry on what one that was just taken is a part of, at most `most`; how many.
    #[inline]
    fn receive_train(&mut self, ns: NsId, iface: IfId, plug: Plug, most: usize) -> usize {
        let netns = self
            .namespaces
            .get_mut(ns.0 as usize)
            .and_then(Option::as_mut);
        let family = netns.and_then(|ns| ns.leads_train());
        let (Some(family), Plug::Veth { link, side, .. }) = (family, plug) else {
            return 0;
        };
        let way = &mut self.links[link.0 as usize];
        let is_plain = !self.trace.is_capturing() && self.children.is_empty();
        if most == 0 || way.waiting(side) == 0 || !is_plain {
            return 0;
        }
        let mut ring = way.take_ring(side);
        let count = self.with_hooks(ns, |netns, cx| {
            netns.train_input(cx, iface, family, &mut ring.waiting(), most)
        });
        self.links[link.0 as usize].put_ring(side, ring);
        self.after(ns);
        count.unwrap_or(0)
    }

    #[inline]
    pub(super) fn take_received(&mut self, iface: IfId, plug: Plug) -> Option<Frame> {
        match plug {
            Plug::Veth { link, side, .. } => self.links[link.0 as usize].receive(side),
            Plug::Child { .. } => self.children.take(iface),
            Plug::Bridge(_) | Plug::Nothing | Plug::Segment(_) => None,
        }
    }

    /// A frame for the stack of `ns`, or for what sits on top of its interface.
    #[inline(always)]
    pub(crate) fn stack_input(&mut self, ns: NsId, iface: IfId, frame: Frame) {
        self.trace.frame(
            self.now,
            &self.pool,
            &frame,
            iface,
            switch::capture::Direction::In,
        );
        let Some(frame) = self.child_input(iface, frame) else {
            return;
        };
        self.take_up(ns, iface, frame);
    }

    pub(crate) fn host_input(&mut self, ns: NsId, iface: IfId, frame: Frame) {
        self.take_up(ns, iface, frame);
    }

    #[inline(always)]
    fn take_up(&mut self, ns: NsId, iface: IfId, frame: Frame) {
        let Some(Some(netns)) = self.namespaces.get_mut(ns.0 as usize) else {
            self.trace.drop(
                self.now,
                &mut self.pool,
                frame,
                iface,
                DropReason::InterfaceDown,
            );
            return;
        };
        let mut cx = Cx {
            now: self.now,
            pool: &mut self.pool,
            trace: &mut self.trace,
            tx: &mut self.tx,
            wakes: &mut self.wakes,
            spares: &mut self.spares,
        };
        netns.input(&mut cx, iface, frame);
        self.after(ns);
    }
}
