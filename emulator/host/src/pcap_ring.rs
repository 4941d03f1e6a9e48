//! A capture in several files, of which the last few are kept.
//!
//! `NAME.pcapng` becomes `NAME_00001.pcapng`, `NAME_00002.pcapng` and so on. Each is a whole capture: the section header, the
//! interfaces and the names of addresses so far are said again at its start. The next file begins before the packet that
//! would make this one too long, or that is too much later than its first by the capture's own clock, so that the
//! same capture gives the same files. Each grows as `NAME_00002.pcapng.tmp` and appears when it is whole; when
//! there are more than are to be kept, the oldest goes.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const NAMES: u32 = 4;
const PACKET: u32 = 6;
/// Bytes that are said again in each file, at most; names that come after them stand in one file.
const HEAD: usize = 1 << 20;

/// How a capture is spread over files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ring {
    /// Bytes of a file, at most, unless one packet alone is longer.
    pub bytes: u64,
    /// Nanoseconds from a file's first packet to its last, at most.
    pub span: Option<u64>,
    /// Files that are kept.
    pub files: u32,
}

/// The files of a capture.
#[derive(Debug)]
pub(crate) struct RingFiles {
    ring: Ring,
    path: PathBuf,
    number: u32,
    file: BufWriter<File>,
    /// Bytes of the file that grows, and when its first packet was.
    written: u64,
    began: Option<u64>,
    /// What each file begins with.
    head: Vec<u8>,
    /// The beginning of a block whose end has not come.
    rest: Vec<u8>,
}

impl RingFiles {
    pub(crate) fn create(path: &Path, ring: Ring) -> io::Result<Self> {
        let file = File::create(growing(path, 1))?;
        Ok(Self {
            ring,
            path: path.to_owned(),
            number: 1,
            file: BufWriter::with_capacity(1 << 20, file),
            written: 0,
            began: None,
            head: Vec::new(),
            rest: Vec::new(),
        })
    }

    /// Writes the next bytes of the capture.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut all = std::mem::take(&mut self.rest);
        let mut left = if all.is_empty() {
            bytes
        } else {
            all.extend_from_slice(bytes);
            &all
        };
        while let Some(length) = block_length(left)? {
            let (block, after) = left.split_at(length);
            self.block(block)?;
            left = after;
        }
        self.rest = left.to_vec();
        Ok(())
    }

    fn block(&mut self, block: &[u8]) -> io::Result<()> {
        match word(block, 0) {
            Some(SECTION | INTERFACE | NAMES) if self.head.len() + block.len() <= HEAD => {
                self.head.extend_from_slice(block);
            }
            Some(PACKET) => self.packet(block)?,
            _ => {}
        }
        self.written += block.len() as u64;
        self.file.write_all(block)
    }

    /// A packet comes: perhaps the next file begins with it.
    fn packet(&mut self, block: &[u8]) -> io::Result<()> {
        let high = u64::from(word(block, 12).unwrap_or_default());
        let at = high << 32 | u64::from(word(block, 16).unwrap_or_default());
        if let Some(began) = self.began {
            let is_long = self.written + block.len() as u64 > self.ring.bytes;
            let is_late = |span| at.saturating_sub(began) >= span;
            if is_long || self.ring.span.is_some_and(is_late) {
                self.next()?;
            }
        }
        self.began.get_or_insert(at);
        Ok(())
    }

    fn next(&mut self) -> io::Result<()> {
        self.appear()?;
        self.number += 1;
        let file = File::create(growing(&self.path, self.number))?;
        self.file = BufWriter::with_capacity(1 << 20, file);
        self.file.write_all(&self.head)?;
        self.written = self.head.len() as u64;
        self.began = None;
        Ok(())
    }

    /// The file that grew is whole.
    fn appear(&mut self) -> io::Result<()> {
        self.file.flush()?;
        let name = numbered(&self.path, self.number);
        fs::rename(growing(&self.path, self.number), name)?;
        if let Some(old) = self
            .number
            .checked_sub(self.ring.files.max(1))
            .filter(|&old| old > 0)
        {
            // It may have been taken away by somebody else.
            let _gone = fs::remove_file(numbered(&self.path, old));
        }
        Ok(())
    }

    /// Ends the last file.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.appear().inspect_err(|_| self.forget())
    }

    /// Takes away what has not become whole.
    pub(crate) fn forget(&self) {
        let _gone = fs::remove_file(growing(&self.path, self.number));
    }
}

/// `NAME_00001.pcapng` for `NAME.pcapng`.
fn numbered(path: &Path, number: u32) -> PathBuf {
    let mut name = path.file_stem().unwrap_or_default().to_owned();
    name.push(format!("_{number:05}"));
    if let Some(extension) = path.extension() {
        name.push(".");
        name.push(extension);
    }
    path.with_file_name(name)
}

