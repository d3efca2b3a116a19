//! The carrier inside one process: no server, no sockets, the same promises.
//!
//! Kept streams live in bounded memory (`log`). What must survive the process is therefore settled
//! only when its effect is on disk: a [`Receipt`] resolves when every durable consumer that wanted
//! the message has acknowledged it.
//!
//! A durable consumer exists from its first [`consume`](Bus::consume) on and gets what is appended
//! from then on; start consumers before producers. A message that nobody wants is dropped at once.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde::Deserialize;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use self::log::{Accepted, Log};
use super::large::{self, Reference};
use super::{
    Bus, BusError, CONSUMER_WINDOW, Consumer, Headers, MAX_MESSAGE, Message, Queued, Receipt, Reply,
};
use super::{Replay, Settlement, Stream, Subscription};
use crate::clock::{Clock, SystemClock};
use crate::metrics;
use crate::model::Position;
use crate::wire::subject::matches;

mod log;

/// How many messages a subscription holds at most.
const SUBSCRIPTION_CAPACITY: usize = 1024;

/// Bounds of the in-process carrier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MemoryConfig {
    /// How many messages a stream keeps at most before `append` waits.
    pub stream_capacity: usize,
    /// How many bytes of content a stream keeps at most before `append` waits.
    pub stream_bytes: usize,
    /// How many message ids a stream remembers to drop duplicates.
    pub duplicate_ids: usize,
}

impl Default for MemoryConfig {
    /// 1024 messages or 64 MiB for each stream, 16384 ids.
    fn default() -> Self {
        Self { stream_capacity: 1024, stream_bytes: 64 * MAX_MESSAGE, duplicate_ids: 16_384 }
    }
}

/// The in-process carrier.
pub struct MemoryBus {
    me: Weak<Self>,
    /// `None` once closed.
    subscriptions: Mutex<Option<Vec<Subscriber>>>,
    /// In the order of [`Stream::ALL`].
    streams: [KeptStream; Stream::ALL.len()],
    /// Tells its streams from those of an earlier process.
    made: i64,
}

struct Subscriber {
    filter: String,
    /// Only one of its group gets each message.
    group: Option<String>,
    messages: mpsc::Sender<Message>,
}

struct KeptStream {
    /// `None` once closed.
    log: Mutex<Option<Log<Room>>>,
    /// Free places, handed out in the order of asking.
    places: Arc<Semaphore>,
    /// Free KiB, likewise.
    kib: Arc<Semaphore>,
    max_kib: u32,
}

/// The place a kept message takes; given back when it is forgotten.
struct Room {
    _place: OwnedSemaphorePermit,
    _kib: OwnedSemaphorePermit,
}

impl MemoryBus {
    /// An empty bus.
    pub fn new(config: MemoryConfig) -> Arc<Self> {
        let stream = || KeptStream::new(&config);
        Arc::new_cyclic(|me| Self {
            me: Weak::clone(me),
            subscriptions: Mutex::new(Some(Vec::new())),
            streams: [stream(), stream(), stream(), stream(), stream()],
            made: SystemClock.now().ns(),
        })
    }

    fn listen(&self, group: Option<String>, filter: &str) -> Result<Subscription, BusError> {
        let (messages, receiver) = mpsc::channel(SUBSCRIPTION_CAPACITY);
        let mut subscriptions = lock(&self.subscriptions);
        let subscriptions = subscriptions.as_mut().ok_or(BusError::Closed)?;
        subscriptions.retain(|subscriber| !subscriber.messages.is_closed());
        subscriptions.push(Subscriber { filter: filter.to_owned(), group, messages });
        Ok(Subscription(receiver))
    }

    /// The subscribers of a subject, and who is gone forgotten.
    fn subscribers(&self, subject: &str) -> Result<Vec<(String, mpsc::Sender<Message>)>, BusError> {
        let mut subscriptions = lock(&self.subscriptions);
        let subscriptions = subscriptions.as_mut().ok_or(BusError::Closed)?;
        subscriptions.retain(|subscriber| !subscriber.messages.is_closed());
        let mut groups = HashSet::new();
        let wanting = subscriptions.iter().filter(|subscriber| matches(&subscriber.filter, subject));
        let wanting = wanting.filter(|one| one.group.as_ref().is_none_or(|group| groups.insert(group)));
        Ok(wanting.map(|subscriber| (subscriber.filter.clone(), subscriber.messages.clone())).collect())
    }

