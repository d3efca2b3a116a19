//! Takes alerts and posts from the bus into the ledger.
//!
//! Owns nothing: a message is acknowledged only when its event and deliveries are committed, so
//! what a restart interrupts comes again. Two pumps feed it, one a stream, each with one batch
//! under way; a message that cannot be read is counted, logged and acknowledged, so that it blocks
//! nobody.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use shared::bus::{Consumer, Queued, SharedBus, Stream};
use shared::clock::SharedClock;
use shared::events::Emitter;
use shared::store::{Ledger, LedgerEvent};
use shared::wire::WireError;
use shared::wire::subject::Subjects;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::alert_events;
use crate::lane::horizon;
use crate::metrics;
use crate::recipient::LaneHandle;
use crate::route::Router;

/// Name of the durable consumers.
pub const CONSUMER: &str = "notifier";

/// Pause after the ledger failed.
const LEDGER_PAUSE: Duration = Duration::from_secs(1);

/// Tries of a batch in place, which keep the order, before it is given back to the bus.
const TRIES: u32 = 10;

/// Messages to the dispatcher.
pub enum DispatcherMessage {
    /// Messages of one stream, in order.
    Batch {
        /// The stream.
        stream: Stream,
        /// The messages.
        queued: Vec<Queued>,
        /// Gets what the ledger did not take.
        left: oneshot::Sender<Vec<Queued>>,
    },
}

/// What the dispatcher is started with.
#[derive(Clone)]
pub struct DispatcherArgs {
    /// The bus.
    pub bus: SharedBus,
    /// The ledger.
    pub ledger: Arc<dyn Ledger>,
    /// Tells events.
    pub events: Emitter,
    /// Wall clock.
    pub clock: SharedClock,
    /// Subjects.
    pub subjects: Subjects,
    /// Decides who gets what.
    pub router: Arc<Router>,
    /// Lanes to wake, by recipient.
    pub lanes: Arc<BTreeMap<String, Arc<LaneHandle>>>,
    /// Most messages in one transaction.
    pub batch: usize,
}

/// The dispatcher actor.
pub struct Dispatcher;

/// State of the dispatcher.
pub struct DispatcherState {
    args: DispatcherArgs,
    /// End with the state.
    _pumps: JoinSet<()>,
}

impl Actor for Dispatcher {
    type Msg = DispatcherMessage;
    type State = DispatcherState;
    type Arguments = DispatcherArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<Self::Msg>,
        args: Self::Arguments,
    ) -> Result<Self::State, ActorProcessingErr> {
        let mut pumps = JoinSet::new();
        for stream in [Stream::Alert, Stream::Post] {
            let consumer = args.bus.consume(stream, CONSUMER, &args.subjects.all(stream.kind())).await?;
            pumps.spawn(pump(stream, consumer, args.batch, myself.clone()));
        }
        Ok(DispatcherState { args, _pumps: pumps })
    }

    async fn handle(
        &self,
        _: ActorRef<Self::Msg>,
        message: Self::Msg,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        let DispatcherMessage::Batch { stream, queued, left } = message;
        // The pump that waits for it may be gone; then the messages come again.
        let _ = left.send(state.take(stream, queued).await);
        Ok(())
    }
}

impl DispatcherState {
    /// Commits what can be read, then acknowledges; gives back what the ledger did not take.
    async fn take(&self, stream: Stream, queued: Vec<Queued>) -> Vec<Queued> {
        let mut events = Vec::with_capacity(queued.len());
        let mut readable = Vec::with_capacity(queued.len());
        for message in queued {
            match self.read(stream, &message) {
                Ok(event) => {
                    events.push(event);
                    readable.push(message);
                }
                Err(error) => {
                    metrics::malformed(stream.kind());
                    let error = error.to_string();
                    // Written with escapes: the text may quote the message.
                    tracing::warn!(subject = ?message.subject, ?error, "message dropped");
                    message.ack();
                }
            }
        }
        if events.is_empty() {
            return Vec::new();
        }
        let recipients: BTreeSet<String> = events.iter().flat_map(|e| e.recipients.iter().cloned()).collect();
        let wanted = self.args.events.config().alerts;
        let told = match stream {
            Stream::Alert => events.iter().flat_map(|e| alert_events::drafts(&e.payload, wanted)).collect(),
            _ => Vec::new(),
        };
        match self.args.ledger.accept(events, self.args.clock.now(), horizon).await {
            Ok(new) => metrics::accepted(stream.kind(), new),
            Err(error) => {
                metrics::ledger_failed("accept");
                tracing::warn!(%error, messages = readable.len(), "the ledger failed, trying again");
                return readable;
            }
        }
        // After the commit and before the acknowledgement: what a kill interrupts is told again.
        self.args.events.record(told).await;
        readable.into_iter().for_each(Queued::ack);
        for lane in recipients.iter().filter_map(|name| self.args.lanes.get(name)) {
            lane.wake();
        }
        Vec::new()
    }

    fn read(&self, stream: Stream, message: &Queued) -> Result<LedgerEvent, WireError> {
        match stream {
            Stream::Post => self.args.router.post(&message.payload),
            _ => self.args.router.alert(&message.payload),
        }
    }
}

/// Hands batches of a stream to the dispatcher, one at a time.
async fn pump(stream: Stream, mut consumer: Consumer, batch: usize, dispatcher: ActorRef<DispatcherMessage>) {
    while let Some(first) = consumer.next().await {
        let mut queued = vec![first];
        queued.extend(consumer.ready(batch.saturating_sub(1)));
        for _ in 0..TRIES {
            let (left, answer) = oneshot::channel();
            if dispatcher.cast(DispatcherMessage::Batch { stream, queued, left }).is_err() {
                return;
            }
            queued = match answer.await {
                Ok(left) => left,
                Err(_) => return,
            };
            if queued.is_empty() {
                break;
            }
            tokio::time::sleep(LEDGER_PAUSE).await;
        }
        queued.into_iter().for_each(|message| message.retry_after(LEDGER_PAUSE));
    }
}

#[cfg(test)]
mod tests;
