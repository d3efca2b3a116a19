//! Carries out what a partition's core asks for: stores, tells and sends.

use std::sync::Arc;
use std::time::Duration;

use prost::Message as _;
use ractor::ActorProcessingErr;
use shared::bus::{BusError, Receipt, SharedBus};
use shared::events::{Body, Draft, Emitter};
use shared::store::memory::MemoryStore;
use shared::store::partitions::{PartitionStore, Saved, Step};
use shared::store::series::{SampleBatch, SeriesStore};
use shared::store::{AlertStore, EngagedAlert, StoreError};
use shared::wire::proto::HttpPost;
use shared::wire::subject::Subjects;
use tokio::sync::Notify;

use crate::metrics;
use crate::partition::Output;

/// How long something waits that could not be stored.
const RETRY: Duration = Duration::from_millis(500);

/// Tries after which samples that cannot be stored are lost.
const SAMPLES_TRIED: u32 = 3;

/// Reaches bus and store.
#[derive(Clone)]
pub struct Carrier {
    /// The bus.
    pub bus: SharedBus,
    /// Subjects.
    pub subjects: Subjects,
    /// The alert store.
    pub alerts: Arc<dyn AlertStore>,
    /// What scripts remember.
    pub memory: Arc<dyn MemoryStore>,
    /// Partitions.
    pub partitions: Arc<dyn PartitionStore>,
    /// Time series.
    pub series: Arc<dyn SeriesStore>,
    /// Tells events.
    pub events: Emitter,
    /// Woken when there is something in the outbox.
    pub outbox: Arc<Notify>,
}

impl Carrier {
    /// Stores transitions, then sends posts and messages. The state has changed already, so this
    /// does not give up: a store or a bus that fails is tried until it works, and the deltas wait.
    ///
    /// # Errors
    /// Store or bus are closed. The delta is not acknowledged then and comes again after the restart.
    pub async fn carry_out(&self, output: Output) -> Result<(), ActorProcessingErr> {
        if !output.transitions.is_empty() {
            while let Err(error) = self.alerts.apply(output.transitions.clone()).await {
                if matches!(error, StoreError::Closed) {
                    return Err(error.into());
                }
                tracing::error!(%error, "alert transitions cannot be stored, trying again");
                tokio::time::sleep(RETRY).await;
            }
            self.outbox.notify_one();
        }
        if !output.remembered.is_empty() {
            while let Err(error) = self.memory.remember(output.remembered.clone()).await {
                if matches!(error, StoreError::Closed) {
                    return Err(error.into());
                }
                tracing::error!(%error, "what scripts remember cannot be stored, trying again");
                tokio::time::sleep(RETRY).await;
            }
        }
        self.keep(output.samples).await?;
        self.post(&output.posts).await?;
        self.publish(output.messages).await;
        self.tell(output.events);
        Ok(())
    }

    /// The same of a shard: what its `step` causes is stored under its fence, whole or not at all. Posts
    /// go first: whoever goes through a step again that is not stored posts them again under the same
    /// ids.
    ///
    /// # Errors
    /// Store or bus are closed, or the partition is another's by now.
    pub async fn commit(&self, output: Output, step: Step) -> Result<(), ActorProcessingErr> {
        let Output { transitions, posts, messages, remembered, samples, events } = output;
        self.post(&posts).await?;
        let tells = !transitions.is_empty();
        let mut step = Step { transitions, remembered, samples, ..step };
        let mut tries = 0;
        while let Err(error) = self.partitions.commit(step.clone()).await {
            if matches!(error, StoreError::Closed | StoreError::StaleFence { .. }) {
                return Err(error.into());
            }
            tracing::error!(%error, partition = step.partition, "a step cannot be stored, trying again");
            // A store that is away or full is waited for, the bus keeps the deltas meanwhile: without the
            // samples it would take the rest as little. With one that fails otherwise, samples are worth
            // less than alerts: they do not hold up the deltas for long.
            tries += u32::from(!matches!(error, StoreError::Unavailable(_) | StoreError::Disk(_)));
            if tries == SAMPLES_TRIED && !step.samples.is_empty() {
                tracing::error!(partition = step.partition, "a minute of time series is lost");
                step.samples.iter().for_each(|_| metrics::lost("samples"));
                step.samples.clear();
            }
            tokio::time::sleep(RETRY).await;
        }
        if tells {
            self.outbox.notify_one();
        }
        self.publish(messages).await;
        self.tell(events);
        Ok(())
    }

