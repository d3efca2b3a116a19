//! How fast a lane may go. Pure: the time is an argument.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use shared::model::Timestamp;

/// What is learned first of a far end that names no bound: it may have asked for another reason.
const LEAST_LEARNED: u32 = 20;

/// A minute, in nanoseconds.
const MINUTE: i64 = 60_000_000_000;

/// Parts of a minute that a [`Window`] tells apart, and how long each is in nanoseconds.
const SLOTS: usize = 240;
const SLOT: i64 = MINUTE / SLOTS as i64;

/// What was learned of a far end that names no bound is forgotten after so many minutes in which it did
/// not ask to wait.
const FORGOTTEN_AFTER: i64 = 60;

/// What was done in the minute that ends now. It begins with a minute in which as much was done as may be,
/// spread evenly, so that restarts cannot be used to go beyond the bound.
#[derive(Clone, Debug, Default)]
pub struct Window {
    /// Slots and how much was done in each, ascending; of one minute at most.
    slots: VecDeque<(i64, usize)>,
    began: bool,
}

impl Window {
    /// How much may be done now, of `per_minute` in any minute.
    pub fn room(&mut self, per_minute: u32, now: Timestamp) -> usize {
        if !std::mem::replace(&mut self.began, true) {
            let others = per_minute.saturating_sub(1) as usize;
            let until = |slot: usize| others * slot / SLOTS;
            let first = now.ns().div_euclid(SLOT) - SLOTS as i64;
            let each = (1..=SLOTS).map(|slot| (first + slot as i64, until(slot) - until(slot - 1)));
            self.slots.extend(each.filter(|(_, count)| *count > 0));
        }
        self.forget(now);
        (per_minute as usize).saturating_sub(self.done())
    }

    /// How long until something may be done.
    pub fn wait(&self, per_minute: u32, now: Timestamp) -> Duration {
        let mut over = (self.done() + 1).saturating_sub(per_minute as usize);
        let mut wait = 0;
        for (slot, count) in &self.slots {
            if over == 0 {
                break;
            }
            over = over.saturating_sub(*count);
            wait = forgotten_at(*slot).since(now);
        }
        Duration::from_nanos(u64::try_from(wait).unwrap_or_default()).max(Duration::from_millis(1))
    }

    /// Something was done.
    pub fn add(&mut self, now: Timestamp, count: usize) {
        self.forget(now);
        let slot = now.ns().div_euclid(SLOT);
        match self.slots.back_mut() {
            Some((last, done)) if *last >= slot => *done += count,
            _ => self.slots.push_back((slot, count)),
        }
    }

    fn done(&self) -> usize {
        self.slots.iter().map(|(_, count)| count).sum()
    }

    /// Forgets what was done more than a minute ago. A clock that was set back makes no wait longer.
    fn forget(&mut self, now: Timestamp) {
        let slot = now.ns().div_euclid(SLOT);
        for (later, _) in self.slots.iter_mut().rev().take_while(|(later, _)| *later > slot) {
            *later = slot;
        }
        while self.slots.front().is_some_and(|(slot, _)| forgotten_at(*slot) <= now) {
            self.slots.pop_front();
        }
    }
}

/// When a minute has passed since whatever was done in the slot.
fn forgotten_at(slot: i64) -> Timestamp {
    Timestamp::from_ns((slot + 1).saturating_mul(SLOT).saturating_add(MINUTE))
}

/// Tokens for requests, with few saved up, so that requests come spread out, and of a bound never more in
/// any minute. It begins with one.
#[derive(Clone, Debug, Default)]
struct Bucket {
    tokens: f64,
    filled_at: Option<Timestamp>,
}

impl Bucket {
    /// Fills up to `now`; gives the tokens there are.
    fn fill(&mut self, per_minute: u32, now: Timestamp) -> f64 {
        let passed = self.filled_at.map_or(0, |at| now.since(at).max(0));
        if self.filled_at.is_none() {
            self.tokens = 1.0;
        }
        let filled = self.tokens + passed as f64 * rate(per_minute) / MINUTE as f64;
        self.tokens = filled.min(saved_up(per_minute));
        self.filled_at = Some(now);
        self.tokens
    }

    /// How long until there is a token.
    fn wait(&self, per_minute: u32) -> Duration {
        let missing = (1.0 - self.tokens).max(0.0);
        Duration::from_secs_f64(missing * 60.0 / rate(per_minute)).max(Duration::from_millis(1))
    }
}

/// Tokens that may be saved up.
fn saved_up(per_minute: u32) -> f64 {
    f64::from((per_minute / 10).max(1))
}

