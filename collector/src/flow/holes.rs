//! Holes in TCP streams: what later segments left open, until it comes, is known to be lost, or there
//! are too many.
//!
//! Few connections have any at a time, so that they are kept apart from the flows, in room that is
//! lent: a flow knows only which.

/// Holes of a direction at most; of more, the oldest counts as lost.
const MOST: usize = 4;
/// Connections with holes at a time at most; those of others count as lost at once.
const MAX_LENT: usize = 16_384;
/// What is missing is counted in segments of this size, the largest on nearly all lines: at least so many
/// they were.
const SEGMENT: u32 = 1460;

/// A hole: from (inclusive) to (exclusive), and when it was left open, in microseconds that wrap.
#[derive(Clone, Copy, Debug, Default)]
struct Hole {
    from: u32,
    to: u32,
    opened_us: u32,
}

impl Hole {
    fn segments(self) -> u32 {
        self.to.wrapping_sub(self.from).div_ceil(SEGMENT)
    }
}

/// The holes of one direction, oldest first.
#[derive(Clone, Copy, Debug, Default)]
struct Side {
    holes: [Hole; MOST],
    count: usize,
}

impl Side {
    fn all(&self) -> &[Hole] {
        self.holes.get(..self.count).unwrap_or_default()
    }

    fn remove(&mut self, at: usize) -> Option<Hole> {
        let hole = *self.all().get(at)?;
        self.holes.copy_within(at + 1..self.count, at);
        self.count -= 1;
        Some(hole)
    }

    /// Puts a hole to the others; the segments of one that had to make room.
    fn insert(&mut self, at: usize, hole: Hole) -> u32 {
        let (mut at, mut lost) = (at, 0);
        if self.count == MOST {
            lost = self.remove(0).map_or(0, Hole::segments);
            at = at.saturating_sub(1);
        }
        self.holes.copy_within(at..self.count, at + 1);
        if let Some(place) = self.holes.get_mut(at) {
            *place = hole;
            self.count += 1;
        }
        lost
    }
}

/// What a flow was lent; nothing at first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lent(u32);

impl Lent {
    /// Whether the flow has holes.
    pub(super) fn is_any(self) -> bool {
        self != Self::default()
    }
}

/// What came of a segment with old numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Filled {
    /// When the hole was left open that it lies in, by the clock that wraps.
    pub(super) opened_us: Option<u32>,
    /// Segments that count as lost now.
    pub(super) lost: u32,
}

/// All connections' holes.
#[derive(Debug, Default)]
pub(super) struct Holes {
    lent: Vec<[Side; 2]>,
    free: Vec<Lent>,
}

impl Holes {
    fn sides(&mut self, lent: Lent) -> Option<&mut [Side; 2]> {
        self.lent.get_mut(lent.0.checked_sub(1)? as usize)
    }

    /// Notes a hole; the segments that count as lost with it.
    pub(super) fn open(&mut self, to: &mut Lent, side: usize, from: u32, end: u32, now_us: u32) -> u32 {
        let hole = Hole { from, to: end, opened_us: now_us };
        if !to.is_any() {
            match self.free.pop() {
                Some(free) => *to = free,
                None if self.lent.len() < MAX_LENT => {
                    self.lent.push([Side::default(); 2]);
                    *to = Lent(self.lent.len() as u32);
                }
                None => return hole.segments(),
            }
        }
        let Some(side) = self.sides(*to).and_then(|sides| sides.get_mut(side)) else { return 0 };
        side.insert(side.count, hole)
    }

    /// Closes what a segment from `seq` to `end` fills of the holes of a direction.
    pub(super) fn fill(&mut self, of: &mut Lent, side: usize, seq: u32, end: u32) -> Filled {
        let mut filled = Filled::default();
        let Some(holes) = self.sides(*of).and_then(|sides| sides.get_mut(side)) else { return filled };
        let mut at = 0;
        while let Some(hole) = holes.all().get(at).copied() {
            if !before(seq, hole.to) || !before(hole.from, end) {
                at += 1;
                continue;
            }
            if !before(seq, hole.from) {
                filled.opened_us = Some(hole.opened_us);
            }
            holes.remove(at);
            for (from, to) in [(hole.from, seq), (end, hole.to)] {
                if before(from, to) {
                    let count = holes.count;
                    filled.lost += holes.insert(at, Hole { from, to, ..hole });
                    // Where one had to make room, all others have moved.
                    at += usize::from(holes.count > count);
                }
            }
        }
        self.take_back_empty(of);
        filled
    }

    /// Gives up the holes of a direction before `ack`: their receiver has what was in them, so that it
    /// comes no more. The segments they were.
    pub(super) fn acknowledged(&mut self, of: &mut Lent, side: usize, ack: u32) -> u32 {
        let Some(holes) = self.sides(*of).and_then(|sides| sides.get_mut(side)) else { return 0 };
        let (mut at, mut lost) = (0, 0);
        while let Some(hole) = holes.all().get(at).copied() {
            if before(ack, hole.to) {
                at += 1;
            } else {
                lost += hole.segments();
                holes.remove(at);
            }
        }
        self.take_back_empty(of);
        lost
    }

