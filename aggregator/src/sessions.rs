//! Sessions of profiles: a hook made without *persistent* lives as long as its profile's.
//!
//! A profile is connected when it makes such a hook or says so, until it says otherwise or this process
//! ends. While it is connected its session is a lease in the store, renewed long before it runs out; what
//! nobody renews runs out, and with it go the profile's temporary hooks.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use shared::bus::SharedBus;
use shared::clock::SharedClock;
use shared::events::{Draft, Emitter};
use shared::model::Timestamp;
use shared::store::StoreError;
use shared::store::documents::{Change, DocumentKind, DocumentStore, Put, Tell};
use shared::store::events::EventStore;
use shared::wire::subject::Subjects;
use tokio::sync::Notify;

/// Looks after sessions.
pub struct Sessions {
    store: Arc<dyn EventStore>,
    documents: Arc<dyn DocumentStore>,
    bus: SharedBus,
    subjects: Subjects,
    clock: SharedClock,
    events: Emitter,
    /// How long a session lasts that nobody renews.
    lease: Duration,
    /// This node, which keeps its own sessions.
    node: String,
    /// Profiles that are connected to this process.
    connected: Mutex<BTreeSet<String>>,
    changed: Notify,
}

/// What sessions are made of.
pub struct SessionDeps {
    /// Leases.
    pub store: Arc<dyn EventStore>,
    /// Hooks.
    pub documents: Arc<dyn DocumentStore>,
    /// The bus.
    pub bus: SharedBus,
    /// Subjects.
    pub subjects: Subjects,
    /// Wall clock.
    pub clock: SharedClock,
    /// Tells events.
    pub events: Emitter,
    /// How long a session lasts that nobody renews.
    pub lease: Duration,
    /// Name of this node.
    pub node: String,
}

impl Sessions {
    /// Nobody is connected.
    pub fn new(deps: SessionDeps) -> Self {
        let SessionDeps { store, documents, bus, subjects, clock, events, lease, node } = deps;
        let (connected, changed) = (Mutex::default(), Notify::new());
        Self { store, documents, bus, subjects, clock, events, lease, node, connected, changed }
    }

    /// The node that keeps these sessions.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// A profile is connected from now on.
    pub async fn connect(&self, profile: &str) -> Result<Timestamp, StoreError> {
        let until = self.until();
        self.store.renew_session(profile, until).await?;
        self.connected.lock().unwrap_or_else(PoisonError::into_inner).insert(profile.to_owned());
        Ok(until)
    }

    /// A profile is connected no longer; its temporary hooks go now. False when it was not connected.
    pub async fn disconnect(&self, profile: &str) -> Result<bool, StoreError> {
        self.connected.lock().unwrap_or_else(PoisonError::into_inner).remove(profile);
        let ended = self.store.end_session(profile).await?;
        self.reap().await?;
        self.changed.notify_one();
        Ok(ended)
    }

    /// Profiles with a session, and until when it lasts.
    pub async fn list(&self) -> Result<Vec<(String, Timestamp)>, StoreError> {
        self.store.sessions(self.clock.now()).await
    }

    fn until(&self) -> Timestamp {
        self.clock.now().plus_ns(i64::try_from(self.lease.as_nanos()).unwrap_or(i64::MAX))
    }

    /// Renews and reaps for ever.
    pub async fn run(self: Arc<Self>) {
        loop {
            if let Err(error) = self.round().await {
                tracing::warn!(%error, "sessions cannot be renewed, trying again");
            }
            // Both mean: look again.
            let _ = tokio::time::timeout(self.lease / 3, self.changed.notified()).await;
        }
    }

    async fn round(&self) -> Result<(), StoreError> {
        let connected = self.connected.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let until = self.until();
        for profile in connected {
            self.store.renew_session(&profile, until).await?;
        }
        self.reap().await
    }

