//! The notifier's ledger: events accepted, deliveries owed, tries made.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

pub use self::dropped::Dropped;
use super::StoreError;
use crate::model::{Severity, Timestamp};

mod dropped;

/// What is delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// An alert transition; the payload is its JSON.
    Alert,
    /// A script's HTTP post; the payload is JSON with `url` and `body`.
    Post,
}

impl EventKind {
    /// The name under which it is kept.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Alert => "alert",
            Self::Post => "post",
        }
    }

    /// Reads such a name.
    pub(crate) fn parse(name: &str) -> Result<Self, StoreError> {
        match name {
            "alert" => Ok(Self::Alert),
            "post" => Ok(Self::Post),
            other => Err(StoreError::Statement(format!("unknown event kind '{other}'"))),
        }
    }
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
    /// Recipients that would have got it, and why they do not; counted, and nothing else.
    pub spared: Vec<(String, Dropped)>,
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
    /// It may have arrived by a try before.
    pub maybe_told: bool,
    /// Who claimed it; empty of one that was only looked at.
    pub claimed_by: String,
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
    Delivered {
        /// What it said, where it says something.
        answer: Option<String>,
    },
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
        /// Why.
        reason: &'static str,
    },
    /// Nobody is to be told yet; look again at this time. No attempt, and its deadline is as much later as
    /// this time is than the one at which it was due.
    Waits {
        /// When.
        at: Timestamp,
        /// Why.
        reason: String,
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

impl Outcome {
    /// The far end has it, and said nothing.
    pub const DELIVERED: Self = Self::Delivered { answer: None };
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
    /// Tries that did not deliver.
    #[serde(default)]
    pub failed: u64,
    /// What was not told, by why: `deadline`, `refused`, `unknown`, `gone`, `silenced`, `muted`,
    /// `acknowledged`, `released`. Counts what was replayed since as well.
    #[serde(default)]
    pub dropped: BTreeMap<String, u64>,
    /// When something was delivered last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub last_success: Option<Timestamp>,
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
    /// When it was claimed for this try; absent where that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub started: Option<Timestamp>,
    /// Milliseconds from then to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub took_ms: Option<u64>,
    /// `delivered`, `retry`, `unknown` (sent, no answer) or `dead`.
    pub outcome: String,
    /// Why, when it was not delivered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What the far end said when it was delivered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
}

impl Attempt {
    /// As the tables of the stores keep it: times in nanoseconds since the epoch.
    pub(crate) fn kept(
        started: Option<i64>,
        at: i64,
        outcome: String,
        reason: Option<String>,
        answer: Option<String>,
    ) -> Self {
        let took = started.map(|from| at.saturating_sub(from).max(0).unsigned_abs() / 1_000_000);
        let (at, started) = (Timestamp::from_ns(at), started.map(Timestamp::from_ns));
        Self { at, started, took_ms: took, outcome, reason, answer }
    }
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
    /// Events of the last hour that have fewer deliveries than were decided.
    pub lost_deliveries: u64,
    /// Deliveries under way before an older one of their order key that was never given up.
    pub out_of_order: u64,
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

    /// Claims due deliveries of one recipient for `owner` until `until`: at most one per order key, and
    /// none while an older one with its key is unfinished. Of `limit` in all, `oldest` are those that wait
    /// longest, so that nothing waits for ever; the others are the gravest, of these the oldest. They are
    /// given in order of severity, then of acceptance. Claims that have run out are lost, as those of
    /// [`Ledger::lose_claims`].
    async fn claim(
        &self,
        recipient: &str,
        owner: &str,
        now: Timestamp,
        until: Timestamp,
        limit: usize,
        oldest: usize,
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

    /// Frees what `owner` had claimed and has not tried; returns how many.
    async fn release_claims(&self, owner: &str) -> Result<u64, StoreError>;

    /// Frees what `owner` had claimed when it was killed, as a claim that runs out is freed: nobody knows
    /// whether it was tried and has arrived, which counts as a try that ended so. Returns how many.
    async fn lose_claims(&self, owner: &str, now: Timestamp) -> Result<u64, StoreError>;

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

    /// The deliveries of one event and of what follows from it (`<event>#…`: repetitions, escalations,
    /// what is told when it is muted no more), by event and recipient.
    async fn deliveries(&self, event: &str) -> Result<Vec<DeliveryRecord>, StoreError>;

    /// What an event says; `None` when there is none of this id.
    async fn payload(&self, event: &str) -> Result<Option<(EventKind, String)>, StoreError>;

    /// Forgets finished events accepted before `before`; dead letters stay. Returns how many.
    async fn prune(&self, before: Timestamp) -> Result<u64, StoreError>;

    /// What is noted under a scope, by key.
    async fn notes(&self, scope: &str) -> Result<BTreeMap<String, String>, StoreError>;

    /// Notes these under a scope, in one transaction; `None` forgets.
    async fn note(&self, scope: &str, changes: Vec<(String, Option<String>)>) -> Result<(), StoreError>;

    /// Looks for what must not be.
    async fn audit(&self, now: Timestamp) -> Result<LedgerAudit, StoreError>;
}