    /// What the store knows of a partition. One that is away is waited for: nothing can be done before.
    ///
    /// # Errors
    /// The store fails otherwise.
    pub async fn saved(&self, partition: u32) -> Result<Option<Saved>, StoreError> {
        loop {
            let saved = self.partitions.saved(partition).await;
            if !away(partition, &saved).await {
                return saved;
            }
        }
    }

    /// Claims a partition in the store, likewise.
    ///
    /// # Errors
    /// The store fails otherwise, or the partition is another's by now.
    pub async fn claim(&self, partition: u32, fence: u64) -> Result<Saved, StoreError> {
        loop {
            let claimed = self.partitions.claim(partition, fence).await;
            if !away(partition, &claimed).await {
                return claimed;
            }
        }
    }

    /// Tells what is wanted; events of hosts are only there when they are.
    fn tell(&self, events: Vec<Draft>) {
        if events.is_empty() {
            return;
        }
        let timers = self.events.config().timers;
        for draft in events.into_iter().filter(|draft| timers || !matches!(draft.body, Body::Timer(_))) {
            self.events.tell(draft);
        }
    }

    /// What the store has engaged of a partition, likewise.
    ///
    /// # Errors
    /// The store fails otherwise.
    pub async fn engaged(&self, partition: u32) -> Result<Vec<EngagedAlert>, StoreError> {
        loop {
            let engaged = self.alerts.engaged(Some(partition)).await;
            if !away(partition, &engaged).await {
                return engaged;
            }
        }
    }

    async fn post(&self, posts: &[HttpPost]) -> Result<(), ActorProcessingErr> {
        let mut receipts = Vec::new();
        for post in posts {
            receipts.push(self.append(post).await);
        }
        for (post, receipt) in posts.iter().zip(receipts) {
            self.until_safe(post, receipt).await?;
        }
        Ok(())
    }

    async fn publish(&self, messages: Vec<(String, String, String)>) {
        for (site, subject, payload) in messages {
            let subject = self.subjects.script(&site, &subject);
            if let Err(error) = self.bus.publish(&subject, payload.into()).await {
                tracing::warn!(%error, subject, "script's message lost");
                metrics::lost("message");
            }
        }
    }

    /// Stores samples. A server that is away is waited for: the bus keeps the deltas meanwhile. When the
    /// store itself fails, the deltas do not wait: samples are worth less than alerts.
    pub async fn keep(&self, samples: Vec<SampleBatch>) -> Result<(), ActorProcessingErr> {
        for batch in samples {
            loop {
                match self.series.add_samples(batch.clone()).await {
                    Ok(()) => break,
                    Err(StoreError::Closed) => return Err(StoreError::Closed.into()),
                    Err(error @ StoreError::Unavailable(_)) => {
                        tracing::error!(%error, "time series cannot be stored, trying again");
                        tokio::time::sleep(RETRY).await;
                    }
                    Err(error) => {
                        tracing::error!(%error, "a minute of time series is lost");
                        metrics::lost("samples");
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    async fn append(&self, post: &HttpPost) -> Result<Receipt, BusError> {
        let subject = self.subjects.post(&post.site);
        self.bus.append(&subject, &post.id, post.encode_to_vec().into()).await
    }

    /// Waits until a post is safe, and appends it again as often as it takes: its id keeps it from
    /// being sent twice.
    async fn until_safe(
        &self,
        post: &HttpPost,
        mut appended: Result<Receipt, BusError>,
    ) -> Result<(), ActorProcessingErr> {
        loop {
            let safe = match appended {
                Ok(receipt) => receipt.stored().await,
                Err(error) => Err(error),
            };
            match safe {
                Ok(()) => return Ok(()),
                Err(BusError::Closed) => return Err(BusError::Closed.into()),
                Err(error @ BusError::TooLarge { .. }) => {
                    tracing::error!(%error, script = post.script, "script's post lost");
                    metrics::lost("post");
                    return Ok(());
                }
                Err(error) => {
                    tracing::warn!(%error, script = post.script, "script's post not safe, trying again");
                    tokio::time::sleep(RETRY).await;
                }
            }
            appended = self.append(post).await;
        }
    }
}

/// Waits a moment where the store was away.
async fn away<T>(partition: u32, answer: &Result<T, StoreError>) -> bool {
    let Err(error @ StoreError::Unavailable(_)) = answer else { return false };
    tracing::error!(%error, partition, "the store is away, trying again");
    tokio::time::sleep(RETRY).await;
    true
}
