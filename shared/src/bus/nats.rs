//! The carrier between processes: NATS, with JetStream for kept streams.
//!
//! Works on nats-server 2.9.10 (Debian 12) and later. One JetStream stream keeps each [`Stream`];
//! the carrier creates them. A message is safe when the server has stored it, which on a single
//! server means written, not yet synced to disk.
//!
//! The connection is made again for ever; what was appended and not acknowledged fails its receipt
//! and is to be appended again with the same id.

use std::sync::Arc;
use std::time::Duration;

use async_nats::client::{PublishErrorKind, RequestErrorKind};
use async_nats::jetstream::context::{ContextBuilder, PublishErrorKind as AppendErrorKind};
use async_nats::jetstream::message::PublishMessage;
use async_nats::{Client, Request, jetstream};
use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::time::timeout;

pub use self::config::{NatsConfig, SiteServer, StreamLimits};
pub use self::leases::NatsLeases;
use self::objects::Objects;
use self::outbox::Outbox;
use super::{
    Bus, BusError, Consumer, Headers, MAX_MESSAGE, Message, Receipt, Replay, Reply, Stream, Subscription,
    Trouble, WHOLE_STREAM, large,
};
use crate::metrics;
use crate::model::Position;

mod config;
mod connection;
mod consumer;
mod credentials;
mod headers;
mod keeper;
mod leases;
mod objects;
mod outbox;
mod replay;
mod server;
mod streams;
#[cfg(test)]
mod tests;

/// How many messages a subscription holds at most.
const SUBSCRIPTION_CAPACITY: usize = 1024;

/// How many appended messages may wait for the server's acknowledgement.
const APPEND_WINDOW: usize = 64;

/// How long the server may take to acknowledge or to answer.
const ACK_TIMEOUT: Duration = Duration::from_secs(10);

/// How long closing may take for each of its steps.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// The NATS carrier.
pub struct NatsBus {
    prefix: String,
    replicas: usize,
    create_streams: bool,
    client: Client,
    context: jetstream::Context,
    objects: Objects,
    outbox: Outbox,
    /// True once closed; tasks also end when the bus is dropped.
    closed: watch::Sender<bool>,
    /// True once the connection has ended for good.
    disconnected: watch::Receiver<bool>,
    /// Who looks after the streams ends with it.
    troubles: Arc<broadcast::Sender<Trouble>>,
}

/// Troubles that a listener may be behind.
const TROUBLES: usize = 64;

impl NatsBus {
    /// Connects and creates the streams, unless `create_streams` is off.
    ///
    /// # Errors
    /// [`BusError::Unreachable`] names the servers that do not answer; [`BusError::Other`] tells
    /// what is wrong with the configuration, the server's limits or its streams.
    pub async fn connect(config: NatsConfig) -> Result<Arc<Self>, BusError> {
        let (client, disconnected, denials) = connection::open(&config).await?;
        let context =
            ContextBuilder::new().timeout(ACK_TIMEOUT).max_ack_inflight(APPEND_WINDOW).build(client.clone());
        let create_streams = config.create_streams.unwrap_or(true);
        if create_streams {
            streams::create(&context, &config).await?;
        }
        let outbox = Outbox::start(client.clone());
        let (closed, _) = watch::channel(false);
        let replicas = config.replicas;
        let troubles = Arc::new(broadcast::Sender::new(TROUBLES));
        let prefix = config.prefix.clone();
        let objects = Objects::new(context.clone(), &prefix, denials);
        if create_streams {
            tokio::spawn(keeper::run(context.clone(), config, Arc::downgrade(&troubles)));
        }
        Ok(Arc::new(Self {
            prefix,
            replicas,
            create_streams,
            client,
            context,
            objects,
            outbox,
            closed,
            disconnected,
            troubles,
        }))
    }

    /// Runs a call unless the bus is closed, or until it closes.
    async fn open<T>(&self, call: impl Future<Output = Result<T, BusError>>) -> Result<T, BusError> {
        let mut closed = self.closed.subscribe();
        tokio::select! {
            biased;
            () = ended(&mut closed) => Err(BusError::Closed),
            result = call => result,
        }
    }