    /// Gives up what is open in both directions, and takes back what was lent: the segments they were.
    pub(super) fn give_up(&mut self, of: &mut Lent) -> [u32; 2] {
        let Some(sides) = self.sides(*of) else { return [0; 2] };
        let lost = sides.map(|side| side.all().iter().map(|hole| hole.segments()).sum());
        *sides = [Side::default(); 2];
        self.take_back_empty(of);
        lost
    }

    fn take_back_empty(&mut self, of: &mut Lent) {
        if self.sides(*of).is_some_and(|sides| sides.iter().all(|side| side.count == 0)) {
            self.free.push(std::mem::take(of));
        }
    }
}

/// Sequence-number order modulo 2^32 (RFC 9293 §3.4).
pub(super) fn before(a: u32, b: u32) -> bool {
    a.wrapping_sub(b).cast_signed() < 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(holes: &mut Holes, of: &mut Lent, from: u32, to: u32) -> u32 {
        holes.open(of, 0, from, to, from)
    }

    fn ranges(holes: &mut Holes, of: Lent) -> Vec<(u32, u32)> {
        holes.sides(of).map_or(Vec::new(), |sides| sides[0].all().iter().map(|h| (h.from, h.to)).collect())
    }

    #[test]
    fn a_hole_is_filled_from_either_end_or_the_middle() {
        for (seq, end, rest) in [
            (100, 150, vec![(150, 200)]),
            (150, 200, vec![(100, 150)]),
            (130, 160, vec![(100, 130), (160, 200)]),
            (100, 200, vec![]),
            (50, 250, vec![]),
            (200, 250, vec![(100, 200)]),
            (50, 100, vec![(100, 200)]),
        ] {
            let (mut holes, mut of) = (Holes::default(), Lent::default());
            open(&mut holes, &mut of, 100, 200);
            let filled = holes.fill(&mut of, 0, seq, end);
            let inside = (100..200).contains(&seq);
            assert_eq!(filled, Filled { opened_us: inside.then_some(100), lost: 0 }, "{seq} to {end}");
            assert_eq!(ranges(&mut holes, of), rest, "{seq} to {end}");
            assert_eq!(of.is_any(), !rest.is_empty());
        }
    }

    #[test]
    fn the_oldest_of_too_many_is_lost() {
        let (mut holes, mut of) = (Holes::default(), Lent::default());
        for n in 0..MOST as u32 {
            assert_eq!(open(&mut holes, &mut of, n * 10_000, n * 10_000 + 1460), 0);
        }
        assert_eq!(open(&mut holes, &mut of, 90_000, 91_461), 1);
        assert_eq!(ranges(&mut holes, of).first(), Some(&(10_000, 11_460)));
        // What lies in the middle of one parts it, and again one is too many.
        assert_eq!(holes.fill(&mut of, 0, 90_100, 90_200), Filled { opened_us: Some(90_000), lost: 1 });
        assert_eq!(
            ranges(&mut holes, of),
            [(20_000, 21_460), (30_000, 31_460), (90_000, 90_100), (90_200, 91_461)]
        );
        assert_eq!(holes.give_up(&mut of), [4, 0]);
        assert_eq!((of, holes.free.len()), (Lent::default(), 1));
    }

    #[test]
    fn what_the_receiver_has_comes_no_more() {
        let (mut holes, mut of) = (Holes::default(), Lent::default());
        // Around the end of the numbers.
        open(&mut holes, &mut of, u32::MAX - 999, u32::MAX - 499);
        open(&mut holes, &mut of, 100, 3020);
        assert_eq!(holes.acknowledged(&mut of, 1, 5000), 0, "the other direction");
        assert_eq!(holes.acknowledged(&mut of, 0, 200), 1);
        assert_eq!(ranges(&mut holes, of), [(100, 3020)]);
        assert_eq!(holes.acknowledged(&mut of, 0, 3020), 2);
        assert!(!of.is_any());
    }

    #[test]
    fn room_is_lent_again_and_bounded() {
        let mut holes = Holes::default();
        let mut all = vec![Lent::default(); MAX_LENT];
        for of in &mut all {
            assert_eq!(open(&mut holes, of, 0, 10), 0);
        }
        let mut other = Lent::default();
        assert_eq!((open(&mut holes, &mut other, 0, 1461), other.is_any()), (2, false));
        holes.give_up(&mut all[7]);
        assert_eq!((open(&mut holes, &mut other, 0, 10), other.is_any()), (0, true));
        assert_eq!(holes.lent.len(), MAX_LENT);
    }
}