    /// Hands consumers of a stream what they may have; called after every change.
    ///
    /// Messages are built under the lock, so that they go out in order, and whatever might run a
    /// message's destructor (which takes the lock) is dropped after it.
    fn pump(&self, stream: Stream, name: &str) {
        let mut gone = Vec::new();
        {
            let mut log = lock(&self.stream(stream).log);
            let Some(log) = log.as_mut() else { return };
            while let Some((member, given)) = log.next_for(name, CONSUMER_WINDOW, &mut gone) {
                let settle = self.settle(stream, name, given.sequence, given.attempt);
                let log::Given { subject, sequence, attempt, headers, payload } = given;
                let queued = Queued::new(subject, sequence, attempt, headers, payload, settle);
                if let Err(refused) = member.try_send(queued) {
                    // Not given after all: its fate is decided here, not by its destructor.
                    let mut queued = refused.into_inner();
                    queued.settle = None;
                    log.take_back(name, queued.sequence, queued.attempt - 1);
                    if !member.is_closed() {
                        break;
                    }
                }
                // A receiver that goes at this moment may leave the message behind; the last sender
                // to be dropped frees it then, so senders are dropped after the lock.
                gone.push(member);
            }
        }
        drop(gone);
    }

    fn settle(
        &self,
        stream: Stream,
        name: &str,
        sequence: u64,
        attempt: u64,
    ) -> impl FnOnce(Option<Settlement>) + Send + 'static {
        let (me, name) = (Weak::clone(&self.me), name.to_owned());
        move |settlement| {
            let Some(bus) = me.upgrade() else { return };
            match settlement {
                Some(Settlement::Ack) => bus.ack(stream, &name, sequence),
                Some(Settlement::RetryAfter(wait)) if !wait.is_zero() => {
                    bus.retry(stream, name, sequence, attempt, wait);
                }
                Some(Settlement::RetryAfter(_)) | None => bus.give_again(stream, &name, sequence, attempt),
            }
        }
    }

    fn ack(&self, stream: Stream, name: &str, sequence: u64) {
        let done = match lock(&self.stream(stream).log).as_mut() {
            Some(log) => log.ack(name, sequence),
            None => return,
        };
        for waiting in done {
            // Who appended need not wait for the receipt.
            let _ = waiting.send(Ok(()));
        }
        self.pump(stream, name);
    }

    fn retry(&self, stream: Stream, name: String, sequence: u64, attempt: u64, wait: Duration) {
        let runtime = lock(&self.stream(stream).log).as_ref().and_then(|log| log.runtime(&name));
        let Some(runtime) = runtime else { return };
        let me = Weak::clone(&self.me);
        // At most CONSUMER_WINDOW of these for each consumer: a message that waits is unsettled.
        runtime.spawn(async move {
            tokio::time::sleep(wait).await;
            if let Some(bus) = me.upgrade() {
                bus.give_again(stream, &name, sequence, attempt);
            }
        });
    }

    fn give_again(&self, stream: Stream, name: &str, sequence: u64, attempt: u64) {
        if let Some(log) = lock(&self.stream(stream).log).as_mut() {
            log.take_back(name, sequence, attempt);
        }
        self.pump(stream, name);
    }

    /// Tells subscribers of what is appended; of what is larger than a message they get a reference.
    async fn show(&self, subject: &str, headers: Headers, payload: Bytes) -> Result<(), BusError> {
        if payload.len() <= MAX_MESSAGE {
            return self.publish_with(subject, headers, payload).await;
        }
        let headers = Reference::to(&payload).put_into(headers);
        self.publish_with(subject, headers, Bytes::new()).await
    }

    fn stream(&self, stream: Stream) -> &KeptStream {
        &self.streams[stream as usize]
    }
}

impl KeptStream {
    fn new(config: &MemoryConfig) -> Self {
        let places = config.stream_capacity.clamp(1, Semaphore::MAX_PERMITS);
        let max_kib = u32::try_from(config.stream_bytes / 1024).unwrap_or(u32::MAX).max(1);
        Self {
            log: Mutex::new(Some(Log::new(config.duplicate_ids.max(1)))),
            places: Arc::new(Semaphore::new(places)),
            kib: Arc::new(Semaphore::new((max_kib as usize).min(Semaphore::MAX_PERMITS))),
            max_kib,
        }
    }

    /// Waits for room for a message of `size` bytes.
    async fn room(&self, size: usize) -> Result<Room, BusError> {
        let kib = u32::try_from(size.div_ceil(1024)).unwrap_or(u32::MAX).clamp(1, self.max_kib);
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(|_| BusError::Closed)?;
        let kib = Arc::clone(&self.kib).acquire_many_owned(kib).await.map_err(|_| BusError::Closed)?;
        Ok(Room { _place: place, _kib: kib })
    }
}

#[async_trait]
impl Bus for MemoryBus {
    async fn publish_with(&self, subject: &str, headers: Headers, payload: Bytes) -> Result<(), BusError> {
        check_size(subject, &payload)?;
        for (filter, subscriber) in self.subscribers(subject)? {
            let (subject, headers, payload) = (subject.to_owned(), headers.clone(), payload.clone());
            let message = Message { subject, headers, payload, reply: None };
            offer(&filter, &subscriber, message);
        }
        Ok(())
    }

    async fn subscribe(&self, filter: &str) -> Result<Subscription, BusError> {
        self.listen(None, filter)
    }

    async fn subscribe_in(&self, group: &str, filter: &str) -> Result<Subscription, BusError> {
        self.listen(Some(group.to_owned()), filter)
    }

