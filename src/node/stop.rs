//! The way out: who produces first, each draining what it has.

use std::time::Duration;

use shared::clock::{Clock, SystemClock};
use shared::model::Timestamp;
use shared::presence;

use super::Node;

/// How long the last events may take to be told; where there is a store, what is left is told after the
/// next start.
const TELLING: Duration = Duration::from_secs(2);

impl Node {
    /// Stops in order: who produces first, each draining what it has; then closes bus and store.
    pub async fn stop(mut self) {
        self.stop_telling().await;
        for watcher in self.watchers.drain(..) {
            watcher.abort();
        }
        for word in self.words.drain(..) {
            presence::leave(&self.bus, &self.subjects, word, SystemClock.now()).await;
        }
        if let Some(last_words) = self.last_words.take() {
            // A bus that is away takes nothing.
            let _ = tokio::time::timeout(Duration::from_secs(5), last_words.say()).await;
        }
        if let Some(collector) = self.collector.take() {
            stop_actor(&collector.actor.get_cell(), collector.handle, "collector").await;
        }
        if self.aggregator.is_some() && self.bus.outstanding().is_some() {
            self.bus_empties(Duration::from_secs(20)).await;
        }
        self.history_is_whole(Duration::from_secs(10)).await;
        if let Some(aggregator) = self.aggregator.take() {
            stop_actor(&aggregator.actor.get_cell(), aggregator.handle, "aggregator").await;
        }
        if let Some((actor, handle)) = self.notifier.take() {
            stop_actor(&actor.get_cell(), handle, "notifier").await;
        }
        self.end_telling().await;
        self.bus.close().await;
        if let Some(store) = &self.store {
            store.close().await;
        }
    }

    /// Says goodbye and tells what is still to be told while there is somebody to take it. What comes after
    /// that, from the roles that stop now, is told where the bus keeps it, and after the next start where
    /// whoever would take it is in this process.
    async fn stop_telling(&mut self) {
        if !self.events.is_released() {
            return;
        }
        let goodbye = async {
            self.tell_stopped().await;
            self.outbox_empties().await;
        };
        let _ = tokio::time::timeout(TELLING, goodbye).await;
        if self.nats.is_none() {
            self.events.hold();
        }
    }

    /// Keeps, and tells where the bus keeps them, the events of roles that have stopped.
    async fn end_telling(&mut self) {
        let Some(telling) = self.telling.take() else { return };
        let told = async {
            self.events.flush().await;
            if self.events.is_released() {
                self.outbox_empties().await;
            }
        };
        if tokio::time::timeout(TELLING, told).await.is_err() && self.store.is_none() {
            tracing::error!(lost = self.events.waiting(), "events could not be told before the end");
        }
        telling.abort();
    }

    /// Waits until nothing is left to be told.
    async fn outbox_empties(&self) {
        let Some(store) = &self.store else { return };
        let left = || store.queued_events(&self.owner, Timestamp::ZERO, 1);
        while left().await.is_ok_and(|queued| !queued.is_empty()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until the last alerts have gone through the ledger into the history: both roles are
    /// needed for that, so it is done before either stops.
    async fn history_is_whole(&self, deadline: Duration) {
        let (Some(aggregator), Some((_, notifier)), Some(store)) =
            (&self.aggregator, &self.notifier, &self.store)
        else {
            return;
        };
        let whole = async {
            loop {
                let stats = store.stats().await.unwrap_or_default();
                let owed = stats.iter().any(|lane| lane.recipient == "alert_store" && lane.pending > 0);
                let ended = aggregator.handle.is_finished() || notifier.is_finished();
                if ended || (aggregator.is_idle().await && !owed) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        if tokio::time::timeout(deadline, whole).await.is_err() {
            tracing::warn!(
                "alerts are still on their way into the history; they are stored after the next start"
            );
        }
    }

    /// Waits until nothing is under way on an in-process bus.
    async fn bus_empties(&self, deadline: Duration) {
        let empty = async {
            while self.bus.outstanding().unwrap_or(0) > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        if tokio::time::timeout(deadline, empty).await.is_err() {
            tracing::error!(left = self.bus.outstanding(), "messages were still under way at the stop");
        }
    }
}

async fn stop_actor(cell: &ractor::ActorCell, handle: tokio::task::JoinHandle<()>, role: &str) {
    cell.stop(None);
    if tokio::time::timeout(Duration::from_secs(45), handle).await.is_err() {
        tracing::error!(role, "did not stop within 45 s");
    }
}
