//! Questions that are overheard: ARP asks everybody on a link, and concerns one.
//!
//! Of the others each takes note that the asker is still there, if it knows him, and nothing follows from it. While no mark
//! waits and nobody listens to events, that is done where the question is flooded, without a frame that crosses, waits and
//! is freed for each of them: on a link of a thousand stations all but one of a thousand. Nobody can tell: what
//! one namespace notes is nothing to another, and whoever has to answer does so when all have heard.

use switch::link::Side;

use super::{Net, Plug, Reader};
use crate::id::{IfId, LinkId};
use crate::netns::Question;

impl Net {
    /// Whether what arrives somewhere now is the next to be looked at there, and nobody is told of it.
    pub(super) fn is_calm(&self) -> bool {
        self.work.is_empty()
            && !self.hand.is_full()
            && !self.trace.is_listening()
            && !self.trace.is_capturing()
            && self.children.is_empty()
    }

    /// The stack behind a bridge's port has heard a question that does not concern it. False, and nothing has happened, if it
    /// has to be brought there.
    pub(super) fn overheard(&mut self, iface: IfId, question: &Question) -> bool {
        let Plug::Veth { link, side, peer } = self.sockets[iface.0 as usize].plug else {
            return false;
        };
        let socket = self.sockets[peer.0 as usize];
        if socket.reader != Reader::Stack || !self.may_cross(link, side, question.frame_len()) {
            return false;
        }
        let netns = self.namespaces.get_mut(socket.ns.0 as usize);
        let Some(netns) = netns.and_then(Option::as_deref_mut) else {
            return false;
        };
        if !netns.overhear(self.now, peer, question) {
            return false;
        }
        self.links[link.0 as usize]
            .taking(side)
            .cross_shared(question.frame_len() as u64);
        true
    }

    /// A frame of this length would cross, and find none before it.
    fn may_cross(&mut self, link: LinkId, side: Side, len: usize) -> bool {
        let way = self.links[link.0 as usize].clear(side, len);
        way.is_some_and(|way| way.is_idle())
    }
}
