//! Capture threads that stay on a core.

use nix::errno::Errno;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// The calling thread, as the system calls take it.
const THIS: Pid = Pid::from_raw(0);

/// Whether this process may run on `core`.
pub(crate) fn exists(core: usize) -> bool {
    // Where the system does not tell, the thread's start will.
    core < CpuSet::count() && sched_getaffinity(THIS).map_or(true, |set| set.is_set(core).unwrap_or(false))
}

/// Keeps the calling thread on `core`.
///
/// # Errors
/// What the system says.
pub(crate) fn stay_on(core: usize) -> Result<(), Errno> {
    let mut set = CpuSet::new();
    set.set(core)?;
    sched_setaffinity(THIS, &set)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_stays_on_its_core() {
        let allowed = sched_getaffinity(THIS).unwrap();
        let cores: Vec<usize> = (0..CpuSet::count()).filter(|core| allowed.is_set(*core).unwrap()).collect();
        for core in &cores {
            let here = std::thread::spawn({
                let core = *core;
                move || {
                    stay_on(core).unwrap();
                    std::fs::read_to_string("/proc/thread-self/status").unwrap()
                }
            });
            let status = here.join().unwrap();
            let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap();
            assert_eq!(list.trim(), core.to_string());
            assert!(exists(*core));
        }
        assert!(!exists(CpuSet::count()) && stay_on(CpuSet::count()).is_err());
    }
}
