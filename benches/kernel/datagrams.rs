//! Datagrams and frames through the kernel, as many a system call as it takes: `sendmmsg` of 64 into
//! `recvmmsg` of 64 for UDP, and into a TPACKET_V3 ring for frames of a packet socket.
//!
//! The only unsafe code of the benches: these calls and structures are in no safe interface here.
#![allow(unsafe_code)]

use std::io::{Error, Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::namespaces::SERVER;

const BATCH: usize = 64;
/// Bytes of a datagram.
const SIZE: usize = 22;
const PORT: u16 = 5003;
/// "Local experimental" of IEEE 802: no protocol of the kernel takes these frames.
const ETHERTYPE: u16 = 0x88b5;
/// After so long without a frame there will be none.
const SILENCE: Duration = Duration::from_millis(50);

/// Messages that all point at one buffer each, for `sendmmsg` and `recvmmsg`.
struct Batch {
    headers: Vec<libc::mmsghdr>,
    /// What the headers point at; neither is touched while they stand.
    _vectors: Vec<libc::iovec>,
    buffers: Vec<Vec<u8>>,
}

impl Batch {
    fn of(bytes: &[u8]) -> Self {
        let mut buffers = vec![bytes.to_vec(); BATCH];
        let mut vectors: Vec<libc::iovec> = buffers
            .iter_mut()
            .map(|buffer| libc::iovec {
                iov_base: buffer.as_mut_ptr().cast(),
                iov_len: buffer.len(),
            })
            .collect();
        let headers = vectors
            .iter_mut()
            .map(|vector| {
                // SAFETY: a message header of zeros is a valid one, with no address and no control data.
                let mut header: libc::mmsghdr = unsafe { core::mem::zeroed() };
                header.msg_hdr.msg_iov = vector;
                header.msg_hdr.msg_iovlen = 1;
                header
            })
            .collect();
        Self {
            headers,
            _vectors: vectors,
            buffers,
        }
    }

    /// Sends all; how many the kernel took.
    fn send(&mut self, socket: RawFd) -> usize {
        // SAFETY: 64 headers, each with one vector, each over a buffer of ours that lives as long.
        let sent =
            unsafe { libc::sendmmsg(socket, self.headers.as_mut_ptr(), BATCH as libc::c_uint, 0) };
        usize::try_from(sent).unwrap_or(0)
    }

    /// Waits for one message and takes all that are there.
    fn receive(&mut self, socket: RawFd) -> usize {
        // SAFETY: as in `send`; the kernel writes no more into a buffer than its vector says.
        let heard = unsafe {
            libc::recvmmsg(
                socket,
                self.headers.as_mut_ptr(),
                BATCH as libc::c_uint,
                libc::MSG_WAITFORONE,
                core::ptr::null_mut(),
            )
        };
        usize::try_from(heard).unwrap_or(0)
    }

    fn len(&self, at: usize) -> usize {
        self.headers[at].msg_len as usize
    }
}

/// How much arrived, and in which time.
struct Arrived {
    count: u64,
    first: Option<Instant>,
    last: Instant,
}

impl Arrived {
    fn none() -> Self {
        Self {
            count: 0,
            first: None,
            last: Instant::now(),
        }
    }

    /// The clock starts with the first batch, which is not counted.
    fn add(&mut self, count: usize) {
        self.last = Instant::now();
        if self.first.is_some() {
            self.count += count as u64;
        } else {
            self.first = Some(self.last);
        }
    }

    /// Things a second.
    fn tell(&self, stream: &mut TcpStream) {
        let span = self.first.map_or(Duration::ZERO, |first| self.last - first);
        let rate = self.count as f64 / span.as_secs_f64().max(1e-9);
        let _told = stream.write_all(&rate.to_be_bytes());
    }
}

/// Sends for so long, once the server is ready; what it says arrived a second.
fn flood(stream: &mut TcpStream, span: Duration, socket: RawFd, bytes: &[u8]) -> f64 {
    stream.read_exact(&mut [0]).expect("it is ready");
    let mut batch = Batch::of(bytes);
    let begun = Instant::now();
    let mut sent = 0;
    while begun.elapsed() < span {
        sent += batch.send(socket);
    }
    assert!(sent > 0, "nothing was sent: {}", Error::last_os_error());
    let mut rate = [0; 8];
    stream.read_exact(&mut rate).expect("a rate");
    f64::from_be_bytes(rate)
}

pub(super) fn send_datagrams(stream: &mut TcpStream, span: Duration) -> f64 {
    let socket = UdpSocket::bind(("0.0.0.0", 0)).expect("a socket");
    socket.connect((SERVER, PORT)).expect("it connects");
    flood(stream, span, socket.as_raw_fd(), &[0x5a; SIZE])
}

pub(super) fn receive_datagrams(stream: &mut TcpStream) {
    let socket = UdpSocket::bind((SERVER, PORT)).expect("a socket");
    let _as_large_as_allowed =
        rustix::net::sockopt::set_socket_recv_buffer_size(&socket, 4 * 1024 * 1024);
    let mut batch = Batch::of(&[0; SIZE + 1]);
    stream.write_all(b"!").expect("told");
    let mut arrived = Arrived::none();
    loop {
        // The first may take its time.
        let patience = if arrived.first.is_some() {
            SILENCE
        } else {
            20 * SILENCE
        };
        socket.set_read_timeout(Some(patience)).expect("an option");
        let count = batch.receive(socket.as_raw_fd());
        if count == 0 {
            break;
        }
        for at in 0..count {
            assert_eq!(batch.len(at), SIZE);
            assert!(batch.buffers[at][..SIZE] == [0x5a; SIZE]);
        }
        arrived.add(count);
    }
    arrived.tell(stream);
}

/// A packet socket that hears nothing yet.
fn packet_socket() -> OwnedFd {
    // SAFETY: a plain call; the descriptor is owned at once.
    unsafe {
        let fd = libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0);
        assert!(fd >= 0, "a packet socket: {}", Error::last_os_error());
        OwnedFd::from_raw_fd(fd)
    }
}

