//! How the role ends.

use std::time::Duration;

use super::SupervisorState;
use super::tasks::Task;
use crate::outbox;

/// How long the outbox may take to empty.
const OUTBOX_PATIENCE: Duration = Duration::from_secs(15);

impl SupervisorState {
    /// Stops in order: who acts by himself, shards, then the outbox when it is empty, then the API.
    pub(super) async fn stop(&mut self) {
        self.stopping = true;
        for other in self.others.values() {
            other.stop(None);
        }
        for other in self.others.values() {
            if other.wait(Some(Duration::from_secs(10))).await.is_err() {
                tracing::error!("who probes hosts or reads log lines did not stop within 10 s");
            }
        }
        self.hand_over().await;
        if let Some(hearing) = self.hearing.take() {
            hearing.abort();
        }
        self.outbox.notify_one();
        let empty = async {
            while !outbox::is_empty(&*self.deps.alerts).await {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        if tokio::time::timeout(OUTBOX_PATIENCE, empty).await.is_err() {
            tracing::warn!("alerts are still to be told; they are told after the next start");
        }
        let server = self.tasks.remove(&Task::Api);
        for (_, task) in self.tasks.drain() {
            task.abort();
        }
        if let Some(api) = self.api.take() {
            api.stop().await;
        }
        if let Some(server) = server {
            // It has nothing left to do.
            let _ = server.await;
        }
    }
}
