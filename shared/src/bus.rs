//! The bus: how roles talk.
//!
//! Two carriers, [`memory`] and [`nats`], pass one suite, [`conformance`]. Two qualities of service:
//!
//! - `publish`/`subscribe`/`request`: at most once, fan-out, nothing kept;
//! - `append`/`consume`: at least once. A message appended to a [`Stream`] is kept until it is safe,
//!   in order, and every durable consumer gets it until it acknowledges it.
//!
//! Nothing above this module may know which carrier is in use.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{broadcast, mpsc, oneshot};

use crate::model::{Position, Timestamp};

pub mod conformance;
pub mod large;
pub mod memory;
pub mod nats;
pub mod test_server;

/// A kept stream of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stream {
    /// Summaries, `dl.v1.>`.
    Delta,
    /// Flow records, `fr.v1.>`; may be shed.
    Flow,
    /// Alert transitions, `al.v1.>`; never shed.
    Alert,
    /// Scripts' HTTP posts, `po.v1.>`; never shed.
    Post,
    /// Events that hooks attach to, and retries of hooks: `event.{api,state,alert,timer,item}.>`,
    /// `hook.retry.>`. Flow events are too many to be kept.
    Event,
}

/// Filter of a consumer that wants everything its stream keeps.
pub const WHOLE_STREAM: &str = ">";

/// Names and values that go with a message, such as the attributes of a CloudEvent.
pub type Headers = Vec<(String, String)>;

impl Stream {
    /// All streams.
    pub const ALL: [Self; 5] = [Self::Delta, Self::Flow, Self::Alert, Self::Post, Self::Event];

    /// The subject kind the stream keeps.
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Delta => "dl",
            Self::Flow => "fr",
            Self::Alert => "al",
            Self::Post => "po",
            Self::Event => "event",
        }
    }

    /// The stream's name on NATS, before the prefix.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Delta => "DELTA",
            Self::Flow => "FLOW",
            Self::Alert => "ALERT",
            Self::Post => "POST",
            Self::Event => "EVENT",
        }
    }
}

/// Why the bus could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// The carrier cannot be reached.
    #[error("bus unreachable: {0}")]
    Unreachable(String),
    /// Nobody listens on the subject.
    #[error("nobody answers on {0}")]
    NoResponder(String),
    /// No answer in time.
    #[error("no answer on {subject} within {timeout:?}")]
    Timeout {
        /// Where the question went.
        subject: String,
        /// How long was waited.
        timeout: Duration,
    },
    /// The message is larger than the carrier takes.
    #[error("message of {size} bytes on {subject} is larger than the limit of {limit}")]
    TooLarge {
        /// The message's subject.
        subject: String,
        /// Its size in bytes.
        size: usize,
        /// What the carrier takes.
        limit: usize,
    },
    /// The account has no right to publish what is larger than a message in parts.
    #[error("what is larger than a message goes in parts, and the account may not publish on {subject}")]
    PartsDenied {
        /// The subject of a part.
        subject: String,
    },
    /// The bus is closed.
    #[error("bus closed")]
    Closed,
    /// Anything else the carrier says.
    #[error("bus: {0}")]
    Other(String),
}

/// A message of quality "at most once".
#[derive(Debug)]
pub struct Message {
    /// Where it was published.
    pub subject: String,
    /// What goes with it.
    pub headers: Headers,
    /// Its content.
    pub payload: Bytes,
    /// How to answer, when it is a question.
    pub reply: Option<Reply>,
}

/// Answers one question.
pub struct Reply(Box<dyn FnOnce(Bytes) + Send>);

impl Reply {
    /// An answer that goes where `send` takes it. `send` must not block.
    pub fn new(send: impl FnOnce(Bytes) + Send + 'static) -> Self {
        Self(Box::new(send))
    }

    /// Sends the answer; it is lost when the asker has gone.
    pub fn send(self, payload: impl Into<Bytes>) {
        (self.0)(payload.into());
    }
}

impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Reply")
    }
}

/// Messages of a subscription, in order per publisher. Ends when the bus closes.
#[derive(Debug)]
pub struct Subscription(pub(crate) mpsc::Receiver<Message>);

