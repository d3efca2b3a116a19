//! Exponential backoff with full jitter; the randomness is an argument.

use std::time::Duration;

/// No wait is shorter, or a try that fails at once would be made over and over.
const FLOOR: Duration = Duration::from_millis(5);

/// How long to wait before the next try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// Bound of the first wait.
    pub base: Duration,
    /// Bound of every wait.
    pub cap: Duration,
}

impl Default for Backoff {
    /// 1 s, doubling, at most 5 minutes.
    fn default() -> Self {
        Self { base: Duration::from_secs(1), cap: Duration::from_secs(300) }
    }
}

impl Backoff {
    /// The longest wait after `attempt` failures (1 = the first): `base · 2^(attempt-1)`, capped.
    pub fn bound(&self, attempt: u32) -> Duration {
        let factor = 1u32.checked_shl(attempt.saturating_sub(1)).unwrap_or(u32::MAX);
        self.base.saturating_mul(factor).min(self.cap)
    }

    /// The wait after `attempt` failures: anything up to [`bound`](Self::bound), by `random` in
    /// `0.0..1.0`, but no less than 5 ms, or the bound where that is shorter. Those that failed together
    /// come back spread over the whole time.
    pub fn wait(&self, attempt: u32, random: f64) -> Duration {
        let bound = self.bound(attempt);
        bound.mul_f64(random.clamp(0.0, 1.0)).max(FLOOR.min(bound))
    }
}

/// A number in `0.0..1.0` that follows from `seed` (SplitMix64): jitter that can be replayed.
pub fn unit_random(seed: u64) -> f64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_cap() {
        let backoff = Backoff::default();
        let bounds: Vec<u64> = (1..=11).map(|n| backoff.bound(n).as_secs()).collect();
        assert_eq!(bounds, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!(backoff.bound(200).as_secs(), 300);
    }

    #[test]
    fn jitter_is_spread_over_the_whole_wait_and_never_nothing() {
        let backoff = Backoff::default();
        let waits: Vec<Duration> = (0..1000).map(|seed| backoff.wait(4, unit_random(seed))).collect();
        for eighth in 0..8 {
            let of = |wait: &&Duration| wait.as_secs() == eighth;
            assert!(waits.iter().filter(of).count() > 80, "second {eighth} has its share");
        }
        assert!(waits.iter().all(|wait| *wait <= Duration::from_secs(8)));
        assert_eq!(backoff.wait(9, 0.0), FLOOR);
        let short = Backoff { base: Duration::from_millis(1), cap: Duration::from_millis(1) };
        assert_eq!(short.wait(3, 0.0), Duration::from_millis(1), "a bound below the floor stays one");
    }
}
