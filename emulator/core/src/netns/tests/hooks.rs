//! The five hooks: their order, and what a rewrite or a drop leads to.

use core::net::{IpAddr, SocketAddr};

use switch::verdict::{DropReason, Verdict};
use switch::wire::{self, Packet};
use switch::{Frame, IfId, Time};

use super::rig::{Witness, World, at, ip, net};
use crate::netns::hook::{Env, Outcome, Path};
use crate::netns::*;

fn seen(world: &World, ns: usize) -> String {
    format!("{:?}", world.ns[ns].netfilter)
}

fn watch(world: &mut World, ns: usize) {
    world.ns[ns].netfilter = Some(Box::new(Witness::default()));
}

#[test]
fn a_router_has_three_and_a_host_two_each_way() {
    let mut world = World::routed(1500);
    for ns in 0..3 {
        watch(&mut world, ns);
    }
    let server = world.udp(2, "0.0.0.0:7");
    let client = world.udp(0, "0.0.0.0:0");
    world.send(0, client, b"x", "10.0.2.2:7").unwrap();
    world.recv(2, server).unwrap();
    let hooks = |ns| {
        let text = seen(&world, ns);
        ["Prerouting", "Input", "Forward", "Output", "Postrouting"]
            .map(|hook| text.matches(hook).count())
    };
    assert_eq!(hooks(0), [0, 0, 0, 1, 1]);
    assert_eq!(hooks(1), [1, 0, 1, 0, 1]);
    assert_eq!(hooks(2), [1, 1, 0, 0, 0]);
    assert!(seen(&world, 1).contains("(Forward, Some(IfId(3)), Some(IfId(4)))"));
    world.end();
}

#[test]
fn a_packet_over_lo_meets_four() {
    let mut world = World::pair(1500);
    watch(&mut world, 0);
    let server = world.udp(0, "127.0.0.1:7");
    world.send(0, server, b"x", "127.0.0.1:7").unwrap();
    let order = "[(Output, None, Some(IfId(1))), (Postrouting, None, Some(IfId(1))), \
                 (Prerouting, Some(IfId(1)), None), (Input, Some(IfId(1)), None)]";
    assert!(seen(&world, 0).contains(order), "{}", seen(&world, 0));
    world.end();
}

/// Sends what goes to `from` to `to` instead at one hook, or drops it there.
#[derive(Debug)]
struct Redirect {
    hook: Hook,
    from: IpAddr,
    to: Option<IpAddr>,
}

impl Hooks for Redirect {
    fn is_empty(&self) -> bool {
        false
    }

    fn run_for(
        &mut self,
        _now: Time,
        hook: Hook,
        bytes: &mut [u8],
        partial: bool,
        _path: &Path,
        env: &dyn Env,
        frames: u32,
    ) -> Outcome {
        let packet = Packet::parse(bytes).unwrap();
        let mut verdict = Verdict::Accept;
        assert!(frames > 0);
        if hook == self.hook && packet.destination == self.from {
            match self.to {
                Some(IpAddr::V4(to)) => {
                    assert_eq!(
                        env.is_local(to.into()),
                        to.octets()[0] == 127 || to.octets()[2] == 1 && to.octets()[3] == 2
                    );
                    let old = wire::address_sum(packet.destination);
                    let new = wire::address_sum(to.into());
                    let field = u16::from_be_bytes([bytes[26], bytes[27]]);
                    let mended = if partial {
                        wire::add(wire::add(field, !old), new)
                    } else {
                        wire::updated(field, old, new)
                    };
                    bytes[26..28].copy_from_slice(&mended.to_be_bytes());
                    bytes[16..20].copy_from_slice(&to.octets());
                    wire::fill_header_checksum(bytes);
                }
                _ => verdict = Verdict::Drop(DropReason::Filtered),
            }
        }
        Outcome {
            verdict,
            rewrite: None,
        }
    }
}

fn redirect(world: &mut World, ns: usize, hook: Hook, from: &str, to: Option<&str>) {
    world.ns[ns].netfilter = Some(Box::new(Redirect {
        hook,
        from: ip(from),
        to: to.map(ip),
    }));
}

#[test]
fn a_new_destination_at_output_is_routed_again() {
    let mut world = World::routed(1500);
    redirect(&mut world, 0, Hook::Output, "127.0.0.11", Some("10.0.2.2"));
    let server = world.udp(2, "0.0.0.0:53");
    let client = world.udp(0, "10.0.1.2:0");
    // Bound, so that the source is good on the wire as well.
    world.send(0, client, b"name?", "127.0.0.11:53").unwrap();
    let (_, got) = world.recv(2, server).unwrap();
    assert_eq!(got.from.ip(), ip("10.0.1.2"));
    // And the other way: to an address of our own.
    redirect(&mut world, 0, Hook::Output, "10.0.2.2", Some("10.0.1.2"));
    let own = world.udp(0, "0.0.0.0:99");
    world.send(0, client, b"x", "10.0.2.2:99").unwrap();
    assert_eq!(world.recv(0, own).unwrap().0, b"x");
    world.end();
}

#[test]
fn a_new_destination_at_prerouting_decides_the_way() {
    let mut world = World::routed(1500);
    redirect(
        &mut world,
        1,
        Hook::Prerouting,
        "10.0.1.1",
        Some("10.0.2.2"),
    );
    let server = world.udp(2, "0.0.0.0:80");
    let client = world.udp(0, "0.0.0.0:0");
    world.send(0, client, b"x", "10.0.1.1:80").unwrap();
    assert_eq!(world.recv(2, server).unwrap().1.to, ip("10.0.2.2"));
    world.end();
}

