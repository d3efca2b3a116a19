//! A ledger that fails as tests want.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use shared::model::{Severity, Timestamp};
use shared::store::sqlite::SqliteStore;
use shared::store::{
    DeadLetter, Delivery, DeliveryRecord, EventKind, Ledger, LedgerAudit, LedgerEvent, Outcome,
    RecipientStats, StoreError,
};
use tokio::sync::Semaphore;

/// A ledger that fails at first.
pub struct Flaky {
    /// What it asks when it does not fail.
    pub store: SqliteStore,
    /// How often it refuses events.
    pub accepts: AtomicU32,
    /// How often it does not say what waits behind a delivery.
    pub looks: AtomicU32,
    /// How often it was asked for notes.
    pub noted: AtomicU32,
    /// How often something was claimed.
    pub claims: AtomicU32,
    /// Called before something is claimed.
    pub on_claim: Box<dyn Fn() + Send + Sync>,
    /// Each claim needs one.
    pub permits: Semaphore,
}

impl Flaky {
    /// A ledger that does not fail.
    pub fn new(store: &SqliteStore) -> Self {
        let (accepts, looks, noted, claims) = Default::default();
        let (on_claim, permits) = (Box::new(|| ()), Semaphore::new(Semaphore::MAX_PERMITS));
        Self { store: store.clone(), accepts, looks, noted, claims, on_claim, permits }
    }
}

/// Fails as often as is left.
fn fails(left: &AtomicU32) -> Result<(), StoreError> {
    match left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)) {
        Ok(_) => Err(StoreError::Statement("disk full".to_owned())),
        Err(_) => Ok(()),
    }
}

#[async_trait]
impl Ledger for Flaky {
    async fn accept(
        &self,
        events: Vec<LedgerEvent>,
        now: Timestamp,
        deadline: fn(Severity) -> Duration,
    ) -> Result<u64, StoreError> {
        fails(&self.accepts)?;
        self.store.accept(events, now, deadline).await
    }

    async fn claim(
        &self,
        recipient: &str,
        owner: &str,
        now: Timestamp,
        until: Timestamp,
        limit: usize,
        oldest: usize,
    ) -> Result<Vec<Delivery>, StoreError> {
        self.permits.acquire().await.map_err(|_| StoreError::Closed)?.forget();
        self.claims.fetch_add(1, Ordering::SeqCst);
        (self.on_claim)();
        self.store.claim(recipient, owner, now, until, limit, oldest).await
    }

    async fn settle(&self, results: Vec<(Delivery, Outcome)>, now: Timestamp) -> Result<(), StoreError> {
        self.store.settle(results, now).await
    }

    async fn next_due(&self, recipient: &str) -> Result<Option<Timestamp>, StoreError> {
        self.store.next_due(recipient).await
    }

    async fn release_claims(&self, owner: &str) -> Result<u64, StoreError> {
        self.store.release_claims(owner).await
    }

    async fn lose_claims(&self, owner: &str, now: Timestamp) -> Result<u64, StoreError> {
        self.store.lose_claims(owner, now).await
    }

    async fn outstanding(&self) -> Result<u64, StoreError> {
        self.store.outstanding().await
    }

    async fn stats(&self) -> Result<Vec<RecipientStats>, StoreError> {
        self.store.stats().await
    }

    async fn dead_letters(&self, of: Option<&str>, limit: usize) -> Result<Vec<DeadLetter>, StoreError> {
        self.store.dead_letters(of, limit).await
    }

    async fn replay_dead(
        &self,
        of: &str,
        event: Option<&str>,
        now: Timestamp,
        deadline: Duration,
    ) -> Result<u64, StoreError> {
        self.store.replay_dead(of, event, now, deadline).await
    }

    async fn discard_dead(&self, of: &str, event: Option<&str>) -> Result<u64, StoreError> {
        self.store.discard_dead(of, event).await
    }

    async fn deliveries(&self, event: &str) -> Result<Vec<DeliveryRecord>, StoreError> {
        self.store.deliveries(event).await
    }

    async fn payload(&self, event: &str) -> Result<Option<(EventKind, String)>, StoreError> {
        self.store.payload(event).await
    }

    async fn prune(&self, before: Timestamp) -> Result<u64, StoreError> {
        Ledger::prune(&self.store, before).await
    }

    async fn behind(&self, delivery: &Delivery, limit: usize) -> Result<Vec<Delivery>, StoreError> {
        fails(&self.looks)?;
        self.store.behind(delivery, limit).await
    }

    async fn notes(&self, scope: &str) -> Result<BTreeMap<String, String>, StoreError> {
        self.noted.fetch_add(1, Ordering::SeqCst);
        self.store.notes(scope).await
    }

    async fn note(&self, scope: &str, changes: Vec<(String, Option<String>)>) -> Result<(), StoreError> {
        self.store.note(scope, changes).await
    }

    async fn audit(&self, now: Timestamp) -> Result<LedgerAudit, StoreError> {
        self.store.audit(now).await
    }
}
