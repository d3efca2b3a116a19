//! Answers remembered by the bytes that they were made of. Pure all the same: the same bytes always
//! give the same answer, and a memo only saves making it again.

use std::hash::BuildHasher;

use xxhash_rust::xxh3::xxh3_128_with_seed;

/// Answers remembered; each has one place, where the latest one stays.
const PLACES: usize = 512;

/// A memo of answers that are cheap to clone.
#[derive(Debug)]
pub(super) struct Memo<T> {
    places: Vec<Option<(u128, T)>>,
    /// Unknown to whoever makes the bytes, so that nobody can make one thing stand in for another.
    seed: u64,
}

impl<T: Clone> Memo<T> {
    pub(super) fn new() -> Self {
        Self { places: Vec::new(), seed: foldhash::fast::RandomState::default().hash_one(0) }
    }

    /// The answer to `bytes`, which `make` gives when it is not remembered.
    pub(super) fn get_or(&mut self, bytes: &[u8], make: impl FnOnce() -> Option<T>) -> Option<T> {
        let hash = xxh3_128_with_seed(bytes, self.seed);
        if self.places.is_empty() {
            self.places.resize_with(PLACES, || None);
        }
        let place = self.places.get_mut(hash as usize % PLACES)?;
        match place {
            Some((known, answer)) if *known == hash => Some(answer.clone()),
            _ => {
                let answer = make()?;
                *place = Some((hash, answer.clone()));
                Some(answer)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_made_once_and_failures_are_not_remembered() {
        let mut memo = Memo::new();
        let mut made = 0;
        for _ in 0..3 {
            let answer = memo.get_or(b"question", || {
                made += 1;
                Some(made)
            });
            assert_eq!(answer, Some(1));
        }
        assert_eq!(memo.get_or(b"other", || None), None);
        assert_eq!(memo.get_or(b"other", || Some(7)), Some(7));
        for number in 0..10_000_u32 {
            assert_eq!(memo.get_or(&number.to_be_bytes(), || Some(number)), Some(number));
        }
    }
}
