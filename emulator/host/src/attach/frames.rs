//! A descriptor whose reads and writes are frames: a TAP, or a packet socket.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use emulator_core::net::Offload;
use emulator_core::switch::segment::{cut, fill_checksums};
use rustix::io::Errno;

use super::datagrams::SuperDatagram;
use super::vnet::{self, Left};

/// Bytes of the longest frame: a packet of 64 KiB behind an Ethernet header and two tags.
const LONGEST: usize = 65_535 + 22;

/// What a read found.
#[derive(Debug, PartialEq, Eq)]
pub enum Got<'a> {
    /// A frame, and what it leaves to a later edge.
    Frame(&'a [u8], Offload),
    /// Something that the lab does not carry, or no frame at all.
    Odd,
    /// Nothing waits.
    Nothing,
    /// The other side is gone.
    Gone,
}

/// Frames of a descriptor that does not block.
#[derive(Debug)]
pub struct Frames {
    fd: OwnedFd,
    /// There is a virtio header in front of each.
    vnet: bool,
    buffer: Box<[u8]>,
    /// A super-datagram in the buffer, of which not all has been taken.
    cutting: Option<(SuperDatagram, usize)>,
    piece: Vec<u8>,
}

impl Frames {
    /// The frames of `fd`, each with a virtio header in front if `vnet`. Without one they cross as wires carry
    /// them: cut, with full checksums.
    ///
    /// # Errors
    /// If the descriptor cannot be made non-blocking.
    pub fn new(fd: OwnedFd, vnet: bool) -> io::Result<Self> {
        let flags = rustix::fs::fcntl_getfl(&fd)?;
        rustix::fs::fcntl_setfl(&fd, flags | rustix::fs::OFlags::NONBLOCK)?;
        Ok(Self {
            fd,
            vnet,
            buffer: vec![0; LONGEST].into_boxed_slice(),
            cutting: None,
            piece: Vec::new(),
        })
    }

    /// Takes the next frame.
    pub fn read(&mut self) -> Got<'_> {
        if self.cut() {
            return Got::Frame(&self.piece, Offload::default());
        }
        let mut header = [0; vnet::LEN];
        let head = if self.vnet { vnet::LEN } else { 0 };
        let read = rustix::io::readv(
            &self.fd,
            &mut [
                IoSliceMut::new(&mut header[..head]),
                IoSliceMut::new(&mut self.buffer),
            ],
        );
        let length = match read {
            Ok(0) => return Got::Gone,
            Ok(count) if count < head => return Got::Odd,
            Ok(count) => count - head,
            // An interface that was down for a moment says so once.
            Err(Errno::AGAIN | Errno::NETDOWN | Errno::INTR) => return Got::Nothing,
            Err(Errno::BADFD | Errno::BADF | Errno::NODEV | Errno::NXIO | Errno::CONNRESET) => {
                return Got::Gone;
            }
            // A super-frame that has no header of this kind.
            Err(_) => return Got::Odd,
        };
        if !self.vnet {
            return Got::Frame(&self.buffer[..length], Offload::default());
        }
        match vnet::parse(header, &self.buffer[..length]) {
            Left::To(offload) => Got::Frame(&self.buffer[..length], offload),
            Left::Datagrams(size) => {
                let datagram = SuperDatagram::of(&self.buffer[..length], size);
                self.cutting = datagram.map(|datagram| (datagram, length));
                if self.cut() {
                    Got::Frame(&self.piece, Offload::default())
                } else {
                    Got::Odd
                }
            }
            Left::Unknown => Got::Odd,
        }
    }

    /// Cuts the next datagram off a super-datagram, if there is one.
    fn cut(&mut self) -> bool {
        let Some((datagram, length)) = &mut self.cutting else {
            return false;
        };
        let more = datagram.cut(&self.buffer[..*length], &mut self.piece);
        if !more {
            self.cutting = None;
        }
        more
    }

    /// Sends a frame. False: there is no room for it now. What the other side does not want is lost.
    pub fn write(&self, frame: &[u8], offload: Offload) -> bool {
        if self.vnet {
            let header = vnet::header(frame, offload);
            return self.put(&[IoSlice::new(&header), IoSlice::new(frame)]);
        }
        if offload.gso_size > 0 {
            // A part that finds no room is lost as on a wire: its sender sends it again.
            cut(frame, offload.gso_size, |piece| {
                let _lost = self.put(&[IoSlice::new(piece)]);
            });
            return true;
        }
        if offload.csum_partial {
            let mut filled = frame.to_vec();
            fill_checksums(&mut filled);
            return self.put(&[IoSlice::new(&filled)]);
        }
        self.put(&[IoSlice::new(frame)])
    }

    fn put(&self, parts: &[IoSlice<'_>]) -> bool {
        !matches!(
            rustix::io::writev(&self.fd, parts),
            Err(Errno::AGAIN | Errno::NOBUFS)
        )
    }
}

impl AsFd for Frames {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
