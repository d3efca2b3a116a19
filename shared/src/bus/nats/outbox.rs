//! Sends what callers that must not wait hand over: settlements and answers.

use async_nats::{Client, Subject};
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use crate::metrics;

/// How many may wait while the connection is away. Beyond that they are lost and counted: an
/// unsettled message comes again, an unanswered question times out.
const CAPACITY: usize = 4096;

/// A bounded queue to the connection.
#[derive(Clone)]
pub(super) struct Outbox(mpsc::Sender<Item>);

enum Item {
    Message(Subject, Bytes),
    Flush(oneshot::Sender<()>),
}

impl Outbox {
    /// Starts the sending task; it ends with the last handle.
    pub(super) fn start(client: Client) -> Self {
        let (sender, mut items) = mpsc::channel(CAPACITY);
        tokio::spawn(async move {
            while let Some(item) = items.recv().await {
                match item {
                    Item::Message(subject, payload) => {
                        if let Err(error) = client.publish(subject, payload).await {
                            metrics::bus_unsettled(1);
                            tracing::debug!(%error, "settlement or answer lost");
                        }
                    }
                    Item::Flush(done) => drop(done.send(())),
                }
            }
        });
        Self(sender)
    }

    /// Hands a message over without waiting.
    pub(super) fn send(&self, subject: Subject, payload: Bytes) {
        if self.0.try_send(Item::Message(subject, payload)).is_err() {
            metrics::bus_unsettled(1);
        }
    }

    /// Waits until everything handed over so far is with the connection.
    pub(super) async fn flush(&self) {
        let (done, flushed) = oneshot::channel();
        if self.0.send(Item::Flush(done)).await.is_ok() {
            // It fails only when the task has ended, and then nothing is left to wait for.
            let _ = flushed.await;
        }
    }
}