    async fn listen(&self, group: Option<String>, filter: &str) -> Result<Subscription, BusError> {
        let subscriber = self.open(async {
            let subscribed = match group {
                None => self.client.subscribe(filter.to_owned()).await,
                Some(group) => self.client.queue_subscribe(filter.to_owned(), group).await,
            };
            let subscriber = subscribed.map_err(|e| other(format!("subscribe to {filter}"), e))?;
            // The server should know before anybody who is told publishes.
            self.client.flush().await.map_err(|e| other(format!("subscribe to {filter}"), e))?;
            Ok(subscriber)
        });
        let subscriber = subscriber.await?;
        let (messages, receiver) = mpsc::channel(SUBSCRIPTION_CAPACITY);
        tokio::spawn(deliver(
            subscriber,
            messages,
            filter.to_owned(),
            self.outbox.clone(),
            self.closed.subscribe(),
        ));
        Ok(Subscription(receiver))
    }
}

#[async_trait]
impl Bus for NatsBus {
    async fn publish_with(&self, subject: &str, headers: Headers, payload: Bytes) -> Result<(), BusError> {
        check_size(subject, &payload)?;
        self.open(async {
            let published = match headers.is_empty() {
                true => self.client.publish(subject.to_owned(), payload).await,
                false => {
                    let headers = headers::to_nats(&headers)?;
                    self.client.publish_with_headers(subject.to_owned(), headers, payload).await
                }
            };
            published.map_err(|error| match error.kind() {
                PublishErrorKind::Send => BusError::Closed,
                _ => other(format!("publish on {subject}"), error),
            })
        })
        .await
    }

    async fn subscribe(&self, filter: &str) -> Result<Subscription, BusError> {
        self.listen(None, filter).await
    }

    async fn subscribe_in(&self, group: &str, filter: &str) -> Result<Subscription, BusError> {
        self.listen(Some(consumer::encode_name(group)), filter).await
    }

    async fn request(&self, subject: &str, payload: Bytes, timeout: Duration) -> Result<Bytes, BusError> {
        check_size(subject, &payload)?;
        self.open(async {
            let request = Request::new().payload(payload).timeout(Some(timeout));
            let answered = self.client.send_request(subject.to_owned(), request).await;
            answered.map(|answer| answer.payload).map_err(|error| match error.kind() {
                RequestErrorKind::NoResponders => BusError::NoResponder(subject.to_owned()),
                RequestErrorKind::TimedOut => BusError::Timeout { subject: subject.to_owned(), timeout },
                _ => other(format!("request on {subject}"), error),
            })
        })
        .await
    }

    async fn append_with(
        &self,
        subject: &str,
        id: &str,
        headers: Headers,
        payload: Bytes,
    ) -> Result<Receipt, BusError> {
        check_limit(subject, &payload, large::limit(subject))?;
        if id.contains(char::is_control) {
            return Err(BusError::Other(format!("message id {id:?} holds control characters")));
        }
        let (headers, payload) = match payload.len() <= MAX_MESSAGE {
            true => (headers, payload),
            false => (self.open(self.objects.put(headers, &payload)).await?, Bytes::new()),
        };
        // The id is a header too, so it is set after the others.
        let message =
            PublishMessage::build().headers(headers::to_nats(&headers)?).payload(payload).message_id(id);
        let sent = self.open(async {
            let sent = self.context.send_publish(subject.to_owned(), message).await;
            sent.map_err(|error| append_error(subject, error))
        });
        let acknowledged = sent.await?;
        let (told, receipt) = oneshot::channel();
        let (subject, mut closed) = (subject.to_owned(), self.closed.subscribe());
        // At most APPEND_WINDOW of these: each holds a place in the context's window.
        tokio::spawn(async move {
            let stored = tokio::select! {
                stored = async { acknowledged.await } => stored,
                () = ended(&mut closed) => return,
            };
            let stored = match stored {
                // Servers before 2.11 may remember an id whose message they refused.
                Ok(ack) if ack.duplicate && ack.sequence == 0 => {
                    Err(BusError::Other(format!("message on {subject} refused as duplicate, but not stored")))
                }
                Ok(_) => Ok(()),
                Err(error) => Err(append_error(&subject, error)),
            };
            // Who appended need not wait for the receipt.
            let _ = told.send(stored);
        });
        Ok(Receipt(receipt))
    }

