//! What is on disk.
//!
//! Each trait has one owner: [`AlertStore`], [`FlowStore`], [`documents::DocumentStore`],
//! [`memory::MemoryStore`], [`partitions::PartitionStore`] and [`series::SeriesStore`] are the aggregator's,
//! [`Ledger`] and [`hooks::HookStore`] are the notifier's, [`events::EventStore`] is of both. [`sqlite`]
//! implements all in one folder for one process, [`postgres`] on a server for many; both pass
//! [`conformance`].

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::model::query::{AlertQuery, FlowQuery, Page, StoredAlert};
use crate::model::{Alert, AlertAction, FlowRecord, Timestamp};

pub mod conformance;
pub mod documents;
pub mod events;
pub mod hooks;
pub mod ledger;
pub mod memory;
mod page;
pub mod partitions;
pub mod postgres;
pub mod series;
mod settling;
pub mod sqlite;

pub use ledger::{
    Attempt, DeadLetter, Delivery, DeliveryRecord, Dropped, EventKind, Ledger, LedgerAudit, LedgerEvent,
    Outcome, RecipientStats,
};

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
    /// The store's server cannot be reached, went away before it answered, or takes no writes. What was
    /// asked may be asked again: whatever is written with a key is written once.
    #[error("store: {0}")]
    Unavailable(String),
    /// A statement failed.
    #[error("store: {0}")]
    Statement(String),
    /// What was to be written is at fault: it is too large, or of a kind that the store does not take.
    #[error("store: {0}")]
    Refused(String),
    /// The disk is full, or fails to read or write. What was asked may be asked again.
    #[error("store: {0}")]
    Disk(String),
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
    /// Another node runs executions of hooks.
    #[error("node {holder} runs hooks")]
    HooksElsewhere {
        /// Which one.
        holder: String,
    },
    /// The store is closed.
    #[error("store closed")]
    Closed,
}

impl StoreError {
    /// Whether what was asked may be asked again, as it is, with another answer later.
    pub const fn passes(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Disk(_))
    }
}

/// How a store does that is a program of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreHealth {
    /// It answers and takes writes.
    Working,
    /// It does not; the text says why. It is tried again for ever.
    Failing(String),
}

/// Everything that a process keeps, in one place.
#[async_trait]
pub trait Store:
    AlertStore
    + FlowStore
    + documents::DocumentStore
    + memory::MemoryStore
    + partitions::PartitionStore
    + series::SeriesStore
    + events::EventStore
    + hooks::HookStore
    + Ledger
{
    /// How it does; `None` where it fails only as the process does.
    fn health(&self) -> Option<watch::Receiver<StoreHealth>>;

    /// Calls that wait for it now.
    fn waiting(&self) -> u64;

    /// Waits until everything asked before is done, and closes it. Whatever is asked afterwards gets
    /// [`StoreError::Closed`].
    async fn close(&self);
}

/// An alert that is engaged now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EngagedAlert {
    /// The partition that keeps its state.
    pub partition: u32,
    /// The transition that engaged it, with the latest value, score and message.
    pub alert: Alert,
}

impl EngagedAlert {
    /// What is told when it has become graver.
    pub fn update(&self, at: Timestamp) -> Alert {
        let engaged_at = Some(self.alert.tstamp);
        Alert { action: AlertAction::Update, tstamp: at, engaged_at, ..self.alert.clone() }
    }
}

/// A change of the engaged set together with the transition to tell.
#[derive(Clone, Debug, PartialEq)]
pub enum Transition {
    /// Add or replace the engaged alert of this id, and tell the transition.
    Engage(EngagedAlert),
    /// Replace what is shown of an engaged alert; tells nobody.
    Update(EngagedAlert),
    /// Replace what is shown of an engaged alert, and tell that it has become graver at this time.
    Worsen(EngagedAlert, Timestamp),
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

/// A batch of flows, and the key by which it is added once.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyedFlows {
    /// Names the batch.
    pub key: String,
    /// What is in it.
    pub flows: Vec<StoredFlow>,
}

/// Ended flows.
#[async_trait]
pub trait FlowStore: Send + Sync + 'static {
    /// Adds a batch; a batch already added (same key) is left alone.
    async fn add_flows(&self, batch_key: String, flows: Vec<StoredFlow>) -> Result<(), StoreError>;

    /// Adds batches in this order, those left alone that are already there. After an error some may have
    /// been added: adding all of them again is right.
    async fn add_flow_batches(&self, batches: Vec<KeyedFlows>) -> Result<(), StoreError> {
        for batch in batches {
            self.add_flows(batch.key, batch.flows).await?;
        }
        Ok(())
    }

    /// A page of ended flows, newest first; `next` of the page goes into `after`.
    async fn flows(&self, query: FlowQuery) -> Result<Page<StoredFlow>, StoreError>;

    /// Deletes flows last seen before `before`; returns how many rows. A store that keeps them by day may
    /// leave those of the same UTC day to the next time.
    async fn prune_flows(&self, before: Timestamp) -> Result<u64, StoreError>;
}
