//! What is on disk.
//!
//! Each trait has one owner: [`AlertStore`], [`FlowStore`], [`documents::DocumentStore`],
//! [`memory::MemoryStore`],
//! [`partitions::PartitionStore`] and [`series::SeriesStore`] are the aggregator's, [`Ledger`] is the notifier's. [`sqlite`] implements all in
//! one folder; every backend runs [`conformance`].

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::model::query::{AlertQuery, FlowQuery, Page, StoredAlert};
use crate::model::{Alert, FlowRecord, Severity, Timestamp};

pub mod conformance;
pub mod documents;
pub mod memory;
pub mod partitions;
pub mod series;
pub mod sqlite;

/// Why the store could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The store cannot be opened.
    #[error("cannot open store {path}: {cause}")]
    Open {
        /// Which file or server.
        path: String,
        /// Why.
        cause: String,
    },
    /// The store is of a later version than this program.
    #[error("store {path} has schema version {found}, newer than this program's {known}")]
    TooNew {
        /// Which file or server.
        path: String,
        /// Its version.
        found: i64,
        /// The latest this program knows.
        known: i64,
    },
    /// A statement failed.
    #[error("store: {0}")]
    Statement(String),
    /// Another has claimed the partition since.
    #[error("partition {partition} is another's: fence {fence} is older than {current}")]
    StaleFence {
        /// Which partition.
        partition: u32,
        /// Under which fence it was written.
        fence: u64,
        /// Under which it was claimed.
        current: u64,
    },
    /// The store is closed.
    #[error("store closed")]
    Closed,
}

/// An alert that is engaged now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EngagedAlert {
    /// The partition that keeps its state.
    pub partition: u32,
    /// The transition that engaged it, with the latest value, score and message.
    pub alert: Alert,
}

/// A change of the engaged set together with the transition to tell.
#[derive(Clone, Debug, PartialEq)]
pub enum Transition {
    /// Add or replace the engaged alert of this id, and tell the transition.
    Engage(EngagedAlert),
    /// Replace what is shown of an engaged alert; tells nobody.
    Update(EngagedAlert),
    /// Remove the engaged alert with the alert's id, and tell the transition.
    Release(Alert),
    /// Tell a one-shot alert.
    Store(Alert),
}

/// Alert history, engaged alerts and the outbox of transitions to tell.
#[async_trait]
pub trait AlertStore: Send + Sync + 'static {
    /// Puts transitions into the history; one already there (same id and action) is left alone.
    /// Returns how many were added.
    async fn add_history(&self, alerts: Vec<Alert>) -> Result<u64, StoreError>;

    /// A page of the history, newest first.
    async fn history(&self, query: AlertQuery) -> Result<Page<StoredAlert>, StoreError>;

    /// Notes what an operator says of the rows of the history that `of` asks for, whatever its limit.
    /// Returns how many rows are changed.
    async fn mark(&self, of: AlertQuery, mark: AlertMark, by: &str, at: Timestamp)
    -> Result<u64, StoreError>;

    /// Deletes the rows of the history that `of` asks for, whatever its limit; returns how many.
    async fn delete_history(&self, of: AlertQuery) -> Result<u64, StoreError>;

    /// Applies changes of the engaged set and queues their transitions in the outbox, in one
    /// transaction. A transition already queued or told is not queued again.
    async fn apply(&self, transitions: Vec<Transition>) -> Result<(), StoreError>;

    /// Engaged alerts of one partition, or of all, oldest first.
    async fn engaged(&self, partition: Option<u32>) -> Result<Vec<EngagedAlert>, StoreError>;

    /// The oldest transitions not yet told, with their outbox number.
    async fn outbox(&self, limit: usize) -> Result<Vec<(i64, Alert)>, StoreError>;

    /// Forgets transitions that were told.
    async fn outbox_told(&self, numbers: Vec<i64>) -> Result<(), StoreError>;

    /// Deletes history older than `before`; returns how many rows.
    async fn prune_history(&self, before: Timestamp) -> Result<u64, StoreError>;
}

/// What an operator says of alerts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AlertMark {
    /// They are seen to. Who said so first stays on record.
    Acknowledged,
    /// They are not.
    NotAcknowledged,
    /// A word of his own; an empty one goes.
    Label(String),
}

/// A flow record as kept, with where it came from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoredFlow {
    /// Site of the collector.
    pub site: String,
    /// Node of the collector.
    pub node: String,
    /// The flow.
    #[serde(flatten)]
    pub flow: FlowRecord,
}

