//! How everybody tells events.
//!
//! With a store an event goes into the outbox there ([`EventStore`]); a task takes it from the outbox to
//! the bus, in order, and forgets it when it is safe. Without one (a collector alone) it goes to the
//! bus at once and is appended again until it is safe; what a kill takes is in memory then.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use super::config::EventsConfig;
use super::{Draft, Event, flatten};
use crate::bus::{BusError, SharedBus};
use crate::clock::SharedClock;
use crate::failpoint;
use crate::metrics;
use crate::model::Timestamp;
use crate::store::StoreError;
use crate::store::events::{EventStore, Outgoing};
use crate::wire::subject::Subjects;

mod publish;

use publish::{adopt, append_all, publish};

/// Events that may wait for the store. Beyond it those told by [`Emitter::tell`] are lost and counted,
/// and [`Emitter::record`] waits.
const QUEUE: usize = 8192;

/// Events in one transaction at most.
const BATCH: usize = 512;

/// Pause after the store or the bus failed, and how long to wait for news at most.
const PAUSE: Duration = Duration::from_secs(1);

/// Seconds after which an event that its node has not told is told by any other with the same store.
const LEFT_S: i64 = 30;

/// Keys whose sequences are counted in memory at most, where there is no store.
const MAX_KEYS: usize = 100_000;

/// Tells events; clones tell by the same outlet.
#[derive(Clone, Default)]
pub struct Emitter(Option<Arc<Inner>>);

struct Inner {
    config: EventsConfig,
    queue: mpsc::Sender<Order>,
    /// Something is in the outbox.
    woken: Arc<Notify>,
    /// What is in the outbox may be told.
    released: watch::Sender<bool>,
    owner: String,
    source: String,
    clock: SharedClock,
    /// Begin of the ids made here: differs from start to start.
    epoch: String,
    next: AtomicU64,
}

enum Order {
    Event(Box<Event>, Option<oneshot::Sender<()>>),
    /// Answered when everything before it is stored.
    Flush(oneshot::Sender<()>),
}

impl std::fmt::Debug for Emitter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Emitter").field(&self.0.as_ref().map(|inner| &inner.source)).finish()
    }
}

/// Events that are not safe, because everything stops.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("events cannot be told any more: the process stops")]
pub struct NotTold;

/// Where told events go.
pub struct Outlet {
    /// The bus.
    pub bus: SharedBus,
    /// The outbox, where the process has a store.
    pub store: Option<Arc<dyn EventStore>>,
    /// Subjects.
    pub subjects: Subjects,
    /// Wall clock.
    pub clock: SharedClock,
    /// Who tells: `/<site>/<node>`.
    pub source: String,
    /// The same, told apart from other processes of the node: whose the events in the outbox are.
    pub owner: String,
    /// Whether this process answers calls, and so tells of those that ended with the one before it.
    pub answers: bool,
    /// Which events are told.
    pub config: EventsConfig,
}

impl Emitter {
    /// One that tells nobody.
    pub fn quiet() -> Self {
        Self(None)
    }

    /// One that tells by `outlet`, and the task that does it, which ends by itself when the last clone
    /// is gone and everything is told; until then it may be aborted, and what is in the outbox is told
    /// after the next start.
    pub fn start(outlet: Outlet) -> (Self, JoinHandle<()>) {
        let (emitter, task) = Self::start_held(outlet);
        emitter.release();
        (emitter, task)
    }

    /// The same, but with a store nothing is told before [`Emitter::release`]: in one process the bus keeps
    /// nothing for who has not come yet.
    pub fn start_held(outlet: Outlet) -> (Self, JoinHandle<()>) {
        let (queue, orders) = mpsc::channel(QUEUE);
        let started = outlet.clock.now();
        let epoch = format!("{:x}", started.ns());
        let (source, clock) = (outlet.source.clone(), Arc::clone(&outlet.clock));
        let config = outlet.config.clone();
        let (woken, owner) = (Arc::new(Notify::new()), outlet.owner.clone());
        let next = AtomicU64::new(1);
        let (released, may_tell) = watch::channel(false);
        let notify = Arc::clone(&woken);
        let inner = Inner { config, queue, woken: notify, released, owner, source, clock, epoch, next };
        let task = match outlet.store.clone() {
            Some(store) => tokio::spawn(with_store(outlet, store, orders, woken, may_tell, started)),
            None => tokio::spawn(without_store(outlet, orders)),
        };
        (Self(Some(Arc::new(inner))), task)
    }

