//! Outputs of the real tools for the same state, letter by letter.

use core::net::IpAddr;

use switch::trace::Trace;
use switch::{Pool, Rng, Time};

use super::*;
use crate::app::{Family, SockKind, SockOpt};
use crate::id::NsId;
use crate::netns::{Cx, IfaceConfig, Peer, Route};

fn with(netns: &mut Netns, call: impl FnOnce(&mut Netns, &mut Cx<'_>)) {
    let (mut pool, mut trace) = (Pool::default(), Trace::default());
    let mut cx = Cx {
        now: Time::ZERO,
        pool: &mut pool,
        trace: &mut trace,
        tx: &mut Vec::new(),
        wakes: &mut Vec::new(),
        spares: &mut Default::default(),
    };
    call(netns, &mut cx);
    for (_, frame) in core::mem::take(cx.tx) {
        cx.pool.free(frame);
    }
}

fn config(id: u32, name: &str, kind: IfaceKind) -> IfaceConfig {
    IfaceConfig {
        id: IfId(id),
        name: name.to_owned(),
        mac: [2, 0x42, 0xac, 0x11, 0, id as u8],
        mtu: 1500,
        kind,
        peer: None,
        master: None,
        ipv6: true,
    }
}

/// A container with 172.17.0.2 on eth0, whose other end is interface 8 of the host.
fn container() -> Netns {
    let mut netns = Netns::new(NsId(1), "c", Rng::new(1));
    let eth0 = IfaceConfig {
        peer: Some(Peer {
            id: IfId(8),
            netnsid: Some(0),
        }),
        ..config(7, "eth0", IfaceKind::Veth)
    };
    netns.iface_add(eth0).unwrap();
    with(&mut netns, |ns, cx| ns.iface_up(cx, IfId(7), true).unwrap());
    netns
        .addr_add(IfId(7), "172.17.0.2/16".parse().unwrap())
        .unwrap();
    let via: IpAddr = "172.17.0.1".parse().unwrap();
    netns.route_add(Route::default_via(via, IfId(7))).unwrap();
    netns
}

fn with_v6() -> Netns {
    let mut netns = container();
    netns
        .addr_add(IfId(7), "fd00::2/64".parse().unwrap())
        .unwrap();
    let via: IpAddr = "fd00::1".parse().unwrap();
    netns.route_add(Route::default_via(via, IfId(7))).unwrap();
    netns
}

#[test]
fn ip_addr_of_busybox() {
    assert_eq!(
        ip_addr(&with_v6(), Dialect::Busybox, Only::Both, None),
        "\
1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN qlen 1000
    link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00
    inet 127.0.0.1/8 scope host lo
       valid_lft forever preferred_lft forever
    inet6 ::1/128 scope host \n       valid_lft forever preferred_lft forever
7: eth0@if8: <BROADCAST,MULTICAST,UP,LOWER_UP,M-DOWN> mtu 1500 qdisc noqueue state UP 
    link/ether 02:42:ac:11:00:07 brd ff:ff:ff:ff:ff:ff
    inet 172.17.0.2/16 brd 172.17.255.255 scope global eth0
       valid_lft forever preferred_lft forever
    inet6 fd00::2/64 scope global flags 02 \n       valid_lft forever preferred_lft forever
"
    );
}

#[test]
fn ip_addr_of_iproute2() {
    assert_eq!(
        ip_addr(&container(), Dialect::Full, Only::V4, Some("eth0")),
        "\
7: eth0@if8: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue state UP group default 
    inet 172.17.0.2/16 brd 172.17.255.255 scope global eth0
       valid_lft forever preferred_lft forever
"
    );
    assert_eq!(
        ip_link(&container(), Dialect::Full, None),
        "\
1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN mode DEFAULT group default qlen 1000
    link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00
7: eth0@if8: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue state UP mode DEFAULT group default 
    link/ether 02:42:ac:11:00:07 brd ff:ff:ff:ff:ff:ff link-netnsid 0
"
    );
}

/// As the engine's transcript has it.
#[test]
fn ip_addr_on_one_line() {
    assert_eq!(
        ip_addr_oneline(&container(), Dialect::Busybox, Only::V4, None),
        "\
1: lo    inet 127.0.0.1/8 scope host lo\\       valid_lft forever preferred_lft forever
7: eth0    inet 172.17.0.2/16 brd 172.17.255.255 scope global eth0\\       valid_lft forever preferred_lft forever
"
    );
}

#[test]
fn a_bridge_and_its_ports() {
    let mut netns = Netns::new(NsId(0), "host", Rng::new(1));
    netns
        .iface_add(config(3, "docker0", IfaceKind::Bridge))
        .unwrap();
    with(&mut netns, |ns, cx| ns.iface_up(cx, IfId(3), true).unwrap());
    assert_eq!(
        ip_link(&netns, Dialect::Full, Some("docker0"))
            .lines()
            .next(),
        Some(
            "3: docker0: <NO-CARRIER,BROADCAST,MULTICAST,UP> mtu 1500 qdisc noqueue state DOWN mode DEFAULT group default "
        )
    );
    let port = IfaceConfig {
        peer: Some(Peer {
            id: IfId(7),
            netnsid: Some(0),
        }),
        master: Some(IfId(3)),
        ..config(8, "veth0a1b2c3", IfaceKind::Veth)
    };
    netns.iface_add(port).unwrap();
    with(&mut netns, |ns, cx| ns.iface_up(cx, IfId(8), true).unwrap());
    assert_eq!(
        ip_link(&netns, Dialect::Full, Some("veth0a1b2c3"))
            .lines()
            .next(),
        Some(
            "8: veth0a1b2c3@if7: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue master docker0 state UP mode DEFAULT group default "
        )
    );
    assert!(
        ip_link(&netns, Dialect::Full, Some("docker0"))
            .contains("UP,LOWER_UP> mtu 1500 qdisc noqueue state UP")
    );
}

/// The forms of the engine's transcripts (busybox) and of iproute2.
#[test]
fn routes() {
    let mut netns = with_v6();
    assert_eq!(
        ip_route(&netns, Dialect::Busybox, false),
        "default via 172.17.0.1 dev eth0 \n172.17.0.0/16 dev eth0 scope link  src 172.17.0.2 \n"
    );
    let metric = Route {
        metric: 50,
        ..Route::through(
            "10.9.0.0/16".parse().unwrap(),
            "172.17.0.9".parse().unwrap(),
            IfId(7),
        )
    };
    netns.route_add(metric).unwrap();
    netns
        .route_add(Route::on_link("10.8.0.0/16".parse().unwrap(), IfId(7)))
        .unwrap();
    assert_eq!(
        ip_route(&netns, Dialect::Full, false),
        "\
default via 172.17.0.1 dev eth0 
10.8.0.0/16 dev eth0 scope link 
10.9.0.0/16 via 172.17.0.9 dev eth0 metric 50 
172.17.0.0/16 dev eth0 proto kernel scope link src 172.17.0.2 
"
    );
    assert_eq!(
        ip_route(&netns, Dialect::Full, true),
        "\
fd00::/64 dev eth0 proto kernel metric 256 pref medium
default via fd00::1 dev eth0 metric 1024 pref medium
"
    );
    assert_eq!(
        ip_route(&netns, Dialect::Busybox, true),
        "fd00::/64 dev eth0  metric 256 \ndefault via fd00::1 dev eth0  metric 1024 \n"
    );
    assert_eq!(
        route(&netns),
        "\
Kernel IP routing table
Destination     Gateway         Genmask         Flags Metric Ref    Use Iface
0.0.0.0         172.17.0.1      0.0.0.0         UG    0      0        0 eth0
10.8.0.0        0.0.0.0         255.255.0.0     U     0      0        0 eth0
10.9.0.0        172.17.0.9      255.255.0.0     UG    50     0        0 eth0
172.17.0.0      0.0.0.0         255.255.0.0     U     0      0        0 eth0
"
    );
    assert_eq!(
        netstat_routes(&netns).lines().nth(2),
        Some("0.0.0.0         172.17.0.1      0.0.0.0         UG        0 0          0 eth0")
    );
}

/// An ARP reply from 172.17.0.1, and a question that nobody has answered.
fn with_neighbours() -> Netns {
    let mut netns = container();
    let udp = netns.socket(SockKind::Udp, Family::V4).unwrap();
    with(&mut netns, |ns, cx| {
        for to in ["172.17.0.1:9", "172.17.0.77:9"] {
            ns.send_to(cx, udp, b"", to.parse().unwrap()).unwrap();
        }
        let mut reply = vec![
            2, 0x42, 0xac, 0x11, 0, 7, 2, 0x42, 0xbd, 0x9c, 0xb0, 0x50, 8, 6,
        ];
        reply.extend([
            0, 1, 8, 0, 6, 4, 0, 2, 2, 0x42, 0xbd, 0x9c, 0xb0, 0x50, 172, 17, 0, 1,
        ]);
        reply.extend([2, 0x42, 0xac, 0x11, 0, 7, 172, 17, 0, 2]);
        let frame = cx.pool.from_bytes(&reply).unwrap();
        ns.input(cx, IfId(7), frame);
        ns.close(cx, udp);
    });
    netns
}

#[test]
fn neighbours() {
    let netns = with_neighbours();
    let now = Time::from_secs(1);
    assert_eq!(
        ip_neigh(&netns, now, Dialect::Full, Only::Both),
        "\
172.17.0.1 dev eth0 lladdr 02:42:bd:9c:b0:50 REACHABLE 
172.17.0.77 dev eth0 INCOMPLETE 
"
    );
    assert_eq!(
        ip_neigh(&netns, now, Dialect::Busybox, Only::V4),
        "\
172.17.0.1 dev eth0 lladdr 02:42:bd:9c:b0:50 used 1/1/1 probes 4 REACHABLE
172.17.0.77 dev eth0  used 1/1/1 probes 4 INCOMPLETE
"
    );
    assert_eq!(
        arp(&netns, now, Dialect::Busybox),
        "\
? (172.17.0.1) at 02:42:bd:9c:b0:50 [ether]  on eth0
? (172.17.0.77) at <incomplete>  on eth0
"
    );
    assert_eq!(
        arp_table(&netns, now),
        "\
Address                  HWtype  HWaddress           Flags Mask            Iface
172.17.0.1               ether   02:42:bd:9c:b0:50   C                     eth0
172.17.0.77                      (incomplete)                              eth0
"
    );
}

#[test]
fn ifconfig_of_both() {
    let netns = container();
    assert_eq!(
        ifconfig(&netns, Dialect::Busybox, false, None),
        "\
eth0      Link encap:Ethernet  HWaddr 02:42:AC:11:00:07  
          inet addr:172.17.0.2  Bcast:172.17.255.255  Mask:255.255.0.0
          UP BROADCAST RUNNING MULTICAST  MTU:1500  Metric:1
          RX packets:0 errors:0 dropped:0 overruns:0 frame:0
          TX packets:0 errors:0 dropped:0 overruns:0 carrier:0
          collisions:0 txqueuelen:0 
          RX bytes:0 (0.0 B)  TX bytes:0 (0.0 B)

lo        Link encap:Local Loopback  
          inet addr:127.0.0.1  Mask:255.0.0.0
          inet6 addr: ::1/128 Scope:Host
          UP LOOPBACK RUNNING  MTU:65536  Metric:1
          RX packets:0 errors:0 dropped:0 overruns:0 frame:0
          TX packets:0 errors:0 dropped:0 overruns:0 carrier:0
          collisions:0 txqueuelen:1000 
          RX bytes:0 (0.0 B)  TX bytes:0 (0.0 B)

"
    );
    assert_eq!(
        ifconfig(&netns, Dialect::Full, false, Some("lo")),
        "\
lo: flags=73<UP,LOOPBACK,RUNNING>  mtu 65536
        inet 127.0.0.1  netmask 255.0.0.0
        inet6 ::1  prefixlen 128  scopeid 0x10<host>
        loop  txqueuelen 1000  (Local Loopback)
        RX packets 0  bytes 0 (0.0 B)
        RX errors 0  dropped 0  overruns 0  frame 0
        TX packets 0  bytes 0 (0.0 B)
        TX errors 0  dropped 0 overruns 0  carrier 0  collisions 0

"
    );
    assert!(
        ifconfig(&netns, Dialect::Full, false, Some("eth0"))
            .starts_with("eth0: flags=4163<UP,BROADCAST,RUNNING,MULTICAST>  mtu 1500\n")
    );
}

fn with_sockets() -> Netns {
    let mut netns = container();
    with(&mut netns, |ns, cx| {
        for (family, addr, only) in [
            (Family::V4, "0.0.0.0:53", false),
            (Family::V6, "[::]:54", false),
            (Family::V6, "[::]:55", true),
        ] {
            let sock = ns.socket(SockKind::Udp, family).unwrap();
            ns.set(cx, sock, SockOpt::V6Only(only)).unwrap();
            ns.bind(sock, addr.parse().unwrap()).unwrap();
        }
        let sock = ns.socket(SockKind::Udp, Family::V4).unwrap();
        ns.bind(sock, "127.0.0.1:5555".parse().unwrap()).unwrap();
        ns.connect(cx, sock, "127.0.0.1:53".parse().unwrap())
            .unwrap();
    });
    netns
}

/// The real ss for these sockets; the columns are as wide as their contents.
#[test]
fn sockets() {
    let netns = with_sockets();
    let listening = NetstatFlags {
        tcp: true,
        udp: true,
        listening: true,
        all: false,
    };
    assert_eq!(
        ss(&netns, listening),
        "\
Netid State  Recv-Q Send-Q Local Address:Port Peer Address:PortProcess
udp   UNCONN 0      0            0.0.0.0:53        0.0.0.0:*          
udp   UNCONN 0      0                  *:54              *:*          
udp   UNCONN 0      0               [::]:55           [::]:*          
"
    );
    let all = NetstatFlags {
        udp: true,
        all: true,
        ..NetstatFlags::default()
    };
    assert_eq!(
        ss(&netns, all).lines().nth(2),
        Some("ESTAB  0      0          127.0.0.1:5555    127.0.0.1:53         ")
    );
    assert_eq!(
        netstat(&netns, Dialect::Full, listening),
        "\
Active Internet connections (only servers)
Proto Recv-Q Send-Q Local Address           Foreign Address         State      
udp        0      0 0.0.0.0:53              0.0.0.0:*                          
udp6       0      0 :::54                   :::*                               
udp6       0      0 :::55                   :::*                               
"
    );
    assert_eq!(
        netstat(&netns, Dialect::Busybox, all).lines().nth(3),
        Some("udp        0      0 127.0.0.1:5555          127.0.0.1:53            ESTABLISHED ")
    );
}

#[test]
fn bytes_are_scaled() {
    let texts = [586, 1552, 1640, 2822, 5 << 20].map(net_tools::scaled);
    assert_eq!(
        texts,
        ["586.0 B", "1.5 KiB", "1.6 KiB", "2.7 KiB", "5.0 MiB"]
    );
}