/// Ended flows.
#[async_trait]
pub trait FlowStore: Send + Sync + 'static {
    /// Adds a batch; a batch already added (same key) is left alone.
    async fn add_flows(&self, batch_key: String, flows: Vec<StoredFlow>) -> Result<(), StoreError>;

    /// A page of ended flows, newest first; `next` of the page goes into `after`.
    async fn flows(&self, query: FlowQuery) -> Result<Page<StoredFlow>, StoreError>;

    /// Deletes flows last seen before `before`; returns how many rows.
    async fn prune_flows(&self, before: Timestamp) -> Result<u64, StoreError>;
}

/// What is delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// An alert transition; the payload is its JSON.
    Alert,
    /// A script's HTTP post; the payload is JSON with `url` and `body`.
    Post,
}

/// Something accepted for delivery.
#[derive(Clone, Debug, PartialEq)]
pub struct LedgerEvent {
    /// Unique; an alert's [`Alert::transition_id`], a post's id.
    pub id: String,
    /// What it is.
    pub kind: EventKind,
    /// Deliveries of one recipient with the same key keep their order.
    pub order_key: String,
    /// Decides deadline and priority.
    pub severity: Severity,
    /// JSON.
    pub payload: String,
    /// W3C trace context.
    pub traceparent: Option<String>,
    /// The recipients it goes to, decided when it was accepted.
    pub recipients: Vec<String>,
    /// Version of the configuration that decided.
    pub config_version: String,
    /// Its deliveries are due then, and their deadlines count from then; at once when absent.
    pub not_before: Option<Timestamp>,
}

/// One event on its way to one recipient.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivery {
    /// The event.
    pub event_id: String,
    /// The recipient.
    pub recipient: String,
    /// What it is.
    pub kind: EventKind,
    /// JSON.
    pub payload: String,
    /// W3C trace context.
    pub traceparent: Option<String>,
    /// How often it was tried before, 0 the first time.
    pub attempts: u32,
    /// When it is given up.
    pub deadline: Timestamp,
    /// When it was accepted.
    pub accepted_at: Timestamp,
}

impl Delivery {
    /// The same for every try of this delivery, and for no other.
    pub fn idempotency_key(&self) -> String {
        format!("{}/{}", self.event_id, self.recipient)
    }
}

/// How a try ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The far end has it.
    Delivered,
    /// Try again at this time; the text says why.
    Retry {
        /// When.
        at: Timestamp,
        /// Why.
        reason: String,
    },
    /// It was sent and nobody knows whether it arrived; try again at this time.
    Unknown {
        /// When.
        at: Timestamp,
        /// Why nobody knows.
        reason: String,
    },
    /// Nothing was tried; look again at this time. No attempt.
    Postponed {
        /// When.
        at: Timestamp,
    },
    /// Nobody is told, on purpose; the text says why. No attempt.
    Suppressed {
        /// Why.
        reason: String,
    },
    /// It was told in the message of another event. No attempt.
    Merged {
        /// The other event.
        into: String,
    },
    /// Give it up; the text says why.
    Dead {
        /// Why.
        reason: String,
    },
    /// Give it up, and let another recipient have it, unless it has it already.
    Diverted {
        /// Why.
        reason: String,
        /// The other recipient.
        to: String,
    },
}

/// What one recipient has received.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RecipientStats {
    /// Name of the recipient.
    pub recipient: String,
    /// Waiting or under way.
    pub pending: u64,
    /// Delivered.
    pub delivered: u64,
    /// Given up, kept as dead letters.
    pub dead: u64,
    /// Not told on purpose.
    #[serde(default)]
    pub suppressed: u64,
    /// Told in the message of another.
    #[serde(default)]
    pub merged: u64,
    /// Tries altogether.
    pub attempts: u64,
    /// Why the last try failed; absent when it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
}

/// A delivery that was given up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// The event.
    pub event_id: String,
    /// The recipient.
    pub recipient: String,
    /// Why.
    pub reason: String,
    /// Tries made.
    pub attempts: u32,
    /// When it was given up.
    pub died_at: Timestamp,
}

/// One delivery as it stands, with every try.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct DeliveryRecord {
    /// The event: `<alert id>/<action>`, or the id of a post.
    pub event_id: String,
    /// The recipient.
    pub recipient: String,
    /// `pending`, `claimed` (under way), `delivered`, `dead`, `suppressed` or `merged`.
    pub state: String,
    /// Why it is where it is, when it was not delivered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When the event was accepted.
    #[schema(value_type = String)]
    pub accepted_at: Timestamp,
    /// Version of the configuration that decided that it goes there.
    pub config_version: String,
    /// When it is tried again; absent when it is finished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub next_at: Option<Timestamp>,
    /// When it was delivered or given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub finished_at: Option<Timestamp>,
    /// Every try, the first one first.
    pub attempts: Vec<Attempt>,
}