impl Subscription {
    /// A subscription to what comes out of `messages`: for carriers of one's own.
    pub fn new(messages: mpsc::Receiver<Message>) -> Self {
        Self(messages)
    }

    /// The next message; `None` when the bus has closed.
    pub async fn next(&mut self) -> Option<Message> {
        self.0.recv().await
    }

    /// The next message and what is there behind it, `max` altogether; nothing when the bus has closed.
    pub async fn next_many(&mut self, max: usize) -> Vec<Message> {
        let mut messages = Vec::new();
        self.0.recv_many(&mut messages, max).await;
        messages
    }
}

/// Something about the carrier that an operator should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// `stream_lost`, `stream_changed`, `stream_full` or `stream_has_room`.
    pub kind: &'static str,
    /// One sentence for people.
    pub message: String,
}

/// Told when an appended message is safe.
///
/// Safe means: the server has stored it (NATS), or every durable consumer that wants it has
/// acknowledged it (in process), so that its effect is on disk.
#[derive(Debug)]
pub struct Receipt(pub(crate) oneshot::Receiver<Result<(), BusError>>);

impl Receipt {
    /// A receipt that `told` gives: for carriers of one's own.
    pub fn new(told: oneshot::Receiver<Result<(), BusError>>) -> Self {
        Self(told)
    }

    /// Waits until the message is safe.
    ///
    /// # Errors
    /// [`BusError`] when it is not known to be safe; append it again with the same id.
    pub async fn stored(self) -> Result<(), BusError> {
        self.0.await.unwrap_or(Err(BusError::Closed))
    }
}

/// What to do with a kept message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// Its effect is safe: forget it.
    Ack,
    /// Give it again after this long.
    RetryAfter(Duration),
}

/// A kept message, to be settled. Dropping it unsettled gives it again: at once in process, soon where
/// the carrier can be told, after the carrier's acknowledgement timeout at the latest.
pub struct Queued {
    /// Where it was appended.
    pub subject: String,
    /// Position in the stream, growing.
    pub sequence: u64,
    /// When it was appended, where the carrier says so: the same each time that it is given.
    pub at: Option<Timestamp>,
    /// 1 when given for the first time.
    pub attempt: u64,
    /// What goes with it.
    pub headers: Headers,
    /// Its content.
    pub payload: Bytes,
    pub(crate) settle: Option<Box<dyn FnOnce(Option<Settlement>) + Send>>,
}

impl Queued {
    /// A message whose fate `settle` is told; `None` means that it was dropped unsettled.
    pub fn new(
        subject: String,
        sequence: u64,
        attempt: u64,
        headers: Headers,
        payload: Bytes,
        settle: impl FnOnce(Option<Settlement>) + Send + 'static,
    ) -> Self {
        Self { subject, sequence, at: None, attempt, headers, payload, settle: Some(Box::new(settle)) }
    }

    /// The message's effect is safe: forget it.
    pub fn ack(mut self) {
        if let Some(settle) = self.settle.take() {
            settle(Some(Settlement::Ack));
        }
    }

    /// Gives the message again after `wait`.
    pub fn retry_after(mut self, wait: Duration) {
        if let Some(settle) = self.settle.take() {
            settle(Some(Settlement::RetryAfter(wait)));
        }
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        if let Some(settle) = self.settle.take() {
            settle(None);
        }
    }
}

impl std::fmt::Debug for Queued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queued").field("subject", &self.subject).field("sequence", &self.sequence).finish()
    }
}

/// Messages of a durable consumer, in order; at most [`CONSUMER_WINDOW`] unsettled at a time.
#[derive(Debug)]
pub struct Consumer(pub(crate) mpsc::Receiver<Queued>);

impl Consumer {
    /// A consumer of what comes out of `messages`: for carriers of one's own.
    pub fn new(messages: mpsc::Receiver<Queued>) -> Self {
        Self(messages)
    }

    /// The next message; `None` when the bus has closed.
    pub async fn next(&mut self) -> Option<Queued> {
        self.0.recv().await
    }

    /// Takes what is ready now, at most `max`, without waiting.
    pub fn ready(&mut self, max: usize) -> Vec<Queued> {
        let mut ready = Vec::new();
        while ready.len() < max
            && let Ok(queued) = self.0.try_recv()
        {
            ready.push(queued);
        }
        ready
    }
}

