use super::*;

#[test]
fn buffers_are_reused_last_in_first_out() {
    let mut pool = Pool::default();
    let a = pool.from_bytes(b"a").unwrap();
    let b = pool.from_bytes(b"b").unwrap();
    let index = b.0;
    pool.free(a);
    pool.free(b);
    let c = pool.alloc(1).unwrap();
    assert_eq!(c.0, index);
    pool.free(c);
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn a_copy_has_the_bytes_and_the_number() {
    let mut pool = Pool::default();
    for len in [1, SMALL - HEADROOM, SMALL, LARGE - HEADROOM] {
        let bytes: Vec<u8> = (0..len).map(|i| i as u8).collect();
        let a = pool.from_bytes(&bytes).unwrap();
        pool.meta_mut(&a).gso_size = 1448;
        let b = pool.copy(&a).unwrap();
        assert_eq!(pool.bytes(&b), bytes);
        assert_eq!(pool.meta(&b), pool.meta(&a));
        pool.truncate(&a, 1);
        let short = pool.copy(&a).unwrap();
        assert_eq!(pool.bytes(&short), &bytes[..1]);
        for frame in [a, b, short] {
            pool.free(frame);
        }
    }
    assert!(pool.alloc(LARGE).is_none());
}

#[test]
fn the_limit_holds() {
    let mut pool = Pool::new(PoolLimits { small: 1, large: 0 });
    let only = pool.alloc(10).unwrap();
    assert!(pool.alloc(10).is_none());
    assert!(pool.alloc(SMALL).is_none());
    assert!(pool.copy(&only).is_none());
    pool.free(only);
}

#[test]
fn sharing_ends_in_a_copy() {
    let mut pool = Pool::default();
    let a = pool.from_bytes(b"flood").unwrap();
    let b = pool.share(&a);
    let b = pool.unshare(b).unwrap();
    assert_ne!(a.0, b.0);
    pool.bytes_mut(&b)[0] = b'F';
    assert_eq!(pool.bytes(&a), b"flood");
    pool.free(a);
    pool.free(b);
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn a_claim_outlives_its_frame() {
    let mut pool = Pool::default();
    for len in [100, SMALL] {
        let frame = pool.reserve(len).unwrap();
        pool.bytes_mut(&frame).fill(7);
        assert_eq!(pool.meta(&frame).id, 0);
        pool.number(&frame);
        assert_ne!(pool.meta(&frame).id, 0);
        let claim = pool.claim(&frame, 40);
        pool.push(&frame, 14);
        let (_, bytes) = pool.view_unique(&frame).unwrap();
        bytes[..54].fill(1);
        let frame = pool.unshare(frame).unwrap();
        let copy = pool.renew(frame).unwrap();
        assert_ne!(copy.0, claim.frame);
        assert_eq!(pool.claimed(&claim), vec![7; len - 40]);
        assert_eq!((pool.in_use(), pool.is_last(&claim)), (2, true));
        pool.give_up(claim);
        assert_eq!(pool.in_use(), 1);
        pool.free(copy);
    }
    let frame = pool.reserve(100).unwrap();
    let claim = pool.claim(&frame, 0);
    pool.give_up(claim);
    assert_eq!(pool.in_use(), 1);
    pool.free(frame);
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn parts_go_from_frame_to_frame() {
    let mut pool = Pool::default();
    for (from, to) in [(9, 9), (9, SMALL), (SMALL, 9), (SMALL, SMALL)] {
        let (from, to) = (pool.alloc(from).unwrap(), pool.alloc(to).unwrap());
        pool.bytes_mut(&from)[..9].copy_from_slice(b"part by p");
        pool.bytes_mut(&to)[..9].fill(b'.');
        pool.copy_part((&from, 5), (&to, 1), 2);
        pool.copy_part((&from, SMALL), (&to, 0), 2);
        assert_eq!(&pool.bytes(&to)[..9], b".by......");
        pool.free(from);
        pool.free(to);
    }
}

#[test]
fn headers_go_on_and_off() {
    let mut pool = Pool::default();
    let a = pool.from_bytes(b"ip").unwrap();
    pool.push(&a, 3);
    pool.bytes_mut(&a)[..3].copy_from_slice(b"eth");
    assert_eq!(pool.bytes(&a), b"ethip");
    pool.pull(&a, 3);
    assert_eq!(pool.bytes(&a), b"ip");
    pool.free(a);
}

/// Headers stand in the headroom, so that a small buffer holds a longer frame than it is asked for.
#[test]
fn a_frame_that_fills_its_headroom_is_copied() {
    for len in [
        SMALL - HEADROOM - 14,
        SMALL - HEADROOM - 13,
        SMALL - HEADROOM,
    ] {
        let mut pool = Pool::default();
        // What must not be written: the buffers with the numbers of those that are.
        let others: Vec<Frame> = (0..4)
            .map(|_| pool.from_bytes(&[9; 100]).unwrap())
            .collect();
        let bytes: Vec<u8> = (0..len + 14).map(|i| (i * 7) as u8).collect();
        let frame = pool.from_bytes(&bytes[14..]).unwrap();
        pool.push(&frame, 14);
        pool.bytes_mut(&frame)[..14].copy_from_slice(&bytes[..14]);
        let copy = pool.copy(&frame).unwrap();
        let shared = pool.share(&frame);
        let alone = pool.unshare(shared).unwrap();
        let renewed = pool.renew(frame).unwrap();
        for frame in [copy, alone, renewed] {
            assert!(pool.bytes(&frame) == bytes, "{len}");
            pool.free(frame);
        }
        for frame in others {
            assert_eq!(pool.bytes(&frame), [9; 100]);
            pool.free(frame);
        }
        assert_eq!(pool.in_use(), 0);
    }
}
