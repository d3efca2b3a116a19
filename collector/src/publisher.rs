//! Carries a pipeline's items to the bus, in order, and stays until what must not be lost is safe.
//!
//! Between the capture thread and this task stands a channel of [`CREDIT`] batches: when the bus is
//! slow the thread waits, and libpcap's ring absorbs and counts what the wire brings meanwhile.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use shared::backoff::{Backoff, unit_random};
use shared::bus::{BusError, Receipt, SharedBus};
use shared::model::Alert;
use shared::wire::partition;
use shared::wire::subject::Subjects;
use tokio::sync::mpsc;

use crate::metrics;
use crate::pipeline::Item;

/// Batches of items under way between thread and publisher.
pub const CREDIT: usize = 4;

/// Appended messages not yet known to be safe, at most.
const IN_FLIGHT: usize = 64;

/// Tries of a message that may be shed before it is.
const SHED_AFTER: u32 = 5;

/// A kept message, until it is safe.
struct Pending {
    what: &'static str,
    subject: String,
    id: String,
    payload: Bytes,
    receipt: Receipt,
}

/// Publishes until the channel closes and everything is safe. Returns how many messages were lost:
/// flow records shed because the bus refused them again and again, or anything after it closed.
pub async fn run(bus: SharedBus, subjects: Subjects, mut items: mpsc::Receiver<Vec<Item>>) -> u64 {
    let mut publisher = Publisher { bus, subjects, in_flight: VecDeque::new(), lost: 0 };
    while let Some(batch) = items.recv().await {
        for item in batch {
            publisher.item(item).await;
        }
    }
    while let Some(pending) = publisher.in_flight.pop_front() {
        publisher.make_safe(pending).await;
    }
    publisher.lost
}

struct Publisher {
    bus: SharedBus,
    subjects: Subjects,
    in_flight: VecDeque<Pending>,
    lost: u64,
}

impl Publisher {
    async fn item(&mut self, item: Item) {
        match item {
            Item::Delta(delta) => {
                let p = &delta.producer;
                let partition = partition::of_interface(&p.site, p.ifid);
                let subject = self.subjects.delta(&p.site, partition, &p.node, p.ifid);
                let id = format!("{}/{}/{}/{}/{}", p.site, p.node, p.ifid, p.epoch, p.sequence);
                self.append("delta", subject, id, delta.encode()).await;
            }
            Item::Flows(batch) => {
                let p = &batch.producer;
                let subject = self.subjects.flows(&p.site, &p.node, p.ifid);
                let id = format!("{}/{}/{}/{}/{}", p.site, p.node, p.ifid, p.epoch, p.sequence);
                self.append("flows", subject, id, batch.message()).await;
            }
            Item::Alert(alert) => self.alert(*alert).await,
            Item::Post(post) => {
                let payload = Bytes::from(post.encode_to_vec());
                self.append("post", self.subjects.post(&post.site), post.id, payload).await;
            }
            Item::Publish { subject, payload } => {
                if let Err(error) = self.bus.publish(&subject, payload.into()).await {
                    self.lost += 1;
                    tracing::warn!(%error, subject, "script's message lost");
                }
            }
        }
    }

    /// Publishes an alert as a span of the trace of the packets that caused it.
    async fn alert(&mut self, mut alert: Alert) {
        if let Some(cause) = alert.traceparent.take() {
            let span = tracing::info_span!("alert", id = alert.id, kind = alert.alert_type);
            shared::telemetry::set_parent(&span, &cause);
            alert.traceparent = shared::telemetry::traceparent(&span).or(Some(cause));
        }
        let subject = self.subjects.alert(&alert.site, alert.entity, alert.severity, alert.action);
        match serde_json::to_vec(&alert) {
            Ok(json) => self.append("alert", subject, alert.transition_id(), json.into()).await,
            Err(error) => {
                self.lost += 1;
                tracing::error!(%error, id = alert.id, "alert cannot be encoded");
            }
        }
    }

    async fn append(&mut self, what: &'static str, subject: String, id: String, payload: Bytes) {
        if self.in_flight.len() >= IN_FLIGHT
            && let Some(oldest) = self.in_flight.pop_front()
        {
            self.make_safe(oldest).await;
        }
        if let Some(receipt) = self.append_until_taken(what, &subject, &id, &payload).await {
            self.in_flight.push_back(Pending { what, subject, id, payload, receipt });
        }
    }

    /// Appends with backoff until the bus takes it. Flow records are shed after some tries; a
    /// closed bus loses everything.
    async fn append_until_taken(
        &mut self,
        what: &'static str,
        subject: &str,
        id: &str,
        payload: &Bytes,
    ) -> Option<Receipt> {
        let backoff = Backoff { base: Duration::from_millis(100), cap: Duration::from_secs(5) };
        for attempt in 1.. {
            let error = match self.bus.append(subject, id, payload.clone()).await {
                Ok(receipt) => return Some(receipt),
                Err(error) => error,
            };
            metrics::append_retried(what);
            let hopeless = matches!(error, BusError::Closed | BusError::TooLarge { .. });
            if hopeless || (what == "flows" && attempt >= SHED_AFTER) {
                self.lost += 1;
                tracing::error!(%error, what, id, "message lost");
                return None;
            }
            if attempt == 1 {
                tracing::warn!(%error, what, "bus refuses messages, trying again");
            }
            tokio::time::sleep(backoff.wait(attempt, unit_random(u64::from(attempt)))).await;
        }
        None
    }

    /// Waits until a message is safe, appending it again when it turns out not to be.
    async fn make_safe(&mut self, mut pending: Pending) {
        loop {
            let Err(error) = pending.receipt.stored().await else { return };
            if matches!(error, BusError::Closed) {
                self.lost += 1;
                return;
            }
            metrics::append_retried(pending.what);
            let again =
                self.append_until_taken(pending.what, &pending.subject, &pending.id, &pending.payload).await;
            match again {
                Some(receipt) => pending.receipt = receipt,
                None => return,
            }
        }
    }
}
