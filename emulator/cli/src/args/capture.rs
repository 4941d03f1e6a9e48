//! The arguments of captures.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use vethlab::capture::{Ring, Wish, ring_of};

/// What is captured of a lab that has a beginning and an end.
#[derive(Args, Clone, Debug, Default)]
pub struct CaptureArgs {
    /// Write the frames to this pcapng file
    #[arg(long = "capture", value_name = "OUT.pcapng")]
    pub file: Option<PathBuf>,
    /// Where frames are captured
    #[arg(long = "capture-at", value_enum, default_value_t = CaptureAt::Crossing, requires = "file")]
    pub at: CaptureAt,
    /// Capture at this interface alone: web:eth0, web (all of its interfaces), a network, a bridge, any; may be repeated
    #[arg(
        short = 'i',
        long = "capture-interface",
        value_name = "PLACE",
        requires = "file",
        conflicts_with = "at"
    )]
    pub interfaces: Vec<String>,
    /// Record only frames that pass this expression, in tcpdump's language
    #[arg(long = "capture-filter", value_name = "EXPR", requires = "file")]
    pub filter: Option<String>,
    /// The bounds.
    #[command(flatten)]
    pub bounds: Bounds,
}

/// How much is kept of a capture.
#[derive(Args, Clone, Debug, Default)]
pub struct Bounds {
    /// Keep this many bytes of each frame; 0 keeps all
    #[arg(short, long, value_name = "BYTES", default_value_t = 0)]
    pub snaplen: u32,
    /// Record this many frames and no more
    #[arg(short, long, value_name = "FRAMES")]
    pub count: Option<u64>,
    /// Write files of at most SIZE and keep the last FILES of them (10MB:5): OUT_00001.pcapng and so on
    #[arg(long, value_name = "SIZE:FILES")]
    pub ring: Option<String>,
    /// Begin a new file after so many seconds of the lab's time
    #[arg(long, value_name = "N", requires = "ring")]
    pub ring_seconds: Option<u64>,
}

impl Bounds {
    /// The files of a ring.
    ///
    /// # Errors
    /// One sentence.
    pub fn ring(&self) -> Result<Option<Ring>, String> {
        let ring = self.ring.as_deref();
        ring.map(|text| ring_of(text, self.ring_seconds))
            .transpose()
    }
}

impl CaptureArgs {
    /// What is asked for.
    #[must_use]
    pub fn wish(&self) -> Wish {
        Wish {
            interfaces: self.interfaces.clone(),
            at: self.at.into(),
            filter: self.filter.clone().unwrap_or_default(),
            snaplen: self.bounds.snaplen,
            packets: self.bounds.count,
        }
    }
}

/// Where frames are captured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum CaptureAt {
    /// Each frame once for each bridge that it crosses
    #[default]
    Crossing,
    /// Each frame at every point of its way
    All,
}

impl From<CaptureAt> for vethlab::capture::CaptureAt {
    fn from(at: CaptureAt) -> Self {
        match at {
            CaptureAt::Crossing => Self::Crossing,
            CaptureAt::All => Self::All,
        }
    }
}