/// Everything that a stream keeps after a position.
#[derive(Debug)]
pub struct Replay {
    /// Which stream it is; see [`Position::stream`](crate::model::Position).
    pub stream: i64,
    /// Nothing after the position has been forgotten.
    pub whole: bool,
    /// The messages, in order. It ends also when the stream is made anew.
    pub messages: Consumer,
}

/// How many messages a durable consumer holds unsettled at most.
pub const CONSUMER_WINDOW: usize = 256;

/// Largest message either carrier takes, in bytes: NATS's default `max_payload` of 1 MiB, less room
/// for the headers, which count too.
pub const MAX_MESSAGE: usize = 1024 * 1024 - 4096;

/// A carrier of messages.
#[async_trait]
pub trait Bus: Send + Sync + 'static {
    /// Publishes at most once.
    async fn publish(&self, subject: &str, payload: Bytes) -> Result<(), BusError> {
        self.publish_with(subject, Headers::new(), payload).await
    }

    /// Publishes at most once, with headers.
    async fn publish_with(&self, subject: &str, headers: Headers, payload: Bytes) -> Result<(), BusError>;

    /// Receives what is published on subjects matching `filter` from now on. A subscriber that
    /// falls behind by more than 1024 messages loses the newest, counted.
    async fn subscribe(&self, filter: &str) -> Result<Subscription, BusError>;

    /// The same, but of all that subscribe in one `group` only one receives each message.
    async fn subscribe_in(&self, group: &str, filter: &str) -> Result<Subscription, BusError>;

    /// Asks a question and waits for the first answer.
    async fn request(&self, subject: &str, payload: Bytes, timeout: Duration) -> Result<Bytes, BusError>;

    /// Appends to the stream that keeps `subject`; a second message with the same `id` within the
    /// carrier's window (2 minutes or more) is dropped. Waits while the stream is full.
    async fn append(&self, subject: &str, id: &str, payload: Bytes) -> Result<Receipt, BusError> {
        self.append_with(subject, id, Headers::new(), payload).await
    }

    /// Appends with headers. Events may be as large as [`large::MAX_EVENT`]: consumers get them whole,
    /// subscribers a reference.
    async fn append_with(
        &self,
        subject: &str,
        id: &str,
        headers: Headers,
        payload: Bytes,
    ) -> Result<Receipt, BusError>;

    /// Consumes a stream's subjects matching `filter` under a durable `name`: what the name has not
    /// acknowledged comes again, also after a restart where the carrier outlives the process.
    /// Several consumers of one name compete. [`WHOLE_STREAM`] wants everything the stream keeps.
    ///
    /// A new name begins with what the stream holds (NATS) or with what is appended from now on (in
    /// process), so consume before anything is appended. A name keeps its filter: consuming with
    /// another one is [`BusError::Other`].
    async fn consume(&self, stream: Stream, name: &str, filter: &str) -> Result<Consumer, BusError>;

    /// Gives everything that a stream keeps of subjects matching `filter` after a position, and whatever
    /// is appended, in order, to this consumer alone; of another stream everything. A carrier that
    /// forgets what is acknowledged (in process) gives what `name` has not acknowledged; so does this
    /// one unless it knows better.
    async fn replay(
        &self,
        stream: Stream,
        name: &str,
        filter: &str,
        after: Position,
    ) -> Result<Replay, BusError> {
        let _ = after;
        let messages = self.consume(stream, name, filter).await?;
        Ok(Replay { stream: 0, whole: false, messages })
    }

    /// What there is to tell of the carrier, as it happens; `None` where nothing can be wrong with it alone.
    fn troubles(&self) -> Option<broadcast::Receiver<Trouble>> {
        None
    }

    /// Kept messages not yet acknowledged by every durable consumer that wants them; `None` where
    /// the carrier does not know.
    fn outstanding(&self) -> Option<u64>;

    /// Waits until everything published so far has left this process.
    async fn flush(&self) -> Result<(), BusError>;

    /// Closes: consumers and subscriptions end.
    async fn close(&self);
}

/// A shared carrier.
pub type SharedBus = std::sync::Arc<dyn Bus>;