    /// Deletes temporary hooks whose profile has no session.
    async fn reap(&self) -> Result<(), StoreError> {
        let now = self.clock.now();
        let (alive, lapsed): (Vec<_>, Vec<_>) =
            self.store.sessions(Timestamp::ZERO).await?.into_iter().partition(|(_, until)| *until > now);
        let names = |sessions: Vec<(String, Timestamp)>| sessions.into_iter().map(|(profile, _)| profile);
        let (alive, lapsed): (BTreeSet<String>, BTreeSet<String>) =
            (names(alive).collect(), names(lapsed).collect());
        let mut gone = false;
        for document in self.documents.documents(Some(DocumentKind::Hooks)).await? {
            let profile = document.value["session"].as_str();
            let elsewhere = document.value["session_at"].as_str().is_some_and(|node| node != self.node);
            // One of another node, which is no more where its session has run out in this store.
            let unknown = |profile: &str| elsewhere && !lapsed.contains(profile);
            if profile.is_none_or(|profile| alive.contains(profile) || unknown(profile)) {
                continue;
            }
            let change = Change {
                kind: DocumentKind::Hooks,
                name: document.name.clone(),
                value: None,
                expected: Some(document.revision),
                by: "session".to_owned(),
                at: now,
            };
            let events = self.events.clone();
            let tell: Tell = Arc::new(move |deleted, before| {
                let disabled = before.is_some_and(|before| before.value["enabled"] == false);
                let before = if disabled { "DISABLED" } else { "ENABLED" };
                let draft = Draft::state("HOOK", &deleted.name, "DELETED", Some(before), Value::Null);
                events.outgoing([draft.by("session", "session", deleted.revision)])
            });
            let put = self.documents.change_and_tell(change, tell).await?;
            self.events.queued();
            gone |= matches!(put, Put::Done(_));
        }
        if gone {
            // Who misses it looks by himself a while later.
            let edited = self.subjects.settings_edited();
            let _ = self.bus.publish(&edited, DocumentKind::Hooks.name().into()).await;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use shared::bus::memory::{MemoryBus, MemoryConfig};
    use shared::clock::{Clock, ManualClock};
    use shared::store::sqlite::SqliteStore;

    use super::*;

    fn sessions(store: &SqliteStore, clock: &Arc<ManualClock>) -> Sessions {
        Sessions::new(SessionDeps {
            store: Arc::new(store.clone()),
            documents: Arc::new(store.clone()),
            bus: MemoryBus::new(MemoryConfig::default()),
            subjects: Subjects::default(),
            clock: Arc::clone(clock) as SharedClock,
            events: Emitter::quiet(),
            lease: Duration::from_secs(30),
            node: "n1".to_owned(),
        })
    }

    async fn hooks(store: &SqliteStore) -> Vec<String> {
        let documents = store.documents(Some(DocumentKind::Hooks)).await.unwrap();
        documents.into_iter().map(|document| document.name).collect()
    }

    #[tokio::test]
    async fn a_temporary_hook_lives_as_long_as_its_session_and_a_persistent_one_longer() {
        let (store, clock) = (SqliteStore::in_memory().unwrap(), ManualClock::new(Timestamp::from_secs(100)));
        for (name, session) in [("ann", json!("ann")), ("bob", json!("bob")), ("stays", Value::Null)] {
            let value = Some(json!({ "kind": "rhai_code", "session": session }));
            let (kind, name, by) = (DocumentKind::Hooks, name.to_owned(), String::new());
            let change = Change { kind, name, value, expected: None, by, at: clock.now() };
            store.change(change).await.unwrap();
        }
        let first = sessions(&store, &clock);
        first.connect("ann").await.unwrap();
        first.connect("bob").await.unwrap();
        for _ in 0..10 {
            clock.advance(Duration::from_secs(10));
            first.round().await.unwrap();
        }
        assert_eq!(hooks(&store).await, ["ann", "bob", "stays"], "renewed for long");
        assert!(first.disconnect("bob").await.unwrap());
        assert_eq!(hooks(&store).await, ["ann", "stays"]);
        drop(first);
        // The next process: nobody renews.
        let second = sessions(&store, &clock);
        second.round().await.unwrap();
        assert_eq!(hooks(&store).await, ["ann", "stays"], "the lease still lasts");
        clock.advance(Duration::from_secs(31));
        second.round().await.unwrap();
        assert_eq!(hooks(&store).await, ["stays"]);
    }

    #[tokio::test]
    async fn sessions_of_a_node_that_is_no_more_run_out_at_the_others() {
        let (store, clock) = (SqliteStore::in_memory().unwrap(), ManualClock::new(Timestamp::from_secs(100)));
        for (name, profile) in [("ann", "ann"), ("unknown", "eve")] {
            let value = Some(json!({ "kind": "rhai_code", "session": profile, "session_at": "n2" }));
            let (kind, name, by) = (DocumentKind::Hooks, name.to_owned(), String::new());
            let change = Change { kind, name, value, expected: None, by, at: clock.now() };
            store.change(change).await.unwrap();
        }
        let other = Sessions { node: "n2".to_owned(), ..sessions(&store, &clock) };
        other.connect("ann").await.unwrap();
        drop(other);
        let this = sessions(&store, &clock);
        this.round().await.unwrap();
        assert_eq!(hooks(&store).await, ["ann", "unknown"], "its session lasts");
        clock.advance(Duration::from_secs(31));
        this.round().await.unwrap();
        assert_eq!(hooks(&store).await, ["unknown"], "that one's node may keep its sessions elsewhere");
    }
}
