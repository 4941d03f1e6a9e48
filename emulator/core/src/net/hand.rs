//! The frame at hand: one that has crossed a veth pair and whose reader is next anyway.
//!
//! Whoever fills a ring marks its reader, and marks are taken first in, first out. While the ring and the worklist are
//! empty, the mark of a frame would be the next to be taken: so it is not put into the ring, but taken at once. Nobody
//! can tell. If another frame follows it, both wait in the ring, and the mark comes before all others. There is
//! none at hand but while marks are worked on.

use std::collections::VecDeque;

use switch::Frame;
use switch::link::Clear;

use super::run::Inlet;
use super::{Net, Plug, Reader, Socket, Work, mark};
use crate::id::IfId;

/// A place for one frame.
#[derive(Debug, Default)]
pub(super) enum Hand {
    /// No marks are being worked on.
    #[default]
    Closed,
    /// They are.
    Open,
    /// A frame is at hand, and has arrived at this interface.
    Full(IfId, Frame),
}

impl Hand {
    /// A frame is at hand.
    pub(super) const fn is_full(&self) -> bool {
        matches!(self, Self::Full(..))
    }

    #[inline(always)]
    const fn take(&mut self) -> Option<(IfId, Frame)> {
        if !matches!(self, Self::Full(..)) {
            return None;
        }
        match core::mem::replace(self, Self::Open) {
            Self::Full(iface, frame) => Some((iface, frame)),
            Self::Closed | Self::Open => None,
        }
    }
}

/// A frame has crossed a veth pair by `way` and arrives at an interface: it is at hand, or waits there.
#[inline(always)]
pub(super) fn arrive(
    hand: &mut Hand,
    sockets: &mut [Socket],
    work: &mut VecDeque<Work>,
    mut way: Clear<'_>,
    (iface, frame): (IfId, Frame),
) {
    let is_read = |reader| matches!(reader, Reader::Stack | Reader::Port { .. });
    if matches!(hand, Hand::Open)
        && work.is_empty()
        && way.is_idle()
        && is_read(sockets[iface.0 as usize].reader)
    {
        *hand = Hand::Full(iface, frame);
        return;
    }
    if matches!(hand, Hand::Full(held_at, _) if *held_at == iface)
        && let Some((_, first)) = hand.take()
    {
        way.wait(first);
        mark_first(sockets, work, iface);
    }
    way.wait(frame);
    mark(sockets, work, iface);
}

fn mark_first(sockets: &mut [Socket], work: &mut VecDeque<Work>, iface: IfId) {
    let socket = &mut sockets[iface.0 as usize];
    if !socket.marked {
        socket.marked = true;
        work.push_front(Work::Receive(iface));
    }
}

impl Net {
    /// The frame at hand, to be taken in.
    #[inline(always)]
    pub(super) const fn take_hand(&mut self) -> Option<(IfId, Frame)> {
        self.hand.take()
    }

    /// The frame at hand, if there is one, waits in its ring.
    #[inline(always)]
    pub(super) fn put_down(&mut self) {
        if matches!(self.hand, Hand::Full(..)) {
            self.put_down_held();
        }
    }

    #[inline(never)]
    fn put_down_held(&mut self) {
        let Some((iface, frame)) = self.hand.take() else {
            return;
        };
        if let Plug::Veth { link, side, .. } = self.sockets[iface.0 as usize].plug {
            self.links[link.0 as usize].wait(side, frame);
            mark_first(&mut self.sockets, &mut self.work, iface);
        } else {
            self.pool.free(frame);
        }
    }

    /// Takes in the frame that was at hand at `iface`: what [`Net::receive`] does with one that waits alone.
    #[inline(always)]
    pub(super) fn take_in(&mut self, iface: IfId, frame: Frame) {
        let Socket {
            ns, plug, reader, ..
        } = self.sockets[iface.0 as usize];
        match (reader, plug) {
            (Reader::Port { bridge, port }, Plug::Veth { link, side, .. }) => {
                self.receive_lone(
                    Inlet {
                        bridge,
                        port,
                        iface,
                        link,
                        side,
                    },
                    frame,
                );
            }
            _ => self.stack_input(ns, iface, frame),
        }
    }
}