    /// Which events are told; all of them where nobody is told.
    pub fn config(&self) -> EventsConfig {
        self.0.as_ref().map(|inner| inner.config.clone()).unwrap_or_default()
    }

    /// Tells an event and does not wait for it.
    pub fn tell(&self, draft: Draft) {
        let Some(inner) = &self.0 else { return };
        if inner.queue.try_send(Order::Event(Box::new(inner.event(draft)), None)).is_err() {
            metrics::event_lost();
        }
    }

    /// Tells events and waits until they are safe from a kill, which without a store means: on the bus.
    ///
    /// # Errors
    /// Not all of them are: everything stops.
    pub async fn record(&self, drafts: Vec<Draft>) -> Result<(), NotTold> {
        let Some(inner) = &self.0 else { return Ok(()) };
        let mut receipts = Vec::with_capacity(drafts.len());
        for draft in drafts {
            let (told, receipt) = oneshot::channel();
            if inner.queue.send(Order::Event(Box::new(inner.event(draft)), Some(told))).await.is_err() {
                return Err(NotTold);
            }
            receipts.push(receipt);
        }
        for receipt in receipts {
            receipt.await.map_err(|_| NotTold)?;
        }
        Ok(())
    }

    /// Events for a store that queues them in one transaction with what they tell of; afterwards
    /// [`Emitter::queued`] has them told.
    pub fn outgoing(&self, drafts: impl IntoIterator<Item = Draft>) -> Outgoing {
        let Some(inner) = &self.0 else { return Outgoing::default() };
        let events = drafts.into_iter().map(|draft| inner.event(draft)).collect();
        Outgoing { owner: inner.owner.clone(), events, pending: None }
    }

    /// The same in a call that has not ended: `call` is told of it where it never does, and otherwise what
    /// is recorded under the same id.
    pub fn outgoing_in(&self, call: Option<Draft>, drafts: impl IntoIterator<Item = Draft>) -> Outgoing {
        let pending = self.0.as_ref().and_then(|inner| Some(inner.event(call?)));
        Outgoing { pending, ..self.outgoing(drafts) }
    }

    /// An id for an event that is still to come.
    pub fn new_id(&self) -> String {
        self.0.as_ref().map(|inner| inner.new_id()).unwrap_or_default()
    }

    /// Something was queued in the outbox by others than this.
    pub fn queued(&self) {
        if let Some(inner) = &self.0 {
            inner.woken.notify_one();
        }
    }

    /// Whoever wants events is there.
    pub fn release(&self) {
        if let Some(inner) = &self.0 {
            inner.released.send_replace(true);
        }
    }

    /// Whoever wants events goes: with a store they are kept from now on, until the next start.
    pub fn hold(&self) {
        if let Some(inner) = &self.0 {
            inner.released.send_replace(false);
        }
    }

    /// Whether events are told now.
    pub fn is_released(&self) -> bool {
        self.0.as_ref().is_some_and(|inner| *inner.released.borrow())
    }

    /// Events that wait for the outbox.
    pub fn waiting(&self) -> u64 {
        self.0.as_ref().map_or(0, |inner| (inner.queue.max_capacity() - inner.queue.capacity()) as u64)
    }

    /// Waits until everything told so far is stored.
    pub async fn flush(&self) {
        let Some(inner) = &self.0 else { return };
        let (done, flushed) = oneshot::channel();
        if inner.queue.send(Order::Flush(done)).await.is_ok() {
            let _ = flushed.await;
        }
    }
}

impl Inner {
    fn new_id(&self) -> String {
        format!("{}-{}", self.epoch, self.next.fetch_add(1, Ordering::Relaxed))
    }

    fn event(&self, draft: Draft) -> Event {
        let Draft { id, subject, body, depth, traceparent } = draft;
        let mut body = serde_json::to_value(body).unwrap_or_default();
        flatten(&mut body);
        Event {
            id: id.unwrap_or_else(|| self.new_id()),
            subject: subject.to_string(),
            key: subject.key(),
            sequence: 0,
            at: self.clock.now(),
            source: self.source.clone(),
            depth,
            traceparent,
            body,
        }
    }
}

