//! Announcing an address on its link, so that neighbours forget who had it before.
//!
//! As Docker does it at attach: gratuitous ARP requests, or unsolicited neighbour advertisements to all
//! nodes, the first at once, the others at a fixed interval.

use core::net::IpAddr;
use core::time::Duration;

use switch::IfId;

use super::timers::Timer;
use super::{Cx, Netns};

/// What remains to be announced of an address.
#[derive(Debug)]
pub(super) struct Announcement {
    pub(super) iface: IfId,
    addr: IpAddr,
    left: u32,
    interval: Duration,
}

impl Netns {
    /// Announces `addr` on `iface` `count` times, `interval` apart, the first time now. A second
    /// call for the same address replaces the first.
    pub fn announce(
        &mut self,
        cx: &mut Cx<'_>,
        iface: IfId,
        addr: IpAddr,
        count: u32,
        interval: Duration,
    ) {
        self.announcements
            .retain(|a| (a.iface, a.addr) != (iface, addr));
        if count == 0 {
            return;
        }
        self.announcements.reserve_exact(1);
        self.announcements.push(Announcement {
            iface,
            addr,
            left: count,
            interval,
        });
        self.announce_due(cx, iface, addr);
    }

    pub(super) fn announce_due(&mut self, cx: &mut Cx<'_>, iface: IfId, addr: IpAddr) {
        let ours = self.ifaces.get(iface).is_some_and(|i| i.has(addr) && i.up);
        let at = self
            .announcements
            .iter()
            .position(|a| (a.iface, a.addr) == (iface, addr));
        let Some(at) = at else {
            return;
        };
        self.announcements[at].left -= 1;
        let (left, interval) = (self.announcements[at].left, self.announcements[at].interval);
        if left == 0 || !ours {
            self.announcements.remove(at);
            if self.announcements.is_empty() {
                self.announcements = Vec::new();
            }
        } else {
            self.timers
                .arm(cx.now + interval, Timer::Announce(iface, addr));
        }
        if ours {
            match addr {
                IpAddr::V4(v4) => self.arp_announce(cx, iface, v4),
                IpAddr::V6(v6) => self.nd_announce(cx, iface, v6),
            }
        }
    }
}
