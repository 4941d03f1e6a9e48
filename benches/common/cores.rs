//! Which thread runs on which core: where the scheduler puts two threads that speak to each other decides more than
//! what they do, so both sides of a comparison are put in the same places.

use rustix::thread::{CpuSet, Pid, sched_getaffinity, sched_setaffinity};

/// Two cores of those that this process may use; the same twice if it has one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cores {
    all: CpuSet,
    pub(crate) first: usize,
    pub(crate) second: usize,
}

impl Cores {
    pub(crate) fn here() -> Self {
        let all = sched_getaffinity(None).expect("one's own cores");
        let mut each = (0..CpuSet::MAX_CPU).filter(|core| all.is_set(*core));
        let first = each.next().expect("it runs on one");
        Self {
            all,
            first,
            second: each.next().unwrap_or(first),
        }
    }

    pub(crate) const fn are_two(self) -> bool {
        self.first != self.second
    }

    /// This thread may run on all of them again.
    pub(crate) fn free(self) {
        sched_setaffinity(None, &self.all).expect("they were ours");
    }
}

/// This thread runs on one core from now on, and so do threads that it starts.
pub(crate) fn pin(core: usize) {
    sched_setaffinity(None, &one(core)).expect("a core of ours");
}

/// All threads of another process run on one core from now on.
pub(crate) fn pin_process(process: u32, core: usize) {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).expect("it runs");
    for task in tasks.flatten() {
        let id = task.file_name().to_str().and_then(|id| id.parse().ok());
        let thread = id.and_then(Pid::from_raw).expect("a thread");
        // One that has ended meanwhile runs nowhere.
        let _gone = sched_setaffinity(Some(thread), &one(core));
    }
}

fn one(core: usize) -> CpuSet {
    let mut set = CpuSet::new();
    set.set(core);
    set
}
