//! A timer wheel over supplied time, with one-second buckets.
//!
//! Timers are lazy: a packet never touches the wheel. When a timer fires, its owner says when it
//! really wants to be woken, and is put back if that lies ahead.

use shared::model::Timestamp;

use super::event::FlowIndex;

const BUCKETS: usize = 512;

/// A flow to look at: its place, and the generation of that place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timer {
    /// Place in the table.
    pub flow: FlowIndex,
    /// The place may have been given to another flow since.
    pub generation: u32,
}

/// The wheel. Timers further ahead than it is long are kept in its last bucket and fire early.
#[derive(Debug)]
pub struct Wheel {
    buckets: Vec<Vec<Timer>>,
    /// The second whose bucket fires next.
    next: i64,
    len: usize,
}

impl Wheel {
    /// An empty wheel that begins at `start`.
    pub fn new(start: Timestamp) -> Self {
        Self { buckets: (0..BUCKETS).map(|_| Vec::new()).collect(), next: start.secs(), len: 0 }
    }

    /// Wakes `timer` at the first second not before `at`.
    pub fn set(&mut self, timer: Timer, at: Timestamp) {
        let second = at.secs() + i64::from(at.ns() % shared::model::time::NS_PER_S != 0);
        let second = second.clamp(self.next, self.next + BUCKETS as i64 - 1);
        self.buckets[second.rem_euclid(BUCKETS as i64) as usize].push(timer);
        self.len += 1;
    }

    /// Takes the timers of the next second, when that second is not after `now`. Call again until
    /// `None`; the time of the second comes with the timers.
    pub fn fire(&mut self, now: Timestamp) -> Option<(Timestamp, Vec<Timer>)> {
        if self.next > now.secs() {
            return None;
        }
        if self.len == 0 {
            self.next = now.secs() + 1;
            return None;
        }
        let second = self.next;
        self.next += 1;
        let fired = std::mem::take(&mut self.buckets[second.rem_euclid(BUCKETS as i64) as usize]);
        self.len -= fired.len();
        Some((Timestamp::from_secs(second), fired))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fired(wheel: &mut Wheel, now: i64) -> Vec<(i64, u32)> {
        let mut all = Vec::new();
        while let Some((at, timers)) = wheel.fire(Timestamp::from_secs(now)) {
            all.extend(timers.iter().map(|t| (at.secs(), t.flow)));
        }
        all
    }

    fn timer(flow: u32) -> Timer {
        Timer { flow, generation: 0 }
    }

    #[test]
    fn timers_fire_in_order_and_never_early() {
        let mut wheel = Wheel::new(Timestamp::from_secs(100));
        wheel.set(timer(1), Timestamp::from_ns(102_000_000_001));
        wheel.set(timer(2), Timestamp::from_secs(101));
        assert_eq!(fired(&mut wheel, 102), [(101, 2)]);
        assert_eq!(fired(&mut wheel, 103), [(103, 1)]);
    }

    #[test]
    fn far_timers_fire_within_the_wheel_and_silence_is_skipped() {
        let mut wheel = Wheel::new(Timestamp::from_secs(0));
        wheel.set(timer(1), Timestamp::from_secs(1_000_000));
        assert_eq!(fired(&mut wheel, 2000), [(511, 1)]);
        assert!(fired(&mut wheel, 1_000_000_000).is_empty());
        wheel.set(timer(2), Timestamp::from_secs(5));
        assert_eq!(fired(&mut wheel, 1_000_000_001), [(1_000_000_001, 2)], "late timers fire at once");
    }
}
