//! TCP segments that came before their turn: kept for the dissectors until what is missing comes.
//!
//! Only while a flow is being read, and only a few: a hole that the receiver has acknowledged, that is
//! larger than what could be kept, or before which too much waits was made by the capture, and is
//! passed over.

use super::holes::before;

/// Segments that wait at most, per direction.
const MAX_SEGMENTS: usize = 16;

/// Their bytes at most, per direction; a larger hole is not waited for either.
const MAX_BYTES: usize = 16 * 1024;

/// Where a segment's payload lies in the stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    /// Number of its first byte.
    pub(super) seq: u32,
    /// Bytes on the wire, which may be more than were captured.
    pub(super) len: u32,
    /// Bytes missing before it, as far as known without what waits.
    pub(super) missing: u32,
    /// Bytes at its start that were there before.
    pub(super) old: u32,
}

/// What to do with a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Read it now, without so many bytes at its start.
    Now(usize),
    /// It waits.
    Waits,
    /// It was there before.
    Old,
}

#[derive(Debug)]
struct Segment {
    seq: u32,
    len: u32,
    payload: Box<[u8]>,
}

#[derive(Debug, Default)]
struct Side {
    /// Number of the byte that is missing.
    wanted: u32,
    /// In the order of the stream.
    segments: Vec<Segment>,
}

/// The segments of one flow that wait.
#[derive(Debug, Default)]
pub(super) struct Early {
    sides: [Side; 2],
}

impl Early {
    /// Whether none waits.
    pub(super) fn is_empty(&self) -> bool {
        !self.waits(0) && !self.waits(1)
    }

    /// Whether some of this side wait.
    pub(super) fn waits(&self, side: usize) -> bool {
        !self.sides[side].segments.is_empty()
    }

    /// Bytes that wait.
    pub(super) fn bytes(&self) -> usize {
        self.sides.iter().map(Side::bytes).sum()
    }

    /// Whether the bytes up to `ack` of `side`, whose receiver has them, contain the missing one.
    pub(super) fn passed_by(&self, side: usize, ack: u32) -> bool {
        self.waits(side) && before(self.sides[side].wanted, ack)
    }

    /// Says whether it is a segment's turn; one that has to wait is kept.
    pub(super) fn turn(early: &mut Option<Box<Self>>, side: usize, span: Span, payload: &[u8]) -> Turn {
        if !early.as_ref().is_some_and(|early| early.waits(side)) {
            if span.missing == 0 || span.missing as usize > MAX_BYTES {
                return if span.old < span.len { Turn::Now(span.old as usize) } else { Turn::Old };
            }
            let early = early.get_or_insert_default();
            early.sides[side].wanted = span.seq.wrapping_sub(span.missing);
        }
        let Some(early) = early else { return Turn::Now(0) };
        let side = &mut early.sides[side];
        if before(side.wanted, span.seq) {
            side.keep(span, payload);
            return Turn::Waits;
        }
        let end = span.seq.wrapping_add(span.len);
        if !before(side.wanted, end) {
            return Turn::Old;
        }
        let old = side.wanted.wrapping_sub(span.seq);
        side.wanted = end;
        Turn::Now(old as usize)
    }

    /// The next segment whose turn has come: the bytes of it that are new.
    pub(super) fn next(&mut self, side: usize) -> Option<Vec<u8>> {
        let side = &mut self.sides[side];
        loop {
            let first = side.segments.first()?;
            if before(side.wanted, first.seq) && !side.is_full() {
                return None;
            }
            let segment = side.segments.remove(0);
            let old = side.wanted.wrapping_sub(segment.seq);
            let end = segment.seq.wrapping_add(segment.len);
            if before(side.wanted, segment.seq) {
                side.wanted = end;
                return Some(segment.payload.into_vec());
            }
            if before(side.wanted, end) {
                side.wanted = end;
                return Some(segment.payload.get(old as usize..).unwrap_or_default().to_vec());
            }
        }
    }

    /// Gives up the hole before the first segment that waits.
    pub(super) fn pass_hole(&mut self, side: usize) {
        let side = &mut self.sides[side];
        if let Some(first) = side.segments.first() {
            side.wanted = first.seq;
        }
    }
}