/// Seconds for which it is known that an event was told, and which number its key had.
const KEPT_S: i64 = 7 * 86_400;

/// Time between looks at what may be forgotten.
const PRUNE: Duration = Duration::from_secs(3600);

/// Events of one batch, and whom to tell that they are safe.
type Batch = (Vec<Event>, Vec<oneshot::Sender<()>>);

/// Who waited may have gone.
fn tell_safe(told: Vec<oneshot::Sender<()>>) {
    for told in told {
        let _ = told.send(());
    }
}

/// Takes what is there; `None` when nobody will tell anything any more.
async fn next_batch(orders: &mut mpsc::Receiver<Order>) -> Option<Batch> {
    let (mut events, mut told) = (Vec::new(), Vec::new());
    let mut next = Some(orders.recv().await?);
    while let Some(order) = next {
        match order {
            Order::Event(event, receipt) => {
                events.push(*event);
                told.extend(receipt);
            }
            Order::Flush(receipt) => told.push(receipt),
        }
        next = if events.len() < BATCH { orders.try_recv().ok() } else { None };
    }
    Some((events, told))
}

async fn with_store(
    outlet: Outlet,
    store: Arc<dyn EventStore>,
    mut orders: mpsc::Receiver<Order>,
    woken: Arc<Notify>,
    mut may_tell: watch::Receiver<bool>,
    started: Timestamp,
) {
    let pruning = prune(Arc::clone(&store), Arc::clone(&outlet.clock));
    let owner = outlet.owner.clone();
    let publishing = async {
        // An emitter that has gone has nothing to tell.
        if may_tell.wait_for(|may| *may).await.is_ok() {
            adopt(&outlet, &*store, started).await;
            publish(outlet, Arc::clone(&store), Arc::clone(&woken), may_tell).await;
        }
        std::future::pending::<()>().await;
    };
    let storing = async {
        while let Some((events, told)) = next_batch(&mut orders).await {
            failpoint::hit("event.before_outbox");
            while let Err(error) = store.queue_events(&owner, events.clone()).await {
                if matches!(error, StoreError::Closed) {
                    return;
                }
                tracing::warn!(%error, "events cannot be stored, trying again");
                tokio::time::sleep(PAUSE).await;
            }
            failpoint::hit("event.after_outbox");
            tell_safe(told);
            woken.notify_one();
        }
    };
    tokio::select! {
        () = storing => {}
        () = publishing => {}
        () = pruning => {}
    }
}

/// Forgets, for ever, what was told long ago.
async fn prune(store: Arc<dyn EventStore>, clock: SharedClock) {
    loop {
        match store.prune_told(clock.now().plus_secs(-KEPT_S)).await {
            Ok(pruned) => tracing::debug!(pruned, "ids of told events forgotten"),
            Err(error) => tracing::warn!(%error, "told events could not be forgotten"),
        }
        tokio::time::sleep(PRUNE).await;
    }
}

/// Without a store: numbers events itself and appends each batch until it is safe.
async fn without_store(outlet: Outlet, mut orders: mpsc::Receiver<Order>) {
    let mut sequences: HashMap<String, u64> = HashMap::new();
    while let Some((mut events, told)) = next_batch(&mut orders).await {
        if sequences.len() > MAX_KEYS {
            sequences.clear();
        }
        for event in &mut events {
            let sequence = sequences.entry(event.key.clone()).or_default();
            *sequence += 1;
            event.sequence = *sequence;
        }
        while !events.is_empty() {
            let (safe, ended) = append_all(&outlet, &events).await;
            let safe: HashSet<usize> = safe.into_iter().collect();
            let mut place = 0..;
            events.retain(|_| place.next().is_some_and(|place| !safe.contains(&place)));
            match ended {
                Ok(()) => {}
                Err(BusError::Closed) => return,
                Err(error) => {
                    tracing::warn!(%error, "events cannot be told, trying again");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
        tell_safe(told);
    }
}

#[cfg(test)]
mod tests;