/// Tokens a minute: with those that were saved up never more than `per_minute` in any minute.
fn rate(per_minute: u32) -> f64 {
    f64::from(per_minute.max(1)) + 1.0 - saved_up(per_minute)
}

/// How many requests a far end takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// In any minute.
    pub per_minute: u32,
    /// It counts for each recipient; otherwise for all recipients of an endpoint together.
    pub each_recipient: bool,
}

impl Bound {
    /// For all recipients of an endpoint together.
    pub const fn of_endpoint(per_minute: u32) -> Self {
        Self { per_minute, each_recipient: false }
    }

    /// For each recipient.
    pub const fn of_recipient(per_minute: u32) -> Self {
        Self { per_minute, each_recipient: true }
    }
}

/// Requests that a far end takes in a minute: no more than its vendor names, and what is learned from its
/// asking to wait. Each time it asks, half as many are made; after each minute in which it did not, a
/// tenth more, at least one.
#[derive(Clone, Debug, Default)]
pub struct Pace {
    /// The vendor's bound.
    most: Option<u32>,
    /// The bound at the moment.
    now: Option<u32>,
    bucket: Bucket,
    made: Window,
    /// Until when it asked everybody to wait, and how long that was to last.
    hold: Option<(Timestamp, Duration)>,
    /// When it asked last, and how many minutes without that were counted since.
    asked: Option<(Timestamp, i64)>,
}

/// The pace towards one far end, by whoever sends to it.
#[derive(Clone, Debug, Default)]
pub struct SharedPace(Arc<Mutex<Pace>>);

impl SharedPace {
    /// A pace of its own.
    pub fn new(most: Option<u32>) -> Self {
        let pace = Self::default();
        pace.lock().set_most(most);
        pace
    }

    /// The pace, for as long as it is looked at or changed.
    pub fn lock(&self) -> MutexGuard<'_, Pace> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pace {
    /// What the vendor names, from now on; what was learned of that stays.
    pub fn set_most(&mut self, most: Option<u32>) {
        let most = most.map(|most| most.max(1));
        if self.most != most {
            (self.most, self.now, self.asked) = (most, most, None);
        }
    }

    /// How many a minute at the moment, and how many at most, where there is a bound.
    pub fn now(&self) -> Option<(u32, Option<u32>)> {
        self.now.map(|now| (now, self.most))
    }

    /// Takes the token of the next request; how long it has to wait when there is none.
    pub fn take(&mut self, now: Timestamp) -> Option<Duration> {
        if let Some((until, wait)) = self.hold
            && let Some(left) = u64::try_from(until.since(now)).ok().filter(|left| *left > 0)
        {
            return Some(Duration::from_nanos(left).min(wait));
        }
        self.forget(now);
        if let Some(most) = self.now {
            if self.bucket.fill(most, now) < 1.0 {
                return Some(self.bucket.wait(most));
            }
            self.bucket.tokens -= 1.0;
        }
        None
    }

    /// The token that was taken last was not used.
    pub fn give_back(&mut self) {
        self.bucket.tokens += 1.0;
    }

    /// Requests were made, of which the first has its token.
    pub fn made(&mut self, requests: u64, now: Timestamp) {
        self.bucket.tokens -= requests.saturating_sub(1) as f64;
        self.made.add(now, usize::try_from(requests).unwrap_or(usize::MAX));
    }

    /// The far end asks to wait.
    pub fn asked_to_wait(&mut self, wait: Duration, now: Timestamp) {
        let until = now.plus_ns(i64::try_from(wait.as_nanos()).unwrap_or(i64::MAX));
        if self.hold.is_none_or(|(before, _)| before < until) {
            self.hold = Some((until, wait));
        }
        self.made.forget(now);
        // Of a far end that names no bound: what it has had enough of.
        let made = u32::try_from(self.made.done()).unwrap_or(u32::MAX);
        let (before, least) = self.now.map_or((made, LEAST_LEARNED), |now| (now, 1));
        self.now = Some((before / 2).max(least));
        self.asked = Some((now, 0));
    }

    /// Goes up after minutes in which it did not ask to wait.
    fn forget(&mut self, now: Timestamp) {
        let (Some((since, counted)), Some(mut bound)) = (self.asked, self.now) else { return };
        let minutes = now.since(since).max(0) / MINUTE;
        for _ in counted..minutes.min(counted + FORGOTTEN_AFTER) {
            bound = bound.saturating_add((bound / 10).max(1)).min(self.most.unwrap_or(u32::MAX));
        }
        let forgotten = minutes >= FORGOTTEN_AFTER && self.most.is_none();
        self.now = if forgotten { None } else { Some(bound) };
        self.asked = (!forgotten && self.now != self.most).then_some((since, minutes));
    }
}

#[cfg(test)]
mod tests;
