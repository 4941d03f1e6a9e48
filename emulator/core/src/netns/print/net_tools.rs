//! `ifconfig`, `route`, `arp`, `netstat`.

use core::fmt::Write as _;
use core::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use switch::Time;

use super::{Dialect, carrier, mac, name_of, queue_len};
use crate::app::SockKind;
use crate::netns::addr::Scope;
use crate::netns::iface::{Counters, Iface};
use crate::netns::socket::{SockState, SocketInfo};
use crate::netns::tcp::TcpState;
use crate::netns::{Netns, Route};

/// `ifconfig`: the interfaces that are up, by name; all of them with `all` (`-a`), one with `dev`.
#[must_use]
pub fn ifconfig(netns: &Netns, dialect: Dialect, all: bool, dev: Option<&str>) -> String {
    let mut ifaces: Vec<&Iface> = netns
        .ifaces()
        .filter(|iface| match dev {
            Some(dev) => iface.name == dev,
            None => iface.up || all,
        })
        .collect();
    ifaces.sort_by(|a, b| natural(&a.name).cmp(&natural(&b.name)));
    let mut out = String::new();
    for iface in ifaces {
        match dialect {
            Dialect::Busybox => busybox_iface(&mut out, netns, iface),
            Dialect::Full => full_iface(&mut out, netns, iface),
        }
        out.push('\n');
    }
    out
}

/// A name's letters, then its number as a number: eth2 before eth10.
fn natural(name: &str) -> (&str, u64) {
    let letters = name.trim_end_matches(|c: char| c.is_ascii_digit());
    (letters, name[letters.len()..].parse().unwrap_or(0))
}

/// `586.0 B`, `1.9 KiB`: bytes by powers of 1,024 with one digit behind the point.
pub(super) fn scaled(bytes: u64) -> String {
    let (mut whole, mut tenths) = (bytes, 0);
    let mut unit = "";
    for larger in ["Ki", "Mi", "Gi", "Ti"] {
        if whole < 1024 {
            break;
        }
        tenths = (whole % 1024) * 10 / 1024;
        whole /= 1024;
        unit = larger;
    }
    format!("{whole}.{tenths} {unit}B")
}

fn v4(iface: &Iface) -> Option<(IpAddr, IpAddr, Option<core::net::Ipv4Addr>)> {
    let addr = iface.addrs.iter().find(|a| a.net.addr().is_ipv4())?;
    Some((addr.net.addr(), addr.net.netmask(), addr.broadcast()))
}

fn v6(iface: &Iface) -> impl Iterator<Item = (IpNet, Scope)> + '_ {
    iface
        .addrs
        .iter()
        .filter(|a| a.net.addr().is_ipv6())
        .map(|a| (a.net, a.scope()))
}

fn busybox_iface(out: &mut String, netns: &Netns, iface: &Iface) {
    let _ = write!(out, "{:<9} Link encap:", iface.name);
    if iface.is_loopback() {
        out.push_str("Local Loopback  \n");
    } else {
        let mac = mac(iface.mac).to_uppercase();
        let _ = writeln!(out, "Ethernet  HWaddr {mac}  ");
    }
    if let Some((addr, mask, broadcast)) = v4(iface) {
        let _ = write!(out, "          inet addr:{addr} ");
        if let Some(broadcast) = broadcast {
            let _ = write!(out, " Bcast:{broadcast} ");
        }
        let _ = writeln!(out, " Mask:{mask}");
    }
    for (net, scope) in v6(iface) {
        let scope = match scope {
            Scope::Global => "Global",
            Scope::Host => "Host",
            Scope::Link => "Link",
        };
        let _ = writeln!(out, "          inet6 addr: {net} Scope:{scope}");
    }
    out.push_str("          ");
    for (on, word) in [
        (iface.up, "UP"),
        (!iface.is_loopback(), "BROADCAST"),
        (iface.is_loopback(), "LOOPBACK"),
        (iface.up && carrier(netns, iface), "RUNNING"),
        (!iface.is_loopback(), "MULTICAST"),
    ] {
        if on {
            let _ = write!(out, "{word} ");
        }
    }
    let _ = writeln!(out, " MTU:{}  Metric:1", iface.mtu);
    let (Counters { packets: rx, .. }, Counters { packets: tx, .. }) = (iface.rx, iface.tx);
    let _ = writeln!(
        out,
        "          RX packets:{rx} errors:0 dropped:0 overruns:0 frame:0"
    );
    let _ = writeln!(
        out,
        "          TX packets:{tx} errors:0 dropped:0 overruns:0 carrier:0"
    );
    let _ = writeln!(
        out,
        "          collisions:0 txqueuelen:{} ",
        queue_len(iface)
    );
    let (rx, tx) = (iface.rx.bytes, iface.tx.bytes);
    let (rx_text, tx_text) = (scaled(rx), scaled(tx));
    let _ = writeln!(
        out,
        "          RX bytes:{rx} ({rx_text})  TX bytes:{tx} ({tx_text})"
    );
}

