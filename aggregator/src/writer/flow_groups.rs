//! Ended flows into the store: several batches at once, because a commit costs as much as thousands of
//! flows. While one group is committed the next one is decoded.

use std::sync::Arc;
use std::time::Duration;

use shared::bus::{BusError, Consumer, Queued, SharedBus, Stream};
use shared::store::{FlowStore, KeyedFlows, StoreError, StoredFlow};
use shared::wire::WireError;
use shared::wire::flow_batch::FlowBatch;
use shared::wire::subject::Subjects;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use crate::metrics;

#[cfg(test)]
mod tests;

/// How long a batch waits that could not be stored.
const RETRY: Duration = Duration::from_millis(500);

/// Batches of a group at most.
const BATCHES: usize = 20;

/// A group that has so many flows takes no further batch.
const FLOWS: usize = 10_000;

/// Where ended flows come from. What is appended before nobody gets.
pub async fn flow_batches(bus: &SharedBus, subjects: &Subjects) -> Result<Consumer, BusError> {
    bus.consume(Stream::Flow, "flow-store", &subjects.all(Stream::Flow.kind())).await
}

/// Stores ended flows until the bus closes.
pub async fn flows(batches: Consumer, store: Arc<dyn FlowStore>) {
    // One group is stored, one waits, one is gathered.
    let (groups, gathered) = mpsc::channel(1);
    tokio::join!(gather(batches, groups), store_groups(gathered, &*store));
}

/// Batches that are stored together, and the messages that brought them.
#[derive(Default)]
struct Group {
    batches: Vec<KeyedFlows>,
    messages: Vec<Queued>,
    flows: usize,
}

impl Group {
    fn is_full(&self) -> bool {
        self.messages.len() >= BATCHES || self.flows >= FLOWS
    }

    /// Takes a batch in; one that cannot be read is dropped.
    async fn add(&mut self, message: Queued) {
        let payload = message.payload.clone();
        match spawn_blocking(move || decode(&payload)).await {
            Ok(Ok(batch)) => {
                self.flows += batch.flows.len();
                self.batches.push(batch);
                self.messages.push(message);
            }
            Ok(Err(error)) => drop_message(message, &error),
            // It will not get better by coming again.
            Err(error) => drop_message(message, &error),
        }
    }
}

fn decode(payload: &[u8]) -> Result<KeyedFlows, WireError> {
    let FlowBatch { producer: p, flows } = FlowBatch::decode(payload)?;
    let key = format!("{}/{}/{}/{}/{}", p.site, p.node, p.ifid, p.epoch, p.sequence);
    let of = |flow| StoredFlow { site: p.site.clone(), node: p.node.clone(), flow };
    Ok(KeyedFlows { key, flows: flows.into_iter().map(of).collect() })
}

fn drop_message(message: Queued, error: &dyn std::error::Error) {
    tracing::error!(%error, subject = message.subject, sequence = message.sequence, "flow batch dropped");
    metrics::lost("flows");
    message.ack();
}

/// Makes groups of what there is. While the store has enough to do, a group grows.
async fn gather(mut batches: Consumer, groups: mpsc::Sender<Group>) {
    let mut group = Group::default();
    loop {
        let message = tokio::select! {
            biased;
            message = batches.next(), if !group.is_full() => message,
            room = groups.reserve(), if !group.messages.is_empty() => {
                let Ok(room) = room else { return };
                room.send(std::mem::take(&mut group));
                continue;
            }
        };
        match message {
            Some(message) => group.add(message).await,
            None => break,
        }
    }
    if !group.messages.is_empty() {
        // Whoever stores ends after this side; what is not taken is given again.
        let _ = groups.send(group).await;
    }
}

async fn store_groups(mut groups: mpsc::Receiver<Group>, store: &dyn FlowStore) {
    while let Some(group) = groups.recv().await {
        store_group(store, group).await;
    }
}

async fn store_group(store: &dyn FlowStore, group: Group) {
    let Group { batches, messages, .. } = group;
    match store.add_flow_batches(batches).await {
        Ok(()) => messages.into_iter().for_each(Queued::ack),
        // One of them may be what the store refuses: it alone is to wait.
        Err(error) if !error.passes() => {
            tracing::warn!(%error, batches = messages.len(), "flows cannot be stored together, trying one by one");
            for message in messages {
                store_alone(store, message).await;
            }
        }
        Err(error) => messages.into_iter().for_each(|message| try_again(message, &error)),
    }
}

async fn store_alone(store: &dyn FlowStore, message: Queued) {
    match decode(&message.payload) {
        Ok(batch) => match store.add_flows(batch.key, batch.flows).await {
            Ok(()) => message.ack(),
            // It will not get better by coming again.
            Err(error @ StoreError::Refused(_)) => drop_message(message, &error),
            Err(error) => try_again(message, &error),
        },
        Err(error) => drop_message(message, &error),
    }
}

fn try_again(message: Queued, error: &StoreError) {
    tracing::error!(%error, subject = message.subject, "flows cannot be stored, trying again");
    message.retry_after(RETRY);
}
