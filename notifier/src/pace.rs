//! How fast a lane may go. Pure: the time is an argument.

use std::time::Duration;

use shared::model::Timestamp;

/// A minute.
const MINUTE: i64 = 60_000_000_000;

/// A token bucket: a token a delivery, as many as fit into a minute at most. It begins with one, so
/// that restarts cannot be used to go beyond the bound.
#[derive(Clone, Debug, Default)]
pub struct Bucket {
    tokens: f64,
    filled_at: Option<Timestamp>,
}

impl Bucket {
    /// Fills up to `now`; gives the tokens there are.
    pub fn fill(&mut self, per_minute: u32, now: Timestamp) -> f64 {
        let per_ns = f64::from(per_minute) / MINUTE as f64;
        let passed = self.filled_at.map_or(0, |at| now.since(at).max(0));
        if self.filled_at.is_none() {
            self.tokens = 1.0;
        }
        self.tokens = (self.tokens + passed as f64 * per_ns).min(f64::from(per_minute.max(1)));
        self.filled_at = Some(now);
        self.tokens
    }

    /// Takes tokens, also more than there are.
    pub fn take(&mut self, count: usize) {
        self.tokens -= count as f64;
    }

    /// How long until there is a token.
    pub fn wait(&self, per_minute: u32) -> Duration {
        let missing = (1.0 - self.tokens).max(0.0);
        Duration::from_secs_f64(missing * 60.0 / f64::from(per_minute.max(1))).max(Duration::from_millis(1))
    }
}

/// Requests that a far end takes in a minute: no more than its vendor names, and what is learned from its
/// asking to wait. Each time it asks, half as many are made; after each minute in which it did not, one more.
#[derive(Clone, Debug)]
pub struct Pace {
    most: u32,
    now: u32,
    bucket: Bucket,
    /// When it asked last, or a minute without that was counted last.
    clean_since: Option<Timestamp>,
}

impl Pace {
    /// At most so many a minute.
    pub fn new(most: u32) -> Self {
        let most = most.max(1);
        Self { most, now: most, bucket: Bucket::default(), clean_since: None }
    }

    /// How many a minute at the moment, and how many at most.
    pub fn now(&self) -> (u32, u32) {
        (self.now, self.most)
    }

    /// How long the next request has to wait; `None` when it may be made.
    pub fn wait(&mut self, now: Timestamp) -> Option<Duration> {
        if let Some(since) = self.clean_since {
            let minutes = u32::try_from(now.since(since).max(0) / MINUTE).unwrap_or(u32::MAX);
            self.now = self.now.saturating_add(minutes).min(self.most);
            self.clean_since = (self.now < self.most).then(|| since.plus_ns(i64::from(minutes) * MINUTE));
        }
        (self.bucket.fill(self.now, now) < 1.0).then(|| self.bucket.wait(self.now))
    }

    /// A request was made.
    pub fn made(&mut self) {
        self.bucket.take(1);
    }

    /// The far end asks to go slower.
    pub fn too_fast(&mut self, now: Timestamp) {
        self.now = (self.now / 2).max(1);
        self.clean_since = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_000_000);

    #[test]
    fn half_as_many_after_each_request_to_wait_and_one_more_after_each_clean_minute() {
        let mut pace = Pace::new(20);
        pace.too_fast(NOW);
        pace.too_fast(NOW);
        assert_eq!(pace.now(), (5, 20));
        let after = |pace: &mut Pace, secs: i64| {
            pace.wait(NOW.plus_secs(secs));
            pace.now().0
        };
        assert_eq!(after(&mut pace, 59), 5);
        assert_eq!(after(&mut pace, 60), 6);
        assert_eq!(after(&mut pace, 119), 6);
        assert_eq!(after(&mut pace, 60 * 4), 9, "also when nobody looked meanwhile");
        pace.too_fast(NOW.plus_secs(250));
        assert_eq!(after(&mut pace, 309), 4, "the minute begins anew");
        assert_eq!(after(&mut pace, 310), 5);
        assert_eq!(after(&mut pace, 10_000), 20, "no more than its bound");
        for _ in 0..20 {
            pace.too_fast(NOW);
        }
        assert_eq!(pace.now().0, 1, "it never stands still");
    }

    #[test]
    fn what_it_learned_is_how_fast_it_goes() {
        let mut pace = Pace::new(60);
        let made_in = |pace: &mut Pace, from: Timestamp, secs: i64| {
            let (mut now, mut made) = (from, 0);
            while now < from.plus_secs(secs) {
                match pace.wait(now) {
                    Some(wait) => now = now.plus_ns(wait.as_nanos() as i64),
                    None => {
                        pace.made();
                        made += 1;
                    }
                }
            }
            made
        };
        assert!((60..=61).contains(&made_in(&mut pace, NOW, 60)));
        pace.too_fast(NOW.plus_secs(60));
        assert!((29..=31).contains(&made_in(&mut pace, NOW.plus_secs(60), 60)));
    }
}