fn full_iface(out: &mut String, netns: &Netns, iface: &Iface) {
    let flags: Vec<(u32, &str)> = [
        (iface.up, 1, "UP"),
        (!iface.is_loopback(), 2, "BROADCAST"),
        (iface.is_loopback(), 8, "LOOPBACK"),
        (iface.up && carrier(netns, iface), 64, "RUNNING"),
        (!iface.is_loopback(), 4096, "MULTICAST"),
    ]
    .into_iter()
    .filter_map(|(on, bit, word)| on.then_some((bit, word)))
    .collect();
    let bits: u32 = flags.iter().map(|flag| flag.0).sum();
    let words: Vec<&str> = flags.iter().map(|flag| flag.1).collect();
    let _ = writeln!(
        out,
        "{}: flags={bits}<{}>  mtu {}",
        iface.name,
        words.join(","),
        iface.mtu
    );
    if let Some((addr, mask, broadcast)) = v4(iface) {
        let _ = write!(out, "        inet {addr}  netmask {mask}");
        if let Some(broadcast) = broadcast {
            let _ = write!(out, "  broadcast {broadcast}");
        }
        out.push('\n');
    }
    for (net, scope) in v6(iface) {
        let scope = match scope {
            Scope::Global => "0x0<global>",
            Scope::Host => "0x10<host>",
            Scope::Link => "0x20<link>",
        };
        let (addr, len) = (net.addr(), net.prefix_len());
        let _ = writeln!(
            out,
            "        inet6 {addr}  prefixlen {len}  scopeid {scope}"
        );
    }
    let queue = queue_len(iface);
    let _ = if iface.is_loopback() {
        writeln!(out, "        loop  txqueuelen {queue}  (Local Loopback)")
    } else {
        let mac = mac(iface.mac);
        writeln!(out, "        ether {mac}  txqueuelen {queue}  (Ethernet)")
    };
    for (name, counters, errors) in [
        ("RX", iface.rx, "dropped 0  overruns 0  frame 0"),
        (
            "TX",
            iface.tx,
            "dropped 0 overruns 0  carrier 0  collisions 0",
        ),
    ] {
        let Counters { packets, bytes } = counters;
        let text = scaled(bytes);
        let _ = writeln!(
            out,
            "        {name} packets {packets}  bytes {bytes} ({text})"
        );
        let _ = writeln!(out, "        {name} errors 0  {errors}");
    }
}

fn route_columns(route: &Route) -> (String, String, String, &'static str) {
    let gateway = route
        .via
        .map_or_else(|| "0.0.0.0".to_owned(), |via| via.to_string());
    let host = route.dst.prefix_len() == route.dst.max_prefix_len();
    let flags = match (route.via.is_some(), host) {
        (true, true) => "UGH",
        (true, false) => "UG",
        (false, true) => "UH",
        (false, false) => "U",
    };
    let (to, mask) = (
        route.dst.addr().to_string(),
        route.dst.netmask().to_string(),
    );
    (to, gateway, mask, flags)
}

/// `route -n`.
#[must_use]
pub fn route(netns: &Netns) -> String {
    let mut out = String::from(
        "Kernel IP routing table\n\
         Destination     Gateway         Genmask         Flags Metric Ref    Use Iface\n",
    );
    for route in netns.routes(false) {
        let (to, gateway, mask, flags) = route_columns(&route);
        let (metric, dev) = (route.metric, name_of(netns, route.dev));
        let _ = writeln!(
            out,
            "{to:<15} {gateway:<15} {mask:<15} {flags:<5} {metric:<6} 0        0 {dev}"
        );
    }
    out
}

/// `netstat -rn`.
#[must_use]
pub fn netstat_routes(netns: &Netns) -> String {
    let mut out = String::from(
        "Kernel IP routing table\n\
         Destination     Gateway         Genmask         Flags   MSS Window  irtt Iface\n",
    );
    for route in netns.routes(false) {
        let (to, gateway, mask, flags) = route_columns(&route);
        let dev = name_of(netns, route.dev);
        let _ = writeln!(
            out,
            "{to:<15} {gateway:<15} {mask:<15} {flags:<5}     0 0          0 {dev}"
        );
    }
    out
}

