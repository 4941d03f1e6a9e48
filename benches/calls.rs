//! Short connections of the lab: connect, one byte each way, and an end by reset or by FIN; to a container
//! from its neighbour, or from another machine through a port that the host publishes.
//!
//! API: socket calls by `Lab::sys`, `Lab::poll`. Buffers, offloads and mode are the defaults; docker0's rules,
//! connection tracking, counters and events are on, and what each end hears is checked.

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use vethlab::core::app::{SockKind, SockOpt, Sys};
use vethlab::core::docker::spec::{ContainerSpec, HostPort, Port, PortBinding, Proto};
use vethlab::core::id::{NsId, SockId};
use vethlab::core::lab::{Input, Lab, LabConfig, Output};
use vethlab::core::netns::Errno;

use crate::common::lab::{
    assert_tracked, container, events, family, host, lab, on_six, quiet, start, v6_of,
};

/// How much later the next connection begins: 6,000 of them fill TIME_WAIT's minute, and their ports come back. The
/// kernel beside it has as many in the middle of its rounds: none at first, about 10,000 behind the last.
const LATER: Duration = Duration::from_millis(10);
/// The same for [`CROWDED`].
const LATER_IF_CROWDED: Duration = Duration::from_millis(4);

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// With a reset by the caller.
    Reset,
    /// With a FIN each way, the caller's first.
    Fin,
}

/// Where a call comes from and what it calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// From the container beside it.
    Neighbour,
    /// The same over IPv6.
    NeighbourV6,
    /// From another machine to the host's published port.
    Published,
}

/// What holds of every row of such connections.
pub(crate) const WITH: &str = "time moves on by 10 ms for each: ports come back";
/// What holds if more ends stand than the caches hold.
pub(crate) const CROWDED: &str = "time moves on by 4 ms for each: 15,000 ends in TIME_WAIT";

pub(crate) struct Calls {
    lab: Lab,
    later: Duration,
    client: NsId,
    server: NsId,
    listener: SockId,
    to: SocketAddr,
    end: End,
}

fn settle(lab: &mut Lab) {
    while !matches!(lab.poll(), Output::Idle(_)) {}
}

/// The host's address on its uplink.
fn uplink(lab: &Lab) -> IpAddr {
    let places = lab.places();
    let host = lab.net().ns(places.host).expect("the host");
    let iface = host.iface(places.uplink).expect("its uplink");
    let mut addresses = iface.addrs.iter().map(|at| at.net.addr());
    addresses.find(IpAddr::is_ipv4).expect("an IPv4 address")
}

/// A lab, where calls come from, what hears them and at which address, and what they call.
type Scene = (Lab, NsId, (NsId, SocketAddr), SocketAddr);

fn docker0(way: Way) -> Scene {
    let mut lab = lab(LabConfig::default());
    let web = ContainerSpec {
        ports: vec![PortBinding {
            port: Port {
                number: 80,
                proto: Proto::Tcp,
            },
            host_ip: None,
            host_port: HostPort::Exact(8080),
        }],
        ..container("web", "busybox", "")
    };
    start(&mut lab, web).expect("it starts");
    start(&mut lab, container("neighbour", "busybox", "")).expect("it starts");
    lab.run_for(Duration::from_secs(5));
    quiet(&mut lab);
    let (web, neighbour) = (host(&lab, "web"), host(&lab, "neighbour"));
    let at = SocketAddr::from((web.v4, 80));
    let (client, to) = match way {
        Way::Published => (lab.places().lan, SocketAddr::new(uplink(&lab), 8080)),
        _ => (neighbour.ns, at),
    };
    (lab, client, (web.ns, at), to)
}

fn six() -> Scene {
    let lab = on_six(LabConfig::default());
    let (web, neighbour) = (host(&lab, "web"), host(&lab, "db"));
    let at = SocketAddr::from((v6_of(&lab, web), 80));
    (lab, neighbour.ns, (web.ns, at), at)
}

impl Calls {
    pub(crate) fn new(way: Way, end: End) -> Self {
        let (mut lab, client, (server, at), to) = match way {
            Way::NeighbourV6 => six(),
            Way::Neighbour | Way::Published => docker0(way),
        };
        let mut sys = lab.sys(server);
        let listener = sys.socket(SockKind::Tcp, family(at)).expect("a socket");
        sys.bind(listener, at).expect("it binds");
        sys.listen(listener, 16).expect("it listens");
        let mut calls = Self {
            lab,
            later: LATER,
            client,
            server,
            listener,
            to,
            end,
        };
        calls.call();
        assert_tracked(&calls.lab, 1);
        calls
    }

    /// More of them stand in TIME_WAIT.
    pub(crate) fn crowded(mut self) -> Self {
        self.later = LATER_IF_CROWDED;
        self
    }

    fn open(&mut self) -> (SockId, SockId) {
        let mut sys = self.lab.sys(self.client);
        let family = family(self.to);
        let sock = sys.socket(SockKind::Tcp, family).expect("a socket");
        assert_eq!(sys.connect(sock, self.to), Err(Errno::InProgress));
        settle(&mut self.lab);
        assert_eq!(self.lab.sys(self.client).take_error(sock), None);
        let accepted = self.lab.sys(self.server).accept(self.listener);
        (sock, accepted.expect("a connection").0)
    }

    fn byte(&mut self, from: (NsId, SockId), to: (NsId, SockId)) {
        assert_eq!(self.lab.sys(from.0).send(from.1, &[9]), Ok(1));
        settle(&mut self.lab);
        let mut heard = [0; 2];
        assert_eq!(self.lab.sys(to.0).recv(to.1, &mut heard), Ok(1));
        assert_eq!(heard[0], 9);
    }

    /// One connection.
    pub(crate) fn call(&mut self) -> u64 {
        let (sock, peer) = self.open();
        let (client, server) = ((self.client, sock), (self.server, peer));
        self.byte(client, server);
        self.byte(server, client);
        let mut sys = self.lab.sys(self.client);
        if self.end == End::Reset {
            sys.set(sock, SockOpt::LingerZero(true)).expect("an option");
        }
        sys.close(sock);
        settle(&mut self.lab);
        let ended = self.lab.sys(self.server).recv(peer, &mut [0; 2]);
        match self.end {
            End::Reset => assert_eq!(ended, Err(Errno::ConnReset)),
            End::Fin => assert_eq!(ended, Ok(0)),
        }
        self.lab.sys(self.server).close(peer);
        settle(&mut self.lab);
        // Handshake, two bytes, the end: sent, forwarded, delivered.
        assert!(events(&mut self.lab) >= 18);
        let now = self.lab.now() + self.later;
        self.lab.handle(now, Input::Tick);
        settle(&mut self.lab);
        1
    }
}