/// Binds it to eth0; it hears this protocol, and nothing if that is 0.
fn bind(socket: &OwnedFd, protocol: u16) {
    // SAFETY: an address of zeros is a valid one; it is a whole `sockaddr_ll`, which the kernel copies.
    unsafe {
        let mut address: libc::sockaddr_ll = core::mem::zeroed();
        address.sll_family = libc::AF_PACKET as libc::c_ushort;
        address.sll_protocol = protocol.to_be();
        address.sll_ifindex = libc::if_nametoindex(c"eth0".as_ptr()) as libc::c_int;
        let length = size_of_val(&address) as libc::socklen_t;
        let bound = libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length);
        assert_eq!(bound, 0, "on eth0: {}", Error::last_os_error());
    }
}

fn set<T>(socket: &OwnedFd, option: libc::c_int, value: &T) {
    // SAFETY: the value is as long as is said, and the kernel copies it.
    let set = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            option,
            (&raw const *value).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    };
    assert_eq!(set, 0, "an option: {}", Error::last_os_error());
}

/// What is sent and has to arrive, byte by byte.
fn frame(len: usize) -> Vec<u8> {
    let mut frame = vec![0x02, 0, 0, 0, 9, 2, 0x02, 0, 0, 0, 9, 1];
    frame.extend_from_slice(&ETHERTYPE.to_be_bytes());
    frame.resize(len, 0x5a);
    frame
}

pub(super) fn send_frames(stream: &mut TcpStream, len: usize, span: Duration) -> f64 {
    let socket = packet_socket();
    bind(&socket, 0);
    let one: libc::c_int = 1;
    set(&socket, libc::PACKET_QDISC_BYPASS, &one);
    flood(stream, span, socket.as_raw_fd(), &frame(len))
}

/// Blocks of a ring, shared with the kernel.
struct Ring {
    base: *mut u8,
    next: usize,
}

const BLOCK: usize = 1 << 18;
const BLOCKS: usize = 16;

impl Ring {
    fn of(socket: &OwnedFd) -> Self {
        set(
            socket,
            libc::PACKET_VERSION,
            &libc::tpacket_versions::TPACKET_V3,
        );
        let request = libc::tpacket_req3 {
            tp_block_size: BLOCK as libc::c_uint,
            tp_block_nr: BLOCKS as libc::c_uint,
            tp_frame_size: 2048,
            tp_frame_nr: (BLOCK * BLOCKS / 2048) as libc::c_uint,
            // Milliseconds; the last block comes so late.
            tp_retire_blk_tov: 1,
            tp_sizeof_priv: 0,
            tp_feature_req_word: 0,
        };
        set(socket, libc::PACKET_RX_RING, &request);
        // SAFETY: a new mapping where the kernel likes, as long as the ring that was just asked for.
        let base = unsafe {
            libc::mmap(
                core::ptr::null_mut(),
                BLOCK * BLOCKS,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                socket.as_raw_fd(),
                0,
            )
        };
        assert!(
            base != libc::MAP_FAILED,
            "a ring: {}",
            Error::last_os_error()
        );
        Self {
            base: base.cast(),
            next: 0,
        }
    }