    async fn consume(&self, stream: Stream, name: &str, filter: &str) -> Result<Consumer, BusError> {
        let puller = consumer::Puller {
            context: self.context.clone(),
            outbox: self.outbox.clone(),
            objects: self.objects.of_consumer(),
            stream: streams::name(&self.prefix, stream),
            name: consumer::encode_name(name),
            // Servers before 2.10 take no filter that covers several of a stream's subjects.
            filter: if filter == WHOLE_STREAM { String::new() } else { filter.to_owned() },
        };
        match self.create_streams {
            true => self.open(puller.ensure()).await?,
            // Whoever makes the streams may come later.
            false => self.open(puller.ensure_in_time()).await?,
        };
        Ok(puller.start(self.closed.subscribe()))
    }

    async fn replay(
        &self,
        stream: Stream,
        _name: &str,
        filter: &str,
        after: Position,
    ) -> Result<Replay, BusError> {
        let (context, outbox) = (self.context.clone(), self.outbox.clone());
        let name = streams::name(&self.prefix, stream);
        self.open(replay::start(context, outbox, name, filter, after, self.closed.subscribe())).await
    }

    fn troubles(&self) -> Option<broadcast::Receiver<Trouble>> {
        Some(self.troubles.subscribe())
    }

    fn outstanding(&self) -> Option<u64> {
        None
    }

    async fn flush(&self) -> Result<(), BusError> {
        self.open(async {
            self.outbox.flush().await;
            self.client.flush().await.map_err(|_| BusError::Closed)
        })
        .await
    }

    async fn close(&self) {
        // Acknowledgements come first: what is lost here is done again by somebody.
        if timeout(CLOSE_TIMEOUT, self.flush()).await.is_err() {
            tracing::warn!("bus closed before everything was sent");
        }
        if self.closed.send_replace(true) {
            return;
        }
        // Without an answer the connection ends with the process.
        let _ = timeout(CLOSE_TIMEOUT, async {
            if self.client.drain().await.is_ok() {
                ended(&mut self.disconnected.clone()).await;
            }
        })
        .await;
    }
}

impl std::fmt::Debug for NatsBus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NatsBus").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

/// Passes a subscription's messages on; the newest are lost when the subscriber is slow.
async fn deliver(
    mut subscriber: async_nats::Subscriber,
    messages: mpsc::Sender<Message>,
    filter: String,
    outbox: Outbox,
    mut closed: watch::Receiver<bool>,
) {
    loop {
        let message = tokio::select! {
            biased;
            () = ended(&mut closed) => return,
            () = messages.closed() => break,
            message = subscriber.next() => message,
        };
        let Some(message) = message else { return };
        let reply = message.reply.map(|to| {
            let outbox = outbox.clone();
            Reply::new(move |payload| outbox.send(to, payload))
        });
        let headers = headers::from_nats(message.headers.as_ref());
        let (subject, payload) = (message.subject.to_string(), message.payload);
        let message = Message { subject, headers, payload, reply };
        if let Err(mpsc::error::TrySendError::Full(_)) = messages.try_send(message) {
            metrics::bus_dropped(&filter, 1);
        }
    }
    if let Err(error) = subscriber.unsubscribe().await {
        tracing::debug!(%error, filter, "not unsubscribed");
    }
}

/// Waits until the flag is set or its owner has gone.
async fn ended(flag: &mut watch::Receiver<bool>) {
    let _ = flag.wait_for(|set| *set).await;
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

fn append_error(subject: &str, error: jetstream::context::PublishError) -> BusError {
    match error.kind() {
        AppendErrorKind::TimedOut => BusError::Timeout { subject: subject.to_owned(), timeout: ACK_TIMEOUT },
        AppendErrorKind::StreamNotFound => BusError::Other(format!("no stream keeps {subject}")),
        _ => other(format!("append to {subject}"), error),
    }
}

fn other(what: impl std::fmt::Display, error: impl std::fmt::Display) -> BusError {
    BusError::Other(format!("{what}: {error}"))
}
