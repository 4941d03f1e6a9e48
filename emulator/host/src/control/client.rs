//! The side that asks. It waits, as the commands of a shell do.

use std::io::{self, BufRead, BufReader, IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::sockopt::socket_peercred;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustix::process::{PidfdFlags, pidfd_open};
use serde_json::Value;

use super::DESCRIPTORS;
use super::answer::{Answer, Head};

/// Bytes of a piece that a server may announce.
const PIECE: usize = 64 << 20;
/// Bytes of a line of an answer: a value may be long.
const LINE: u64 = 64 << 20;

/// A connection to a project that is up.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<UnixStream>,
}

fn odd(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

impl Client {
    pub(super) fn new(stream: UnixStream) -> Self {
        Self {
            stream: BufReader::new(stream),
        }
    }

    /// Asks something: an object with a `"verb"`. The answer is read with [`Client::next`].
    ///
    /// # Errors
    /// If the other side is gone.
    pub fn ask(&mut self, request: &Value) -> io::Result<()> {
        self.stream
            .get_mut()
            .write_all(format!("{request}\n").as_bytes())
    }

    /// The same, and hands descriptors over with it: at most [`DESCRIPTORS`](super::DESCRIPTORS).
    ///
    /// # Errors
    /// If the other side is gone, or there are too many descriptors.
    pub fn ask_with(&mut self, request: &Value, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let line = format!("{request}\n");
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let stream = self.stream.get_mut();
        let sent = sendmsg(
            &*stream,
            &[IoSlice::new(line.as_bytes())],
            &mut control,
            SendFlags::NOSIGNAL,
        )?;
        stream.write_all(&line.as_bytes()[sent..])
    }

    /// The next piece of the answer; waits for it.
    ///
    /// # Errors
    /// `UnexpectedEof` if the project went down meanwhile; `InvalidData` if the other side speaks something else.
    #[expect(
        clippy::should_implement_trait,
        reason = "an error is no end of pieces"
    )]
    pub fn next(&mut self) -> io::Result<Answer> {
        let mut line = Vec::new();
        self.stream
            .by_ref()
            .take(LINE)
            .read_until(b'\n', &mut line)?;
        if line.last() != Some(&b'\n') {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let head = std::str::from_utf8(&line).ok().and_then(Head::parse);
        match head.ok_or_else(|| odd("not an answer of vethlab"))? {
            Head::Whole(answer) => Ok(answer),
            Head::Bytes(_, bytes) if bytes > PIECE => Err(odd("a piece that is too long")),
            Head::Bytes(part, count) => {
                let mut bytes = vec![0; count];
                self.stream.read_exact(&mut bytes)?;
                Ok(Answer::Part(part, bytes))
            }
        }
    }

    /// Waits until the other side's process is gone after `last` was asked, and returns its answer.
    ///
    /// # Errors
    /// As [`Client::ask`] and [`Client::next`].
    pub fn ask_last(mut self, last: &Value) -> io::Result<Answer> {
        // Taken while it lives: its number may be another's later.
        let process = socket_peercred(self.stream.get_ref())
            .and_then(|peer| pidfd_open(peer.pid, PidfdFlags::empty()));
        self.ask(last)?;
        let answer = self.next()?;
        if let (Ok(process), Answer::Exit(_)) = (&process, &answer) {
            let mut gone = [PollFd::new(process, PollFlags::IN)];
            while matches!(poll(&mut gone, None), Err(Errno::INTR)) {}
        }
        Ok(answer)
    }
}

impl AsFd for Client {
    /// The connection, to wait for: it can be read when the other side says something more, or is gone.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.get_ref().as_fd()
    }
}
