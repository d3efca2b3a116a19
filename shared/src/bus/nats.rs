//! The carrier between processes: NATS, with JetStream for kept streams.
//!
//! Works on nats-server 2.9.10 (Debian 12) and later. One JetStream stream keeps each [`Stream`];
//! the carrier creates them. A message is safe when the server has stored it, which on a single
//! server means written, not yet synced to disk.
//!
//! The connection is made again for ever; what was appended and not acknowledged fails its receipt
//! and is to be appended again with the same id.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_nats::client::{PublishErrorKind, RequestErrorKind};
use async_nats::jetstream::context::{ContextBuilder, PublishErrorKind as AppendErrorKind};
use async_nats::jetstream::message::PublishMessage;
use async_nats::{Client, Request, jetstream};
use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

pub use self::leases::NatsLeases;
use self::outbox::Outbox;
use super::{Bus, BusError, Consumer, MAX_MESSAGE, Message, Receipt, Replay, Reply, Stream, Subscription};
use crate::metrics;
use crate::model::Position;
use crate::secret::Secret;

mod connection;
mod consumer;
mod leases;
mod outbox;
mod replay;
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

/// How to reach NATS and what its streams keep.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NatsConfig {
    /// Servers of one cluster, as `nats://host:port` or `tls://host:port`.
    pub servers: Vec<String>,
    /// Prefix of every subject and stream, so that tests and tenants never meet. In a node's
    /// configuration it is `bus.prefix`.
    #[serde(skip)]
    pub prefix: String,
    /// File with a user's JWT and NKey seed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials: Option<PathBuf>,
    /// User name; goes with `password`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Password; goes with `user`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
    /// Token, instead of a user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<Secret>,
    /// Refuse a connection without TLS.
    pub tls_required: bool,
    /// File with the certificate authority of the servers, in PEM; else the system's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_ca: Option<PathBuf>,
    /// Create and update the streams. Off where only an operator may.
    pub create_streams: bool,
    /// Copies of every stream in the cluster: 1, 3 or 5.
    pub replicas: usize,
    /// Limits of the stream of summaries.
    pub delta: StreamLimits,
    /// Limits of the stream of flow records.
    pub flow: StreamLimits,
    /// Limits of the stream of alerts.
    pub alert: StreamLimits,
    /// Limits of the stream of scripts' posts.
    pub post: StreamLimits,
}

/// How much a stream keeps; whichever limit is met first counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StreamLimits {
    /// Hours; default 24 for summaries, 6 for flow records, 168 for alerts and posts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_age_hours: Option<u64>,
    /// Bytes; default 1 GiB. The server refuses to create a stream that its disk cannot hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<u64>,
}

impl Default for NatsConfig {
    /// A server on this machine, no authentication.
    fn default() -> Self {
        Self {
            servers: vec!["nats://127.0.0.1:4222".to_owned()],
            prefix: String::new(),
            credentials: None,
            user: None,
            password: None,
            token: None,
            tls_required: false,
            tls_ca: None,
            create_streams: true,
            replicas: 1,
            delta: StreamLimits::default(),
            flow: StreamLimits::default(),
            alert: StreamLimits::default(),
            post: StreamLimits::default(),
        }
    }
}

/// The NATS carrier.
pub struct NatsBus {
    prefix: String,
    replicas: usize,
    create_streams: bool,
    client: Client,
    context: jetstream::Context,
    outbox: Outbox,
    /// True once closed; tasks also end when the bus is dropped.
    closed: watch::Sender<bool>,
    /// True once the connection has ended for good.
    disconnected: watch::Receiver<bool>,
}

impl NatsBus {
    /// Connects and creates the streams.
    ///
    /// # Errors
    /// [`BusError::Unreachable`] names the servers that do not answer; [`BusError::Other`] tells
    /// what is wrong with the configuration, the server's limits or its streams.
    pub async fn connect(config: NatsConfig) -> Result<Arc<Self>, BusError> {
        let (client, disconnected) = connection::open(&config).await?;
        let context =
            ContextBuilder::new().timeout(ACK_TIMEOUT).max_ack_inflight(APPEND_WINDOW).build(client.clone());
        if config.create_streams {
            streams::create(&context, &config).await?;
        }
        let outbox = Outbox::start(client.clone());
        let (closed, _) = watch::channel(false);
        let (replicas, create_streams) = (config.replicas, config.create_streams);
        let prefix = config.prefix;
        Ok(Arc::new(Self { prefix, replicas, create_streams, client, context, outbox, closed, disconnected }))
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
}

#[async_trait]
impl Bus for NatsBus {
    async fn publish(&self, subject: &str, payload: Bytes) -> Result<(), BusError> {
        check_size(subject, &payload)?;
        self.open(async {
            let published = self.client.publish(subject.to_owned(), payload).await;
            published.map_err(|error| match error.kind() {
                PublishErrorKind::Send => BusError::Closed,
                _ => other(format!("publish on {subject}"), error),
            })
        })
        .await
    }

    async fn subscribe(&self, filter: &str) -> Result<Subscription, BusError> {
        let subscriber = self.open(async {
            let subscribed = self.client.subscribe(filter.to_owned()).await;
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

    async fn append(&self, subject: &str, id: &str, payload: Bytes) -> Result<Receipt, BusError> {
        check_size(subject, &payload)?;
        if id.contains(char::is_control) {
            return Err(BusError::Other(format!("message id {id:?} holds control characters")));
        }
        let message = PublishMessage::build().payload(payload).message_id(id);
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
            stream: streams::name(&self.prefix, stream),
            name: consumer::encode_name(name),
            filter: filter.to_owned(),
        };
        self.open(puller.ensure()).await?;
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
        if self.client.drain().await.is_ok() {
            let mut disconnected = self.disconnected.clone();
            // Without an answer the connection ends with the process.
            let _ = timeout(CLOSE_TIMEOUT, ended(&mut disconnected)).await;
        }
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
        let message = Message { subject: message.subject.to_string(), payload: message.payload, reply };
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
    if payload.len() <= MAX_MESSAGE {
        return Ok(());
    }
    Err(BusError::TooLarge { subject: subject.to_owned(), size: payload.len(), limit: MAX_MESSAGE })
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
