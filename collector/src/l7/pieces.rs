//! A byte stream out of pieces that come in any order, more than once and overlapping.

/// Longest stream kept.
const MAX_BYTES: usize = 16 * 1024;
/// Most gaps; a client that scrambles its hello on purpose makes some dozen.
const MAX_RANGES: usize = 64;

/// The pieces of a stream's beginning.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    bytes: Vec<u8>,
    /// What is there, as ascending ranges that do not touch.
    ranges: Vec<(usize, usize)>,
}

impl Pieces {
    /// Puts a piece at its place; pieces beyond the bounds are dropped.
    pub(super) fn insert(&mut self, at: usize, piece: &[u8]) {
        let Some(end) = at.checked_add(piece.len()).filter(|end| *end <= MAX_BYTES) else { return };
        let first = self.ranges.partition_point(|(_, before)| *before < at);
        let last = self.ranges.partition_point(|(start, _)| *start <= end);
        if piece.is_empty() || (first == last && self.ranges.len() >= MAX_RANGES) {
            return;
        }
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        if let Some(place) = self.bytes.get_mut(at..end) {
            place.copy_from_slice(piece);
        }
        let touched = self.ranges.get(first..last).unwrap_or_default();
        let start = touched.first().map_or(at, |(start, _)| at.min(*start));
        let end = touched.last().map_or(end, |(_, before)| end.max(*before));
        self.ranges.splice(first..last, [(start, end)]);
    }

    /// The bytes that are there from the beginning on.
    pub(super) fn beginning(&self) -> &[u8] {
        match self.ranges.first() {
            Some((0, end)) => self.bytes.get(..*end).unwrap_or_default(),
            _ => &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_gap_hides_what_follows() {
        let mut pieces = Pieces::default();
        pieces.insert(3, b"def");
        assert_eq!(pieces.beginning(), b"");
        pieces.insert(0, b"ab");
        assert_eq!(pieces.beginning(), b"ab");
        pieces.insert(1, b"bcd");
        assert_eq!(pieces.beginning(), b"abcdef");
    }

    #[test]
    fn a_stream_stays_bounded() {
        let mut pieces = Pieces::default();
        pieces.insert(usize::MAX, b"x");
        pieces.insert(MAX_BYTES, b"x");
        for at in 0..1000 {
            pieces.insert(2 * at, b"x");
        }
        assert!(pieces.ranges.len() <= MAX_RANGES && pieces.bytes.len() <= MAX_BYTES);
        assert_eq!(pieces.beginning(), b"x");
    }

    proptest! {
        #[test]
        fn any_order_with_copies_and_overlaps_gives_the_stream(
            stream in prop::collection::vec(any::<u8>(), 1..400),
            cuts in prop::collection::vec((any::<prop::sample::Index>(), 1..80_usize), 0..40),
        ) {
            let mut pieces = Pieces::default();
            let mut there = vec![false; stream.len()];
            for (at, length) in cuts {
                let at = at.index(stream.len());
                let end = stream.len().min(at + length);
                pieces.insert(at, &stream[at..end]);
                there[at..end].fill(true);
                let whole = there.iter().position(|there| !there).unwrap_or(stream.len());
                prop_assert_eq!(pieces.beginning(), &stream[..whole]);
            }
            // What is missing, backwards.
            for (at, byte) in stream.iter().enumerate().rev() {
                pieces.insert(at, &[*byte]);
            }
            prop_assert_eq!(pieces.beginning(), &stream[..]);
        }
    }
}