    /// The 32-bit word at this offset of the next block's header.
    fn word(&self, offset: usize) -> &AtomicU32 {
        // SAFETY: in the mapping, aligned, and shared with the kernel, which is why it is atomic.
        unsafe { AtomicU32::from_ptr(self.base.add(self.next * BLOCK + offset).cast()) }
    }

    /// The captured bytes of the frame whose `tpacket3_hdr` stands at this offset of the next block, and where the next stands.
    ///
    /// # Safety
    /// The block is ours, and a header stands there.
    unsafe fn frame(&self, at: usize) -> (&[u8], usize) {
        // tpacket3_hdr: offset of the next, seconds, nanoseconds, captured length, length, status, offset of the frame.
        const CAPTURED: usize = 12;
        const MAC: usize = 24;
        let captured = self.word(at + CAPTURED).load(Ordering::Relaxed) as usize;
        let next = at + self.word(at).load(Ordering::Relaxed) as usize;
        // SAFETY: the kernel wrote header and frame into the block before it gave that to us, and writes there no more.
        unsafe {
            let header = self.base.add(self.next * BLOCK + at);
            let mac = usize::from(header.add(MAC).cast::<u16>().read());
            (core::slice::from_raw_parts(header.add(mac), captured), next)
        }
    }

    /// Frames of the next block, if it is full or timed out, each of which is as expected; then it is the kernel's again.
    fn take(&mut self, expected: &[u8]) -> Option<usize> {
        // tpacket_block_desc: version, offset to private, then block_status, num_pkts, offset to the first.
        const STATUS: usize = 8;
        const PACKETS: usize = 12;
        const FIRST: usize = 16;
        if self.word(STATUS).load(Ordering::Acquire) & libc::TP_STATUS_USER == 0 {
            return None;
        }
        let count = self.word(PACKETS).load(Ordering::Relaxed) as usize;
        let mut at = self.word(FIRST).load(Ordering::Relaxed) as usize;
        for _ in 0..count {
            // SAFETY: the block is ours, and so many headers stand in it, each where the one before says.
            let (frame, next) = unsafe { self.frame(at) };
            assert!(frame == expected, "another frame than was sent");
            at = next;
        }
        self.word(STATUS)
            .store(libc::TP_STATUS_KERNEL, Ordering::Release);
        self.next = (self.next + 1) % BLOCKS;
        Some(count)
    }
}

impl Drop for Ring {
    /// The mapping holds the socket, whose timer goes off a thousand times a second.
    fn drop(&mut self) {
        // SAFETY: mapped by `of`, as long as this, and nothing of it is used after.
        let unmapped = unsafe { libc::munmap(self.base.cast(), BLOCK * BLOCKS) };
        assert_eq!(unmapped, 0, "a ring: {}", Error::last_os_error());
    }
}

/// Counts them, compared byte by byte.
pub(super) fn receive_frames(stream: &mut TcpStream, len: usize) {
    // The ring first, so that all that is heard is in it.
    let socket = packet_socket();
    let mut ring = Ring::of(&socket);
    let expected = frame(len);
    bind(&socket, ETHERTYPE);
    stream.write_all(b"!").expect("told");
    let mut arrived = Arrived::none();
    loop {
        while let Some(count) = ring.take(&expected) {
            arrived.add(count);
        }
        let patience = if arrived.first.is_some() {
            SILENCE
        } else {
            20 * SILENCE
        };
        if !readable(&socket, patience) {
            break;
        }
    }
    arrived.tell(stream);
}

fn readable(socket: &OwnedFd, patience: Duration) -> bool {
    let mut wait = libc::pollfd {
        fd: socket.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one entry, which lives through the call.
    unsafe { libc::poll(&raw mut wait, 1, patience.as_millis() as libc::c_int) > 0 }
}