impl Side {
    fn bytes(&self) -> usize {
        self.segments.iter().map(|segment| segment.payload.len()).sum()
    }

    fn is_full(&self) -> bool {
        self.segments.len() > MAX_SEGMENTS || self.bytes() > MAX_BYTES
    }

    fn keep(&mut self, span: Span, payload: &[u8]) {
        let at = self.segments.partition_point(|segment| before(segment.seq, span.seq));
        // Of two that begin at the same byte, the one that goes on further.
        match self.segments.get_mut(at).filter(|there| there.seq == span.seq) {
            Some(there) if there.len >= span.len => {}
            Some(there) => *there = Segment { seq: span.seq, len: span.len, payload: payload.into() },
            None => {
                self.segments.insert(at, Segment { seq: span.seq, len: span.len, payload: payload.into() });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What dissectors are fed of `pieces` (begin and end) of a stream, in the order in which they come.
    fn read(stream: &[u8], first: u32, pieces: &[(usize, usize)]) -> (Vec<u8>, usize) {
        let (mut early, mut fed, mut seen, mut most) = (None, Vec::new(), 0_usize, 0);
        for &(from, to) in pieces {
            let seq = first.wrapping_add(from as u32);
            let span = Span {
                seq,
                len: (to - from) as u32,
                missing: from.saturating_sub(seen) as u32,
                old: (seen.saturating_sub(from)).min(to - from) as u32,
            };
            seen = seen.max(to);
            if let Turn::Now(old) = Early::turn(&mut early, 0, span, &stream[from..to]) {
                fed.extend_from_slice(&stream[from + old..to]);
            }
            let Some(early) = &mut early else { continue };
            while let Some(bytes) = early.next(0) {
                fed.extend(bytes);
            }
            most = most.max(early.bytes());
        }
        (fed, most)
    }

    #[test]
    fn segments_are_read_in_the_order_of_the_stream() {
        let stream = b"abcdefghi";
        for pieces in [
            &[(0, 3), (3, 6), (6, 9)][..],
            &[(0, 3), (6, 9), (3, 6)],
            &[(3, 6), (6, 9), (0, 3)],
            &[(6, 9), (3, 6), (3, 6), (0, 3), (0, 3)],
            &[(0, 3), (0, 6), (2, 9)],
            &[(0, 3), (6, 9), (4, 9), (0, 7)],
        ] {
            assert_eq!(read(stream, u32::MAX - 4, pieces).0, stream, "{pieces:?}");
        }
    }

    #[test]
    fn a_hole_that_stays_is_passed_when_too_much_waits() {
        let stream = vec![7; 100_000];
        let pieces: Vec<_> = (1..60).map(|at| (at * 1000, at * 1000 + 1000)).collect();
        let (fed, most) = read(&stream, 1, &pieces);
        assert_eq!(fed.len(), 59_000);
        assert!(most <= MAX_BYTES + 1000);
        // One that is too large is not waited for at all.
        assert_eq!(read(&stream, 1, &[(0, 10), (50_000, 50_010)]).0.len(), 20);
    }

    #[test]
    fn what_the_receiver_has_is_not_waited_for() {
        let mut early = None;
        let span = Span { seq: 110, len: 5, missing: 10, old: 0 };
        assert_eq!(Early::turn(&mut early, 1, span, b"later"), Turn::Waits);
        let mut early = early.unwrap();
        assert!(!early.passed_by(1, 100) && early.passed_by(1, 101) && !early.passed_by(0, 101));
        assert_eq!(early.next(1), None);
        early.pass_hole(1);
        assert_eq!(early.next(1).as_deref(), Some(&b"later"[..]));
        assert!(early.is_empty());
    }

    proptest! {
        #[test]
        fn few_pieces_in_any_order_give_the_stream(
            length in 1..300_usize,
            first: u32,
            cuts in prop::collection::vec((any::<prop::sample::Index>(), 1..80_usize), 0..12),
        ) {
            let stream: Vec<u8> = (0..length).map(|at| at as u8).collect();
            let mut pieces: Vec<_> = cuts
                .iter()
                .map(|(at, len)| (at.index(length), length.min(at.index(length) + len)))
                .collect();
            pieces.push((0, length));
            prop_assert_eq!(read(&stream, first, &pieces).0, stream);
        }
    }
}
