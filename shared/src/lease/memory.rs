//! Leases inside one process.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use super::{Lease, Leases, TTL};
use crate::bus::BusError;
use crate::clock::SharedClock;
use crate::model::Timestamp;

/// Leases in memory.
pub struct MemoryLeases {
    clock: SharedClock,
    ttl: Duration,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    last: u64,
    leases: BTreeMap<String, (Lease, Timestamp)>,
}

impl MemoryLeases {
    /// No lease is held. Fences begin after `last`, the highest that the store has seen.
    pub fn new(clock: SharedClock, last: u64) -> Arc<Self> {
        Self::with_ttl(clock, last, TTL)
    }

    /// The same with leases that last for `ttl`.
    pub fn with_ttl(clock: SharedClock, last: u64, ttl: Duration) -> Arc<Self> {
        Arc::new(Self { clock, ttl, held: Mutex::new(Held { last, leases: BTreeMap::new() }) })
    }

    /// What is held, without what has run out.
    fn held(&self) -> MutexGuard<'_, Held> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let (now, ttl) = (self.clock.now(), i64::try_from(self.ttl.as_nanos()).unwrap_or(i64::MAX));
        held.leases.retain(|_, (_, at)| now.since(*at) < ttl);
        held
    }
}

#[async_trait]
impl Leases for MemoryLeases {
    async fn take(&self, name: &str, holder: &str) -> Result<Option<Lease>, BusError> {
        let mut held = self.held();
        if held.leases.contains_key(name) {
            return Ok(None);
        }
        held.last += 1;
        let (name, holder) = (name.to_owned(), holder.to_owned());
        let lease = Lease { name: name.clone(), holder, fence: held.last, revision: held.last };
        held.leases.insert(name, (lease.clone(), self.clock.now()));
        Ok(Some(lease))
    }

    async fn renew(&self, lease: &Lease) -> Result<Option<Lease>, BusError> {
        let mut held = self.held();
        if held.leases.get(&lease.name).is_none_or(|(known, _)| known != lease) {
            return Ok(None);
        }
        held.last += 1;
        let renewed = Lease { revision: held.last, ..lease.clone() };
        held.leases.insert(lease.name.clone(), (renewed.clone(), self.clock.now()));
        Ok(Some(renewed))
    }

    async fn give_up(&self, lease: &Lease) -> Result<(), BusError> {
        let mut held = self.held();
        if held.leases.get(&lease.name).is_some_and(|(known, _)| known == lease) {
            held.leases.remove(&lease.name);
        }
        Ok(())
    }

    async fn holder(&self, name: &str) -> Result<Option<String>, BusError> {
        Ok(self.held().leases.get(name).map(|(lease, _)| lease.holder.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::conformance;
    use super::*;
    use crate::clock::ManualClock;

    #[tokio::test]
    async fn memory_passes_the_suite() {
        let clock = ManualClock::new(Timestamp::from_secs(1));
        let (moved, ttl) = (Arc::clone(&clock), Duration::from_secs(10));
        let leases = MemoryLeases::with_ttl(clock, 41, ttl);
        conformance::run(&*leases, async || moved.advance(ttl)).await;
        assert!(leases.take("after", "n").await.unwrap().unwrap().fence > 42, "after what the store knows");
    }
}
