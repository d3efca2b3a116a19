//! Durable pull consumers.

use std::time::Duration;

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, PullConsumer, ReplayPolicy, pull};
use async_nats::jetstream::stream::{ConsumerError, ConsumerErrorKind};
use async_nats::jetstream::{AckKind, Message, context::Context};
use futures::{FutureExt, StreamExt};
use tokio::sync::{mpsc, watch};

use super::objects::Objects;
use super::outbox::Outbox;
use super::{ended, other};
use crate::backoff::{Backoff, unit_random};
use crate::bus::{BusError, CONSUMER_WINDOW, Consumer, Queued, Settlement};
use crate::model::Timestamp;

/// How long the server waits for a settlement before it gives a message again.
pub(super) const ACK_WAIT: Duration = Duration::from_secs(30);

/// How long one pull lasts, and how often the server says meanwhile that it is there.
pub(super) const PULL: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(5));

/// Messages asked for at once; half the window, so that competing consumers share it.
pub(super) const PULL_BATCH: usize = CONSUMER_WINDOW / 2;

/// Waits before pulling again after a failure.
pub(super) const AGAIN: Backoff = Backoff { base: Duration::from_millis(200), cap: Duration::from_secs(10) };

/// How long a message dropped unsettled waits: mostly its receiver is going too, and the server has to
/// learn first that its pull has ended, or it gives the message to that.
const HANDOVER: Duration = Duration::from_millis(100);

/// Between two looks whether the stream has been made.
const UNTIL_MADE: Duration = Duration::from_millis(500);

/// How often a message is dropped unsettled before it comes again with a wait.
const FREE_DROPS: u64 = 3;

/// Pulls one consumer's messages.
#[derive(Clone)]
pub(super) struct Puller {
    pub(super) context: Context,
    pub(super) outbox: Outbox,
    pub(super) objects: Objects,
    /// The stream's name on the server.
    pub(super) stream: String,
    /// The consumer's name on the server.
    pub(super) name: String,
    pub(super) filter: String,
}

fn is_without_stream(error: &ConsumerError) -> bool {
    matches!(error.kind(), ConsumerErrorKind::JetStream(cause) if cause.error_code() == ErrorCode::STREAM_NOT_FOUND)
}

enum End {
    /// The bus has closed.
    Closed,
    /// The receiver has gone.
    Gone,
    /// Pulling failed.
    Failed(BusError),
}

impl Puller {
    /// The same as [`Puller::ensure`], as soon as there is the stream.
    pub(super) async fn ensure_in_time(&self) -> Result<PullConsumer, BusError> {
        loop {
            match self.make().await {
                Ok(made) => return made,
                Err(error) if is_without_stream(&error) => tokio::time::sleep(UNTIL_MADE).await,
                Err(error) => return Err(self.not_made(error)),
            }
        }
    }

    /// Makes sure that the consumer exists with this filter.
    pub(super) async fn ensure(&self) -> Result<PullConsumer, BusError> {
        self.make().await.unwrap_or_else(|error| Err(self.not_made(error)))
    }

    fn not_made(&self, error: ConsumerError) -> BusError {
        other(format!("cannot create consumer {} of {}", self.name, self.stream), error)
    }

    async fn make(&self) -> Result<Result<PullConsumer, BusError>, ConsumerError> {
        let existing: Result<PullConsumer, _> =
            self.context.get_consumer_from_stream(&self.name, &self.stream).await;
        if let Ok(consumer) = existing {
            let theirs = &consumer.cached_info().config.filter_subject;
            if *theirs != self.filter {
                let Self { name, filter, .. } = self;
                let cause = format!("consumer {name} has filter {theirs}, not {filter}");
                return Ok(Err(BusError::Other(cause)));
            }
            return Ok(Ok(consumer));
        }
        let config = pull::Config {
            durable_name: Some(self.name.clone()),
            filter_subject: self.filter.clone(),
            deliver_policy: DeliverPolicy::All,
            replay_policy: ReplayPolicy::Instant,
            ack_policy: AckPolicy::Explicit,
            ack_wait: ACK_WAIT,
            max_ack_pending: CONSUMER_WINDOW as i64,
            max_deliver: -1,
            ..pull::Config::default()
        };
        self.context.create_consumer_on_stream(config, &self.stream).await.map(Ok)
    }

    /// Starts pulling.
    pub(super) fn start(self, closed: watch::Receiver<bool>) -> Consumer {
        let (messages, receiver) = mpsc::channel(CONSUMER_WINDOW);
        tokio::spawn(self.run(messages, closed));
        Consumer(receiver)
    }

