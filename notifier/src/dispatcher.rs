//! Takes alerts and posts from the bus into the ledger.
//!
//! Owns nothing but what the ledger notes too (which alerts mute others): a message is acknowledged only when its event and deliveries are committed, so
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
use shared::model::{Alert, Timestamp};
use shared::store::{EventKind, Ledger, LedgerEvent, StoreError};
use shared::wire::WireError;
use shared::wire::subject::Subjects;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::alert_events;
use crate::failpoint;
use crate::inhibit::{self, Draft, Rules, SCOPE, State};
use crate::lane::horizon;
use crate::metrics;
use crate::roster::{LiveRoster, Roster};

mod early;

/// Name of the durable consumers.
pub const CONSUMER: &str = "notifier";

/// Pause after the ledger failed.
const LEDGER_PAUSE: Duration = Duration::from_secs(1);

/// Time between looks which alerts mute others no more.
const TICK: Duration = Duration::from_secs(10);

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
    /// Time to look which alerts mute others no more.
    Tick,
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
    /// Decides who gets what, and knows the lanes to wake.
    pub roster: LiveRoster,
    /// Which alerts mute others.
    pub rules: Rules,
    /// Most messages in one transaction.
    pub batch: usize,
}

/// The dispatcher actor.
pub struct Dispatcher;

/// State of the dispatcher.
pub struct DispatcherState {
    args: DispatcherArgs,
    /// What mutes and what is muted, as the ledger notes it.
    inhibition: State,
    /// In which hour it was told last that messages of a stream are refused.
    refused: BTreeMap<&'static str, i64>,
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
        if !args.rules.is_empty() {
            myself.send_interval(TICK, || DispatcherMessage::Tick);
        }
        let mut pumps = JoinSet::new();
        for stream in [Stream::Alert, Stream::Post] {
            let consumer = args.bus.consume(stream, CONSUMER, &args.subjects.all(stream.kind())).await?;
            pumps.spawn(pump(stream, consumer, args.batch, myself.clone()));
        }
        Ok(DispatcherState { args, inhibition: State::new(), refused: BTreeMap::new(), _pumps: pumps })
    }

    async fn handle(
        &self,
        _: ActorRef<Self::Msg>,
        message: Self::Msg,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            DispatcherMessage::Batch { stream, queued, left } => {
                // The pump that waits for it may be gone; then the messages come again.
                let _ = left.send(state.take(stream, queued).await);
            }
            DispatcherMessage::Tick => state.expire().await,
        }
        Ok(())
    }
}

impl DispatcherState {
    /// Commits what can be read, then acknowledges; gives back what the ledger did not take.
    async fn take(&mut self, stream: Stream, mut queued: Vec<Queued>) -> Vec<Queued> {
        // What comes again comes after what was later.
        queued.sort_by_key(|message| message.sequence);
        // One batch, one decision, whatever is edited meanwhile.
        let roster = Arc::clone(&self.args.roster.borrow());
        let now = self.args.clock.now();
        if let Err(error) = self.refresh().await {
            metrics::ledger_failed("notes");
            tracing::warn!(%error, messages = queued.len(), "the ledger failed, trying again");
            return queued;
        }
        let mut all_read = Vec::with_capacity(queued.len());
        let hour = now.secs().div_euclid(3600);
        let mut silent = self.refused.get(stream.kind()) == Some(&hour);
        for message in queued {
            match read(&roster, stream, &message, now) {
                Ok(read) => all_read.push((message, read)),
                Err(error) => {
                    metrics::malformed(stream.kind());
                    let error = error.to_string();
                    // Written with escapes: the text may quote the message.
                    tracing::warn!(subject = ?message.subject, ?error, "message dropped");
                    if std::mem::replace(&mut silent, true) {
                        message.ack();
                        continue;
                    }
                    all_read.push((message, refusal(&roster, stream, &error, now)));
                }
            }
        }
        let (readable, mut all_read) = match early::sort(&*self.args.ledger, all_read, now).await {
            Ok(sorted) => {
                sorted.early.into_iter().for_each(|message| message.retry_after(early::AGAIN));
                sorted.due.into_iter().unzip::<_, _, Vec<_>, Vec<_>>()
            }
            Err((error, messages)) => {
                metrics::ledger_failed("deliveries");
                tracing::warn!(%error, messages = messages.len(), "the ledger failed, trying again");
                return messages;
            }
        };
        if readable.is_empty() {
            return Vec::new();
        }
        for read in &mut all_read {
            if let Err(error) = told_the_end(&*self.args.ledger, read, &roster).await {
                metrics::ledger_failed("deliveries");
                tracing::warn!(%error, messages = readable.len(), "the ledger failed, trying again");
                return readable;
            }
        }
        let mut draft = Draft::new(&self.args.rules, &self.inhibition);
        let mut inhibit = |read| inhibited(&mut draft, &self.args.rules, &roster, read, now);
        let events: Vec<LedgerEvent> = all_read.into_iter().flat_map(&mut inhibit).collect();
        let wanted = self.args.events.config().alerts;
        let told = match stream {
            // What is promised for later is the same alert.
            Stream::Alert => {
                let alerts = events.iter().filter(|event| event.not_before.is_none());
                alerts.flat_map(|event| alert_events::drafts(&event.payload, wanted)).collect()
            }
            _ => Vec::new(),
        };
        let changes = draft.changes();
        if let Err(error) = self.accept(stream.kind(), events, changes, &roster, now).await {
            metrics::ledger_failed("accept");
            tracing::warn!(%error, messages = readable.len(), "the ledger failed, trying again");
            return readable;
        }
        if silent {
            self.refused.insert(stream.kind(), hour);
        }
        // After the commit and before the acknowledgement: what a kill interrupts is told again.
        if let Err(error) = self.args.events.record(told).await {
            tracing::warn!(%error, messages = readable.len(), "alerts are told again after the next start");
            return readable;
        }
        readable.into_iter().for_each(Queued::ack);
        Vec::new()
    }

