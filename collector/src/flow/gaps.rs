//! Time between a flow's packets.

use shared::model::time::NS_PER_S;

/// Shortest, longest and spread of the time between packets, whichever way they go.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Gaps {
    /// Shortest, in microseconds.
    pub min_us: u32,
    /// Longest, in microseconds.
    pub max_us: u32,
    /// Sum of the squares, in seconds.
    squares: f32,
}

/// Packets that a beacon has at least, and how long it lasts at least.
const BEACON: (u64, i64) = (12, 60 * NS_PER_S);

impl Gaps {
    /// Adds a gap; one below 0 counts as 0.
    pub(super) fn add(&mut self, ns: i64) {
        let us = u32::try_from(ns.max(0) / 1000).unwrap_or(u32::MAX);
        let first = self.squares == 0.0 && self.max_us == 0;
        self.min_us = if first { us } else { self.min_us.min(us) };
        self.max_us = self.max_us.max(us);
        let seconds = us as f32 / 1e6;
        self.squares += seconds * seconds;
    }

    /// Standard deviation in microseconds of the gaps of `packets` packets over `duration_ns`.
    pub fn deviation_us(&self, packets: u64, duration_ns: i64) -> u32 {
        let Some(gaps) = packets.checked_sub(1).filter(|gaps| *gaps > 0) else { return 0 };
        let mean = duration_ns as f64 / 1e9 / gaps as f64;
        let variance = f64::from(self.squares) / gaps as f64 - mean * mean;
        (variance.max(0.0).sqrt() * 1e6) as u32
    }

    /// True when the packets come at a fixed period of a second or more, and have for long.
    pub(super) fn is_beacon(&self, packets: u64, duration_ns: i64) -> bool {
        if packets < BEACON.0 || duration_ns < BEACON.1 {
            return false;
        }
        let mean_us = duration_ns / 1000 / (packets as i64 - 1);
        mean_us >= 1_000_000 && i64::from(self.deviation_us(packets, duration_ns)) * 10 < mean_us
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gaps(all_ms: &[i64]) -> (Gaps, u64, i64) {
        let mut gaps = Gaps::default();
        all_ms.iter().for_each(|ms| gaps.add(ms * 1_000_000));
        (gaps, all_ms.len() as u64 + 1, all_ms.iter().sum::<i64>() * 1_000_000)
    }

    #[test]
    fn shortest_longest_and_spread() {
        let (gaps, packets, duration) = gaps(&[100, 300, 200]);
        assert_eq!((gaps.min_us, gaps.max_us), (100_000, 300_000));
        let deviation = gaps.deviation_us(packets, duration);
        assert!((81_000..82_000).contains(&deviation), "{deviation}");
        assert_eq!(Gaps::default().deviation_us(1, 0), 0);
    }

    #[test]
    fn a_beacon_is_regular_slow_and_long() {
        let beacon = |all: &[i64]| {
            let (gaps, packets, duration) = gaps(all);
            gaps.is_beacon(packets, duration)
        };
        assert!(beacon(&[10_000, 10_100, 9_900].repeat(5)));
        assert!(!beacon(&[10_000, 100, 20_000].repeat(5)), "irregular");
        assert!(!beacon(&[20].repeat(10_000)), "a stream");
        assert!(!beacon(&[30_000; 3]), "too few");
    }
}
