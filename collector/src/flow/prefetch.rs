//! Asks the processor to bring memory near before it is needed.

/// Brings the cache line that `at` points to near. Only a hint: any address is allowed.
#[inline(always)]
#[allow(unsafe_code, reason = "no safe form of the instruction is stable")]
pub(super) fn prefetch<T>(at: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the instruction never faults and reads nothing that the program can see, whatever the
    // address; it needs SSE, which every x86-64 processor has.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(at.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

/// Brings every line of `value` near.
#[inline(always)]
pub(super) fn prefetch_all<T>(value: *const T) {
    let start: *const u8 = value.cast();
    for line in (0..size_of::<T>()).step_by(64) {
        prefetch(start.wrapping_add(line));
    }
}
