//! A timer wheel over supplied time, with one-second buckets.
//!
//! Every flow has at most one timer, linked into its bucket by the flow's place: setting and moving
//! a timer allocates nothing. Timers are lazy: a packet never touches the wheel. When a timer fires,
//! its owner says when it really wants to be woken, and sets it again if that lies ahead.

use shared::model::Timestamp;

use super::event::FlowIndex;
use super::pages::ask_for_large;

const BUCKETS: usize = 512;

/// No place.
const NONE: u32 = u32::MAX;
/// Marks a link that is a bucket's number and not a place.
const BUCKET: u32 = 1 << 31;

/// The neighbours of a timer in its bucket; `before` of the first one is its bucket.
#[derive(Clone, Copy, Debug)]
struct Link {
    before: u32,
    after: u32,
}

const UNSET: Link = Link { before: NONE, after: NONE };

/// The wheel. Timers further ahead than it is long are kept in its last bucket and fire early.
#[derive(Debug)]
pub struct Wheel {
    heads: [u32; BUCKETS],
    links: Vec<Link>,
    /// The second whose bucket fires next.
    next: i64,
    len: usize,
}

impl Wheel {
    /// An empty wheel that begins at `start`, for places below `places`.
    pub fn new(start: Timestamp, places: usize) -> Self {
        let mut links: Vec<Link> = Vec::new();
        // So that it never moves. Where the system refuses so much, it grows as it must.
        let _ = links.try_reserve_exact(places);
        ask_for_large(links.spare_capacity_mut());
        Self { heads: [NONE; BUCKETS], links, next: start.secs(), len: 0 }
    }

    /// Wakes `place` at the first second not before `at`, and no more when it was to be woken.
    pub fn set(&mut self, place: FlowIndex, at: Timestamp) {
        self.unset(place);
        let second = at.secs() + i64::from(at.ns() % shared::model::time::NS_PER_S != 0);
        let second = second.clamp(self.next, self.next + BUCKETS as i64 - 1);
        let bucket = second.rem_euclid(BUCKETS as i64) as usize;
        if self.links.len() <= place as usize {
            self.links.resize(place as usize + 1, UNSET);
        }
        let after = std::mem::replace(&mut self.heads[bucket], place);
        if let Some(link) = self.links.get_mut(after as usize) {
            link.before = place;
        }
        self.links[place as usize] = Link { before: BUCKET | bucket as u32, after };
        self.len += 1;
    }

    /// Forgets the timer of `place`, when there is one.
    pub fn unset(&mut self, place: FlowIndex) {
        let Some(link) = self.links.get_mut(place as usize) else { return };
        let Link { before, after } = std::mem::replace(link, UNSET);
        if before == NONE {
            return;
        }
        self.len -= 1;
        if before & BUCKET != 0 {
            self.heads[(before & !BUCKET) as usize % BUCKETS] = after;
        } else if let Some(link) = self.links.get_mut(before as usize) {
            link.after = after;
        }
        if let Some(link) = self.links.get_mut(after as usize) {
            link.before = before;
        }
    }

    /// Takes the timers of the next second into `fired`, oldest first, when that second is not after
    /// `now`. Call again until `None`; otherwise the time of the second comes back.
    pub fn fire(&mut self, now: Timestamp, fired: &mut Vec<FlowIndex>) -> Option<Timestamp> {
        fired.clear();
        if self.next > now.secs() {
            return None;
        }
        if self.len == 0 {
            self.next = now.secs() + 1;
            return None;
        }
        let second = self.next;
        self.next += 1;
        let bucket = second.rem_euclid(BUCKETS as i64) as usize;
        let mut place = std::mem::replace(&mut self.heads[bucket], NONE);
        while let Some(link) = self.links.get_mut(place as usize) {
            fired.push(place);
            place = std::mem::replace(link, UNSET).after;
        }
        self.len -= fired.len();
        fired.reverse();
        Some(Timestamp::from_secs(second))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn fired(wheel: &mut Wheel, now: i64) -> Vec<(i64, u32)> {
        let (mut all, mut timers) = (Vec::new(), Vec::new());
        while let Some(at) = wheel.fire(Timestamp::from_secs(now), &mut timers) {
            all.extend(timers.iter().map(|place| (at.secs(), *place)));
        }
        all
    }

    #[test]
    fn timers_fire_in_order_and_never_early() {
        let mut wheel = Wheel::new(Timestamp::from_secs(100), 0);
        wheel.set(1, Timestamp::from_ns(102_000_000_001));
        wheel.set(2, Timestamp::from_secs(101));
        assert_eq!(fired(&mut wheel, 102), [(101, 2)]);
        assert_eq!(fired(&mut wheel, 103), [(103, 1)]);
    }

    #[test]
    fn far_timers_fire_within_the_wheel_and_silence_is_skipped() {
        let mut wheel = Wheel::new(Timestamp::from_secs(0), 0);
        wheel.set(1, Timestamp::from_secs(1_000_000));
        assert_eq!(fired(&mut wheel, 2000), [(511, 1)]);
        assert!(fired(&mut wheel, 1_000_000_000).is_empty());
        wheel.set(2, Timestamp::from_secs(5));
        assert_eq!(fired(&mut wheel, 1_000_000_001), [(1_000_000_001, 2)], "late timers fire at once");
    }

    proptest! {
        #[test]
        fn each_place_fires_once_at_its_last_setting(
            steps in prop::collection::vec((0..30_u32, prop::option::of(0..500_i64)), 0..300),
        ) {
            let mut wheel = Wheel::new(Timestamp::ZERO, 0);
            let mut wanted = BTreeMap::new();
            for (place, at) in steps {
                match at {
                    Some(at) => {
                        wheel.set(place, Timestamp::from_secs(at));
                        wanted.insert(place, at);
                    }
                    None => {
                        wheel.unset(place);
                        wanted.remove(&place);
                    }
                }
            }
            let mut all: Vec<(u32, i64)> = fired(&mut wheel, 600).into_iter().map(|(at, p)| (p, at)).collect();
            all.sort_unstable();
            prop_assert_eq!(all, wanted.into_iter().collect::<Vec<_>>());
        }
    }
}
