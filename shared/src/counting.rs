//! Bytes that a thread holds, counted by the program's allocator.
//!
//! A limit on a script's memory has to be looked at while the script runs, so it has to cost next to
//! nothing to look: one number of the thread, which the allocator keeps.
#![allow(unsafe_code, reason = "an allocator is unsafe by its trait")]

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;

thread_local! {
    static BYTES: Cell<i64> = const { Cell::new(0) };
    static TAKEN: Cell<u64> = const { Cell::new(0) };
}

/// An allocator that counts what each thread takes and gives back.
pub struct Counting<A>(pub A);

/// Bytes that this thread has taken and not given back; less than 0 when it gives back what others
/// took. Always 0 where the program's allocator is not a [`Counting`].
pub fn bytes() -> i64 {
    BYTES.get()
}

/// Bytes that this thread has ever taken; always 0 where [`bytes`] is.
pub fn taken() -> u64 {
    TAKEN.get()
}

fn add(more: usize, less: usize) {
    TAKEN.set(TAKEN.get().wrapping_add(more as u64));
    BYTES.set(BYTES.get().wrapping_add(more as i64).wrapping_sub(less as i64));
    #[cfg(test)]
    PEAK.set(PEAK.get().max(BYTES.get()));
}

#[cfg(test)]
thread_local! {
    static PEAK: Cell<i64> = const { Cell::new(0) };
}

/// Begins to look for the largest number of bytes.
#[cfg(test)]
pub fn reset_peak() {
    PEAK.set(BYTES.get());
}

/// The largest number of bytes since then.
#[cfg(test)]
pub fn peak() -> i64 {
    PEAK.get()
}

// SAFETY: every call goes to the other allocator as it came; counting touches no memory of it and
// allocates nothing.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Counting<A> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add(layout.size(), 0);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { self.0.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        add(layout.size(), 0);
        // SAFETY: the caller keeps the contract of `alloc_zeroed`.
        unsafe { self.0.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        add(size.saturating_sub(layout.size()), layout.size().saturating_sub(size));
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { self.0.realloc(at, layout, size) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        add(0, layout.size());
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { self.0.dealloc(at, layout) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_thread_takes_is_counted_until_it_is_given_back() {
        let before = bytes();
        let mut taken = vec![0_u8; 1000];
        assert_eq!(bytes() - before, 1000);
        let so_far = super::taken();
        taken.reserve_exact(3000);
        assert_eq!((bytes() - before, super::taken() - so_far), (4000, 3000));
        let elsewhere = std::thread::spawn(move || {
            drop(taken);
            bytes()
        });
        assert!(elsewhere.join().unwrap() < 0);
    }
}
