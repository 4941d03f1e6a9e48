//! A capture file, written by its own thread.
//!
//! The core makes pcapng bytes and hands them over as [`Chunks`]. The queue is bounded, so a slow disk
//! slows virtual time down and loses nothing; written chunks come back as memory. The file appears under its name only when it
//! is whole: until then it grows beside it as `NAME.tmp`, and what stood there before stays. A pipe or
//! a device that stands under the name is written into as it is. A capture may also be spread over several files
//! ([`PcapFile::ring`]).

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::pcap_ring::{Ring, RingFiles};

/// Chunks that may wait for the disk.
const QUEUE: usize = 64;

/// The way into a capture file.
#[derive(Clone, Debug)]
pub struct Chunks {
    chunks: Sender<Vec<u8>>,
    spare: Receiver<Vec<u8>>,
}

impl Chunks {
    /// Hands over the next bytes and leaves memory for more in their place; waits while the disk is
    /// behind. They are lost if the writer has stopped ([`PcapFile::has_failed`]).
    pub fn push(&self, bytes: &mut Vec<u8>) {
        let next = self.spare.try_recv().unwrap_or_default();
        let _stopped = self.chunks.send(std::mem::replace(bytes, next));
    }
}

/// Where chunks go.
#[derive(Debug)]
enum Place {
    File(BufWriter<File>),
    Ring(Box<RingFiles>),
}

impl Place {
    fn write(&mut self, chunk: &[u8]) -> io::Result<()> {
        match self {
            Self::File(file) => file.write_all(chunk),
            Self::Ring(files) => files.push(chunk).inspect_err(|_| files.forget()),
        }
    }

    fn finish(self) -> io::Result<()> {
        match self {
            Self::File(mut file) => file.flush(),
            Self::Ring(files) => files.finish(),
        }
    }
}

/// A capture file that is being written.
#[derive(Debug)]
pub struct PcapFile {
    chunks: Chunks,
    writer: JoinHandle<io::Result<()>>,
    /// Nothing of a pipe or a device.
    growing: Option<Growing>,
}

/// A file as it grows, and the name that it gets. One that never gets it is gone.
#[derive(Debug)]
struct Growing {
    path: PathBuf,
    target: PathBuf,
    stands: bool,
}

impl Growing {
    fn stand(mut self) -> io::Result<()> {
        fs::rename(&self.path, &self.target)?;
        self.stands = true;
        Ok(())
    }
}

impl Drop for Growing {
    fn drop(&mut self) {
        if !self.stands {
            // The half-written file is of no use to anybody; an error says what happened.
            let _gone = fs::remove_file(&self.path);
        }
    }
}

impl PcapFile {
    /// Starts a file that will stand at `path`.
    ///
    /// # Errors
    /// What the file system says, such as a folder that is not there.
    pub fn create(path: &Path) -> io::Result<Self> {
        if path.is_dir() {
            return Err(io::Error::new(
                io::ErrorKind::IsADirectory,
                "is a directory",
            ));
        }
        let mut at = path.as_os_str().to_owned();
        if !is_stream(path) {
            at.push(".tmp");
        }
        let file = BufWriter::with_capacity(1 << 20, File::create(&at)?);
        let growing = (at != path.as_os_str()).then(|| Growing {
            path: at.into(),
            target: path.to_owned(),
            stands: false,
        });
        Ok(Self::written_by(Place::File(file), growing))
    }

    /// Starts a capture whose files stand beside `path`, with numbers in their names.
    ///
    /// # Errors
    /// What the file system says.
    pub fn ring(path: &Path, ring: Ring) -> io::Result<Self> {
        let files = RingFiles::create(path, ring)?;
        Ok(Self::written_by(Place::Ring(Box::new(files)), None))
    }

    fn written_by(mut place: Place, growing: Option<Growing>) -> Self {
        let (chunks, inbox) = bounded::<Vec<u8>>(QUEUE);
        let (back, spare) = bounded::<Vec<u8>>(QUEUE);
        let writer = std::thread::spawn(move || {
            for chunk in inbox {
                place.write(&chunk)?;
                // Nobody needs more of them than fit.
                let _full = back.try_send(chunk);
            }
            place.finish()
        });
        Self {
            chunks: Chunks { chunks, spare },
            writer,
            growing,
        }
    }

    /// The way into the file. The file ends when every copy of it is gone.
    #[must_use]
    pub fn chunks(&self) -> Chunks {
        self.chunks.clone()
    }

    /// The writer has stopped early; [`PcapFile::finish`] says why.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.writer.is_finished()
    }

    /// Ends the file and puts it in its place.
    ///
    /// # Errors
    /// The first error of any write; the place then holds what it held before.
    pub fn finish(self) -> io::Result<()> {
        drop(self.chunks);
        let written = self
            .writer
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the capture's writer panicked")));
        written.and_then(|()| self.growing.map_or(Ok(()), Growing::stand))
    }
}

/// Something stands at `path` that is not a file: a pipe, a terminal, `/dev/null`.
fn is_stream(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| !found.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_appears_whole_or_not_at_all() {
        let folder = std::env::temp_dir().join(format!("vethlab-pcap-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("a.pcapng");
        fs::write(&path, b"before").unwrap();
        let file = PcapFile::create(&path).unwrap();
        file.chunks().push(&mut b"one".to_vec());
        file.chunks().push(&mut b"two".to_vec());
        assert_eq!(fs::read(&path).unwrap(), b"before");
        file.finish().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"onetwo");
        drop(PcapFile::create(&path).unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"onetwo");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "no a.pcapng.tmp");
        assert!(PcapFile::create(&folder.join("no/such/folder.pcapng")).is_err());
        assert!(PcapFile::create(&folder).is_err());
        fs::remove_dir_all(&folder).unwrap();
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_device_is_written_into_and_stays() {
        for (path, fits) in [("/dev/null", true), ("/dev/full", false)] {
            let file = PcapFile::create(Path::new(path)).unwrap();
            file.chunks().push(&mut b"one".to_vec());
            assert_eq!(file.finish().is_ok(), fits, "{path}");
            assert!(is_stream(Path::new(path)), "{path}");
        }
    }
}
