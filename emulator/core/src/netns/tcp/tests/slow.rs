//! Readers that are slower than their writers.

use core::time::Duration;

use proptest::prelude::*;

use super::super::{RECV_BUFFER, SEND_BUFFER};
use super::*;

/// Nothing that waits for an acknowledgement waits so long: these are delayed by 10 ms at most.
const PATIENCE: Duration = Duration::from_millis(50);

/// A stream from A to B.
#[derive(Clone, Copy, Debug)]
struct Stream {
    options: TcpOptions,
    offload: bool,
    /// A writes as soon as there is room, else when B reads: then what asks for a closed window and what tells of an
    /// open one may pass each other.
    eager: bool,
    /// B reads no more than this at a time.
    sip: usize,
    /// A writes no more than this in one call.
    gulp: usize,
    /// Between two reads.
    pace: Duration,
    /// For how long a segment keeps the next one of its sender waiting.
    gap: Duration,
    bytes: usize,
}

impl Stream {
    /// B gets all of it without a pause, and no byte is sent twice but those that ask for a closed window.
    fn flows(&self) {
        let mut rig = Rig::new();
        for end in [A, B] {
            rig.tcp(end).set_partial_checksums(self.offload);
            rig.tcp(end).set_offload(self.offload);
        }
        let (a, b) = rig.pair_with(V4, &self.options);
        let (gap, mut free) = (self.gap, [rig.now; 2]);
        rig.wire = Box::new(move |sent| {
            let free = &mut free[sent.from];
            *free = (*free).max(sent.at) + gap;
            vec![free.since(sent.at) + DELAY]
        });
        let data = pattern(self.bytes);
        let (mut given, mut got, mut heard) = (0, Vec::new(), rig.now);
        let mut buffer = vec![0; self.sip];
        while got.len() < data.len() {
            let mut write = |rig: &mut Rig| {
                while given < data.len() {
                    let end = data.len().min(given + self.gulp);
                    match rig.send(A, a, &data[given..end]) {
                        Ok(count) => given += count,
                        Err(errno) => {
                            assert_eq!(errno, Errno::WouldBlock);
                            break;
                        }
                    }
                }
            };
            write(&mut rig);
            match rig.with(B, |tcp, cx| tcp.recv(cx.pool, b, &mut buffer)) {
                Ok(count) => {
                    got.extend_from_slice(&buffer[..count]);
                    heard = rig.now;
                }
                Err(errno) => assert_eq!(errno, Errno::WouldBlock),
            }
            let idle = rig.now.since(heard);
            assert!(
                idle <= PATIENCE,
                "stalled at {}: {} read",
                rig.now,
                got.len()
            );
            let until = rig.now + self.pace;
            rig.run_with(until, |rig| {
                if self.eager {
                    write(rig);
                }
            });
        }
        assert!(got == data);
        let sent = rig
            .log
            .iter()
            .filter(|sent| sent.from == A && sent.segment.payload > 1);
        let bytes: usize = sent.map(|sent| sent.segment.payload as usize).sum();
        assert!(bytes <= data.len(), "{bytes} of {} sent", data.len());
    }
}

/// What asks for a closed window is the first byte of what is sent next. It is taken if the window has just opened, and
/// the next window is told from an odd number on.
#[test]
fn a_slow_reader_is_not_kept_waiting() {
    Stream {
        options: TcpOptions {
            send_buffer: 163_629,
            ..TcpOptions::default()
        },
        offload: true,
        eager: false,
        sip: RECV_BUFFER,
        gulp: 3_272,
        pace: Duration::from_micros(16),
        gap: Duration::from_micros(1),
        bytes: 3_000_000,
    }
    .flows();
}

proptest! {
    #[test]
    fn no_window_that_was_told_is_taken_back(
        recv_buffer in prop_oneof![Just(RECV_BUFFER), 2304..400_000_usize],
        send_buffer in prop_oneof![Just(SEND_BUFFER), 2304..400_000_usize],
        nodelay: bool,
        offload: bool,
        eager: bool,
        sip in 1..20_usize,
        gulp in 1..100_000_usize,
        gap in 0..50_u64,
        pace in prop_oneof![1..500_u64, 1..20_000_u64],
    ) {
        let sip = (recv_buffer / sip).max(1000);
        Stream {
            options: TcpOptions { recv_buffer, send_buffer, nodelay, ..TcpOptions::default() },
            offload,
            eager,
            sip,
            gulp: gulp.max(send_buffer / 50),
            pace: Duration::from_micros(pace),
            gap: Duration::from_micros(gap),
            bytes: 3 * recv_buffer + 50 * sip + 1,
        }
        .flows();
    }
}
