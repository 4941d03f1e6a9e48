//! Paths that turn out narrower than their first link.

use super::*;
use crate::netns::tcp::IcmpKind;
use crate::netns::tcp::segment::SYN;

#[test]
fn a_narrow_hop_makes_segments_smaller_at_once() {
    let cases = [(V4, 1000), (V6, 1300)];
    for ((ends, narrow), offload) in cases.into_iter().flat_map(|c| [(c, false), (c, true)]) {
        let mut rig = Rig::new();
        rig.tcp(A).set_offload(offload);
        let (a, b) = rig.pair(ends);
        // Drops what does not fit, as a router with DF set does.
        rig.wire = Box::new(move |sent| {
            if sent.cut > narrow {
                vec![]
            } else {
                vec![DELAY]
            }
        });
        let data = pattern(10_000);
        rig.send(A, a, &data).unwrap();
        rig.flush();
        let start = rig.now;
        let first = rig.log.iter().find(|sent| sent.cut > narrow).unwrap();
        let seq = first.segment.seq;
        let (local, remote) = (address(ends[0]), address(ends[1]));
        let kind = IcmpKind::FragmentationNeeded { mtu: narrow as u16 };
        rig.with(A, |tcp, cx| tcp.icmp_error(cx, local, remote, seq, kind));
        let mut got = Vec::new();
        rig.run_with(start + Duration::from_millis(500), |rig| {
            while let Ok(bytes) = rig.recv(B, b) {
                got.extend(bytes);
            }
        });
        assert!(got == data, "{} bytes", got.len());
        let later = || rig.log.iter().filter(|s| s.at > start);
        let largest = later().map(|s| s.cut).max();
        assert_eq!(largest.unwrap_or(0).max(narrow), narrow);
        // A larger one later is not believed, nor one below Linux's floor.
        for mtu in [1500, 68] {
            let kind = IcmpKind::FragmentationNeeded { mtu };
            rig.with(A, |tcp, cx| tcp.icmp_error(cx, local, remote, seq, kind));
        }
        rig.send(A, a, &data[..3000]).unwrap();
        rig.run_for(Duration::from_secs(10));
        assert_eq!(rig.recv(B, b).unwrap().len(), 3000);
    }
}

#[test]
fn many_segment_sizes_share_what_there_is() {
    let mut rig = Rig::new();
    for n in 0..100 {
        rig.mtu = 1500 - n;
        let (a, b) = rig.pair([
            &format!("10.0.0.1:{}", 40_000 + n),
            &format!("10.0.0.2:{}", 80 + n),
        ]);
        rig.send(A, a, &pattern(5000)).unwrap();
        let sent = rig.log.len();
        rig.run_for(Duration::from_millis(50));
        assert_eq!(rig.recv(B, b).unwrap(), pattern(5000));
        let largest = rig.log[sent..].iter().map(|s| s.len).max().unwrap();
        assert!(largest <= rig.mtu, "{largest} at MTU {}", rig.mtu);
    }
}

#[test]
fn a_shared_frame_is_not_written() {
    let mut rig = Rig::new();
    rig.listen(V4[1], 1);
    rig.connect(V4[0], V4[1]);
    let syn = first(&mut rig.ends[A].out).unwrap();
    let copy = rig.pool.share(&syn);
    let before = rig.pool.bytes(&copy).to_vec();
    rig.deliver(B, syn);
    assert_eq!(rig.pool.bytes(&copy), before);
    rig.pool.free(copy);
    rig.run_for(Duration::from_millis(1));
    assert_eq!(rig.times(B, |segment| segment.has(SYN)).len(), 1);
}

/// Destination options in front of TCP (RFC 8200 §4.6) do not hide it.
#[test]
fn ipv6_extension_headers_are_taken_off() {
    let mut rig = Rig::new();
    rig.listen(V6[1], 1);
    rig.connect(V6[0], V6[1]);
    let syn = first(&mut rig.ends[A].out).unwrap();
    let plain = rig.pool.bytes(&syn).to_vec();
    rig.pool.free(syn);
    let mut bytes = plain[..40].to_vec();
    bytes.extend([6, 0, 1, 4, 0, 0, 0, 0]);
    bytes.extend(&plain[40..]);
    bytes[6] = 60;
    let payload = (bytes.len() - 40) as u16;
    bytes[4..6].copy_from_slice(&payload.to_be_bytes());
    let frame = rig.pool.from_bytes(&bytes).unwrap();
    rig.deliver(B, frame);
    assert_eq!(rig.ends[B].refused, []);
    assert_eq!(rig.tcp(B).connections(), 1);
}

#[test]
fn with_no_frames_left_segments_are_lost_and_sent_again() {
    let mut rig = Rig::new();
    let (a, b) = rig.pair(V4);
    let limits = switch::frame::PoolLimits { small: 0, large: 0 };
    let full = core::mem::replace(&mut rig.pool, Pool::new(limits));
    rig.send(A, a, b"later").unwrap();
    rig.run_for(Duration::from_millis(10));
    assert_eq!(rig.tcp(A).counters().out_of_frames, 1);
    rig.pool = full;
    rig.run_for(Duration::from_secs(2));
    assert_eq!(rig.recv(B, b).unwrap(), b"later");
}
