//! What the figures were measured on.

use std::process::Command;
use std::time::SystemTime;

/// The machine, as it was when the run began.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) kernel: String,
    pub(crate) rustc: String,
    pub(crate) date: String,
    pub(crate) load_before: String,
}

fn unknown() -> String {
    "unknown".to_owned()
}

/// The processor's own name.
fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("model name"));
    line.and_then(|line| line.split_once(": "))
        .map_or_else(unknown, |(_, name)| name.to_owned())
}

/// The compiler that is on the path, which is the one that cargo used unless told otherwise.
pub(crate) fn rustc() -> String {
    let said = Command::new("rustc").arg("--version").output();
    said.ok()
        .and_then(|said| String::from_utf8(said.stdout).ok())
        .map_or_else(unknown, |text| text.trim().to_owned())
}

/// Load averages of 1, 5 and 15 minutes.
pub(crate) fn load() -> String {
    std::fs::read_to_string("/proc/loadavg").map_or_else(
        |_| unknown(),
        |text| text.split(' ').take(3).collect::<Vec<_>>().join(" "),
    )
}

/// Year, month and day of a count of days since 1970, in the Gregorian calendar.
fn civil(days: u64) -> (u64, u64, u64) {
    let leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    let (mut year, mut left) = (1970, days);
    while left >= 365 + u64::from(leap(year)) {
        left -= 365 + u64::from(leap(year));
        year += 1;
    }
    let february = 28 + u64::from(leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if left < length {
            break;
        }
        left -= length;
        month += 1;
    }
    (year, month, left + 1)
}

/// Today, in UTC.
fn date() -> String {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let (year, month, day) = civil(since.map_or(0, |since| since.as_secs() / 86_400));
    format!("{year}-{month:02}-{day:02}")
}

impl Machine {
    pub(crate) fn here() -> Self {
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease");
        Self {
            processor: processor(),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            kernel: release.map_or_else(|_| unknown(), |text| text.trim().to_owned()),
            rustc: rustc(),
            date: date(),
            load_before: load(),
        }
    }
}

/// Nanoseconds for which this thread has run, and for which it was ready to and something else ran.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Core(u64, u64);

impl Core {
    /// Until now; nothing where nobody says so.
    pub(crate) fn now() -> Self {
        let said = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
        let mut figures = said.split_whitespace().map_while(|word| word.parse().ok());
        Self(figures.next().unwrap_or(0), figures.next().unwrap_or(0))
    }

    /// Of the time since then in which it could run, the part in which it did.
    pub(crate) fn share_since(then: Self) -> f64 {
        let now = Self::now();
        let (ran, waited) = (now.0 - then.0, now.1 - then.1);
        if waited == 0 {
            return 1.0;
        }
        ran as f64 / (ran + waited) as f64
    }
}
