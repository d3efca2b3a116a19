//! Asks the system for large pages under the tables that packets reach into at any place: a look-up then
//! seldom waits for the translation of an address (madvise(2), MADV_HUGEPAGE).

/// A large page of x86-64 and of most others.
const LARGE: usize = 2 * 1024 * 1024;

/// Asks for large pages under all the room that `memory` has. Only a hint: the system may refuse, and
/// elsewhere than on Linux it is not asked.
#[allow(unsafe_code, reason = "nothing safe gives the hint")]
pub(crate) fn ask_for_large<T>(memory: &[std::mem::MaybeUninit<T>]) {
    let range = memory.as_ptr_range();
    let from = (range.start as usize).next_multiple_of(LARGE);
    let length = (range.end as usize).saturating_sub(from) / LARGE * LARGE;
    if length == 0 {
        return;
    }
    #[cfg(target_os = "linux")]
    // SAFETY: the range lies within a slice that the caller has borrowed, and the advice changes neither
    // what the memory holds nor whether it is there.
    unsafe {
        libc::madvise(from as *mut libc::c_void, length, libc::MADV_HUGEPAGE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_memory_holds_stays() {
        let mut memory: Vec<u64> = Vec::with_capacity(3 * LARGE / 8);
        memory.extend(0..1000);
        ask_for_large(memory.spare_capacity_mut());
        memory.extend(1000..2 * LARGE as u64 / 8);
        assert!(memory.iter().enumerate().all(|(at, number)| at as u64 == *number));
        ask_for_large::<u8>(&[]);
    }
}