#[test]
fn a_filter_drops_silently_except_to_its_own() {
    for (hook, errno) in [
        (Hook::Output, Err(Errno::Perm)),
        (Hook::Postrouting, Err(Errno::Perm)),
    ] {
        let mut world = World::routed(1500);
        redirect(&mut world, 0, hook, "10.0.2.2", None);
        let client = world.udp(0, "0.0.0.0:0");
        assert_eq!(world.send(0, client, b"x", "10.0.2.2:7"), errno);
        assert_eq!(world.drops(DropReason::Filtered), 1);
        world.end();
    }
    for (ns, hook) in [
        (1, Hook::Prerouting),
        (1, Hook::Forward),
        (1, Hook::Postrouting),
        (2, Hook::Input),
    ] {
        let mut world = World::routed(1500);
        redirect(&mut world, ns, hook, "10.0.2.2", None);
        let ping = world.ping(0, false);
        world.send(0, ping, b"x", "10.0.2.2:1").unwrap();
        assert_eq!(world.drops(DropReason::Filtered), 1);
        assert!(!world.ns[0].ready(ping).readable);
        world.end();
    }
}

#[test]
fn masquerade_finds_the_address_of_the_way_out() {
    let mut world = World::routed(1500);
    let router = &mut world.ns[1];
    assert_eq!(
        router.select_source(IfId(4), ip("9.9.9.9")),
        Some(ip("10.0.2.1"))
    );
    assert_eq!(
        router.select_source(IfId(3), ip("fd09::9")),
        Some(ip("fd01::1"))
    );
    // An interface without an address lends one of another.
    router.addr_del(IfId(4), ip("10.0.2.1")).unwrap();
    assert_eq!(
        router.select_source(IfId(4), ip("9.9.9.9")),
        Some(ip("10.0.1.1"))
    );
    // Of two addresses, the one in the network of the gateway.
    router.addr_add(IfId(4), net("10.8.0.1/24")).unwrap();
    router.addr_add(IfId(4), net("10.9.0.1/24")).unwrap();
    router
        .route_add(Route::default_via(ip("10.9.0.9"), IfId(4)))
        .unwrap();
    assert_eq!(
        router.select_source(IfId(4), ip("9.9.9.9")),
        Some(ip("10.9.0.1"))
    );
    world.end();
}

/// A TCP super-segment of three frames, with its checksum left to the edge, from 0 to 2.
fn super_segment(world: &mut World, dont_fragment: bool) -> Frame {
    let len = 20 + 20 + 3 * 1400;
    let frame = world.pool.alloc(14 + len).unwrap();
    world.pool.meta_mut(&frame).gso_size = 1400;
    world.pool.meta_mut(&frame).csum_partial = true;
    let bytes = world.pool.bytes_mut(&frame);
    bytes.fill(7);
    bytes[..6].copy_from_slice(&[2, 0x42, 0, 0, 1, 3]);
    bytes[6..14].copy_from_slice(&[2, 0x42, 0, 0, 0, 2, 8, 0]);
    let packet = &mut bytes[14..];
    packet[..10].copy_from_slice(&[
        0x45,
        0,
        (len >> 8) as u8,
        len as u8,
        0,
        1,
        if dont_fragment { 0x40 } else { 0 },
        0,
        9,
        6,
    ]);
    packet[12..20].copy_from_slice(&[10, 0, 1, 2, 10, 0, 2, 2]);
    packet[32] = 0x50;
    let (source, destination): (SocketAddr, SocketAddr) = (at("10.0.1.2:1"), at("10.0.2.2:2"));
    let sum = wire::pseudo_sum(
        source.ip(),
        destination.ip(),
        wire::IpProtocol::Tcp,
        len - 20,
    );
    packet[36..38].copy_from_slice(&sum.to_be_bytes());
    wire::fill_header_checksum(packet);
    frame
}

#[test]
fn a_super_segment_is_measured_by_its_frames() {
    let mut world = World::routed(1440);
    let frame = super_segment(&mut world, true);
    world.with(1, |ns, cx| ns.input(cx, IfId(3), frame));
    let forwarded = world
        .seen
        .iter()
        .find(|(from, bytes)| from.0 == 1 && bytes.len() > 4000);
    assert!(forwarded.is_some());
    let rx = world.ns[1].iface(IfId(3)).unwrap().rx;
    assert_eq!((rx.packets, rx.bytes), (3, 4200 + 3 * (40 + 14)));
    world.end();
}

#[test]
fn a_super_segment_whose_frames_are_too_long_is_refused_with_one_of_them() {
    let mut world = World::routed(1439);
    let ping = world.ping(0, false);
    world.send(0, ping, b"", "10.0.2.2:1").unwrap();
    let frame = super_segment(&mut world, true);
    world.with(1, |ns, cx| ns.input(cx, IfId(3), frame));
    assert_eq!(world.drops(DropReason::FragmentationNeeded), 1);
    let packets = world.packets(1);
    let (_, bytes) = packets
        .iter()
        .rev()
        .find(|(p, _)| u8::from(p.protocol) == 1)
        .unwrap();
    assert_eq!(bytes[20..22], [3, 4]);
    assert_eq!(bytes[26..28], 1439_u16.to_be_bytes());
    // The quoted packet is one frame long.
    assert_eq!(bytes[30..32], 1440_u16.to_be_bytes());
    assert!(wire::header_checksum_ok(&bytes[28..48]));
    world.end();
}
