//! Connections on engines that others have used look like those on new ones, to the last bit.

use super::*;
use crate::netns::tcp::SPARE_BYTES;
use switch::Rng;

/// A wire that loses, doubles and delays, the same for the same seed.
fn rough(seed: u64) -> Wire {
    let mut rng = Rng::new(seed);
    Box::new(move |_| {
        let mut delay = || DELAY + Duration::from_micros(u64::from(rng.below(400)));
        let (one, two) = (delay(), delay());
        match rng.below(20) {
            0 => vec![],
            1 => vec![one, two],
            _ => vec![one],
        }
    })
}

/// What an application saw: bytes, or why there were none.
type Heard = Vec<Result<Vec<u8>, Errno>>;

/// One connection after the other, each with some data both ways and some end.
fn script(seed: u64, afresh: bool, long: bool) -> (Vec<Sent>, Heard, usize) {
    let mut rig = Rig::new();
    rig.afresh = afresh;
    for end in [A, B] {
        rig.tcp(end).takes_long_way = long;
    }
    rig.wire = rough(seed);
    let mut rng = Rng::new(!seed);
    let listener = rig.listen(V4[1], 8);
    let (mut heard, mut kept) = (Vec::new(), 0);
    for port in 0..24 {
        let local = format!("10.0.0.1:{}", 40_000 + port);
        let options = TcpOptions {
            nodelay: rng.below(2) == 0,
            congestion: [Congestion::None, Congestion::Reno, Congestion::Cubic]
                [rng.below(3) as usize],
            ..TcpOptions::default()
        };
        let a = rig.connect_with(&local, V4[1], &options).unwrap();
        rig.run_for(Duration::from_secs(8));
        let Ok((b, _)) = rig.tcp(B).accept(listener) else {
            rig.close(A, a);
            rig.run_for(Duration::from_secs(200));
            continue;
        };
        for _ in 0..rng.below(6) {
            for (end, id) in [(A, a), (B, b)] {
                let bytes = pattern(1 + rng.below(20_000) as usize);
                let _taken: Result<usize, Errno> = rig.send(end, id, &bytes);
            }
            rig.run_for(Duration::from_millis(u64::from(rng.below(3000))));
            for (end, id) in [(A, a), (B, b)] {
                heard.push(rig.recv(end, id));
            }
        }
        match rng.below(4) {
            0 => {
                let _half: Result<(), Errno> = rig.shut(A, a);
                rig.run_for(Duration::from_millis(300));
            }
            1 => rig.with(B, |tcp, cx| tcp.abort(cx, b)),
            _ => {}
        }
        rig.close(B, b);
        rig.run_for(Duration::from_millis(u64::from(rng.below(200))));
        rig.close(A, a);
        rig.run_for(Duration::from_secs(300));
        kept += usize::from(rig.spares.bytes() > 0);
    }
    (rig.log, heard, kept)
}

#[test]
fn a_used_engine_is_as_good_as_new() {
    for (seed, long) in (0..40).flat_map(|seed| [(seed, true), (seed, false)]) {
        let (sent, heard, kept) = script(seed, false, long);
        let (fresh, fresh_heard, _) = script(seed, true, long);
        assert!(kept > 0, "no engine was used again");
        assert_eq!(heard, fresh_heard, "seed {seed}");
        assert_eq!(sent.len(), fresh.len(), "seed {seed}");
        for (used, new) in sent.iter().zip(&fresh) {
            assert_eq!(used, new, "seed {seed}");
        }
    }
}

/// What is kept has a bound, and what does not fit is not taken.
#[test]
fn spares_are_bounded() {
    let mut rig = Rig::new();
    for end in [A, B] {
        rig.tcp(end).takes_long_way = true;
    }
    let listener = rig.listen(V4[1], 128);
    let open: Vec<_> = (0..40)
        .map(|port| {
            let a = rig.connect(&format!("10.0.0.1:{}", 40_000 + port), V4[1]);
            rig.run_for(Duration::from_millis(5));
            (a, rig.tcp(B).accept(listener).unwrap().0)
        })
        .collect();
    assert_eq!(rig.spares.bytes(), 0);
    for (a, b) in open {
        rig.with(A, |tcp, cx| tcp.abort(cx, a));
        rig.run_for(Duration::from_millis(5));
        rig.close(B, b);
    }
    assert_eq!(rig.spares.bytes(), SPARE_BYTES);
    let small = TcpOptions {
        recv_buffer: 8192,
        ..TcpOptions::default()
    };
    let a = rig.connect_with("10.0.0.1:50000", V4[1], &small).unwrap();
    assert_eq!(rig.tcp(A).buffer_bytes(), 8192 + small.send_buffer);
    rig.close(A, a);
    assert!(rig.spares.bytes() <= SPARE_BYTES);
}
