//! The outbox of events, which profiles have a session, and which nodes are there.

use async_trait::async_trait;

use super::StoreError;
use crate::events::Event;
use crate::model::Timestamp;

/// Events that are queued in one transaction with what they tell of.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outgoing {
    /// Who is to tell them.
    pub owner: String,
    /// The events, in order.
    pub events: Vec<Event>,
    /// Of a call that has not ended yet: what is told where it never does, because its process is killed.
    /// [`EventStore::queue_events`] of the same source and id puts how it ended in its place.
    pub pending: Option<Event>,
}

/// Who is to tell events of calls that have not ended: nobody, and so anybody when they are over for sure.
pub(super) const PENDING: &str = "pending";

/// Nanoseconds for which a call may go on. Its pending event is told this much later than others that
/// nobody tells: the process that has the call is there, and tells how it ends.
pub(super) const CALL_NS: i64 = 600 * 1_000_000_000;

/// Reads an event that is stored. One that cannot be read, whatever has written it, is said and left out, so
/// that it does not hold up others.
pub(super) fn readable(json: &str, place: i64) -> Option<Event> {
    serde_json::from_str(json)
        .inspect_err(|error| tracing::error!(%error, place, "a stored event cannot be read and is left out"))
        .ok()
}

/// Those that can be read, and the numbers of those that cannot.
pub(super) fn readable_rows(rows: Vec<(i64, String)>) -> (Vec<(i64, Event)>, Vec<i64>) {
    let (mut events, mut lost) = (Vec::with_capacity(rows.len()), Vec::new());
    for (number, json) in rows {
        match readable(&json, number) {
            Some(event) => events.push((number, event)),
            None => lost.push(number),
        }
    }
    (events, lost)
}

/// Whether a role of a node is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PresenceState {
    /// It is.
    Started,
    /// It said that it goes.
    Stopped,
    /// It went without a word.
    Lost,
}

impl PresenceState {
    /// The name that events have for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Started => "STARTED",
            Self::Stopped => "STOPPED",
            Self::Lost => "LOST",
        }
    }

    /// Reads a name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Started, Self::Stopped, Self::Lost].into_iter().find(|state| state.name() == name)
    }
}

/// What is known of a role of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presence {
    /// `collector`, `aggregator` or `notifier`.
    pub role: String,
    /// Name of the node.
    pub node: String,
    /// The run of it that was heard of last.
    pub run: u64,
    /// Whether that one is there.
    pub state: PresenceState,
}

/// Events that are to be told.
#[async_trait]
pub trait EventStore: Send + Sync + 'static {
    /// Queues events in order, in one transaction, for `owner` to tell, and numbers each within its key;
    /// one of a source and id that was queued before, told or not, is left alone, but takes the place of one
    /// that is pending.
    async fn queue_events(&self, owner: &str, events: Vec<Event>) -> Result<(), StoreError>;

    /// The oldest events not yet told that are `owner`'s to tell, with their outbox numbers, and those of
    /// anybody that happened before `left_before`: whose they are may be no more. Of calls that have not
    /// ended, those that began ten minutes before that.
    async fn queued_events(
        &self,
        owner: &str,
        left_before: Timestamp,
        limit: usize,
    ) -> Result<Vec<(i64, Event)>, StoreError>;

    /// Makes the events of calls that `source` had and that began before `started`, and never ended,
    /// `owner`'s to tell: the process that had them is no more. Returns how many.
    async fn adopt_calls(&self, owner: &str, source: &str, started: Timestamp) -> Result<u64, StoreError>;

    /// Forgets the content of events that were told; their ids stay known for a while.
    async fn events_told(&self, numbers: Vec<i64>) -> Result<(), StoreError>;

    /// Forgets ids of events told before `before`, the numbers of keys of which nothing was told since, and
    /// roles of nodes that have been gone since then; returns how many ids.
    async fn prune_told(&self, before: Timestamp) -> Result<u64, StoreError>;

    /// Says that a profile's session lasts until `until` at least.
    async fn renew_session(&self, profile: &str, until: Timestamp) -> Result<(), StoreError>;

    /// Ends a profile's session; false when there was none.
    async fn end_session(&self, profile: &str) -> Result<bool, StoreError>;

    /// Profiles with a session at `now`, and until when it lasts, by name.
    async fn sessions(&self, now: Timestamp) -> Result<Vec<(String, Timestamp)>, StoreError>;

    /// Roles of nodes as they are known, by role and node.
    async fn presences(&self) -> Result<Vec<Presence>, StoreError>;

    /// Takes down that a role of a node is `after` instead of `before` (`None`: not known), and queues the
    /// events of it, in one transaction. False, and nothing done, when it is known otherwise meanwhile.
    async fn turn_presence(
        &self,
        before: Option<Presence>,
        after: Presence,
        at: Timestamp,
        outgoing: Outgoing,
    ) -> Result<bool, StoreError>;
}