    async fn run(self, messages: mpsc::Sender<Queued>, mut closed: watch::Receiver<bool>) {
        let mut failures = 0;
        loop {
            let pulled = tokio::select! {
                pulled = self.pull() => pulled,
                () = ended(&mut closed) => return,
                () = messages.closed() => return,
            };
            let end = match pulled {
                Ok(mut pulled) => self.pass_on(&mut pulled, &messages, &mut closed, &mut failures).await,
                Err(error) => End::Failed(error),
            };
            let End::Failed(error) = end else { return };
            failures += 1;
            tracing::warn!(consumer = self.name, stream = self.stream, failures, %error, "pulling again");
            let wait = AGAIN.wait(failures, unit_random(xxhash_rust::xxh3::xxh3_64(self.name.as_bytes())));
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = ended(&mut closed) => return,
                () = messages.closed() => return,
            }
        }
    }

    async fn pull(&self) -> Result<pull::Stream, BusError> {
        let consumer = self.ensure().await?;
        let (expires, heartbeat) = PULL;
        let pulled =
            consumer.stream().max_messages_per_batch(PULL_BATCH).expires(expires).heartbeat(heartbeat);
        pulled.messages().await.map_err(|e| other(format!("cannot pull from {}", self.stream), e))
    }

    async fn pass_on(
        &self,
        pulled: &mut pull::Stream,
        messages: &mpsc::Sender<Queued>,
        closed: &mut watch::Receiver<bool>,
        failures: &mut u32,
    ) -> End {
        let end = loop {
            let next = async {
                // A place first, so that no message is in hand when the receiver goes.
                let Ok(place) = messages.reserve().await else {
                    return Err(End::Gone);
                };
                match pulled.next().await {
                    Some(Ok(message)) => match queued(message, &self.outbox) {
                        Some(queued) => match self.objects.fill(queued).await {
                            Ok(queued) => Ok((place, Some(queued))),
                            Err(error) => Err(End::Failed(error)),
                        },
                        None => Ok((place, None)),
                    },
                    Some(Err(error)) => {
                        Err(End::Failed(other(format!("pulling from {}", self.stream), error)))
                    }
                    None => Err(End::Failed(BusError::Other(format!("{} ended", self.stream)))),
                }
            };
            let next = tokio::select! {
                biased;
                () = ended(closed) => return End::Closed,
                () = messages.closed() => break End::Gone,
                next = next => next,
            };
            match next {
                Ok((place, queued)) => {
                    *failures = 0;
                    if let Some(queued) = queued {
                        place.send(queued);
                    }
                }
                Err(end) => break end,
            }
        };
        // What has arrived and was not passed on need not wait for ACK_WAIT.
        while let Some(Some(Ok(message))) = pulled.next().now_or_never() {
            drop(queued(message, &self.outbox));
        }
        end
    }
}

/// A message with how to settle it; nothing where it is none of a stream's.
pub(super) fn queued(message: Message, outbox: &Outbox) -> Option<Queued> {
    let info = match message.info() {
        Ok(info) => info,
        Err(error) => {
            tracing::warn!(%error, subject = message.subject.as_str(), "not a kept message");
            return None;
        }
    };
    let (sequence, attempt) = (info.stream_sequence, u64::try_from(info.delivered).unwrap_or(1));
    let at = i64::try_from(info.published.unix_timestamp_nanos()).ok().map(Timestamp::from_ns);
    let message = message.message;
    let headers = super::headers::from_nats(message.headers.as_ref());
    // A message with a position has come with where to settle it.
    let (reply, outbox) = (message.reply?, outbox.clone());
    let settle = move |settlement| outbox.send(reply, answer(settlement, attempt).into());
    let subject = message.subject.to_string();
    let mut queued = Queued::new(subject, sequence, attempt, headers, message.payload, settle);
    queued.at = at;
    Some(queued)
}

/// What the server is told. Never both a wait of ours and the server's own backoff: they add up.
fn answer(settlement: Option<Settlement>, attempt: u64) -> AckKind {
    match settlement {
        Some(Settlement::Ack) => AckKind::Ack,
        Some(Settlement::RetryAfter(wait)) => AckKind::Nak((!wait.is_zero()).then_some(wait)),
        // A receiver that keeps failing on a message shall not spin on it.
        None if attempt > FREE_DROPS => {
            let failures = u32::try_from(attempt - FREE_DROPS).unwrap_or(u32::MAX);
            AckKind::Nak(Some(Backoff { cap: ACK_WAIT, ..AGAIN }.bound(failures)))
        }
        None => AckKind::Nak(Some(HANDOVER)),
    }
}

/// A name that the server takes: letters, digits and hyphens stay, any other byte becomes `_` and
/// its two hexadecimal digits; a very long name ends in its hash.
pub(super) fn encode_name(name: &str) -> String {
    const LONGEST: usize = 200;
    let mut encoded = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'-' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("_{byte:02x}")),
        }
    }
    if encoded.is_empty() {
        return "_".to_owned();
    }
    if encoded.len() > LONGEST {
        let hash = xxhash_rust::xxh3::xxh3_128(name.as_bytes());
        encoded.truncate(LONGEST - 34);
        encoded.push_str(&format!("__{hash:032x}"));
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consumer_names_are_valid_and_differ() {
        assert_eq!(encode_name("shard-7"), "shard-7");
        assert_eq!(encode_name("a.b c"), "a_2eb_20c");
        assert_eq!(encode_name("a_2e"), "a_5f2e");
        assert_eq!(encode_name(""), "_");
        let (long, longer) = ("x".repeat(300), "x".repeat(301));
        assert!(encode_name(&long).len() <= 200);
        assert_ne!(encode_name(&long), encode_name(&longer));
    }

    #[test]
    fn a_message_that_is_dropped_again_and_again_waits() {
        assert!(matches!(answer(None, 1), AckKind::Nak(Some(wait)) if wait == HANDOVER));
        assert!(matches!(answer(None, 4), AckKind::Nak(Some(wait)) if wait == AGAIN.base));
        assert!(matches!(answer(None, 50), AckKind::Nak(Some(wait)) if wait == ACK_WAIT));
        let zero = Settlement::RetryAfter(Duration::ZERO);
        assert!(matches!(answer(Some(zero), 1), AckKind::Nak(None)));
    }
}