    /// Commits events, then what they change about who mutes whom. When the second fails, both are done
    /// again: the events are known then, and the changes come out the same.
    async fn accept(
        &mut self,
        kind: &'static str,
        events: Vec<LedgerEvent>,
        changes: Vec<(String, Option<String>)>,
        roster: &Roster,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let recipients: BTreeSet<String> = events.iter().flat_map(|e| e.recipients.iter().cloned()).collect();
        failpoint::hit(failpoint::BEFORE_ACCEPT);
        metrics::accepted(kind, self.args.ledger.accept(events, now, horizon).await?);
        failpoint::hit(failpoint::AFTER_ACCEPT);
        if !changes.is_empty() {
            self.args.ledger.note(SCOPE, changes.clone()).await?;
            inhibit::apply(&mut self.inhibition, &changes);
        }
        for lane in recipients.iter().filter_map(|name| roster.lanes.get(name)) {
            lane.wake();
        }
        Ok(())
    }

    /// Reads anew what mutes and what is muted: other notifiers may have changed it.
    async fn refresh(&mut self) -> Result<(), StoreError> {
        if !self.args.rules.is_empty() {
            self.inhibition = self.args.ledger.notes(SCOPE).await?;
        }
        Ok(())
    }

    /// Tells what was muted by alerts that mute no more because of their age.
    async fn expire(&mut self) {
        if let Err(error) = self.refresh().await {
            metrics::ledger_failed("notes");
            tracing::warn!(%error, "the ledger failed, trying again later");
            return;
        }
        let (roster, now) = (Arc::clone(&self.args.roster.borrow()), self.args.clock.now());
        let mut draft = Draft::new(&self.args.rules, &self.inhibition);
        let events = draft.expire(now);
        let changes = draft.changes();
        if changes.is_empty() {
            return;
        }
        if let Err(error) = self.accept(Stream::Alert.kind(), events, changes, &roster, now).await {
            metrics::ledger_failed("accept");
            tracing::warn!(%error, "the ledger failed, trying again later");
        }
    }
}

/// Takes recipients from an alert that another mutes, with what was promised them, and adds what is to be
/// told now because nothing mutes it any more.
fn inhibited(
    draft: &mut Draft<'_>,
    rules: &Rules,
    roster: &Roster,
    mut events: Vec<LedgerEvent>,
    now: Timestamp,
) -> Vec<LedgerEvent> {
    let first = events.first_mut().filter(|event| event.kind == EventKind::Alert && !rules.is_empty());
    let Some(event) = first else { return events };
    let Ok(alert) = serde_json::from_str::<Alert>(&event.payload) else { return events };
    let (muted, told) = draft.see(event, &alert, &roster.router.pools(), now);
    if muted {
        metrics::inhibited();
        events.truncate(1);
    }
    events.extend(told);
    events
}

/// The alert that messages of a stream are left out.
fn refusal(roster: &Roster, stream: Stream, cause: &str, now: Timestamp) -> Vec<LedgerEvent> {
    let place = stream.name();
    let message = format!("Messages of {place} cannot be read and are left out: {cause}");
    let alert = serde_json::to_vec(&Alert::message_refused(place, message, now));
    alert.ok().and_then(|alert| roster.router.alert(&alert, now).ok()).unwrap_or_default()
}

/// Adds to the end of an alert whoever was told of its beginning without asking for it: as a fallback,
/// or because nobody had acknowledged it.
async fn told_the_end(
    ledger: &dyn Ledger,
    events: &mut [LedgerEvent],
    roster: &Roster,
) -> Result<(), StoreError> {
    let Some(event) = events.first_mut().filter(|event| event.kind == EventKind::Alert) else {
        return Ok(());
    };
    let Some(alert) = event.id.strip_suffix("/release") else { return Ok(()) };
    let beginning = format!("{alert}/engage");
    for record in ledger.deliveries(&beginning).await? {
        let told = match record.state.as_str() {
            "delivered" | "merged" | "claimed" => true,
            // It comes first, in its order; what is promised for later is kept no more.
            "pending" => record.event_id == beginning,
            _ => false,
        };
        if told && !event.recipients.contains(&record.recipient) && roster.router.takes_end(&record.recipient)
        {
            event.recipients.push(record.recipient);
        }
    }
    Ok(())
}

fn read(
    roster: &Roster,
    stream: Stream,
    message: &Queued,
    now: Timestamp,
) -> Result<Vec<LedgerEvent>, WireError> {
    match stream {
        Stream::Post => roster.router.post(&message.payload).map(|post| vec![post]),
        _ => roster.router.alert(&message.payload, now),
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
