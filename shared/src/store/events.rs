//! The outbox of events, and which profiles have a session.

use async_trait::async_trait;

use super::StoreError;
use crate::events::Event;
use crate::model::Timestamp;

/// Events that are to be told.
#[async_trait]
pub trait EventStore: Send + Sync + 'static {
    /// Queues events in order, in one transaction, for `owner` to tell, and numbers each within its key;
    /// one of a source and id that was queued before, told or not, is left alone.
    async fn queue_events(&self, owner: &str, events: Vec<Event>) -> Result<(), StoreError>;

    /// The oldest events not yet told that are `owner`'s to tell, with their outbox numbers, and those of
    /// anybody that happened before `left_before`: whose they are may be no more.
    async fn queued_events(
        &self,
        owner: &str,
        left_before: Timestamp,
        limit: usize,
    ) -> Result<Vec<(i64, Event)>, StoreError>;

    /// Forgets the content of events that were told; their ids stay known for a while.
    async fn events_told(&self, numbers: Vec<i64>) -> Result<(), StoreError>;

    /// Forgets ids of events told before `before`, and the numbers of keys of which nothing was told since;
    /// returns how many ids.
    async fn prune_told(&self, before: Timestamp) -> Result<u64, StoreError>;

    /// Says that a profile's session lasts until `until` at least.
    async fn renew_session(&self, profile: &str, until: Timestamp) -> Result<(), StoreError>;

    /// Ends a profile's session; false when there was none.
    async fn end_session(&self, profile: &str) -> Result<bool, StoreError>;

    /// Profiles with a session at `now`, and until when it lasts, by name.
    async fn sessions(&self, now: Timestamp) -> Result<Vec<(String, Timestamp)>, StoreError>;
}