fn growing(path: &Path, number: u32) -> PathBuf {
    let mut name: OsString = numbered(path, number).into();
    name.push(".tmp");
    name.into()
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..at + 4)?;
    Some(u32::from_le_bytes(four.try_into().ok()?))
}

/// The length of the block at the start, if all of it is there.
fn block_length(bytes: &[u8]) -> io::Result<Option<usize>> {
    let Some(length) = word(bytes, 4) else {
        return Ok(None);
    };
    if length < 12 || length % 4 != 0 {
        return Err(io::Error::other("a capture with a block that is none"));
    }
    let length = length as usize;
    Ok((length <= bytes.len()).then_some(length))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(kind: u32, body: &[u8]) -> Vec<u8> {
        let length = 12 + body.len() as u32;
        [
            &kind.to_le_bytes()[..],
            &length.to_le_bytes(),
            body,
            &length.to_le_bytes(),
        ]
        .concat()
    }

    fn packet(at: u64, length: usize) -> Vec<u8> {
        let mut body = vec![0; 20 + length];
        body[4..8].copy_from_slice(&((at >> 32) as u32).to_le_bytes());
        body[8..12].copy_from_slice(&(at as u32).to_le_bytes());
        block(PACKET, &body)
    }

    /// The kinds of a file's blocks, by the file's number.
    fn kinds(path: &Path, number: u32) -> Option<Vec<u32>> {
        let bytes = fs::read(numbered(path, number)).ok()?;
        let (mut at, mut kinds) = (0, Vec::new());
        while let Some(length) = block_length(&bytes[at..]).unwrap() {
            kinds.push(word(&bytes, at).unwrap());
            at += length;
        }
        assert_eq!(at, bytes.len());
        Some(kinds)
    }

    fn written(name: &str, ring: Ring, blocks: &[Vec<u8>], pieces: usize) -> Vec<Option<Vec<u32>>> {
        let folder =
            std::env::temp_dir().join(format!("vethlab-ring-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("a.pcapng");
        let mut files = RingFiles::create(&path, ring).unwrap();
        for piece in blocks.concat().chunks(pieces) {
            files.push(piece).unwrap();
        }
        files.finish().unwrap();
        let all = (1..=6).map(|number| kinds(&path, number)).collect();
        fs::remove_dir_all(&folder).unwrap();
        all
    }

    #[test]
    fn each_file_is_a_whole_capture_and_the_oldest_go() {
        let head = [
            block(SECTION, &[0; 16]),
            block(INTERFACE, &[0; 8]),
            block(NAMES, &[0; 4]),
        ];
        let mut blocks = head.to_vec();
        blocks.extend((0..5).map(|at| packet(at, 100)));
        blocks.push(block(INTERFACE, &[0; 8]));
        blocks.extend((5..9).map(|at| packet(at, 100)));
        blocks.push(block(5, &[0; 12]));
        let ring = Ring {
            // The head and two packets.
            bytes: 28 + 20 + 16 + 2 * 132 + 4,
            span: None,
            files: 3,
        };
        let (s, i, n, p) = (SECTION, INTERFACE, NAMES, PACKET);
        for pieces in [1, 7, 4096] {
            let files = written(&format!("size-{pieces}"), ring, &blocks, pieces);
            // With one more interface only one packet fits.
            assert_eq!(files[..2], [None, None], "in pieces of {pieces}");
            assert_eq!(files[5].as_deref(), Some(&[s, i, n, i, p][..]));
            assert!(files[2..].iter().flatten().all(|kinds| kinds[0] == s));
        }
    }

    #[test]
    fn a_file_ends_when_its_time_is_over() {
        let mut blocks = vec![block(SECTION, &[0; 16])];
        blocks.extend([0, 9, 10, 35, 36].map(|at| packet(at, 12)));
        let ring = Ring {
            bytes: u64::MAX,
            span: Some(10),
            files: 9,
        };
        let files = written("time", ring, &blocks, 64);
        let (s, p) = (SECTION, PACKET);
        assert_eq!(
            files[..4],
            [
                Some(vec![s, p, p]),
                Some(vec![s, p]),
                Some(vec![s, p, p]),
                None
            ]
        );
    }

    #[test]
    fn names_keep_their_ending() {
        let shown = |path: &str| numbered(Path::new(path), 12).display().to_string();
        assert_eq!(shown("a/b.c.pcapng"), "a/b.c_00012.pcapng");
        assert_eq!(shown("out"), "out_00012");
    }
}