    async fn request(&self, subject: &str, payload: Bytes, timeout: Duration) -> Result<Bytes, BusError> {
        check_size(subject, &payload)?;
        let subscribers = self.subscribers(subject)?;
        if subscribers.is_empty() {
            return Err(BusError::NoResponder(subject.to_owned()));
        }
        // Room for the first answer; later ones find it taken and are lost.
        let (answers, mut answer) = mpsc::channel(1);
        for (filter, subscriber) in subscribers {
            let answers = answers.clone();
            let asked = subject.to_owned();
            let reply = Reply::new(move |payload: Bytes| {
                if let Err(error) = check_size(&asked, &payload) {
                    tracing::warn!(%error, "answer lost");
                } else {
                    let _ = answers.try_send(payload);
                }
            });
            let (subject, payload) = (subject.to_owned(), payload.clone());
            let headers = Headers::new();
            offer(&filter, &subscriber, Message { subject, headers, payload, reply: Some(reply) });
        }
        // `answers` lives on, so that an unanswered question ends by its timeout as on a network.
        match tokio::time::timeout(timeout, answer.recv()).await {
            Ok(Some(payload)) => Ok(payload),
            Ok(None) | Err(_) => Err(BusError::Timeout { subject: subject.to_owned(), timeout }),
        }
    }

    async fn append_with(
        &self,
        subject: &str,
        id: &str,
        headers: Headers,
        payload: Bytes,
    ) -> Result<Receipt, BusError> {
        check_limit(subject, &payload, large::limit(subject))?;
        let stream =
            Stream::keeping(subject).ok_or_else(|| BusError::Other(format!("no stream keeps {subject}")))?;
        let kept = self.stream(stream);
        let (told, receipt) = oneshot::channel();
        let accepted =
            lock(&kept.log).as_mut().ok_or(BusError::Closed)?.accept_without_room(subject, id, told);
        let told = match accepted {
            Accepted::Known => return Ok(Receipt(receipt)),
            Accepted::Unwanted => {
                self.show(subject, headers, payload).await?;
                return Ok(Receipt(receipt));
            }
            Accepted::NeedsRoom(told) => told,
        };
        let room = kept.room(payload.len()).await?;
        let message = log::Content { subject, id, headers: headers.clone(), payload: payload.clone() };
        let names = lock(&kept.log).as_mut().ok_or(BusError::Closed)?.append(message, told, room);
        let Some(names) = names else { return Ok(Receipt(receipt)) };
        // Subscribers hear of it too, as from a server.
        self.show(subject, headers, payload).await?;
        for name in names {
            self.pump(stream, &name);
        }
        Ok(Receipt(receipt))
    }

    async fn consume(&self, stream: Stream, name: &str, filter: &str) -> Result<Consumer, BusError> {
        let runtime = Handle::try_current().map_err(|e| BusError::Other(e.to_string()))?;
        let (member, messages) = mpsc::channel(CONSUMER_WINDOW);
        lock(&self.stream(stream).log)
            .as_mut()
            .ok_or(BusError::Closed)?
            .join(name, filter, member, runtime)?;
        self.pump(stream, name);
        Ok(Consumer(messages))
    }

    async fn replay(
        &self,
        stream: Stream,
        name: &str,
        filter: &str,
        _after: Position,
    ) -> Result<Replay, BusError> {
        let messages = self.consume(stream, name, filter).await?;
        Ok(Replay { stream: self.made, whole: false, messages })
    }

    fn outstanding(&self) -> Option<u64> {
        let kept = |stream: &KeptStream| lock(&stream.log).as_ref().map_or(0, Log::outstanding);
        Some(self.streams.iter().map(kept).sum())
    }

    async fn flush(&self) -> Result<(), BusError> {
        if lock(&self.subscriptions).is_none() { Err(BusError::Closed) } else { Ok(()) }
    }

    async fn close(&self) {
        for stream in &self.streams {
            stream.places.close();
            stream.kib.close();
            // Receipts and consumers end with it; dropped outside the lock.
            let log = lock(&stream.log).take();
            drop(log);
        }
        let subscriptions = lock(&self.subscriptions).take();
        drop(subscriptions);
    }
}

impl std::fmt::Debug for MemoryBus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryBus").field("outstanding", &self.outstanding()).finish()
    }
}

fn offer(filter: &str, subscriber: &mpsc::Sender<Message>, message: Message) {
    if let Err(mpsc::error::TrySendError::Full(_)) = subscriber.try_send(message) {
        metrics::bus_dropped(filter, 1);
    }
}

fn check_size(subject: &str, payload: &Bytes) -> Result<(), BusError> {
    check_limit(subject, payload, MAX_MESSAGE)
}

fn check_limit(subject: &str, payload: &Bytes, limit: usize) -> Result<(), BusError> {
    if payload.len() <= limit {
        return Ok(());
    }
    Err(BusError::TooLarge { subject: subject.to_owned(), size: payload.len(), limit })
}

/// A panic elsewhere leaves the data whole: every change is finished before anything can panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