/// `arp -a` of both dialects; busybox prints the same for `arp -n`.
#[must_use]
pub fn arp(netns: &Netns, now: Time, dialect: Dialect) -> String {
    let gap = match dialect {
        Dialect::Busybox => "  on",
        Dialect::Full => " on",
    };
    let mut out = String::new();
    for neighbour in netns.neighbours(now).filter(|n| n.addr.is_ipv4()) {
        let (addr, dev) = (neighbour.addr, name_of(netns, neighbour.iface));
        let _ = match neighbour.mac {
            Some(address) => writeln!(out, "? ({addr}) at {} [ether]{gap} {dev}", mac(address)),
            None => writeln!(out, "? ({addr}) at <incomplete>{gap} {dev}"),
        };
    }
    out
}

/// `arp -n` of net-tools.
#[must_use]
pub fn arp_table(netns: &Netns, now: Time) -> String {
    let mut out = String::new();
    for neighbour in netns.neighbours(now).filter(|n| n.addr.is_ipv4()) {
        if out.is_empty() {
            out.push_str("Address                  HWtype  HWaddress           Flags Mask            Iface\n");
        }
        let (addr, dev) = (neighbour.addr.to_string(), name_of(netns, neighbour.iface));
        let _ = match neighbour.mac {
            Some(address) => {
                let mac = mac(address);
                writeln!(
                    out,
                    "{addr:<24} ether   {mac:<19} C                     {dev}"
                )
            }
            None => writeln!(
                out,
                "{addr:<24}         (incomplete)                              {dev}"
            ),
        };
    }
    out
}

/// What of the sockets is asked for: the letters of `netstat` and `ss`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NetstatFlags {
    /// `-t`.
    pub tcp: bool,
    /// `-u`.
    pub udp: bool,
    /// `-l`: only who listens.
    pub listening: bool,
    /// `-a`: those too.
    pub all: bool,
}

impl NetstatFlags {
    /// The sockets that are asked for, TCP first. Without `-t` and `-u` both are.
    pub(super) fn select(self, netns: &Netns) -> Vec<SocketInfo> {
        let either = self.tcp || self.udp;
        let mut sockets = netns.sockets();
        sockets.retain(|socket| {
            let kind = match socket.kind {
                SockKind::Tcp => self.tcp || !either,
                SockKind::Udp => self.udp || !either,
                SockKind::Ping => false,
            };
            let listens = matches!(
                socket.state,
                SockState::Unconnected | SockState::Tcp(TcpState::Listen)
            );
            kind && (self.all || listens == self.listening)
        });
        sockets.sort_by_key(|socket| {
            let tcp = socket.kind == SockKind::Tcp;
            (!tcp, socket.local.is_ipv6())
        });
        sockets
    }
}

/// `netstat` with `-n` and these flags.
#[must_use]
pub fn netstat(netns: &Netns, dialect: Dialect, flags: NetstatFlags) -> String {
    let which = match flags {
        NetstatFlags { all: true, .. } => "servers and established",
        NetstatFlags {
            listening: true, ..
        } => "only servers",
        _ => "w/o servers",
    };
    let width = match dialect {
        Dialect::Busybox => 12,
        Dialect::Full => 11,
    };
    let mut out = format!(
        "Active Internet connections ({which})\n\
         Proto Recv-Q Send-Q Local Address           Foreign Address         {:<width$}\n",
        "State"
    );
    for socket in flags.select(netns) {
        let v6 = socket.local.is_ipv6() && dialect == Dialect::Full;
        let protocol = match (socket.kind, v6) {
            (SockKind::Tcp, false) => "tcp",
            (SockKind::Tcp, true) => "tcp6",
            (_, false) => "udp",
            (_, true) => "udp6",
        };
        let any = if socket.local.is_ipv4() {
            "0.0.0.0:*"
        } else {
            ":::*"
        };
        let state = match socket.state {
            SockState::Connected => "ESTABLISHED",
            SockState::Tcp(state) => state.netstat(),
            SockState::Unconnected => "",
        };
        let (recv, send) = queues(&socket);
        let local = plain(socket.local);
        let peer = socket.peer.map_or_else(|| any.to_owned(), plain);
        let _ = writeln!(
            out,
            "{protocol:<5} {recv:>6} {send:>6} {local:<23} {peer:<23} {state:<width$}"
        );
    }
    out
}

/// A listener's queues are the business of `ss`.
const fn queues(socket: &SocketInfo) -> (usize, usize) {
    match socket.state {
        SockState::Tcp(TcpState::Listen) => (0, 0),
        _ => (socket.recv_queue, socket.send_queue),
    }
}

/// Address and port with a colon between, IPv6 without brackets.
fn plain(addr: SocketAddr) -> String {
    format!("{}:{}", addr.ip(), addr.port())
}