/// One try of a delivery.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Attempt {
    /// When it ended.
    #[schema(value_type = String)]
    pub at: Timestamp,
    /// `delivered`, `retry`, `unknown` (sent, no answer) or `dead`.
    pub outcome: String,
    /// Why, when it was not delivered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What must not be in a ledger; every count is zero in a sound one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerAudit {
    /// Order keys with unfinished deliveries of which none may be claimed: they would wait for ever.
    pub stuck_keys: u64,
    /// Deliveries whose claim ran out more than ten minutes ago and that nobody took up.
    pub forgotten_claims: u64,
    /// Recipients whose totals are not those of their rows.
    pub wrong_totals: u64,
}

/// The notifier's ledger: events accepted, deliveries owed, tries made.
///
/// Once `accept` has returned, the event and its deliveries survive kill -9 and power loss.
#[async_trait]
pub trait Ledger: Send + Sync + 'static {
    /// Accepts events in one transaction and returns how many were new. An event accepted before
    /// (same id) is left alone. `deadline` is how long after `now` a delivery is given up.
    async fn accept(
        &self,
        events: Vec<LedgerEvent>,
        now: Timestamp,
        deadline: fn(Severity) -> Duration,
    ) -> Result<u64, StoreError>;

    /// Claims due deliveries of one recipient, oldest first, for `owner` until `until`: at most one
    /// per order key, and none while an older one with its key is unfinished.
    async fn claim(
        &self,
        recipient: &str,
        owner: &str,
        now: Timestamp,
        until: Timestamp,
        limit: usize,
    ) -> Result<Vec<Delivery>, StoreError>;

    /// Records how tries ended; each counts as one attempt unless its outcome says otherwise. Also
    /// takes outcomes of deliveries that nobody has claimed.
    async fn settle(&self, results: Vec<(Delivery, Outcome)>, now: Timestamp) -> Result<(), StoreError>;

    /// The unfinished deliveries to the same recipient that wait behind this one in its order key, oldest
    /// first, `limit` at most.
    async fn behind(&self, delivery: &Delivery, limit: usize) -> Result<Vec<Delivery>, StoreError>;

    /// When the recipient's next delivery is due; `None` when it has none. A claimed delivery is due
    /// again when its claim runs out.
    async fn next_due(&self, recipient: &str) -> Result<Option<Timestamp>, StoreError>;

    /// Frees what `owner` had claimed before it stopped; returns how many.
    async fn release_claims(&self, owner: &str) -> Result<u64, StoreError>;

    /// Deliveries neither delivered nor dead.
    async fn outstanding(&self) -> Result<u64, StoreError>;

    /// Counts per recipient, by name.
    async fn stats(&self) -> Result<Vec<RecipientStats>, StoreError>;

    /// Dead letters, newest first.
    async fn dead_letters(
        &self,
        recipient: Option<&str>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, StoreError>;

    /// Makes a recipient's dead letters, or the one of an event, due again with a new deadline; returns
    /// how many.
    async fn replay_dead(
        &self,
        recipient: &str,
        event: Option<&str>,
        now: Timestamp,
        deadline: Duration,
    ) -> Result<u64, StoreError>;

    /// Forgets a recipient's dead letters, or the one of an event; returns how many.
    async fn discard_dead(&self, recipient: &str, event: Option<&str>) -> Result<u64, StoreError>;

    /// The deliveries of one event, by recipient.
    async fn deliveries(&self, event: &str) -> Result<Vec<DeliveryRecord>, StoreError>;

    /// Forgets finished events accepted before `before`; dead letters stay. Returns how many.
    async fn prune(&self, before: Timestamp) -> Result<u64, StoreError>;

    /// What is noted under a scope, by key.
    async fn notes(&self, scope: &str) -> Result<BTreeMap<String, String>, StoreError>;

    /// Notes these under a scope, in one transaction; `None` forgets.
    async fn note(&self, scope: &str, changes: Vec<(String, Option<String>)>) -> Result<(), StoreError>;

    /// Looks for what must not be.
    async fn audit(&self, now: Timestamp) -> Result<LedgerAudit, StoreError>;
}
