//! Reads a stream from a position on, for one reader that keeps his own place.
//!
//! The server's consumer is a short-lived one that is made anew, after the last message that was passed
//! on, whenever something goes wrong. Messages are acknowledged, so that the server gives no more than a
//! window of them; what it gives a second time is left out.

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, PullConsumer, ReplayPolicy, pull};
use async_nats::jetstream::context::Context;
use async_nats::jetstream::stream::Info;
use futures::StreamExt;
use tokio::sync::{mpsc, watch};

use super::consumer::{ACK_WAIT, AGAIN, PULL, PULL_BATCH, queued};
use super::outbox::Outbox;
use super::{ended, other};
use crate::backoff::unit_random;
use crate::bus::{BusError, CONSUMER_WINDOW, Consumer, Queued, Replay};
use crate::model::Position;

/// A reader's place in a stream.
struct Reader {
    context: Context,
    outbox: Outbox,
    stream: String,
    /// When the stream was made.
    made: i64,
    filter: String,
    /// The next message to pass on.
    next: u64,
}

enum End {
    /// Nobody reads any more, or the bus has closed.
    Over,
    /// Reading failed.
    Failed(BusError),
}

/// Begins to read after a position.
pub(super) async fn start(
    context: Context,
    outbox: Outbox,
    stream: String,
    filter: &str,
    after: Position,
    closed: watch::Receiver<bool>,
) -> Result<Replay, BusError> {
    let info = info(&context, &stream).await?;
    let made = made(&info);
    let after = if after.stream == made { after.sequence } else { 0 };
    // Of an empty stream the first sequence is 0 or the next one.
    let whole = info.state.first_sequence <= after + 1;
    let (messages, receiver) = mpsc::channel(CONSUMER_WINDOW);
    let reader = Reader { context, outbox, stream, made, filter: filter.to_owned(), next: after + 1 };
    tokio::spawn(reader.run(messages, closed));
    Ok(Replay { stream: made, whole, messages: Consumer(receiver) })
}

async fn info(context: &Context, stream: &str) -> Result<Info, BusError> {
    let found =
        context.get_stream(stream).await.map_err(|e| other(format!("cannot read stream {stream}"), e))?;
    Ok(found.cached_info().clone())
}

/// When a stream was made, in nanoseconds.
fn made(info: &Info) -> i64 {
    i64::try_from(info.created.unix_timestamp_nanos()).unwrap_or(i64::MAX)
}

impl Reader {
    async fn run(mut self, messages: mpsc::Sender<Queued>, mut closed: watch::Receiver<bool>) {
        let mut failures = 0;
        loop {
            let before = self.next;
            let end = tokio::select! {
                end = self.read(&messages) => end,
                () = ended(&mut closed) => End::Over,
                () = messages.closed() => End::Over,
            };
            let End::Failed(error) = end else { return };
            failures = if self.next > before { 1 } else { failures + 1 };
            tracing::warn!(stream = self.stream, next = self.next, failures, %error, "reading again");
            let wait = AGAIN.wait(failures, unit_random(xxhash_rust::xxh3::xxh3_64(self.filter.as_bytes())));
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = ended(&mut closed) => return,
                () = messages.closed() => return,
            }
            if let Ok(info) = info(&self.context, &self.stream).await
                && made(&info) != self.made
            {
                tracing::error!(stream = self.stream, "the stream was made anew; what it held is gone");
                return;
            }
        }
    }

    async fn read(&mut self, messages: &mpsc::Sender<Queued>) -> End {
        let mut pulled = match self.pull().await {
            Ok(pulled) => pulled,
            Err(error) => return End::Failed(error),
        };
        loop {
            // A place first, so that no message is in hand when the receiver goes.
            let Ok(place) = messages.reserve().await else { return End::Over };
            let message = match pulled.next().await {
                Some(Ok(message)) => message,
                Some(Err(error)) => return End::Failed(other(format!("reading {}", self.stream), error)),
                None => return End::Failed(BusError::Other(format!("{} ended", self.stream))),
            };
            let Some(queued) = queued(message, &self.outbox) else { continue };
            if queued.sequence < self.next {
                queued.ack();
                continue;
            }
            self.next = queued.sequence + 1;
            place.send(queued);
        }
    }

    async fn pull(&self) -> Result<pull::Stream, BusError> {
        let (expires, heartbeat) = PULL;
        let config = pull::Config {
            filter_subject: self.filter.clone(),
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: self.next },
            replay_policy: ReplayPolicy::Instant,
            ack_policy: AckPolicy::Explicit,
            ack_wait: ACK_WAIT,
            max_ack_pending: CONSUMER_WINDOW as i64,
            max_deliver: -1,
            // The server forgets it when nobody has pulled for so long.
            inactive_threshold: expires * 2,
            memory_storage: true,
            num_replicas: 1,
            ..pull::Config::default()
        };
        let created = self.context.create_consumer_on_stream(config, &self.stream).await;
        let consumer: PullConsumer = created.map_err(|e| other(format!("cannot read {}", self.stream), e))?;
        let pulled =
            consumer.stream().max_messages_per_batch(PULL_BATCH).expires(expires).heartbeat(heartbeat);
        pulled.messages().await.map_err(|e| other(format!("cannot read {}", self.stream), e))
    }
}
