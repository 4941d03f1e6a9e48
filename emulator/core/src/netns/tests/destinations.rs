//! What is remembered of destinations is what the tables say, whatever changes in between.

use core::net::IpAddr;

use proptest::collection::vec;
use proptest::prelude::*;
use switch::IfId;
use switch::wire::{IpProtocol, Packet};

use super::rig::{World, ip, net};
use crate::app::SockOpt;
use crate::netns::{Arrival, Route};

const ADDRS: [&str; 12] = [
    "10.0.1.1",
    "10.0.1.2",
    "10.0.1.255",
    "10.0.2.1",
    "10.0.2.255",
    "10.9.0.1",
    "127.0.0.1",
    "127.0.0.11",
    "255.255.255.255",
    "fd01::1",
    "fe80::1",
    "fd02::2",
];
const NETS: [&str; 6] = [
    "10.0.1.9/24",
    "10.9.0.1/16",
    "10.0.2.2/32",
    "fd01::9/64",
    "fe80::1/64",
    "0.0.0.0/0",
];

/// A change of the router, numbered.
fn change(world: &mut World, what: u8, dev: u8, which: u8) {
    let dev = IfId(u32::from(3 + dev % 2));
    let network = net(NETS[usize::from(which) % NETS.len()]);
    let on = which & 1 == 0;
    // What is refused changes nothing.
    let _refused = match what % 8 {
        0 => world.ns[1].addr_add(dev, network),
        1 => world.ns[1].addr_del(dev, network.addr()),
        2 => world.ns[1].route_add(Route::on_link(network, dev)),
        3 => world.ns[1].route_del(network, None, None),
        4 => world.with(1, |ns, cx| ns.iface_up(cx, dev, on)),
        5 => world.ns[1].iface_route_localnet(dev, on),
        6 => world.ns[1].iface_ipv6(dev, on),
        _ => world.with(1, |ns, cx| ns.iface_remove(cx, dev)),
    };
}

fn packet(source: IpAddr, destination: IpAddr) -> Packet {
    Packet {
        source,
        destination,
        protocol: IpProtocol::Udp,
        transport: 20,
        len: 28,
        hop_limit: 64,
        fragment: None,
        dont_fragment: true,
    }
}

proptest! {
    #[test]
    fn the_remembered_is_what_the_tables_say(
        steps in vec((any::<u8>(), any::<u8>(), any::<u8>(), vec(any::<(u8, u8, u8)>(), 0..6)), 0..30),
    ) {
        let mut world = World::routed(1500);
        for (what, dev, which, questions) in steps {
            change(&mut world, what, dev, which);
            let netns = &mut world.ns[1];
            for (from, to, iface) in questions {
                let addr = |at: u8| ip(ADDRS[usize::from(at) % ADDRS.len()]);
                let (source, destination) = (addr(from), addr(to));
                prop_assert_eq!(
                    netns.route_to(destination, None),
                    netns.find_way(destination, None)
                );
                let arrival = Arrival {
                    iface: IfId(u32::from(3 + iface % 2)),
                    unicast: true,
                    looped: iface & 2 != 0,
                    broadcast: false,
                    fragment: 0,
                };
                let packet = packet(source, destination);
                prop_assert_eq!(
                    netns.judge(&arrival, &packet),
                    netns.find_inward(&arrival, &packet)
                );
            }
        }
        world.end();
    }
}

/// A socket that keeps the headers of its last datagram sends what one sends that has forgotten them each time, in frames with
/// checksums and in fragments alike.
#[test]
fn kept_headers_change_nothing() {
    for (from, to) in [
        ("10.0.0.1:5000", "10.0.0.2:6000"),
        ("[fd00::1]:5000", "[fd00::2]:6000"),
    ] {
        for offload in [true, false] {
            let sent = [false, true].map(|forgets| {
                let mut world = World::pair(1500);
                world.ns[0].offload = offload;
                let (client, server) = (world.udp(0, from), world.udp(1, to));
                for len in [5, 5, 0, 700, 1452, 1453, 1472, 1473, 3000, 1] {
                    if forgets {
                        world.set(0, client, SockOpt::RecvErr(false)).unwrap();
                    }
                    let data = vec![len as u8; len];
                    assert_eq!(world.send(0, client, &data, to), Ok(len));
                    assert_eq!(world.recv(1, server).unwrap().0, data);
                }
                let packets = world.packets(0).into_iter();
                let packets: Vec<Vec<u8>> = packets.map(|(_, bytes)| bytes.to_vec()).collect();
                world.end();
                packets
            });
            assert!(sent[0].len() > 12, "{}", sent[0].len());
            assert_eq!(sent[0], sent[1]);
        }
    }
}
