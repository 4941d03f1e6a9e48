//! The way out of the lab: the machine that is the internet asks somebody who knows the real one.

use crate::id::SockId;
use crate::netns::Errno;

use super::Lab;
use super::outside::{stand_ins, ways_out};

impl Lab {
    /// Opens the way out. The stand-ins of the internet and the gateway's resolver end; the gateway sends whatever is
    /// not for its segments to `internet`, where it waits for a ruling ([`Netns::diverted`]). The socket that is
    /// returned tells of it; closing it leaves an internet where nobody is.
    ///
    /// [`Netns::diverted`]: crate::netns::Netns::diverted
    ///
    /// # Errors
    /// [`Errno::NotSupported`] where there is no internet; [`Errno::AddrInUse`] if it is open.
    pub fn open_internet(&mut self) -> Result<SockId, Errno> {
        let (gateway, internet) = (self.places.gateway, self.places.internet);
        if gateway == internet {
            return Err(Errno::NotSupported);
        }
        let opened = self.net.with_ns(internet, |netns, cx| {
            let sock = netns.divert(cx)?;
            for prefix in stand_ins() {
                // Gone already is gone.
                let _gone = netns.route_del(prefix, None, None);
            }
            // The real world has rates of its own.
            netns.icmp_limited = false;
            Ok(sock)
        });
        let sock = opened.ok_or(Errno::NotSupported)??;
        self.apps.kill_all(&mut self.net, internet);
        self.apps.kill_all(&mut self.net, gateway);
        self.net.with_ns(gateway, |netns, _| {
            for way in ways_out(netns) {
                // It has no other default route.
                let _fresh = netns.route_add(way);
            }
        });
        Ok(sock)
    }
}
